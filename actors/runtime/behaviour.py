"""What the kernel sees of an actor: the callbacks that a process calls (OTP's word), and what may be shown of an actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from actors.redaction import text_of
from actors.runtime.envelope import bare

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from actors.exits import ExitReason

__all__ = ["Behaviour", "described", "proxied", "replace_state", "state_of"]


class Behaviour(Protocol):
    """The callbacks by which a process runs its actor; `actors.Actor` has them all, other kinds of actors override some.

    They are private though the kernel calls them: they share their namespace with what authors write in their subclasses, and a
    pykka proxy shows everything that is public.
    """

    start_timeout: ClassVar[float | None]
    record: ClassVar[Any]  # an int or None, or something else of the author's
    stuck_after: ClassVar[float | None]
    _has_dead_letters: ClassVar[bool]
    _unstarted: ClassVar[Any]  # an `Unstarted`

    @property
    def actor_inbox(self) -> Any:
        """The actor's process."""

    def _prepare(self) -> object:
        """Run `on_start`; a coroutine is awaited."""

    def _receive(self, message: object) -> object:
        """Handle a message; return the reply, a coroutine of it, `Stop`, `Refuse` or `Answer`."""

    def _cut_short(self, task: asyncio.Task[Any], reason: ExitReason) -> None:
        """Interrupt a waiting handler, as an exit signal has arrived."""

    def _exit_reason(self, reason: ExitReason) -> ExitReason:
        """Return the reason to end with when a signal with `reason` has arrived."""

    def _end(self, reason: ExitReason) -> object:
        """Run `terminate`; a coroutine is awaited."""

    def _describe(self, message: object) -> str:
        """Return a message as text for logs, without its secrets."""

    def _proxied(self) -> Any:
        """Return the object whose attributes are the actor's state."""


def described(actor: Behaviour | None, message: object) -> str:
    """Return a message as its actor describes it for logs: without secrets, and no longer than a page."""
    if actor is None or message is None:
        return "none"
    return text_of(actor._describe, bare(message))


# Attributes that the runtime and pykka keep in an actor.
_NOT_STATE = (
    "_process",
    "_actor_thread",
    "_stand_in",
    "actor_urn",
    "actor_inbox",
    "_actor_ref",
    "actor_ref",
    "actor_stopped",
)


def state_of(actor: Behaviour | None) -> dict[str, Any]:
    """Return the attributes of an actor, or of the pykka actor that it represents; without the runtime's own."""
    state: dict[str, Any] = dict(vars(actor._proxied())) if actor is not None else {}
    for name in _NOT_STATE:
        state.pop(name, None)
    return state


def replace_state(actor: Behaviour, new: Mapping[str, object]) -> None:
    """Give an actor these attributes, and take away all others that are its own."""
    shown = actor._proxied()
    for name in state_of(actor).keys() - new.keys():
        delattr(shown, name)
    for name, value in new.items():
        setattr(shown, name, value)


def proxied(actor: Behaviour) -> Any:
    """Return the object that a pykka proxy of this actor shows."""
    return actor._proxied()
