"""The common kinds of WebSocket frames, read and written without the general parser: unfragmented text and binary, and close.

Nearly every frame of a client is one of these, and `websockets`' parser, a generator made for all kinds, takes ten times as
long for it. All other frames, and invalid ones, are left to that parser: pings, fragments, reserved bits, unmasked or
oversized frames, text that is not UTF-8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from websockets.speedups import apply_mask
except ImportError:
    # websockets is installed without its C extension.
    from websockets.utils import apply_mask

from websockets.exceptions import ProtocolError
from websockets.frames import Close, Opcode

if TYPE_CHECKING:
    from actors.channels.message import Frame

__all__ = ["CLOSE_HEAD", "close_frame", "common_close", "common_frames", "frame_end", "wire"]

# RFC 6455, section 5.2: FIN with opcode 1, 2 or 8; the MASK bit; lengths of 7, 16 and 64 bits; a mask of four bytes.
_TEXT, _BINARY, _CLOSE = 0x81, 0x82, 0x88
_MASKED = 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_OPCODES = frozenset(Opcode)
CLOSE_HEAD = 6
"""The bytes of the header of a client's close frame: two, and the mask."""

# Up to these sizes the length has 7 bits, or 16.
_SHORT, _MEDIUM = 125, 0xFFFF


def common_frames(data: bytes | bytearray, start: int, max_size: int) -> tuple[list[str | bytes], int]:
    """Read masked, unfragmented text and binary frames from `start` on; return their messages, and where they end.

    There begins a frame of another kind, or one that has not been received in full, or `data` ends.
    """
    messages: list[str | bytes] = []
    size = len(data)
    while size - start >= 6:  # noqa: PLR2004  # two bytes and the mask
        head, length = data[start], data[start + 1] - _MASKED
        begin = start + 6
        if length >= _LENGTH_16:
            extra = 2 if length == _LENGTH_16 else 8
            length = int.from_bytes(data[start + 2 : start + 2 + extra], "big")
            begin += extra
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
    return messages, start


def common_close(data: bytes | bytearray, start: int) -> tuple[int, bytes] | None:
    """Read the close frame at `start`; return its code, and its payload, with which it is to be answered.

    None if it is another frame, has no code, is invalid, or has not been received in full.
    """
    if len(data) - start < 8 or data[start] != _CLOSE:  # noqa: PLR2004  # the header and the code
        return None
    begin, length = start + CLOSE_HEAD, data[start + 1] - _MASKED
    if not 2 <= length <= _SHORT or begin + length > len(data):  # noqa: PLR2004  # a code has two bytes
        return None
    payload = apply_mask(data[begin : begin + length], data[begin - 4 : begin])
    try:
        return int(Close.parse(payload).code), payload
    except (ProtocolError, UnicodeDecodeError):
        return None


def close_frame(payload: bytes) -> bytes:
    """Return the close frame that answers one with this payload (RFC 6455, section 5.5.1)."""
    return bytes((_CLOSE, len(payload))) + payload


def frame_end(data: bytes | bytearray, start: int, max_size: int) -> int | None:
    """Return where the frame at `start` ends, whatever its kind; None if its header has not been received in full.

    An invalid one (an unknown opcode, not masked, too large) ends with its header: that is enough for the general parser to
    reject it.
    """
    if len(data) - start < 2:  # noqa: PLR2004  # opcode and length
        return None
    if data[start] & 0x0F not in _OPCODES or data[start + 1] < _MASKED:
        return start + 2
    length = data[start + 1] & 0x7F
    extra = {_LENGTH_16: 2, _LENGTH_64: 8}.get(length, 0)
    begin = start + 2 + extra
    if len(data) < begin:
        return None
    if extra:
        length = int.from_bytes(data[start + 2 : begin], "big")
    if length > max_size:
        return begin
    return begin + 4 + length


def wire(frame: Frame) -> bytes:
    """Return a message as one unmasked frame (RFC 6455, section 5.2); it is made once and kept in `frame.wire`."""
    if frame.wire is None:
        data, head = frame.data, 0x80 | frame.opcode
        size = len(data)
        if size <= _SHORT:
            frame.wire = bytes((head, size)) + data
        elif size <= _MEDIUM:
            frame.wire = bytes((head, _LENGTH_16)) + size.to_bytes(2, "big") + data
        else:
            frame.wire = bytes((head, _LENGTH_64)) + size.to_bytes(8, "big") + data
    return frame.wire
