"""What waits for a slow client: bounded, in order, and at nobody's cost but of the thread that may wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from actors.testing import WAIT
from supervisors.console.protocol import Bye, Frames, FromServer, Output, Ready
from supervisors.console.server.output_queue import LIMIT, OutputQueue


class Wire:
    """Stands for the transport of a client: keeps what is written; after `room` frames it says that the client is slow."""

    def __init__(self, outbox: OutputQueue, room: float) -> None:
        self._outbox, self._room = outbox, room
        self._frames = Frames(FromServer)
        self.frames: list[Any] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.frames.extend(self._frames.feed(data))
        if len(self.frames) >= self._room:
            self._outbox.pause()

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    @property
    def text(self) -> str:
        return "".join(frame.text for frame in self.frames if isinstance(frame, Output))


def with_outbox(test: Callable[[OutputQueue, Wire], Any], room: float = float("inf")) -> Wire:
    """Call `test(outbox, wire)` on a loop, and let all that it leads to happen."""

    async def run() -> Wire:
        outbox = OutputQueue(asyncio.get_running_loop())
        wire = Wire(outbox, room)
        outbox.open(cast("asyncio.Transport", wire))
        if asyncio.iscoroutine(result := test(outbox, wire)):
            await result
        await rounds()
        return wire

    return asyncio.run(run())


async def rounds() -> None:
    """Let the loop go round as often as a full outbox needs."""
    for _ in range(100):
        await asyncio.sleep(0)  # a round of the loop, and no time


def test_what_is_put_in_comes_out_in_order_and_text_in_one_frame() -> None:
    def fill(outbox: OutputQueue, _wire: Wire) -> None:
        for text in ("a", "b", "", "c"):
            outbox.write(text)
        outbox.put(Ready(1))
        outbox.write("d")

    assert with_outbox(fill).frames == [Output("abc"), Ready(1), Output("d")]


def test_a_long_text_goes_out_in_pieces_between_which_others_are_served() -> None:
    served: list[int] = []

    async def fill(outbox: OutputQueue, wire: Wire) -> None:
        outbox.write("x" * LIMIT)
        while len(wire.text) < LIMIT:
            await asyncio.sleep(0)
            served.append(len(wire.frames))

    assert with_outbox(fill).text == "x" * LIMIT
    assert served == sorted(set(served))


def test_who_may_not_wait_loses_what_has_no_room_and_the_client_is_told() -> None:
    async def fill(outbox: OutputQueue, wire: Wire) -> None:
        outbox.pause()
        outbox.write("x" * (LIMIT - 1))
        outbox.write("yy")
        outbox.write("lost")
        outbox.put(Ready(1))
        assert wire.frames == []
        outbox.resume()
        await rounds()
        outbox.write("again")

    wire = with_outbox(fill)
    assert wire.text == (
        "x" * (LIMIT - 1)
        + "yy"
        + "\n[4 characters were dropped: there was more output than this client could receive]\n"
        + "again"
    )
    assert Ready(1) in wire.frames


def in_a_thread(
    outbox: OutputQueue, text: str, waits: Callable[[], bool]
) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def write() -> None:
        try:
            outbox.write(text, waits=waits)
        except BrokenPipeError as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("how", ["resume", "close", "finish", "wake"])
def test_a_thread_that_may_wait_does_until_there_is_room_or_the_client_has_left_or_it_is_interrupted(how: str) -> None:
    goes_on, blocked = threading.Event(), threading.Event()

    def waits() -> bool:
        blocked.set()
        return not goes_on.is_set()

    async def fill(outbox: OutputQueue, wire: Wire) -> None:
        outbox.pause()
        thread, errors = in_a_thread(outbox, "x" * (2 * LIMIT), waits)
        assert await asyncio.to_thread(blocked.wait, WAIT)
        assert thread.is_alive()
        match how:
            case "resume":
                outbox.resume()
            case "close":
                outbox.close()
            case "finish":
                outbox.finish(Bye(""))
                outbox.resume()
            case "wake":
                goes_on.set()
                outbox.wake()
                await asyncio.to_thread(thread.join, WAIT)
                outbox.resume()
        await asyncio.to_thread(thread.join, WAIT)
        assert not thread.is_alive()
        await rounds()
        assert len(errors) == (how in {"close", "finish"})
        assert len(wire.text) == {"resume": 2 * LIMIT, "close": 0}.get(how, LIMIT)
        assert wire.is_closed == (how == "finish")

    with_outbox(fill)


def test_at_the_end_all_that_waits_goes_out_before_the_last_word() -> None:
    def fill(outbox: OutputQueue, _wire: Wire) -> None:
        outbox.write("x" * LIMIT)
        outbox.finish(Bye("over"))
        with pytest.raises(BrokenPipeError):
            outbox.write("too late")
        outbox.put(Ready(1))

    wire = with_outbox(fill)
    assert wire.text == "x" * LIMIT
    assert wire.frames[-1] == Bye("over")
    assert wire.is_closed


def test_after_the_loop_has_ended_nobody_is_there_any_more() -> None:
    kept: list[OutputQueue] = []
    with_outbox(lambda outbox, _wire: kept.append(outbox))
    with pytest.raises(BrokenPipeError, match="the event loop of this console is closed"):
        kept[0].write("hello")
