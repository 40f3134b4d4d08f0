"""What a client sees is the same over both transports, in both versions, on the own listener and on an ASGI server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.live import LiveDemo
from tests.transport.wire import on_loop
from tests.wire_clients import WIRES, Meeting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.wire_clients import WireClient

SERVERS = ("listener", "uvicorn")
VERSIONS = ("1.0.0", "2.0.0")
UNMATCHED = {"reason": "unmatched topic"}

_numbers = count(1)


@pytest.fixture(scope="session")
def asgi_demo() -> Iterator[LiveDemo]:
    pytest.importorskip("uvicorn")
    with LiveDemo(Path(__file__).parent / "asgi_server.py", "--app", "tests.asgi_demo:app") as running:
        yield running


@pytest.fixture(params=product(SERVERS, WIRES, VERSIONS), ids="-".join)
def meeting(request: pytest.FixtureRequest) -> Meeting:
    server, transport, version = request.param
    demo: LiveDemo = request.getfixturevalue("demo" if server == "listener" else "asgi_demo")
    return Meeting(demo.address, transport, version)


@pytest.fixture
def room() -> str:
    """A topic that no other test has."""
    return f"room:contract-{next(_numbers)}"


@on_loop
async def test_a_heartbeat_is_answered(meeting: Meeting) -> None:
    async with meeting.connect() as alice:
        ref = await alice.push(None, "phoenix", "heartbeat")
        await alice.is_answered(None, ref, "phoenix")


@on_loop
async def test_a_join_is_answered(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        await alice.join(room)
        await alice.hears_nothing()


@on_loop
async def test_a_refused_join_is_answered_with_the_reason(meeting: Meeting) -> None:
    async with meeting.connect() as alice:
        await alice.say("1", "1", "room:vip", "phx_join", {})
        await alice.is_answered("1", "1", "room:vip", {"reason": "unauthorized"}, "error")
        ref = await alice.push("1", "room:vip", "echo")
        await alice.is_answered(None, ref, "room:vip", UNMATCHED, "error")


@on_loop
async def test_a_topic_that_nobody_serves_is_unmatched(meeting: Meeting) -> None:
    async with meeting.connect() as alice:
        await alice.say("1", "1", "nowhere", "phx_join", {})
        await alice.is_answered(None, "1", "nowhere", UNMATCHED, "error")


@on_loop
async def test_a_push_to_a_topic_not_joined_is_unmatched(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        ref = await alice.push("1", room, "echo")
        await alice.is_answered(None, ref, room, UNMATCHED, "error")


@pytest.mark.parametrize("payload", [{"a": [1, 2.5, None]}, [1, "two"], "é😀", 7, {"long": "x" * 70_000}], ids=type)
@on_loop
async def test_a_push_is_answered_with_any_json(meeting: Meeting, room: str, payload: Any) -> None:
    async with meeting.connect() as alice:
        join_ref = await alice.join(room)
        ref = await alice.push(join_ref, room, "echo", payload)
        await alice.is_answered(join_ref, ref, room, payload)


@on_loop
async def test_a_push_is_answered_with_an_error(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        join_ref = await alice.join(room)
        ref = await alice.push(join_ref, room, "fail")
        await alice.is_answered(join_ref, ref, room, {"reason": "failed on purpose"}, "error")


@on_loop
async def test_broadcasts_reach_everybody_in_order_and_come_before_the_reply(meeting: Meeting, room: str) -> None:
    async with meeting.connect(user="alice") as alice, meeting.connect() as bob:
        join_ref = await alice.join(room)
        await bob.join(room)
        for body in ("one", "two", "three"):
            ref = await alice.push(join_ref, room, "new_msg", {"body": body})
            await alice.is_told(room, "new_msg", {"user": "alice", "body": body})
            await alice.is_answered(join_ref, ref, room)
        for body in ("one", "two", "three"):
            await bob.is_told(room, "new_msg", {"user": "alice", "body": body})
        await bob.hears_nothing()


@on_loop
async def test_a_broadcast_from_one_does_not_reach_that_one(meeting: Meeting, room: str) -> None:
    async with meeting.connect(user="alice") as alice, meeting.connect() as bob:
        join_ref = await alice.join(room)
        await bob.join(room)
        await alice.push(join_ref, room, "typing")
        await bob.is_told(room, "typing", {"user": "alice"})
        await alice.hears_nothing()


@pytest.mark.parametrize("event", ["echo", "phx_leave"])
@on_loop
async def test_a_stale_join_ref_is_met_with_silence(meeting: Meeting, room: str, event: str) -> None:
    async with meeting.connect() as alice:
        join_ref = await alice.join(room)
        await alice.push("stale", room, event)
        await alice.hears_nothing()
        ref = await alice.push(join_ref, room, "echo", {"still": "here"})
        await alice.is_answered(join_ref, ref, room, {"still": "here"})


@on_loop
async def test_a_duplicate_join_is_answered_and_then_closes_the_one_before(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        before = await alice.join(room)
        after = await alice.join(room)
        await alice.hears(before, before, room, "phx_close", {})
        ref = await alice.push(after, room, "echo")
        await alice.is_answered(after, ref, room)


@on_loop
async def test_a_leave_is_answered_and_then_closes_the_channel(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        join_ref = await alice.join(room)
        ref = await alice.push(join_ref, room, "phx_leave")
        await alice.is_answered(join_ref, ref, room)
        await alice.hears(join_ref, join_ref, room, "phx_close", {})
        ref = await alice.push(join_ref, room, "echo")
        await alice.is_answered(None, ref, room, UNMATCHED, "error")


@on_loop
async def test_a_leave_of_a_topic_not_joined_is_answered(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        ref = await alice.push("1", room, "phx_leave")
        await alice.is_answered("1", ref, room)
        await alice.hears_nothing()


@on_loop
async def test_a_channel_that_stops_answers_and_then_closes(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        join_ref = await alice.join(room)
        ref = await alice.push(join_ref, room, "stop")
        await alice.is_answered(join_ref, ref, room)
        await alice.hears(join_ref, join_ref, room, "phx_close", {})
        await alice.hears_nothing()


@on_loop
async def test_a_crashed_channel_is_joined_again_and_its_neighbour_never_noticed(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        join_ref = await alice.join(room)
        neighbour = await alice.join(f"{room}-next")
        await alice.push(join_ref, room, "crash")
        await alice.hears(join_ref, join_ref, room, "phx_error", {"reason": "channel_crash"})
        again = await alice.join(room)
        for topic, ref in ((room, again), (f"{room}-next", neighbour)):
            asked = await alice.push(ref, topic, "echo")
            await alice.is_answered(ref, asked, topic)


@on_loop
async def test_a_kick_ends_all_connections_of_a_user_and_no_others(meeting: Meeting, room: str) -> None:
    user = room.replace(":", "-")
    async with meeting.connect() as alice, meeting.connect(user=user) as bob, meeting.connect(user=user) as bob_too:
        join_ref = await alice.join(room)
        await bob.join(room)
        ref = await alice.push(join_ref, room, "kick", {"user": user})
        await alice.is_answered(join_ref, ref, room)
        await bob.is_ended(1001)
        await bob_too.is_ended(1001)
        await alice.hears_nothing()


@on_loop
async def test_a_malformed_message_ends_its_connection_and_no_other(meeting: Meeting) -> None:
    async with meeting.connect() as alice, meeting.connect() as bob:
        await alice.wire.send("[not json" if meeting.version == "2.0.0" else "{not json")
        await alice.is_ended(1011)
        await bob.hears_nothing()


@on_loop
async def test_a_binary_push_is_answered_with_binary(meeting: Meeting, room: str) -> None:
    if meeting.version == "1.0.0":
        return  # it has no binary messages
    async with meeting.connect() as alice:
        join_ref = await alice.join(room)
        names = [join_ref, "b1", room]
        sizes = bytes(len(name) for name in names)
        await alice.wire.send(b"\x00" + sizes + b"\x04" + "".join([*names, "blob"]).encode() + b"\x00\xff")
        reply = await binary(alice.wire)
        assert reply == b"\x01" + sizes + b"\x02" + "".join([*names, "ok"]).encode() + b"\x00\xff"
        await alice.hears_nothing()


async def binary(wire: Any) -> bytes:
    """Return the next binary message; who is here may be told before it."""
    while isinstance(message := await wire.recv(), str):
        assert "presence_" in message, message
    return bytes(message)


# What was missed

# What the first join says, without a position.
FIRST: Any = True


async def rejoin(client: WireClient, room: str, recover: Any = FIRST) -> dict[str, Any]:
    """Join with "recover", and return what the answer says of that."""
    join_ref = await client.push(None, room, "phx_join", {"recover": recover})
    answer = await client.hear()
    assert (answer.ref, answer.topic, answer.event, answer.payload["status"]) == (join_ref, room, "phx_reply", "ok")
    assert answer.payload["response"].keys() == {"recover"}
    found: dict[str, Any] = answer.payload["response"]["recover"]
    assert found.keys() == {"epoch", "offset", "recovered", "count"}
    return found


async def talk(client: WireClient, room: str, *bodies: int) -> None:
    """Say something in a room that the client has joined without "recover"."""
    for body in bodies:
        ref = await client.push(None, room, "new_msg", {"body": body})
        await client.is_told(room, "new_msg", {"user": "bob", "body": body})
        await client.is_answered("1", ref, room)


async def is_told_again(client: WireClient, room: str, offset: int, body: int) -> None:
    await client.hears(None, f"@{offset}", room, "new_msg", {"user": "bob", "body": body})


@asynccontextmanager
async def speaker(meeting: Meeting, room: str) -> AsyncIterator[WireClient]:
    async with meeting.connect(user="bob") as bob:
        await bob.say("1", "1", room, "phx_join", {})
        await bob.is_answered("1", "1", room)
        yield bob


@on_loop
async def test_a_client_that_asks_is_told_where_an_empty_topic_stands(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        found = await rejoin(alice, room)
        assert isinstance(found["epoch"], str)
        assert (found["offset"], found["recovered"], found["count"]) == (0, False, 0)
        await alice.hears_nothing()


@on_loop
async def test_what_was_missed_comes_after_the_reply_and_before_what_comes_then(meeting: Meeting, room: str) -> None:
    async with speaker(meeting, room) as bob:
        async with meeting.connect() as alice:
            before = await rejoin(alice, room)
            await talk(bob, room, 10)
            await is_told_again(alice, room, 1, 10)
        await talk(bob, room, 20, 30)
        async with meeting.connect() as alice:
            found = await rejoin(alice, room, {**before, "offset": 1})
            assert found == {"epoch": before["epoch"], "offset": 3, "recovered": True, "count": 2}
            await is_told_again(alice, room, 2, 20)
            await is_told_again(alice, room, 3, 30)
            await talk(bob, room, 40)
            await is_told_again(alice, room, 4, 40)
            await alice.hears_nothing()


@on_loop
async def test_what_was_said_to_an_empty_room_is_kept(meeting: Meeting, room: str) -> None:
    async with meeting.connect() as alice:
        found = await rejoin(alice, room)
    async with speaker(meeting, room) as bob:
        await talk(bob, room, 10)
    async with meeting.connect() as alice:
        assert (await rejoin(alice, room, found))["count"] == 1
        await is_told_again(alice, room, 1, 10)


@on_loop
async def test_a_second_join_closes_the_first_one_before_what_was_missed(meeting: Meeting, room: str) -> None:
    async with speaker(meeting, room) as bob, meeting.connect() as alice:
        before = await rejoin(alice, room)
        await talk(bob, room, 10)
        await is_told_again(alice, room, 1, 10)
        assert (await rejoin(alice, room, before))["count"] == 1
        closed = await alice.hear()
        assert (closed.event, closed.payload) == ("phx_close", {})
        await is_told_again(alice, room, 1, 10)
        await alice.hears_nothing()


@pytest.mark.parametrize("change", [{"epoch": "another"}, {"epoch": ""}, {"offset": 3}, {"offset": 2**53 - 1}], ids=str)
@on_loop
async def test_a_position_that_is_not_known_is_not_recovered(
    meeting: Meeting, room: str, change: dict[str, Any]
) -> None:
    async with speaker(meeting, room) as bob, meeting.connect() as alice:
        await talk(bob, room, 10, 20)
        before = await rejoin(alice, room)
    async with meeting.connect() as alice:
        found = await rejoin(alice, room, {**before, **change})
        assert found == {"epoch": before["epoch"], "offset": 2, "recovered": False, "count": 0}
        await alice.hears_nothing()


@pytest.mark.parametrize(
    "recover",
    [None, False, 0, 1, "true", [], {}, {"epoch": "e", "offset": -1}, {"epoch": "e", "offset": True}, {"offset": 0}],
    ids=str,
)
@on_loop
async def test_what_is_no_position_is_refused(meeting: Meeting, room: str, recover: Any) -> None:
    async with meeting.connect() as alice:
        ref = await alice.push(None, room, "phx_join", {"recover": recover})
        await alice.is_answered(None, ref, room, {"reason": "invalid recover"}, "error")
        ref = await alice.push(None, room, "echo")
        await alice.is_answered(None, ref, room, UNMATCHED, "error")


@on_loop
async def test_the_key_means_nothing_to_a_channel_without_a_history(meeting: Meeting) -> None:
    async with meeting.connect() as alice:
        ref = await alice.push(None, "bench:1", "phx_join", {"recover": {"whatever": None}})
        await alice.is_answered(None, ref, "bench:1")
