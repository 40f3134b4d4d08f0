"""Simulations: the order of events is drawn at random, and a seed reproduces it."""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from actors.callbacks import check_function
from actors.redaction import error_text, safe_repr
from actors.testing.chance import ChanceScheduler, Crashed
from actors.testing.exceptions import ScenarioError, SimulatedCrashError
from actors.testing.faults import Fault, Who, check_who, is_chosen_by
from actors.testing.manual_runtime import ManualRuntime

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.process import Process

__all__ = ["Simulation", "explore"]

# Steps that a report shows.
_SHOWN = 40

Kinds = type[BaseException] | tuple[type[BaseException], ...]


class Simulation(ManualRuntime):
    """A `ManualRuntime` in which a seed determines which actor runs next, and which faults happen.

        with Simulation(seed=7) as simulation:
            account = Account.start(100)
            tellers = [Teller.start(account) for _ in range(2)]
            simulation.kills(Teller)
            for teller in tellers:
                teller.tell(100)
            simulation.settle()
            assert account.ask("balance") in (0, 100)

    At each step one ready actor handles one message, or one coroutine continues up to its next `await`. All guarantees hold:
    messages from one actor to another arrive in order, and every ready actor runs eventually. The same seed leads to the same
    steps, in any process and on any machine, if the scenario depends on nothing else. The standard library's `random` is seeded
    inside the block; a scenario draws from there or from `simulation.random`.

    Blocking calls and `run` move the clock if necessary. asyncio's sleeps and timeouts are measured by the clock too. There is
    no I/O, and calls handed to an executor are made at once.

    At the end of the block an actor that has crashed fails it, unless with one of the `expected_crashes`. An exception that
    leaves the block has the seed and the last steps in its notes. To run many seeds, see `explore`.
    """

    _scheduler: ChanceScheduler

    def __init__(self, seed: int, *, expected_crashes: Kinds = ()) -> None:
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311  # it must be reproducible
        self._expected_crashes = expected_crashes

    def __enter__(self) -> Self:
        super().__enter__()
        self._outer_random = random.getstate()
        random.seed(self.seed)
        return self

    def _new_scheduler(self) -> ChanceScheduler:
        return ChanceScheduler(self.clock, self.random)

    def __exit__(self, *exc: object) -> None:
        error = exc[1]
        assert error is None or isinstance(error, BaseException)
        try:
            self._report_failure(error)
        finally:
            random.setstate(self._outer_random)
            super().__exit__(*exc)

    def _report_failure(self, error: BaseException | None) -> None:
        """Add the seed and the last steps to the failure of the block, or fail it for a crash."""
        if isinstance(error, ScenarioError):
            return
        if error is not None:
            error.add_note(self.report())
            return
        try:
            self.check()
        except Exception as late:
            late.add_note(self.report())
            raise

    # Faults

    def fault(self, name: str, action: Callable[[], object], *, probability: float = 0.05, limit: int = 1) -> None:
        """Call `action()` at random steps, for example to drop a connection.

        At each step it is called with `probability`, at most `limit` times in all. If it returns False
        nothing was affected, and that does not count.

        Raises:
            ValueError: if `probability` is not from 0 to 1, or `limit` is not a whole number >= 1.
        """

        def act() -> object:
            result = action()
            if result is not False:
                self._scheduler.trace.note(self.clock.now(), None, f"fault: {name}")
            return result

        self._add(act, probability, limit)

    def _add(self, action: Callable[[], object], probability: float, limit: int) -> None:
        self._scheduler.faults.append(Fault(action, probability, limit))

    def kills(self, who: Who, *, probability: float = 0.05, limit: int = 1) -> None:
        """Kill an actor at random steps: one of those alive that is of a class, is that ref, or meets a condition."""
        check_who(who)

        def kill(process: Process) -> None:
            self._scheduler.trace.note(self.clock.now(), process, "is killed by a fault")
            process.kill()

        def is_meant(ref: ActorRef[Any]) -> bool:
            return is_chosen_by(who, ref.process) and ref.process.signal is None

        self._add(lambda: self._to_one_of(is_meant, kill), probability, limit)

    def delays(
        self,
        who: Who,
        *,
        steps: int | None = None,
        seconds: float | None = None,
        probability: float = 0.05,
        limit: int = 1,
    ) -> None:
        """Delay an actor at random steps, as if its handler took that long.

        The delay is either a number of steps of other actors, or seconds of virtual time. Messages that the actor receives
        meanwhile wait in order.

        Raises:
            ValueError: if not exactly one of `steps` and `seconds` is given.
        """
        check_who(who)
        if (steps is None) == (seconds is None):
            raise ValueError(f"a delay takes either steps or seconds, got steps={steps!r}, seconds={seconds!r}")
        duration = f"{steps} steps" if steps is not None else f"{seconds:g} s"

        def delay(process: Process) -> None:
            self._scheduler.trace.note(self.clock.now(), process, f"is delayed for {duration} by a fault")
            self._scheduler.delay(process, steps=steps, seconds=seconds or 0.0)

        def is_meant(ref: ActorRef[Any]) -> bool:
            return is_chosen_by(who, ref.process) and not self._scheduler.is_delayed(ref.process)

        self._add(lambda: self._to_one_of(is_meant, delay), probability, limit)

    def _to_one_of(self, is_meant: Callable[[ActorRef[Any]], bool], act: Callable[[Process], None]) -> bool:
        """Act on one of the actors that are meant; return whether there was one."""
        meant = [process for process in self._scheduler.processes.values() if is_meant(process.ref)]
        if meant:
            act(self.random.choice(meant))
        return bool(meant)

    # Results

    @property
    def steps(self) -> int:
        """The number of steps so far."""
        return self._scheduler.trace.steps

    @property
    def trace(self) -> list[str]:
        """The last 1,000 steps as texts, the oldest first: the same for each run with this seed."""
        return self._scheduler.trace.lines()

    @property
    def crashes(self) -> list[Crashed]:
        """The actors that raised an exception, with it; not those that were killed or exited because of a link."""
        return list(self._scheduler.crashes)

    def check(self) -> None:
        """Run until idle, and fail if an actor has crashed unexpectedly.

        Raises:
            SimulatedCrashError: if one has.
        """
        self.settle()
        for actor, error in self._scheduler.crashes:
            if not isinstance(error, self._expected_crashes):
                raise SimulatedCrashError(self._scheduler.trace.anonymous(actor), error) from error

    def report(self) -> str:
        """Return a report: the last steps, the crashes, and the living actors."""
        trace = self._scheduler.trace
        living = ", ".join(trace.anonymous(str(ref)) for ref in self.actors) or "no actor"
        crashed = [f"crashed: {trace.anonymous(actor)}: {safe_repr(error)}" for actor, error in self._scheduler.crashes]
        return "\n".join([f"the last steps of seed {self.seed}:", *self.trace[-_SHOWN:], *crashed, f"alive: {living}"])

    def failed(self, error: Exception) -> ScenarioError:
        """Return the failure of a scenario that raised an exception."""
        text = self._scheduler.trace.anonymous(error_text(error))
        return ScenarioError(self.seed, text, self.report(), self.trace)


def explore(
    scenario: Callable[[Simulation], object], *, seeds: Iterable[int] = range(1000), expected_crashes: Kinds = ()
) -> None:
    """Run a scenario, `def` or `async def`, in a `Simulation` for each seed, until one fails.

        class Teller(Actor):
            def __init__(self, account):
                self.account = account

            async def on_receive(self, amount):
                if await self.account.call("balance") >= amount:
                    await self.account.call(("withdraw", amount))  # another teller may have withdrawn meanwhile

        def withdrawals(simulation):
            account = Account.start(100)
            for _ in range(2):
                Teller.start(account).tell(100)
            simulation.settle()
            assert account.ask("balance") == 0

        def test_nobody_is_paid_twice():
            explore(withdrawals)  # ScenarioError: seed 3: AssertionError: …

    The environment variable ASHTREE_SEED replaces `seeds`, to replay one: `ASHTREE_SEED=3 pytest …`. A failing seed is run a
    second time, to check that it replays. An actor that crashes fails the scenario, unless with one of the `expected_crashes`.

    Raises:
        ScenarioError: with the seed, the last steps and how to replay them; its cause is what the scenario raised.
        ValueError: if ASHTREE_SEED is not a number.
        TypeError: if the scenario is a generator function, of which nothing would run.
    """
    check_function("a scenario", scenario, plain=False)
    for seed in _seeds(seeds):
        failed = _failure(scenario, seed, expected_crashes)
        if failed is not None:
            failed.compare(_failure(scenario, seed, expected_crashes))
            raise failed from failed.__cause__


def _seeds(seeds: Iterable[int]) -> Iterable[int]:
    chosen = os.environ.get("ASHTREE_SEED")
    if chosen is None:
        return seeds
    try:
        return [int(chosen)]
    except ValueError:
        raise ValueError(f"ASHTREE_SEED must be a number, got {safe_repr(chosen)}") from None


def _failure(scenario: Callable[[Simulation], object], seed: int, expected_crashes: Kinds) -> ScenarioError | None:
    """Run the scenario once; return its failure, or None."""
    try:
        with Simulation(seed, expected_crashes=expected_crashes) as simulation:
            try:
                _play(scenario, simulation)
            except Exception as error:
                raise simulation.failed(error) from error
    except ScenarioError as failed:
        return failed
    return None


def _play(scenario: Callable[[Simulation], object], simulation: Simulation) -> None:
    result = scenario(simulation)
    if inspect.iscoroutine(result):
        simulation.run(result)
    simulation.check()
