"""How many connections the limit of open files allows."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

__all__ = ["connections_for_files", "open_files"]

# None on a platform without such limits.
_resource: Any = None
with suppress(ImportError):
    _resource = import_module("resource")

# Files for everything but connections: a part of all, at least so many.
_PART = 20
_RESERVE = 64


def open_files() -> int:
    """Return how many files this process may have open, RLIMIT_NOFILE; where there is no such limit, a large number."""
    if _resource is None:
        return sys.maxsize
    soft: int
    soft, _ = _resource.getrlimit(_resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == _resource.RLIM_INFINITY else soft


def connections_for_files() -> int:
    """Return the limit of open files less a reserve: a twentieth, at least 64, but at most half of a small limit."""
    files = open_files()
    return max(1, files - max(files // _PART, min(_RESERVE, files // 2)))
