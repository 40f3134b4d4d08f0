"""Random trees, driven at random beside a model of OTP's rules: after each step both must have done the same.

CI looks at the same trees each time, some thousand steps. With ASHTREE_MODEL_EXAMPLES=5000 in the environment it looks at
so many others.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import supervisors.calls as supervision
from actors.exits import NORMAL, SHUTDOWN, Shutdown
from actors.lowlevel import spawn
from actors.testing import ManualRuntime
from supervisors.dynamic_supervisor import DynamicSupervisor as RealDynamicSupervisor
from tests.supervisors.model import Answer, Call, DynamicSupervisor, Stop
from tests.supervisors.model import Supervisor as ModelSupervisor
from tests.supervisors.model import spawn as spawn_in
from tests.supervisors.model_process import Process, Spec, SupervisorSpec, WorkerSpec, World
from tests.supervisors.model_process import Worker as ModelWorker
from tests.supervisors.model_trees import SPECS, TREES, WORKERS, Clocked, numbered, real
from tests.supervisors.workers import BoomError, in_words, worker

if TYPE_CHECKING:
    from actors.ref import ActorRef

EXAMPLES = int(os.environ.get("ASHTREE_MODEL_EXAMPLES", "100"))

P = TypeVar("P", bound=Process)

REASONS: dict[str, Any] = {
    "normal": NORMAL,
    "shutdown": SHUTDOWN,
    "shutdown, done": Shutdown("done"),
    "BoomError": BoomError("boom"),
}


class Trees(RuleBasedStateMachine):
    """One tree of ours and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.runtime = ManualRuntime().__enter__()
        self.book = Clocked(self.runtime)
        self.world = World()
        self.numbers = count()
        self.calls: list[tuple[Answer, Any]] = []
        self.answers: defaultdict[str, list[Answer]] = defaultdict(list)

    def teardown(self) -> None:
        self.runtime.__exit__()

    # Who is there

    def pick(self, kind: type[P], index: int) -> P:
        found = self.some(kind)
        return found[index % len(found)]

    def some(self, kind: type[P]) -> list[P]:
        """Return the processes of a kind that something may happen to.

        OTP leaves open whether a supervisor that has just started reads its mail before its parent takes the next step. So
        one that starts gets signals but no mail: its children that have started do not end.
        """
        return [
            process
            for process in self.world.processes()
            if isinstance(process, kind) and not _waits_for_its_parent(process)
        ]

    def ref(self, process: Process) -> ActorRef[Any]:
        return self.book.lives[process.id][self.world.lives[process.id].index(process)]

    # What happens to them

    @initialize(tree=TREES)
    def plant(self, tree: SupervisorSpec) -> None:
        self._plant(tree)

    @precondition(lambda self: not self.world.processes())
    @rule(tree=TREES)
    def replant(self, tree: SupervisorSpec) -> None:
        self._plant(tree)

    def _plant(self, tree: SupervisorSpec) -> None:
        strategy = "one_for_one" if tree.strategy == "dynamic" else tree.strategy
        spec = numbered(replace(tree, strategy=strategy), self.numbers, None)
        child = real(spec, self.book)
        spawn(child.actor, child.args, dict(child.kwargs))
        spawn_in(self.world, spec, None)
        self.compare()

    @precondition(lambda self: self.some(ModelWorker))
    @rule(index=st.integers(0, 20), reason=st.sampled_from(list(REASONS)))
    def worker_ends(self, index: int, reason: str) -> None:
        worker = self.pick(ModelWorker, index)
        if worker.state == "running":
            self.ref(worker).send(REASONS[reason])
            worker.end(reason)
        self.compare()

    @precondition(lambda self: self.some(Process))
    @rule(index=st.integers(0, 30), reason=st.sampled_from(list(REASONS)))
    def is_told_to_exit(self, index: int, reason: str) -> None:
        process = self.pick(Process, index)
        self.ref(process).exit(REASONS[reason])
        process.signal(reason, None)
        self.compare()

    @precondition(lambda self: self.some(Process))
    @rule(index=st.integers(0, 30))
    def is_killed(self, index: int) -> None:
        process = self.pick(Process, index)
        self.ref(process).kill()
        process.kill()
        self.compare()

    @precondition(lambda self: self.some(ModelSupervisor))
    @rule(index=st.integers(0, 10))
    def supervisor_stops(self, index: int) -> None:
        supervisor = self.pick(ModelSupervisor, index)
        if supervisor.state in ("starting", "unstarted"):
            return
        self.ref(supervisor).stop(block=False)
        supervisor.receive(Stop())
        self.compare()

    @precondition(lambda self: self.some(ModelWorker))
    @rule(
        index=st.integers(0, 20),
        times=st.integers(1, 4),
        reason=st.sampled_from(["BoomError", "killed"]),
        meanwhile=st.lists(st.sampled_from(["terminate_child", "restart_child", "delete_child"]), max_size=2),
    )
    def worker_fails_to_start_again(self, index: int, times: int, reason: str, meanwhile: list[str]) -> None:
        worker = self.pick(ModelWorker, index)
        self.book.meanwhile[worker.id] = meanwhile
        self.world.meanwhile[worker.id] = lambda process: self._ask_meanwhile(process, meanwhile)
        self.book.plans[worker.id].extend(BoomError("no") for _ in range(times))
        self.world.failures[worker.id] += times
        if reason == "killed":
            self.ref(worker).kill()
            worker.kill()
        elif worker.state == "running":
            self.ref(worker).send(REASONS[reason])
            worker.end(reason)
        self.compare()

    def _ask_meanwhile(self, process: Process, meanwhile: list[str]) -> None:
        assert process.parent is not None
        for function in meanwhile:
            answer = Answer()
            self.answers[process.id].append(answer)
            process.parent.receive(Call(function, process.id, answer))

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.0, 3.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.runtime.advance(seconds)
        self.world.advance(seconds)
        self.compare()

    @rule()
    def all_come_to_rest(self) -> None:
        self.runtime.advance(100)
        self.world.advance(100)
        self.compare()

    # Calls

    @precondition(lambda self: self.some(ModelSupervisor))
    @rule(index=st.integers(0, 10), spec=SPECS, fails=st.sampled_from([False, False, True]))
    def start_child(self, index: int, spec: Spec, *, fails: bool) -> None:
        supervisor = self.pick(ModelSupervisor, index)
        if supervisor.state in ("starting", "unstarted"):
            return
        spec = numbered(spec, self.numbers, supervisor.spec)
        if fails:
            self.book.plans[spec.id].append(BoomError("no"))
            self.world.failures[spec.id] += 1
        self._call(supervisor, "start_child", spec, real(spec, self.book))

    @precondition(lambda self: self.some(DynamicSupervisor))
    @rule(index=st.integers(0, 5), workers=st.lists(WORKERS, min_size=2, max_size=3))
    def start_workers_of_a_dynamic_supervisor(self, index: int, workers: list[WorkerSpec]) -> None:
        supervisor = self.pick(DynamicSupervisor, index)
        if supervisor.state in ("starting", "unstarted"):
            return
        for each in workers:
            spec = numbered(each, self.numbers, supervisor.spec)
            self._call(supervisor, "start_child", spec, real(spec, self.book))

    @precondition(lambda self: self.some(ModelSupervisor))
    @rule(index=st.integers(0, 10), child=st.integers(0, 5))
    def start_the_same_child(self, index: int, child: int) -> None:
        supervisor = self.pick(ModelSupervisor, index)
        if supervisor.state in ("starting", "unstarted"):
            return
        if supervisor.children:
            spec = supervisor.children[child % len(supervisor.children)].spec
            self._call(supervisor, "start_child", spec, real(spec, self.book))

    @precondition(lambda self: self.some(ModelSupervisor))
    @rule(
        index=st.integers(0, 10),
        child=st.integers(0, 5),
        function=st.sampled_from(["terminate_child", "restart_child", "delete_child"]),
    )
    def ask_for_a_child(self, index: int, child: int, function: str) -> None:
        supervisor = self.pick(ModelSupervisor, index)
        if supervisor.state in ("starting", "unstarted"):
            return
        if isinstance(supervisor, DynamicSupervisor):
            self._ask_for_a_dynamic_child(supervisor, child, function)
            return
        known = [found.spec.id for found in supervisor.children]
        child_id = [*known, "nobody"][child % (len(known) + 1)]
        self._call(supervisor, function, child_id, child_id)

    def _ask_for_a_dynamic_child(self, supervisor: DynamicSupervisor, child: int, function: str) -> None:
        processes = [found.process for found in supervisor.children if found.process is not None]
        process = [*processes, supervisor][child % (len(processes) + 1)]
        self._call(supervisor, function, process, self.ref(process))

    def _call(self, supervisor: ModelSupervisor, function: str, argument: object, real_argument: object) -> None:
        answer = Answer()
        future = getattr(supervision, function)(self.ref(supervisor), real_argument)
        supervisor.receive(Call(function, argument, answer))
        self.calls.append((answer, future))
        self.compare()

    # The comparison

    def compare(self) -> None:
        self.runtime.settle()
        self.world.settle()
        self.compare_lives()
        self.compare_journals()
        self.compare_children()
        self.compare_answers()

    def compare_lives(self) -> None:
        ours = {id_: [fate(ref) for ref in refs] for id_, refs in self.book.lives.items()}
        theirs = {id_: [process.reason for process in lives] for id_, lives in self.world.lives.items()}
        assert ours == theirs, difference(ours, theirs)
        assert len(self.runtime.actors) == len(self.world.processes())

    def compare_journals(self) -> None:
        """The same must have happened at the same times, and in the same order as far as one supervisor decides it."""
        ours, theirs = self.book.entries, [(entry.time, entry.text) for entry in self.world.journal]
        self._must_be_same(sorted(ours), sorted(theirs))
        open_order = {(entry.time, entry.text) for entry in self.world.journal if not entry.in_order}
        for supervisor in {self._parents[entry[1].split()[0]] for entry in theirs}:
            decided = {entry for entry in theirs if self._concerns(entry, supervisor)} - open_order
            self._must_be_same([entry for entry in ours if entry in decided], [e for e in theirs if e in decided])
        self.book.entries.clear()
        self.world.journal.clear()

    def _concerns(self, entry: tuple[float, str], supervisor: str) -> bool:
        id_ = entry[1].split()[0]
        return supervisor in (id_, self._parents[id_])

    @property
    def _parents(self) -> dict[str, str]:
        return {id_: lives[0].parent.id if lives[0].parent else id_ for id_, lives in self.world.lives.items() if lives}

    def _must_be_same(self, ours: Any, theirs: Any) -> None:
        assert ours == theirs, difference(ours, theirs)

    def compare_children(self) -> None:
        for process in self.world.processes():
            if isinstance(process, ModelSupervisor) and process.rests:
                self._compare_children(process, self.ref(process))

    def _compare_children(self, process: ModelSupervisor, ref: ActorRef[Any]) -> None:
        infos = supervision.which_children(ref).get()
        ours = [(info.id, info.ref, info.restarting, info.restarts) for info in infos]
        theirs = [
            (child.spec.id, child.process and self.ref(child.process), child.restarting, child.restarts)
            for child in process.children
        ]
        if isinstance(process, DynamicSupervisor):
            ours.sort(key=str)
            theirs.sort(key=str)
        assert ours == theirs, difference(ours, theirs)
        counts = supervision.count_children(ref).get()
        assert (counts.specs, counts.active) == (len(theirs), sum(ref is not None for _, ref, _, _ in theirs))

    def compare_answers(self) -> None:
        answers = {id_: [self._in_words(answer.value) for answer in answers] for id_, answers in self.answers.items()}
        futures = {id_: [future_in_words(future) for future in futures] for id_, futures in self.book.futures.items()}
        assert answers == {id_: words for id_, words in futures.items() if words}
        for answer, future in self.calls:
            assert self._in_words(answer.value) == future_in_words(future)
        self.calls = [(answer, future) for answer, future in self.calls if answer.value is None]

    def _in_words(self, value: Process | str | None) -> object:
        return self.ref(value) if isinstance(value, Process) else value


def _waits_for_its_parent(process: Process) -> bool:
    ancestor = None if process.state == "starting" else process.parent
    while ancestor is not None:
        if ancestor.state in ("starting", "unstarted"):
            return True
        ancestor = ancestor.parent
    return False


def difference(ours: Any, theirs: Any) -> str:
    if isinstance(ours, dict):
        keys = [key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)]
        ours, theirs = {key: ours.get(key) for key in keys}, {key: theirs.get(key) for key in keys}
    return f"ours {ours}, the model's {theirs}"


def fate(ref: ActorRef[Any]) -> str | None:
    return None if ref.exit_reason is None else in_words(ref.exit_reason)


def future_in_words(future: Any) -> object:
    if not future.done:
        return None
    if future.exception is not None:
        return type(future.exception).__name__
    result = future.result()
    return "ok" if result is None else result


def test_each_child_of_a_dynamic_supervisor_has_its_own_time_to_end(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = RealDynamicSupervisor.start()
    slow = supervision.start_child(supervisor, worker("slow", journal, end_takes=None, shutdown=5)).get()
    quick = supervision.start_child(supervisor, worker("quick", journal, end_takes=None, shutdown=1)).get()
    supervisor.exit(SHUTDOWN)
    runtime.advance(1)
    assert (slow.is_alive(), quick.is_alive()) == (True, False)
    runtime.advance(4)
    assert not slow.is_alive()
    assert not supervisor.is_alive()


TestTrees = Trees.TestCase
TestTrees.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    derandomize="ASHTREE_MODEL_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.generate, Phase.shrink],  # Phase.explain takes minutes for a machine
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
