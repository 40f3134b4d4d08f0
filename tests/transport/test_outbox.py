"""The outbox policy: how much may wait for a client. The carriers' own tests show what they do above it."""

from __future__ import annotations

import pytest

from transport.carriers.outbox import MAX_WAITING, Outbox


@pytest.mark.parametrize(
    ("outbox", "waiting", "overflows"),
    [
        (Outbox(), 64 * 1024 * 1024, False),
        (Outbox(), 64 * 1024 * 1024 + 1, True),
        (Outbox(10), 0, False),
        (Outbox(10), 10, False),
        (Outbox(10), 11, True),
    ],
    ids=str,
)
def test_an_outbox_overflows_above_its_bound(outbox: Outbox, waiting: int, overflows: object) -> None:
    assert outbox.overflows(waiting) is overflows


def test_the_default_is_64_mebibytes() -> None:
    assert Outbox().max_bytes == MAX_WAITING == 64 * 1024 * 1024
