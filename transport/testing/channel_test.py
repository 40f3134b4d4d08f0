"""Tests of channels without a network (Phoenix.ChannelTest): the test plays the client and talks to the transport actor.

    with ChannelTest(UserSocket, {"user": "alice"}) as client:
        room = client.join("room:lobby")
        room.push("ping").assert_reply("ok", {"response": "pong"})

Everything else is real: the transport actor, the channels and their supervisor, PubSub. Payloads stay Python objects unless a
serializer is given. Time is virtual: `client.advance(5)`. `async with ChannelTest(…)` has the same helpers for `async def`
tests, in `async_channel_test.py`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Iterable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from actors.channels.message import Broadcast, Message, Reply
from actors.testing.manual_runtime import ManualRuntime
from actors.testing.probe import WAIT
from transport.testing.async_channel_test import AsyncChannelTest, AsyncJoinedChannel
from transport.testing.channel_test_base import ChannelTestBase, ClientBase, PushedBase, TopicBase
from transport.testing.crashes import CrashBlock
from transport.testing.exceptions import JoinRefusedError
from transport.testing.patterns import ANY
from transport.testing.system_under_test import DEFAULT_INFO, SystemUnderTest, connected

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from actors.channels.message import Serializer
    from actors.clock import Interval, Timer
    from supervisors.child_spec import Supervised
    from transport.socket import ConnectInfo, Socket
    from transport.testing.async_channel_test import AsyncTestClient
    from transport.testing.crashes import ExpectedCrash, Kinds
    from transport.testing.expectation import Expectation

__all__ = ["ChannelTest", "JoinedChannel", "Pushed", "TestClient", "VirtualClock", "remaining", "state"]

M = TypeVar("M", Message, Broadcast)


class VirtualClock:
    """The time of a test; it stands still until the test moves it."""

    def __init__(self, test: ChannelTest) -> None:
        self._test = test

    def now(self) -> float:
        """Return the seconds since the test began."""
        return self._test.runtime.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the clock, stopping at each due timer until everything that it causes is done."""
        __tracebackhide__ = True
        self._test.settle()
        self._test.runtime.advance(seconds)
        self._test.settle()


class ChannelTest(ChannelTestBase["TestClient"]):
    """A system for one test, with a first client; use it as a context manager, `with` or `async with`.

    - `endpoint`: what channels see as `self.socket.endpoint`; by default one without sockets.
    - `children`: children that the channels need in their `System`, such as a Presence.
    - `serializer`: encodes everything that is sent to clients, which proves that it can be; payloads then look as they
      would after JSON.
    - `expected_crashes`: exceptions with which actors may crash at any time; see `expect_crash` for a single crash.

    If an actor crashes, the test's next call of a helper fails with the actor's own traceback. At the end everything is
    stopped in order, and whatever is left fails the test.

    Raises:
        ConnectRefusedError: if `connect` refuses the client.
        UnexpectedCrashError: if an actor crashes unexpectedly.
        LeftBehindError: at the end, if actors, timers, subscriptions or tasks are left.
    """

    __test__ = False

    def __init__(
        self,
        socket: type[Socket] | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        endpoint: Any = None,
        children: Iterable[Supervised] = (),
        serializer: Serializer | None = None,
        expected_crashes: Kinds = (),
    ) -> None:
        self._first, self._children = (socket, params), list(children)
        self.system = SystemUnderTest(endpoint, serializer, expected_crashes)
        self.runtime = ManualRuntime()
        self.clock = VirtualClock(self)
        self._async: AsyncChannelTest | None = None

    # Starting and stopping

    def __enter__(self) -> TestClient:
        __tracebackhide__ = True
        socket, params = self._first
        if socket is None:
            raise TypeError("`with` connects a first client: write ChannelTest(UserSocket), or use start() and stop()")
        self.start()
        try:
            return self.connect(socket, params)
        except BaseException:
            self.stop(check=False)
            raise

    def __exit__(
        self, kind: type[BaseException] | None = None, failure: BaseException | None = None, *_exc: object
    ) -> None:
        __tracebackhide__ = True
        if failure is not None:
            self.system.crashes.note_on(failure)
        self.stop(check=kind is None)

    async def __aenter__(self) -> AsyncTestClient:
        self._async = AsyncChannelTest(*self._first, system=self.system, children=self._children)
        return await self._async.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, failure: BaseException | None, *_exc: object) -> None:
        __tracebackhide__ = True
        assert self._async is not None
        await self._async.__aexit__(kind, failure)

    def start(self) -> Self:
        """Start the system, without a client."""
        _refuse_running_loop()
        self.runtime.__enter__()
        try:
            self.system.start()
            self.start_supervised(*self._children)
        except BaseException:
            self.runtime.__exit__()
            raise
        return self

    def start_supervised(self, *children: Supervised) -> None:
        """Start children that the channels need in their `System`, such as a Presence, until the end of the test (ExUnit)."""
        started = self.system.start_children(children)
        if started is not None:
            started.get()

    def stop(self, *, check: bool = True) -> None:
        """End all connections, then the system; with `check`, fail the test for crashes and for whatever is left."""
        __tracebackhide__ = True
        try:
            if check:
                for _ in self.system.end():
                    self.runtime.settle()
                self.system.check_end(self._tasks())
        finally:
            for task in self._tasks():
                task.cancel()
            self.runtime.__exit__()

    def _tasks(self) -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks(self.system.scheduler.loop)

    # Clients

    def connect(
        self,
        socket: type[Socket],
        params: Mapping[str, Any] | None = None,
        *,
        connect_info: ConnectInfo = DEFAULT_INFO,
    ) -> TestClient:
        """Connect a client, as its browser would.

        Raises:
            ConnectRefusedError: if `connect` refuses it.
        """
        __tracebackhide__ = True
        made, params = socket(self.system.endpoint), dict(params or {})
        context = copy_context()
        result = context.run(made.connect, params, connect_info)
        if inspect.isawaitable(result):
            result, context = context.run(self.runtime.run, connected(result), WAIT)
        self.system.check_accepted(result, made, params)
        return context.run(self._client, made)

    def _client(self, socket: Socket) -> TestClient:
        return TestClient(self, socket)

    # Waiting

    def settle(self) -> None:
        """Return when no actor has work left, except for timers and for handlers that wait for the outside world.

        Raises:
            UnexpectedCrashError: if an actor has crashed meanwhile.
        """
        __tracebackhide__ = True
        _refuse_running_loop()
        self.runtime.settle()
        self.system.crashes.check()

    def decide(self, expectation: Expectation[M]) -> Expectation[M]:
        """Run the actors until the expectation is decided, or they have no work left; return it."""
        __tracebackhide__ = True
        _refuse_running_loop()
        self.runtime.until(expectation.outcome, WAIT)
        return expectation

    def expect_crash(
        self, kind: Kinds = Exception, *, match: str | None = None
    ) -> AbstractContextManager[ExpectedCrash]:
        """Expect that an actor crashes inside the block with that exception; `match` is searched in its text.

        Raises:
            AssertionError: if none did.
        """
        return CrashBlock(self.system.crashes, kind, match, self.settle)


class TestClient(ClientBase[ChannelTest, "Pushed"]):
    """A connected client: it joins topics and receives messages."""

    __test__ = False

    def connect(self, params: Mapping[str, Any] | None = None) -> TestClient:
        """Connect another client to the same socket class, in the same system."""
        __tracebackhide__ = True
        return self.test.connect(type(self.socket), params)

    @property
    def runtime(self) -> ManualRuntime:
        """The runtime of the test."""
        return self.test.runtime

    @property
    def clock(self) -> VirtualClock:
        """The time of the test."""
        return self.test.clock

    @property
    def close_code(self) -> int | None:
        """The code with which the server closed the connection, 1006 if it was cut, None while it is open."""
        __tracebackhide__ = True
        self.test.settle()
        return self.end.close_code

    @property
    def received(self) -> list[Message]:
        """All messages that were received and not taken yet."""
        __tracebackhide__ = True
        self.test.settle()
        return self.end.inbox.messages

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        __tracebackhide__ = True
        self.clock.advance(seconds)

    def expect_crash(
        self, kind: Kinds = Exception, *, match: str | None = None
    ) -> AbstractContextManager[ExpectedCrash]:
        """Expect that an actor crashes inside the block: `with client.expect_crash(ValueError) as crash:`."""
        return self.test.expect_crash(kind, match=match)

    def pushed(self, join_ref: str | None, topic: str, event: str, payload: object) -> Pushed:
        """Send a message with a new ref, and return it for assertions on its reply."""
        return Pushed(self, topic, self.end.push(join_ref, topic, event, payload), event)

    def join(self, topic: str, payload: object = None) -> JoinedChannel:
        """Join a topic.

        Raises:
            JoinRefusedError: with the reply, if its status is not "ok".
        """
        __tracebackhide__ = True
        pushed = self.try_join(topic, payload)
        reply = pushed.reply()
        if reply is None or reply.status != "ok":
            raise JoinRefusedError(topic, reply, self.test.system.hints())
        return JoinedChannel(self, topic, pushed.ref, reply)

    def subscribe_and_join(self, topic: str, payload: object = None) -> JoinedChannel:
        """Subscribe the test to a topic, for `assert_broadcast`, and join it."""
        __tracebackhide__ = True
        self.subscribe(topic)
        return self.join(topic, payload)

    def close(self) -> None:
        """Close the connection as a browser does whose tab is closed: channels end with `Shutdown("closed")`."""
        __tracebackhide__ = True
        self.end.disconnect()
        self.test.settle()

    def take(self, event: str, topic: str | None = None, ref: object = ANY, payload: object = ANY) -> Message | None:
        """Remove and return the first message that matches, or None."""
        __tracebackhide__ = True
        self.test.settle()
        return self.end.take(event, topic, ref, payload)


class JoinedChannel(TopicBase[TestClient, "Pushed"]):
    """A topic that a client has joined."""

    @property
    def assigns(self) -> dict[str, Any]:
        """The current assigns of the channel actor."""
        __tracebackhide__ = True
        self.client.test.settle()
        return self._current_assigns()

    def close(self) -> None:
        """Close the client's connection, and with it this channel."""
        __tracebackhide__ = True
        self.client.close()

    def assert_push(self, event: str, payload: object = ANY) -> Message:
        """Remove and return the first such event that the client has received and that matches."""
        __tracebackhide__ = True
        return self.client.test.decide(self._expected_push(event, payload)).required()

    def refute_push(self, event: str, payload: object = ANY) -> None:
        """Check that the client has received no such event that matches."""
        __tracebackhide__ = True
        self.client.test.settle()
        self._expected_push(event, payload).refuted()

    def assert_broadcast(self, event: str, payload: object = ANY) -> Broadcast:
        """Remove and return the first such broadcast on the topic that matches.

        Raises:
            RuntimeError: if the test has not subscribed to the topic: use `subscribe_and_join`.
        """
        __tracebackhide__ = True
        return self.client.test.decide(self._expected_broadcast(event, payload)).required()

    def refute_broadcast(self, event: str, payload: object = ANY) -> None:
        """Check that there was no such broadcast on the topic that matches."""
        __tracebackhide__ = True
        expectation = self._expected_broadcast(event, payload)
        self.client.test.settle()
        expectation.refuted()


class Pushed(PushedBase[TestClient]):
    """A message that a client has sent; the channel may reply to it."""

    def reply(self) -> Reply | None:
        """Remove and return the reply, or None if there is none yet."""
        __tracebackhide__ = True
        message = self._client.test.decide(self._expected_reply()).taken()
        return None if message is None else message.payload

    def assert_reply(self, status: str, payload: object = ANY) -> Reply:
        """Remove and return the reply, which must have that status and a payload that matches."""
        __tracebackhide__ = True
        reply: Reply = self._client.test.decide(self._expected_reply(status, payload)).required().payload
        return reply

    def refute_reply(self, status: object = ANY, payload: object = ANY) -> None:
        """Check that there is no such reply; without arguments, that there is none at all."""
        __tracebackhide__ = True
        self._client.test.settle()
        self._expected_reply(status, payload).refuted()


@overload
def state(channel: JoinedChannel) -> dict[str, Any]: ...


@overload
def state(channel: AsyncJoinedChannel) -> Awaitable[dict[str, Any]]: ...


def state(channel: JoinedChannel | AsyncJoinedChannel) -> dict[str, Any] | Awaitable[dict[str, Any]]:
    """Return the current assigns of the channel actor; to be awaited in an `async def` test."""
    __tracebackhide__ = True
    return channel.assigns if isinstance(channel, JoinedChannel) else channel.assigns()


def remaining(timer: Timer | Interval) -> float:
    """Return the seconds until a timer fires.

    Raises:
        AssertionError: if it has fired or was cancelled.
    """
    __tracebackhide__ = True
    left = timer.remaining()
    if left is None:
        raise AssertionError(f"{timer!r} was to be pending")
    return left


def _refuse_running_loop() -> None:
    __tracebackhide__ = True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("an event loop runs here: in an async test write `async with ChannelTest(…) as client:`")
