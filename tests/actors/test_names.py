"""Names wherever a ref can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from actors import names
from actors.actor import Actor
from actors.exceptions import ActorDeadError, AmbiguousNameError, BlockingCallError, NotRegisteredError, Timeout
from actors.exits import KILLED, NO_PROCESS, SHUTDOWN, Down, Exit
from actors.registry import ActorRegistry, Registry
from actors.runtime.scheduler import in_thread
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime, Probe, sync
from actors.via import Via


class Echo(Actor):
    """Keeps what it is told, answers what it is asked."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.heard.append(message)
        return (self.pid, message)


class Doer(Actor):
    """Does in its own turn what the test says."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_start(self) -> None:
        self.trap_exit = True

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.heard.append(message)
        return None


def heard(ref: Any) -> list[Any]:
    messages: list[Any] = ref.proxy().heard.get(timeout=WAIT)
    return messages


rooms = Registry()


@pytest.fixture(params=["echo", ("echo", 1), Via(rooms, "echo")], ids=["text", "tuple", "via"])
def name(request: pytest.FixtureRequest) -> Any:
    """A name that nobody has yet."""
    return request.param


# In the actors' own thread


def test_a_name_is_used_as_a_ref_is(runtime: ManualRuntime, name: Any) -> None:
    echo = spawn(Echo, name=name)
    assert names.whereis(name) is echo
    names.send(name, 1)
    assert names.ask(name, 2) == (echo.pid, 2)
    assert names.ask(name, 3, block=False).get() == (echo.pid, 3)
    assert runtime.run(names.call(name, 4)) == (echo.pid, 4)
    assert heard(echo) == [1, 2, 3, 4]


def test_a_ref_is_used_as_it_is(runtime: ManualRuntime) -> None:
    echo = Echo.start()
    assert names.whereis(echo) is echo
    names.send(echo, 1)
    assert names.ask(echo, 2) == (echo.pid, 2)
    assert heard(echo) == [1, 2]


def test_a_name_finds_the_actor_that_has_it_now(runtime: ManualRuntime, name: Any) -> None:
    first = spawn(Echo, name=name)
    assert names.ask(name, "who") == (first.pid, "who")
    first.kill()
    runtime.settle()
    second = spawn(Echo, name=name)
    assert names.ask(name, "who") == (second.pid, "who")


def test_a_required_name_is_an_error_if_no_actor_has_it(runtime: ManualRuntime, name: Any) -> None:
    doer = Doer.start()
    key = name.key if isinstance(name, Via) else name
    finds: list[Callable[[], Any]] = [
        lambda: names.whereis(name, required=True),
        lambda: doer.ask(lambda doer: doer.send(doer, doer.whereis(name, required=True))),
    ]
    for find in finds:
        with pytest.raises(NotRegisteredError, match=r"^no actor is registered as ") as caught:
            find()
        assert (caught.value.key, caught.value.actor, caught.value.nearest) == (key, None, ())


def test_a_required_name_is_found(runtime: ManualRuntime, name: Any) -> None:
    echo = spawn(Echo, name=name)
    assert names.whereis(name, required=True) is names.whereis(echo, required=True) is echo
    assert Doer.start().ask(lambda doer: doer.whereis(name, required=True)) is echo


def test_a_required_name_is_looked_up_in_all_event_loops(runtime: ManualRuntime) -> None:
    echo = spawn(Echo, name="echo")

    def find(name: str) -> list[Any]:
        return [names.whereis(name, required=True), ActorRegistry.get_by_name(name, required=True)]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(find, "echo").result(timeout=WAIT) == [echo, echo]
        with pytest.raises(NotRegisteredError, match=r"^no actor is registered as 'ech'; closest matches: 'echo'$"):
            thread.submit(find, "ech").result(timeout=WAIT)
    with pytest.raises(NotRegisteredError, match=r"^no actor is registered as 'ech'; closest matches: 'echo'$"):
        ActorRegistry.get_by_name("ech", required=True)


def test_the_error_of_a_required_name_has_the_closest_names(runtime: ManualRuntime) -> None:
    spawn(Echo, name="counter")
    spawn(Echo, name=("counter", 1))
    spawn(Echo, name=Via(rooms, "counting"))
    with pytest.raises(NotRegisteredError, match=r"^no actor is registered as 'countr'; closest matches: 'counter'$"):
        names.whereis("countr", required=True)
    with pytest.raises(NotRegisteredError, match=r"^no actor is registered as 'countng'; closest matches: 'counting'$"):
        names.whereis(Via(rooms, "countng"), required=True)


def test_what_is_sent_to_nobody_is_dropped(runtime: ManualRuntime, name: Any) -> None:
    assert names.whereis(name) is None
    names.send(name, "hello")
    echo = spawn(Echo, name=name)
    assert heard(echo) == []


def test_who_asks_nobody_is_told_so_at_once(runtime: ManualRuntime, name: Any) -> None:
    text = (
        r"^no actor is registered as \('echo', 1\)$" if isinstance(name, tuple) else "^no actor is registered as 'echo'"
    )
    with pytest.raises(ActorDeadError, match=text):
        names.ask(name, 1)
    future = names.ask(name, 1, block=False)
    assert isinstance(future.exception, ActorDeadError)
    with pytest.raises(ActorDeadError, match=text):
        runtime.run(names.call(name, 1))


def test_who_asks_nobody_via_a_registry_is_told_which(runtime: ManualRuntime) -> None:
    with pytest.raises(ActorDeadError, match=r"^no actor is registered as 'x' in <Registry unique, entries: 0>$"):
        names.ask(Via(Registry(), "x"), 1)


def test_the_time_out_of_a_question_is_that_of_a_ref(runtime: ManualRuntime) -> None:
    class Silent(Actor):
        def on_receive(self, message: Any) -> None:
            self.reply_later()

    spawn(Silent, name="silent")
    late = names.ask("silent", 1, block=False, timeout=2.0)

    async def wait() -> None:
        with pytest.raises(Timeout, match=r"no answer in 3\.0 seconds"):
            await names.call("silent", 1, timeout=3.0)
        with pytest.raises(Timeout, match=r"no answer in 2\.0 seconds"):
            await late

    task = runtime._scheduler.loop.create_task(wait())
    runtime.advance(6)
    assert task.done()
    task.result()


def test_none_is_not_a_name(runtime: ManualRuntime) -> None:
    with pytest.raises(TypeError, match=r"got None; did whereis\(\) find no actor\?"):
        names.send(names.whereis("nobody"), "hello")


# From an actor


@pytest.fixture
def doer(runtime: ManualRuntime) -> Any:
    return Doer.start()


def test_an_actor_sends_to_a_name(runtime: ManualRuntime, doer: Any, name: Any) -> None:
    echo = spawn(Echo, name=name)
    doer.ask(lambda me: me.send(name, "hello"))
    assert heard(echo) == ["hello"]
    assert doer.ask(lambda me: me.whereis(name)) is echo


def test_an_actor_takes_a_name(runtime: ManualRuntime, doer: Any, name: Any) -> None:
    doer.ask(lambda me: me.register(name))
    found = [names.whereis(name)]
    doer.stop()
    assert [*found, names.whereis(name)] == [doer, None]


def test_an_actor_monitors_a_name(runtime: ManualRuntime, doer: Any, name: Any) -> None:
    echo = spawn(Echo, name=name)
    monitor = doer.ask(lambda me: me.monitor(name))
    echo.kill()
    runtime.settle()
    (down,) = heard(doer)
    assert (type(down), down.ref, down.actor, down.reason) == (Down, monitor, echo, KILLED)


def test_a_monitor_of_a_name_watches_the_actor_that_has_it_then(runtime: ManualRuntime, doer: Any) -> None:
    first = spawn(Echo, name="echo")
    doer.ask(lambda me: me.monitor("echo"))
    runtime._scheduler.names.unregister("echo", first)
    later = spawn(Echo, name="echo")
    later.stop()
    assert heard(doer) == []
    first.stop()
    assert [down.actor for down in heard(doer)] == [first]


def test_a_monitor_of_a_name_that_nobody_has_is_told_at_once(runtime: ManualRuntime, doer: Any, name: Any) -> None:
    monitor = doer.ask(lambda me: me.monitor(name))
    (down,) = heard(doer)
    assert (type(down), down.ref, down.reason) == (Down, monitor, NO_PROCESS)
    assert str(down.actor).startswith(str(name))
    assert (down.actor.is_alive(), down.actor.exit_reason) == (False, NO_PROCESS)
    assert down.actor not in ActorRegistry.get_all()
    with pytest.raises(ActorDeadError):
        down.actor.tell("hello")
    assert down.actor.down().get() == NO_PROCESS


def test_an_actor_links_to_a_name_and_unlinks_from_it(runtime: ManualRuntime, doer: Any, name: Any) -> None:
    echo = spawn(Echo, name=name)
    doer.ask(lambda me: me.link(name))
    doer.ask(lambda me: me.unlink(name))
    doer.ask(lambda me: me.link(name))
    echo.exit(SHUTDOWN)
    runtime.settle()
    assert [(type(message), message.actor, message.reason) for message in heard(doer)] == [(Exit, echo, SHUTDOWN)]


def test_an_unlinked_name_does_not_bring_its_end(runtime: ManualRuntime, doer: Any, name: Any) -> None:
    echo = spawn(Echo, name=name)
    doer.ask(lambda me: me.link(name))
    doer.ask(lambda me: me.unlink(name))
    echo.kill()
    runtime.settle()
    doer.ask(lambda me: me.unlink(name))
    assert heard(doer) == []


def test_a_link_to_a_name_that_nobody_has_brings_an_exit_at_once(runtime: ManualRuntime, doer: Any, name: Any) -> None:
    doer.ask(lambda me: me.link(name))
    (message,) = heard(doer)
    assert (type(message), str(message.actor).split(" <")[0], message.reason) == (Exit, str(name), NO_PROCESS)


def test_an_actor_is_a_target_itself(runtime: ManualRuntime, doer: Any) -> None:
    other = Doer.start()
    other.ask(lambda it: doer.ask(lambda me: me.monitor(it), block=False))
    other.kill()
    runtime.settle()
    assert [down.actor for down in heard(doer)] == [other]


def test_a_timer_looks_a_name_up_when_it_fires(runtime: ManualRuntime, doer: Any, name: Any) -> None:
    doer.ask(lambda me: me.send_after(1.0, "too early", name))
    runtime.advance(1)
    doer.ask(lambda me: me.send_after(1.0, "late", name))
    echo = spawn(Echo, name=name)
    runtime.advance(0.5)
    assert heard(echo) == []
    runtime.advance(0.5)
    assert heard(echo) == ["late"]


@pytest.mark.parametrize("target", [None, "ref", "name"])
def test_a_timer_of_any_target_waits_no_negative_time(runtime: ManualRuntime, doer: Any, target: Any) -> None:
    to = doer if target == "ref" else target
    message = doer.ask(lambda me: refusal(lambda: me.send_after(-1.0, "x", to)))
    assert message == "seconds must be >= 0, got -1.0"


def refusal(call: Callable[[], object]) -> str | None:
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


# Whose names


@pytest.fixture
def second() -> Iterator[in_thread]:
    thread = in_thread("second")
    yield thread
    thread.stop()


def start_in(thread: in_thread, name: str | Via) -> Any:
    async def start() -> Any:
        return spawn(Echo, name=name)

    return asyncio.run_coroutine_threadsafe(start(), thread.scheduler.loop).result(WAIT)


def test_a_thread_without_actors_finds_a_name_wherever_it_is(background: in_thread, second: in_thread) -> None:
    here, there = start_in(background, "here"), start_in(second, "there")
    assert (names.whereis("here"), names.whereis("there"), names.whereis("nowhere")) == (here, there, None)
    names.send("there", 1)
    assert names.ask("there", 2, timeout=WAIT) == (there.pid, 2)
    assert asyncio.run(names.call("here", 3, timeout=WAIT)) == (here.pid, 3)
    assert heard(there) == [1, 2]


def test_a_name_that_several_runtimes_have_is_an_error_that_names_them(
    background: in_thread, second: in_thread
) -> None:
    owners = start_in(background, "echo"), start_in(second, "echo")
    for use in (names.whereis, lambda name: names.send(name, 1), lambda name: names.ask(name, 1)):
        with pytest.raises(AmbiguousNameError) as caught:
            use("echo")
        assert (caught.value.name, caught.value.owners) == ("echo", owners)
        assert f"in 2 event loops: {owners[0]}, {owners[1]}; " in str(caught.value)
        assert "system.whereis('echo')" in str(caught.value)
    with pytest.raises(AmbiguousNameError):
        asyncio.run(names.call("echo", 1))
    assert [heard(owner) for owner in owners] == [[], []]


def test_a_thread_with_actors_uses_its_own_names_only(
    background: in_thread, second: in_thread, runtime: ManualRuntime
) -> None:
    start_in(second, "echo")
    start_in(background, "there")
    mine = spawn(Echo, name="echo")
    assert (names.whereis("echo"), names.whereis("there")) == (mine, None)


def test_an_actor_uses_the_names_of_its_own_runtime(background: in_thread, second: in_thread) -> None:
    mine, _ = start_in(background, "echo"), start_in(second, "echo")
    doer = Doer.start()
    assert doer.process.scheduler is background.scheduler
    assert doer.ask(lambda me: me.whereis("echo")) == mine
    assert doer.ask(lambda _: names.whereis("echo")) == mine


def test_a_runtime_whose_loop_is_closed_has_no_names_any_more(background: in_thread) -> None:
    async def start() -> Any:
        return spawn(Echo, name="echo")

    gone, echo = asyncio.run(start()), start_in(background, "echo")
    assert (gone.is_alive(), names.whereis("echo")) == (False, echo)


def test_a_via_is_the_same_in_every_thread(background: in_thread, second: in_thread) -> None:
    registry = Registry()
    here, there = start_in(background, Via(registry, "here")), start_in(second, Via(registry, "there"))
    doer = Doer.start()
    assert doer.ask(lambda me: me.whereis(Via(registry, "there"))) == there
    assert names.whereis(Via(registry, "here")) == here
    there.kill()
    there.down().get(timeout=WAIT)
    assert registry.names() == ["here"]


def test_a_blocking_question_on_the_loop_itself_is_refused(background: in_thread) -> None:
    start_in(background, "echo")
    doer = Doer.start()

    def blocked(_: Any) -> str:
        try:
            names.ask("echo", 1)
        except BlockingCallError as error:
            return str(error)
        return "not refused"

    assert "would block the event loop" in doer.ask(blocked, timeout=WAIT)


def test_a_loop_that_has_no_actors_yet_is_a_thread_without_actors(background: in_thread) -> None:
    echo = start_in(background, "echo")

    async def look() -> Any:
        return names.whereis("echo"), await names.call("echo", 1, timeout=WAIT)

    assert asyncio.run(look()) == (echo, (echo.pid, 1))


def test_a_probe_hears_what_is_sent_to_its_name(runtime: ManualRuntime) -> None:
    probe = Probe()
    runtime._scheduler.names.register("probe", probe.ref)
    names.send("probe", "hello")
    sync(probe.ref)
    assert probe.messages == ["hello"]
