"""Stress: threads that tell, ask, stop, kill and start actors as fast as they can, while Python switches threads all the time.

    python benchmarks/stress.py                          # eight threads, a minute
    python benchmarks/stress.py --rounds 50 --seed 7     # so many rounds of each thread
    python benchmarks/stress.py --forks 500              # and fork meanwhile: children with actors of their own

The interpreter switches threads each microsecond (`sys.setswitchinterval`), so that two threads meet at each point of the code
sooner or later. What is checked, in each round and at the end:

- no wrong answer: a sum is right, the messages of one thread arrive once and in order, an actor that has ended says so, a child
  that was killed is restarted under its name;
- nothing hangs: each wait has a deadline, after which it counts as a fault; the stacks of all threads are printed if the whole
  program does not end;
- a forked child is told that the actors are its parent's, and has its own, at whatever point the other threads were;
- nothing is left: no actors, names, timers, threads or unanswered futures.

The exit status is 1 if there was a fault. It is shown with the round, the thread and the seed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pykka
from havoc.census import unanswered

from actors import (
    NO_PROCESS,
    NORMAL,
    Actor,
    ActorDeadError,
    ActorRef,
    ActorRegistry,
    Crash,
    ForkedError,
    Future,
    Killed,
    NameTakenError,
    Registry,
    StartError,
    ThreadedActor,
    Timeout,
    Via,
    ask,
    telemetry,
    threads_left,
    whereis,
)
from actors.lowlevel import Scheduler, last_crashes
from supervisors import ChildSpec, DynamicSupervisor, System, TaskSupervisor, start_child

DEADLINE = 60.0
"""Seconds after which something hangs."""

VICTIMS = 4
NAMES = Registry()


class PlannedError(Exception):
    """What an actor is told to crash with."""


def add(message: Any) -> int:
    """Answer a pair of numbers; an exception is what the actor is to crash with."""
    if isinstance(message, Exception):
        raise message
    return sum(message)


class Adder(Actor):
    """Answers with a sum."""

    def on_receive(self, message: Any) -> Any:
        return add(message)


class Waiter(Actor):
    """Does it in a coroutine, and lets others run meanwhile."""

    async def on_receive(self, message: Any) -> Any:
        await asyncio.sleep(0)
        return add(message)


class Blocker(ThreadedActor):
    """Does it in a thread of its own."""

    def on_receive(self, message: Any) -> Any:
        return add(message)


class Relay(Actor):
    """Asks another actor."""

    async def on_receive(self, message: tuple[ActorRef[Any], Any]) -> Any:
        target, question = message
        try:
            return await target.call(question, timeout=DEADLINE)
        except ActorDeadError:
            return "dead"


class Clerk(Actor):
    """Answers later, by a timer."""

    def on_receive(self, message: Any) -> None:
        if callable(message):
            message()
            return
        caller = self.reply_later()
        self.send_after(0.001, lambda: caller.reply(sum(message)))


class Ledger(Actor):
    """Keeps what it is sent, and gives it back; each thread has one of its own."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    def on_receive(self, message: Any) -> Any:
        if message != "take":
            self.kept.append(message)
            return None
        kept, self.kept = self.kept, []
        return kept


KINDS: list[type[Actor]] = [Adder, Waiter, Blocker]


def named(name: str) -> ActorRef[Any]:
    """Return an actor that is never stopped."""
    found = whereis(name)
    assert found is not None, name
    return found


class Faults(logging.Handler):
    """What was wrong, in the threads and in the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def add(self, where: str, error: BaseException) -> None:
        self.texts.append(f"{where}: {''.join(traceback.format_exception(error))}")

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record as a fault, unless it reports what was planned."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, PlannedError) or (record.name.startswith("ashtree") and error is None):
            return
        self.texts.append(f"log: {self.format(record)}")


class Player(threading.Thread):
    """One thread: it plays a number of rounds, each with one of its moves."""

    def __init__(self, number: int, seed: int, faults: Faults, is_over: Callable[[int], bool]) -> None:
        super().__init__(name=f"player {number}")
        self._random = random.Random(f"{seed} {number}")  # noqa: S311  # to be repeated
        self._number, self._faults, self._is_over = number, faults, is_over
        self.moves: Counter[str] = Counter()
        self._sent = 0
        self._open: list[tuple[Future[Any], int]] = []

    def run(self) -> None:
        moves = [self.tell, self.ask, self.ask_many, self.relay, self.stop, self.kill, self.crash]
        moves += [self.kill_a_child, self.ask_a_child, self.take_a_name, self.give_up, self.flood]
        moves += [self.on_a_loop, self.watch_from_a_loop, self.run_a_task]
        self._ledger = start_child("pool", ChildSpec(Ledger, id=self.name, restart="temporary")).get(timeout=DEADLINE)
        done = 0
        while not self._is_over(done):
            move = self._random.choice(moves)
            try:
                move()
            except BaseException as error:  # noqa: BLE001  # all are faults
                self._faults.add(f"{self.name}, round {done}, {move.__name__}", error)
            self.moves[move.__name__] += 1
            done += 1
        self._ledger.stop(timeout=DEADLINE)

    def _pair(self) -> tuple[int, int]:
        return self._random.randrange(1000), self._random.randrange(1000)

    def _start(self, kind: type[Actor] | None = None) -> ActorRef[Any]:
        kind = kind or self._random.choice(KINDS)
        if self._random.random() < 0.5:
            return start_child("pool", ChildSpec(kind, restart="temporary")).get(timeout=DEADLINE)
        return kind.start()

    # Tell and ask

    def tell(self) -> None:
        """What one thread sends arrives once and in order."""
        sent = range(self._sent, self._sent + self._random.randrange(50))
        for number in sent:
            self._ledger.tell(number)
        self._sent = sent.stop
        kept = self._ledger.ask("take", timeout=DEADLINE)
        assert kept == list(sent), (kept, sent)

    def ask(self) -> None:
        pair = self._pair()
        answer = named("adder").ask(pair, timeout=DEADLINE)
        assert answer == sum(pair), (answer, pair)

    def ask_many(self) -> None:
        pairs = [self._pair() for _ in range(20)]
        name = self._random.choice(["adder", "clerk"])
        futures = [named(name).ask(pair, block=False, timeout=DEADLINE) for pair in pairs]
        answers = pykka.get_all(futures)
        assert answers == [sum(pair) for pair in pairs], (answers, pairs)

    def relay(self) -> None:
        """An actor asks one that may be killed meanwhile."""
        pair, target = self._pair(), self._start()
        answer = named("relay").ask((target, pair), block=False, timeout=DEADLINE)
        if self._random.random() < 0.5:
            assert answer.get() == sum(pair)
        target.kill()
        assert answer.get() in {sum(pair), "dead"}
        self._is_dead(target, Killed())

    def give_up(self) -> None:
        """Stop waiting before there is an answer."""
        pair = self._pair()
        future = named("clerk").ask(pair, block=False)
        with contextlib.suppress(Timeout):
            assert future.get(timeout=self._random.random() * 0.002) == sum(pair)

    # Ends

    def stop(self) -> None:
        ref, pair = self._start(), self._pair()
        answer = ref.ask(pair, block=False, timeout=DEADLINE)
        ref.stop(timeout=DEADLINE)
        assert answer.get() == sum(pair)
        self._is_dead(ref, NORMAL)

    def kill(self) -> None:
        ref, pair = self._start(), self._pair()
        downs = [ref.down() for _ in range(self._random.randrange(3))]
        answer = ref.ask(pair, block=False, timeout=DEADLINE)
        ref.kill()
        with contextlib.suppress(ActorDeadError):
            assert answer.get() == sum(pair)
        assert {down.get(timeout=DEADLINE) for down in downs} <= {Killed()}
        self._is_dead(ref, Killed())

    def crash(self) -> None:
        ref, error = self._start(), PlannedError(self._number)
        answer = ref.ask(error, block=False, timeout=DEADLINE)
        with contextlib.suppress(PlannedError):
            answer.get()
        assert answer.exception is error
        self._is_dead(ref, Crash(error))

    def _is_dead(self, ref: ActorRef[Any], reason: Any) -> None:
        down = ref.down().get(timeout=DEADLINE)
        assert down in {reason, NO_PROCESS}, (down, reason)
        assert (ref.is_alive(), ref.exit_reason) == (False, reason), (ref, ref.exit_reason, reason)
        try:
            ref.ask((1, 2), timeout=DEADLINE)
        except ActorDeadError:
            return
        raise AssertionError(f"{ref} has answered after its end")

    # Restarts

    def kill_a_child(self) -> None:
        """A permanent child that was killed is there again, under its name."""
        name = f"victim {self._random.randrange(VICTIMS)}"
        victim = whereis(name)
        if victim is not None:
            victim.kill() if self._random.random() < 0.5 else victim.send(PlannedError(name))
            victim.down().get(timeout=DEADLINE)
        end = time.monotonic() + DEADLINE
        while (again := whereis(name)) is None or again == victim:
            assert time.monotonic() < end, f"{name} is not restarted"

    def ask_a_child(self) -> None:
        pair, victim = self._pair(), whereis(f"victim {self._random.randrange(VICTIMS)}")
        if victim is None:
            return
        try:
            assert victim.ask(pair, timeout=DEADLINE) == sum(pair)
        except (ActorDeadError, PlannedError):
            assert victim.down().get(timeout=DEADLINE) is not None

    def take_a_name(self) -> None:
        """A name belongs to one actor at a time, and is free as soon as that has ended."""
        name = Via(NAMES, self._random.randrange(2))
        try:
            ref = start_child("pool", ChildSpec(Adder, restart="temporary", name=name)).get(timeout=DEADLINE)
        except StartError as error:
            if isinstance(error.__cause__, NameTakenError):
                return
            raise
        assert NAMES.whereis(name.key) == ref
        ref.kill()
        ref.down().get(timeout=DEADLINE)
        assert NAMES.whereis(name.key) != ref

    # Others

    def on_a_loop(self) -> None:
        """A loop of this thread's own, with an actor of its own, which is left to the end of the loop."""

        async def main() -> list[int]:
            own = Waiter.start()
            return [await own.call(pair, timeout=DEADLINE), await adder.call(pair, timeout=DEADLINE)]

        pair, adder = self._pair(), named("adder")
        assert asyncio.run(main()) == [sum(pair)] * 2

    def watch_from_a_loop(self) -> None:
        """An actor is waited for on another loop than its own, while it ends."""

        async def main() -> Any:
            down = target.down()
            target.kill()
            return await asyncio.wait_for(down, DEADLINE)

        target = self._start()
        assert asyncio.run(main()) == Killed()

    def run_a_task(self) -> None:
        pair = self._pair()
        task = TaskSupervisor.async_nolink("tasks", named("relay"), sum, pair)
        assert task.get(timeout=DEADLINE) == sum(pair)

    def flood(self) -> None:
        """Send many messages at once, which are handled before the next question."""
        sent = range(self._sent, self._sent + 1000)
        for number in sent:
            self._ledger.send(number)
        self._sent = sent.stop
        kept = self._ledger.ask("take", timeout=DEADLINE)
        assert kept == list(sent), (kept[:5], kept[-5:], sent)


def world() -> System:
    """Return the tree in which they play."""
    often = {"max_restarts": 10**9, "max_seconds": 1.0}
    named = [ChildSpec(kind, name=kind.__name__.lower(), id=kind.__name__) for kind in (Adder, Relay, Clerk)]
    victims = [ChildSpec(KINDS[n % len(KINDS)], name=f"victim {n}", id=n) for n in range(VICTIMS)]
    pools = [ChildSpec(DynamicSupervisor, kwargs=often, name="pool"), ChildSpec(TaskSupervisor, name="tasks")]
    return System([*pools, *named, *victims], max_restarts=10**9, max_seconds=1.0)


def report_crashes(scheduler: Scheduler) -> None:
    """Log now how many crashes were left out of the log; its timer would do so within a second."""
    done = threading.Event()
    scheduler.post(scheduler.crash_log.flush)
    scheduler.post(done.set)
    done.wait(DEADLINE)


def leftovers(threads: set[threading.Thread], before: list[Future[Any]]) -> list[str]:
    """Name what should have ended with the players."""
    background = Scheduler.background()
    for thread in set(threading.enumerate()) - threads:
        thread.join(DEADLINE)
    report_crashes(background)
    gc.collect()
    futures = [future for future in unanswered() if future not in before]
    found = {
        "actors": [*background.processes.values(), *ActorRegistry.get_all()],
        "names": [*background.names.names(), *NAMES.names()],
        "timers": background.clock.timers(),
        "threads": [thread for thread in set(threading.enumerate()) - threads if thread.is_alive()],
        "threads of actors": threads_left(),
        "futures without an answer": futures,
    }
    return [f"left: {len(left)} {name}, such as {left[0]!r}" for name, left in found.items() if left]


def play(seed: int, number: int, is_over: Callable[[int], bool], forks: int) -> tuple[Counter[str], list[str]]:
    """Let so many threads play, at least for as long as it takes to fork so often; return what they did, and what was wrong."""
    faults, forked = Faults(), threading.Event()
    Scheduler.background()
    threads, before = set(threading.enumerate()), unanswered()
    logging.getLogger().addHandler(faults)
    with world():
        players = [Player(each, seed, faults, lambda done: forked.is_set() and is_over(done)) for each in range(number)]
        for player in players:
            player.start()
        try:
            fork_under_load(forks, faults)
        finally:
            forked.set()
        for player in players:
            player.join()
    done = sum((player.moves for player in players), Counter[str]())
    del players
    faults.texts += leftovers(threads, before)
    logging.getLogger().removeHandler(faults)
    return done, faults.texts


# Forks


def use_a_fork(adder: ActorRef[Any]) -> None:
    """Use what is the parent's, which fails, and then what is made here, which works."""
    uses: list[Callable[[], object]] = [
        lambda: adder.send((1, 2)),
        lambda: adder.ask((1, 2), timeout=DEADLINE),
        lambda: adder.ask((1, 2), block=False).get(timeout=DEADLINE),
        lambda: ask("adder", (1, 2), timeout=DEADLINE),
        lambda: start_child("pool", ChildSpec(Adder)).get(timeout=DEADLINE),
    ]
    for use in uses:
        try:
            use()
        except ForkedError:
            continue
        raise AssertionError("what is the parent's was used in a child")
    assert [len(NAMES), len(ActorRegistry.get_all()), len(threads_left()), len(last_crashes()) > 10] == [0, 0, 0, False]
    with world():
        for name in ("adder", "clerk", "victim 2"):
            assert ask(name, (1, 2), timeout=DEADLINE) == 3
    own = Adder.start()
    NAMES.register(0, own)
    telemetry.attach("fork", [("fork",)], print)
    assert asyncio.run(own.call((3, 4))) == 7
    own.stop(timeout=DEADLINE)
    assert len(NAMES) == 0


def fork(adder: ActorRef[Any]) -> int:
    """Fork; the child checks itself, and exits with 0 if all is as it should be."""
    child = os.fork()
    if child:
        return child
    signal.alarm(int(DEADLINE))
    try:
        use_a_fork(adder)
    except BaseException:  # noqa: BLE001  # the parent counts it
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def fork_under_load(number: int, faults: Faults) -> None:
    """Fork so many times, in this thread and in the handler of an actor."""
    adder, clerk = named("adder"), named("clerk")
    forked: SimpleQueue[int] = SimpleQueue()
    for each in range(number):
        if each % 2:
            clerk.tell(lambda: forked.put(fork(adder)))
        else:
            forked.put(fork(adder))
        _, status = os.waitpid(forked.get(timeout=DEADLINE), 0)
        if status:
            faults.texts.append(f"fork {each}: the child ended with {os.waitstatus_to_exitcode(status)}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Threads that use actors, while Python switches between them all the time."
    )
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they play")
    parser.add_argument("--rounds", type=int, help="how many rounds each plays, in place of a time")
    parser.add_argument("--forks", type=int, default=0, help="how many children are forked meanwhile")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    end, rounds = time.monotonic() + arguments.seconds, arguments.rounds
    faulthandler.dump_traceback_later(arguments.seconds + arguments.forks + 3 * DEADLINE, exit=True)
    sys.setswitchinterval(1e-6)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # that is what is tried

    def is_over(done: int) -> bool:
        return bool(time.monotonic() > end if rounds is None else done >= rounds)

    done, faults = play(arguments.seed, arguments.threads, is_over, arguments.forks)
    print(f"seed {arguments.seed}:", ", ".join(f"{count} x {move}" for move, count in sorted(done.items())))
    for text in faults[:20]:
        print(text)
    print(f"{sum(done.values())} rounds of {arguments.threads} threads, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
