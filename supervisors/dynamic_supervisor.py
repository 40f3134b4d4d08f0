"""The supervisor of children that are started on demand, independent of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from actors.validation import check_count
from supervisors.child import Child, found, stop_children
from supervisors.child_spec import INFINITY, ChildSpec
from supervisors.exceptions import (
    SignificantChildError,
    TooManyChildrenError,
    UnsupportedCallError,
)
from supervisors.supervision import Children, Supervision

if TYPE_CHECKING:
    from collections.abc import Coroutine, Hashable

    from actors.exits import ExitReason

__all__ = ["DynamicSupervisor"]


class DynamicSupervisor(Supervision):
    """Starts children on demand (`start_child`), with the strategy one_for_one (Elixir's `DynamicSupervisor`).

    The cost of a child does not grow with their number. A child is given by its ref, as several may have the same id. A child
    that has ended and is not restarted is removed. At shutdown all children are stopped at the same time.

    Raises:
        ValueError: naming the invalid option, with its value.
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
        """Nothing to do: it was known by its ref alone."""

    def _find(self, key: Hashable) -> Child:
        return found(self._by_ref, key)

    def _find_stopped(self, key: Hashable) -> NoReturn:
        raise UnsupportedCallError

    def terminate(self, reason: ExitReason) -> Coroutine[Any, Any, None] | Any:
        """Stop all children at the same time."""
        return stop_children(self._process, self._children)


def _check_max_children(value: object) -> None:
    if value != INFINITY:
        check_count("max_children", value, others=" or INFINITY")
