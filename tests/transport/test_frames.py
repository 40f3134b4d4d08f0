"""Frames, read and written, and held against the general parser of `websockets`."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import apply_mask

from actors.channels.message import Frame as MessageFrame
from actors.channels.message import Opcode as MessageOpcode
from transport.carriers.frames import COSTS, SLICE_BYTES, SLICE_COSTS, FrameReader, close_frame, pong_frame, wire

MAX_SIZE = 300
MAX_FRAGMENTS = 5
# The close codes of which the general parser accepts those that only servers send.
OF_SERVERS = (1012, 1013, 1014)


def framed(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    """Return a frame, which may be one that `websockets` would not serialize."""
    if not mask:
        return Frame(opcode, data, fin).serialize(mask=False)
    size, key = len(data), b"\x01\x02\x03\x04"
    head = bytes((opcode | 0x80 * fin, 0x80 | min(size, 126))) + (size.to_bytes(2, "big") if size > 125 else b"")
    return head + key + apply_mask(data, key)


def reader(max_size: int = MAX_SIZE, max_fragments: int = MAX_FRAGMENTS) -> FrameReader:
    return FrameReader(max_size, max_fragments)


TEXT = framed(Opcode.TEXT, b"text")
BINARY = framed(Opcode.BINARY, b"\x00\xff")

FRAMES = {
    "a ping": framed(Opcode.PING, b"ping"),
    "an empty ping": framed(Opcode.PING, b""),
    "a long ping": framed(Opcode.PING, b"x" * 125),
    "a ping that is too long": framed(Opcode.PING, b"x" * 126),
    "a ping in fragments": framed(Opcode.PING, b"", fin=False),
    "a ping that is far too long": framed(Opcode.PING, b"x" * (MAX_SIZE + 1)),
    "a pong": framed(Opcode.PONG, b"pong"),
    "a close frame": framed(Opcode.CLOSE, b"\x03\xe8"),
    "a close frame without a code": framed(Opcode.CLOSE, b""),
    "half a close code": framed(Opcode.CLOSE, b"\x03"),
    "a close code that must not be sent": framed(Opcode.CLOSE, b"\x03\xed"),
    "a close reason that is not UTF-8": framed(Opcode.CLOSE, b"\x03\xe8\xff"),
    "a close code of servers": framed(Opcode.CLOSE, b"\x03\xf4"),
    "a close reason": framed(Opcode.CLOSE, b"\x0f\xa0" + "é".encode() * 61),
    "a fragment": framed(Opcode.TEXT, b"frag", fin=False),
    "a fragment of binary": framed(Opcode.BINARY, b"\xff", fin=False),
    "an empty fragment": framed(Opcode.TEXT, b"", fin=False),
    "a fragment that is not UTF-8": framed(Opcode.TEXT, b"\xc3", fin=False),
    "a continuation": framed(Opcode.CONT, b"ment", fin=False),
    "a long continuation": framed(Opcode.CONT, b"x" * (MAX_SIZE - 3), fin=False),
    "an empty continuation": framed(Opcode.CONT, b"", fin=False),
    "a last continuation": framed(Opcode.CONT, b"ed"),
    "an unmasked frame": framed(Opcode.TEXT, b"text of a server", mask=False),
    "a frame that is too large": framed(Opcode.TEXT, b"x" * (MAX_SIZE + 1)),
    "the first fragment too large": framed(Opcode.TEXT, b"x" * (MAX_SIZE + 1), fin=False),
    "a huge length": b"\x82\xff" + b"\xff" * 8 + bytes(4),
    "text that is not UTF-8": framed(Opcode.TEXT, b"\xff"),
    "a reserved bit": bytes((0xC1, *TEXT[1:])),
    "a reserved opcode": bytes((0x83, *TEXT[1:])),
    "a reserved control opcode": bytes((0x8B, *TEXT[1:])),
    "a length that could be shorter": b"\x89\xfe\x00\x02" + bytes(4) + b"hi",
}


def read_all(data: bytes, frames: FrameReader) -> list[str | bytes]:
    messages, start = frames.read(data)
    assert not frames.more
    assert start == len(data)
    return messages


def test_whole_frames_are_read() -> None:
    assert read_all(TEXT + BINARY + framed(Opcode.BINARY, b"x" * MAX_SIZE), reader()) == [
        "text",
        b"\x00\xff",
        b"x" * MAX_SIZE,
    ]


@pytest.mark.parametrize("size", range(len(TEXT)))
def test_reading_stops_before_a_frame_that_has_not_come_whole(size: int) -> None:
    frames = reader()
    assert frames.read(BINARY + TEXT[:size]) == ([b"\x00\xff"], len(BINARY))
    assert (frames.more, frames.end) == (False, None)


@pytest.mark.parametrize("payload", [b"", b"hi", b"x" * 125], ids=len)
def test_pings_are_collected(payload: bytes) -> None:
    frames = reader()
    ping = framed(Opcode.PING, payload)
    assert read_all(ping + TEXT + framed(Opcode.PONG, b"pong") + ping, frames) == ["text"]
    assert frames.pings == [(0, payload), (1, payload)]


def test_fragments_are_joined_with_control_frames_between() -> None:
    frames = reader()
    pieces = [(Opcode.TEXT, b"a\xc3", False), (Opcode.CONT, b"", False), (Opcode.CONT, b"\xbcb", True)]
    data = framed(Opcode.PING, b"between").join(framed(opcode, piece, fin=fin) for opcode, piece, fin in pieces)
    assert read_all(data + BINARY, frames) == ["aüb", b"\x00\xff"]
    assert frames.pings == [(0, b"between"), (0, b"between")]


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["empty", "of a byte"])
def test_a_message_has_so_many_fragments_and_no_more(piece: bytes) -> None:
    fragments = [framed(Opcode.TEXT, piece, fin=False)] + [framed(Opcode.CONT, piece, fin=False)] * MAX_FRAGMENTS
    frames = reader()
    last = framed(Opcode.CONT, piece)
    assert read_all(b"".join(fragments[: MAX_FRAGMENTS - 1]) + last, frames) == [piece.decode() * MAX_FRAGMENTS]
    assert read_all(b"".join(fragments[:MAX_FRAGMENTS]), frames) == []
    assert not frames.is_over
    assert read_all(last, frames) == []
    assert frames.end is not None
    assert (frames.end.code, frames.end.limit) == (1009, "fragments")


def test_a_close_frame_may_come_among_the_fragments_of_a_message() -> None:
    frames = reader()
    assert read_all(FRAMES["a fragment"] + FRAMES["a close frame"], frames) == []
    assert frames.end == (1000, b"\x03\xe8", False, None)


def test_after_the_end_nothing_more_is_read() -> None:
    frames = reader()
    control = FRAMES["an empty ping"] * (SLICE_COSTS - 1) + FRAMES["a close frame"]
    data = control + TEXT
    assert frames.read(data) == ([], len(control))
    assert (frames.more, frames.is_over) == (False, True)
    assert frames.read(data) == ([], len(data))


def test_a_reader_that_is_stopped_ignores_what_is_received() -> None:
    frames = reader()
    frames.read(FRAMES["a fragment"] + TEXT[:1])
    frames.stop()
    assert read_all(TEXT * 100, frames) == []


def test_the_fragments_of_each_message_are_counted_anew() -> None:
    message = framed(Opcode.TEXT, b"a", fin=False) + framed(Opcode.CONT, b"b")
    assert read_all(message * 20, reader()) == ["ab"] * 20


@pytest.mark.parametrize("name", ["a frame that is too large", "the first fragment too large", "a huge length"])
def test_a_message_that_is_too_large_names_its_limit(name: str) -> None:
    frames = reader()
    assert frames.read(TEXT + FRAMES[name])[0] == ["text"]
    assert frames.end is not None
    assert (frames.end.code, frames.end.limit) == (1009, "max_frame_size")


@pytest.mark.parametrize(
    "head", [b"\x83\xff", b"\xc1\xfe", b"\x81\x7f", b"\x09\x80", b"\x80\xfe", b"\x81\xfe\xff\xff"], ids=repr
)
def test_an_error_is_seen_in_the_header(head: bytes) -> None:
    frames = reader()
    frames.read(head)
    assert frames.end is not None


# Slices


def test_a_slice_ends_after_a_number_of_messages() -> None:
    frames, data = reader(), TEXT * 100
    messages, start = frames.read(data)
    assert len(messages) == SLICE_COSTS // COSTS
    assert (start, frames.more) == (len(TEXT) * len(messages), True)
    assert len(read_all(data[start:], frames)) == 100 - len(messages)


@pytest.mark.parametrize("name", ["an empty ping", "a pong"])
def test_a_slice_ends_after_a_number_of_control_frames(name: str) -> None:
    frames, data = reader(), FRAMES[name] * (SLICE_COSTS + 1)
    assert frames.read(data) == ([], len(FRAMES[name]) * SLICE_COSTS)
    assert frames.more


def test_a_slice_ends_after_a_number_of_fragments() -> None:
    frames = reader(max_fragments=SLICE_COSTS * 2)
    first, more = FRAMES["a fragment"], FRAMES["an empty continuation"]
    assert frames.read(first + more * SLICE_COSTS) == ([], len(first) + len(more) * (SLICE_COSTS - 1))
    assert frames.more


def test_a_slice_ends_after_a_number_of_bytes() -> None:
    frames, frame = reader(max_size=100_000), framed(Opcode.BINARY, b"x" * (SLICE_BYTES // 2))
    messages, start = frames.read(frame * 4)
    assert (len(messages), start, frames.more) == (2, 2 * len(frame), True)


@pytest.mark.parametrize("rest", [b"", TEXT[:1]], ids=len)
def test_after_a_slice_nothing_is_left_if_no_frame_is(rest: bytes) -> None:
    frames = reader()
    assert frames.read(TEXT * (SLICE_COSTS // COSTS) + rest)[1] == len(TEXT) * (SLICE_COSTS // COSTS)
    assert not frames.more


# Held against the general parser


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Draw frames of all kinds, right and wrong, and where the stream of bytes is cut into pieces."""
    common = st.one_of(
        st.text(max_size=150).map(lambda text: framed(Opcode.TEXT, text.encode())),
        st.binary(max_size=MAX_SIZE + 20).map(lambda data: framed(Opcode.BINARY, data)),
    )
    kinds = st.one_of(common, st.sampled_from(list(FRAMES.values())), st.binary(max_size=8))
    data = b"".join(draw(st.lists(kinds, max_size=12)))
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))


class General:
    """The parser of `websockets`, and its fragments joined."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(state=State.OPEN, max_size=MAX_SIZE)
        self.seen: list[object] = []
        self.invalid = False
        self._pieces: list[bytes] = []
        self._opcode = Opcode.TEXT

    def receive(self, data: bytes) -> None:
        # Byte by byte: it reads all frames at once, also those behind a text that is not UTF-8.
        for number in range(len(data)):
            self._receive(data[number : number + 1])

    def _receive(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            assert isinstance(frame, Frame)
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            self.seen.append(("ping", bytes(frame.data)))
        if frame.opcode not in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            return
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
        self._pieces.append(bytes(frame.data))
        if frame.fin:
            data, self._pieces = b"".join(self._pieces), []
            self._complete(data)

    def _complete(self, data: bytes) -> None:
        if self.invalid:
            return
        try:
            self.seen.append(data.decode() if self._opcode is Opcode.TEXT else data)
        except UnicodeDecodeError:
            self.invalid = True
            if self.protocol.state is State.OPEN:
                self.protocol.fail(CloseCode.INVALID_DATA)

    def close_sent(self) -> int | None:
        if self.protocol.close_sent is None:
            return None
        # For the general parser a close frame among fragments is an error; RFC 6455, section 5.4, allows it.
        code = (self.protocol.close_rcvd or self.protocol.close_sent).code
        return CloseCode.PROTOCOL_ERROR if code in OF_SERVERS else code


class Ours:
    """The frames as the carrier reads them."""

    def __init__(self) -> None:
        self.frames = reader(max_fragments=1000)
        self.seen: list[object] = []
        self.rest = b""

    def receive(self, data: bytes) -> None:
        self.rest += data
        while self.frames.end is None:
            messages, start = self.frames.read(self.rest)
            done = 0
            for before, payload in self.frames.pings or []:
                self.seen += [*messages[done:before], ("ping", payload)]
                done = before
            self.frames.pings = None
            self.seen += messages[done:]
            self.rest = self.rest[start:]
            if not self.frames.more:
                break


@given(streams())
def test_both_ways_see_the_same_messages_and_pings_in_order_and_end_with_the_same_code(
    stream: tuple[bytes, list[int]],
) -> None:
    data, cuts = stream
    general, ours = General(), Ours()
    for start, end in pairwise([0, *cuts, len(data)]):
        for way in (general, ours):
            if end > start:
                way.receive(data[start:end])
    if ours.frames.end is not None and general.close_sent() is None:
        # It was seen in the header: the general parser sees it at the end of the frame.
        general.receive(bytes(MAX_SIZE + 10))
    assert ours.seen == general.seen
    assert (ours.frames.end and ours.frames.end.code) == general.close_sent()


@given(streams())
def test_it_does_not_matter_where_the_bytes_are_cut(stream: tuple[bytes, list[int]]) -> None:
    data, _ = stream
    at_once, by_byte = Ours(), Ours()
    at_once.receive(data)
    for number in range(len(data)):
        by_byte.receive(data[number : number + 1])
    assert at_once.seen == by_byte.seen
    assert at_once.frames.end == by_byte.frames.end


@given(st.binary(max_size=125), st.binary(min_size=4, max_size=4))
def test_a_close_frame_is_answered_with_the_code_of_the_general_parser_and_no_reason(
    payload: bytes, mask: bytes
) -> None:
    data = bytes((0x88, 0x80 | len(payload))) + mask + apply_mask(payload, mask)
    frames, general = reader(), ServerProtocol(state=State.OPEN, max_size=MAX_SIZE)
    assert read_all(data, frames) == []
    general.receive_data(data)
    assert frames.end is not None
    assert general.close_sent is not None
    code = general.close_sent.code if general.close_sent.code not in OF_SERVERS else CloseCode.PROTOCOL_ERROR
    assert frames.end.code == code
    assert close_frame(frames.end.payload) == close_frame(code.to_bytes(2, "big") if payload else b"")


@pytest.mark.parametrize("reason", [b"", b"restarting"])
@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (1000, 1000),
        (1001, 1001),
        (1011, 1011),
        (1012, 1002),
        (1013, 1002),
        (1014, 1002),
        (1015, 1002),
        (3000, 3000),
        (4999, 4999),
    ],
)
def test_a_close_code_for_servers_is_an_error_of_a_client(code: int, answer: int, reason: bytes) -> None:
    frames = reader()
    read_all(framed(Opcode.CLOSE, code.to_bytes(2, "big") + reason), frames)
    assert frames.end == (answer, answer.to_bytes(2, "big"), answer != code, None)


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_no_close_frame_has_a_reason(name: str) -> None:
    frames = reader()
    frames.read(FRAMES[name])
    assert frames.end is None or frames.end.payload == (
        b"" if frames.end.code == 1005 else frames.end.code.to_bytes(2, "big")
    )


@given(st.binary(max_size=125))
def test_a_pong_is_that_of_the_general_parser(payload: bytes) -> None:
    general = ServerProtocol(state=State.OPEN)
    general.receive_data(framed(Opcode.PING, payload))
    assert general.data_to_send() == [pong_frame(payload)]


# Frames out


@pytest.mark.parametrize(
    ("opcode", "data", "head"),
    [
        (MessageOpcode.TEXT, b"", b"\x81\x00"),
        (MessageOpcode.TEXT, b"hi", b"\x81\x02"),
        (MessageOpcode.BINARY, b"hi", b"\x82\x02"),
        (MessageOpcode.TEXT, b"a" * 125, b"\x81\x7d"),
        (MessageOpcode.TEXT, b"a" * 126, b"\x81\x7e\x00\x7e"),
        (MessageOpcode.BINARY, b"a" * 0xFFFF, b"\x82\x7e\xff\xff"),
        (MessageOpcode.TEXT, b"a" * 0x10000, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else str(value),
)
def test_a_frame_has_its_size_in_front(opcode: MessageOpcode, data: bytes, head: bytes) -> None:
    assert wire(MessageFrame(opcode, data)) == head + data


def test_a_frame_is_made_once_for_all_connections() -> None:
    frame = MessageFrame(MessageOpcode.TEXT, b"hi")
    assert wire(frame) is wire(frame)
