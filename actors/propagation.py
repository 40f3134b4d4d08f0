"""Trace contexts that go with messages, such as OpenTelemetry's (its term is context propagation).

Theory of operation.

An actor has context variables of its own, so the span that is current where a message is sent is not current where it is
handled. `propagate` gives messages what `capture()` returns where they are sent, and makes it current around their handler, by
`attach` and `detach`. Nothing here knows a tracing library.

Off, which it is by default, it costs nothing: switching on replaces the methods by which messages are sent, on their classes.
They wrap each message in a `Carried`, which is one more of the types of messages that `Actor._receive` knows. So messages that
wait while it is switched off are handled as well.

- A message is wrapped by the thread that sends it, before it is posted to the loop of the receiver. What is broadcast by
  another thread is delivered with that thread's context variables.
- A timer captures when it is set.
- What is in an `Envelope` is wrapped inside it, except what the runtime answers itself.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar, Self

from actors.callbacks import check_function
from actors.clock import Clock
from actors.fork import free_after_fork
from actors.log import Log
from actors.runtime.envelope import STOPS, Admitted, Carried, Envelope, SystemCall
from actors.runtime.message_queue import MessageQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.clock import Interval, Timer, TimerOwner

__all__ = ["Propagation", "propagate"]

_log = Log("ashtree.telemetry")
_lock = free_after_fork(threading.Lock())

# Of the runtime itself: nothing of the author's handles them.
_BARE = STOPS | {Carried, SystemCall}


class Propagation:
    """What `propagate` has switched on; `stop`, or the end of a `with` block, switches it off."""

    running: ClassVar[Propagation | None] = None
    """The one that is switched on."""

    def __init__(
        self, capture: Callable[[], object], attach: Callable[[Any], object], detach: Callable[[Any], object]
    ) -> None:
        self._capture, self._attach, self._detach = capture, attach, detach

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Give no more messages a trace context; those that have one keep it."""
        with _lock:
            if Propagation.running is self:
                Propagation.running = None
                _exchange(_PLAIN)

    def carried(self, message: object) -> object:
        """Return a message with the trace context of its sender."""
        if type(message) in _BARE:
            return message
        if type(message) is Admitted:
            message.message = self.carried(message.message)  # it is the same message, with its place
            return message
        try:
            value = self._capture()
        except Exception:  # noqa: BLE001  # the sender must not fail with it
            _log.exception("capture() failed, and no trace context is propagated any more: %r", self._capture)
            self.stop()
            return message
        return message if value is None else Carried(message, value, self._attach, self._detach)

    def _item(self, item: object) -> object:
        """Do the same with what is put in a mailbox."""
        if type(item) is Envelope:
            return Envelope(self.carried(item.message), item.reply_to)
        return self.carried(item)

    def methods(self) -> dict[tuple[type, str], Callable[..., object]]:
        """Return the methods that send, as they are while this is on."""

        def put(process: MessageQueue, item: object) -> None:
            _put(process, self._item(item))

        def deliver(process: MessageQueue, item: object) -> None:
            _deliver(process, self._item(item))

        def continue_with(process: MessageQueue, message: object) -> None:
            _continue_with(process, self.carried(message))

        def send_after(clock: Clock, seconds: float, target: TimerOwner, message: object) -> Timer:
            return _send_after(clock, seconds, target, self.carried(message))

        def send_interval(
            clock: Clock, seconds: float, target: TimerOwner, message: object, *more: Any, **options: Any
        ) -> Interval:
            return _send_interval(clock, seconds, target, self.carried(message), *more, **options)

        return dict(zip(_PLAIN, (put, deliver, continue_with, send_after, send_interval), strict=True))


_put, _deliver, _continue_with = MessageQueue.put, MessageQueue.deliver, MessageQueue.continue_with
_send_after, _send_interval = Clock.send_after, Clock.send_interval

_PLAIN: dict[tuple[type, str], Callable[..., object]] = {
    (MessageQueue, "put"): _put,
    (MessageQueue, "deliver"): _deliver,
    (MessageQueue, "continue_with"): _continue_with,
    (Clock, "send_after"): _send_after,
    (Clock, "send_interval"): _send_interval,
}


def _exchange(methods: dict[tuple[type, str], Callable[..., object]]) -> None:
    for (owner, name), method in methods.items():
        setattr(owner, name, method)


def propagate(
    capture: Callable[[], object], attach: Callable[[Any], object], detach: Callable[[Any], object]
) -> Propagation:
    """Make the trace context of a message's sender current in its handler, from now on; for OpenTelemetry and its like.

        from opentelemetry import context

        telemetry.propagate(context.get_current, context.attach, context.detach)

    - `capture()` is called where a message is sent, asked or broadcast, and where a timer is set that sends one. What it
      returns goes with the message; None: nothing does.
    - `attach(value)` is called before the handler of the receiver, in its context and its thread, and `detach(token)` after it,
      with what `attach` returned; after the end of its coroutine if it is `async`.

    The result has a `stop()`, and is a context manager that calls it. Until this is called it costs nothing. If `capture`
    raises, that is logged and propagation stops; if `attach` or `detach` raises, that is logged.

    Raises:
        TypeError: if one of the three is not a function, is `async`, or has a `yield` in it.
        RuntimeError: if it is switched on already.
    """
    for name, function in (("capture", capture), ("attach", attach), ("detach", detach)):
        if not callable(function):
            raise TypeError(
                f"propagate() takes {name} as a function, such as opentelemetry.context's, got {function!r}"
            )
        check_function(f"what propagate() takes as {name}", function)
    with _lock:
        if Propagation.running is not None:
            raise RuntimeError("a trace context is propagated already; stop() what propagate() returned first")
        Propagation.running = running = Propagation(capture, attach, detach)
        _exchange(running.methods())
    return running
