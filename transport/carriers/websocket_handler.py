"""The HTTP side of a WebSocket: from the request to the handshake, for one mounted socket (Phoenix.Transports.WebSocket)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

from transport.carriers.websocket import WebSocketCarrier
from transport.http.exchange import Answer, Incoming, Upgrade, respond
from transport.http.request_target import RequestTarget
from transport.mount import Client

if TYPE_CHECKING:
    from websockets.http11 import Response

    from actors.lowlevel import Scheduler
    from transport.carriers.carrier import CarrierOptions
    from transport.mount import Mount

__all__ = ["WebSocketHandler"]

_MakeCarrier: TypeAlias = "Callable[[Scheduler, CarrierOptions], WebSocketCarrier]"


class WebSocketHandler:
    """Answers the requests to the WebSocket path of one socket."""

    def __init__(self, mount: Mount, options: CarrierOptions) -> None:
        self._mount, self._options = mount, options

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Accept a WebSocket or refuse it, in this order: method, origin, version, handshake, `connect`.

        Phoenix calls `connect` before it looks at the handshake, so also for a client that cannot be connected.
        """
        request = incoming.request
        if request.method != "GET":
            return self._refuse(HTTPStatus.BAD_REQUEST)
        params = RequestTarget.read(request.path).params()
        if params is None:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        if not self._mount.origin_allowed(incoming):
            return self._refuse(HTTPStatus.FORBIDDEN)
        attempt = self._mount.attempt(incoming, params, "websocket")
        if isinstance(attempt, HTTPStatus):
            return self._refuse(attempt)
        response = self._mount.handshake(incoming)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            unable = response.status_code == HTTPStatus.NOT_IMPLEMENTED
            return self._refuse(HTTPStatus.NOT_IMPLEMENTED if unable else HTTPStatus.BAD_REQUEST, bytes(response.body))
        client = self._mount.connect(attempt)
        if type(client) is not Client and inspect.isawaitable(client):
            return self._connected_later(incoming, response, client)
        return self._connected(incoming, response, client)

    async def _connected_later(
        self, incoming: Incoming, response: Response, client: Awaitable[Client | HTTPStatus]
    ) -> Answer:
        return self._connected(incoming, response, await client)

    def _connected(self, incoming: Incoming, response: Response, client: Client | HTTPStatus) -> Answer:
        mount, transports = self._mount, self._mount.transports
        if isinstance(client, HTTPStatus):
            return self._refuse(client)
        if transports is None:
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        make_carrier = incoming.carrier or self._carrier_for(incoming, response)
        carrier = make_carrier(transports.process.scheduler, self._options)
        return Upgrade(response, carrier, lambda: mount.start(carrier, client))

    def _carrier_for(self, incoming: Incoming, response: Response) -> _MakeCarrier:
        """Agree on compression, if the endpoint has it and the client offers it."""
        deflate = self._options.deflate
        agreed = None if deflate is None else deflate.agree(incoming.request.headers)
        if agreed is None:
            return WebSocketCarrier
        response.headers["Sec-WebSocket-Extensions"] = agreed.answer
        return partial(WebSocketCarrier, outlet=agreed.outlet)

    def _refuse(self, status: HTTPStatus, text: bytes | str = "") -> Response:
        self._mount.refused("websocket", status)
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            text = "not available now, try again"
        return respond(status, text)
