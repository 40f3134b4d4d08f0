"""The scripts that keep histories, in a real Redis: bounds, expiry, epochs, and where keys are in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from actors.history.history import NOWHERE, History, Position
from actors.pubsub.redis.history_commands import (
    TopicKeys,
    about_keys,
    append_command,
    forget_command,
    read_command,
    read_extent,
    scan_command,
)
from actors.pubsub.remote_message import Header, RemoteMessageError, pack, unpack
from tests.servers.redis_server import RedisServer, until

HISTORY = History(size=3, ttl=300.0, max_bytes=2_000)
RUN = b"run"


class Topic:
    def __init__(self, server: RedisServer, name: str) -> None:
        self.server, self.keys = server, TopicKeys.of("ashtree", f"ashtree:{name}".encode())

    def append(self, payload: bytes = b"{}", history: History = HISTORY, run: bytes = RUN) -> tuple[str, int]:
        message = pack(Header(event="said", run="r", seq=1), payload)
        command = append_command(self.keys, run, "new one", history, message, sharded=False)
        epoch, offset = self.server.ask(*command)
        return epoch.decode(), offset

    def read(self, known: Position = NOWHERE, run: bytes = RUN, ttl: float = 300.0) -> tuple[str, int, list[int]]:
        answer = self.server.ask(*read_command(self.keys, run, "another", HISTORY, known))
        extent = read_extent(answer, ttl)
        return extent.epoch, extent.offset, [arrival.offset for arrival in extent.arrivals]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def topic(server: RedisServer, request: pytest.FixtureRequest) -> Topic:
    return Topic(server, request.node.name)


@pytest.mark.parametrize("ttl", [1e-9, 1e18, 1e300, float("inf")])
def test_any_ttl_of_a_history_is_one_for_redis(topic: Topic, ttl: float) -> None:
    assert topic.append(history=History(ttl=ttl)) == ("new one", 1)
    assert topic.append(history=History(ttl=ttl))[1] == 2


def test_the_offsets_grow_by_one_and_the_newest_are_kept(topic: Topic) -> None:
    assert topic.read() == ("another", 0, [])
    assert [topic.append() for _ in range(5)] == [("another", offset) for offset in range(1, 6)]
    assert topic.read() == ("another", 5, [3, 4, 5])
    assert topic.read(Position("another", 4)) == ("another", 5, [5])
    assert topic.read(Position("one before", 4)) == ("another", 5, [3, 4, 5])


def test_the_first_broadcast_begins_an_epoch_too(topic: Topic) -> None:
    assert topic.append() == ("new one", 1)
    assert topic.read() == ("new one", 1, [1])


def test_the_bytes_are_bounded_also_when_the_oldest_have_expired(topic: Topic) -> None:
    for _ in range(3):
        topic.append(b'"%b"' % (b"x" * 600))
    assert topic.read() == ("new one", 3, [2, 3])
    topic.append(b'"%b"' % (b"x" * 3_000))
    assert topic.read() == ("new one", 4, [])
    topic.append()
    assert topic.read() == ("new one", 5, [5])
    assert int(topic.server.ask("HGET", topic.keys.about, "bytes")) < 400


def test_what_has_expired_is_not_kept(topic: Topic) -> None:
    short = History(size=3, ttl=0.05)
    topic.append(history=short)
    until(lambda: not topic.server.ask("EXISTS", topic.keys.stream))
    assert topic.append() == ("new one", 2)
    assert topic.read() == ("new one", 2, [2])
    assert topic.read(ttl=0.0) == ("new one", 2, [])


def test_the_oldest_goes_when_it_has_expired_as_something_is_added(topic: Topic) -> None:
    short = History(size=3, ttl=0.05)
    topic.append()
    topic.append()
    until(lambda: topic.read(ttl=0.05) == ("new one", 2, []))
    message = pack(Header(event="said"), b"{}")
    with redis.Redis.from_url(topic.server.url) as client, client.pipeline() as transaction:
        transaction.execute_command(*append_command(topic.keys, RUN, "new one", short, message, sharded=False))
        transaction.xrange(topic.keys.stream)
        _, kept = transaction.execute()
    assert [place for place, _ in kept] == [b"2-0", b"3-0"]


def test_the_epoch_outlives_the_broadcasts_and_expires_too(topic: Topic) -> None:
    topic.append()
    assert 300 < topic.server.ask("TTL", topic.keys.about) <= 3_900
    assert 0 < topic.server.ask("TTL", topic.keys.stream) <= 300


def test_another_run_of_the_server_is_another_epoch(topic: Topic) -> None:
    topic.append()
    assert topic.read(run=b"the next") == ("another", 0, [])
    assert topic.append(run=b"the next") == ("another", 1)


def test_an_epoch_is_ended_unless_it_has_begun_later(topic: Topic) -> None:
    topic.append()
    topic.server.ask(*forget_command(topic.keys, 60.0))
    assert topic.read()[0] == "new one"
    topic.server.ask(*forget_command(topic.keys, 0.0))
    assert topic.read() == ("another", 0, [])
    # The server's clock was set back since.
    topic.append()
    began = int(topic.server.ask("HGET", topic.keys.about, "began"))
    topic.server.ask(*forget_command(topic.keys, 60.0, (began - 1) / 1000))
    assert topic.server.ask("EXISTS", topic.keys.about)
    topic.server.ask(*forget_command(topic.keys, 60.0, began / 1000))
    assert not topic.server.ask("EXISTS", topic.keys.about)
    topic.append()
    topic.server.ask("HINCRBY", topic.keys.about, "began", 60_000)
    topic.server.ask(*forget_command(topic.keys, 1.0))
    assert not topic.server.ask("EXISTS", topic.keys.about)
    topic.server.ask(*forget_command(topic.keys, 0.0))


@pytest.mark.parametrize("act", [Topic.append, Topic.read])
def test_an_epoch_over_whose_beginning_the_clock_was_set_back_is_as_old_as_any(
    topic: Topic, act: Callable[[Topic], object]
) -> None:
    topic.append()
    topic.server.ask("HINCRBY", topic.keys.about, "began", 60_000)
    act(topic)
    assert topic.server.ask("HGET", topic.keys.about, "began") == b"0"
    topic.server.ask(*forget_command(topic.keys, 60.0))
    assert not topic.server.ask("EXISTS", topic.keys.about)


def test_what_was_recorded_by_a_clock_that_was_ahead_is_read_as_new_and_still_bounded(topic: Topic) -> None:
    message = pack(Header(event="said", run="r", seq=1), b"{}")
    topic.append()
    topic.server.ask("XADD", topic.keys.stream, "2-0", "t", "99999999999999", "m", message)
    topic.server.ask("HSET", topic.keys.about, "offset", 2)
    answer = topic.server.ask(*read_command(topic.keys, RUN, "another", HISTORY, Position("new one", 1)))
    assert [(each.offset, each.age) for each in read_extent(answer, 300.0).arrivals] == [(2, 0.0)]
    for _ in range(3):
        topic.append()
    assert topic.read() == ("new one", 5, [3, 4, 5])


@pytest.mark.parametrize("prefix", ["ashtree", "a*[b]", "a?-\\", "{app}", "é^"])
def test_all_topics_of_a_prefix_are_found(server: RedisServer, prefix: str) -> None:
    server.ask("FLUSHALL")
    topics = [TopicKeys.of(prefix, f"{prefix}:{name}".encode()) for name in ("one", "{two}", "three}")]
    for keys in (*topics, TopicKeys.of(f"my-{prefix}", b"my:one"), TopicKeys.of("axb", b"axb:one")):
        server.ask(*append_command(keys, RUN, "e", HISTORY, pack(Header(event="said"), b"{}"), sharded=False))
    found, cursor = set[bytes](), b""
    while cursor != b"0":
        cursor, names = server.ask(*scan_command(prefix, cursor or b"0"))
        found.update(about_keys(prefix, names))
    assert found == {keys.about for keys in topics}


@pytest.mark.parametrize("evicted", ["about", "stream"])
def test_a_key_that_the_server_evicts_leaves_no_silent_hole(topic: Topic, evicted: str) -> None:
    for _ in range(3):
        topic.append()
    topic.server.ask("DEL", getattr(topic.keys, evicted))
    if evicted == "about":
        assert topic.read(Position("new one", 2)) == ("another", 0, [])
        assert not topic.server.ask("EXISTS", topic.keys.stream)
    else:
        assert topic.read(Position("new one", 2)) == ("new one", 3, [])
        assert topic.append() == ("new one", 4)
        assert topic.read() == ("new one", 4, [4])
        assert int(topic.server.ask("HGET", topic.keys.about, "bytes")) < 400


def test_it_is_published_with_its_place(topic: Topic) -> None:
    with redis.Redis.from_url(topic.server.url) as client, client.pubsub() as pubsub:
        pubsub.subscribe(topic.keys.channel)
        assert pubsub.get_message(timeout=5.0)
        topic.append(b'{"n": "\\u00e9"}')
        message: Any = pubsub.get_message(timeout=5.0)
    header, payload = unpack(message["data"])
    assert (header.epoch, header.offset, header.event, payload) == ("new one", 1, "said", b'{"n": "\\u00e9"}')


def test_a_stream_with_other_things_is_refused(topic: Topic) -> None:
    topic.append()
    topic.server.ask("XADD", topic.keys.stream, "2-0", "t", "99999999999999", "m", "nonsense")
    with pytest.raises(RemoteMessageError):
        topic.read()


@pytest.mark.parametrize("prefix", ["ashtree", "{app}", "a%b", "}{"])
@pytest.mark.parametrize("name", ["room:1", "{three}", "a{b}c", "a}b", "a{}b", "{", "}{", "100%", "é"])
def test_the_keys_are_in_the_slot_of_the_channel(prefix: str, name: str) -> None:
    keys = TopicKeys.of(prefix, f"{prefix}:{name}".encode())
    assert {key_slot(each) for each in keys} == {key_slot(keys.channel)}
    assert len(set(keys)) == 3
