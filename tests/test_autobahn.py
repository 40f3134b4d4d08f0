"""The cases of the Autobahn test suite, for the frames alone and for whole connections (see `autobahn.py`)."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Close, Frame, Opcode
from websockets.headers import parse_extension
from websockets.protocol import State
from websockets.uri import parse_uri

from actors import Actor
from actors.channels.message import Frame as Message
from actors.channels.message import Opcode as MessageOpcode
from actors.lowlevel import Scheduler
from tests.autobahn import CASES, Case, Ping, sent
from transport.carriers import frames as frames_module
from transport.carriers.carrier import CarrierOptions, Disconnected
from transport.carriers.deflate import Compression, Deflate, InflatingReader
from transport.carriers.frames import FrameReader
from transport.carriers.websocket import WebSocketCarrier, WebSocketTraffic

if TYPE_CHECKING:
    import asyncio

    from actors.testing import ManualRuntime

MAX_SIZE, MAX_FRAGMENTS = 2_000_000, 100_000
BYTE_BY_BYTE = 10_000
"""Bytes of a case up to which it is also sent byte by byte."""


# How the bytes of a case are cut


def whole(case: Case) -> Iterator[bytes]:
    """All frames in one read."""
    yield b"".join(case.frames)


def as_in_the_suite(case: Case) -> Iterator[bytes]:
    """A read for each frame, or as the suite chops them."""
    for frame in case.frames:
        step = case.chop or len(frame)
        for start in range(0, len(frame), step):
            yield frame[start : start + step]


def byte_by_byte(case: Case) -> Iterator[bytes]:
    data = b"".join(case.frames)
    step = 1 if len(data) <= BYTE_BY_BYTE else 4093
    for start in range(0, len(data), step):
        yield data[start : start + step]


WAYS = [whole, as_in_the_suite, byte_by_byte]


@pytest.fixture(params=["fast path", "general path"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with the fast path for whole messages, and without it."""
    if request.param == "general path":
        monkeypatch.setattr(frames_module, "_whole_messages", lambda _data, start, *_: start)


def read(pieces: Iterator[bytes], frames: FrameReader) -> list[object]:
    """Return the messages and pings in order."""
    seen: list[object] = []
    rest = b""
    for piece in pieces:
        rest += piece
        more = True
        while more:
            messages, start = frames.read(rest)
            done = 0
            for before, payload in frames.pings or []:
                seen += [*messages[done:before], Ping(payload)]
                done = before
            frames.pings = None
            seen += messages[done:]
            rest, more = rest[start:], frames.more
    return seen


Way: TypeAlias = Callable[[Case], Iterator[bytes]]
in_all_ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
of_each_section = pytest.mark.parametrize("section", CASES)


@in_all_ways
@of_each_section
@pytest.mark.parametrize("kind", [FrameReader, InflatingReader])
@pytest.mark.usefixtures("path")
def test_the_frames_are_read(kind: type[FrameReader], section: str, way: Way) -> None:
    """Also those of a client that may compress its messages and does not."""
    for case in CASES[section]:
        if kind is InflatingReader and case.name == "3.4":
            continue  # its reserved bit is that of a compressed message
        frames = kind(MAX_SIZE, MAX_FRAGMENTS)
        assert (case.name, read(way(case), frames)) == (case.name, list(case.events))
        assert (case.name, frames.end and frames.end.code) == (case.name, case.code)


# Whole connections


class Echoing(Actor):
    """Sends back each message, as the server of the suite does."""

    def __init__(self, carrier: WebSocketCarrier) -> None:
        self.carrier = carrier

    def on_start(self) -> None:
        self.carrier.attach(self._process)

    def on_receive(self, message: object) -> None:
        if isinstance(message, Disconnected):
            assert message.answer is not None
            message.answer()
        elif isinstance(message, str | bytes):
            opcode = MessageOpcode.TEXT if isinstance(message, str) else MessageOpcode.BINARY
            self.carrier.send(Message(opcode, message.encode() if isinstance(message, str) else message))
            self.carrier.intake.done(len(message))


class Wire:
    """The TCP connection; it keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.ended = False

    def get_extra_info(self, _name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.ended

    def write_eof(self) -> None:
        self.ended = True

    close = abort = write_eof

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Connected:
    """A carrier with an echoing actor; the frames that it writes are read by the parser of `websockets`."""

    def __init__(self, runtime: ManualRuntime, offer: str | None = None) -> None:
        traffic = WebSocketTraffic()
        options = CarrierOptions(traffic, max_size=MAX_SIZE)
        agreed = None
        if offer is not None:
            headers = Headers([("Sec-WebSocket-Extensions", offer)])
            agreed = Deflate(Compression(min_size=0), traffic).agree(headers)
            assert agreed is not None
        self.answer = None if agreed is None else agreed.answer
        self.carrier = WebSocketCarrier(Scheduler.here(), options, None if agreed is None else agreed.outlet)
        self.wire = Wire()
        self.carrier.connection_made(cast("asyncio.Transport", self.wire))
        Echoing.start(self.carrier)
        self._runtime = runtime
        runtime.settle()

    def send(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self.carrier.data_received(piece)
        self._runtime.settle()

    def seen(self, extensions: list[Any] | None = None) -> tuple[list[object], int | None]:
        """Return what was echoed and ponged in order, and the close code."""
        client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
        client.extensions = extensions or []
        client.receive_data(self.wire.written)
        events: list[object] = []
        code = None
        for frame in client.events_received():
            assert isinstance(frame, Frame)
            match frame.opcode:
                case Opcode.TEXT:
                    events.append(bytes(frame.data).decode())
                case Opcode.BINARY:
                    events.append(bytes(frame.data))
                case Opcode.PONG:
                    events.append(Ping(bytes(frame.data)))
                case Opcode.CLOSE:
                    code = int(Close.parse(frame.data).code)
        return events, code


@in_all_ways
@of_each_section
def test_a_connection_echoes_answers_and_ends(section: str, way: Way, runtime: ManualRuntime) -> None:
    for case in CASES[section]:
        connected = Connected(runtime)
        connected.send(way(case))
        assert (case.name, *connected.seen()) == (case.name, list(case.events), case.code)
        # The end of TCP follows the close frame, and nothing else ends it.
        assert (case.name, connected.wire.ended) == (case.name, case.code is not None)
        if case.code is None:
            connected.send(iter([sent(8, b"\x03\xe8")]))
            assert (case.name, *connected.seen()) == (case.name, list(case.events), 1000)
            assert connected.wire.ended


# 12 and 13: compression


def document(size: int) -> bytes:
    rows = [
        {"id": number, "name": f"user {number % 17}", "text": "lorem ipsum " * (number % 5)}
        for number in range(size // 40 + 1)
    ]
    return json.dumps(rows).encode()[:size]


KINDS: dict[str, Callable[[int], bytes]] = {
    "12.1, JSON": document,
    "12.2, repeated text": lambda size: (b"Lorem ipsum dolor sit amet, consectetur. " * (size // 40 + 1))[:size],
    "12.3, UTF-8": lambda size: (
        ("κόσμε — ßöäü 世界 " * (size // 20 + 1)).encode()[:size].decode(errors="ignore").encode()
    ),
    "12.4, random bytes": lambda size: random.Random(size).randbytes(size),  # noqa: S311  # the same each time
    "12.5, zeros": bytes,
}
OFFERS = {
    "13.1": "permessage-deflate; client_max_window_bits",
    "13.2": "permessage-deflate; server_no_context_takeover; client_max_window_bits",
    "13.3": "permessage-deflate; server_max_window_bits=9; client_max_window_bits",
    "13.4": "permessage-deflate; server_max_window_bits=15; client_max_window_bits",
    "13.5": "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits",
    "13.6": "permessage-deflate; server_no_context_takeover; server_max_window_bits=15; client_max_window_bits",
    "13.7": (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, "
        "permessage-deflate; server_max_window_bits=9, permessage-deflate"
    ),
}
SIZES = [16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072]
FRAGMENT_SIZES = [0, 256, 1024, 32768]


def compressed(data: bytes, opcode: int, fragment: int) -> bytes:
    """Return a message as a client sends it that takes over no context."""
    compressor = zlib.compressobj(wbits=-15)
    payload = (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    step = fragment or len(payload)
    starts = range(0, len(payload), step)
    return b"".join(
        sent(0 if start else opcode, payload[start : start + step], fin=start == starts[-1], rsv=0 if start else 4)
        for start in starts
    )


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_compressed_messages_are_echoed(offer: str, kind: Callable[[int], bytes], runtime: ManualRuntime) -> None:
    connected = Connected(runtime, offer)
    expected: list[object] = []
    for size in SIZES:
        for fragment in FRAGMENT_SIZES if size == SIZES[-1] else FRAGMENT_SIZES[:1]:
            data = kind(size)
            is_text = kind is not KINDS["12.4, random bytes"]
            connected.send(iter([compressed(data, 1 if is_text else 2, fragment)]))
            expected.append(data.decode() if is_text else data)
    connected.send(iter([sent(9, b"still here")]))
    [(_, parameters)] = parse_extension(connected.answer or "")
    extension = ClientPerMessageDeflateFactory(client_max_window_bits=True).process_response_params(parameters, [])
    assert connected.seen([extension]) == ([*expected, Ping(b"still here")], None)


@pytest.mark.parametrize("name", ["3.1", "3.2", "3.5", "3.6", "3.7"])
def test_with_compression_the_other_reserved_bits_are_errors_and_so_is_a_compressed_control_frame(
    name: str, runtime: ManualRuntime
) -> None:
    connected = Connected(runtime, OFFERS["13.1"])
    [case] = [case for cases in CASES.values() for case in cases if case.name == name]
    frames = case.frames if name != "3.1" else (sent(9, "p", rsv=4),)
    connected.send(iter(frames))
    assert connected.seen()[1] == 1002
