"""What an actor's author writes and calls."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pykka
import pykka.messages
import pytest

from actors import sys
from actors.actor import Actor
from actors.exceptions import NameTakenError, NotRegisteredError, StartError
from actors.exits import KILLED, NO_PROCESS, NORMAL, SHUTDOWN, Crash, Down, Exit, ExitReason, Refuse, Shutdown, Stop
from actors.future import Future
from actors.names import whereis
from actors.registry import ActorRegistry, Keys, Registered, Registry, Unregistered
from actors.testing import WAIT, ManualClock, ManualRuntime, Probe
from actors.via import Via

if TYPE_CHECKING:
    from actors.clock import MissedTicks
    from actors.exits import MonitorRef
    from actors.ref import ActorRef
    from actors.runtime.scheduler import in_thread


class Puppet(Actor):
    """Does what it is told: its messages are functions of the actor."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else self.log.append(message)


class Hooked(Actor):
    """Writes down which of pykka's hooks is called."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def on_start(self) -> None:
        self.log.append("on_start")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return message

    def on_stop(self) -> None:
        self.log.append("on_stop")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.log.append(("on_failure", exception_type, exception_value, traceback is not None))


class AsyncHooked(Actor):
    """The same with coroutines that wait for a message of the loop."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    async def _tick(self, what: Any) -> None:
        await asyncio.sleep(0)
        self.log.append(what)

    async def on_start(self) -> None:
        await self._tick("on_start")

    async def on_receive(self, message: Any) -> Any:
        await self._tick(message)
        if isinstance(message, BaseException):
            raise message
        return message

    async def on_stop(self) -> None:
        await self._tick("on_stop")

    async def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        await self._tick("on_failure")


class Radio:
    """A part of an actor that its proxy may walk into."""

    pykka_traversable = True

    def __init__(self) -> None:
        self.volume = 5

    def louder(self, by: int = 1) -> int:
        self.volume += by
        return self.volume


class Car(Actor):
    """An actor as pykka's users write them."""

    wheels = 4

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.radio = Radio()

    def paint(self, colour: str, *, coats: int = 1) -> str:
        self.colour = colour
        return f"{coats} x {colour}"

    async def drive(self, km: int) -> int:
        await asyncio.sleep(0)
        return km

    def crash(self) -> None:
        raise ValueError("into a tree")


BOOM = ValueError("boom")


# Pykka's API


def test_it_is_a_pykka_actor_with_a_pykka_ref(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    # Asked by name: for type checkers our classes are classes of their own.
    assert pykka.ActorRef in type(ref).__mro__
    assert pykka.Actor in ref.actor_class.__mro__


def test_start_hands_its_arguments_to_init_and_runs_on_start_before_it_returns(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    Hooked.start(log=log)
    assert log == ["on_start"]


def test_what_is_told_is_handled_in_order(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Puppet.start(log)
    for number in range(200):
        ref.tell(number)
    assert log == []
    runtime.settle()
    assert log == list(range(200))


def test_an_ask_is_answered_with_what_the_handler_returns(runtime: ManualRuntime) -> None:
    assert Puppet.start().ask(lambda actor: actor.pid.upper()) is not None
    assert Hooked.start([]).ask("hello") == "hello"


def test_the_ref_can_be_used_in_init_and_a_subclass_need_not_call_ours(runtime: ManualRuntime) -> None:
    class Early(Actor):
        def __init__(self) -> None:
            self.me = self.actor_ref

        def on_receive(self, message: Any) -> Any:
            return self.me

    ref = Early.start()
    assert ref.ask("who are you?") is ref


def test_pykka_attributes_are_there(runtime: ManualRuntime) -> None:
    ref = Puppet.start()

    def attributes(actor: Puppet) -> list[Any]:
        return [
            actor.actor_urn,
            actor.actor_ref,
            actor.actor_inbox,
            actor.actor_stopped.is_set(),
            actor.pid,
            str(actor),
        ]

    pid = ref.pid
    assert ref.ask(attributes) == [ref.actor_urn, ref, ref.process, False, pid, f"Puppet {pid}"]
    assert ref.actor_urn.startswith("urn:")
    stopped = ref.actor_stopped
    ref.kill()
    runtime.settle()
    assert stopped.is_set()


def test_urns_and_pids_are_never_given_twice(runtime: ManualRuntime) -> None:
    refs = [Puppet.start() for _ in range(10)]
    assert len({ref.actor_urn for ref in refs}) == len({ref.pid for ref in refs}) == 10


def test_a_message_that_nobody_handles_is_logged_and_the_actor_lives(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    ref = Actor.start()
    assert ref.ask("what?") is None
    assert caplog.messages == [f"Actor {ref.pid} got an unexpected message: 'what?'"]
    assert ref.is_alive()


def test_an_unexpected_message_is_told_without_its_secrets(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    Actor.start().tell(("login", {"password": "hunter2"}))
    runtime.settle()
    assert "got an unexpected message: ('login', {'password': '[FILTERED]'})" in caplog.text


def test_a_proxy_reads_and_writes_attributes(runtime: ManualRuntime) -> None:
    proxy = Car.start("red").proxy()
    assert (proxy.colour.get(), proxy.wheels.get()) == ("red", 4)
    proxy.colour = "blue"
    assert proxy.colour.get() == "blue"
    proxy.doors = 5
    assert proxy.doors.get() == 5


def test_a_proxy_calls_methods_plain_and_async(runtime: ManualRuntime) -> None:
    proxy = Car.start("red").proxy()
    assert proxy.paint("green", coats=2).get() == "2 x green"
    assert proxy.drive(3).get() == 3


def test_a_proxy_defers_calls(runtime: ManualRuntime) -> None:
    proxy = Car.start("red").proxy()
    assert proxy.paint.defer("green") is None
    assert proxy.colour.get() == "green"


def test_a_proxy_walks_into_what_is_traversable(runtime: ManualRuntime) -> None:
    proxy = Car.start("red").proxy()
    assert proxy.radio.louder(by=2).get() == 7
    proxy.radio.volume = 1
    assert proxy.radio.volume.get() == 1


def test_a_method_that_raises_behind_a_proxy_ends_the_actor_and_reaches_the_caller(runtime: ManualRuntime) -> None:
    ref = Car.start("red")
    with pytest.raises(ValueError, match="into a tree"):
        ref.proxy().crash().get()
    assert isinstance(ref.exit_reason, Crash)


def test_an_attribute_that_is_not_there_is_the_callers_error_and_not_the_end(runtime: ManualRuntime) -> None:
    ref = Car.start("red")
    with pytest.raises(AttributeError, match="'wings'"):
        _ = ref.proxy().wings
    assert ref.is_alive()


def test_there_is_no_proxy_of_the_dead(runtime: ManualRuntime) -> None:
    ref = Car.start("red")
    ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()


def test_a_proxy_to_oneself_is_work_for_later(runtime: ManualRuntime) -> None:
    class Planner(Actor):
        def __init__(self) -> None:
            self.done: list[str] = []

        def on_start(self) -> None:
            self._later = self.actor_ref.proxy()

        def begin(self) -> None:
            self._later.finish.defer()
            self.done.append("begun")

        def finish(self) -> None:
            self.done.append("finished")

    proxy = Planner.start().proxy()
    proxy.begin().get()
    assert proxy.done.get() == ["begun", "finished"]


# Hooks


ENDS = pytest.mark.parametrize(
    ("end", "hooks"),
    [
        pytest.param(lambda ref: ref.stop(block=False), ["on_stop"], id="stop"),
        pytest.param(lambda ref: ref.exit(SHUTDOWN), ["on_stop"], id="exit with shutdown"),
        pytest.param(lambda ref: ref.exit(Shutdown("left")), ["on_stop"], id="exit with a detail"),
        pytest.param(lambda ref: ref.exit(KILLED), ["on_stop"], id="exit with the reason killed"),
        pytest.param(lambda ref: ref.tell(BOOM), [("on_failure", ValueError, BOOM, True)], id="exception in a handler"),
        pytest.param(
            lambda ref: ref.exit(KeyError("k")), [("on_failure", KeyError, "k", False)], id="exit with an exception"
        ),
        pytest.param(lambda ref: ref.kill(), [], id="kill"),
        pytest.param(lambda ref: ref.exit(NORMAL), None, id="exit with normal, which is ignored"),
    ],
)


@ENDS
def test_each_end_calls_its_hook_of_pykka_once(
    runtime: ManualRuntime, end: Callable[[ActorRef[Any]], None], hooks: list[Any] | None
) -> None:
    log: list[Any] = []
    ref = Hooked.start(log)
    end(ref)
    runtime.settle()
    got = [(*each[:2], each[2].args[0], each[3]) if each[1:2] == (KeyError,) else each for each in log]
    assert got == ["on_start", *(hooks or [])]
    assert ref.is_alive() is (hooks is None)


@pytest.mark.parametrize(
    ("end", "log"),
    [
        pytest.param(lambda ref: ref.stop(block=False), ["on_start", "on_stop"], id="stop"),
        pytest.param(lambda ref: ref.tell(BOOM), ["on_start", BOOM, "on_failure"], id="exception"),
        pytest.param(lambda ref: ref.kill(), ["on_start"], id="kill"),
    ],
)
def test_hooks_may_be_coroutines(runtime: ManualRuntime, end: Callable[[ActorRef[Any]], None], log: list[Any]) -> None:
    got: list[Any] = []
    ref = AsyncHooked.start(got)
    runtime.settle()
    end(ref)
    runtime.settle()
    assert got == log
    assert not ref.is_alive()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Stop(), NORMAL),
        (Stop(SHUTDOWN), SHUTDOWN),
        (Stop(Shutdown("full")), Shutdown("full")),
        (Stop(BOOM), Crash(BOOM)),
        (BOOM, Crash(BOOM)),
    ],
    ids=repr,
)
def test_terminate_gets_the_reason(runtime: ManualRuntime, message: Any, reason: ExitReason) -> None:
    class Terminating(Hooked):
        def terminate(self, reason: ExitReason) -> None:
            self.log.append(reason)

    log: list[Any] = []
    ref = Terminating.start(log)
    ref.tell(message)
    runtime.settle()
    assert log == ["on_start", reason]
    assert ref.exit_reason == reason


# Ending oneself


def test_stop_from_within_comes_after_what_was_sent_before(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Puppet.start(log)
    ref.tell(lambda actor: actor.stop())
    ref.tell("already here")
    ref.tell(lambda actor: log.append("me too"))
    runtime.settle()
    assert log == ["already here", "me too"]
    assert ref.exit_reason == NORMAL


@pytest.mark.parametrize(
    ("given", "reason"), [(SHUTDOWN, SHUTDOWN), (Shutdown("x"), Shutdown("x")), (BOOM, Crash(BOOM))], ids=repr
)
def test_stop_with_a_reason_comes_after_what_was_sent_before(
    runtime: ManualRuntime, given: object, reason: ExitReason
) -> None:
    log: list[Any] = []
    ref = Puppet.start(log)
    ref.tell(lambda actor: (actor.stop(given), actor.send(actor, "too late")))
    ref.tell("already here")
    runtime.settle()
    assert log == ["already here"]
    assert ref.exit_reason == reason


def test_stop_with_what_is_no_reason_is_a_crash(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    with pytest.raises(TypeError, match="an exit reason must be"):
        ref.ask(lambda actor: actor.stop("done"))
    assert not ref.is_alive()


def test_stop_as_an_answer_answers_first(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    assert ref.ask(lambda _: Stop(SHUTDOWN, reply="bye")) == "bye"
    assert ref.exit_reason == SHUTDOWN


def test_refuse_is_an_exception_for_the_asker_and_no_end(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    with pytest.raises(ValueError, match="boom"):
        ref.ask(lambda _: Refuse(BOOM))
    assert ref.ask(lambda _: "alive") == "alive"


# Messages and names


def test_send_takes_an_actor_a_ref_or_a_name(runtime: ManualRuntime) -> None:
    probe = Probe()
    sender = Puppet.start()
    sender.ask(lambda actor: actor.send(probe.ref, "by ref"))
    probe.ref.process.scheduler.names.register("probe", probe.ref)
    sender.ask(lambda actor: actor.send("probe", "by name"))
    sender.ask(lambda actor: actor.send(actor, lambda me: me.send("probe", "to myself first")))
    runtime.settle()
    assert probe.messages == ["by ref", "by name", "to myself first"]


def test_what_is_sent_to_the_dead_or_to_nobody_is_dropped(runtime: ManualRuntime) -> None:
    dead, sender = Puppet.start(), Puppet.start()
    dead.stop()
    sender.ask(lambda actor: actor.send(dead, "hello?"))
    sender.ask(lambda actor: actor.send("nobody", "hello?"))
    assert sender.is_alive()


def test_a_name_is_taken_by_one_and_free_when_it_ends(runtime: ManualRuntime) -> None:
    first, second = Puppet.start(), Puppet.start()
    first.ask(lambda actor: actor.register("boss"))
    assert second.ask(lambda actor: actor.whereis("boss")) is first
    assert second.ask(lambda actor: actor.whereis("nobody")) is None
    with pytest.raises(NameTakenError, match=f"name 'boss' is already taken by Puppet {first.pid}"):
        second.ask(lambda actor: actor.register("boss"))
    first.stop()
    third = Puppet.start()
    third.ask(lambda actor: actor.register("boss"))
    assert third.ask(lambda actor: actor.whereis("boss")) is third


class Resident(Puppet):
    """Notes which name it has in `on_start`."""

    def __init__(self, *args: Any, name: str = "mine", log: list[Any] | None = None) -> None:
        super().__init__(log)
        self.args, self.name = args, name

    def on_start(self) -> None:
        self.log.append(("starts", self.whereis("boss") is self.actor_ref))


@pytest.mark.parametrize("name", ["boss", 7, ("room", 1), frozenset({"a"}), b"boss", False], ids=repr)
def test_an_actor_is_started_under_a_name(runtime: ManualRuntime, name: Any) -> None:
    ref = Resident.start_as(name, 1, 2, name="its own")
    assert ref.ask(lambda actor: (actor.args, actor.name)) == ((1, 2), "its own")
    assert whereis(name) is ref
    assert str(ref) == f"{name} {ref.pid}"
    ref.stop()
    assert whereis(name) is None


def test_an_actor_has_its_name_before_on_start(runtime: ManualRuntime) -> None:
    assert Resident.start_as("boss").ask(lambda actor: actor.log) == [("starts", True)]


def test_an_actor_is_started_via_a_name_in_a_registry(runtime: ManualRuntime) -> None:
    rooms = Registry()
    ref = Resident.start_as(Via(rooms, "lobby", {"size": 3}))
    assert (rooms.lookup("lobby"), whereis("lobby")) == ([(ref, {"size": 3})], None)


@pytest.mark.parametrize("name", [None, [], ("a", []), {}], ids=repr)
@pytest.mark.parametrize(
    "use",
    [
        Resident.start_as,
        lambda name: Resident.start().ask(lambda actor: actor.register(name)),
        lambda name: Resident.start().ask(lambda actor: actor.unregister(name)),
    ],
    ids=["start_as", "register", "unregister"],
)
def test_what_cannot_be_a_name_is_refused(runtime: ManualRuntime, use: Callable[[Any], object], name: Any) -> None:
    with pytest.raises(TypeError, match="a name must be a str, another hashable value or Via"):
        use(name)
    assert runtime.actors == []


def test_an_actor_is_no_name(runtime: ManualRuntime) -> None:
    ref = Resident.start()
    for name in (ref, Via(Registry(), [])):  # type: ignore[arg-type]  # an author's mistake
        with pytest.raises(TypeError, match="a name must be"):
            Resident.start_as(name)


def test_an_actor_whose_name_is_taken_ends_before_it_starts(runtime: ManualRuntime) -> None:
    made: list[weakref.ref[Actor]] = []

    class Second(Resident):
        def __init__(self, log: list[Any]) -> None:
            super().__init__(log=log)
            made.append(weakref.ref(self))

        def terminate(self, reason: ExitReason) -> None:
            self.log.append(reason)

    first, log = Resident.start_as("boss"), list[Any]()
    with pytest.raises(NameTakenError, match=f"name 'boss' is already taken by boss {first.pid}") as caught:
        Second.start_as("boss", log)
    assert (caught.value.name, caught.value.owner, caught.value.__cause__) == ("boss", first, None)
    assert log == []
    assert runtime.actors == [first]
    assert whereis("boss") is first
    assert [actor() for actor in made] == [None]


def test_a_name_that_is_taken_in_on_start_is_a_failed_start(runtime: ManualRuntime) -> None:
    class Greedy(Actor):
        def on_start(self) -> None:
            self.register("boss")

    first = Resident.start_as("boss")
    with pytest.raises(StartError) as caught:
        Greedy.start_as("clerk")
    assert isinstance(caught.value.cause, NameTakenError)
    assert (whereis("clerk"), whereis("boss")) == (None, first)


def test_the_name_of_an_actor_that_cannot_start_is_free(runtime: ManualRuntime) -> None:
    class Failing(Actor):
        def on_start(self) -> None:
            raise BOOM

    class Unmade(Actor):
        def __init__(self) -> None:
            raise BOOM

    with pytest.raises(StartError):
        Failing.start_as("boss")
    with pytest.raises(ValueError, match="boom"):
        Unmade.start_as("boss")
    assert runtime.actors == []
    assert Resident.start_as("boss").is_alive()


def test_a_name_is_taken_while_an_async_on_start_runs_and_free_when_it_failed(runtime: ManualRuntime) -> None:
    gate = asyncio.Event()

    class Slow(Actor):
        async def on_start(self) -> None:
            await gate.wait()
            raise BOOM

    first = Slow.start_as("boss")
    started = first.started()
    runtime.settle()
    with pytest.raises(NameTakenError):
        Slow.start_as("boss")
    gate.set()
    with pytest.raises(StartError):
        started.get()
    assert (whereis("boss"), runtime.actors) == (None, [])


def test_a_name_is_given_at_the_start_from_another_thread(background: in_thread) -> None:
    first = Resident.start_as("boss")
    assert first.ask(lambda actor: actor.log, timeout=WAIT) == [("starts", True)]
    with pytest.raises(NameTakenError) as caught:
        Resident.start_as("boss")
    assert caught.value.owner is first
    assert ActorRegistry.get_by_class(Resident) == [first]
    first.stop(timeout=WAIT)


# Giving a name back


def test_an_actor_gives_a_name_back_which_another_one_can_have(runtime: ManualRuntime) -> None:
    first, second = Resident.start_as("boss"), Puppet.start()
    first.ask(lambda actor: actor.register("chief"))
    first.ask(lambda actor: actor.unregister("boss"))
    assert (whereis("boss"), whereis("chief")) == (None, first)
    second.ask(lambda actor: actor.register("boss"))
    first.stop()
    assert (whereis("boss"), whereis("chief")) == (second, None)


def test_only_the_owner_of_a_name_gives_it_back(runtime: ManualRuntime) -> None:
    rooms = Registry()
    first, second = Resident.start_as("boss"), Puppet.start()
    for name in ("boss", "nobody", Via(rooms, "boss")):
        with pytest.raises(NotRegisteredError, match=f"{second} is not registered as '"):
            second.ask(lambda actor, name=name: actor.unregister(name))
        second = Puppet.start()
    assert whereis("boss") is first


def test_a_name_is_given_back_once(runtime: ManualRuntime) -> None:
    first = Resident.start_as("boss")

    def give_back(actor: Actor) -> None:
        actor.unregister("boss")
        with pytest.raises(NotRegisteredError):
            actor.unregister("boss")

    first.ask(give_back)
    assert sys.get_status(first).get().names == []


def test_listeners_are_notified_of_a_name_that_is_given_back_and_not_again_at_the_end(runtime: ManualRuntime) -> None:
    probe = Probe()
    rooms = Registry(listeners=[probe.ref])
    first = Puppet.start_as(Via(rooms, "lobby"))
    first.ask(lambda actor: actor.unregister(Via(rooms, "lobby")))
    first.stop()
    runtime.settle()
    assert probe.messages == [Registered(rooms, "lobby", first, None), Unregistered(rooms, "lobby", first)]


def test_all_entries_of_a_duplicate_key_are_given_back(runtime: ManualRuntime) -> None:
    rooms = Registry(Keys.DUPLICATE)
    first, second = Puppet.start(), Puppet.start()
    for ref in (first, first, second):
        ref.ask(lambda actor: actor.register(Via(rooms, "all")))
    first.ask(lambda actor: actor.unregister(Via(rooms, "all")))
    assert rooms.lookup("all") == [(second, None)]


def test_monitors_and_links_stay_when_a_name_is_given_back(runtime: ManualRuntime) -> None:
    probe = Probe()
    first = Resident.start_as("boss")
    monitor = probe.monitor(first)
    first.ask(lambda actor: actor.unregister("boss"))
    runtime.settle()
    assert probe.messages == []
    first.stop(reason=SHUTDOWN)
    down = probe.assert_receive(Down)
    assert (down.ref, down.reason) == (monitor, SHUTDOWN)


# Links and monitors


def test_trap_exit_is_off_until_it_is_set(runtime: ManualRuntime) -> None:
    class Trapping(Puppet):
        def on_start(self) -> None:
            assert self.trap_exit is False
            self.trap_exit = True

    trapping, other = Trapping.start(), Puppet.start()
    assert trapping.ask(lambda actor: actor.trap_exit) is True
    trapping.ask(lambda actor: actor.link(other))
    other.exit(SHUTDOWN)
    runtime.settle()
    message = trapping.ask(lambda actor: actor.log[0])
    assert isinstance(message, Exit)
    assert (message.actor, message.reason) == (other, SHUTDOWN)


def test_link_ties_two_and_unlink_unties_them(runtime: ManualRuntime) -> None:
    first, second, third = (Puppet.start() for _ in range(3))
    first.ask(lambda actor: actor.link(second))
    first.ask(lambda actor: actor.link(third))
    first.ask(lambda actor: actor.unlink(third))
    first.exit(SHUTDOWN)
    runtime.settle()
    assert (second.exit_reason, third.is_alive()) == (SHUTDOWN, True)


def test_monitor_brings_one_down_and_demonitor_none(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    watcher, first, second = Puppet.start(log), Puppet.start(), Puppet.start()
    monitor: MonitorRef = watcher.ask(lambda actor: actor.monitor(first))
    other: MonitorRef = watcher.ask(lambda actor: actor.monitor(second))
    watcher.ask(lambda actor: actor.demonitor(other))
    first.stop()
    second.stop()
    runtime.settle()
    assert [(down.ref, down.actor, down.reason) for down in log] == [(monitor, first, NORMAL)]


def test_monitoring_the_dead_brings_no_process(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    watcher, dead = Puppet.start(log), Puppet.start()
    dead.stop()
    watcher.ask(lambda actor: actor.monitor(dead))
    runtime.settle()
    assert [type(message) for message in log] == [Down]
    assert log[0].reason == NO_PROCESS


# Time


def test_the_clock_is_that_of_the_runtime(runtime: ManualRuntime) -> None:
    clock = Puppet.start().ask(lambda actor: actor.clock)
    assert isinstance(clock, ManualClock)
    assert clock is runtime.clock


def test_send_after_sends_once_to_oneself_or_to_another(runtime: ManualRuntime) -> None:
    probe, log = Probe(), list[Any]()
    ref = Puppet.start(log)
    ref.ask(lambda actor: actor.send_after(2, "to myself"))
    ref.ask(lambda actor: actor.send_after(1, "to another", probe.ref))
    runtime.advance(0.999)
    assert (log, probe.messages) == ([], [])
    runtime.advance(0.001)
    assert (log, probe.messages) == ([], ["to another"])
    runtime.advance(100)
    assert (log, probe.messages) == (["to myself"], ["to another"])


def test_send_after_to_another_outlives_the_sender(runtime: ManualRuntime) -> None:
    probe, ref = Probe(), Puppet.start()
    ref.ask(lambda actor: actor.send_after(1, "from beyond", probe.ref))
    ref.kill()
    runtime.advance(1)
    assert probe.messages == ["from beyond"]


def test_send_interval_sends_until_it_is_cancelled(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Puppet.start(log)
    interval = ref.ask(lambda actor: actor.send_interval(5, "tick"))
    runtime.advance(17)
    assert log == ["tick"] * 3
    assert ref.ask(lambda actor: actor.remaining(interval)) == 3
    assert ref.ask(lambda actor: actor.cancel(interval)) == 3
    runtime.advance(100)
    assert log == ["tick"] * 3


class Slow(Actor):
    """Handles a tick in twelve seconds, and notes when it begins to."""

    def __init__(self, log: list[Any], missed_ticks: MissedTicks | None) -> None:
        self.log = log
        self.options: dict[str, Any] = {} if missed_ticks is None else {"missed_ticks": missed_ticks}

    def on_start(self) -> None:
        self.send_interval(5, "tick", **self.options)

    async def on_receive(self, message: Any) -> None:
        self.log.append((self.clock.now(), message))
        if message == "tick":
            await asyncio.sleep(12)


@pytest.mark.parametrize(
    ("missed_ticks", "begun", "waiting"),
    [
        (None, [5, 20, 35, 50], 0),
        ("skip", [5, 20, 35, 50], 0),
        ("delay", [5, 22, 39], 0),
        ("burst", [5, 17, 29, 41], 6),
    ],
)
def test_a_handler_that_is_slower_than_its_interval(
    runtime: ManualRuntime, missed_ticks: MissedTicks | None, begun: list[int], waiting: int
) -> None:
    log: list[Any] = []
    ref = Slow.start(log, missed_ticks)
    runtime.advance(6)
    ref.tell("other")
    runtime.advance(44)
    ticks = [at for at, message in log if message == "tick"]
    assert ticks == begun
    assert ref.process.waiting == waiting


def test_a_tick_that_crashes_its_actor_is_the_last(runtime: ManualRuntime) -> None:
    class Failing(Actor):
        def on_start(self) -> None:
            self.send_interval(5, "tick", missed_ticks="delay")

        def on_receive(self, message: Any) -> None:
            raise ValueError("boom")

    ref = Failing.start()
    runtime.advance(20)
    assert not ref.is_alive()
    assert runtime.clock.pending() == 0


def test_ticks_do_not_pile_up_in_an_actor_that_is_suspended(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Puppet.start(log)
    ref.ask(lambda actor: actor.send_interval(1, "tick"))
    sys.suspend(ref).get()
    runtime.advance(100)
    assert ref.process.waiting == 1
    sys.resume(ref).get()
    runtime.advance(2)
    assert log == ["tick"] * 3


def test_cancel_and_remaining_are_none_when_it_is_too_late(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    timer = ref.ask(lambda actor: actor.send_after(3, "x"))
    runtime.advance(1)
    assert ref.ask(lambda actor: actor.remaining(timer)) == 2
    runtime.advance(2)
    assert ref.ask(lambda actor: actor.remaining(timer)) is None
    assert ref.ask(lambda actor: actor.cancel(timer)) is None


def test_timers_end_with_their_actor(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    ref.ask(lambda actor: actor.send_after(3, "x"))
    ref.ask(lambda actor: actor.send_interval(1, "y"))
    assert runtime.clock.pending() == 2
    ref.kill()
    runtime.settle()
    assert runtime.clock.pending() == 0


def test_what_it_owns_is_closed_at_its_end(runtime: ManualRuntime) -> None:
    closed: list[str] = []
    ref = Puppet.start()
    ref.ask(lambda actor: actor.own(lambda: closed.append("file")))
    ref.ask(lambda actor: actor.own(lambda: closed.append("socket")))
    assert closed == []
    ref.kill()
    runtime.settle()
    assert closed == ["file", "socket"]


# Starting


def test_an_exception_in_on_start_is_the_starters_error(runtime: ManualRuntime) -> None:
    class Broken(Actor):
        def on_start(self) -> None:
            raise BOOM

        def terminate(self, reason: ExitReason) -> None:
            pytest.fail("it never lived")

    with pytest.raises(StartError, match=r"Broken <0.\d+.0> could not start: ValueError: boom") as caught:
        Broken.start()
    assert caught.value.cause is BOOM
    assert runtime.actors == []


def test_an_exception_in_init_comes_as_it_is(runtime: ManualRuntime) -> None:
    with pytest.raises(TypeError, match="colour"):
        Car.start()
    assert runtime.actors == []


def test_what_cannot_close_anything_is_not_owned(runtime: ManualRuntime) -> None:
    class Careless(Actor):
        def on_start(self) -> None:
            self.own("file")  # type: ignore[arg-type]  # it shall be refused

    with pytest.raises(StartError, match=r"own\(\) takes a function, such as connection.close, got 'file'"):
        Careless.start()


def test_pykkas_own_ways_to_begin_are_closed(runtime: ManualRuntime) -> None:
    actor = Puppet()
    with pytest.raises(NotImplementedError, match=r"spawn\(\)"):
        actor._start_actor_loop()
    with pytest.raises(NotImplementedError, match="mailbox"):
        actor._create_actor_inbox()
    assert isinstance(actor._create_future(), Future)


# On a loop of the author's own


def test_actors_live_on_the_loop_that_runs() -> None:
    async def main() -> tuple[list[Any], Any]:
        log: list[Any] = []
        ref = AsyncHooked.start(log)
        answer = await ref.call("hello")
        assert ref.process.scheduler.loop is asyncio.get_running_loop()
        assert await ref.stop(block=False)
        return log, answer

    assert asyncio.run(main()) == (["on_start", "hello", "on_stop"], "hello")
