"""How an endpoint runs: its supervisor, that of its connections, and the sockets that it listens on."""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from actors.exits import SHUTDOWN, ExitReason
from actors.lowlevel import next_round
from supervisors.child import stop_children
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from transport.carriers.carrier import EndConnection
from transport.carriers.time_bound import TimeBound
from transport.endpoint_api import EndpointAPI
from transport.http.http_connections import HttpConnections
from transport.http.listener import Listener, ListeningEndpoint, authority, bind, unbind
from transport.socket_events import socket_drain
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.ref import ActorRef

__all__ = ["EndpointSupervisor", "SupervisedEndpoint", "Transports"]

_SWEEP = object()


class SupervisedEndpoint(EndpointAPI, ListeningEndpoint, Protocol):
    """An endpoint as its supervisors see it."""

    def check_free(self) -> None:
        """Raise if the endpoint is running already."""

    def attach(self, supervisor: ActorRef, port: int | None) -> None:
        """Store the supervisor that runs the endpoint, and the port that it listens on."""

    def attach_transports(self, transports: ActorRef) -> None:
        """Store the supervisor under which connections are started."""


class EndpointSupervisor(Supervisor):
    """Runs an endpoint: first the connections and then the listener, so that on shutdown the listener stops first."""

    def __init__(self, endpoint: SupervisedEndpoint) -> None:
        self._endpoint = endpoint
        self._sockets: list[socket.socket] = []
        self._connections = HttpConnections()
        args = (self._sockets, endpoint, self._connections)
        listener = ChildSpec(Listener, args, id="listener")
        transports = ChildSpec(Transports, (endpoint,), id="transports")
        super().__init__([transports] if endpoint.port is None else [transports, listener])

    def on_start(self) -> Coroutine[object, object, None]:
        """Open the port, if the endpoint has one, then start the children."""
        endpoint = self._endpoint
        endpoint.check_free()
        endpoint.attach(self.actor_ref, endpoint.port if endpoint.port is None else self._open(endpoint.port))
        self.send_interval(endpoint.idle.interval, _SWEEP)
        return super().on_start()

    @property
    def listens_at(self) -> str | None:
        """The address, for people; None if it has none of its own."""
        host, port = self._endpoint.host, self._endpoint.port
        return None if port is None else f"http://{authority(host, port)}"

    def _open(self, port: int) -> int:
        """Open the listening sockets and return their port."""
        self.own(self._close_connections)
        self._sockets.extend(bind(self._endpoint.host, port))
        for opened in self._sockets:
            self.own(partial(unbind, opened))
        bound: int = self._sockets[0].getsockname()[1]
        return bound

    def _close_connections(self) -> None:
        """Close the connections that wait for a request; they outlive a listener, but not the endpoint."""
        for connection in self._connections:
            connection.close()

    def on_receive(self, message: object) -> object:
        """Close idle connections at each interval."""
        if message is _SWEEP:
            self._endpoint.idle.sweep()
            return None
        return super().on_receive(message)


class Transports(DynamicSupervisor):
    """The supervisor of all connections: one transport actor for each, and channels that have outlived theirs."""

    def __init__(self, endpoint: SupervisedEndpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def on_start(self) -> None:
        """Register this actor with the endpoint, which starts its connections here."""
        super().on_start()
        self._endpoint.attach_transports(self.actor_ref)

    def terminate(self, reason: ExitReason) -> object:
        """Report and close all connections; on shutdown, let them handle what they have received."""
        if not self._children or reason != SHUTDOWN:
            return super().terminate(reason)
        socket_drain(self._endpoint, len(self._children))
        return self._drain()

    async def _drain(self) -> None:
        """Tell all connections to end, and wait for them; stop those that take longer than their `shutdown`."""
        connections = [child.ref for child in self._children if child.ref is not None]
        for connection in connections:
            connection.process.put(EndConnection(SHUTDOWN))
        await next_round()
        with suppress(TimeoutError), TimeBound(self.clock, Transport.shutdown):
            for connection in connections:
                if connection.is_alive():
                    await connection.down()
        await stop_children(self._process, self._children)
