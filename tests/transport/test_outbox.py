"""The outbox policy: how much may wait for a client. The carriers' own tests show what they do above it."""

from __future__ import annotations

import pytest

from transport.carriers.outbox import MAX_WAITING, OutboxPolicy


@pytest.mark.parametrize(
    ("outbox", "waiting", "overflows"),
    [
        (OutboxPolicy(), 64 * 1024 * 1024, False),
        (OutboxPolicy(), 64 * 1024 * 1024 + 1, True),
        (OutboxPolicy(10), 0, False),
        (OutboxPolicy(10), 10, False),
        (OutboxPolicy(10), 11, True),
    ],
    ids=str,
)
def test_an_outbox_overflows_above_its_bound(outbox: OutboxPolicy, waiting: int, overflows: object) -> None:
    assert outbox.overflows(waiting) is overflows


def test_the_default_is_64_mebibytes() -> None:
    assert OutboxPolicy().max_bytes == MAX_WAITING == 64 * 1024 * 1024
