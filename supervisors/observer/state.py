"""The state of an actor, and everything the runtime knows of it, as a prompt shows them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any

import msgspec

from actors.lowlevel import secrets_of, shown_message, shown_state
from actors.sys import Status, status_of
from supervisors.observer.opened import pretty, redacted

if TYPE_CHECKING:
    from actors.lowlevel import Process

__all__ = ["Info", "State", "info_of"]


# What Ashtree keeps in a channel, beside what its author does.
_OWN = {"socket", "_join_message", "_joined", "_message_ref"}


def _rank(attribute: tuple[str, object]) -> int:
    """Return the sort key of an attribute: the assigns first, then the author's, in the order in which they were set."""
    name, _ = attribute
    return 0 if name == "assigns" else 2 if name in _OWN else 1


class State(dict[str, Any]):
    """An actor's attributes by name, as `format_status` returns them; shown without secrets, the author's first."""

    def __init__(self, process: Process) -> None:
        super().__init__(sorted(shown_state(process.actor).items(), key=_rank))
        self._secrets = secrets_of(process.actor)
        self._if_empty = f"{process.name} has no attributes" if process.alive else f"{process.name} is dead"

    def __repr__(self) -> str:
        return pretty(self, self._secrets) if self else self._if_empty


class Info(Status, frozen=True, kw_only=True):
    """A `Status` whose message and state are shown without secrets, with the number of restarts."""

    restarts: int | None

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        shown = {field: getattr(self, field) for field in Status.__struct_fields__ if field not in {"name", "state"}}
        shown |= {"actor": self.actor.__name__, "age": f"{self.age:.3f} s", "restarts": self.restarts}
        lines = [f"{field:>13}: {value}" for field, value in shown.items() if value not in (None, [])]
        return "\n".join([self.name, *lines, f"{'state':>13}:", indent(repr(self.state), " " * 15)])


def info_of(process: Process, restarts: int | None) -> Info:
    """Return everything the runtime knows of an actor; on the thread of its event loop."""
    secrets, status = secrets_of(process.actor), status_of(process)
    fields: dict[str, Any] = {name: getattr(status, name) for name in Status.__struct_fields__}
    if status.message is not None:
        fields["message"] = repr(redacted(shown_message(process.actor, process.current), secrets))
    fields["log"] = [_filtered(event, secrets) for event in status.log]
    fields["state"] = State(process)
    return Info(**fields, restarts=restarts)


def _filtered(event: Any, secrets: Sequence[str]) -> Any:
    fields = {name: getattr(event, name) for name in ("message", "reply") if hasattr(event, name)}
    return msgspec.structs.replace(event, **{name: redacted(value, secrets) for name, value in fields.items()})
