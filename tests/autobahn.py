"""The cases of the Autobahn test suite for WebSocket servers (sections 1 to 7, 9 and 10), as tables of our own.

The suite itself needs Python 2.7. Its cases are public; what they expect follows from RFC 6455. A case is what a client sends,
one item for each frame, what an echoing server answers in order, and the close code; without one the connection stays open.
Where the suite sends megabytes, these send less: the limits of the server have tests of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from websockets.utils import apply_mask

__all__ = ["CASES", "Case", "Ping", "sent"]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_KEY = b"\xa1\x07\x00\xfe"


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping that is answered."""

    payload: bytes


Event: TypeAlias = str | bytes | Ping


@dataclass(frozen=True, slots=True)
class Case:
    """What a client sends, and what it has to see.

    - `code`: that of the close frame; None if the connection stays open.
    - `chop`: the bytes of each write in the suite: 0 for a write for each frame.
    """

    name: str
    frames: tuple[bytes, ...]
    events: tuple[Event, ...] = ()
    code: int | None = None
    chop: int = 0


def sent(opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a frame as a client sends it."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return head + length + _KEY + apply_mask(data, _KEY)


def fragments(opcode: int, *pieces: bytes | str) -> tuple[bytes, ...]:
    """Return a message in fragments."""
    last = len(pieces) - 1
    return tuple(sent(CONT if number else opcode, piece, fin=number == last) for number, piece in enumerate(pieces))


def cut(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[start : start + size] for start in range(0, len(data), size)) or (b"",)


def close(code: int, reason: bytes | str = b"") -> bytes:
    text = reason.encode() if isinstance(reason, str) else reason
    return sent(CLOSE, code.to_bytes(2, "big") + text)


# 1: frames with payloads of all lengths


def framing() -> Iterator[Case]:
    sizes = [(0, 0), (125, 0), (126, 0), (127, 0), (128, 0), (65535, 0), (65536, 0), (65536, 997)]
    for number, (size, chop) in enumerate(sizes, 1):
        yield Case(f"1.1.{number}", (sent(TEXT, "*" * size),), ("*" * size,), chop=chop)
        yield Case(f"1.2.{number}", (sent(BINARY, b"\xfe" * size),), (b"\xfe" * size,), chop=chop)


# 2: pings and pongs


def pings() -> Iterator[Case]:
    odd = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    longest = b"\xfe" * 125
    for name, payload in (("2.1", b""), ("2.2", b"Hello, world!"), ("2.3", odd), ("2.4", longest), ("2.6", longest)):
        yield Case(name, (sent(PING, payload),), (Ping(payload),), chop=int(name == "2.6"))
    yield Case("2.5", (sent(PING, b"\xfe" * 126),), code=1002)
    yield Case("2.7", (sent(PONG),))
    yield Case("2.8", (sent(PONG, "unsolicited pong payload"),))
    yield Case("2.9", (sent(PONG, "unsolicited pong payload"), sent(PING, "ping payload")), (Ping(b"ping payload"),))
    ten = [f"payload-{number}".encode() for number in range(10)]
    for name, chop in (("2.10", 0), ("2.11", 1)):
        yield Case(name, tuple(sent(PING, each) for each in ten), tuple(Ping(each) for each in ten), chop=chop)


# 3: reserved bits without an extension, 4: reserved opcodes

HELLO = "Hello, world!"


def reserved() -> Iterator[Case]:
    hello, ping = sent(TEXT, HELLO), sent(PING)
    yield Case("3.1", (sent(TEXT, HELLO, rsv=1),), code=1002)
    for number, (rsv, chop) in enumerate([(2, 0), (3, 0), (4, 1)], 2):
        yield Case(f"3.{number}", (hello, sent(TEXT, HELLO, rsv=rsv), ping), (HELLO,), 1002, chop)
    yield Case("3.5", (sent(BINARY, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", rsv=5),), code=1002)
    yield Case("3.6", (sent(PING, HELLO, rsv=6),), code=1002)
    yield Case("3.7", (sent(CLOSE, rsv=7),), code=1002)
    for section, first in ((1, 3), (2, 11)):
        yield Case(f"4.{section}.1", (sent(first),), code=1002)
        yield Case(f"4.{section}.2", (sent(first + 1, "reserved opcode payload"),), code=1002)
        for number, payload, chop in ((3, "", 0), (4, "reserved opcode payload", 0), (5, "reserved opcode payload", 1)):
            frames = (hello, sent(first + number - 1, payload), ping)
            yield Case(f"4.{section}.{number}", frames, (HELLO,), 1002, chop)


# 5: fragments


def fragmentation() -> Iterator[Case]:
    yield Case("5.1", fragments(PING, "fragment1", "fragment2"), code=1002)
    yield Case("5.2", fragments(PONG, "fragment1", "fragment2"), code=1002)
    two, joined, ping = fragments(TEXT, "fragment1", "fragment2"), "fragment1fragment2", sent(PING, "ping payload")
    for name, chop in (("5.3", 0), ("5.4", 0), ("5.5", 1)):
        yield Case(name, two, (joined,), chop=chop)
    for name, chop in (("5.6", 0), ("5.7", 0), ("5.8", 1)):
        yield Case(name, (two[0], ping, two[1]), (Ping(b"ping payload"), joined), chop=chop)
    hello, stray = sent(TEXT, HELLO), "non-continuation payload"
    for number in range(9, 15):
        frames = (sent(CONT, stray, fin=number < 12), hello)
        yield Case(f"5.{number}", frames, code=1002, chop=int(number % 3 == 2))
    yield Case("5.15", (*two, sent(CONT, "fragment3", fin=False), sent(TEXT, "fragment4")), (joined,), 1002)
    for name, fin in (("5.16", False), ("5.17", True)):
        stray_first = (sent(CONT, "fragment1", fin=fin), sent(TEXT, "fragment2", fin=False), sent(CONT, "fragment3"))
        yield Case(name, stray_first * 2, code=1002)
    yield Case("5.18", (sent(TEXT, "fragment1", fin=False), sent(TEXT, "fragment2")), code=1002)
    pieces = [f"fragment{number}" for number in range(1, 6)]
    five, pongs = fragments(TEXT, *pieces), (sent(PING, "pongme 1!"), sent(PING, "pongme 2!"))
    events = (Ping(b"pongme 1!"), Ping(b"pongme 2!"), "".join(pieces))
    for name, chop in (("5.19", 0), ("5.20", 0)):
        yield Case(name, (*five[:2], pongs[0], *five[2:4], pongs[1], five[4]), events, chop=chop)


# 6: UTF-8 (the sequences are those of Markus Kuhn's stress test for decoders)

GREEK = "κόσμε"
VALID = {
    "6.5": ["", "Hello, world!", "Hello-µ@ßöäüàá-UTF-8!!", GREEK, "\x00"],
    "6.6": [GREEK[:size] for size in range(1, 6)] + ["κ" * size for size in range(1, 7)],
    "6.7": ["\x00", "\x80", "\u0800", "\U00010000"],
    "6.9": ["\x7f", "\u07ff", "\uffff", "\U0010ffff"],
    "6.11": ["\ud7ff", "\ue000", "\ufffd", "\U0010fffe", "\U0010ffff"],
    "6.22": [chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF)],
    "6.23": ["\ufffc", "\ufffd", "\ufff9", "\ufffa", "\ufffb", "\ufeff", "\u2028"],
}
_MISSING = [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80",
            b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"]  # fmt: skip
_HIGH, _LOW = (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"), (b"\xed\xb0\x80", b"\xed\xbf\xbf")
INVALID = {
    "6.8": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    "6.10": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf", b"\xf4\x90\x80\x80"],
    "6.12": [b"\x80", b"\xbf", *((b"\x80\xbf" * 4)[:size] for size in range(2, 8)), bytes(range(0x80, 0xC0))],
    "6.13": [b" ".join(bytes((first,)) for first in firsts) + b" " for firsts in
             (range(0xC0, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF8), range(0xF8, 0xFC), range(0xFC, 0xFE))],
    "6.14": _MISSING,
    "6.15": [b"".join(_MISSING)],
    "6.16": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"],
    "6.18": [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"],
    "6.19": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"],
    "6.20": [*_HIGH, *_LOW, b"\xed\xbe\x80"],
    "6.21": [high + low for high in _HIGH for low in _LOW],
}  # fmt: skip


def utf8() -> Iterator[Case]:
    yield Case("6.1.1", (sent(TEXT),), ("",))
    yield Case("6.1.2", fragments(TEXT, "", "", ""), ("",))
    yield Case("6.1.3", fragments(TEXT, "", "middle frame payload", ""), ("middle frame payload",))
    text = "Hello-µ@ßöäüàá-UTF-8!!"
    data = text.encode()
    yield Case("6.2.1", (sent(TEXT, text),), (text,))
    yield Case("6.2.2", fragments(TEXT, text[:12], text[12:]), (text,))
    yield Case("6.2.3", fragments(TEXT, *cut(data, 1)), (text,))
    yield Case("6.2.4", fragments(TEXT, *cut(GREEK.encode(), 1)), (GREEK,))
    wrong = GREEK.encode() + b"\xed\xa0\x80edited"
    yield Case("6.3.1", (sent(TEXT, wrong),), code=1007)
    yield Case("6.3.2", fragments(TEXT, *cut(wrong, 1)), code=1007)
    # The suite would have an error as soon as it is received, and calls the end of the message "non-strict": so do we.
    late = (GREEK.encode(), b"\xf4\x90\x80\x80", b"edited")
    yield Case("6.4.1", fragments(TEXT, *late), code=1007)
    yield Case("6.4.2", fragments(TEXT, late[0] + b"\xf4", b"\x90", b"\x80\x80edited"), code=1007)
    yield Case("6.4.3", (sent(TEXT, b"".join(late)),), code=1007, chop=3)
    yield Case("6.4.4", (sent(TEXT, b"".join(late)),), code=1007, chop=1)
    for section, texts in VALID.items():
        for number, each in enumerate(texts, 1):
            yield Case(f"{section}.{number}", (sent(TEXT, each),), (each,))
    for section, sequences in INVALID.items():
        for number, sequence in enumerate(sequences, 1):
            yield Case(f"{section}.{number}", (sent(TEXT, sequence),), code=1007)


# 7: the close


def closing() -> Iterator[Case]:
    hello, ping, ending = sent(TEXT, HELLO), sent(PING), close(1000)
    yield Case("7.1.1", (hello, ending), (HELLO,), 1000)
    yield Case("7.1.2", (ending, ending), code=1000)
    yield Case("7.1.3", (ending, ping), code=1000)
    yield Case("7.1.4", (ending, hello), code=1000)
    first, second = fragments(TEXT, "fragment1", "fragment2")
    yield Case("7.1.5", (first, ending, second), code=1000)
    long = "BAsd7&jh23" * 26_215
    yield Case("7.1.6", (sent(TEXT, long), ending, ping), (long,), 1000)
    yield Case("7.3.1", (sent(CLOSE),), code=1005)
    yield Case("7.3.2", (sent(CLOSE, b"a"),), code=1002)
    yield Case("7.3.3", (ending,), code=1000)
    yield Case("7.3.4", (close(1000, "Hello World!"),), code=1000)
    yield Case("7.3.5", (close(1000, "*" * 123),), code=1000)
    yield Case("7.3.6", (close(1000, "*" * 124),), code=1002)
    yield Case("7.5.1", (close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"),), code=1007)
    valid = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    for number, code in enumerate(valid, 1):
        yield Case(f"7.7.{number}", (close(code),), code=code)
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield Case(f"7.9.{number}", (close(code),), code=1002)
    for number, code in enumerate((5000, 65535), 1):
        yield Case(f"7.13.{number}", (close(code),), code=1002)


# 9: long messages, whole, in fragments, and in pieces; 10: fragments of a length that divides nothing


def long_messages() -> Iterator[Case]:
    for number, size in enumerate((64, 256, 1024), 1):
        kilobytes = size * 1024
        yield Case(f"9.1.{number}", (sent(TEXT, "*" * kilobytes),), ("*" * kilobytes,))
        yield Case(f"9.2.{number}", (sent(BINARY, b"\x00" * kilobytes),), (b"\x00" * kilobytes,))
    whole = "BAsd7&jh23" * 6554
    data = whole.encode()
    for number, size in enumerate((64, 256, 1024, 4096, 16384, 65535), 1):
        yield Case(f"9.3.{number}", fragments(TEXT, *cut(data, size)), (whole,))
        yield Case(f"9.4.{number}", fragments(BINARY, *cut(data, size)), (data,))
        yield Case(f"9.5.{number}", (sent(TEXT, whole),), (whole,), chop=size)
        yield Case(f"9.6.{number}", (sent(BINARY, data),), (data,), chop=size)
    for number, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
        yield Case(f"9.7.{number}", (sent(TEXT, "*" * size),) * 100, ("*" * size,) * 100)
        yield Case(f"9.8.{number}", (sent(BINARY, b"\xfe" * size),) * 100, (b"\xfe" * size,) * 100)
    yield Case("10.1.1", fragments(TEXT, *cut(data[:65536], 1300)), (whole[:65536],))


SECTIONS = {
    "1, framing": framing,
    "2, pings and pongs": pings,
    "3 and 4, reserved bits and opcodes": reserved,
    "5, fragments": fragmentation,
    "6, UTF-8": utf8,
    "7, the close": closing,
    "9 and 10, long messages": long_messages,
}
CASES: dict[str, tuple[Case, ...]] = {name: tuple(section()) for name, section in SECTIONS.items()}
"""The cases of each section."""
