"""The rounds in which several workers end their connections."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.workers.drain_rounds import PATIENCE, DrainRounds


def rounds_of(size: int, left: list[int]) -> list[list[int]]:
    """Play all rounds, with workers that end what they are told; return what each ended in each round."""
    rounds, now, played = DrainRounds(size, 2.0), 0.0, list[list[int]]()
    workers, total = range(len(left)), sum(left)
    while True:
        for worker in workers:
            rounds.report(worker, left[worker], now)
        now = max(now, rounds.due_at(workers))
        shares = rounds.shares(now)
        if None in shares.values():
            assert set(shares.values()) == {None}
            return played
        played.append([share.number for share in shares.values() if share is not None])
        assert {share[1:] for share in shares.values() if share is not None} == {(len(played), total)}
        left = [before - ended for before, ended in zip(left, played[-1], strict=True)]


@given(st.integers(1, 50), st.lists(st.integers(0, 200), min_size=1, max_size=5))
def test_all_workers_together_end_one_batch_at_once_and_take_no_more_rounds_than_one(
    size: int, left: list[int]
) -> None:
    total = sum(left)
    batches = [size] * (total // size) + ([total % size] if total % size else [])
    assert [sum(ended) for ended in rounds_of(size, left)] == batches


def test_a_batch_waits_for_the_interval_and_the_end_does_not() -> None:
    rounds = DrainRounds(10, 2.0)
    rounds.report(1, 15, now=100.0)
    assert rounds.due_at([1]) == 100.0
    assert rounds.shares(100.0) == {1: (10, 1, 15)}
    rounds.report(1, 5, now=100.5)
    assert rounds.due_at([1]) == 102.0
    assert rounds.shares(102.0) == {1: (5, 2, 15)}
    rounds.report(1, 0, now=102.1)
    assert rounds.due_at([1]) == 102.1
    assert rounds.shares(102.1) == {1: None}
    rounds.report(2, 3, now=200.0)
    assert rounds.shares(200.0) == {2: (3, 1, 3)}


def test_a_worker_that_says_nothing_is_waited_for_a_while() -> None:
    rounds = DrainRounds(10, 0.5)
    assert rounds.due_at([1, 2]) == math.inf
    rounds.report(1, 15, now=100.0)
    assert rounds.due_at([1, 2]) == 100.0 + PATIENCE
    rounds.report(2, 5, now=100.4)
    assert rounds.due_at([1, 2]) == 100.0


def test_a_worker_that_has_ended_is_not_waited_for() -> None:
    rounds = DrainRounds(10, 2.0)
    rounds.report(1, 4, now=100.0)
    rounds.report(2, 5, now=100.0)
    rounds.withdraw(2)
    assert rounds.due_at([1]) == 100.0
    assert rounds.shares(100.0) == {1: (4, 1, 4)}


@pytest.mark.parametrize("worker", [1, 2])
def test_a_worker_without_connections_gets_its_turn_with_the_others(worker: int) -> None:
    rounds = DrainRounds(3, 2.0)
    rounds.report(worker, 0, now=100.0)
    rounds.report(3 - worker, 5, now=100.0)
    assert rounds.shares(100.0) == {worker: (0, 1, 5), 3 - worker: (3, 1, 5)}
