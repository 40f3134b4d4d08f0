"""The inspection of one actor: its state, its links and monitors, and its messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from actors import sys
from actors.channels.client_actor import ClientActor
from actors.channels.message import Message
from actors.lowlevel import shown_message
from actors.redaction import error_text
from supervisors.branches import Branches, branch_of
from transport.observer.pretty import pretty, pretty_attribute, reason_in_words

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.recorder import Recorded

__all__ = ["Watch"]

# The most that are shown: of its last messages, of its attributes, and of its links, monitors and the like.
MESSAGES = 20
ATTRIBUTES = 60
TIES = 25


_PLAIN = (str, bytes, int, float, dict, list, tuple, set, frozenset, type(None))


class Watch:
    """Watches one actor until `end()`; the values of names that contain one of `secrets` are filtered.

    The first messages that it shows are those that the actor has recorded, if it records any (`record`).
    """

    def __init__(self, process: Process, secrets: Collection[str]) -> None:
        self.process, self._secrets = process, secrets
        self._record = None if process.debug is None else process.debug.record
        self._new = deque(_handled(self._record or ()), maxlen=MESSAGES)
        self._numbers = count(1)
        self._sent: dict[str, Any] = {}
        sys.install(process.ref, self._see)

    def end(self) -> None:
        """Stop watching."""
        if self.process.alive:
            sys.remove(self.process.ref, self._see)

    def _see(self, event: sys.Event) -> None:
        # Formatted when a difference is made: an actor may receive many more messages than are shown.
        if not isinstance(event, sys.Got):
            self._new.append(event)

    def difference(self) -> dict[str, Any]:
        """Return what has changed since the last time, and the new messages; empty if nothing has."""
        facts = (
            self._facts() if self.process.alive else {"status": "dead", "reason": reason_in_words(self.process.reason)}
        )
        changed = {name: fact for name, fact in facts.items() if name not in self._sent or self._sent[name] != fact}
        if "age" in self._sent:
            changed.pop("age", None)
        self._sent.update(facts)
        if self._new:
            changed["messages"] = self._new_messages()
        return {"id": str(self.process.number), **changed} if changed else {}

    def _facts(self) -> dict[str, Any]:
        process = self.process
        status, branch = sys.status_of(process, TIES), branch_of(process)
        return {
            "name": process.label or process.actor_class.__name__,
            "pid": status.pid,
            "actor": f"{process.actor_class.__module__}.{process.actor_class.__qualname__}",
            "status": status.status,
            "supervisor": branch.is_supervisor,
            "children": len(Branches(process)),
            "restarts": branch.restarts,
            "age": round(status.age, 1),
            "handled": status.handled,
            "mailbox": status.mailbox,
            "mailbox_limit": status.mailbox_limit,
            "left_out": status.left_out,
            "message": self._text(self._shown(process.current)) if status.message is not None else None,
            "names": [self._text(name) for name in status.names],
            "trap_exit": status.trap_exit,
            "record": None if self._record is None else self._record.maxlen,
            "timers": [round(seconds, 1) for seconds in status.timers],
            "ancestors": status.ancestors,
            "links": _cut(status.links, process.links),
            "monitors": _cut(status.monitors, process.watching),
            "monitored_by": _cut(status.monitored_by, process.watchers),
            "state": [*self._load(), *self._state(status.state)],
        }

    def _load(self) -> list[list[str]]:
        """Return what waits for a client, as an attribute of the actor that owns its connection."""
        actor = self.process.actor
        return [["load", repr(actor.load)]] if isinstance(actor, ClientActor) else []

    def _state(self, state: Mapping[str, object]) -> list[list[str]]:
        ranked = sorted(state.items(), key=_rank)[:ATTRIBUTES]
        return [[name, pretty_attribute(name, value, self._secrets)] for name, value in ranked]

    def _shown(self, message: object) -> Any:
        return shown_message(self.process.actor, message)

    def _text(self, value: object) -> str:
        return pretty(value, self._secrets)

    def _new_messages(self) -> list[dict[str, Any]]:
        now, new = self.process.scheduler.clock.now(), list(self._new)
        self._new.clear()
        return [self._written(event, now) for event in new]

    def _written(self, event: sys.Handled | sys.Raised, now: float) -> dict[str, Any]:
        message = self._shown(event.message)
        written = {
            "n": next(self._numbers),
            "ago": round(now - event.at, 3),
            "ms": round(event.seconds * 1000, 3),
            "text": self._text(message),
        }
        if isinstance(message, Message):
            written["brief"] = f"{message.event} {self._text(message.payload)}"
        if isinstance(event, sys.Raised):
            return written | {"error": error_text(event.error, 300)}
        return written if event.reply is None else written | {"reply": self._text(event.reply)}


def _handled(recorded: Iterable[Recorded]) -> Iterator[sys.Handled | sys.Raised]:
    """Yield the messages of the flight recorder that have been handled; it does not record replies."""
    for one in recorded:
        if one.error is not None:
            yield sys.Raised(one.at + (one.seconds or 0.0), one.message, one.seconds or 0.0, one.error)
        elif one.seconds is not None:
            yield sys.Handled(one.at + one.seconds, one.message, one.seconds, None)


def _rank(attribute: tuple[str, object]) -> tuple[bool, bool]:
    """Return the sort key of an attribute: plain values before objects, private ones last."""
    name, value = attribute
    return name.startswith("_"), not isinstance(value, _PLAIN)


def _cut(names: list[str], ties: Collection[object] | None) -> list[str]:
    more = len(ties or ()) - len(names)
    return [*names, f"… {more:,} more"] if more > 0 else names
