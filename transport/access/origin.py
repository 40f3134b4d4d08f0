"""Which pages may open a socket: the rules for the Origin header, as pure functions (Phoenix's `check_origin`)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from transport.exceptions import SocketError

__all__ = [
    "OWN_SCHEME",
    "AllowedOrigin",
    "CheckOrigin",
    "Origin",
    "OriginRule",
    "origin_allowed",
    "origin_rule",
    "parse_origins",
    "read_origin",
]


class AllowedOrigin(NamedTuple):
    """One entry of a list of origins; None stands for any scheme or any port, `*.` before the host for it and all below it."""

    scheme: str | None
    host: str
    port: int | None


class Origin(NamedTuple):
    """Where a page comes from; the port is the scheme's own if the page does not name another."""

    scheme: str
    host: str
    port: int | None


CheckOrigin = bool | Literal["conn"] | Collection[str] | Callable[[Origin], bool]
"""What an author may write as an endpoint's `check_origin`."""

# The listener speaks no TLS itself; a server that carries us by ASGI may.
OWN_SCHEME = "http"


class OriginRule(Protocol):
    """The Origin and the Host header of a request in, with the scheme it came by; whether that page may connect out."""

    def __call__(self, origin: str | None, host: str | None, scheme: str = OWN_SCHEME, /) -> bool:
        """Judge one request."""


def origin_rule(check_origin: CheckOrigin) -> OriginRule:
    """Make the rule for a value of `check_origin`.

    Raises:
        SocketError: naming the value, or the entry of a list, that cannot be read.
    """
    if check_origin is False:
        return lambda _origin, _host, _scheme=OWN_SCHEME: True
    if check_origin is True:
        return lambda origin, host, _scheme=OWN_SCHEME: origin_allowed(origin, None, host)
    if check_origin == "conn":
        return _same_origin
    if callable(check_origin):
        return partial(_asked, check_origin)
    if isinstance(check_origin, str | bytes) or not isinstance(check_origin, Collection):
        raise SocketError(f'check_origin must be a bool, "conn", a list of origins or a function, got {check_origin!r}')
    entries = parse_origins(check_origin)
    return lambda origin, host, _scheme=OWN_SCHEME: origin_allowed(origin, entries, host)


def read_origin(origin: str) -> Origin | None:
    """Read an Origin header; None if it names no host, such as "null"."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return None if host is None else Origin(parts.scheme, host, port or _default_port(parts.scheme))


def _same_origin(origin: str | None, host: str | None, scheme: str = OWN_SCHEME) -> bool:
    """Tell whether a page comes from the very scheme, host and port that are asked (Phoenix's `:conn`)."""
    if origin is None:
        return True
    page = read_origin(origin)
    return page is not None and page == read_origin(f"{scheme}://{host or ''}")


def _asked(allows: Callable[[Origin], bool], origin: str | None, _host: str | None, _scheme: str = OWN_SCHEME) -> bool:
    if origin is None:
        return True
    page = read_origin(origin)
    if page is None:
        return False
    allowed: object = allows(page)
    if not isinstance(allowed, bool):
        # Whatever it is, such as a coroutine, it would be true.
        raise SocketError(f"the function that is check_origin must return a bool, got {allowed!r}")
    return allowed


def parse_origins(origins: Collection[str]) -> list[AllowedOrigin]:
    """Read entries such as "//localhost", "https://example.com", "//*.example.com:8443".

    Raises:
        SocketError: naming the entry that cannot be read.
    """
    return [_parse(origin) for origin in origins]


def _parse(origin: str) -> AllowedOrigin:
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except (ValueError, AttributeError, TypeError):
        host = port = None
    if host is None:
        raise SocketError(
            f'check_origin entries are written like "https://example.com" or "//localhost", got {origin!r}'
        )
    return AllowedOrigin(parts.scheme or None, host, port)


def origin_allowed(origin: str | None, allowed: Collection[AllowedOrigin] | None, host: str | None) -> bool:
    """Tell whether a page of `origin` may connect.

    Without an Origin header it is no page, and may. With a list, one entry must fit; without one (`allowed` is None),
    the page must come from the very `host` that is asked (the Host header).
    """
    if origin is None:
        return True
    page = read_origin(origin)
    if page is None:
        return False
    if allowed is None:
        return page.host == _hostname(host)
    return any(_fits(entry, page) for entry in allowed)


def _hostname(host: str | None) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None


def _fits(entry: AllowedOrigin, page: Origin) -> bool:
    if entry.scheme is not None and entry.scheme != page.scheme:
        return False
    if entry.port is not None and entry.port != page.port:
        return False
    if entry.host.startswith("*."):
        return page.host == entry.host[2:] or page.host.endswith(entry.host[1:])
    return page.host == entry.host


def _default_port(scheme: str) -> int | None:
    return {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(scheme)
