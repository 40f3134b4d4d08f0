"""The nesting of JSON, counted in its text before it is decoded.

JSON codecs recurse in C for each level, and on some versions of Python the stack of a thread may end before they stop: a few
kilobytes of "[" are a segmentation fault. So what comes from others is counted first, against one limit on all versions.
A message that is no longer than the limit costs a comparison, one with no more brackets a count; others take time in proportion
to their length, whatever they contain.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from operator import add

__all__ = ["MAX_NESTING", "is_nested_deeper"]

MAX_NESTING = 256
"""The levels of arrays and objects that a message may have, its own included: a few hundred are enough for people."""


def is_nested_deeper(data: str | bytes, limit: int) -> bool:
    """Return whether JSON text has more than `limit` levels of arrays and objects.

    Brackets within strings do not count. Of text that is not JSON, the answer holds for the part before the error.
    """
    if len(data) <= limit:
        return False
    text = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    bits = _outside_strings(text).translate(_BITS)
    return bits.count(b"1") > limit and _rises_above(limit, bits)


def _rises_above(limit: int, bits: bytes) -> bool:
    """Return whether brackets, written as b"1" and b"0", open more levels; a stretch that cannot is only counted."""
    level = 0
    for start in range(0, len(bits), _STRETCH):
        stretch = bits[start : start + _STRETCH]
        opening = stretch.count(b"1")
        if level + opening > limit and level + _highest(stretch) > limit:
            return True
        level += 2 * opening - len(stretch)
    return False


def _outside_strings(text: bytes) -> bytes:
    """Return the brackets that are not within strings."""
    if b"\\" in text:
        # The pairs first, from left to right: of \\" the quotation mark ends the string.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two marks with no bracket between them may go, as what follows is then within a string, or outside, as before.
    marks = text.translate(None, _PLAIN).replace(b'""', b"")
    return b"".join(marks.split(b'"')[::2])


_PLAIN = bytes(set(range(256)) - set(b'[{]}"'))

# Eight brackets are counted at once. Each opening one is a bit that is set; what eight of them add to the level, and how
# far they rise above where they began, is looked up.
_BITS = bytes.maketrans(b"[{]}", b"1100")
_EIGHT = 8
_STRETCH = 256


def _levels(eight: int) -> list[int]:
    return list(accumulate(1 if eight >> bit & 1 else -1 for bit in reversed(range(_EIGHT))))


_CHANGE = bytes(_levels(eight)[-1] % 256 for eight in range(256))
_RISE = bytes(max(0, *_levels(eight)) for eight in range(256))


def _highest(bits: bytes) -> int:
    """Return how far the level rises."""
    padded = bits + b"0" * (-len(bits) % _EIGHT)
    eights = int(padded, 2).to_bytes(len(padded) // _EIGHT)
    before = accumulate(array("b", eights.translate(_CHANGE)), initial=0)
    return max(map(add, before, eights.translate(_RISE)), default=0)
