"""The delays between a client's attempts."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import pytest

from transport.client.protocol.effects import Effect, StartTimer, StopTimer
from transport.client.protocol.reconnection import Delay, RetryTimer, reconnect_after, rejoin_after

if TYPE_CHECKING:
    from collections.abc import Callable


def made(
    effects: list[Effect], after: Delay, retry: Callable[[], None] = lambda: None, *, jitter: float = 0
) -> RetryTimer:
    return RetryTimer(
        "retry",
        retry,
        after,
        otherwise=rejoin_after,
        min_uptime=5,
        jitter=jitter,
        random=lambda: 0.2,
        emit=effects.append,
    )


def last_started(effects: list[Effect]) -> StartTimer:
    """Return the last effect, which starts a timer."""
    effect = effects[-1]
    assert isinstance(effect, StartTimer)
    return effect


def test_the_steps_are_those_of_phoenix_js() -> None:
    assert [reconnect_after(tries) for tries in range(1, 12)] == [
        0.01,
        0.05,
        0.1,
        0.15,
        0.2,
        0.25,
        0.5,
        1.0,
        2.0,
        5.0,
        5.0,
    ]
    assert [rejoin_after(tries) for tries in range(1, 6)] == [1.0, 2.0, 5.0, 10.0, 10.0]


def test_each_try_waits_longer_until_one_succeeds() -> None:
    effects: list[Effect] = []
    tried: list[int] = []
    backoff = made(effects, rejoin_after, lambda: tried.append(1), jitter=0.5)
    for _ in range(3):
        backoff.schedule()
        assert isinstance(effects[-1], StartTimer)
        effects[-1].timer.fire()
    backoff.reset()
    backoff.schedule()
    assert len(tried) == 3
    assert [effect.seconds for effect in effects if isinstance(effect, StartTimer)] == [0.9, 1.8, 4.5, 0.9]
    assert len({effect.timer for effect in effects if isinstance(effect, StartTimer)}) == 1


def test_to_cancel_is_not_to_begin_anew() -> None:
    effects: list[Effect] = []
    backoff = made(effects, rejoin_after)
    backoff.schedule()
    retry = last_started(effects)
    retry.timer.fire()
    backoff.cancel()
    assert StopTimer(retry.timer) in effects
    backoff.schedule()
    assert effects[-1] == StartTimer(retry.timer, 2.0)


def test_the_delays_begin_anew_when_a_success_has_lasted() -> None:
    effects: list[Effect] = []
    backoff = made(effects, rejoin_after)
    for expected in (1.0, 2.0):
        backoff.schedule()
        assert last_started(effects).seconds == expected
        last_started(effects).timer.fire()
        backoff.succeeded()
        lasting = last_started(effects)
        assert lasting.seconds == 5
    lasting.timer.fire()
    backoff.schedule()
    assert last_started(effects).seconds == 1.0


def test_a_success_that_does_not_last_is_forgotten() -> None:
    effects: list[Effect] = []
    backoff = made(effects, rejoin_after)
    backoff.succeeded()
    lasting = last_started(effects)
    backoff.schedule()
    assert StopTimer(lasting.timer) in effects


def test_steps_that_come_to_an_end_are_followed_by_the_default(caplog: pytest.LogCaptureFixture) -> None:
    effects: list[Effect] = []
    backoff = made(effects, lambda tries: [0.01, 0.02][tries - 1])
    for _ in range(4):
        backoff.schedule()
        assert isinstance(effects[-1], StartTimer)
        effects[-1].timer.fire()
    assert [effect.seconds for effect in effects if isinstance(effect, StartTimer)] == [0.01, 0.02, 5.0, 10.0]
    assert [(record.levelno, record.exc_info and record.exc_info[0]) for record in caplog.records] == [
        (logging.ERROR, IndexError)
    ] * 2
    assert caplog.messages[0].startswith("retry: <function ")
    assert caplog.messages[0].endswith("failed for try 3; using 5 s instead")


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, None, "1"], ids=repr)
def test_what_is_no_delay_is_logged_and_the_default_taken(caplog: pytest.LogCaptureFixture, wrong: Any) -> None:
    effects: list[Effect] = []
    made(effects, lambda _: wrong).schedule()
    assert isinstance(effects[-1], StartTimer)
    assert effects[-1].seconds == 1.0
    assert "failed for try 1; using 1 s instead" in caplog.text
