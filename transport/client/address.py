"""Where a client connects to, and what it shows at the door: the URL with its params, the subprotocols with its token."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from transport.access.auth_token import PREFIX, SUBPROTOCOL

__all__ = ["checked_params", "checked_token", "checked_url", "connect_url", "subprotocols"]

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_PATH = "websocket"


def checked_url(url: str) -> str:
    """Return the URL of a socket as phoenix.js takes it, such as `ws://host/socket`, with the path of its WebSocket.

    Raises:
        ValueError: if it is no such URL.
    """
    expected = f"a URL such as ws://host:4000/socket is expected, got {url!r}"
    if not isinstance(url, str):
        raise ValueError(expected)  # noqa: TRY004  # as any other that is none
    try:
        parts = urlsplit(url)
        # What is no port is found out when it is asked for.
        is_one = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from error
    if not is_one:
        raise ValueError(expected)
    path = parts.path.rstrip("/")
    if path.rpartition("/")[2] != _PATH:
        path = f"{path}/{_PATH}"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def checked_params(params: Any) -> Mapping[str, Any]:
    """Return the params of a connection, none if None.

    Raises:
        TypeError: if they are no mapping.
    """
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        # Its type and not itself: it may hold what is secret, and this is logged.
        raise TypeError(f"params must be a mapping or a function returning one, got {type(params).__name__}")
    return params


def checked_token(auth_token: Any) -> str | None:
    """Return the token of a connection, or None.

    Raises:
        TypeError: if it is no str.
    """
    if auth_token is not None and not isinstance(auth_token, str):
        raise TypeError(f"auth_token must be a str or a function returning one, got {type(auth_token).__name__}")
    return auth_token


def connect_url(url: str, params: Mapping[str, Any], vsn: str) -> str:
    """Return a checked URL with the params of this connection, and the version of the protocol, in its query."""
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query, keep_blank_values=True), *_flat(params), ("vsn", vsn)]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _flat(params: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, str]]:
    """Yield params as a form has them: what is nested as `parent[key]`; None is left out."""
    for key, value in params.items():
        name = f"{parent}[{key}]" if parent else str(key)
        match value:
            case None:
                pass
            case Mapping():
                yield from _flat(value, name)
            case list() | tuple():
                yield from _flat({str(index): each for index, each in enumerate(value)}, name)
            case bool():
                yield name, "true" if value else "false"
            case _:
                yield name, str(value)


def subprotocols(auth_token: str | None) -> list[str] | None:
    """Return what to offer as subprotocols: the token, outside the address, which may be logged (phoenix.js' `authToken`)."""
    if auth_token is None:
        return None
    return [SUBPROTOCOL, PREFIX + base64.b64encode(auth_token.encode()).decode().rstrip("=")]
