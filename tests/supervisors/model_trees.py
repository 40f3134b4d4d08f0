"""Random specs of the model, and the real children that they describe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

import supervisors.calls as supervision
import supervisors.child_spec
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor as RealDynamicSupervisor
from supervisors.supervisor import Supervisor
from tests.supervisors.model_process import BRUTAL_KILL, Spec, SupervisorSpec, WorkerSpec
from tests.supervisors.workers import Worker, in_words

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime

__all__ = ["SPECS", "TREES", "WORKERS", "Clocked", "numbered", "real"]


class Clocked(list[str]):
    """A journal of a `Worker` that also notes the time, for all processes of a tree."""

    def __init__(self, runtime: ManualRuntime) -> None:
        self.runtime = runtime
        self.entries: list[tuple[float, str]] = []
        self.lives: defaultdict[str, list[ActorRef[Any]]] = defaultdict(list)
        self.plans: defaultdict[str, list[BaseException | None]] = defaultdict(list)
        # What a worker that fails to start asks of its supervisor before it does, and what it is answered.
        self.meanwhile: defaultdict[str, list[str]] = defaultdict(list)
        self.futures: defaultdict[str, list[Any]] = defaultdict(list)

    def append(self, text: str) -> None:
        self.entries.append((self.runtime.clock.now(), text))


class Living(Worker):
    """A worker that enters its life into the book."""

    def __init__(self, label: str, book: Clocked, *, traps_exit: bool, **options: Any) -> None:
        super().__init__(label, book, plan=book.plans[label], **options)
        self.book, self.traps_exit = book, traps_exit
        book.lives[label].append(self.actor_ref)

    def on_start(self) -> Any:
        self.trap_exit = self.traps_exit
        return super().on_start()

    def _start(self) -> None:
        parent = self._process.parent
        if self.plan and parent is not None:
            for function in self.book.meanwhile[self.label]:
                future = getattr(supervision, function)(parent.ref, self.label)
                self.book.futures[self.label].append(future)
        super()._start()


class Noted(Supervisor):
    """A supervisor that writes down its start and its end."""

    def __init__(self, label: str, book: Clocked, children: list[ChildSpec], **options: Any) -> None:
        super().__init__(children, **options)
        self.label, self.book = label, book
        book.lives[label].append(self.actor_ref)

    async def _start_all(self) -> None:
        await super()._start_all()
        self.book.append(f"{self.label} starts")

    async def terminate(self, reason: ExitReason) -> None:
        await super().terminate(reason)
        self.book.append(f"{self.label} ends: {in_words(reason)}")


class NotedDynamic(RealDynamicSupervisor):
    """A dynamic supervisor that does the same."""

    def __init__(self, label: str, book: Clocked, **options: Any) -> None:
        super().__init__(**options)
        self.label, self.book = label, book
        book.lives[label].append(self.actor_ref)

    def on_start(self) -> None:
        super().on_start()
        self.book.append(f"{self.label} starts")

    async def terminate(self, reason: ExitReason) -> None:
        ending = super().terminate(reason)
        if ending is not None:
            await ending
        self.book.append(f"{self.label} ends: {in_words(reason)}")


def real(spec: Spec, book: Clocked) -> ChildSpec:
    """Return what our supervisors need to start the child that the model's spec describes."""
    shutdown = supervisors.child_spec.BRUTAL_KILL if spec.shutdown == BRUTAL_KILL else spec.shutdown
    common: dict[str, Any] = {"id": spec.id, "restart": spec.restart, "shutdown": shutdown}
    if spec.significant:
        common["significant"] = True
    if isinstance(spec, WorkerSpec):
        end_takes = None if spec.end_takes == inf else spec.end_takes
        takes = {"start_takes": spec.start_takes, "end_takes": end_takes, "traps_exit": spec.traps_exit}
        return ChildSpec(Living, (spec.id, book), takes, **common)
    assert isinstance(spec, SupervisorSpec)
    options: dict[str, Any] = {"max_restarts": spec.max_restarts, "max_seconds": spec.max_seconds}
    if spec.strategy == "dynamic":
        return ChildSpec(NotedDynamic, (spec.id, book), options | {"max_children": spec.max_children}, **common)
    options["strategy"] = spec.strategy
    if spec.auto_shutdown != "never":
        options["auto_shutdown"] = spec.auto_shutdown
    return ChildSpec(Noted, (spec.id, book, [real(child, book) for child in spec.children]), options, **common)


# Specs at random

RESTARTS = st.sampled_from(["permanent", "transient", "temporary"])
TAKES = st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.5])
WORKERS = st.builds(
    WorkerSpec,
    id=st.just("w"),
    restart=RESTARTS,
    shutdown=st.sampled_from([5.0, 5.0, 1.0, BRUTAL_KILL, inf]),
    significant=st.booleans(),
    start_takes=TAKES,
    end_takes=TAKES | st.just(inf),
    traps_exit=st.booleans(),
)


def supervisors_of(children: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    return st.builds(
        SupervisorSpec,
        id=st.just("s"),
        restart=RESTARTS,
        shutdown=st.sampled_from([inf, inf, inf, 2.0, BRUTAL_KILL]),
        significant=st.booleans(),
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one", "dynamic"]),
        max_restarts=st.integers(0, 4),
        max_seconds=st.sampled_from([1.0, 3.0, 5.0]),
        auto_shutdown=st.sampled_from(["never", "any_significant", "all_significant"]),
        max_children=st.sampled_from([inf, 2]),
        children=st.lists(children, max_size=4).map(tuple),
    )


SPECS: st.SearchStrategy[Spec] = st.recursive(WORKERS, supervisors_of, max_leaves=8)
TREES = supervisors_of(SPECS)


def numbered(spec: Spec, numbers: Iterator[int], parent: SupervisorSpec | None) -> Spec:
    """Give everything in the tree its own id and times of its own, and make it what OTP takes for valid."""
    number = next(numbers)
    spec = replace(spec, id=f"{spec.id}{number}", significant=_may_be_significant(spec, parent))
    if 0 < spec.shutdown < inf:
        spec = replace(spec, shutdown=spec.shutdown + number / 1024)
    if isinstance(spec, WorkerSpec):
        return _timed(spec, number)
    assert isinstance(spec, SupervisorSpec)
    if spec.strategy == "dynamic":
        return replace(spec, children=(), auto_shutdown="never")
    return replace(spec, children=tuple(numbered(child, numbers, spec) for child in spec.children))


def _may_be_significant(spec: Spec, parent: SupervisorSpec | None) -> bool:
    return (
        spec.significant
        and spec.restart != "permanent"
        and parent is not None
        and parent.strategy != "dynamic"
        and parent.auto_shutdown != "never"
    )


def _timed(spec: WorkerSpec, number: int) -> WorkerSpec:
    # No two things of different workers happen at one moment, where OTP would leave their order open.
    if spec.start_takes:
        spec = replace(spec, start_takes=spec.start_takes + number / 4096)
    if spec.end_takes:
        spec = replace(spec, end_takes=spec.end_takes + number / 8192)
    if spec.end_takes == inf and spec.shutdown == inf:
        spec = replace(spec, shutdown=3 + number / 1024)
    return spec
