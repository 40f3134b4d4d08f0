"""The process model: actors on an event loop with Erlang's links, monitors and exits; and channels and PubSub on top."""

from pykka import ActorDeadError, Timeout

from actors.actor import Actor
from actors.caller import From
from actors.channel import Channel, reply
from actors.channels.channel_socket import ChannelSocket
from actors.channels.encoding import as_plain
from actors.channels.message import Broadcast, Frame, Message, Opcode, Payload, Reply, Serializer, SocketRef, error, ok
from actors.clock import Clock, Interval, LoopClock, Timer
from actors.exceptions import (
    ActorsError,
    AlreadyTrackedError,
    AmbiguousNameError,
    AskCycleError,
    BadReturnError,
    BlockingCallError,
    ChannelError,
    ForkedError,
    MailboxFullError,
    NameTakenError,
    NotJoinedError,
    NotRegisteredError,
    NotTrackedError,
    StartError,
    TaskExitError,
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
from actors.history import History, HistoryStore, MemoryHistory
from actors.idempotency import Idempotency
from actors.mailbox import Mailbox
from actors.names import ask, call, send, whereis
from actors.presence import Presence
from actors.pubsub import PubSub, RedisPubSub, publish
from actors.pubsub.adapter import Adapter
from actors.recorder import Recorded
from actors.ref import ActorRef
from actors.registry import ActorRegistry, Keys, Registered, Registry, Unregistered
from actors.request import Request
from actors.runtime.behaviour import FormatStatus
from actors.runtime.idle_timeout import IdleTimeout
from actors.runtime.report import CrashReport, last_crash, last_crashes
from actors.task.task import Task
from actors.task.task_stream import TaskStream
from actors.threads.actor_thread import LeftThread, threads_left
from actors.threads.pykka_actor import PykkaActor
from actors.threads.threaded_actor import ThreadedActor
from actors.via import Via

__distribution__ = "ashtree"  # by which ashtree/shadows.py tells it from a package of the same name

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
    "Adapter",
    "AlreadyTrackedError",
    "AmbiguousNameError",
    "AskCycleError",
    "BadReturnError",
    "BlockingCallError",
    "Broadcast",
    "Channel",
    "ChannelError",
    "ChannelSocket",
    "Clock",
    "Crash",
    "CrashReport",
    "Down",
    "Exit",
    "ExitReason",
    "ForkedError",
    "FormatStatus",
    "Frame",
    "From",
    "Future",
    "History",
    "HistoryStore",
    "Idempotency",
    "IdleTimeout",
    "Interval",
    "Keys",
    "Killed",
    "LeftThread",
    "LoopClock",
    "Mailbox",
    "MailboxFullError",
    "MemoryHistory",
    "Message",
    "MonitorRef",
    "NameTakenError",
    "NoProcess",
    "Normal",
    "NotJoinedError",
    "NotRegisteredError",
    "NotTrackedError",
    "Opcode",
    "Payload",
    "Presence",
    "PubSub",
    "PykkaActor",
    "Recorded",
    "RedisPubSub",
    "Refuse",
    "Registered",
    "Registry",
    "Reply",
    "Request",
    "Serializer",
    "Shutdown",
    "SocketRef",
    "StartError",
    "Stop",
    "Task",
    "TaskExitError",
    "TaskStream",
    "ThreadedActor",
    "Timeout",
    "Timer",
    "UnhandledEventError",
    "Unregistered",
    "Via",
    "as_plain",
    "ask",
    "call",
    "error",
    "last_crash",
    "last_crashes",
    "ok",
    "publish",
    "reply",
    "send",
    "threads_left",
    "whereis",
]
