"""OTP's rules of restarting, as pure functions: hold them beside the manual page of `supervisor`."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from itertools import dropwhile
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

from supervisors.child_spec import Restart

if TYPE_CHECKING:
    from actors.exits import ExitReason

__all__ = ["AutoShutdown", "RestartIntensity", "Strategy", "affected", "should_restart", "shuts_down"]

T = TypeVar("T")


class Strategy(enum.StrEnum):
    """Who is restarted with a child that has ended (OTP)."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody else."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""
    REST_FOR_ONE = "rest_for_one"
    """The siblings that were started after it."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"strategy must be one of {', '.join(cls)}, got {value!r}")


class AutoShutdown(enum.StrEnum):
    """Whether a supervisor ends when children that are `significant` have ended by themselves (OTP)."""

    NEVER = "never"
    """It does not, and has no significant children."""
    ANY_SIGNIFICANT = "any_significant"
    """It ends with the first of them."""
    ALL_SIGNIFICANT = "all_significant"
    """It ends with the last of them."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"auto_shutdown must be one of {', '.join(cls)}, got {value!r}")


# The same as plain texts, for type checkers.
StrategyName = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdownName = Literal["never", "any_significant", "all_significant"]


def should_restart(restart: Restart, reason: ExitReason) -> bool:
    """Tell whether a child with that restart type is started again after ending with `reason`."""
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return not reason.is_graceful
        case Restart.TEMPORARY:
            return False


def affected(strategy: Strategy, children: Iterable[T], failed: T) -> list[T]:
    """Return the children to start again, in start order; those that still run are first stopped, in reverse."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [failed]
        case Strategy.ONE_FOR_ALL:
            return list(children)
        case Strategy.REST_FOR_ONE:
            return list(dropwhile(lambda child: child != failed, children))


def shuts_down(auto_shutdown: AutoShutdown, *, significant: bool, others: Iterable[bool]) -> bool:
    """Tell whether a supervisor ends because a child has ended by itself and is not restarted.

    `significant` says whether that child is; `others`, for each significant child, whether it still runs or is to be restarted.
    """
    match auto_shutdown:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return significant
        case AutoShutdown.ALL_SIGNIFICANT:
            return significant and not any(others)


class RestartIntensity:
    """How many restarts a supervisor bears: more than `max_restarts` within `max_seconds` are too many."""

    __slots__ = ("_times", "max_restarts", "max_seconds")

    def __init__(self, max_restarts: int = 3, max_seconds: float = 5.0) -> None:
        _check_intensity(max_restarts, max_seconds)
        self.max_restarts, self.max_seconds = max_restarts, max_seconds
        self._times: deque[float] | None = None

    def allows(self, now: float) -> bool:
        """Count a restart at the monotonic time `now`; tell whether it is not one too many."""
        if self._times is None:
            self._times = deque()
        self._times.append(now)
        while self._times[0] < now - self.max_seconds:
            self._times.popleft()
        return len(self._times) <= self.max_restarts


def _check_intensity(max_restarts: object, max_seconds: object) -> None:
    if isinstance(max_restarts, bool) or not isinstance(max_restarts, int) or max_restarts < 0:
        raise ValueError(f"max_restarts must be a whole number >= 0, got {max_restarts!r}")
    if isinstance(max_seconds, bool) or not isinstance(max_seconds, int | float) or not max_seconds > 0:
        raise ValueError(f"max_seconds must be a number > 0, got {max_seconds!r}")
