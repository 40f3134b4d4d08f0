"""The ties of a process: links, monitors, names, timers, and what it owns.

Each table is made for its first entry, as most actors have few. All ties end with the process.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from threading import get_ident
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import ref as weak_ref

from actors.callbacks import check_over
from actors.exceptions import ActorDeadError, ForkedError
from actors.exits import LEFT_BEHIND, NO_PROCESS, Down, ExitReason, MonitorRef
from actors.log import Log
from actors.pickling import Local
from actors.ref import ActorRef
from actors.runtime.program_exit import leave
from actors.runtime.unstarted import not_running

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors.clock import Clock, Timer
    from actors.future import Future
    from actors.registry import Registry
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.scheduler import Scheduler

__all__ = ["NONE_YET", "Bonds"]

_log = Log("ashtree.actors")

P = ParamSpec("P")
T = TypeVar("T")


NONE_YET = Context()
"""The context of an actor that has not been started; no code runs in it."""


class Bonds(Local):
    """The identity and the ties of a process: the part of `Process` that is not about messages."""

    __slots__ = (
        "__weakref__",
        "_ref",
        "actor_class",
        "alive",
        "context",
        "label",
        "links",
        "names",
        "number",
        "owned",
        "parent",
        "reason",
        "scheduler",
        "timers",
        "watchers",
        "watching",
    )

    scheduler: Scheduler
    # The context variables of its code, from its start to its end.
    context: Context
    queue: deque[object] | None

    def __init__(self, number: int, actor_class: type[Behaviour]) -> None:
        self.number, self.actor_class, self.context = number, actor_class, NONE_YET
        self.scheduler = actor_class._unstarted  # until it is started
        self._ref: ActorRef[Any] | None = None
        self.label: str | None = None
        self.parent: Bonds | None = None
        self.alive = False
        self.reason: ExitReason | None = None
        self.links: dict[Bonds, None] | None = None
        # Monitors, and the futures of those that wait for its end (`Future.be_listed`).
        self.watchers: dict[MonitorRef | weak_ref[Future[ExitReason]], Future[ExitReason] | None] | None = None
        self.watching: dict[MonitorRef, None] | None = None
        self.timers: set[Timer] | None = None
        self.names: dict[tuple[Registry, Hashable], None] | None = None
        self.owned: list[Callable[[], object]] | None = None

    def __repr__(self) -> str:
        return f"<Process {self.name}>"

    @property
    def ref(self) -> ActorRef[Any]:
        """The reference to it that other actors hold."""
        ref = self._ref
        if ref is None:
            ref = ActorRef(self)  # type: ignore[arg-type]  # it is a Process, of which this is a part
            if self.reason is None:
                self._ref = ref
        return ref

    @property
    def pid(self) -> str:
        """The pid as text, such as `<0.41.0>`."""
        return f"<0.{self.number}.0>"

    @property
    def name(self) -> str:
        """Its name for people: its label, else its class, with the pid."""
        return f"{self.label or self.actor_class.__name__} {self.pid}"

    @property
    def clock(self) -> Clock:
        """The clock of its runtime."""
        return self.scheduler.clock

    @property
    def fate(self) -> str:
        """What an error says of it when it is not alive."""
        return "is not running yet" if self.reason is None else "is dead"

    def must_have_started(self) -> None:
        """Raise RuntimeError if it is still in its `__init__`, and ForkedError as `check_here`."""
        if self.alive:
            return
        if self.reason is None:
            raise not_running(self.actor_class)
        self.check_here()

    def ancestors(self) -> list[str]:
        """Return the names of parent, grandparent and so on."""
        names, process = [], self.parent
        while process is not None:
            names.append(process.name)
            process = process.parent
        return names

    @abstractmethod
    def put(self, item: object) -> None:
        """Put a message in the mailbox."""

    @abstractmethod
    def exit_signal(self, reason: ExitReason, sender: Bonds | None) -> None:
        """Receive an exit signal."""

    # After a fork the actors of the parent look dead in the child, where they must not be taken for it.

    def dead(self, but: str = "") -> ActorDeadError:
        """Return the error of a use of this actor, which is dead, or lives in the process from which this one was forked."""
        if self.is_left_behind:
            return ForkedError(self.name, self.scheduler.forked)
        return ActorDeadError(f"{self.name} {self.fate}{but}")

    def check_here(self) -> None:
        """Raise ForkedError if this actor lives in the process from which this one was forked."""
        if self.reason is LEFT_BEHIND:
            raise self.dead()

    @property
    def is_left_behind(self) -> bool:
        """Whether this actor lives in the process from which this one was forked."""
        return self.reason is LEFT_BEHIND

    # Links and monitors

    def link(self, other: Bonds) -> None:
        """Link two actors: when one ends, the other gets an exit signal with its reason."""
        if other is self:
            return
        if not other.alive:
            other.check_here()
            self.exit_signal(NO_PROCESS, other)
            return
        self._add_link(other)
        if other.scheduler is self.scheduler:
            other._add_link(self)
        else:
            _in_thread_of(other, other._accept_link, self)

    def _add_link(self, other: Bonds) -> None:
        self.links = {} if self.links is None else self.links
        self.links[other] = None

    def _accept_link(self, other: Bonds) -> None:
        if self.alive:
            self._add_link(other)
        else:
            _in_thread_of(other, other._on_link_end, self, NO_PROCESS)

    def unlink(self, other: Bonds) -> None:
        """Remove a link."""
        self._drop_link(other)
        _in_thread_of(other, other._drop_link, self)

    def pass_to(self, parent: Bonds | None) -> None:
        """Become the child of another actor, or of none, as its parent ends; for the thread of both."""
        if self.parent is not None:
            self.unlink(self.parent)
        self.parent = parent
        if parent is not None:
            self.link(parent)

    def _drop_link(self, other: Bonds) -> None:
        if self.links is not None:
            self.links.pop(other, None)

    def monitor(self, target: Bonds) -> MonitorRef:
        """Monitor another actor: get one `Down` when it ends, at once if it has ended."""
        if not target.alive:
            target.check_here()
        monitor = MonitorRef(self, target)
        self.watching = {} if self.watching is None else self.watching
        self.watching[monitor] = None
        if not target.alive:
            self._on_down(monitor, target.ref, NO_PROCESS)
        elif target.scheduler is self.scheduler:
            target._accept_watcher(monitor)
        else:
            _in_thread_of(target, target._accept_watcher, monitor)
        return monitor

    def _accept_watcher(self, monitor: MonitorRef) -> None:
        if self.alive:
            self.watchers = {} if self.watchers is None else self.watchers
            self.watchers[monitor] = None
        else:
            _in_thread_of(monitor.watcher, monitor.watcher._on_down, monitor, self.ref, NO_PROCESS)

    def demonitor(self, monitor: MonitorRef, *, flush: bool) -> None:
        """Remove a monitor; with `flush`, a `Down` that is in the mailbox is not handled either."""
        if self.watching is not None:
            self.watching.pop(monitor, None)
        _in_thread_of(monitor.target, monitor.target._drop_watcher, monitor)
        monitor.flushed = flush

    def _drop_watcher(self, watcher: MonitorRef | weak_ref[Future[ExitReason]]) -> None:
        if (watchers := self.watchers) is not None:
            watchers.pop(watcher, None)

    def answer_at_end(self, future: Future[ExitReason]) -> None:
        """Answer a future with the reason this actor ends with; `NO_PROCESS` if it has ended already."""
        if not self.alive:
            future.set(NO_PROCESS)
            return
        self.watchers = {} if self.watchers is None else self.watchers
        future.be_listed(self.watchers, self._drop_watcher)

    # What it owns

    def keep_timer(self, timer: Timer) -> None:
        """Record a timer, to cancel it at the end."""
        if self.timers is None:
            self.timers = set()
        self.timers.add(timer)

    def named(self, registry: Registry, key: Hashable) -> None:
        """Record a name, to release it at the end."""
        if self.names is None:
            self.names = {}
        self.names[registry, key] = None

    def unnamed(self, registry: Registry, key: Hashable) -> None:
        """Forget a name that was released."""
        if self.names is not None:
            self.names.pop((registry, key), None)

    def own(self, close: Callable[[], object]) -> None:
        """Call `close()` when this actor ends, for whatever reason; at once if it has ended."""
        if not self.alive:
            self.must_have_started()
            close()
        elif self.owned is None:
            self.owned = [close]
        else:
            self.owned.append(close)

    # The end

    def _release(self) -> None:
        scheduler = self.scheduler
        scheduler.processes.pop(self.number, None)
        if scheduler.end_watchers is not None:
            for watch in scheduler.end_watchers:
                self.contain(watch, self)
        if self.owned is not None:
            self._close_owned()
        if self.timers is not None:
            for timer in list(self.timers):
                timer.cancel()
        if self.names is not None:
            # A copy: another thread may be registering it just now, and will find it dead.
            for registry, key in list(self.names):
                self.contain(registry.forget, key, self)
        self.owned = self.timers = self.names = None

    def _close_owned(self) -> None:
        for close in self.owned or ():
            try:
                result = self.run(close)
                check_over("what own() takes", result, instead="await it in an `async` terminate()")
            except BaseException as error:  # noqa: BLE001  # the rest must be closed too
                leave(error)
                if self._admits("closers that failed"):
                    _log.exception("%s could not close what it owned: %r", self.name, close)

    def contain(self, call: Callable[..., object], *args: object) -> None:
        """Call foreign code on behalf of this actor, which has ended; what it raises is logged, and the end goes on."""
        try:
            call(*args)
        except BaseException as error:  # noqa: BLE001  # the rest must be done too
            self.failed_at_end(error)

    def failed_at_end(self, error: BaseException) -> None:
        """Log what was raised by a part of the end of this actor, such as a function that closes what it owned."""
        leave(error)
        if self._admits("ends that failed"):
            _log.error("%s has ended, but a part of its end failed", self.name, exc_info=error)

    def _admits(self, what: str) -> bool:
        return self.scheduler.crash_log.admits(_log, what, self.actor_class)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function of the actor's with its context variables, from wherever the runtime is."""
        if self.scheduler.current is self:  # its code is running
            return function(*args, **kwargs)
        context = self.context
        try:
            context.run(_nothing)
        except RuntimeError:
            # Its code is running, and has called what leads here, as when it starts an actor that kills it. A context cannot be
            # entered twice; a copy has the same values.
            context = context.copy()
        return context.run(function, *args, **kwargs)

    def _notify_links(self, reason: ExitReason) -> None:
        links, self.links = self.links, None
        for other in links or ():
            try:
                _in_thread_of(other, other._on_link_end, self, reason)
            except BaseException as error:  # noqa: BLE001  # the others must be notified too
                self.failed_at_end(error)

    def _on_link_end(self, other: Bonds, reason: ExitReason) -> None:
        if self.links is not None and other in self.links:
            del self.links[other]
            self.exit_signal(reason, other)

    def _notify_watchers(self, reason: ExitReason) -> None:
        for monitor in self.watching or ():
            _in_thread_of(monitor.target, monitor.target._drop_watcher, monitor)
        watchers, self.watchers, self.watching = self.watchers, None, None
        # A copy: futures are dropped in other threads too.
        for watcher in list(watchers) if watchers else ():
            try:
                if isinstance(watcher, MonitorRef):
                    _in_thread_of(watcher.watcher, watcher.watcher._on_down, watcher, self.ref, reason)
                elif (future := watcher()) is not None:
                    future.set(reason)
            except BaseException as error:  # noqa: BLE001  # as with links
                self.failed_at_end(error)

    def _on_down(self, monitor: MonitorRef, ref: ActorRef, reason: ExitReason) -> None:
        if self.watching is not None and monitor in self.watching:
            del self.watching[monitor]
            self.put(Down(monitor, ref, reason))


def _in_thread_of(process: Bonds, call: Callable[..., object], *args: object) -> None:
    """Change what belongs to a process, in the thread of its event loop, unless that loop is closed."""
    scheduler = process.scheduler
    if scheduler.thread_id == get_ident():  # not by run_or_post(): links and monitors are made and dropped all the time
        call(*args)
        return
    with suppress(ActorDeadError):  # all its actors are dead then
        scheduler.post(call, *args)


def _nothing() -> None:
    pass
