"""How a client connects: what its owner has chosen for all connections, and what is looked up for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from actors.validation import check_seconds

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
    compress: bool = True
    longpoll_timeout: float = 20.0

    def __post_init__(self) -> None:
        check_seconds("longpoll_timeout", self.longpoll_timeout, "> 0")

    @property
    def tls(self) -> dict[str, Any]:
        """The keyword arguments for TLS of `websockets.connect`, which refuses them for ws."""
        return {} if self.ssl is None else {"ssl": self.ssl}


class Target(NamedTuple):
    """The URL of the WebSocket, with its params, and the token."""

    url: str
    auth_token: str | None = None
