"""How an endpoint that stops ends its connections: in batches, in order, within its time."""

from __future__ import annotations

import asyncio
import errno
import json
import math
import socket as sockets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from actors import Channel, ok
from actors.exits import KILLED
from actors.future import Future
from actors.lowlevel import Scheduler
from actors.testing import WAIT
from tests.transport.wire import (
    HANDSHAKE,
    HEARTBEAT,
    NO_CLOSE_FRAME,
    Client,
    Server,
    Tcp,
    collected,
    limited,
    masked,
    on_both_loops,
    on_loop,
    serving,
    until,
)
from transport import Drainer, Extension, Health, Limits, LongPoll, Socket, respond
from transport.socket_events import DRAIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from actors.channels.message import Reply
    from actors.exits import ExitReason
    from transport.http.exchange import Answer, Application, Incoming

NEVER = 3600.0


class RoomChannel(Channel):
    """Answers, and tells how it ends."""

    ended: list[ExitReason]
    handled: list[Any]

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        self.handled.append(payload)
        if event == "shout":
            self.broadcast("shout", payload)
        return ok()

    def terminate(self, reason: ExitReason) -> None:
        self.ended.append(reason)


class StuckChannel(RoomChannel):
    """Has handlers that wait for what does not come."""

    shutdown = NEVER

    async def handle_in(self, event: str, payload: Any) -> Any:
        self.handled.append(payload)
        await Future[None](Scheduler.here())


class GatedChannel(RoomChannel):
    """Has handlers that wait until the test lets them go on."""

    gate: asyncio.Event

    async def handle_in(self, event: str, payload: Any) -> Any:
        self.handled.append(payload)
        await self.gate.wait()
        return ok()


class UserSocket(Socket):
    channels = {"room:*": RoomChannel, "stuck:*": StuckChannel, "gated:*": GatedChannel}  # noqa: RUF012  # as an author writes it


@pytest.fixture(autouse=True)
def _fresh() -> None:
    RoomChannel.ended, RoomChannel.handled = [], []


@asynccontextmanager
async def stopping(server: Server) -> AsyncIterator[asyncio.Task[None]]:
    """Stop the system, while the block goes on; at its end the system has stopped."""
    task = asyncio.create_task(server.system.stop())
    try:
        yield task
    finally:
        async with asyncio.timeout(WAIT):
            await task


async def poll(tcp: Tcp, token: str | None = None) -> dict[str, Any]:
    """Poll, and return the body of the answer, whose status is 200."""
    answer = await tcp.get("/socket/longpoll?vsn=2.0.0" + ("" if token is None else f"&token={token}"))
    assert answer.status == 200, answer
    body: dict[str, Any] = json.loads(answer.body)
    return body


async def post(tcp: Tcp, token: str, *messages: list[Any]) -> dict[str, Any]:
    body = "\n".join(map(json.dumps, messages))
    head = f"POST /socket/longpoll?vsn=2.0.0&token={token} HTTP/1.1\r\nHost: localhost\r\n"
    await tcp.send(f"{head}Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    answer: dict[str, Any] = json.loads((await tcp.answer()).body)
    return answer


async def first_batch(*clients: Client) -> None:
    """Wait until the first client has been told to go elsewhere."""
    assert await clients[0].closed() == 1012


# Batches


@on_both_loops
async def test_a_batch_is_closed_at_once_and_the_others_go_on_until_it_is_their_turn() -> None:
    async with serving(UserSocket, drainer=Drainer(2, NEVER), health=Health()) as server:
        idle, first, last = [await server.connect() for _ in range(3)]
        await first.join("room:1")
        join_ref = await last.join("room:1")
        async with stopping(server):
            assert [await idle.closed(), await first.closed()] == [1012, 1012]
            assert await last.ask(join_ref, "room:1", "echo") == {}
            await last.close()
    assert [str(reason) for reason in RoomChannel.ended] == ["Shutdown(detail='draining')", "Shutdown(detail='closed')"]


@on_loop
async def test_every_round_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with collected(DRAIN, lambda numbers, about: (numbers, about["interval"], about["endpoint"])) as rounds:
        async with serving(UserSocket, drainer=Drainer(2, 0.01)) as server:
            clients = [await server.connect() for _ in range(5)]
            async with stopping(server):
                assert [await client.closed() for client in clients] == [1012] * 5
    assert [numbers for numbers, *_ in rounds] == [
        {"count": 2, "total": 5, "index": 1, "rounds": 3},
        {"count": 2, "total": 5, "index": 2, "rounds": 3},
        {"count": 1, "total": 5, "index": 3, "rounds": 3},
    ]
    assert {(interval, endpoint) for _, interval, endpoint in rounds} == {(0.01, server.endpoint)}
    assert "DRAINING 2 of 5 connection(s), one batch every 0.01 s - round 2 of 3" in caplog.text


@on_loop
async def test_a_whole_number_of_batches_needs_no_further_round() -> None:
    with collected(DRAIN, lambda numbers, _: numbers["rounds"]) as rounds:
        async with serving(UserSocket, drainer=Drainer(2, 0.0)) as server:
            clients = [await server.connect() for _ in range(4)]
            async with stopping(server):
                assert [await client.closed() for client in clients] == [1012] * 4
    assert rounds == [2, 2]


@on_loop
async def test_nothing_is_waited_for_without_clients() -> None:
    with collected(DRAIN, lambda numbers, _: numbers) as rounds:
        async with serving(UserSocket, drainer=Drainer(1, NEVER, NEVER)) as server, stopping(server):
            pass
    assert rounds == []


# The time


@on_loop
async def test_what_is_left_at_the_end_of_the_time_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(UserSocket, drainer=Drainer(1, NEVER, 0.05)) as server:
        first, last = [await server.connect() for _ in range(2)]
        await last.join("room:1")
        async with stopping(server):
            assert [await first.closed(), await last.closed()] == [1012, NO_CLOSE_FRAME]
    assert "cut 1 connection(s), as the time to drain is over" in caplog.text


@on_loop
async def test_a_handler_that_does_not_end_is_not_waited_for_longer(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(UserSocket, drainer=Drainer(shutdown=0.05)) as server:
        client = await server.connect()
        join_ref = await client.join("stuck:1")
        await client.send(join_ref, "1", "stuck:1", "wait", {})
        await client.nothing_came()
        async with stopping(server):
            assert await client.closed() == 1012
    assert (RoomChannel.handled, RoomChannel.ended) == ([{}], [KILLED])
    assert "cut 1 connection(s), as the time to drain is over" in caplog.text


@pytest.mark.parametrize(
    ("shutdown", "left", "seconds"),
    [
        (30.0, math.inf, 30.0),
        (30.0, 30.0, 29.0),
        (30.0, 2.0, 1.8),
        (5.0, 30.0, 5.0),
        (30.0, 0.0, 0.0),
        (0.0, 30.0, 0.0),
    ],
)
def test_a_drain_leaves_some_of_the_systems_time_for_what_stops_after_it(
    shutdown: float, left: float, seconds: float
) -> None:
    assert Drainer(shutdown=shutdown).seconds(left) == pytest.approx(seconds)


@on_loop
async def test_a_system_with_less_time_has_the_rest_cut_in_order(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(UserSocket, drainer=Drainer(1, NEVER)) as server:
        server.system.shutdown_timeout = 0.5
        first, last = [await server.connect() for _ in range(2)]
        async with stopping(server):
            assert [await first.closed(), await last.closed()] == [1012, NO_CLOSE_FRAME]
    assert "shutdown_timeout" not in caplog.text


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number >= 1, got 2.5"),
        ({"batch_interval": -1}, "batch_interval must be seconds >= 0, got -1"),
        ({"batch_interval": math.inf}, "batch_interval must be a finite number of seconds, got inf"),
        ({"batch_interval": math.nan}, "batch_interval must be seconds >= 0, got nan"),
        ({"shutdown": "30"}, "shutdown must be seconds >= 0, got '30'"),
        ({"shutdown": math.inf}, "shutdown must be a finite number of seconds, got inf"),
    ],
    ids=repr,
)
def test_options_that_make_no_sense(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Drainer(**options)


# New clients


@on_loop
async def test_new_clients_are_told_to_try_elsewhere() -> None:
    async with serving(UserSocket, drainer=Drainer(1, NEVER), health=Health()) as server:
        first, last, tcp = await server.connect(), await server.connect(), await server.tcp()
        assert (await tcp.get("/health/ready")).status == 200
        async with stopping(server):
            await first_batch(first)
            ready = await tcp.get("/health/ready")
            assert (ready.status, ready.body) == (503, '{"status":"draining"}')
            assert (await tcp.get("/health/live")).status == 200
            for path in ("/socket/websocket?vsn=2.0.0", "/socket/longpoll?vsn=2.0.0"):
                late = await server.tcp()
                await late.send(HANDSHAKE.replace("/socket/websocket?vsn=2.0.0", path))
                assert (await late.answer()).status == 503
            await last.close()


class SlowSocket(Socket):
    """Accepts its clients when the test lets it."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it
    asked: asyncio.Event
    may_accept: asyncio.Event

    async def connect(self, params: Any, connect_info: Any) -> Reply:
        self.asked.set()
        await self.may_accept.wait()
        return ok()


@on_loop
async def test_a_client_that_is_accepted_too_late_is_refused() -> None:
    SlowSocket.asked, SlowSocket.may_accept = asyncio.Event(), asyncio.Event()
    async with serving({"/socket": SlowSocket, "/fast": UserSocket}, drainer=Drainer(1, NEVER)) as server:
        clients, late = [await server.connect("/fast") for _ in range(2)], await server.tcp()
        await late.send(HANDSHAKE)
        await SlowSocket.asked.wait()
        async with stopping(server):
            await first_batch(*clients)
            SlowSocket.may_accept.set()
            assert (await late.answer()).status == 503
            await clients[1].close()


# Long polling


@on_both_loops
async def test_a_waiting_poll_is_answered_with_what_there_is_and_later_ones_with_410() -> None:
    async with serving(UserSocket, drainer=Drainer(1, NEVER), longpoll=LongPoll(window=NEVER)) as server:
        waiting, tcp = await server.tcp(), await server.tcp()
        token = (await poll(tcp))["token"]
        other = await server.connect()
        task = asyncio.create_task(poll(waiting, token))
        assert await post(tcp, token, ["1", "1", "room:1", "phx_join", {}]) == {"status": 200}
        assert [json.loads(message)[3] for message in (await task)["messages"]] == ["phx_reply"]
        task = asyncio.create_task(poll(waiting, token))
        await asyncio.sleep(0)
        async with stopping(server):
            assert await task == {"status": 204, "token": token, "messages": []}
            assert await poll(tcp, token) == {"status": 410}
            assert await post(tcp, token, ["1", "2", "room:1", "echo", {}]) == {"status": 410}
            await other.close()


# HTTP


class Slow(Extension):
    """Answers when the test lets it."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    def handlers(self) -> Mapping[str, Application]:
        return {"/slow": self.answer}

    async def answer(self, _incoming: Incoming) -> Answer:
        self.asked.set()
        await self.may_answer.wait()
        return respond(200, "at last")


GET_SLOW, GET_PAGE = (f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in ("/slow", "/"))


@on_both_loops
async def test_requests_are_answered_and_other_connections_closed() -> None:
    slow = Slow()
    routes = {"/": lambda _: respond(200, "page")}
    async with serving(UserSocket, extensions=[slow], routes=routes) as server:
        asking, pipelining, idle, half, body = [await server.tcp() for _ in range(5)]
        await asking.send(GET_SLOW)
        await pipelining.send(GET_SLOW, GET_PAGE, GET_PAGE[:20])
        assert (await idle.get("/")).body == "page"
        await half.send(GET_PAGE, GET_PAGE[:20])
        assert (await half.answer()).body == "page"
        await body.send("POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhal")
        assert (await idle.get("/")).body == "page"
        await slow.asked.wait()
        async with stopping(server):
            assert [await each.ended() for each in (idle, half, body)] == [b""] * 3
            slow.may_answer.set()
            answer = await asking.answer()
            assert (answer.body, answer.header("Connection")) == ("at last", ["close"])
            assert [(await pipelining.answer()).body, (await pipelining.answer()).body] == ["at last", "page"]
            assert [await each.ended() for each in (asking, pipelining)] == [b"", b""]


@on_loop
async def test_a_request_that_is_not_answered_in_time_is_cut() -> None:
    slow = Slow()
    async with serving(UserSocket, extensions=[slow], drainer=Drainer(shutdown=0.05)) as server:
        tcp = await server.tcp()
        await tcp.send(GET_SLOW)
        await slow.asked.wait()
        async with stopping(server):
            assert await tcp.ended() == b""


# The port


def request(server: Server, *data: bytes) -> sockets.socket:
    """Send something on a new connection, while the server is not served by the event loop."""
    assert server.endpoint.port is not None
    client = sockets.create_connection((server.endpoint.host, server.endpoint.port))
    client.sendall(b"".join(data))
    client.settimeout(0)
    return client


async def adopted(client: sockets.socket) -> Tcp:
    return Tcp(*await asyncio.open_connection(sock=client))


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "beside another process"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_waits_in_the_kernels_queue_is_accepted(shares: bool, loop: str) -> None:  # noqa: FBT001  # a case
    async def test() -> None:
        async with serving(UserSocket, routes={"/": lambda _: respond(200, "page")}, reuse_port=shares) as server:
            stop = server.system.stop()
            waiting = [request(server, GET_PAGE.encode()) for _ in range(100)]
            upgrading = request(server, HANDSHAKE.encode())
            async with asyncio.timeout(WAIT):
                await stop
            for client in waiting:
                tcp = await adopted(client)
                assert (await tcp.answer()).body == "page"
                await tcp.close()
            tcp = await adopted(upgrading)
            assert (await tcp.answer()).status == (101 if shares else 503)
            if shares:
                assert await tcp.close_code() == 1012
            await tcp.close()

    import uvloop  # noqa: PLC0415

    factory = asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(test())


@on_loop
async def test_beside_another_process_the_port_is_closed_before_the_first_batch() -> None:
    async with serving(UserSocket, drainer=Drainer(1, NEVER), reuse_port=True) as server:
        idle = await server.tcp()
        await idle.get("/nowhere")
        first, last = [await server.connect() for _ in range(2)]
        async with stopping(server):
            assert await idle.ended() == b""
            await first_batch(first)
            with pytest.raises(ConnectionRefusedError):
                await server.tcp()
            await last.close()


# What was received


@on_both_loops
async def test_what_was_received_is_handled_before_the_end() -> None:
    async with serving(UserSocket) as server:
        tcp = await server.tcp()
        await tcp.upgrade()
        pushes = [json.dumps(["1", str(n), "room:1", "echo", {"n": n}]) for n in range(2, 1000)]
        await tcp.send(masked(0x81, '["1","1","room:1","phx_join",{}]'), *(masked(0x81, push) for push in pushes))
        await tcp.send(masked(0x81, HEARTBEAT))
        await until(lambda: tcp.writer.transport.get_write_buffer_size() == 0)  # else it is not received before the end
        frames = [await tcp.text()]
        async with stopping(server):
            while (got := await tcp.frame())[0] == 0x81:
                frames.append(got[1].decode())
        assert got[1] == (1012).to_bytes(2, "big")
    answered = [json.loads(frame)[1] for frame in frames]
    answered.remove("beat")  # there is no order between topics
    assert answered == [*map(str, range(1, 1000))]
    assert RoomChannel.handled == [{"n": n} for n in range(2, 1000)]


@on_both_loops
async def test_what_was_posted_is_handled_before_the_end() -> None:
    GatedChannel.gate = asyncio.Event()
    options: dict[str, Any] = {"longpoll": LongPoll(window=NEVER), "limits": Limits(waiting_messages=10)}
    async with serving(UserSocket, **options) as server:
        tcp, posting = await server.tcp(), await server.tcp()
        token = (await poll(tcp))["token"]
        await post(tcp, token, ["1", "1", "gated:1", "phx_join", {}])
        task = asyncio.create_task(post(posting, token, *(["1", str(n), "gated:1", "x", {"n": n}] for n in range(90))))
        await until(lambda: bool(RoomChannel.handled))
        async with stopping(server):
            await until(lambda: server.endpoint.refuses)
            await tcp.get("/nowhere")
            assert await post(tcp, token, ["1", "late", "gated:1", "x", {}]) == {"status": 410}
            GatedChannel.gate.set()
            assert await task == {"status": 200}
    assert RoomChannel.handled == [{"n": n} for n in range(90)]


@on_loop
async def test_an_endpoint_whose_listener_is_dead_drains_too() -> None:
    async with serving(UserSocket, drainer=Drainer(1, NEVER)) as server:
        first, last = [await server.connect() for _ in range(2)]
        listener = server.find("listener")
        async with stopping(server):
            await first_batch(first)
            listener.kill()
            await last.close()


def test_a_client_that_resets_its_connection_at_that_moment_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def not_connected(transport: asyncio.Transport) -> None:
        transport.abort()
        raise OSError(errno.ENOTCONN, "the reset has come after the close frame was written")

    async def test() -> None:
        async with serving(UserSocket, routes={"/": lambda _: respond(200, "page")}) as server:
            client, tcp = await server.connect(), await server.tcp()
            monkeypatch.setattr("asyncio.selector_events._SelectorSocketTransport.write_eof", not_connected)
            await tcp.get("/", "Connection: close")
            async with stopping(server):
                assert await client.closed() == 1012

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(limited(test()))
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
