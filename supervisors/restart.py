"""OTP's restart rules as pure functions; compare them with the manual page of `supervisor`."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from itertools import dropwhile
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

from actors.redaction import safe_repr
from actors.validation import check_count, check_number
from supervisors.child_spec import Restart

if TYPE_CHECKING:
    from actors.exits import ExitReason

__all__ = ["AutoShutdown", "RestartIntensity", "Strategy", "affected", "should_restart", "shuts_down"]

T = TypeVar("T")


class Strategy(enum.StrEnum):
    """Which children are restarted together with one that has ended (OTP)."""

    ONE_FOR_ONE = "one_for_one"
    """No others."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""
    REST_FOR_ONE = "rest_for_one"
    """The siblings that were started after it."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"strategy must be one of {', '.join(cls)}, got {safe_repr(value)}")


class AutoShutdown(enum.StrEnum):
    """Whether a supervisor shuts down when its `significant` children have ended on their own (OTP)."""

    NEVER = "never"
    """It does not, and cannot have significant children."""
    ANY_SIGNIFICANT = "any_significant"
    """When the first of them has ended."""
    ALL_SIGNIFICANT = "all_significant"
    """When the last of them has ended."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"auto_shutdown must be one of {', '.join(cls)}, got {safe_repr(value)}")


# The same as string literals, for type checkers.
StrategyName = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdownName = Literal["never", "any_significant", "all_significant"]


def should_restart(restart: Restart, reason: ExitReason) -> bool:
    """Return whether a child with that restart type is restarted after it ended with `reason`."""
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return not reason.is_graceful
        case Restart.TEMPORARY:
            return False


def affected(strategy: Strategy, children: Iterable[T], failed: T) -> list[T]:
    """Return the children to restart, in start order; those that are running are stopped first, in reverse order."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [failed]
        case Strategy.ONE_FOR_ALL:
            return list(children)
        case Strategy.REST_FOR_ONE:
            return list(dropwhile(lambda child: child != failed, children))


def shuts_down(auto_shutdown: AutoShutdown, *, significant: bool, others: Iterable[bool]) -> bool:
    """Return whether a supervisor shuts down because a child has ended on its own and is not restarted.

    `significant` is whether that child is; `others` says of each significant child whether it is running or being restarted.
    """
    match auto_shutdown:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return significant
        case AutoShutdown.ALL_SIGNIFICANT:
            return significant and not any(others)


class RestartIntensity:
    """Counts the restarts of a supervisor: more than `max_restarts` within `max_seconds` are too many (OTP).

    Raises:
        ValueError: naming the invalid option, with its value.
    """

    __slots__ = ("_times", "max_restarts", "max_seconds")

    def __init__(self, max_restarts: int = 3, max_seconds: float = 5.0) -> None:
        check_count("max_restarts", max_restarts)
        check_number("max_seconds", max_seconds, "> 0")
        self.max_restarts, self.max_seconds = max_restarts, max_seconds
        self._times: deque[float] | None = None

    def allows(self, now: float) -> bool:
        """Count a restart at the monotonic time `now`; return whether it is within the limit."""
        if self._times is None:
            self._times = deque()
        self._times.append(now)
        while self._times[0] < now - self.max_seconds:
            self._times.popleft()
        return len(self._times) <= self.max_restarts
