"""HTTP on the endpoint's port, byte by byte: requests one after the other, and what is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import pytest

from actors import ok
from actors.testing import ManualClock
from tests.transport.wire import HANDSHAKE, HEARTBEAT, masked, on_loop, reset, serving, until
from transport import Socket, respond
from transport.http import http_connection as http_module
from transport.http.http_connection import HttpConnection

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors import Reply

GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SAME = respond(200, "the same")


def hello(request: Request) -> Response:
    return respond(200, f"hello {request.path}", "text/html")


def fail(request: Request) -> Response:
    raise RuntimeError("on purpose")


def nonsense(request: Request) -> Any:
    return "not a response"


ROUTES = {"/": hello, "/same": lambda _: SAME, "/fail": fail, "/nonsense": nonsense}


class SlowSocket(Socket):
    """Lets in when its gate is opened."""

    gate: asyncio.Event
    connecting: asyncio.Event
    cancelled: bool

    async def connect(self, params: Any, connect_info: Any) -> Reply:
        self.connecting.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            type(self).cancelled = True
            raise
        return ok()


def slow_socket() -> type[SlowSocket]:
    class Slow(SlowSocket):
        gate, connecting, cancelled = asyncio.Event(), asyncio.Event(), False

    return Slow


# One request


@on_loop
async def test_a_get_is_answered_by_its_route() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        answer = await (await server.tcp()).get("/?a=1")
    assert (answer.status, answer.body) == (200, "hello /?a=1")
    assert answer.header("Content-Type") == ["text/html"]
    assert answer.header("Connection") == ["keep-alive"]


@on_loop
async def test_a_head_is_answered_like_a_get_without_the_body() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        head, get = await tcp.get("/", method="HEAD"), await tcp.get("/")
    assert head == get._replace(body="")


@pytest.mark.parametrize("path", ["/nowhere", "/socket", "/socket/", "/socket/websocket/", "//", "/..", "/%2e", "*"])
@on_loop
async def test_a_path_that_is_not_there_is_404(path: str) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        assert (await (await server.tcp()).get(path)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@on_loop
async def test_a_route_answers_no_other_method(method: str) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        assert (await tcp.get("/", "Content-Length: 0", method=method)).status == 405
        assert (await tcp.get("/")).status == 200


@pytest.mark.parametrize(("path", "logged"), [("/fail", "could not answer GET /fail"), ("/nonsense", "not a response")])
@on_loop
async def test_a_route_that_fails_is_500_and_the_connection_goes_on(
    path: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        answer = await tcp.get(path + "?secret=1")
        assert (answer.status, answer.body) == (500, "Internal Server Error")
        assert (await tcp.get("/")).status == 200
    assert logged in caplog.text
    assert "secret" not in "".join(record.getMessage() for record in caplog.records)


@on_loop
async def test_an_answer_may_be_given_again_and_again() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.get("/same", method="HEAD")
        first, second = await tcp.get("/same"), await tcp.get("/same")
    assert first == second
    assert first.body == "the same"
    assert first.header("Connection") == ["keep-alive"]


# One after the other


@on_loop
async def test_a_connection_is_kept_alive() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        for number in range(3):
            assert (await tcp.get(f"/?{number}")).body == f"hello /?{number}"


@pytest.mark.parametrize(
    "request_text",
    ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
    ids=["version 1.0", "asked to close"],
)
@on_loop
async def test_a_connection_ends_after_the_answer_when_the_client_wants_it(request_text: str) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(request_text, request_text)
        assert (await tcp.answer()).header("Connection") == ["close"]
        assert await tcp.ended() == b""


@on_loop
async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(*(f"GET /?{number} HTTP/1.1\r\nHost: x\r\n\r\n" for number in range(20)))
        assert [(await tcp.answer()).body for _ in range(20)] == [f"hello /?{number}" for number in range(20)]


@on_loop
async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        for byte in GET.encode():
            await tcp.send(bytes([byte]))
        assert (await tcp.answer()).body == "hello /"


@pytest.mark.parametrize(
    "body",
    ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    ids=["length", "chunks"],
)
@on_loop
async def test_a_body_is_read_before_the_next_request(body: str) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send("POST / HTTP/1.1\r\nHost: x\r\n", body, GET)
        assert (await tcp.answer()).status == 405
        assert (await tcp.answer()).body == "hello /"


@on_loop
async def test_requests_behind_one_that_is_answered_later_wait_for_it() -> None:
    socket = slow_socket()
    async with serving(socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        # Without the headers of an upgrade: it is refused in the end, but `connect` is asked first, as in Phoenix.
        await tcp.send("GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n\r\n", GET)
        await socket.connecting.wait()
        await tcp.send(GET)
        socket.gate.set()
        assert [(await tcp.answer()).status for _ in range(3)] == [400, 200, 200]


# What is no request


@pytest.mark.parametrize(
    "garbage",
    [
        "\x16\x03\x01\x02\x00",
        "garbage\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=lambda text: ascii(text[:30]),
)
@on_loop
async def test_what_is_no_request_is_400_and_ends_the_connection(garbage: str) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(garbage)
        answer = await tcp.answer()
        assert answer.status == 400
        assert answer.body.startswith("bad request: ")
        assert answer.header("Connection") == ["close"]
        assert await tcp.ended() == b""


@on_loop
async def test_good_requests_before_a_bad_one_are_answered_first() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(GET, "garbage\r\n\r\n")
        assert [(await tcp.answer()).status for _ in range(2)] == [200, 400]
        assert await tcp.ended() == b""


@pytest.mark.parametrize("path", ["//[", "//[x]/socket/websocket", "//[/socket/websocket?vsn=2.0.0"])
@on_loop
async def test_a_path_that_cannot_be_read_is_400(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        assert (await (await server.tcp()).get(path)).status == 400
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@on_loop
async def test_a_head_that_is_too_large_is_431_and_ends_the_connection() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        # The last byte by itself: what is not read when the server closes would take the answer with it.
        head = "GET / HTTP/1.1\r\nHost: x\r\nA: "
        await tcp.send(head, "a" * (http_module.MAX_HEAD - len(head)))
        await tcp.send("a")
        answer = await tcp.answer()
        assert (answer.status, answer.header("Connection")) == (431, ["close"])
        assert await tcp.ended() == b""


@on_loop
async def test_a_body_that_is_too_large_is_413_and_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "MAX_BODY", 100_000)
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", "a" * 100_000)
        await tcp.send("a")
        assert (await tcp.answer()).status == 413
        assert await tcp.ended() == b""


# Upgrades


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 200),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9"), 403),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
    ids=["other protocol", "refused", "connect"],
)
@on_loop
async def test_after_an_upgrade_that_is_not_granted_the_connection_ends(head: str, status: int) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(head, GET)
        answer = await tcp.answer()
        assert (answer.status, answer.header("Connection")) == (status, ["close"])
        assert await tcp.ended() == b""


@on_loop
async def test_an_upgrade_may_follow_other_requests() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(GET, GET, HANDSHAKE, masked(0x81, HEARTBEAT))
        assert [(await tcp.answer()).status for _ in range(3)] == [200, 200, 101]
        assert (await tcp.text()).startswith('[null,"beat","phoenix","phx_reply"')


@pytest.mark.parametrize("pieces", [1, 2, 3])
@on_loop
async def test_frames_that_come_before_the_answer_are_kept(pieces: int) -> None:
    socket = slow_socket()
    async with serving(socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        frames = [masked(0x81, HEARTBEAT.replace("beat", f"beat{number}", 1)) for number in range(3)]
        await tcp.send(HANDSHAKE, *frames[:pieces])
        await socket.connecting.wait()
        for frame in frames[pieces:]:
            await tcp.send(frame)
        # A round trip, so that all has been read before the gate opens.
        await (await server.tcp()).get("/")
        socket.gate.set()
        assert (await tcp.answer()).status == 101
        for number in range(3):
            assert f'"beat{number}"' in await tcp.text()


# Clients that go


@on_loop
async def test_a_half_closed_client_gets_its_answer() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(GET)
        tcp.end()
        assert (await tcp.answer()).body == "hello /"
        assert await tcp.ended() == b""


@on_loop
async def test_a_client_that_goes_while_it_is_let_in_ends_the_asking() -> None:
    socket = slow_socket()
    async with serving(socket) as server:
        tcp = await server.tcp()
        await tcp.send(HANDSHAKE)
        await socket.connecting.wait()
        reset(tcp.writer.transport)
        await until(lambda: socket.cancelled)
        await server.nothing_is_left()


@on_loop
async def test_a_connection_without_a_request_ends_with_its_endpoint() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        idle, used, half = [await server.tcp() for _ in range(3)]
        await used.get("/")
        await half.send("GET / HT")
        await used.get("/")
        await server.system.stop()
        for tcp in (idle, used, half):
            assert await tcp.ended() == b""


# Time


class ManualScheduler:
    """What a connection needs of a scheduler."""

    def __init__(self) -> None:
        self.clock = ManualClock()

    def run_ready(self) -> None:
        """There are no actors."""


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
def scheduler() -> ManualScheduler:
    return ManualScheduler()


def connection(scheduler: Any) -> tuple[HttpConnection, FakeTransport]:
    wire = FakeTransport()
    http = HttpConnection(lambda _: respond(200, "x"), scheduler, set())
    http.connection_made(wire)
    return http, wire


def test_a_client_without_a_request_is_disconnected_in_time(scheduler: ManualScheduler) -> None:
    http, wire = connection(scheduler)
    scheduler.clock.step(http_module.REQUEST_TIMEOUT - 1)
    http.data_received(b"GET / HT")
    assert not wire.is_closing()
    scheduler.clock.step(http_module.REQUEST_TIMEOUT)
    assert wire.is_closing()
    assert wire.written == b""


def test_each_answer_gives_a_client_time_for_the_next_request(scheduler: ManualScheduler) -> None:
    http, wire = connection(scheduler)
    for number in range(1, 6):
        scheduler.clock.step(number * (http_module.REQUEST_TIMEOUT - 1))
        http.data_received(GET.encode())
    assert wire.written.count(b"200 OK") == 5
    assert not wire.is_closing()
    assert scheduler.clock.pending() == 1


def test_what_follows_a_last_answer_is_not_answered(scheduler: ManualScheduler) -> None:
    http, wire = connection(scheduler)
    http.data_received(b"GET / HTTP/1.0\r\n\r\ngarbage\r\n\r\n")
    assert wire.written.count(b"HTTP/1.1 ") == wire.written.count(b"200 OK") == 1
    assert wire.is_closing()


def test_a_connection_that_has_gone_leaves_no_timer(scheduler: ManualScheduler) -> None:
    http, _ = connection(scheduler)
    http.connection_lost(None)
    assert scheduler.clock.pending() == 0


def later(answer: Response) -> Awaitable[Response]:
    async def answered() -> Response:
        return answer

    return answered()


@on_loop
async def test_an_application_may_answer_later() -> None:
    wire = FakeTransport()
    scheduler: Any = ManualScheduler()
    http = HttpConnection(lambda _: later(respond(200, "x")), scheduler, set())
    http.connection_made(wire)
    http.data_received(GET.encode())
    assert wire.written == b""
    await until(lambda: wire.written.endswith(b"\r\n\r\nx"))
    http.connection_lost(None)
