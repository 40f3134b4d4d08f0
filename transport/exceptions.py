"""The errors of `transport`: raised to applications, or used internally to refuse clients.

TransportError
├── ListenError             an endpoint cannot listen at its address (it is an OSError and an UnavailableError too)
├── MalformedMessageError   a client sent a malformed message: its connection is closed with 1011
├── SocketError             a socket class, or an option of an endpoint, is invalid: raised at the start
└── TokenError
    ├── TokenExpiredError
    └── TokenInvalidError
        └── TokenMissingError

UnencodableError, of `actors`, is raised here too: a payload cannot be encoded, or not in the client's version of the protocol.
"""

from __future__ import annotations

import errno

from actors.exceptions import UnencodableError
from actors.pickling import Portable
from supervisors.exceptions import UnavailableError

__all__ = [
    "ListenError",
    "MalformedMessageError",
    "SocketError",
    "TokenError",
    "TokenExpiredError",
    "TokenInvalidError",
    "TokenMissingError",
    "TransportError",
    "UnencodableError",
]


_ADVICE = {
    errno.EADDRINUSE: "end the program that listens there, or choose another port",
    errno.EACCES: "ports below 1024 need a privilege: choose another one",
}


class TransportError(Portable):
    """The base class of the errors of this package."""


class ListenError(TransportError, UnavailableError, OSError):
    """An endpoint cannot listen at its address: it is in use, or not one of this machine."""

    @property
    def advice(self) -> str:
        """What to do about it."""
        return _ADVICE.get(self.errno or 0, "")


class MalformedMessageError(TransportError, ValueError):
    """A received message is not valid in the negotiated version of the protocol."""


class SocketError(TransportError, TypeError):
    """A socket class, or an option of the endpoint that serves it, is invalid."""


class TokenError(TransportError):
    """A token was rejected."""


class TokenExpiredError(TokenError):
    """A token is authentic, but too old."""


class TokenInvalidError(TokenError):
    """A token is forged, damaged, or was signed for another purpose or in the future."""


class TokenMissingError(TokenInvalidError):
    """There is no token (Phoenix's `:missing`)."""
