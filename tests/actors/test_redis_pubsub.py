"""PubSubs that are connected by Redis: the contract, over each kind of server, and what happens when it fails."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from actors import telemetry
from actors.channels.message import Broadcast
from actors.pubsub.redis.publish_message import publish
from actors.pubsub.redis.redis_pubsub import BROKER_CONNECTED, BROKER_DISCONNECTED, RedisPubSub, channel_of
from actors.pubsub.redis.redis_shard import Reconnects, RedisShard
from tests.live import WAIT
from tests.servers.redis_server import (
    RedisServer,
    free_port,
    move_slot,
    redis_by_tls,
    redis_cluster,
    redis_sentinel,
    until,
)
from tests.servers.tcp_proxy import TCPProxy
from transport.testing.adapter_contract import AdapterContract, ContractNode

if TYPE_CHECKING:
    from actors.pubsub.adapter import Adapter

pytestmark = pytest.mark.usefixtures("background")


# Characters that a URL must have as codes.
PASSWORD = "s€cret :/@"  # noqa: S105  # of a server that lives as long as the test
CODED = "s%E2%82%ACcret%20%3A%2F%40"


def news(number: int) -> Broadcast:
    return Broadcast("room:1", "news", {"n": number})


# The contract


@pytest.fixture(scope="module")
def unix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("unix")) as server:
        yield server


@pytest.fixture(scope="module")
def tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("tcp"), port=free_port(), password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_by_tls(tmp_path_factory.mktemp("tls")) as url:
        yield url


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as (url, _):
        yield url


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_sentinel(tmp_path_factory.mktemp("sentinel")) as (url, _, _):
        yield url


class RedisContract(AdapterContract):
    __test__ = False
    url: str

    def connected(self) -> tuple[Adapter, Adapter]:
        return RedisPubSub(self.url), RedisPubSub(self.url)


class TestOnAUnixSocket(RedisContract):
    __test__ = True

    @pytest.fixture(autouse=True, params=["2", "3"], ids=["RESP2", "RESP3"])
    def _url(self, unix: RedisServer, request: pytest.FixtureRequest) -> None:
        self.url = f"{unix.url}?protocol={request.param}"


class TestOverTCPWithAPassword(RedisContract):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _url(self, tcp: RedisServer) -> None:
        self.url = f"redis://:{CODED}@127.0.0.1:{tcp.port}"


class TestOverTLS(RedisContract):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _url(self, tls: str) -> None:
        self.url = tls


def test_a_server_with_a_certificate_of_another_authority_is_not_trusted(tls: str) -> None:
    with two_nodes(tls.partition("?")[0]) as (one, _):
        assert "CERTIFICATE_VERIFY_FAILED" in (one.adapter.trouble() or "")


class TestOnACluster(RedisContract):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _url(self, cluster: str) -> None:
        self.url = cluster


class TestWithASentinel(RedisContract):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _url(self, sentinel: str) -> None:
        self.url = sentinel


# What happens when it fails


def test_attempts_to_connect_are_at_most_two_seconds_apart() -> None:
    reconnects = Reconnects()
    assert [reconnects.next(0.0) for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert reconnects.next(1.0) == 1.0
    reconnects.succeeded()
    assert reconnects.next(0.5) == pytest.approx(0.075)


class Brokers:
    """What nodes report of their broker: whether each can reach it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state: dict[str, bool] = {}
        self.lost: list[str] = []

    def on_event(self, event: Any, _numbers: Any, about: Any) -> None:
        with self._changed:
            if event == BROKER_DISCONNECTED and about["pubsub"] in self._state:
                self.lost.append(about["trouble"])
            self._state[about["pubsub"]] = event == BROKER_CONNECTED
            self._changed.notify_all()

    def wait(self, *nodes: ContractNode, up: bool) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: all(self._state.get(node.pubsub) is up for node in nodes), WAIT)  # type: ignore[call-overload]


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    found = Brokers()
    telemetry.attach("brokers", [BROKER_CONNECTED, BROKER_DISCONNECTED], found.on_event)
    yield found
    telemetry.detach("brokers")


@contextmanager
def two_nodes(url: str, *others: str, **options: Any) -> Iterator[tuple[ContractNode, ContractNode]]:
    """Run two nodes, the second one perhaps by another way."""
    one, two = (ContractNode(RedisPubSub(each, **options)) for each in (url, (others or (url,))[0]))
    with one.system, two.system, ExitStack() as stack:
        stack.callback(one.stop_probes)
        stack.callback(two.stop_probes)
        yield one, two


def lost(node: ContractNode) -> int:
    counted: int = node.call(lambda: node.pubsub.relay.counts.lost)
    return counted


def assert_reaches_both(one: ContractNode, two: ContractNode, number: int) -> None:
    """Check that what is published now is the next that the subscribers of "room:1" get."""
    probes = [one.subscriber("room:1"), two.subscriber("room:1")]
    for node in (one, two):
        node.pubsub.broadcast("room:1", news(number))
    for probe in probes:
        probe.assert_receive(news(number))
        probe.assert_receive(news(number))


@pytest.mark.parametrize("fail", ["stop", "freeze"])
def test_local_delivery_goes_on_while_redis_is_away_and_messages_cross_again_when_it_is_back(
    fail: str, tmp_path: Path, brokers: Brokers
) -> None:
    with RedisServer(tmp_path) as server, two_nodes(server.url) as (one, two):
        here, there = one.subscriber("room:1"), two.subscriber("room:1")
        one.pubsub.broadcast("room:1", news(1))
        there.assert_receive(news(1))
        getattr(server, fail)()
        brokers.wait(one, two, up=False)
        assert one.adapter.trouble()
        one.pubsub.broadcast("room:1", news(2))
        here.assert_receive(news(2))
        assert lost(one) == 1
        server.start() if fail == "stop" else server.thaw()
        brokers.wait(one, two, up=True)
        assert one.adapter.trouble() is None
        one.pubsub.broadcast("room:1", news(3))
        there.assert_receive(news(3))
        # The gap is seen by the number of the message behind it.
        assert two.call(lambda: two.pubsub.relay.counts.missed) == 1
        assert (lost(one), two.call(lambda: two.pubsub.relay.counts.duplicates)) == (1, 0)


def test_a_system_starts_without_redis_and_connects_when_it_is_there(tmp_path: Path, brokers: Brokers) -> None:
    server = RedisServer(tmp_path)
    with two_nodes(server.url) as (one, two):
        assert one.adapter.trouble()
        probe = two.subscriber("room:1")
        with server:
            brokers.wait(one, two, up=True)
            one.pubsub.broadcast("room:1", news(1))
            probe.assert_receive(news(1))


def test_a_flush_does_no_harm(unix: RedisServer) -> None:
    with two_nodes(unix.url) as (one, two):
        assert_reaches_both(one, two, 1)
        unix.ask("FLUSHALL")
        assert_reaches_both(one, two, 2)
        assert one.adapter.trouble() is None


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_connections_that_redis_closes_are_opened_again(kind: str, unix: RedisServer, brokers: Brokers) -> None:
    with two_nodes(unix.url) as (one, two):
        probe = two.subscriber("room:1")
        brokers.wait(one, two, up=True)
        unix.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        brokers.wait(one, two, up=False)
        brokers.wait(one, two, up=True)
        one.pubsub.broadcast("room:1", news(1))
        probe.assert_receive(news(1))


def test_only_topics_with_subscribers_are_subscribed(unix: RedisServer) -> None:
    prefix = "only-topics"
    with two_nodes(unix.url, prefix=prefix) as (one, _):
        first, second = one.subscriber("a"), one.subscriber("b")
        one.pubsub.subscribe("b", first.ref)

        def channels() -> set[bytes]:
            # Without those on which processes speak to each other.
            found = set(unix.ask("PUBSUB", "CHANNELS", f"{prefix}:*"))
            return {channel for channel in found if b"\0" not in channel}

        assert channels() == {channel_of(prefix, "a"), channel_of(prefix, "b")}
        first.ref.stop()
        until(lambda: channels() == {channel_of(prefix, "b")})
        second.ref.stop()
        until(lambda: channels() == set())


def test_prefixes_keep_programs_apart(unix: RedisServer) -> None:
    mine, other = (
        ContractNode(RedisPubSub(unix.url, prefix="mine")),
        ContractNode(RedisPubSub(unix.url, prefix="other")),
    )
    with mine.system, other.system:
        here, there = mine.subscriber("room:1"), other.subscriber("room:1")
        mine.pubsub.broadcast("room:1", news(1))
        other.pubsub.broadcast("room:1", news(2))
        here.assert_receive(news(1))
        there.assert_receive(news(2))
        assert here.messages == there.messages == []
        mine.stop_probes()
        other.stop_probes()


def test_ten_thousand_topics_are_subscribed_again_after_a_restart(tmp_path: Path, brokers: Brokers) -> None:
    with RedisServer(tmp_path) as server, two_nodes(server.url) as (one, two):
        probe = two.subscriber("room:1")
        topics = [f"user:{number}" for number in range(10_000)]
        for topic in topics:
            two.pubsub.subscribe(topic, probe.ref)
        two.wait_for(topics[-1])
        server.stop()
        brokers.wait(one, two, up=False)
        server.start()
        brokers.wait(one, two, up=True)
        for topic in topics[::2_500]:
            one.pubsub.broadcast(topic, topic)
            probe.assert_receive(topic)


def test_more_than_the_queue_holds_is_lost_and_counted(unix: RedisServer) -> None:
    with two_nodes(unix.url, max_queue=10) as (one, two):
        there = two.subscriber("room:1")

        def broadcast_many() -> None:
            for number in range(100):
                one.pubsub.broadcast("room:1", news(number))

        one.call(broadcast_many)
        assert lost(one) >= 85

        def has_room_again() -> bool:
            one.pubsub.broadcast("room:1", news(-1))
            return news(-1) in there.messages

        until(has_room_again)
        arrived = [message.payload["n"] for message in there.messages if message != news(-1)]
        assert arrived == sorted(arrived)
        # What is missing between what has arrived is all that was lost.
        counts = two.pubsub.relay.counts
        until(lambda: counts.missed == lost(one))


def test_what_a_user_of_redis_may_not_publish_is_lost_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path, port=free_port()) as server:
        # It may do anything on the channels of the heartbeat and of the processes, and subscribe to the topics.
        channels = ("&ashtree!*", "&ashtree:?node*", "&ashtree:?peers", "&ashtree:room:1")
        server.ask("ACL", "SETUSER", "ann", "on", ">secret", "+@all", "resetchannels", *channels)
        url = f"redis://ann:secret@127.0.0.1:{server.port}"
        with two_nodes(url) as (one, two):
            there = two.subscriber("room:1")
            one.pubsub.broadcast("room:2", Broadcast("room:2", "news", {}))
            one.pubsub.broadcast("room:1", news(1))
            there.assert_receive(news(1))
            until(lambda: lost(one) == 1)
            assert one.adapter.trouble() is None
        assert "refuses a message" in caplog.text
        assert "secret" not in caplog.text


def test_a_subscription_that_is_refused_concerns_no_other_topic(
    tmp_path: Path, brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path, port=free_port()) as server:
        # The topics of processes begin with a character that is no letter.
        channels = ["&ashtree!*", "&ashtree:[^a-z]*", "&ashtree:room:*"]
        server.ask("ACL", "SETUSER", "ann", "on", ">secret", "+@all", "resetchannels", *channels)
        with two_nodes(f"redis://ann:secret@127.0.0.1:{server.port}") as (one, two):
            brokers.wait(one, two, up=True)
            refused = two.subscriber("secrets:1")
            there = two.subscriber("room:1")
            one.pubsub.broadcast("room:1", news(1))
            there.assert_receive(news(1))
            two.pubsub.broadcast("secrets:1", news(2))
            refused.assert_receive(news(2))
            assert two.adapter.trouble() is None
            # Also not when the connections are opened again.
            server.ask("CLIENT", "KILL", "TYPE", "pubsub")
            brokers.wait(one, two, up=False)
            brokers.wait(one, two, up=True)
            one.pubsub.broadcast("room:1", news(3))
            there.assert_receive(news(3))
    assert "refuses the subscription to b'ashtree:secrets:1': " in caplog.text


@pytest.mark.parametrize("what", ["channel", "command"])
def test_a_user_that_may_not_use_the_channel_of_the_heartbeat_is_told_why(
    what: str, tmp_path: Path, brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    rules = {"channel": ("resetchannels", "&ashtree:*"), "command": ("allchannels", "-publish")}
    with RedisServer(tmp_path, port=free_port()) as server:
        server.ask("ACL", "SETUSER", "ann", "on", ">secret", "+@all", *rules[what])
        with two_nodes(f"redis://ann:secret@127.0.0.1:{server.port}") as (one, _):
            assert "it refuses the heartbeat: " in (one.adapter.trouble() or "")
            # Heartbeats are no messages.
            assert lost(one) <= one.call(lambda: one.pubsub.relay.counts.published)
    assert "it refuses the heartbeat: " in caplog.text


def test_another_reason_why_it_is_out_of_reach_is_logged_too(
    tmp_path: Path, brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path) as server, two_nodes(server.url) as (one, two):
        brokers.wait(one, two, up=True)
        server.ask("CONFIG", "SET", "requirepass", "new")
        caplog.clear()
        server.url = server.url.replace("unix://", "unix://:new@")
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        until(lambda: "authenticat" in (one.adapter.trouble() or "").lower())
    about = [record.getMessage() for record in caplog.records if "is out of reach" in record.getMessage()]
    assert any("authenticat" in line.lower() for line in about), about
    assert len(about) <= 6


def test_a_message_that_is_larger_than_the_queue_is_lost_and_no_connection_with_it(
    unix: RedisServer, brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    with two_nodes(unix.url) as (one, two):
        here, there = one.subscriber("room:1"), two.subscriber("room:1")
        brokers.wait(one, two, up=True)
        one.pubsub.broadcast("room:1", news(0))
        there.assert_receive(news(0))
        huge = Broadcast("room:1", "blob", bytes(64 * 1024 * 1024))
        one.pubsub.broadcast("room:1", huge)
        one.pubsub.broadcast("room:1", news(1))
        here.assert_receive(huge)
        there.assert_receive(news(1))
        assert (lost(one), two.call(lambda: two.pubsub.relay.counts.missed), brokers.lost) == (1, 1, [])
    # With its header, in which the names of the machine and the process are.
    told = r"a message of 6710\d{4} bytes on b'ashtree:room:1' is lost: max_queue_bytes is 16777216"
    assert re.search(told, caplog.text)


def test_a_wrong_password_is_said_and_the_system_runs(tcp: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    with two_nodes(f"redis://:wr0ng@127.0.0.1:{tcp.port}") as (one, _):
        here = one.subscriber("room:1")
        one.pubsub.broadcast("room:1", news(1))
        here.assert_receive(news(1))
        assert "AuthenticationError" in (one.adapter.trouble() or "")
    assert "AuthenticationError" in caplog.text
    assert "wr0ng" not in caplog.text


def test_an_error_that_is_a_bug_costs_the_connections_and_not_the_system(
    unix: RedisServer, brokers: Brokers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_nodes(unix.url) as (one, two):
        there = two.subscriber("room:1")
        brokers.wait(one, two, up=True)
        with monkeypatch.context() as patch:
            patch.setattr(RedisShard, "_on_message", lambda *_: 1 / 0)
            brokers.wait(one, two, up=False)
        brokers.wait(one, two, up=True)
        one.pubsub.broadcast("room:1", news(1))
        there.assert_receive(news(1))
    assert "ZeroDivisionError" in caplog.text


def test_what_other_programs_publish_on_its_channels_does_no_harm(
    unix: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with two_nodes(unix.url, prefix="hostile") as (one, two):
        there = two.subscriber("room:1")
        beats = unix.ask("PUBSUB", "CHANNELS", "hostile!*")[0]
        for data in (
            b"",
            b"\xff",
            b"{}",
            b'{"event":"e"}\n[',
            b'{"event":"e","run":"r","seq":1}\n{',
            b"\n\n",
            b"1" * 10_000,
        ):
            assert unix.ask("PUBLISH", "hostile:room:1", data) == 1
            assert unix.ask("PUBLISH", beats, data) == 1
        one.pubsub.broadcast("room:1", news(1))
        there.assert_receive(news(1))
        assert there.messages == []
        assert (one.adapter.trouble(), two.adapter.trouble()) == (None, None)
        assert two.call(lambda: two.pubsub.relay.counts.malformed) == 7
    # Bounded, and one line each.
    assert all(len(record.getMessage()) < 1_000 and "\n" not in record.getMessage() for record in caplog.records)


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[RedisServer, TCPProxy]]:
    with RedisServer(tmp_path, port=free_port()) as server, TCPProxy(server.port) as proxy:
        yield server, proxy


def test_a_network_that_is_cut_is_noticed_by_the_heartbeat(
    proxied: tuple[RedisServer, TCPProxy], brokers: Brokers
) -> None:
    server, proxy = proxied
    with two_nodes(server.url, f"redis://127.0.0.1:{proxy.port}") as (one, two):
        here, there = one.subscriber("room:1"), two.subscriber("room:1")
        proxy.cut()
        brokers.wait(two, up=False)
        assert "heartbeat" in (two.adapter.trouble() or "")
        one.pubsub.broadcast("room:1", news(1))
        two.pubsub.broadcast("room:1", news(2))
        here.assert_receive(news(1))
        there.assert_receive(news(2))
        proxy.heal()
        brokers.wait(two, up=True)
        one.pubsub.broadcast("room:1", news(3))
        there.assert_receive(news(3))
        two.pubsub.broadcast("room:1", news(4))
        here.assert_receive(news(4))
        # What was in the pipe when it was given up was not delivered late.
        there.assert_receive(news(4))
        assert there.messages == []


def test_a_subscription_that_the_server_has_forgotten_is_noticed(tmp_path: Path, brokers: Brokers) -> None:
    with RedisServer(tmp_path, port=free_port()) as server:
        server.ask("ACL", "SETUSER", "ann", "on", ">secret", "+@all", "allchannels")
        with two_nodes(f"redis://ann:secret@127.0.0.1:{server.port}") as (one, two):
            brokers.wait(one, two, up=True)
            # The connections that publish stay; those that are subscribed are ended by the server.
            server.ask("ACL", "SETUSER", "ann", "resetchannels", "&ashtree:*")
            brokers.wait(one, two, up=False)
            server.ask("ACL", "SETUSER", "ann", "allchannels")
            brokers.wait(one, two, up=True)


class Forgetful:
    """Makes a server forget the subscriptions to the heartbeat: those that ask for them get others."""

    def __init__(self) -> None:
        self._names: dict[bytes, bytes] = {}

    def to_target(self, data: bytes) -> bytes:
        def other(found: re.Match[bytes]) -> bytes:
            self._names[found[2][::-1]] = found[2]
            return found[1] + found[2][::-1]

        return re.sub(rb"(\nSUBSCRIBE\r\n\$\d+\r\n)(ashtree![^\r]+)", other, data)

    def to_client(self, data: bytes) -> bytes:
        for other, name in self._names.items():
            data = data.replace(other, name)
        return data


def test_a_forgotten_subscription_to_the_heartbeat_is_noticed_while_other_messages_arrive(
    tmp_path: Path, brokers: Brokers
) -> None:
    forgetful, over = Forgetful(), threading.Event()
    with (
        RedisServer(tmp_path, port=free_port()) as server,
        TCPProxy(server.port, forgetful.to_target, forgetful.to_client) as proxy,
        two_nodes(server.url, f"redis://127.0.0.1:{proxy.port}") as (one, two),
    ):
        there = two.subscriber("room:1")

        def broadcast() -> None:
            while not over.wait(0.01):
                one.pubsub.broadcast("room:1", news(1))

        thread = threading.Thread(target=broadcast)
        thread.start()
        try:
            there.assert_receive(news(1))
            until(lambda: "no heartbeat came back" in (two.adapter.trouble() or ""))
        finally:
            over.set()
            thread.join(WAIT)


def test_a_node_is_connected_while_topics_come_and_go_all_the_time(tmp_path: Path, brokers: Brokers) -> None:
    with RedisServer(tmp_path) as server, two_nodes(server.url) as (one, two):
        brokers.wait(one, two, up=True)
        probe = two.subscriber("room:1")
        ends = threading.Event()
        loop = two.system.ref.process.scheduler.loop

        def churn(number: int) -> None:
            two.pubsub.unsubscribe(f"user:{number}", probe.ref)
            two.pubsub.subscribe(f"user:{number + 50}", probe.ref)
            if not ends.is_set():
                loop.call_soon(churn, number + 1)

        server.stop()
        brokers.wait(one, two, up=False)
        two.call(churn, 0)
        server.start()
        brokers.wait(one, two, up=True)
        ends.set()


def test_a_sentinel_names_the_new_master(tmp_path: Path, brokers: Brokers) -> None:
    with redis_sentinel(tmp_path) as (url, [master, _], _), two_nodes(url) as (one, two):
        there = two.subscriber("room:1")
        brokers.wait(one, two, up=True)
        master.stop()
        brokers.wait(one, two, up=False)
        brokers.wait(one, two, up=True)
        one.pubsub.broadcast("room:1", news(1))
        there.assert_receive(news(1))


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_a_replica_is_refused_as_nothing_would_reach_the_master(
    protocol: str, tmp_path: Path, brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_sentinel(tmp_path) as (_, [_, replica], _), two_nodes(f"{replica.url}?protocol={protocol}") as (one, _):
        assert "it is a replica" in (one.adapter.trouble() or "")
        replica.ask("REPLICAOF", "NO", "ONE")
        brokers.wait(one, up=True)
    assert "connect to the master" in caplog.text


def test_slots_may_move_to_another_server_of_a_cluster_and_other_channels_are_not_concerned(
    tmp_path: Path, brokers: Brokers
) -> None:
    with redis_cluster(tmp_path) as (url, servers), two_nodes(url) as (one, two):
        there = two.subscriber("room:1")
        others = {topic: two.subscriber(topic) for topic in (f"other:{number}" for number in range(12))}
        brokers.wait(one, two, up=True)
        one.pubsub.broadcast("room:1", "here")
        there.assert_receive("here")
        move_slot(servers, channel_of("ashtree", "room:1"))
        rounds = 0

        def arrives() -> bool:
            nonlocal rounds
            rounds += 1
            one.pubsub.broadcast("room:1", "moved")
            for topic in others:
                one.pubsub.broadcast(topic, rounds)
            return bool(there.messages)

        until(arrives)
        # No connection was opened again, and no other topic has missed anything.
        for probe in others.values():
            for number in range(rounds):
                probe.assert_receive(number + 1)
        assert brokers.lost == []
        counts = two.pubsub.relay.counts
        until(lambda: len(there.messages) + counts.missed == rounds)


def test_the_heartbeat_moves_with_its_slot(tmp_path: Path, brokers: Brokers) -> None:
    with redis_cluster(tmp_path) as (url, servers), two_nodes(url) as (one, two):
        brokers.wait(one, two, up=True)
        beats = [beat for server in servers for beat in server.ask("PUBSUB", "SHARDCHANNELS", "ashtree!*")]
        assert len(beats) == 6
        move_slot(servers, beats[0])
        until(lambda: len(brokers.lost) == 1)
        brokers.wait(one, two, up=True)
        assert_reaches_both(one, two, 1)


def test_one_server_of_a_cluster_may_be_away(tmp_path: Path, brokers: Brokers) -> None:
    with redis_cluster(tmp_path) as (url, servers), two_nodes(url) as (one, two):
        topics = [f"room:{number}" for number in range(12)]
        probes = {topic: two.subscriber(topic) for topic in topics}
        brokers.wait(one, two, up=True)
        slots = {topic: servers[0].ask("CLUSTER", "KEYSLOT", channel_of("ashtree", topic)) for topic in topics}
        servers[2].stop()
        brokers.wait(one, two, up=False)
        for topic in topics:
            if slots[topic] < 10923:
                one.pubsub.broadcast(topic, topic)
                probes[topic].assert_receive(topic)
        servers[2].start()
        brokers.wait(one, two, up=True)
        for topic in topics:
            one.pubsub.broadcast(topic, "again")
            probes[topic].assert_receive("again")


# Publishing from elsewhere


@pytest.mark.parametrize("way", ["unix", "tcp", "cluster", "sentinel"])
def test_a_program_without_an_endpoint_publishes(
    way: str, unix: RedisServer, tcp: RedisServer, request: pytest.FixtureRequest
) -> None:
    urls = {"unix": unix.url, "tcp": f"redis://:{CODED}@127.0.0.1:{tcp.port}"}
    url = urls[way] if way in urls else request.getfixturevalue(way)
    with two_nodes(url) as (one, two):
        probes = [one.subscriber("room:1"), two.subscriber("room:1")]
        assert publish("room:1", "news", {"é": [1, None]}, url=url) == 2
        assert publish("room:1", "blob", b"\x00\xff", url=url) == 2
        assert publish("room:1", "empty", url=url) == 2
        assert publish("nobody is there", "news", url=url) == 0
        for probe in probes:
            probe.assert_receive(Broadcast("room:1", "news", {"é": [1, None]}))
            probe.assert_receive(Broadcast("room:1", "blob", b"\x00\xff"))
            probe.assert_receive(Broadcast("room:1", "empty", {}))


@pytest.mark.parametrize("payload", [[1], "text", 5, object(), {"a": object()}], ids=range(5))
def test_a_payload_that_clients_could_not_get_is_an_error(payload: Any) -> None:
    with pytest.raises(TypeError):
        publish("room:1", "news", payload, url="redis://localhost:1")


def test_topics_of_messages_between_processes_are_reserved() -> None:
    with pytest.raises(ValueError, match=r"^topics that begin with NUL are reserved .*, got '\\x00nodes'$"):
        publish("\0nodes", "news", url="redis://localhost:1")


@pytest.mark.parametrize("publishes_by", ["one server", "sentinel", "cluster"])
def test_a_message_that_was_not_answered_in_time_is_not_sent_again(publishes_by: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        match publishes_by:
            case "one server":
                server = stack.enter_context(RedisServer(tmp_path, port=free_port()))
                url = server.url
            case "sentinel":
                url, [server, _], _ = stack.enter_context(redis_sentinel(tmp_path))
            case _:
                url, servers = stack.enter_context(redis_cluster(tmp_path))
                slot = servers[0].ask("CLUSTER", "KEYSLOT", channel_of("ashtree", "room:1"))
                server = servers[0 if slot < 5461 else 1 if slot < 10923 else 2]
        assert publish("room:1", "connect", url=url, timeout=0.3) == 0
        client = stack.enter_context(redis.Redis.from_url(server.url))
        listener = stack.enter_context(client.pubsub())
        (listener.ssubscribe if publishes_by == "cluster" else listener.subscribe)("ashtree:room:1")
        listener.get_message(timeout=WAIT)
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            publish("room:1", "late", url=url, timeout=0.3)
        server.thaw()
        publish("room:1", "next", url=url)
        events = [listener.get_message(timeout=WAIT)["data"].partition(b"\n")[0] for _ in range(2)]
        assert events == [b'{"event":"late"}', b'{"event":"next"}']
