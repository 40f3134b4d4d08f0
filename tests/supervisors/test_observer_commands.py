"""The words of a prompt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from actors.exceptions import ActorDeadError
from actors.exits import KILLED
from actors.future import Future
from actors.pubsub import PubSub
from supervisors import observer
from supervisors.child_spec import ChildSpec
from supervisors.exceptions import UnknownActorError
from supervisors.observer.commands import Commands, words
from supervisors.system import System
from tests.supervisors.systems import Counter, its, out, system
from tests.supervisors.workers import start

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime

__all__ = ["its", "out", "system"]

NAMES = {
    *("tree", "ps", "top", "whereis", "info", "state", "replace_state", "trace", "sockets", "channels", "topics"),
    *("subscribers", "send", "ask", "kill", "suspend", "resume", "last_crash", "nodes"),
}


# What there is


def test_the_words_are_importable_and_have_a_help_each() -> None:
    assert set(words()) == NAMES
    assert NAMES | {"repl", "words"} == set(observer.__all__)
    assert [name for name, word in words().items() if not word.__doc__] == []


def test_the_words_of_a_system_know_no_other_ones_root(runtime: ManualRuntime, its: Commands) -> None:
    other = start(runtime, [])
    assert other.pid in observer.tree()
    assert other.pid not in its.tree()
    assert set(its.tree().splitlines()[1:]) <= set(observer.tree().splitlines())


# Who lives


def test_the_tree_may_begin_anywhere(its: Commands) -> None:
    assert [line.split()[0] for line in its.tree("counter").splitlines()] == ["restarts", "counter"]


def test_all_who_live_are_listed(its: Commands) -> None:
    assert [row.name for row in its.ps()] == ["System", "pubsub", "counter", "other", "DynamicSupervisor"]
    assert str(its.ps()).splitlines()[3].split()[1:] == ["counter", "Counter", "running", "0", "0", "0", "0", "ms"]


@pytest.mark.parametrize(
    ("by", "first"),
    [
        ("name", "DynamicSupervisor"),
        ("actor", "other"),
        ("handled", "other"),
        ("mailbox", "counter"),
        ("age", "System"),
    ],
)
def test_the_list_is_sorted_by_what_is_wanted(its: Commands, runtime: ManualRuntime, by: str, first: str) -> None:
    its.kill("counter")
    runtime.settle()
    runtime.advance(1)
    its.send("counter", 60.0)
    for _ in range(3):
        its.send("counter", "x")
        its.send("other", "x")
    runtime.settle()
    assert its.ps(by)[0].name == first


def test_restarts_are_counted(its: Commands, runtime: ManualRuntime) -> None:
    for _ in range(2):
        its.kill("other")
        runtime.settle()
    assert next((row.name, row.restarts) for row in its.ps("restarts")) == ("other", 2)
    assert {(row.name, row.restarts) for row in its.ps()} >= {("pubsub", 0), ("System", None)}


def test_a_list_that_cannot_be_sorted_so_says_how_it_can(its: Commands) -> None:
    with pytest.raises(ValueError, match=r"sorted by 'pid', 'name', .*, got 'colour'"):
        its.ps("colour")


def test_of_many_some_are_listed_and_the_others_counted(its: Commands) -> None:
    rows = its.ps("name", most=2)
    assert [row.name for row in rows] == ["DynamicSupervisor", "System"]
    assert str(rows).splitlines()[-1] == "… and 3 more; most=None lists all"
    assert len(its.ps(most=None)) == 5
    assert str(its.ps(most=0)) == "… and 5 more; most=None lists all"


def test_whereis_gives_the_ref_or_none(its: Commands, system: System) -> None:
    assert its.whereis("counter") is system.whereis("counter")
    assert its.whereis("nobody") is None


# Inside


def test_the_state_is_replaced(its: Commands) -> None:
    assert its.replace_state("counter", lambda state: state | {"count": 41})["count"] == 41  # type: ignore[index]  # here it does not wait
    assert its.ask("counter", "x") == 42


def test_an_error_in_the_function_leaves_the_state_as_it_was(its: Commands) -> None:
    with pytest.raises(ZeroDivisionError):
        its.replace_state("counter", lambda state: {"count": 1 / 0})
    assert its.state("counter")["count"] == 0


# Messages and signals


def test_what_is_sent_and_asked_arrives(its: Commands) -> None:
    its.send("counter", "x")
    assert its.ask("counter", "x") == 2
    its.send("counter", 60.0)
    with pytest.raises(Exception, match="no answer"):
        its.ask("counter", "x", timeout=1)


def test_who_is_killed_is_gone_and_replaced(its: Commands, runtime: ManualRuntime) -> None:
    before = its.whereis("counter")
    assert its.kill("counter") == KILLED
    after = its.whereis("counter")
    assert after not in {None, before}
    assert f"dead: {KILLED!r}" in repr(before)
    assert "dead" not in repr(after)


def test_who_is_suspended_handles_nothing_until_it_is_resumed(its: Commands, runtime: ManualRuntime) -> None:
    its.suspend("counter")
    its.send("counter", "x")
    runtime.settle()
    row = next(row for row in its.ps() if row.name == "counter")
    assert (row.status, row.mailbox, its.state("counter")["count"]) == ("suspended", 1, 0)
    its.resume("counter")
    assert its.ask("counter", "x") == 2


@pytest.mark.parametrize(
    "word", sorted(NAMES - {"ps", "top", "sockets", "nodes", "topics", "subscribers", "whereis", "last_crash"})
)
def test_who_is_unknown_is_told_by_every_word(its: Commands, word: str) -> None:
    more: dict[str, tuple[Any, ...]] = {"send": (1,), "ask": (1,), "replace_state": (dict,)}
    with pytest.raises(UnknownActorError, match="closest matches: 'counter'"):
        getattr(its, word)("countr", *more.get(word, ()))


def test_who_is_required_is_found_or_an_error(its: Commands) -> None:
    assert its.whereis("counter", required=True) is its.whereis("counter")
    assert its.whereis("countr") is None
    with pytest.raises(UnknownActorError, match="closest matches: 'counter'"):
        its.whereis("countr", required=True)


def test_the_last_crash_is_at_hand(its: Commands, system: System) -> None:
    counter = its.whereis("counter")
    assert counter is not None
    with pytest.raises(ValueError, match="boom"):
        counter.ask("boom")
    report = its.last_crash()
    assert report is not None
    assert (report.name, str(report.error)) == (str(counter), "boom")


# Topics


def test_topics_are_listed_with_their_subscribers(its: Commands, system: System) -> None:
    counter, other = its.whereis("counter"), its.whereis("other")
    assert counter is not None
    assert other is not None
    system.pubsub.subscribe("news", counter)
    for ref in (counter, other):
        system.pubsub.subscribe("weather", ref)
    assert its.topics() == [("weather", 2), ("news", 1)]
    assert [row.ref for row in its.subscribers("weather")] == [counter, other]
    assert str(its.subscribers("wether")) == "no actor has subscribed to 'wether'; closest matches: 'weather'"
    assert str(its.topics(most=1)).splitlines()[-1] == "… and 1 more; most=None lists all"


def test_topics_are_those_of_all_pubsubs_whatever_their_names(runtime: ManualRuntime, out: StringIO) -> None:
    chat = PubSub("chat")
    system = System([chat, ChildSpec(Counter, name="counter")], pubsub=PubSub("shop"))
    runtime.run(system.start())
    its = Commands(system, out)
    counter = its.whereis("counter")
    assert counter is not None
    for pubsub, topic in ((chat, "room:1"), (system.pubsub, "orders")):
        pubsub.subscribe(topic, counter)
    assert sorted(its.topics()) == [("orders", 1), ("room:1", 1)]
    assert [row.ref for row in its.subscribers("room:1")] == [counter]
    assert "pubsub = PubSub(\n    name='shop'" in str(its.state("shop"))
    runtime.run(system.stop())


def test_no_topics_and_no_connections_are_said_in_words(its: Commands) -> None:
    assert str(its.topics()) == "there are no subscriptions"
    assert str(its.sockets()) == "no clients are connected"
    assert str(its.channels()) == "no channels are joined"


# Threads


@pytest.fixture
def beside() -> Iterator[Commands]:
    """The words of a system that runs in a thread of its own."""
    with System([ChildSpec(Counter, name="counter")]) as system:
        yield Commands(system, StringIO())


def test_the_words_work_from_another_thread(beside: Commands) -> None:
    beside.send("counter", "x")
    assert beside.state("counter")["count"] == 1
    assert beside.ask("counter", "x") == 2
    assert beside.suspend("counter") is None
    assert beside.info("counter").status == "suspended"
    assert beside.resume("counter") is None
    assert "counter" in beside.tree()
    assert beside.kill("counter") == KILLED
    assert beside.top(every=0.01, times=1) is None


def test_the_words_work_in_an_event_loop_that_is_not_the_systems(beside: Commands) -> None:
    async def look() -> Any:
        return beside.state("counter")["count"], beside.ask("counter", "x")

    assert asyncio.run(look()) == (0, 1)


def test_on_the_systems_own_loop_nothing_blocks_and_what_waits_is_awaited() -> None:
    async def look() -> list[Any]:
        async with System([ChildSpec(Counter, name="counter")]) as system:
            its = Commands(system, StringIO())
            its.send("counter", "x")
            seen = [its.state("counter")["count"], its.info("counter").handled, len(its.ps())]
            seen.append(await its.ask("counter", "x"))
            replaced = its.replace_state("counter", lambda state: state | {"count": 9})
            assert isinstance(replaced, Future)
            seen.append((await replaced)["count"])
            suspended = its.suspend("counter")
            assert suspended is not None
            await suspended
            seen.append(its.info("counter").status)
            before = its.whereis("counter")
            seen.append(await its.kill("counter"))
            shown = its.top(every=0.01, times=1)
            assert shown is not None
            await shown
            return [*seen, before == its.whereis("counter")]

    assert asyncio.run(look()) == [1, 1, 3, 2, 9, "suspended", KILLED, False]


def test_who_only_looks_needs_no_loop_that_answers(beside: Commands) -> None:
    held, busy = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        held.wait()

    ref: ActorRef[Any] | None = beside.whereis("counter")
    assert ref is not None
    ref.process.scheduler.post(block)
    busy.wait()
    try:
        assert "counter" in beside.tree()
        assert len(beside.ps()) == 3
        assert str(beside.topics()) == "there are no subscriptions"
    finally:
        held.set()


def test_a_system_that_is_over_is_said_so() -> None:
    with System() as system:
        its = Commands(system)
        ref = its.whereis("pubsub")
    assert [row.name for row in its.ps()] == []
    with pytest.raises(ActorDeadError):
        its.ask(ref, "x")
    with pytest.raises(RuntimeError, match="is not running"):
        Commands(System()).tree()
