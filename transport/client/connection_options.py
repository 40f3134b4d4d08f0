"""How a client connects: what its owner has chosen for all connections, and what is looked up for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Mapping

__all__ = ["ConnectionOptions", "Target"]


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of all connections of a socket; see `websockets.connect`."""

    headers: Mapping[str, str] = {}
    origin: str | None = None
    ssl: tls.SSLContext | None = None
    proxy: str | Literal[True] | None = True
    max_size: int | None = 2**24


class Target(NamedTuple):
    """The URL of the WebSocket, with its params, and the token."""

    url: str
    auth_token: str | None = None
