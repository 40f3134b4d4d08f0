"""The protocol between the console and its clients, on a stream of bytes.

A frame is its length (4 bytes, big-endian) and that many bytes of MessagePack: a map with the type of the frame under "type",
and its fields. A session, with the client's frames on the left:

    Hello                   the first frame
                  Ready 0   ready for a line
    Evaluate 1              evaluate what was typed so far
                  Output    what it prints, any number of times
    Interrupt 1             Ctrl-C: interrupt it; a second one abandons it
                  Ready 1   it is done, or `needs_more` lines
    Complete 2              Tab
            Completions 2   completions of the last word
                  Bye       the session is over, with the reason

The client sends one Evaluate or Complete at a time, with a number, so that a late reply is not taken for the current one. A
trace may print at any time. The client leaves by closing the connection. It executes nothing that the server sends.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

__all__ = [
    "MOST",
    "VERSION",
    "Bye",
    "Complete",
    "Completions",
    "Evaluate",
    "Frames",
    "FromClient",
    "FromServer",
    "Hello",
    "Interrupt",
    "Output",
    "Ready",
    "encodable",
    "encode",
]

# The version of this protocol, which must be the same on both sides.
VERSION = 1

# Maximum number of bytes in a frame.
MOST = 1 << 20

_LENGTH = 4


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The client's first frame: whether it shows colours, and whether it is interactive and gets a banner."""

    version: int
    has_colours: bool
    is_interactive: bool


class Evaluate(msgspec.Struct, frozen=True, tag="run"):
    """Evaluate one statement, or find that it needs more lines."""

    number: int
    source: str


class Interrupt(msgspec.Struct, frozen=True, tag="interrupt"):
    """Interrupt the Evaluate or Complete with that number."""

    number: int


class Complete(msgspec.Struct, frozen=True, tag="complete"):
    """Complete a word, which may have dots in it; `line` is everything that is typed before the cursor, the word included."""

    number: int
    text: str
    line: str = ""


class Output(msgspec.Struct, frozen=True, tag="output"):
    """Text to be shown."""

    text: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The Evaluate with that number is done, or was not started because the statement needs more lines.

    `has_failed` if it has raised, or was interrupted.
    """

    number: int
    needs_more: bool = False
    has_failed: bool = False


class Completions(msgspec.Struct, frozen=True, tag="completions"):
    """The completions of the word, sorted."""

    number: int
    matches: list[str]


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """The session is over; the reason is empty if the client asked for it, and `status` the one that it gave to `exit()`."""

    reason: str
    status: int = 0


FromClient = Hello | Evaluate | Interrupt | Complete
FromServer = Output | Ready | Completions | Bye

_encoder = msgspec.msgpack.Encoder()


def encode(frame: FromClient | FromServer) -> bytes:
    """Return a frame as bytes."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(_LENGTH, "big") + body


def encodable(text: str) -> str:
    """Return text that can be encoded in UTF-8: what cannot, such as a lone surrogate, is escaped."""
    return text.encode(errors="backslashreplace").decode()


class Frames:
    """Decodes frames from received bytes.

    `kinds` is the union of the expected frames. Nothing may be fed after an error.
    """

    def __init__(self, kinds: object) -> None:
        self._decoder: msgspec.msgpack.Decoder[FromClient | FromServer] = msgspec.msgpack.Decoder(kinds)
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[FromClient | FromServer]:
        """Yield the frames that are now complete.

        Raises:
            ValueError: if a frame is malformed, or has more than `MOST` bytes.
        """
        self._data += data
        while len(self._data) >= _LENGTH:
            length = int.from_bytes(self._data[:_LENGTH], "big")
            if length > MOST:
                raise ValueError(f"a frame may have {MOST} bytes, got {length}")
            if len(self._data) < _LENGTH + length:
                return
            body = bytes(self._data[_LENGTH : _LENGTH + length])
            del self._data[: _LENGTH + length]
            yield self._decoder.decode(body)
