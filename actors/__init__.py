"""The process model: actors on an event loop with Erlang's links, monitors and exits; and channels and PubSub on top."""

from pykka import ActorDeadError, Timeout

from actors.actor import Actor
from actors.channel import Channel, ChannelSocket, reply
from actors.clock import Clock, Interval, LoopClock, Timer
from actors.exceptions import (
    ActorsError,
    AlreadyTrackedError,
    BadReturnError,
    BlockingCallError,
    ChannelError,
    NameTakenError,
    NotJoinedError,
    NotTrackedError,
    StartError,
    UnhandledEventError,
)
from actors.exits import (
    KILL,
    KILLED,
    NO_PROCESS,
    NORMAL,
    SHUTDOWN,
    Crash,
    Down,
    Exit,
    ExitReason,
    Killed,
    MonitorRef,
    NoProcess,
    Normal,
    Refuse,
    Shutdown,
    Stop,
)
from actors.future import Future
from actors.message import Broadcast, Frame, Message, Opcode, Payload, Reply, Serializer, SocketRef, error, ok
from actors.presence import Presence
from actors.pubsub import PubSub
from actors.ref import ActorRef
from actors.registry import ActorRegistry, Keys, Registry

__all__ = [
    "KILL",
    "KILLED",
    "NORMAL",
    "NO_PROCESS",
    "SHUTDOWN",
    "Actor",
    "ActorDeadError",
    "ActorRef",
    "ActorRegistry",
    "ActorsError",
    "AlreadyTrackedError",
    "BadReturnError",
    "BlockingCallError",
    "Broadcast",
    "Channel",
    "ChannelError",
    "ChannelSocket",
    "Clock",
    "Crash",
    "Down",
    "Exit",
    "ExitReason",
    "Frame",
    "Future",
    "Interval",
    "Keys",
    "Killed",
    "LoopClock",
    "Message",
    "MonitorRef",
    "NameTakenError",
    "NoProcess",
    "Normal",
    "NotJoinedError",
    "NotTrackedError",
    "Opcode",
    "Payload",
    "Presence",
    "PubSub",
    "Refuse",
    "Registry",
    "Reply",
    "Serializer",
    "Shutdown",
    "SocketRef",
    "StartError",
    "Stop",
    "Timeout",
    "Timer",
    "UnhandledEventError",
    "error",
    "ok",
    "reply",
]
