"""Starting an actor."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from actors.future import Future, shared_future
from actors.mailbox import Mailbox, check_own_mailbox
from actors.runtime.bonds import NONE_YET
from actors.runtime.current import not_inherited
from actors.runtime.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors.ref import ActorRef
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.process import Process

__all__ = ["spawn"]

A = TypeVar("A", bound="Behaviour")


def spawn(
    actor_class: type[A],
    args: tuple[object, ...] = (),
    kwargs: dict[str, Any] | None = None,
    *,
    parent: Process | None = None,
    name: Hashable | None = None,
    label: str | None = None,
    record: int | None = None,
) -> ActorRef[A]:
    """Start an actor in this thread's scheduler, linked to `parent` if there is one; `record` overrides `Actor.record`.

    The actor has the context variables of the caller as they are now, and what it sets it sets for itself.

    In the scheduler's own thread `on_start` has run when this returns, unless it is `async`: await `ref.started()`. From
    another thread this returns when `on_start` has ended.

    Raises:
        StartError: if `on_start` raised; an exception in `__init__` is raised as it is.
        NameTakenError: if another living actor has the name.
    """
    context = copy_context()
    if context:
        for variable in not_inherited:
            if variable in context:
                context.run(variable.set, None)
    scheduler = Scheduler.here() if parent is None else parent.scheduler
    here = scheduler if scheduler.is_current_thread() else None
    process: Process = context.run(
        _make, context, actor_class, args, kwargs, here, parent=parent, name=name, label=label, record=record
    )
    if here is None:
        started = shared_future(scheduler, process)
        start = partial(process.start, scheduler, parent=None, name=name, label=label, record=record)
        scheduler.post(_start_and_tell, process, start, started)
        started.get()
    return process.ref


def _make(
    context: Context,
    actor_class: type[Behaviour],
    args: tuple[object, ...],
    kwargs: dict[str, Any] | None,
    here: Scheduler | None,
    *,
    parent: Process | None,
    name: Hashable | None,
    label: str | None,
    record: int | None,
) -> Process:
    """Make an actor, and start it if that is done here; called in its context, so that this is entered once."""
    actor = actor_class(*args, **(kwargs or {}))
    bounds = actor_class.mailbox
    # Not by the actor's dict, which CPython would have to make for it.
    if (bounds is None or isinstance(bounds, Mailbox)) and actor.mailbox is not bounds:
        check_own_mailbox(actor, actor.mailbox)
    process: Process = actor.actor_inbox
    if process.context is NONE_YET:  # one that is started on behalf of other code takes that code's, in `__init__`
        process.context = context
    if here is not None:
        process.start(here, parent=parent, name=name, label=label, record=record, entered=context)
    return process


def _start_and_tell(process: Process, start: Callable[[], None], started: Future[Any]) -> None:
    try:
        start()
    except BaseException as error:  # noqa: BLE001  # it is raised in the thread that starts the actor
        started.set_exception(error)
        return
    if process.started is None:
        started.set(process.ref)
    else:
        process.started.add_done_callback(lambda first: _copy(first, started))


def _copy(source: Future[Any], target: Future[Any]) -> None:
    if source.exception is not None:
        target.set_exception(source.exception)
    else:
        target.set(source.result())
