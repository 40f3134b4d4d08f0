"""The driver of a client: connections to all sorts of servers, timers on a clock, functions of the user."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request
from websockets.server import ServerProtocol

from actors import Reply, ok
from actors.channel import Channel
from actors.testing import ManualClock
from supervisors import System
from tests.transport.client_meeting import Log, closes, joins, opens, run
from transport import ConnectInfo, Endpoint
from transport import Socket as ServerSocket
from transport.client import BufferFullError, ConnectError, JoinError, NotJoinedError, ParamsError, Socket
from transport.exceptions import UnencodableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


class Script:
    """A server that a test controls: it reads into `messages`, and `connections` logs the clients."""

    def __init__(self) -> None:
        self.connections = Log()
        self.messages = Log()
        self.port = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Script]:
        async with serve(self._handle, "127.0.0.1", 0, ping_interval=None) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def _handle(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        async for data in connection:
            self.messages.add(data)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/socket"

    async def last(self, count: int) -> ServerConnection:
        """Return the connection of that number, once it exists."""
        connection: ServerConnection = (await self.connections.until(count))[count - 1][0]
        return connection


def pass_time(clock: ManualClock, seconds: float) -> None:
    end = clock.now() + seconds
    while clock.step(end):
        pass


# Time


def test_a_server_that_does_not_answer_heartbeats_is_left_for_a_new_connection() -> None:
    async def conversation() -> None:
        clock = ManualClock()
        async with Script().serve() as server, Socket(server.url, clock=clock) as socket:
            closed, opened = closes(socket), opens(socket)
            pass_time(clock, 30)
            ((beat,),) = await server.messages.until(1)
            assert json.loads(beat)[2:] == ["phoenix", "heartbeat", {}]
            pass_time(clock, 30)
            assert closed.entries == [(1000, "heartbeat timeout")]
            pass_time(clock, 0.01)
            await opened.until(1)
            assert len(server.connections.entries) == 2
            first = await server.last(1)
            await first.wait_closed()
            assert (first.close_code, first.close_reason) == (1000, "heartbeat timeout")

    run(conversation())


def test_a_server_that_falls_silent_is_noticed_as_time_goes_by() -> None:
    connections = Log()

    async def answer(connection: ServerConnection) -> None:
        connections.add(connection)
        async for data in connection:
            join_ref, ref, topic, *_ = json.loads(data)
            await connection.send(json.dumps([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]))

    async def conversation() -> None:
        async with serve(answer, "127.0.0.1", 0, ping_interval=None) as server:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/socket"
            async with Socket(url, heartbeat_interval=0.1) as socket:
                closed, joined = closes(socket), joins(socket.channel("room:1"))
                await joined.until(1)
                ((first,),) = await connections.until(1)
                # From here on the server behaves as if its machine were down: it reads and sends nothing.
                first.transport.pause_reading()
                assert (await joined.until(2))[:2] == [("ok", {})] * 2
                assert closed.entries[0] == (1000, "heartbeat timeout")
                assert len(connections.entries) > 1
                first.transport.resume_reading()

    run(conversation())


def test_a_message_that_takes_longer_than_the_heartbeat_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    body = "x" * 100_000
    message = json.dumps([None, None, "room:1", "event", body]).encode()
    # An unmasked text frame with a size of eight bytes (RFC 6455, section 5.2).
    frame = b"\x81\x7f" + len(message).to_bytes(8) + message

    async def conversation() -> None:
        clock = ManualClock()
        async with Script().serve() as server, Socket(server.url, clock=clock) as socket:
            received, messages, heard = Log(), Log(), socket.protocol.heard
            socket.on_message(messages.add)

            def hear(connection: int) -> None:
                heard(connection)
                received.add()

            monkeypatch.setattr(socket.protocol, "heard", hear)
            connection = await server.last(1)
            for start in range(0, len(frame), 20_000):
                pass_time(clock, 30)
                before = len(received.entries)
                connection.transport.write(frame[start : start + 20_000])
                await received.until(before + 1)
            ((got,),) = await messages.until(1)
            assert (got.payload == body, socket.is_open, len(server.connections.entries)) == (True, True, 1)

    run(conversation())


def test_a_message_that_takes_longer_than_the_heartbeat_is_sent() -> None:
    connections = Log()

    async def take(connection: ServerConnection) -> None:
        # It reads as slowly as the test has it.
        connection.transport.pause_reading()
        connections.add(connection)
        await connection.wait_closed()

    async def conversation() -> None:
        clock = ManualClock()
        async with serve(take, "127.0.0.1", 0, ping_interval=None, max_size=None, compression=None) as server:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/socket"
            async with Socket(url, clock=clock) as socket:
                ((connection,),) = await connections.until(1)
                closed, room = closes(socket), socket.channel("room:1", "x" * 20_000_000)  # more than the kernel keeps
                room.join(timeout=1000)
                taken = Log()
                connection.data_received = taken.add
                for _ in range(4):
                    connection.transport.resume_reading()
                    before = len(taken.entries)
                    await taken.until(before + 3)
                    connection.transport.pause_reading()
                    pass_time(clock, 30)
                    assert closed.entries == []
                pass_time(clock, 30)
                assert closed.entries == [(1000, "heartbeat timeout")]
                connection.transport.abort()

    run(conversation())


def test_a_server_that_answers_no_close_frame_is_waited_for_two_seconds() -> None:
    async def conversation() -> None:
        clock = ManualClock()
        came = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Complete the handshake, then do nothing."""
            protocol = ServerProtocol()
            while not (events := protocol.events_received()):
                protocol.receive_data(await reader.read(4096))
            assert isinstance(events[0], Request)
            protocol.send_response(protocol.accept(events[0]))
            writer.write(b"".join(protocol.data_to_send()))
            while data := await reader.read(4096):
                if data[0] & 0x0F == 8:
                    came.set()
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        async with server:
            socket = Socket(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/socket", clock=clock)
            opened = opens(socket)
            socket.connect()
            await opened.until(1)
            closing = asyncio.create_task(socket.close())
            await came.wait()
            pass_time(clock, 1.9)
            assert not closing.done()
            pass_time(clock, 0.1)
            await closing
            assert clock.pending() == 0

    run(conversation())


def test_a_server_that_does_not_shake_hands_is_given_up() -> None:
    async def conversation() -> None:
        clock = ManualClock()
        accepted = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        async with server:
            socket = Socket(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/socket", clock=clock, timeout=3)
            entering = asyncio.create_task(socket.__aenter__())
            await accepted.wait()
            pass_time(clock, 3)
            with pytest.raises(ConnectError, match="no connection within 3 s"):
                await entering

    run(conversation())


def test_nothing_is_left_on_the_clock_after_close() -> None:
    async def conversation() -> None:
        clock = ManualClock()
        async with Script().serve() as server:
            async with Socket(server.url, clock=clock) as socket:
                room = socket.channel("room:1")
                room.join()
                room.push("event")
            assert clock.pending() == 0

    run(conversation())


# Messages


def test_what_was_said_before_the_end_is_written_before_it() -> None:
    async def conversation() -> None:
        async with Script().serve() as server:
            async with Socket(server.url) as socket:
                socket.channel("room:1", {"one": 1}).join()
            await (await server.last(1)).wait_closed()
            said = [json.loads(data)[2:] for (data,) in server.messages.entries]
            assert said == [["room:1", "phx_join", {"one": 1}], ["room:1", "phx_leave", {}]]
            assert (await server.last(1)).close_code == 1000

    run(conversation())


def test_what_is_no_message_is_told_and_logged_and_the_connection_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def conversation() -> None:
        async with Script().serve() as server, Socket(server.url) as socket:
            errors, messages = Log(), Log()
            socket.on_error(errors.add)
            socket.on_message(messages.add)
            connection = await server.last(1)
            for data in ("nonsense", b"\xff", '[null,null,"room:1",["odd"],null]', '[null,null,"room:1","event",{}]'):
                await connection.send(data)
            await messages.until(2)
            assert len(errors.entries) == 2
            assert messages.entries[1][0].event == "event"

    with caplog.at_level(logging.WARNING, "ashtree.client"):
        run(conversation())
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["dropped a malformed message"] * 2


def test_callbacks_may_be_coroutines_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    async def conversation() -> None:
        async with Script().serve() as server, Socket(server.url) as socket:
            log = Log()

            async def slow(payload: Any) -> None:
                await asyncio.Event().wait()

            async def fails(payload: Any) -> None:
                raise RuntimeError("async")

            def fails_at_once(payload: Any) -> None:
                raise RuntimeError("sync")

            async def pushes(payload: Any) -> None:
                log.add(payload)

            room = socket.channel("room:1")
            for callback in (slow, fails, fails_at_once, pushes):
                room.on("event", callback)
            await (await server.last(1)).send('[null,null,"room:1","event",{"n":1}]')
            assert await log.until(1) == [({"n": 1},)]

    with caplog.at_level(logging.ERROR, "ashtree.client"):
        run(conversation())
    assert sorted(str(record.exc_info[1]) for record in caplog.records if record.exc_info) == ["async", "sync"]


def test_a_callback_may_push_and_the_order_is_kept() -> None:
    async def conversation() -> None:
        async with Script().serve() as server, Socket(server.url) as socket:
            room = socket.channel("room:1")
            room.join()
            await socket.disconnect()

            for event in ("first", "second", "third"):
                room.on("event", partial(room.push, event))
            socket.connect()
            connection = await server.last(2)
            joins = [json.loads(data) for (data,) in await server.messages.until(2)]
            await connection.send(
                json.dumps([None, joins[1][1], "room:1", "phx_reply", {"status": "ok", "response": {}}])
            )
            await connection.send('[null,null,"room:1","event",{"n":1}]')
            said = [json.loads(data)[3] for (data,) in await server.messages.until(5)]
            assert said == ["phx_join", "phx_join", "first", "second", "third"]

    run(conversation())


def test_a_coroutine_callback_may_close_the_socket() -> None:
    async def conversation() -> None:
        async with Script().serve() as server:
            socket, done = Socket(server.url), Log()

            async def close() -> None:
                await socket.close()
                done.add(socket.state)

            socket.on_open(close)
            socket.connect()
            assert await done.until(1) == [("closed",)]

    run(conversation())


def test_params_of_a_join_may_be_a_coroutine_function_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    tokens = iter([{"token": 1}, {"token": 2}])

    async def params() -> dict[str, int]:
        return next(tokens)

    def fails() -> dict[str, int]:
        raise KeyError("token")

    async def conversation() -> None:
        async with Script().serve() as server, Socket(server.url) as socket:
            socket.channel("room:1", params).join()
            await server.messages.until(1)
            await (await server.last(1)).close(1012)
            await server.messages.until(2)
            assert [json.loads(data)[4] for (data,) in server.messages.entries] == [{"token": 1}, {"token": 2}]
            with pytest.raises(JoinError) as failed:
                await socket.channel("room:2", fails).join()
            assert str(failed.value) == "'room:2' was not joined: the params failed: KeyError('token')"
            assert isinstance(failed.value.__cause__, KeyError)

    with caplog.at_level(logging.ERROR, "ashtree.client"):
        run(conversation())


def test_of_params_that_hang_only_those_of_the_last_join_are_waited_for() -> None:
    asked, cancelled = Log(), Log()

    async def hang() -> None:
        asked.add()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.add()
            raise

    async def conversation() -> None:
        async with Script().serve() as server, Socket(server.url, rejoin_after=lambda _: 0) as socket:
            joined = joins(socket.channel("room:1", hang), timeout=0.01)
            await asked.until(4)
            assert await cancelled.until(3) == [()] * 3
            assert joined.entries[:3] == [("timeout", {})] * 3
        assert len(cancelled.entries) == len(asked.entries)

    run(conversation())


def test_params_of_channels_of_different_topics_are_waited_for_together() -> None:
    async def conversation() -> None:
        ask, asked = asyncio.Event(), Log()

        async def params() -> dict[str, int]:
            asked.add()
            await ask.wait()
            return {}

        async with Script().serve() as server, Socket(server.url, clock=ManualClock()) as socket:
            for topic in ("room:1", "room:2"):
                socket.channel(topic, params).join()
            await asked.until(2)
            ask.set()
            await server.messages.until(2)

    run(conversation())


def raises() -> Any:
    raise KeyError("token")


async def raises_later() -> Any:
    raise KeyError("token")


@pytest.mark.parametrize(
    ("options", "text", "cause"),
    [
        ({"params": raises}, "params raised KeyError: 'token'", KeyError),
        ({"params": raises_later}, "params raised KeyError: 'token'", KeyError),
        ({"auth_token": raises}, "auth_token raised KeyError: 'token'", KeyError),
        ({"params": lambda: 5}, "params must be a mapping or a function returning one, got int", TypeError),
        ({"auth_token": lambda: 5}, "auth_token must be a str or a function returning one, got int", TypeError),
    ],
    ids=["params", "coroutine", "token", "no mapping", "no str"],
)
def test_params_of_a_socket_that_fail_are_named(options: dict[str, Any], text: str, cause: type[Exception]) -> None:
    async def conversation() -> None:
        with pytest.raises(ConnectError) as failed:
            async with Socket("ws://127.0.0.1:1/socket", **options):
                pytest.fail("there are no params")
        assert str(failed.value) == f"cannot connect to ws://127.0.0.1:1/socket/websocket: {text}"
        assert isinstance(failed.value.cause, ParamsError)
        assert isinstance(failed.value.cause.__cause__, cause)

    run(conversation())


def test_params_of_a_socket_that_fail_are_logged_at_each_try(caplog: pytest.LogCaptureFixture) -> None:
    async def conversation() -> None:
        socket, errors = Socket("ws://127.0.0.1:1/socket", params=raises, reconnect_after=lambda _: 0), Log()
        socket.on_error(errors.add)
        socket.connect()
        await errors.until(2)
        await socket.close()

    run(conversation())
    assert caplog.messages[:2] == ["cannot connect: params raised KeyError: 'token'"] * 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert "in raises\n" in caplog.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"params": [("a", 1)]}, "params must be a mapping or a function returning one, got list"),
        ({"auth_token": b"secret"}, "auth_token must be a str or a function returning one, got bytes"),
    ],
    ids=["params", "token"],
)
def test_params_that_can_never_do_are_refused_at_once(options: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=f"^{text}$"):
        Socket("ws://127.0.0.1:1/socket", **options)


# Mistakes of a user


def test_a_payload_that_cannot_be_written_is_refused_where_it_is_pushed() -> None:
    async def conversation() -> None:
        async with Script().serve() as server, Socket(server.url) as socket, Socket(server.url, vsn="1.0.0") as old:
            room, old_room, long = socket.channel("room:1"), old.channel("room:1"), socket.channel("x" * 256)
            for channel in (room, old_room, long):
                channel.join()
            with pytest.raises(TypeError):
                room.push("event", {"x": object()})
            with pytest.raises(TypeError):
                socket.channel("room:2", {"x": object()})
            with pytest.raises(UnencodableError, match="no binary payloads"):
                old_room.push("event", b"x")
            with pytest.raises(UnencodableError, match="topic must have at most 255 bytes"):
                long.push("event", b"x")

    run(conversation())


def test_pushes_are_bounded_while_there_is_no_connection() -> None:
    async def conversation() -> None:
        async with Script().serve() as server, Socket(server.url, max_buffered=1) as socket:
            room = socket.channel("room:1")
            with pytest.raises(NotJoinedError):
                room.push("early")
            await socket.disconnect()
            room.join()
            room.push("one")
            with pytest.raises(BufferFullError):
                room.push("two")

    run(conversation())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"vsn": "3.0.0"}, "vsn must be one of 1.0.0, 2.0.0, got '3.0.0'"),
        ({"timeout": 0}, "timeout must be seconds > 0, got 0"),
    ],
    ids=["vsn", "timeout"],
)
def test_options_are_checked(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Socket("ws://127.0.0.1/socket", **options)


def test_sockets_channels_and_pushes_say_what_they_are() -> None:
    async def conversation() -> None:
        socket = Socket("wss://example.com/socket")
        room = socket.channel("room:1")
        push = room.join()
        assert repr(socket) == "<Socket wss://example.com/socket/websocket closed>"
        assert (repr(room), repr(push)) == ("<Channel room:1 joining>", "<Push phx_join on room:1>")
        with pytest.raises(ValueError, match="max_queue must be a whole number >= 0, got -1"):
            socket.channel("room:1", max_queue=-1)
        await socket.close()

    run(conversation())


# The token

TOKENS: list[str | None] = []


class TokenChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        self.socket.transport.kill()


class TokenSocket(ServerSocket):
    channels = {"token": TokenChannel}  # noqa: RUF012  # as an author writes it
    auth_token = True

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        TOKENS.append(connect_info.auth_token)
        return ok()


def test_the_token_is_asked_for_anew_at_each_connect() -> None:
    TOKENS.clear()
    # The second has a "/" in base64, which is not allowed in the name of a subprotocol.
    tokens = iter(["first", "???"])

    async def conversation() -> None:
        endpoint = Endpoint({"/socket": TokenSocket}, port=0)
        async with System([endpoint]):
            url = f"ws://127.0.0.1:{endpoint.port}/socket"
            async with Socket(url, auth_token=lambda: next(tokens)) as socket:
                channel, opened = socket.channel("token"), opens(socket)
                await channel.join()
                channel.push("crash")
                await opened.until(1)

    run(conversation())
    assert TOKENS == ["first", "???"]


SURROGATES: list[tuple[Callable[[Socket], object], str]] = [
    (lambda socket: socket.channel("room:\ud800"), "a topic has a lone surrogate at position 5"),
    (lambda socket: socket.channel("room:1").push("ev\ud800", {}), "an event has a lone surrogate at position 2"),
    (lambda socket: socket.channel("room:1").push("ev\ud800", b""), "an event has a lone surrogate at position 2"),
    (lambda socket: socket.channel("room:1").on("ev\ud800", print), "an event has a lone surrogate at position 2"),
    (lambda socket: socket.channel("room:1", {"a": ["\ud800"]}), r"payload of 'phx_join' on 'room:1' at \$\.a\[0\]: "),
    (
        lambda socket: socket.channel("room:1").push("ev", {"a": {"b": "\ud800"}}),
        r"payload of 'ev' on 'room:1' at \$\.a\.b: ",
    ),
]


@pytest.mark.parametrize(("action", "message"), SURROGATES, ids=range(len(SURROGATES)))
def test_a_lone_surrogate_is_an_error_of_the_caller(action: Callable[[Socket], object], message: str) -> None:
    async def conversation() -> None:
        async with Script().serve() as server, Socket(server.url) as socket:
            with pytest.raises(UnencodableError, match=f"^{message}") as caught:
                action(socket)
            assert caught.value.__cause__ is None
            with pytest.raises(UnencodableError, match=r"^reason has a lone surrogate at position 3, "):
                await socket.disconnect(4000, "bye\ud800")
            assert socket.is_open

    run(conversation())


@pytest.mark.parametrize("option", ["params", "auth_token"])
def test_a_function_that_returns_a_lone_surrogate_is_an_error_of_the_connection(option: str) -> None:
    async def conversation() -> None:
        value: Any = {"a": "\ud800"} if option == "params" else "\ud800"
        options: Any = {option: lambda: value}
        with pytest.raises(ConnectError, match="lone surrogate") as caught:
            await Socket("ws://127.0.0.1:1/socket", **options).__aenter__()
        assert isinstance(caught.value.cause, ParamsError)

    run(conversation())


def test_a_socket_without_an_event_loop_says_where_it_connects() -> None:
    socket = Socket("ws://127.0.0.1:1/socket")
    with pytest.raises(RuntimeError, match=r"^the client connects on a running event loop: .*ashtree\.client\.sync$"):
        socket.connect()
