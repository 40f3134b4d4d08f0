"""Python's garbage collector, set for a program in which very many objects live long.

By default it looks for cycles each time 700 objects more have been made than freed, and through all objects whenever their
number has grown by a quarter. A connection is some forty objects, in none of which it would find anything: what the runtime
makes ends by reference counts. So clients who come by the thousand make it look at millions of objects for nothing.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["THRESHOLDS", "rare_collections"]

THRESHOLDS = (10_000, 10, 50)
"""Young objects are looked at each 10,000, those that stay each 100,000, and all together each five million."""

_DEFAULTS = ((700, 10, 10), (2000, 10, 0), (2000, 10, 10))  # CPython 3.11; 3.13 and 3.14


@contextmanager
def rare_collections() -> Iterator[None]:
    """Have the garbage collector look less often inside the block, and never at what was there before it.

    `System.run()` does this for its program. In a program of your own do it when what lives as long as the program has been
    started. Nothing happens if the collector is off, or its thresholds are not Python's own: then somebody has decided already;
    nor outside the main thread, whose program it is.
    Cycles that grow old are freed later than by default, and take memory until then.
    """
    before = gc.get_threshold()
    is_ours = threading.current_thread() is threading.main_thread()
    if not (is_ours and gc.isenabled() and before in _DEFAULTS):
        yield
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
