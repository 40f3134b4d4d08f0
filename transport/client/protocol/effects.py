"""What the client's protocol wants done, as values: whoever runs it carries them out, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import Message

__all__ = [
    "Call",
    "CloseConnection",
    "Effect",
    "OpenConnection",
    "Resolve",
    "Send",
    "StartTimer",
    "StopTimer",
    "Timer",
]


class Timer:
    """Something to happen after a while, once for each `StartTimer`; whoever keeps the time calls `fire`."""

    __slots__ = ("fire", "name")

    def __init__(self, name: str, fire: Callable[[], None]) -> None:
        self.name, self.fire = name, fire

    def __repr__(self) -> str:
        return f"<Timer {self.name}>"


class StartTimer(msgspec.Struct, frozen=True):
    """Fire the timer after `seconds`; one that runs starts anew."""

    timer: Timer
    seconds: float


class StopTimer(msgspec.Struct, frozen=True):
    """Do not fire the timer, if it runs."""

    timer: Timer


class OpenConnection(msgspec.Struct, frozen=True):
    """Connect to the server; `connection` is the number by which to tell what becomes of it."""

    connection: int


class CloseConnection(msgspec.Struct, frozen=True):
    """Close a connection, or give up opening it; nothing more needs to be told of it."""

    connection: int
    code: int
    reason: str


class Send(msgspec.Struct, frozen=True):
    """Write a message to a connection, which is open."""

    connection: int
    message: Message


class Resolve(msgspec.Struct, frozen=True):
    """Ask a function for the payload of a join, and wait if it is a coroutine function.

    Then call `done(payload)`, or `failed(error)` if it has failed, or the protocol's version has no form for what it returned.
    """

    topic: str
    source: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]


class Call(msgspec.Struct, frozen=True):
    """Call a function of the user's; what it does or raises is not the protocol's business."""

    callback: Callable[..., object]
    args: tuple[Any, ...]


Effect = StartTimer | StopTimer | OpenConnection | CloseConnection | Send | Resolve | Call
