"""pykka's own actors as supervised children: restarts, shutdown, names, and who gets what they are sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors import sys
from actors.actor import Actor
from actors.exceptions import ActorDeadError, StartError
from actors.exits import KILLED, NORMAL, SHUTDOWN, Crash, Down, ExitReason, Shutdown
from actors.testing import WAIT, Probe
from actors.threads.actor_thread import threads_left
from actors.threads.pykka_actor import PykkaActor, actor_class_of
from supervisors.calls import start_child, terminate_child, which_children
from supervisors.child_spec import BRUTAL_KILL, ChildSpec, Restart, child_spec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from actors.ref import ActorRef

pytestmark = pytest.mark.usefixtures("background")

BOOM = ValueError("boom")
EXIT = GeneratorExit("over")


@pytest.fixture(autouse=True)
def nothing_of_pykka_is_left() -> Iterator[None]:
    """Join the threads of the pykka actors that a test has started; none of the actors may be registered any more."""
    before = threading.enumerate()
    yield
    for thread in threading.enumerate():
        if thread not in before and thread.name.startswith("Clerk"):
            thread.join(WAIT)
            assert not thread.is_alive(), f"{thread.name} is left"
    assert threads_left() == []
    assert pykka.ActorRegistry.get_all() == []


class Clerk(pykka.ThreadingActor):
    """An actor as one writes it for pykka: raises what it is sent if it can, else answers with it."""

    def __init__(self, greeting: str = "hello", log: list[Any] | None = None, *, on_start: Any = None) -> None:
        super().__init__()
        self.greeting, self.log, self.begin = greeting, [] if log is None else log, on_start
        self.thread: threading.Thread | None = None

    def on_start(self) -> None:
        self.thread = threading.current_thread()
        self.log.append("on_start")
        if self.begin is not None:
            self.begin()

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return message() if callable(message) else f"{self.greeting}, {message}"

    def on_stop(self) -> None:
        self.log.append("on_stop")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.log.append(repr(exception_value))

    def greet(self, name: str) -> str:
        return f"{self.greeting}, {name}"

    def leave(self) -> None:
        self.stop()


class Held:
    """Holds the thread of an actor until the test lets it go."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.released.wait(WAIT)
        return "released"


def supervise(*specs: Any, **options: Any) -> ActorRef[Any]:
    ref: ActorRef[Any] = Supervisor.start([ChildSpec(Clerk, *specs, **options)])
    return ref


def child(supervisor: ActorRef[Any]) -> ActorRef[Any]:
    (info,) = which_children(supervisor).get(timeout=WAIT)
    assert info.ref is not None
    return info.ref


def test_the_ref_of_the_child_reaches_the_pykka_actor() -> None:
    supervisor = supervise(("good morning",), name="clerk")
    ref = child(supervisor)
    assert ref.process.scheduler.names.whereis("clerk") == ref
    assert ref.ask("Alice", timeout=WAIT) == "good morning, Alice"
    proxy = ref.proxy()
    assert proxy.greet("Bob").get(timeout=WAIT) == "good morning, Bob"
    proxy.greeting = "good night"
    assert proxy.greeting.get(timeout=WAIT) == "good night"
    proxy.greet.defer("nobody")
    ref.tell("Carol")
    assert proxy.thread.get(timeout=WAIT).daemon
    assert [type(found).__name__ for found in pykka.ActorRegistry.get_by_class(Clerk)] == ["ActorRef"]
    supervisor.stop()


def test_an_exception_in_an_ask_goes_to_the_asker_and_the_actor_lives_on() -> None:
    supervisor = supervise()
    ref = child(supervisor)
    with pytest.raises(ValueError, match="boom"):
        ref.ask(BOOM, timeout=WAIT)
    assert ref.ask("again", timeout=WAIT) == "hello, again"
    supervisor.stop()


REASONS: dict[str, tuple[Callable[[ActorRef[Any]], object], ExitReason]] = {
    "crash": (lambda ref: ref.tell(BOOM), Crash(BOOM)),
    "stop of its own": (lambda ref: ref.proxy().leave(), NORMAL),
    "stop from outside": (lambda ref: ref.stop(timeout=WAIT), NORMAL),
    "shutdown": (lambda ref: ref.stop(timeout=WAIT, reason=Shutdown("enough")), Shutdown("enough")),
    "stop for an error": (lambda ref: ref.stop(timeout=WAIT, reason=BOOM), Crash(BOOM)),
    "system exit": (lambda ref: ref.tell(EXIT), Crash(EXIT)),
    "kill": (lambda ref: ref.kill(), KILLED),
    "exit signal": (lambda ref: ref.exit(SHUTDOWN), SHUTDOWN),
}


def test_a_future_is_a_value_as_in_pykka() -> None:
    ref, future = (
        start_child(DynamicSupervisor.start(), ChildSpec(Clerk)).get(timeout=WAIT),
        pykka.ThreadingFuture[str](),
    )
    assert ref.ask(lambda: future, timeout=WAIT) is future
    assert ref.ask("Ann", timeout=WAIT) == "hello, Ann"
    ref.stop()


def test_a_coroutine_is_no_reply() -> None:
    async def later() -> None:
        pass

    ref = start_child(DynamicSupervisor.start(), ChildSpec(Clerk)).get(timeout=WAIT)
    with pytest.raises(TypeError, match="a reply must be a value"):
        ref.ask(later, timeout=WAIT)
    assert ref.ask("Ann", timeout=WAIT) == "hello, Ann"
    ref.stop()


def test_hooks_that_would_not_run_are_refused() -> None:
    class Later(pykka.ThreadingActor):
        async def on_start(self) -> None:  # type: ignore[override]  # an author's mistake
            pass

    class Generating(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            yield message

    with pytest.raises(TypeError, match="on_start must be a plain"):
        ChildSpec(Later)
    with pytest.raises(TypeError, match="on_receive has a `yield`"):
        ChildSpec(Generating)


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize("restart", Restart)
def test_restarts(restart: Restart, how: str) -> None:
    end, reason = REASONS[how]
    supervisor: ActorRef[Any] = DynamicSupervisor.start()
    ref = start_child(supervisor, ChildSpec(Clerk, restart=restart)).get(timeout=WAIT)
    probe = Probe()
    probe.monitor(ref)
    end(ref)
    assert probe.assert_receive(Down).reason == reason
    expected = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and not reason.is_graceful)
    infos = which_children(supervisor).get(timeout=WAIT)
    assert [info.restarts for info in infos] == ([1] if expected else [])
    assert all(info.ref != ref and info.ref.ask("new", timeout=WAIT) == "hello, new" for info in infos if info.ref)
    supervisor.stop()
    probe.ref.stop()


def test_a_stop_with_a_reason_comes_after_the_messages_in_the_inbox_of_the_pykka_actor() -> None:
    supervisor, log, held = DynamicSupervisor.start(), list[Any](), Held()
    ref = start_child(supervisor, ChildSpec(Clerk, ("hello", log), restart="temporary")).get(timeout=WAIT)
    ref.tell(held)
    ref.tell(lambda: log.append("earlier"))
    stopped = ref.stop(block=False, reason=BOOM)
    assert held.begun.wait(WAIT)
    held.released.set()
    assert stopped.get(timeout=WAIT) is True
    assert (log, ref.exit_reason) == (["on_start", "earlier", "on_stop"], Crash(BOOM))
    supervisor.stop()


@pytest.mark.parametrize("error", [BOOM, EXIT], ids=repr)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_of_on_start_is_the_starters_error(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(StartError) as caught:
        supervise(kwargs={"on_start": fail})
    assert caught.value.root is error


def test_a_failure_of_init_is_the_starters_error() -> None:
    with pytest.raises(StartError, match="unexpected keyword argument 'nonsense'"):
        supervise(kwargs={"nonsense": 1})


def test_a_shutdown_lets_the_handler_end_and_the_hooks_run() -> None:
    held, log = Held(), []  # type: ignore[var-annotated]  # of what it holds, one knows enough
    supervisor = supervise(("hello", log), id="clerk")
    ref = child(supervisor)
    answer = ref.ask(held, block=False)
    assert held.begun.wait(WAIT)
    stopped = terminate_child(supervisor, "clerk")
    held.released.set()
    stopped.get(timeout=WAIT)
    assert (ref.exit_reason, log) == (SHUTDOWN, ["on_start", "on_stop"])
    assert answer.get(timeout=WAIT) == "released"
    supervisor.stop()


def test_a_crash_while_it_is_shut_down_is_its_reason() -> None:
    held = Held()
    supervisor = supervise(id="clerk")
    ref = child(supervisor)
    ref.tell(held)
    assert held.begun.wait(WAIT)
    ref.tell(BOOM)
    stopped = terminate_child(supervisor, "clerk")
    held.released.set()
    stopped.get(timeout=WAIT)
    assert ref.exit_reason == Crash(BOOM)
    supervisor.stop()


@pytest.mark.parametrize("shutdown", [0, BRUTAL_KILL], ids=str)
def test_one_that_does_not_end_in_time_is_gone_for_all_but_its_thread(
    shutdown: Any, caplog: pytest.LogCaptureFixture
) -> None:
    held, log = Held(), []  # type: ignore[var-annotated]  # of what it holds, one knows enough
    supervisor = supervise(("hello", log), id="clerk", name="clerk", shutdown=shutdown)
    ref = child(supervisor)
    answer = ref.ask(held, block=False)
    assert held.begun.wait(WAIT)
    terminate_child(supervisor, "clerk").get(timeout=WAIT)
    assert ref.exit_reason == KILLED
    assert ref.process.scheduler.names.whereis("clerk") is None
    assert isinstance(answer.exception, ActorDeadError)
    (left,) = threads_left()
    assert (left.actor, "Held object" in left.doing, "self.released.wait(WAIT)" in left.stack) == (ref, True, True)
    assert f"{ref} has ended (Killed()), but its thread cannot be killed and runs on" in caplog.text
    held.released.set()
    left.thread.join(WAIT)
    assert f"the thread that {ref} left behind has ended at last" in caplog.text
    supervisor.stop()


def test_it_can_be_started_without_a_supervisor() -> None:
    actor = actor_class_of(Clerk)
    assert actor is not None
    ref = actor.start("good evening")
    assert ref.ask("Dora", timeout=WAIT) == "good evening, Dora"
    assert ref.stop(timeout=WAIT)


class Temporary(Clerk):
    """Says how it is to be supervised."""

    restart = "temporary"
    shutdown = 1.5


def test_the_stand_in_is_called_as_the_class_and_keeps_its_options() -> None:
    spec = child_spec(Temporary)
    assert (spec.id, spec.restart, spec.shutdown) == ("Temporary", Restart.TEMPORARY, 1.5)
    assert issubclass(spec.actor, PykkaActor)
    assert spec.actor is ChildSpec(Temporary).actor
    assert (spec.actor.__module__, spec.actor.__doc__) == (__name__, Temporary.__doc__)


@pytest.mark.parametrize("value", [None, 5, int, pykka.Actor, Clerk], ids=repr)
def test_which_classes_can_be_started(value: Any) -> None:
    found = actor_class_of(value)
    assert (found is not None) == (value is Clerk)
    assert actor_class_of(Actor) is Actor


def test_sys_shows_and_replaces_the_state_of_the_pykka_actor() -> None:
    supervisor: ActorRef[Any] = Supervisor.start([ChildSpec(Clerk, ("hi",))])
    (info,) = which_children(supervisor).get()
    assert info.ref is not None
    state = sys.get_state(info.ref).get()
    assert state.keys() == {"greeting", "log", "begin", "thread"}
    sys.replace_state(info.ref, lambda state: {**state, "greeting": "good day"}).get()
    assert info.ref.proxy().greeting.get(timeout=WAIT) == "good day"
    supervisor.stop()


def test_sys_looks_into_the_stand_in_and_asks_nothing_of_the_author() -> None:
    ref: ActorRef[Any] = Supervisor.start([ChildSpec(Clerk)])
    clerk = which_children(ref).get()[0].ref
    assert clerk is not None
    assert sys.get_status(clerk).get().status == "running"
    sys.suspend(clerk).get()
    assert sys.get_status(clerk).get().status == "suspended"
    sys.resume(clerk).get()
    ref.stop()
