"""The files of examples/balanced, before two processes: nginx and HAProxy as they are installed, with real clients."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.live import WAIT
from tests.servers.balancer import CLIENT, EXAMPLE, HOST, Balancer, Pair
from tests.servers.redis_server import RedisServer, free_port
from tests.transport.wire import on_loop
from tests.wire_clients import EndedError, Said, WebSocketWire, WireClient
from transport.carriers.idle_connections import IDLE_TIMEOUT
from transport.carriers.longpoll import LongPoll
from transport.http.exchange import MAX_BODY
from transport.limits import Limits

KINDS = ["nginx", "haproxy"]
HEARTBEAT = 30
"""Seconds between two heartbeats of phoenix.js."""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(redis: RedisServer) -> Iterator[Pair]:
    with Pair((redis.url, redis.url)) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def balancer(
    request: pytest.FixtureRequest, pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Balancer]:
    with Balancer(request.param, tmp_path_factory.mktemp("balancer"), pair.ports) as running:
        yield running


@asynccontextmanager
async def member(balancer: Balancer, **headers: str) -> AsyncIterator[tuple[WireClient, dict[str, Any]]]:
    """Connect and join; yield the client, and what it was told of itself."""
    async with balancer.websocket(**headers) as connection:
        client = WireClient(WebSocketWire(connection), "2.0.0")
        await client.say("1", "1", "room:lobby", "phx_join", {})
        yield client, (await client.hear()).payload["response"]


async def process_of(balancer: Balancer) -> str:
    """Return which process a new client gets to."""
    async with member(balancer) as (_client, told):
        node: str = told["node"]
        return node


# WebSockets


@on_loop
async def test_clients_get_to_both_processes_and_hear_each_other(balancer: Balancer) -> None:
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(member(balancer)) for _ in range(4)]
        assert Counter(Counter(told["node"] for _client, told in members).values()) == {2: 2}
        clients = [client for client, _told in members]
        push = await clients[0].push("1", "room:lobby", "new_msg", {"body": "hello"})
        for client in clients:
            await client.is_told("room:lobby", "new_msg", {"body": "hello"})
        await clients[0].is_answered("1", push, "room:lobby")


@on_loop
async def test_an_address_that_a_client_claims_is_not_believed(balancer: Balancer) -> None:
    async with member(balancer, X_Forwarded_For="203.0.113.9") as (_client, told):
        assert told["address"] == CLIENT


@on_loop
async def test_pages_of_the_host_may_connect_and_others_not(balancer: Balancer) -> None:
    async with member(balancer, Origin=f"https://{HOST}"):
        pass
    for headers in ({}, {"X_Forwarded_Host": "evil.example"}):
        with pytest.raises(InvalidStatus) as refused:
            async with member(balancer, Origin="https://evil.example", **headers):
                pass
        assert refused.value.response.status_code == 403


def test_plain_http_is_sent_to_https(balancer: Balancer) -> None:
    connection = HTTPConnection("127.0.0.1", balancer.plain, timeout=WAIT)
    connection.request("GET", "/health/live", headers={"Host": HOST})
    response = connection.getresponse()
    connection.close()
    assert (response.status in {301, 302}, response.headers["Location"]) == (True, f"https://{HOST}/health/live")


# Long polling


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_polls_of_a_session_may_reach_either_process(balancer: Balancer, version: str) -> None:
    path = f"/socket/longpoll?vsn={version}"
    token = json.loads(balancer.fetch("GET", path)[1])["token"]
    poller = {"X_Phoenix_Longpoll_Token": token, "Content_Type": "application/x-ndjson"}

    def say(number: int, event: str, payload: Any) -> None:
        said = Said("1", str(number), "room:lobby", event, payload)
        body = json.dumps(said._asdict() if version == "1.0.0" else said)
        kind = {"Content_Type": "application/json"} if version == "1.0.0" else {}
        status, answer = balancer.fetch("POST", path, body, **{**poller, **kind})
        assert (status, json.loads(answer)["status"]) == (200, 200)

    def heard(wanted: str, times: int) -> None:
        seen = 0
        while seen < times:
            status, answer = balancer.fetch("GET", path, **poller)
            body = json.loads(answer)
            assert (status, body["status"] in {200, 204}) == (200, True), answer
            seen += sum(f'"{wanted}"' in message for message in body["messages"])

    say(1, "phx_join", {})
    heard("phx_reply", 1)
    # One connection each, so that both processes are reached.
    for number in range(2, 8):
        say(number, "new_msg", {"body": number})
    heard("new_msg", 6)


# Processes that drain, are degraded, or have ended


async def steadily(balancer: Balancer, during: Any) -> list[str]:
    """Open one connection after the other until something is done; return which processes they got to. None is refused."""
    found = []
    done = asyncio.create_task(asyncio.to_thread(during))
    while not done.done():
        try:
            found.append(await process_of(balancer))
        except EndedError as ended:
            # It was accepted before its process was told to stop, which then ends all connections so that clients come back.
            if ended.code != 1012:
                raise
        await asyncio.sleep(0.02)
    await done
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_no_client_is_refused_while_one_process_after_the_other_is_restarted(
    kind: str, redis: RedisServer, tmp_path: Path
) -> None:
    quick = {"slowstart 10s": "slowstart 1s"} if kind == "haproxy" else {"fail_timeout=5s": "fail_timeout=2s"}
    with Pair((redis.url, redis.url)) as pair, Balancer(kind, tmp_path, pair.ports, quick) as balancer:

        @on_loop
        async def talk() -> None:
            async with AsyncExitStack() as stack:
                members = [(await stack.enter_async_context(member(balancer)))[0] for _ in range(6)]
                for chat in pair.chats:

                    def restart(chat: Any = chat) -> None:
                        assert chat.stop() == 0
                        chat.start()

                    assert await steadily(balancer, restart)
                    await is_balanced(balancer)
                for client in members:
                    await client.is_ended(1012)

        talk()


async def is_balanced(balancer: Balancer) -> None:
    """Return when new clients get to both processes."""
    async with AsyncExitStack() as stack:
        nodes: set[str] = set()
        async with asyncio.timeout(2 * WAIT):
            while len(nodes) < 2:
                nodes.add((await stack.enter_async_context(member(balancer)))[1]["node"])
                await asyncio.sleep(0.05)


class Process:
    """Stands for a process that answers each path as told, or hangs up where None is told, and keeps what it was asked."""

    def __init__(self, answers: dict[str, int | None]) -> None:
        self.answers, self.asked = answers, Counter[str]()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._talk, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _version = head.split("\r\n", 1)[0].split(" ")
            if length := re.search(r"content-length: (\d+)", head, re.IGNORECASE):
                await reader.readexactly(int(length[1]))
            self.asked[f"{method} {path.split('?')[0]}"] += 1
            answer = self.answers[path.split("?")[0]]
            if answer is not None:
                writer.write(f"HTTP/1.1 {answer} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


LIVE = {"/health/live": 200, "/health/ready": 200}


@contextmanager
def before(
    kind: str, directory: Path, ports: tuple[int, int], changes: Mapping[str, str] | None = None
) -> Iterator[Balancer]:
    """Run a balancer that does not leave out a process after a failure: each attempt is one of the test."""
    steady = {"max_fails=1": "max_fails=0"} if kind == "nginx" else {}
    with Balancer(kind, directory, ports, {**steady, **(changes or {})}) as running:
        yield running


@pytest.mark.parametrize("answer", [503, None], ids=["refuses", "hangs up"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_process_has_not_answered_is_asked_of_the_other_but_nothing_is_pushed_twice(
    kind: str, answer: int | None, tmp_path: Path
) -> None:
    @on_loop
    async def talk() -> None:
        failing, other = (Process({**LIVE, "/socket/longpoll": status}) for status in (answer, 200))
        async with failing.serve() as one, other.serve() as two:
            with before(kind, tmp_path, (one, two)) as balancer:
                polled = [
                    await asyncio.to_thread(balancer.fetch, "GET", "/socket/longpoll?vsn=2.0.0") for _ in range(8)
                ]
                assert [status for status, _body in polled] == [200] * 8
                assert failing.asked["GET /socket/longpoll"] > 0
                pushed = [await asyncio.to_thread(balancer.fetch, "POST", "/socket/longpoll", "[]") for _ in range(8)]
                statuses = Counter(status for status, _body in pushed)
                assert failing.asked["POST /socket/longpoll"] == 8 - statuses[200] > 0
                assert other.asked["POST /socket/longpoll"] == statuses[200]

    talk()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_process_that_has_ended_could_not_receive_is_asked_of_the_other(kind: str, tmp_path: Path) -> None:
    @on_loop
    async def talk() -> None:
        other = Process({**LIVE, "/socket/longpoll": 200})
        # For HAProxy it is up, until the checks of its health have failed.
        changes = {} if kind == "nginx" else {"inter 1s fall 1": "inter 1s fall 1000"}
        async with other.serve() as port:
            with before(kind, tmp_path, (free_port(), port), changes) as balancer:
                for method in ("GET", "POST") * 4:
                    assert await asyncio.to_thread(balancer.fetch, method, "/socket/longpoll", "[]") == (200, "")
                assert other.asked["POST /socket/longpoll"] == 4

    talk()


@on_loop
async def test_haproxy_sends_no_new_client_to_a_process_that_is_degraded(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("one", "two")]
    for home in homes:
        home.mkdir()
    with RedisServer(homes[0]) as one, RedisServer(homes[1]) as two, ExitStack() as stack:
        pair = stack.enter_context(Pair((one.url, two.url)))
        balancer = stack.enter_context(Balancer("haproxy", tmp_path, pair.ports))
        await settles(balancer, 2)
        async with member(balancer) as (first, _told), member(balancer) as (second, _told):
            for broker, fault, processes in (
                (two, "freeze", 1),
                # If all are degraded, clients are served all the same.
                (one, "freeze", 2),
                (two, "thaw", 1),
                (one, "thaw", 2),
            ):
                getattr(broker, fault)()
                await settles(balancer, processes)
            # Those that were connected have stayed.
            await first.hears_nothing()
            await second.hears_nothing()


async def settles(balancer: Balancer, processes: int) -> None:
    """Return when six clients at a time get to so many processes; none is refused meanwhile."""
    async with asyncio.timeout(2 * WAIT):
        while True:
            async with AsyncExitStack() as stack:
                members = [await stack.enter_async_context(member(balancer)) for _ in range(6)]
                if len({told["node"] for _client, told in members}) == processes:
                    return
            await asyncio.sleep(0.2)


# Reload


@on_loop
async def test_a_reload_keeps_connections_and_refuses_none(balancer: Balancer) -> None:
    async with member(balancer) as (client, _told):
        for _ in range(3):
            assert await steadily(balancer, balancer.reload)
        push = await client.push("1", "room:lobby", "new_msg", {"body": "still here"})
        await client.is_told("room:lobby", "new_msg", {"body": "still here"})
        await client.is_answered("1", push, "room:lobby")


# Times


def seconds(file: Path, pattern: str) -> int:
    [found] = set(re.findall(pattern + r" (\d+)s;?$", file.read_text(), re.MULTILINE))
    return int(found)


@pytest.mark.parametrize(
    ("name", "silence"),
    [
        ("nginx.conf", "proxy_read_timeout"),
        ("nginx.conf", "proxy_send_timeout"),
        ("haproxy.cfg", "timeout tunnel"),
        ("haproxy.cfg", "timeout client"),
        ("haproxy.cfg", "timeout server"),
    ],
)
def test_balancers_wait_longer_than_clients_and_endpoints_are_silent(name: str, silence: str) -> None:
    assert seconds(EXAMPLE / name, silence) > max(HEARTBEAT, IDLE_TIMEOUT, LongPoll().window)


def test_nginx_does_not_keep_connections_that_the_endpoint_closes() -> None:
    assert seconds(EXAMPLE / "nginx.conf", " keepalive_timeout") < Limits().keep_alive
    assert f"client_max_body_size {MAX_BODY >> 20}m;" in (EXAMPLE / "nginx.conf").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_websocket_that_is_silent_for_too_long_is_closed(kind: str, pair: Pair, tmp_path: Path) -> None:
    silence = {"proxy_read_timeout 75s": "proxy_read_timeout 1s"} if kind == "nginx" else {"tunnel 75s": "tunnel 1s"}
    with Balancer(kind, tmp_path, pair.ports, silence) as balancer:

        @on_loop
        async def talk() -> None:
            async with member(balancer) as (client, _told):
                await client.is_ended(1006)

        talk()


# systemd


def test_the_unit_is_valid(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    unit = (EXAMPLE / "chat@.service").read_text()
    script = f"{sys.executable} {EXAMPLE / 'chat.py'}"
    (tmp_path / "chat@4001.service").write_text(unit.replace("/srv/chat/.venv/bin/python /srv/chat/chat.py", script))
    command = [analyze, "verify", "--man=no", str(tmp_path / "chat@4001.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    assert script in (tmp_path / "chat@4001.service").read_text()


def test_systemd_waits_longer_than_the_system() -> None:
    limit = re.search(r"TimeoutStopSec=(\d+)", (EXAMPLE / "chat@.service").read_text())
    ours = re.search(r"shutdown_timeout=(\d+)", (EXAMPLE / "chat.py").read_text())
    assert limit
    assert ours
    assert int(limit[1]) > int(ours[1])
