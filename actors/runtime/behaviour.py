"""What the kernel sees of an actor: the callbacks that a process calls (OTP's word), and what may be shown of an actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from actors.redaction import STATE_SECRETS, Shown, class_name, printable, text_of, without_secrets
from actors.runtime.envelope import bare
from actors.runtime.program_exit import leave

if TYPE_CHECKING:
    import asyncio

    from actors.exits import ExitReason

__all__ = [
    "Behaviour",
    "FormatStatus",
    "described",
    "proxied",
    "replace_state",
    "secrets_of",
    "shown_message",
    "shown_state",
    "state_of",
]


class FormatStatus(msgspec.Struct, eq=False, kw_only=True):
    """What is about to be shown of an actor, for `Actor.format_status` to change: its state, or one of its messages."""

    state: dict[str, Any] | None = None
    """The attributes by name: a new dictionary with the values themselves. None if a message is shown."""

    message: Any = None
    """A message that it handles, has handled or will handle. None if the state is shown."""


class Behaviour(Protocol):
    """The callbacks by which a process runs its actor; `actors.Actor` has them all, other kinds of actors override some.

    They are private though the kernel calls them: they share their namespace with what authors write in their subclasses, and a
    pykka proxy shows everything that is public.
    """

    start_timeout: ClassVar[float | None]
    record: ClassVar[Any]  # an int or None, or something else of the author's
    mailbox: ClassVar[Any]  # a Mailbox or None, or something else of the author's
    stuck_after: ClassVar[float | None]
    _no_dead_letters: ClassVar[Any]  # a tuple of types
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

    def format_status(self, status: FormatStatus) -> FormatStatus:
        """Return what is to be shown instead of the state or the message."""

    def _left_out(self, message: object) -> None:
        """Learn that a message found no room in a bounded mailbox, or was dropped for another; in the sender's thread."""

    def _secret_words(self) -> Sequence[str]:
        """Return the words in the names of values that are filtered, whatever `format_status` returns."""

    def _proxied(self) -> Any:
        """Return the object whose attributes are the actor's state."""


def described(actor: Behaviour | None, message: object) -> str:
    """Return a message as text for logs: what `format_status` returns for it, without secrets, no longer than a page."""
    if actor is None or message is None:
        return "none"
    return text_of(lambda shown: repr(without_secrets(shown, secrets_of(actor))), shown_message(actor, message))


def secrets_of(actor: Behaviour | None) -> Sequence[str]:
    """Return the words that mark secrets in the state and the messages of an actor; for a channel also its endpoint's."""
    return STATE_SECRETS if actor is None else actor._secret_words()


def shown_message(actor: Behaviour | None, message: object) -> Any:
    """Return what `format_status` returns for a message; its secrets are still to be filtered."""
    message = bare(message)
    if actor is None or message is None:
        return message
    try:
        return _checked(actor.format_status(FormatStatus(message=message))).message
    except BaseException as error:  # noqa: BLE001  # the report must come, and what the author hides must not be shown
        leave(error, of_report=True)
        return Shown(f"<{printable(class_name(message))} that cannot be shown: {_failed(error)}>")


def shown_state(actor: Behaviour | None) -> dict[str, Any]:
    """Return what `format_status` returns for the state of an actor; its secrets are still to be filtered."""
    if actor is None:
        return {}
    try:
        return _mapping(_checked(actor.format_status(FormatStatus(state=state_of(actor)))).state)
    except BaseException as error:  # noqa: BLE001  # as above
        leave(error, of_report=True)
        return {"format_status": Shown(f"<the state cannot be shown: {_failed(error)}>")}


def _checked(status: object) -> FormatStatus:
    if not isinstance(status, FormatStatus):
        raise _WrongStatusError(f"format_status() must return the status, got {class_name(status)}")
    return status


def _mapping(state: object) -> dict[str, Any]:
    if not isinstance(state, Mapping):
        raise _WrongStatusError(f"format_status() must leave a mapping as the state, got {class_name(state)}")
    return dict(state)


def _failed(error: BaseException) -> str:
    """Return why nothing is shown, without the text of an author's exception, which may contain what was to be hidden."""
    if isinstance(error, _WrongStatusError):
        return str(error)
    lines = [
        f" ({frame.f_code.co_filename}:{line})"
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_name == "format_status"
    ]
    return f"format_status() raised {printable(class_name(error))}{''.join(lines[-1:])}"


class _WrongStatusError(TypeError):
    """`format_status` did not return a status."""


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
