"""A push and its reply (phoenix.js' Push), without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.callbacks import check_function
from actors.validation import check_seconds
from transport.client.protocol.effects import Call, Callback, Effect, ProtocolTimer, StartTimer, StopTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import Reply

__all__ = ["CLOSED", "TIMEOUT", "PushProtocol", "checked_timeout"]

TIMEOUT = "timeout"
"""The status of a push that got no reply in time."""

CLOSED = "closed"
"""The status of a push whose channel was closed before a reply arrived."""


def checked_timeout(timeout: float | None, default: float) -> float:
    """Return the timeout of a push in seconds: `default` if it is None; infinity never expires.

    Raises:
        ValueError: unless it is a number >= 0; NaN is not.
    """
    if timeout is None:
        return default
    check_seconds("timeout", timeout)
    return timeout


class PushProtocol:
    """An event sent to the server, and its reply.

    A join is pushed again, with a new ref, each time its channel rejoins, and gets a reply each time. `cause` is the exception
    that the join's params raised, if the reply was made here and not by the server. `again`: it is sent again at each rejoin.
    """

    def __init__(
        self,
        event: str,
        payload: object,
        timeout: float,
        *,
        emit: Callable[[Effect], None],
        timed_out: Callable[[PushProtocol], None],
    ) -> None:
        self.event, self.payload, self.timeout = event, payload, timeout
        self.again = False
        self.ref: str | None = None
        self.received: Reply | None = None
        self.cause: Exception | None = None
        self._emit = emit
        self._hooks: list[tuple[str | None, Callback]] = []
        self._timer = ProtocolTimer(f"push {event}", lambda: timed_out(self))

    def __repr__(self) -> str:
        return f"<Push {self.event} ({self.ref}) {self.received.status if self.received else 'waiting'}>"

    def receive(self, status: str, callback: Callback) -> None:
        """Call `callback(response)` for each reply with that status, at once if it has been received."""
        check_function("a callback of the client", callback, plain=False)
        self._hooks.append((status, callback))
        if self.received is not None and self.received.status == status:
            self._emit(Call(callback, (self.received.payload,)))

    def watch(self, callback: Callable[[Reply], object]) -> None:
        """Call `callback(reply)` for each reply, at once if one has been received."""
        self._hooks.append((None, callback))
        if self.received is not None:
            self._emit(Call(callback, (self.received,)))

    def unwatch(self, callback: Callable[[Reply], object]) -> None:
        """Forget a callback of `watch`."""
        self._hooks.remove((None, callback))

    def start(self, ref: str) -> None:
        """Take this ref, forget an earlier reply and start the timeout."""
        self.ref, self.received, self.cause = ref, None, None
        self._emit(StartTimer(self._timer, self.timeout))

    def reset(self) -> None:
        """Drop the ref: a reply to what was sent no longer counts. The timeout keeps running."""
        self.ref = None

    def settle(self, reply: Reply) -> None:
        """Record the reply, stop the timeout and call the callbacks."""
        self.received = reply
        self._emit(StopTimer(self._timer))
        for status, callback in self._hooks:
            if status is None:
                self._emit(Call(callback, (reply,)))
            elif status == reply.status:
                self._emit(Call(callback, (reply.payload,)))
