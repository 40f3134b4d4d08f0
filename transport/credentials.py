"""The token of one connection, over time: when it expires, and those that its client sends in its place.

A token is handled by the socket's `handle_token`, one after the other. Clients send one for each topic (Supabase's does), so
those that wait and are the same are handled once, and answered together.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from transport.socket import expiry_of, takes_tokens

if TYPE_CHECKING:
    from actors.channels.message import TokenAccepted
    from actors.clock import Timer
    from actors.lowlevel import Process
    from transport.protocol.connection import Joined, RefreshToken
    from transport.socket import Socket

__all__ = ["Credentials", "TokenDue", "TokenHandled"]


class TokenDue(msgspec.Struct, frozen=True, eq=False):
    """Sent to a transport actor when its client is to be warned that its token expires, or to be disconnected."""


class TokenHandled(msgspec.Struct, frozen=True, eq=False):
    """Sent to a transport actor when an `async` `handle_token` has returned."""

    result: object


_DUE = TokenDue()


class Credentials:
    """What a transport actor, whose `process` this is, knows of its client's token.

    `late` has what is to be told to channels that are being started.
    """

    __slots__ = (
        "_before",
        "_expired_before",
        "_process",
        "_socket",
        "_timer",
        "_tokens",
        "_warns_at",
        "_watched",
        "late",
    )

    def __init__(self, socket: Socket, process: Process) -> None:
        self._socket, self._process = socket, process
        self._timer: Timer | None = None
        self._watched = self._warns_at = inf
        self._tokens: dict[str, list[RefreshToken]] = {}
        # What the socket said before the token that is being handled.
        self._before: dict[str, Any] = {}
        self._expired_before: float | None = None
        self.late: dict[Joined, TokenAccepted] = {}

    # Expiry

    def watch(self) -> None:
        """Wait until the client is to be warned, or its connection to be ended, at the times that its socket says now."""
        at = expiry_of(self._socket)
        if at == self._watched:
            return
        self._watched, self._warns_at = at, inf
        if at < inf and takes_tokens(type(self._socket)):
            left = at - self._process.scheduler.clock.unix_time()
            # Not before half of the time is over: a client with short tokens would be warned as soon as it has sent one.
            self._warns_at = at - min(self._socket.expiry_warning, max(0.0, left) / 2)
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = min(self._warns_at, self._watched + self._socket.expiry_leeway)
        clock, process = self._process.scheduler.clock, self._process
        self._timer = None if at == inf else clock.wall.call_at(at, lambda: process.put(_DUE), process)

    @property
    def have_expired(self) -> bool:
        """Whether the connection has to end."""
        # What the socket says now may be of a token that is still being handled.
        return self._process.scheduler.clock.unix_time() >= self._watched + self._socket.expiry_leeway

    def seconds_to_warn_of(self) -> float | None:
        """Return the seconds that are left if the client is to be told of them now, once; and wait for what is due next."""
        now, warns_at = self._process.scheduler.clock.unix_time(), self._warns_at
        is_due = warns_at <= now
        if is_due:
            self._warns_at = inf
        self._wait()
        return max(0.0, self._watched - now) if is_due else None

    # Other tokens

    def add(self, token: str, refresh: RefreshToken) -> bool:
        """Keep a token until it has been handled; return whether nothing else is, so that it is its turn."""
        self._tokens.setdefault(token, []).append(refresh)
        return len(self._tokens) == len(self._tokens[token]) == 1

    def next(self) -> str | None:
        """Return the token that is to be handled now, if there is one."""
        self._before, self._expired_before = dict(self._socket.assigns), self._socket.expires_at
        return next(iter(self._tokens), None)

    def handled(self) -> list[RefreshToken]:
        """Return the messages that have brought the token that was handled; the next one may be."""
        return self._tokens.pop(next(iter(self._tokens)))

    def forget_changes(self) -> None:
        """Let the socket be as it was before `handle_token`, which has refused the token after it had read it."""
        self._socket.assigns, self._socket.expires_at = self._before, self._expired_before

    def changes(self) -> dict[str, Any]:
        """Return the assigns that `handle_token` has set."""
        missing = object()
        before, now = self._before, self._socket.assigns
        return {key: value for key, value in now.items() if before.get(key, missing) is not value}
