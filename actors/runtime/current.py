"""Which scheduler and which actor the current thread belongs to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Protocol

__all__ = [
    "BACKGROUND",
    "actor_of_thread",
    "current_actor",
    "current_task",
    "is_on_a_loop",
    "not_inherited",
    "owners",
    "scheduler_of_thread",
    "schedulers",
    "thread_belongs_to",
    "threads_of_tasks",
]

BACKGROUND = 0
"""The key of the background scheduler, which is no thread's identifier."""

schedulers: dict[int, Any] = {}
"""The `Scheduler` whose event loop runs in a thread, by the identifier of that thread."""

owners: dict[int, Owner] = {}
"""The actor that has a thread to itself, by the identifier of that thread."""


threads_of_tasks: dict[int, Waiter] = {}
"""The actor of the task whose function runs in a thread, by the identifier of that thread."""

current_task: ContextVar[Any] = ContextVar("task", default=None)
"""The task whose function is running here, in a thread of its own too; None outside."""

not_inherited: list[ContextVar[Any]] = [current_task]
"""Context variables that say what is running here: an actor that is started here has None."""


class Question(Protocol):
    """A request without a reply: a future, and the process that has to answer it.

    `may_fail`: whether it is answered once only, to one waiter, so that a cycle of waits may end it with an exception.
    """

    may_fail: bool

    @property
    def asked(self) -> Waiter | None:
        """The process that has to answer it."""

    @property
    def done(self) -> bool:
        """Whether there is a reply."""

    def set_exception(self, error: BaseException, /) -> None:
        """Answer it with an exception."""


class Waiter(Protocol):
    """A process that waits for the reply to its request."""

    waits_for: Question | None

    @property
    def name(self) -> str:
        """The name of the actor, for people."""

    def has_deferred(self, question: Question) -> bool:
        """Return whether it keeps a request to be answered later, perhaps by another actor."""


class ThreadHost(Protocol):
    """What the thread of an actor needs of its scheduler."""

    def wait_in_thread(self, future: Any, answered: threading.Event, timeout: float | None, /) -> bool:
        """Wait for a reply in the thread of an actor; return whether it arrived in time."""


class Owner(Protocol):
    """The process of an actor that has a thread of its own."""

    @property
    def scheduler(self) -> ThreadHost:
        """The scheduler of its event loop, which runs in another thread."""


def scheduler_of_thread() -> Any:
    """Return the `Scheduler` whose actors run in this thread, or None."""
    thread = get_ident()
    owner = owners.get(thread) if owners else None
    return schedulers.get(thread) if owner is None else owner.scheduler


def actor_of_thread() -> Any:
    """Return the process of the actor that has this thread to itself, or None."""
    return owners.get(get_ident())


def is_on_a_loop() -> bool:
    """Return whether the caller runs on an event loop, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def current_actor() -> Waiter | None:
    """Return the process of the actor whose code is running in this thread, or None."""
    actor: Waiter | None = actor_of_thread()
    if actor is None:
        scheduler = schedulers.get(get_ident())
        actor = threads_of_tasks.get(get_ident()) if scheduler is None else scheduler.current
    return actor


@contextmanager
def thread_belongs_to(actor: Owner) -> Iterator[None]:
    """Make the current thread an actor's own inside the block."""
    owners[get_ident()] = actor
    try:
        yield
    finally:
        del owners[get_ident()]
