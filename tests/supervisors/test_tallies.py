"""Numbers that outlive the workers that have counted them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisors.workers.tallies import Tallies


def test_the_sum_is_of_the_living_and_the_dead_without_those_who_have_told_it_themselves() -> None:
    tallies = Tallies()
    tallies.take(1, "cakes", {"apple": 1, "plum": 1})
    tallies.take(2, "cakes", {"apple": 10})
    tallies.take(3, "cakes", {"apple": 100})
    tallies.keep(1)
    assert tallies.without("cakes", {2}) == {"apple": 101, "plum": 1}
    assert tallies.without("cakes", {2, 3}) == {"apple": 1, "plum": 1}
    assert tallies.without("cakes", ()) == {"apple": 111, "plum": 1}


def test_a_later_number_replaces_the_one_before_and_what_is_left_out_stays() -> None:
    tallies = Tallies()
    tallies.take(1, "cakes", {"apple": 1, "plum": 1})
    tallies.take(1, "cakes", {"apple": 2})
    assert tallies.without("cakes", ()) == {"apple": 2, "plum": 1}


def test_kinds_are_apart_and_what_is_not_known_is_nothing() -> None:
    tallies = Tallies()
    tallies.take(1, "cakes", {"apple": 1})
    tallies.keep(2)
    assert tallies.without("bread", ()) == {}


@given(st.lists(st.tuples(st.sampled_from(["count", "die", "ask"]), st.integers(0, 2), st.sets(st.integers(0, 2)))))
def test_a_total_never_goes_down(steps: list[tuple[str, int, set[int]]]) -> None:
    """Whoever dies, and whoever is silent: those who answer have told the parent what they answer."""
    tallies, pids, counted, last = Tallies(), {0: 0, 1: 1, 2: 2}, dict.fromkeys(range(3), 0), 0.0
    for step, number, silent in steps:
        pid = pids[number]
        if step == "count":
            counted[pid] += 1
        elif step == "die":
            tallies.keep(pid)
            pids[number] = pid + 3
            counted[pid + 3] = 0
        else:
            answers = {pids[each]: counted[pids[each]] for each in range(3) if each not in silent}
            for each, count in answers.items():
                tallies.take(each, "cakes", {"apple": count})
            total = sum(answers.values()) + tallies.without("cakes", answers).get("apple", 0)
            assert total >= last
            last = total
