"""What the event loops of the parent are in a forked process: they run there, and here only say so.

In the child each scheduler of the parent becomes a `ForkedScheduler`, which has nothing of it. So whatever leads to a loop of
the parent, from a ref, a future, a PubSub or a System, raises ForkedError where it is used. That costs the parent nothing, and
no place can be forgotten.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

from actors.clock import LoopClock
from actors.exceptions import ForkedError
from actors.fork import parent_id

__all__ = ["ForkedScheduler"]

# What the schedulers had. It is kept, as Python closes a loop that it frees, and with it what the parent waits for: the poll
# object of the kernel is shared with the child.
_left: list[dict[str, Any]] = []


class ForkedScheduler:
    """The scheduler of an event loop of the parent; whatever is asked of it raises ForkedError."""

    forked: int

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what `copy`, `pickle` and the like look for
            raise AttributeError(name)
        raise ForkedError("the event loop of these actors", self.forked)

    @classmethod
    def replace(cls, scheduler: Any) -> None:
        """Turn a scheduler of the parent into one of this class."""
        left = dict(vars(scheduler))
        _left.append(left)
        vars(scheduler).clear()
        scheduler.__class__ = cls
        scheduler.forked = parent_id()
        if isinstance(clock := left.get("clock"), LoopClock):
            # So its timers cannot be cancelled here, nor asked for their time.
            vars(clock)["now"] = partial(getattr, scheduler, "clock")
