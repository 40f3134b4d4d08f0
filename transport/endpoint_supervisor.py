"""How an endpoint runs: its supervisor, that of its connections, and the sockets that it listens on."""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from actors.exits import SHUTDOWN, ExitReason
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from transport.endpoint_api import EndpointAPI
from transport.http.listener import Listener, bind, unbind
from transport.socket_events import socket_drain

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from transport.carriers.idle_connections import IdleConnections
    from transport.http.exchange import Answer, Incoming
    from transport.http.http_connection import HttpConnection

__all__ = ["EndpointSupervisor", "SupervisedEndpoint", "Transports"]

_SWEEP = object()


class SupervisedEndpoint(EndpointAPI, Protocol):
    """An endpoint as its supervisors see it."""

    idle: IdleConnections

    def attach(self, supervisor: ActorRef[Any], port: int | None) -> None:
        """Store the supervisor that runs the endpoint, and the port that it listens on."""

    def attach_transports(self, transports: ActorRef[Any]) -> None:
        """Store the supervisor under which connections are started."""

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request."""


class EndpointSupervisor(Supervisor):
    """Runs an endpoint: the connections, and then the listener, so that at the end nobody comes in any more."""

    def __init__(self, endpoint: SupervisedEndpoint) -> None:
        self._endpoint = endpoint
        self._sockets: list[socket.socket] = []
        self._connections: set[HttpConnection] = set()
        args = (self._sockets, endpoint.handle, self._connections)
        listener = ChildSpec(Listener, args, id="listener")
        transports = ChildSpec(Transports, (endpoint,), id="transports")
        super().__init__([transports] if endpoint.port is None else [transports, listener])

    def on_start(self) -> Any:
        """Open the port, if there is to be one, then start the children."""
        endpoint = self._endpoint
        endpoint.attach(self.actor_ref, endpoint.port if endpoint.port is None else self._open(endpoint.port))
        self.send_interval(endpoint.idle.interval, _SWEEP)
        return super().on_start()

    def _open(self, port: int) -> int:
        """Open the listening sockets and return the port that they got."""
        self.own(self._close_connections)
        self._sockets.extend(bind(self._endpoint.host, port))
        for opened in self._sockets:
            self.own(partial(unbind, opened))
        bound: int = self._sockets[0].getsockname()[1]
        return bound

    def _close_connections(self) -> None:
        """End those that wait for a request; they outlive a listener, but not their endpoint."""
        for connection in list(self._connections):
            connection.close()

    def on_receive(self, message: Any) -> Any:
        """Look for idle connections now and then."""
        if message is _SWEEP:
            self._endpoint.idle.sweep()
            return None
        return super().on_receive(message)


class Transports(DynamicSupervisor):
    """The supervisor of all connections: one transport for each."""

    def __init__(self, endpoint: SupervisedEndpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def on_start(self) -> None:
        """Let the endpoint know where connections are started."""
        super().on_start()
        self._endpoint.attach_transports(self.actor_ref)

    def terminate(self, reason: ExitReason) -> Any:
        """Tell that all connections are closed, and close them."""
        if self._children and reason == SHUTDOWN:
            socket_drain(self._endpoint, len(self._children))
        return super().terminate(reason)
