"""An endpoint on a free port, for tests with real clients."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from actors.lowlevel import in_thread
from supervisors.exceptions import SystemDownError
from supervisors.system import System
from transport.endpoint import Endpoint
from transport.testing.crashes import Crashes
from transport.testing.exceptions import LeftBehindError
from transport.testing.leftovers import left_behind

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from actors.pubsub.pubsub import PubSub
    from supervisors.child_spec import Supervised
    from transport.socket import Socket
    from transport.testing.crashes import ExpectedCrash, Kinds

__all__ = ["LiveEndpoint"]

T = TypeVar("T")

# Seconds that closing connections may take, and between two polls of their timers.
_CLOSING, _POLL = 6.0, 0.01


class LiveEndpoint:
    """A system with an endpoint on a free port of 127.0.0.1, in its own thread; use it as a context manager.

    `sockets` maps paths to socket classes, for which an `Endpoint` with the `options` is created; or it is an endpoint, whose
    port is replaced. `children` come before it in the system.

    At the end the system is stopped, and unexpected crashes and whatever is left are raised.

    Raises:
        UnexpectedCrashError: if an actor has crashed unexpectedly.
        LeftBehindError: if actors, timers, subscriptions or tasks are left.
        SystemDownError: if the system has stopped on its own.
    """

    def __init__(
        self,
        sockets: Mapping[str, type[Socket]] | Endpoint,
        *,
        children: Iterable[Supervised] = (),
        expected_crashes: Kinds = (),
        **options: Any,
    ) -> None:
        if isinstance(sockets, Endpoint):
            if options:
                raise TypeError(f"an endpoint has its options already, got {', '.join(options)} too")
            self.endpoint = sockets
        else:
            self.endpoint = Endpoint(sockets, **options)
        self.endpoint.take_free_port()
        self.system = System([*children, self.endpoint], name="live")
        self._crashes = Crashes(expected_crashes, "with live")

    def __enter__(self) -> Self:
        if self.system.is_running:
            raise RuntimeError("this LiveEndpoint is running already; make another one")
        self._thread = in_thread("live endpoint")
        try:
            self._run(self._start())
        except BaseException:
            self._thread.stop()
            raise
        return self

    async def _start(self) -> None:
        self._crashes.watch(self._thread.scheduler)
        await self.system.start()

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, *_exc: object) -> None:
        __tracebackhide__ = True
        try:
            left = self._run(self._stop())
        finally:
            self._thread.stop()
        if failure is not None:
            self._crashes.note_on(failure)
        if kind is None:
            self._crashes.check()
            if left:
                raise LeftBehindError(left)

    async def _stop(self) -> list[str]:
        root = self.system.ref
        if not root.is_alive():
            raise SystemDownError(self.system.name, root.exit_reason)
        await self.system.stop()
        await self._connections_closed()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        scheduler = self._thread.scheduler
        left = left_behind(scheduler, self.system.pubsub, tasks, scheduler.clock.timers())
        for task in tasks:
            task.cancel()
        return left

    async def _connections_closed(self) -> None:
        """Wait until the clients have replied to the close frames; the timeout of each reply is a timer."""
        clock, woken = self._thread.scheduler.clock, asyncio.Event()
        end = clock.now() + _CLOSING
        while clock.timers() and clock.now() < end:
            clock.call_after(_POLL, woken.set)
            await woken.wait()
            woken.clear()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._thread.scheduler.loop).result()

    @property
    def url(self) -> str:
        """The address, such as "http://127.0.0.1:41213"."""
        return self.endpoint.url

    def websocket_url(self, path: str = "/socket", vsn: str = "2.0.0") -> str:
        """Return the URL of a socket's WebSocket, for clients other than phoenix.js, which need the full URL."""
        return f"{self.url.replace('http:', 'ws:', 1)}{path}/websocket?vsn={vsn}"

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the system."""
        return self.system.pubsub

    def expect_crash(
        self, kind: Kinds = Exception, *, match: str | None = None
    ) -> AbstractContextManager[ExpectedCrash]:
        """Allow that an actor crashes inside the block with that exception.

        The client must have seen the crash before the block ends; call `check()` on the result to make sure that it happened.
        """
        return self._crashes.expecting(kind, match)
