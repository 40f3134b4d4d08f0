"""The token that a client sends when it connects, outside the URL, which may be logged (phoenix.js' `authToken`).

For a WebSocket a browser can set no header but the names of subprotocols, so there the token is sent as one. The prefix says
base64url, but both phoenix.js and Phoenix use the standard alphabet, without padding.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

from transport.exceptions import TokenInvalidError

if TYPE_CHECKING:
    from websockets.datastructures import Headers

__all__ = [
    "LONGPOLL_HEADER",
    "PREFIX",
    "SUBPROTOCOL",
    "SUBPROTOCOL_HEADER",
    "Offer",
    "longpoll_token",
    "without_token",
]

PREFIX = "base64url.bearer.phx."
SUBPROTOCOL = "phoenix"
"""The subprotocol that is selected if a token was offered beside it."""
SUBPROTOCOL_HEADER = "Sec-WebSocket-Protocol"
LONGPOLL_HEADER = "X-Phoenix-AuthToken"


class Offer(NamedTuple):
    """The subprotocols that a handshake offers: their names, and the encoded auth token that was among them, or None."""

    names: list[str]
    encoded: str | None

    @staticmethod
    def read(headers: Headers) -> Offer:
        """Parse the subprotocols of a handshake."""
        lines = headers.get_all(SUBPROTOCOL_HEADER)
        offered = [name.strip() for line in lines for name in line.split(",")]
        names = [name for name in offered if not name.startswith(PREFIX)]
        return Offer(names, next((name for name in offered if name.startswith(PREFIX)), None))

    def token(self) -> str | None:
        """Return the auth token, or None.

        Raises:
            TokenInvalidError: if it is not base64 of UTF-8.
        """
        return None if self.encoded is None else _decode(self.encoded.removeprefix(PREFIX))


def longpoll_token(headers: Headers) -> str | None:
    """Return the auth token of a request of long polling, or None."""
    return next(iter(headers.get_all(LONGPOLL_HEADER)), None)


def without_token(headers: Headers) -> Headers:
    """Return a copy of a handshake's headers that does not offer the auth token as a subprotocol."""
    stripped, names = headers.copy(), Offer.read(headers).names
    if SUBPROTOCOL_HEADER in stripped:
        del stripped[SUBPROTOCOL_HEADER]
    if names:
        stripped[SUBPROTOCOL_HEADER] = ", ".join(names)
    return stripped


def _decode(encoded: str) -> str:
    unpadded = encoded.rstrip("=")
    try:
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True).decode()
    except ValueError:
        # Without the value, and without the cause, which may show it: this is logged.
        raise TokenInvalidError(
            f"an auth token is base64 of UTF-8 (standard alphabet, no padding), got {len(encoded)} other characters"
        ) from None
