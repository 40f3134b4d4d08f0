"""An actor that receives messages on behalf of the test, which inspects them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka.messages

from actors.actor import Actor
from actors.redaction import safe_repr

if TYPE_CHECKING:
    from actors.exits import MonitorRef
    from actors.ref import ActorRef

__all__ = ["WAIT", "Probe", "sync"]

WAIT = 5.0 * float(os.environ.get("ASHTREE_WAIT", "1"))
"""Seconds that a test waits for another thread at most; scaled by the environment variable ASHTREE_WAIT."""


def sync(*refs: ActorRef[Any]) -> None:
    """Return when each actor has handled everything that was in its mailbox: a barrier, in any runtime."""
    for ref in refs:
        ref.ask(pykka.messages.ProxyGetAttr(attr_path=("actor_urn",)), timeout=WAIT)


class _ProbeActor(Actor):
    """The actor of a probe: it keeps the messages that it receives."""

    def __init__(self, arrived: threading.Condition, messages: list[Any]) -> None:
        self._arrived, self._messages = arrived, messages

    def on_start(self) -> None:
        self.trap_exit = True

    def on_receive(self, message: object) -> object:
        if isinstance(message, _Do):
            return message.what(self)
        with self._arrived:
            self._messages.append(message)
            self._arrived.notify_all()
        return None


class _Do:
    """A function to be called by the probe's actor itself."""

    def __init__(self, what: Callable[[_ProbeActor], object]) -> None:
        self.what = what


class Probe:
    """An actor that receives messages on behalf of the test: send to `probe.ref`, then check what it received.

    It traps exits: if an actor that it is linked to exits, it receives an `Exit`.
    """

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.messages: list[Any] = []
        self.ref: ActorRef[Any] = _ProbeActor.start(self._arrived, self.messages)

    def monitor(self, ref: ActorRef[Any]) -> MonitorRef:
        """Monitor an actor: the probe receives its `Down`."""
        monitor: MonitorRef = self.ref.ask(_Do(lambda actor: actor.monitor(ref)))
        return monitor

    def link(self, ref: ActorRef[Any]) -> None:
        """Link to an actor: the probe receives its `Exit`."""
        self.ref.ask(_Do(lambda actor: actor.link(ref)))

    def assert_receive(self, expected: object) -> Any:
        """Remove and return the first message that matches; wait for it if actors run in another thread.

        A class matches its instances, a function what it returns true for, any other value what is equal to it.
        """
        found = self._take(expected)
        assert found, f"expected {expected!r}, got {safe_repr(self.messages)}"
        return found[0]

    def refute_received(self, expected: object) -> None:
        """Check that no message that matches has been received so far."""
        sync(self.ref)
        with self._arrived:
            unwanted = [message for message in self.messages if _matches(expected, message)]
        assert not unwanted, f"expected no {expected!r}, got {safe_repr(unwanted)}"

    def _take(self, expected: object) -> list[Any]:
        sync(self.ref)
        with self._arrived:
            found = self._pop(expected)
            # More can arrive only if the actors run in another thread.
            while not found and not self.ref.process.scheduler.is_current_thread() and self._arrived.wait(WAIT):
                found = self._pop(expected)
            return found

    def _pop(self, expected: object) -> list[Any]:
        for index, message in enumerate(self.messages):
            if _matches(expected, message):
                return [self.messages.pop(index)]
        return []


def _matches(expected: object, message: object) -> bool:
    if isinstance(expected, type):
        return isinstance(message, expected)
    if callable(expected):
        return bool(expected(message))
    return bool(expected == message)
