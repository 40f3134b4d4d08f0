"""The bodies of long polling."""

from __future__ import annotations

import base64

import pytest

from actors.channels.message import Frame, Opcode
from transport.carriers.batch import MAX_LINES, NDJSON, batch_size, read_batch, read_message, text_of, write_batches
from transport.exceptions import MalformedMessageError


@pytest.mark.parametrize(
    "types", [[], ["application/json"], ["text/plain"], [f"{NDJSON}; charset=utf-8"], [NDJSON, NDJSON]]
)
@pytest.mark.parametrize("body", [b'{"topic":"a"}', b"[1]\n[2]", b"", b"AAE="])
def test_without_exactly_the_type_of_batches_the_body_is_one_text(types: list[str], body: bytes) -> None:
    assert read_batch(body, types, 100) == [body.decode()]


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b"[1]", ["[1]"]),
        (b"[1]\n[2]", ["[1]", "[2]"]),
        (b"[1]\r\n[2]", ["[1]", "[2]"]),
        (b"[1]\r\n[2]\n[3]", ["[1]", "[2]", "[3]"]),
        # What is in a line is the serializer's business.
        (b"[not json", ["[not json"]),
        (b"[1]\r", ["[1]\r"]),
        ("[\u2028é]".encode(), ["[\u2028é]"]),
        (base64.b64encode(b"\x00\x01\xff"), [b"\x00\x01\xff"]),
        (b"[1]\n" + base64.b64encode(b"two") + b"\n[3]", ["[1]", b"two", "[3]"]),
        # Phoenix reads an empty line as an empty binary message.
        (b"", [b""]),
        (b"[1]\n", ["[1]", b""]),
        (b"[1]\n\n[2]", ["[1]", b"", "[2]"]),
    ],
)
def test_each_line_of_a_batch_is_a_message(body: bytes, messages: list[str | bytes]) -> None:
    assert read_batch(body, [NDJSON], 100) == messages


def test_a_hundred_lines_are_read() -> None:
    lines = [f"[{number}]" for number in range(MAX_LINES + 50)]
    assert read_batch("\n".join(lines).encode(), [NDJSON], 100) == lines[:100]
    assert read_batch(b"\n".join([b"[]"] * MAX_LINES + [b"?"]), [NDJSON], 100) == ["[]"] * 100


@pytest.mark.parametrize("line", [b"?", b"{}", b" [1]", b"AAE", b"AAE==", b"A A=", b"AA-_", b"\xff\xfe", b"="])
def test_a_line_that_is_neither_is_named(line: bytes) -> None:
    with pytest.raises(MalformedMessageError, match="line 2 is neither a JSON array nor base64"):
        read_batch(b"[1]\n" + line + b"\n[3]", [NDJSON], 100)


@pytest.mark.parametrize("size", range(1, 20))
def test_a_message_has_a_size_whatever_is_around_it(size: int) -> None:
    text, binary = b"[" + b"1" * (size - 1), bytes(size)
    batch = [b"[]", text, base64.b64encode(binary)]
    for line, message in [(text, text.decode()), (base64.b64encode(binary), binary)]:
        assert read_batch(line, [NDJSON], size) == [message]
        assert read_batch(b"[\n" + line, [NDJSON], size) == ["[", message]
        assert read_batch(line, [NDJSON], size - 1) is None
        assert read_batch(b"[\n" + line, [NDJSON], size - 1) is None
    assert len(b"\r\n".join(batch * 33)) <= batch_size([NDJSON], max(size, 2))
    assert read_batch(text, [], size) == [text.decode()]
    assert read_batch(text, [], size - 1) is None
    assert batch_size([], size) == size


@pytest.mark.parametrize("types", [[NDJSON], ["application/json"]])
def test_text_that_is_not_utf8_is_left_to_the_serializer(types: list[str]) -> None:
    assert read_batch(b"[\xff]", types, 100) == ["[\udcff]"]


@pytest.mark.parametrize(
    ("opcode", "data", "text"),
    [
        (Opcode.TEXT, '["é"]'.encode(), '["é"]'),
        (Opcode.BINARY, b"\x01\x01ok", "\x01\x01ok"),
        (Opcode.BINARY, b"\x00\xff\xfe", "AP/+"),
        (Opcode.BINARY, b"", ""),
    ],
)
def test_a_frame_stands_in_the_answer_as_text(opcode: Opcode, data: bytes, text: str) -> None:
    assert text_of(Frame(opcode, data)) == text


# The client's half


MESSAGES = [
    ["[1]"],
    ["[1]", b"\x00\x01\xff", "[2]"],
    [f"[{number}]" for number in range(2 * MAX_LINES + 1)],
    ['{"topic":"a"}', '{"topic":"b"}'],
    ["[1]", '{"topic":"a"}', b"\x00", "[2]"],
    ["[" + "x" * 700_000 + "]"] * 3,
    [b"x" * 3_000_000, "[1]"],
]


@pytest.mark.parametrize("messages", MESSAGES, ids=range(len(MESSAGES)))
def test_a_server_reads_what_the_client_writes(messages: list[str | bytes]) -> None:
    batches = list(write_batches(messages))
    assert [message for kind, body in batches for message in read_batch(body, [kind], 2**23) or []] == messages
    assert all(len(body) < 2**20 + 1000 or b"\n" not in body for _, body in batches)
    assert all(body.count(b"\n") < MAX_LINES for _, body in batches)


def test_messages_share_a_body_where_they_can() -> None:
    kinds = [kind for kind, _ in write_batches(["[1]", "[2]", '{"a":1}', "[3]"])]
    assert kinds == [NDJSON, "application/json", NDJSON]
    assert list(write_batches([])) == []


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.TEXT, b'[null,null,"a","b",{}]'),
        Frame(Opcode.TEXT, b'{"topic":"a"}'),
        *(
            Frame(Opcode.BINARY, bytes([kind]) + data)
            for kind in range(3)
            for data in (b"\x01abc", b"\xff\x00", "é".encode())
        ),
    ],
    ids=repr,
)
def test_a_client_reads_what_the_server_writes(frame: Frame) -> None:
    message = read_message(text_of(frame))
    assert message == (frame.data.decode() if frame.opcode is Opcode.TEXT else frame.data)


@pytest.mark.parametrize("text", ["", "hello", "=", "é", "not base64"])
def test_what_is_neither_is_left_to_the_serializer(text: str) -> None:
    assert read_message(text) == text
