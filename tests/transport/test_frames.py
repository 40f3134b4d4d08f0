"""The fast way of reading frames, held against the general parser of `websockets`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import apply_mask

from actors.channels.message import Frame as MessageFrame
from actors.channels.message import Opcode as MessageOpcode
from transport.carriers.frames import close_frame, common_close, common_frames, frame_end, wire

MAX_SIZE = 300


def framed(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


TEXT = framed(Opcode.TEXT, b"text")
BINARY = framed(Opcode.BINARY, b"\x00\xff")

UNCOMMON = {
    "a ping": framed(Opcode.PING, b"ping"),
    "a close frame": framed(Opcode.CLOSE, b"\x03\xe8"),
    "a fragment": framed(Opcode.TEXT, b"frag", fin=False),
    "a continuation": framed(Opcode.CONT, b"ment"),
    "an unmasked frame": framed(Opcode.TEXT, b"text of a server", mask=False),
    "a frame that is too large": framed(Opcode.TEXT, b"x" * (MAX_SIZE + 1)),
    "text that is not UTF-8": framed(Opcode.TEXT, b"\xff"),
    "a reserved bit": bytes((0xC1, *TEXT[1:])),
    "a reserved opcode": bytes((0x83, *TEXT[1:])),
}


def test_whole_frames_are_read() -> None:
    data = TEXT + BINARY + framed(Opcode.BINARY, b"x" * MAX_SIZE)
    assert common_frames(data, 0, MAX_SIZE) == (["text", b"\x00\xff", b"x" * MAX_SIZE], len(data))


@pytest.mark.parametrize("other", UNCOMMON.values(), ids=UNCOMMON)
def test_reading_stops_before_a_frame_of_another_kind(other: bytes) -> None:
    assert common_frames(TEXT + other + TEXT, 0, MAX_SIZE) == (["text"], len(TEXT))


@pytest.mark.parametrize("size", range(len(TEXT)))
def test_reading_stops_before_a_frame_that_has_not_come_whole(size: int) -> None:
    assert common_frames(BINARY + TEXT[:size], 0, MAX_SIZE) == ([b"\x00\xff"], len(BINARY))


WRONG_BY_THE_HEAD = {"an unmasked frame": 2, "a reserved opcode": 2, "a frame that is too large": 4}
RIGHT_BY_THE_HEAD = {name: frame for name, frame in UNCOMMON.items() if name not in WRONG_BY_THE_HEAD}


@pytest.mark.parametrize(
    "data",
    [TEXT, *RIGHT_BY_THE_HEAD.values(), framed(Opcode.BINARY, b"x" * 126)],
    ids=["text", *RIGHT_BY_THE_HEAD, "a length of 16 bits"],
)
def test_the_end_of_a_frame_is_known_from_its_head(data: bytes) -> None:
    assert frame_end(b"before" + data + b"after", 6, MAX_SIZE) == 6 + len(data)


def test_the_end_is_not_known_before_the_head_has_come() -> None:
    long = framed(Opcode.BINARY, b"x" * 200)
    assert [frame_end(long[:size], 0, MAX_SIZE) for size in range(5)] == [None, None, None, None, len(long)]


@pytest.mark.parametrize(("name", "head"), WRONG_BY_THE_HEAD.items(), ids=WRONG_BY_THE_HEAD)
def test_of_a_frame_that_is_wrong_by_its_head_only_the_head_counts(name: str, head: int) -> None:
    assert frame_end(UNCOMMON[name], 0, MAX_SIZE) == head


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Draw frames of all kinds, right and wrong, and where the stream of bytes is cut into pieces."""
    common = st.one_of(
        st.text(max_size=150).map(lambda text: framed(Opcode.TEXT, text.encode())),
        st.binary(max_size=MAX_SIZE + 20).map(lambda data: framed(Opcode.BINARY, data)),
    )
    kinds = st.one_of(common, st.sampled_from(list(UNCOMMON.values())), st.binary(max_size=8))
    data = b"".join(draw(st.lists(kinds, max_size=8)))
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))


class General:
    """Everything by the general parser."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(state=State.OPEN, max_size=MAX_SIZE)
        self.seen: list[Any] = []

    def receive(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        self._take()

    def _take(self) -> None:
        for frame in self.protocol.events_received():
            assert isinstance(frame, Frame)
            self.seen.append((frame.opcode, bytes(frame.data), frame.fin))


class Fast(General):
    """The common kind past the parser, as the carrier reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.rest = b""

    def receive(self, data: bytes) -> None:
        data, start = self.rest + data, 0
        while True:
            if self.protocol.current_size is None and self.protocol.state is State.OPEN:
                messages, start = common_frames(data, start, MAX_SIZE)
                self.seen += [_as_seen(message) for message in messages]
            end = frame_end(data, start, MAX_SIZE)
            if end is None or end > len(data):
                break
            self.protocol.receive_data(data[start:end])
            self._take()
            start = end
        self.rest = b"" if self.protocol.eof_sent else data[start:]


def _as_seen(message: str | bytes) -> Any:
    if isinstance(message, str):
        return (Opcode.TEXT, message.encode(), True)
    return (Opcode.BINARY, message, True)


@given(streams())
def test_both_ways_see_the_same_frames_and_end_in_the_same_state(stream: tuple[bytes, list[int]]) -> None:
    data, cuts = stream
    general, fast = General(), Fast()
    for start, end in pairwise([0, *cuts, len(data)]):
        for way in (general, fast):
            if end > start:
                way.receive(data[start:end])
    assert fast.seen == general.seen
    assert fast.protocol.state is general.protocol.state
    assert fast.protocol.close_sent == general.protocol.close_sent
    assert fast.protocol.data_to_send() == general.protocol.data_to_send()


# The close frame of a client that leaves


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"\x0f\xa0", 4000), (b"\x03\xe8" + "é".encode() * 61, 1000)],
    ids=repr,
)
def test_a_close_frame_is_read(payload: bytes, code: int) -> None:
    assert common_close(TEXT + framed(Opcode.CLOSE, payload) + TEXT, len(TEXT)) == (code, payload)


NO_CLOSE = {name: frame for name, frame in UNCOMMON.items() if name != "a close frame"} | {
    "without a code": framed(Opcode.CLOSE, b""),
    "half a code": framed(Opcode.CLOSE, b"\x03"),
    "a code that must not be sent": framed(Opcode.CLOSE, b"\x03\xed"),
    "a reason that is not UTF-8": framed(Opcode.CLOSE, b"\x03\xe8\xff"),
    "not masked": framed(Opcode.CLOSE, b"\x03\xe8", mask=False),
    "not whole": framed(Opcode.CLOSE, b"\x03\xe8")[:-1],
    "a length of 16 bits": bytes((0x88, 0xFE, 0, 2, 0, 0, 0, 0, 3, 0xE8)),
}


@pytest.mark.parametrize("other", NO_CLOSE.values(), ids=NO_CLOSE)
def test_what_is_no_common_close_frame_is_left_to_the_general_parser(other: bytes) -> None:
    assert common_close(other, 0) is None


@given(st.binary(max_size=125), st.binary(min_size=4, max_size=4))
def test_a_close_frame_is_answered_as_the_general_parser_answers_it(payload: bytes, mask: bytes) -> None:
    data = bytes((0x88, 0x80 | len(payload))) + mask + apply_mask(payload, mask)
    close, general = common_close(data, 0), ServerProtocol(state=State.OPEN, max_size=MAX_SIZE)
    general.receive_data(data)
    if close is not None:
        code, answer = close
        assert general.close_rcvd is not None
        assert (code, answer) == (general.close_rcvd.code, payload)
        assert general.data_to_send() == [close_frame(answer), b""]
    else:
        assert len(payload) < 2 or general.parser_exc is not None


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
