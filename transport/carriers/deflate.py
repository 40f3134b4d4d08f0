"""permessage-deflate: the messages of a WebSocket, compressed with DEFLATE (RFC 7692).

Theory of operation.

Each message is compressed on its own, in both directions: the endpoint's answer to an offer always has
`server_no_context_takeover` and `client_no_context_takeover`. So a broadcast is compressed once for all clients, and a
connection keeps no compressor and no window, which would take up to 300 KiB of memory. The price is that a message does not
profit from its likeness to the ones before it, which would make short messages shorter.

- What is sent is a form of the frame, kept in `frame.deflated` as the plain one is in `frame.wire`. It is made by the outlet of
  the connections that have agreed on it, so a broadcast takes its usual path (see `actors/pubsub/lanes.py`). Messages that do
  not become shorter are sent as they are; control frames always are.
- What is received is inflated when the message is complete, up to the size that a message may have and no further, so a bomb
  costs what a message of that size costs. The inflated size counts for the slice that is read in one go (see `frames.py`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode, Opcode
from websockets.headers import build_extension, parse_extension

from actors.channels.message import Frame
from actors.redaction import safe_repr
from actors.validation import check_count, is_count
from transport.carriers.frames import SLICE_BYTES, SLICE_COSTS, FrameReader, wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from websockets.datastructures import Headers
    from websockets.extensions.base import Extension
    from websockets.typing import ExtensionParameter

    from actors.channels.fastlane import Outlet

__all__ = ["Agreement", "Compression", "Deflate", "DeflateOutlet", "InflatingReader"]

_HEADER = "Sec-WebSocket-Extensions"
_NAME = ServerPerMessageDeflateFactory.name
# The answer to an offer, but for the bits of the window (RFC 7692, section 7.1).
_TERMS = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)

# The first reserved bit of a frame: the message that begins with it is compressed (section 6).
_RSV1 = 0x40
_OPCODE = 0x0F
_DATA = (Opcode.TEXT, Opcode.BINARY)
# The window of DEFLATE in bits, without the header and trailer of zlib.
_WINDOW = 15
# The end of each compressed message, an empty block, which is not sent (section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"
# What may follow the last block of a message that marks it as such (section 7.2.3.4), the tail included.
_REST = (b"", _TAIL, b"\x00" + _TAIL)
# The bytes of a message that cost as much as a control frame.
_BYTES_PER_COST = SLICE_BYTES // SLICE_COSTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How the messages of WebSockets are compressed, for `Endpoint(compress=…)`.

    - `level`: from 1, the fastest, to 9; of short messages it makes no difference, of long ones 6 saves a quarter more and
      takes six times as long, in which the event loop does nothing else.
    - `min_size`: bytes of a message; a shorter one is sent as it is.

    Raises:
        ValueError: naming the option and its value.
    """

    level: int = 1
    min_size: int = 256

    def __post_init__(self) -> None:
        if not (is_count(self.level) and 1 <= self.level <= zlib.Z_BEST_COMPRESSION):
            raise ValueError(f"level must be a whole number from 1 to 9, got {safe_repr(self.level)}")
        check_count("min_size", self.min_size)


class Agreement(NamedTuple):
    """What a client and the endpoint have agreed on: the header's value that says so, and the outlet of its messages."""

    answer: str
    outlet: DeflateOutlet


class Deflate:
    """The compression of all WebSockets of an endpoint; `plain` is the outlet of those that do not compress."""

    def __init__(self, compression: Compression, plain: Outlet) -> None:
        self._compression, self._plain = compression, plain
        # One for each size of the window, so that clients that agree on the same get the same bytes.
        self._outlets: dict[int, DeflateOutlet] = {}

    def agree(self, headers: Headers) -> Agreement | None:
        """Return what is answered to the first acceptable offer of a handshake (RFC 7692, section 5); None if there is none.

        Other extensions, and offers that are invalid or ask for a window of 256 bytes, which zlib does not have, are declined.
        """
        for offer in _offers(headers):
            try:
                answer, extension = _TERMS.process_request_params(offer, _NO_OTHERS)
            except NegotiationError:
                continue
            return Agreement(build_extension([(_NAME, answer)]), self._outlet(extension.local_max_window_bits))
        return None

    def _outlet(self, window: int) -> DeflateOutlet:
        if window not in self._outlets:
            self._outlets[window] = DeflateOutlet(self._compression, window, self._plain)
        return self._outlets[window]


_NO_OTHERS: list[Extension] = []


def _offers(headers: Headers) -> Iterator[Sequence[ExtensionParameter]]:
    """Yield the parameters of each offer, in the order of the client's preference; none of headers that are invalid."""
    try:
        offers = [offer for value in headers.get_all(_HEADER) for offer in parse_extension(value)]
    except InvalidHeader:
        return
    for name, parameters in offers:
        if name == _NAME:
            yield parameters


class DeflateOutlet:
    """The form of a message for all clients that have agreed on one size of the window; its counts are those of `plain`."""

    def __init__(self, compression: Compression, window: int, plain: Outlet) -> None:
        self._compression, self._window, self._plain = compression, window, plain
        self.wrote = plain.wrote

    @property
    def watched(self) -> bool:
        """Whether each frame is reported by its transport actor, and so must not be written past it."""
        return self._plain.watched

    def wire(self, frame: Frame) -> bytes:
        """Return a message as one frame, compressed if that makes it shorter; it is made once and kept in `frame.deflated`."""
        if len(frame.data) < self._compression.min_size:
            return wire(frame)
        forms = frame.deflated
        if forms is None:
            forms = frame.deflated = {}
        if self._window not in forms:
            deflated = self._deflated(frame.data)
            marked = Frame(frame.opcode | _RSV1, deflated)  # type: ignore[arg-type]  # an opcode with a reserved bit
            forms[self._window] = wire(marked if len(deflated) < len(frame.data) else frame)
        return forms[self._window]

    def _deflated(self, data: bytes) -> bytes:
        # A new one for each message: it may be sent from any thread.
        compressor = zlib.compressobj(self._compression.level, wbits=-self._window)
        return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


class InflatingReader(FrameReader):
    """Reads the frames of a client that may compress its messages."""

    __slots__ = ("_is_compressed",)

    def __init__(self, max_size: int, max_fragments: int) -> None:
        super().__init__(max_size, max_fragments)
        # Whether the message whose frames are being received is compressed.
        self._is_compressed = False

    def _is_wrong(self, head: int, length: int) -> bool:
        if self._message is None and head & _OPCODE in _DATA:
            self._is_compressed = bool(head & _RSV1)
            head &= ~_RSV1
        return super()._is_wrong(head, length)

    @property
    def _most(self) -> int:
        # DEFLATE makes what it cannot compress longer, with the smallest buffers by an eighth.
        return self._max_size + (self._max_size // 8 + 64 if self._is_compressed else 0)

    def _cost(self, messages: list[str | bytes], before: int) -> int:
        return super()._cost(messages, before) + sum(map(len, messages[before:])) // _BYTES_PER_COST

    def _decoded(self, payload: bytes, head: int) -> str | bytes | None:
        inflated = self._inflated(payload) if self._is_compressed else payload
        return None if inflated is None else super()._decoded(inflated, head)

    def _inflated(self, payload: bytes) -> bytes | None:
        """Return what a compressed message says, if it is valid and not too large (section 7.2.2)."""
        inflater = zlib.decompressobj(-_WINDOW)
        try:
            inflated = inflater.decompress(payload + _TAIL, self._max_size + 1)
        except zlib.error:
            self._fail(CloseCode.INVALID_DATA)
            return None
        if len(inflated) > self._max_size:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "max_frame_size")
        elif inflater.unused_data not in _REST:
            self._fail(CloseCode.INVALID_DATA)
        else:
            return inflated
        return None
