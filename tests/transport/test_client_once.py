"""Pushes of a client that are handled once, though their connections break, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.live import WAIT
from tests.transport.client_meeting import run
from transport.client import Channel, ReplyError, Socket
from transport.client.keyed_payload import keyed_payload
from transport.client.sync import connect

if TYPE_CHECKING:
    from tests.live import LiveDemo
    from transport.client.protocol.effects import TransportName

PUSHES = 20


def at(demo: LiveDemo, **options: Any) -> Socket:
    return Socket(f"{demo.websocket_address}/socket", **options)


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
def test_pushes_over_connections_that_break_are_heard_once_and_in_order(
    demo: LiveDemo, transport: TransportName, vsn: str
) -> None:
    run(ledger(f"room:once-{transport}-{vsn}", at(demo, transport=transport, vsn=vsn), at(demo)))


async def ledger(topic: str, speaker: Socket, listener: Socket) -> None:
    async with speaker, listener:
        room, hearer = speaker.channel(topic), listener.channel(topic)
        await room.join()
        await hearer.join()
        pushes = []
        for number in range(PUSHES):
            pushes.append(room.push_once("new_msg", {"body": number}, WAIT))
            if number % 2:
                # What was sent is answered over the connection that has gone, if at all.
                speaker.reconnect()
            if number % 4 == 3:
                await pushes[-1]
        for push in pushes:
            assert await push == {}
        await room.push("new_msg", {"body": "end"})
        assert await heard(hearer) == [*range(PUSHES), "end"]


async def heard(channel: Channel) -> list[Any]:
    bodies: list[Any] = []
    while bodies[-1:] != ["end"]:
        message = await channel.recv(WAIT)
        if message.event == "new_msg":
            bodies.append(message.payload["body"])
    return bodies


def test_a_key_of_ones_own_is_known_again_and_is_for_one_push(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with at(demo, params={"user": "ann"}) as socket:
            room = socket.channel("room:once-own-key")
            await room.join()
            for _ in range(2):
                assert await room.push_once("new_msg", {"body": 1}, key="order 17") == {}
            with pytest.raises(ReplyError, match="key used for another push"):
                await room.push_once("new_msg", {"body": 2}, key="order 17")

    run(conversation())


def test_a_client_without_an_event_loop_has_it_too(demo: LiveDemo) -> None:
    with connect(f"{demo.websocket_address}/socket") as socket:
        room = socket.channel("room:once-sync")
        room.join()
        assert room.push_once("new_msg", {"body": 1}).reply() == {}


@pytest.mark.parametrize(("payload", "error"), [([1], TypeError), ("text", TypeError), (7, TypeError)])
def test_a_payload_that_has_no_place_for_a_key_is_refused(payload: Any, error: type[Exception]) -> None:
    async def conversation() -> None:
        room = Socket("ws://localhost:1/socket").channel("room:1")
        with pytest.raises(error, match="payload of 'say' on 'room:1' must be an object or bytes"):
            room.push_once("say", payload)

    run(conversation())


@pytest.mark.parametrize("key", ["", "x" * 129, 7])
def test_a_key_that_is_not_valid_is_refused(key: Any) -> None:
    with pytest.raises(ValueError, match="key must be a text of 1 to 128 characters, or None, got"):
        keyed_payload(b"", key, "payload")
