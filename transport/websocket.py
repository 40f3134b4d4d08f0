"""The WebSocket carrier: frames of RFC 6455 between a TCP connection and a transport actor.

`websockets`' own protocol object does the rules: the handshake, control frames, fragments, closing. Two things bypass it: what
goes out, as whole unmasked frames need two to ten bytes in front and a broadcast is framed once for all its connections; and
the common kind of frame that comes in (`frames.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from websockets.frames import CloseCode
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode as WebSocketOpcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from transport.frames import common_frames, frame_end
from transport.traffic import Traffic
from transport.transport import Disconnected

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors.clock import Timer
    from actors.message import Frame
    from actors.runtime.process import Process
    from actors.runtime.scheduler import Scheduler
    from transport.idle import IdleConnections

__all__ = ["MAX_FRAME_SIZE", "WebSocketCarrier", "wire"]

MAX_FRAME_SIZE = 8_000_000
"""The bytes that a message may have: Bandit's limit, under Phoenix."""

# Up to these sizes the length has 7 bits, or 16 (RFC 6455, section 5.2).
_SHORT, _MEDIUM = 125, 0xFFFF
# Seconds that a client may take to answer a close frame, and to end its side of the connection.
CLOSE_TIMEOUT = 5.0
# Bytes that may wait for a client that does not read; beyond, it is cut off before it costs others their memory.
MAX_BUFFER = 64 * 1024 * 1024


def wire(frame: Frame) -> bytes:
    """Return the frame as it goes on the wire (RFC 6455, section 5.2), made once."""
    if frame.wire is None:
        data, head = frame.data, 0x80 | frame.opcode
        size = len(data)
        if size <= _SHORT:
            frame.wire = bytes((head, size)) + data
        elif size <= _MEDIUM:
            frame.wire = bytes((head, 126)) + size.to_bytes(2, "big") + data
        else:
            frame.wire = bytes((head, 127)) + size.to_bytes(8, "big") + data
    return frame.wire


class WebSocketCarrier(asyncio.Protocol):
    """One WebSocket of the listener; its bytes are those of the frames, heads included."""

    kind: ClassVar[str] = "websocket"

    def __init__(
        self,
        scheduler: Scheduler,
        idle: IdleConnections,
        max_size: int = MAX_FRAME_SIZE,
        traffic: Traffic | None = None,
    ) -> None:
        self._scheduler, self._idle = scheduler, idle
        self._traffic = traffic or Traffic()
        self.sweeps = 0
        self._max_size = max_size
        # The handshake is read by the listener; this object begins where it ends.
        self._protocol = ServerProtocol(state=State.OPEN, max_size=max_size)
        # It would log all frames at level debug, with the secrets that are in them.
        self._protocol.debug = False
        self._process: Process | None = None
        self._transport: asyncio.Transport | None = None
        self._early: list[str | bytes] = []
        self._fragments: list[bytes] = []
        self._fragmented: WebSocketOpcode | None = None
        self._rest = bytearray()
        self._listening = True
        self._paused = False
        # While what was read is handled, what is written waits here, to leave in one write.
        self._cork: list[bytes] | None = None
        self._timer: Timer | None = None

    def accept(self, request: Request) -> Response:
        """Do the opening handshake (RFC 6455, section 4.2): answer 101, or what is wrong with the request."""
        return self._protocol.accept(request)

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection after the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._idle.add(self)

    def data_received(self, data: bytes) -> None:
        """Give what came in to the transport actor, and let the actors run."""
        self.sweeps = 0
        self._traffic.bytes_in += len(data)
        self._cork = []
        try:
            if self._rest:
                self._rest += data
                self._read(self._rest)
            else:
                self._read(data)
            self._scheduler.run_ready()
            self._uncork()
        finally:
            self._cork = None

    def eof_received(self) -> None:
        """The client has ended its side: so do we."""
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the transport actor that the client has gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._idle.discard(self)
        self._disconnected()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False

    # What comes in

    def _read(self, data: bytes | bytearray) -> None:
        """Read the frames that have come whole: the common kind at once, each other by the general parser."""
        start = 0
        while not self._protocol.eof_sent:
            if self._fragmented is None and self._listening:
                messages, start = common_frames(data, start, self._max_size)
                self._traffic.messages_in += len(messages)
                for message in messages:
                    self._deliver(message)
            end = frame_end(data, start, self._max_size)
            if end is None or end > len(data):
                break
            self._read_any(bytes(data[start:end]))
            start = end
        if self._protocol.eof_sent:
            # We have said that we are done (RFC 6455, section 7.1.7): the rest does not count.
            start = len(data)
        if data is self._rest:
            del self._rest[:start]  # in place: a long frame that comes in many reads is not copied at each
        else:
            self._rest = bytearray(data[start:])

    def _read_any(self, data: bytes) -> None:
        """Read one frame of whatever kind, or what is none."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            assert isinstance(event, WebSocketFrame)
            self._on_frame(event)
        self._flush()

    def _on_frame(self, frame: WebSocketFrame) -> None:
        match frame.opcode:
            case WebSocketOpcode.TEXT | WebSocketOpcode.BINARY if frame.fin:
                self._on_message(frame.opcode, bytes(frame.data))
            case WebSocketOpcode.TEXT | WebSocketOpcode.BINARY:
                self._fragmented, self._fragments = frame.opcode, [bytes(frame.data)]
            case WebSocketOpcode.CONT:
                self._fragments.append(bytes(frame.data))
                if frame.fin and self._fragmented is not None:
                    data, opcode = b"".join(self._fragments), self._fragmented
                    self._fragments, self._fragmented = [], None
                    self._on_message(opcode, data)

    def _on_message(self, opcode: WebSocketOpcode, data: bytes) -> None:
        # The protocol may be a few frames ahead, even closed: what came before still counts.
        if not self._listening:
            return
        self._traffic.messages_in += 1
        if opcode is WebSocketOpcode.BINARY:
            self._deliver(data)
            return
        try:
            self._deliver(data.decode())
        except UnicodeDecodeError:
            # RFC 6455, section 8.1: text that is not UTF-8 fails the connection.
            self._listening = False
            if self._protocol.state is State.OPEN:
                self._protocol.fail(CloseCode.INVALID_DATA)

    def _deliver(self, data: str | bytes) -> None:
        if self._process is None:
            self._early.append(data)
        else:
            self._process.put(data)

    def _uncork(self) -> None:
        """Write what has waited, in one write."""
        corked = self._cork
        if corked:
            self._cork = []
            self._write(corked[0] if len(corked) == 1 else b"".join(corked), len(corked))

    def _write(self, data: bytes, messages: int) -> None:
        transport = self._transport
        if transport is not None:
            traffic = self._traffic
            traffic.messages_out += messages
            traffic.bytes_out += len(data)
            transport.write(data)
            if self._paused and transport.get_write_buffer_size() > MAX_BUFFER:
                transport.abort()

    def _flush(self) -> None:
        """Write what the protocol has to say, and end the connection when it says so."""
        self._uncork()
        transport = self._transport
        for data in self._protocol.data_to_send():
            if transport is None or transport.is_closing():
                return
            if data:
                self._traffic.bytes_out += len(data)
                transport.write(data)
            else:
                self._end()
        if self._protocol.state is not State.OPEN:
            self._disconnected()

    def _end(self) -> None:
        """End our side, and give the client a moment to read what it was sent and to end its own."""
        assert self._transport is not None
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._abort_later()

    def _abort_later(self) -> None:
        transport = self._transport
        if transport is not None and self._timer is None:
            self._timer = self._scheduler.clock.call_after(CLOSE_TIMEOUT, transport.abort)

    def _disconnected(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            sent, received = self._protocol.close_sent, self._protocol.close_rcvd
            close = received or sent
            process.put(Disconnected(CloseCode.ABNORMAL_CLOSURE if close is None else close.code))

    def expire(self) -> None:
        """Close, because nothing has come for too long."""
        self._listening = False
        if self._protocol.state is State.OPEN:
            # The code that Bandit uses, under Phoenix; phoenix.js reconnects on it.
            self._protocol.send_close(CloseCode.PROTOCOL_ERROR)
            self._flush()
        self._abort_later()

    # Carrier

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the client has not read yet, beyond what the kernel keeps for it."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on, first what has come already."""
        self._process = transport
        if self._transport is None:
            self._disconnected()
            return
        early, self._early = self._early, []
        for data in early:
            transport.put(data)

    def send(self, frame: Frame) -> None:
        """Write one frame."""
        if self._transport is None or self._protocol.state is not State.OPEN:
            return
        data = frame.wire or wire(frame)
        if self._cork is None:
            self._write(data, 1)
        else:
            self._cork.append(data)

    def close(self, code: int) -> None:
        """Send a close frame and wait for the client's."""
        self._process, self._listening = None, False
        if self._transport is None or self._protocol.state is not State.OPEN:
            return
        self._protocol.send_close(code)
        self._flush()
        self._abort_later()

    def abort(self) -> None:
        """Cut the connection, unless it is being closed in good order."""
        self._uncork()
        self._process = None
        if self._transport is not None and self._protocol.state is State.OPEN:
            self._transport.abort()
