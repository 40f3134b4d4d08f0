"""What callers hold of an actor, in its own thread, in others and on other loops."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import BlockingCallError
from actors.exits import KILL, KILLED, NO_PROCESS, NORMAL, SHUTDOWN, Crash, Exit, ExitReason, Shutdown, Stop
from actors.runtime.scheduler import in_thread
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime, sync

if TYPE_CHECKING:
    from actors.ref import ActorRef

BOOM = ValueError("boom")


class Puppet(Actor):
    """Does what it is told: its messages are functions of the actor."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else self.log.append(message)


class Silent(Actor):
    """Never answers: its handler waits for ever."""

    async def on_receive(self, message: Any) -> None:
        await asyncio.get_running_loop().create_future()


def echo(value: Any) -> Callable[[Puppet], Any]:
    return lambda _: value


def crash(_: Puppet) -> None:
    raise ValueError("boom")


# What it tells


def test_a_ref_shows_whether_its_actor_lives(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    assert (ref.is_alive(), ref.exit_reason, repr(ref)) == (True, None, f"<ActorRef Puppet {ref.pid}>")
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert (ref.is_alive(), ref.exit_reason) == (False, SHUTDOWN)
    assert repr(ref) == f"<ActorRef Puppet {ref.pid} dead: {SHUTDOWN}>"


def test_a_ref_of_one_that_crashed_does_not_repeat_what_the_exception_says(runtime: ManualRuntime) -> None:
    # Which may show refs of others that crashed, and they of others: it would grow without end.
    def raise_with_refs(actor: Puppet) -> None:
        raise ValueError("lost", actor.actor_ref, [actor.actor_ref] * 1000)

    ref = Puppet.start()
    ref.send(raise_with_refs)
    runtime.settle()
    assert repr(ref) == f"<ActorRef Puppet {ref.pid} dead: ValueError>"


@pytest.mark.parametrize(
    ("detail", "word"),
    [("closed", "Shutdown(detail='closed')"), ([0] * 1000, "Shutdown"), ("x" * 1000, "Shutdown(detail='" + "x" * 63)],
    ids=["short", "no text", "long"],
)
def test_a_ref_shows_a_short_word_of_a_reason(detail: object, word: str, runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    ref.exit(Shutdown(detail))
    runtime.settle()
    assert repr(ref) == f"<ActorRef Puppet {ref.pid} dead: {word}>"


def test_a_ref_shows_that_its_actor_was_not_started() -> None:
    ref = Puppet().actor_ref
    assert repr(ref) == f"<ActorRef Puppet {ref.pid} not started>"
    assert ref.is_alive()


def test_a_ref_shows_the_label(runtime: ManualRuntime) -> None:
    ref = spawn(Puppet, label="lobby")
    assert (str(ref), repr(ref)) == (f"lobby {ref.pid}", f"<ActorRef Puppet 'lobby' {ref.pid}>")


def test_refs_of_one_actor_are_equal_also_after_its_end(runtime: ManualRuntime) -> None:
    ref, other = Puppet.start(), Puppet.start()
    assert ref != other
    assert ref != "a ref"
    ref.kill()
    runtime.settle()
    again = ref.process.ref
    assert (again, hash(again)) == (ref, hash(ref))
    assert {ref: "found"}[again] == "found"


def test_an_actor_that_ended_leaves_nothing_to_the_garbage_collector(runtime: ManualRuntime) -> None:
    gc.collect()
    gc.disable()
    try:
        ref = Puppet.start()
        ref.ask(echo(1))
        left = weakref.ref(ref.process)
        ref.stop(block=False)
        runtime.settle()
        del ref
        assert left() is None
    finally:
        gc.enable()


def test_a_ref_knows_its_class(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    assert ref.actor_class is Puppet
    assert ref.actor_urn.startswith("urn:")
    assert ref.actor_inbox is ref.process


# To the dead


@pytest.fixture
def dead(runtime: ManualRuntime) -> ActorRef[Puppet]:
    ref = Puppet.start()
    ref.stop()
    return ref


def test_tell_to_the_dead_raises(dead: ActorRef[Puppet]) -> None:
    with pytest.raises(pykka.ActorDeadError, match="is dead"):
        dead.tell("x")


def test_send_to_the_dead_is_dropped(dead: ActorRef[Puppet]) -> None:
    dead.send("x")
    assert dead.process.queue is None


def test_ask_to_the_dead_raises_at_once(dead: ActorRef[Puppet]) -> None:
    with pytest.raises(pykka.ActorDeadError, match="is dead"):
        dead.ask("x")
    future = dead.ask("x", block=False)
    assert isinstance(future.exception, pykka.ActorDeadError)


def test_call_to_the_dead_raises(runtime: ManualRuntime, dead: ActorRef[Puppet]) -> None:
    with pytest.raises(pykka.ActorDeadError):
        runtime.run(dead.call("x"))


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, KILL], ids=repr)
def test_exit_signals_to_the_dead_are_dropped(dead: ActorRef[Puppet], reason: object) -> None:
    dead.exit(reason)
    assert dead.exit_reason == NORMAL


def test_the_dead_are_down_for_no_process(dead: ActorRef[Puppet]) -> None:
    assert dead.down().get() == NO_PROCESS


def test_stop_of_the_dead_is_false(dead: ActorRef[Puppet]) -> None:
    assert dead.stop() is False
    assert dead.stop(block=False).get() is False
    assert dead.stop(reason=SHUTDOWN) is False
    with pytest.raises(TypeError, match="an exit reason must be NORMAL"):
        dead.stop(reason="enough")


# Stop


def test_stop_is_true_when_the_actor_is_gone_and_has_handled_what_came_before(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Puppet.start(log)
    ref.tell("before")
    stopped = ref.stop(block=False)
    ref.tell("after")
    assert not stopped.done
    assert stopped.get() is True
    assert (log, ref.exit_reason) == (["before"], NORMAL)


@pytest.mark.parametrize(
    "end",
    [lambda ref: ref.kill(), lambda ref: ref.exit(SHUTDOWN), lambda ref: ref.tell(crash)],
    ids=["kill", "exit", "crash"],
)
def test_stop_is_true_for_an_actor_that_ends_otherwise_meanwhile(
    runtime: ManualRuntime, end: Callable[[ActorRef[Any]], None]
) -> None:
    ref = Puppet.start()
    end(ref)
    assert ref.stop() is True


class Noted(Puppet):
    """Notes the reason of its end."""

    def terminate(self, reason: ExitReason) -> None:
        self.log.append(reason)


STOP_REASONS = [
    (NORMAL, NORMAL),
    (SHUTDOWN, SHUTDOWN),
    (Shutdown(1), Shutdown(1)),
    (KILLED, KILLED),
    (BOOM, Crash(BOOM)),
]


@pytest.mark.parametrize(("given", "reason"), STOP_REASONS, ids=[repr(row[1]) for row in STOP_REASONS])
def test_a_stop_with_a_reason_ends_the_actor_with_it_after_the_earlier_messages(
    runtime: ManualRuntime, given: object, reason: ExitReason
) -> None:
    log: list[Any] = []
    ref, down = Noted.start(log), []
    ref.down().add_done_callback(lambda future: down.append(future.get()))
    ref.tell("before")
    stopped = ref.stop(block=False, reason=given)
    ref.tell("after")
    assert stopped.get() is True
    assert (log, ref.exit_reason, down) == (["before", reason], reason, [reason])


@pytest.mark.parametrize("reason", ["enough", None, KILL, ValueError], ids=repr)
def test_a_stop_for_what_is_no_reason_is_refused_and_the_actor_goes_on(runtime: ManualRuntime, reason: object) -> None:
    ref = Puppet.start()
    with pytest.raises(TypeError, match="an exit reason must be NORMAL"):
        ref.stop(reason=reason)
    assert ref.ask(echo("here")) == "here"


def test_a_stop_with_a_reason_waits_for_an_async_on_start(runtime: ManualRuntime) -> None:
    gate = asyncio.Event()

    class Slow(Noted):
        async def on_start(self) -> None:
            await gate.wait()
            self.log.append("started")

    log: list[Any] = []
    ref = Slow.start(log)
    ref.tell("before")
    stopped = ref.stop(block=False, reason=SHUTDOWN)
    runtime.settle()
    assert (stopped.done, ref.is_alive()) == (False, True)
    gate.set()
    assert stopped.get() is True
    assert log == ["started", "before", SHUTDOWN]


def test_a_stop_with_a_reason_that_is_late_raises_timeout_and_the_actor_stops_later(runtime: ManualRuntime) -> None:
    gate = asyncio.Event()

    async def wait(_: Puppet) -> None:
        await gate.wait()

    ref = Noted.start()
    ref.tell(wait)
    stopped = ref.stop(block=False, timeout=2.0, reason=SHUTDOWN)
    runtime.advance(3.0)
    with pytest.raises(pykka.Timeout):
        stopped.get()
    assert ref.is_alive()
    gate.set()
    runtime.settle()
    assert ref.exit_reason == SHUTDOWN


def test_links_get_the_reason_of_a_stop(runtime: ManualRuntime) -> None:
    seen: list[Exit] = []
    ref, linked, trapping = Puppet.start(), Puppet.start(), Puppet.start(seen)
    trapping.ask(lambda actor: setattr(actor, "trap_exit", True))
    for other in (linked, trapping):
        other.ask(lambda actor: actor.link(ref))
    ref.stop(reason=Shutdown("enough"))
    runtime.settle()
    assert linked.exit_reason == Shutdown("enough")
    assert [(exit_.actor, exit_.reason) for exit_ in seen] == [(ref, Shutdown("enough"))]


def test_a_stop_with_a_reason_whose_terminate_raises_is_true_and_the_reason_is_what_it_raised(
    runtime: ManualRuntime,
) -> None:
    class Failing(Actor):
        def terminate(self, reason: ExitReason) -> None:
            raise BOOM

    ref = Failing.start()
    assert ref.stop(reason=SHUTDOWN) is True
    assert ref.exit_reason == Crash(BOOM)


def test_two_stops_are_both_true(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    first, second = ref.stop(block=False), ref.stop(block=False)
    runtime.settle()
    assert (first.get(), second.get()) == (True, True)


def test_stop_answers_when_an_async_terminate_has_ended(runtime: ManualRuntime) -> None:
    gate: asyncio.Future[None]

    class Slow(Actor):
        async def on_stop(self) -> None:
            nonlocal gate
            gate = asyncio.get_running_loop().create_future()
            await gate

    ref = Slow.start()
    stopped = ref.stop(block=False)
    runtime.settle()
    assert not stopped.done
    gate.set_result(None)
    runtime.settle()
    assert stopped.get() is True


# Exit


@pytest.mark.parametrize("reason", ["bye", None, 1], ids=repr)
def test_exit_takes_nothing_but_reasons(runtime: ManualRuntime, reason: object) -> None:
    ref = Puppet.start()
    with pytest.raises(TypeError, match="an exit reason must be"):
        ref.exit(reason)
    runtime.settle()
    assert ref.is_alive()


@pytest.mark.parametrize(
    ("reason", "ends_with"),
    [(SHUTDOWN, SHUTDOWN), (Shutdown("x"), Shutdown("x")), (KILL, KILLED), (KILLED, KILLED), (NORMAL, None)],
    ids=repr,
)
def test_exit_ends_an_actor_with_its_reason_unless_it_is_normal(
    runtime: ManualRuntime, reason: object, ends_with: Any
) -> None:
    ref = Puppet.start()
    ref.exit(reason)
    runtime.settle()
    assert ref.exit_reason == ends_with


def test_exit_with_an_exception_is_a_crash(runtime: ManualRuntime) -> None:
    ref, error = Puppet.start(), ValueError("boom")
    ref.exit(error)
    runtime.settle()
    assert ref.exit_reason == Crash(error)


def test_an_exit_signal_overtakes_messages(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Puppet.start(log)
    ref.tell("never handled")
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert log == []


def test_down_is_a_future_of_the_reason(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    down = ref.down()
    assert not down.done
    ref.exit(SHUTDOWN)
    assert down.get() == SHUTDOWN


# In the actors' own thread


def test_an_ask_without_an_answer_says_that_all_rest(runtime: ManualRuntime) -> None:
    with pytest.raises(pykka.Timeout, match="move the clock"):
        Silent.start().ask("x")


def test_an_actor_that_asks_another_one_awaits_it(runtime: ManualRuntime) -> None:
    class Asker(Actor):
        async def on_receive(self, other: ActorRef[Any]) -> Any:
            return await other.call(echo("answer"))

    assert Asker.start().ask(Puppet.start()) == "answer"


def test_an_awaited_ask_times_out_on_the_clock_of_the_actors(runtime: ManualRuntime) -> None:
    class Asker(Actor):
        async def on_receive(self, other: ActorRef[Any]) -> Any:
            return await other.call("x", timeout=7)

    asker = Asker.start()
    asked = asker.ask(Silent.start(), block=False)
    runtime.advance(6.999)
    assert not asked.done
    runtime.advance(0.001)
    with pytest.raises(pykka.Timeout, match="no answer in 7 seconds"):
        asked.get()
    assert not asker.is_alive()


def test_a_call_has_five_seconds_unless_told_otherwise(runtime: ManualRuntime) -> None:
    times: list[float] = []

    class Asker(Actor):
        async def on_receive(self, other: ActorRef[Any]) -> None:
            with pytest.raises(pykka.Timeout):
                await other.call("x")
            times.append(self.clock.now())

    Asker.start().tell(Silent.start())
    runtime.advance(100)
    assert times == [5.0]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_blocking_ask_in_a_handler_raises_at_once_with_the_fix_in_its_text(runtime: ManualRuntime, kind: str) -> None:
    async def wait(other: ActorRef[Any]) -> Any:
        return other.ask(echo(1))

    other, asker = Puppet.start(), Puppet.start()
    with pytest.raises(BlockingCallError, match=r"await ref.call\(message\)"):
        asker.ask((lambda _: other.ask(echo(1))) if kind == "def" else lambda _: wait(other))
    assert other.is_alive()


# On a loop that runs


def test_a_blocking_ask_on_the_loop_raises_at_once_with_the_fix_in_its_text() -> None:
    async def main() -> None:
        ref = Puppet.start()
        with pytest.raises(BlockingCallError, match=r"await ref.call\(message\).*ref.ask\(message, block=False\)"):
            ref.ask("never sent")
        with pytest.raises(BlockingCallError, match=r"stop\(\) would block .*; write `await ref.stop\(block=False\)`"):
            ref.stop()
        assert await ref.call(lambda actor: actor.log) == []
        assert await ref.stop(block=False) is True

    asyncio.run(main())


def test_a_future_of_an_ask_can_be_awaited_on_the_loop() -> None:
    async def main() -> Any:
        ref = Puppet.start()
        answer = await ref.ask(echo("hello"), block=False)
        await ref.stop(block=False)
        return answer

    assert asyncio.run(main()) == "hello"


# From other threads


def test_an_ask_from_another_thread_blocks_until_it_is_answered(background: in_thread) -> None:
    ref = Puppet.start()
    assert ref.ask(lambda _: threading.current_thread(), timeout=WAIT) is background.thread


def test_an_exception_crosses_to_the_asking_thread(background: in_thread) -> None:
    ref = Puppet.start()
    with pytest.raises(ValueError, match="boom"):
        ref.ask(crash, timeout=WAIT)
    assert isinstance(ref.exit_reason, Crash)


def test_an_ask_from_another_thread_times_out(background: in_thread) -> None:
    with pytest.raises(pykka.Timeout, match="no answer in 0 seconds"):
        Silent.start().ask("x", timeout=0)


def test_an_ask_from_another_thread_fails_at_once_when_the_actor_is_killed(background: in_thread) -> None:
    ref = Silent.start()
    answer = ref.ask("x", block=False, timeout=WAIT)
    ref.kill()
    with pytest.raises(pykka.ActorDeadError):
        answer.get()


def test_what_one_thread_tells_arrives_in_order(background: in_thread) -> None:
    log: list[Any] = []
    ref = Puppet.start(log)

    def tell_all(name: str) -> None:
        for number in range(500):
            ref.tell((name, number))

    senders = [threading.Thread(target=tell_all, args=(name,)) for name in "abc"]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(WAIT)
    sync(ref)
    for name in "abc":
        assert [number for who, number in log if who == name] == list(range(500))


def test_stop_and_exit_and_kill_work_from_another_thread(background: in_thread) -> None:
    stopped, exited, killed, enough = (Puppet.start() for _ in range(4))
    downs = [ref.down() for ref in (stopped, exited, killed)]
    assert stopped.stop(timeout=WAIT) is True
    assert enough.stop(timeout=WAIT, reason=Shutdown("enough")) is True
    assert enough.exit_reason == Shutdown("enough")
    exited.exit(SHUTDOWN)
    killed.kill()
    assert [down.get(timeout=WAIT) for down in downs] == [NORMAL, SHUTDOWN, KILLED]


def test_a_proxy_works_from_another_thread(background: in_thread) -> None:
    proxy = Puppet.start().proxy()
    proxy.colour = "red"
    assert proxy.colour.get(timeout=WAIT) == "red"


# From another loop


def test_a_call_from_another_loop_is_awaited_there(background: in_thread) -> None:
    ref, waiting = Puppet.start(), threading.Event()

    async def main() -> Any:
        assert asyncio.get_running_loop() is not ref.process.scheduler.loop
        asyncio.get_running_loop().call_soon(waiting.set)
        async with asyncio.timeout(WAIT):
            return await ref.call(lambda _: waiting.wait(WAIT) and threading.current_thread(), timeout=None)

    # In debug mode the loop raises when another thread touches it without the care that takes.
    assert asyncio.run(main(), debug=True) is background.thread


def test_a_call_from_another_loop_times_out_there(background: in_thread) -> None:
    ref = Silent.start()

    async def main() -> None:
        with pytest.raises(pykka.Timeout, match="no answer in 0 seconds"):
            await ref.call("x", timeout=0)

    asyncio.run(main())


def test_an_answer_for_a_loop_that_is_closed_by_now_harms_nobody(
    background: in_thread, caplog: pytest.LogCaptureFixture
) -> None:
    asked = threading.Event()
    let_go: list[Callable[[], object]] = []

    class Late(Actor):
        async def on_receive(self, message: Any) -> Any:
            if message == "wait":
                loop = asyncio.get_running_loop()
                gate = loop.create_future()
                let_go.append(lambda: loop.call_soon_threadsafe(gate.set_result, None))
                asked.set()
                await gate
            return message

    ref = Late.start()

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(ref.call("wait"))
        await asyncio.to_thread(asked.wait, WAIT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    let_go[0]()
    assert ref.ask("still there", timeout=WAIT) == "still there"
    assert [record for record in caplog.records if record.name.startswith("ashtree")] == []


# When the loop is gone


def test_an_actor_whose_loop_is_closed_is_dead_to_callers_in_other_threads() -> None:
    thread = in_thread("short-lived")
    loop, started = thread.scheduler.loop, threading.Event()
    refs: list[ActorRef[Any]] = []
    loop.call_soon_threadsafe(lambda: refs.append(Puppet.start()))
    loop.call_soon_threadsafe(started.set)
    assert started.wait(WAIT)
    thread.stop()
    assert refs[0].exit_reason == KILLED
    with pytest.raises(pykka.ActorDeadError):
        refs[0].tell("x")


def test_an_actor_that_outlived_its_loop_is_dead_to_callers() -> None:
    async def main() -> ActorRef[Puppet]:
        ref = Puppet.start()
        await ref.call(echo(1))
        return ref

    ref = asyncio.run(main())
    outcomes: list[Any] = []

    def outside(*calls: Callable[[], Any]) -> None:
        for call in calls:
            try:
                outcomes.append(call())
            except pykka.ActorDeadError as error:
                outcomes.append(type(error))

    thread = threading.Thread(
        target=outside, args=(lambda: ref.tell("x"), lambda: ref.tell("x"), lambda: ref.ask("x"), lambda: ref.send("x"))
    )
    thread.start()
    thread.join(WAIT)
    assert outcomes == [pykka.ActorDeadError, pykka.ActorDeadError, pykka.ActorDeadError, None]
    for _ in range(2):
        with pytest.raises(pykka.ActorDeadError):
            ref.ask("x")
    ref.process.scheduler.close()


def test_stop_returned_by_a_handler_from_another_thread(background: in_thread) -> None:
    ref = Puppet.start()
    down = ref.down()
    assert ref.ask(lambda _: Stop(SHUTDOWN, reply="bye"), timeout=WAIT) == "bye"
    assert down.get(timeout=WAIT) == SHUTDOWN
