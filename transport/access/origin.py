"""The pages that may open a socket: the rules for the Origin header, as pure functions (Phoenix's `check_origin`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from actors.callbacks import check_function
from actors.redaction import safe_repr
from transport.access.host import ascii_host, canonical_host
from transport.access.loopback import is_of_this_machine
from transport.exceptions import SocketError

__all__ = [
    "OWN_SCHEME",
    "AllowedOrigin",
    "Asking",
    "CheckOrigin",
    "Origin",
    "OriginRule",
    "checked_url_host",
    "origin_rule",
    "parse_origins",
    "read_origin",
]


# The listener does not do TLS; an ASGI server may.
OWN_SCHEME = "http"


class Origin(NamedTuple):
    """The origin of a page, as a function that is `check_origin` gets it; `str()` of it is what the browser sends.

    The host is in lower case, in ASCII ("xn--…") and without a dot at its end; the port is the scheme's default unless the page
    has another. A page of a file has no host, "": browsers send "file://", or "null", which has no scheme either.
    """

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        if not self.scheme:
            return _NULL
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


class AllowedOrigin(NamedTuple):
    """One entry of a list of origins; None means any scheme or any port, `*.` before the host includes all its subdomains."""

    scheme: str | None
    host: str
    port: int | None


class Asking(NamedTuple):
    """A request to connect: its Origin and Host headers, its scheme, and whether it came straight from a loopback address."""

    origin: str | None
    host: str | None = None
    scheme: str = OWN_SCHEME
    over_loopback: bool = False


CheckOrigin = bool | Literal["conn"] | Collection[str] | Callable[[Origin], bool]
"""The values of an endpoint's `check_origin`."""

OriginRule = Callable[[Asking], bool]
"""A function that returns whether the page of a request may connect."""

# What browsers send for pages of files, in sandboxes and the like (RFC 6454, section 7.1).
_NULL = "null"
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_MOST_PORT = 65_535
# Scheme, host and port; and a slash, which some programs add. Only the entries of a list may be without a scheme.
_ORIGIN = re.compile(
    r"(?:([a-z][a-z0-9+.-]*):)?//(\[[^\]]*\]|[^\[\]:/]*)(?::0*([0-9]{0,5}))?/?", re.ASCII | re.IGNORECASE
)
_ENTRIES = (
    'check_origin entries are written like "https://example.com", "//localhost" or "//*.example.com:8443", without a path, '
    'and "null" or "file://" for the pages of files'
)


def origin_rule(check_origin: CheckOrigin, url_host: str | None = None, listens_at: Collection[str] = ()) -> OriginRule:
    """Return the rule for a value of `check_origin`.

    `url_host` is the name of the server, in the form of `checked_url_host`; `listens_at` the hosts at which it listens.

    Raises:
        SocketError: naming the invalid value, or the invalid entry of a list.
    """
    if check_origin is False:
        return lambda _: True
    allows: Callable[[Origin, Asking], bool]
    own = _Own(url_host, frozenset(map(ascii_host, listens_at)))
    if check_origin is True:
        allows = partial(_is_of_own_host, own)
    elif check_origin == "conn":
        allows = partial(_is_of_own_origin, own)
    elif callable(check_origin):
        allows = partial(_allowed_by, _checked_function(check_origin))
    else:
        allows = partial(_is_listed, parse_origins(check_origin))
    return partial(_may_connect, allows)


def _may_connect(allows: Callable[[Origin, Asking], bool], asking: Asking) -> bool:
    """Return whether a request may connect: it is from no page, as it has no Origin header, or from one that is allowed."""
    if asking.origin is None:
        return True
    page = read_origin(asking.origin)
    return page is not None and allows(page, asking)


@lru_cache(maxsize=64)
def read_origin(text: str) -> Origin | None:
    """Parse an Origin header; None if it is invalid. There are a few for all clients of a server."""
    if text == _NULL:
        return Origin("", "", None)
    scheme, name, port = _split(text)
    host = canonical_host(name) if name else name
    return None if scheme is None or host is None else Origin(scheme, host, port or _DEFAULT_PORTS.get(scheme))


def _split(text: str) -> tuple[str | None, str | None, int | None]:
    """Return the scheme, the host as it is written and the port of an origin or an entry; no host if it is none of them.

    The host is "" where there is none, as only schemes that are not of the web allow.
    """
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None, None, None
    scheme, host, port = match[1] and match[1].lower(), match[2], int(match[3] or 0) or None
    has_none_by_right = host == "" and port is None and scheme is not None and scheme not in _DEFAULT_PORTS
    return scheme, host if (host or has_none_by_right) and (port or 0) <= _MOST_PORT else None, port


# One's own pages


class _Own(NamedTuple):
    """What a server knows of its names."""

    url_host: str | None
    listens_at: Collection[str | None]


def _is_of_own_host(own: _Own, page: Origin, asking: Asking) -> bool:
    """Return whether a page has the host of this server: its `url_host`, or else the one that is requested."""
    if own.url_host is not None:
        return page.host == own.url_host
    return page.host == _requested(asking) and _is_ours(page.host, own, asking)


def _is_of_own_origin(own: _Own, page: Origin, asking: Asking) -> bool:
    """Return whether a page has the scheme, host and port of the request (Phoenix's `:conn`)."""
    return page == read_origin(f"{asking.scheme}://{asking.host or ''}") and _is_ours(page.host, own, asking)


def _requested(asking: Asking) -> str | None:
    requested = read_origin(f"{asking.scheme}://{asking.host or ''}")
    return None if requested is None else requested.host


def _is_ours(requested: str, own: _Own, asking: Asking) -> bool:
    """Return whether a requested host is a name of this server, as far as it knows its names.

    A foreign page may give its own name the address of this machine (DNS rebinding), and is then of the requested host. So a
    client that comes over the loopback interface has to request a name of that, which no page can have by such means.
    """
    if asking.over_loopback and (is_of_this_machine(requested) or requested in own.listens_at):
        return True
    return requested == own.url_host if own.url_host is not None else not asking.over_loopback


def checked_url_host(url_host: object) -> str | None:
    """Return the host name of a server in the form in which it is compared.

    Raises:
        SocketError: if it is not one.
    """
    if url_host is None:
        return None
    if isinstance(url_host, str):
        host = ascii_host(url_host)
        if host is not None:
            return host
    raise SocketError(
        "url_host must be the name of the server in the addresses of its pages, without scheme and port, such as "
        f'"example.com", got {safe_repr(url_host)}'
    )


# Others


def _checked_function(check_origin: Callable[[Origin], bool]) -> Callable[[Origin], bool]:
    try:
        check_function("the function given as check_origin", check_origin, instead="a coroutine would allow every page")
    except TypeError as wrong:
        raise SocketError(str(wrong)) from None
    return check_origin


def _allowed_by(allows: Callable[[Origin], bool], page: Origin, _asking: Asking) -> bool:
    allowed: object = allows(page)
    if not isinstance(allowed, bool):
        # Another value, such as a coroutine, could be truthy by mistake.
        raise SocketError(f"the function that is check_origin must return a bool, got {safe_repr(allowed)}")
    return allowed


def parse_origins(origins: object) -> list[AllowedOrigin]:
    """Parse a list of entries such as "//localhost", "https://example.com", "//*.example.com:8443", "null".

    Raises:
        SocketError: naming the value that is no list, or the invalid entry.
    """
    if isinstance(origins, str | bytes) or not isinstance(origins, Collection):
        raise SocketError(
            f'check_origin must be a bool, "conn", a list of origins or a function, got {safe_repr(origins)}'
        )
    return [_parse(entry) for entry in origins]


def _parse(entry: object) -> AllowedOrigin:
    if entry == _NULL:
        return AllowedOrigin("", "", None)
    scheme, name, port = _split(entry) if isinstance(entry, str) else (None, None, None)
    subdomains = "*." if name and name.startswith("*.") else ""
    host = ascii_host(name.removeprefix(subdomains)) if name else name
    if host is None:
        every = "; for every page write check_origin=False" if entry in ("*", "//*") else ""
        raise SocketError(f"{_ENTRIES}{every}, got {safe_repr(entry)}")
    return AllowedOrigin(scheme, subdomains + host, port)


def _is_listed(entries: Collection[AllowedOrigin], page: Origin, _asking: Asking) -> bool:
    return any(_matches(entry, page) for entry in entries)


def _matches(entry: AllowedOrigin, page: Origin) -> bool:
    if entry.scheme is not None and entry.scheme != page.scheme:
        return False
    if entry.port is not None and entry.port != page.port:
        return False
    if entry.host.startswith("*."):
        return page.host == entry.host[2:] or page.host.endswith(entry.host[1:])
    return page.host == entry.host
