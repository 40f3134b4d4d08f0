"""The root of the tree, with its three faces: on a loop of yours, in a thread of its own, as the program."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.clock import monotonic_time
from actors.exceptions import BlockingCallError, NameTakenError, NotRegisteredError, StartError
from actors.exits import KILLED, SHUTDOWN
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.registry import ActorRegistry
from actors.testing import WAIT
from supervisors.calls import start_child, which_children
from supervisors.child_spec import ChildSpec
from supervisors.exceptions import ConsoleError, SystemDownError
from supervisors.restart import AutoShutdown, Strategy
from supervisors.supervision import TOO_MANY_RESTARTS
from supervisors.supervisor import Supervisor
from supervisors.system import System
from supervisors.watchdog import Watchdog
from tests.supervisors.workers import BoomError, child, running, worker

if TYPE_CHECKING:
    from actors.ref import ActorRef

ROOT = Path(__file__).resolve().parents[2]
PROGRAM_WAIT = 4 * WAIT
"""Seconds after which a line of a program, or its end, is taken for missing: it has an interpreter to start."""


class Starting(Actor):
    """Never finishes its start; tells when it has begun."""

    def __init__(self, begun: Callable[[], object]) -> None:
        self.begun = begun

    async def on_start(self) -> None:
        self.begun()
        await asyncio.get_running_loop().create_future()


class Listener(Actor):
    """Keeps what is broadcast on a topic."""

    def __init__(self, pubsub: PubSub, heard: list[Any]) -> None:
        self.pubsub, self.heard = pubsub, heard

    def on_start(self) -> None:
        self.pubsub.subscribe("news", self.actor_ref)

    def on_receive(self, message: Any) -> None:
        self.heard.append(message)


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an `async` test on an event loop of its own."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 4 * WAIT))

    run.__name__ = test.__name__
    return run


async def children_of(ref: ActorRef[Any]) -> list[str]:
    return [str(info.id) for info in await which_children(ref)]


async def child_of(ref: ActorRef[Any], child_id: str) -> ActorRef[Any]:
    (found,) = [info.ref for info in await which_children(ref) if info.id == child_id]
    assert found is not None
    return found


def crash(ref: ActorRef[Any]) -> None:
    """Let an actor of another thread crash, and wait until it has."""
    down = ref.down()
    ref.send(BoomError("crash"))
    down.get(timeout=WAIT)


# On a running loop


@on_a_loop
async def test_async_with_starts_the_children_in_order_and_stops_them_in_reverse() -> None:
    journal: list[str] = []
    async with System([worker(label, journal) for label in "abc"]) as system:
        assert await children_of(system.ref) == ["pubsub", "a", "b", "c"]
        assert system.ref.is_alive()
        assert journal == ["a starts", "b starts", "c starts"]
    assert journal[3:] == ["c ends: shutdown", "b ends: shutdown", "a ends: shutdown"]
    assert system.ref.exit_reason == SHUTDOWN


@on_a_loop
async def test_async_with_lives_on_the_loop_of_the_caller() -> None:
    threads: list[int] = []

    class Here(Actor):
        def on_start(self) -> None:
            threads.append(threading.get_ident())

    async with System([Here]):
        assert threads == [threading.get_ident()]


@on_a_loop
async def test_async_with_stops_the_tree_when_the_body_raises() -> None:
    journal: list[str] = []
    with pytest.raises(BoomError, match="the body"):
        async with System([worker("a", journal)]):
            raise BoomError("the body")
    assert journal == ["a starts", "a ends: shutdown"]


@on_a_loop
async def test_async_with_stops_the_tree_when_the_body_is_cancelled_and_lets_it_be_cancelled() -> None:
    journal: list[str] = []
    inside = asyncio.Event()

    async def body() -> None:
        async with System([worker("a", journal)]):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert journal == ["a starts", "a ends: shutdown"]


@on_a_loop
async def test_async_with_raises_when_a_child_cannot_start_and_leaves_nothing() -> None:
    journal: list[str] = []
    error = BoomError("no")
    system = System([worker("a", journal), worker("b", journal, plan=[error]), worker("c", journal)])
    with pytest.raises(StartError) as caught:
        await system.__aenter__()
    assert caught.value.root is error
    assert journal == ["a starts", "b fails", "a ends: shutdown"]
    with pytest.raises(RuntimeError, match="System is not running"):
        _ = system.ref


@on_a_loop
async def test_whoever_cancels_the_start_stops_what_has_started() -> None:
    journal: list[str] = []
    begun = asyncio.Event()
    task = asyncio.create_task(System([worker("a", journal), ChildSpec(Starting, (begun.set,))]).start())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert journal == ["a starts", "a ends: shutdown"]


@on_a_loop
async def test_a_system_ends_by_itself_when_its_significant_children_are_done() -> None:
    significant = worker("a", [], restart="transient", significant=True)
    system = await System([significant], auto_shutdown=AutoShutdown.ALL_SIGNIFICANT).start()
    (await child_of(system.ref, "a")).send(SHUTDOWN)
    assert await system.wait() == SHUTDOWN


@on_a_loop
async def test_a_system_that_gives_up_cancels_the_body_and_raises() -> None:
    journal: list[str] = []
    reached: list[str] = []

    async def body() -> None:
        async with System([worker("a", journal)], name="Shop", max_restarts=0) as system:
            (await child_of(system.ref, "a")).send(BoomError())
            reached.append("before")
            await asyncio.Event().wait()
            reached.append("after")

    with pytest.raises(SystemDownError, match=r"^Shop ended: ") as caught:
        await body()
    assert (caught.value.name, caught.value.reason) == ("Shop", TOO_MANY_RESTARTS)
    assert reached == ["before"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@on_a_loop
async def test_a_body_that_is_done_before_it_hears_of_the_end_is_told_too() -> None:
    async def body() -> None:
        async with System() as system:
            down = system.ref.down()
            system.ref.kill()
            try:
                await down
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

    with pytest.raises(SystemDownError):
        await body()


@on_a_loop
async def test_an_error_of_the_body_goes_before_the_end_of_the_system() -> None:
    async def body() -> None:
        async with System() as system:
            system.ref.kill()
            try:
                await asyncio.Event().wait()
            finally:
                raise BoomError("the body")

    with pytest.raises(BoomError):
        await body()


@on_a_loop
async def test_wait_tells_why_the_system_ended() -> None:
    system = await System().start()
    waiting = asyncio.create_task(system.wait())
    await system.stop()
    assert await waiting == SHUTDOWN
    assert await system.wait() == SHUTDOWN


@on_a_loop
async def test_wait_tells_of_a_kill() -> None:
    system = await System().start()
    system.ref.kill()
    assert await system.wait() == KILLED


@on_a_loop
async def test_stop_returns_when_the_tree_is_gone() -> None:
    journal: list[str] = []
    system = await System([worker("a", journal)]).start()
    ref = await child_of(system.ref, "a")
    await system.stop()
    assert (ref.is_alive(), system.ref.is_alive()) == (False, False)
    assert journal[-1] == "a ends: shutdown"


@on_a_loop
async def test_a_system_that_was_stopped_in_the_body_is_not_stopped_again() -> None:
    async with System() as system:
        await system.stop()
    assert system.ref.exit_reason == SHUTDOWN


@on_a_loop
async def test_a_system_that_has_stopped_can_be_started_again() -> None:
    journal: list[str] = []
    system = System([worker("a", journal)])
    refs = []
    for _ in range(2):
        async with system:
            refs.append(system.ref)
            assert await children_of(system.ref) == ["pubsub", "a"]
    assert refs[0] is not refs[1]
    assert journal == ["a starts", "a ends: shutdown"] * 2


async def killed_inside(system: System) -> None:
    async with system:
        system.ref.kill()
        await asyncio.Event().wait()


@on_a_loop
async def test_a_system_that_gave_up_can_be_started_again() -> None:
    system = System()
    with pytest.raises(SystemDownError):
        await killed_inside(system)
    async with system:
        assert await children_of(system.ref) == ["pubsub"]


# What it has


def test_there_is_nothing_to_see_before_the_start() -> None:
    system = System(name="Shop")
    looks: list[Callable[[], object]] = [
        lambda: system.ref,
        lambda: system.names,
        lambda: system.whereis("pubsub"),
        system.tree,
    ]
    for look in looks:
        with pytest.raises(RuntimeError, match=r"^Shop is not running; use `with`, `async with` or run"):
            look()


@on_a_loop
async def test_names_are_those_of_its_actors() -> None:
    async with System([worker("a", [], name="the one"), worker("b", [])]) as system:
        assert system.whereis("the one") is await child_of(system.ref, "a")
        assert system.whereis("b") is None
        assert system.whereis("the one", required=True) is system.whereis("the one")
        with pytest.raises(
            NotRegisteredError, match=r"^no actor is registered as 'the on'; closest matches: 'the one'$"
        ):
            system.whereis("the on", required=True)
        assert sorted(system.names.names()) == ["pubsub", "the one"]
    assert system.whereis("the one") is None


@on_a_loop
async def test_a_name_of_its_own_is_taken() -> None:
    with pytest.raises(StartError) as caught:
        async with System([worker("a", [], name="pubsub")]):
            pass
    assert isinstance(caught.value.root, NameTakenError)


@on_a_loop
async def test_a_second_system_on_an_event_loop_is_told_that_it_needs_another_name() -> None:
    for name in ("System", "Shop"):
        async with System(name=name) as first:
            with pytest.raises(StartError) as caught:
                await System(name=name).start()
            assert isinstance(caught.value.root, NameTakenError)
            assert str(caught.value.root) == (
                f"name 'pubsub' is already taken by {first.whereis('pubsub')}; another System runs on this loop: stop it, or "
                'give this one another name: System(…, name="other"); a PubSub of your own needs one too: PubSub(name="other")'
            )
            assert str(caught.value.root) in str(caught.value)
            assert first.ref.is_alive()


@on_a_loop
async def test_systems_of_several_names_share_an_event_loop_each_with_its_pubsub() -> None:
    shop, forum, wiki = System(name="Shop"), System(name="Forum"), System()
    async with shop, forum, wiki:
        names = {shop: "pubsub", forum: "Forum.pubsub", wiki: "System.pubsub"}
        assert {system: system.pubsub.name for system in names} == names
        found = [system.whereis(name) for system, name in names.items()]
        assert found == [await child_of(system.ref, name) for system, name in names.items()]
        assert len(set(found)) == 3
        with pytest.raises(StartError, match="another System runs on this loop"):
            await System(name="Forum").start()
    async with forum:
        assert forum.whereis("pubsub") is await child_of(forum.ref, "pubsub")


@on_a_loop
async def test_a_pubsub_with_a_name_of_its_own_keeps_it() -> None:
    async with System(name="Shop") as first:
        with pytest.raises(StartError, match="another System runs on this loop"):
            await System(name="Forum", pubsub=PubSub()).start()
        async with System(name="Forum", pubsub=PubSub(name="forum")) as second:
            assert (second.whereis("pubsub"), second.whereis("forum")) == (
                first.whereis("pubsub"),
                first.whereis("forum"),
            )
            assert first.ref.is_alive()


@on_a_loop
async def test_a_pubsub_that_runs_already_is_no_other_systems() -> None:
    async with System() as system:
        with pytest.raises(StartError, match="PubSub 'pubsub' is running already; each System needs one of its own"):
            await System(pubsub=system.pubsub).start()


@on_a_loop
async def test_pubsub_is_the_first_child_and_carries_broadcasts() -> None:
    heard: list[Any] = []
    system = System()
    async with system:
        assert await children_of(system.ref) == ["pubsub"]
        found = system.whereis("pubsub")
        assert found is not None
        assert found.actor_class is PubSubServer
        listener = await start_child(system.ref, ChildSpec(Listener, (system.pubsub, heard)))
        system.pubsub.broadcast("news", "hello")
        await listener.call("are you done?")
    assert heard == ["hello", "are you done?"]


@on_a_loop
async def test_pubsub_may_be_yours() -> None:
    pubsub = PubSub("news")
    async with System(pubsub=pubsub) as system:
        assert system.pubsub is pubsub
        assert await children_of(system.ref) == ["news"]
        assert system.whereis("news") is not None


@on_a_loop
async def test_subscriptions_end_with_the_system() -> None:
    pubsub = PubSub()
    system = System(pubsub=pubsub)
    async with system:
        await start_child(system.ref, ChildSpec(Listener, (pubsub, [])))
        assert len(pubsub.subscribers("news")) == 1
    async with system:
        assert pubsub.topics() == []


@on_a_loop
async def test_a_restarted_pubsub_keeps_its_subscribers() -> None:
    heard: list[Any] = []
    async with System() as system:
        listener = await start_child(system.ref, ChildSpec(Listener, (system.pubsub, heard)))
        before = system.whereis("pubsub")
        assert before is not None
        before.kill()
        await before.down()
        assert await children_of(system.ref) == ["pubsub", "Listener"]
        assert system.whereis("pubsub") is not before
        assert system.pubsub.subscribers("news") == [listener]
        system.pubsub.broadcast("news", "hello")
        await listener.call("are you done?")
    assert heard == ["hello", "are you done?"]


@on_a_loop
async def test_the_tree_is_drawn_from_the_root() -> None:
    async with System([worker("a", [])], name="Shop") as system:
        pubsub, first = system.whereis("pubsub"), await child_of(system.ref, "a")
        assert pubsub is not None
        assert system.tree() == dedent(f"""\
            Shop {system.ref.pid} Supervisor
            ├── pubsub {pubsub.pid} PubSubServer
            └── a {first.pid} Worker""")


@on_a_loop
async def test_the_options_are_those_of_a_supervisor() -> None:
    journal: list[str] = []
    children = [worker("a", journal), worker("b", journal)]
    async with System(children, strategy=Strategy.REST_FOR_ONE, max_restarts=1, max_seconds=60) as system:
        first = await child_of(system.ref, "a")
        first.send(BoomError())
        await first.down()
        assert await children_of(system.ref) == ["pubsub", "a", "b"]
        assert journal[2:] == ["a ends: BoomError", "b ends: shutdown", "a starts", "b starts"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strategy": "all"}, "strategy must be one of one_for_one, one_for_all, rest_for_one, got 'all'"),
        ({"max_restarts": -1}, "max_restarts must be a whole number >= 0, got -1"),
        ({"max_seconds": 0}, "max_seconds must be a number > 0, got 0"),
        ({"auto_shutdown": "always"}, "auto_shutdown must be one of .*, got 'always'"),
        ({"children": System}, "children must be a list, .*, got <class '.*System'>"),
    ],
    ids=["strategy", "max_restarts", "max_seconds", "auto_shutdown", "children"],
)
def test_a_wrong_option_is_named_with_its_value_where_it_is_given(options: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{text}$"):
        System(**options)


def test_what_is_no_child_is_named_when_the_system_starts() -> None:
    with pytest.raises(TypeError, match=r"^a child must be .*, got 'no child'$"), System(["no child"]):  # type: ignore[list-item]  # it is none
        pass


# In a thread of its own


def test_with_starts_the_children_in_order_and_stops_them_in_reverse(journal: list[str]) -> None:
    with System([worker(label, journal) for label in "abc"]) as system:
        assert running(system.ref) == ["pubsub", "a", "b", "c"]
        assert child(system.ref, "b").ask("hello", timeout=WAIT) == "b got hello"
        assert journal == ["a starts", "b starts", "c starts"]
    assert journal[3:] == ["c ends: shutdown", "b ends: shutdown", "a ends: shutdown"]
    assert system.ref.exit_reason == SHUTDOWN


def test_with_has_a_thread_by_the_name_of_the_system_and_only_inside() -> None:
    threads: list[str] = []

    class There(Actor):
        def on_start(self) -> None:
            threads.append(threading.current_thread().name)

    with System([There], name="Shop"):
        assert threads == ["Shop"]
        assert "Shop" in [thread.name for thread in threading.enumerate()]
    assert "Shop" not in [thread.name for thread in threading.enumerate()]


def test_with_raises_when_a_child_cannot_start_and_leaves_nothing(journal: list[str]) -> None:
    error = BoomError("no")
    children = [worker("a", journal), worker("b", journal, plan=[error])]
    with pytest.raises(StartError) as caught, System(children, name="Shop"):
        pass
    assert caught.value.root is error
    assert journal == ["a starts", "b fails", "a ends: shutdown"]
    assert "Shop" not in [thread.name for thread in threading.enumerate()]


def test_with_stops_the_tree_when_the_body_raises(journal: list[str]) -> None:
    with pytest.raises(BoomError, match="the body"), System([worker("a", journal)]):
        raise BoomError("the body")
    assert journal == ["a starts", "a ends: shutdown"]


def test_with_raises_at_the_end_when_the_system_gave_up(journal: list[str], caplog: pytest.LogCaptureFixture) -> None:
    reached = []

    def body() -> None:
        with System([worker("a", journal)], name="Shop", max_restarts=0) as system:
            down = system.ref.down()
            child(system.ref, "a").send(BoomError())
            down.get(timeout=WAIT)
            reached.append("the end of the body")

    with pytest.raises(SystemDownError, match=r"^Shop ended: .*restart intensity reached") as caught:
        body()
    assert caught.value.reason == TOO_MANY_RESTARTS
    assert reached == ["the end of the body"]
    assert "Shop" not in [thread.name for thread in threading.enumerate()]
    critical = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert critical[-1] == f"Shop ended unexpectedly: {TOO_MANY_RESTARTS}"


def test_an_error_of_a_with_body_goes_before_the_end_of_the_system() -> None:
    def body() -> None:
        with System() as system:
            down = system.ref.down()
            system.ref.kill()
            down.get(timeout=WAIT)
            raise BoomError("the body")

    with pytest.raises(BoomError):
        body()


def test_a_child_is_restarted_in_the_thread(journal: list[str]) -> None:
    with System([worker("a", journal)]) as system:
        before = child(system.ref, "a")
        crash(before)
        after = child(system.ref, "a")
        assert after is not before
        assert after.ask("hello", timeout=WAIT) == "a got hello"


def test_children_may_be_added_from_outside(journal: list[str]) -> None:
    with System() as system:
        ref = start_child(system.ref, worker("a", journal)).get(timeout=WAIT)
        assert child(system.ref, "a") is ref
    assert journal == ["a starts", "a ends: shutdown"]


def test_a_system_may_run_in_a_thread_again_and_on_a_loop_after_that(journal: list[str]) -> None:
    system = System([worker("a", journal)])
    for _ in range(2):
        with system:
            assert running(system.ref) == ["pubsub", "a"]

    async def on_the_loop() -> None:
        async with system:
            assert await children_of(system.ref) == ["pubsub", "a"]

    asyncio.run(on_the_loop())
    assert journal == ["a starts", "a ends: shutdown"] * 3


def test_two_systems_do_not_know_each_other(journal: list[str]) -> None:
    spec = worker("a", journal, name="the one")
    with System([spec], name="First") as first, System([spec], name="Second") as second:
        assert first.whereis("the one") is not second.whereis("the one")
        assert first.whereis("pubsub") is not second.whereis("pubsub")


# As the program, in this thread


def test_run_raises_when_a_child_cannot_start(journal: list[str]) -> None:
    error = BoomError("no")
    with pytest.raises(StartError) as caught:
        System([worker("a", journal), worker("b", journal, plan=[error])]).run()
    assert caught.value.root is error
    assert journal == ["a starts", "b fails", "a ends: shutdown"]


def test_run_calls_then_when_all_have_started_and_raises_when_the_system_gives_up(journal: list[str]) -> None:
    seen = []

    def then(system: System) -> None:
        seen.append(list(journal))
        (first,) = [process.ref for process in system.ref.process.scheduler.processes.values() if process.label == "a"]
        first.send(BoomError())

    with pytest.raises(SystemDownError) as caught:
        System([worker("a", journal)], max_restarts=0).run(then)
    assert caught.value.reason == TOO_MANY_RESTARTS
    assert seen == [["a starts"]]


def test_run_stops_in_order_when_then_raises(journal: list[str]) -> None:
    def then(system: System) -> None:
        raise BoomError("then")

    with pytest.raises(BoomError, match="then"):
        System([worker("a", journal), worker("b", journal)]).run(then)
    assert journal[2:] == ["b ends: shutdown", "a ends: shutdown"]


def test_run_gives_the_signals_back() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    inside: list[Any] = []

    def then(system: System) -> None:
        inside.extend(signal.getsignal(number) for number in numbers)
        system.ref.kill()

    with pytest.raises(SystemDownError):
        System().run(then)
    assert [signal.getsignal(number) for number in numbers] == before
    assert not set(inside) & set(before)


def test_run_works_in_any_thread_without_the_signals() -> None:
    raised: list[BaseException] = []

    def program() -> None:
        try:
            System().run(lambda system: system.ref.kill())
        except SystemDownError as error:
            raised.append(error)

    thread = threading.Thread(target=program)
    thread.start()
    thread.join(WAIT)
    assert [type(error) for error in raised] == [SystemDownError]


class Port(Actor):
    def on_start(self) -> None:
        raise ConsoleError("/nowhere", "it is taken")


def test_what_a_program_needs_of_its_machine_ends_it_with_one_line() -> None:
    with pytest.raises(StartError) as caught:
        System([Port], name="Shop").run()
    assert isinstance(caught.value, SystemExit)
    assert isinstance(caught.value.root, ConsoleError)
    assert caught.value.code == "Shop cannot start: cannot open a console at '/nowhere': it is taken"


def test_a_program_says_that_a_handler_blocks_its_event_loop(caplog: pytest.LogCaptureFixture) -> None:
    def block(self: Actor, _message: object) -> None:
        until_logged(caplog)
        kill_parent(self)

    def then(system: System) -> None:
        processes = system.ref.process.scheduler.processes.values()
        (blocking,) = [process.ref for process in processes if process.label == "Blocking"]
        blocking.send("block")

    with pytest.raises(SystemDownError):
        System([type("Blocking", (Actor,), {"on_receive": block})]).run(then)
    assert "the event loop is blocked: nothing else has run for 0.25 s; Blocking" in caplog.text
    assert "is handling 'block'" in caplog.text


def test_a_program_says_that_a_start_blocks_its_event_loop_for_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisors.system.SLOW_START", 0.05)
    blocking = type("Blocking", (Actor,), {"on_start": lambda _self: until_logged(caplog)})
    with pytest.raises(SystemDownError):
        System([blocking]).run(lambda system: system.ref.kill())
    assert "the event loop is blocked: nothing else has run for 0.05 s; Blocking" in caplog.text
    assert "in on_start" in caplog.text


def test_a_program_with_a_watchdog_leaves_that_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisors.system.loop_watched", None)
    with pytest.raises(SystemDownError):
        System(watchdog=Watchdog(blocked=None)).run(lambda system: system.ref.kill())


def until_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Block until the log says that the event loop is blocked."""
    deadline = monotonic_time() + WAIT
    while "is blocked" not in caplog.text and monotonic_time() < deadline:
        pass


def kill_parent(actor: Actor) -> None:
    parent = actor.actor_ref.process.parent
    assert parent is not None
    parent.ref.kill()


# In a thread, without a block


def test_a_system_runs_in_a_thread_until_it_is_closed(journal: list[str]) -> None:
    system = System([worker("a", journal)], name="Shop")
    assert system.start_in_thread() is system
    assert child(system.ref, "a").ask("hello", timeout=WAIT) == "a got hello"
    with pytest.raises(RuntimeError, match="Shop is running already"):
        system.start_in_thread()
    for _ in range(2):
        system.close()
    assert journal == ["a starts", "a ends: shutdown"]
    assert "Shop" not in [thread.name for thread in threading.enumerate()]
    system.start_in_thread()
    assert system.is_running
    system.close()


def test_a_system_that_was_not_started_is_closed_already() -> None:
    System().close()


def test_a_system_that_cannot_start_leaves_no_thread(journal: list[str]) -> None:
    with pytest.raises(StartError):
        System([worker("a", journal, plan=[BoomError("no")])], name="Shop").start_in_thread()
    assert "Shop" not in [thread.name for thread in threading.enumerate()]


def test_a_block_may_be_closed_from_inside(journal: list[str]) -> None:
    with System([worker("a", journal)]) as system:
        system.close()
        assert journal == ["a starts", "a ends: shutdown"]


def test_the_close_of_a_system_that_gave_up_frees_its_thread(journal: list[str]) -> None:
    system = System([worker("a", journal)], name="Shop", max_restarts=0).start_in_thread()
    down = system.ref.down()
    child(system.ref, "a").send(BoomError())
    down.get(timeout=WAIT)
    system.close()
    assert "Shop" not in [thread.name for thread in threading.enumerate()]


def test_the_end_of_the_program_closes_what_is_left() -> None:
    source = """
        from actors import Actor
        from supervisors import ChildSpec, System

        class Worker(Actor):
            def terminate(self, reason):
                print("ends:", reason)

        System([ChildSpec(Worker)]).start_in_thread()
        print("the end of the program")
    """
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", dedent(source)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PROGRAM_WAIT,
        check=True,
    )
    assert done.stdout.startswith("the end of the program\nends: ")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": 5}, 'name must be a non-empty str such as "Shop", got 5'),
        ({"name": ""}, "name must be a non-empty str"),
        ({"pubsub": PubSub}, "pubsub must be a PubSub .*, got <class 'actors.pubsub"),
        ({"watchdog": True}, r"watchdog must be a Watchdog such as Watchdog\(stuck=5.0\), or None, got True"),
        ({"watchdog": Watchdog}, "watchdog must be a Watchdog .*, got <class"),
    ],
)
def test_a_wrong_option_is_an_error_where_it_is_written(options: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        System(**options)


def test_where_there_are_no_unix_sockets_there_is_no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("socket.AF_UNIX")
    with pytest.raises(ConsoleError, match="cannot open a console at 'here': this platform has no Unix sockets"):
        System(console="here")


# The limit of a shutdown


def test_children_that_do_not_stop_share_one_limit(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Actor):
        shutdown = float("inf")

        async def terminate(self, reason: Any) -> None:
            await asyncio.get_running_loop().create_future()

    system = System([ChildSpec(Stuck, id=number) for number in range(4)], name="Shop", shutdown_timeout=0.05)
    with system:
        pass
    assert system.ref.exit_reason == KILLED
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "did not end within 0.05 s (shutdown_timeout) and is killed; it waited for 3 <" in said
    assert said.endswith("(terminate)")


def test_with_leaves_a_loop_behind_that_a_child_blocks(caplog: pytest.LogCaptureFixture) -> None:
    begun, released = threading.Event(), threading.Event()

    class Blocks(Actor):
        def on_receive(self, message: Any) -> None:
            begun.set()
            released.wait(4 * WAIT)

    with System([ChildSpec(Blocks, name="blocks")], name="Shop", shutdown_timeout=0.05) as system:
        ref = system.whereis("blocks")
        assert ref is not None
        ref.send("work")
        assert begun.wait(WAIT)
        downs = [actor.down() for actor in ActorRegistry.get_all()]
    assert "Shop cannot be stopped, as its event loop is blocked; its thread is left behind" in caplog.messages
    released.set()
    for down in downs:
        down.get(timeout=WAIT)


def test_the_limit_of_a_shutdown_must_be_seconds() -> None:
    with pytest.raises(ValueError, match="shutdown_timeout must be seconds >= 0 or INFINITY, got -1"):
        System(shutdown_timeout=-1)


# What is loaded


def test_what_is_not_asked_for_is_not_loaded() -> None:
    source = """
        import sys
        from supervisors import System
        with System():
            print([name for name in sys.modules if name.startswith("supervisors.console")])
    """
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", dedent(source)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PROGRAM_WAIT,
        check=True,
    )
    assert done.stdout == "[]\n"


# Once at a time


def test_a_system_is_not_started_twice_on_an_event_loop() -> None:
    async def main() -> None:
        async with System() as system:
            for again in (system.start, system.__aenter__):
                with pytest.raises(
                    RuntimeError, match=r"^System is running already; for a second tree make another System$"
                ):
                    await again()
            assert system.is_running
            assert len(ActorRegistry.get_by_class(Supervisor)) == 1
        await (await system.start()).stop()

    asyncio.run(main())


def test_a_system_is_not_started_twice_at_the_same_time() -> None:
    async def main() -> None:
        system = System()
        started = await asyncio.gather(system.start(), system.start(), return_exceptions=True)
        assert started[0] is system
        assert isinstance(started[1], RuntimeError)
        await system.stop()

    asyncio.run(main())


def test_a_system_in_a_thread_is_not_entered_twice() -> None:
    before = threading.active_count()
    with System() as system:
        for again in (system.__enter__, system.run):
            with pytest.raises(RuntimeError, match="is running already"):
                again()
        assert system.is_running
    assert threading.active_count() == before
    with system:
        assert system.is_running


def test_a_system_whose_tree_has_ended_is_not_entered_inside_its_block() -> None:
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(SystemDownError))
        system = stack.enter_context(System())
        system.ref.kill()
        system.ref.down().get(timeout=WAIT)
        with pytest.raises(RuntimeError, match="is running already"):
            system.__enter__()


@pytest.mark.parametrize(
    ("block", "call"),
    [
        (lambda: System().__enter__(), r"`with System\(…\)`"),
        (lambda: System().run(), r"run\(\)"),
        (lambda: System().start_in_thread(), r"start_in_thread\(\)"),
    ],
    ids=["with", "run", "start_in_thread"],
)
def test_a_system_does_not_block_an_event_loop(block: Callable[[], object], call: str) -> None:
    async def main() -> None:
        text = f"^{call} would block the event loop that it is called on; write `async with System"
        with pytest.raises(BlockingCallError, match=text):
            block()

    asyncio.run(main())


def test_the_close_of_a_system_does_not_block_an_event_loop() -> None:
    async def main() -> None:
        with pytest.raises(BlockingCallError, match=r"^close\(\) would block .*; write `await system.stop\(\)`"):
            system.close()

    with System() as system:
        asyncio.run(main())
        assert system.is_running
