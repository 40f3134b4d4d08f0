"""The delays between a client's tries."""

from __future__ import annotations

from transport.client.protocol.backoff import Backoff, reconnect_after, rejoin_after
from transport.client.protocol.effects import Effect, StartTimer, StopTimer


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
    backoff = Backoff(
        "retry", lambda: tried.append(1), rejoin_after, jitter=0.5, random=lambda: 0.2, emit=effects.append
    )
    for _ in range(3):
        backoff.schedule()
        assert isinstance(effects[-1], StartTimer)
        effects[-1].timer.fire()
    backoff.reset()
    backoff.schedule()
    assert len(tried) == 3
    assert [effect.seconds for effect in effects if isinstance(effect, StartTimer)] == [0.9, 1.8, 4.5, 0.9]
    assert len({effect.timer for effect in effects if isinstance(effect, StartTimer | StopTimer)}) == 1


def test_to_cancel_is_not_to_begin_anew() -> None:
    effects: list[Effect] = []
    backoff = Backoff("retry", lambda: None, rejoin_after, jitter=0, random=lambda: 1, emit=effects.append)
    backoff.schedule()
    assert isinstance(effects[0], StartTimer)
    effects[0].timer.fire()
    backoff.cancel()
    backoff.schedule()
    assert effects[1:] == [StopTimer(effects[0].timer), StartTimer(effects[0].timer, 2.0)]
