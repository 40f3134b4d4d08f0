"""Bodies in chunks: the same ones however they arrive, and nothing that a proxy could take for something else."""

from __future__ import annotations

import pytest

from transport.http.chunked_body import ChunkedBody, MalformedBodyError


def read(*pieces: bytes) -> tuple[bytes, bytes, bool]:
    """Return the body, what is left of the bytes, and whether the body is complete."""
    chunks, received, body = ChunkedBody(), bytearray(), b""
    for piece in pieces:
        received += piece
        before = len(received) + 1
        while len(received) < before and not chunks.is_complete:
            before = len(received)
            body += chunks.read(received)
    return body, bytes(received), chunks.is_complete


def bytewise(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"A\r\n0123456789\r\n0000\r\n\r\n", b"0123456789"),
        (b"000000000000000a\r\n0123456789\r\n00\r\n\r\n", b"0123456789"),
        (b"2\r\n\r\n\r\n2\r\n0\r\r\n0\r\n\r\n", b"\r\n0\r"),
        (b'5;a;b=c;d="e ; f"\r\nhello\r\n0;last\r\n\r\n', b"hello"),
        (b"1\r\na\r\n0\r\nX-A: b\r\nX-C:\r\nX-D: \xc3\xa9\r\n\r\n", b"a"),
        (b"1\r\na\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: y\r\nConnection: close\r\n\r\n", b"a"),
    ],
)
def test_a_body_ends_where_its_last_chunk_says(data: bytes, body: bytes) -> None:
    rest = b"GET / HTTP/1.1\r\n"
    assert read(data + rest) == (body, rest, True)
    assert read(*bytewise(data), rest) == (body, rest, True)


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b"g\r\n",
        b"-1\r\na\r\n",
        b"+1\r\na\r\n",
        b" 1\r\na\r\n",
        b"1 \r\na\r\n",
        b"1\t;a\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1_0\r\n",
        b"1,2\r\n",
        b"00000000000000001\r\na\r\n",
        b"10000000000000000\r\n",
        b"1\na\n0\n\n",
        b"1\ra\r0\r\r",
        b"1;a\na\r\n",
        b"1;a\x00\r\na\r\n",
        b"1;" + b"a" * 100 + b"\x0b\r\na\r\n",
        b"1;" + b"a" * 100 + b"\n",
        b"1\r\nab\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\r\na0\r\n\r\n",
        b"2\r\na\r\n0\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: no name\r\n\r\n",
        b"0\r\nX-A : b\r\n\r\n",
        b"0\r\nX-A: b\n\r\n",
        b"0\r\n folded: b\r\n\r\n",
        b"0\r\nX-A: \x00\r\n\r\n",
        b"0\r\n\n",
    ],
)
def test_what_the_grammar_does_not_have_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedBodyError, match="expected"):
        read(data)
    with pytest.raises(MalformedBodyError, match="expected"):
        read(*bytewise(data))


def test_a_part_is_taken_when_there_are_many_chunks() -> None:
    chunks, received = ChunkedBody(), bytearray(b"1\r\na\r\n" * 10_000)
    assert 0 < len(chunks.read(received)) < 10_000
    assert received


def test_what_is_not_body_is_counted_since_the_last_bytes_of_it() -> None:
    chunks, received = ChunkedBody(), bytearray(b"1;abc\r\na\r\n")
    chunks.read(received)
    assert (chunks.framing, chunks.left) == (len(b"\r\n"), 0)
    chunks.read(bytearray(b"5;abc\r\nhe"))
    assert (chunks.framing, chunks.left) == (0, 3)
    chunks.read(bytearray(b"llo\r\n0\r\nX-A: b\r\n"))
    assert chunks.framing == len(b"\r\n0\r\nX-A: b\r\n")
