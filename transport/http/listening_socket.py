"""Listening sockets: how each is opened, and what becomes of the connections that wait for it when it is closed.

Theory of operation.

The kernel resets the connections that wait in the queue of a listening socket when that is closed. So an endpoint that stops
while another process serves the same address accepts what waits, and closes then. What comes in between is the problem, and
it depends on the socket (`divert`).

1. TCP with SO_REUSEPORT: each process has a socket and a queue of its own, and the kernel chooses by the addresses of a client.
   A filter of packets drops the first one of each client that the kernel sends here, so that nothing is added to the queue.
   These clients send it again after a second, to a socket that is left.
2. A Unix socket: its file is removed, if another process has not replaced it.
3. A socket that was handed in: all processes that have it share one queue. It is left to the others as it is.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
from array import array
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from actors.fork import in_child
from transport.exceptions import ListenError

if TYPE_CHECKING:
    from supervisors.socket_file import SocketFile

__all__ = ["BACKLOG", "FileSocket", "ListeningSocket", "TcpSocket", "authority", "bind", "unix_url"]

# The most that Linux allows by default (net.core.somaxconn), so that 10,000 clients may reconnect at once.
BACKLOG = 4096

# What opening a socket raises for an address of a version of IP that this machine does not have.
_NOT_HERE = frozenset((errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL))

# Linux' SO_ATTACH_FILTER, which Python does not name.
_ATTACH_FILTER = 26

# Drops packets that have SYN and not ACK; each instruction is a code, two jumps and a value (man 7 bpf; RFC 9293, 3.1).
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # unless SYN alone is left, skip the next one
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0x7FFFFFFF),  # pass all
)

# All listening sockets of this process; a forked one closes them, so that the port is free when their owner has ended.
_listening: WeakSet[socket.socket] = WeakSet()


def _after_fork() -> None:
    for opened in _listening:
        opened.close()


in_child(_after_fork)


class ListeningSocket:
    """A socket on which an endpoint listens; this one was handed in, and stays open for the processes that have it."""

    at_once = 32
    """Connections that are accepted in one iteration of the loop; each takes about 50 microseconds."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        _listening.add(opened)

    @property
    def address(self) -> Any:
        """The address to which it is bound."""
        return self._socket.getsockname()

    @property
    def url(self) -> str:
        """The address, for people."""
        address = self.address
        return f"http://{authority(*address[:2])}" if isinstance(address, tuple) else unix_url(address)

    def duplicate(self) -> socket.socket:
        """Return another descriptor of the socket, to accept from; closing it does not end the listening."""
        duplicate = self._socket.dup()
        _listening.add(duplicate)
        return duplicate

    def kept(self) -> socket.socket:
        """Return another descriptor of the socket, which forked processes keep; close it like any other."""
        return self._socket.dup()

    def divert(self) -> bool:
        """Let clients that connect from now on go elsewhere; return whether those that wait in the queue are to be accepted."""
        return False

    def close(self) -> None:
        """Stop to listen; again, it does nothing."""
        self._socket.close()


class TcpSocket(ListeningSocket):
    """A TCP socket of this process; others may have sockets of the same port if it was opened with SO_REUSEPORT."""

    def divert(self) -> bool:
        """Drop the first packet of clients that connect from now on; they send it again, after a second."""
        if sys.platform == "linux":
            code = array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN))
            program = struct.pack("HP", len(_DROP_SYN), code.buffer_info()[0])
            # Without it, these are reset when the socket is closed.
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        return True

    def admit_others(self) -> None:
        """Let other sockets be bound to the same port, which was free."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def twin(self) -> TcpSocket:
        """Return another socket of the same port, with a queue of its own; the kernel spreads clients over both."""
        own = self._socket
        return TcpSocket(_listen(own.family, own.type, own.proto, own.getsockname(), True))  # noqa: FBT003  # as above

    def close(self) -> None:
        """Shut down, so that the port is free at once, even if a listener or a forked process still has a duplicate open."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class FileSocket(ListeningSocket):
    """A Unix socket of this process, at a path."""

    def __init__(self, file: SocketFile) -> None:
        super().__init__(file.listening)
        self._file = file

    @property
    def address(self) -> str:
        """The path; the name that it was bound to may have been another one."""
        return self._file.path

    def divert(self) -> bool:
        """Remove the file, unless another process has replaced it."""
        self._file.remove()
        return True

    def close(self) -> None:
        """Stop to listen, and remove the file, unless another process has replaced it."""
        self._file.close()


def authority(host: str, port: int) -> str:
    """Return a host and a port as they are written in a URL: an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unix_url(path: str | bytes) -> str:
    """Return the path of a Unix socket as servers show it; an abstract one of Linux begins with a zero byte, shown as @."""
    text = path if isinstance(path, str) else path.decode(errors="backslashreplace")
    return f"unix:{text.replace(chr(0), '@', 1)}"


def bind(host: str, port: int, *, reuse_port: bool = False) -> list[TcpSocket]:
    """Open the listening sockets for a host and port; port 0 is any free one, the same for all addresses of the host.

    Of the addresses of a name, such as those of localhost in both versions of IP, it takes those that this machine has. With
    `reuse_port` other processes may listen there too, if they do the same.

    Raises:
        ListenError: if an address is in use, or none belongs to this machine.
    """
    sockets: list[TcpSocket] = []
    try:
        _listen_on_each(host, port, reuse_port, sockets)
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise ListenError(
            error.errno, f"cannot listen on {authority(host, port)}: {error.strerror or error}"
        ) from error
    return sockets


def _listen_on_each(host: str, port: int, reuse_port: bool, sockets: list[TcpSocket]) -> None:  # noqa: FBT001  # private
    missing: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        chosen = sockets[0].address[1] if sockets else port
        try:
            sockets.append(TcpSocket(_listen(family, kind, protocol, (address[0], chosen, *address[2:]), reuse_port)))
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            missing = error
    if missing is not None and not sockets:
        raise missing


def _listen(family: int, kind: int, protocol: int, address: tuple[Any, ...], reuse_port: bool) -> socket.socket:  # noqa: FBT001  # private
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.settimeout(0)
    except OSError:
        opened.close()
        raise
    return opened
