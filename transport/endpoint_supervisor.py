"""How an endpoint runs: its supervisor, that of its connections, and the sockets that it listens on."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from actors.exceptions import ActorDeadError, Timeout
from actors.exits import SHUTDOWN, ExitReason
from actors.lowlevel import next_round
from actors.time_bound import TimeBound
from supervisors.child import stop_children
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from transport.carriers.carrier import EndConnection
from transport.drainer import Drain, Drainer
from transport.endpoint_api import EndpointAPI
from transport.http.http_connections import PATIENCE, HttpConnections
from transport.http.listener import STOP_LISTENING, Listener, ListeningEndpoint
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from transport.http.addresses import Address
    from transport.http.listening_socket import ListeningSocket

__all__ = ["EndpointSupervisor", "SupervisedEndpoint", "Transports"]

_SWEEP = object()

CLOSING = 5.0
"""Seconds that a listener may take to accept what waits, and close."""


class SupervisedEndpoint(EndpointAPI, ListeningEndpoint, Protocol):
    """An endpoint as its supervisors see it."""

    drainer: Drainer
    reuse_port: bool

    @property
    def transports(self) -> ActorRef | None:
        """The supervisor of the connections, while it runs."""

    def refuse(self) -> None:
        """Refuse new clients from now on, as it drains."""

    def check_free(self) -> None:
        """Raise if the endpoint is running already."""

    @property
    def addresses(self) -> Sequence[Address]:
        """Where the endpoint listens."""

    @property
    def shares_addresses(self) -> bool:
        """Whether other processes may listen there too, or have the same sockets."""

    @property
    def urls(self) -> Sequence[str]:
        """The same for people, once it has started."""

    def attach(self, supervisor: ActorRef, sockets: Sequence[ListeningSocket]) -> None:
        """Store the supervisor that runs the endpoint, and the sockets that it listens on."""

    def attach_transports(self, transports: ActorRef) -> None:
        """Store the supervisor under which connections are started."""


class EndpointSupervisor(Supervisor):
    """Runs an endpoint: the connections, and the listener that accepts them.

    On shutdown the connections are drained first, while the listener answers that no more are taken (see `Drain`). If other
    processes accept on the same port, it closes first, so that new clients reach those.
    """

    _no_dead_letters = (object,)

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

    # The end

    def terminate(self, reason: ExitReason) -> Any:
        """On shutdown, drain the connections, close the port, and answer the requests that were received; then stop all."""
        transports = self._endpoint.transports
        if reason != SHUTDOWN or transports is None:
            return super().terminate(reason)
        return self._stop_in_order(Drain(self._endpoint, self._endpoint.drainer, transports, self._endpoint.idle))

    async def _stop_in_order(self, drain: Drain) -> None:
        endpoint, connections = self._endpoint, self._connections
        if endpoint.shares_addresses:
            # Another process accepts on the port: no client is to wait for this one.
            await self._close_port(drain)
        endpoint.refuse()
        try:
            with TimeBound(self.clock, drain.seconds_left):
                await drain.rounds()
                await self._stop_children([self._by_id["transports"]])
                await drain.farewells()
        except TimeoutError:
            drain.cut()
        if not endpoint.shares_addresses:
            await self._close_port(drain)
        await drain.until_so(lambda: not connections.busy, drain.seconds_left)
        await self._stop_in_reverse(list(self._children))

    async def _close_port(self, drain: Drain) -> None:
        """Accept what waits in the kernel's queue, and stop to listen; a client that has just come may send its request."""
        listener = self._by_id.get("listener")
        if listener is None or listener.ref is None:
            return
        with suppress(ActorDeadError, Timeout):
            await listener.ref.ask(STOP_LISTENING, block=False, timeout=CLOSING)
        self._connections.end()
        await drain.until_so(lambda: not self._connections.new, min(PATIENCE, drain.seconds_left))

    def on_receive(self, message: object) -> object:
        """Close idle connections at each interval."""
        if message is _SWEEP:
            self._endpoint.idle.sweep()
            return None
        return super().on_receive(message)


class Transports(DynamicSupervisor):
    """The supervisor of all connections: one transport actor for each, and channels that have outlived theirs."""

    _no_dead_letters = (object,)

    def __init__(self, endpoint: SupervisedEndpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def on_start(self) -> None:
        """Register this actor with the endpoint, which starts its connections here."""
        super().on_start()
        self._endpoint.attach_transports(self.actor_ref)

    def terminate(self, reason: ExitReason) -> object:
        """Close all connections; on shutdown, let them handle what they have received."""
        if not self._children or reason != SHUTDOWN:
            return super().terminate(reason)
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
