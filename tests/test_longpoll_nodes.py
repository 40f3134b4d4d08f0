"""Long polling over two demos that Redis connects, when each request reaches the next of them."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.live import LiveDemo
from tests.node import play
from tests.servers.redis_server import RedisServer, until
from tests.servers.round_robin import RoundRobin
from tests.test_nodes import DEMO
from tests.transcript import Http, fetch
from tests.transport.wire import on_loop
from tests.wire_clients import Meeting

if TYPE_CHECKING:
    from pathlib import Path

NDJSON = "application/x-ndjson"
BEAT: list[Any] = [None, "7", "phoenix", "heartbeat", {}]
BEATEN: list[Any] = [None, "7", "phoenix", "phx_reply", {"status": "ok", "response": {}}]


class Pair:
    """Two demos."""

    def __init__(self, demos: list[LiveDemo]) -> None:
        self.demos = demos

    def get(self, node: int, token: str | None = None, vsn: str = "2.0.0", **params: str) -> dict[str, Any]:
        query = urlencode({"vsn": vsn, **params, **({} if token is None else {"token": token})})
        status, body = fetch(self.demos[node].address, Http("GET", f"/socket/longpoll?{query}"))
        assert status == 200
        answer: dict[str, Any] = json.loads(body)
        return answer

    def post(self, node: int, token: str, *lines: str, content_type: str = NDJSON) -> tuple[int, Any]:
        path = f"/socket/longpoll?{urlencode({'token': token})}"
        request = Http("POST", path, {"Content-Type": content_type}, "\n".join(lines))
        status, body = fetch(self.demos[node].address, request)
        return status, json.loads(body)

    def ready(self, node: int) -> int:
        return fetch(self.demos[node].address, Http("GET", "/health/ready"))[0]

    def open(self, node: int, vsn: str = "2.0.0", **params: str) -> str:
        """Begin a session at a node; return its token."""
        answer = self.get(node, vsn=vsn, **params)
        assert (answer["status"], answer["messages"]) == (410, [])
        return str(answer["token"])

    def messages(self, node: int, token: str) -> list[Any]:
        answer = self.get(node, token)
        assert (answer["status"], answer["token"]) == (200, token)
        return [json.loads(message) for message in answer["messages"]]


class ConnectedPair(Pair):
    """Two demos that Redis connects, and a proxy in front of them."""

    def __init__(self, demos: list[LiveDemo], redis: RedisServer, proxy: RoundRobin) -> None:
        super().__init__(demos)
        self.redis, self.proxy = redis, proxy


@contextmanager
def running(directory: Path) -> Iterator[ConnectedPair]:
    with RedisServer(directory) as redis:
        demos = [LiveDemo(DEMO, "--redis", redis.url) for _ in range(2)]
        with demos[0], demos[1], RoundRobin([demo.address for demo in demos]) as proxy:
            yield ConnectedPair(demos, redis, proxy)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectedPair]:
    with running(tmp_path_factory.mktemp("redis")) as found:
        yield found


def test_a_session_is_served_by_the_node_that_does_not_have_it(pair: Pair) -> None:
    token = pair.open(0)
    assert pair.post(1, token, json.dumps(BEAT)) == (200, {"status": 200})
    assert pair.messages(1, token) == [BEATEN]
    # Nothing comes twice.
    assert pair.post(1, token, json.dumps(BEAT)) == (200, {"status": 200})
    assert pair.messages(0, token) == [BEATEN]


def test_version_1_too(pair: Pair) -> None:
    token = pair.open(0, vsn="1.0.0")
    beat = json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "7"})
    assert pair.post(1, token, beat, content_type="application/json") == (200, {"status": 200})
    [answer] = pair.messages(1, token)
    assert answer == {
        "topic": "phoenix",
        "event": "phx_reply",
        "payload": {"status": "ok", "response": {}},
        "ref": "7",
    }


@pytest.mark.parametrize("size", [1_000, 300_000, 3_000_000])
def test_large_and_binary_messages_cross(pair: Pair, size: int) -> None:
    token = pair.open(0)
    data = bytes(range(256)) * (size // 256)
    frame = b"\x00\x01\x01\x06\x04" + b"12" + b"room:1" + b"blob" + data
    join = json.dumps(["1", "1", "room:1", "phx_join", {}])
    assert pair.post(1, token, join, base64.b64encode(frame).decode()) == (200, {"status": 200})
    got = pair.get(1, token)["messages"]
    assert any(base64.b64encode(data[300:600]).decode()[4:200] in message or len(message) > size for message in got)


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ("%%%", 400, {"status": 400}),
        ("[" + " " * 9_000_000, 413, {"status": 413}),
        ("[]", 200, {"status": 408}),
    ],
    ids=["neither", "too large", "malformed"],
)
def test_a_body_that_is_wrong_is_refused_as_at_home(pair: Pair, body: str, status: int, answer: Any) -> None:
    for node in (0, 1):
        token = pair.open(0)
        got = pair.post(node, token, body)
        assert (got[0], got[1] | {"reason": 0}) == (status, answer | {"reason": 0})


def test_a_token_that_was_changed_is_worth_nothing(pair: Pair) -> None:
    token = pair.open(0)
    for bad in (token[:-2], "x" + token, token.replace("~", "", 1), f"{'x' * 12}~{token}", "~" + token, "~"):
        assert pair.post(1, bad, json.dumps(BEAT)) == (200, {"status": 410})
        assert pair.get(1, bad)["status"] == 410


def test_a_poll_that_waits_elsewhere_is_woken(pair: Pair) -> None:
    @on_loop
    async def talk() -> None:
        token = pair.open(0)
        waiting = asyncio.create_task(asyncio.to_thread(pair.messages, 1, token))
        assert await asyncio.to_thread(pair.post, 0, token, json.dumps(BEAT)) == (200, {"status": 200})
        assert await waiting == [BEATEN]

    talk()


def test_a_poll_is_replaced_by_a_later_one_wherever_that_is(pair: Pair) -> None:
    @on_loop
    async def talk() -> None:
        token = pair.open(0)
        join = json.dumps(["1", "1", "bench:1", "phx_join", {}])
        pair.post(0, token, join)
        assert len(pair.messages(1, token)) == 1
        first = asyncio.create_task(asyncio.to_thread(pair.get, 1, token))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(asyncio.to_thread(pair.get, 0, token))
        assert (await first)["status"] == 204
        await asyncio.to_thread(pair.post, 1, token, json.dumps(BEAT))
        assert [json.loads(message) for message in (await second)["messages"]] == [BEATEN]

    talk()


@on_loop
async def test_a_client_that_disconnects_while_it_polls_loses_nothing(pair: Pair) -> None:
    for _ in range(20):
        token = await asyncio.to_thread(pair.open, 0)
        host, _, port = pair.demos[1].address.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        query = urlencode({"vsn": "2.0.0", "token": token})
        writer.write(f"GET /socket/longpoll?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()  # else it may be answered before it disconnects
        await asyncio.to_thread(pair.post, 0, token, json.dumps(BEAT))
        assert await asyncio.to_thread(pair.messages, 0, token) == [BEATEN]


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_clients_meet_behind_a_proxy_without_sticky_sessions(pair: ConnectedPair, version: str) -> None:
    @on_loop
    async def talk() -> None:
        meeting = Meeting(pair.proxy.address, "longpoll", version)
        async with meeting.connect(user="ann") as ann, meeting.connect(user="ben") as ben:
            ref = await ann.join("bench:1")
            await ben.join("bench:1")
            for number in range(20):
                await ann.push(ref, "bench:1", "shout", {"n": number})
            for number in range(20):
                await ann.is_told("bench:1", "shout", {"n": number})
                await ben.is_told("bench:1", "shout", {"n": number})

    talk()


def test_phoenix_js_polls_behind_a_proxy_without_sticky_sessions(pair: ConnectedPair) -> None:
    report = play("session.mjs", f"{pair.proxy.address.replace('http', 'ws', 1)}/socket", "LongPoll")
    ticks = report("ticks and pings")
    assert [answer["status"] for answer in ticks["answers"]] == ["ok"] * 4
    chat = report("chat and kick")
    assert chat["sent"] == chat["kicked"] == chat["again"] == {"status": "ok", "response": {}}
    assert chat["code"] == 3410
    assert (chat["opened"], chat["typing"]) == ({"ann": 1, "ben": 2}, {"ann": [], "ben": [{"user": "ann"}]})
    first, second = {"user": "ann", "body": "hello"}, {"user": "ann", "body": "welcome back"}
    assert chat["messages"]["ann"] == [first, second]
    crashes = report("crashes")
    assert crashes["channelCrash"]["sockets"] == {"opened": 1, "closed": []}
    assert crashes["transportCrash"]["closes"] == [3410]


def test_what_is_wrong_with_a_node_ends_its_sessions_and_no_others(tmp_path: Path) -> None:
    with running(tmp_path) as pair:
        here, there = pair.open(0), pair.open(1)
        pair.demos[1].signal(signal.SIGKILL)
        pair.demos[1].ended()
        assert pair.post(0, there, json.dumps(BEAT)) == (200, {"status": 410})
        answer = pair.get(0, there)
        assert answer["status"] == 410
        assert pair.post(0, answer["token"], json.dumps(BEAT)) == (200, {"status": 200})
        assert pair.post(0, here, json.dumps(BEAT)) == (200, {"status": 200})


def test_a_node_that_drains_answers_the_polls_that_wait_elsewhere(tmp_path: Path) -> None:
    @on_loop
    async def talk(pair: Pair) -> None:
        token = pair.open(1)
        waiting = asyncio.create_task(asyncio.to_thread(pair.get, 0, token))
        await asyncio.sleep(0.3)
        pair.demos[1].signal(signal.SIGTERM)
        assert (await waiting)["status"] == 204
        assert pair.demos[1].ended() == 0
        # The other node knows that it has ended.
        assert pair.post(0, token, json.dumps(BEAT)) == (200, {"status": 410})
        assert (await asyncio.to_thread(pair.get, 0, token))["status"] == 410

    with running(tmp_path) as pair:
        talk(pair)


def test_sessions_outlive_a_broker_that_is_away(tmp_path: Path) -> None:
    @on_loop
    async def talk(pair: ConnectedPair) -> None:
        token = pair.open(0)
        pair.redis.stop()
        waiting = asyncio.create_task(asyncio.to_thread(pair.get, 1, token))
        await asyncio.to_thread(pair.post, 0, token, json.dumps(BEAT))
        await asyncio.sleep(1)
        pair.redis.start()
        answer = await waiting
        assert [json.loads(message) for message in answer["messages"]] == [BEATEN]
        assert answer["token"] == token

    with running(tmp_path) as pair:
        talk(pair)


def test_a_broker_that_is_frozen_ends_no_session(pair: ConnectedPair) -> None:
    @on_loop
    async def talk() -> None:
        token = pair.open(0)
        pair.redis.freeze()
        try:
            waiting = asyncio.create_task(asyncio.to_thread(pair.get, 1, token))
            await asyncio.to_thread(until, lambda: (pair.ready(0), pair.ready(1)) == (503, 503))
        finally:
            pair.redis.thaw()
        # What is ready while they connect again may be lost on its way, and the session ends then.
        await asyncio.to_thread(until, lambda: (pair.ready(0), pair.ready(1)) == (200, 200))
        await asyncio.to_thread(pair.post, 0, token, json.dumps(BEAT))
        answer = await waiting
        assert (answer["token"], [json.loads(message) for message in answer["messages"]]) == (token, [BEATEN])

    talk()


def test_workers_serve_the_sessions_of_each_other_and_give_up_those_of_a_dead_one() -> None:
    """Each request has a connection of its own, and so may reach either worker."""
    with LiveDemo(DEMO, "--workers", "2") as demo:
        pair = Pair([demo, demo])
        tokens = [pair.open(0) for _ in range(20)]
        for token in tokens:
            assert pair.post(0, token, json.dumps(BEAT)) == (200, {"status": 200})
            assert pair.messages(0, token) == [BEATEN]
        workers = psutil.Process(demo.pid).children()
        [worker, _] = [each for each in workers if "demo.py" in " ".join(each.cmdline())]
        worker.kill()
        statuses = [pair.post(0, token, json.dumps(BEAT))[1]["status"] for token in tokens]
        assert set(statuses) == {200, 410}
