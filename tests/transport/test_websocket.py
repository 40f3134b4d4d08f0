"""WebSockets (RFC 6455) over real connections, frame by frame."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from typing import TYPE_CHECKING, Any, cast

import pytest

from actors import Actor, Channel, Reply, ok
from actors.channels.fastlane import Fastlane
from actors.channels.message import Broadcast, Frame, Opcode
from actors.exits import ExitReason, Shutdown
from actors.history.backlog import Backlog
from actors.history.history import History, Position
from actors.history.topic_log import KeptBroadcast, TopicLog
from actors.lowlevel import Process, Scheduler
from tests.transport.wire import (
    BEATEN,
    HANDSHAKE,
    HEARTBEAT,
    Server,
    Tcp,
    limited,
    limits_reached,
    masked,
    on_both_loops,
    on_loop,
    reset,
    serving,
    until,
)
from transport import Socket
from transport.carriers import websocket as websocket_module
from transport.carriers.carrier import CarrierOptions, Disconnected
from transport.carriers.frames import wire
from transport.carriers.intake import FULL, RATE, STARTING, UNREAD
from transport.carriers.outbox import OVERFLOWED, OutboxPolicy
from transport.carriers.websocket import WebSocketCarrier, WebSocketTraffic
from transport.http.http_connection import HttpConnection
from transport.limits import Limits
from transport.protocol.serializer import V2JSONSerializer
from transport.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.testing import ManualRuntime

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
# The first fragment of a text, one in the middle, and the last.
FIRST, MORE, LAST = 0x01, 0x00, 0x80


class EchoChannel(Channel):
    """Echoes, and writes down what came and how it ended."""

    seen: list[Any] = []  # noqa: RUF012  # cleared for each test

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        self.seen.append(event)
        return ok(payload)

    def terminate(self, reason: ExitReason) -> None:
        self.seen.append(reason)


class EchoSocket(Socket):
    channels = {"room:*": EchoChannel}  # noqa: RUF012  # as an author writes it


class KickedSocket(EchoSocket):
    def id(self) -> str:
        return "user:1"


JOIN = json.dumps(["1", "1", "room:1", "phx_join", {}])
JOINED = '["1","1","room:1","phx_reply",{"status":"ok","response":{}}]'
PUSH = json.dumps(["1", "2", "room:1", "echo", {}])
PUSHED = JOINED.replace('"1","1"', '"1","2"', 1)


@pytest.fixture(autouse=True)
def seen() -> list[Any]:
    EchoChannel.seen.clear()
    return EchoChannel.seen


async def upgraded(server: Server) -> Tcp:
    tcp = await server.tcp()
    await tcp.upgrade()
    return tcp


# Writes


class RecordingTransport:
    """A TCP connection that keeps each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.aborted = self.closed = self.eof = False
        self.reading = True
        self.on_write: Callable[[], object] = lambda: None
        self.unsent = 0

    def get_extra_info(self, _name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.on_write()

    def is_closing(self) -> bool:
        return False

    def write_eof(self) -> None:
        self.eof = True

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class LostTransport(RecordingTransport, asyncio.Transport):  # type: ignore[misc]  # it does less
    """One of asyncio's, whose client has gone, as the first write finds out."""

    def is_closing(self) -> bool:
        return bool(self.writes)


class Echo(Actor):
    """Sends back what it gets, and dies of what it should not have got."""

    def __init__(self, carrier: WebSocketCarrier) -> None:
        self.carrier = carrier

    def on_start(self) -> None:
        self.own(self.carrier.abort)
        self.carrier.attach(self._process)

    def on_receive(self, message: str | Disconnected) -> None:
        if isinstance(message, Disconnected):
            assert message.answer is not None
            message.answer()
            return
        if message == "die":
            self._process.kill()
        self.carrier.send(Frame(Opcode.TEXT, message.encode()))


def echoing(
    runtime: ManualRuntime, kind: type[RecordingTransport] = RecordingTransport
) -> tuple[WebSocketCarrier, RecordingTransport]:
    carrier, tcp = WebSocketCarrier(Scheduler.here(), CarrierOptions(WebSocketTraffic())), kind()
    carrier.connection_made(cast("asyncio.Transport", tcp))
    Echo.start(carrier)
    runtime.settle()
    return carrier, tcp


def test_the_answers_to_what_one_read_brought_leave_in_one_write(runtime: ManualRuntime) -> None:
    carrier, tcp = echoing(runtime)
    carrier.data_received(masked(TEXT, "a") + masked(TEXT, "b") + masked(TEXT, "c"))
    assert tcp.writes == [b"\x81\x01a\x81\x01b\x81\x01c"]
    carrier.send(Frame(Opcode.TEXT, b"d"))
    assert tcp.writes[1:] == [b"\x81\x01d"]


def test_the_answers_before_a_death_are_not_lost(runtime: ManualRuntime) -> None:
    carrier, tcp = echoing(runtime)
    carrier.data_received(masked(TEXT, "a") + masked(TEXT, "die") + masked(TEXT, "b"))
    assert tcp.writes == [b"\x81\x01a\x81\x03die"]
    assert tcp.aborted


def test_nothing_is_written_between_a_loss_and_its_report(runtime: ManualRuntime) -> None:
    """asyncio would log a warning for each of these writes."""
    carrier, tcp = echoing(runtime, LostTransport)
    carrier.data_received(masked(TEXT, "a"))
    carrier.data_received(masked(TEXT, "b"))
    carrier.send(Frame(Opcode.TEXT, b"c"))
    assert tcp.writes == [b"\x81\x01a"]


@pytest.mark.parametrize(("after", "closed"), [(b"", True), (masked(TEXT, "b"), False)], ids=["nothing", "more"])
def test_a_close_frame_that_is_the_last_word_closes_the_connection_at_once(
    runtime: ManualRuntime, *, after: bytes, closed: bool
) -> None:
    """What came later would be answered by the kernel with a reset, and the client might not see the answer."""
    carrier, tcp = echoing(runtime)
    carrier.data_received(masked(TEXT, "a") + masked(CLOSE, b"\x03\xe8") + after)
    assert b"".join(tcp.writes) == b"\x81\x01a\x88\x02\x03\xe8"
    assert (tcp.closed, tcp.aborted) == (closed, False)


@pytest.mark.parametrize("reads", [1, 50], ids=["in one read", "in many reads"])
def test_the_rest_of_a_frame_that_was_refused_is_not_read_as_frames(runtime: ManualRuntime, reads: int) -> None:
    """Else a client could have the server look at millions of frames of two bytes."""
    carrier, tcp = echoing(runtime)
    data = b"\x82\xff" + (9_000_000).to_bytes(8, "big") + masked(TEXT, "a") * 10_000
    for start in range(0, len(data), len(data) // reads + 1):
        carrier.data_received(data[start : start + len(data) // reads + 1])
    [answer] = tcp.writes
    assert b"\x03\xf1" in answer  # 1009


@on_loop
async def test_messages_of_all_sizes_come_back() -> None:
    async with serving(EchoSocket) as server:
        client = await server.connect()
        join_ref = await client.join("room:1")
        for size in (0, 1, 60, 125, 126, 0xFFFF, 0x10000, 7_000_000):
            assert await client.ask(join_ref, "room:1", "echo", {"a": "a" * size}) == {"a": "a" * size}


# Frames in


@on_loop
async def test_a_message_may_come_in_fragments_with_control_frames_between() -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        text = '[null,"ü€😀","phoenix","heartbeat",{}]'.encode()
        await tcp.send(masked(FIRST, text[:8]), masked(PING, "between"))
        for at in range(8, 16):
            await tcp.send(masked(MORE, text[at : at + 1]))
        await tcp.send(masked(PONG, "unasked"), masked(MORE), masked(LAST, text[16:]))
        assert await tcp.frame() == (PONG, b"between")
        assert json.loads(await tcp.text())[1] == "ü€😀"


@on_loop
async def test_a_frame_may_come_byte_by_byte() -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        for byte in masked(TEXT, HEARTBEAT):
            await tcp.send(bytes([byte]))
        assert await tcp.text() == BEATEN


@on_loop
async def test_many_messages_may_come_at_once() -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(*(masked(TEXT, HEARTBEAT.replace("beat", str(number), 1)) for number in range(1000)))
        for number in range(1000):
            assert await tcp.text() == BEATEN.replace("beat", str(number), 1)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x00" * 125], ids=len)
@on_loop
async def test_a_ping_is_answered_by_a_pong_with_its_data(data: bytes) -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(PING, data))
        assert await tcp.frame() == (PONG, data)


@on_loop
async def test_a_pong_that_nobody_asked_for_is_ignored() -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(PONG, "x"), masked(TEXT, HEARTBEAT))
        assert await tcp.text() == BEATEN


# What fails a connection


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x81\x02hi", id="not masked"),
        pytest.param(masked(0xC1, "hi"), id="first reserved bit"),
        pytest.param(masked(0xA1, "hi"), id="second reserved bit"),
        pytest.param(masked(0x91, "hi"), id="third reserved bit"),
        pytest.param(masked(0x83, "hi"), id="reserved data opcode"),
        pytest.param(masked(0x8B, "hi"), id="reserved control opcode"),
        pytest.param(masked(0x09, "hi"), id="ping in fragments"),
        pytest.param(masked(PING, "a" * 126), id="long ping"),
        pytest.param(masked(LAST, "hi"), id="end of nothing"),
        pytest.param(masked(MORE, "hi"), id="middle of nothing"),
        pytest.param(masked(FIRST, "hi") + masked(TEXT, "hi"), id="text within fragments"),
        pytest.param(masked(CLOSE, b"\x03"), id="half a close code"),
        pytest.param(masked(CLOSE, (999).to_bytes(2, "big")), id="close code 999"),
        pytest.param(masked(CLOSE, (1005).to_bytes(2, "big")), id="close code 1005"),
        pytest.param(masked(CLOSE, (5000).to_bytes(2, "big")), id="close code 5000"),
        pytest.param(masked(CLOSE, (1012).to_bytes(2, "big")), id="close code 1012, of servers"),
        pytest.param(masked(CLOSE, (1013).to_bytes(2, "big") + b"later"), id="close code 1013, of servers"),
    ],
)
@on_loop
async def test_a_protocol_error_closes_with_1002(data: bytes, seen: list[Any]) -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(TEXT, JOIN))
        assert await tcp.text() == JOINED
        await tcp.send(masked(TEXT, PUSH), data, masked(TEXT, PUSH))
        assert await tcp.close_code() == 1002
        assert await tcp.ended() == b""
        await tcp.close()
        await server.nothing_is_left()
    assert seen == ["echo", Shutdown("closed")]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(masked(TEXT, b"\xff"), id="no UTF-8"),
        pytest.param(masked(TEXT, b'[null,"1","phoenix","heartbeat","\xc3"]'), id="half a character"),
        pytest.param(masked(TEXT, b"\xed\xa0\x80"), id="surrogate"),
        pytest.param(masked(TEXT, b"\xc0\x80"), id="overlong"),
        pytest.param(masked(FIRST, b"\xc3") + masked(LAST, b"["), id="in fragments"),
        pytest.param(masked(CLOSE, b"\x03\xe8\xff"), id="in the reason of a close"),
    ],
)
@on_loop
async def test_text_that_is_not_utf8_closes_with_1007(data: bytes, seen: list[Any]) -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(TEXT, JOIN))
        assert await tcp.text() == JOINED
        await tcp.send(data, masked(TEXT, PUSH))
        assert await tcp.close_code() == 1007
        assert await tcp.ended() == b""
        await tcp.close()
        await server.nothing_is_left()
    assert seen == [Shutdown("closed")]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(masked(TEXT, "a" * 1001), id="whole"),
        pytest.param(masked(FIRST, "a" * 600) + masked(LAST, "a" * 401), id="in fragments"),
        pytest.param(masked(FIRST, "a" * 1001), id="the first fragment"),
        pytest.param(b"\x81\xff" + (1 << 62).to_bytes(8, "big") + bytes(4), id="announced"),
    ],
)
@on_loop
async def test_a_message_that_is_too_large_closes_with_1009(data: bytes) -> None:
    async with serving(EchoSocket, max_frame_size=1000) as server:
        tcp = await upgraded(server)
        await tcp.send(data)
        assert await tcp.close_code() == 1009


@on_loop
async def test_a_message_may_be_as_large_as_allowed() -> None:
    async with serving(EchoSocket, max_frame_size=1000) as server:
        tcp = await upgraded(server)
        text = HEARTBEAT.ljust(1000)
        await tcp.send(masked(TEXT, text), masked(FIRST, text[:600]), masked(LAST, text[600:]))
        assert [await tcp.text(), await tcp.text()] == [BEATEN, BEATEN]


@pytest.mark.parametrize("data", [masked(TEXT, "not json"), masked(TEXT), masked(BINARY, b"\x07")], ids=repr)
@on_loop
async def test_what_is_no_message_closes_with_1011_and_no_frame_before_it(data: bytes, seen: list[Any]) -> None:
    async with serving(EchoSocket) as server:
        tcp, other = await upgraded(server), await server.connect()
        await other.join("room:1")
        await tcp.send(data, masked(TEXT, JOIN))
        assert await tcp.close_code() == 1011
        await tcp.send(masked(TEXT, JOIN), masked(CLOSE, (1011).to_bytes(2, "big")))
        assert await tcp.ended() == b""
        await other.nothing_came()
    assert [entry for entry in seen if isinstance(entry, str)] == []


# The end


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 4999])
@on_loop
async def test_a_clients_close_is_answered_with_its_code_and_no_reason(code: int, seen: list[Any]) -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(TEXT, JOIN))
        assert await tcp.text() == JOINED
        await tcp.send(masked(CLOSE, code.to_bytes(2, "big") + b"bye"))
        assert await tcp.frame() == (0x88, code.to_bytes(2, "big"))
        assert await tcp.ended() == b""
        await tcp.close()
        await server.nothing_is_left()
    assert seen == [Shutdown("closed")]


@on_loop
async def test_a_close_without_a_code_is_answered_without_one() -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(CLOSE))
        assert await tcp.frame() == (CLOSE, b"")
        assert await tcp.ended() == b""


@on_loop
async def test_messages_in_the_packet_of_a_close_are_handled(seen: list[Any]) -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(TEXT, JOIN))
        assert await tcp.text() == JOINED
        await tcp.send(masked(TEXT, PUSH), masked(CLOSE, (1000).to_bytes(2, "big")), masked(TEXT, PUSH))
        await tcp.ended()
        await tcp.close()
        await server.nothing_is_left()
    assert seen == ["echo", Shutdown("closed")]


@on_loop
async def test_a_client_that_ends_its_half_is_answered_and_disconnected(seen: list[Any]) -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(TEXT, JOIN))
        assert await tcp.text() == JOINED
        await tcp.send(masked(TEXT, PUSH))
        tcp.end()
        assert await tcp.text() == PUSHED
        assert await tcp.ended() == b""
        await tcp.close()
        await server.nothing_is_left()
    assert seen == ["echo", Shutdown("closed")]


@pytest.mark.parametrize(
    "part", [b"", masked(TEXT, HEARTBEAT)[:9], masked(FIRST, "[")], ids=["idle", "frame", "fragment"]
)
@on_loop
async def test_a_client_that_vanishes_ends_its_channels(part: bytes, seen: list[Any]) -> None:
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(TEXT, JOIN), part)
        assert await tcp.text() == JOINED
        reset(tcp.writer.transport)
        await server.nothing_is_left()
    assert seen == [Shutdown("closed")]


@on_loop
async def test_a_client_that_vanishes_right_after_the_handshake_leaves_nothing() -> None:
    async with serving(EchoSocket) as server:
        tcp = await server.tcp()
        await tcp.send(HANDSHAKE)
        reset(tcp.writer.transport)
        await server.nothing_is_left()


FAILS = [
    pytest.param(masked(TEXT, "not json"), 1011, id="malformed message"),
    pytest.param(masked(BINARY, b"\x07"), 1011, id="malformed binary message"),
    pytest.param(b"\x81\x02hi", 1002, id="not masked"),
    pytest.param(masked(TEXT, b"\xff"), 1007, id="no UTF-8"),
    pytest.param(masked(TEXT, "a" * 1001), 1009, id="too large"),
    pytest.param(b"\x81\xff" + (1 << 62).to_bytes(8, "big") + bytes(4), 1009, id="announced too large"),
    pytest.param(masked(FIRST) + masked(MORE) * 10, 1009, id="fragments"),
]


@pytest.mark.parametrize(("data", "code"), FAILS)
@on_both_loops
async def test_a_connection_that_we_fail_ends_behind_the_close_frame(data: bytes, code: int) -> None:
    """The client says nothing more, and sees the end of the stream at once."""
    async with serving(EchoSocket, max_frame_size=1000, limits=Limits(fragments=5)) as server:
        tcp = await joined(server)
        await tcp.send(masked(TEXT, HEARTBEAT), data)
        assert await tcp.text() == BEATEN
        assert await tcp.close_code() == code
        assert await tcp.ended() == b""
        # What is still sent is taken: a reset could destroy what the client has not read.
        for _ in range(20):
            await tcp.send(masked(TEXT, "x" * 60_000))
        await tcp.close()
        await server.nothing_is_left()


@pytest.mark.parametrize("end", ["kick", "idle", "stop", "overflow", "no join"])
@on_both_loops
async def test_a_connection_that_we_close_ends_behind_the_close_frame(end: str) -> None:
    code = {"kick": 1001, "idle": 1002, "stop": 1012, "overflow": 1013, "no join": 1008}[end]
    limits = Limits(first_join_timeout=0.05 if end == "no join" else None)
    async with serving(KickedSocket, idle_timeout=0.05 if end == "idle" else 60, limits=limits) as server:
        tcp = await upgraded(server) if end == "no join" else await joined(server)
        match end:
            case "kick":
                server.endpoint.broadcast("user:1", "disconnect", {})
            case "stop":
                stopping = asyncio.ensure_future(server.system.stop())
            case "overflow":
                carrier_of(server)._fail(OVERFLOWED)
        assert await tcp.close_code() == code
        assert await tcp.ended() == b""
        if end == "stop":
            await stopping
        else:
            await tcp.close()
            await server.nothing_is_left()


@on_loop
async def test_a_client_that_does_not_answer_a_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "CLOSE_TIMEOUT", 0.01)
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(masked(TEXT, "not json"))
        assert await tcp.close_code() == 1011
        assert await tcp.ended() == b""
        await server.nothing_is_left()


@on_loop
async def test_a_client_that_never_ends_its_side_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "CLOSE_TIMEOUT", 0.01)
    async with serving(EchoSocket) as server:
        tcp = await upgraded(server)
        await tcp.send(b"\x81\x02hi")
        assert await tcp.close_code() == 1002
        await server.nothing_is_left()


@on_loop
async def test_a_client_that_does_not_read_is_cut_off_and_others_are_not(seen: list[Any]) -> None:
    async with serving(EchoSocket) as server:
        other = await server.connect()
        await other.join("room:2")
        tcp = await server.tcp(limit=1024)
        await tcp.upgrade()
        await tcp.send(masked(TEXT, JOIN))
        assert await tcp.text() == JOINED

        def flood() -> bool:
            server.endpoint.broadcast("room:1", "flood", {"a": "a" * 100_000})
            return bool(seen)

        await until(flood)
        assert seen == [Shutdown("closed")]
        await other.nothing_came()
        assert server.labels().count("transport") == 1


@on_loop
async def test_a_client_that_reads_slowly_gets_everything() -> None:
    async with serving(EchoSocket, outbox=OutboxPolicy(max_bytes=32 * 1024 * 1024)) as server:
        tcp = await server.tcp(limit=1024)
        await tcp.upgrade()
        await tcp.send(masked(TEXT, JOIN))
        assert await tcp.text() == JOINED
        for number in range(200):
            server.endpoint.broadcast("room:1", "flood", {"n": number, "a": "a" * 100_000})
        for number in range(200):
            assert (await tcp.reader.readexactly(2)) == b"\x81\x7f"
            size = int.from_bytes(await tcp.reader.readexactly(8), "big")
            assert json.loads(await tcp.reader.readexactly(size))[4]["n"] == number


@on_loop
async def test_clients_that_come_and_go_leave_nothing() -> None:
    async with serving(EchoSocket) as server:
        for _ in range(10):
            clients = await asyncio.gather(*(server.connect() for _ in range(20)))
            await asyncio.gather(*(client.join("room:1") for client in clients))
            await asyncio.gather(*(client.close() for client in clients))
        await server.nothing_is_left()


@on_loop
async def test_a_client_that_is_silent_for_too_long_is_closed_with_1002_and_its_channels_with_it(
    seen: list[Any],
) -> None:
    async with serving(EchoSocket, idle_timeout=0.05) as server:
        client = await server.connect()
        await client.join("room:1")
        assert await client.closed() == 1002
        await server.nothing_is_left()
    assert seen == [Shutdown("closed")]


# The pace of reading


class Hearing(Actor):
    """Keeps what it gets, and takes it off the intake, as a transport actor does."""

    def __init__(self, carrier: WebSocketCarrier, heard: list[Any]) -> None:
        self.carrier, self.heard = carrier, heard

    def on_start(self) -> None:
        self.carrier.attach(self._process)

    def on_receive(self, message: object) -> None:
        self.heard.append(message)
        if isinstance(message, str):
            self.carrier.intake.done(len(message))
        elif isinstance(message, Disconnected) and message.answer is not None:
            message.answer()


def hearing(runtime: ManualRuntime, **options: Any) -> tuple[WebSocketCarrier, RecordingTransport, list[Any]]:
    carrier = WebSocketCarrier(Scheduler.here(), CarrierOptions(WebSocketTraffic(), **options))
    tcp, heard = RecordingTransport(), list[Any]()
    carrier.connection_made(cast("asyncio.Transport", tcp))
    Hearing.start(carrier, heard)
    runtime.settle()
    return carrier, tcp, heard


def texts(count: int) -> bytes:
    return b"".join(masked(TEXT, str(number)) for number in range(count))


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


CLOSED = masked(CLOSE, (1000).to_bytes(2, "big"))


def test_what_one_read_brings_is_handled_in_slices_and_others_get_their_turns(runtime: ManualRuntime) -> None:
    carrier, tcp = echoing(runtime)
    carrier.data_received(texts(200))
    answered: list[int] = []
    written = list(tcp.writes)
    Scheduler.here().loop.call_soon(lambda: answered.append(len(tcp.writes)))
    assert written == [b"".join(b"\x81" + bytes([len(each)]) + each.encode() for each in numbers(64))]
    runtime.settle()
    assert answered == [2]  # behind the second slice, which was to be continued before it
    assert len(tcp.writes) == 4


def test_what_is_received_meanwhile_waits_behind_what_is_kept(runtime: ManualRuntime) -> None:
    carrier, _, heard = hearing(runtime)
    data = texts(300)
    carrier.data_received(data[:1000])
    carrier.data_received(data[1000:])
    runtime.settle()
    assert heard == numbers(300)


def test_the_socket_is_not_read_while_much_is_kept_and_the_client_is_not_idle_meanwhile(runtime: ManualRuntime) -> None:
    carrier, tcp, heard = hearing(runtime)
    idle = carrier._options.idle
    assert (tcp.reading, len(idle)) == (True, 1)
    carrier.data_received(texts(20_000))
    carrier.data_received(masked(TEXT, "last"))
    assert (tcp.reading, len(idle)) == (False, 0)
    runtime.settle()
    assert heard == [*numbers(20_000), "last"]
    assert (tcp.reading, len(idle)) == (True, 1)


def test_nothing_is_delivered_while_the_intake_is_held(runtime: ManualRuntime) -> None:
    carrier, tcp, heard = hearing(runtime)
    carrier.intake.hold(RATE)
    carrier.data_received(texts(10))
    runtime.settle()
    assert (heard, tcp.reading) == ([], True)  # a little is kept, so that the end of the client would be noticed
    carrier.data_received(masked(TEXT, "x" * 100_000))
    assert not tcp.reading
    carrier.intake.hold(FULL)
    carrier.intake.release(RATE)
    runtime.settle()
    assert heard == []
    carrier.intake.release(FULL)
    assert heard == []
    runtime.settle()
    assert heard == [*numbers(10), "x" * 100_000]
    assert tcp.reading


def test_what_comes_before_the_transport_actor_has_started_waits_for_it(runtime: ManualRuntime) -> None:
    carrier, tcp = WebSocketCarrier(Scheduler.here(), CarrierOptions(WebSocketTraffic())), RecordingTransport()
    carrier.connection_made(cast("asyncio.Transport", tcp))
    carrier.data_received(texts(10) + masked(TEXT, "x" * 100_000))
    assert (carrier.intake.held, tcp.reading) == (STARTING, False)
    heard: list[Any] = []
    Hearing.start(carrier, heard)
    runtime.settle()
    assert heard == [*numbers(10), "x" * 100_000]
    assert tcp.reading


@pytest.mark.parametrize("end", ["close", "eof", "lost"])
@pytest.mark.parametrize("held", [True, False], ids=["held", "not held"])
def test_the_transport_actor_gets_the_end_behind_what_was_received(
    runtime: ManualRuntime, end: str, *, held: bool
) -> None:
    carrier, _, heard = hearing(runtime)
    if held:
        carrier.intake.hold(FULL)
    carrier.data_received(texts(200) + (CLOSED if end == "close" else b""))
    if end == "eof":
        assert carrier.eof_received()
    elif end == "lost":
        carrier.connection_lost(None)
    runtime.settle()
    if held and end != "lost":
        assert heard == []
        carrier.intake.release(FULL)
        runtime.settle()
    assert heard[:-1] == numbers(200)
    # After an end of the stream alone, the client may still read.
    assert (heard[-1].code, heard[-1].answer is None) == (1000 if end == "close" else 1006, end == "eof")


def test_a_connection_that_is_lost_before_its_actor_has_started_tells_it_everything(runtime: ManualRuntime) -> None:
    carrier, tcp = WebSocketCarrier(Scheduler.here(), CarrierOptions(WebSocketTraffic())), RecordingTransport()
    carrier.connection_made(cast("asyncio.Transport", tcp))
    carrier.data_received(texts(100))
    carrier.connection_lost(None)
    heard: list[Any] = []
    Hearing.start(carrier, heard)
    runtime.settle()
    assert heard[:-1] == numbers(100)
    assert heard[-1].code == 1006


@pytest.mark.parametrize("end", ["close", "expire"])
def test_a_connection_whose_reading_is_held_can_be_closed(runtime: ManualRuntime, end: str) -> None:
    carrier, tcp, heard = hearing(runtime)
    carrier.intake.hold(FULL)
    carrier.data_received(texts(20_000))
    carrier.close(1012) if end == "close" else carrier.expire()
    assert tcp.writes == [b"\x88\x02\x03" + (b"\xf4" if end == "close" else b"\xea")]
    runtime.settle()
    assert heard == ([] if end == "close" else [Disconnected(1002)])
    assert (tcp.reading, tcp.eof) == (True, True)
    carrier.data_received(CLOSED)
    assert not carrier.eof_received()
    carrier.connection_lost(None)


def test_a_connection_whose_reading_is_held_can_be_cut(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.intake.hold(FULL)
    carrier.data_received(texts(20_000))
    carrier.abort()
    assert tcp.aborted


@pytest.mark.parametrize("name", ["fragments", "max_frame_size"])
def test_a_limit_that_a_frame_is_above_is_reported(runtime: ManualRuntime, name: str) -> None:
    reached: list[str] = []
    limits = Limits(fragments=3)
    carrier, tcp, heard = hearing(runtime, limits=limits, max_size=10, reached=reached.append)
    data = masked(FIRST) + masked(MORE) * 3 if name == "fragments" else masked(TEXT, "x" * 11)
    carrier.data_received(masked(TEXT, "a") + data)
    runtime.settle()
    assert reached == [name]
    assert [heard[0], heard[1].code] == ["a", 1009]
    assert tcp.writes[0][2:4] == b"\x03\xf1"


# What waits for a client that reads too slowly


def reply(text: str) -> Frame:
    return Frame(Opcode.TEXT, text.encode())


def shared(text: str) -> Frame:
    frame = reply(text)
    frame.broadcast = Broadcast("room:1", "event", {})
    return frame


def test_frames_wait_in_the_outbox_and_leave_in_order(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.send(reply("a"))
    carrier.pause_writing()
    for name in "bcd":
        carrier.send(reply(name))
    assert tcp.writes == [b"\x81\x01a"]
    assert carrier.get_write_buffer_size() == 9
    carrier.resume_writing()
    carrier.send(reply("e"))
    assert tcp.writes[1:] == [b"\x81\x01b\x81\x01c\x81\x01d", b"\x81\x01e"]
    assert carrier.get_write_buffer_size() == 0


def test_what_waits_is_written_until_the_client_reads_too_slowly_again(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.pause_writing()
    for _ in range(4):
        carrier.send(shared("x" * 60_000))
    tcp.on_write = carrier.pause_writing
    carrier.resume_writing()
    assert len(tcp.writes) == 1
    carrier.send(reply("behind"))
    carrier.resume_writing()
    assert len(tcp.writes) == 2
    tcp.on_write = lambda: None
    carrier.resume_writing()
    assert b"".join(tcp.writes).endswith(b"\x81\x06behind")
    assert len(b"".join(tcp.writes)) == 4 * 60_004 + 8


def test_of_the_pongs_that_wait_only_the_newest_is_written(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.data_received(masked(PING, "a") + masked(PING, "b"))
    assert tcp.writes == [b"\x8a\x01a\x8a\x01b"]
    carrier.pause_writing()
    for name in "cde":
        carrier.data_received(masked(PING, name))
    carrier.resume_writing()
    assert tcp.writes[1:] == [b"\x8a\x01e"]


def test_a_client_for_which_too_much_waits_is_disconnected_with_1013(runtime: ManualRuntime) -> None:
    reached: list[str] = []
    policy = OutboxPolicy(max_bytes=1000)
    carrier, tcp, heard = hearing(runtime, outbox=policy, reached=reached.append)
    carrier.pause_writing()
    for _ in range(3):
        carrier.send(shared("x" * 496))
    assert tcp.writes == [b"\x88\x02\x03\xf5"]
    assert (reached, carrier.get_write_buffer_size()) == (["outbox"], 0)
    runtime.settle()
    assert heard == [Disconnected(1013)]
    carrier.send(reply("too late"))
    runtime.advance(4.9)
    assert not tcp.aborted
    runtime.advance(0.2)
    assert tcp.aborted


def test_the_oldest_broadcasts_are_dropped_if_the_policy_says_so(runtime: ManualRuntime) -> None:
    dropped: list[int] = []
    policy = OutboxPolicy(max_bytes=1000, overflow="drop_oldest")
    carrier, tcp, _ = hearing(runtime, outbox=policy, dropped=dropped.append)
    carrier.pause_writing()
    for name in "abc":
        carrier.send(shared(name * 496))
    carrier.send(reply("reply"))
    carrier.resume_writing()
    assert b"".join(tcp.writes) == b"".join(
        wire(frame) for frame in (shared("b" * 496), shared("c" * 496), reply("reply"))
    )
    assert dropped == [500]
    assert carrier.dropped == 1


def test_a_client_that_does_not_read_its_replies_is_not_read(runtime: ManualRuntime) -> None:
    carrier, tcp = echoing(runtime)
    carrier.pause_writing()
    for _ in range(100):
        carrier.data_received(masked(TEXT, "x" * 10_000))
    runtime.settle()
    assert (carrier.intake.held, tcp.reading) == (UNREAD, False)
    assert 64 * 1024 < carrier.get_write_buffer_size() < 64 * 1024 + 70_000
    carrier.resume_writing()
    runtime.settle()
    assert tcp.reading
    assert len(b"".join(tcp.writes)) == 100 * 10_004


def test_a_client_that_is_not_read_and_takes_nothing_for_the_time_of_sending_is_left(runtime: ManualRuntime) -> None:
    reached: list[str] = []
    carrier, tcp, heard = hearing(runtime, reached=reached.append)
    carrier.pause_writing()
    tcp.unsent = 100_000
    carrier.send(reply("x" * 70_000))
    for _ in range(3):
        tcp.unsent -= 1
        runtime.advance(30.0)
    assert (reached, carrier.intake.held) == ([], UNREAD)
    carrier.send(shared("news"))
    runtime.advance(30.0)
    runtime.settle()
    assert (reached, heard) == (["send_timeout"], [Disconnected(1013)])
    assert tcp.writes == [b"\x88\x02\x03\xf5"]
    runtime.advance(5.1)
    assert tcp.aborted


def test_a_client_that_is_read_has_no_time_of_sending(runtime: ManualRuntime) -> None:
    reached: list[str] = []
    carrier, tcp, _ = hearing(runtime, reached=reached.append)
    carrier.pause_writing()
    carrier.send(reply("x" * 70_000))
    carrier.resume_writing()
    carrier.pause_writing()
    carrier.send(reply("x" * 50_000))
    runtime.advance(300.0)
    assert (reached, tcp.aborted) == ([], False)


def test_a_client_that_is_sent_much_by_others_is_still_read(runtime: ManualRuntime) -> None:
    carrier, _, heard = hearing(runtime)
    carrier.pause_writing()
    carrier.send(shared("x" * 500_000))
    carrier.data_received(masked(TEXT, "a"))
    runtime.settle()
    assert heard == ["a"]


def test_a_close_frame_leaves_behind_what_waits(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.pause_writing()
    carrier.send(reply("a"))
    carrier.close(1000)
    assert tcp.writes == []
    assert not tcp.eof
    carrier.resume_writing()
    assert tcp.writes == [b"\x81\x01a", b"\x88\x02\x03\xe8"]
    assert tcp.eof


def test_a_client_that_reads_what_waits_in_front_of_a_close_frame_is_given_the_time(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.pause_writing()
    tcp.unsent = 60_000
    carrier.send(reply("a"))
    carrier.close(1011)
    for _ in range(5):
        tcp.unsent -= 10_000
        runtime.advance(4.9)
    assert not tcp.aborted
    carrier.resume_writing()
    assert tcp.writes == [b"\x81\x01a", b"\x88\x02\x03\xf3"]
    runtime.advance(4.9)
    assert (tcp.eof, tcp.aborted) == (True, False)
    runtime.advance(5.2)
    assert tcp.aborted


@pytest.mark.parametrize("by", ["server", "client"])
def test_a_client_that_never_reads_what_waits_is_cut_off(runtime: ManualRuntime, by: str) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.pause_writing()
    carrier.send(reply("a"))
    carrier.close(1000) if by == "server" else carrier.data_received(CLOSED)
    runtime.advance(5.1)
    assert tcp.aborted


def test_what_the_actors_send_in_one_slice_is_collected_only_up_to_a_bound(runtime: ManualRuntime) -> None:
    carrier, tcp = echoing(runtime)
    carrier.data_received(b"".join(masked(TEXT, "x" * 30_000) for _ in range(3)))
    assert [len(write) for write in tcp.writes] == [30_004] * 3
    carrier.data_received(masked(TEXT, "x" * 70_000) + masked(TEXT, "a"))
    runtime.settle()
    assert [len(write) for write in tcp.writes] == [30_004] * 3 + [70_010, 3]


# The same over real connections


class SlowChannel(Channel):
    """Handles each event when it is let."""

    handled: list[Any] = []  # noqa: RUF012  # cleared for each test
    go_on: asyncio.Event

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    async def handle_in(self, event: str, payload: Any) -> Reply:
        await self.go_on.wait()
        self.handled.append(payload["n"])
        return ok()


class SlowSocket(Socket):
    channels = {"room:*": SlowChannel}  # noqa: RUF012  # as an author writes it


def carrier_of(server: Server) -> WebSocketCarrier:
    carrier = server.find("transport").process.actor.carrier  # type: ignore[union-attr]  # it is there
    assert isinstance(carrier, WebSocketCarrier)
    return carrier


async def joined(server: Server, **options: Any) -> Tcp:
    tcp = await server.tcp(**options)
    await tcp.upgrade()
    await tcp.send(masked(TEXT, JOIN))
    assert await tcp.text() == JOINED
    return tcp


@on_both_loops
async def test_a_client_faster_than_its_channel_is_slowed_down_and_nothing_is_lost() -> None:
    SlowChannel.handled, SlowChannel.go_on = [], asyncio.Event()
    async with serving(SlowSocket) as server:
        tcp = await joined(server)
        carrier, other = carrier_of(server), await server.connect()
        for number in range(60):
            message = ["1", str(number), "room:1", "echo", {"n": number, "a": "a" * 500_000}]
            tcp.writer.write(masked(TEXT, json.dumps(message)))
        await until(lambda: not carrier.is_read)
        await other.nothing_came()
        assert carrier.intake.bytes < 2_000_000
        assert SlowChannel.handled == []
        SlowChannel.go_on.set()
        await until(lambda: len(SlowChannel.handled) == 60)
        assert SlowChannel.handled == list(range(60))
        assert carrier.is_read


@on_both_loops
async def test_a_client_that_reads_no_answers_is_not_read_and_gets_all_of_them_later() -> None:
    async with serving(EchoSocket) as server:
        tcp = await joined(server, limit=1024)
        carrier = carrier_of(server)
        count = 0
        while carrier.is_read:
            tcp.writer.write(masked(TEXT, PUSH) * 1000)
            count += 1000
            await asyncio.sleep(0)
        assert carrier.get_write_buffer_size() < 500_000
        for _ in range(count):
            assert await tcp.text() == PUSHED
        assert carrier.is_read


@on_both_loops
async def test_a_client_that_never_reads_its_answers_is_left() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(websocket_module, "CLOSE_TIMEOUT", 0.05)
        await never_reads_its_answers()


async def never_reads_its_answers() -> None:
    async with serving(EchoSocket, limits=Limits(send_timeout=0.05)) as server:
        tcp = await joined(server, limit=1024)
        carrier = carrier_of(server)
        with limits_reached() as reached:
            while not reached:
                if carrier.is_read:
                    tcp.writer.write(masked(TEXT, PUSH) * 1000)
                await asyncio.sleep(0)
            await until(lambda: carrier._transport is None)
        assert reached == ["send_timeout"]


@on_both_loops
async def test_of_clients_that_never_read_no_more_is_kept_than_their_bounds_allow() -> None:
    async with serving(EchoSocket) as server:
        clients = [await joined(server, limit=1024) for _ in range(20)]
        processes = [
            each for each in server.system.ref.process.scheduler.processes.values() if each.label == "transport"
        ]
        carriers = [cast("Any", process.actor).carrier for process in processes]
        largest = 0

        def flood() -> bool:
            nonlocal largest
            server.endpoint.broadcast("room:1", "flood", {"a": "a" * 500_000})
            largest = max(largest, *(carrier.get_write_buffer_size() for carrier in carriers))
            return server.labels().count("transport") == 0

        await until(flood)
        # The high-water mark and the message that went above it, the outbox and the one that was too much.
        assert largest < 64 * 1024 + 1024 * 1024 + 2 * 500_100
        assert len(clients) == 20


@pytest.mark.parametrize("end", ["close", "eof", "lost"])
def test_what_was_received_is_handled_before_the_connection_ends(end: str, seen: list[Any]) -> None:
    async def run() -> None:
        async with serving(EchoSocket) as server:
            tcp = await joined(server)
            await tcp.send(masked(TEXT, PUSH) * 3000, *([CLOSED] if end == "close" else []))
            if end == "eof":
                tcp.end()
                for _ in range(3000):
                    assert await tcp.text() == PUSHED
            elif end == "lost":
                await until(lambda: len(seen) > 0)
                tcp.writer.transport.abort()
            await tcp.ended()
            await server.nothing_is_left()

    asyncio.run(limited(run()))
    handled = seen.index(Shutdown("closed"))
    assert handled == len(seen) - 1
    if end != "lost":
        assert handled == 3000


# Memory


def of_connections() -> list[str]:
    """Return the classes of all objects there are that a connection is made of."""
    kinds = (HttpConnection, WebSocketCarrier, Fastlane, Transport, Process, EchoChannel)
    return [type(each).__name__ for each in gc.get_objects() if issubclass(type(each), kinds)]


@pytest.mark.parametrize("end", ["close", "vanish", "kill"])
@on_loop
async def test_a_connection_that_has_ended_is_freed_without_the_garbage_collector(end: str) -> None:
    async with serving(EchoSocket) as server:
        before = sorted(of_connections())
        gc.disable()
        try:
            client = await server.connect()
            await client.join("room:1")
            assert {"WebSocketCarrier", "Fastlane", "Transport", "EchoChannel"} <= set(of_connections())
            match end:
                case "close":
                    await client.close()
                case "vanish":
                    client.vanish()
                case "kill":
                    server.find("transport").kill()
            await server.nothing_is_left()
            await until(lambda: sorted(of_connections()) == before)
        finally:
            gc.enable()


# What a client has missed is written in slices


def missing(number: int, size: int = 10_000) -> Backlog:
    """Return so many broadcasts that a client has missed, each of about this size."""
    log = TopicLog("e", 0.0, History(size=number, max_bytes=100_000_000))
    for offset in range(1, number + 1):
        kept = KeptBroadcast(offset, 0.0, "said", b'{"body":"%b"}' % (b"x" * size))
        log.append(kept)
    missed = log.missed(Position("e", 0))
    assert missed is not None
    return Backlog("room", V2JSONSerializer(), 7, log, number, missed)


def offsets(tcp: RecordingTransport) -> list[int]:
    return [int(found) for found in re.findall(rb'null,"@(\d+)"', b"".join(tcp.writes))]


def test_a_short_backlog_is_written_at_once(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.send_backlog(missing(3, size=10))
    carrier.send(reply("behind"))
    assert offsets(tcp) == [1, 2, 3]
    assert b"".join(tcp.writes).endswith(b"behind")
    assert len(tcp.writes) == 2


def test_a_long_backlog_is_written_in_slices_and_what_is_sent_meanwhile_behind_it(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.send_backlog(missing(40))
    carrier.send(reply("behind"))
    assert offsets(tcp) == list(range(1, 8))
    runtime.settle()
    assert offsets(tcp) == list(range(1, 41))
    assert max(map(len, tcp.writes)) < 80_000
    assert b"".join(tcp.writes).endswith(b"behind")
    carrier.send(reply("at once"))
    assert tcp.writes[-1].endswith(b"at once")
    assert carrier.get_write_buffer_size() == 0


def test_a_backlog_waits_while_the_client_reads_too_slowly(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    tcp.on_write = carrier.pause_writing
    carrier.send_backlog(missing(40))
    runtime.settle()
    assert offsets(tcp) == list(range(1, 8))
    for upto in (14, 21):
        carrier.resume_writing()
        runtime.settle()
        assert offsets(tcp) == list(range(1, upto + 1))
    tcp.on_write = lambda: None
    carrier.resume_writing()
    runtime.settle()
    assert offsets(tcp) == list(range(1, 41))
    carrier.send(reply("at once"))
    assert tcp.writes[-1].endswith(b"at once")


def test_a_second_backlog_waits_behind_the_first(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.send_backlog(missing(10))
    carrier.send_backlog(missing(3))
    runtime.settle()
    assert offsets(tcp) == [*range(1, 11), 1, 2, 3]


def test_the_close_frame_comes_behind_a_backlog(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.send_backlog(missing(10))
    carrier.close(1000)
    runtime.settle()
    assert offsets(tcp) == list(range(1, 11))
    assert tcp.writes[-1] == b"\x88\x02\x03\xe8"


def test_nothing_is_written_to_a_connection_that_was_lost_or_closed(runtime: ManualRuntime) -> None:
    for is_lost in (False, True):
        carrier, tcp, _ = hearing(runtime)
        if is_lost:
            carrier.connection_lost(None)
        else:
            carrier.close(1000)
        carrier.send_backlog(missing(3))
        runtime.settle()
        assert offsets(tcp) == []


def test_a_connection_that_is_lost_meanwhile_is_written_to_no_more(runtime: ManualRuntime) -> None:
    carrier, tcp, _ = hearing(runtime)
    carrier.send_backlog(missing(40))
    carrier.connection_lost(None)
    runtime.settle()
    assert offsets(tcp) == list(range(1, 8))
