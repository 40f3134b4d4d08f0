"""The helpers of `ChannelTest` for `async def` tests: the same names, awaited, on the test's own event loop.

    async with ChannelTest(UserSocket, {"user": "alice"}) as client:
        room = await client.join("room:lobby")
        await room.push("ping").assert_reply("ok", {"response": "pong"})

Helpers that only send (`push`, `leave`, `broadcast_from`, `try_join`) are not awaited; those that inspect are. An assertion
fails at once when all actors are idle; while a handler waits for the outside world, such as a database, it waits too.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self, TypeVar

from actors.channels.message import Broadcast, Message, Reply
from transport.testing.channel_test_base import ChannelTestBase, ClientBase, PushedBase, TopicBase
from transport.testing.crashes import AsyncCrashBlock
from transport.testing.exceptions import JoinRefusedError
from transport.testing.loop_runtime import LoopRuntime
from transport.testing.patterns import ANY
from transport.testing.system_under_test import DEFAULT_INFO, SystemUnderTest, connected

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from supervisors.child_spec import Supervised
    from transport.socket import ConnectInfo, Socket
    from transport.testing.crashes import ExpectedCrash, Kinds
    from transport.testing.expectation import Expectation

__all__ = ["AsyncChannelTest", "AsyncJoinedChannel", "AsyncPushed", "AsyncTestClient", "AsyncVirtualClock"]

M = TypeVar("M", Message, Broadcast)


class AsyncVirtualClock:
    """The time of a test; it stands still until the test moves it."""

    def __init__(self, test: AsyncChannelTest) -> None:
        self._test = test

    def now(self) -> float:
        """Return the seconds since the test began."""
        return self._test.runtime.clock.now()

    async def advance(self, seconds: float) -> None:
        """Move the clock, stopping at each due timer until everything that it causes is done."""
        __tracebackhide__ = True
        await self._test.settle()
        await self._test.runtime.advance(seconds)
        await self._test.settle()


class AsyncChannelTest(ChannelTestBase["AsyncTestClient"]):
    """What `async with ChannelTest(…)` runs: a system on the test's event loop, for one test."""

    runtime: LoopRuntime

    def __init__(
        self,
        socket: type[Socket] | None,
        params: Mapping[str, Any] | None,
        *,
        system: SystemUnderTest,
        children: Iterable[Supervised],
    ) -> None:
        self._first, self.system, self._children = (socket, params), system, list(children)
        self.system.crashes.block = "async with client"
        self.clock = AsyncVirtualClock(self)

    # Starting and stopping

    async def __aenter__(self) -> AsyncTestClient:
        __tracebackhide__ = True
        socket, params = self._first
        if socket is None:
            raise TypeError("`async with` connects a first client: write ChannelTest(UserSocket)")
        await self.start()
        try:
            return await self.connect(socket, params)
        except BaseException:
            await self.stop(check=False)
            raise

    async def __aexit__(self, kind: type[BaseException] | None, failure: BaseException | None, *_exc: object) -> None:
        __tracebackhide__ = True
        if failure is not None:
            self.system.crashes.note_on(failure)
        await self.stop(check=kind is None)

    async def start(self) -> Self:
        """Start the system, without a client."""
        self.runtime = LoopRuntime()
        try:
            self.system.start()
            await self.start_supervised(*self._children)
        except BaseException:
            await self.runtime.close()
            raise
        return self

    async def start_supervised(self, *children: Supervised) -> None:
        """Start children that the channels need in their `System`, such as a Presence, until the end of the test (ExUnit)."""
        started = self.system.start_children(children)
        if started is not None:
            await started

    async def stop(self, *, check: bool = True) -> None:
        """End all connections, then the system; with `check`, fail the test for crashes and for whatever is left."""
        __tracebackhide__ = True
        try:
            if check:
                for _ in self.system.end():
                    await self.runtime.settle()
                self.system.check_end(self.runtime.tasks)
        finally:
            await self.runtime.close()

    # Clients

    async def connect(
        self,
        socket: type[Socket],
        params: Mapping[str, Any] | None = None,
        *,
        connect_info: ConnectInfo = DEFAULT_INFO,
    ) -> AsyncTestClient:
        """Connect a client, as its browser would.

        Raises:
            ConnectRefusedError: if `connect` refuses it.
        """
        __tracebackhide__ = True
        made, params = socket(self.system.endpoint), dict(params or {})
        context = copy_context()
        result = context.run(made.connect, params, connect_info)
        if inspect.isawaitable(result):
            result, context = await asyncio.create_task(connected(result), context=context)
        self.system.check_accepted(result, made, params)
        return context.run(self._client, made)

    def _client(self, socket: Socket) -> AsyncTestClient:
        return AsyncTestClient(self, socket)

    # Waiting

    async def settle(self) -> None:
        """Return when no actor has work left, except for timers and for handlers that wait for the outside world.

        Raises:
            UnexpectedCrashError: if an actor has crashed meanwhile.
        """
        __tracebackhide__ = True
        await self.runtime.settle()
        self.system.crashes.check()

    async def decide(self, expectation: Expectation[M]) -> Expectation[M]:
        """Run the actors until the expectation is decided, or they have no work left; return it."""
        __tracebackhide__ = True
        await self.runtime.until(expectation.outcome)
        return expectation

    def expect_crash(
        self, kind: Kinds = Exception, *, match: str | None = None
    ) -> AbstractAsyncContextManager[ExpectedCrash]:
        """Expect that an actor crashes inside the block with that exception; `match` is searched in its text.

        Raises:
            AssertionError: if none did.
        """
        return AsyncCrashBlock(self.system.crashes, kind, match, self.settle)


class AsyncTestClient(ClientBase[AsyncChannelTest, "AsyncPushed"]):
    """A connected client: it joins topics and receives messages."""

    async def connect(self, params: Mapping[str, Any] | None = None) -> AsyncTestClient:
        """Connect another client to the same socket class, in the same system."""
        __tracebackhide__ = True
        return await self.test.connect(type(self.socket), params)

    @property
    def runtime(self) -> LoopRuntime:
        """The runtime of the test."""
        return self.test.runtime

    @property
    def clock(self) -> AsyncVirtualClock:
        """The time of the test."""
        return self.test.clock

    async def close_code(self) -> int | None:
        """Return the code with which the server closed the connection, 1006 if it was cut, None while it is open."""
        __tracebackhide__ = True
        await self.test.settle()
        return self.end.close_code

    async def received(self) -> list[Message]:
        """Return all messages that were received and not taken yet."""
        __tracebackhide__ = True
        await self.test.settle()
        return self.end.inbox.messages

    async def advance(self, seconds: float) -> None:
        """Move the clock."""
        __tracebackhide__ = True
        await self.clock.advance(seconds)

    def expect_crash(
        self, kind: Kinds = Exception, *, match: str | None = None
    ) -> AbstractAsyncContextManager[ExpectedCrash]:
        """Expect that an actor crashes inside the block: `async with client.expect_crash(ValueError) as crash:`."""
        return self.test.expect_crash(kind, match=match)

    def pushed(self, join_ref: str | None, topic: str, event: str, payload: object) -> AsyncPushed:
        """Send a message with a new ref, and return it for assertions on its reply."""
        return AsyncPushed(self, topic, self.end.push(join_ref, topic, event, payload), event)

    async def join(self, topic: str, payload: object = None) -> AsyncJoinedChannel:
        """Join a topic.

        Raises:
            JoinRefusedError: with the reply, if its status is not "ok".
        """
        __tracebackhide__ = True
        pushed = self.try_join(topic, payload)
        reply = await pushed.reply()
        if reply is None or reply.status != "ok":
            raise JoinRefusedError(topic, reply, self.test.system.hints())
        return AsyncJoinedChannel(self, topic, pushed.ref, reply)

    async def subscribe_and_join(self, topic: str, payload: object = None) -> AsyncJoinedChannel:
        """Subscribe the test to a topic, for `assert_broadcast`, and join it."""
        __tracebackhide__ = True
        self.subscribe(topic)
        return await self.join(topic, payload)

    async def close(self) -> None:
        """Close the connection as a browser does whose tab is closed: channels end with `Shutdown("closed")`."""
        __tracebackhide__ = True
        self.end.disconnect()
        await self.test.settle()

    async def take(
        self, event: str, topic: str | None = None, ref: object = ANY, payload: object = ANY
    ) -> Message | None:
        """Remove and return the first message that matches, or None."""
        __tracebackhide__ = True
        await self.test.settle()
        return self.end.take(event, topic, ref, payload)


class AsyncJoinedChannel(TopicBase[AsyncTestClient, "AsyncPushed"]):
    """A topic that a client has joined."""

    async def assigns(self) -> dict[str, Any]:
        """Return the current assigns of the channel actor."""
        __tracebackhide__ = True
        await self.client.test.settle()
        return self._current_assigns()

    async def close(self) -> None:
        """Close the client's connection, and with it this channel."""
        __tracebackhide__ = True
        await self.client.close()

    async def assert_push(self, event: str, payload: object = ANY) -> Message:
        """Remove and return the first such event that the client has received and that matches."""
        __tracebackhide__ = True
        return (await self.client.test.decide(self._expected_push(event, payload))).required()

    async def refute_push(self, event: str, payload: object = ANY) -> None:
        """Check that the client has received no such event that matches."""
        __tracebackhide__ = True
        await self.client.test.settle()
        self._expected_push(event, payload).refuted()

    async def assert_broadcast(self, event: str, payload: object = ANY) -> Broadcast:
        """Remove and return the first such broadcast on the topic that matches.

        Raises:
            RuntimeError: if the test has not subscribed to the topic: use `subscribe_and_join`.
        """
        __tracebackhide__ = True
        return (await self.client.test.decide(self._expected_broadcast(event, payload))).required()

    async def refute_broadcast(self, event: str, payload: object = ANY) -> None:
        """Check that there was no such broadcast on the topic that matches."""
        __tracebackhide__ = True
        expectation = self._expected_broadcast(event, payload)
        await self.client.test.settle()
        expectation.refuted()


class AsyncPushed(PushedBase[AsyncTestClient]):
    """A message that a client has sent; the channel may reply to it."""

    async def reply(self) -> Reply | None:
        """Remove and return the reply, or None if there is none yet."""
        __tracebackhide__ = True
        message = (await self._client.test.decide(self._expected_reply())).taken()
        return None if message is None else message.payload

    async def assert_reply(self, status: str, payload: object = ANY) -> Reply:
        """Remove and return the reply, which must have that status and a payload that matches."""
        __tracebackhide__ = True
        reply: Reply = (await self._client.test.decide(self._expected_reply(status, payload))).required().payload
        return reply

    async def refute_reply(self, status: object = ANY, payload: object = ANY) -> None:
        """Check that there is no such reply; without arguments, that there is none at all."""
        __tracebackhide__ = True
        await self._client.test.settle()
        self._expected_reply(status, payload).refuted()
