"""Which pages may open a socket: the rules for the Origin header, as pure functions (Phoenix's `check_origin`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from transport.exceptions import SocketError

__all__ = ["AllowedOrigin", "origin_allowed", "parse_origins"]


class AllowedOrigin(NamedTuple):
    """One entry of a list of origins; None stands for any scheme or any port, `*.` before the host for it and all below it."""

    scheme: str | None
    host: str
    port: int | None


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
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.hostname is None:
        return False
    if allowed is None:
        return parts.hostname == _hostname(host)
    return any(_fits(entry, parts.scheme, parts.hostname, port) for entry in allowed)


def _hostname(host: str | None) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None


def _fits(entry: AllowedOrigin, scheme: str, host: str, port: int | None) -> bool:
    if entry.scheme is not None and entry.scheme != scheme:
        return False
    if entry.port is not None and entry.port != (port or _default_port(scheme)):
        return False
    if entry.host.startswith("*."):
        return host == entry.host[2:] or host.endswith(entry.host[1:])
    return host == entry.host


def _default_port(scheme: str) -> int | None:
    return {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(scheme)
