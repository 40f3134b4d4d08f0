"""The test kit for channels in `async def` tests: the same helpers, on the loop of pytest-asyncio, anyio or asyncio.run."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.message import Reply, ok
from actors.exits import Shutdown
from actors.presence.presence import Presence
from actors.registry import ActorRegistry
from supervisors.child_spec import ChildSpec
from tests.transport.rooms import ENDED, AsyncSocket, RoomChannel, UserSocket
from transport.testing.async_channel_test import (
    AsyncChannelTest,
    AsyncJoinedChannel,
    AsyncPushed,
    AsyncTestClient,
    AsyncVirtualClock,
)
from transport.testing.channel_test import ChannelTest, JoinedChannel, Pushed, TestClient, VirtualClock, state
from transport.testing.exceptions import (
    ConnectRefusedError,
    JoinRefusedError,
    LeftBehindError,
    UnexpectedCrashError,
)
from transport.testing.patterns import Capture

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client() -> AsyncIterator[AsyncTestClient]:
    async with ChannelTest(UserSocket, {"user": "alice"}) as connected:
        yield connected


@pytest.mark.parametrize(
    ("sync_kind", "async_kind"),
    [
        (ChannelTest, AsyncChannelTest),
        (TestClient, AsyncTestClient),
        (JoinedChannel, AsyncJoinedChannel),
        (Pushed, AsyncPushed),
        (VirtualClock, AsyncVirtualClock),
    ],
    ids=lambda kind: kind.__name__,
)
async def test_both_kinds_of_test_have_the_same_helpers(sync_kind: type, async_kind: type) -> None:
    names = [{name for name in dir(kind) if not name.startswith("_")} for kind in (sync_kind, async_kind)]
    assert names[0] == names[1]
    for name in names[0]:
        helper, awaited = getattr(sync_kind, name), getattr(async_kind, name)
        if inspect.isfunction(helper):
            assert list(inspect.signature(helper).parameters.values()) == list(
                inspect.signature(awaited).parameters.values()
            )
            assert inspect.getdoc(helper) == str(inspect.getdoc(awaited)).replace("async with", "with")


async def test_any_message_can_be_sent_and_taken(client: AsyncTestClient) -> None:
    ref = client.next_ref()
    client.send(None, ref, "phoenix", "heartbeat", {})
    assert await client.take("phx_reply", "phoenix", ref="another") is None
    answer = await client.take("phx_reply", "phoenix", ref)
    assert answer is not None
    assert answer.payload == ok({})
    assert await client.take("phx_reply") is None


async def failure(fail: Any) -> str:
    """Return the message with which an assertion of the kit fails."""
    with pytest.raises(AssertionError) as failed:
        await fail
    return str(failed.value)


async def all_helpers() -> None:
    """Use every helper once, as a test would."""
    async with ChannelTest(UserSocket, {"user": "alice"}) as client:
        room = await client.subscribe_and_join("room:1", {"a": 1})
        assert room.reply == ok({"you": {"a": 1}})
        number = Capture(int)
        await room.push("echo", {"n": 7, "more": 1}).assert_reply("ok", {"n": number})
        assert number.value == 7
        later = room.push("later")
        await client.clock.advance(1.999)
        await later.refute_reply()
        await client.clock.advance(0.001)
        await later.assert_reply("ok", {"late": True})
        with pytest.raises(ValueError, match="seconds must be a number >= 0, got -1"):
            await client.clock.advance(-1)
        assert client.clock.now() == 2.0
        room.push("say", {"body": "hi"})
        await room.assert_broadcast("said", {"body": "hi"})
        await room.refute_broadcast("said")
        await room.assert_push("said")
        await room.refute_push("said")
        room.broadcast_from("whisper", {"n": 1})
        await room.assert_push("whisper", {"n": 1, "for": "room:1"})
        async with client.expect_crash(ValueError, match="cannot take 7") as crash:
            room.push("fail", 7)
        assert str(crash.exception) == "cannot take 7"
        await room.assert_push("phx_error")
        again = await client.join("room:1")
        await again.leave().assert_reply("ok")
        assert [message.event for message in await client.received()] == ["phx_reply", "phx_close"]
        assert await client.close_code() is None


async def test_the_helpers_work_under_pytest_asyncio() -> None:
    await all_helpers()


async def test_the_helpers_work_in_a_program_without_a_plugin() -> None:
    await asyncio.get_running_loop().run_in_executor(None, asyncio.run, all_helpers())


async def test_joins_are_refused_as_in_a_test_that_is_not_async(client: AsyncTestClient) -> None:
    with pytest.raises(JoinRefusedError, match="could not join 'room:vip': error"):
        await client.join("room:vip")
    await client.try_join("room:vip").assert_reply("error")


async def test_connections_are_refused_as_in_a_test_that_is_not_async(client: AsyncTestClient) -> None:
    before = ActorRegistry.get_all()
    with pytest.raises(ConnectRefusedError, match=re.escape("UserSocket.connect() refused {'user': 'mallory'}")):
        await ChannelTest(UserSocket, {"user": "mallory"}).__aenter__()
    with pytest.raises(ConnectRefusedError):
        await client.connect({"user": "mallory"})
    assert ActorRegistry.get_all() == before


async def test_clients_can_be_made_in_all_ways(client: AsyncTestClient) -> None:
    other = await client.connect({"user": "bob"})
    assert (await state(await other.join("room:1")))["user"] == "bob"
    slow = await client.test.connect(AsyncSocket, {"user": "cid"})
    assert (await (await slow.join("room:1")).assigns())["user"] == "cid"
    alone = client.test.socket(channels={"lonely": RoomChannel}, assigns={"user": "dan"}, id="users:dan")
    lonely = await alone.join("lonely")
    assert await state(lonely) == {"user": "dan"}
    assert lonely.ref.actor_class is RoomChannel
    assert client.pubsub.subscribers("lonely") == [lonely.ref]


async def test_without_a_socket_class_there_is_no_first_client() -> None:
    with pytest.raises(TypeError, match=re.escape("write ChannelTest(UserSocket)")):
        await ChannelTest().__aenter__()


async def test_a_room_can_be_closed(client: AsyncTestClient) -> None:
    room = await client.join("room:1")
    ENDED.clear()
    await room.close()
    assert [Shutdown("closed")] == ENDED
    with pytest.raises(LookupError, match="there is no channel"):
        _ = room.ref


# Failures


async def test_failures_say_the_same_as_in_a_test_that_is_not_async(client: AsyncTestClient) -> None:
    room = await client.subscribe_and_join("room:1")
    assert await failure(room.assert_push("pushed")) == "no push 'pushed' on 'room:1'; nothing was received"
    assert await failure(room.assert_broadcast("said")) == "no broadcast 'said' on 'room:1'; nothing was received"
    room.push("later")
    assert await failure(room.push("push", {}).assert_reply("ok")) == (
        "no reply 'ok' to 'push' (ref '3') on 'room:1'; received:\n"
        "  push 'pushed' {}\n"
        "The clock stands still; the next timer is due in 2.000 s."
    )
    assert await failure(room.refute_push("pushed")) == (
        "expected no push 'pushed' on 'room:1'; received:\n  push 'pushed' {}"
    )
    assert (await failure(room.push("echo").refute_reply())).startswith("expected no reply to 'echo' (ref '4')")


async def test_a_crash_fails_the_next_look(client: AsyncTestClient) -> None:
    room = await client.join("room:1")
    ref = room.push("fail", 7)
    with pytest.raises(UnexpectedCrashError, match=r"RoomChannel 'room:1' <.*> crashed: ValueError: cannot take 7"):
        await ref.assert_reply("ok")


async def test_a_crash_that_nobody_looked_for_fails_the_end_of_the_test() -> None:
    async def test() -> None:
        async with ChannelTest(UserSocket) as client:
            (await client.join("room:1")).push("fail")

    with pytest.raises(UnexpectedCrashError):
        await test()


async def test_an_expected_crash_that_does_not_come_is_a_failure(client: AsyncTestClient) -> None:
    async def test() -> None:
        async with client.expect_crash(KeyError):
            pass

    assert await failure(test()) == "no actor crashed with KeyError"


async def test_a_failing_test_is_not_looked_at_for_what_is_left() -> None:
    async def test() -> None:
        async with ChannelTest(UserSocket) as client:
            await (await client.join("room:1")).push("actor").refute_reply()
            raise KeyError("the test")

    with pytest.raises(KeyError, match="the test"):
        await test()


# What is left


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("actor", r"the actor Worker <.*>: linked to .*, with a timer in 3\.000 s, subscribed to 'room:1'"),
        ("timer", r"a timer, in 30\.000 s, of forgotten"),
        ("task", r"the task 'poll' of RoomChannel\.endless\(\)"),
    ],
)
async def test_what_is_left_is_named(what: str, left: str) -> None:
    async def test() -> None:
        async with ChannelTest(UserSocket) as client:
            (await client.join("room:1")).push(what)

    before = ActorRegistry.get_all()
    with pytest.raises(LeftBehindError) as failed:
        await test()
    assert re.fullmatch(left, failed.value.left[0])
    assert ActorRegistry.get_all() == before


async def test_tasks_of_the_test_itself_are_not_left_behind() -> None:
    mine = asyncio.create_task(asyncio.Event().wait())
    async with ChannelTest(UserSocket) as client:
        await client.join("room:1")
        other = asyncio.create_task(asyncio.Event().wait())
    assert not mine.done()
    assert not other.done()
    mine.cancel()
    other.cancel()


async def test_the_loop_keeps_its_own_task_factory() -> None:
    made = list[Any]()

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    async with ChannelTest(UserSocket) as client:
        client.try_join("slow")
        await client.test.settle()
    assert loop.get_task_factory() is factory
    assert len(made) > 0


async def test_children_are_started_and_stopped(client: AsyncTestClient) -> None:
    class Child(Actor):
        """A child of a system."""

    presence = Presence()
    await client.test.start_supervised(presence, ChildSpec(Child, id="child"))
    assert presence.list("room:1") == {}
    assert len(ActorRegistry.get_by_class(Child)) == 1


async def test_a_child_that_cannot_start_is_the_tests_error_and_leaves_nothing() -> None:
    class Failing(Actor):
        def on_start(self) -> None:
            raise ArithmeticError("not today")

    before = ActorRegistry.get_all()
    with pytest.raises(Exception, match="ArithmeticError: not today"):
        await ChannelTest(UserSocket, children=[ChildSpec(Failing)]).__aenter__()
    assert ActorRegistry.get_all() == before


# The outside world


class LibraryChannel(Channel):
    """Calls something that is not an actor."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    async def handle_in(self, event: str, payload: Any) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", payload["port"])
        writer.write(b"which book?\n")
        book = await reader.readline()
        writer.close()
        await writer.wait_closed()
        if event == "push":
            self.push("book", {"title": book.decode().strip()})
            return None
        return ok({"title": book.decode().strip()})


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"Moby-Dick\n")
    writer.close()
    await writer.wait_closed()


async def test_an_assertion_waits_for_the_world_outside(client: AsyncTestClient) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    room = await client.test.socket(channels={"library": LibraryChannel}).join("library")
    await room.push("reply", {"port": port}).assert_reply("ok", {"title": "Moby-Dick"})
    room.push("push", {"port": port})
    await room.assert_push("book", {"title": "Moby-Dick"})
    server.close()
    await server.wait_closed()


class GateChannel(Channel):
    """Waits until the test opens a gate."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    async def handle_in(self, event: str, payload: Any) -> Any:
        await self.assigns["gate"].wait()
        return ok() if event == "reply" else None


@pytest.mark.parametrize("event", ["reply", "nothing"])
async def test_an_assertion_fails_when_the_handler_has_ended_without_it(
    client: AsyncTestClient, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    monkeypatch.setattr("transport.testing.loop_runtime.WAIT", 3600.0)
    gate = asyncio.Event()
    room = await client.test.socket(channels={"gate": GateChannel}, assigns={"gate": gate}).join("gate")
    room.push(event)
    looking = asyncio.create_task(failure(room.assert_push("opened")))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not looking.done()
    gate.set()
    assert "no push 'opened' on 'gate'" in await looking


async def test_an_assertion_waits_for_a_bounded_time(client: AsyncTestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.testing.loop_runtime.WAIT", 0.0)
    pushed = client.try_join("slow")
    text = await failure(pushed.assert_reply("ok"))
    assert "SlowChannel 'slow'" in text
    assert "is in a handler that waits." in text


class Restless(Actor):
    """Never becomes idle."""

    def on_receive(self, message: Any) -> None:
        self.send(self, message)


async def test_actors_that_never_rest_are_an_error(client: AsyncTestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.testing.loop_runtime._ENDLESS", 100)
    restless = Restless.start()
    restless.send("again")
    with pytest.raises(RuntimeError, match="the actors never become idle"):
        await client.test.settle()
    restless.kill()
