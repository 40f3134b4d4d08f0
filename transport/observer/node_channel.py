"""The live page of another node: a channel that asks for what changes there, and the service there that answers it.

Each node decides which pages see it, and give orders to its actors: a request proves that the token of the asking
page is also the token there, without sending it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from actors.channels.message import Payload, Reply, error, ok
from actors.pubsub.requests import PeerAnswer, PeerBusyError, PeerError, UnreachableError
from actors.redaction import STATE_SECRETS
from transport.observer.observer_channel import INTERVAL, SAMPLE, ViewingChannel
from transport.observer.scene import Scene

if TYPE_CHECKING:
    from actors.clock import Timer
    from actors.lowlevel import Process
    from actors.pubsub.peers import Peers

__all__ = ["SERVICE", "NodeChannel", "SceneService", "proof_of"]

SERVICE = "observer"
"""The name of the service that shows a node to others."""

_WITHIN = 1.0
"""Seconds in which a node answers."""
_IDLE = 10.0
"""Seconds after which a viewer who asks no more is forgotten."""
_MOST_VIEWERS = 100
_MOST_FORGOTTEN = 10_000
"""Viewers that are forgotten, but for the number of their last request."""

_NO_ANSWER = error({"reason": "did not answer"})
_OTHER_TOKEN = "its observer has another token: set ASHTREE_OBSERVER_TOKEN on all nodes"  # noqa: S105  # it says what to do
_NO_OBSERVER = "it has no observer, or failed: see its log"
_FULL = "too many pages look at it"


def proof_of(token: str, run: str, said: Mapping[str, Any]) -> str:
    """Return what only a holder of the token can say to a node."""
    return hmac.new(token.encode(), msgspec.json.encode([run, said], order="sorted"), hashlib.sha256).hexdigest()


class NodeChannel(ViewingChannel):
    """As `ObserverChannel`, of another node: the topic is "observer:<run>". While it does not answer, `lost` says so."""

    async def join(self, topic: str, payload: Payload) -> Reply:
        """Look at the node for the first time."""
        self._run, self._number, self._is_lost = topic.partition(":")[2], 0, False
        first = await self._ask("join", {})
        if first is None or first.get("refused"):
            return _NO_ANSWER if first is None else error({"reason": first["refused"]})
        self.begin()
        return ok({"interval": INTERVAL, "own": [], "links": self.assigns.get("links", [])})

    async def _ask(self, event: str, payload: Payload) -> dict[str, Any] | None:
        """Return what the node answers, None if it does not."""
        self._number += 1
        peers = self.pubsub.peers
        said = {"viewer": f"{peers.run} {self.pid}", "number": self._number, "event": event, "payload": payload}
        proof = proof_of(self.assigns["observer_token"], self._run, said)
        try:
            answer = await peers.ask(self._run, SERVICE, {"said": said, "proof": proof}, seconds=_WITHIN, heard=_WITHIN)
        except (UnreachableError, PeerBusyError):
            return None
        except PeerError:
            return {"refused": _NO_OBSERVER}
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found

    async def handle_info(self, message: object) -> None:
        """Sample the tree of the node."""
        if message is SAMPLE:
            self.push_nodes()
            self._show(await self._ask("watch", {}))
        else:
            super().handle_info(message)

    def _show(self, answer: dict[str, Any] | None) -> None:
        if (answer is None) != self._is_lost:
            self._is_lost = answer is None
            self.push("difference", {"lost": self._is_lost})
        if answer is not None:
            self.push_difference(answer.get("difference", {}))

    async def handle_in(self, event: str, payload: Payload) -> object:
        """Pass a command on."""
        if event in ("rest", "watch"):
            self.pause() if event == "rest" else self.go_on()
            return None
        answer = await self._ask(event, payload)
        self._show(answer)
        if answer is None:
            return _NO_ANSWER if event in ("suspend", "resume", "kill") else None
        reply = answer.get("reply")
        return None if reply is None else Reply(reply["status"], reply["response"])


class _Viewer:
    """A viewer of another node, the number of its last request, and what ends it if there is none for a while."""

    def __init__(self, scene: Scene, number: int) -> None:
        self.scene, self.number = scene, number
        self.idle: Timer | None = None


class SceneService:
    """Answers the `NodeChannel`s of other nodes that have the same token."""

    def __init__(self, token: str, peers: Peers, process: Process, filter_parameters: Sequence[str]) -> None:
        self._token, self._peers, self._process = token, peers, process
        self._secrets = tuple({*STATE_SECRETS, *filter_parameters})
        self._viewers: dict[str, _Viewer] = {}
        # Their last numbers: what was said by a viewer that is forgotten is not to be repeated either.
        self._forgotten: dict[str, int] = {}

    def end(self) -> None:
        """Forget all viewers."""
        for name in list(self._viewers):
            self._forget(name)

    def answer(self, about: Mapping[str, Any], _body: bytes) -> PeerAnswer:
        """Answer a request."""
        said = about["said"]
        if not hmac.compare_digest(proof_of(self._token, self._peers.run, said), str(about["proof"])):
            return _answer({"refused": _OTHER_TOKEN})
        viewer = self._viewer(said["viewer"])
        if viewer is None:
            return _answer({"refused": _FULL})
        if said["number"] <= viewer.number:
            # Repeated by a program that has read it.
            return _answer({"refused": _OTHER_TOKEN})
        viewer.number = said["number"]
        event, scene = said["event"], viewer.scene
        if not scene.takes(event):
            return _answer({} if event == "join" else {"difference": scene.sample()})
        reply, difference = scene.do(event, said["payload"])
        return _answer({"reply": reply, "difference": difference})

    def _viewer(self, name: str) -> _Viewer | None:
        """Return a viewer, a new one for a name that is not known; None if there are too many."""
        viewer = self._viewers.get(name)
        if viewer is None:
            if len(self._viewers) >= _MOST_VIEWERS:
                return None
            own = [self._process, *([] if self._peers.server is None else [self._peers.server.process])]
            scene = Scene(f"the observer at {name}", own, self._secrets)
            viewer = self._viewers[name] = _Viewer(scene, self._forgotten.pop(name, 0))
        if viewer.idle is not None:
            viewer.idle.cancel()
        viewer.idle = self._process.scheduler.clock.call_after(_IDLE, partial(self._forget, name))
        return viewer

    def _forget(self, name: str) -> None:
        viewer = self._viewers.pop(name, None)
        if viewer is not None:
            self._forgotten[name] = viewer.number
            if len(self._forgotten) > _MOST_FORGOTTEN:
                del self._forgotten[next(iter(self._forgotten))]
            viewer.scene.end()
            if viewer.idle is not None:
                viewer.idle.cancel()


def _answer(answer: dict[str, Any]) -> PeerAnswer:
    return PeerAnswer({}, msgspec.json.encode(answer))
