"""A question to all workers."""

from __future__ import annotations

from typing import Any

from supervisors.workers.gathering import Gathering


def gathering(workers: int) -> tuple[Gathering, list[dict[int, Any]]]:
    results: list[dict[int, Any]] = []
    return Gathering(workers, results.append), results


def test_it_is_done_with_the_last_answer() -> None:
    question, results = gathering(2)
    question.take(10, "yes")
    assert results == []
    question.take(11, "no")
    assert results == [{10: "yes", 11: "no"}]


def test_at_its_end_it_is_done_with_what_there_is_and_later_answers_change_nothing() -> None:
    question, results = gathering(2)
    question.take(10, "yes")
    question.end()
    question.take(11, "no")
    question.end()
    assert results == [{10: "yes"}]


def test_a_worker_that_has_nothing_to_tell_is_not_waited_for_and_not_among_the_answers() -> None:
    question, results = gathering(2)
    question.take(10, None)
    question.take(11, "no")
    assert results == [{11: "no"}]
