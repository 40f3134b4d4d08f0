"""The client for code without an event loop: the same classes, with methods that block."""

from transport.client.sync import (
    Channel,
    Presence,
    Push,
    Socket,
    connect,
)

__all__ = [
    "Channel",
    "Presence",
    "Push",
    "Socket",
    "connect",
]
