"""The root of everything: one supervision tree, on an event loop of yours, in a thread of its own, or as the program."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from actors.exits import SHUTDOWN, ExitReason
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.runtime.scheduler import Scheduler, in_thread, new_event_loop
from actors.runtime.spawn import spawn
from supervisors import observer
from supervisors.child_spec import ChildSpec, SupportsChildSpec
from supervisors.exceptions import SystemDownError
from supervisors.restart import Strategy
from supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from types import TracebackType

    from actors.actor import Actor
    from actors.ref import ActorRef
    from actors.registry import Registry

__all__ = ["System"]

_log = logging.getLogger("ashtree.supervisors")


class System:
    """A supervision tree with a PubSub and your children. Start it in one of three ways:

    - `async with System(children) as system:` in an asyncio program, on its event loop;
    - `with System(children) as system:` in synchronous code, on a loop in a thread of its own;
    - `System(children).run()` as the program itself, until Ctrl-C or SIGTERM.

    The children start in order and stop in reverse. If one cannot start, StartError is raised. If the tree gives up later
    (too many restarts), `async with` cancels its body, and all three raise SystemDownError at the end.
    """  # noqa: D415  # the colon leads to the list

    def __init__(
        self,
        children: Iterable[ChildSpec | type[Actor] | SupportsChildSpec] = (),
        *,
        name: str = "System",
        pubsub: PubSub | None = None,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
    ) -> None:
        self.name = name
        self.pubsub = pubsub or PubSub()
        watcher = ChildSpec(PubSubServer, (self.pubsub,), id=self.pubsub.name, name=self.pubsub.name)
        self._children = [watcher, *children]
        self._options: dict[str, Any] = {"strategy": strategy, "max_restarts": max_restarts, "max_seconds": max_seconds}
        self._ref: ActorRef[Supervisor] | None = None
        self._stopping = False
        self._body: asyncio.Task[Any] | None = None
        self._thread: in_thread | None = None

    @property
    def ref(self) -> ActorRef[Supervisor]:
        """The root supervisor.

        Raises:
            RuntimeError: if the system has not been started.
        """
        if self._ref is None:
            raise RuntimeError(f"{self.name} is not running; use `with`, `async with` or run()")
        return self._ref

    @property
    def names(self) -> Registry:
        """The names of this system's actors."""
        return self.ref.process.scheduler.names

    def whereis(self, name: object) -> ActorRef[Any] | None:
        """Return the actor that is registered under `name`, or None."""
        return self.names.whereis(name)

    def tree(self) -> str:
        """Draw the supervision tree as it is now."""
        return observer.tree(self.ref)

    # On a running loop

    async def start(self) -> Self:
        """Start the tree on the running event loop.

        Raises:
            StartError: if a child could not start; those before it are stopped again.
        """
        self._stopping = False
        ref = spawn(Supervisor, (self._children,), self._options, label=self.name)
        if ref.process.started is not None:
            await ref.process.started
        self._ref = ref
        ref.down().add_done_callback(lambda down: self._on_down(down.result()))
        return self

    async def stop(self) -> None:
        """Stop the tree in reverse order; return when it is gone."""
        self._stopping = True
        down = self.ref.down()
        self.ref.exit(SHUTDOWN)
        await down

    async def wait(self) -> ExitReason:
        """Wait until the system ends, and return why."""
        return await self.ref.down()

    def _on_down(self, reason: ExitReason) -> None:
        if self._stopping:
            return
        _log.critical("%s has ended by itself: %s", self.name, reason)
        if self._body is not None:
            self._body.cancel()

    def _check(self) -> None:
        """Raise if the system ended without being told to."""
        if not self._stopping and self._ref is not None and not self._ref.is_alive():
            raise SystemDownError(self.name, self._ref.exit_reason)

    async def __aenter__(self) -> Self:
        await self.start()
        self._body = asyncio.current_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._body = None
        if kind is None or kind is asyncio.CancelledError:
            self._check_cancelled(kind)
        if self.ref.is_alive():
            await self.stop()

    def _check_cancelled(self, kind: type[BaseException] | None) -> None:
        try:
            self._check()
        except SystemDownError:
            if kind is not None:
                # The cancellation was ours: take it back, as asyncio's task groups do.
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
            raise

    # In a thread of its own

    def __enter__(self) -> Self:
        self._thread = in_thread(self.name)
        try:
            asyncio.run_coroutine_threadsafe(self.start(), self._thread.scheduler.loop).result()
        except BaseException:
            self._thread.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._thread is not None
        try:
            if kind is None:
                self._check()
            if self.ref.is_alive():
                asyncio.run_coroutine_threadsafe(self.stop(), self._thread.scheduler.loop).result()
        finally:
            self._thread.stop()

    # As the program

    def run(self, then: Callable[[System], object] | None = None) -> None:
        """Run as the program: start, call `then(system)`, stop in order at Ctrl-C or SIGTERM (a second one kills).

        Raises:
            StartError: if it could not start.
            SystemDownError: if it ended by itself.
        """
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._serve(then))

    async def _serve(self, then: Callable[[System], object] | None) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        try:
            with _signals(lambda: self._on_signal(serving)):
                await self.start()
                if then is not None:
                    then(self)
                await self.wait()
            self._check()
        finally:
            Scheduler.here().close()

    def _on_signal(self, serving: asyncio.Task[Any]) -> None:
        """Stop in order; at a second signal, or before there is anything to stop, at once."""
        if self._ref is None:
            serving.cancel()
        elif self._stopping:
            Scheduler.here().close()
        else:
            self._stopping = True
            self._ref.exit(SHUTDOWN)


class _signals:  # noqa: N801  # reads as the phrase it is: with signals
    """Call `callback` at SIGINT and SIGTERM inside the block, where this thread may handle them."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def __enter__(self) -> None:
        self._handled = []
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._callback)
            self._handled.append(number)

    def __exit__(self, *_exc: object) -> None:
        for number in self._handled:
            asyncio.get_running_loop().remove_signal_handler(number)
