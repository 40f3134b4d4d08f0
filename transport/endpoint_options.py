"""The checks of an endpoint's options: each names the option, the value, and what to write."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from actors.callbacks import check_function
from actors.redaction import safe_repr
from actors.validation import check_count
from transport.carriers.deflate import Compression
from transport.carriers.longpoll import LongPoll
from transport.carriers.outbox import OutboxPolicy
from transport.drainer import Drainer
from transport.exceptions import SocketError
from transport.http.request_target import route_of
from transport.limits import Limits

__all__ = [
    "check_limits",
    "check_longpoll",
    "checked_compression",
    "checked_drainer",
    "checked_name",
    "checked_names",
    "checked_pages",
    "checked_sockets",
]

_SOCKETS = 'Endpoint({"/socket": UserSocket})'
_ROUTES = 'Endpoint(…, routes={"/": index})'


def checked_name(name: object) -> str:
    """Return the name of an endpoint."""
    if isinstance(name, str) and name:
        return name
    raise SocketError(
        f'the name of an endpoint must be a non-empty str such as Endpoint(…, name="admin"), got {safe_repr(name)}'
    )


def check_limits(max_frame_size: object, max_channels: object, limits: object, outbox: object) -> None:
    """Raise unless the limits of an endpoint are some."""
    check_count("max_frame_size", max_frame_size, least=1)
    check_count("max_channels", max_channels)
    if not isinstance(limits, Limits):
        raise SocketError(
            f"limits must be a Limits such as Limits(messages=Rate(50, burst=100)), got {safe_repr(limits)}"
        )
    if not isinstance(outbox, OutboxPolicy):
        raise SocketError(
            f'outbox must be an OutboxPolicy such as OutboxPolicy(overflow="drop_oldest"), got {safe_repr(outbox)}'
        )


def checked_compression(compress: object) -> Compression | None:
    """Return how messages are compressed; None if they are not."""
    if isinstance(compress, Compression):
        return compress
    if isinstance(compress, bool):
        return Compression() if compress else None
    raise SocketError(
        f"compress must be True, False, or a Compression such as Compression(min_size=1024), got {safe_repr(compress)}"
    )


def check_longpoll(longpoll: object) -> None:
    """Raise unless long polling is configured, or disabled by None."""
    if longpoll is not None and not isinstance(longpoll, LongPoll):
        raise SocketError(
            f"longpoll must be LongPoll(…), or None to disable it; it is on by default, got {safe_repr(longpoll)}"
        )


def checked_drainer(drainer: object) -> Drainer:
    """Return how an endpoint ends its connections."""
    if isinstance(drainer, Drainer):
        return drainer
    raise SocketError(
        f"drainer must be a Drainer such as Drainer(batch_size=1000, batch_interval=2.0), got {safe_repr(drainer)}"
    )


def checked_sockets(sockets: object) -> Iterable[tuple[str, Any]]:
    """Return the pairs of path and socket class; the classes are checked where they are mounted."""
    return _by_path("sockets are given", sockets, _SOCKETS).items()


def checked_pages(pages: object) -> dict[str, Any]:
    """Return pages by the paths under which requests find them."""
    by_path = _by_path("routes are given", pages, _ROUTES)
    for path, page in by_path.items():
        try:
            check_function(f"the page at {path!r}", page, plain=False)
        except TypeError as wrong:
            raise SocketError(str(wrong)) from None
    return {route_of(path): page for path, page in by_path.items()}


def _by_path(what: str, given: object, example: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise SocketError(f"{what} by their paths: {example}, got {safe_repr(given)}")
    known: dict[str, object] = {}
    for path in given:
        if not isinstance(path, str) or not path.startswith("/") or any(sign in path for sign in "?#*"):
            raise SocketError(f'a path begins with "/" and has none of "?#*": {example}, got {safe_repr(path)}')
        same = known.setdefault(route_of(path), path)
        if same is not path:
            raise SocketError(f"{path!r} and {same!r} are the same path: give one of them another")
    return given


def checked_names(names: Collection[Any]) -> tuple[str, ...]:
    """Return the names of parameters in lower case."""
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise SocketError(f'filter_parameters takes names such as ("password", "token"), got {safe_repr(names)}')
    return tuple(name.lower() for name in names)
