"""Chance under control: what happens next is drawn, and a seed draws the same once more."""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

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
    """A `ManualRuntime` in which chance, by a seed, says who goes on next; and what goes wrong.

        with Simulation(seed=7) as simulation:
            account = Account.start(100)
            tellers = [Teller.start(account) for _ in range(2)]
            simulation.kills(Teller)
            for teller in tellers:
                teller.tell(100)
            simulation.settle()
            assert account.ask("balance") in (0, 100)

    At each step one actor that is ready handles one message, or one coroutine that can go on does so, up to its next `await`.
    All guarantees hold: what one actor sends to another arrives in order, and whoever is ready runs at last. The same seed
    leads to the same steps, in any process and on any machine, if the scenario itself depends on nothing else. `random` of
    the standard library is seeded inside the block; a scenario takes what it draws from there or from `simulation.random`.

    Blocking calls, and `run`, let time go by if they have to. asyncio's sleeps and time-outs are on the clock too. There is no
    I/O, and what is handed to an executor is done at once.

    At the end of the block an actor that has crashed fails it, unless with one of the `expected_crashes`. An exception that
    leaves the block has the seed and the last steps in its notes. To run many seeds, see `explore`.
    """

    _scheduler: ChanceScheduler

    def __init__(self, seed: int, *, expected_crashes: Kinds = ()) -> None:
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311  # to be repeated is what it is for
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
            self._tell(error)
        finally:
            random.setstate(self._outer_random)
            super().__exit__(*exc)

    def _tell(self, error: BaseException | None) -> None:
        """Add the seed and the last steps to what has failed the block, or fails it now."""
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

    # What goes wrong

    def fault(self, name: str, action: Callable[[], object], *, probability: float = 0.05, limit: int = 1) -> None:
        """Call `action()` at steps that are drawn, such as one that drops a connection.

        At each step it is drawn with `probability` whether it happens, at most `limit` times. If it returns False it had
        nothing to do, and does not count.

        Raises:
            ValueError: if `probability` is not from 0 to 1, or `limit` less than 1.
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
        """Kill an actor at steps that are drawn: any one that lives then and is of a class, is that ref, or fits a function."""
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
        """Give an actor no turn for a while, from steps that are drawn: as if its handler took that long.

        The while is either a number of steps of others, or seconds of virtual time. What the actor is sent meanwhile waits, in
        order.

        Raises:
            ValueError: if not exactly one of `steps` and `seconds` is given.
        """
        check_who(who)
        if (steps is None) == (seconds is None):
            raise ValueError(f"a delay takes either steps or seconds, got steps={steps!r}, seconds={seconds!r}")
        while_ = f"{steps} steps" if steps is not None else f"{seconds:g} s"

        def delay(process: Process) -> None:
            self._scheduler.trace.note(self.clock.now(), process, f"is delayed for {while_} by a fault")
            self._scheduler.delay(process, steps=steps, seconds=seconds or 0.0)

        def is_meant(ref: ActorRef[Any]) -> bool:
            return is_chosen_by(who, ref.process) and not self._scheduler.is_delayed(ref.process)

        self._add(lambda: self._to_one_of(is_meant, delay), probability, limit)

    def _to_one_of(self, is_meant: Callable[[ActorRef[Any]], bool], act: Callable[[Process], None]) -> bool:
        """Do something to one of those that are meant; tell whether there was one."""
        meant = [process for process in self._scheduler.processes.values() if is_meant(process.ref)]
        if meant:
            act(self.random.choice(meant))
        return bool(meant)

    # What has happened

    @property
    def steps(self) -> int:
        """The number of steps so far."""
        return self._scheduler.trace.steps

    @property
    def trace(self) -> list[str]:
        """The last 1,000 steps in words, the oldest first: the same for each run with this seed."""
        return self._scheduler.trace.lines()

    @property
    def crashes(self) -> list[Crashed]:
        """Who has raised what, expected or not; those that were killed or only linked to one are not among them."""
        return list(self._scheduler.crashes)

    def check(self) -> None:
        """Let all come to rest, and fail if an actor has crashed that was not to.

        Raises:
            SimulatedCrashError: if one has.
        """
        self.settle()
        for actor, error in self._scheduler.crashes:
            if not isinstance(error, self._expected_crashes):
                raise SimulatedCrashError(self._scheduler.trace.anonymous(actor), error) from error

    def report(self) -> str:
        """Say how far it has come: the last steps, who lives, and who has crashed."""
        trace = self._scheduler.trace
        living = ", ".join(trace.anonymous(str(ref)) for ref in self.actors) or "nobody"
        crashed = [f"crashed: {trace.anonymous(actor)}: {error!r}" for actor, error in self._scheduler.crashes]
        return "\n".join([f"the last steps of seed {self.seed}:", *self.trace[-_SHOWN:], *crashed, f"alive: {living}"])

    def _failed(self, error: Exception) -> ScenarioError:
        text = self._scheduler.trace.anonymous(f"{type(error).__name__}: {error}")
        return ScenarioError(self.seed, text, self.report(), self.trace)


def explore(
    scenario: Callable[[Simulation], object], *, seeds: Iterable[int] = range(1000), expected_crashes: Kinds = ()
) -> None:
    """Run a scenario, `def` or `async def`, in a `Simulation` for each seed, up to the first that fails.

        class Teller(Actor):
            def __init__(self, account):
                self.account = account

            async def on_receive(self, amount):
                if await self.account.call("balance") >= amount:
                    await self.account.call(("withdraw", amount))  # another may have been served meanwhile

        def withdrawals(simulation):
            account = Account.start(100)
            for _ in range(2):
                Teller.start(account).tell(100)
            simulation.settle()
            assert account.ask("balance") == 0

        def test_nobody_is_paid_twice():
            explore(withdrawals)  # ScenarioError: seed 3: AssertionError: …

    The environment variable ASHTREE_SEED takes the place of `seeds`, to replay one: `ASHTREE_SEED=3 pytest …`. A failure is run
    once more, to tell whether its seed replays it. An actor that crashes fails the scenario, unless with one of the
    `expected_crashes`.

    Raises:
        ScenarioError: with the seed, the last steps and how to replay it, from what the scenario raised.
        ValueError: if ASHTREE_SEED is no number.
    """
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
        raise ValueError(f"ASHTREE_SEED must be a number, got {chosen!r}") from None


def _failure(scenario: Callable[[Simulation], object], seed: int, expected_crashes: Kinds) -> ScenarioError | None:
    """Run the scenario once; return how it failed, if it did."""
    try:
        with Simulation(seed, expected_crashes=expected_crashes) as simulation:
            try:
                _play(scenario, simulation)
            except Exception as error:
                raise simulation._failed(error) from error
    except ScenarioError as failed:
        return failed
    return None


def _play(scenario: Callable[[Simulation], object], simulation: Simulation) -> None:
    result = scenario(simulation)
    if inspect.iscoroutine(result):
        simulation.run(result)
    simulation.check()
