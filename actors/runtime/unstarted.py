"""What stands for the scheduler of an actor until it is started: in its `__init__` it has neither a clock nor a mailbox."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Unstarted", "not_running"]


def not_running(actor_class: type) -> RuntimeError:
    """Return the error of an actor that is used before it is started."""
    return RuntimeError(
        f"{actor_class.__qualname__} is not running yet: in __init__ it can only set attributes; "
        "do this in on_start, which is called before the first message"
    )


class Unstarted:
    """Stands for the scheduler of an actor that has not been started: every use of it raises.

    Raises:
        RuntimeError: naming the class, and where to do it instead.
    """

    def __init__(self, actor_class: type) -> None:
        self._actor_class = actor_class

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what `copy`, `pickle` and the like look for
            raise AttributeError(name)
        raise not_running(self._actor_class)
