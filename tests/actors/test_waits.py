"""Asks that go round in a circle."""

from __future__ import annotations

import asyncio
from typing import Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import AskCycleError
from actors.runtime.scheduler import in_thread
from actors.testing import WAIT, ManualRuntime


class Asker(Actor):
    """Asks the first of those named in its message, passing the rest on; answers with its pid when none are left."""

    async def on_receive(self, path: Any) -> Any:
        return await path[0].call(path[1:]) if path else self.pid


class Patient(Asker):
    """Does not fail for want of an answer."""

    async def on_receive(self, path: Any) -> Any:
        try:
            return await super().on_receive(path)
        except (AskCycleError, pykka.Timeout) as error:
            return error


def test_a_line_is_no_circle(runtime: ManualRuntime) -> None:
    one, two, three = Asker.start(), Asker.start(), Asker.start()
    assert one.ask([two, three]) == three.pid


def test_an_actor_that_asks_itself_is_told_so_at_once(runtime: ManualRuntime) -> None:
    ref = Asker.start()
    with pytest.raises(AskCycleError, match=f"{ref} asks {ref}: each waits for the next") as caught:
        ref.ask([ref])
    assert caught.value.chain == (str(ref), str(ref))
    assert runtime.clock.now() == 0


@pytest.mark.parametrize("length", [2, 3, 10])
def test_a_circle_is_reported_with_its_whole_chain(runtime: ManualRuntime, length: int) -> None:
    refs = [Asker.start() for _ in range(length)]
    with pytest.raises(AskCycleError) as caught:
        refs[0].ask([*refs[1:], refs[0]])
    last, names = refs[-1], [str(ref) for ref in refs]
    assert caught.value.chain == (str(last), *names)
    assert runtime.clock.now() == 0
    assert not any(ref.is_alive() for ref in refs)


def test_only_those_in_the_circle_are_named(runtime: ManualRuntime) -> None:
    outside, one, two = Patient.start(), Asker.start(), Asker.start()
    error = outside.ask([one, two, one])
    assert isinstance(error, AskCycleError)
    assert error.chain == (str(two), str(one), str(two))
    assert outside.is_alive()


def test_whoever_closed_the_circle_may_go_on(runtime: ManualRuntime) -> None:
    one, two = Patient.start(), Patient.start()
    error = one.ask([two, one])
    assert isinstance(error, AskCycleError)
    assert one.ask([two]) == two.pid
    assert two.ask([one]) == one.pid


def test_a_question_in_the_mailbox_of_one_who_waits_for_another_closes_no_circle(runtime: ManualRuntime) -> None:
    class Silent(Actor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.get_running_loop().create_future()

    silent, one, two = Silent.start(), Patient.start(), Patient.start()
    first, second = one.ask([silent], block=False), two.ask([one, silent], block=False)
    runtime.advance(5)
    assert isinstance(first.get(), pykka.Timeout)
    assert isinstance(second.get(), pykka.Timeout)


def test_who_keeps_the_question_waits_for_nobody(runtime: ManualRuntime) -> None:
    """Its answer may come from anywhere, so that to ask back is no circle."""

    class Keeper(Actor):
        async def on_receive(self, message: Any) -> Any:
            caller = self.reply_later()
            self.clock.call_after(1, lambda: caller.reply("from elsewhere"))
            return await message.call("and you?", timeout=2)

    class Curious(Actor):
        async def on_receive(self, message: Any) -> Any:
            return "well" if isinstance(message, str) else await message.call(self.actor_ref)

    asked = Curious.start().ask(Keeper.start(), block=False)
    runtime.advance(1)
    assert asked.get() == "from elsewhere"


def test_a_time_out_ends_the_wait(runtime: ManualRuntime) -> None:
    class Silent(Actor):
        async def on_receive(self, message: Any) -> Any:
            return await (message.call("x") if message else asyncio.get_running_loop().create_future())

    one, silent = Patient.start(), Silent.start()
    assert isinstance(one.ask([silent], block=False, timeout=None), pykka.Future)
    runtime.advance(5)
    assert one.process.waits_for is None


def test_a_circle_through_two_event_loops_is_found() -> None:
    threads = [in_thread("left"), in_thread("right")]
    try:
        one, two = (start(thread) for thread in threads)
        error = one.ask([two, one, two], timeout=WAIT)
        assert isinstance(error, AskCycleError)
    finally:
        for thread in threads:
            thread.stop()


def start(thread: in_thread) -> Any:
    async def go() -> Any:
        return Patient.start()

    return asyncio.run_coroutine_threadsafe(go(), thread.scheduler.loop).result(WAIT)
