"""What an HTTP server and its application exchange: a request with its surroundings, and the kinds of answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from transport.access.loopback import is_loopback
from transport.access.origin import OWN_SCHEME
from transport.carriers.handshake import opening_handshake

if TYPE_CHECKING:
    from actors.lowlevel import Scheduler
    from transport.access.proxies import Proxies
    from transport.carriers.carrier import Carrier, CarrierOptions
    from transport.limits import Limits

__all__ = [
    "ANSWERS",
    "MAX_BODY",
    "SMALL_BODY",
    "Admission",
    "Answer",
    "Application",
    "HttpEndpoint",
    "Incoming",
    "Late",
    "Upgrade",
    "Waiting",
    "answer_page",
    "refusal",
    "respond",
]

MAX_BODY = 10 * 1024 * 1024
"""The bytes that the body of a request may have, as Phoenix's long polling allows."""

SMALL_BODY = 64 * 1024
"""The bytes that a body may have without being looked at first; a larger one is taken only if it is admitted."""


class Incoming(msgspec.Struct, frozen=True, eq=False):
    """A request, and how it reached the server."""

    request: Request
    body: bytes
    peer: tuple[str, int] | None
    carrier: Callable[[Scheduler, CarrierOptions], Carrier] | None = None
    """Makes the carrier of a WebSocket; None for the listener's own `WebSocketCarrier`."""
    scheme: str = OWN_SCHEME
    """"http" or "https"."""
    handshake: Callable[[Request], Response] = opening_handshake
    """Answers the opening handshake of a WebSocket: with 101, or what is wrong."""
    scope: Mapping[str, Any] | None = None
    """The scope of the ASGI server; None of the listener."""
    is_forwarded: bool = False
    """Whether a trusted proxy has passed it on."""

    @property
    def is_over_loopback(self) -> bool:
        """Whether it has come over the loopback interface, but by no trusted proxy.

        A browser on this machine may have been led here by any page. An ASGI server may have replaced the peer by what a header
        says, which such a page can write too; but it knows its own address.
        """
        server = (self.scope or {}).get("server")
        hosts = [address[0] for address in (self.peer, server) if address and address[0]]
        return not self.is_forwarded and any(is_loopback(host) for host in hosts)

    def forwarded(self, proxies: Proxies) -> Incoming:
        """Return the request as its client has sent it to the trusted proxy from which it came; otherwise itself."""
        request = self.request
        said = proxies.forwarded(self.peer, request.headers)
        if said is None:
            return self
        if said.host is not None:
            headers = request.headers.copy()
            if "Host" in headers:
                del headers["Host"]
            headers["Host"] = said.host
            request = replace(request, headers=headers)
        scheme = said.scheme or self.scheme
        return msgspec.structs.replace(self, request=request, peer=said.peer, scheme=scheme, is_forwarded=True)


class Upgrade(msgspec.Struct, frozen=True, eq=False):
    """An answer that turns the connection into a WebSocket: send `response`, hand over to `protocol`, call `begin`.

    `protocol` is what `Incoming.carrier` has made: an `asyncio.Protocol` for the listener.
    """

    response: Response
    protocol: object
    begin: Callable[[], object]


class Late(msgspec.Struct, frozen=True, eq=False):
    """An answer that is made when it is written, so that a client that has disconnected takes nothing with it."""

    make: Callable[[], Response]


class Waiting(Awaitable[Response | Late]):
    """An answer that waits for something to tell its client, and can do without."""

    __slots__ = ()

    @abstractmethod
    def end(self) -> None:
        """Wait no longer, and tell nothing that would be lost with the client: it sends nothing more, and may have gone."""


Answer = Response | Upgrade | Late
"""What an application may answer."""

# Asking whether something is awaitable takes longer than seeing that it already is an answer.
ANSWERS = frozenset((Response, Upgrade, Late))

Application = Callable[[Incoming], Answer | Awaitable[Answer]]
"""A function that answers requests, at once or later."""

Admission = Callable[[Incoming], int | Response]
"""A function that is given a request whose body is larger than `SMALL_BODY`, before the body is read: `Incoming.body` is empty.

It returns the bytes that the body may have, or the answer to a request whose body is not taken at all.
"""


class HttpEndpoint(Protocol):
    """An endpoint as its HTTP connections see it."""

    limits: Limits
    proxies: Proxies

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request."""

    def admit(self, incoming: Incoming) -> int | Response:
        """Return the bytes that a body above `SMALL_BODY` may have, or the answer to a request whose body is not taken."""

    def reached(self, limit: str) -> None:
        """Report that a limit was reached, by the name of its option."""


def respond(status: int, body: bytes | str = b"", content_type: str = "text/plain; charset=utf-8") -> Response:
    """Return a response with its headers set; text is encoded as UTF-8."""
    data = body.encode() if isinstance(body, str) else body
    headers = Headers([("Content-Length", str(len(data)))])
    if data:
        headers["Content-Type"] = content_type
    return Response(status, HTTPStatus(status).phrase, headers, data)


def refusal(status: int, text: str) -> Response:
    """Return the server's own answer to a request that it does not pass on, or whose application has failed.

    A page of any origin may read it, as clients of long polling need to; it says nothing that its client does not know.
    """
    response = respond(status, text)
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def answer_page(request: Request, page: Callable[[Request], Response]) -> Response:
    """Answer a request for a page by its method (RFC 9110, section 9.3); any but GET, HEAD and OPTIONS is refused with 405.

    OPTIONS is answered with the status of the page: it is what load balancers ask for.
    """
    match request.method:
        case "GET" | "HEAD":
            return page(request)
        case "OPTIONS":
            response = respond(page(request).status_code)
        case _:
            response = respond(405, "only GET is answered here")
    response.headers["Allow"] = "GET, HEAD, OPTIONS"
    return response
