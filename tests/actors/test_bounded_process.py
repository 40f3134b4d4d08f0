"""Bounded mailboxes: what finds room, what becomes of the rest, who is told, and who waits."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from actors import sys, telemetry
from actors.actor import Actor
from actors.exceptions import ActorDeadError, AskCycleError, BlockingCallError, MailboxFullError
from actors.exits import KILL, NORMAL, Crash, Down, Exit
from actors.future import Future
from actors.mailbox import Mailbox, OnFull
from actors.propagation import propagate
from actors.pubsub import PubSub
from actors.pubsub.pubsub import PubSubServer
from actors.runtime.bounded_process import MAILBOX_LIMIT_REACHED, Room
from actors.runtime.dead_letters import DEAD_LETTER
from actors.runtime.envelope import Admitted
from actors.runtime.idle_timeout import IdleTimeout
from actors.runtime.spawn import spawn
from actors.testing import ManualRuntime
from actors.testing.simulation import Simulation, explore
from actors.threads.threaded_actor import ThreadedActor
from supervisors import ChildSpec, Supervisor
from tests.actors.test_message_queue import Interruption
from tests.live import WAIT

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.scheduler import in_thread

POLICIES: list[OnFull] = ["refuse", "drop_newest", "drop_oldest", "crash"]


@pytest.fixture
def lost() -> Iterator[list[Any]]:
    """Return the dead letters of a test that found no room: their messages."""
    yield from _messages_of(DEAD_LETTER)


@pytest.fixture
def letters() -> Iterator[list[Any]]:
    """Return the messages of a test whose actor ended before it handled them."""
    yield from _messages_of(DEAD_LETTER, "dead")


@pytest.fixture
def overflows() -> Iterator[list[Any]]:
    """Return the messages that reached the limit of a mailbox."""
    yield from _messages_of(MAILBOX_LIMIT_REACHED)


def _messages_of(event: telemetry.Event, reason: str = "mailbox_full") -> Iterator[list[Any]]:
    found: list[Any] = []

    def keep(_event: telemetry.Event, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about.get("reason", reason) == reason:
            found.append(about["message"])

    telemetry.attach(f"messages of {event}", [event], keep)
    yield found
    telemetry.detach(f"messages of {event}")


class Desk(Actor):
    """Handles one message after the other; waits in "wait" until its event is set."""

    mailbox: ClassVar[Mailbox | None] = Mailbox(2)

    def __init__(self, seen: list[Any] | None = None) -> None:
        self.trap_exit = True
        self.seen = [] if seen is None else seen
        self.go_on = asyncio.Event()

    async def on_receive(self, message: Any) -> Any:
        self.seen.append(message)
        if message == "wait":
            await self.go_on.wait()
        if message == "fail":
            raise ValueError("told to")
        return ("answer to", message)


def desk(on_full: OnFull, limit: int = 2) -> type[Desk]:
    return type(f"Desk_{on_full}", (Desk,), {"mailbox": Mailbox(limit, on_full)})


def busy(runtime: ManualRuntime, on_full: OnFull, limit: int = 2) -> tuple[ActorRef[Desk], list[Any]]:
    """Return an actor that waits in its handler, and what it has seen after that."""
    seen: list[Any] = []
    ref = desk(on_full, limit).start(seen)
    ref.send("wait")
    runtime.settle()
    seen.clear()
    return ref, seen


def release(runtime: ManualRuntime, ref: ActorRef[Desk]) -> None:
    actor = ref.process.actor
    assert isinstance(actor, Desk)
    actor.go_on.set()
    runtime.settle()


# What becomes of what finds no room


def test_the_message_that_is_handled_does_not_count(runtime: ManualRuntime) -> None:
    ref, seen = busy(runtime, "refuse")
    ref.tell(1)
    ref.tell(2)
    with pytest.raises(MailboxFullError, match=r"Desk_refuse <.*> has 2 messages in its mailbox, which is its limit"):
        ref.tell(3)
    release(runtime, ref)
    ref.tell(4)
    runtime.settle()

    assert seen == [1, 2, 4]


def test_refused_tell_ask_and_call_raise_and_send_drops(runtime: ManualRuntime, lost: list[Any]) -> None:
    ref, seen = busy(runtime, "refuse")
    answers = [ref.ask(n, block=False) for n in range(3)]
    with pytest.raises(MailboxFullError):
        runtime.run(ref.call("called"))
    ref.send("sent")
    release(runtime, ref)

    assert seen == [0, 1]
    assert [answer.result() for answer in answers[:2]] == [("answer to", 0), ("answer to", 1)]
    assert isinstance(answers[2].exception, MailboxFullError)
    assert lost == ["sent"]


def test_the_newest_is_dropped_and_its_caller_told_at_once(runtime: ManualRuntime, lost: list[Any]) -> None:
    ref, seen = busy(runtime, "drop_newest")
    for n in range(3):
        ref.tell(n)
    answer = ref.ask("asked", block=False)
    assert isinstance(answer.exception, MailboxFullError)
    release(runtime, ref)

    assert (seen, lost) == ([0, 1], [2, "asked"])


def test_the_oldest_is_dropped_and_its_caller_told_at_once(runtime: ManualRuntime, lost: list[Any]) -> None:
    ref, seen = busy(runtime, "drop_oldest")
    answer = ref.ask("asked", block=False)
    for n in range(3):
        ref.tell(n)
    assert isinstance(answer.exception, MailboxFullError)
    release(runtime, ref)

    assert (seen, lost) == ([1, 2], ["asked", 0])


def test_a_crash_ends_the_actor_before_its_next_message_and_its_supervisor_restarts_it(runtime: ManualRuntime) -> None:
    seen: list[Any] = []
    Supervisor.start([ChildSpec(desk("crash"), (seen,))])
    runtime.settle()
    (ref,) = [each for each in runtime.actors if issubclass(each.actor_class, Desk)]
    ref.send("wait")
    runtime.settle()
    answers = [ref.ask(n, block=False) for n in range(3)]
    runtime.settle()

    assert isinstance(answers[2].exception, MailboxFullError)
    assert [type(answer.exception) for answer in answers[:2]] == [ActorDeadError, ActorDeadError]
    assert isinstance(ref.exit_reason, Crash)
    assert isinstance(ref.exit_reason.exception, MailboxFullError)
    (successor,) = [each for each in runtime.actors if issubclass(each.actor_class, Desk)]
    assert runtime.ask(successor, "hello") == ("answer to", "hello")
    assert seen == ["wait", "hello"]


# What always gets in


@pytest.mark.parametrize("on_full", POLICIES)
def test_what_is_no_ordinary_message_always_gets_in_and_stays(
    runtime: ManualRuntime, lost: list[Any], on_full: OnFull
) -> None:
    ref, seen = busy(runtime, on_full)
    process = ref.process
    other = Desk.start()
    process.monitor(other.process)
    process.link(other.process)
    for n in range(2):
        ref.tell(n)
    other.exit(ValueError("gone"))
    runtime.settle()
    process.clock.send_after(1.0, process, "tick")
    runtime.advance(1.0)
    process.continue_with("continued")
    state = sys.get_state(ref)
    stopped = ref.stop(block=False)
    release(runtime, ref)

    kinds = [type(message) if isinstance(message, (Down, Exit)) else message for message in seen]
    assert kinds == ["continued", 0, 1, Exit, Down, "tick"]
    assert state.result()["seen"] is seen
    assert stopped.result() is True
    assert (ref.exit_reason, lost) == (NORMAL, [])


def test_an_idle_timeout_gets_in(runtime: ManualRuntime) -> None:
    ref = desk("refuse", 1).start()
    actor = ref.process.actor
    assert isinstance(actor, Desk)
    actor.idle_timeout = 5.0
    ref.tell("hello")
    runtime.settle()
    runtime.advance(5.0)

    assert actor.seen == ["hello", IdleTimeout(5.0)]


def test_what_is_added_beyond_the_limit_is_never_the_oldest(runtime: ManualRuntime, lost: list[Any]) -> None:
    ref, seen = busy(runtime, "drop_oldest")
    ref.process.put("of the runtime")
    for n in range(4):
        ref.tell(n)
    release(runtime, ref)

    assert (seen, lost) == (["of the runtime", 2, 3], [0, 1])


def test_a_message_to_itself_counts(runtime: ManualRuntime) -> None:
    class Looping(Actor):
        mailbox = Mailbox(1)

        def on_receive(self, _message: object) -> Any:
            self.actor_ref.tell("next")
            with pytest.raises(MailboxFullError):
                self.actor_ref.tell("one too many")
            return self.stop()

    ref = Looping.start()
    ref.tell("begin")
    runtime.settle()

    assert ref.exit_reason == NORMAL


# Kinds of actors, and tools


def test_a_suspended_actor_is_bounded_too(runtime: ManualRuntime, lost: list[Any]) -> None:
    ref = desk("drop_oldest").start()
    runtime.run(_awaited(sys.suspend(ref)))
    for n in range(4):
        ref.tell(n)
        runtime.settle()
    assert (ref.process.waiting, lost) == (2, [0, 1])
    runtime.run(_awaited(sys.resume(ref)))
    runtime.settle()

    actor = ref.process.actor
    assert isinstance(actor, Desk)
    assert actor.seen == [2, 3]


async def _awaited(future: Any) -> Any:
    return await future


def test_messages_carry_their_trace_context(runtime: ManualRuntime) -> None:
    current = ["none"]

    class Traced(Actor):
        mailbox = Mailbox(5)

        def on_receive(self, message: Any) -> Any:
            return (message, current[0])

    def attach(value: str) -> str:
        before, current[0] = current[0], value
        return before

    def detach(before: str) -> None:
        current[0] = before

    ref = Traced.start()
    with propagate(lambda: "span 7", attach, detach):
        assert ref.ask("hello") == ("hello", "span 7")
        ref.tell("told")
    assert ref.process.room.taken == 1  # type: ignore[attr-defined]  # it is bounded
    runtime.settle()
    assert ref.process.room.taken == 0  # type: ignore[attr-defined]  # as above


def test_what_another_was_dropped_for_carries_the_trace_context_of_its_sender(runtime: ManualRuntime) -> None:
    current = ContextVar("current", default="none")
    seen: list[Any] = []

    class Traced(Actor):
        mailbox = Mailbox(1, "drop_oldest")

        def on_receive(self, message: Any) -> None:
            seen.append((message, current.get()))

    ref = Traced.start()

    def send() -> None:
        current.set("span 7")
        ref.tell("first")
        ref.tell("second")

    with propagate(current.get, current.set, current.reset):
        thread = threading.Thread(target=send)
        thread.start()
        thread.join(WAIT)
        runtime.settle()

    assert seen == [("second", "span 7")]


def test_a_report_shows_the_message_and_not_how_it_waits(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    ref = desk("refuse").start()
    ref.tell("fail")
    ref.tell("left")
    assert ref.process.next_message == "fail"
    runtime.settle()

    assert "last message: 'fail'" in caplog.text
    assert "Admitted" not in caplog.text


def test_a_status_has_the_limit_and_what_was_left_out(runtime: ManualRuntime) -> None:
    ref, _ = busy(runtime, "drop_newest")
    for n in range(5):
        ref.tell(n)
    status = sys.status_of(ref.process)

    assert (status.mailbox, status.mailbox_limit, status.left_out) == (2, 2, 3)
    plain = sys.status_of(Actor.start().process)
    assert (plain.mailbox_limit, plain.left_out) == (None, None)


def test_one_warning_for_each_time_that_it_fills_up(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        ref, _seen = busy(runtime, "drop_newest", 4)
        for n in range(9):
            ref.tell(n)
        release(runtime, ref)
    warnings = [record.getMessage() for record in caplog.records if "mailbox" in record.getMessage()]

    assert len(warnings) == 2
    assert warnings[0].endswith("has 4 messages in its mailbox, which is its limit: more are dropped")


def test_each_message_without_room_is_an_event(runtime: ManualRuntime, overflows: list[Any]) -> None:
    for on_full in POLICIES[:3]:
        ref, _ = busy(runtime, on_full)
        for n in range(2):
            ref.tell(n)
        ref.send((on_full, "plain"))
        ref.ask((on_full, "asked"), block=False)

    assert overflows == [(on_full, kind) for on_full in POLICIES[:3] for kind in ("plain", "asked")]


def test_what_is_broadcast_counts(runtime: ManualRuntime, lost: list[Any]) -> None:
    pubsub = PubSub()
    spawn(PubSubServer, (pubsub,))
    ref, seen = busy(runtime, "drop_newest")
    pubsub.subscribe("news", ref)
    runtime.settle()
    for n in range(4):
        pubsub.broadcast("news", n)
    runtime.settle()
    release(runtime, ref)

    assert (seen, lost) == ([0, 1], [2, 3])


def test_nothing_keeps_an_actor_that_has_ended(runtime: ManualRuntime) -> None:
    ref = desk("refuse").start()
    actor = weakref.ref(ref.process.actor)
    ref.kill()
    runtime.settle()
    process = weakref.ref(ref.process)
    gc.collect()
    gc.disable()
    try:
        del ref
        assert (actor(), process()) == (None, None)
    finally:
        gc.enable()


# Waiting for room


def test_a_put_waits_for_room_and_those_that_wait_keep_their_order(runtime: ManualRuntime) -> None:
    ref, seen = busy(runtime, "refuse")
    for n in range(2):
        ref.tell(n)

    async def put_all() -> None:
        await asyncio.gather(*(ref.put(n) for n in range(2, 6)))

    task = runtime.run(_started(put_all()))
    runtime.settle()
    assert not task.done()
    with pytest.raises(MailboxFullError):
        ref.tell("ahead of those that wait")
    release(runtime, ref)

    assert task.done()
    assert seen == [0, 1, 2, 3, 4, 5]


async def _started(coroutine: Any) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(coroutine)


@pytest.mark.parametrize("on_full", POLICIES)
def test_after_its_time_a_put_does_as_the_mailbox_says(
    runtime: ManualRuntime, lost: list[Any], on_full: OnFull
) -> None:
    ref, seen = busy(runtime, on_full)
    for n in range(2):
        ref.tell(n)
    task = runtime.run(_started(ref.put("late", timeout=3.0)))
    runtime.advance(2.9)
    assert not task.done()
    runtime.advance(0.2)
    assert task.done()
    if on_full in ("refuse", "crash"):
        assert isinstance(task.exception(), MailboxFullError)
    if on_full != "crash":
        release(runtime, ref)
        assert seen == ([1, "late"] if on_full == "drop_oldest" else [0, 1])
        assert lost == {"refuse": [], "drop_newest": ["late"], "drop_oldest": [0]}[on_full]


def test_a_put_that_is_cancelled_takes_no_place(runtime: ManualRuntime) -> None:
    ref, seen = busy(runtime, "refuse")
    for n in range(2):
        ref.tell(n)
    tasks = [runtime.run(_started(ref.put(n))) for n in ("given up", "waits")]
    runtime.settle()
    tasks[0].cancel()
    runtime.settle()
    release(runtime, ref)

    assert seen == [0, 1, "waits"]
    assert ref.process.room.taken == 0  # type: ignore[attr-defined]  # it is bounded


def test_the_end_of_the_actor_ends_the_wait(runtime: ManualRuntime, letters: list[Any]) -> None:
    ref, _ = busy(runtime, "refuse")
    for n in range(2):
        ref.tell(n)
    task = runtime.run(_started(ref.put("late")))
    runtime.settle()
    ref.exit(KILL)
    runtime.settle()

    assert isinstance(task.exception(), ActorDeadError)
    assert letters == [0, 1, "late"]


def test_two_that_wait_for_room_in_each_other_are_a_cycle(runtime: ManualRuntime) -> None:
    class Crossing(Actor):
        mailbox = Mailbox(1)

        async def on_receive(self, other: Any) -> None:
            await other.put(self.actor_ref)
            await other.put(self.actor_ref)

    first, second = Crossing.start(), Crossing.start()
    first.tell(second)
    second.tell(first)
    runtime.settle()

    reasons = [ref.exit_reason for ref in (first, second)]
    cycles = [reason for reason in reasons if isinstance(reason, Crash) and isinstance(reason.exception, AskCycleError)]
    assert cycles
    assert str(cycles[0]).endswith("; where one waits for room in a mailbox, raise its limit")


def test_an_unbounded_mailbox_always_has_room(runtime: ManualRuntime) -> None:
    seen: list[Any] = []

    class Open(Desk):
        mailbox = None

    ref = Open.start(seen)
    for n in range(100):
        runtime.run(ref.put(n))
    runtime.settle()

    assert seen == list(range(100))


def test_a_wait_that_would_block_an_event_loop_is_refused(runtime: ManualRuntime) -> None:
    ref = Desk.start()

    async def tell() -> None:
        ref.tell("hello", timeout=1.0)

    with pytest.raises(BlockingCallError, match=r"await ref\.put\(message\)"):
        runtime.run(tell())


@pytest.mark.parametrize("wrong", ["1", float("nan"), [1]], ids=repr)
def test_a_time_that_is_none_is_an_error_though_there_is_room(runtime: ManualRuntime, wrong: Any) -> None:
    ref = Desk.start()
    with pytest.raises(TypeError, match="timeout must be seconds or None, got"):
        ref.tell("hello", timeout=wrong)
    with pytest.raises(TypeError, match="timeout must be seconds or None, got"):
        runtime.run(ref.put("hello", timeout=wrong))
    assert ref.process.waiting == 0


def test_a_thread_waits_for_room(background: in_thread) -> None:
    ref = desk("refuse", 1).start()
    ref.tell("wait", timeout=WAIT)
    ref.tell("waits", timeout=WAIT)
    told = threading.Event()

    def tell() -> None:
        ref.tell("behind", timeout=None)
        told.set()

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    actor = ref.process.actor
    assert isinstance(actor, Desk)
    background.scheduler.post(actor.go_on.set)
    assert told.wait(WAIT)
    thread.join(WAIT)

    ref.stop(timeout=WAIT)
    assert actor.seen == ["wait", "waits", "behind"]


def test_a_thread_gives_up_after_its_time(background: in_thread) -> None:
    ref = desk("refuse", 1).start()
    ref.tell("wait", timeout=WAIT)
    ref.tell("waits", timeout=WAIT)
    with pytest.raises(MailboxFullError):
        ref.tell("late", timeout=0.01)

    assert ref.process.room.taken == 1  # type: ignore[attr-defined]  # it is bounded


@pytest.mark.parametrize("on_full", POLICIES[:3])
def test_threads_that_flood_lose_nothing_untold(background: in_thread, on_full: OnFull, lost: list[Any]) -> None:
    """Four threads, 2,000 messages each: each is handled, refused, or a dead letter, and those of a thread are in order."""
    seen: list[Any] = []

    class Sink(Actor):
        mailbox = Mailbox(10, on_full)

        def on_receive(self, message: Any) -> None:
            assert ref.process.room.taken <= 10 or on_full == "drop_oldest"  # type: ignore[attr-defined]  # it is bounded
            seen.append(message)

    ref = Sink.start()
    refused: list[Any] = []

    def flood(name: int) -> None:
        for n in range(2_000):
            try:
                ref.tell((name, n))
            except MailboxFullError:
                refused.append((name, n))

    threads = [threading.Thread(target=flood, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    ref.stop(timeout=WAIT)

    assert Counter([*seen, *lost, *refused]) == Counter(itertools.product(range(4), range(2_000)))
    for name in range(4):
        own = [n for who, n in seen if who == name]
        assert own == sorted(own)


class Grinder(ThreadedActor):
    mailbox = Mailbox(2)

    def __init__(self, begun: threading.Event, gate: threading.Event, seen: list[Any]) -> None:
        self.begun, self.gate, self.seen = begun, gate, seen

    def on_receive(self, message: Any) -> None:
        self.begun.set()
        assert self.gate.wait(WAIT)
        self.seen.append(message)


def test_a_threaded_actor_is_bounded(background: in_thread) -> None:
    begun, gate, seen = threading.Event(), threading.Event(), list[Any]()
    ref = Grinder.start(begun, gate, seen)
    ref.tell(0)
    assert begun.wait(WAIT)
    ref.tell(1)
    ref.tell(2)
    with pytest.raises(MailboxFullError):
        ref.tell(3)
    gate.set()
    ref.stop(timeout=WAIT)

    assert seen == [0, 1, 2]


# A room by itself


def test_places_that_are_handed_on_stay_taken() -> None:
    room = Room(1)
    first, second, third, fourth = (Admitted(n) for n in range(4))
    assert room.take(first)
    places: list[Future[None]] = [Future(), Future()]
    for message, place in zip((second, third), places, strict=True):
        assert room.take_when_free(message, place)
    room.leave(first)
    room.leave(first)
    assert [place.done for place in places] == [True, False]
    assert not room.take(fourth)
    assert room.give_up(second)
    assert not room.give_up(third)
    room.leave(second)
    assert room.taken == 0
    assert list(room.close()) == []
    assert not room.take_when_free(third, Future())


def test_a_place_is_free_again_if_its_wait_was_found_to_be_in_a_cycle() -> None:
    room = Room(1)
    first, second = Admitted(1), Admitted(2)
    assert room.take(first)
    place: Future[None] = Future()
    assert room.take_when_free(second, place)
    place.set_exception(AskCycleError(["one", "another"]))
    room.leave(first)
    room.leave(second)
    assert room.taken == 0


class Interrupt(BaseException):
    """Stands for Ctrl-C in a sender."""


def _interrupt(*_: object) -> None:
    raise Interrupt


@pytest.mark.parametrize("on_full", POLICIES[:3])
@pytest.mark.parametrize("seconds", [0, WAIT])
def test_a_sender_that_is_interrupted_anywhere_takes_no_place_for_good(on_full: OnFull, seconds: float) -> None:
    """In another thread than the loop's, as Ctrl-C is raised in that of a prompt."""
    for number in itertools.count(1):
        with ManualRuntime() as runtime:
            ref = desk(on_full, 1).start()
            interruption = Interruption(number, _interrupt)

            def send(ref: ActorRef[Desk] = ref, interruption: Interruption = interruption) -> None:
                with suppress(Interrupt), interruption:
                    ref.tell("first", timeout=seconds)
                with suppress(Interrupt, MailboxFullError), interruption:
                    ref.tell("second")

            thread = threading.Thread(target=send)
            thread.start()
            thread.join(WAIT)
            runtime.settle()
            assert ref.process.room.taken == 0  # type: ignore[attr-defined]  # it is bounded
        if not interruption.has_happened:
            return


# Under the simulation


class Clerk(Actor):
    """Handles messages at once or after a while, as a message says; fails now and then."""

    def __init__(self, ledger: list[Any]) -> None:
        self.ledger = ledger

    def on_receive(self, message: Any) -> Any:
        self.ledger.append(message)
        return self._later(message) if message[1] % 3 == 0 else message

    async def _later(self, message: Any) -> Any:
        await asyncio.sleep(0)
        return message


class Client(Actor):
    """Sends its numbers in one way or another, and records what it was told of each that was not handled."""

    def __init__(self, name: int, clerk: ActorRef[Any], refused: list[Any], verbs: list[str]) -> None:
        self.name, self.clerk, self.refused, self.verbs = name, clerk, refused, verbs

    async def on_receive(self, n: int) -> None:
        message, verb = (self.name, n), self.verbs[n]
        try:
            match verb:
                case "send":
                    self.clerk.send(message)
                case "tell":
                    self.clerk.tell(message)
                case "put":
                    await self.clerk.put(message, timeout=1.0)
                case "call":
                    assert await self.clerk.call(message) == message
        except MailboxFullError:
            self.refused.append(("full", message, verb))
        except ActorDeadError:
            self.refused.append(("dead", message, verb))


def _scenario(on_full: OnFull) -> Callable[[Simulation], None]:
    def play(simulation: Simulation) -> None:
        chance = simulation.random
        letters: list[Any] = []

        def keep(_event: telemetry.Event, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
            letters.append(about["message"])

        telemetry.attach("the ledger", [DEAD_LETTER], keep)
        try:
            _play(simulation, on_full, letters, chance)
        finally:
            telemetry.detach("the ledger")

    return play


def _play(simulation: Simulation, on_full: OnFull, letters: list[Any], chance: Any) -> None:
    limit, ledger, refused = chance.randint(1, 4), list[Any](), list[Any]()
    kind: type[Clerk] = type("Clerk", (Clerk,), {"mailbox": Mailbox(limit, on_full)})
    clerk = kind.start(ledger)
    if chance.random() < 0.3:
        simulation.kills(clerk, probability=0.02)
    simulation.delays(clerk, steps=8, probability=0.2, limit=3)
    verbs = [[chance.choice(["send", "tell", "put", "call"]) for _ in range(12)] for _ in range(3)]
    clients = [Client.start(name, clerk, refused, verbs[name]) for name in range(3)]
    for n in range(12):
        for client in clients:
            client.send(n)
    simulation.settle()
    simulation.advance(10.0)

    sent = Counter((name, n) for name in range(3) for n in range(12))
    told = Counter(message for _, message, _ in refused)
    # What a caller is told of, it may be a dead letter too: what was dropped after it was sent, or waited when the actor died.
    assert sent == Counter(ledger) | told | Counter(letters), "something is lost untold"
    assert not Counter(ledger) & (told | Counter(letters)) or not clerk.is_alive(), "something is handled and told lost"
    assert max(Counter(ledger).values(), default=1) == 1, "something is handled twice"
    for name in range(3):
        own = [n for who, n in ledger if who == name]
        assert own == sorted(own), "out of order"
    if clerk.is_alive():
        assert (clerk.process.room.taken, clerk.process.waiting) == (0, 0)  # type: ignore[attr-defined]  # it is bounded


@pytest.mark.parametrize("on_full", POLICIES)
def test_under_any_order_of_turns_nothing_is_lost_untold(on_full: OnFull) -> None:
    explore(_scenario(on_full), seeds=range(500), expected_crashes=MailboxFullError)
