"""The helpers of `ChannelTest` for `async def` tests: the same names, awaited, on the test's own event loop.

    async with ChannelTest(UserSocket, {"user": "alice"}) as client:
        room = await client.join("room:lobby")
        await room.push("ping").assert_reply("ok", {"response": "pong"})

What only sends (`push`, `leave`, `broadcast_from`, `try_join`) is not awaited; what looks, is. An assertion fails at once when
all actors rest; while a handler waits for the world outside, such as a database, it waits too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from transport.socket import ConnectInfo, Socket, accepted
from transport.testing.async_clients import AsyncTestClient
from transport.testing.crashes import AsyncCrashBlock
from transport.testing.exceptions import ConnectRefusedError, LeftBehindError
from transport.testing.leftovers import left_behind
from transport.testing.loop_runtime import LoopRuntime
from transport.testing.system_under_test import SystemUnderTest, new_socket

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from supervisors.child_spec import Supervised
    from transport.testing.crashes import ExpectedCrash, Kinds
    from transport.testing.inbox import Inbox, Wanted

__all__ = ["AsyncChannelTest", "AsyncVirtualClock"]

_DEFAULT_INFO = ConnectInfo(None, "/socket/websocket", {})


class AsyncVirtualClock:
    """The time of a test; it stands still until it is moved."""

    def __init__(self, test: AsyncChannelTest) -> None:
        self._test = test

    def now(self) -> float:
        """Return the seconds since the test began."""
        return self._test.runtime.clock.now()

    async def advance(self, seconds: float) -> None:
        """Move on, stopping at each timer on the way until all that it leads to is done."""
        __tracebackhide__ = True
        await self._test.settle()
        await self._test.runtime.advance(seconds)
        await self._test.settle()


class AsyncChannelTest:
    """What `async with ChannelTest(…)` runs: a system on the test's event loop, for one test."""

    runtime: LoopRuntime

    def __init__(
        self,
        socket: type[Socket] | None,
        params: Mapping[str, str] | None,
        *,
        system: SystemUnderTest,
        children: Iterable[Supervised],
    ) -> None:
        self._first, self.system, self._children = (socket, params), system, list(children)
        self.system.crashes.block = "async with client"
        self.clock = AsyncVirtualClock(self)

    # Its life

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
        """Start what the channels need of their `System`, such as a Presence, until the end of the test (ExUnit's word)."""
        started = self.system.start_children(children)
        if started is not None:
            await started

    async def stop(self, *, check: bool = True) -> None:
        """End all connections, then all else, and fail the test for what has crashed or is left, if it is to `check`."""
        __tracebackhide__ = True
        try:
            if check:
                await self._end_in_order()
        finally:
            await self.runtime.close()

    async def _end_in_order(self) -> None:
        __tracebackhide__ = True
        await self.runtime.settle()
        for _ in self.system.end():
            await self.runtime.settle()
        self.system.crashes.check()
        left = left_behind(self.system.scheduler, self.system.pubsub, self.runtime.tasks, self.runtime.clock.timers())
        if left:
            raise LeftBehindError(left)

    # Clients

    async def connect(
        self,
        socket: type[Socket],
        params: Mapping[str, str] | None = None,
        *,
        connect_info: ConnectInfo = _DEFAULT_INFO,
    ) -> AsyncTestClient:
        """Connect a client, as its browser would.

        Raises:
            ConnectRefusedError: if `connect` refuses it.
        """
        __tracebackhide__ = True
        made, params = socket(self.system.endpoint), dict(params or {})
        result = made.connect(params, connect_info)
        if inspect.isawaitable(result):
            result = await result
        if not accepted(result):
            raise ConnectRefusedError(socket, params)
        return AsyncTestClient(self, made)

    def socket(
        self,
        socket: type[Socket] = Socket,
        *,
        id: str | None = None,  # noqa: A002  # Phoenix's word
        assigns: Mapping[str, Any] | None = None,
        channels: Mapping[str, Any] | None = None,
    ) -> AsyncTestClient:
        """Make a client without asking `connect`: with the assigns that it would have set, and perhaps other channels."""
        return AsyncTestClient(
            self,
            new_socket(socket, self.system.endpoint, identity=id, assigns=assigns or {}, channels=channels),
        )

    # What its clients use

    async def settle(self) -> None:
        """Return when no actor has anything left to do, timers aside, and those that wait for the world outside.

        Raises:
            UnexpectedCrashError: if one has crashed meanwhile.
        """
        __tracebackhide__ = True
        await self.runtime.settle()
        self.system.crashes.check()

    async def find(self, inbox: Inbox, wanted: Wanted) -> Any:
        """Take what a test wants out of an inbox, waiting for it as long as it may come; None if it does not."""
        __tracebackhide__ = True
        await self.runtime.until(lambda: self.system.crashes.first or inbox.find(wanted))
        self.system.crashes.check()
        return inbox.take(wanted)

    async def take(self, inbox: Inbox, wanted: Wanted) -> Any:
        """Take what a test wants out of an inbox, or fail."""
        __tracebackhide__ = True
        found = await self.find(inbox, wanted)
        if found is None:
            raise AssertionError(inbox.missing(wanted, self.system.hints()))
        return found

    async def refute(self, inbox: Inbox, wanted: Wanted) -> None:
        """Fail if there is what a test does not want."""
        __tracebackhide__ = True
        await self.settle()
        found = inbox.find(wanted)
        if found is not None:
            raise AssertionError(inbox.unwanted(wanted, found))

    def expect_crash(
        self, kind: Kinds = Exception, *, match: str | None = None
    ) -> AbstractAsyncContextManager[ExpectedCrash]:
        """Expect that an actor crashes inside the block, with that exception; `match` is searched in its text.

        Raises:
            AssertionError: if none did.
        """
        return AsyncCrashBlock(self.system.crashes, kind, match, self.settle)
