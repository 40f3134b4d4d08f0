"""Finding, sending to and asking actors by name.

    send("logger", "hello")
    answer = ask("counter", 1)                        # in a thread without an event loop
    answer = await call(Via(rooms, "lobby"), "who")   # on an event loop

A target is an actor, its ref, a name or a `Via`. A name is looked up at each use, so it finds the actor that has it now,
after a restart too. Plain names are those of the runtime of the current thread; in a thread without one (a script, a REPL, a
worker of a web server), those of the only runtime that has the name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from actors.exceptions import ActorDeadError, ForkedError
from actors.future import Future
from actors.redaction import safe_repr
from actors.ref import ASK_TIMEOUT, ActorRef
from actors.registry import ActorRegistry, check_missing, not_found
from actors.runtime.dead_letters import unaddressed
from actors.runtime.scheduler import Scheduler
from actors.via import Via, resolve

if TYPE_CHECKING:
    from actors.request import Answer, Request
    from actors.via import Target

__all__ = ["ask", "call", "not_registered", "send", "whereis"]


@overload
def whereis(target: Target, *, required: Literal[True]) -> ActorRef: ...


@overload
def whereis(target: Target, *, required: bool = ...) -> ActorRef | None: ...


def whereis(target: Target, *, required: bool = False) -> ActorRef | None:
    """Return the actor that has a name, or None; for an actor or a ref, its ref (OTP's `GenServer.whereis`).

    Raises:
        NotRegisteredError: if no actor has the name, and one is `required`.
        AmbiguousNameError: in a thread without actors, if actors of several runtimes have the name.
    """
    if isinstance(target, ActorRef):  # there is no name to be looked up
        return target
    scheduler = Scheduler.of_thread()
    if scheduler is not None and scheduler.is_serving():
        ref = resolve(target, scheduler.names.whereis)
    else:
        scheduler = None
        ref = resolve(target, ActorRegistry.get_by_name)
    if ref is None and required:
        raise not_found(target, ActorRegistry.schedulers() if scheduler is None else [scheduler])
    return ref


def send(target: Target, message: object) -> None:
    """Send a message; silently dropped if the actor is dead, or no actor has the name (OTP's `GenServer.cast`).

    Raises:
        AmbiguousNameError: as `whereis`.
    """
    ref = whereis(target)
    if ref is not None:
        ref.send(message)
    else:
        check_missing(target)
        unaddressed(message, target)


@overload
def ask(
    target: Target, message: Request[Answer], *, block: Literal[False], timeout: float | None = ...
) -> Future[Answer]: ...


@overload
def ask(
    target: Target, message: Request[Answer], *, block: Literal[True] = ..., timeout: float | None = ...
) -> Answer: ...


@overload
def ask(  # type: ignore[overload-overlap]  # see `ActorRef.ask`
    target: Target, message: Request[object], *, block: bool = ..., timeout: float | None = ...
) -> object: ...


@overload
def ask(target: Target, message: object, *, block: Literal[False], timeout: float | None = ...) -> Future[Any]: ...


@overload
def ask(target: Target, message: object, *, block: Literal[True] = ..., timeout: float | None = ...) -> Any: ...


@overload
def ask(target: Target, message: object, *, block: bool, timeout: float | None = ...) -> Any: ...


def ask(target: Target, message: object, *, block: bool = True, timeout: float | None = ASK_TIMEOUT) -> Any:
    """Send a message and wait for the reply, as `ActorRef.ask` does.

    Raises (with `block=False`, in the future):
        ActorDeadError: if no actor has the name.
        Everything that `ActorRef.ask` and `whereis` raise.
    """
    ref = whereis(target)
    if ref is not None:
        return ref.ask(message, block=block, timeout=timeout)
    unaddressed(message, target)
    future: Future[Any] = Future()
    future.set_exception(not_registered(target))
    return future.get() if block else future


@overload
async def call(target: Target, message: Request[Answer], *, timeout: float | None = ...) -> Answer: ...  # noqa: ASYNC109  # as below


@overload
async def call(  # type: ignore[overload-cannot-match]  # see `ActorRef.ask`
    target: Target,
    message: Request[object],
    *,
    timeout: float | None = ...,  # noqa: ASYNC109  # as below
) -> object: ...


@overload
async def call(target: Target, message: object, *, timeout: float | None = ...) -> Any: ...  # noqa: ASYNC109  # as below


async def call(target: Target, message: object, *, timeout: float | None = ASK_TIMEOUT) -> Any:  # noqa: ASYNC109  # OTP's term; on the actors' clock
    """Send a message and await the reply, as `ActorRef.call` does.

    Raises:
        ActorDeadError: if no actor has the name.
        Everything that `ActorRef.call` and `whereis` raise.
    """
    ref = whereis(target)
    if ref is None:
        unaddressed(message, target)
        raise not_registered(target)
    return await ref.call(message, timeout=timeout)


def not_registered(target: Target) -> ActorDeadError:
    """Return the error of a call to a name that no actor has."""
    try:
        check_missing(target)
    except ForkedError as forked:
        return forked
    if isinstance(target, Via):
        return ActorDeadError(f"no actor is registered as {safe_repr(target.key)} in {safe_repr(target.registry)}")
    its_ref = "; it is no name: give its `ref`" if hasattr(type(target), "ref") else ""
    return ActorDeadError(f"no actor is registered as {safe_repr(target)}{its_ref}")
