"""How an endpoint runs: its supervisor, that of its connections, and the sockets that it listens on."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import suppress
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
from transport.http.listener import Listener, ListeningEndpoint
from transport.socket_events import socket_drain
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from transport.http.addresses import Address
    from transport.http.listening_socket import ListeningSocket

__all__ = ["EndpointSupervisor", "SupervisedEndpoint", "Transports"]

_SWEEP = object()


class SupervisedEndpoint(EndpointAPI, ListeningEndpoint, Protocol):
    """An endpoint as its supervisors see it."""

    reuse_port: bool

    def check_free(self) -> None:
        """Raise if the endpoint is running already."""

    @property
    def addresses(self) -> Sequence[Address]:
        """Where the endpoint listens."""

    @property
    def urls(self) -> Sequence[str]:
        """The same for people, once it has started."""

    def attach(self, supervisor: ActorRef, sockets: Sequence[ListeningSocket]) -> None:
        """Store the supervisor that runs the endpoint, and the sockets that it listens on."""

    def attach_transports(self, transports: ActorRef) -> None:
        """Store the supervisor under which connections are started."""


class EndpointSupervisor(Supervisor):
    """Runs an endpoint: first the connections and then the listener, so that on shutdown the listener stops first."""

    def __init__(self, endpoint: SupervisedEndpoint) -> None:
        self._endpoint = endpoint
        self._sockets: list[ListeningSocket] = []
        self._connections = HttpConnections()
        args = (self._sockets, endpoint, self._connections)
        listener = ChildSpec(Listener, args, id="listener")
        transports = ChildSpec(Transports, (endpoint,), id="transports")
        super().__init__([transports, listener] if endpoint.addresses else [transports])

    def on_start(self) -> Coroutine[object, object, None]:
        """Open the sockets, if the endpoint has its own, then start the children."""
        endpoint = self._endpoint
        endpoint.check_free()
        self._open(endpoint.addresses)
        endpoint.attach(self.actor_ref, self._sockets)
        self.send_interval(endpoint.idle.interval, _SWEEP)
        return super().on_start()

    @property
    def listens_at(self) -> str | None:
        """The addresses, for people; None if it has none of its own."""
        return ", ".join(self._endpoint.urls) or None

    def _open(self, addresses: Sequence[Address]) -> None:
        """Open the listening sockets."""
        self.own(self._close_connections)
        for address in addresses:
            for opened in address.open(reuse_port=self._endpoint.reuse_port):
                self._sockets.append(opened)
                self.own(opened.close)

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
