"""The address that a client connects to: the URL with its params, the subprotocols with its token, the proxy on the way."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from websockets.exceptions import InvalidProxy
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import parse_uri

from actors.channels.encoding import unencodable
from actors.redaction import safe_repr
from transport.access.auth_token import PREFIX, SUBPROTOCOL
from transport.client.client_serializer import check_utf8
from transport.exceptions import UnencodableError

__all__ = [
    "checked_params",
    "checked_proxy",
    "checked_token",
    "checked_url",
    "connect_url",
    "longpoll_url",
    "proxy_for",
    "subprotocols",
]

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_PATH = "websocket"
_LONGPOLL_PATH = "longpoll"


def checked_url(url: str) -> str:
    """Return the URL of a socket's WebSocket, from that of the socket as phoenix.js takes it, such as `ws://host/socket`.

    Raises:
        ValueError: if the URL is invalid.
    """
    expected = f"a URL such as ws://host:4000/socket is expected, got {url!r}"
    if isinstance(url, str):
        check_utf8("the URL", url)
    else:
        raise ValueError(expected)  # noqa: TRY004  # like any other invalid URL
    try:
        parts = urlsplit(url)
        # Reading `port` raises ValueError if it is invalid.
        is_valid = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from error
    if not is_valid:
        raise ValueError(expected)
    path = parts.path.rstrip("/")
    if path.rpartition("/")[2] != _PATH:
        path = f"{path}/{_PATH}"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def checked_params(params: object) -> Mapping[str, object]:
    """Return the params of a connection; empty if None.

    Raises:
        TypeError: if they are not a mapping; an UnencodableError, which is a TypeError too, if a text has a lone surrogate.
    """
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        # Show the type only: the value may be secret, and this message is logged.
        raise TypeError(f"params must be a mapping or a function returning one, got {type(params).__name__}")
    try:
        _query(params)
    except UnicodeEncodeError as error:
        flaw = unencodable(error, "params", params, lambda part: _query({"": part}))
        path = flaw.path if isinstance(flaw, UnencodableError) else "$"
        raise UnencodableError(f"params at {path}: a lone surrogate, which UTF-8 does not have", path) from None
    return params


def checked_token(auth_token: object) -> str | None:
    """Return the token of a connection, or None.

    Raises:
        TypeError: if it is not a str; an UnencodableError, which is a TypeError too, if it has a lone surrogate.
    """
    if auth_token is not None and not isinstance(auth_token, str):
        raise TypeError(f"auth_token must be a str or a function returning one, got {type(auth_token).__name__}")
    if auth_token is not None:
        check_utf8("auth_token", auth_token)
    return auth_token


def connect_url(url: str, params: Mapping[str, object], vsn: str) -> str:
    """Return a checked URL with the params of this connection and the version of the protocol in its query."""
    scheme, host, path, query, fragment = urlsplit(url)
    own = urlencode(parse_qsl(query, keep_blank_values=True))
    parts = [own, _query(params), urlencode({"vsn": vsn})]
    return urlunsplit((scheme, host, path, "&".join(filter(None, parts)), fragment))


def _query(params: Mapping[str, object]) -> str:
    return urlencode([*_flat(params)])


def longpoll_url(url: str) -> str:
    """Return the URL for long polling beside that of a WebSocket; its scheme stays ws or wss."""
    scheme, host, path, query, fragment = urlsplit(url)
    return urlunsplit((scheme, host, path.removesuffix(_PATH) + _LONGPOLL_PATH, query, fragment))


def _flat(params: Mapping[str, object], parent: str = "") -> Iterator[tuple[str, str]]:
    """Yield params as form fields: nested ones as `parent[key]`; None is left out."""
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
    """Return the subprotocols that carry the token: outside the URL, which may be logged (phoenix.js' `authToken`)."""
    if auth_token is None:
        return None
    return [SUBPROTOCOL, PREFIX + base64.b64encode(auth_token.encode()).decode().rstrip("=")]


def checked_proxy(proxy: object) -> str | Literal[True] | None:
    """Return the option `proxy` of a socket.

    Raises:
        ValueError: if it is neither a URL nor True nor None.
    """
    if proxy is True or proxy is None or (isinstance(proxy, str) and _is_proxy(proxy)):
        return proxy
    # It may have a password.
    shown = "a URL that is none" if "@" in str(proxy) else safe_repr(proxy)
    raise ValueError(
        "proxy must be the URL of a proxy such as http://proxy:3128, True for that of the environment, or None for none, "
        f"got {shown}"
    )


def _is_proxy(url: str) -> bool:
    try:
        parse_proxy(url)
    except (InvalidProxy, ValueError):
        return False
    return True


def proxy_for(url: str, *, proxy: str | Literal[True] | None) -> str | None:
    """Return the URL of the proxy for a WebSocket's URL: the given one, None for none, or for True the environment's.

    That is the one of WS_PROXY (WSS_PROXY), SOCKS_PROXY, HTTPS_PROXY, HTTP_PROXY (not for wss) or ALL_PROXY, in this order, in
    upper or lower case, or of the operating system, unless NO_PROXY excludes the host. A host on this machine needs none.
    """
    if proxy is not True:
        return proxy
    uri = parse_uri(url)
    if _is_this_machine(uri.host) or proxy_bypass(f"{uri.host}:{uri.port}"):
        return None
    found = get_proxy(uri) or getproxies().get("all")
    if found is None or "://" not in found:
        return found and f"http://{found}"
    return found.replace("socks://", "socks5h://")


def _is_this_machine(host: str) -> bool:
    """Return whether connections to this host never leave this machine."""
    name = host.rstrip(".")
    try:
        address = ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761, section 6.3
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified
