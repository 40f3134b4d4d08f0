"""What is left after a test: actors with their subscriptions, links and timers, other timers, and tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from actors.registry import ActorRegistry
from transport.testing.exceptions import LeftBehindError

if TYPE_CHECKING:
    from actors.clock import Timer
    from actors.lowlevel import Bonds, Process, Scheduler
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef

__all__ = ["check_actors", "describe", "left_behind", "name_of"]


def left_behind(
    scheduler: Scheduler, pubsub: PubSub, tasks: Collection[asyncio.Task[Any]], timers: Collection[Timer]
) -> list[str]:
    """Describe everything that outlived the test.

    `tasks` and `timers` are those to check; those of an actor are described with the actor.
    """
    processes = list(scheduler.processes.values())
    owned = {timer for process in processes for timer in process.timers or ()}
    handlers = {process.task for process in processes}
    strangers = [
        f"a subscription of {ref} to {topic!r}"
        for topic in pubsub.topics()
        for ref in pubsub.subscribers(topic)
        if ref.process not in processes
    ]
    return [
        *(describe(process, pubsub) for process in processes),
        *strangers,
        *(f"a timer, in {timer.remaining():.3f} s, of {timer.calls}" for timer in timers if timer not in owned),
        *(f"the task {_name(task)}" for task in tasks if not task.done() and task not in handlers),
    ]


def check_actors(before: Collection[ActorRef[Any]]) -> None:
    """Check that no actors other than `before` are alive, in any event loop.

    Raises:
        LeftBehindError: with the names of the others.
    """
    left = [describe(ref.process) for ref in ActorRegistry.get_all() if ref not in before]
    if left:
        raise LeftBehindError(left)


def name_of(process: Bonds) -> str:
    """Return a name such as "RoomChannel 'room:lobby' <0.7.0>": the class, the label and the pid."""
    label = f" {process.label!r}" if process.label else ""
    return f"{process.actor_class.__name__}{label} {process.pid}"


def describe(process: Process, pubsub: PubSub | None = None) -> str:
    """Describe an actor with its links, timers and subscriptions."""
    bonds = [*_bonds(process), *(_subscriptions(process, pubsub) if pubsub is not None else ())]
    return f"the actor {name_of(process)}" + (f": {', '.join(bonds)}" if bonds else "")


def _bonds(process: Process) -> Iterator[str]:
    if process.task is not None:
        yield "in a handler that waits"
    for other in process.links or ():
        yield f"linked to {name_of(other)}"
    for timer in process.timers or ():
        yield f"with a timer in {timer.remaining():.3f} s"


def _subscriptions(process: Process, pubsub: PubSub) -> Iterator[str]:
    for topic in pubsub.topics():
        if process.ref in pubsub.subscribers(topic):
            yield f"subscribed to {topic!r}"


def _name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return f"{task.get_name()!r} of {getattr(coroutine, '__qualname__', coroutine)}()"
