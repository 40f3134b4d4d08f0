"""The demo says what Phoenix said, frame by frame."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.polls import PollingPlayer
from tests.transcript import Bindings, read_step, read_transcript, replay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.live import LiveDemo

    Handler = Callable[[ServerConnection], Awaitable[None]]

RECORDED = sorted((Path(__file__).parent / "golden").glob("*.jsonl"))

CONNECT = '{"connect": "c", "path": "/?vsn=2.0.0"}'
ASK = '{"send": "c", "frame": ["1", "2", "room:a", "echo", {}]}'
ANSWER = '{"receive": "c", "frame": ["1", "2", "room:a", "phx_reply", {"status": "ok", "response": {}}]}'


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_demo_answers_as_phoenix_did(path: Path, demo: LiveDemo) -> None:
    asyncio.run(replay(read_transcript(path), demo.address, PollingPlayer))


def test_every_recording_says_where_it_was_made() -> None:
    assert RECORDED
    for path in RECORDED:
        first = path.read_text(encoding="utf-8").split("\n")[0]
        assert "Phoenix 1.8.12" in json.loads(first)["recorded"]


@pytest.mark.parametrize(
    ("expected", "got"),
    [("1", "1.0"), ("1", "true"), ("1", '"1"'), ("0", "false"), ("0.0", "-0.0"), ("{}", "[]"), ("{}", "null")],
)
def test_values_that_differ_on_the_wire_do_not_match(expected: str, got: str) -> None:
    assert Bindings().match(json.loads(expected), json.loads(expected))
    assert not Bindings().match([json.loads(expected)], [json.loads(got)])
    assert not Bindings().match({"a": json.loads(expected)}, {"a": json.loads(got)})


def test_a_missing_or_additional_value_does_not_match() -> None:
    assert not Bindings().match([1], [1, 2])
    assert not Bindings().match([1, 2], [1])
    assert not Bindings().match({"a": 1}, {"a": 1, "b": 2})


def test_a_placeholder_may_stand_for_an_integer() -> None:
    bindings = Bindings()
    assert bindings.match([{"$bind": "at1"}, {"$same": "at1"}], [1795368715, 1795368715])
    assert not bindings.match({"$same": "at1"}, 1795368716)
    assert not bindings.match({"$same": "at1"}, "1795368715")
    assert not any(bindings.match({"$bind": "at2"}, got) for got in (True, 1.5, None, [1]))


def test_a_placeholder_stands_for_the_text_seen_first() -> None:
    bindings = Bindings()
    assert bindings.match([{"$bind": "pid1"}], ["a"])
    assert bindings.match({"$same": "pid1"}, "a")
    assert bindings.match({"$bind": "pid1"}, "a")
    assert not bindings.match({"$same": "pid1"}, "b")
    assert not bindings.match({"$bind": "pid1"}, "b")
    assert bindings.match({"$bind": "pid2", "$other": ["pid1"]}, "b")
    assert not bindings.match({"$bind": "pid3", "$other": ["pid1", "pid2"]}, "b")
    assert not bindings.match({"$bind": "pid4"}, None)


@pytest.mark.parametrize(
    "line",
    ['{"sent": "c", "frame": []}', '{"receive": "c", "frame": [], "later": {}}', '{"closed": "c"}'],
)
def test_a_line_that_means_nothing_is_refused(line: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_step(line)


def play(handler: Handler, *lines: str) -> None:
    """Replay lines with a server of one handler."""

    async def run() -> None:
        async with serve(handler, "127.0.0.1", 0) as server:
            [listening] = server.sockets
            await replay([read_step(line) for line in lines], f"http://127.0.0.1:{listening.getsockname()[1]}")

    asyncio.run(run())


async def phoenix(connection: ServerConnection) -> None:
    async for text in connection:
        join_ref, ref, topic, *_ = json.loads(text)
        await connection.send(json.dumps([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]))


async def phoenix_1(connection: ServerConnection) -> None:
    async for text in connection:
        message = json.loads(text)
        message |= {"event": "phx_reply", "payload": {"status": "ok", "response": {}}}
        await connection.send(json.dumps(message))


async def says_all_twice(connection: ServerConnection) -> None:
    async for text in connection:
        join_ref, ref, topic, *_ = json.loads(text)
        for _ in range(2):
            await connection.send(json.dumps([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]))


async def says_bytes(connection: ServerConnection) -> None:
    async for text in connection:
        await connection.send(str(text).encode())


async def goes_away(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.close(1001)


async def drops(connection: ServerConnection) -> None:
    await connection.recv()
    connection.transport.abort()


async def says_and_goes_away(connection: ServerConnection) -> None:
    await connection.send(await connection.recv())
    await connection.close(1011)


def test_a_conversation_held_as_recorded_passes() -> None:
    play(phoenix, CONNECT, ASK, ANSWER, '{"silence": "c", "topic": "room:a", "join_ref": "1"}', '{"ping": "c"}')


@pytest.mark.parametrize("path", ["/", "/?vsn=1.0.0", "/?vsn=2.0.0&vsn=1.0.0"])
def test_silence_is_proved_in_the_version_of_the_connection(path: str) -> None:
    play(phoenix_1, json.dumps({"connect": "c", "path": path}), '{"silence": "c", "topic": "room:a"}')


def test_binary_messages_are_compared_byte_by_byte() -> None:
    play(says_bytes, CONNECT, '{"send": "c", "text": "[]"}', '{"receive": "c", "binary": "5b5d"}', '{"close": "c"}')
    with pytest.raises(AssertionError, match=r"expected b'\[\]', got b'\[0\]'"):
        play(says_bytes, CONNECT, '{"send": "c", "text": "[0]"}', '{"receive": "c", "binary": "5b5d"}')


def test_a_close_as_recorded_passes() -> None:
    play(goes_away, CONNECT, ASK, '{"closed": "c", "code": 1001}')
    play(drops, CONNECT, ASK, '{"closed": "c", "code": 1006}')
    play(phoenix, CONNECT, '{"close": "c", "code": 1000}', '{"closed": "c", "code": 1000}')


@pytest.mark.parametrize(
    ("handler", "lines"),
    [
        (phoenix, [ANSWER.replace("room:a", "room:b")]),
        (phoenix, [ANSWER.replace("}}", '}, "more": 1}')]),
        (phoenix, ['{"mark": "now"}', ANSWER[:-1] + ', "after": {"now": 4.9}}']),
        (phoenix, ['{"silence": "c"}']),
        (phoenix, ['{"closed": "c", "code": 1000}']),
        (phoenix, []),
        (says_all_twice, [ANSWER]),
        (says_bytes, [ANSWER]),
        (goes_away, ['{"closed": "c", "code": 1000}']),
        (goes_away, ['{"closed": "c", "code": 1006}']),
        (drops, ['{"closed": "c", "code": 1001}']),
        (says_and_goes_away, ['{"closed": "c", "code": 1011}']),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_conversation_held_otherwise_fails(handler: Handler, lines: list[str]) -> None:
    with pytest.raises(AssertionError, match=r"expected .*, got "):
        play(handler, CONNECT, ASK, *lines)


def test_a_refusal_that_was_not_recorded_fails() -> None:
    with pytest.raises(AssertionError, match="expected status 403, got 101"):
        play(phoenix, '{"connect": "c", "path": "/", "status": 403}')
