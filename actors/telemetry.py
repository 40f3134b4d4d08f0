"""Events of a running system, for counting and measuring (Phoenix's names, Erlang's `telemetry`).

    telemetry.attach("metrics", [("phoenix", "channel_joined")], count_join)

An event has measurements (numbers; durations are seconds as float) and metadata. An event without a handler costs one
look-up. Handlers run in the actor that emits: they must be quick. A handler that raises is logged and detached.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from actors.callbacks import check_function
from actors.fork import free_after_fork
from actors.log import Log
from actors.redaction import safe_repr
from actors.runtime.program_exit import leave

__all__ = ["Event", "Handler", "attach", "attached", "detach", "execute"]

Event = tuple[str, ...]
"""The name of an event, such as `("phoenix", "channel_joined")`."""

Handler = Callable[[Event, Mapping[str, float], Mapping[str, Any]], object]
"""What is attached to events: a function of an event's name, its measurements and its metadata."""

_log = Log("ashtree.telemetry")
_lock = free_after_fork(threading.Lock())
# Read-only: code that measures for an event first checks whether it is in here. The handlers of an event are replaced as a
# whole when they change, so that they are read without a lock.
attached: dict[Event, tuple[tuple[str, Handler], ...]] = {}
"""The handlers of each event that has any, for code that measures only if the result is used; read-only."""


def attach(name: str, events: Iterable[Event], handler: Handler) -> None:
    """Call `handler(event, measurements, metadata)` at each of these events.

    Raises:
        TypeError: if the handler is `async`: it is called in the turn of the actor that emits; if an event is no tuple.
        ValueError: if a handler of that name is attached already.
    """
    check_function("a telemetry handler", handler, instead="let it send() to an actor")
    names = _checked(events)
    with _lock:
        if any(name == taken for pairs in attached.values() for taken, _ in pairs):
            raise ValueError(f"a telemetry handler is called {name!r} already; detach it or choose another name")
        for event in names:
            attached[event] = (*attached.get(event, ()), (name, handler))


def _checked(events: Any) -> list[Event]:
    """Return the events that were passed to `attach`; one that is no tuple of texts would never be emitted."""
    names: list[Any] = [events] if isinstance(events, str) else list(events)
    for event in names:
        if not isinstance(event, tuple) or not all(isinstance(word, str) for word in event):
            given = safe_repr(events)
            advice = f"; write `[{given}]`" if isinstance(events, tuple) and isinstance(event, str) else ""
            raise TypeError(
                f"events must be a list of tuples of str, as [('ashtree', 'dead_letter')], got {given}{advice}"
            )
    return names


def detach(name: str) -> None:
    """Remove a handler from all its events; does nothing if there is none of that name."""
    with _lock:
        for event, pairs in list(attached.items()):
            attached[event] = tuple(pair for pair in pairs if pair[0] != name)
            if not attached[event]:
                del attached[event]


def execute(event: Event, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
    """Emit an event."""
    for name, handler in attached.get(event, ()):
        try:
            handler(event, measurements, metadata)
        except BaseException as error:  # noqa: BLE001  # the actor that emits must not fail with a handler
            _log.exception("the telemetry handler %r failed at %s and is detached", name, ".".join(event))
            detach(name)
            leave(error)
