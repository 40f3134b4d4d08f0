"""A client's long polling, with servers of all sorts."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from actors.testing import ManualClock
from tests.transport.client_meeting import Log, closes, joins, opens, run
from tests.transport.http_script import HttpRequest, HttpScript
from tests.transport.test_client_driver import pass_time
from transport.client import ConnectError, LongPollError, ParamsError, Socket

if TYPE_CHECKING:
    from collections.abc import Callable


TOKEN = "a secret"  # noqa: S105  # for a test


def client(server: HttpScript, **options: Any) -> Socket:
    return Socket(server.url, **{"transport": "longpoll", "jitter": 0, "reconnect_after": lambda _: 1000.0, **options})


async def opened(server: HttpScript, socket: Socket) -> HttpRequest:
    """Connect; return the poll that waits."""
    log = opens(socket)
    socket.connect()
    await server.begin()
    await log.until(1)
    poll: HttpRequest = await server.next("GET")
    return poll


def test_a_session_is_what_phoenix_js_makes_of_it() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket = client(server, params={"user": "ann"}, auth_token=TOKEN, headers={"X-One": "1"}, origin="http://o")
            log, messages = opens(socket), Log()
            socket.on_message(messages.add)
            socket.connect()
            first = await server.begin("T1&")
            assert first.line == "GET /socket/longpoll?user=ann&vsn=2.0.0 HTTP/1.1"
            expected = {
                "Host": f"127.0.0.1:{server.port}",
                "Accept": "application/json",
                "X-Phoenix-AuthToken": TOKEN,
            }
            assert {**first.headers, **expected, "X-One": "1", "Origin": "http://o"} == first.headers
            await log.until(1)
            poll = await server.next("GET")
            assert poll.line == "GET /socket/longpoll?user=ann&vsn=2.0.0&token=T1%26 HTTP/1.1"
            poll.answer({"status": 204, "token": "T1&", "messages": []})
            poll = await server.next("GET")
            poll.answer(
                {"status": 200, "token": "T2", "messages": ['[null,null,"a","b",{"n":1}]', "\u0002\u0001\u0001abxyz"]}
            )
            ((one,), (two,)) = await messages.until(2)
            assert [(m.topic, m.event, m.payload) for m in (one, two)] == [("a", "b", {"n": 1}), ("a", "b", b"xyz")]
            assert "token=T2 " in (await server.next("GET")).line
            assert server.connections == 1, "the connection is kept"
            await socket.close()

    run(conversation())


def test_what_is_sent_meanwhile_goes_with_the_next_post() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket = client(server)
            await opened(server, socket)
            rooms = [socket.channel(f"room:{number}") for number in range(4)]
            for room in rooms[:2]:
                room.join()
            post = await server.next("POST")
            assert post.headers["Content-Type"] == "application/x-ndjson"
            assert [json.loads(line)[2:4] for line in post.body.splitlines()] == [
                ["room:0", "phx_join"],
                ["room:1", "phx_join"],
            ]
            for room in rooms[2:]:
                room.join()
                await asyncio.sleep(0)
            post.answer({"status": 200})
            second = await server.next("POST")
            assert [json.loads(line)[2] for line in second.body.splitlines()] == ["room:2", "room:3"]
            assert post.writer is second.writer
            second.writer.close()
            await socket.close()

    run(conversation())


def test_what_was_sent_before_the_end_is_posted() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket = client(server)
            await opened(server, socket)
            socket.channel("room:1").join()
            closing = asyncio.create_task(socket.close())
            for event in ("phx_join", "phx_leave"):
                post = await server.next("POST")
                assert [json.loads(line)[3] for line in post.body.splitlines()] == [event]
                assert not closing.done()
                post.answer({"status": 200})
            await closing
            assert [await server.next(), await server.next()] == [None, None]

    run(conversation())


ENDS = [
    ({"status": 410, "token": "NEW"}, (3410, "session_gone")),
    ({"status": 403}, (1008, "forbidden")),
    ({"status": 500}, (1011, "status 500")),
    (b"<html>Bad Gateway</html>", (1011, "internal server error")),
    (b'{"status":200,"messages":[5]}', (1011, "internal server error")),
    (b'{"status":200,"messages":["\\ud800"]}', (1011, "internal server error")),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("body", "end"), ENDS, ids=range(len(ENDS)))
def test_an_answer_may_end_the_session_and_another_begins(body: object, end: tuple[int, str], method: str) -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            clock = ManualClock()
            socket = client(server, clock=clock)
            request, closed = await opened(server, socket), closes(socket)
            if method == "POST":
                socket.channel("room:1").join()
                request = await server.next("POST")
            request.answer(body)
            assert await closed.until(1) == [end]
            pass_time(clock, 1000)
            while (request := await server.next()) is None:
                pass
            assert "token" not in request.line
            await socket.close()

    run(conversation())


def test_a_server_that_does_not_wait_for_messages_is_not_called_again_and_again() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            clock = ManualClock()
            socket = client(server, clock=clock)
            poll, paused, call_after = await opened(server, socket), Log(), clock.call_after

            def call(seconds: float, callback: Callable[[], object]) -> object:
                if seconds == 1:
                    paused.add()
                return call_after(seconds, callback)

            clock.call_after = call  # type: ignore[method-assign,assignment]  # it logs
            for _ in range(2):
                poll.answer({"status": 204})
                poll = await server.next("GET")
            for count in range(1, 4):
                poll.answer({"status": 204})
                await paused.until(count)
                pass_time(clock, 1)
                poll = await server.next("GET")
            pass_time(clock, 10)
            poll.answer({"status": 204})
            poll = await server.next("GET")
            poll.answer({"status": 200, "messages": ['[null,null,"a","b",{}]']})
            poll = await server.next("GET")
            assert len(paused.entries) == 3, "neither after a wait nor after a message"
            for _ in range(2):
                poll.answer({"status": 204})
                poll = await server.next("GET")
            poll.answer({"status": 204})
            await paused.until(4)
            await socket.close()

    run(conversation())


def test_a_server_that_goes_away_ends_the_session() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket = client(server)
            poll, closed = await opened(server, socket), closes(socket)
            poll.writer.close()
            assert await closed.until(1) == [(1006, "the server has closed the connection")]
            await socket.close()

    run(conversation())


def test_a_message_that_is_too_long_ends_the_session(caplog: pytest.LogCaptureFixture) -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket = client(server, max_size=1000)
            poll, closed = await opened(server, socket), closes(socket)
            poll.answer({"status": 200, "messages": ["x" * 1001]})
            assert await closed.until(1) == [(1009, "")]
            await socket.close()

    run(conversation())
    assert "a message exceeds limit of 1000 bytes" in caplog.text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_silent_server_is_noticed(method: str) -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            clock = ManualClock()
            socket = client(server, clock=clock, longpoll_timeout=15)
            poll, closed = await opened(server, socket), closes(socket)
            if method == "POST":
                socket.channel("room:1").join(timeout=1000)
                await server.next("POST")
                pass_time(clock, 10)
                poll.answer({"status": 204})
                await server.next("GET")
                pass_time(clock, 5)
            else:
                pass_time(clock, 14)
                assert closed.entries == []
                pass_time(clock, 1)
            assert await closed.until(1) == [(1005, "timeout")]
            await socket.close()

    run(conversation())


def test_an_answer_may_take_long_as_long_as_bytes_come() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            clock, messages = ManualClock(), Log()
            socket = client(server, clock=clock)
            socket.on_message(messages.add)
            poll = await opened(server, socket)
            armed, call_after = Log(), clock.call_after
            clock.call_after = lambda *args: (armed.add(), call_after(*args))[1]  # type: ignore[method-assign,func-returns-value]  # it logs
            body = json.dumps({"status": 200, "messages": ['[null,null,"a","b",{}]']}).encode()
            poll.writer.write(
                f"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            )
            for number, byte in enumerate(body, 1):
                await armed.until(number)
                pass_time(clock, 19)
                poll.writer.write(bytes([byte]))
            await messages.until(1)
            assert socket.is_open
            await socket.close()

    run(conversation())


REFUSALS: list[tuple[Callable[[HttpRequest], None], str]] = [
    (lambda request: request.answer({"status": 403}), "the server refused long polling with status 403"),
    (lambda request: request.answer({"status": 410}), "the server refused long polling with status 410"),
    (
        lambda request: request.answer(b"Not found", head="HTTP/1.1 404 Not Found"),
        "a GET was answered with HTTP status 404, not by long polling",
    ),
    (lambda request: request.writer.write(b"SSH-2.0-OpenSSH\r\n\r\n"), "the server's answer is not HTTP: .*"),
    (lambda request: request.writer.close(), "the server has closed the connection"),
    (lambda request: request.answer({"status": 403, "x": "y" * 5000}), "the server's answer has more than 4000 bytes"),
]


@pytest.mark.parametrize(("answer", "message"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_server_that_does_not_speak_long_polling_is_an_error(
    answer: Callable[[HttpRequest], None], message: str
) -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            connecting = asyncio.create_task(client(server, max_size=1000).__aenter__())
            answer(await server.next("GET"))
            with pytest.raises(ConnectError, match=f"^cannot connect to .*: {message}$") as caught:
                await connecting
            assert isinstance(caught.value.cause, LongPollError | OSError)

    run(conversation())


def test_an_answer_may_end_with_its_connection() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket = client(server)
            socket.connect()
            first = await server.next("GET")
            first.writer.write(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"status":410,"token":"T"}')
            first.writer.close()
            assert await server.next() is None
            poll = await server.next("GET")
            assert server.connections == 2
            poll.writer.write(
                b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"status":204}  \r\n0\r\n\r\n'
            )
            await server.next("GET")
            await socket.close()

    run(conversation())


def test_cookies_of_a_load_balancer_are_sent_back_in_both_directions() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket = client(server)
            socket.connect()
            first = await server.next("GET")
            assert "Cookie" not in first.headers
            cookies = 'Set-Cookie: node=a1; Path=/; HttpOnly\r\nset-cookie: lb="x y"\r\nSet-Cookie: bad cookie\r\n'
            first.answer({"status": 410, "token": "T"}, headers=cookies)
            assert (await server.next("GET")).headers["Cookie"] == 'node=a1; lb="x y"'
            socket.channel("room:1").join()
            assert (await server.next("POST")).headers["Cookie"] == 'node=a1; lb="x y"'
            await socket.disconnect()
            await socket.close()

    run(conversation())


def test_a_token_that_is_no_header_is_an_error_without_it() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            with pytest.raises(ConnectError, match="printable ASCII") as caught:
                await client(server, auth_token=f"{TOKEN}\r\nX-Injected: 1").__aenter__()
            assert isinstance(caught.value.cause, ParamsError)
            assert TOKEN not in str(caught.value)

    run(conversation())


@pytest.mark.parametrize("end", [Socket.close, Socket.disconnect])
def test_a_session_that_is_closed_while_it_begins_leaves_nothing(end: Callable[[Socket], Any]) -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket = client(server)
            socket.connect()
            await server.next("GET")
            await end(socket)
            assert await server.next() is None

    run(conversation())


# Redirects


def test_a_redirect_on_the_same_host_is_followed_by_both_directions() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as old, HttpScript().serve() as new:
            socket = client(old)
            socket.connect()
            first = await old.next("GET")
            location = f"Location: http://127.0.0.1:{new.port}/moved/longpoll?vsn=2.0.0\r\n"
            first.answer(b"", head="HTTP/1.1 301 Moved Permanently", headers=location)
            moved = await new.next("GET")
            assert moved.line == "GET /moved/longpoll?vsn=2.0.0 HTTP/1.1"
            moved.answer(b"", head="HTTP/1.1 307 Temporary Redirect", headers="Location: /again\r\n")
            while (again := await new.next()) is None:
                pass
            assert again.line == "GET /again HTTP/1.1"
            again.answer({"status": 410, "token": "T"})
            assert (await new.next("GET")).line == "GET /again?token=T HTTP/1.1"
            socket.channel("room:1").join()
            assert (await new.next("POST")).line == "POST /again?token=T HTTP/1.1"
            await socket.disconnect()
            await socket.close()

    run(conversation())


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://example.invalid/socket", "a redirect to http://example.invalid/socket is not followed"),
        ("ftp://127.0.0.1/socket", "a redirect to ftp://127.0.0.1/socket is not followed"),
        ("", "the server redirects more than 5 times"),
    ],
)
def test_a_redirect_elsewhere_is_an_error(location: str, message: str) -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            connecting = asyncio.create_task(client(server).__aenter__())
            while not connecting.done():
                asking = asyncio.create_task(server.next())
                await asyncio.wait([asking, connecting], return_when=asyncio.FIRST_COMPLETED)
                if asking.done() and (request := asking.result()) is not None:
                    request.answer(b"", head="HTTP/1.1 302 Found", headers=f"Location: {location}\r\n")
                asking.cancel()
            with pytest.raises(ConnectError, match=f": {message}$"):
                await connecting

    run(conversation())


def test_connecting_again_takes_no_longer_than_any_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            clock = ManualClock()
            socket, tried = client(server, clock=clock), Log()
            poll, closed = await opened(server, socket), closes(socket)

            async def never(*_arguments: object, **_options: object) -> None:
                tried.add()
                await asyncio.Event().wait()

            monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
            poll.answer({"status": 204}, headers="Connection: close\r\n")
            await tried.until(1)
            pass_time(clock, 20)
            assert await closed.until(1) == [(1005, "timeout")]
            await socket.close()

    run(conversation())


def test_a_socket_that_is_closed_while_it_connects_again_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket, tried = client(server, clock=ManualClock()), Log()
            poll = await opened(server, socket)

            async def never(*_arguments: object, **_options: object) -> None:
                tried.add()
                await asyncio.Event().wait()

            monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
            poll.answer({"status": 204}, headers="Connection: close\r\n")
            await tried.until(1)
            await socket.close()

    run(conversation())


# Proxies


def test_a_proxy_forwards_what_needs_no_tls() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as proxy:
            url, at = "ws://example.invalid:4000/socket", f"http://ann:se%20cret@127.0.0.1:{proxy.port}"
            socket = Socket(url, transport="longpoll", proxy=at)
            socket.connect()
            first = await proxy.begin()
            assert first.line == "GET http://example.invalid:4000/socket/longpoll?vsn=2.0.0 HTTP/1.1"
            assert first.headers["Host"] == "example.invalid:4000"
            assert first.headers["Proxy-Authorization"] == "Basic YW5uOnNlIGNyZXQ="
            await proxy.next("GET")
            await socket.close()

    run(conversation())


def test_a_proxy_makes_a_tunnel_for_what_needs_tls() -> None:
    async def conversation() -> None:
        async with HttpScript().serve() as proxy:
            socket = Socket(
                "wss://example.invalid/socket", transport="longpoll", proxy=f"http://127.0.0.1:{proxy.port}"
            )
            errors = Log()
            socket.on_error(errors.add)
            socket.connect()
            request = await proxy.next("CONNECT")
            assert request.line == "CONNECT example.invalid:443 HTTP/1.1"
            request.answer(b"", head="HTTP/1.1 407 Proxy Authentication Required")
            ((error,),) = await errors.until(1)
            assert "HTTP 407" in str(error)
            await socket.close()

    run(conversation())


# Falling back


async def refuse(connection: ServerConnection) -> None:
    await connection.close(1001)


def test_where_a_websocket_is_refused_long_polling_takes_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ashtree.client")

    async def conversation() -> None:
        async with HttpScript().serve() as server:
            socket, joined = client(server, transport="websocket", longpoll_fallback=30), None
            joined = joins(socket.channel("room:1"))
            log = opens(socket)
            socket.connect()
            upgrade = await server.next("GET /socket/websocket?")
            upgrade.answer(b"", head="HTTP/1.1 403 Forbidden")
            while (first := await server.next()) is None:
                pass
            assert first.line.startswith("GET /socket/longpoll?")
            first.answer({"status": 410, "token": "T"})
            await log.until(1)
            assert socket.transport == "longpoll"
            requests = [await server.next(), await server.next()]
            post = next(request for request in requests if request.line.startswith("POST"))
            poll = next(request for request in requests if request.line.startswith("GET"))
            post.answer({"status": 200})
            join_ref, ref, topic, *_ = json.loads(post.body)
            reply = json.dumps([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {"n": 1}}])
            poll.answer({"status": 200, "messages": [reply]})
            assert await joined.until(1) == [("ok", {"n": 1})]
            await socket.disconnect()
            await socket.close()

    run(conversation())
    assert (
        "falling back to long polling, as a WebSocket does not work: server rejected WebSocket connection: HTTP 403"
        in (caplog.text)
    )


def test_where_nothing_passes_through_a_websocket_long_polling_takes_over() -> None:
    connections = Log()

    async def swallow(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        connections.add(connection)
        await connection.wait_closed()

    async def conversation() -> None:
        clock = ManualClock()
        async with serve(swallow, "127.0.0.1", 0, ping_interval=None) as server:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/socket"
            async with Socket(url, clock=clock, longpoll_fallback=2.5) as socket:
                errors = Log()
                socket.on_error(errors.add)
                assert socket.transport == "websocket"
                pass_time(clock, 2.5)
                assert (socket.transport, socket.state) == ("longpoll", "connecting")
                ((error,),) = await errors.until(1)
                assert isinstance(error, LongPollError | OSError)
                ((first,), *_) = connections.entries
                first.transport.abort()

    run(conversation())
