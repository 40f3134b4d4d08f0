"""The actor for blocking work: it has a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from actors.actor import HOOKS, Actor
from actors.callbacks import check_callbacks
from actors.exceptions import ActorDeadError
from actors.log import Log
from actors.runtime.envelope import SystemCall
from actors.threads.actor_thread import ActorThread

if TYPE_CHECKING:
    import asyncio

    from actors.exits import ExitReason
    from actors.via import Target

__all__ = ["ThreadedActor"]

_log = Log("ashtree.actors")

P = ParamSpec("P")
T = TypeVar("T")

_IDLE: Any = vars(Actor)["idle_timeout"]


def _on_loop(method: Callable[P, T]) -> Callable[P, T]:
    """Make a method of `Actor` run on the event loop, which owns everything that it touches."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        actor: Any = args[0]
        thread = actor._actor_thread
        if thread is None or actor.actor_inbox.scheduler.is_current_thread():
            return method(*args, **kwargs)
        value: T = thread.on_loop(method, *args, **kwargs)
        return value

    return call


class ThreadedActor(Actor):
    """An actor that may block: files, databases, sockets, long computations, `ask` and wait.

        class Ledger(ThreadedActor):
            def on_start(self):
                self.db = sqlite3.connect("ledger.db")       # belongs to this actor's thread

            def on_receive(self, entry):
                with self.db:
                    self.db.execute("insert into entries values (?)", [entry])

            def terminate(self, reason):
                self.db.close()

    To other actors it is an `Actor` in every respect: mailbox, links, monitors, exits, names, timers, supervision. What
    differs:

    - `on_start`, `on_receive`, `terminate` (with `on_stop`, `on_failure`) and methods called by proxies run in one thread of
      its own, which starts with the first and ends with the last of them. All are plain `def`. `__init__` runs where the
      actor is started, below a supervisor on the event loop: it must not block.
    - `start()` on an event loop does not wait for `on_start`: await `ref.started()`. A supervisor does wait.
    - A handler cannot be interrupted. An exit signal that arrives meanwhile ends the actor when the handler has returned.
    - KILL ends the actor at once for all others, but a thread cannot be killed: it runs on until its handler returns, which is
      logged and shown by `threads_left()`. From then on the actor's own methods raise ActorDeadError in it. The same happens
      when `on_start` takes longer than `start_timeout`, and when the `shutdown` time of a supervisor is over.
    - What `own` closes is closed on the event loop, at once: closing a socket there frees a thread that reads from it.
      Close what belongs to the thread in `terminate`.
    - Cancel timers with `self.cancel(timer)`, not with `timer.cancel()`, which is for the event loop.

    The thread is a daemon: it does not keep the program from exiting.

    Raises:
        TypeError: at a class whose hooks are `async def`.
    """

    # Not `_thread`, which an author may well use.
    _actor_thread: ActorThread | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if a hook is a coroutine function."""
        super().__init_subclass__(**kwargs)
        instead = "a ThreadedActor may block: drop the `async`, or make it an Actor"
        check_callbacks(cls, HOOKS, plain=True, instead=instead)

    stop = _on_loop(Actor.stop)
    register = _on_loop(Actor.register)
    unregister = _on_loop(Actor.unregister)
    reply_later = _on_loop(Actor.reply_later)
    continue_with = _on_loop(Actor.continue_with)
    link = _on_loop(Actor.link)
    unlink = _on_loop(Actor.unlink)
    monitor = _on_loop(Actor.monitor)
    demonitor = _on_loop(Actor.demonitor)
    own = _on_loop(Actor.own)
    send_after = _on_loop(Actor.send_after)
    send_interval = _on_loop(Actor.send_interval)
    cancel = _on_loop(Actor.cancel)
    idle_timeout = property(_IDLE.fget, _on_loop(_IDLE.fset), doc=_IDLE.__doc__)

    def send(self, target: Target, message: object) -> None:
        """Send a message to an actor, a ref or a name; silently dropped if the actor is dead, or no actor has the name."""
        if not self._process.alive and self._actor_thread is not None and self._actor_thread.is_current():
            raise ActorDeadError(f"{self} is dead")
        super().send(target, message)

    # What the kernel calls

    def _prepare(self) -> object:
        self._actor_thread = ActorThread(self._process)
        self.own(self._actor_thread.leave)
        return self._actor_thread.run("on_start", self.on_start)

    def _receive(self, message: object) -> object:
        if type(message) is SystemCall:
            return super()._receive(message)  # it is for the event loop; the thread is idle
        assert self._actor_thread is not None
        return self._actor_thread.run(None, super()._receive, message)

    def _end(self, reason: ExitReason) -> object:
        assert self._actor_thread is not None
        return self._actor_thread.run("terminate", super()._end, reason)

    def _cut_short(self, task: asyncio.Task[Any], reason: ExitReason) -> None:
        _log.info(
            "%s is to end (%s); its thread cannot be interrupted, so it ends when its handler returns", self, reason
        )
