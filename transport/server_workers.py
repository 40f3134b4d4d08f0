"""The workers of a server that runs the program, such as gunicorn: processes, each with a PubSub and clients of its own."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from actors.log import Log
from actors.pubsub.adapter import LocalAdapter

if TYPE_CHECKING:
    from actors.pubsub.pubsub import PubSub

__all__ = ["server_workers", "warn_of_split_rooms"]

_log = Log("ashtree.transport")

# The attribute of a server's own objects that has the number of its workers, by the name of its package.
_NUMBERS = {"granian": "workers", "gunicorn": "num_workers", "hypercorn": "workers", "uvicorn": "workers"}

_SPLIT = (
    "rooms are split: this is one of %d workers of %s, and nothing connects them. A broadcast reaches the clients of its own "
    "worker only, each worker has its own presences, and long polling fails. Run one worker, or connect all of them: "
    'System(…, pubsub=PubSub(adapter=RedisPubSub("redis://…"))), see docs/scaling.md'
)


def warn_of_split_rooms(pubsub: PubSub) -> None:
    """Log a warning if this is one of several workers, and the PubSub has no adapter that reaches the others."""
    if isinstance(pubsub.adapter, LocalAdapter):
        server, number = server_workers()
        if number > 1:
            _log.warning(_SPLIT, number, server)


def server_workers() -> tuple[str, int]:
    """Return the name of the server whose worker this process is, and how many it has; `("", 1)` if there is no such server.

    Neither ASGI nor the environment tells applications. But the functions of the server that have led to this one are on the
    stack of the main thread, and the outermost of them that knows the number of workers decides: gunicorn may run a worker of
    uvicorn's, whose own option means nothing then.
    """
    if _NUMBERS.keys().isdisjoint(sys.modules):
        return "", 1
    innermost = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001  # documented by `sys`
    frames = [frame for frame, _ in traceback.walk_stack(innermost)]
    return next((found for frame in reversed(frames) for found in _known_to(frame)), ("", 1))


def _known_to(frame: FrameType) -> Iterator[tuple[str, int]]:
    """Yield the server and the number of its workers, if a local variable of a function knows."""
    for name, value in list(frame.f_locals.items()):
        server = _package(type(value).__module__)
        number = getattr(value, _NUMBERS.get(server, ""), None)
        if isinstance(number, int):
            yield server, number if server == "gunicorn" or _is_started_by_a_server(value) else 1
        elif name == "worker_id" and isinstance(value, int):
            # What granian tells a worker that it has not forked: the second knows that there are two.
            yield from [("granian", value)] if _package(frame.f_globals.get("__name__", "")) == "granian" else []


def _package(module: str) -> str:
    return module.partition(".")[0]


def _is_started_by_a_server(config: Any) -> bool:
    """Return whether this process is a worker; if not, the number is an option that the server ignores."""
    from multiprocessing import parent_process  # noqa: PLC0415  # most programs have no use for it

    return parent_process() is not None and getattr(config, "reload", None) is not True
