"""What the console and its clients say to each other, on a stream of bytes.

A frame is its length (4 bytes, most significant first), then that many bytes of MessagePack: a map with the name of the frame
under "type" and its fields. It goes like this, the client's frames on the left:

    Hello                   who I am; the first frame
                  Ready 0   a line may come
    Evaluate 1              evaluate what has been typed so far
                  Output    what that prints, any number of times
    Interrupt 1             Ctrl-C: stop it; a second one gives it up
                  Ready 1   it is done, or `needs_more` lines
    Complete 2              Tab
            Completions 2   what the last word may become
                  Bye       the session is over, and why

The client sends one Evaluate or Complete at a time, and numbers them, so that an answer that comes too late is known as such. A
trace may print at any time. The client leaves by closing the connection. Nothing the server sends is executed by the client.
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

# Of this protocol; both sides must have the same.
VERSION = 1

# Bytes in a frame.
MOST = 1 << 20

_LENGTH = 4


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The client's first frame: whether it shows colours, and whether somebody sits before it, who wants a banner."""

    version: int
    has_colours: bool
    is_interactive: bool


class Evaluate(msgspec.Struct, frozen=True, tag="run"):
    """Evaluate one statement, or find that it goes on in more lines."""

    number: int
    source: str


class Interrupt(msgspec.Struct, frozen=True, tag="interrupt"):
    """Stop the Evaluate, or the Complete, of that number."""

    number: int


class Complete(msgspec.Struct, frozen=True, tag="complete"):
    """Say what a word, which may have dots in it, can become."""

    number: int
    text: str


class Output(msgspec.Struct, frozen=True, tag="output"):
    """Text to be shown."""

    text: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The Evaluate of that number is done; or it has not begun, because the statement needs more lines."""

    number: int
    needs_more: bool = False


class Completions(msgspec.Struct, frozen=True, tag="completions"):
    """What the word can become, in order."""

    number: int
    matches: list[str]


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """The session is over; the reason is empty if the client wanted it."""

    reason: str


FromClient = Hello | Evaluate | Interrupt | Complete
FromServer = Output | Ready | Completions | Bye

_encoder = msgspec.msgpack.Encoder()


def encode(frame: FromClient | FromServer) -> bytes:
    """Return a frame as bytes."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(_LENGTH, "big") + body


def encodable(text: str) -> str:
    """Return text that has a form in UTF-8: what has none, such as a lone surrogate, is written as an escape."""
    return text.encode(errors="backslashreplace").decode()


class Frames:
    """Takes bytes as they come, and gives frames.

    `kinds` is the union of those that may come. After an error nothing more is to be fed.
    """

    def __init__(self, kinds: object) -> None:
        self._decoder: msgspec.msgpack.Decoder[FromClient | FromServer] = msgspec.msgpack.Decoder(kinds)
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[FromClient | FromServer]:
        """Yield the frames that are complete now.

        Raises:
            ValueError: if what has come is no frame, or one of more than `MOST` bytes.
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
