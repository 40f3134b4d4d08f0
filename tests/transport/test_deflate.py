"""Compressed messages (RFC 7692): what is agreed on, what is written, what is read, and what hostile clients send."""

from __future__ import annotations

import asyncio
import json
import zlib
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode as WireOpcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import apply_mask

from actors import Channel, Reply, ok
from actors.channels.message import Frame, Opcode
from actors.testing import WAIT
from tests.transport.wire import (
    BEATEN,
    HANDSHAKE,
    HEARTBEAT,
    Client,
    Server,
    Tcp,
    limits_reached,
    masked,
    on_both_loops,
    on_loop,
    serving,
    until,
)
from transport import Compression, Endpoint, Socket, SocketError
from transport.carriers.deflate import Agreement, Deflate, InflatingReader
from transport.carriers.frames import SLICE_BYTES, FrameReader, wire
from transport.carriers.outbox import OutboxPolicy
from transport.carriers.websocket import WebSocketCarrier, WebSocketTraffic
from transport.client import Socket as ClientSocket

TEXT, BINARY, CLOSE, PING = 0x81, 0x82, 0x88, 0x89
# With the first reserved bit: a whole text, and a first fragment of one; then the middle of a message, and the last fragment.
ZTEXT, ZBINARY, ZFIRST, MORE, LAST = 0xC1, 0xC2, 0x41, 0x00, 0x80
TERMS = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
MAX_SIZE, MAX_FRAGMENTS = 10_000, 50
LONG = "likeness " * 100


def deflated(data: str | bytes, *, level: int = 6) -> bytes:
    """Return a message as a client compresses it."""
    compressor = zlib.compressobj(level, wbits=-15)
    data = data.encode() if isinstance(data, str) else data
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(data: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(data + b"\x00\x00\xff\xff")


def agreement(*offers: str, compression: Compression | None = None) -> Agreement | None:
    headers = Headers([("Sec-WebSocket-Extensions", offer) for offer in offers])
    return Deflate(compression or Compression(), WebSocketTraffic()).agree(headers)


# What is agreed on


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        (["permessage-deflate"], TERMS),
        (["permessage-deflate; client_max_window_bits"], TERMS),
        (["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], TERMS),
        (["permessage-deflate; server_max_window_bits=15"], f"{TERMS}; server_max_window_bits=15"),
        (["permessage-deflate; server_max_window_bits=9"], f"{TERMS}; server_max_window_bits=9"),
        (['permessage-deflate; server_max_window_bits="10"'], f"{TERMS}; server_max_window_bits=10"),
        (["permessage-deflate; client_max_window_bits=11"], f"{TERMS}; client_max_window_bits=11"),
        (["x-webkit-deflate-frame, permessage-deflate"], TERMS),
        (["permessage-bzip2", "permessage-deflate"], TERMS),
        (["permessage-deflate; server_max_window_bits=8, permessage-deflate"], TERMS),
        (["permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12"], f"{TERMS}; server_max_window_bits=12"),
        (["permessage-deflate; server_max_window_bits=10, permessage-deflate"], f"{TERMS}; server_max_window_bits=10"),
    ],
)  # fmt: skip
def test_the_first_acceptable_offer_is_answered(offers: list[str], answer: str) -> None:
    agreed = agreement(*offers)
    assert agreed is not None
    assert agreed.answer == answer


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; ;",
        "permessage-deflate, ,; x",
        '"',
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=x",
    ],
)
def test_an_invalid_offer_is_declined(offer: str) -> None:
    assert agreement(offer) is None


def test_without_an_offer_there_is_nothing_to_agree_on() -> None:
    assert agreement() is None


def test_clients_that_agree_on_the_same_window_get_the_same_bytes() -> None:
    deflate = Deflate(Compression(), WebSocketTraffic())
    offers = [f"permessage-deflate{bits}" for bits in ("", "; server_max_window_bits=15", "; server_max_window_bits=9")]
    agreed = [deflate.agree(Headers([("Sec-WebSocket-Extensions", offer)])) for offer in offers]
    usual, named, small = [each.outlet for each in agreed if each is not None]
    assert usual is named
    assert small is not usual
    frame = Frame(Opcode.TEXT, json.dumps(list(range(1000))).encode())
    assert usual.wire(frame) is named.wire(frame)
    assert inflated(small.wire(frame)[4:]) == frame.data
    # Nothing refers further back than 512 bytes.
    assert zlib.decompressobj(-9).decompress(small.wire(frame)[4:]) == frame.data


# The option


@pytest.mark.parametrize("level", [0, 10, -1, 1.5, True, None, "6"])
def test_a_level_is_from_1_to_9(level: Any) -> None:
    with pytest.raises(ValueError, match="level must be a whole number from 1 to 9, got"):
        Compression(level=level)


@pytest.mark.parametrize("size", [-1, 1.5, None])
def test_the_smallest_size_is_a_number_of_bytes(size: Any) -> None:
    with pytest.raises(ValueError, match="min_size must be"):
        Compression(min_size=size)


@pytest.mark.parametrize("compress", [None, 1, "yes", {"level": 1}])
def test_compression_is_on_or_off_or_described(compress: Any) -> None:
    with pytest.raises(SocketError, match=r"compress must be True, False, or a Compression such as Compression\("):
        Endpoint({}, compress=compress)


# What is written


def form(data: str, compression: Compression | None = None, opcode: Opcode = Opcode.TEXT) -> tuple[Frame, bytes]:
    agreed = agreement("permessage-deflate", compression=compression)
    assert agreed is not None
    frame = Frame(opcode, data.encode())
    return frame, agreed.outlet.wire(frame)


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_long_message_is_compressed_and_marked_by_the_first_reserved_bit(opcode: Opcode) -> None:
    _, sent = form(LONG, opcode=opcode)
    assert sent[0] == 0xC0 | opcode
    assert sent[1] == len(sent) - 2 < 100
    assert inflated(sent[2:]) == LONG.encode()


def test_a_message_is_as_long_as_a_client_may_have_it() -> None:
    frame, sent = form(LONG * 10_000)
    assert sent[:2] == b"\xc1\x7e"
    assert inflated(sent[4:]) == frame.data


@pytest.mark.parametrize("data", ["", "x" * 255, "".join(chr(0x20 + n * n * 7919 % 95) for n in range(3))])
def test_a_short_message_is_sent_as_it_is(data: str) -> None:
    frame, sent = form(data)
    assert sent == wire(frame)
    assert frame.deflated is None


def test_a_message_that_does_not_become_shorter_is_sent_as_it_is() -> None:
    frame, sent = form("abcdefghij", Compression(min_size=0))
    assert sent == wire(frame)


def test_an_empty_message_may_be_sent() -> None:
    assert form("", Compression(min_size=0))[1] == b"\x81\x00"


def test_a_higher_level_compresses_more() -> None:
    text = json.dumps([{"number": number * number, "text": f"the {number}th of them"} for number in range(2000)])
    assert len(form(text, Compression(level=9))[1]) < len(form(text)[1])


# What is read


def reader() -> InflatingReader:
    return InflatingReader(MAX_SIZE, MAX_FRAGMENTS)


def read_all(data: bytes, frames: FrameReader | None = None) -> list[str | bytes]:
    frames, seen = frames or reader(), []
    more = True
    while more:
        messages, start = frames.read(data)
        seen += messages
        data, more = data[start:], frames.more
    return seen


# The examples of RFC 7692, section 7.2.3: the first of two blocks, in fragments, with and without compression in the block.
HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(masked(ZTEXT, HELLO), id="one block"),
        pytest.param(masked(ZFIRST, HELLO[:3]) + masked(LAST, HELLO[3:]), id="two fragments"),
        pytest.param(masked(ZTEXT, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), id="without compression"),
        pytest.param(masked(ZTEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), id="a last block"),
        pytest.param(masked(ZTEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00"), id="a last block alone"),
        pytest.param(masked(ZTEXT, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), id="two blocks"),
        pytest.param(masked(ZFIRST) + masked(MORE) + masked(LAST, HELLO), id="empty fragments"),
        pytest.param(
            b"".join([masked(ZFIRST), *(masked(MORE, HELLO[at : at + 1]) for at in range(7)), masked(LAST)]),
            id="fragments of a byte",
        ),
    ],
)
@pytest.mark.parametrize("by_byte", [False, True], ids=["whole", "byte by byte"])
def test_a_compressed_message_is_read(data: bytes, *, by_byte: bool) -> None:
    frames = reader()
    if by_byte:
        seen: list[str | bytes] = []
        rest = b""
        for number in range(len(data)):
            messages, start = frames.read(rest := rest + data[number : number + 1])
            seen, rest = seen + messages, rest[start:]
    else:
        seen = read_all(data, frames)
    assert (seen, frames.end) == (["Hello"], None)


def test_messages_of_both_kinds_take_turns() -> None:
    frames = reader()
    data = masked(ZTEXT, deflated("a")) + masked(TEXT, "b") + masked(0x01, "c") + masked(LAST, "d")
    data += masked(ZBINARY, deflated(b"\xff")) + masked(ZTEXT, deflated("")) + masked(BINARY, b"e")
    assert read_all(data, frames) == ["a", "b", "cd", b"\xff", "", b"e"]
    assert frames.end is None


def test_control_frames_may_come_among_compressed_fragments() -> None:
    frames = reader()
    assert read_all(masked(ZFIRST, HELLO[:3]) + masked(PING, "p") + masked(LAST, HELLO[3:]), frames) == ["Hello"]
    assert frames.pings == [(0, b"p")]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(masked(ZFIRST, HELLO[:3]) + masked(0xC0, HELLO[3:]), id="bit on a continuation"),
        pytest.param(masked(0x01, "a") + masked(0xC0, HELLO), id="bit on the end of a plain message"),
        pytest.param(masked(0x40, HELLO), id="continuation of nothing"),
        pytest.param(masked(ZFIRST, HELLO) + masked(ZTEXT, HELLO), id="message within fragments"),
        pytest.param(masked(0xC9, "p"), id="ping"),
        pytest.param(masked(0xCA, "p"), id="pong"),
        pytest.param(masked(0xC8, b"\x03\xe8"), id="close"),
        pytest.param(masked(0xE1, HELLO), id="second bit too"),
        pytest.param(masked(0xA1, HELLO), id="second bit"),
        pytest.param(masked(0xD1, HELLO), id="third bit too"),
        pytest.param(masked(0xC3, HELLO), id="reserved opcode"),
        pytest.param(b"\xc1\x07" + HELLO, id="not masked"),
    ],
)
def test_the_bit_is_only_for_the_first_frame_of_a_message(data: bytes) -> None:
    frames = reader()
    assert read_all(data + masked(TEXT, "later"), frames) == []
    assert frames.end is not None
    assert frames.end.code == 1002


def test_without_an_agreement_the_bit_is_an_error() -> None:
    frames = FrameReader(MAX_SIZE, MAX_FRAGMENTS)
    assert read_all(masked(ZTEXT, HELLO), frames) == []
    assert frames.end is not None
    assert frames.end.code == 1002


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xff\xff\xff", id="no blocks"),
        pytest.param(b"\x06", id="a kind of block that is reserved"),
        pytest.param(b"\x00\x05\x00\x00\x00abcde", id="a length that is not its complement"),
        pytest.param(deflated("a" * 50)[:-3] + b"\xfe\xff\xff", id="garbage at the end"),
        pytest.param(b"\xf3\x48\xcd\xc9\xc9\x07\x00" + deflated("hidden"), id="more behind the last block"),
        pytest.param(zlib.compress(b"Hello"), id="the format of zlib"),
        pytest.param(deflated(b"\xff\xfe"), id="no UTF-8"),
    ],
)
def test_invalid_data_closes_with_1007(payload: bytes) -> None:
    frames = reader()
    assert read_all(masked(TEXT, "before") + masked(ZTEXT, payload) + masked(TEXT, "later"), frames) == ["before"]
    assert frames.end is not None
    assert (frames.end.code, frames.end.is_error) == (1007, True)


# The size


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("opcode", [ZTEXT, ZBINARY])
def test_a_message_may_be_as_large_as_allowed_when_it_is_inflated(level: int, opcode: int) -> None:
    data = bytes(number * number % 120 for number in range(MAX_SIZE))
    [message] = read_all(masked(opcode, deflated(data, level=level)))
    assert message == (data.decode() if opcode == ZTEXT else data)


@pytest.mark.parametrize("more", [1, 1_000_000, 100_000_000])
def test_a_bomb_closes_with_1009_and_is_not_inflated_further(more: int) -> None:
    frames = reader()
    compressor = zlib.compressobj(9, wbits=-15)
    data = b"".join(compressor.compress(bytes(100_000)) for _ in range(more // 100_000))
    data += compressor.compress(bytes(MAX_SIZE + more % 100_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    for piece in range(0, len(data), 5000):
        head = ZFIRST if piece == 0 else MORE
        read_all(masked(head, data[piece : piece + 5000]), frames)
    read_all(masked(LAST), frames)
    assert frames.end is not None
    assert (frames.end.code, frames.end.limit) == (1009, "max_frame_size")


@pytest.mark.parametrize("head", [ZTEXT, ZFIRST, ZBINARY])
def test_a_compressed_frame_that_is_too_large_is_seen_in_its_header(head: int) -> None:
    frames = reader()
    frames.read(bytes((head, 0xFF)) + (MAX_SIZE * 9 // 8 + 65).to_bytes(8, "big") + bytes(4))
    assert frames.end is not None
    assert (frames.end.code, frames.end.limit) == (1009, "max_frame_size")


def test_compressed_fragments_are_counted() -> None:
    frames = reader()
    read_all(masked(ZFIRST) + masked(MORE) * MAX_FRAGMENTS, frames)
    assert frames.end is not None
    assert (frames.end.code, frames.end.limit) == (1009, "fragments")


def test_what_is_inflated_in_one_go_has_a_bound() -> None:
    frames = reader()
    messages, _ = frames.read(masked(ZTEXT, deflated("x" * MAX_SIZE)) * 50)
    assert SLICE_BYTES - MAX_SIZE < sum(map(len, messages)) < SLICE_BYTES + MAX_SIZE
    assert frames.more


# Held against the general parser


def as_client(opcode: int, data: bytes, *, fin: bool, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    head = masked(opcode | 0x80 * fin, data)[: -4 - len(data)] if data else bytes((opcode | 0x80 * fin, 0x80))
    return head + mask + apply_mask(data, mask)


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[bytes, str | bytes]]:
    """Draw messages of both kinds, compressed or not, in one frame or in fragments, and what they say."""
    drawn = []
    for _ in range(draw(st.integers(1, 6))):
        said: str | bytes = draw(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
        plain = said.encode() if isinstance(said, str) else said
        compressed = draw(st.booleans())
        payload = deflated(plain, level=draw(st.integers(0, 9))) if compressed else plain
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        first = (1 if isinstance(said, str) else 2) | 0x40 * compressed
        frames = [
            as_client(first if not number else 0, piece, fin=number == len(cuts)) for number, piece in enumerate(pieces)
        ]
        drawn.append((b"".join(frames), said))
    return drawn


@given(conversations())
def test_valid_messages_are_read_as_the_general_parser_reads_them(drawn: list[tuple[bytes, str | bytes]]) -> None:
    data = b"".join(sent for sent, _ in drawn)
    general = ServerProtocol(state=State.OPEN, max_size=MAX_SIZE)
    general.extensions = [
        PerMessageDeflate(
            remote_no_context_takeover=True,
            local_no_context_takeover=True,
            remote_max_window_bits=15,
            local_max_window_bits=15,
        )
    ]
    general.receive_data(data)
    pieces: list[bytes] = []
    said: list[str | bytes] = []
    kind = WireOpcode.TEXT
    for frame in general.events_received():
        assert isinstance(frame, WireFrame)
        kind = frame.opcode if frame.opcode is not WireOpcode.CONT else kind
        pieces.append(bytes(frame.data))
        if frame.fin:
            whole, pieces = b"".join(pieces), []
            said.append(whole.decode() if kind is WireOpcode.TEXT else whole)
    assert said == [each for _, each in drawn] == read_all(data)


HOSTILE = [
    masked(head, payload)
    for head in (ZTEXT, ZBINARY, ZFIRST, MORE, LAST, TEXT, 0x01, 0xC0, 0x40, 0xC9, PING, CLOSE)
    for payload in (b"", HELLO, HELLO[:3], deflated("é" * 200), deflated(bytes(MAX_SIZE + 1)), b"\xff\xfe")
]


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=6)), max_size=10), st.integers(1, 40))
def test_whatever_is_sent_is_read_in_the_same_way_wherever_it_is_cut(pieces: list[bytes], step: int) -> None:
    data = b"".join(pieces)
    at_once, cut = reader(), reader()
    seen, rest = list[str | bytes](), b""
    for start in range(0, len(data), step):
        rest += data[start : start + step]
        messages, end = cut.read(rest)
        seen, rest = seen + messages, rest[end:]
        while cut.more:
            messages, end = cut.read(rest)
            seen, rest = seen + messages, rest[end:]
    assert read_all(data, at_once) == seen
    assert at_once.end == cut.end
    assert all(len(message) <= MAX_SIZE for message in seen)


# Over real connections


class RoomChannel(Channel):
    """Echoes, and shouts what it is told to."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        if event == "shout":
            self.broadcast("shout", payload)
        return ok(payload)


class RoomSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it


OFFERING = HANDSHAKE.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
JOIN = '["1","1","room:1","phx_join",{}]'


async def offering(server: Server) -> Tcp:
    tcp = await server.tcp()
    await tcp.send(OFFERING)
    answer = await tcp.answer()
    assert answer.status == 101
    assert answer.header("Sec-WebSocket-Extensions") == [TERMS]
    await tcp.send(masked(ZTEXT, deflated(JOIN)))
    await tcp.frame()
    return tcp


async def websockets_client(server: Server, stack: Any, **options: Any) -> Client:
    opening = connect(
        f"ws://127.0.0.1:{server.endpoint.port}/socket/websocket?vsn=2.0.0", proxy=None, ping_interval=None, **options
    )
    return Client(await stack.enter_async_context(opening))


@on_both_loops
async def test_a_library_agrees_on_compression_and_messages_of_all_sizes_come_back() -> None:
    async with serving(RoomSocket, compress=True) as server:
        client = await websockets_client(server, server._stack, max_size=None)
        response = client.connection.response
        assert response is not None
        assert response.headers["Sec-WebSocket-Extensions"] == TERMS
        join_ref = await client.join("room:1")
        for size in (0, 1, 255, 256, 1000, 0xFFFF, 0x10000, 3_000_000):
            text = json.dumps(list(range(size // 5)))[:size]
            assert await client.ask(join_ref, "room:1", "echo", {"a": text}) == {"a": text}
        await client.close()
        await server.nothing_is_left()


@on_loop
async def test_without_the_option_an_offer_is_declined_and_the_bit_is_an_error() -> None:
    async with serving(RoomSocket) as server:
        tcp = await server.tcp()
        await tcp.send(OFFERING)
        assert (await tcp.answer()).header("Sec-WebSocket-Extensions") == []
        await tcp.send(masked(ZTEXT, deflated(HEARTBEAT)))
        assert await tcp.close_code() == 1002


@on_loop
async def test_without_an_offer_nothing_is_compressed() -> None:
    async with serving(RoomSocket, compress=True) as server:
        client = await server.connect()
        join_ref = await client.join("room:1")
        assert await client.ask(join_ref, "room:1", "echo", {"a": LONG}) == {"a": LONG}


@pytest.mark.parametrize("clients", [1, 3, 20], ids=lambda number: f"{number} of each kind")
@on_loop
async def test_a_broadcast_is_compressed_once_for_all_clients_that_have_agreed(clients: int) -> None:
    """Also past the transport actors, and with clients in the room that have not."""
    async with serving(RoomSocket, compress=Compression(min_size=100)) as server:
        agreed = [await offering(server) for _ in range(clients)]
        others = [await server.connect() for _ in range(clients)]
        for other in others:
            await other.join("room:1")
        with pytest.MonkeyPatch.context() as patch:
            make, made = zlib.compressobj, count()
            patch.setattr(zlib, "compressobj", lambda *args, **options: (next(made), make(*args, **options))[1])
            for _ in range(3):
                server.endpoint.broadcast("room:1", "news", {"a": LONG})
        expected = [None, None, "room:1", "news", {"a": LONG}]
        for tcp in agreed:
            for _ in range(3):
                head, data = await tcp.frame()
                assert (head, json.loads(inflated(data))) == (ZTEXT, expected)
        for other in others:
            assert [await other.recv() for _ in range(3)] == [expected] * 3
        assert next(made) == 3


@on_loop
async def test_the_bytes_are_counted_as_they_are_sent() -> None:
    async with serving(RoomSocket, compress=True) as server:
        await offering(server)
        traffic = server.endpoint.traffic["websocket"]
        before = traffic.bytes_out
        server.endpoint.broadcast("room:1", "news", {"a": LONG})
        assert 10 < traffic.bytes_out - before < 200


@pytest.mark.parametrize("compress", [True, False])
@on_loop
async def test_our_own_client_offers_compression_unless_it_is_told_not_to(*, compress: bool) -> None:
    async with serving(RoomSocket, compress=True) as server:
        async with ClientSocket(f"ws://127.0.0.1:{server.endpoint.port}/socket", compress=compress) as socket:
            room = socket.channel("room:1")
            await room.join()
            assert await room.push("echo", {"a": LONG}) == {"a": LONG}
            bytes_out = server.endpoint.traffic["websocket"].bytes_out
        assert (bytes_out < 200) is compress


@on_loop
async def test_a_bomb_ends_its_connection_and_no_other() -> None:
    async with serving(RoomSocket, compress=True, max_frame_size=100_000) as server:
        tcp, other = await offering(server), await server.connect()
        with limits_reached() as reached:
            await tcp.send(masked(TEXT, HEARTBEAT), masked(ZTEXT, deflated(bytes(20_000_000))), masked(TEXT, HEARTBEAT))
            assert await tcp.text() == BEATEN
            assert await tcp.close_code() == 1009
            assert await tcp.ended() == b""
        assert reached == ["max_frame_size"]
        await other.nothing_came()
        await tcp.close()


@on_loop
async def test_control_frames_are_not_compressed() -> None:
    async with serving(RoomSocket, compress=Compression(min_size=0)) as server:
        tcp = await offering(server)
        await tcp.send(masked(PING, "a" * 125), masked(CLOSE, b"\x03\xe8"))
        assert await tcp.frame() == (0x8A, b"a" * 125)
        assert await tcp.frame() == (CLOSE, b"\x03\xe8")


@on_loop
async def test_what_waits_for_a_slow_client_counts_with_its_inflated_size() -> None:
    """That is what it takes of the memory."""
    async with serving(RoomSocket, compress=True, outbox=OutboxPolicy(max_bytes=50_000)) as server:
        await offering(server)
        carrier = server.find("transport").process.actor.carrier  # type: ignore[union-attr]  # it is there
        assert isinstance(carrier, WebSocketCarrier)
        carrier.pause_writing()
        server.endpoint.broadcast("room:1", "news", {"a": "a" * 20_000})
        assert 20_000 < carrier.get_write_buffer_size() < 20_100
        server.endpoint.broadcast("room:1", "news", {"a": "a" * 20_000})
        with limits_reached() as reached:
            server.endpoint.broadcast("room:1", "news", {"a": "a" * 20_000})
        assert reached == ["outbox"]


@on_loop
async def test_what_has_waited_is_written_compressed() -> None:
    async with serving(RoomSocket, compress=True) as server:
        tcp = await offering(server)
        carrier = server.find("transport").process.actor.carrier  # type: ignore[union-attr]  # it is there
        carrier.pause_writing()
        server.endpoint.broadcast("room:1", "news", {"a": LONG})
        carrier.resume_writing()
        head, data = await tcp.frame()
        assert (head, json.loads(inflated(data))[4]) == (ZTEXT, {"a": LONG})


@on_loop
async def test_many_bombs_in_one_packet_let_others_have_their_turns() -> None:
    async with serving(RoomSocket, compress=True) as server:
        tcp, other = await offering(server), await server.connect()
        push = json.dumps(["1", "2", "room:1", "echo", {"a": "a" * 1_000_000}])
        carrier = next(
            each.actor.carrier  # type: ignore[union-attr]  # it is there
            for each in server.system.ref.process.scheduler.processes.values()
            if each.label == "transport" and each.actor.carrier._outlet is not server.endpoint.traffic["websocket"]  # type: ignore[union-attr]  # as above
        )
        carrier.data_received(masked(ZTEXT, deflated(push)) * 20)
        # After the first there is enough for one go.
        assert carrier._kept is not None
        await other.nothing_came()
        await until(lambda: carrier._kept is None)
        tcp.writer.transport.abort()
        await asyncio.wait_for(other.nothing_came(), WAIT)
