"""The processes that are known: those that have spoken, until they end or are silent for too long."""

from __future__ import annotations

import pytest

from actors.pubsub import known_peers
from actors.pubsub.known_peers import FORGOTTEN_AFTER, KnownPeers, Peer


@pytest.fixture
def peers() -> KnownPeers:
    found = KnownPeers()
    found.heard("r1", "web-1", 0)
    found.heard("r2", "web-2", 5)
    return found


def test_one_that_has_spoken_is_known_by_its_run_and_its_name(peers: KnownPeers) -> None:
    assert peers.all(5) == [Peer("r1", "web-1"), Peer("r2", "web-2")]
    assert ("r1" in peers, "r3" in peers) == (True, False)
    assert (peers.of_node("web-2"), peers.of_node("web-3")) == (["r2"], [])


def test_one_that_is_silent_is_forgotten(peers: KnownPeers) -> None:
    assert len(peers.all(FORGOTTEN_AFTER)) == 2
    assert peers.all(FORGOTTEN_AFTER + 1) == [Peer("r2", "web-2")]
    peers.heard("r1", "web-1", FORGOTTEN_AFTER + 2)
    assert peers.all(FORGOTTEN_AFTER + 2) == [Peer("r2", "web-2"), Peer("r1", "web-1")]


def test_one_that_has_ended_is_never_known_again(peers: KnownPeers) -> None:
    peers.ended("r1")
    peers.ended("never seen")
    # Messages that were under way.
    peers.heard("r1", "web-1", 6)
    assert peers.all(6) == [Peer("r2", "web-2")]
    assert (peers.has_ended("r1"), peers.has_ended("r2")) == (True, False)


def test_what_is_known_is_bounded(peers: KnownPeers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_peers, "_MOST", 3)
    for number in range(10):
        peers.heard(f"more {number}", "web", 6)
        peers.ended(f"ended {number}")
    assert len(peers.all(6)) == 3
    assert [number for number in range(10) if peers.has_ended(f"ended {number}")] == [7, 8, 9]
