"""A body in chunks, decoded as its bytes come (RFC 9112, section 7.1); no I/O.

Where a body ends, a proxy and the server behind it must agree, or what one takes for a body is a request to the other. So what
the grammar does not have is refused, also where other servers are lenient: bare line feeds, spaces around a size, signs.
Extensions and trailers are dropped.
"""

from __future__ import annotations

import re

__all__ = ["ChunkedBody", "MalformedBodyError"]

# Sizes, chunks and ends of chunks that are read in one go, which takes less than a millisecond.
_STEPS = 1_000

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_LONGEST_SIZE = 16
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;" + _TEXT + rb")?\r\n")
_BEGUN_SIZE = re.compile(rb"(?:[0-9A-Fa-f]{1,16}(?:\r|;" + _TEXT + rb"\r?)?)?")
_TRAILER = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + _TEXT + rb")?\r\n")


class MalformedBodyError(ValueError):
    """What was received is no body in chunks."""


class ChunkedBody:
    """The state of one body.

    - `left`: the bytes of the present chunk that have not come yet.
    - `framing`: the bytes of sizes, extensions and trailers since the last bytes of the body.
    - `is_complete`: whether the end has been read.
    """

    __slots__ = ("_begins", "_in_trailers", "framing", "is_complete", "left")

    def __init__(self) -> None:
        self.left = self.framing = 0
        self.is_complete = self._in_trailers = False
        # Whether a size comes next, and no end of a chunk.
        self._begins = True

    def read(self, received: bytearray) -> bytes:
        """Take a part of what was received, from its beginning, and return the bytes of the body in it.

        Nothing is taken if more has to come first.

        Raises:
            MalformedBodyError: if it is not in chunks.
        """
        body, at = bytearray(), 0
        for _ in range(_STEPS):
            end = self._data(received, at, body) if self.left else self._line(received, at)
            if end == at or self.is_complete:
                break
            at = end
        del received[:end]
        return bytes(body)

    # What begins at `at`; its end is returned, or `at` if it has not come.

    def _data(self, received: bytearray, at: int, body: bytearray) -> int:
        data = received[at : at + self.left]
        body += data
        self.left -= len(data)
        self.framing = 0
        return at + len(data)

    def _line(self, received: bytearray, at: int) -> int:
        if self._in_trailers:
            end = self._trailer(received, at)
        elif self._begins:
            end = self._size(received, at)
        else:
            end = self._chunk_end(received, at)
        self.framing += end - at
        return end

    def _chunk_end(self, received: bytearray, at: int) -> int:
        found = received[at : at + 2]
        if found == b"\r\n":
            self._begins = True
            return at + 2
        return _unless(b"\r\n".startswith(found), at, "expected the end of a chunk")

    def _size(self, received: bytearray, at: int) -> int:
        size = _SIZE.match(received, at)
        if size is None:
            begun = bytes(received[at : at + _LONGEST_SIZE + 1])
            may_come = received.find(b"\n", at) < 0 and _BEGUN_SIZE.fullmatch(begun) is not None
            return _unless(may_come, at, "expected the size of a chunk")
        self.left, self._begins = int(size[1], 16), False
        self._in_trailers = not self.left
        return size.end()

    def _trailer(self, received: bytearray, at: int) -> int:
        trailer = _TRAILER.match(received, at)
        if trailer is None:
            return _unless(received.find(b"\n", at) < 0, at, "expected a trailer")
        self.is_complete = trailer.end() == at + 2
        return trailer.end()


def _unless(may_come: bool, at: int, expected: str) -> int:  # noqa: FBT001  # private
    """Return `at`, unless what has come can be no beginning of what was expected."""
    if not may_come:
        raise MalformedBodyError(expected)
    return at
