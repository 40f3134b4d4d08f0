"""The listener: the actor that accepts connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, ClassVar

from actors.actor import Actor
from transport.http.http_connection import HttpConnection

if TYPE_CHECKING:
    from typing import Any

    from transport.http.exchange import HttpEndpoint
    from transport.http.http_connections import HttpConnections

__all__ = ["Listener", "bind", "unbind"]

# The most that Linux allows by default (net.core.somaxconn), so that 10,000 clients may reconnect at once.
BACKLOG = 4096


def bind(host: str, port: int) -> list[socket.socket]:
    """Open the listening sockets for a host and port; port 0 is any free one, the same for all addresses of the host.

    Raises:
        OSError: if the address is in use, or does not belong to this machine.
    """
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_listen(family, kind, protocol, (address[0], chosen, *address[2:])))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return sockets


def unbind(opened: socket.socket) -> None:
    """Shut down and close a listening socket: the port is free at once, even if a listener still has a duplicate open."""
    with contextlib.suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
    opened.close()


def _listen(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.settimeout(0)
    except OSError:
        opened.close()
        raise
    return opened


class Listener(Actor):
    """Accepts connections for an endpoint.

    Its supervisor owns the listening sockets: if the listener crashes, new clients wait in the kernel's queue until it has been
    restarted.
    """

    shutdown: ClassVar[float] = 5.0

    def __init__(self, sockets: list[socket.socket], endpoint: HttpEndpoint, connections: HttpConnections) -> None:
        self._sockets, self._endpoint, self._connections = sockets, endpoint, connections

    async def on_start(self) -> None:
        """Accept from now on."""
        loop = asyncio.get_running_loop()
        scheduler = self._process.scheduler
        for listening in self._sockets:
            server = await loop.create_server(
                lambda: HttpConnection(self._endpoint, scheduler, self._connections),
                sock=listening.dup(),
                backlog=BACKLOG,
            )
            self.own(server.close)
