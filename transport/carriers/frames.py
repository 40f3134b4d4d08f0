"""The frames of a WebSocket (RFC 6455, section 5), read and written.

`websockets`' parser, a generator made for all sides and extensions, takes ten times as long for a message, and more for a ping
or a fragment. What is an error here, and its close code, is what it is there; `tests/transport/test_frames.py` compares them.
As in Phoenix, a close code that is for servers is an error of the client too, and no close frame of ours has a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:
    # websockets is installed without its C extension.
    from websockets.utils import apply_mask

from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode, Opcode

if TYPE_CHECKING:
    from actors.channels.message import Frame

__all__ = [
    "COSTS",
    "SLICE_BYTES",
    "SLICE_COSTS",
    "Ending",
    "FrameReader",
    "close_frame",
    "close_payload",
    "pong_frame",
    "wire",
]

# RFC 6455, section 5.2: FIN with opcode 1, 2, 8, 9 or 10; the bits of the first byte; the MASK bit; lengths of 16 and 64 bits.
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
_FIN, _RESERVED, _CONTROL, _OPCODE = 0x80, 0x70, 0x08, 0x0F
_MASKED = 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_OPCODES = frozenset(int(opcode) for opcode in Opcode)
# The close codes that servers send: restarting, try again later, bad gateway.
_OF_SERVERS = frozenset((CloseCode.SERVICE_RESTART, CloseCode.TRY_AGAIN_LATER, CloseCode.BAD_GATEWAY))
# The header of a client's frame without a longer length: two bytes, and the mask.
_HEAD = 6

# Up to these sizes the length has 7 bits, or 16.
_SHORT, _MEDIUM = 125, 0xFFFF

COSTS = 8
"""What a message costs of a slice; a control frame or a fragment costs 1."""
_MOST = 64
SLICE_COSTS = _MOST * COSTS
"""The frames that are read in one go: 64 messages."""
SLICE_BYTES = 64 * 1024
"""The bytes that are read in one go, and the rest of the last frame."""


class Ending(NamedTuple):
    """The end of what is read from a client: its close frame, or its error.

    - `code`: the close code, 1005 for a close frame without one.
    - `payload`: that of the close frame that answers it.
    - `is_error`: whether it is an error.
    - `limit`: the option whose limit was reached, if it was that.
    """

    code: int
    payload: bytes
    is_error: bool = False
    limit: str | None = None


class FrameReader:
    """Reads the frames of one client; the bytes may be cut anywhere.

    - `more`: whether frames may be left that have been received in full.
    - `pings`: the pings since it was last set to None: how many messages of the slice came before, and the payload.
    - `end`: set when nothing more is to be read.
    """

    __slots__ = ("_count", "_max_fragments", "_max_size", "_message", "_opcode", "end", "more", "pings")

    def __init__(self, max_size: int, max_fragments: int) -> None:
        self._max_size, self._max_fragments = max_size, max_fragments
        # The message whose fragments are being received.
        self._message: bytearray | None = None
        self._opcode = self._count = 0
        self.more = False
        self.pings: list[tuple[int, bytes]] | None = None
        self.end: Ending | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be read."""
        return self.end is not None

    def stop(self) -> None:
        """Ignore whatever is still received."""
        self._message, self.more = None, False
        self.end = self.end or Ending(CloseCode.ABNORMAL_CLOSURE, b"")

    def read(self, data: bytes | bytearray) -> tuple[list[str | bytes], int]:
        """Read a slice of the frames; return the messages that are complete with it, and where the next frame begins."""
        messages: list[str | bytes] = []
        start = 0
        if self._message is None and self.end is None:
            start = _whole_messages(data, 0, messages, _MOST, self._max_size)
            if start == len(data):
                # As nearly always.
                self.more = False
                return messages, start
        return messages, self._read_all(data, start, messages)

    def _read_all(self, data: bytes | bytearray, start: int, messages: list[str | bytes]) -> int:
        """Read the rest of a slice, frames of any kind."""
        if self.is_over:
            return len(data)
        last, left = len(data) - 1, SLICE_COSTS - COSTS * len(messages)
        until = min(last, SLICE_BYTES)
        while start < until and left > 0:
            begin, before = start, len(messages)
            if self._message is None and _TEXT <= data[start] <= _BINARY:
                start = _whole_messages(data, start, messages, -(-left // COSTS), self._max_size)
            if start == begin:
                start = self._read_other(data, start, messages)
            left -= self._cost(messages, before)
            if start == begin or self.is_over:
                break
        self.more = self.end is None and start < last and (left <= 0 or start >= until)
        return start

    def _cost(self, messages: list[str | bytes], before: int) -> int:
        """Return what the last frames cost of the slice; with them the messages from `before` on are complete."""
        return COSTS * (len(messages) - before) or 1

    @property
    def _most(self) -> int:
        """The bytes that the frames of a message may have."""
        return self._max_size

    def _read_other(self, data: bytes | bytearray, start: int, messages: list[str | bytes]) -> int:
        """Read one frame of any kind; return its end, or `start` if it is wrong, or has not been received in full."""
        head, length = data[start], data[start + 1] - _MASKED
        begin = start + _HEAD
        if length >= _LENGTH_16:
            begin, length = _longer(data, start, length)
        end = begin + length
        if self._is_wrong(head, length) or end > len(data):
            return start
        payload = apply_mask(data[begin:end], data[begin - 4 : begin]) if length else b""
        if head == _PING:
            self.pings = [] if self.pings is None else self.pings
            self.pings.append((len(messages), payload))
            return end
        message = self._take(head, payload)
        if message is not None:
            messages.append(message)
        return end

    def _decoded(self, payload: bytes, head: int) -> str | bytes | None:
        """Return a complete message, text as `str`."""
        if head & 1 == 0:  # the opcode of text is 1, that of binary 2
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError:
            # RFC 6455, section 8.1: text that is not UTF-8 fails the connection.
            self._fail(CloseCode.INVALID_DATA)
            return None

    def _is_wrong(self, head: int, length: int) -> bool:
        """Look at the header of a frame that is no whole message within the limit; the length is negative without a mask."""
        opcode, message = head & _OPCODE, self._message
        if _CLOSE <= head <= _PONG and 0 <= length <= _SHORT:
            return False
        room = max(_SHORT, self._max_size) if head & _CONTROL else self._most - len(message or b"")
        if not head & ~_FIN and message is not None and 0 <= length <= room:
            return False
        if opcode not in _OPCODES or length < 0:
            self._fail(CloseCode.PROTOCOL_ERROR)
        elif length > room:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "max_frame_size")
        elif head & _RESERVED or self._is_out_of_place(head, length):
            self._fail(CloseCode.PROTOCOL_ERROR)
        return self.is_over

    def _is_out_of_place(self, head: int, length: int) -> bool:
        """Return whether it is a long or fragmented control frame, or a data frame where the other kind has to come."""
        if head & _CONTROL:
            return length > _SHORT or not head & _FIN
        return (head & _OPCODE == Opcode.CONT) is (self._message is None)

    def _take(self, head: int, payload: bytes) -> str | bytes | None:
        """Handle a control frame that is no ping, or a fragment; return the message if it is the last one."""
        if head == _CLOSE:
            self._close(payload)
        elif head != _PONG:
            return self._join(head, payload)
        return None

    def _join(self, head: int, payload: bytes) -> str | bytes | None:
        message = self._message
        if message is None:
            message, self._opcode, self._count = bytearray(), head & _OPCODE, 0
            self._message = message
        message += payload
        self._count += 1
        if self._count > self._max_fragments:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "fragments")
            return None
        if not head & _FIN:
            return None
        self._message = None
        return self._decoded(bytes(message), self._opcode)

    def _close(self, payload: bytes) -> None:
        """End with the code of the client's close frame (RFC 6455, sections 5.5.1 and 7.1.1)."""
        try:
            code = Close.parse(payload).code
        except ProtocolError:
            self._fail(CloseCode.PROTOCOL_ERROR)
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA)
        else:
            if code in _OF_SERVERS:
                self._fail(CloseCode.PROTOCOL_ERROR)
            else:
                # Also among the fragments of a message, of which nothing more will come (section 5.4).
                self._message = None
                self.end = Ending(int(code), payload[:2])

    def _fail(self, code: CloseCode, limit: str | None = None) -> None:
        """End because of an error of the client (RFC 6455, section 7.1.7)."""
        self._message = None
        self.end = Ending(int(code), close_payload(code), is_error=True, limit=limit)


def _whole_messages(data: bytes | bytearray, start: int, messages: list[str | bytes], most: int, max_size: int) -> int:
    """Read messages that are one frame each, as nearly all are; return where another frame begins, or a wrong one."""
    size = len(data)
    until = size - 1 if size <= SLICE_BYTES else SLICE_BYTES
    for _ in range(most):
        if start >= until:
            break
        head, length = data[start], data[start + 1] - _MASKED
        begin = start + _HEAD
        if length >= _LENGTH_16:
            begin, length = _longer(data, start, length)
        end = begin + length
        if length < 0 or end > size or length > max_size or not _TEXT <= head <= _BINARY:
            break
        # Copying a long payload would cost more than everything else that is done with it.
        masked = data[begin:end] if length <= _MEDIUM else memoryview(data)[begin:end]
        payload = apply_mask(masked, data[begin - 4 : begin])
        if head == _TEXT:
            try:
                messages.append(payload.decode())
            except UnicodeDecodeError:
                break
        else:
            messages.append(payload)
        start = end
    return start


def _longer(data: bytes | bytearray, start: int, code: int) -> tuple[int, int]:
    """Return where the payload of a frame with a length of 16 or 64 bits begins, and the length.

    The length is 0 as long as it has not been received: that is right for all else that is to be checked.
    """
    begin = start + _HEAD + (2 if code == _LENGTH_16 else 8)
    return begin, int.from_bytes(data[start + 2 : begin - 4], "big") if begin - 4 <= len(data) else 0


def close_frame(payload: bytes) -> bytes:
    """Return a close frame (RFC 6455, section 5.5.1)."""
    return bytes((_CLOSE, len(payload))) + payload


def close_payload(code: int) -> bytes:
    """Return the payload of a close frame with a code."""
    return Close(code, "").serialize()


def pong_frame(payload: bytes) -> bytes:
    """Return the pong that answers a ping (RFC 6455, section 5.5.3)."""
    return bytes((_PONG, len(payload))) + payload


def wire(frame: Frame) -> bytes:
    """Return a message as one unmasked frame (RFC 6455, section 5.2); it is made once and kept in `frame.wire`."""
    if frame.wire is None:
        data, head = frame.data, _FIN | frame.opcode
        size = len(data)
        if size <= _SHORT:
            frame.wire = bytes((head, size)) + data
        elif size <= _MEDIUM:
            frame.wire = bytes((head, _LENGTH_16)) + size.to_bytes(2, "big") + data
        else:
            frame.wire = bytes((head, _LENGTH_64)) + size.to_bytes(8, "big") + data
    return frame.wire
