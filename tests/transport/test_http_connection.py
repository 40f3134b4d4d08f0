"""HTTP on the endpoint's port, byte by byte: requests one after the other, and what is none."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from actors import ok, telemetry
from actors.testing import ManualClock
from tests.transport.wire import HANDSHAKE, HEARTBEAT, masked, on_both_loops, on_loop, reset, serving, until
from transport import Extension, Socket, respond, socket_events
from transport.access.proxies import Proxies
from transport.http import http_connection as http_module
from transport.http.http_connection import HttpConnection
from transport.http.http_connections import HttpConnections
from transport.limits import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from websockets.http11 import Request, Response

    from actors import Reply
    from tests.transport.wire import Server
    from transport.http.exchange import Answer, Application, Incoming

GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SAME, BIG = respond(200, "the same"), respond(200, b"a" * 30_000_000)


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


@pytest.mark.parametrize(
    "path", ["/nowhere", "/socket", "/socket/", "//x/", "/..", "/%2e", "*", "//x/socket/websocket?vsn=2.0.0"]
)
@on_loop
async def test_a_path_that_is_not_there_is_404(path: str) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        assert (await (await server.tcp()).get(path)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@on_loop
async def test_a_route_answers_no_other_method(method: str) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        refused = await tcp.get("/", "Content-Length: 0", method=method)
        assert (refused.status, refused.header("Allow")) == (405, ["GET, HEAD, OPTIONS"])
        assert (await tcp.get("/")).status == 200


UNHEALTHY = {"/": lambda _: respond(200, "page"), "/health": lambda _: respond(503, "draining")}


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("OPTIONS / HTTP/1.0\r\n\r\n", 200),
        ("OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("OPTIONS /health HTTP/1.0\r\n\r\n", 503),
        ("OPTIONS /nowhere HTTP/1.0\r\n\r\n", 404),
        ("HEAD /health/ HTTP/1.0\r\n\r\n", 503),
    ],
)
@on_loop
async def test_a_load_balancer_is_answered_with_the_status_of_the_page(request_text: str, expected: int) -> None:
    async with serving(Socket, routes=UNHEALTHY) as server:
        tcp = await server.tcp()
        await tcp.send(request_text)
        answer = await tcp.answer(to_head=request_text.startswith("HEAD"))
    assert answer.status == expected
    if request_text.startswith("OPTIONS") and expected != 404:
        assert (answer.body, answer.header("Allow")) == ("", ["GET, HEAD, OPTIONS"])


@pytest.mark.parametrize("path", ["//", "///?a=1", "http://other.example/", "http://other.example", "/?#top"])
@on_loop
async def test_empty_segments_of_a_path_do_not_count(path: str) -> None:
    async with serving(Socket, routes=UNHEALTHY) as server:
        answer = await (await server.tcp()).get(path)
    assert (answer.status, answer.body) == (200, "page")


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


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), GeneratorExit(), BaseExceptionGroup("two", [KeyError()])], ids=repr
)
@on_loop
async def test_an_async_handler_that_raises_no_exception_is_500_too(error: BaseException) -> None:
    class Raising(Extension):
        def handlers(self) -> dict[str, Application]:
            return {"/fail-later": self.fail}

        async def fail(self, _: Incoming) -> Answer:
            await asyncio.sleep(0)
            raise error

    async with serving(Socket, routes=ROUTES, extensions=[Raising()]) as server:
        tcp = await server.tcp()
        assert (await tcp.get("/fail-later")).status == 500
        assert (await tcp.get("/")).status == 200


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
        await tcp.send("GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n\r\n", GET)
        await socket.connecting.wait()
        await tcp.send(GET)
        socket.gate.set()
        assert [(await tcp.answer()).status for _ in range(3)] == [200, 200, 200]


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
async def test_a_path_that_begins_with_two_slashes_names_no_host(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        assert (await (await server.tcp()).get(path)).status == 404
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def head_of(size: int) -> str:
    """Return a head of so many bytes."""
    head = "GET / HTTP/1.1\r\nHost: x\r\nA: "
    return head + "a" * (size - len(head) - 4) + "\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "status", "limit"),
    [
        (head_of(16 * 1024 + 1), 431, "head_size"),
        (head_of(70_000), 431, "head_size"),
        (f"GET /{'a' * 10 * 1024} HTTP/1.1\r\nHost: x\r\n\r\n", 414, "request_line"),
        (f"GET / HTTP/1.1\r\n{'A: b' + chr(13) + chr(10)}" * 5000 + "\r\n", 431, "head_size"),
        ("GET / HTTP/1.1\r\n" + "A: b\r\n" * 101 + "\r\n", 431, "headers"),
    ],
    ids=["a byte", "70 kB", "line", "5,000 headers", "101 headers"],
)
@pytest.mark.parametrize("pieces", [1, 2, 1000])
@on_loop
async def test_a_head_above_a_limit_is_refused_however_it_arrives(
    head: str, status: int, limit: str, pieces: int
) -> None:
    async with serving(Socket, routes=ROUTES) as server, limits_of(server) as reached:
        tcp = await server.tcp()
        size = len(head) // pieces + 1
        for start in range(0, len(head), size):
            await tcp.send(head[start : start + size])
        answer = await tcp.answer()
        assert (answer.status, answer.header("Connection")) == (status, ["close"])
        assert await tcp.ended() == b""
    assert reached == [limit]


@pytest.mark.parametrize(
    "head",
    [
        head_of(16 * 1024),
        "GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 99 + "\r\n",
        f"GET /{'?'.ljust(10 * 1024 - 14, 'a')} HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["size", "headers", "line"],
)
@on_loop
async def test_a_head_at_a_limit_is_answered(head: str) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(head, head)
        assert [(await tcp.answer()).status for _ in range(2)] == [200, 200]


@asynccontextmanager
async def limits_of(server: Server) -> AsyncIterator[list[str]]:
    """Collect the limits that are reached."""
    reached: list[str] = []

    def limit_reached(_event: Any, _numbers: Any, about: Any) -> None:
        assert about["endpoint"] is server.endpoint
        reached.append(about["limit"])

    telemetry.attach("limits", [socket_events.LIMIT_REACHED], limit_reached)
    try:
        yield reached
    finally:
        telemetry.detach("limits")


# Bodies


class Upload(Extension):
    """Answers with the size of a body."""

    max_body = 1_000_000

    def handlers(self) -> dict[str, Any]:
        return {"/upload": lambda incoming: respond(200, str(len(incoming.body)))}


@pytest.mark.parametrize(
    ("path", "declared", "status", "text"),
    [
        ("/nowhere", "Content-Length: 9400000", 404, "not found"),
        ("/", "Content-Length: 9400000", 405, "only GET is answered here"),
        ("/upload", "Content-Length: 1000001", 413, "the request's body is too large"),
        ("/socket/longpoll?vsn=2.0.0&token=wrong", "Content-Length: 9400000", 200, '{"status":410}'),
    ],
)
@on_loop
async def test_a_body_that_is_not_taken_is_answered_when_its_head_is_complete(
    path: str, declared: str, status: int, text: str
) -> None:
    async with serving(Socket, routes=ROUTES, extensions=[Upload()]) as server:
        tcp = await server.tcp()
        await tcp.send(f"POST {path} HTTP/1.1\r\nHost: x\r\n{declared}\r\n\r\n")
        answer = await tcp.answer()
        assert (answer.status, answer.body, answer.header("Connection")) == (status, text, ["close"])
        # The rest is ignored: a client that sends it can read the answer.
        await tcp.send("a" * 1_000_000)
        assert await tcp.ended() == b""


@pytest.mark.parametrize("kind", ["Content-Length: 5", "Transfer-Encoding: chunked"])
@on_loop
async def test_a_client_that_waits_before_it_sends_a_body_is_told_to(kind: str) -> None:
    async with serving(Socket, routes=ROUTES, extensions=[Upload()]) as server:
        tcp = await server.tcp()
        for _ in range(2):
            await tcp.send(f"POST /upload HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n{kind}\r\n\r\n")
            assert (await tcp.answer()).status == 100
            await tcp.send("hello" if "Length" in kind else "5\r\nhello\r\n0\r\n\r\n")
            assert (await tcp.answer()).body == "5"


@pytest.mark.parametrize(
    ("version", "size", "body", "status"), [("1.0", 5, "hello", 200), ("1.1", 5, "hello", 200), ("1.1", 10**7, "", 413)]
)
@on_loop
async def test_no_client_is_told_to_send_a_body_that_is_there_or_is_not_taken(
    version: str, size: int, body: str, status: int
) -> None:
    async with serving(Socket, routes=ROUTES, extensions=[Upload()]) as server:
        tcp = await server.tcp()
        head = f"POST /upload HTTP/{version}\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {size}\r\n\r\n"
        await tcp.send(head, body)
        assert (await tcp.answer()).status == status


@on_loop
async def test_chunks_are_counted_as_they_come() -> None:
    async with serving(Socket, extensions=[Upload()]) as server:
        tcp = await server.tcp()
        await tcp.send("POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            await tcp.send("2710\r\n", "a" * 10_000, "\r\n")
        await tcp.send("2\r\nab\r\n2\r\n")
        assert (await tcp.answer()).status == 413


@on_loop
async def test_a_body_in_chunks_of_one_byte_is_no_head() -> None:
    async with serving(Socket, extensions=[Upload()]) as server:
        tcp = await server.tcp()
        head = "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await tcp.send(head, "1\r\na\r\n" * 100_000, "0\r\n\r\n", head, "0\r\n\r\n")
        assert [(await tcp.answer()).body for _ in range(2)] == ["100000", "0"]


@pytest.mark.parametrize("size", [100, 64 * 1024, 1_000_000])
@on_loop
async def test_a_body_within_its_limit_is_read_and_the_connection_goes_on(size: int) -> None:
    async with serving(Socket, extensions=[Upload()]) as server:
        tcp = await server.tcp()
        request = f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n" + "\r\n\r\n".ljust(size, "a")
        await tcp.send(request, request)
        assert [(await tcp.answer()).body for _ in range(2)] == [str(size)] * 2


@pytest.mark.parametrize("trailer", ["A: " + "a" * 40_000, "A: b\r\n" * 10_000])
@on_loop
async def test_trailers_have_the_limits_of_a_head(trailer: str) -> None:
    async with serving(Socket, extensions=[Upload()]) as server:
        tcp = await server.tcp()
        await tcp.send("POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", trailer)
        assert (await tcp.answer()).status == 431


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


@pytest.mark.parametrize("body", ["Content-Length: {}\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n"])
@pytest.mark.parametrize(
    "inner", [masked(0x81, HEARTBEAT.replace("beat", "no", 1)), GET.encode()], ids=["frame", "request"]
)
@on_loop
async def test_the_body_of_a_websocket_request_is_neither_frames_nor_another_request(body: str, inner: bytes) -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        head = HANDSHAKE.removesuffix("\r\n") + body.format(len(inner))
        end = "\r\n0\r\n\r\n" if "chunked" in body else ""
        await tcp.send(head, inner, end, masked(0x81, HEARTBEAT))
        assert (await tcp.answer()).status == 101
        assert (await tcp.text()).startswith('[null,"beat","phoenix","phx_reply"')


# Clients that go


@on_loop
async def test_a_half_closed_client_gets_its_answer() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        tcp = await server.tcp()
        await tcp.send(GET)
        tcp.end()
        assert (await tcp.answer()).body == "hello /"
        assert await tcp.ended() == b""


class Later(Extension):
    """Answers when its gate is opened."""

    def __init__(self) -> None:
        self.gate, self.asked = asyncio.Event(), asyncio.Event()

    def handlers(self) -> dict[str, Any]:
        return {"/later": self.handle}

    async def handle(self, _incoming: Incoming) -> Response:
        self.asked.set()
        await self.gate.wait()
        return respond(200, "late")


@on_both_loops
async def test_a_half_closed_client_gets_all_its_answers_in_order() -> None:
    later = Later()
    async with serving(Socket, routes=ROUTES, extensions=[later]) as server:
        tcp = await server.tcp()
        await tcp.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n", GET, "BAD\r\n\r\n")
        tcp.end()
        await later.asked.wait()
        # A round trip, so that the end has been read before the gate opens.
        other = await server.tcp()
        await other.get("/")
        await other.close()
        later.gate.set()
        assert [(await tcp.answer()).body for _ in range(2)] == ["late", "hello /"]
        assert (await tcp.answer()).status == 400
        assert await tcp.ended() == b""
        await server.nothing_is_left()


@on_both_loops
async def test_half_a_request_of_a_half_closed_client_ends_the_connection() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        for sent in ("GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"):
            tcp = await server.tcp()
            await tcp.send(GET, sent)
            tcp.end()
            assert (await tcp.answer()).status == 200
            assert await tcp.ended() == b""
        await server.nothing_is_left()


@pytest.mark.parametrize(
    "goes", [lambda tcp: reset(tcp.writer.transport), lambda tcp: tcp.end()], ids=["reset", "half"]
)
@on_loop
async def test_a_client_that_goes_while_it_is_let_in_ends_the_asking(goes: Callable[[Any], None]) -> None:
    socket = slow_socket()
    async with serving(socket) as server:
        tcp = await server.tcp()
        await tcp.send(HANDSHAKE)
        await socket.connecting.wait()
        goes(tcp)
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


# Pace


@on_both_loops
async def test_a_client_that_reads_no_answers_is_answered_no_further_until_it_does() -> None:
    asked: list[str] = []

    def page(request: Request) -> Response:
        asked.append(request.path)
        return respond(200, "a" * 100_000)

    async with serving(Socket, routes={"/": page, "/other": hello}) as server:
        tcp, other, number = await server.tcp(limit=1024), await server.tcp(), 999
        flood = asyncio.ensure_future(
            tcp.send(*(f"GET /?{each} HTTP/1.1\r\nHost: x\r\n\r\n" for each in range(number)))
        )
        before = -1
        while len(asked) > before:
            before = len(asked)
            for _ in range(10):
                await other.get("/other")
        assert 0 < len(asked) < number
        for _ in range(number):
            assert (await tcp.answer()).status == 200
        await flood
    assert asked == [f"/?{each}" for each in range(number)]


@on_both_loops
async def test_an_answer_that_is_not_read_is_given_up() -> None:
    async with serving(Socket, routes={"/": lambda _: BIG}, limits=Limits(send_timeout=0.1)) as server:
        async with limits_of(server) as reached:
            tcp = await server.tcp(limit=1024)
            await tcp.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: "send_timeout" in reached)
        assert len(await tcp.ended()) < len(BIG.body)


@on_both_loops
async def test_a_large_answer_reaches_a_client_that_has_ended_its_half() -> None:
    async with serving(Socket, routes={"/": lambda _: BIG}) as server:
        tcp = await server.tcp()
        await tcp.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        tcp.end()
        assert len((await tcp.answer()).body) == len(BIG.body)
        assert await tcp.ended() == b""
        await server.nothing_is_left()


@on_both_loops
async def test_a_client_that_vanishes_in_a_large_answer_leaves_nothing() -> None:
    async with serving(Socket, routes={"/": lambda _: BIG}) as server:
        tcp = await server.tcp(limit=1024)
        await tcp.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await tcp.reader.readexactly(100)
        tcp.writer.transport.abort()
        await server.nothing_is_left()


@on_both_loops
async def test_half_a_head_is_closed_in_time_with_408() -> None:
    async with serving(Socket, limits=Limits(head_timeout=0.5)) as server:
        clients = []
        for _ in range(100):
            clients.append(await server.tcp())
            await clients[-1].send("GET /socket/websocket HTTP/1.1\r\nHost: ")
        for tcp in clients:
            assert (await tcp.answer()).status == 408
            assert await tcp.ended() == b""
        await server.nothing_is_left()


# Pace and time, without a socket


class ManualLoop:
    """Calls back when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[[], object], **_options: object) -> None:
        self.calls.append(callback)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class ManualScheduler:
    """What a connection needs of a scheduler."""

    forked = 0

    def __init__(self) -> None:
        self.clock, self.loop = ManualClock(), ManualLoop()

    def run_ready(self) -> None:
        """There are no actors."""


class FakeTransport(asyncio.Transport):
    """Keeps what is written; `sends` is how many bytes it can send, None for all."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written, self.ended, self.closed, self.aborted = b"", False, False, False
        self.reads, self.sends, self.unsent, self.limit = True, True, 0, 64 * 1024
        self.protocol: HttpConnection

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit = 64 * 1024 if high is None else high

    def write(self, data: Any) -> None:
        assert not self.ended
        self.written += bytes(data)
        if not self.sends:
            self.unsent += len(data)
            if self.unsent > self.limit:
                self.protocol.pause_writing()

    def send(self, size: int) -> None:
        """Let the client read so many bytes."""
        self.unsent -= size
        if not self.unsent:
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def is_paused(self) -> bool:
        return not self.reads

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed


class FakeEndpoint:
    """Answers each request with its path."""

    def __init__(self, **limits: Any) -> None:
        self.limits, self.proxies, self.limits_reached = Limits(**limits), Proxies(), list[str]()
        self.asked: list[str] = []
        self.answer: Callable[[Incoming], Answer | Awaitable[Answer]] = lambda incoming: respond(
            200, incoming.request.path
        )

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        self.asked.append(incoming.request.path)
        return self.answer(incoming)

    def admit(self, incoming: Incoming) -> int:
        return 1_000_000

    def reached(self, limit: str) -> None:
        self.limits_reached.append(limit)


class Meeting:
    """A connection with both its ends."""

    def __init__(self, **limits: Any) -> None:
        self.endpoint, self.scheduler, self.wire = FakeEndpoint(**limits), ManualScheduler(), FakeTransport()
        self.connections, scheduler = HttpConnections(), self.scheduler
        made: Any = scheduler
        self.http = self.wire.protocol = HttpConnection(self.endpoint, made, self.connections)
        self.http.connection_made(self.wire)

    def send(self, *data: str) -> None:
        assert self.wire.reads, "nothing is read now"
        self.http.data_received("".join(data).encode())

    def wait(self, seconds: float) -> None:
        clock = self.scheduler.clock
        end = clock.now() + seconds
        while clock.step(end):
            self.scheduler.loop.turn()

    @property
    def statuses(self) -> list[int]:
        return [int(each[:3]) for each in self.wire.written.split(b"HTTP/1.1 ")[1:]]


def gets(number: int) -> str:
    return "".join(f"GET /{each} HTTP/1.1\r\nHost: x\r\n\r\n" for each in range(number))


def test_a_flood_of_requests_is_answered_in_order_with_turns_for_others_between() -> None:
    meeting = Meeting()
    meeting.send(gets(100))
    turns = 0
    while not meeting.wire.reads:
        turns += 1
        assert len(meeting.endpoint.asked) == turns * http_module.STEPS
        meeting.scheduler.loop.turn()
    assert meeting.endpoint.asked == [f"/{number}" for number in range(100)]
    assert turns == 100 // http_module.STEPS


def test_slow_requests_use_up_a_turn_sooner() -> None:
    meeting = Meeting()

    def slow(incoming: Incoming) -> Answer:
        meeting.wait(http_module.BUDGET / 2)
        return respond(200)

    meeting.endpoint.answer = slow
    meeting.send(gets(10))
    assert len(meeting.endpoint.asked) == 2


def test_nothing_is_answered_while_an_answer_is_not_read() -> None:
    meeting = Meeting()
    meeting.wire.sends = False
    meeting.send(gets(3))
    assert meeting.endpoint.asked == ["/0"]
    assert meeting.wire.is_paused()
    meeting.wire.send(meeting.wire.unsent)
    meeting.scheduler.loop.turn()
    assert meeting.endpoint.asked == ["/0", "/1"]
    meeting.wire.sends = True
    meeting.wire.send(meeting.wire.unsent)
    meeting.scheduler.loop.turn()
    assert meeting.endpoint.asked == ["/0", "/1", "/2"]
    assert not meeting.wire.is_paused()


def test_a_client_that_reads_nothing_of_an_answer_is_cut() -> None:
    meeting = Meeting(send_timeout=30.0)
    meeting.wire.sends = False
    meeting.send(gets(2))
    size = meeting.wire.unsent
    meeting.wait(29.0)
    meeting.wire.send(1)
    meeting.wait(1.0)
    assert meeting.endpoint.limits_reached == []
    meeting.wait(30.0)
    assert meeting.wire.aborted
    assert (meeting.wire.unsent, meeting.endpoint.limits_reached) == (size - 1, ["send_timeout"])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_large_answer_is_written_as_it_is_read(version: str) -> None:
    meeting = Meeting(send_timeout=30.0)
    meeting.wire.sends = False
    body = bytes(range(256)) * 1024
    meeting.endpoint.answer = lambda _: respond(200, body)
    meeting.send(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n")
    for _ in range(len(body) // http_module.PIECE):
        assert 0 < meeting.wire.unsent <= http_module.PIECE + 200
        meeting.wait(29.0)
        meeting.wire.send(meeting.wire.unsent)
        meeting.scheduler.loop.turn()
    assert meeting.wire.written.endswith(body)
    assert meeting.wire.ended is (version == "1.0")
    assert meeting.endpoint.limits_reached == []


def test_a_large_answer_that_is_read_at_once_gives_others_their_turn() -> None:
    meeting = Meeting()
    body = b"a" * (3 * http_module.STEPS * http_module.PIECE)
    meeting.endpoint.answer = lambda _: respond(200, body)
    meeting.send(gets(2))
    turns = 0
    while meeting.scheduler.loop.calls:
        meeting.scheduler.loop.turn()
        turns += 1
    assert turns >= 4
    assert meeting.wire.written.count(b"a" * len(body)) == 2
    assert meeting.endpoint.asked == ["/0", "/1"]


def test_a_last_answer_that_is_not_read_is_cut_too() -> None:
    meeting = Meeting(send_timeout=30.0)
    meeting.wire.sends = False
    meeting.send("GET / HTTP/1.0\r\n\r\n")
    meeting.wait(30.0)
    assert meeting.wire.aborted


@on_loop
async def test_behind_a_request_that_is_being_answered_64_kib_are_read() -> None:
    meeting = Meeting()
    meeting.scheduler.loop.create_task = asyncio.get_running_loop().create_task  # type: ignore[attr-defined]  # the meeting has a part of a loop
    meeting.endpoint.answer = lambda _: asyncio.get_running_loop().create_future()
    meeting.send(gets(1))
    for _ in range(4):
        meeting.send("GET / HTTP/1.1\r\n" + "a" * (16 * 1024 - 16))
    assert not meeting.wire.is_paused()
    meeting.send("a")
    assert meeting.wire.is_paused()
    assert meeting.endpoint.asked == ["/0"]
    meeting.http.connection_lost(None)


@pytest.mark.parametrize(
    ("sent", "statuses", "limit"),
    [("", [], "head_timeout"), ("GET / HT", [408], "head_timeout"), (gets(1), [200], "keep_alive")],
    ids=["nothing", "half a head", "a request"],
)
def test_a_client_without_a_request_is_disconnected_in_time(sent: str, statuses: list[int], limit: str) -> None:
    meeting = Meeting(head_timeout=10.0, keep_alive=75.0)
    seconds = {"head_timeout": 10.0, "keep_alive": 75.0}[limit]
    meeting.wait(1.0 if sent else 0.0)
    if sent:
        meeting.send(sent)
    meeting.wait(seconds - 1.5 if statuses == [408] else seconds - 0.5)
    assert not meeting.wire.is_closing()
    meeting.wait(0.5)
    assert meeting.wire.is_closing()
    assert (meeting.statuses, meeting.endpoint.limits_reached) == (statuses, [limit])


def test_the_time_of_a_second_head_begins_with_its_first_byte() -> None:
    meeting = Meeting(head_timeout=10.0, keep_alive=75.0)
    meeting.send(gets(1))
    meeting.wait(70.0)
    meeting.send("GET /")
    meeting.wait(9.0)
    meeting.send(" HTTP/1.1\r\n")
    assert not meeting.wire.is_closing()
    meeting.wait(1.0)
    assert meeting.statuses == [200, 408]
    assert meeting.wire.is_closing()


def test_a_byte_that_comes_too_late_changes_nothing() -> None:
    meeting = Meeting(head_timeout=10.0)
    meeting.send("GET / HTTP/1.1\r\n")
    meeting.scheduler.clock.step(10.0)
    meeting.send("A")
    meeting.scheduler.loop.turn()
    assert meeting.statuses == [408]
    assert meeting.wire.is_closing()


def test_a_request_that_is_complete_in_the_last_moment_is_answered() -> None:
    meeting = Meeting(head_timeout=10.0)
    meeting.send("GET / HTTP/1.1\r\nHost: x\r\n")
    meeting.scheduler.clock.step(10.0)
    meeting.send("\r\n")
    meeting.scheduler.loop.turn()
    assert meeting.statuses == [200]
    assert not meeting.wire.is_closing()


def test_a_body_has_a_time_of_its_own() -> None:
    meeting = Meeting(head_timeout=10.0, body_timeout=30.0)
    meeting.wait(9.0)
    meeting.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
    meeting.wait(29.0)
    meeting.send("b")
    assert meeting.statuses == []
    meeting.wait(1.0)
    assert (meeting.statuses, meeting.endpoint.limits_reached) == ([408], ["body_timeout"])
    assert b"Access-Control-Allow-Origin: *\r\n" in meeting.wire.written
    assert meeting.wire.ended
    meeting.send("c")
    meeting.wait(http_module.LINGER)
    assert meeting.wire.is_closing()


def test_each_answer_gives_a_client_time_for_the_next_request() -> None:
    meeting = Meeting(keep_alive=75.0)
    for _ in range(5):
        meeting.wait(74.0 if meeting.statuses else 9.0)
        meeting.send(GET)
    assert meeting.statuses == [200] * 5
    assert not meeting.wire.is_closing()
    assert meeting.scheduler.clock.pending() == 1


def test_the_last_request_of_a_connection_is_answered_with_its_end() -> None:
    meeting = Meeting(requests=3)
    meeting.send(gets(5))
    assert meeting.endpoint.asked == ["/0", "/1", "/2"]
    assert meeting.wire.written.count(b"Connection: keep-alive") == 2
    assert meeting.wire.written.count(b"Connection: close") == 1
    assert meeting.wire.ended
    assert meeting.endpoint.limits_reached == ["requests"]


def test_what_follows_a_last_answer_is_ignored_up_to_a_bound() -> None:
    meeting = Meeting()
    meeting.send("GET / HTTP/1.0\r\n\r\ngarbage\r\n\r\n", GET)
    assert meeting.statuses == [200]
    assert meeting.wire.ended
    for _ in range(http_module.MOST_IGNORED // 2**20):
        meeting.send("a" * 2**20)
    assert not meeting.wire.is_closing()
    meeting.send("a")
    assert meeting.wire.aborted
    assert meeting.endpoint.asked == ["/"]


@pytest.mark.parametrize("every", [1.0, 4.9])
def test_the_rest_of_a_refused_request_is_ignored_while_it_comes(every: float) -> None:
    meeting, waited = Meeting(), 0.0
    meeting.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
    assert (meeting.statuses, meeting.wire.ended) == ([413], True)
    while waited + every < http_module.LONGEST_LINGER:
        meeting.send("a" * 1000)
        meeting.wait(every)
        waited += every
        assert not meeting.wire.is_closing()
    meeting.send("a")
    meeting.wait(every)
    assert meeting.wire.closed


def test_a_refused_client_that_sends_nothing_more_is_closed_soon() -> None:
    meeting = Meeting()
    meeting.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", "a")
    meeting.wait(http_module.LINGER - 0.1)
    assert not meeting.wire.is_closing()
    meeting.wait(0.1)
    assert meeting.wire.closed


def test_a_connection_that_has_gone_leaves_no_timer() -> None:
    meeting = Meeting()
    assert len(meeting.connections) == 1
    meeting.http.connection_lost(None)
    assert (len(meeting.connections), meeting.scheduler.clock.pending()) == (0, 0)


def test_a_connection_that_waits_for_a_request_may_be_closed_for_another_one() -> None:
    meeting = Meeting()
    meeting.send("GET")
    assert not meeting.connections.close_longest_waiting()
    meeting.send(" / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert meeting.connections.close_longest_waiting()
    assert meeting.wire.is_closing()


@on_loop
async def test_an_application_may_answer_later() -> None:
    meeting = Meeting()
    meeting.scheduler.loop.create_task = asyncio.get_running_loop().create_task  # type: ignore[attr-defined]  # the meeting has a part of a loop

    async def answered() -> Answer:
        return respond(200, "x")

    meeting.endpoint.answer = lambda _: answered()
    meeting.send(GET)
    assert meeting.wire.written == b""
    await until(lambda: meeting.wire.written.endswith(b"\r\n\r\nx"))
    meeting.http.connection_lost(None)


@on_both_loops
async def test_a_client_that_has_gone_before_its_address_is_known_is_not_served() -> None:
    # Its request can still be read after its reset, and no rule for addresses would apply to it.
    asked: list[str] = []

    def page(request: Request) -> Response:
        asked.append(request.path)
        return respond(200)

    async with serving(Socket, routes={"/gone": page, "/here": page}) as server:
        assert server.endpoint.port is not None
        with socket.create_connection(("127.0.0.1", server.endpoint.port)) as gone:
            gone.sendall(b"GET /gone HTTP/1.1\r\nHost: localhost\r\n\r\n")
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await (await server.tcp()).get("/here")
    assert asked == ["/here"]
