"""An actor that stands for the test: it keeps what it gets, and the test looks at it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka.messages

from actors.actor import Actor

if TYPE_CHECKING:
    from actors.exits import MonitorRef
    from actors.ref import ActorRef

__all__ = ["WAIT", "Probe", "sync"]

WAIT = 5.0 * float(os.environ.get("ASHTREE_WAIT", "1"))
"""Seconds that a test waits for another thread at most; the environment variable ASHTREE_WAIT scales it."""


def sync(*refs: ActorRef[Any]) -> None:
    """Return when each actor has handled everything that was in its mailbox (a barrier, in any runtime)."""
    for ref in refs:
        ref.ask(pykka.messages.ProxyGetAttr(attr_path=("actor_urn",)), timeout=WAIT)


class _Mailbox(Actor):
    """The actor of a probe: it keeps what it gets."""

    def __init__(self, arrived: threading.Condition, messages: list[Any]) -> None:
        self._arrived, self._messages = arrived, messages

    def on_start(self) -> None:
        self.trap_exit = True

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, _Do):
            return message.what(self)
        with self._arrived:
            self._messages.append(message)
            self._arrived.notify_all()
        return None


class _Do:
    """Something to be done by the probe's actor itself."""

    def __init__(self, what: Callable[[_Mailbox], Any]) -> None:
        self.what = what


class Probe:
    """An actor that stands for the test: send to `probe.ref`, then look at what came.

    It traps exits, so that being linked to what crashes only brings it an `Exit`.
    """

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.messages: list[Any] = []
        self.ref: ActorRef[Any] = _Mailbox.start(self._arrived, self.messages)

    def monitor(self, ref: ActorRef[Any]) -> MonitorRef:
        """Watch an actor: its `Down` comes here."""
        monitor: MonitorRef = self.ref.ask(_Do(lambda mailbox: mailbox.monitor(ref)))
        return monitor

    def link(self, ref: ActorRef[Any]) -> None:
        """Link to an actor: its `Exit` comes here."""
        self.ref.ask(_Do(lambda mailbox: mailbox.link(ref)))

    def assert_receive(self, expected: Any) -> Any:
        """Return the first message that fits, and take it out; wait for it if actors run in another thread.

        A class fits its instances, a function what it returns true for, any other value what is equal to it.
        """
        found = self._take(expected)
        assert found, f"expected {expected!r}, got {self.messages!r}"
        return found[0]

    def refute_received(self, expected: Any) -> None:
        """Make sure that no message that fits has come by now."""
        sync(self.ref)
        with self._arrived:
            unwanted = [message for message in self.messages if _fits(expected, message)]
        assert not unwanted, f"expected no {expected!r}, got {unwanted!r}"

    def _take(self, expected: Any) -> list[Any]:
        sync(self.ref)
        with self._arrived:
            found = self._pop(expected)
            # In the test's own thread nothing more can come; from another one it may.
            while not found and not self.ref.process.scheduler.is_current_thread() and self._arrived.wait(WAIT):
                found = self._pop(expected)
            return found

    def _pop(self, expected: Any) -> list[Any]:
        for index, message in enumerate(self.messages):
            if _fits(expected, message):
                return [self.messages.pop(index)]
        return []


def _fits(expected: Any, message: Any) -> bool:
    if isinstance(expected, type):
        return isinstance(message, expected)
    if callable(expected):
        return bool(expected(message))
    return bool(expected == message)
