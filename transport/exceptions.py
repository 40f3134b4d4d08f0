"""What `transport` raises at its authors, and what it uses inside to refuse clients.

TransportError
├── MalformedMessageError   a client sent what is no message: its connection is closed with 1011
├── UnencodableError        a message that the client's version of the protocol has no form for
├── SocketError             a socket class or a mount is wrong: an error at the start
└── TokenError
    ├── TokenExpiredError
    └── TokenInvalidError
"""

from __future__ import annotations

__all__ = [
    "MalformedMessageError",
    "SocketError",
    "TokenError",
    "TokenExpiredError",
    "TokenInvalidError",
    "TransportError",
    "UnencodableError",
]


class TransportError(Exception):
    """The base of every error that this package raises on its own account."""


class MalformedMessageError(TransportError, ValueError):
    """Something came in that is no message of the negotiated protocol."""


class UnencodableError(TransportError, ValueError):
    """A message cannot be written in the client's version of the protocol."""


class SocketError(TransportError, TypeError):
    """A socket class, or what mounts it, is not as it must be."""


class TokenError(TransportError):
    """A token is not accepted."""


class TokenExpiredError(TokenError):
    """A token is genuine, but too old."""


class TokenInvalidError(TokenError):
    """A token is forged, damaged, or was signed for something else."""
