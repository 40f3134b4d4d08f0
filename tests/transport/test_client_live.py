"""Our client against the demo: what test_phoenix_js.py checks for phoenix.js, and more."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from demo import demo_endpoint
from supervisors import System
from tests.live import WAIT
from tests.transport.client_meeting import Log, closes, heard, joins, opens, run
from transport.client import ClosedError, ConnectError, JoinError, Presence, ReplyError, ReplyTimeoutError, Socket
from transport.exceptions import UnencodableError

if TYPE_CHECKING:
    from tests.live import LiveDemo

both_versions = pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])


TRANSPORT: dict[str, Any] = {}
"""What carries the messages in the test that runs."""


@pytest.fixture(params=["websocket", "longpoll"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(TRANSPORT, "transport", request.param)
    return str(request.param)


def client(demo: LiveDemo, user: str = "ann", **options: Any) -> Socket:
    return Socket(f"{demo.websocket_address}/socket", params={"user": user}, **TRANSPORT, **options)


@both_versions
def test_a_push_is_answered(demo: LiveDemo, vsn: str) -> None:
    async def conversation() -> None:
        async with client(demo, vsn=vsn) as socket:
            room = socket.channel("room:client")
            assert await room.join() == {}
            assert room.state == "joined"
            assert await room.push("echo", {"body": "hé"}) == {"body": "hé"}
            assert (await room.push("whoami"))["user"] == "ann"
        assert (socket.state, room.state) == ("closed", "closed")

    run(conversation())


def test_a_push_forgets_those_that_stop_waiting_for_it(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            room = socket.channel("room:client")
            await room.join()
            push = room.push("ping that has no reply", {})
            for _ in range(10):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(push, 0)
                waiting = asyncio.ensure_future(push._response())
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
            assert push._protocol._hooks == []

    run(conversation())


@both_versions
def test_an_event_reaches_everybody_as_callback_and_as_message(demo: LiveDemo, vsn: str) -> None:
    async def conversation() -> None:
        async with client(demo, "ann", vsn=vsn) as first, client(demo, "ben") as second:
            ann, ben = (socket.channel(f"room:client-chat-{vsn}") for socket in (first, second))
            await ann.join()
            await ben.join()
            told = heard(ann, "new_msg")
            await ben.push("new_msg", {"body": "hello"})
            assert await told.until(1) == [({"user": "ben", "body": "hello"},)]
            async for message in ben:
                if message.event == "new_msg":
                    break
            assert (message.topic, message.payload) == (ben.topic, {"user": "ben", "body": "hello"})

    run(conversation())


def test_delayed_answers_overtake_one_another(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            ticks = socket.channel("demo:client")
            log = Log()
            tick = heard(ticks, "tick")
            await ticks.join()
            for event in ("ping:200", "ping:100", "ping"):
                ticks.push(event).receive("ok", partial(log.add, event))
            answers = [(event, response.get("delay")) for event, response in await log.until(3)]
            assert answers == [("ping", None), ("ping:100", 100), ("ping:200", 200)]
            assert await tick.until(1) == [({"value": 0},)]

    run(conversation())


def test_binary_payloads_are_bytes_at_both_ends(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo, "bit") as first, client(demo, "byte") as second:
            room, *benches = first.channel("room:binary"), *(each.channel("bench:client") for each in (first, second))
            await asyncio.gather(*(channel.join() for channel in (room, *benches)))
            assert await room.push("blob", b"\x00\xff\x01") == b"\x00\xff\x01"
            assert await room.push("echo", b"") == b""
            benches[0].push("shout", b"\x00\xff")
            for bench in benches:
                message = await bench.recv()
                assert (message.event, message.payload) == ("shout", b"\x00\xff")

    run(conversation())


# Errors


@pytest.mark.parametrize(("topic", "reason"), [("nope:x", "unmatched topic"), ("room:vip", "unauthorized")])
def test_a_refused_join_says_why(demo: LiveDemo, topic: str, reason: str) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            refused = socket.channel(topic)
            with pytest.raises(JoinError, match=f"{topic!r} was not joined: .*{reason}") as error:
                await refused.join()
            assert error.value.response == {"reason": reason}
            assert await refused.leave() == {}
            assert refused.state == "closed"

    run(conversation())


def test_an_error_is_raised_with_its_response(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            room = socket.channel("room:client")
            await room.join()
            with pytest.raises(ReplyError, match="failed on purpose") as error:
                await room.push("fail")
            assert (error.value.status, error.value.response) == ("error", {"reason": "failed on purpose"})

    run(conversation())


def test_a_push_without_an_answer_times_out(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            room = socket.channel("room:client")
            await room.join()
            with pytest.raises(ReplyTimeoutError, match=r"no reply to 'typing' on 'room:client' within 0\.05 s"):
                await room.push("typing", timeout=0.05)

    run(conversation())


def test_who_waits_is_told_when_the_socket_is_closed(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            room = socket.channel("room:client-closing")
            await room.join()
            asked = asyncio.ensure_future(room.push("typing"))
            ended = asyncio.ensure_future(anext(aiter(socket.channel("room:other"))))
            await room.push("echo")
        with pytest.raises(ClosedError, match="was closed before 'typing' was answered"):
            await asked
        with pytest.raises(StopAsyncIteration):
            await ended

    run(conversation())


def test_without_a_server_the_block_is_not_entered() -> None:
    async def conversation() -> None:
        socket = Socket("ws://127.0.0.1:1/socket")
        with pytest.raises(ConnectError, match=r"cannot connect to ws://127\.0\.0\.1:1/socket/websocket: .*") as error:
            async with socket:
                pytest.fail("there is no server")
        assert isinstance(error.value.cause, OSError)

    run(conversation())


def test_a_block_with_a_socket_that_is_open_is_entered_at_once(demo: LiveDemo) -> None:
    async def conversation() -> None:
        socket = client(demo)
        opened = opens(socket)
        socket.connect()
        await opened.until(1)
        async with socket:
            assert await socket.channel("room:client-open").join() == {}
        assert (socket.state, len(opened.entries)) == ("closed", 1)

    run(conversation())


def test_who_waits_for_a_connection_is_told_that_it_is_given_up() -> None:
    async def conversation() -> None:
        asked, never = asyncio.Event(), asyncio.Event()

        async def params() -> None:
            asked.set()
            await never.wait()

        socket = Socket("ws://127.0.0.1:1/socket", params=params)
        entering = asyncio.ensure_future(socket.__aenter__())
        await asked.wait()
        await socket.disconnect()
        with pytest.raises(ConnectError, match="the socket was closed while it connected"):
            await entering

    run(conversation())


@pytest.mark.parametrize("name", [5, None, b"event"])
def test_a_topic_or_an_event_that_is_no_text_is_refused(demo: LiveDemo, name: Any) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            room = socket.channel("room:client-names")
            await room.join()
            for ask in (socket.channel, room.push, partial(room.on, callback=print)):
                with pytest.raises(TypeError, match=f"^an? (topic|event) must be a str, got {name!r}$"):
                    ask(name)
            assert await room.push("echo", {"n": 1}) == {"n": 1}

    run(conversation())


def test_a_server_that_refuses_is_an_error_with_its_status(demo: LiveDemo) -> None:
    async def conversation() -> None:
        with pytest.raises(ConnectError, match="403"):
            async with Socket(f"{demo.websocket_address}/socket", params={"user_token": "forged"}):
                pytest.fail("the token is forged")

    run(conversation())


# Crashes


def test_a_crashed_channel_joins_again_and_nothing_else_notices(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo, rejoin_after=lambda _: 0.01) as socket:
            opened, closed = opens(socket), closes(socket)
            room, other = socket.channel("room:client-crash"), socket.channel("demo:client-crash")
            errors = Log()
            room.on_error(errors.add)
            joined, other_joined = joins(room), joins(other)
            await joined.until(1)
            await other_joined.until(1)
            before = await room.push("whoami")
            room.push("crash")
            await joined.until(2)
            after = await room.push("whoami")
            assert errors.entries == [({"reason": "channel_crash"},)]
            assert after["channel"] != before["channel"]
            assert after["transport"] == before["transport"]
            assert (opened.entries, closed.entries, len(other_joined.entries)) == ([], [], 1)

    run(conversation())


def test_a_crashed_transport_brings_a_new_connection_on_which_all_channels_join(demo: LiveDemo, transport: str) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            opened, closed = opens(socket), closes(socket)
            room, other = socket.channel("room:client-crash"), socket.channel("demo:client-crash")
            joined, other_joined = joins(room), joins(other)
            await joined.until(1)
            before = await room.push("whoami")
            room.push("crash_transport")
            await joined.until(2)
            await other_joined.until(2)
            after = await room.push("whoami")
            assert after["transport"] != before["transport"]
            # A session that is gone is noticed by the next poll, or by the POST that waits for its answer.
            codes = {1006} if transport == "websocket" else {3410, 1011}
            assert len(opened.entries) == len(closed.entries) == 1
            assert closed.entries[0][0] in codes

    run(conversation())


def test_a_kick_closes_with_1001_and_the_client_comes_back_with_fresh_params(demo: LiveDemo) -> None:
    users = iter(["fresh-1", "fresh-2"])

    async def params() -> dict[str, str]:
        return {"user": next(users)}

    async def conversation() -> None:
        async with Socket(f"{demo.websocket_address}/socket", params=params) as socket:
            closed, reconnects = closes(socket), Log()
            socket.on_close(lambda code, reason: reconnects.add(socket.will_reconnect))
            room = socket.channel("room:client-kick")
            joined = joins(room)
            await joined.until(1)
            assert (await room.push("whoami"))["user"] == "fresh-1"
            room.push("kick", {"user": "fresh-1"})
            await joined.until(2)
            assert (await room.push("whoami"))["user"] == "fresh-2"
            assert ([code for code, _ in closed.entries], reconnects.entries) == ([1001], [(True,)])
            assert not socket.will_reconnect

    run(conversation())


def test_a_server_that_is_started_again_is_found_and_what_was_pushed_meanwhile_arrives() -> None:
    async def conversation() -> None:
        endpoint = demo_endpoint(port=0)
        async with System([endpoint]):
            port = endpoint.port
            socket = Socket(f"ws://127.0.0.1:{port}/socket", reconnect_after=lambda _: 0.02, jitter=1)
            errors = Log()
            socket.on_error(errors.add)
            socket.connect()
            bench = socket.channel("bench:restart")
            joined, closed = joins(bench), closes(socket)
            await joined.until(1)
        await closed.until(1)
        answers = [bench.push("echo", {"n": number}, timeout=WAIT) for number in range(100)]
        await errors.until(2)
        async with System([demo_endpoint(port=port)]):
            assert await asyncio.gather(*answers) == [{"n": number} for number in range(100)]
            assert len(joined.entries) == 2
            await socket.close()

    run(conversation())


# Closing


def test_a_channel_that_was_left_hears_no_more_and_does_not_join_again(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo, "ann") as socket, client(demo, "ben") as second:
            room, other = socket.channel("room:client-leave"), socket.channel("room:client-leave-other")
            closed, joined = Log(), joins(room)
            room.on_close(closed.add)
            await joined.until(1)
            await other.join()
            assert await room.leave() == {}
            assert (room.state, closed.entries) == ("closed", [("leave",)])
            ben = second.channel(room.topic)
            await ben.join()
            await ben.push("new_msg", {"body": "anybody here?"})
            # Anything sent to ann before has arrived before this reply.
            await other.push("echo")
            assert "new_msg" not in {message.event async for message in room}
            assert len(joined.entries) == 1
            again = socket.channel(room.topic)
            assert await again.join() == {}

    run(conversation())


def test_a_channel_that_the_server_stops_is_closed(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            room = socket.channel("room:client-stop")
            closed = Log()
            room.on_close(closed.add)
            await room.join()
            assert await room.push("stop") == {}
            await closed.until(1)
            assert room.state == "closed"

    run(conversation())


def test_a_second_channel_of_a_topic_takes_the_place_of_the_first(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            first, second = (socket.channel("room:client-twice") for _ in range(2))
            closed = Log()
            first.on_close(closed.add)
            await first.join()
            before = await first.push("whoami")
            await second.join()
            after = await second.push("whoami")
            await closed.until(1)
            assert (first.state, second.state) == ("closed", "joined")
            assert before["channel"] != after["channel"]

    run(conversation())


def test_disconnect_and_connect_keep_the_channels(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            room = socket.channel("room:client-again")
            joined = joins(room)
            await joined.until(1)
            await socket.disconnect()
            assert (socket.state, room.state) == ("closed", "errored")
            kept = room.push("echo", {"kept": True})
            socket.connect()
            assert await kept == {"kept": True}
            assert len(joined.entries) == 2

    run(conversation())


# Presence


def test_who_crashes_is_gone_and_back_in_everybody_s_list(demo: LiveDemo) -> None:
    topic = "room:client-presence-crash"

    async def conversation() -> None:
        async with client(demo, "ann") as first, client(demo, "ben", rejoin_after=lambda _: 0.01) as second:
            ann, ben = first.channel(topic), second.channel(topic)
            theirs, own, changes, synced = Presence(ann), Presence(ben), Log(), Log()
            theirs.on_join(lambda key, current, new: changes.add("joins", key))
            theirs.on_leave(lambda key, current, left: changes.add("leaves", key))
            own.on_sync(lambda: synced.add(own.state))
            await ann.join()
            while ("joins", "ann") not in changes.entries:
                await changes.until(len(changes.entries) + 1)
            await ben.join()
            while ("joins", "ben") not in changes.entries:
                await changes.until(len(changes.entries) + 1)
            before, count = theirs.state, len(changes.entries)
            ben.push("crash")
            while ("joins", "ben") not in changes.entries[count:]:
                await changes.until(len(changes.entries) + 1)
            assert ("leaves", "ben") in changes.entries[count:]
            while (theirs.state,) not in synced.entries[-1:]:
                await synced.until(len(synced.entries) + 1)
            assert theirs.state["ann"] == before["ann"]
            assert theirs.state["ben"] != before["ben"]

    run(conversation())


def test_the_presence_list_is_the_server_s(demo: LiveDemo) -> None:
    topic = "room:client-presence"

    async def conversation() -> None:
        async with client(demo, "ann") as first:
            ann = first.channel(topic)
            presence, changes = Presence(ann), Log()
            presence.on_join(lambda key, current, new: changes.add("joins", key, current is not None))
            presence.on_leave(lambda key, current, left: changes.add("leaves", key, bool(current["metas"])))
            await ann.join()
            await changes.until(1)
            async with client(demo, "ben") as second:
                ben = second.channel(topic)
                theirs, synced = Presence(ben), Log()
                theirs.on_sync(lambda: synced.add(sorted(theirs.state)))
                await ben.join()
                while ["ann", "ben"] not in [keys for (keys,) in synced.entries]:
                    await synced.until(len(synced.entries) + 1)
                await changes.until(2)
                assert theirs.state == presence.state
            while changes.entries[-1][0] != "leaves":
                await changes.until(len(changes.entries) + 1)
            assert presence.list(lambda key, entry: (key, len(entry["metas"]))) == [("ann", 1)]
            told = [entry for entry in changes.entries if entry[1] == "ben"]
            assert told == [("joins", "ben", False), ("leaves", "ben", False)]

    run(conversation())


def test_callbacks_of_a_presence_may_be_coroutine_functions(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with Socket(f"{demo.websocket_address}/socket", params={"user": "ann"}) as socket:
            room, log = socket.channel("room:life-presence"), Log()

            async def joined(key: str, current: object, new: object) -> None:
                log.add("join", key)

            async def synced() -> None:
                log.add("sync")

            here = Presence(room)
            here.on_join(joined)
            here.on_sync(synced)
            room.join()
            assert {("join", "ann"), ("sync",)} == set(await log.until(3))

    run(conversation())


def test_a_callback_that_meets_a_cancelled_future_does_not_end_the_connection(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with Socket(f"{demo.websocket_address}/socket", params={"user": "ann"}) as socket:
            room = socket.channel("room:life-cancelled")
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            room.on("new_msg", lambda _: cancelled.result())
            await room.join()
            await room.push("new_msg", {"body": "hello"})
            assert await room.push("echo", {"n": 1}) == {"n": 1}

    run(conversation())


def test_a_join_that_the_version_has_no_form_for_is_told_and_ends_nothing(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo, vsn="1.0.0") as socket:
            with pytest.raises(UnencodableError, match=r"version 1\.0\.0 has no binary payloads"):
                socket.channel("room:client", b"params")
            with pytest.raises(JoinError, match=r"version 1\.0\.0 has no binary payloads"):
                await socket.channel("room:client", lambda: b"params").join()
            assert await socket.channel("room:client-other").join() == {}

    run(conversation())


def test_a_push_that_is_too_long_for_the_server_costs_the_connection_which_is_made_again(demo: LiveDemo) -> None:
    async def conversation() -> None:
        async with client(demo) as socket:
            closed, opened, room = closes(socket), opens(socket), socket.channel("room:client-long")
            await room.join()
            room.push("blob", bytes(9_000_000))
            assert (await closed.until(1))[0][0] in {1006, 1009, 1011}
            await opened.until(1)
            assert await room.push("echo", {"n": 1}) == {"n": 1}

    run(conversation())
