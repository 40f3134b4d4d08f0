"""The other processes that are connected with this one: what they are asked for a prompt, and what this one answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from concurrent.futures import TimeoutError as WaitTimeoutError
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from actors.channel import Channel
from actors.pubsub.requests import PeerAnswer, PeerError
from actors.redaction import Shown, safe_repr, shortened
from supervisors.branches import root_of
from supervisors.observer.sockets import NodeInfo, SocketInfo, is_client, socket_info
from supervisors.observer.tree_table import draw_with_details

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.pubsub.known_peers import Peer
    from actors.pubsub.pubsub import PubSub

__all__ = ["NODE", "answer_peer", "ask_nodes", "can_ask", "here", "node_of", "sockets_of", "tree_of"]

T = TypeVar("T")

NODE = "node"
"""The service of every node that answers the prompts of others."""

_WITHIN = 1.0
# More than the nodes themselves may take: their event loop, which asks, may be busy.
_AT_MOST = 3.0
_MOST = 1_000
_MOST_TOPICS = 50
_LONGEST = 200
_MOST_BYTES = 512 * 1024


# What this node answers


def here(pubsub: PubSub) -> NodeInfo:
    """Return the row of this process."""
    scheduler = pubsub.scheduler
    processes = list(scheduler.processes.values())
    age = max((scheduler.clock.now() - process.started_at for process in processes[:1]), default=0.0)
    clients = sum(map(is_client, processes))
    channels = sum(issubclass(process.actor_class, Channel) for process in processes)
    return NodeInfo(pubsub.node, "this one", os.getpid(), clients, channels, len(processes), age)


def answer_peer(pubsub: PubSub, about: Mapping[str, Any], _body: bytes) -> PeerAnswer:
    """Answer another process: what this one is, its clients, or its tree."""
    match about["what"]:
        case "about":
            return PeerAnswer(here(pubsub)._asdict())
        case "sockets":
            return _answer_sockets(list(pubsub.scheduler.processes.values()), int(about["most"]))
    server = pubsub.server
    assert server is not None
    tree = draw_with_details([root_of(server.actor_ref.process)], min(int(about["most"]), _MOST))
    return PeerAnswer({}, shortened(str(tree), _MOST_BYTES).encode())


def _answer_sockets(processes: list[Process], most: int) -> PeerAnswer:
    clients = [process for process in processes if is_client(process)]
    rows, size = [], 0
    for process in clients[: min(most, _MOST)]:
        info = socket_info(process)
        row = b"" if info is None else msgspec.json.encode(_portable(info))
        size += len(row)
        if size > _MOST_BYTES:
            break
        if row:
            rows.append(row)
    return PeerAnswer({"count": len(clients)}, b"[%b]" % b",".join(rows))


def _portable(info: SocketInfo) -> dict[str, Any]:
    """Return a row without refs, its values as bounded text."""
    members = info._asdict()
    del members["ref"]
    members["assigns"] = {str(key): shortened(safe_repr(value), _LONGEST) for key, value in info.assigns.items()}
    members["topics"] = [shortened(topic, _LONGEST) for topic in info.topics[:_MOST_TOPICS]]
    members["id"] = None if info.id is None else shortened(info.id, _LONGEST)
    return members


# What others answer


def ask_nodes(pubsub: PubSub, what: str, most: int = 0) -> list[tuple[Peer, PeerAnswer | None]]:
    """Return what the other nodes answer, None for those that do not within a second; none on the event loop's own thread."""
    if not can_ask(pubsub):
        return []
    return _wait(pubsub, pubsub.peers.ask_all(NODE, {"what": what, "most": most}, seconds=_WITHIN)) or []


def can_ask(pubsub: PubSub) -> bool:
    """Return whether there may be others, and the caller may wait for them, as it is not on the actors' event loop."""
    return pubsub.peers.are_possible and pubsub.scheduler.may_block()


def _wait(pubsub: PubSub, asking: Coroutine[Any, Any, T]) -> T | None:
    future = asyncio.run_coroutine_threadsafe(asking, pubsub.scheduler.loop)
    try:
        return future.result(_AT_MOST)
    except (WaitTimeoutError, PeerError):
        future.cancel()
        return None


def node_of(peer: Peer, answer: PeerAnswer | None) -> NodeInfo:
    """Return the row of another node."""
    if answer is None:
        return NodeInfo(peer.node, "did not answer")
    return NodeInfo(**answer.about | {"node": peer.node, "status": "connected"})


def sockets_of(peer: Peer, answer: PeerAnswer) -> list[SocketInfo]:
    """Return the clients of another node."""
    return [_socket_of(peer, row) for row in msgspec.json.decode(answer.body)]


def _socket_of(peer: Peer, row: dict[str, Any]) -> SocketInfo:
    assigns = {key: Shown(text) for key, text in row["assigns"].items()}
    return SocketInfo(ref=None, **row | {"assigns": assigns, "node": peer.node})


def tree_of(pubsub: PubSub, node: str, most: int) -> str | None:
    """Return the tree of another node as text, or that it did not answer; None if no node of that name is known."""
    runs = pubsub.peers.known.of_node(node) if can_ask(pubsub) else []
    if not runs:
        return None
    asking = pubsub.peers.ask(runs[0], NODE, {"what": "tree", "most": most}, seconds=_WITHIN, heard=_WITHIN)
    answer = _wait(pubsub, asking)
    return f"{node} did not answer" if answer is None else answer.body.decode()
