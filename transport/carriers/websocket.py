"""The WebSocket carrier: frames of RFC 6455 between a TCP connection and a transport actor.

Theory of operation.

Reading is paced. `data_received` handles a slice of what was received (`frames.py` says how much that is) and lets the actors
that are ready run. What is left is kept, and continued in the next iteration of the event loop, so that other connections get
their turns; the same if the `intake` is held. While too much is kept the socket is not read, and TCP slows the client down.
When the connection ends, what is kept is handled before the transport actor is notified.

Writing is bounded. As long as the client reads, frames are written to the event loop's transport at once: those that are sent
while a slice is handled are collected (corked) to leave in one system call, and broadcasts are written past this object (see
`actors/pubsub/lanes.py`). When that transport holds more than its high-water mark, 64 KiB, it calls `pause_writing`: from then
on frames wait in an `Outbox`, until it calls `resume_writing`. Of the pongs only the newest waits. A close frame leaves behind
everything that waits.

Our side of TCP ends behind the close frame, whichever side began and for any reason. What the client still
sends is read and dropped: with unread input the kernel would reset the connection, and the client could lose what it has not
read yet (RFC 9112, section 9.6, says the same of HTTP). A client that takes nothing, or does not end its side, is cut off after
`CLOSE_TIMEOUT`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, ClassVar, cast

from websockets.frames import CloseCode

from actors import telemetry
from actors.channels.fastlane import CLOSED, CORKED, PAUSED, REPLAYING, fastlane_of
from actors.fork import shut_down
from transport import socket_events
from transport.carriers.carrier import CLOSE_TIMEOUT, Disconnected, Pinged
from transport.carriers.deflate import InflatingReader
from transport.carriers.frames import SLICE_BYTES, FrameReader, close_frame, close_payload, pong_frame, wire
from transport.carriers.intake import STARTING, UNREAD, Intake
from transport.carriers.outbox import OVERFLOWED
from transport.carriers.traffic import Traffic
from transport.carriers.unread import UnreadReplies

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from actors.channels.fastlane import Fastlane, Outlet
    from actors.channels.message import Frame
    from actors.clock import Timer
    from actors.history.backlog import Backlog
    from actors.lowlevel import Process, Scheduler
    from transport.carriers.carrier import CarrierOptions, EndConnection
    from transport.carriers.deflate import DeflateOutlet
    from transport.carriers.frames import Ending
    from transport.carriers.outbox import Outbox

__all__ = ["WebSocketCarrier", "WebSocketTraffic"]

# What becomes of the input: the socket is read, or not for now; the client has ended its side; the connection is lost.
_READING, _STOPPED, _ENDED, _LOST = range(4)

# The bytes that are kept before the socket is not read any more.
_KEPT = 64 * 1024

# The bytes of a frame that does not wait for others of its slice, to leave with them in one write.
_LARGE = 4 * 1024


class WebSocketTraffic(Traffic):
    """The traffic of all WebSockets of an endpoint, and the form that frames have there."""

    __slots__ = ()

    wire = staticmethod(wire)

    @property
    def watched(self) -> bool:
        """Whether each frame is reported by its transport actor, and so must not be written past it."""
        return socket_events.FRAME_OUT in telemetry.attached


class WebSocketCarrier(asyncio.Protocol):
    """One WebSocket of the listener; its byte counts are those of the frames, headers included."""

    kind: ClassVar[str] = "websocket"

    # One for each client, and a broadcast visits all of them.
    __slots__ = (
        "_behind",
        "_code",
        "_cork",
        "_ends",
        "_farewell",
        "_fastlane",
        "_frames",
        "_going_on",
        "_held",
        "_input",
        "_is_attached",
        "_is_last",
        "_kept",
        "_options",
        "_outbox",
        "_outlet",
        "_pong",
        "_process",
        "_put",
        "_resumed",
        "_scheduler",
        "_timer",
        "_traffic",
        "_transport",
        "_unread",
        "_wire",
        "intake",
        "sweeps",
    )

    def __init__(self, scheduler: Scheduler, options: CarrierOptions, outlet: DeflateOutlet | None = None) -> None:
        self._scheduler, self._options, self._traffic = scheduler, options, options.traffic
        self.sweeps = 0
        self.intake = Intake(options.limits, self._reading_changed, options.reached)
        self.intake.hold(STARTING)
        # The form of what is sent, compressed if the client has agreed on that; then it may compress too.
        assert isinstance(options.traffic, WebSocketTraffic)
        self._outlet: Outlet = outlet or options.traffic
        self._wire = self._outlet.wire
        reader = FrameReader if outlet is None else InflatingReader
        self._frames = reader(options.max_size, options.limits.fragments)
        self._process: Process | None = None
        # Whether the transport actor lives: it may outlive the connection, for its channels.
        self._is_attached = False
        self._fastlane: Fastlane | None = None
        self._transport: asyncio.Transport | None = None
        self._put: Callable[[bytes], object] = _ignore
        # What was received and is not handled, and whether that is continued in the next iteration of the loop.
        self._kept: bytearray | None = None
        self._going_on = False
        self._input = _READING
        # What ends the connection, behind what is kept.
        self._behind: EndConnection | None = None
        # The reasons for which the fastlane is held, if there is one, and messages are not written at once.
        self._held = 0
        # While a slice is handled, frames to send wait here, to leave in one write.
        self._cork: list[bytes] | None = None
        # While the client reads too slowly, they wait in the outbox, which is made when it is first needed.
        self._outbox: Outbox | None = None
        self._unread: UnreadReplies | None = None
        self._resumed = 0
        self._pong: bytes | None = None
        # The end: the close frame that is still to be written, whether what is received counts no more, and whether nothing
        # was received behind the client's close frame.
        self._farewell: bytes | None = None
        self._ends = self._is_last = False
        self._code: int = CloseCode.ABNORMAL_CLOSURE
        self._timer: Timer | None = None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection after the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._put = _writer_to(transport)
        self._options.idle.opened(self)

    def data_received(self, data: bytes) -> None:
        """Deliver a slice of the received messages to the transport actor, and run the actors that are ready."""
        self.sweeps = 0
        self._traffic.bytes_in += len(data)
        if self._kept is None and not self.intake.held:
            self._handle(data)
            return
        if self._kept is None:
            self._kept = bytearray()
        self._kept += data
        if not self._has_to_wait:
            self._handle(self._kept)
        elif len(self._kept) > _KEPT:
            self._stop_reading()

    def eof_received(self) -> bool:
        """End our side of the connection, as the client has ended its own, after everything that it has sent."""
        self._input = _ENDED
        if self._kept is not None and self._has_to_wait:
            return True
        self._on_eof()
        return self._is_open or self._farewell is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the transport actor that the client has disconnected, after everything that was received."""
        if self._transport is not None and not self._scheduler.forked:
            shut_down(self._transport)
        if self._timer is not None:
            self._timer.cancel()
        self._options.idle.discard(self)
        if not self._is_attached:
            self._options.idle.closed()
        is_behind = self._kept is not None and self._has_to_wait
        self._transport, self._input, self._farewell, self._put = None, _LOST, None, _ignore
        self._shut()
        if self._unread is not None:
            self._unread.stop()
        if self._outbox is not None:
            self._outbox.clear()
        if not is_behind:
            self._on_lost()
        elif self._process is not None:
            self._go_on_later()

    def pause_writing(self) -> None:
        """Let frames wait in the outbox: the client reads more slowly than we write."""
        self._hold(PAUSED)

    def resume_writing(self) -> None:
        """Write what waits; when that is done, broadcasts may again be written past the transport actor."""
        self._held &= ~PAUSED
        self._resumed += 1
        self._write_waiting()
        if not self._held & PAUSED:
            self._release(PAUSED)

    # The fastlane

    @property
    def _is_open(self) -> bool:
        """Whether messages are sent."""
        return not self._held & CLOSED

    def _hold(self, reason: int) -> None:
        self._held |= reason
        if self._fastlane is not None:
            self._fastlane.hold(reason)

    def _release(self, reason: int) -> None:
        self._held &= ~reason
        if self._fastlane is not None:
            self._fastlane.release(reason)

    def _shut(self) -> None:
        """Send no more messages."""
        self._hold(CLOSED)

    # Received frames

    def _handle(self, data: bytes | bytearray) -> None:
        """Handle a slice of what was received."""
        self._cork = []
        self._held |= CORKED
        if self._fastlane is not None:
            self._fastlane.hold(CORKED)
        try:
            end = self._read(data)
            if end == len(data):
                self._kept = None
            else:
                self._keep(data, end)
            self._scheduler.run_ready()
            self._uncork()
        finally:
            self._cork = None
            self._held &= ~CORKED
            if self._fastlane is not None:
                self._fastlane.release(CORKED)
        if self._frames.more or self._input:
            self._after_slice()

    def _read(self, data: bytes | bytearray) -> int:
        """Handle a slice of the frames in the order in which they came; return where it ends."""
        frames = self._frames
        messages, end = frames.read(data)
        if frames.pings is not None:
            messages = self._read_pings(messages)
        if messages and self._process is not None:
            self._deliver(messages, self._process)
        if frames.end is None:
            return end
        self._on_end(frames.end, is_last=end == len(data))
        return len(data)

    def _read_pings(self, messages: list[str | bytes]) -> list[str | bytes]:
        """Answer the pings, each after the messages before it; return the messages after the last one."""
        done, (pings, self._frames.pings) = 0, (self._frames.pings or [], None)
        for before, group in groupby(pings, itemgetter(0)):
            answer = partial(self._answer_pings, [payload for _, payload in group])
            if self._process is not None:
                self._deliver(messages[done:before], self._process)
            if self._process is not None and self._process.scheduled:
                self._process.put(Pinged(answer))
            else:
                answer()
            done = before
        return messages[done:]

    def _deliver(self, messages: list[str | bytes], process: Process) -> None:
        self._traffic.messages_in += len(messages)
        fastlane = self._fastlane
        for message in messages:
            if fastlane is None:
                process.put(message)
            elif fastlane.take(message):
                continue
            self.intake.add(len(message))

    def _answer_pings(self, pings: list[bytes]) -> None:
        """Answer each ping; while the client does not read the answers, only the newest (RFC 6455, section 5.5.3)."""
        if self._held & PAUSED:
            self._pong = pong_frame(pings[-1])
        elif self._is_open:
            self._uncork()
            self._write(b"".join(map(pong_frame, pings)), 0)

    def _keep(self, data: bytes | bytearray, start: int) -> None:
        """Keep what was not handled."""
        if data is self._kept:
            del self._kept[:start]  # in place: a long frame is not copied at each of its reads
        else:
            self._kept = bytearray(data[start:])

    # The pace

    @property
    def _has_to_wait(self) -> bool:
        """Whether what is kept is not to be handled now."""
        return self._going_on or (self.intake.held != 0 and self._is_open)

    def _after_slice(self) -> None:
        """Go on with what is left; when nothing is, read again, or notify the transport actor of the end."""
        if self._has_to_wait:
            return
        if self._frames.more:
            self._go_on_later()
        elif self._input == _STOPPED:
            self._read_on_or_finish()
        elif self._input == _ENDED:
            self._on_eof()
        elif self._input == _LOST:
            self._on_lost()

    def _reading_changed(self) -> None:
        """Go on if the intake is not held any more."""
        if not self.intake.held and (self._kept is not None or self._input):
            self._go_on_later()

    def _go_on_later(self) -> None:
        if not self._going_on:
            self._going_on = True
            self._scheduler.loop.call_soon(self._go_on, context=self._variables())

    def _variables(self) -> Context:
        """Return the context variables of the transport actor, in place of those of whatever made us go on."""
        return (self._scheduler.neutral if self._process is None else self._process.context).copy()

    def _go_on(self) -> None:
        self._going_on = False
        if self._kept is not None and not self._has_to_wait:
            self._handle(self._kept)
        elif self._input:
            self._after_slice()

    def _stop_reading(self) -> None:
        """Let the client wait; it is not idle meanwhile."""
        transport = self._transport
        if self._input == _READING and transport is not None and not transport.is_closing():
            self._input = _STOPPED
            self._options.idle.discard(self)
            transport.pause_reading()

    def _read_on_or_finish(self) -> None:
        process, behind = self._process, self._behind
        self._behind = None
        if behind is None or process is None:
            self._read_on()
        else:
            process.put(behind)

    def _read_on(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._input = _READING
            self._options.idle.add(self)
            # The event loop reads with the variables with which it was told to.
            self._variables().run(transport.resume_reading)

    # Sent frames

    def _uncork(self) -> None:
        """Write all that is corked, in one write."""
        corked = self._cork
        if corked:
            self._cork = []
            self._write(corked[0] if len(corked) == 1 else b"".join(corked), len(corked))

    def _write(self, data: bytes, messages: int) -> None:
        if self._transport is not None:
            self._traffic.wrote(data, 1, messages)
            self._put(data)

    def _send_later(self, frame: Frame) -> None:
        """Let a frame wait until the client has read what was written before; disconnect the client if too much waits."""
        if not self._waiting.put(frame, max(len(frame.data), len(self._wire(frame)))):
            self._give_up("outbox")
        elif self.intake.held & UNREAD:
            self._watch_unread()

    @property
    def _waiting(self) -> Outbox:
        if self._outbox is None:
            self._outbox = self._options.outbox_for(self.intake)
        return self._outbox

    def _watch_unread(self) -> None:
        """Give a client that does not read its replies, and so is not read either, `send_timeout` to go on."""
        if self._unread is None:
            self._unread = UnreadReplies(
                self._scheduler.clock,
                self._options.limits.send_timeout,
                self.intake,
                self._written,
                lambda: self._give_up("send_timeout"),
            )
        self._unread.watch()

    def _written(self) -> tuple[int, int]:
        """Return what changes when the client reads: while writing is paused, nothing is added to the event loop's buffer."""
        return self._resumed, 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _give_up(self, limit: str) -> None:
        """Close the connection of a client that does not keep up, without what waits for it."""
        if self._outbox is not None and self._is_open:
            self._options.reached(limit)
            self._outbox.clear()
            self._fail(OVERFLOWED)

    def _write_waiting(self) -> None:
        """Write what waits, until the client reads too slowly again; at the end the close frame, if there is one."""
        pong, outbox = self._pong, self._outbox
        if pong is not None and self._is_open:
            self._pong = None
            self._write(pong, 0)
        while outbox is not None and outbox.messages and not self._held & PAUSED:
            frames = outbox.take(SLICE_BYTES)
            self._write(b"".join(map(self._wire, frames)), len(frames))
        if self._farewell is not None and (outbox is None or not outbox.messages):
            farewell, self._farewell = self._farewell, None
            if farewell:
                self._write(farewell, 0)
            self._end()

    def _replay(self) -> None:
        """Write a slice of what waits, and the rest in later iterations of the event loop, or when the client reads again."""
        outbox = self._waiting
        if outbox.messages and not self._held & (PAUSED | CLOSED):
            frames = outbox.take(SLICE_BYTES)
            self._write(b"".join(map(self._wire, frames)), len(frames))
        if outbox.messages and not self._held & (PAUSED | CLOSED):
            self._scheduler.loop.call_soon(self._replay, context=self._scheduler.neutral)
        else:
            self._release(REPLAYING)

    # The end

    def _on_end(self, end: Ending, *, is_last: bool) -> None:
        """End after the client's close frame, to be answered with the same code, or its error (RFC 6455, section 7.1.7).

        The transport actor answers when it has handled what came before, unless it closes for a reason of its own. If nothing
        was received after a close frame, as it should be, the connection can then be closed at once. Otherwise the
        kernel might reset it, and the client would not receive the answer.
        """
        if self._ends:
            return
        if end.limit is not None:
            self._options.reached(end.limit)
        self._ends, self._is_last = True, is_last and not end.is_error
        self._disconnected(end.code, partial(self._answer, close_frame(end.payload)))

    def _answer(self, farewell: bytes) -> None:
        if self._is_open:
            self._close(farewell)

    def _on_eof(self) -> None:
        """End our side once the transport actor has handled everything, and closes; the client may still read the answers."""
        if not self._ends:
            self._ends = True
            if self._process is None:
                self._close(b"")
            self._disconnected(self._code)

    def _on_lost(self) -> None:
        """The connection is over, and all that was received has been handled."""
        self._disconnected(self._code, _ignore)
        self._kept = None
        # They refer back to this object, one by way of the actor: without them it is freed at once.
        self._fastlane, self.intake.changed = None, _ignore

    def _fail(self, code: int) -> None:
        """Close the connection for a reason of our own, while the transport actor is alive."""
        if self._is_open:
            self._code = code
            self._close(close_frame(close_payload(code)))
            self._disconnected(code)

    def _close(self, farewell: bytes) -> None:
        """Send a close frame behind everything that waits, and no message after it; ignore what is still received."""
        self._uncork()
        self._shut()
        self._ends, self._farewell = True, farewell
        self._frames.stop()
        self._write_waiting()
        if self._farewell is not None:
            self._abort_later()
        if self._kept is not None or self._input:
            self._go_on_later()

    def _end(self) -> None:
        """End our side; the whole connection if the client has ended its own, by its last word or by the end of its stream."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._is_last or self._input == _ENDED:
            transport.close()
            if not transport.get_write_buffer_size():
                return
        else:
            with suppress(OSError):  # the client was faster
                transport.write_eof()
        self._abort_later()

    def _abort_later(self) -> None:
        """Cut the connection, unless the client takes something of what waits for it, or ends its side, in `CLOSE_TIMEOUT`."""
        if self._timer is None:
            self._timer = self._scheduler.clock.call_after(
                CLOSE_TIMEOUT, partial(self._abort_unless_read, self._written())
            )

    def _abort_unless_read(self, before: tuple[int, int]) -> None:
        self._timer = None
        if self._written() != before:
            self._abort_later()
        elif self._transport is not None:
            self._transport.abort()

    def _disconnected(self, code: int, answer: Callable[[], object] | None = None) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.put(Disconnected(code, answer))

    def expire(self) -> None:
        """Close the connection: nothing has been received for too long."""
        # The code that Bandit uses under Phoenix; phoenix.js reconnects after it.
        self._fail(CloseCode.PROTOCOL_ERROR)

    # Carrier

    @property
    def is_read(self) -> bool:
        """Whether the socket is read."""
        return self._input == _READING

    @property
    def dropped(self) -> int:
        """How many broadcasts this client has missed, because it read too slowly."""
        return 0 if self._outbox is None else self._outbox.dropped

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait to be written, without those in the kernel's buffer."""
        waiting = 0 if self._outbox is None else self._outbox.bytes
        return waiting + (0 if self._transport is None else self._transport.get_write_buffer_size())

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on, beginning with what has been received already."""
        self._process = transport
        self._is_attached = self._input != _LOST
        fastlane = fastlane_of(transport)
        if fastlane is not None and self._transport is not None:
            self._join(fastlane)
        if self._transport is None and self._kept is None:
            self._on_lost()
        self.intake.release(STARTING)

    def _join(self, fastlane: Fastlane) -> None:
        """Allow broadcasts to write to the connection directly."""
        self._fastlane, fastlane.outlet, fastlane.write = fastlane, self._outlet, self._put
        fastlane.hold(self._held)

    def send(self, frame: Frame) -> None:
        """Write one frame, or let it wait while the client reads too slowly."""
        held = self._held
        if not held:
            self._write(self._wire(frame), 1)
        elif held == CORKED and self._cork is not None:
            data = self._wire(frame)
            self._cork.append(data)
            if len(data) > _LARGE:
                self._uncork()
        elif not held & CLOSED:
            self._send_later(frame)

    def send_backlog(self, backlog: Backlog) -> None:
        """Write what the client has missed in slices; what is sent meanwhile waits behind it."""
        if self._is_open and self._transport is not None:
            self._uncork()
            self._waiting.put_backlog(backlog)
            if not self._held & (PAUSED | REPLAYING):
                self._hold(REPLAYING)
                self._replay()

    def when_taken(self, done: Callable[[], object]) -> None:
        """Call a function when what waits now is written."""
        if self._outbox is None:
            done()
        else:
            self._outbox.when_taken(done)

    def close(self, code: int) -> None:
        """Send a close frame behind everything that waits, and end our side of the connection."""
        self._process = None
        if self._is_open:
            # A client that has ended its side without a close frame gets none.
            self._close(b"" if self._ends and not self._frames.is_over else close_frame(close_payload(code)))

    def finish(self, end: EndConnection) -> bool:
        """Read no more; return whether all that was received has been delivered. If not, `end` is delivered behind it."""
        is_waiting = self._going_on or self._frames.more or self.intake.held != 0
        if self._kept is None or not is_waiting or not self._is_open:
            return True
        self._behind = end
        self._stop_reading()
        return False

    def abort(self) -> None:
        """Cut the connection, unless a close frame has been sent; the transport actor does so at last when it ends."""
        self._uncork()
        self._process = None
        if self._is_attached:
            self._is_attached = False
            if self._input == _LOST:
                self._options.idle.closed()
        if self._transport is not None and self._is_open:
            self._shut()
            self._transport.abort()


def _writer_to(transport: asyncio.BaseTransport) -> Callable[[bytes], object]:
    """Return what writes to a connection, and drops what is written between its loss and the report of that.

    asyncio's own transports would log a warning for each of these writes, of which one reset may cause hundreds: what a client
    is sent in the same turn. uvloop's find out at the end of the turn.
    """
    if not isinstance(transport, asyncio.Transport):
        return cast("asyncio.Transport", transport).write

    def write(data: bytes) -> None:
        if not transport.is_closing():
            transport.write(data)

    return write


def _ignore(*_: object) -> None:
    """There is no connection any more."""
