"""Places for connections: how many one client address, and one user, may have at a time, whatever carries them.

Sessions of long polling have places of their own besides, in total and for an address.

A place is taken when `connect` has accepted a client and left when its connection ends. A client that does not finish its
handshake leaves it after some seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.clock import Clock
    from actors.future import Future
    from actors.ref import ActorRef
    from transport.limits import Limits

__all__ = ["Place", "Places", "neighbourhood"]

HANDSHAKE = 10.0
"""Seconds for which a place is held between `connect` and the start of the connection."""

# The limits.
_ADDRESS, _ID = "connections_per_address", "connections_per_id"
_SESSIONS, _SESSIONS_OF_ADDRESS = "sessions", "sessions_per_address"

# What one client with IPv6 is given: it may use any address in it.
_PREFIX = 64


def neighbourhood(host: str) -> str:
    """Return what counts as one address: an IPv4 address, the first 64 bits of an IPv6 address, or other text as it is."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _PREFIX << _PREFIX)}/{_PREFIX}"


class Places:
    """The places of all sockets of one endpoint; for the thread of its event loop.

    Nothing is counted, and no place is needed, where no limit is set. `are_limited` is whether one is, for each transport, and
    `count_users` whether that of users is.
    """

    def __init__(self, limits: Limits) -> None:
        self._most = {name: getattr(limits, name) for name in (_ADDRESS, _ID, _SESSIONS, _SESSIONS_OF_ADDRESS)}
        self._taken: Counter[tuple[str, Hashable]] = Counter()
        self.count_users = limits.connections_per_id is not None
        websocket, longpoll = (_ADDRESS, _ID), tuple(self._most)
        self.are_limited = {
            "websocket": any(self._most[name] is not None for name in websocket),
            "longpoll": any(self._most[name] is not None for name in longpoll),
        }

    def __len__(self) -> int:
        return len(self._taken)

    def full(self, transport: str, peer: tuple[str, int] | None, user: str | None = None) -> str | None:
        """Return the limit that one more connection would exceed, by its name; None if there is a place."""
        for key in self._keys(transport, peer, user):
            most = self._most[key[0]]
            if most is not None and self._taken[key] >= most:
                return key[0]
        return None

    def take(self, transport: str, peer: tuple[str, int] | None, user: str | None, clock: Clock) -> Place | None:
        """Take a place, as there is one; None if none is needed."""
        keys = self._keys(transport, peer, user)
        if not keys:
            return None
        self._taken.update(keys)
        return Place(self._taken, keys, clock)

    def _keys(self, transport: str, peer: tuple[str, int] | None, user: str | None) -> list[tuple[str, Hashable]]:
        """Return what a client is counted under, for the limits that are set; one without an address or id counts for none."""
        address = None if peer is None else neighbourhood(peer[0])
        keys: list[tuple[str, Hashable]] = [(_ADDRESS, address), (_ID, user)]
        if transport == "longpoll":
            keys += [(_SESSIONS, "all"), (_SESSIONS_OF_ADDRESS, address)]
        return [(name, value) for name, value in keys if value is not None and self._most[name] is not None]


class Place:
    """The place of one connection."""

    __slots__ = ("_keys", "_taken", "_timer")

    def __init__(self, taken: Counter[tuple[str, Hashable]], keys: list[tuple[str, Hashable]], clock: Clock) -> None:
        self._taken, self._keys = taken, keys
        self._timer = clock.call_after(HANDSHAKE, self.leave)

    def keep_for(self, started: Future[ActorRef]) -> None:
        """Keep it until the transport actor of the connection ends."""
        self._timer.cancel()
        started.add_done_callback(self._keep)

    def _keep(self, started: Future[ActorRef]) -> None:
        if started.exception is None:
            started.result().process.own(self.leave)
        else:
            self.leave()

    def leave(self) -> None:
        """Let another connection have it; again, it does nothing."""
        self._timer.cancel()
        keys, self._keys = self._keys, []
        for key in keys:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
