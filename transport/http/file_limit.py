"""How many connections the limit of open files allows."""

from __future__ import annotations

import resource
import sys

__all__ = ["connections_for_files", "open_files"]

# Files for everything but connections: a part of all, at least so many.
_PART = 20
_RESERVE = 64


def open_files() -> int:
    """Return how many files this process may have open, RLIMIT_NOFILE."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def connections_for_files() -> int:
    """Return the limit of open files less a reserve: a twentieth, at least 64, but at most half of a small limit."""
    files = open_files()
    return max(1, files - max(files // _PART, min(_RESERVE, files // 2)))
