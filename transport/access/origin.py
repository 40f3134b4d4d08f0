"""The pages that may open a socket: the rules for the Origin header, as pure functions (Phoenix's `check_origin`)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from actors.callbacks import check_function
from actors.redaction import safe_repr
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
    """One entry of a list of origins; None means any scheme or any port, `*.` before the host includes all its subdomains."""

    scheme: str | None
    host: str
    port: int | None


class Origin(NamedTuple):
    """The origin of a page; the port is the scheme's default unless the page has another."""

    scheme: str
    host: str
    port: int | None


CheckOrigin = bool | Literal["conn"] | Collection[str] | Callable[[Origin], bool]
"""The values of an endpoint's `check_origin`."""

# The listener does not do TLS; an ASGI server may.
OWN_SCHEME = "http"


class OriginRule(Protocol):
    """A function of the Origin and Host headers of a request, and its scheme."""

    def __call__(self, origin: str | None, host: str | None, scheme: str = OWN_SCHEME, /) -> bool:
        """Return whether the page may connect."""


def origin_rule(check_origin: CheckOrigin) -> OriginRule:
    """Return the rule for a value of `check_origin`.

    Raises:
        SocketError: naming the invalid value, or the invalid entry of a list.
    """
    if check_origin is False:
        return lambda _origin, _host, _scheme=OWN_SCHEME: True
    if check_origin is True:
        return lambda origin, host, _scheme=OWN_SCHEME: origin_allowed(origin, None, host)
    if check_origin == "conn":
        return _same_origin
    if callable(check_origin):
        _check_function(check_origin)
        return partial(_allowed_by, check_origin)
    if isinstance(check_origin, str | bytes) or not isinstance(check_origin, Collection):
        raise SocketError(
            f'check_origin must be a bool, "conn", a list of origins or a function, got {safe_repr(check_origin)}'
        )
    entries = parse_origins(check_origin)
    return lambda origin, host, _scheme=OWN_SCHEME: origin_allowed(origin, entries, host)


def _check_function(check_origin: Callable[[Origin], bool]) -> None:
    try:
        check_function("the function given as check_origin", check_origin, instead="a coroutine would allow every page")
    except TypeError as wrong:
        raise SocketError(str(wrong)) from None


def read_origin(origin: str) -> Origin | None:
    """Parse an Origin header; None if it has no host, such as "null"."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return None if host is None else Origin(parts.scheme, host, port or _default_port(parts.scheme))


def _same_origin(origin: str | None, host: str | None, scheme: str = OWN_SCHEME) -> bool:
    """Return whether a page has the scheme, host and port of the request (Phoenix's `:conn`)."""
    if origin is None:
        return True
    page = read_origin(origin)
    return page is not None and page == read_origin(f"{scheme}://{host or ''}")


def _allowed_by(
    allows: Callable[[Origin], bool], origin: str | None, _host: str | None, _scheme: str = OWN_SCHEME
) -> bool:
    if origin is None:
        return True
    page = read_origin(origin)
    if page is None:
        return False
    allowed: object = allows(page)
    if not isinstance(allowed, bool):
        # Another value, such as a coroutine, could be truthy by mistake.
        raise SocketError(f"the function that is check_origin must return a bool, got {safe_repr(allowed)}")
    return allowed


def parse_origins(origins: Collection[str]) -> list[AllowedOrigin]:
    """Parse entries such as "//localhost", "https://example.com", "//*.example.com:8443".

    Raises:
        SocketError: naming the invalid entry.
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
            f'check_origin entries are written like "https://example.com" or "//localhost", got {safe_repr(origin)}'
        )
    return AllowedOrigin(parts.scheme or None, host, port)


def origin_allowed(origin: str | None, allowed: Collection[AllowedOrigin] | None, host: str | None) -> bool:
    """Return whether a page of `origin` may connect.

    A request without an Origin header is not from a page, and may. With a list, one entry must match; without one (`allowed` is
    None), the page must have the requested `host` (the Host header).
    """
    if origin is None:
        return True
    page = read_origin(origin)
    if page is None:
        return False
    if allowed is None:
        return page.host == _hostname(host)
    return any(_matches(entry, page) for entry in allowed)


def _hostname(host: str | None) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None


def _matches(entry: AllowedOrigin, page: Origin) -> bool:
    if entry.scheme is not None and entry.scheme != page.scheme:
        return False
    if entry.port is not None and entry.port != page.port:
        return False
    if entry.host.startswith("*."):
        return page.host == entry.host[2:] or page.host.endswith(entry.host[1:])
    return page.host == entry.host


def _default_port(scheme: str) -> int | None:
    return {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(scheme)
