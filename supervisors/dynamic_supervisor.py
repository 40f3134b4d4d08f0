"""The supervisor of children that come and go: any number, each by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from supervisors.child import Child, stop_children
from supervisors.child_spec import INFINITY, ChildSpec
from supervisors.exceptions import (
    ChildNotFoundError,
    SignificantChildError,
    TooManyChildrenError,
    UnsupportedCallError,
)
from supervisors.supervision import Children, Supervision

if TYPE_CHECKING:
    from actors.exits import ExitReason

__all__ = ["DynamicSupervisor"]


class DynamicSupervisor(Supervision):
    """Starts children on demand (`start_child`), one_for_one; its work for a child does not grow with their number.

    Callers name a child by its ref, as any number may have one id. A child that has ended for good is forgotten. At the end all
    children are told at once and awaited together.
    """

    def __init__(self, *, max_children: float = INFINITY, max_restarts: int = 3, max_seconds: float = 5.0) -> None:
        _check_max_children(max_children)
        super().__init__(max_restarts, max_seconds)
        self.max_children = max_children

    @property
    def _children(self) -> Children:
        return self._by_ref.values()

    def _add(self, spec: ChildSpec) -> Child:
        if len(self._by_ref) >= self.max_children:
            raise TooManyChildrenError(int(self.max_children))
        if spec.significant:
            raise SignificantChildError(spec.id)
        return Child(spec)

    def _discard(self, child: Child) -> None:
        """It was known by its ref alone."""

    def _find(self, key: Any) -> Child:
        try:
            return self._by_ref[key]
        except (KeyError, TypeError):
            raise ChildNotFoundError(key) from None

    def _find_stopped(self, key: Any) -> NoReturn:
        raise UnsupportedCallError

    def terminate(self, reason: ExitReason) -> Any:
        """Stop all children together."""
        return stop_children(self._process, self._children) if self._by_ref else None


def _check_max_children(value: object) -> None:
    if value == INFINITY:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"max_children must be a whole number >= 0 or INFINITY, got {value!r}")
