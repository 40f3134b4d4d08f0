"""What the client's protocol wants done, as values: a driver carries them out in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from actors.channels.message import Message

__all__ = [
    "Call",
    "Callback",
    "CloseConnection",
    "Effect",
    "OpenConnection",
    "ProtocolTimer",
    "Resolve",
    "SendMessage",
    "StartTimer",
    "StopTimer",
    "TransportName",
]

TransportName = Literal["websocket", "longpoll"]
"""What carries the messages of a connection."""

Callback = Callable[[Any], object]
"""A user's function of one payload, response or reason; what it returns is awaited if it is awaitable."""


class ProtocolTimer:
    """A named timer of the protocol; whatever runs the protocol calls `fire` once for each `StartTimer`."""

    __slots__ = ("fire", "name")

    def __init__(self, name: str, fire: Callable[[], None]) -> None:
        self.name, self.fire = name, fire

    def __repr__(self) -> str:
        return f"<Timer {self.name}>"


class StartTimer(msgspec.Struct, frozen=True):
    """Fire the timer after `seconds`; restart it if it is running."""

    timer: ProtocolTimer
    seconds: float


class StopTimer(msgspec.Struct, frozen=True):
    """Do not fire the timer; does nothing if it is not running."""

    timer: ProtocolTimer


class OpenConnection(msgspec.Struct, frozen=True):
    """Connect to the server; events of this connection are reported with the number `connection`."""

    connection: int
    transport: TransportName


class CloseConnection(msgspec.Struct, frozen=True):
    """Close a connection, or stop opening it; its further events are ignored."""

    connection: int
    code: int
    reason: str


class SendMessage(msgspec.Struct, frozen=True):
    """Write a message to an open connection."""

    connection: int
    message: Message


class Resolve(msgspec.Struct, frozen=True):
    """Call a function for the payload of a join, or for another token, and await the result if it is awaitable.

    Then call `done(payload)`; or `failed(error)` if it raised, or if the protocol's version cannot encode what it returned.
    """

    topic: str
    source: Callable[[], object]
    done: Callable[[object], None]
    failed: Callable[[Exception], None]


class Call(msgspec.Struct, frozen=True):
    """Call a user's function; what it does or raises does not affect the protocol."""

    callback: Callable[..., object]
    args: tuple[object, ...]


Effect = StartTimer | StopTimer | OpenConnection | CloseConnection | SendMessage | Resolve | Call
