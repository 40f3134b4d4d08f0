"""Simulations: what is random and what is not, faults, and how a failure is replayed."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import BlockingCallError
from actors.exits import KILLED, Crash
from actors.testing.exceptions import ScenarioError, SimulatedCrashError
from actors.testing.simulation import Simulation, explore
from actors.threads.threaded_actor import ThreadedActor
from tests.live import WAIT

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.testing.manual_runtime import ManualRuntime

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_seed_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASHTREE_SEED", raising=False)


# The race: two tellers read the balance, and then both withdraw


class Account(Actor):
    def __init__(self, balance: int) -> None:
        self.balance = balance

    def on_receive(self, message: Any) -> Any:
        match message:
            case "balance":
                return self.balance
            case ("withdraw", amount):
                self.balance -= amount
        return None


class Teller(Actor):
    """Checks, then acts: in between, another teller may have withdrawn."""

    def __init__(self, account: ActorRef[Account]) -> None:
        self.account = account

    async def on_receive(self, amount: int) -> None:
        if await self.account.call("balance") >= amount:
            await self.account.call(("withdraw", amount))


def withdrawals(runtime: ManualRuntime) -> None:
    account = Account.start(100)
    for _ in range(2):
        Teller.start(account).tell(100)
    runtime.settle()
    assert account.ask("balance") == 0, "somebody was paid twice"


def found(scenario: Any = withdrawals, **options: Any) -> ScenarioError:
    with pytest.raises(ScenarioError) as failure:
        explore(scenario, **options)
    return failure.value


def test_an_ordinary_run_does_not_show_the_race(runtime: ManualRuntime) -> None:
    withdrawals(runtime)


def test_the_simulation_finds_the_race_in_a_few_seeds() -> None:
    failure = found()
    assert failure.seed < 20
    assert isinstance(failure.__cause__, AssertionError)
    assert failure.replays


def test_the_failure_says_what_happened_and_how_to_replay_it() -> None:
    failure = found()
    text = str(failure)
    assert text.startswith(f"seed {failure.seed}: AssertionError: somebody was paid twice")
    assert f"ASHTREE_SEED={failure.seed}" in text
    assert "Account#3 is asked ('withdraw', 100)" in text
    assert text.endswith("alive: Account#3, Teller#1, Teller#2")
    assert failure.trace[-1].endswith("Account#3 is asked 'balance'")


def test_the_seed_replays_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = found()
    again = found(seeds=[failure.seed])
    assert (again.seed, again.trace, str(again)) == (failure.seed, failure.trace, str(failure))
    monkeypatch.setenv("ASHTREE_SEED", str(failure.seed))
    assert found(seeds=[]).trace == failure.trace


def test_the_seed_of_the_environment_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASHTREE_SEED", "seven")
    with pytest.raises(ValueError, match="ASHTREE_SEED must be a number, got 'seven'"):
        explore(withdrawals)


def test_a_scenario_that_holds_is_run_for_each_seed() -> None:
    seeds: list[int] = []
    explore(lambda simulation: seeds.append(simulation.seed), seeds=range(5))
    assert seeds == [0, 1, 2, 3, 4]


def test_a_scenario_that_depends_on_something_else_is_told_so() -> None:
    runs: list[int] = []

    def fickle(simulation: Simulation) -> None:
        runs.append(0)
        Account.start(len(runs)).tell(len(runs))
        simulation.settle()
        raise AssertionError

    failure = found(fickle)
    assert not failure.replays
    assert "it will not replay" in failure.__notes__[0]


# Reproducible runs

BUSY = """
from tests.actors.test_simulation import busy_trace
print("\\n".join(busy_trace(11)))
"""


class Gossip(Actor):
    """Sends to other actors, some by ref and some from a set; sleeps; draws random numbers."""

    def __init__(self, others: list[ActorRef[Any]]) -> None:
        self.others = others

    async def on_receive(self, hops: int) -> None:
        await asyncio.create_task(asyncio.sleep(random.random()))  # noqa: S311  # to be repeated
        for other in self.others:
            if hops and random.random() < 0.7:  # noqa: S311  # to be repeated
                self.send(other, hops - 1)


def busy_trace(seed: int) -> list[str]:
    with Simulation(seed) as simulation:
        simulation.kills(Gossip, probability=0.02)
        simulation.delays(Gossip, seconds=0.5, probability=0.1, limit=3)
        simulation.delays(Gossip, steps=5, probability=0.1, limit=3)
        others: list[ActorRef[Any]] = []
        for _ in range(4):
            others.append(Gossip.start(others))
        others[0].tell(4)
        simulation.advance(10)
        return simulation.trace


def test_one_seed_leads_to_the_same_steps() -> None:
    first = busy_trace(11)
    assert len(first) > 50
    assert busy_trace(11) == first


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_one_seed_leads_to_the_same_steps_in_another_process(hash_seed: str) -> None:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BUSY]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=4 * WAIT)  # noqa: S603  # our own
    assert run.stdout.splitlines() == busy_trace(11)


def test_other_seeds_lead_to_other_steps() -> None:
    assert len({tuple(busy_trace(seed)) for seed in range(20)}) == 20


def test_the_random_module_is_seeded_inside_and_as_before_afterwards() -> None:
    state = random.getstate()
    drawn = []
    for _ in range(2):
        with Simulation(5) as simulation:
            drawn.append((random.random(), simulation.random.random()))  # noqa: S311  # to be repeated
    assert drawn[0] == drawn[1]
    assert random.getstate() == state


# What is random, and what is not


class Noting(Actor):
    """Records its messages."""

    def __init__(self, log: list[Any], name: str = "") -> None:
        self.log, self.name = log, name

    def on_receive(self, message: Any) -> None:
        self.log.append((self.name, message))


class Sending(Actor):
    """Sends numbers to one actor, one per turn."""

    def __init__(self, to: ActorRef[Any], name: str) -> None:
        self.to, self.name = to, name

    def on_start(self) -> None:
        self.send(self, 0)

    def on_receive(self, number: int) -> None:
        self.send(self.to, (self.name, number))
        if number < 9:
            self.send(self, number + 1)


def test_what_one_actor_sends_to_another_arrives_in_order() -> None:
    orders: set[tuple[str, ...]] = set()

    def scenario(simulation: Simulation) -> None:
        log: list[Any] = []
        receiver = Noting.start(log)
        simulation.delays(Noting, steps=5, probability=0.2, limit=3)
        simulation.delays(Sending, seconds=1.0, probability=0.1, limit=2)
        for name in "ab":
            Sending.start(receiver, name)
        simulation.advance(5)
        got = [message for _, message in log]
        for name in "ab":
            assert [number for sender, number in got if sender == name] == list(range(10))
        orders.add(tuple(sender for sender, _ in got))

    explore(scenario, seeds=range(200))
    assert len(orders) > 100


def test_actors_take_turns_of_one_message() -> None:
    def order(seed: int) -> str:
        log: list[Any] = []
        with Simulation(seed) as simulation:
            for name in "ab":
                ref = Noting.start(log, name)
                for number in range(3):
                    ref.tell(number)
            simulation.settle()
        return "".join(name for name, _ in log)

    assert {order(seed) for seed in range(500)} == {
        "".join(name)
        for name in [format(n, "06b").replace("0", "a").replace("1", "b") for n in range(64)]
        if name.count("a") == 3
    }


def test_coroutines_go_on_in_any_order() -> None:
    class Stepping(Actor):
        def __init__(self, log: list[str], name: str) -> None:
            self.log, self.name = log, name

        async def on_receive(self, message: Any) -> None:
            for _ in range(2):
                self.log.append(self.name)
                await asyncio.sleep(0)

    def order(seed: int) -> str:
        log: list[str] = []
        with Simulation(seed) as simulation:
            for name in "ab":
                Stepping.start(log, name).tell("go")
            simulation.settle()
        return "".join(log)

    assert {order(seed) for seed in range(200)} == {"aabb", "abab", "abba", "baab", "baba", "bbaa"}


def test_whoever_is_ready_gets_a_turn_though_others_never_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.testing.chance.ENDLESS", 500)
    log: list[Any] = []

    class Restless(Actor):
        def on_receive(self, message: Any) -> None:
            self.send(self, message)

    with Simulation(3) as simulation:
        refs = [Restless.start() for _ in range(5)]
        Noting.start(log).tell("a turn")
        for ref in refs:
            ref.tell("a turn")
        with pytest.raises(RuntimeError, match=r"the actors never become idle; the last steps:\n.*Restless#"):
            simulation.settle()
        for ref in refs:
            ref.kill()
    assert log == [("", "a turn")]


def test_an_async_scenario_is_one_of_those_that_chance_lets_go_on() -> None:
    async def scenario(simulation: Simulation) -> None:
        account = Account.start(100)
        await asyncio.gather(*(Teller.start(account).call(100) for _ in range(2)))
        assert await account.call("balance") == 0, "somebody was paid twice"

    assert "somebody was paid twice" in str(found(scenario))


def test_blocking_in_a_handler_is_refused() -> None:
    class Blocking(Actor):
        def on_receive(self, other: ActorRef[Any]) -> Any:
            return other.ask("balance")

    with Simulation(1, expected_crashes=BlockingCallError), pytest.raises(BlockingCallError):
        Blocking.start().ask(Account.start(1))


def test_actors_with_threads_take_part() -> None:
    class Blocking(ThreadedActor):
        def on_receive(self, other: ActorRef[Any]) -> Any:
            return other.ask("balance")

    def run() -> list[str]:
        with Simulation(1) as simulation:
            ref = Blocking.start()
            assert ref.ask(Account.start(100)) == 100
            ref.stop()
            return simulation.trace

    assert run() == run()


# Time


def test_sleeps_and_time_outs_of_asyncio_are_virtual() -> None:
    async def scenario(simulation: Simulation) -> None:
        await asyncio.sleep(10)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await asyncio.sleep(100)
        assert simulation.clock.now() == asyncio.get_running_loop().time() == 30
        assert simulation.clock.pending() == 0

    explore(scenario, seeds=range(10))


class Late(Actor):
    async def on_receive(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "at last"


def test_an_ask_lets_time_go_by_up_to_its_time_out() -> None:
    with Simulation(1) as simulation:
        late = Late.start()
        assert late.ask(3.0) == "at last"
        assert simulation.clock.now() == 3
        with pytest.raises(pykka.Timeout, match="no answer in 5 seconds of virtual time"):
            late.ask(6.0)
        assert simulation.clock.now() == 8
        assert simulation.run(late.call(1.0)) == "at last"
        assert simulation.clock.now() == 10


def test_what_is_handed_to_an_executor_is_done_at_once() -> None:
    async def scenario(simulation: Simulation) -> None:
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)

    explore(scenario, seeds=[1])


def test_nothing_is_called_when_the_simulation_is_over() -> None:
    with Simulation(1) as simulation:
        loop = simulation._scheduler.loop
        ref = Account.start(1)
    assert (loop.is_closed(), ref.exit_reason) == (True, KILLED)
    with pytest.raises(RuntimeError, match="the event loop of this simulation is closed"):
        loop.call_soon(print)


# Faults


@pytest.mark.parametrize("who", ["a class", "a ref", "a function"])
def test_an_actor_is_killed(who: str) -> None:
    with Simulation(2) as simulation:
        account, other = Account.start(1), Noting.start([])
        meant: Any = {"a class": Account, "a ref": account, "a function": lambda ref: ref == account}[who]
        simulation.kills(meant, probability=1, limit=3)
        for _ in range(3):
            other.tell("x")
        simulation.settle()
        assert (account.exit_reason, other.is_alive()) == (KILLED, True)
        assert sum("Account#1 is killed by a fault" in line for line in simulation.trace) == 1


def test_kills_come_at_any_step_and_a_limited_number_of_times() -> None:
    handled: set[int] = set()

    def scenario(simulation: Simulation) -> None:
        log: list[Any] = []
        simulation.kills(Noting, probability=0.2, limit=2)
        refs = [Noting.start(log) for _ in range(4)]
        for ref in refs:
            for number in range(3):
                ref.tell(number)
        simulation.settle()
        assert sum(not ref.is_alive() for ref in refs) <= 2
        handled.add(len(log))

    explore(scenario, seeds=range(200))
    assert handled == set(range(6, 13))


def test_a_fault_that_had_nothing_to_do_does_not_count() -> None:
    dropped: list[int] = []

    def drop() -> bool:
        dropped.append(simulation.steps)
        return len(dropped) > 2

    with Simulation(1) as simulation:
        simulation.fault("the connection drops", drop, probability=1)
        ref = Noting.start([])
        for _ in range(5):
            ref.tell("x")
        simulation.settle()
        assert dropped == [0, 1, 2]
        assert [line for line in simulation.trace if "fault" in line] == [
            "     3  0.000 s  fault: the connection drops"
        ]


def test_a_delay_of_steps_lets_others_go_first() -> None:
    with Simulation(1) as simulation:
        log: list[Any] = []
        slow, fast = Noting.start(log, "slow"), Noting.start(log, "fast")
        simulation.delays(slow, steps=100, probability=1)
        for number in range(3):
            slow.tell(number)
            fast.tell(number)
        simulation.settle()
        assert log == [("fast", 0), ("fast", 1), ("fast", 2), ("slow", 0), ("slow", 1), ("slow", 2)]


def test_a_delay_of_seconds_ends_when_the_clock_has_moved() -> None:
    with Simulation(1) as simulation:
        late = Late.start()
        simulation.delays(late, seconds=2.0, probability=1)
        answer = late.ask(0.0, block=False)
        simulation.advance(1.999)
        assert not answer.done
        simulation.advance(0.001)
        assert answer.done


def test_a_coroutine_that_is_delayed_does_not_go_on() -> None:
    with Simulation(1) as simulation:
        late = Late.start()
        answer = late.ask(1.0, block=False)
        simulation.settle()
        simulation.delays(late, seconds=5.0, probability=1)
        simulation.advance(4.0)
        assert not answer.done
        simulation.advance(2.0)
        assert answer.done


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"probability": 1.5}, "probability must be from 0 to 1, got 1.5"),
        ({"limit": 0}, "limit must be a whole number >= 1, got 0"),
    ],
    ids=["a probability beyond 1", "a limit of none"],
)
def test_a_fault_is_checked(options: dict[str, Any], text: str) -> None:
    with Simulation(1) as simulation, pytest.raises(ValueError, match=text):
        simulation.fault("drop", print, **options)


@pytest.mark.parametrize("options", [{}, {"steps": 1, "seconds": 1.0}], ids=["neither", "both"])
def test_a_delay_is_of_steps_or_of_seconds(options: dict[str, Any]) -> None:
    with Simulation(1) as simulation, pytest.raises(ValueError, match="either steps or seconds"):
        simulation.delays(Account, **options)


@pytest.mark.parametrize("who", [3, "Account", str, None], ids=str)
def test_who_is_meant_is_checked(who: Any) -> None:
    with Simulation(1) as simulation:
        with pytest.raises(TypeError, match="who must be an Actor class, a ref or a function of a ref, got"):
            simulation.kills(who)
        with pytest.raises(TypeError, match="who must be an Actor class, a ref or a function of a ref, got"):
            simulation.delays(who, steps=1)


# Crashes


class Fragile(Actor):
    def on_receive(self, message: Any) -> Any:
        if message == "slowly":
            return self.slowly()
        raise ValueError("on purpose")

    async def slowly(self) -> None:
        await asyncio.sleep(0)
        raise ValueError("on purpose")


@pytest.mark.parametrize("message", ["at once", "slowly"])
def test_a_crash_that_nobody_expects_fails_the_simulation(message: str) -> None:
    with (
        pytest.raises(SimulatedCrashError, match="Fragile#1 crashed: ValueError: on purpose") as failure,
        Simulation(1),
    ):
        Fragile.start().tell(message)
    assert isinstance(failure.value.__cause__, ValueError)
    assert f"Fragile#1 handles '{message}'" in failure.value.__notes__[0]


def test_a_crash_fails_an_exploration_with_its_seed() -> None:
    failure = found(lambda _: Fragile.start().tell("x"))
    assert "seed 0: SimulatedCrashError: Fragile#1 crashed" in str(failure)
    assert "crashed: Fragile#1: ValueError('on purpose')\nalive: no actor" in str(failure)


def test_a_crash_that_is_expected_is_listed_once_and_not_with_those_it_took_along() -> None:
    with Simulation(1, expected_crashes=(KeyError, ValueError)) as simulation:
        fragile, linked = Fragile.start(), Noting.start([])
        linked.process.link(fragile.process)
        fragile.tell("x")
        simulation.settle()
        assert isinstance(linked.exit_reason, Crash)
        assert [(actor, str(error)) for actor, error in simulation.crashes] == [(str(fragile), "on purpose")]


def test_what_is_raised_outside_of_actors_is_a_crash_too() -> None:
    with pytest.raises(SimulatedCrashError, match="ZeroDivisionError"), Simulation(1) as simulation:
        simulation._scheduler.loop.call_soon(divmod, 1, 0)


def test_a_failure_of_the_block_has_the_last_steps_in_its_notes() -> None:
    def interrupted() -> None:
        with Simulation(9):
            ref = Account.start(1)
            ref.ask("balance")
            ref.stop()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as failure:
        interrupted()
    [note] = failure.value.__notes__
    assert note.splitlines() == [
        "the last steps of seed 9:",
        "     1  0.000 s  Account#1 is asked 'balance'",
        "     2  0.000 s  Account#1 is asked _ActorStop()",
        "alive: no actor",
    ]
