"""Requests that have not been answered: by number, bounded, and answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from actors.pubsub import requests as module
from actors.pubsub.requests import (
    OutOfReachError,
    PeerAnswer,
    PeerBusyError,
    PeerError,
    Requests,
    UnreachableError,
)


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


@in_loop
async def test_a_request_is_found_by_process_and_number_until_it_is_closed() -> None:
    requests = Requests()
    one, two = requests.open("r1", 5), requests.open("r2", 6)
    assert (requests.of("r1", one.number), requests.of("r1", two.number)) == (one, None)
    assert (len(requests), requests.bytes) == (2, 11)
    requests.close(one)
    requests.close(one)
    assert (requests.of("r1", one.number), len(requests), requests.bytes) == (None, 1, 6)


@in_loop
async def test_an_answer_also_says_that_it_was_heard() -> None:
    request = Requests().open("r1", 0)
    request.set(PeerAnswer({"status": 200}, b"x"))
    request.set(PeerAnswer({}, b"another"))
    request.is_heard()
    await request.heard
    assert await request.answer == ({"status": 200}, b"x")
    assert request.is_over


@in_loop
async def test_what_has_ended_or_is_out_of_reach_fails_at_once() -> None:
    requests = Requests()
    one, two, three = (requests.open(run, 0) for run in ("r1", "r2", "r3"))
    two.is_heard()
    requests.ended(["r2"])
    with pytest.raises(UnreachableError, match="it has ended"):
        await two.answer
    three.set(PeerAnswer({}))
    requests.out_of_reach("no Redis")
    with pytest.raises(OutOfReachError, match="no Redis"):
        await one.answer
    assert (await three.answer).body == b""
    assert one.is_over
    assert two.is_over


@in_loop
async def test_one_that_is_given_up_is_not_over() -> None:
    request = Requests().open("r1", 0)
    assert not request.is_over
    request.answer.cancel()
    request.set(PeerAnswer({}))
    request.fail(PeerError("late"))
    assert not request.is_over


def test_they_are_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_loop
    async def fill() -> None:
        requests = Requests()
        # A single one may be larger.
        large = requests.open("r1", 11)
        with pytest.raises(PeerBusyError, match="1 requests with 11 bytes wait"):
            requests.open("r1", 1)
        requests.close(large)
        for _ in range(3):
            requests.open("r1", 3)
        with pytest.raises(PeerBusyError, match="3 requests"):
            requests.open("r2", 0)

    monkeypatch.setattr(module, "MOST_REQUESTS", 3)
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    fill()
