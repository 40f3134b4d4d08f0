"""Replicas of presences: a network that loses, delays, repeats and reorders, and processes that die, freeze and come back.

When it heals, all processes must list the same presences, those that are there. On the way, the diffs that clients are told
must fold to what is listed, and a presence may be told to have left only if it has, or its process was silent for so long.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import combinations, count
from random import Random
from typing import TYPE_CHECKING

import pytest

import actors.presence.announcer
import actors.presence.replica
from actors.presence.announcer import Announcer
from actors.presence.presences import Diff, Presences
from actors.presence.replicas import Replicas

if TYPE_CHECKING:
    from actors.presence.replica_messages import Message

PERIOD = 1.5
SEEDS, BLOCKS = 10_000, 40


class Process:
    """One process: its presences, its replicas of the others', and a client that folds the diffs."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.own: Presences[int] = Presences()
        self.run = f"{name}/{next(world.numbers)}"
        world.owner[self.run] = self
        self.replicas = Replicas(Announcer(name, self.run, self.own.entries), PERIOD, world.down_period, world.now)
        self.is_alive, self.is_frozen, self.is_crashed = True, False, False
        self.mailbox: list[Message] = []
        self.arrived: dict[str, float] = {}
        self.client: set[tuple[str, str, str]] = set()
        self.wakes = 0
        self.act()

    def act(self) -> None:
        """Send what is to be sent, and wake when it is due."""
        for run, message in self.replicas.take_outgoing():
            self.world.send(self, run, message)
        self.wakes += 1
        number = self.wakes
        self.world.at(self.replicas.due(self.world.now), lambda: self.wake(number))

    def wake(self, number: int) -> None:
        if not self.is_alive or self.is_crashed or number != self.wakes:
            return
        if self.is_frozen:
            self.wakes += 1
            return
        self.told(self.replicas.wake(self.world.now))
        self.act()

    def deliver(self, message: Message) -> None:
        if not self.is_alive or self.is_crashed:
            return
        self.arrived[message.run] = self.world.now
        if self.is_frozen:
            self.mailbox.append(message)
            return
        self.told(self.replicas.receive(message, self.world.now))
        self.act()

    # Presences

    def change(self) -> None:
        random, world = self.world.random, self.world
        actor, topic, key = random.randrange(3), random.choice("rs"), random.choice("abc")
        meta = {"phx_ref": f"{self.run}:{next(world.numbers)}"}
        if self.own.get(actor, topic, key) is None:
            diff: Diff | None = self.own.track(actor, topic, key, meta)
        elif random.random() < 0.3:
            diff = self.own.update(actor, topic, key, meta)
        else:
            diff = self.own.untrack(actor, topic, key)
        assert diff is not None
        world.left.update(meta["phx_ref"] for metas in diff.leaves.values() for meta in metas)
        self.fold(diff)
        self.replicas.changed(diff)
        if not self.is_crashed:
            self.act()

    def told(self, diffs: list[Diff]) -> None:
        for diff in diffs:
            for metas in diff.leaves.values():
                for meta in metas:
                    self.may_leave(meta["phx_ref"])
            self.fold(diff)
        if diffs:
            assert self.client == self.listed(), "the diffs do not fold to the list"

    def may_leave(self, ref: str) -> None:
        """Raise unless a presence has left, or its process was silent for so long, or is known to have ended."""
        run = ref.rpartition(":")[0]
        silent = self.world.now - self.arrived.get(run, 0.0) >= self.world.down_period - 1e-6
        assert ref in self.world.left or silent or run in self.world.ended, f"{ref} flaps at {self.name}"

    def fold(self, diff: Diff) -> None:
        for key, metas in diff.joins.items():
            for meta in metas:
                entry = (diff.topic, key, meta["phx_ref"])
                assert entry not in self.client, f"{entry} joins twice at {self.name}"
                self.client.add(entry)
        for key, metas in diff.leaves.items():
            for meta in metas:
                self.client.remove((diff.topic, key, meta["phx_ref"]))

    def truth(self) -> set[tuple[str, str, str]]:
        return {(topic, key, meta["phx_ref"]) for topic, key, meta in self.own.entries()}

    def listed(self) -> set[tuple[str, str, str]]:
        found = set()
        for topic in "rs":
            metas = self.own.of(topic)
            self.replicas.add_to(topic, metas)
            for key, of_key in metas.items():
                assert len(of_key) == len(self.own.of_key(topic, key)) + len(self.replicas.of_key(topic, key))
                found |= {(topic, key, meta["phx_ref"]) for meta in of_key}
        return found

    # What happens to it

    def thaw(self) -> None:
        """Go on: timers come first, then what has arrived meanwhile."""
        self.is_frozen = False
        if self.is_alive and not self.is_crashed:
            self.told(self.replicas.wake(self.world.now))
            self.act()
            mailbox, self.mailbox = self.mailbox, []
            for message in mailbox:
                self.told(self.replicas.receive(message, self.world.now))
                self.act()

    def recover(self) -> None:
        """Start the actor again, after it has crashed."""
        self.is_crashed = False
        if self.is_alive and not self.is_frozen:
            self.act()

    def kill(self) -> None:
        self.is_alive = False
        self.world.ended.add(self.run)
        if self.world.random.random() < 0.3:
            for other in self.world.living:
                if not other.is_crashed:
                    other.told(other.replicas.node_down(self.name))
                    other.act()

    def end(self) -> None:
        self.replicas.end(self.world.now)
        self.world.ended.add(self.run)
        for run, message in self.replicas.take_outgoing():
            self.world.send(self, run, message)
        self.is_alive = False


class World:
    """Some processes, a network, and time."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)  # noqa: S311  # it is to be the same each time
        self.now = 0.0
        self.numbers = count()
        self.down_period = random.choice([4 * PERIOD, 4 * PERIOD, 6 * PERIOD, 30.0])
        self.loss, self.repeats = random.choice([0.0, 0.05, 0.3]), random.choice([0.0, 0.1])
        self.delay = random.choice([0.0, 0.05, 1.0])
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.cut: set[frozenset[str]] = set()
        self.owner: dict[str, Process] = {}
        self.left: set[str] = set()
        self.ended: set[str] = set()
        self.faults_end = 0.0
        self.processes = [Process(self, name) for name in "ABCD"[: random.choice([2, 2, 3, 3, 4])]]

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        heappush(self._events, (self.now + seconds, next(self.numbers), call))

    def run_until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, call = heappop(self._events)
            call()
        self.now = end

    @property
    def living(self) -> list[Process]:
        return [process for process in self.processes if process.is_alive]

    def send(self, sender: Process, run: str | None, message: Message) -> None:
        random = self.random
        for other in self.processes:
            if other is sender or run not in (None, other.run):
                continue
            if frozenset((sender.name, other.name)) in self.cut or random.random() < self.loss:
                continue
            for _ in range(1 + (random.random() < self.repeats)):
                self.at(random.random() * self.delay, lambda other=other: other.deliver(message))  # type: ignore[misc]

    # Faults

    def step(self) -> None:
        """Let one thing happen."""
        random = self.random
        process = random.choice(self.processes)
        if random.random() < 0.6:
            if process.is_alive and not process.is_frozen:
                process.change()
            return
        random.choice([self.freeze, self.crash, self.die, self.cut_or_heal, self.cut_or_heal])(process)

    def later(self, seconds: float, mend: Callable[[], None]) -> None:
        self.faults_end = max(self.faults_end, self.now + seconds)
        self.at(seconds, mend)

    def freeze(self, process: Process) -> None:
        if process.is_alive and not process.is_frozen:
            process.is_frozen = True
            self.later(self.random.choice([2.0, 10.0, 40.0]), process.thaw)

    def crash(self, process: Process) -> None:
        if process.is_alive and not process.is_frozen and not process.is_crashed:
            process.is_crashed = True
            self.later(self.random.random(), process.recover)

    def die(self, process: Process) -> None:
        """End a process, and start it anew sooner or later."""
        if not process.is_alive or process.is_frozen or process.is_crashed:
            return
        self.random.choice([process.kill, process.end])()
        self.later(self.random.random() * 10, lambda: self.restart(process))

    def restart(self, process: Process) -> None:
        self.processes[self.processes.index(process)] = Process(self, process.name)

    def cut_or_heal(self, process: Process) -> None:
        if self.cut:
            self.cut.clear()
            return
        names = {each.name for each in self.processes}
        part = {process.name, *self.random.sample(sorted(names), self.random.randrange(len(names)))}
        self.cut = {frozenset(pair) for pair in combinations(names, 2) if len(part & set(pair)) == 1}

    def live(self) -> None:
        """Let much happen, then heal, and give it the time to find out that processes are dead."""
        for _ in range(self.random.choice([5, 10, 25])):
            self.step()
            self.run_until(self.now + self.random.choice([0.0, 0.02, 0.3, 2.0, 8.0]))
        self.cut.clear()
        self.loss = 0.0
        self.run_until(max(self.now, self.faults_end))
        # The time in which dead processes are missed.
        self.run_until(self.now + self.down_period + 4 * PERIOD)
        self.must_agree()

    def must_agree(self) -> None:
        truth: set[tuple[str, str, str]] = set()
        for process in self.living:
            truth |= process.truth()
        for process in self.living:
            assert process.listed() == truth, f"{process.name} does not know the truth"
            assert process.client == truth
            assert sorted(process.replicas.nodes) == sorted(each.name for each in self.living if each is not process)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_all_agree_with_the_truth_when_the_network_heals(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(block, SEEDS, BLOCKS):
        # Small messages and little memory, so that what is large is tried too.
        monkeypatch.setattr(actors.presence.announcer, "_MOST_BYTES", (60, 200, 100_000)[seed % 3])
        monkeypatch.setattr(actors.presence.replica, "_MOST_AHEAD", (1, 3, 200)[seed % 3])
        try:
            World(seed).live()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
