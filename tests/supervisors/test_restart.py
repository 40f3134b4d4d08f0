"""OTP's tables of restarting, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exits import KILLED, NO_PROCESS, NORMAL, SHUTDOWN, Crash, ExitReason, Shutdown
from actors.testing import ManualClock
from supervisors.child_spec import Restart
from supervisors.restart import AutoShutdown, RestartIntensity, Strategy, affected, should_restart, shuts_down

REASONS = {
    "normal": NORMAL,
    "shutdown": SHUTDOWN,
    "shutdown-with-detail": Shutdown("closed"),
    "killed": KILLED,
    "no-process": NO_PROCESS,
    "crash": Crash(ValueError("boom")),
    "crash-with-system-exit": Crash(SystemExit(0)),
}
RESTARTED = {
    Restart.PERMANENT: set(REASONS),
    Restart.TRANSIENT: {"killed", "no-process", "crash", "crash-with-system-exit"},
    Restart.TEMPORARY: set[str](),
}


@pytest.mark.parametrize(
    ("restart", "reason", "restarted"),
    [
        pytest.param(restart, reason, name in RESTARTED[restart], id=f"{restart}-{name}")
        for restart in Restart
        for name, reason in REASONS.items()
    ],
)
def test_restart_type_and_reason(restart: Restart, reason: ExitReason, *, restarted: bool) -> None:
    assert should_restart(restart, reason) is restarted


@pytest.mark.parametrize(
    ("strategy", "failed", "restarted"),
    [
        (Strategy.ONE_FOR_ONE, "a", "a"),
        (Strategy.ONE_FOR_ONE, "b", "b"),
        (Strategy.ONE_FOR_ONE, "c", "c"),
        (Strategy.ONE_FOR_ALL, "a", "abc"),
        (Strategy.ONE_FOR_ALL, "b", "abc"),
        (Strategy.ONE_FOR_ALL, "c", "abc"),
        (Strategy.REST_FOR_ONE, "a", "abc"),
        (Strategy.REST_FOR_ONE, "b", "bc"),
        (Strategy.REST_FOR_ONE, "c", "c"),
    ],
    ids=str,
)
def test_strategy_and_failed_child(strategy: Strategy, failed: str, restarted: str) -> None:
    assert "".join(affected(strategy, list("abc"), failed)) == restarted


@pytest.mark.parametrize("strategy", list(Strategy), ids=str)
def test_an_only_child_is_restarted_alone(strategy: Strategy) -> None:
    assert list(affected(strategy, ["a"], "a")) == ["a"]


NEVER, ANY, ALL = AutoShutdown


@pytest.mark.parametrize(
    ("auto_shutdown", "significant", "others", "ends"),
    [
        (NEVER, False, [], False),
        (NEVER, True, [], False),
        (NEVER, True, [False], False),
        (ANY, False, [], False),
        (ANY, False, [False], False),
        (ANY, True, [], True),
        (ANY, True, [True], True),
        (ALL, False, [], False),
        (ALL, False, [False], False),
        (ALL, True, [], True),
        (ALL, True, [False, False], True),
        (ALL, True, [False, True], False),
        (ALL, True, [True], False),
    ],
    ids=str,
)
def test_auto_shutdown_and_significance(
    auto_shutdown: AutoShutdown, others: list[bool], *, significant: bool, ends: bool
) -> None:
    assert shuts_down(auto_shutdown, significant=significant, others=others) is ends


def test_auto_shutdown_may_be_given_by_its_name() -> None:
    assert AutoShutdown("all_significant") is AutoShutdown.ALL_SIGNIFICANT


def test_an_unknown_auto_shutdown_is_named_with_those_there_are() -> None:
    text = "auto_shutdown must be one of never, any_significant, all_significant, got 'always'"
    with pytest.raises(ValueError, match=f"^{text}$"):
        AutoShutdown("always")


def test_a_strategy_may_be_given_by_its_name() -> None:
    assert Strategy("rest_for_one") is Strategy.REST_FOR_ONE


def test_an_unknown_strategy_is_named_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"^strategy must be one of one_for_one, one_for_all, rest_for_one, got 'all'$"
    ):
        Strategy("all")


@pytest.mark.parametrize(
    ("max_restarts", "max_seconds", "times", "borne"),
    [
        (3, 5.0, [0, 0, 0], [True, True, True]),
        (3, 5.0, [0, 0, 0, 0], [True, True, True, False]),
        (3, 5.0, [0, 1, 2, 4.999], [True, True, True, False]),
        (3, 5.0, [0, 1, 2, 5.0], [True, True, True, False]),
        (3, 5.0, [0, 1, 2, 5.001], [True, True, True, True]),
        (3, 5.0, [0, 1, 2, 5.5, 5.9], [True, True, True, True, False]),
        (3, 5.0, [0, 1, 2, 5.5, 6.5, 7.5], [True] * 6),
        (0, 5.0, [0], [False]),
        (1, 0.5, [10, 10.6, 11.2], [True, True, True]),
        (1, 0.5, [10, 10.5], [True, False]),
    ],
    ids=[
        "three at once",
        "the fourth at once",
        "the fourth just within",
        "the fourth on the boundary",
        "the fourth just after",
        "the oldest one alone is forgotten",
        "one in two seconds for ever",
        "none is allowed",
        "a short window, passed",
        "a short window, on its boundary",
    ],
)
def test_intensity_on_a_given_clock(
    max_restarts: int, max_seconds: float, times: list[float], borne: list[bool]
) -> None:
    clock, intensity = ManualClock(), RestartIntensity(max_restarts, max_seconds)
    answers = []
    for time in times:
        clock.step(time)
        answers.append(intensity.allows(clock.now()))
    assert answers == borne


@settings(deadline=None)
@given(
    max_restarts=st.integers(0, 5),
    max_seconds=st.integers(1, 10),
    steps=st.lists(st.integers(0, 6), max_size=40),
)
def test_intensity_is_the_number_of_restarts_in_the_window(
    max_restarts: int, max_seconds: int, steps: list[int]
) -> None:
    intensity, now, times = RestartIntensity(max_restarts, max_seconds), 0, []
    for step in steps:
        now += step
        times.append(now)
        in_window = [time for time in times if now - time <= max_seconds]
        assert intensity.allows(now) == (len(in_window) <= max_restarts)


def test_the_default_intensity_is_three_in_five_seconds() -> None:
    intensity = RestartIntensity()
    assert (intensity.max_restarts, intensity.max_seconds) == (3, 5.0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_restarts": -1}, "max_restarts must be a whole number >= 0, got -1"),
        ({"max_seconds": 0}, "max_seconds must be a number > 0, got 0"),
        ({"max_seconds": -2.5}, "max_seconds must be a number > 0, got -2.5"),
        ({"max_seconds": float("nan")}, "max_seconds must be a number > 0, got nan"),
    ],
    ids=str,
)
def test_a_wrong_intensity_is_named_with_its_value(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        RestartIntensity(**options)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"max_restarts": "3"}, "max_restarts"),
        ({"max_restarts": None}, "max_restarts"),
        ({"max_restarts": 2.5}, "max_restarts"),
        ({"max_restarts": float("nan")}, "max_restarts"),
        ({"max_seconds": "5"}, "max_seconds"),
        ({"max_seconds": None}, "max_seconds"),
    ],
    ids=str,
)
def test_an_intensity_of_a_wrong_type_is_named(options: dict[str, Any], option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be"):
        RestartIntensity(**options)
