"""The WebSocket carrier: frames of RFC 6455 between a TCP connection and a transport actor.

`websockets`' protocol object implements the rules: the handshake, control frames, fragments, closing. Three things bypass it,
so that most connections need none: the common kind of handshake (`handshake.py`), the common kinds of received frames
(`frames.py`), and sent messages, as a whole unmasked frame needs only two to ten bytes in front of its payload.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from websockets.frames import CloseCode
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode as WebSocketOpcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from actors import telemetry
from actors.channels.fastlane import CLOSED, CORKED, PAUSED, fastlane_of
from transport import socket_events
from transport.carriers.carrier import CLOSE_TIMEOUT, Disconnected
from transport.carriers.frames import CLOSE_HEAD, close_frame, common_close, common_frames, frame_end, wire
from transport.carriers.handshake import common_handshake
from transport.carriers.intake import Intake
from transport.carriers.traffic import Traffic

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors.channels.fastlane import Fastlane
    from actors.channels.message import Frame
    from actors.clock import Timer
    from actors.lowlevel import Process, Scheduler
    from transport.carriers.carrier import CarrierOptions

__all__ = ["WebSocketCarrier", "WebSocketTraffic"]


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
        "_close_code",
        "_cork",
        "_early",
        "_fastlane",
        "_fragmented",
        "_fragments",
        "_is_open",
        "_listening",
        "_options",
        "_paused",
        "_process",
        "_protocol",
        "_rest",
        "_scheduler",
        "_timer",
        "_traffic",
        "_transport",
        "intake",
        "sweeps",
    )

    def __init__(self, scheduler: Scheduler, options: CarrierOptions) -> None:
        self._scheduler, self._options, self._traffic = scheduler, options, options.traffic
        self.sweeps = 0
        self.intake = Intake(options.limits, lambda: None)
        # Made when it is first needed, see `_rules`.
        self._protocol: ServerProtocol | None = None
        # The code of the client's close frame, if it was of the common kind.
        self._close_code: int | None = None
        self._process: Process | None = None
        self._fastlane: Fastlane | None = None
        self._transport: asyncio.Transport | None = None
        # Messages that are received before the transport actor has started.
        self._early: list[str | bytes] | None = []
        self._fragments: list[bytes] | None = None
        self._fragmented: WebSocketOpcode | None = None
        # The beginning of a frame that has not been received in full.
        self._rest: bytearray | None = None
        self._is_open = self._listening = True
        self._paused = False
        # While the bytes of one read are handled, frames to send wait here, to leave in one write.
        self._cork: list[bytes] | None = None
        self._timer: Timer | None = None

    def accept(self, request: Request) -> Response:
        """Return the answer to the opening handshake (RFC 6455, section 4.2): 101, or what is wrong with the request."""
        return common_handshake(request) or ServerProtocol().accept(request)

    @property
    def _rules(self) -> ServerProtocol:
        """The general parser, from after the handshake on, which the listener has parsed."""
        if self._protocol is None:
            self._protocol = ServerProtocol(state=State.OPEN, max_size=self._options.max_size)
            # At level debug it would log all frames, with the secrets in them.
            self._protocol.debug = False
        return self._protocol

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection after the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._options.idle.add(self)

    def data_received(self, data: bytes) -> None:
        """Deliver the received messages to the transport actor, and run the actors that are ready."""
        self.sweeps = 0
        self._traffic.bytes_in += len(data)
        self._cork = []
        self._hold(CORKED)
        try:
            if self._rest is None:
                self._read(data)
            else:
                self._rest += data
                self._read(self._rest)
            self._scheduler.run_ready()
            self._uncork()
        finally:
            self._cork = None
            self._release(CORKED)

    def eof_received(self) -> None:
        """End our side of the connection, as the client has ended its own."""
        if self._close_code is None:
            self._rules.receive_eof()
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the transport actor that the client has disconnected."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._options.idle.discard(self)
        self._shut()
        self._disconnected()
        # It refers back to this object, by way of the actor: without it both are freed at once.
        self._fastlane = None

    def pause_writing(self) -> None:
        """Stop writing past the transport actor: the client reads more slowly than we write."""
        self._paused = True
        self._hold(PAUSED)

    def resume_writing(self) -> None:
        """Write past the transport actor again: the client has caught up."""
        self._paused = False
        self._release(PAUSED)

    # The fastlane

    def _hold(self, reason: int) -> None:
        if self._fastlane is not None:
            self._fastlane.hold(reason)

    def _release(self, reason: int) -> None:
        if self._fastlane is not None:
            self._fastlane.release(reason)

    def _shut(self) -> None:
        """Send no more messages."""
        self._is_open = False
        self._hold(CLOSED)

    # Received frames

    def _read(self, data: bytes | bytearray) -> None:
        """Handle the frames that have been received in full: the common kinds at once, the others by the general parser."""
        start = 0
        while not self._is_done:
            if self._fragmented is None and self._listening:
                start = self._read_messages(data, start)
            if start == len(data):
                break
            if self._protocol is None and self._read_close(data, start):
                break
            end = frame_end(data, start, self._options.max_size)
            if end is None or end > len(data):
                break
            self._read_any(bytes(data[start:end]))
            start = end
        self._keep(data, len(data) if self._is_done else start)

    @property
    def _is_done(self) -> bool:
        """Whether the closing handshake is complete on our side: what follows is ignored (RFC 6455, section 7.1.7)."""
        return self._close_code is not None or (self._protocol is not None and self._protocol.eof_sent)

    def _read_messages(self, data: bytes | bytearray, start: int) -> int:
        """Deliver the messages of the common kind from `start` on; return where the first other frame begins."""
        messages, end = common_frames(data, start, self._options.max_size)
        self._traffic.messages_in += len(messages)
        for message in messages:
            self._deliver(message)
        return end

    def _read_close(self, data: bytes | bytearray, start: int) -> bool:
        """Handle a close frame of the common kind at `start`; return whether there was one."""
        close = common_close(data, start)
        if close is None:
            return False
        code, payload = close
        self._on_close(code, payload, is_last=start + CLOSE_HEAD + len(payload) == len(data))
        return True

    def _on_close(self, code: int, payload: bytes, *, is_last: bool) -> None:
        """Answer the client's close frame with the same code, and end (RFC 6455, sections 5.5.1 and 7.1.1).

        If nothing was received after it, as it should be, the connection can be closed at once. Otherwise the kernel might
        reset it, and the client would not receive the answer.
        """
        self._uncork()
        self._close_code = code
        self._shut()
        if self._transport is not None:
            answer = close_frame(payload)
            self._traffic.bytes_out += len(answer)
            self._transport.write(answer)
            if is_last:
                self._transport.close()
            else:
                self._end()
        self._disconnected()

    def _keep(self, data: bytes | bytearray, start: int) -> None:
        """Keep the beginning of a frame for the next read."""
        if start == len(data):
            self._rest = None
        elif data is self._rest:
            del self._rest[:start]  # in place: a long frame is not copied at each of its reads
        else:
            self._rest = bytearray(data[start:])

    def _read_any(self, data: bytes) -> None:
        """Pass one frame of any kind, or invalid bytes, to the general parser."""
        self._rules.receive_data(data)
        for event in self._rules.events_received():
            assert isinstance(event, WebSocketFrame)
            self._on_frame(event)
        self._flush()

    def _on_frame(self, frame: WebSocketFrame) -> None:
        match frame.opcode:
            case WebSocketOpcode.TEXT | WebSocketOpcode.BINARY if frame.fin:
                self._on_message(frame.opcode, bytes(frame.data))
            case WebSocketOpcode.TEXT | WebSocketOpcode.BINARY:
                self._fragmented, self._fragments = frame.opcode, [bytes(frame.data)]
            case WebSocketOpcode.CONT if self._fragments is not None:
                self._fragments.append(bytes(frame.data))
                if frame.fin and self._fragmented is not None:
                    data, opcode = b"".join(self._fragments), self._fragmented
                    self._fragments = self._fragmented = None
                    self._on_message(opcode, data)

    def _on_message(self, opcode: WebSocketOpcode, data: bytes) -> None:
        # The parser may be a few frames ahead, and even closed: messages before that still count.
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
            if self._rules.state is State.OPEN:
                self._rules.fail(CloseCode.INVALID_DATA)

    def _deliver(self, data: str | bytes) -> None:
        if self._process is None:
            if self._early is not None:
                self._early.append(data)
        elif self._fastlane is None:
            self.intake.add(len(data))
            self._process.put(data)
        elif not self._fastlane.take(data):
            self.intake.add(len(data))

    def _uncork(self) -> None:
        """Write all that is corked, in one write."""
        corked = self._cork
        if corked:
            self._cork = []
            self._write(corked[0] if len(corked) == 1 else b"".join(corked), len(corked))

    def _write(self, data: bytes, messages: int) -> None:
        transport = self._transport
        if transport is not None:
            self._traffic.wrote(data, 1, messages)
            transport.write(data)
            if self._paused and transport.get_write_buffer_size() > self._options.outbox.max_bytes:
                transport.abort()

    def _flush(self) -> None:
        """Write the output of the general parser, and end the connection if it has ended."""
        self._uncork()
        transport = self._transport
        for data in self._rules.data_to_send():
            if transport is None or transport.is_closing():
                return
            if data:
                self._traffic.bytes_out += len(data)
                transport.write(data)
            else:
                self._end()
        if self._rules.state is not State.OPEN:
            self._shut()
            self._disconnected()

    def _end(self) -> None:
        """End our side, and give the client `CLOSE_TIMEOUT` to read what it was sent and to end its own."""
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
            process.put(Disconnected(self._end_code()))

    def _end_code(self) -> int:
        if self._close_code is not None:
            return self._close_code
        protocol = self._protocol
        close = None if protocol is None else protocol.close_rcvd or protocol.close_sent
        return CloseCode.ABNORMAL_CLOSURE if close is None else close.code

    def expire(self) -> None:
        """Close the connection: nothing has been received for too long."""
        self._listening = False
        if self._is_open:
            # The code that Bandit uses under Phoenix; phoenix.js reconnects after it.
            self._rules.send_close(CloseCode.PROTOCOL_ERROR)
            self._flush()
        self._abort_later()

    # Carrier

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait to be written, without those in the kernel's buffer."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on, beginning with the messages that have been received already."""
        self._process = transport
        early, self._early = self._early, None
        if self._transport is None:
            self._disconnected()
            return
        fastlane = fastlane_of(transport)
        if fastlane is not None:
            self._join(fastlane, self._transport)
        for data in early or ():
            self.intake.add(len(data))
            transport.put(data)

    def _join(self, fastlane: Fastlane, transport: asyncio.Transport) -> None:
        """Allow broadcasts to write to the connection directly."""
        assert isinstance(self._traffic, WebSocketTraffic)
        self._fastlane, fastlane.outlet, fastlane.write = fastlane, self._traffic, transport.write
        if self._cork is not None:
            fastlane.hold(CORKED)
        if self._paused:
            fastlane.hold(PAUSED)
        if not self._is_open:
            fastlane.hold(CLOSED)

    def send(self, frame: Frame) -> None:
        """Write one frame."""
        if not self._is_open:
            return
        data = frame.wire or wire(frame)
        if self._cork is None:
            self._write(data, 1)
        else:
            self._cork.append(data)

    def close(self, code: int) -> None:
        """Send a close frame, and cut the connection if the client does not answer it within `CLOSE_TIMEOUT`."""
        self._process, self._listening = None, False
        if not self._is_open:
            return
        self._rules.send_close(code)
        self._flush()
        self._abort_later()

    def abort(self) -> None:
        """Cut the connection, unless a close frame has been sent."""
        self._uncork()
        self._process = None
        if self._transport is not None and self._is_open:
            self._shut()
            self._transport.abort()
