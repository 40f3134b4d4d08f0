"""Links and monitors between event loops, and exit signals that an actor sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exits import KILL, KILLED, NO_PROCESS, NORMAL, SHUTDOWN, Crash, Down, Exit, Shutdown
from actors.runtime.scheduler import in_thread
from actors.testing import WAIT, ManualRuntime, Probe, sync

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.ref import ActorRef


class Puppet(Actor):
    """Does what it is told; whatever else comes, it passes on."""

    def __init__(self, log: SimpleQueue[Any], *, trap: bool = False) -> None:
        self.log, self.trap = log, trap

    def on_start(self) -> None:
        self.trap_exit = self.trap

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else self.log.put(message)


@pytest.fixture
def here() -> Iterator[in_thread]:
    thread = in_thread("here")
    yield thread
    thread.stop()


@pytest.fixture
def there() -> Iterator[in_thread]:
    thread = in_thread("there")
    yield thread
    thread.stop()


def start(thread: in_thread, log: SimpleQueue[Any], *, trap: bool = False) -> ActorRef[Puppet]:
    async def go() -> ActorRef[Puppet]:
        return Puppet.start(log, trap=trap)

    return asyncio.run_coroutine_threadsafe(go(), thread.scheduler.loop).result(WAIT)


def crash(_: Puppet) -> None:
    raise ValueError("boom")


def ended(ref: ActorRef[Any]) -> ExitReason | None:
    ref.down().get(timeout=WAIT)
    return ref.exit_reason


# Between two event loops


def test_a_monitor_reaches_into_another_loop(here: in_thread, there: in_thread) -> None:
    log: SimpleQueue[Any] = SimpleQueue()
    watcher, target = start(here, log), start(there, SimpleQueue())
    monitor = watcher.ask(lambda actor: actor.monitor(target), timeout=WAIT)
    sync(target)
    target.kill()
    down = log.get(timeout=WAIT)
    assert (down.ref, down.actor, down.reason) == (monitor, target, KILLED)
    assert watcher.ask(lambda actor: actor._process.watching, timeout=WAIT) == {}


def test_a_monitor_of_the_dead_in_another_loop_says_so(here: in_thread, there: in_thread) -> None:
    log: SimpleQueue[Any] = SimpleQueue()
    watcher, target = start(here, log), start(there, SimpleQueue())
    target.kill()
    ended(target)
    watcher.ask(lambda actor: actor.monitor(target), timeout=WAIT)
    assert log.get(timeout=WAIT).reason == NO_PROCESS


def test_a_monitor_that_ended_tells_nothing(here: in_thread, there: in_thread) -> None:
    log: SimpleQueue[Any] = SimpleQueue()
    watcher, target = start(here, log), start(there, SimpleQueue())
    monitor = watcher.ask(lambda actor: actor.monitor(target), timeout=WAIT)
    watcher.ask(lambda actor: actor.demonitor(monitor), timeout=WAIT)
    sync(target)
    target.kill()
    ended(target)
    sync(watcher)
    assert log.empty()


def test_a_watcher_that_ends_is_forgotten_in_the_other_loop(here: in_thread, there: in_thread) -> None:
    watcher, target = start(here, SimpleQueue()), start(there, SimpleQueue())
    watcher.ask(lambda actor: actor.monitor(target), timeout=WAIT)
    sync(target)
    assert target.ask(lambda actor: len(actor._process.watchers), timeout=WAIT) == 1
    watcher.kill()
    ended(watcher)
    assert target.ask(lambda actor: len(actor._process.watchers), timeout=WAIT) == 0


@pytest.mark.parametrize("trap", [True, False], ids=["trapping", "not trapping"])
@pytest.mark.parametrize("near", [True, False], ids=["the linking one ends", "the linked one ends"])
def test_a_link_reaches_into_another_loop(here: in_thread, there: in_thread, *, near: bool, trap: bool) -> None:
    log: SimpleQueue[Any] = SimpleQueue()
    ends, stays = start(there, SimpleQueue()), start(here, log, trap=trap)
    linking, linked = (ends, stays) if near else (stays, ends)
    linking.ask(lambda actor: actor.link(linked), timeout=WAIT)
    sync(linked)
    ends.tell(crash)
    reason = ended(ends)
    assert isinstance(reason, Crash)
    if trap:
        signal = log.get(timeout=WAIT)
        assert (type(signal), signal.actor, signal.reason) == (Exit, ends, reason)
        assert stays.is_alive()
    else:
        assert ended(stays) == reason


def test_a_link_that_was_undone_is_undone_on_both_sides(here: in_thread, there: in_thread) -> None:
    one, other = start(here, SimpleQueue()), start(there, SimpleQueue())
    one.ask(lambda actor: (actor.link(other), actor.unlink(other)), timeout=WAIT)
    sync(other)
    other.kill()
    ended(other)
    sync(one)
    assert one.is_alive()


def test_links_are_told_before_monitors_there_too(here: in_thread, there: in_thread) -> None:
    log: SimpleQueue[Any] = SimpleQueue()
    watcher, target = start(here, log, trap=True), start(there, SimpleQueue())
    watcher.ask(lambda actor: (actor.monitor(target), actor.link(target)), timeout=WAIT)
    sync(target)
    target.kill()
    assert [type(log.get(timeout=WAIT)) for _ in range(2)] == [Exit, Down]


def test_what_is_linked_to_a_loop_that_closes_ends_with_it(here: in_thread, there: in_thread) -> None:
    one, other = start(here, SimpleQueue()), start(there, SimpleQueue())
    one.ask(lambda actor: actor.link(other), timeout=WAIT)
    sync(other)
    there.stop()
    assert ended(one) == KILLED
    log: SimpleQueue[Any] = SimpleQueue()
    again = start(here, log, trap=True)
    again.ask(lambda actor: (actor.link(other), actor.monitor(other)), timeout=WAIT)
    assert [log.get(timeout=WAIT).reason for _ in range(2)] == [NO_PROCESS, NO_PROCESS]


# A Down that is flushed


def test_flush_takes_back_what_is_in_the_mailbox_already(runtime: ManualRuntime) -> None:
    log: SimpleQueue[Any] = SimpleQueue()
    watcher, one, two = Puppet.start(log), Puppet.start(SimpleQueue()), Puppet.start(SimpleQueue())

    def watch_and_think_again(actor: Puppet) -> None:
        monitors = [actor.monitor(one), actor.monitor(two)]
        for ref in (one, two):
            ref.process.kill()
            ref.process.turn()
        actor.demonitor(monitors[0], flush=True)
        actor.demonitor(monitors[1])

    watcher.ask(watch_and_think_again)
    runtime.settle()
    assert [log.get_nowait().actor for _ in range(log.qsize())] == [two]


# Exit signals that an actor sends


@pytest.mark.parametrize(
    ("reason", "trap", "arrives", "ends"),
    [
        (NORMAL, False, None, None),
        (NORMAL, True, NORMAL, None),
        (SHUTDOWN, False, None, SHUTDOWN),
        (SHUTDOWN, True, SHUTDOWN, None),
        (Shutdown("why"), False, None, Shutdown("why")),
        (KILL, False, None, KILLED),
        (KILL, True, None, KILLED),
        (KILLED, True, KILLED, None),
    ],
)
def test_an_actor_sends_an_exit_signal(
    runtime: ManualRuntime, *, reason: object, trap: bool, arrives: ExitReason | None, ends: ExitReason | None
) -> None:
    log: SimpleQueue[Any] = SimpleQueue()
    sender, target = Puppet.start(SimpleQueue()), Puppet.start(log, trap=trap)
    sender.ask(lambda actor: actor.exit(target, reason))
    runtime.settle()
    assert target.exit_reason == ends
    assert [(signal.actor, signal.reason) for signal in _drained(log)] == (
        [] if arrives is None else [(sender, arrives)]
    )


def _drained(log: SimpleQueue[Any]) -> list[Any]:
    return [log.get_nowait() for _ in range(log.qsize())]


@pytest.mark.parametrize("target", ["nobody", "dead"])
def test_an_exit_signal_to_nobody_is_nothing(runtime: ManualRuntime, target: str) -> None:
    sender, dead = Puppet.start(SimpleQueue()), Puppet.start(SimpleQueue())
    dead.kill()
    runtime.settle()
    sender.ask(lambda actor: actor.exit(dead if target == "dead" else "nobody", SHUTDOWN))
    assert sender.is_alive()


def test_an_actor_may_send_one_to_itself(runtime: ManualRuntime) -> None:
    ref = Puppet.start(SimpleQueue())
    probe = Probe()
    probe.monitor(ref)
    ref.tell(lambda actor: actor.exit(actor, NORMAL))
    assert probe.assert_receive(Down).reason == NORMAL


def test_an_exit_signal_reaches_into_another_loop(here: in_thread, there: in_thread) -> None:
    log: SimpleQueue[Any] = SimpleQueue()
    sender, target = start(here, SimpleQueue()), start(there, log, trap=True)
    sender.ask(lambda actor: actor.exit(target, Shutdown("enough")), timeout=WAIT)
    signal = log.get(timeout=WAIT)
    assert (signal.actor, signal.reason) == (sender, Shutdown("enough"))
