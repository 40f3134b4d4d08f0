"""Tests of channels without a network (Phoenix.ChannelTest): the test is the client, one step from the transport actor.

    with ChannelTest(UserSocket, {"user": "alice"}) as client:
        room = client.join("room:lobby")
        room.push("ping").assert_reply("ok", {"response": "pong"})

Everything else is the real thing: the transport actor, the channels and their supervisor, PubSub. Payloads stay Python objects,
unless a serializer is asked for. Time is the test's: `client.advance(5)`. `async with ChannelTest(…)` has the same helpers for
`async def` tests.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from actors.testing.manual_runtime import ManualRuntime
from actors.testing.probe import WAIT
from transport.socket import ConnectInfo, Socket, accepted
from transport.testing.async_channels import AsyncChannelTest
from transport.testing.clients import TestClient
from transport.testing.crashes import CrashBlock
from transport.testing.exceptions import ConnectRefusedError, LeftBehindError
from transport.testing.leftovers import left_behind
from transport.testing.system_under_test import SystemUnderTest, new_socket

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from actors.channels.message import Serializer
    from supervisors.child_spec import Supervised
    from transport.testing.async_clients import AsyncTestClient
    from transport.testing.crashes import ExpectedCrash, Kinds
    from transport.testing.inbox import Inbox, Wanted

__all__ = ["ChannelTest", "VirtualClock"]

_DEFAULT_INFO = ConnectInfo(None, "/socket/websocket", {})


class VirtualClock:
    """The time of a test; it stands still until it is moved."""

    def __init__(self, test: ChannelTest) -> None:
        self._test = test

    def now(self) -> float:
        """Return the seconds since the test began."""
        return self._test.runtime.clock.now()

    def advance(self, seconds: float) -> None:
        """Move on, stopping at each timer on the way until all that it leads to is done."""
        __tracebackhide__ = True
        self._test.settle()
        self._test.runtime.advance(seconds)
        self._test.settle()


class ChannelTest:
    """A system for one test, with a first client; use it as a context manager, `with` or `async with`.

    - `endpoint`: what channels see as `self.socket.endpoint`; by default one without sockets.
    - `children`: those that the channels need of their `System`, such as a Presence.
    - `serializer`: has all that goes to clients written by it too, which proves that it can be; payloads then look as
      JSON would bring them.
    - `expected_crashes`: exceptions with which actors may crash at any time; see `expect_crash` for a single one.

    An actor that crashes fails the test with its own traceback, at the next look that the test takes. At the end all is
    stopped in order, and whatever is left fails the test.

    Raises:
        ConnectRefusedError: if `connect` refuses the client.
        UnexpectedCrashError: if an actor crashes that is not expected to.
        LeftBehindError: at the end, if actors, timers, subscriptions or tasks are left.
    """

    __test__ = False

    def __init__(
        self,
        socket: type[Socket] | None = None,
        params: Mapping[str, str] | None = None,
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

    # Its life

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
        """Start what the channels need of their `System`, such as a Presence, until the end of the test (ExUnit's word)."""
        started = self.system.start_children(children)
        if started is not None:
            started.get()

    def stop(self, *, check: bool = True) -> None:
        """End all connections, then all else, and fail the test for what has crashed or is left, if it is to `check`."""
        __tracebackhide__ = True
        try:
            if check:
                self._end_in_order()
        finally:
            for task in self._tasks():
                task.cancel()
            self.runtime.__exit__()

    def _end_in_order(self) -> None:
        __tracebackhide__ = True
        self.runtime.settle()
        for _ in self.system.end():
            self.runtime.settle()
        self.system.crashes.check()
        left = left_behind(self.system.scheduler, self.system.pubsub, self._tasks(), self.runtime.clock.timers())
        if left:
            raise LeftBehindError(left)

    def _tasks(self) -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks(self.system.scheduler.loop)

    # Clients

    def connect(
        self,
        socket: type[Socket],
        params: Mapping[str, str] | None = None,
        *,
        connect_info: ConnectInfo = _DEFAULT_INFO,
    ) -> TestClient:
        """Connect a client, as its browser would.

        Raises:
            ConnectRefusedError: if `connect` refuses it.
        """
        __tracebackhide__ = True
        made, params = socket(self.system.endpoint), dict(params or {})
        result = made.connect(params, connect_info)
        if inspect.isawaitable(result):
            result = self.runtime.run(result, WAIT)
        if not accepted(result):
            raise ConnectRefusedError(socket, params)
        return TestClient(self, made)

    def socket(
        self,
        socket: type[Socket] = Socket,
        *,
        id: str | None = None,  # noqa: A002  # Phoenix's word
        assigns: Mapping[str, Any] | None = None,
        channels: Mapping[str, Any] | None = None,
    ) -> TestClient:
        """Make a client without asking `connect`: with the assigns that it would have set, and perhaps other channels."""
        return TestClient(
            self,
            new_socket(socket, self.system.endpoint, identity=id, assigns=assigns or {}, channels=channels),
        )

    # What its clients use

    def settle(self) -> None:
        """Return when no actor has anything left to do, timers aside, and those that wait for the world outside.

        Raises:
            UnexpectedCrashError: if one has crashed meanwhile.
        """
        __tracebackhide__ = True
        _refuse_running_loop()
        self.runtime.settle()
        self.system.crashes.check()

    def find(self, inbox: Inbox, wanted: Wanted) -> Any:
        """Take what a test wants out of an inbox, waiting for it as long as it may come; None if it does not."""
        __tracebackhide__ = True
        _refuse_running_loop()
        self.runtime.until(lambda: self.system.crashes.first or inbox.find(wanted), WAIT)
        self.system.crashes.check()
        return inbox.take(wanted)

    def take(self, inbox: Inbox, wanted: Wanted) -> Any:
        """Take what a test wants out of an inbox, or fail."""
        __tracebackhide__ = True
        found = self.find(inbox, wanted)
        if found is None:
            raise AssertionError(inbox.missing(wanted, self.system.hints()))
        return found

    def refute(self, inbox: Inbox, wanted: Wanted) -> None:
        """Fail if there is what a test does not want."""
        __tracebackhide__ = True
        self.settle()
        found = inbox.find(wanted)
        if found is not None:
            raise AssertionError(inbox.unwanted(wanted, found))

    def expect_crash(
        self, kind: Kinds = Exception, *, match: str | None = None
    ) -> AbstractContextManager[ExpectedCrash]:
        """Expect that an actor crashes inside the block, with that exception; `match` is searched in its text.

        Raises:
            AssertionError: if none did.
        """
        return CrashBlock(self.system.crashes, kind, match, self.settle)


def _refuse_running_loop() -> None:
    __tracebackhide__ = True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("an event loop runs here: in an async test write `async with ChannelTest(…) as client:`")
