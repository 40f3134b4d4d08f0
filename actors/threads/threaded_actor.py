"""The actor for work that blocks: it has a thread of its own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from actors.actor import Actor
from actors.exceptions import ActorDeadError
from actors.runtime.envelope import SystemCall
from actors.threads.actor_thread import ActorThread

if TYPE_CHECKING:
    import asyncio

    from actors.exits import ExitReason
    from actors.via import Target

__all__ = ["ThreadedActor"]

_log = logging.getLogger("ashtree.actors")

P = ParamSpec("P")
T = TypeVar("T")

_IDLE: Any = vars(Actor)["idle_timeout"]
_HOOKS = ("on_start", "on_receive", "terminate", "on_stop", "on_failure")


def _on_loop(method: Callable[P, T]) -> Callable[P, T]:
    """Have a method of `Actor` done by the loop, to which all that it touches belongs."""

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

    It is an `Actor` in all that others see: mailbox, links, monitors, exits, names, timers, supervision. What is different:

    - `on_start`, `on_receive`, `terminate` (with `on_stop`, `on_failure`) and what proxies call run in one thread, the actor's
      own, which starts with the first and ends with the last of them. All are plain `def`. `__init__` runs where the actor
      is started, in a tree on the loop: it must not block.
    - `start()` on an event loop does not wait for `on_start`: await `ref.started()`. A supervisor does wait.
    - A handler cannot be interrupted. An exit signal that comes meanwhile ends the actor when the handler has returned.
    - KILL ends the actor at once for everybody else, but no thread can be killed: it runs on until its handler returns, the log
      says so, and `threads_left()` shows it. The actor's own methods raise ActorDeadError in it from then on. The same is true
      when `on_start` takes longer than `start_timeout`, and when a supervisor's `shutdown` seconds are over.
    - What `own` closes is closed on the loop, at once: closing a socket there is how to free a thread that reads from it.
      What belongs to the thread is closed in `terminate`.
    - Cancel timers by `self.cancel(timer)`, not by `timer.cancel()`, which is for the loop.

    The thread is a daemon: it does not keep the program from its end.

    Raises:
        TypeError: at a class whose hooks are `async def`.
    """

    # Not `_thread`, which an author may well use.
    _actor_thread: ActorThread | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse hooks that are coroutines."""
        super().__init_subclass__(**kwargs)
        for name in _HOOKS:
            if inspect.iscoroutinefunction(getattr(cls, name)):
                raise TypeError(
                    f"{cls.__qualname__}.{name} must be a plain `def`, got `async def`: a ThreadedActor may block; "
                    "drop the `async`, or make it an Actor"
                )

    stop = _on_loop(Actor.stop)
    register = _on_loop(Actor.register)
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

    def send(self, target: Target, message: Any) -> None:
        """Send a message to an actor, a ref or a registered name; one to the dead or to nobody is dropped."""
        if not self._process.alive and self._actor_thread is not None and self._actor_thread.is_current():
            raise ActorDeadError(f"{self} is dead")
        super().send(target, message)

    # The kernel's side

    def _prepare(self) -> Any:
        self._actor_thread = ActorThread(self._process)
        self.own(self._actor_thread.leave)
        return self._actor_thread.run("on_start", self.on_start)

    def _receive(self, message: Any) -> Any:
        if type(message) is SystemCall:
            return super()._receive(message)  # it is for the loop, and the thread rests
        assert self._actor_thread is not None
        return self._actor_thread.run(None, super()._receive, message)

    def _end(self, reason: ExitReason) -> Any:
        assert self._actor_thread is not None
        return self._actor_thread.run("terminate", super()._end, reason)

    def _cut_short(self, task: asyncio.Task[Any], reason: ExitReason) -> None:
        _log.info(
            "%s is to end (%s); its thread cannot be interrupted, so it ends when its handler returns", self, reason
        )
