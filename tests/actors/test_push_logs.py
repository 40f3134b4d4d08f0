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


def deferred(logs: PushLogs, claimant: Claimant, key: str = "k") -> Claim:
    """Return a claim whose handler has returned, and which is answered later."""
    found = claim(logs, claimant, key)
    found.is_deferred = True
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


def test_a_copy_is_a_use_of_its_log() -> None:
    logs = PushLogs(max_bytes=5_000)
    for claimant in (ANN, BOB):
        settled(logs, claimant, text="x" * 1000)
    assert logs.find(ANN, "k", 0.0) is not None
    settled(logs, EVE, text="x" * 2000)
    assert [logs.find(each, "k", 0.0) is not None for each in (ANN, BOB, EVE)] == [True, False, True]


def test_what_is_being_handled_is_kept_beyond_the_bound_of_all() -> None:
    logs = PushLogs(max_bytes=2_000)
    running = claim(logs, ANN, "running")
    settled(logs, ANN, text="x" * 500)
    others = [claim(logs, Claimant("room:1", f"client {number}")) for number in range(10)]
    settled(logs, BOB, text="x" * 3_000)
    assert logs.find(ANN, "running", 0.0) is running
    assert logs.find(ANN, "k", 0.0) is None
    assert (len(logs), logs.dropped) == (12, 1)
    # Those that are answered go.
    for each in others:
        each.settle(ok())
    settled(logs, EVE)
    assert (len(logs), logs.dropped) == (2, 12)
    assert logs.find(ANN, "running", 0.0) is running


def test_what_is_being_handled_is_kept_beyond_the_bounds_of_a_client() -> None:
    logs, options = PushLogs(), Idempotency(size=3, max_bytes=4_000)
    running = [logs.claim(ANN, f"running {number}", b"digest", options, 0.0) for number in range(5)]
    for number in range(10):
        logs.claim(ANN, f"{number}", b"digest", options, 0.0).settle(ok("x" * 1_000))
    assert [logs.find(ANN, each.key, 0.0) for each in running] == running
    assert [number for number in range(10) if logs.find(ANN, f"{number}", 0.0)] == [7, 8, 9]
    # Its answer is the newest one, but it was claimed before the others.
    running[0].settle(ok())
    assert logs.find(ANN, running[0].key, 0.0) is None
    assert [number for number in range(10) if logs.find(ANN, f"{number}", 0.0)] == [7, 8, 9]
    running[1].is_deferred = True
    logs.claim(ANN, "next", b"digest", options, 0.0)
    assert [logs.find(ANN, each.key, 0.0) for each in running] == [None, None, *running[2:]]
    assert logs.bytes == 512 + sum(
        found.size
        for key in [*(each.key for each in running), *map(str, range(10)), "next"]
        if (found := logs.find(ANN, key, 0.0))
    )


def test_a_reply_to_what_was_dropped_is_not_counted() -> None:
    logs = PushLogs(max_bytes=1_000)
    late = deferred(logs, ANN)
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
