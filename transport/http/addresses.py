"""Where an endpoint may listen: at a TCP port, at a Unix socket, and on sockets that other programs hand in."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actors.redaction import safe_repr
from actors.validation import is_count
from supervisors.socket_file import SocketFile
from transport.exceptions import ListenError, SocketError
from transport.http.listening_socket import BACKLOG, FileSocket, ListeningSocket, bind, unix_url

__all__ = [
    "Address",
    "InheritedSocket",
    "Listen",
    "SystemdSockets",
    "TcpPort",
    "UnixSocket",
    "are_shared",
    "check_address",
    "check_reuse_port",
    "checked_listen",
]

_MOST = 65535
_MODES = 0o777

# The first descriptor that systemd hands in; those after it follow (man 3 sd_listen_fds).
_FIRST = 3


class Address(Protocol):
    """A place where an endpoint may listen."""

    def open(self, *, reuse_port: bool) -> Sequence[ListeningSocket]:
        """Open its sockets, or find those that were handed in.

        Raises:
            ListenError: if that is not possible.
        """


@dataclass(frozen=True, slots=True)
class TcpPort:
    """A port, on all addresses of a host that this machine has; 0 takes a free one at each start.

    Raises:
        SocketError: if the host is not one.
        ValueError: if the port is not one.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        check_address(self.host, self.port)
        if self.port is None:
            raise ValueError("a TcpPort has a port; 0 takes a free one")

    def open(self, *, reuse_port: bool) -> Sequence[ListeningSocket]:
        """Open a socket for each address of the host."""
        return bind(self.host, self.port, reuse_port=reuse_port)


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A Unix socket at a path, for a proxy on this machine: `Endpoint(…, listen=UnixSocket("/run/shop/shop.sock"))`.

    - `mode`: who may connect, as of a file; by default its user and group.

    A file that a dead server has left is replaced, and the file is removed at the end unless another server has replaced it.
    With `Endpoint(reuse_port=True)` a new server takes the place of a running one, which finishes its connections.

    Its clients have no address: with `trusted_proxies=["unix:"]` the proxy says what they have.

    Raises:
        SocketError: if the path or the mode is not one, or the platform has no Unix sockets.
    """

    path: str | os.PathLike[str]
    mode: int = 0o660

    def __post_init__(self) -> None:
        given: object = self.path
        path = os.fspath(given) if isinstance(given, str | os.PathLike) else None
        if not isinstance(path, str) or not path or "\0" in path:
            raise SocketError(
                f'the path of a UnixSocket is one such as "/run/shop/shop.sock", got {safe_repr(self.path)}'
            )
        if not is_count(self.mode) or self.mode > _MODES:
            raise SocketError(f"the mode of a UnixSocket is octal, such as mode=0o660, got {safe_repr(self.mode)}")
        if not hasattr(socket, "AF_UNIX"):
            raise SocketError("this platform has no Unix sockets: listen on a port")

    def open(self, *, reuse_port: bool) -> Sequence[ListeningSocket]:
        """Open the socket."""
        path = os.fspath(self.path)
        try:
            return [FileSocket(SocketFile(path, mode=self.mode, backlog=BACKLOG, replace=reuse_port))]
        except OSError as error:
            raise ListenError(f"cannot listen on {unix_url(path)}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A listening socket that the program which started this one has handed in, by its descriptor.

    `subprocess.Popen(…, pass_fds=[3])` and the `[socket:…]` sections of supervisors of programs do so. It stays open when the
    endpoint stops: clients that wait in its queue are the next server's.

    Raises:
        SocketError: if `fd` is not a descriptor.
    """

    fd: int

    def __post_init__(self) -> None:
        if not is_count(self.fd):
            raise SocketError(
                f"an InheritedSocket has the number of a descriptor, such as InheritedSocket(3), got {safe_repr(self.fd)}"
            )

    def open(self, *, reuse_port: bool) -> Sequence[ListeningSocket]:  # it is shared anyway
        """Find the socket."""
        return [_found(self.fd)]


@dataclass(frozen=True, slots=True)
class SystemdSockets:
    """The sockets that systemd listens on for this service, those with a `FileDescriptorName=` if one is given.

    They stay open when the endpoint stops: clients that connect during a restart wait for the next start. To try it in a
    terminal: `systemd-socket-activate -l 4000 python app.py`.

    Raises:
        SocketError: if the name is not one.
    """

    name: str | None = None

    def __post_init__(self) -> None:
        name: object = self.name
        if name is not None and (not isinstance(name, str) or not name):
            raise SocketError(
                f'SystemdSockets takes the FileDescriptorName= of a socket unit, such as "web", got {safe_repr(self.name)}'
            )

    def open(self, *, reuse_port: bool) -> Sequence[ListeningSocket]:  # they are shared anyway
        """Find the sockets."""
        names = _handed_by_systemd()
        chosen = [fd for fd, name in enumerate(names, _FIRST) if self.name in (None, name)]
        if not chosen:
            has = f"systemd has handed in {', '.join(map(repr, names))}" if names else "systemd has handed in none"
            which = "" if self.name is None else f" {self.name!r}"
            raise ListenError(f"cannot listen on the sockets{which} of a socket unit: {has}")
        return [_found(fd) for fd in chosen]


def _handed_by_systemd() -> list[str]:
    """Return the names of the sockets that this process was given; a child of it, which has its environment, was not."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return [*names, *["unknown"] * _MOST][: int(count)] if count.isascii() and count.isdecimal() else []


def _found(fd: int) -> ListeningSocket:
    try:
        given = socket.socket(fileno=os.dup(fd))
        # A program that is started by this one does not have it.
        os.set_inheritable(fd, False)  # noqa: FBT003  # that is how it is called
    except OSError as error:
        what = "is no socket" if _is_open(fd) else "was not handed in"
        raise ListenError(f"cannot listen on descriptor {fd}: it {what}") from error
    return _handed(given, f"descriptor {fd}")


def _is_open(fd: int) -> bool:
    try:
        return bool(stat.S_IFMT(os.fstat(fd).st_mode))
    except OSError:
        return False


def _handed(opened: socket.socket, name: str) -> ListeningSocket:
    """Return a socket of ours, a duplicate of one that was handed in, and listen on it if it does not listen yet."""
    try:
        if opened.type != socket.SOCK_STREAM or not _is_bound(opened):
            raise OSError(errno.EINVAL, "it is no stream socket that is bound to an address")  # noqa: TRY301  # as the others
        if not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            opened.listen(BACKLOG)
        opened.settimeout(0)
    except OSError as error:
        opened.close()
        raise ListenError(f"cannot listen on {name}: {error.strerror}") from error
    return ListeningSocket(opened)


def _is_bound(opened: socket.socket) -> bool:
    address = opened.getsockname()
    return bool(address[1] if isinstance(address, tuple) else address)


@dataclass(frozen=True, slots=True)
class _Given:
    """A socket object of the application, which stays its own."""

    socket: socket.socket

    def open(self, *, reuse_port: bool) -> Sequence[ListeningSocket]:  # it is open
        try:
            duplicate = self.socket.dup()
        except OSError as error:
            raise ListenError(f"cannot listen on {self.socket!r}: it is closed") from error
        return [_handed(duplicate, repr(self.socket))]


Listen = Address | socket.socket | Sequence[Address | socket.socket]
"""What `Endpoint(listen=…)` takes: one place, or several."""

_PLACES = (TcpPort, UnixSocket, InheritedSocket, SystemdSockets)
_HANDED_IN = (_Given, InheritedSocket, SystemdSockets)


def are_shared(addresses: Sequence[Address]) -> bool:
    """Return whether other processes may have one of these sockets."""
    return any(isinstance(address, _HANDED_IN) for address in addresses)


def check_reuse_port(reuse_port: object) -> None:
    """Raise unless other processes can be allowed to listen at the same place, or are not."""
    if not isinstance(reuse_port, bool):
        raise SocketError(f"reuse_port must be a bool, got {safe_repr(reuse_port)}")
    if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise SocketError("reuse_port=True needs SO_REUSEPORT, which this platform does not have")


def checked_listen(listen: object) -> list[Address]:
    """Return the places where an endpoint listens."""
    several = listen if isinstance(listen, list | tuple) else [listen]
    if not several:
        raise SocketError(
            "listen=[] listens nowhere: write port=None for an endpoint that is served by endpoint.asgi()"
        )
    return [_checked_place(place) for place in several]


def _checked_place(place: Any) -> Address:
    if isinstance(place, socket.socket):
        return _Given(place)
    if isinstance(place, _PLACES):
        return place
    raise SocketError(
        "listen takes a socket, UnixSocket(path), InheritedSocket(fd), SystemdSockets(), TcpPort(host, port), or a list of "
        f"these, got {safe_repr(place)}{_hint(place)}"
    )


def _hint(place: object) -> str:
    if isinstance(place, int):
        return "; a port is given by port="
    if isinstance(place, str) and "/" not in place:
        return "; an address is written TcpPort(host, port)"
    return "; the path of a Unix socket is written UnixSocket(…)" if isinstance(place, str | os.PathLike) else ""


def check_address(host: object, port: object) -> None:
    """Raise unless an endpoint can be told to listen on these.

    Raises:
        SocketError: if the host is not one.
        ValueError: if the port is not one.
    """
    if not isinstance(host, str) or _has_more(host):
        raise SocketError(
            'host must be a name or an address without scheme, port and brackets, such as "127.0.0.1" or, for all '
            f'addresses of the machine, "0.0.0.0", got {safe_repr(host)}'
        )
    if port is not None and not (is_count(port) and port <= _MOST):
        raise ValueError(f"port must be a whole number from 0 to {_MOST} or None, got {safe_repr(port)}{_as_int(port)}")


def _has_more(host: str) -> bool:
    """Return whether a host has what does not belong to it; an IPv6 address has several colons."""
    return host.count(":") == 1 or any(sign in host for sign in "/[]@ ")


def _as_int(port: object) -> str:
    return '; what os.environ has is text: write port=int(os.environ["PORT"])' if isinstance(port, str) else ""
