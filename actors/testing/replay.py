"""Reproduce a crash in a test: the messages that an actor recorded are fed to a new one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from actors.future import Future
from actors.runtime.debug import Debug
from actors.runtime.envelope import Envelope, SystemCall

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.recorder import Recorded
    from actors.ref import ActorRef
    from actors.runtime.process import Process
    from actors.testing.manual_runtime import ManualRuntime

__all__ = ["replay"]

A = TypeVar("A", bound="Actor")

# Seconds that a rounding error between two clocks may make a timer late.
_MARGIN = 0.001


def replay(
    messages: Iterable[Recorded], runtime: ManualRuntime, actor_class: type[A], *args: Any, **kwargs: Any
) -> ActorRef[A]:
    """Start an actor, and feed it the messages that another one recorded: in their order and at their intervals.

        report = last_crash()
        ref = replay(report.messages, runtime, Account, 100)
        assert ref.is_alive()

    Meanwhile it receives nothing else: messages that it sends to itself, directly or by a timer, are among the recorded ones.
    Messages to other actors are sent. When this returns it is an ordinary actor of the test, or has crashed again.
    """
    ref = actor_class.start(*args, **kwargs)
    feed = _Feed(ref.process)
    runtime.settle()
    now: float | None = None
    for recorded in messages:
        runtime.advance(0.0 if now is None else max(0.0, recorded.at - now))
        feed.put(recorded)
        runtime.settle()
        now = recorded.at
    if now is not None:
        runtime.advance((recorded.seconds or 0.0) + _MARGIN)
    feed.end()
    return ref


class _Fed:
    """A recorded message in the mailbox."""

    def __init__(self, message: object) -> None:
        self.message = message


class _Feed(Debug):
    """Stands between an actor and its mailbox, and drops all messages that are not fed."""

    __slots__ = ("_before",)

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._before = process.debug
        self.record = None if self._before is None else self._before.record
        process.debug = self

    def put(self, recorded: Recorded) -> None:
        """Feed a message; if it was an ask, the actor answers a future that is not read."""
        fed = _Fed(recorded.message)
        self.process.put(Envelope(fed, Future(self.process.scheduler)) if recorded.asked else fed)

    def end(self) -> None:
        """Deliver all messages again."""
        if self.process.debug is self:
            self.process.debug = self._before

    def _receive(self, message: Any) -> Any:
        if type(message) is _Fed:
            self.process.current = message.message
            return super()._receive(message.message)
        if type(message) is SystemCall:
            return super()._receive(message)
        self.process.handled -= 1
        return None
