"""Carry out the effects of a socket's protocol on the event loop: connections, timers, and calls of the user's functions."""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from actors.channels.encoding import payload_of
from actors.channels.message import Message
from actors.clock import LoopClock
from actors.fork import check_process
from actors.log import Log
from transport.client.client_connection import ClientConnection, Link
from transport.client.client_serializer import ClientSerializer, written_payload
from transport.client.exceptions import ParamsError
from transport.client.longpoll_link import LongPollLink
from transport.client.protocol.effects import (
    Call,
    CloseConnection,
    Effect,
    OpenConnection,
    ProtocolTimer,
    Resolve,
    SendMessage,
    StartTimer,
    StopTimer,
    TransportName,
)
from transport.client.websocket_link import WebSocketLink
from transport.exceptions import MalformedMessageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from actors.clock import Clock, Timer
    from transport.client.connection_options import ConnectionOptions, Target
    from transport.client.protocol.socket_protocol import SocketProtocol

__all__ = ["Driver", "resolved"]

_log = Log("ashtree.client")


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "the client connects on a running event loop: call it in a coroutine, or use connect() of ashtree.client.sync"
        ) from None


async def resolved(value: object) -> object:
    """Return a value, or what a function or coroutine function returns."""
    if callable(value):
        value = value()
    return await value if inspect.isawaitable(value) else value


class Driver:
    """Runs the protocol of one socket; used from the thread of its event loop only.

    `clock` is the one of the running event loop if None.
    """

    def __init__(
        self,
        protocol: SocketProtocol,
        serializer: ClientSerializer,
        target: Callable[[], Awaitable[Target]],
        options: ConnectionOptions,
        clock: Clock | None,
    ) -> None:
        self.protocol = protocol
        self._serializer, self._target, self._options, self._clock = serializer, target, options, clock
        self._connections: dict[int, ClientConnection] = {}
        self._timers: dict[ProtocolTimer, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection_tasks: set[asyncio.Task[None]] = set()
        # By topic, while they run.
        self._resolving: WeakValueDictionary[str, asyncio.Task[None]] = WeakValueDictionary()
        self._is_carrying = False
        # The process in which it has connections or timers, 0 for none.
        self._process_id = 0

    @property
    def is_here(self) -> bool:
        """Whether it does not run in the process from which this one was forked."""
        return self._process_id in (0, os.getpid())

    def check_process(self) -> None:
        """Raise ForkedError if it runs in the process from which this one was forked."""
        if self._process_id:
            check_process(self._process_id, "this socket")

    @property
    def clock(self) -> Clock:
        """The clock that measures the times of this socket."""
        self.check_process()
        if self._clock is None:
            self._clock = LoopClock(_running_loop())
        return self._clock

    def check(self, message: Message) -> None:
        """Raise UnencodableError if the version of the protocol cannot encode this binary message."""
        if isinstance(message.payload, bytes):
            self._serializer.encode(message)

    def carry(self) -> None:
        """Carry out all pending effects in order, and those that they cause."""
        self.check_process()
        if self._is_carrying:
            return
        self._is_carrying = True
        try:
            while effects := self.protocol.take():
                for effect in effects:
                    self._carry_out(effect)
        finally:
            self._is_carrying = False

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendMessage(number, message):
                self._connections[number].send(self._serializer.encode(message))
            case Call(callback, args):
                self.call(callback, *args)
            case StartTimer(timer, seconds):
                self._stop(timer)
                self._process_id = os.getpid()
                self._timers[timer] = self.clock.call_after(seconds, lambda: self._fire(timer))
            case StopTimer(timer):
                self._stop(timer)
            case OpenConnection(number, transport):
                self._open(number, transport)
            case CloseConnection(number, code, reason):
                self._connections.pop(number).close(code, reason)
            case Resolve(topic):
                # The params of an earlier join are obsolete.
                if earlier := self._resolving.get(topic):
                    earlier.cancel()
                self._resolving[topic] = self._spawn(self._resolve(effect), self._tasks)

    # The connection (ConnectionListener)

    def _open(self, number: int, transport: TransportName) -> None:
        opener = self._open_websocket if transport == "websocket" else self._open_longpoll
        connection = ClientConnection(number, opener, self, self.clock)
        self._connections[number], self._process_id = connection, os.getpid()
        self._spawn(connection.run(), self._connection_tasks)

    async def _open_websocket(self, heard: Callable[[], None]) -> Link:
        return await WebSocketLink.open(await self._target(), self._options, heard)

    async def _open_longpoll(self, _heard: Callable[[], None]) -> Link:
        return await LongPollLink.open(await self._target(), self._options, self.clock)

    def opened(self, connection: int) -> None:
        """Report to the protocol that the connection is open."""
        self.protocol.opened(connection)
        self.carry()

    def failed(self, connection: int, error: Exception) -> None:
        """Report to the protocol that the connection could not be established."""
        if isinstance(error, ParamsError):
            # It is retried like a server that is down, so nothing else would point at the user's own code.
            _log.warning("cannot connect: %s", error, exc_info=error)
        self._connections.pop(connection, None)
        self.protocol.failed(connection, error)
        self.carry()

    def heard(self, connection: int) -> None:
        """Report to the protocol that bytes were received."""
        self.protocol.heard(connection)

    def data_received(self, connection: int, data: str | bytes) -> None:
        """Decode received data and pass it to the protocol."""
        try:
            message = self._serializer.decode(data)
        except MalformedMessageError as error:
            _log.warning("dropped a malformed message: %s", error)
            self.protocol.malformed(connection, error)
        else:
            self.protocol.received(connection, message)
        self.carry()

    def closed(self, connection: int, code: int, reason: str) -> None:
        """Report to the protocol that the connection has ended."""
        self._connections.pop(connection, None)
        self.protocol.closed(connection, code, reason)
        self.carry()

    # Timers

    def _fire(self, timer: ProtocolTimer) -> None:
        del self._timers[timer]
        # A server that takes what is being sent lives, even if it cannot answer before it has all of it.
        for number, connection in self._connections.items():
            if connection.has_written():
                self.protocol.heard(number)
        timer.fire()
        self.carry()

    def _stop(self, timer: ProtocolTimer) -> None:
        running = self._timers.pop(timer, None)
        if running is not None:
            running.cancel()

    # The user's functions

    def call(self, callback: Callable[..., object], *args: object) -> None:
        """Call a user's function; log what it raises, and run an awaitable that it returns as a task."""
        try:
            result = callback(*args)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001  # an error of the user's must not end the connection
            _log.exception("the callback %r failed", callback)
            return
        if inspect.isawaitable(result):
            self._spawn(self._finish(callback, result), self._tasks)

    async def _finish(self, callback: Callable[..., object], result: Awaitable[object]) -> None:
        try:
            await result
        except Exception:  # noqa: BLE001  # an error of the user's must not end the connection
            _log.exception("the callback %r failed", callback)

    async def _resolve(self, effect: Resolve) -> None:
        try:
            payload = written_payload(await resolved(effect.source), payload_of("phx_join", effect.topic))
            self._serializer.encode(Message(None, None, effect.topic, "phx_join", payload))
        except Exception as error:  # noqa: BLE001  # an error of the user's must not end the connection
            _log.exception("the function %r failed", effect.source)
            effect.failed(error)
        else:
            effect.done(payload)
        self.carry()

    # Tasks

    def _spawn(self, coroutine: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    async def connections_ended(self) -> None:
        """Return when all closed connections have ended."""
        await asyncio.gather(*self._connection_tasks, return_exceptions=True)
        if not self._connections and not self._timers:
            self._process_id = 0

    async def end(self) -> None:
        """Wait for the connections to end, then cancel the callbacks that still run."""
        await self.connections_ended()
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
