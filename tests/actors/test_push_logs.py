"""The table of pushes with a key: its bounds, and what it forgets first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.channels.message import ok
from actors.idempotency.idempotency import Idempotency
from actors.idempotency.push_logs import Claimant, PushLogs

if TYPE_CHECKING:
    from actors.idempotency.claim import Claim

OPTIONS = Idempotency(ttl=10.0, size=100, max_bytes=100_000)
ANN, BOB, EVE = (Claimant("room:1", name) for name in ("ann", "bob", "eve"))


def claim(logs: PushLogs, claimant: Claimant, key: str = "k", now: float = 0.0) -> Claim:
    return logs.claim(claimant, key, b"digest", OPTIONS, now)


def settled(logs: PushLogs, claimant: Claimant, key: str = "k", now: float = 0.0, text: str = "") -> Claim:
    found = claim(logs, claimant, key, now)
    found.settle(ok(text))
    return found


def test_a_claim_is_found_by_its_claimant_and_key() -> None:
    logs = PushLogs()
    assert logs.find(ANN, "k", 0.0) is None
    found = claim(logs, ANN)
    assert logs.find(ANN, "k", 0.0) is found
    assert logs.find(ANN, "other", 0.0) is None
    assert logs.find(BOB, "k", 0.0) is None


def test_what_is_kept_is_counted() -> None:
    logs = PushLogs()
    claim(logs, ANN)
    without_reply = logs.bytes
    settled(logs, ANN, "l", text="x" * 1000)
    # The text has two quotation marks.
    assert logs.bytes == without_reply + (without_reply - 512) + 1002
    logs.find(ANN, "k", 0.0)
    assert (len(logs), logs.claimed) == (1, 2)


def test_all_together_are_bounded() -> None:
    logs = PushLogs(max_bytes=5_000)
    for claimant in (ANN, BOB):
        settled(logs, claimant, text="x" * 1000)
    logs.find(ANN, "k", 0.0)
    claim(logs, ANN, "l")  # now BOB was not used for longest
    settled(logs, EVE, text="x" * 1000)
    assert logs.bytes <= 5_000
    assert logs.find(BOB, "k", 0.0) is None
    assert logs.find(EVE, "k", 0.0) is not None
    assert logs.dropped == 1


def test_a_reply_to_what_was_dropped_is_not_counted() -> None:
    logs = PushLogs(max_bytes=1_000)
    late = claim(logs, ANN)
    claim(logs, BOB)
    assert logs.find(ANN, "k", 0.0) is None
    before = logs.bytes
    late.settle(ok("x" * 500))
    assert logs.bytes == before


def test_logs_that_have_expired_are_forgotten_when_others_come() -> None:
    logs = PushLogs()
    settled(logs, ANN)
    settled(logs, BOB)
    claim(logs, EVE, now=10.0)
    assert len(logs) == 1
    assert logs.bytes == PushLogs().bytes + 512 + claim(PushLogs(), EVE).size


def test_a_push_that_is_being_handled_does_not_expire() -> None:
    logs = PushLogs()
    running = claim(logs, ANN)
    assert logs.find(ANN, "k", 1000.0) is running
    running.settle(ok())
    assert logs.find(ANN, "k", 1000.0) is None
