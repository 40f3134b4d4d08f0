"""The supervisor of a fixed list of children: started in order, restarted by the rules, stopped in reverse order."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Coroutine, Hashable, Iterable, Sequence
from contextlib import suppress
from inspect import iscoroutine
from typing import Any

from actors.exits import SHUTDOWN, ExitReason, Stop
from supervisors.child import Child, found, start
from supervisors.child_spec import ChildSpec, Restart, Supervised, another_id, check_children, child_specs
from supervisors.exceptions import (
    AlreadyPresentError,
    AlreadyStartedError,
    ChildExistsError,
    ChildRestartingError,
    ChildRunningError,
    SignificantChildError,
)
from supervisors.restart import AutoShutdown, AutoShutdownName, Strategy, StrategyName, affected, shuts_down
from supervisors.supervision import Children, Supervision

__all__ = ["Supervisor"]


class Supervisor(Supervision):
    """Starts its children in order, restarts them as their specs say, and stops them in reverse order (OTP's `supervisor`).

    If a child cannot start, those before it are stopped and the supervisor itself cannot start. After more than `max_restarts`
    restarts within `max_seconds` it stops all children and exits; then its own supervisor decides. `auto_shutdown` says whether
    it also exits, with SHUTDOWN, when significant children have ended. A temporary child that has ended is removed.

    Raises:
        ValueError: naming the invalid option or child.
    """

    def __init__(
        self,
        children: Iterable[Supervised] = (),
        *,
        strategy: Strategy | StrategyName = Strategy.ONE_FOR_ONE,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: AutoShutdown | AutoShutdownName = AutoShutdown.NEVER,
    ) -> None:
        super().__init__(max_restarts, max_seconds)
        self.strategy, self.auto_shutdown = Strategy(strategy), AutoShutdown(auto_shutdown)
        self._by_id: dict[Hashable, Child] = {}
        check_children(children)
        for child in children:
            for spec in child_specs(child):
                if spec.id in self._by_id:
                    raise ChildExistsError(spec.id, f"give one of them another id: {another_id(child, spec)}")
                self._add(spec)

    @property
    def _children(self) -> Children:
        return self._by_id.values()

    def _add(self, spec: ChildSpec) -> Child:
        known = self._by_id.get(spec.id)
        if known is not None:
            raise AlreadyStartedError(spec.id, known.ref) if known.is_running else AlreadyPresentError(spec.id)
        if spec.significant and self.auto_shutdown is AutoShutdown.NEVER:
            raise SignificantChildError(spec.id)
        child = self._by_id[spec.id] = Child(spec)
        return child

    def _discard(self, child: Child) -> None:
        del self._by_id[child.spec.id]

    def _find(self, key: Hashable) -> Child:
        return found(self._by_id, key)

    def _find_stopped(self, key: Hashable) -> Child:
        child = self._find(key)
        if child.again is not None:
            raise ChildRestartingError(key)
        if child.ref is not None:
            raise ChildRunningError(key)
        return child

    # The start

    def on_start(self) -> Coroutine[Any, Any, None] | Any:
        """Start all children, in order."""
        super().on_start()
        return self._start_all()

    async def _start_all(self) -> None:
        try:
            for child in self._children:
                await start(self._process, child)
                self._launched(child, None)
        except BaseException:
            # A child could not start, or the supervisor was told to exit before all had started.
            await self._roll_back()
            raise

    async def _roll_back(self) -> None:
        # If it is told to exit meanwhile, it starts over with the children that are left; if it is killed, it does nothing.
        while self.actor_ref.is_alive():
            with suppress(CancelledError):
                await self._stop_in_reverse(list(self._children))
                break

    # Children that end

    def _on_end(self, child: Child) -> Stop | None:
        super()._on_end(child)
        others = (self._goes_on(other) for other in self._children if other.spec.significant)
        ends = shuts_down(self.auto_shutdown, significant=child.spec.significant, others=others)
        return Stop(SHUTDOWN) if ends else None

    def _goes_on(self, child: Child) -> bool:
        """Return whether a child is running or going to be restarted, on its own or together with a sibling."""
        waiting = (other for other in self._children if other.again is not None)
        return not child.is_stopped or any(child in self._group(other) for other in waiting)

    def _delay(self, child: Child, seconds: float) -> object:
        super()._delay(child, seconds)
        # The siblings that are restarted together with it do not run without it.
        others = [other for other in self._group(child) if other is not child]
        return self._stop_group(others) if others else None

    def _start_again(self, child: Child) -> object:
        group = self._group(child)
        # The common case, one_for_one with a plain on_start, needs no task.
        return self._restart_group(group) if len(group) > 1 else super()._start_again(child)

    def _group(self, failed: Child) -> list[Child]:
        return affected(self.strategy, self._children, failed)

    async def _restart_group(self, group: Sequence[Child]) -> None:
        await self._stop_group(group)
        for child in group:
            if child.spec.restart is Restart.TEMPORARY:
                continue
            launched = self._launch(child, self._try_again)
            if (await launched if iscoroutine(launched) else launched) is None:
                # It could not start: it is tried again together with its group, and those after it wait for that.
                return

    async def _stop_group(self, group: Sequence[Child]) -> None:
        await self._stop_in_reverse(group)
        for child in group:
            self._retire(child)

    # The end

    def terminate(self, reason: ExitReason) -> Coroutine[Any, Any, None] | Any:
        """Stop all children in reverse start order."""
        return self._stop_in_reverse(list(self._children))

    async def _stop_in_reverse(self, children: Sequence[Child]) -> None:
        for child in reversed(children):
            await self._stop_children([child])
