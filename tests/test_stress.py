"""A few rounds of `benchmarks/stress.py`, in a process of its own: it plays for as long as it is told to."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.children import needs_fork
from tests.live import ROOT, WAIT

STRESS = ROOT / "benchmarks" / "stress.py"


@pytest.mark.parametrize("seed", [1, 2])
def test_threads_that_tell_ask_stop_kill_and_restart_get_right_answers_and_leave_nothing(seed: int) -> None:
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, str(STRESS), "--rounds", "30", "--seed", str(seed)],
        capture_output=True,
        text=True,
        timeout=20 * WAIT,
        check=False,
    )
    assert done.stdout.endswith("240 rounds of 8 threads, 0 faults\n"), done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


@needs_fork
def test_children_that_are_forked_meanwhile_have_actors_of_their_own() -> None:
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, str(STRESS), "--rounds", "1", "--forks", "10"],
        capture_output=True,
        text=True,
        timeout=20 * WAIT,
        check=False,
    )
    assert done.stdout.endswith("rounds of 8 threads, 0 faults\n"), done.stdout + done.stderr
    assert (done.returncode, done.stderr) == (0, "")
