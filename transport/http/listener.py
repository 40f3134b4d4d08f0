"""The listener: the actor that accepts connections.

Theory of operation.

It accepts from its listening sockets itself, because what event loops do when files run out harms all clients: asyncio logs a
traceback for each place in the backlog, and uvloop closes the waiting connections.

1. In one iteration of the loop at most `at_once` connections are accepted from each socket, so that those that are open get
   their turn.
2. `Limits.connections` counts HTTP connections and WebSockets. Above it, the connection that has waited longest for its next
   request is closed for the new one. If none waits, the new one is answered with 503.
3. `REFUSED` connections may be told so at a time. With more than that, and when files run out, nothing is accepted for a
   while (`PAUSES`): clients wait in the kernel's queue, and are accepted when others have left.
4. At the end it accepts all that wait, however many, before it closes its sockets: see `listening_socket.py`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from actors.actor import Actor
from actors.log import Log
from transport.http.exchange import HttpEndpoint, Incoming, refusal
from transport.http.file_limit import connections_for_files
from transport.http.http_connection import HttpConnection
from transport.http.http_connections import HttpConnections
from transport.http.listening_socket import BACKLOG

if TYPE_CHECKING:
    from websockets.http11 import Response

    from transport.carriers.idle_connections import IdleConnections
    from transport.http.listening_socket import ListeningSocket

__all__ = ["STOP_LISTENING", "FullEndpoint", "Listener", "ListeningEndpoint"]

_log = Log("ashtree.transport")

# Connections above the limit that are answered at a time.
REFUSED = 32
# Seconds without accepting, one after the other, until a connection could be accepted again.
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.0)

# What `accept` raises when there is no file for a connection, or no memory.
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_ACCEPT = object()

STOP_LISTENING = object()
"""The message, and question, to accept what waits in the kernel's queues, and then to close the listening sockets."""


class ListeningEndpoint(HttpEndpoint, Protocol):
    """An endpoint as its listener sees it."""

    idle: IdleConnections


class FullEndpoint:
    """Answers in the place of an endpoint that has as many connections as it may have."""

    def __init__(self, endpoint: HttpEndpoint) -> None:
        self._endpoint = endpoint
        self.limits, self.proxies = replace(endpoint.limits, requests=1), endpoint.proxies

    def handle(self, _incoming: Incoming) -> Response:
        """Answer one request."""
        return refusal(503, "too many connections, try again")

    def admit(self, _incoming: Incoming) -> Response:
        """Answer a request without taking its body."""
        return self.handle(_incoming)

    def reached(self, limit: str) -> None:
        """Report the limits that are the endpoint's."""
        if limit != "requests":
            self._endpoint.reached(limit)


class Listener(Actor):
    """Accepts connections for an endpoint.

    Its supervisor owns the listening sockets: if the listener crashes, new clients wait in the kernel's queue until it has been
    restarted.
    """

    _no_dead_letters: ClassVar[tuple[type, ...]] = (object,)
    shutdown: ClassVar[float] = 5.0

    def __init__(
        self, sockets: list[ListeningSocket], endpoint: ListeningEndpoint, connections: HttpConnections
    ) -> None:
        self._sockets, self._endpoint, self._connections = sockets, endpoint, connections
        self._most = endpoint.limits.connections or connections_for_files()
        self._full, self._refused = FullEndpoint(endpoint), HttpConnections()
        self._listening: list[socket.socket] = []
        self._pauses, self._is_paused = 0, False

    def on_start(self) -> None:
        """Accept from now on."""
        self.own(self._close)
        self._start_accepting()

    def on_receive(self, message: object) -> object:
        """Accept again after a pause, or for the last time."""
        if message is STOP_LISTENING:
            self._stop_listening()
        elif message is _ACCEPT:
            self._is_paused = False
            self._start_accepting()
        else:
            return super().on_receive(message)
        return None

    def _stop_listening(self) -> None:
        self._stop_accepting()
        for opened in self._sockets:
            if opened.divert():
                self._accept_all(opened)
            opened.close()
        self._sockets.clear()
        while self._listening:
            self._listening.pop().close()

    def _accept_all(self, opened: ListeningSocket) -> None:
        try:
            with opened.duplicate() as listening:
                for _ in range(BACKLOG + 1):
                    with suppress(ConnectionError):  # this client has gone, others wait
                        self._serve(listening.accept()[0])
        except OSError:
            # None is left, or no file for it.
            return

    def _start_accepting(self) -> None:
        try:
            # Duplicates, for the sockets are the supervisor's to close.
            for opened in self._sockets[len(self._listening) :]:
                self._listening.append(opened.duplicate())
        except OSError as error:
            self._not_accepted(error)
            return
        for listening, opened in zip(self._listening, self._sockets, strict=True):
            self._loop.add_reader(listening.fileno(), self._accept, listening, opened.at_once)

    def _stop_accepting(self) -> None:
        for listening in self._listening:
            self._loop.remove_reader(listening.fileno())

    def _close(self) -> None:
        self._stop_accepting()
        for listening in self._listening:
            listening.close()
        for connection in self._refused:
            connection.close()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._process.scheduler.loop

    # Accepting

    def _accept(self, listening: socket.socket, at_once: int) -> None:
        """Accept some connections; the loop calls this again while there are more."""
        for _ in range(at_once):
            if self._is_full() and not self._connections.waiting and len(self._refused) >= REFUSED:
                self._pause("connections")
                return
            try:
                accepted, _address = listening.accept()
            except OSError as error:
                self._not_accepted(error)
                return
            self._pauses = 0
            self._serve(accepted)

    def _is_full(self) -> bool:
        return len(self._connections) + self._endpoint.idle.open >= self._most

    def _not_accepted(self, error: OSError) -> None:
        if error.errno in _SHORTAGES:
            self._pause("files")
        elif not isinstance(error, BlockingIOError | InterruptedError | ConnectionError):
            _log.error("cannot accept connections: %s", error)
            self._pause()

    def _pause(self, limit: str | None = None) -> None:
        if limit is not None:
            self._endpoint.reached(limit)
        if not self._is_paused:
            self._is_paused = True
            self._stop_accepting()
            self.send_after(PAUSES[min(self._pauses, len(PAUSES) - 1)], _ACCEPT)
            self._pauses += 1

    def _serve(self, accepted: socket.socket) -> None:
        accepted.settimeout(0)
        endpoint, connections = self._choose()
        connection = HttpConnection(endpoint, self._process.scheduler, connections)
        connections.accepted(connection)
        _run(self._loop.connect_accepted_socket(lambda: connection, accepted), partial(connections.closed, connection))

    def _choose(self) -> tuple[HttpEndpoint, HttpConnections]:
        """Return what answers the next connection: the endpoint if there is a place, or can be one."""
        if not self._is_full():
            return self._endpoint, self._connections
        self._endpoint.reached("connections")
        if self._connections.close_longest_waiting():
            return self._endpoint, self._connections
        return self._full, self._refused


def _run(opening: Coroutine[Any, Any, object], failed: Callable[[], object], _waited_for: object = None) -> None:
    """Run a coroutine that opens a connection; a task for each would cost a fifth of what accepting costs."""
    try:
        waits_for = opening.send(None)
    except StopIteration:
        return
    except OSError:
        # The client has disconnected.
        failed()
        return
    waits_for.add_done_callback(partial(_run, opening, failed))
