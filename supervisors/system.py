"""The root of everything: one supervision tree, on an event loop of yours, in a thread of its own, or as the program."""

from __future__ import annotations

import asyncio
import logging
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from actors.exits import SHUTDOWN, ExitReason
from actors.lowlevel import Scheduler, in_thread, new_event_loop, spawn
from actors.pubsub.pubsub import PubSub
from actors.via import resolve
from supervisors.child_spec import check_children, check_record
from supervisors.exceptions import SystemDownError
from supervisors.garbage import rare_collections
from supervisors.restart import AutoShutdown, AutoShutdownName, RestartIntensity, Strategy, StrategyName
from supervisors.supervisor import Supervisor
from supervisors.tree import draw

if TYPE_CHECKING:
    from types import TracebackType

    from actors.ref import ActorRef
    from actors.registry import Registry
    from actors.via import Target
    from supervisors.child_spec import ChildSpec, Supervised
    from supervisors.watchdog import Watchdog

__all__ = ["System"]

_log = logging.getLogger("ashtree.supervisors")

# Named here and not imported: the console is built upon the System, and is loaded only by programs that open one.
_OPEN_CONSOLE = "supervisors.console.server.console:open_console"


class System:
    """A supervision tree with a PubSub and your children. Start it in one of three ways:

    - `async with System(children) as system:` in an asyncio program, on its event loop;
    - `with System(children) as system:` in synchronous code, on a loop in a thread of its own;
    - `System(children).run()` as the program itself, until Ctrl-C or SIGTERM.

    The children start in order and stop in reverse. If one cannot start, StartError is raised. If the tree ends by itself later
    (too many restarts, or `auto_shutdown`), `async with` cancels its body, and all three raise SystemDownError at the end. A
    system that has stopped can be started again.

    - `watchdog`: what is watched on its event loop (see `Watchdog`); by default nothing.
    - `record`: how many of its last messages each actor of the tree keeps, for the report of a crash, unless its class or its
      child spec says otherwise; by default none.
    - `console`: the path of a Unix socket for `python -m supervisors.console PATH`, which gives a prompt inside the running
      system to the user that runs it (see `docs/console.md`); by default none.
    """  # noqa: D415  # the colon leads to the list

    def __init__(
        self,
        children: Iterable[Supervised] = (),
        *,
        name: str = "System",
        pubsub: PubSub | None = None,
        strategy: Strategy | StrategyName = Strategy.ONE_FOR_ONE,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: AutoShutdown | AutoShutdownName = AutoShutdown.NEVER,
        watchdog: Watchdog | None = None,
        record: int | None = None,
        console: str | os.PathLike[str] | None = None,
    ) -> None:
        check_record(record)
        check_children(children)
        RestartIntensity(max_restarts, max_seconds)  # refuses what is wrong here, and not when the system starts
        self.name = name
        self.pubsub = pubsub or PubSub()
        self._children: list[Supervised] = [self.pubsub, *children]
        if console is not None:
            # Before the others, so that a stop that hangs can be looked at.
            self._children.insert(0, _console(self, os.fspath(console)))
        if watchdog is not None:
            # First, so that it sees all others start and end.
            self._children.insert(0, watchdog)
        self._record = record
        self._options: dict[str, Any] = {
            "strategy": Strategy(strategy),
            "max_restarts": max_restarts,
            "max_seconds": max_seconds,
            "auto_shutdown": AutoShutdown(auto_shutdown),
        }
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

    @property
    def is_running(self) -> bool:
        """Whether the tree has been started and has not ended."""
        return self._ref is not None and self._ref.is_alive()

    def whereis(self, name: Target) -> ActorRef[Any] | None:
        """Return the actor that is registered under `name`, or None."""
        return resolve(name, self.names.whereis)

    def tree(self) -> str:
        """Draw the supervision tree as it is now."""
        return draw(self.ref.process)

    # On a running loop

    async def start(self) -> Self:
        """Start the tree on the running event loop.

        Raises:
            StartError: if a child could not start; those before it are stopped again.
        """
        self._stopping = False
        ref = spawn(Supervisor, (self._children,), self._options, label=self.name, record=self._record)
        try:
            if ref.process.started is not None:
                await ref.process.started
        except BaseException:
            # It failed, or whoever started it would not wait any longer.
            ref.exit(SHUTDOWN)
            await ref.down()
            raise
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
        ref = self.ref
        await ref.down()
        assert ref.exit_reason is not None
        return ref.exit_reason

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
        """Run as the program: start, call `then(system)`, stop in order at Ctrl-C or SIGTERM.

        A second signal kills what is left. Meanwhile Python's garbage collector looks less often (see `rare_collections`).

        Raises:
            StartError: if it could not start.
            SystemDownError: if it ended by itself.
            SystemExit: with status 1, at a second signal.
        """
        with _signals() as signals:
            try:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(self._serve(then, signals))
            except asyncio.CancelledError:
                if not signals.count:
                    raise
            if signals.count > 1:
                sys.exit(1)

    async def _serve(self, then: Callable[[System], object] | None, signals: _signals) -> None:
        serving, scheduler = asyncio.current_task(), Scheduler.here()
        assert serving is not None
        signals.obey(serving.cancel, scheduler.close)
        try:
            async with self:
                if then is not None:
                    then(self)
                with rare_collections():
                    await self.wait()
        finally:
            signals.rest()
            scheduler.close()


def _console(system: System, path: str) -> ChildSpec:
    open_console: Callable[[System, str], ChildSpec] = pkgutil.resolve_name(_OPEN_CONSOLE)
    return open_console(system, path)


class _signals:  # noqa: N801  # reads as the phrase it is: with signals
    """Obey SIGINT and SIGTERM inside the block, where this thread may handle them, and count them.

    Handlers of the event loop would be gone before the loop has ended.
    """

    def __init__(self) -> None:
        self.count = 0
        self._obeyed = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(self, *_exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def obey(self, first: Callable[[], object], second: Callable[[], object]) -> None:
        """From now on, do `first()` at the first signal, and `second()` at all others, on the running loop."""
        self._loop, self._orders = asyncio.get_running_loop(), (first, second)

    def rest(self) -> None:
        """From now on there is nothing left to stop in order."""
        self._loop = None

    def _on_signal(self, *_: object) -> None:
        self.count += 1
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._obey)
        if self._loop is None or self.count > self._obeyed + 1:
            # Nobody obeys: the loop does not run, or an actor blocks it, which this then ends.
            sys.exit(1)

    def _obey(self) -> None:
        self._obeyed += 1
        first, second = self._orders
        order = first if self._obeyed == 1 else second
        order()
