"""The connected clients, the channels they have joined, the topics that actors have subscribed to, and the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.channel import Channel
from actors.channels.client_actor import ClientActor
from supervisors.branches import children_of
from supervisors.observer.opened import redacted_entries
from supervisors.observer.process_info import process_info

if TYPE_CHECKING:
    from actors.channels.client_actor import ClientSocket
    from actors.lowlevel import Process
    from actors.ref import ActorRef

__all__ = [
    "ChannelInfo",
    "NodeInfo",
    "SocketInfo",
    "TopicInfo",
    "channel_info",
    "channels_of",
    "is_client",
    "socket_info",
]


class SocketInfo(NamedTuple):
    """One row of `sockets()`: a client's transport, its socket's class, id, assigns and topics, and what waits for it.

    Secrets in the assigns are filtered; `age` is in seconds. `waiting_in` are the bytes that were received from the client and
    are not handled, `waiting_out` those that it has not read; `dropped` counts the broadcasts that it has missed; while it is
    `paused`, nothing is read from it. `node` is the process that it is connected to; `ref` is None in the row of another one.
    """

    ref: ActorRef[Any] | None
    pid: str
    socket: str
    id: str | None
    assigns: dict[str, object]
    topics: list[str]
    age: float
    waiting_in: int
    waiting_out: int
    dropped: int
    paused: bool
    node: str = ""


class ChannelInfo(NamedTuple):
    """One row of `channels()`: a topic that a client has joined (or is joining), its channel, and the pid of its transport."""

    ref: ActorRef[Any]
    pid: str
    topic: str
    channel: str
    status: str
    transport: str
    mailbox: int
    handled: int
    age: float


class TopicInfo(NamedTuple):
    """One row of `topics()`: a topic, and the number of its subscriptions."""

    topic: str
    subscribers: int


class NodeInfo(NamedTuple):
    """One row of `nodes()`: a process, by its name for the others, its process id, and what it has; `age` is in seconds.

    `status` is "this one", "connected", or "did not answer": then the numbers are None.
    """

    node: str
    status: str
    pid: int | None = None
    clients: int | None = None
    channels: int | None = None
    actors: int | None = None
    age: float | None = None


def is_client(process: Process) -> bool:
    """Return whether an actor owns the connection of a client."""
    return isinstance(process.actor, ClientActor)


def channels_of(process: Process) -> Iterator[Process]:
    """Yield the channels below an actor, in start order."""
    for child, _ in children_of(process):
        if child is None:
            continue
        if issubclass(child.actor_class, Channel):
            yield child
        yield from channels_of(child)


def socket_info(process: Process) -> SocketInfo | None:
    """Return the row of a client's transport, read on its own thread; None if it has ended."""
    actor = process.actor
    if not isinstance(actor, ClientActor):
        return None
    socket, load = actor.socket, actor.load
    return SocketInfo(
        ref=process.ref,
        pid=process.pid,
        socket=type(socket).__name__,
        id=_id(socket),
        assigns=redacted_entries(getattr(socket, "assigns", {})),
        topics=[channel.label or "" for channel in channels_of(process)],
        age=process_info(process).age,
        waiting_in=load.bytes_in,
        waiting_out=load.bytes_out,
        dropped=load.dropped,
        paused=load.paused,
    )


def _id(socket: ClientSocket) -> str | None:
    try:
        return socket.id()
    except Exception:  # noqa: BLE001  # the author's; the table goes on without it
        return None


def channel_info(process: Process) -> ChannelInfo | None:
    """Return the row of a channel; None if it has ended."""
    actor = process.actor
    if not isinstance(actor, Channel):
        return None
    info = process_info(process)
    return ChannelInfo(
        ref=info.ref,
        pid=info.pid,
        topic=actor.topic,
        channel=info.actor,
        status="joined" if actor.is_joined else "joining",
        transport=actor.socket.transport.pid,
        mailbox=info.mailbox,
        handled=info.handled,
        age=info.age,
    )
