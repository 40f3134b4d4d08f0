"""One worker, as its parent sees it."""

from __future__ import annotations

import signal

import pytest

from supervisors.workers.worker_process import how_it_ended


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended with status 0"),
        (1, "ended with status 1"),
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-200, "was killed by signal 200"),
    ],
)
def test_a_status_is_told_to_people(status: int, text: str) -> None:
    assert how_it_ended(status) == text
