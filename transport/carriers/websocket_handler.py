"""The HTTP side of a WebSocket: from the request to the handshake, for one mounted socket (Phoenix.Transports.WebSocket)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from http import HTTPStatus
from typing import TYPE_CHECKING

from transport.carriers.websocket import WebSocketCarrier
from transport.http.exchange import Answer, Incoming, Upgrade, respond
from transport.mount import Client, read_params

if TYPE_CHECKING:
    from websockets.http11 import Response

    from transport.carriers.carrier import CarrierOptions
    from transport.mount import Mount

__all__ = ["WebSocketHandler"]


class WebSocketHandler:
    """Answers the requests to the WebSocket path of one socket."""

    def __init__(self, mount: Mount, options: CarrierOptions) -> None:
        self._mount, self._options = mount, options

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Accept a WebSocket or refuse it, in Phoenix's order: method, origin, version, `connect`, handshake."""
        request = incoming.request
        if request.method != "GET":
            return self._refuse(HTTPStatus.BAD_REQUEST)
        params = read_params(request.path)
        if params is None:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        if not self._mount.origin_allowed(incoming):
            return self._refuse(HTTPStatus.FORBIDDEN)
        client = self._mount.connect(incoming, params, "websocket")
        if type(client) is not Client and inspect.isawaitable(client):
            return self._connected_later(incoming, client)
        return self._connected(incoming, client)

    async def _connected_later(self, incoming: Incoming, client: Awaitable[Client | HTTPStatus]) -> Answer:
        return self._connected(incoming, await client)

    def _connected(self, incoming: Incoming, client: Client | HTTPStatus) -> Answer:
        mount = self._mount
        if isinstance(client, HTTPStatus):
            return self._refuse(client)
        transports = mount.transports
        if transports is None:
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "restarting, try again")
        make_carrier = incoming.carrier or WebSocketCarrier
        carrier = make_carrier(transports.process.scheduler, self._options)
        response = mount.accept(carrier, incoming.request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return self._refuse(HTTPStatus.BAD_REQUEST, response.body.decode())
        return Upgrade(response, carrier, lambda: mount.start(carrier, client))

    def _refuse(self, status: HTTPStatus, text: str = "") -> Response:
        self._mount.refused("websocket", status)
        return respond(status, text)
