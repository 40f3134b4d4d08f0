"""The service that shows this node to others: only to those that have its token, and for as long as they ask."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.pubsub.pubsub import PubSub
from actors.testing import ManualRuntime, Probe
from transport.observer import node_channel
from transport.observer.node_channel import SceneService, proof_of

TOKEN = "a-token-for-the-tests"  # noqa: S105  # of no other use


class Asking:
    """A viewer of another node."""

    def __init__(self, runtime: ManualRuntime, token: str = TOKEN) -> None:
        self.probe, self.peers = Probe(), PubSub().peers
        self.service = SceneService(TOKEN, self.peers, self.probe.ref.process, ["pin"])
        self.token, self.number = token, 0

    def ask(self, event: str, *, viewer: str = "v", **about: Any) -> dict[str, Any]:
        self.number += 1
        said = {"viewer": viewer, "number": self.number, "event": event, "payload": {}} | about
        return self.say(said, proof_of(self.token, self.peers.run, said))

    def say(self, said: dict[str, Any], proof: str) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.service.answer({"said": said, "proof": proof}, b"").body)
        return found


@pytest.fixture
def asking(runtime: ManualRuntime) -> Asking:
    return Asking(runtime)


def test_the_first_answer_has_the_whole_tree_and_later_ones_what_has_changed(asking: Asking) -> None:
    assert asking.ask("join") == {}
    assert asking.ask("watch")["difference"]["rows"]
    assert "rows" not in asking.ask("watch")["difference"]


def test_another_token_is_refused(runtime: ManualRuntime, asking: Asking) -> None:
    asking.token += "x"
    assert "another token" in asking.ask("join")["refused"]


def test_what_was_said_once_or_changed_is_refused(asking: Asking) -> None:
    said = {"viewer": "v", "number": 5, "event": "join", "payload": {}}
    proof = proof_of(TOKEN, asking.peers.run, said)
    assert asking.say(said, proof) == {}
    for change in ({}, {"number": 6}, {"event": "kill"}, {"viewer": "w"}):
        assert "refused" in asking.say(said | change, proof)
    assert "refused" in asking.say(said | {"number": 6}, proof_of(TOKEN, "another run", said | {"number": 6}))


def is_watched(asking: Asking) -> bool:
    return asking.probe.ref.process.debug is not None


def test_a_viewer_is_forgotten_when_it_asks_no_more(runtime: ManualRuntime, asking: Asking) -> None:
    asking.ask("join")
    asking.ask("select", payload={"id": str(asking.probe.ref.process.number)})
    runtime.settle()
    assert is_watched(asking)
    runtime.advance(11)
    assert not is_watched(asking)
    # It begins with the whole tree again.
    assert asking.ask("watch")["difference"]["rows"]
    asking.service.end()


def test_what_a_viewer_has_said_is_not_repeated_when_it_is_forgotten(
    runtime: ManualRuntime, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_channel, "_MOST_FORGOTTEN", 2)
    said = {"viewer": "v", "number": 5, "event": "watch", "payload": {}}
    proof = proof_of(TOKEN, asking.peers.run, said)
    for _ in range(2):
        asking.ask("join", viewer="another")
        asking.say(said, proof)
        runtime.advance(11)
        assert "refused" in asking.say(said, proof)
    asking.service.end()
    # As many as two are remembered.
    for viewer in ("one", "two"):
        asking.ask("join", viewer=viewer)
        asking.service.end()
    assert "refused" not in asking.say(said, proof)
    asking.service.end()


def test_viewers_are_bounded(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_channel, "_MOST_VIEWERS", 2)
    answers = [asking.ask("join", viewer=f"v{number}") for number in range(3)]
    assert answers == [{}, {}, {"refused": "too many pages look at it"}]
