"""The root of a supervision tree: on your event loop, in a thread of its own, or as the whole program."""

from __future__ import annotations

import asyncio
import atexit
import os
import pkgutil
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from actors.callbacks import check_function
from actors.exceptions import StartError
from actors.exits import SHUTDOWN, ExitReason
from actors.fork import leave_child
from actors.log import Log
from actors.lowlevel import Scheduler, in_thread, must_not_block, spawn
from actors.pubsub.peers import PeerServer
from actors.pubsub.pubsub import PUBSUB, PubSub
from actors.redaction import safe_repr
from actors.registry import not_found
from actors.standard_streams import abandon_broken_output
from actors.validation import check_seconds
from actors.via import resolve
from supervisors.child import SLOW_START
from supervisors.child_spec import INFINITY, ChildSpec, check_children, check_record
from supervisors.default_log import FORMAT, FORMAT_OF_WORKERS, LIFE, default_log
from supervisors.exceptions import NO_UNIX_SOCKETS, CannotRunError, ConsoleError, SystemDownError, UnavailableError
from supervisors.garbage import rare_collections
from supervisors.main_loop import MainLoop
from supervisors.restart import AutoShutdown, AutoShutdownName, RestartIntensity, Strategy, StrategyName
from supervisors.service_manager import READY, STOPPING, notify
from supervisors.signals import Signals
from supervisors.stragglers import kill_stragglers
from supervisors.supervision import limit_end
from supervisors.supervisor import Supervisor
from supervisors.tree import draw
from supervisors.watchdog import BLOCKED, Watchdog, loop_watched
from supervisors.workers.private_broker import PrivateBroker, needs_broker
from supervisors.workers.shared_by_workers import check_workers, shared_by_workers
from supervisors.workers.worker import Worker, WorkerSignals, this_worker
from supervisors.workers.worker_supervisor import WorkerSupervisor

if TYPE_CHECKING:
    from types import TracebackType

    from actors.ref import ActorRef
    from actors.registry import Registry
    from actors.via import Target
    from supervisors.child_spec import Supervised

__all__ = ["System"]

_log = Log("ashtree.supervisors")

_CLOSING = 1.0
"""Seconds that a thread with an event loop of ours may take to close it, before it is left behind."""

_ON_A_LOOP = "`async with System(…) as system:`, or `await System(…).start()` in a notebook"

# Named here and not imported: they are built upon the System, and are loaded only by programs that use them.
_ANSWER_PEER = "supervisors.observer.nodes:answer_peer"
_OPEN_CONSOLE = "supervisors.console.server.console:open_console"


class System:
    """A supervision tree with a PubSub and your children. Start it in one of these ways:

    - `async with System(children) as system:` in an asyncio program, on its event loop;
    - `with System(children) as system:` in synchronous code, on a loop in a thread of its own;
    - `System(children).start_in_thread()` likewise, where there is no block for it, as under Flask; `close()` stops it;
    - `System(children).run()` as the program itself, until Ctrl-C, SIGTERM or SIGHUP.

    The children are started in order and stopped in reverse order. If one cannot start, StartError is raised. If the tree ends
    unexpectedly later (too many restarts, or `auto_shutdown`), `async with` cancels its body, and the blocks and `run` raise
    SystemDownError at the end. A system that has stopped can be started again.

    - `name`: a label for logs and the tree. Two systems that share an event loop need two.
    - `pubsub`: a PubSub with other options; by default it is called "pubsub", and "<name>.pubsub" beside another system.
    - `shutdown_timeout`: the seconds that stopping the whole tree may take, `INFINITY` for no limit; what is left then is
      killed, and named in the log. Within it, the `shutdown` time of each child holds.
    - `watchdog`: what to watch on the event loop (see `Watchdog`); by default nothing, and under `run` whether it is blocked.
    - `record`: how many of its latest messages each actor of the tree keeps for crash reports, unless its class or its child
      spec says otherwise; by default none.
    - `console`: the path of a Unix socket for `python -m supervisors.console PATH`, which opens a prompt inside the running
      system, for the same user only (see `docs/console.md`); by default none.

    Raises:
        TypeError, ValueError: naming the invalid option, with its value.
        ConsoleError: if the platform has no Unix sockets for a console.
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
        shutdown_timeout: float = 30.0,
        watchdog: Watchdog | None = None,
        record: int | None = None,
        console: str | os.PathLike[str] | None = None,
    ) -> None:
        check_record(record)
        check_seconds("shutdown_timeout", shutdown_timeout, others=" or INFINITY")
        check_children(children)
        _check_options(name, pubsub, watchdog)
        RestartIntensity(max_restarts, max_seconds)  # raises here, and not when the system starts
        self.name = name
        self.pubsub = pubsub or PubSub()
        self._names_pubsub = pubsub is None
        self.shutdown_timeout = shutdown_timeout
        self._seconds_left: Callable[[], float] = lambda: self.shutdown_timeout
        self._children: list[Supervised] = [self.pubsub, *children]
        self._console = None if console is None else _console(self, os.fspath(console))
        if self._console is not None:
            # Before the others, so that it is still there when a shutdown hangs.
            self._children.insert(0, self._console)
        if watchdog is not None:
            # First, so that it watches all others start and stop.
            self._children.insert(0, watchdog)
        self._record = record
        self._options: dict[str, Any] = {
            "strategy": Strategy(strategy),
            "max_restarts": max_restarts,
            "max_seconds": max_seconds,
            "auto_shutdown": AutoShutdown(auto_shutdown),
        }
        self._ref: ActorRef[Supervisor] | None = None
        self._starting = self._stopping = False
        self._body: asyncio.Task[Any] | None = None
        self._thread: in_thread | None = None

    @property
    def ref(self) -> ActorRef[Supervisor]:
        """The root supervisor.

        Raises:
            RuntimeError: if the system has not been started.
            ForkedError: if it runs in the process from which this one was forked.
        """
        if self._ref is None:
            raise RuntimeError(f"{self.name} is not running; use `with`, `async with` or run()")
        self._ref.process.check_here()
        return self._ref

    @property
    def names(self) -> Registry:
        """The registered names of the actors on its event loop."""
        return self.ref.process.scheduler.names

    @property
    def is_running(self) -> bool:
        """Whether the tree has been started and has not ended."""
        return self._ref is not None and self._ref.is_alive()

    @overload
    def whereis(self, name: Target, *, required: Literal[True]) -> ActorRef[Any]: ...

    @overload
    def whereis(self, name: Target, *, required: bool = ...) -> ActorRef[Any] | None: ...

    def whereis(self, name: Target, *, required: bool = False) -> ActorRef[Any] | None:
        """Return the actor that is registered under `name`, or None.

        Raises:
            NotRegisteredError: if no actor has it, and one is `required`.
        """
        scheduler = self.ref.process.scheduler
        ref = resolve(name, scheduler.names.whereis)
        if ref is None and required:
            raise not_found(name, [scheduler])
        return ref

    def tree(self) -> str:
        """Draw the supervision tree as it is now."""
        return draw(self.ref.process)

    # On a running loop

    async def start(self) -> Self:
        """Start the tree on the running event loop.

        Raises:
            StartError: if a child could not start; those before it are stopped again.
            RuntimeError: if it is running already.
        """
        self._must_not_be_running()
        self._starting, self._stopping = True, False
        try:
            self._ref = ref = await self._started_root()
        finally:
            self._starting = False
        ref.down().add_done_callback(lambda down: self._on_down(down.result()))
        return self

    async def _started_root(self) -> ActorRef[Supervisor]:
        if self._names_pubsub:
            self.pubsub.name = _name_of_pubsub(self.name)
        ref = spawn(Supervisor, (self._with_peers(),), self._options, label=self.name, record=self._record)
        try:
            if ref.process.started is not None:
                await ref.process.started
        except BaseException:
            # It failed, or the caller was cancelled.
            await self._end(ref)
            raise
        return ref

    def _with_peers(self) -> list[Supervised]:
        """Return the children, and behind the PubSub what speaks to other processes, if its adapter connects it with any."""
        children, pubsub = list(self._children), self.pubsub
        if pubsub.peers.are_wanted:
            spec = ChildSpec(PeerServer, (pubsub.peers,), id=f"{pubsub.name} peers")
            children.insert(children.index(pubsub) + 1, spec)
            pubsub.peers.serve("node", partial(_answer_peer, pubsub))
        return children

    def _must_not_be_running(self) -> None:
        """Raise if it has a tree, or a block whose tree has ended; a second tree could not be stopped by either block."""
        in_block = self._body is not None or (self._thread is not None and self._thread.thread.is_alive())
        if self._starting or in_block or self.is_running:
            raise RuntimeError(f"{self.name} is running already; for a second tree make another System")

    async def stop(self) -> None:
        """Stop the tree in reverse start order, and wait until it has stopped: `shutdown_timeout` seconds at most."""
        self._stopping = True
        await self._end(self.ref)

    async def _end(self, ref: ActorRef[Supervisor]) -> None:
        down, seconds = ref.down(), self._seconds_left()
        if seconds != INFINITY:
            clock, root = ref.process.scheduler.clock, ref.process.actor
            if isinstance(root, Supervisor):
                limit_end(root, clock.now() + seconds)
            timer = clock.call_after(seconds, partial(kill_stragglers, ref.process, self.shutdown_timeout))
            # Not when this is cancelled: the tree goes on to stop.
            down.add_done_callback(lambda _: timer.cancel())
        ref.exit(SHUTDOWN)
        await down

    async def wait(self) -> ExitReason:
        """Wait until the system ends, and return its exit reason."""
        ref = self.ref
        await ref.down()
        assert ref.exit_reason is not None
        return ref.exit_reason

    def _on_down(self, reason: ExitReason) -> None:
        if self._stopping or self.ref.process.scheduler.is_ending:
            return
        _log.critical("%s ended unexpectedly: %s", self.name, reason)
        if self._body is not None:
            self._body.cancel()

    def _check(self) -> None:
        """Raise if the system ended without having been stopped."""
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
        assert self._ref is not None
        if self._ref.process.is_left_behind:
            leave_child(error)
        if kind is None or kind is asyncio.CancelledError:
            self._check_cancelled(kind)
        if self.ref.is_alive():
            await self.stop()

    def _check_cancelled(self, kind: type[BaseException] | None) -> None:
        try:
            self._check()
        except SystemDownError:
            if kind is not None:
                # The cancellation was ours: undo it, as asyncio's task groups do.
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
            raise

    # In a thread of its own

    def start_in_thread(self) -> Self:
        """Start the tree on an event loop in a thread of its own; `close()`, or the end of the program, stops it.

        It is for programs whose main thread belongs to another one, such as the workers of Flask and other WSGI applications:
        see docs/flask.md. A process that is forked afterwards does not have it.

        Raises:
            StartError: if a child could not start; those before it are stopped again.
            RuntimeError: if it is running already.
            BlockingCallError: in a coroutine, whose event loop it would block.
        """
        must_not_block("start_in_thread()", instead=_ON_A_LOOP)
        self._start_thread()
        atexit.register(self.close)
        return self

    def close(self) -> None:
        """Stop the tree that runs in a thread, in order, and wait until it has stopped: `shutdown_timeout` seconds at most.

        If it is not running, or runs in the process from which this one was forked, nothing happens.

        Raises:
            BlockingCallError: in a coroutine, or in an actor.
        """
        thread = self._thread
        if thread is None or self._ref is None or self._ref.process.is_left_behind:
            return
        must_not_block("close()", instead="`await system.stop()`")
        self._thread = None
        atexit.unregister(self.close)
        try:
            if self._ref.is_alive():
                self._stop_in_thread(thread.scheduler.loop)
        finally:
            thread.stop(_CLOSING)

    def _start_thread(self) -> None:
        self._must_not_be_running()
        thread = in_thread(self.name)
        try:
            asyncio.run_coroutine_threadsafe(self.start(), thread.scheduler.loop).result()
        except BaseException:
            thread.stop(_CLOSING)
            raise
        self._thread = thread

    def __enter__(self) -> Self:
        must_not_block("`with System(…)`", instead=_ON_A_LOOP)
        self._start_thread()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._ref is not None
        try:
            # A forked child leaves the block too; the tree is the parent's.
            if kind is None and not self._ref.process.is_left_behind:
                self._check()
        finally:
            self.close()

    def _stop_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        stopping = asyncio.run_coroutine_threadsafe(self.stop(), loop)
        try:
            stopping.result(None if self.shutdown_timeout == INFINITY else self.shutdown_timeout + _CLOSING)
        except TimeoutError:
            # Not even its actors could be killed.
            _log.critical("%s cannot be stopped, as its event loop is blocked; its thread is left behind", self.name)

    # As the program

    def run(self, then: Callable[[System], object] | None = None, *, workers: int | None = None) -> None:
        """Run as the program: start, call `then(system)`, and stop in order at Ctrl-C, SIGTERM or SIGHUP.

        From such a signal on, the program ends within `shutdown_timeout` seconds, and a few that it takes to close the event
        loop. Then the process is ended by force if a handler, a function or a thread that is not a daemon still keeps it from
        ending; the log says which. A second signal ends the program at once. A signal that was ignored stays ignored. Meanwhile
        Python collects garbage less often (see `rare_collections`).

        The log, "ashtree.system", says where it listens, and that Ctrl-C stops it. If the program has not set up logging,
        these lines and all warnings of ours go to stderr. Without a `Watchdog` the log says at least when a handler blocks the
        event loop. Output that cannot be written, as its reader has gone or the disk is full, does not change the exit status.
        systemd is told when it is ready and when it stops (`Type=notify`).

        With `workers`, so many processes run the system, and accept on the same ports; this one serves no clients, and watches
        over them: one that dies is replaced. `then` is called in the first of them, when all serve clients. They need a broker
        (see docs/scaling.md); if the PubSub has no adapter, a Redis of their own is started.

        Raises:
            StartError: if it could not start; if that is for lack of something outside of the program, such as a port that is
                in use, it is a SystemExit too: uncaught, it ends the program with one line.
            SystemDownError: if it ended unexpectedly, or too many workers died, which ends the program with one line.
            SystemExit: with status 1, at a second signal.
            ValueError: if `workers` is no number of processes.
            TypeError: if `then` is `async`.
            RuntimeError: if it is running already.
            BlockingCallError: in a coroutine, whose event loop it would block.
        """
        must_not_block("run()", instead=_ON_A_LOOP)
        self._must_not_be_running()
        if then is not None:
            check_function("then", then, instead="make what takes time a child of the system")
        try:
            with default_log(FORMAT if workers is None else FORMAT_OF_WORKERS):
                if workers is None:
                    self._run_alone(then)
                else:
                    self._run_workers(workers, then)
        except StartError as failed:
            if isinstance(failed.root, UnavailableError):
                raise CannotRunError(failed.label, failed.cause) from None
            raise
        finally:
            abandon_broken_output()

    def _run_alone(self, then: Callable[[System], object] | None) -> None:
        with Signals(self.shutdown_timeout) as signals:
            self._run(then, signals)
            LIFE.info("%s has stopped", self.name)
            if signals.is_urgent:
                sys.exit(1)

    def _run_workers(self, workers: int, then: Callable[[System], object] | None) -> None:
        check_workers(workers)
        shared = shared_by_workers(self._children)
        broker = PrivateBroker(self.pubsub) if needs_broker(self.pubsub) else None
        work, timeout = partial(self._work, then), self.shutdown_timeout
        try:
            WorkerSupervisor(self.name, workers, work, shared=shared, shutdown_timeout=timeout, broker=broker).run()
        except UnavailableError as error:
            raise StartError(self.name, error) from error

    def _work(self, then: Callable[[System], object] | None, worker: Worker) -> None:
        if self._console is not None:
            # Each has one of its own, at a path with its number.
            path = f"{self._console.args[1]}.{worker.number + 1}"
            self._children[self._children.index(self._console)] = _console(self, path)
        with WorkerSignals(self.shutdown_timeout, worker) as signals:
            self._run(then, signals)

    def _run(self, then: Callable[[System], object] | None, signals: Signals) -> None:
        try:
            MainLoop(signals).run(self._serve(then, signals))
        except asyncio.CancelledError:
            if not signals.count:
                raise

    async def _serve(self, then: Callable[[System], object] | None, signals: Signals) -> None:
        serving, scheduler = asyncio.current_task(), Scheduler.here()
        assert serving is not None
        stop = partial(self._stop_by_signal, serving)
        signals.handle(stop, partial(self._kill, scheduler), partial(_is_busy, scheduler))
        self._seconds_left = signals.seconds_left
        if (worker := this_worker()) is not None:
            # Before the children start: one that is told to stop meanwhile asks for its share of the drain.
            worker.open()
        running = AsyncExitStack()
        try:
            with self._loop_watch(scheduler, SLOW_START):
                await running.enter_async_context(self)
            async with running:
                await self._began(then)
                with rare_collections(), self._loop_watch(scheduler, BLOCKED):
                    await self.wait()
        finally:
            signals.done()
            scheduler.close()
            self._seconds_left = lambda: self.shutdown_timeout

    async def _began(self, then: Callable[[System], object] | None) -> None:
        """Say that clients are served, and call `then`."""
        worker, at = this_worker(), _at(Scheduler.here())
        if worker is None:
            LIFE.info("%s is running%s; Ctrl-C stops it", self.name, at and f" at {at}")
        else:
            worker.handle("down", self.pubsub.node_down)
            if not await worker.is_first(self.pubsub.node, at):
                return
        try:
            if then is not None:
                then(self)
        except BaseException:
            if worker is not None:
                worker.tell("gives up")
            raise
        if worker is None:
            notify(READY)

    def _loop_watch(self, scheduler: Scheduler, seconds: float) -> AbstractContextManager[None]:
        """Return what reports, inside the block, that the event loop is blocked, unless the author has a watchdog for that."""
        has_one = any(isinstance(child, Watchdog) for child in self._children)
        return nullcontext() if has_one else loop_watched(scheduler, seconds)

    def _stop_by_signal(self, serving: asyncio.Task[None]) -> None:
        worker = this_worker()
        if worker is not None:
            worker.stops()
        else:
            notify(STOPPING)
            LIFE.info("%s stops; a second Ctrl-C ends it at once", self.name)
        serving.cancel()

    def _kill(self, scheduler: Scheduler) -> None:
        self._stopping = True
        scheduler.close()


def _check_options(name: object, pubsub: object, watchdog: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f'name must be a non-empty str such as "Shop", got {safe_repr(name)}')
    if pubsub is not None and not isinstance(pubsub, PubSub):
        raise TypeError(f"pubsub must be a PubSub such as PubSub(adapter=…), or None, got {safe_repr(pubsub)}")
    if watchdog is not None and not isinstance(watchdog, Watchdog):
        raise TypeError(f"watchdog must be a Watchdog such as Watchdog(stuck=5.0), or None, got {safe_repr(watchdog)}")


def _at(scheduler: Scheduler) -> str:
    """Return where the actors of an event loop listen that say so, as endpoints do; empty if none does."""
    found = [getattr(process.actor, "listens_at", None) for process in scheduler.processes.values()]
    places = [place for place in found if isinstance(place, str)]
    return ", ".join(places)


def _is_busy(scheduler: Scheduler) -> bool:
    return scheduler.current is not None or asyncio.current_task(scheduler.loop) is not None


def _name_of_pubsub(system: str) -> str:
    """Return the name of the PubSub that a system has by default; another one beside a system of another name."""
    other = Scheduler.here().names.whereis(PUBSUB)
    above = None if other is None else other.process.parent
    return PUBSUB if above is None or above.label == system else f"{system}.{PUBSUB}"


def _answer_peer(pubsub: PubSub, about: dict[str, Any], body: bytes) -> Any:
    """Answer the prompt of another process."""
    return pkgutil.resolve_name(_ANSWER_PEER)(pubsub, about, body)


def _console(system: System, path: str) -> ChildSpec:
    if not hasattr(socket, "AF_UNIX"):
        raise ConsoleError(path, NO_UNIX_SOCKETS)
    open_console: Callable[[System, str], ChildSpec] = pkgutil.resolve_name(_OPEN_CONSOLE)
    return open_console(system, path)
