"""The opening handshake of a WebSocket (RFC 6455, section 4.2), of the common kind and of others.

Nearly every client opens its WebSocket with the same five headers. Parsing them as lists of tokens, options and parameters, as
the general rules of `websockets` must, takes ten times as long. All other handshakes, and invalid ones, are left to these.
"""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.server import ServerProtocol
from websockets.utils import accept_key

if TYPE_CHECKING:
    from websockets.http11 import Request

__all__ = ["common_handshake", "fault_of", "opening_handshake"]

# As browsers and libraries write it (RFC 6455, section 4.1); Firefox adds keep-alive.
_CONNECTION = ("upgrade", "keep-alive, upgrade")
_SUBPROTOCOL = "Sec-WebSocket-Protocol"
_ACCEPTED = Headers([("Upgrade", "websocket"), ("Connection", "Upgrade")])
# 16 bytes in base64.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


_NO_UPGRADE = (
    "it has no Upgrade header: it is a plain request, or a proxy in front of this server does not pass on Upgrade and "
    "Connection (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;)"
)
_NO_WEBSOCKETS = (
    "the server in front of this application has been started without WebSockets (uvicorn needs the package websockets or "
    "wsproto: pip install 'uvicorn[standard]')"
)


def opening_handshake(request: Request) -> Response:
    """Return the answer to an opening handshake: 101 without a subprotocol, or what is wrong with the request."""
    return common_handshake(request) or ServerProtocol().accept(_without_subprotocols(request))


def _without_subprotocols(request: Request) -> Request:
    """Return a handshake without the subprotocols that it offers: none is selected here, so they may be lists of any form."""
    headers = request.headers.copy()
    if _SUBPROTOCOL in headers:
        del headers[_SUBPROTOCOL]
    return replace(request, headers=headers)


def fault_of(request: Request, answer: Response) -> str:
    """Return why a handshake was not accepted, and what is likely to be the cause."""
    if not request.headers.get_all("Upgrade"):
        return _NO_UPGRADE
    if answer.status_code == HTTPStatus.NOT_IMPLEMENTED:
        return _NO_WEBSOCKETS
    return bytes(answer.body).decode().strip()


def common_handshake(request: Request) -> Response | None:
    """Return the response that accepts a handshake (RFC 6455, section 4.2.2); None if it is not of the common kind."""
    every = request.headers.get_all
    connection, upgrade = every("Connection"), every("Upgrade")
    keys, versions = every("Sec-WebSocket-Key"), every("Sec-WebSocket-Version")
    is_common = (
        request.method == "GET"
        and request.protocol == "HTTP/1.1"
        and len(connection) == len(upgrade) == len(keys) == 1
        and versions == ["13"]
        and connection[0].lower() in _CONNECTION
        and upgrade[0].lower() == "websocket"
        and _KEY.fullmatch(keys[0]) is not None
        and len(every("Origin")) <= 1
        and not every(_SUBPROTOCOL)
    )
    return _accepted(keys[0]) if is_common else None


def _accepted(key: str) -> Response:
    headers = _ACCEPTED.copy()
    headers["Sec-WebSocket-Accept"] = accept_key(key)
    return Response(101, "Switching Protocols", headers)
