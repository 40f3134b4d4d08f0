"""Metrics: what clients and actors do is what Prometheus reads, and only who may reads it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client import Counter, generate_latest
from prometheus_client.openmetrics.parser import text_fd_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from websockets.datastructures import Headers
from websockets.http11 import Request

from actors import Actor, Channel, Mailbox, Reply, error, ok, send, telemetry
from actors.channels.channel_events import JOINED
from actors.channels.message import Broadcast
from actors.history.history import History
from actors.idempotency.idempotency import Idempotency
from actors.pubsub.adapter import Adapter
from actors.pubsub.pubsub import BROADCAST, PubSub
from demo import demo_endpoint
from supervisors import ChildSpec, DynamicSupervisor, Supervisor, System, start_child
from supervisors.restart_events import RESTARTED
from tests.live import WAIT
from tests.transport.wire import (
    BEATEN,
    HANDSHAKE,
    HEARTBEAT,
    NO_CLOSE_FRAME,
    Answer,
    Server,
    barrier,
    masked,
    on_loop,
    serving,
    until,
)
from transport import ConnectInfo, Endpoint, Health, LongPoll, Metrics, Socket, SocketError
from transport.carriers.outbox import OutboxPolicy
from transport.http.exchange import Incoming
from transport.metrics import gauges
from transport.metrics.counters import BUCKETS, Counters, Histogram, supervisor_name
from transport.metrics.gauges import Gauges
from transport.socket_events import CONNECTED, DISCONNECTED, REFUSED, broadcast_dropped, limit_reached

if TYPE_CHECKING:
    from actors.testing import ManualRuntime

HAS_PROC = Path("/proc/self/stat").exists()
TOKEN = "a-token-of-16-or-more"  # noqa: S105  # it opens the page of a test


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return error() if topic == "room:full" else ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "shout":
                self.broadcast("shout", payload)
            case "flood":
                for _ in range(30):
                    self.push("flood", {"a": "a" * 1_000_000})
            case "crash":
                raise RuntimeError("on purpose")
        return ok()


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        if "fail" in params:
            raise RuntimeError("on purpose")
        return error() if "refuse" in params else ok()


class LaterSocket(UserSocket):
    """The same, but `async`."""

    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        await asyncio.sleep(0)
        return super().connect(params, connect_info)


class SlowChannel(Channel):
    """Answers when its gate is opened."""

    gate: asyncio.Event

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    async def handle_in(self, event: str, payload: Any) -> Reply:
        await self.gate.wait()
        return ok()


class SlowSocket(Socket):
    channels = {"room:*": SlowChannel}  # noqa: RUF012  # as an author writes it


SOCKETS = {"/socket": UserSocket, "/later": LaterSocket}


class Sleeper(Actor):
    """Takes no second message until its gate is opened."""

    def __init__(self, gate: asyncio.Event) -> None:
        self.gate = gate

    async def on_receive(self, message: Any) -> None:
        await self.gate.wait()


class Failing(Actor):
    """Fails at what it gets."""

    def on_receive(self, message: Any) -> None:
        raise RuntimeError("on purpose")


def numbers(text: str) -> dict[str, float]:
    """Read a page: samples by name and labels, such as `ashtree_joins_total{channel=RoomChannel,result=ok}`."""
    found: dict[str, float] = {}
    for family in parsed(text):
        assert family.documentation.endswith(".") or not family.name.startswith("ashtree_"), family
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, key
            found[key] = sample.value
    return found


async def answer(server: Server, *headers: str, method: str = "GET") -> Answer:
    tcp = await server.tcp()
    answered = await tcp.get("/metrics", *headers, method=method)
    await tcp.close()
    return answered


async def scrape(server: Server) -> dict[str, float]:
    answered = await answer(server)
    assert answered.status == 200, answered
    return numbers(answered.body)


async def family(server: Server, name: str) -> dict[str, float]:
    """Return the samples of one family by their labels alone."""
    found = await scrape(server)
    return {key.removeprefix(name).strip("{}"): value for key, value in found.items() if key.partition("{")[0] == name}


async def replaced(server: Server, label: str) -> None:
    """Kill the actor of that label, and wait for the one that is started in its place."""
    killed = server.find(label)
    killed.kill()
    await until(lambda: not killed.is_alive() and label in server.labels())


# What is counted


@on_loop
async def test_the_process_and_its_garbage_are_measured_under_their_usual_names() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        before, after = await scrape(server), await scrape(server)
    for generation in ("0", "1", "2"):
        assert after[f"python_gc_collections_total{{generation={generation}}}"] >= 0
        assert after[f"python_gc_objects_collected_total{{generation={generation}}}"] >= 0
    if HAS_PROC:
        assert after["process_cpu_seconds_total"] >= before["process_cpu_seconds_total"] > 0
        assert after["process_resident_memory_bytes"] > 1_000_000
        assert after["process_start_time_seconds"] > 0
        assert 0 < after["process_open_fds"] <= after["process_max_fds"]


@on_loop
async def test_joins_are_counted_by_class_and_result() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        assert await family(server, "ashtree_joins_total") == {}
        client = await server.connect()
        await client.join("room:1")
        await client.join("room:2")
        await client.send("5", "5", "room:full", "phx_join", {})
        assert (await client.recv())[4]["status"] == "error"
        assert await family(server, "ashtree_joins_total") == {
            "channel=RoomChannel,result=ok": 2,
            "channel=RoomChannel,result=error": 1,
        }
        actors = await family(server, "ashtree_actors")
        assert (actors["class=RoomChannel"], actors["class=Transport"], actors["class=Listener"]) == (2, 1, 1)


@on_loop
async def test_connections_are_counted_by_transport() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        assert await family(server, "ashtree_connections") == {"transport=websocket": 0, "transport=longpoll": 0}
        first, _ = await server.connect(), await server.connect()
        await (await server.tcp()).get("/socket/longpoll?vsn=2.0.0")
        assert await family(server, "ashtree_connections") == {"transport=websocket": 2, "transport=longpoll": 1}
        accepted = {"transport=websocket": 2, "transport=longpoll": 1}
        assert await family(server, "ashtree_connections_accepted_total") == accepted
        await first.close()
        await until(lambda: server.labels().count("transport") == 2)
        assert await family(server, "ashtree_connections") == {"transport=websocket": 1, "transport=longpoll": 1}
        assert await family(server, "ashtree_connections_accepted_total") == accepted


FRAGMENTS = masked(0x01, HEARTBEAT[:9]), masked(0x80, HEARTBEAT[9:])
PONG = bytes((0x8A, 2)) + b"hi"
BEAT = bytes((0x81, len(BEATEN))) + BEATEN.encode()


@pytest.mark.parametrize(
    ("sent", "received", "messages"),
    [
        ([masked(0x81, HEARTBEAT)], BEAT, (1, 1)),
        ([masked(0x81, HEARTBEAT) * 3], BEAT * 3, (3, 3)),
        ([*FRAGMENTS], BEAT, (1, 1)),
        ([masked(0x89, "hi"), masked(0x81, HEARTBEAT)], PONG + BEAT, (1, 1)),
        ([bytes([byte]) for byte in masked(0x81, HEARTBEAT)], BEAT, (1, 1)),
    ],
    ids=["one", "three in one read", "fragments", "a ping and one", "byte by byte"],
)
@on_loop
async def test_messages_and_bytes_of_a_websocket_are_those_on_the_wire(
    sent: list[bytes], received: bytes, messages: tuple[int, int]
) -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        tcp = await server.tcp()
        await tcp.upgrade()
        for piece in sent:
            await tcp.send(piece)
        assert await tcp.reader.readexactly(len(received)) == received
        found = await scrape(server)
        counted = [found[f"ashtree_messages_{way}_total{{transport=websocket}}"] for way in ("received", "sent")]
        size = [found[f"ashtree_{way}_bytes_total{{transport=websocket}}"] for way in ("received", "sent")]
    assert (counted, size) == (list(messages), [sum(map(len, sent)), len(received)])


@on_loop
async def test_messages_and_bytes_outlive_their_connection() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        for beats in (1, 2):
            client = await server.connect()
            await client.nothing_came()
            await client.close()
            await server.nothing_is_left()
            assert await family(server, "ashtree_messages_received_total") == {
                "transport=websocket": beats,
                "transport=longpoll": 0,
            }


@on_loop
async def test_a_broadcast_is_measured_once_with_all_its_deliveries() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        clients = [await server.connect() for _ in range(3)]
        for client in clients:
            await client.join("room:1")
        await clients[0].send("1", "2", "room:1", "shout", {})
        for client in clients:
            assert (await client.recv())[3] in {"shout", "phx_reply"}
        found = await scrape(server)
    assert found["ashtree_broadcast_deliveries_total"] == 3
    assert found["ashtree_broadcast_fanout_seconds_count"] == 1
    assert 0 < found["ashtree_broadcast_fanout_seconds_sum"] < 60
    buckets = [found[f"ashtree_broadcast_fanout_seconds_bucket{{le={bound}}}"] for bound in (*BUCKETS, "+Inf")]
    assert buckets[-1] == 1
    assert all(lower <= upper for lower, upper in pairwise(buckets))


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (BUCKETS[0], 0), (BUCKETS[0] * 1.1, 1), (BUCKETS[3], 3), (BUCKETS[-1], 15), (2.0, 16)],
)
def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed(seconds: float, bucket: int) -> None:
    histogram = Histogram()
    histogram.observe(seconds)
    assert [index for index, count in enumerate(histogram.counts) if count] == [bucket]
    assert histogram.sum == seconds


# Who was refused, and how connections ended

EVIL = HANDSHAKE.replace("Host:", "Origin: http://evil.example\r\nHost:")
NO_KEY = "\r\n".join(line for line in HANDSHAKE.split("\r\n") if "Key" not in line)


@pytest.mark.parametrize(
    ("request_", "refused"),
    [
        (EVIL, "websocket 403"),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9"), "websocket 403"),
        (HANDSHAKE.replace("vsn=", "refuse&vsn="), "websocket 403"),
        (HANDSHAKE.replace("/socket/websocket?", "/later/websocket?refuse&"), "websocket 403"),
        (HANDSHAKE.replace("vsn=", "fail&vsn="), "websocket 500"),
        (HANDSHAKE.replace("/socket/websocket?", "/later/websocket?fail&"), "websocket 500"),
        (HANDSHAKE.replace("vsn=2.0.0", "%ff=1"), "websocket 400"),
        (HANDSHAKE.replace("GET", "POST"), "websocket 400"),
        (NO_KEY, "websocket 400"),
        (EVIL.replace("websocket?", "longpoll?"), "longpoll 403"),
        ("GET /socket/longpoll?refuse HTTP/1.1\r\nHost: localhost\r\n\r\n", "longpoll 403"),
        ("GET /later/longpoll?fail HTTP/1.1\r\nHost: localhost\r\n\r\n", "longpoll 500"),
        ("DELETE /socket/longpoll HTTP/1.1\r\nHost: localhost\r\n\r\n", "longpoll 400"),
        (HANDSHAKE, None),
        ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
    ],
)
@on_loop
async def test_clients_that_are_refused_are_counted_by_code(request_: str, refused: str | None) -> None:
    async with serving(SOCKETS, metrics=Metrics()) as server:
        tcp = await server.tcp()
        await tcp.send(request_)
        await tcp.answer()
        counted = await family(server, "ashtree_connections_refused_total")
    kind, _, code = (refused or "").partition(" ")
    assert counted == ({} if refused is None else {f"code={code},transport={kind}": 1})


@on_loop
async def test_clients_that_come_while_the_endpoint_restarts_are_refused_with_503() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        transports, server.endpoint._transports = server.endpoint._transports, None
        tcp = await server.tcp()
        await tcp.send(HANDSHAKE)
        assert (await tcp.answer()).status == 503
        server.endpoint._transports = transports
        assert await family(server, "ashtree_connections_refused_total") == {"code=503,transport=websocket": 1}


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("close", 1000),
        ("vanish", NO_CLOSE_FRAME),
        ("malformed", 1011),
        ("kill", NO_CLOSE_FRAME),
        ("crash", NO_CLOSE_FRAME),
    ],
)
@on_loop
async def test_connections_that_end_are_counted_by_close_code(end: str, code: int) -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        client = await server.connect()
        await client.nothing_came()
        match end:
            case "close":
                await client.close()
            case "vanish":
                client.vanish()
            case "malformed":
                await client.connection.send("nonsense")
            case "kill":
                server.find("transport").kill()
            case "crash":
                server.find("transport").process.actor.connection = None  # type: ignore[union-attr]  # it shall fail
                await client.connection.send(HEARTBEAT)
        await server.nothing_is_left()
        assert await family(server, "ashtree_connections_closed_total") == {f"code={code}": 1}


@on_loop
async def test_close_codes_that_clients_choose_make_few_series() -> None:
    codes = [1000, 1001, 1011, *range(3000, 3050), *range(4000, 4050)]
    async with serving(UserSocket, metrics=Metrics()) as server:
        for code in codes:
            client = await server.connect()
            await client.close(code)
        await server.nothing_is_left()
        counted = await family(server, "ashtree_connections_closed_total")
    assert counted == {"code=1000": 1, "code=1001": 1, "code=1011": 1, "code=3xxx": 50, "code=4xxx": 50}


@pytest.mark.parametrize(
    ("code", "label"), [(1006, "1006"), (1015, "1015"), (1016, "other"), (2999, "other"), (5000, "other")]
)
def test_other_close_codes_are_one_series(runtime: ManualRuntime, code: int, label: str) -> None:
    endpoint = Endpoint({}, port=None)
    counters = Counters(endpoint)
    counters.attach(PubSub(), runtime._scheduler)
    telemetry.execute(DISCONNECTED, {"duration": 1.0}, {"endpoint": endpoint, "code": code})
    counters.detach()
    assert counters.closed == {label: 1}


# Actors


@on_loop
async def test_restarts_are_counted_by_supervisor() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        before = await family(server, "ashtree_supervisor_restarts_total")
        assert before == {"supervisor=System": 0, "supervisor=endpoint": 0, "supervisor=transports": 0}
        for label in ("listener", "listener", "pubsub"):
            await replaced(server, label)
        after = await family(server, "ashtree_supervisor_restarts_total")
    assert after == before | {"supervisor=System": 1, "supervisor=endpoint": 2}


@on_loop
async def test_an_endpoint_that_is_restarted_goes_on_counting_and_counts_nothing_twice() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        for joins in (1, 2):
            await (await server.connect()).join("room:1")
            assert await family(server, "ashtree_joins_total") == {"channel=RoomChannel,result=ok": joins}
            await replaced(server, "endpoint")
            await until(lambda: "listener" in server.labels())
        assert (await family(server, "ashtree_supervisor_restarts_total"))["supervisor=System"] == 2


class Crowd(DynamicSupervisor):
    """A supervisor of rooms."""


def test_supervisors_of_any_number_are_counted_together(runtime: ManualRuntime) -> None:
    endpoint = Endpoint({}, port=None)
    counters = Counters(endpoint)
    system = System([ChildSpec(Crowd, id="crowd"), endpoint])
    runtime.run(system.start())
    [crowd] = [ref for ref in runtime.actors if ref.actor_class is Crowd]
    counters.attach(system.pubsub, system.ref.process.scheduler)
    for room in range(3):
        spec = ChildSpec(Supervisor, ([ChildSpec(Failing, id="guest")],), id=f"room:{room}")
        runtime.run(start_child(crowd, spec))
    for guest in [ref for ref in runtime.actors if ref.actor_class is Failing]:
        guest.send("anything")
    runtime.settle()
    counters.detach()
    assert counters.restarts == {"Supervisor": 3}
    assert supervisor_name(crowd.process) == "crowd"
    assert supervisor_name(system.ref.process) == "System"
    runtime.run(system.stop())


class NarrowSleeper(Sleeper):
    mailbox = Mailbox(2, "drop_oldest")


@on_loop
async def test_dead_letters_and_full_mailboxes_are_counted_by_class() -> None:
    gate = asyncio.Event()
    async with serving(UserSocket, metrics=Metrics()) as server:
        narrow, dead = NarrowSleeper.start(gate), Sleeper.start(gate)
        for message in range(5):
            narrow.send(message)
        dead.kill()
        await dead.down()
        dead.send("too late")
        await asyncio.to_thread(dead.send, "from a thread")
        send("nobody", "hello")
        found = await scrape(server)
        narrow.kill()
    assert found["ashtree_dead_letters_total{class=NarrowSleeper,reason=mailbox_full}"] == 3
    assert found["ashtree_mailbox_limit_reached_total{class=NarrowSleeper,on_full=drop_oldest}"] == 3
    assert found["ashtree_dead_letters_total{class=Sleeper,reason=dead}"] == 2
    assert found["ashtree_dead_letters_total{class=,reason=not_registered}"] == 1


@on_loop
async def test_mailboxes_are_counted_by_class() -> None:
    gate = asyncio.Event()
    async with serving(UserSocket, metrics=Metrics()) as server:
        sleepers = [Sleeper.start(gate) for _ in range(3)]
        for sleeper, messages in zip(sleepers, (3, 5, 1), strict=True):
            for message in range(messages):
                sleeper.send(message)
        await until(lambda: all(sleeper.process.task is not None for sleeper in sleepers))
        found = await scrape(server)
        gate.set()
        for sleeper in sleepers:
            await barrier(sleeper)
            sleeper.kill()
    assert found["ashtree_actors{class=Sleeper}"] == 3
    # Each is at one of its messages.
    assert found["ashtree_mailbox_messages{class=Sleeper}"] == 2 + 4 + 0
    assert found["ashtree_mailbox_max_messages{class=Sleeper}"] == 4


@on_loop
async def test_many_actors_are_looked_at_in_slices_between_which_the_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gauges, "SLICE", 10)
    async with serving(UserSocket) as server:
        sleepers = [Sleeper.start(asyncio.Event()) for _ in range(95)]
        rounds = 0

        def turn() -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 2:
                sleepers[-1].kill()
            if reading:
                loop.call_soon(turn)

        reading, loop = True, asyncio.get_running_loop()
        loop.call_soon(turn)
        found = Gauges(server.endpoint)
        await found.read(server.system.ref.process.scheduler)
        reading = False
        for sleeper in sleepers:
            sleeper.kill()
    assert rounds >= 9
    assert found.mailboxes["Sleeper"].actors == 94


# Write buffers


@on_loop
async def test_what_waits_for_a_client_that_does_not_read_is_shown() -> None:
    async with serving(UserSocket, metrics=Metrics(), outbox=OutboxPolicy(max_bytes=64_000_000)) as server:
        tcp, _ = await server.tcp(), await server.connect()
        await tcp.upgrade()
        await tcp.send(masked(0x81, '["1","1","room:1","phx_join",{}]'), masked(0x81, '["1","2","room:1","flood",{}]'))
        while (found := await scrape(server))["ashtree_write_buffer_bytes"] < 1_000_000:
            pass
    size = found["ashtree_write_buffer_bytes"]
    assert size < 30_100_000
    assert found["ashtree_write_buffer_max_bytes"] == size


@on_loop
async def test_what_waits_for_a_poll_is_shown() -> None:
    async with serving(UserSocket, metrics=Metrics(), longpoll=LongPoll(window=60)) as server:
        tcp = await server.tcp()
        opened = await tcp.get("/socket/longpoll?vsn=2.0.0")
        token = opened.body.partition('"token":"')[2].partition('"')[0]
        head = (
            f"POST /socket/longpoll?token={token} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        )
        body = f"{HEARTBEAT}\n{HEARTBEAT}"
        await tcp.send(f"{head}Content-Length: {len(body)}\r\n\r\n{body}")
        assert (await tcp.answer()).body == '{"status":200}'
        found = await scrape(server)
        server.find("transport").kill()
    assert found["ashtree_write_buffer_bytes"] == 2 * len(BEATEN)
    assert found["ashtree_received_bytes_total{transport=longpoll}"] == len(body)
    assert found["ashtree_sent_bytes_total{transport=longpoll}"] == 2 * len(BEATEN)
    assert found["ashtree_messages_received_total{transport=longpoll}"] == 2
    assert found["ashtree_messages_sent_total{transport=longpoll}"] == 2


# What waits for us, and limits


@on_loop
async def test_what_has_been_received_and_waits_is_shown() -> None:
    SlowChannel.gate = asyncio.Event()
    async with serving(SlowSocket, metrics=Metrics()) as server:
        client, _ = await server.connect(), await server.connect()
        await client.join("room:1")
        for _ in range(3):
            await client.send("1", "2", "room:1", "wait", "x" * 600_000)
        while (found := await scrape(server))["ashtree_connections_paused"] < 1:
            pass
        assert found["ashtree_waiting_messages"] == 2
        assert 1_200_000 < found["ashtree_waiting_bytes"] < 1_200_200
        assert found["ashtree_limits_reached_total{limit=waiting_bytes}"] == 1
        SlowChannel.gate.set()
        for _ in range(3):
            await client.recv()
        found = await scrape(server)
    waiting = ("ashtree_connections_paused", "ashtree_waiting_messages", "ashtree_waiting_bytes")
    assert [found[name] for name in waiting] == [0, 0, 0]


@on_loop
async def test_limits_that_are_reached_are_counted_by_the_names_of_their_options() -> None:
    async with serving(UserSocket, metrics=Metrics(), max_channels=1) as server:
        assert set((await family(server, "ashtree_limits_reached_total")).values()) == {0}
        client = await server.connect()
        for topic in ("room:1", "room:2", "room:" + "x" * 1020):
            await client.send("1", "1", topic, "phx_join", {})
            await client.recv()
        limit_reached(Endpoint({}, port=None), "max_channels")
        counted = await family(server, "ashtree_limits_reached_total")
    assert {name: count for name, count in counted.items() if count} == {
        "limit=max_channels": 1,
        "limit=topic_length": 1,
    }


@on_loop
async def test_broadcasts_that_are_dropped_are_counted() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        for size in (100, 50):
            broadcast_dropped(server.endpoint, size)
        broadcast_dropped(Endpoint({}, port=None), 7)
        found = await scrape(server)
    assert found["ashtree_broadcasts_dropped_total"] == 2
    assert found["ashtree_broadcasts_dropped_bytes_total"] == 150


# Who may see them


def asking(
    peer: str | None = "127.0.0.1", host: str = "localhost:4000", headers: Mapping[str, str] | None = None
) -> Incoming:
    request = Request("/metrics", Headers({"Host": host, **(headers or {})}))
    return Incoming(request, b"", None if peer is None else (peer, 5))


BEARER = f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("token", "incoming", "expected"),
    [
        (None, asking(), True),
        (None, asking("::1", "[::1]:4000"), True),
        (None, asking("127.0.0.7", "127.0.0.1"), True),
        (None, asking("192.0.2.1"), False),
        (None, asking(None), False),
        (None, asking(host="rebound.example"), False),
        (None, asking(host=""), False),
        (None, asking(headers={"X-Forwarded-For": "192.0.2.1"}), False),
        (None, asking(headers={"X-Forwarded-Proto": "https"}), False),
        (None, msgspec.structs.replace(asking(), is_forwarded=True), False),
        (None, asking(headers={"Authorization": "Bearer "}), True),
        (TOKEN, asking(), False),
        (TOKEN, asking(headers={"Authorization": BEARER}), True),
        (TOKEN, asking("192.0.2.1", "example.com", {"Authorization": BEARER}), True),
        (TOKEN, asking(headers={"Authorization": BEARER + "x"}), False),
        (TOKEN, asking(headers={"Authorization": TOKEN}), False),
        (TOKEN, asking(headers={"Authorization": "Bearer \xff"}), False),
    ],
)
def test_who_may_see_them(token: str | None, incoming: Incoming, expected: bool) -> None:  # noqa: FBT001  # of the table
    assert Metrics(token).admits(incoming) is expected


def test_behind_a_proxy_whose_requests_may_look_local_they_need_a_token() -> None:
    with pytest.raises(
        SocketError, match=r"a proxy in front of 'shop\.example' .* need a token here: .*Metrics\(token=…"
    ):
        Endpoint({}, url_host="shop.example", metrics=Metrics())
    assert Endpoint({}, url_host="shop.example", metrics=Metrics(TOKEN)).metrics is not None
    assert Endpoint({}, url_host="localhost", metrics=Metrics()).metrics is not None


@on_loop
async def test_a_trusted_proxy_is_not_this_machine_also_if_it_adds_no_header() -> None:
    async with serving(UserSocket, metrics=Metrics(), trusted_proxies=["127.0.0.1"]) as server:
        assert (await (await server.tcp()).get("/metrics")).status == 403


def test_two_headers_of_one_name_admit_nobody() -> None:
    incoming = asking(headers={"Authorization": BEARER})
    incoming.request.headers["Authorization"] = BEARER
    assert not Metrics(TOKEN).admits(incoming)


@on_loop
async def test_who_may_not_is_told_what_it_takes() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        refused = await answer(server, "X-Forwarded-For: 192.0.2.1")
    assert (refused.status, "for clients on this machine, unless they have a token" in refused.body) == (403, True)
    async with serving(UserSocket, metrics=Metrics(TOKEN)) as server:
        refused, admitted = await answer(server), await answer(server, f"Authorization: {BEARER}")
    assert (refused.status, refused.header("www-authenticate")) == (401, ["Bearer"])
    assert "ashtree_actors" not in refused.body
    assert numbers(admitted.body)["ashtree_actors{class=Listener}"] == 1


@pytest.mark.parametrize(
    "token", ["", "short", "with a space in its middle", "ünicode-is-no-header", b"bytes-are-no-text"]
)
def test_a_token_is_one(token: Any) -> None:
    with pytest.raises(SocketError) as raised:
        Metrics(token)
    assert "16 or more characters" in str(raised.value)
    assert repr(token) not in str(raised.value)


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Metrics(TOKEN))


# The page


@on_loop
async def test_the_page_speaks_http_and_both_formats() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        await (await server.connect()).join("room:1")
        plain = await answer(server)
        assert plain.header("content-type") == ["text/plain; version=0.0.4; charset=utf-8"]
        assert plain.header("cache-control") == ["no-store"]
        head = await answer(server, method="HEAD")
        assert (head.status, head.body) == (200, "")
        assert (await answer(server, method="POST")).status == 405
        modern = await answer(server, "Accept: application/openmetrics-text; version=1.0.0")
        assert modern.header("content-type")[0].startswith("application/openmetrics-text; version=1.0.0")
        families = {family.name: family for family in openmetrics(StringIO(modern.body))}  # type: ignore[no-untyped-call]  # the library's
    assert families["ashtree_joins"].type == "counter"
    assert families["ashtree_broadcast_fanout_seconds"].type == "histogram"
    assert families["ashtree_actors"].type == "gauge"


@on_loop
async def test_what_an_author_registers_is_shown_too() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        assert server.endpoint.metrics is not None
        pizzas = Counter("pizzas", "Pizzas that were baked.", registry=server.endpoint.metrics.registry)
        pizzas.inc(3)
        found = await scrape(server)
        assert (found["pizzas_total"], found["ashtree_actors{class=Listener}"]) == (3, 1)
        exported = numbers(generate_latest(server.endpoint.metrics.registry).decode())
    assert exported["pizzas_total"] == 3
    assert exported["ashtree_connections_accepted_total{transport=websocket}"] == 0
    assert "ashtree_actors{class=Listener}" not in exported, "it is as it was the last time"


@on_loop
async def test_an_application_of_another_server_has_them_too() -> None:
    endpoint = Endpoint({"/socket": UserSocket}, port=None, metrics=Metrics())
    said: asyncio.Queue[Any] = asyncio.Queue()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    about = {"query_string": b"vsn=2.0.0", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 5)}
    async with System([endpoint]):
        app = endpoint.asgi()
        socket = {"type": "websocket", "path": "/socket/websocket", **about}
        serving_socket = asyncio.create_task(app(socket, said.get, heard.put))
        said.put_nowait({"type": "websocket.connect"})
        assert (await heard.get())["type"] == "websocket.accept"
        said.put_nowait({"type": "websocket.receive", "text": HEARTBEAT})
        assert (await heard.get())["text"] == BEATEN
        page: asyncio.Queue[Any] = asyncio.Queue()
        said_of_page: asyncio.Queue[Any] = asyncio.Queue()
        said_of_page.put_nowait({"type": "http.request"})
        await app({"type": "http", "method": "GET", "path": "/metrics", **about}, said_of_page.get, page.put)
        assert (await page.get())["status"] == 200
        found = numbers((await page.get())["body"].decode())
        said.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await serving_socket
    assert found["ashtree_connections{transport=websocket}"] == 1
    assert found["ashtree_received_bytes_total{transport=websocket}"] == len(HEARTBEAT)
    assert found["ashtree_sent_bytes_total{transport=websocket}"] == len(BEATEN)
    assert found["ashtree_messages_received_total{transport=websocket}"] == 1
    assert found["ashtree_messages_sent_total{transport=websocket}"] == 1


# Off, on, and whose


@on_loop
async def test_without_the_option_there_is_no_page_and_nobody_listens() -> None:
    async with serving(UserSocket) as server:
        assert (await answer(server)).status == 404
        assert telemetry.attached == {}


@on_loop
async def test_nobody_listens_any_more_when_the_endpoint_has_stopped() -> None:
    async with serving(UserSocket, metrics=Metrics()):
        assert CONNECTED in telemetry.attached
    assert telemetry.attached == {}


@on_loop
async def test_two_endpoints_of_one_event_loop_count_their_own() -> None:
    one, two = (Endpoint({"/socket": UserSocket}, port=0, metrics=Metrics()) for _ in range(2))
    async with (
        System([one], pubsub=PubSub("one")) as first,
        System([two], pubsub=PubSub("two")) as second,
        AsyncExitStack() as stack,
    ):
        here, there = Server(one, first, stack), Server(two, second, stack)
        clients = [await here.connect(), await here.connect(), await there.connect()]
        for client in clients:
            await client.join("room:1")
        one.broadcast("room:1", "news", {})
        for client in clients[:2]:
            await client.recv()
        counted = [await scrape(server) for server in (here, there)]
    accepted, joins = (
        "ashtree_connections_accepted_total{transport=websocket}",
        "ashtree_joins_total{channel=RoomChannel,result=ok}",
    )
    for name, expected in ((accepted, [2, 1]), (joins, [2, 1]), ("ashtree_broadcast_deliveries_total", [2, 0])):
        assert [found[name] for found in counted] == expected, name


def test_what_happens_elsewhere_is_not_counted(runtime: ManualRuntime) -> None:
    ours, theirs = Endpoint({}, port=None), Endpoint({}, port=None)
    counters = Counters(ours)
    system = System([ours])
    runtime.run(system.start())
    # Their scheduler is another one as well.
    counters.attach(theirs, object())  # type: ignore[arg-type]  # they are only compared
    about = {
        "endpoint": theirs,
        "result": "ok",
        "transport": "websocket",
        "code": 403,
        "socket": Socket(theirs),
        "channel": system.ref,
        "pubsub": system.pubsub,
        "supervisor": system.ref,
    }
    for event in (CONNECTED, REFUSED, DISCONNECTED, JOINED, BROADCAST, RESTARTED):
        telemetry.execute(event, {"duration": 1.0, "deliveries": 1}, about)
    assert all(event in telemetry.attached for event in (CONNECTED, RESTARTED)), "a handler has failed"
    counters.detach()
    runtime.run(system.stop())
    assert counters.accepted == {"websocket": 0, "longpoll": 0}
    assert not any([counters.refused, counters.closed, counters.joins, counters.restarts])
    assert (counters.deliveries, sum(counters.fan_out.counts)) == (0, 0)


def test_without_the_library_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert not Metrics.installed()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ashtree\[metrics\]'"):
        Metrics()


def test_the_library_is_not_imported_without_the_option() -> None:
    code = "import sys, transport; transport.Endpoint({}); sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WAIT)  # noqa: S603  # our own


def test_the_demo_has_them_if_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo_endpoint(port=0).metrics is not None
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert demo_endpoint(port=0).metrics is None


class Counting(Adapter):
    """An adapter that is out of reach."""

    def publish(self, topic: str, data: bytes) -> None:
        self.pubsub.lost(1)

    def subscribed(self, topic: str) -> None:
        pass

    def unsubscribed(self, topic: str) -> None:
        pass

    def trouble(self) -> str | None:
        return "on purpose"


@on_loop
async def test_messages_between_processes_are_counted_if_there_is_an_adapter() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        assert await family(server, "ashtree_pubsub_connected") == {}
    pubsub = PubSub(adapter=Counting())
    endpoint = Endpoint({"/socket": UserSocket}, port=0, metrics=Metrics(), health=Health())
    async with System([endpoint], pubsub=pubsub) as system, AsyncExitStack() as stack:
        pubsub.broadcast("room:1", Broadcast("room:1", "news", {}))
        server = Server(endpoint, system, stack)
        assert await family(server, "ashtree_pubsub_connected") == {"": 0}
        counted = await family(server, "ashtree_pubsub_messages_total")
        assert {name: number for name, number in counted.items() if number} == {
            # The other one is for the nodes that run already.
            "outcome=published": 2,
            "outcome=lost": 2,
        }
        answer = await (await server.tcp()).get("/health/ready")
        assert (answer.status, answer.body) == (503, '{"status":"degraded","failed":["pubsub"]}')


class KeepingChannel(Channel):
    history = History(events=("said",))

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()


class KeepingSocket(Socket):
    channels = {"room:*": KeepingChannel}  # noqa: RUF012


@on_loop
async def test_histories_are_measured_if_a_channel_has_one() -> None:
    async with serving(UserSocket, metrics=Metrics()) as server:
        assert await family(server, "ashtree_history_topics") == {}
    async with serving(KeepingSocket, metrics=Metrics()) as server:
        for number in range(3):
            server.endpoint.broadcast("room:1", "said", {"n": number})
        client = await server.connect()
        await client.send("1", "1", "room:1", "phx_join", {"recover": True})
        position = (await client.recv())[4]["response"]["recover"]
        for offset in (1, 7):
            await client.send("1", "1", "room:1", "phx_join", {"recover": {**position, "offset": offset}})
        for _ in range(6):  # two replies, two closes, and what was missed
            await client.recv()
        assert await family(server, "ashtree_history_topics") == {"": 1}
        assert await family(server, "ashtree_history_messages") == {"": 3}
        assert (await family(server, "ashtree_history_bytes"))[""] > 600
        assert await family(server, "ashtree_history_topics_dropped_total") == {"": 0}
        recorded = await family(server, "ashtree_history_broadcasts_total")
        assert recorded == {"outcome=recorded": 3, "outcome=unrecorded": 0}
        recovered = await family(server, "ashtree_recoveries_total")
        assert recovered == {"outcome=recovered": 1, "outcome=unrecovered": 1}
        assert await family(server, "ashtree_broadcasts_replayed_total") == {"": 2}


class OnceChannel(KeepingChannel):
    idempotency = Idempotency()

    def handle_in(self, event: str, payload: Any) -> Reply:
        return ok(payload)


class OnceSocket(Socket):
    channels = {"room:*": OnceChannel}  # noqa: RUF012


@on_loop
async def test_pushes_with_a_key_are_counted() -> None:
    async with serving(OnceSocket, metrics=Metrics()) as server:
        client = await server.connect()
        await client.send("1", "1", "room:1", "phx_join", {})
        await client.recv()
        assert await family(server, "ashtree_keyed_pushes_total") == {}
        for ref in "234":
            await client.send("1", ref, "room:1", "say", {"@key": "k"})
            await client.recv()
        assert await family(server, "ashtree_keyed_pushes_total") == {
            "outcome=handled": 1,
            "outcome=repeated": 2,
            "outcome=refused": 0,
            "outcome=unknown": 0,
        }
        assert (await family(server, "ashtree_keyed_pushes_bytes"))[""] > 300
