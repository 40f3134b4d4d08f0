"""Carry out what a socket's protocol wants, on the event loop: connections, timers, and the functions of the user."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from actors.channels.message import Message
from transport.client.client_connection import Connection, Door, WebSocketOptions
from transport.client.client_serializer import ClientSerializer, written_payload
from transport.client.exceptions import ParamsError
from transport.client.protocol.effects import (
    Call,
    CloseConnection,
    Effect,
    OpenConnection,
    Resolve,
    Send,
    StartTimer,
    StopTimer,
    Timer,
)
from transport.exceptions import MalformedMessageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from actors.clock import Clock
    from actors.clock import Timer as ClockTimer
    from transport.client.protocol.socket_protocol import SocketProtocol

__all__ = ["Carrier", "resolved"]

_log = logging.getLogger("ashtree.client")


async def resolved(value: Any) -> Any:
    """Return a value, or what a function or a coroutine function returns."""
    if callable(value):
        value = value()
    return await value if inspect.isawaitable(value) else value


class Carrier:
    """The event loop's side of one socket; all of it runs on one thread."""

    def __init__(
        self,
        protocol: SocketProtocol,
        serializer: ClientSerializer,
        door: Callable[[], Awaitable[Door]],
        options: WebSocketOptions,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self._protocol, self._serializer, self._door, self._options = protocol, serializer, door, options
        self._connections: dict[int, Connection] = {}
        self._timers: dict[Timer, ClockTimer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection_tasks: set[asyncio.Task[None]] = set()
        # By topic, as long as they run.
        self._resolving: WeakValueDictionary[str, asyncio.Task[None]] = WeakValueDictionary()
        self._carrying = False

    def carry(self) -> None:
        """Carry out all that is wanted, in order; what comes of it too."""
        if self._carrying:
            return
        self._carrying = True
        try:
            while effects := self._protocol.take():
                for effect in effects:
                    self._carry_out(effect)
        finally:
            self._carrying = False

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(number, message):
                self._connections[number].send(self._serializer.encode(message))
            case Call(callback, args):
                self.call(callback, *args)
            case StartTimer(timer, seconds):
                self._stop(timer)
                self._timers[timer] = self.clock.call_after(seconds, lambda: self._fire(timer))
            case StopTimer(timer):
                self._stop(timer)
            case OpenConnection(number):
                self._open(number)
            case CloseConnection(number, code, reason):
                self._connections.pop(number).close(code, reason)
            case Resolve(topic):
                # What an earlier join has asked for is of no use any more, if it should ever come.
                if earlier := self._resolving.get(topic):
                    earlier.cancel()
                self._resolving[topic] = self._spawn(self._resolve(effect), self._tasks)

    # The connection

    def _open(self, number: int) -> None:
        connection = self._connections[number] = Connection(number, self._door, self._options, self, self.clock)
        self._spawn(connection.run(), self._connection_tasks)

    def opened(self, connection: int) -> None:
        """Tell the protocol that the connection is open."""
        self._protocol.opened(connection)
        self.carry()

    def failed(self, connection: int, error: Exception) -> None:
        """Tell the protocol that the connection could not be made."""
        if isinstance(error, ParamsError):
            # It is tried again as if the server were down, which nobody would look for in their own code.
            _log.warning("cannot connect: %s", error, exc_info=error)
        self._connections.pop(connection, None)
        self._protocol.failed(connection, error)
        self.carry()

    def data_received(self, connection: int, data: str | bytes) -> None:
        """Tell the protocol what has come."""
        try:
            message = self._serializer.decode(data)
        except MalformedMessageError as error:
            _log.warning("dropped what is no message: %s", error)
            self._protocol.malformed(connection, error)
        else:
            self._protocol.received(connection, message)
        self.carry()

    def closed(self, connection: int, code: int, reason: str) -> None:
        """Tell the protocol that the connection has ended."""
        self._connections.pop(connection, None)
        self._protocol.closed(connection, code, reason)
        self.carry()

    # Timers

    def _fire(self, timer: Timer) -> None:
        del self._timers[timer]
        timer.fire()
        self.carry()

    def _stop(self, timer: Timer) -> None:
        running = self._timers.pop(timer, None)
        if running is not None:
            running.cancel()

    # The user's functions

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Call it; log what it raises, and run a coroutine that it returns."""
        try:
            result = callback(*args)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001  # it is the user's, and ends nothing of ours
            _log.exception("the callback %r failed", callback)
            return
        if inspect.isawaitable(result):
            self._spawn(self._finish(callback, result), self._tasks)

    async def _finish(self, callback: Callable[..., object], result: Awaitable[Any]) -> None:
        try:
            await result
        except Exception:  # noqa: BLE001  # it is the user's, and ends nothing of ours
            _log.exception("the callback %r failed", callback)

    async def _resolve(self, effect: Resolve) -> None:
        try:
            payload = written_payload(await resolved(effect.source))
            self._serializer.encode(Message(None, None, effect.topic, "phx_join", payload))
        except Exception as error:  # noqa: BLE001  # it is the user's, and ends nothing of ours
            _log.exception("the params %r failed", effect.source)
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
        """Return when all connections that were closed are gone."""
        await asyncio.gather(*self._connection_tasks, return_exceptions=True)

    async def end(self) -> None:
        """Wait for the connections, and cancel what callbacks still do."""
        await self.connections_ended()
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
