"""What the log is told of a crash, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from actors.clock import wall_time
from actors.exits import Crash

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.recorder import Recorded
    from actors.runtime.process import Process

__all__ = ["CrashReport", "described", "state_of"]

_LINE = 160
"""How much is shown of each of the last messages, in characters."""

_MOST = 2000
"""How much is shown of a message, or of what an exception says, in characters."""


def described(actor: Actor | None, message: Any) -> str:
    """Return what an actor lets be said of a message: without secrets, and not more than a page."""
    if actor is None or message is None:
        return "none"
    try:
        return _cut(actor._describe(message), _MOST)
    except Exception:  # noqa: BLE001  # the author's __repr__; what reports it goes on
        return f"<{type(message).__name__} that cannot be shown>"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


# What the runtime, and pykka's, keeps in an actor.
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


def state_of(actor: Actor | None) -> dict[str, Any]:
    """Return the attributes of an actor, or of pykka's for which it stands; without the runtime's own."""
    state = dict(vars(actor._proxied())) if actor is not None else {}
    for name in _NOT_STATE:
        state.pop(name, None)
    return state


class CrashReport:
    """Who crashed, by what, at which message and after which others; as text it is what the log says, without secrets.

    - `name`, `pid`, `actor_class`, `ancestors`: who it was; ancestors by their names, the parent first.
    - `error`: the exception, with its traceback; `reason`: the `Crash` that others were told.
    - `message`: what it was at; None in an `async` `on_start`.
    - `messages`: the last ones, as `Recorded`, the oldest first; none if it kept none (see `Actor.record`).
    - `handled`: how many it had handled in its life, the last one included.
    - `state`: its attributes when it crashed, before `terminate` ran; the values themselves, with their secrets.
    - `at`: when, in seconds of its clock; `time`: the Unix time.
    """

    def __init__(self, process: Process, error: BaseException) -> None:
        debug = process.debug
        self._process, self._actor = process, process.actor
        self.error, self.message, self.handled = error, process.current, process.handled
        self.messages: list[Recorded] = list(debug.record or ()) if debug is not None else []
        self.state = state_of(process.actor)
        self.at, self.time = process.scheduler.clock.now(), wall_time()

    # Made when they are wanted: nobody may look, and crashes may be many.

    @property
    def name(self) -> str:
        """What a person calls the actor: its label, else its class, with the pid."""
        return self._process.name

    @property
    def pid(self) -> str:
        """The pid as text, such as `<0.41.0>`."""
        return self._process.pid

    @property
    def actor_class(self) -> type[Actor]:
        """The class of the actor."""
        return self._process.actor_class

    @property
    def ancestors(self) -> list[str]:
        """The names of parent, grandparent and so on."""
        return self._process.ancestors()

    @property
    def reason(self) -> Crash:
        """The exit reason that links and monitors were told."""
        return Crash(self.error)

    def __repr__(self) -> str:
        return f"<CrashReport of {self.name}: {type(self.error).__name__}: {self.error}>"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.name} crashed: {_cut(str(self.reason), _MOST)}"
        yield f"  last message: {described(self._actor, self.message)}"
        yield f"  ancestors: {', '.join(self.ancestors) or 'none'}"
        if self.messages:
            yield f"  last {len(self.messages)} of {self.handled} messages:"
        for recorded in self.messages:
            yield self._line(recorded)

    def _line(self, recorded: Recorded) -> str:
        began, took = self.at - recorded.at, (recorded.seconds or 0.0) * 1000
        text = _cut(described(self._actor, recorded.message), _LINE)
        return f"    {began:9.3f} s before, took {took:9.3f} ms: {text}"
