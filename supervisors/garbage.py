"""Python's garbage collector, tuned for a program in which very many objects live long.

By default a collection runs each time 700 more objects have been created than freed, and a full one whenever the number of
objects has grown by a quarter. A connection is some forty objects, and none of them are garbage cycles: the runtime's objects
are freed by reference counting. So thousands of new clients make the collector traverse millions of objects for nothing.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from actors.fork import in_child

__all__ = ["THRESHOLDS", "rare_collections"]

THRESHOLDS = (10_000, 10, 50)
"""Young objects are collected every 10,000, the second generation every 100,000, and all every five million."""

_DEFAULTS = ((700, 10, 10), (2000, 10, 0), (2000, 10, 10))  # CPython 3.11; 3.13 and 3.14


# The thresholds of before the block.
_before: list[tuple[int, int, int]] = []


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect garbage less often inside the block, and never traverse the objects that existed before it.

    `System.run()` does this for its program. In a program of your own, enter it once everything that lives as long as the
    program has been created. It does nothing if the collector is disabled, if its thresholds are not Python's defaults (then
    they have been chosen already), or outside the main thread.
    Old reference cycles are freed later than by default, and take memory until then.
    """
    before = gc.get_threshold()
    is_ours = threading.current_thread() is threading.main_thread()
    if not (is_ours and gc.isenabled() and before in _DEFAULTS):
        yield
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    _before.append(before)
    try:
        yield
    finally:
        _before.clear()
        gc.set_threshold(*before)
        gc.unfreeze()


def _after_fork() -> None:
    """Collect as before, in a forked child: it is another program, whose garbage may be of another kind."""
    if _before:
        gc.set_threshold(*_before.pop())


in_child(_after_fork)
