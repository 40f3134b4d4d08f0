"""The bodies of long polling, read and written: pure functions (Phoenix.Transports.LongPoll)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from transport.exceptions import MalformedMessageError

if TYPE_CHECKING:
    from actors.channels.message import Frame

__all__ = ["MAX_LINES", "NDJSON", "batch_size", "read_batch", "read_message", "text_of", "write_batches"]

MAX_LINES = 100
"""The lines of a batch that are read; phoenix.js sends at most as many (CVE-2026-32689)."""

NDJSON = "application/x-ndjson"

_BODY = 2**20

_LINE_END = re.compile(rb"\r?\n")


def batch_size(content_types: Sequence[str], max_size: int) -> int:
    """Return the bytes that a body may have whose messages have up to `max_size` bytes: base64 makes four of three."""
    if list(content_types) != [NDJSON]:
        return max_size
    return MAX_LINES * (4 * -(-max_size // 3) + len(b"\r\n"))


def read_batch(body: bytes, content_types: Sequence[str], max_size: int) -> list[str | bytes] | None:
    """Return the messages of a POST: text as `str`, binary as `bytes`; None if one of them is larger than `max_size` bytes.

    With the content type application/x-ndjson each line is one message: text if it begins with `[`, otherwise the base64 of a
    binary message. With any other the whole body is one text message, as version 1.0.0 sends it.

    Raises:
        MalformedMessageError: if a line is neither; then the whole batch is rejected.
    """
    if list(content_types) != [NDJSON]:
        return None if len(body) > max_size else [_text(body)]
    lines = _LINE_END.split(body, MAX_LINES)[:MAX_LINES]
    if max(map(_message_size, lines)) > max_size:
        return None
    return [_message(number, line) for number, line in enumerate(lines, start=1)]


def _message_size(line: bytes) -> int:
    """Return the bytes of the message in a line; of base64, before it is decoded."""
    return len(line) if line.startswith(b"[") else len(line) * 3 // 4 - line.count(b"=", -2)


def _message(number: int, line: bytes) -> str | bytes:
    if line.startswith(b"["):
        return _text(line)
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error as error:
        raise MalformedMessageError(f"line {number} is neither a JSON array nor base64: {error}") from error


def _text(data: bytes) -> str:
    # Bytes that are not UTF-8 are not JSON either: they stay recognisable, and the serializer rejects them as malformed.
    return data.decode(errors="surrogateescape")


def text_of(frame: Frame) -> str:
    """Return the frame as an item of an answer's list of messages.

    Binary data that happens to be UTF-8 is passed as text, as in Phoenix; other data, which makes Phoenix fail, as base64.
    """
    data: bytes = frame.data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


# The client's half


def write_batches(messages: Sequence[str | bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the content type and the body of each POST that brings these messages to a server, in order.

    A text that does not begin with `[`, as those of version 1.0.0, has a POST of its own. A body has `MAX_LINES` at most, and
    about a megabyte unless one message alone is larger: servers limit both.
    """
    lines: list[bytes] = []
    for message in messages:
        line = message.encode() if isinstance(message, str) else base64.b64encode(message)
        is_single = isinstance(message, str) and not message.startswith("[")
        if lines and (is_single or len(lines) == MAX_LINES or sum(map(len, lines)) + len(line) > _BODY):
            yield NDJSON, b"\n".join(lines)
            lines = []
        if is_single:
            yield "application/json", line
        else:
            lines.append(line)
    if lines:
        yield NDJSON, b"\n".join(lines)


def read_message(text: str) -> str | bytes:
    """Return the message that a server has written with `text_of`, or as Phoenix does.

    JSON begins with a bracket, binary data as text with the number of its kind, which is below 3; anything else is base64.
    """
    if not text or text[0] in "[{":
        return text
    if text[0] < "\x03":
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return text
