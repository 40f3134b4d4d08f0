"""Topics whose epochs have to end: one by one, or all of a server if they are too many to be remembered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest

from actors.pubsub.redis import broken_topics
from actors.pubsub.redis.broken_topics import BrokenTopics
from actors.pubsub.redis.history_commands import TopicKeys
from actors.pubsub.redis.redis_shard import Lost, RedisShard


class Server:
    """A shard whose commands wait for their answers."""

    def __init__(self) -> None:
        self.asked: deque[tuple[tuple[bytes, ...], Callable[[Any], object]]] = deque()
        self.is_there, self.ahead = True, cast("float | None", None)
        self.refused: list[str] = []

    def takes(self, _size: int) -> bool:
        return self.is_there

    def ask(self, command: tuple[bytes, ...], on_answer: Callable[[Any], object]) -> None:
        self.asked.append((command, on_answer))

    def log_refusal(self, what: str, _error: Exception) -> None:
        self.refused.append(what)

    def answer(self, answer: Any) -> tuple[bytes, ...]:
        command, on_answer = self.asked.popleft()
        on_answer(answer)
        return command

    def answer_all(self, answer: Any = 1) -> list[bytes]:
        return [self.answer(answer)[0] for _ in range(len(self.asked))]


class Cluster:
    """Some servers; a topic that begins with a number is on that one."""

    def __init__(self, servers: int = 1) -> None:
        self.servers = [Server() for _ in range(servers)]
        self.time, self.all_ended = 100.0, 0
        self.broken = BrokenTopics("ash*tree", self.keys_of, lambda: self.time, self.on_all_ended)
        self.broken.use(self)

    @property
    def shards(self) -> list[RedisShard]:
        return cast("list[RedisShard]", self.servers)

    def shard_of(self, channel: bytes) -> RedisShard:
        return self.shards[int(channel[:1])]

    def keys_of(self, topic: str) -> TopicKeys:
        return TopicKeys(topic.encode(), b"about " + topic.encode(), b"log " + topic.encode())

    def on_all_ended(self) -> None:
        self.all_ended += 1


def age(command: tuple[bytes, ...]) -> int:
    return int(command[-2])


def server_time(command: tuple[bytes, ...]) -> int:
    return int(command[-1])


def test_an_epoch_is_ended_at_once_if_the_server_takes_the_command() -> None:
    cluster = Cluster()
    [server] = cluster.servers
    cluster.broken.add("0:a")
    assert "0:a" in cluster.broken
    command = server.answer(1)
    assert (command[3:5], age(command)) == ((b"about 0:a", b"log 0:a"), 0)
    assert "0:a" not in cluster.broken
    assert not server.asked


def test_it_is_ended_when_the_server_is_back_with_the_time_since_the_last_broadcast() -> None:
    cluster = Cluster()
    [server] = cluster.servers
    server.is_there = False
    cluster.broken.add("0:a")
    cluster.time += 2.0
    cluster.broken.add("0:a")
    cluster.time += 1.5
    cluster.broken.end("0:a")
    assert not server.asked
    server.is_there = True
    assert cluster.broken.topics() == ["0:a"]
    cluster.broken.end("0:a")
    cluster.broken.end("0:a")
    cluster.broken.end("0:b")
    # The clocks may run at rates that differ a little.
    assert age(server.answer(1)) == 1498
    assert "0:a" not in cluster.broken
    assert not server.asked


def test_the_server_is_told_what_its_clock_has_shown_when_it_was_set_meanwhile() -> None:
    cluster = Cluster()
    [server] = cluster.servers
    server.is_there, server.ahead = False, 1_000.0
    cluster.broken.add("0:a")
    cluster.time += 2.0
    server.ahead = 900.0
    cluster.broken.add("0:a")
    server.is_there = True
    cluster.broken.end("0:a")
    assert (age(server.asked[0][0]), server_time(server.asked[0][0])) == (0, 1_100_000)
    server.answer(1)
    cluster.broken.add("0:a")
    assert server_time(server.answer(1)) == 1_002_000
    server.ahead = None
    cluster.broken.add("0:a")
    assert server_time(server.answer(1)) == 0


@pytest.mark.parametrize("failure", [Lost("gone"), ValueError("no permission")])
def test_it_is_asked_for_again_if_that_has_failed(failure: Exception) -> None:
    cluster = Cluster()
    [server] = cluster.servers
    cluster.broken.add("0:a")
    server.answer(failure)
    assert "0:a" in cluster.broken
    assert not server.asked
    cluster.broken.end("0:a")
    server.answer(1)
    assert "0:a" not in cluster.broken


def test_a_broadcast_after_the_command_needs_another_one() -> None:
    cluster = Cluster()
    [server] = cluster.servers
    cluster.broken.add("0:a")
    cluster.broken.add("0:a")
    assert len(server.asked) == 1
    server.answer(1)
    assert "0:a" in cluster.broken
    server.answer(1)
    assert "0:a" not in cluster.broken


def test_another_link_asks_again() -> None:
    cluster = Cluster()
    [server] = cluster.servers
    cluster.broken.add("0:a")
    cluster.broken.use(None)
    cluster.broken.end("0:a")
    cluster.broken.use(cluster)
    cluster.broken.end("0:a")
    assert server.answer_all() == [b"EVAL", b"EVAL"]
    assert "0:a" not in cluster.broken


def overflowed(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return two servers, of which the second is out of reach, with more topics than can be remembered."""
    monkeypatch.setattr(broken_topics, "_MOST", 2)
    cluster = Cluster(2)
    first, second = cluster.servers
    first.is_there = second.is_there = False
    for topic in ("1:a", "1:b", "1:a"):
        cluster.broken.add(topic)
    assert "1:c" not in cluster.broken
    first.is_there = True
    cluster.broken.add("1:d")
    return cluster


def test_beyond_the_bound_the_epochs_of_all_topics_end_on_all_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = overflowed(monkeypatch)
    first, second = cluster.servers
    assert all(topic in cluster.broken for topic in ("1:a", "0:c", "1:d"))
    assert cluster.broken.topics() == ["1:d"]
    found = [b"ash*tree!topic:{x}", b"{12}ash*tree!topic:y", b"my-ash*tree!topic:{x}", b"{x}ash*tree!topic:z"]
    assert first.answer([b"7", found]) == (b"SCAN", b"0", b"MATCH", rb"*ash\*tree!topic:*", b"COUNT", b"1000")
    assert [first.asked[number][0] for number in (0, 1)] == [(b"DEL", found[0]), (b"DEL", found[1])]
    assert first.answer_all() == [b"DEL", b"DEL", b"PING"]
    assert first.answer([b"0", []])[:2] == (b"SCAN", b"7")
    assert first.answer_all() == [b"PING"]
    assert "0:c" in cluster.broken
    second.is_there = True
    cluster.broken.go_on()
    cluster.broken.go_on()
    second.answer([b"0", []])
    assert cluster.all_ended == 0
    second.answer_all()
    assert cluster.all_ended == 1
    assert "0:c" not in cluster.broken
    assert "1:d" in cluster.broken


@pytest.mark.parametrize("failure", [Lost("gone"), ValueError("no permission")])
@pytest.mark.parametrize("answered", [0, 1])
def test_a_server_that_fails_meanwhile_begins_again(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, answered: int
) -> None:
    cluster = overflowed(monkeypatch)
    first = cluster.servers[0]
    cluster.servers.pop()
    for _ in range(answered):
        first.answer([b"0", []])
    first.answer(failure)
    assert first.refused == ([] if isinstance(failure, Lost) else ["the end of all histories"])
    assert "0:c" in cluster.broken
    cluster.broken.go_on()
    first.answer([b"0", []])
    first.answer_all()
    assert "0:c" not in cluster.broken


def test_what_breaks_while_all_end_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = overflowed(monkeypatch)
    first, second = cluster.servers
    # More than can be remembered once more: what has been found until then is not all.
    for topic in ("1:e", "1:f"):
        cluster.broken.add(topic)
    first.answer([b"0", [b"ash*tree!topic:{x}"]])
    assert first.answer([b"0", []])[0] == b"SCAN"
    second.is_there = True
    cluster.broken.go_on()
    second.answer([b"0", []])
    first.answer_all()
    assert "0:c" in cluster.broken
    second.answer_all()
    assert "0:c" not in cluster.broken
