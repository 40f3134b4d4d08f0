"""A push and what becomes of it (phoenix.js' Push), without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transport.client.protocol.effects import Call, Effect, StartTimer, StopTimer, Timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import Reply

__all__ = ["CLOSED", "TIMEOUT", "PushProtocol", "checked_timeout"]

TIMEOUT = "timeout"
"""The status of a push that was not answered in time."""

CLOSED = "closed"
"""The status of a push whose channel was closed before there was an answer."""


def checked_timeout(seconds: object) -> float:
    """Return the time-out of a push, which a timer can be set to; 0 waits for nothing, and infinity for ever.

    Raises:
        ValueError: if it is none, such as NaN.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ValueError(f"timeout must be seconds >= 0, got {seconds!r}")
    return seconds


class PushProtocol:
    """An event on its way to the server, and the answer to it.

    A join is pushed again each time that its channel joins again, with another ref, and is answered each time. `cause` is
    what its params raised, if the answer is ours and not the server's.
    """

    def __init__(
        self,
        event: str,
        payload: Any,
        timeout: float,
        *,
        emit: Callable[[Effect], None],
        timed_out: Callable[[PushProtocol], None],
    ) -> None:
        self.event, self.payload, self.timeout = event, payload, timeout
        self.ref: str | None = None
        self.received: Reply | None = None
        self.cause: Exception | None = None
        self._emit = emit
        self._hooks: list[tuple[str | None, Callable[..., object]]] = []
        self._timer = Timer(f"push {event}", lambda: timed_out(self))

    def __repr__(self) -> str:
        return f"<Push {self.event} ({self.ref}) {self.received.status if self.received else 'waiting'}>"

    def receive(self, status: str, callback: Callable[[Any], object]) -> None:
        """Have `callback(response)` called for an answer of that status, at once if it is there."""
        self._hooks.append((status, callback))
        if self.received is not None and self.received.status == status:
            self._emit(Call(callback, (self.received.payload,)))

    def watch(self, callback: Callable[[Reply], object]) -> None:
        """Have `callback(reply)` called for any answer, at once if it is there."""
        self._hooks.append((None, callback))
        if self.received is not None:
            self._emit(Call(callback, (self.received,)))

    def start(self, ref: str) -> None:
        """Be known by this ref from now on, and wait for the answer."""
        self.ref, self.received, self.cause = ref, None, None
        self._emit(StartTimer(self._timer, self.timeout))

    def reset(self) -> None:
        """Be known by no ref: an answer to what was sent does not count any more. The time-out still does."""
        self.ref = None

    def settle(self, reply: Reply) -> None:
        """Take this for the answer."""
        self.received = reply
        self._emit(StopTimer(self._timer))
        for status, callback in self._hooks:
            if status is None:
                self._emit(Call(callback, (reply,)))
            elif status == reply.status:
                self._emit(Call(callback, (reply.payload,)))
