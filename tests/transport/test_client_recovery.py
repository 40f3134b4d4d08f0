"""A client's place in the history of a topic: what it asks for, and what it takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from actors.channel import Channel as ServerChannel
from actors.channels.message import Message, Reply, ok
from actors.history.history import History
from actors.mailbox import Mailbox, OnFull
from tests.live import WAIT
from tests.transport.client_meeting import run
from transport.carriers.outbox import OutboxPolicy
from transport.client import Channel, JoinError, Socket
from transport.client.protocol.recovery import ClientRecovery, MissedError, offset_of
from transport.socket import Socket as ServerSocket
from transport.testing import LiveEndpoint

if TYPE_CHECKING:
    from tests.live import LiveDemo
    from transport.client.protocol.effects import TransportName


def answer(epoch: str = "e", offset: int = 0, *, recovered: bool = False, count: int = 0) -> dict[str, Any]:
    return {"recover": {"epoch": epoch, "offset": offset, "recovered": recovered, "count": count}}


def numbered(offset: int, event: str = "said", payload: Any = None) -> Message:
    return Message(None, f"@{offset}", "room", event, {"n": offset} if payload is None else payload)


def joined(*answers: dict[str, Any]) -> ClientRecovery:
    recovery = ClientRecovery()
    for each in answers:
        recovery.asking({})
        assert recovery.answered(each)
    return recovery


def taken(recovery: ClientRecovery, *offsets: int) -> list[int]:
    found = [recovery.take(numbered(offset)) for offset in offsets]
    return [message.payload["n"] for message in found if message is not None]


def test_the_first_join_asks_where_the_topic_stands_and_the_next_from_there() -> None:
    recovery = ClientRecovery()
    assert recovery.asking(msgspec.Raw(b'{"own":1}')) == {"own": 1, "recover": True}
    assert recovery.answered(answer(offset=7))
    assert recovery.asking({}) == {"recover": {"epoch": "e", "offset": 7}}
    assert taken(recovery, 8, 9) == [8, 9]
    assert recovery.asking({}) == {"recover": {"epoch": "e", "offset": 9}}


def test_a_payload_that_is_no_object_has_no_place_for_it() -> None:
    with pytest.raises(TypeError, match="with recover=True params must be a dict, got list"):
        ClientRecovery().asking(msgspec.Raw(b"[1]"))


@pytest.mark.parametrize("response", [{}, None, [], {"recover": True}, {"recover": {"epoch": "e"}}])
def test_a_server_without_a_history_changes_nothing(response: object) -> None:
    recovery = ClientRecovery()
    recovery.asking({})
    assert not recovery.answered(response)
    message = Message(None, None, "room", "said", {})
    assert recovery.take(message) is message
    assert recovery.answer is None


def test_what_was_missed_follows_and_live_ones_after_it() -> None:
    recovery = joined(answer(offset=3))
    recovery.asking({})
    assert recovery.answered(answer(offset=5, recovered=True, count=2))
    assert taken(recovery, 4, 5, 6) == [4, 5, 6]
    assert [recovery.has_recovered(numbered(offset)) for offset in (5, 6)] == [True, False]
    assert not recovery.has_recovered(Message(None, None, "room", "said", {}))


def test_what_came_between_a_join_and_its_answer_is_not_delivered_twice() -> None:
    recovery = joined(answer(offset=3))
    recovery.asking({})
    assert taken(recovery, 4, 5) == [4, 5]
    assert recovery.answered(answer(offset=6, recovered=True, count=3))
    assert taken(recovery, 4, 5, 6, 7) == [6, 7]


def test_a_gap_is_an_error_and_nothing_is_taken_until_the_next_answer() -> None:
    recovery = joined(answer(offset=3))
    with pytest.raises(MissedError, match="expected @4, got @6"):
        recovery.take(numbered(6))
    assert taken(recovery, 7, 8) == []
    assert recovery.asking({}) == {"recover": {"epoch": "e", "offset": 3}}
    assert recovery.answered(answer(offset=8, recovered=True, count=5))
    assert taken(recovery, 4, 5, 6, 7, 8) == [4, 5, 6, 7, 8]


def test_another_epoch_that_begins_while_the_client_is_joined_is_a_gap() -> None:
    recovery = joined(answer(offset=3))
    with pytest.raises(MissedError):
        recovery.take(numbered(1))


def test_one_that_has_not_recovered_goes_on_where_the_topic_stands() -> None:
    recovery = joined(answer(offset=3), answer("another", 9))
    assert taken(recovery, 10) == [10]
    assert recovery.asking({}) == {"recover": {"epoch": "another", "offset": 10}}


def test_an_offset_without_a_broadcast_counts_and_is_not_delivered() -> None:
    recovery = joined(answer())
    assert recovery.take(numbered(1, "phx_skip", {})) is None
    assert taken(recovery, 2) == [2]


def test_a_binary_broadcast_is_bytes_again() -> None:
    recovery = joined(answer())
    message = recovery.take(numbered(1, "blob", {"@binary": "AAH/"}))
    assert message is not None
    assert message.payload == b"\x00\x01\xff"


@pytest.mark.parametrize("payload", [{"@binary": "no Base64!"}, {"@binary": 7}, {"@binary": "AAH/", "name": "a"}])
def test_a_payload_that_only_looks_binary_is_left_alone(payload: dict[str, Any]) -> None:
    message = joined(answer()).take(numbered(1, "said", payload))
    assert message is not None
    assert message.payload == payload


@pytest.mark.parametrize(
    ("ref", "offset"), [("@17", 17), ("17", None), (None, None), (17, None), ("@", None), ("@x", None), ("@-1", None)]
)
def test_offsets_are_refs_with_a_sign(ref: object, offset: int | None) -> None:
    assert offset_of(Message(None, ref, "room", "said", {})) == offset


# Over real sockets


def pair(demo: LiveDemo, transport: TransportName, vsn: str) -> tuple[Socket, Socket]:
    url = f"{demo.websocket_address}/socket"
    return Socket(url, transport=transport, vsn=vsn), Socket(url, transport=transport, vsn=vsn)


async def said(channel: Channel) -> tuple[int, bool]:
    while (message := await channel.recv(WAIT)).event != "new_msg":
        pass
    return message.payload["body"], channel.is_recovered(message)


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
def test_a_client_that_is_away_misses_nothing(demo: LiveDemo, transport: TransportName, vsn: str) -> None:
    run(away_and_back(f"room:python-recovery-{transport}-{vsn}", *pair(demo, transport, vsn)))


async def away_and_back(topic: str, speaker: Socket, listener: Socket) -> None:
    answers: list[Any] = []
    async with speaker, listener:
        room, hearer = speaker.channel(topic), listener.channel(topic, recover=True)
        hearer.on_recovery(answers.append)
        await room.join()
        await hearer.join()
        for number in range(0, 12, 4):
            await room.push("new_msg", {"body": number})
            assert await said(hearer) == (number, False)
            await listener.disconnect()
            for missed in range(number + 1, number + 4):
                await room.push("new_msg", {"body": missed})
            listener.connect()
            assert [await said(hearer) for _ in range(3)] == [(number + each, True) for each in (1, 2, 3)]
    assert [each["recovered"] for each in answers] == [False, True, True, True]
    assert [each["count"] for each in answers] == [0, 3, 3, 3]


def test_params_that_are_no_dict_are_refused() -> None:
    async def made() -> None:
        with pytest.raises(
            TypeError, match="with recover=True params must be a dict or a function returning one, got list"
        ):
            Socket("ws://localhost:1/socket").channel("room:1", [1], recover=True)

    run(made())


def test_a_function_that_returns_no_dict_fails_the_join(demo: LiveDemo) -> None:
    async def joined() -> None:
        async with Socket(f"{demo.websocket_address}/socket") as socket:
            room = socket.channel("room:python-recovery-params", lambda: [1], recover=True)
            with pytest.raises(JoinError, match="params must be a dict, got list"):
                await room.join(WAIT)

    run(joined())


class BackChannel(ServerChannel):
    """Handles each broadcast itself, and keeps more of them than may wait for a client."""

    history = History(size=100, max_bytes=100_000_000)
    intercept = ("said",)

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()


class SpeakerChannel(ServerChannel):
    """Answers when all of it is broadcast."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        for number in range(100):
            self.endpoint.broadcast("room:1", "said", {"number": number, "text": "x" * 100_000})
        return ok()


class Rooms(ServerSocket):
    channels = {"room:*": BackChannel, "speaker": SpeakerChannel}  # noqa: RUF012  # as an author writes it


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
def test_what_a_channel_sends_again_itself_does_not_fill_the_outbox(transport: TransportName, vsn: str) -> None:
    with LiveEndpoint({"/socket": Rooms}, outbox=OutboxPolicy(max_bytes=200_000)) as live:
        address = f"{live.url.replace('http', 'ws')}/socket"
        run(much(Socket(address), Socket(address, transport=transport, vsn=vsn)))


async def much(speaker: Socket, listener: Socket) -> None:
    answers: list[Any] = []
    async with speaker, listener:
        speech, room = speaker.channel("speaker"), listener.channel("room:1", recover=True)
        room.on_recovery(answers.append)
        await speech.join()
        await room.join()
        await listener.disconnect()
        await speech.push("speak")
        listener.connect()
        assert [(await room.recv(WAIT)).payload["number"] for _ in range(100)] == list(range(100))
    assert [(each["recovered"], each["count"]) for each in answers] == [(False, 0), (True, 100)]


class SmallRooms(ServerSocket):
    class KeptChannel(ServerChannel):
        """Says much at once."""

        history = History(events=("said",))

        def join(self, topic: str, payload: Any) -> Reply:
            return ok()

        def handle_in(self, event: str, payload: Any) -> Reply:
            for number in range(20):
                self.broadcast("said", {"number": number})
            return ok()

    channels = {"room:*": KeptChannel}  # noqa: RUF012  # as an author writes it


def test_what_the_outbox_drops_is_a_gap_and_comes_after_the_rejoin() -> None:
    async def talk(socket: Socket) -> list[Any]:
        answers: list[Any] = []
        async with socket:
            room = socket.channel("room:1", recover=True)
            room.on_recovery(answers.append)
            await room.join()
            await room.push("speak")
            assert [(await room.recv(WAIT)).payload["number"] for _ in range(20)] == list(range(20))
        return answers

    policy = OutboxPolicy(max_messages=3, overflow="drop_oldest")
    with LiveEndpoint({"/socket": SmallRooms}, outbox=policy) as live:
        first, second = run(talk(Socket(f"{live.url.replace('http', 'ws')}/socket", transport="longpoll")))
    assert (first["recovered"], second["recovered"], second["count"]) == (False, True, 20)


def small_rooms(on_full: OnFull) -> type[ServerSocket]:
    """Return a socket whose channels have room for two broadcasts, and handle them when they may go on."""
    gate = asyncio.Event()

    class SlowChannel(ServerChannel):
        """Is told something, which has no offset, after what is broadcast."""

        mailbox = Mailbox(2, on_full)
        history = History(events=("said",))
        intercept = ("said",)

        def join(self, topic: str, payload: Any) -> Reply:
            return ok()

        async def handle_out(self, event: str, payload: Any) -> None:
            await gate.wait()
            self.push(event, payload)

        def handle_info(self, message: Any) -> None:
            pass

    class SpeakerChannel(ServerChannel):
        def join(self, topic: str, payload: Any) -> Reply:
            return ok()

        def handle_in(self, event: str, payload: Any) -> Reply:
            for number in range(payload.get("count", 0)):
                self.endpoint.broadcast("room:1", "said", {"number": number})
            for _ in range(2):
                self.pubsub.broadcast("room:1", "for handle_info")
            if event == "go on":
                gate.set()
            return ok()

    class SmallSocket(ServerSocket):
        channels = {"room:*": SlowChannel, "speaker": SpeakerChannel}  # noqa: RUF012  # as an author writes it

    return SmallSocket


@pytest.mark.parametrize("on_full", ["refuse", "drop_newest", "drop_oldest"])
def test_what_a_bounded_mailbox_drops_comes_after_the_rejoin_though_nothing_else_is_broadcast(on_full: OnFull) -> None:
    async def talk(speaker: Socket, listener: Socket) -> list[Any]:
        answers: list[Any] = []
        async with speaker, listener:
            speech, room = speaker.channel("speaker"), listener.channel("room:1", recover=True)
            room.on_recovery(answers.append)
            await speech.join()
            await room.join()
            await speech.push("speak", {"count": 5})
            await speech.push("go on")
            assert [(await room.recv(WAIT)).payload["number"] for _ in range(5)] == list(range(5))
        return answers

    with LiveEndpoint({"/socket": small_rooms(on_full)}) as live:
        address = f"{live.url.replace('http', 'ws')}/socket"
        answers = run(talk(Socket(address), Socket(address)))
    assert all(each["recovered"] for each in answers[1:])
