"""The carrier of an ASGI server's WebSockets: events of ASGI between the server and a transport actor.

The server owns the socket: it makes the frames, answers pings, and slows the client down when the application does not call
`receive`; its `send` waits while the client does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from websockets.frames import CloseCode

from actors.channels.fastlane import fastlane_of
from actors.channels.message import Opcode
from actors.exceptions import ActorDeadError, StartError
from actors.log import Log
from actors.lowlevel import next_round
from actors.time_bound import TimeBound
from transport.carriers.carrier import CLOSE_TIMEOUT, SLICE, Disconnected, EndConnection
from transport.carriers.intake import Intake
from transport.carriers.outbox import OVERFLOWED
from transport.carriers.race import first, task_of
from transport.carriers.unread import UnreadReplies

if TYPE_CHECKING:
    from actors.channels.fastlane import Fastlane
    from actors.channels.message import Frame
    from actors.clock import Timer
    from actors.history.backlog import Backlog
    from actors.lowlevel import Process, Scheduler
    from transport.carriers.carrier import CarrierOptions
    from transport.carriers.pace import Pace

__all__ = ["AsgiCarrier", "Event", "Receive", "Send", "written"]

_log = Log("ashtree.transport")

# A code of RFC 6455 as one for private use (its section 7.4.2): 1012 as 4012.
_PRIVATE = 3000

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class AsgiCarrier:
    """One WebSocket of an ASGI server.

    Two tasks: one reads, and calls `receive` only while the intake is not held; one writes, because the server's `send` waits
    and a carrier's must not. What waits for it is in the outbox. Its byte counts are those of the messages, as the server makes
    the frames.
    """

    kind: ClassVar[str] = "websocket"

    def __init__(self, pace: Pace, scheduler: Scheduler, options: CarrierOptions) -> None:
        self._pace = pace
        self._scheduler, self._options, self._traffic = scheduler, options, options.traffic
        self.sweeps = 0
        self.intake = Intake(options.limits, self._on_intake, options.reached)
        self._outbox = options.outbox_for(self.intake)
        self._process: Process | None = None
        self._fastlane: Fastlane | None = None
        self._is_open = True
        self._close_code: int | None = None
        self._timer: Timer | None = None
        # The messages that the server has accepted.
        self._written = 0
        self._unread = UnreadReplies(
            scheduler.clock,
            options.limits.send_timeout,
            self.intake,
            lambda: self._written,
            lambda: self._give_up("send_timeout"),
        )
        self._may_read, self._more, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._may_read.set()

    async def serve(self, begin: Callable[[], Any], receive: Receive, send: Send) -> None:
        """Carry messages until the client disconnects, or we close the connection."""
        self._options.idle.add(self)
        try:
            await begin()
            await first(task_of(self._read(receive)), task_of(self._write(send)), task_of(self._over.wait()))
            # Only now that no task is reading: granian sends no close frame while one is.
            if self._close_code is not None and not self._over.is_set():
                await self._write_close(send, self._close_code)
        except (StartError, ActorDeadError):
            # The supervisor has logged why; phoenix.js reconnects after this code.
            await self._write_close(send, CloseCode.SERVICE_RESTART)
        finally:
            self._end()

    def _end(self) -> None:
        self._options.idle.discard(self)
        self._unread.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._disconnected(CloseCode.ABNORMAL_CLOSURE)
        self._outbox.clear()
        # It refers back to this object.
        self.intake.changed = bool

    # Received messages

    async def _read(self, receive: Receive) -> None:
        """Deliver messages in slices: a server that has many ready hands them over without an iteration of the event loop."""
        left = SLICE
        while (event := await receive())["type"] == "websocket.receive":
            self.sweeps = 0
            text = event.get("text")
            self._deliver(event["bytes"] if text is None else text)
            self._scheduler.run_ready()
            left -= 1
            if not left or self._scheduler.overdue or self.intake.held:
                left = SLICE
                await next_round()
                await self._may_read.wait()
        self._disconnected(event.get("code", CloseCode.NO_STATUS_RCVD))

    def _on_intake(self) -> None:
        """Stop reading, or go on: what has been received by the server waits there, and then in the socket."""
        if self.intake.held:
            self._may_read.clear()
        else:
            # The client was silent because it was not read.
            self.sweeps = 0
            self._may_read.set()

    def _deliver(self, data: str | bytes) -> None:
        size = _size(data)
        self._traffic.messages_in += 1
        self._traffic.bytes_in += size
        if size > self._options.max_size:
            self._options.reached("max_frame_size")
            self._fail(CloseCode.MESSAGE_TOO_BIG)
        elif self._fastlane is not None:
            if not self._fastlane.take(data):
                self.intake.add(len(data))
        elif self._process is not None:
            self.intake.add(len(data))
            self._process.put(data)

    def _disconnected(self, code: int) -> None:
        self._is_open = False
        process, self._process, self._fastlane = self._process, None, None
        if process is not None:
            process.put(Disconnected(code, _ignore))

    def _fail(self, code: int) -> None:
        """Close the connection because of something the client did or did not do, and notify the transport actor."""
        process = self._process
        self.close(code)
        if process is not None:
            process.put(Disconnected(code, _ignore))

    def expire(self) -> None:
        """Close the connection: nothing has been received for too long, although it was read."""
        if self.intake.held:
            self.sweeps = 0
        else:
            self._fail(CloseCode.PROTOCOL_ERROR)

    # Sent messages

    async def _write(self, send: Send) -> None:
        """Write what is in the outbox until the connection is to be closed and all is written."""
        while (frame := await self._next_frame()) is not None:
            await self._pace.turn(len(frame.data), is_broadcast=frame.broadcast is not None)
            if not await written(send, self._event(frame)):
                self._lost()
                # The server reports the end to the task that reads, after what it has received before.
                await self._over.wait()
                return
            self._on_written(frame)

    async def _next_frame(self) -> Frame | None:
        while (frame := self._outbox.pop()) is None and self._close_code is None:
            self._more.clear()
            await self._more.wait()
        return frame

    def _event(self, frame: Frame) -> Event:
        """Return a frame as the server takes it."""
        if frame.opcode is Opcode.TEXT:
            return {"type": "websocket.send", "text": self._pace.text_of(frame)}
        return {"type": "websocket.send", "bytes": frame.data}

    def _on_written(self, frame: Frame) -> None:
        self._traffic.messages_out += 1
        self._traffic.bytes_out += len(frame.data)
        self._written += 1

    def _lost(self) -> None:
        """Write no more: the server does not accept it."""
        self._is_open = False
        self._outbox.clear()
        self._give_up_later()

    def _give_up_later(self) -> None:
        if self._timer is None:
            self._timer = self._scheduler.clock.call_after(CLOSE_TIMEOUT, self._time_is_up)

    def _time_is_up(self) -> None:
        """Return from the application, unless the server may have messages for which there is no room yet."""
        self._timer = None
        if self._process is not None and self.intake.held:
            self._give_up_later()
        else:
            self._over.set()

    async def _write_close(self, send: Send, code: int) -> None:
        """Close with this code, or with one for private use in its place: daphne sends no code between 1001 and 2999."""
        with suppress(TimeoutError), TimeBound(self._scheduler.clock, CLOSE_TIMEOUT):
            if not await written(send, {"type": "websocket.close", "code": int(code)}):
                await written(send, {"type": "websocket.close", "code": int(code) + _PRIVATE})

    # A client that does not read

    def _give_up(self, limit: str) -> None:
        """Close the connection of a client that does not keep up, without what waits for it."""
        self._options.reached(limit)
        self._outbox.clear()
        self._fail(OVERFLOWED)

    # Carrier

    @property
    def dropped(self) -> int:
        """How many broadcasts the client has missed, as it did not keep up."""
        return self._outbox.dropped

    def get_write_buffer_size(self) -> int:
        """Return the bytes of the messages that the server has not been given yet."""
        return self._outbox.bytes

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on; nothing has been read before."""
        self._process, self._fastlane = transport, fastlane_of(transport)
        if not self._is_open:
            self._disconnected(CloseCode.ABNORMAL_CLOSURE)

    def send(self, frame: Frame) -> None:
        """Queue one frame."""
        if not self._is_open:
            return
        # What waited in the mailbox of this client's own actor was caused by another one.
        cause = self._scheduler.current
        if frame.broadcast is not None and cause is not None and cause is not self._process:
            self._pace.queued(self._scheduler, cause)
        fits = self._outbox.put(frame, len(frame.data))
        self._more.set()
        if not fits:
            self._give_up("outbox")
        else:
            self._unread.watch()

    def send_backlog(self, backlog: Backlog) -> None:
        """Queue what the client has missed."""
        if self._is_open:
            self._outbox.put_backlog(backlog)
            self._more.set()

    def when_taken(self, done: Callable[[], object]) -> None:
        """Call a function when the server has taken what waits now."""
        self._outbox.when_taken(done)

    def close(self, code: int) -> None:
        """Send a close frame after what is in the outbox; give up after `CLOSE_TIMEOUT`."""
        self._process = self._fastlane = None
        if self._is_open:
            self._is_open = False
            self._close_code = int(code)
            self._more.set()
            self._give_up_later()

    def finish(self, _end: EndConnection) -> bool:
        """Return True: what the server has given us has been delivered."""
        return True

    def abort(self) -> None:
        """Return from the application, upon which servers cut the connection, unless a close frame is to be sent."""
        self._process = self._fastlane = None
        if self._is_open:
            self._is_open = False
            self._over.set()


def _ignore() -> None:
    """The server has closed the connection, or is told to."""


async def written(send: Send, event: Event) -> bool:
    """Pass one event of a WebSocket to the server; return whether it has accepted it, as the client is still there."""
    try:
        await send(event)
    except Exception as error:  # noqa: BLE001  # servers differ in what they raise after a disconnection
        _log.debug("could not write: %r", error)
        return False
    return True


def _size(data: str | bytes) -> int:
    """Return the size of a message in bytes, as UTF-8 if it is text."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode(errors="surrogatepass"))
