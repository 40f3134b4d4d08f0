"""A Unix socket to listen on: a file at a path, with a mode, that is removed when nothing listens there any more."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
import struct

__all__ = ["SocketFile", "is_of_this_user"]

# struct ucred of Linux: pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")


class SocketFile:
    """A listening socket at a path; it replaces the file of a server that has died.

    With `replace`, it also takes the place of a server that is running: that one keeps its connections and those that wait for
    it, and clients that connect from now on come here. No client ever finds the path empty.

    Raises:
        OSError: whose `strerror` says what is wrong with the path, or that a running server has it.
    """

    def __init__(self, path: str, *, mode: int, backlog: int, replace: bool = False) -> None:
        self.path = path
        # The program may change its working directory.
        self._place = os.path.abspath(path)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.listening.settimeout(0)
            bound = _beside(path) if replace else path
            self._open(bound, mode, backlog)
        except OSError as error:
            self.listening.close()
            raise OSError(error.errno, _reason(path, error)) from error

    def _open(self, bound: str, mode: int, backlog: int) -> None:
        """Listen at a name, and give the file its own one."""
        _bind(self.listening, bound)
        try:
            # No client can connect before listen(), so none has while the mode was different.
            os.chmod(bound, mode)
            self.listening.listen(backlog)
            self._file = os.stat(bound)
            os.rename(bound, self.path)
        except OSError:
            os.unlink(bound)
            raise

    def remove(self) -> None:
        """Remove the file, unless another one has taken its place: no client connects here from now on."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self._place), self._file):
                os.unlink(self._place)

    def close(self) -> None:
        """Stop listening, and remove the file, unless it has been replaced."""
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)  # a forked process may have it open too
        self.listening.close()
        self.remove()


def _bind(opened: socket.socket, path: str) -> None:
    try:
        opened.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_stale(path):
            raise
        os.unlink(path)
        opened.bind(path)


def _beside(path: str) -> str:
    """Return another name in the folder of a path, unless there is a file that is not a socket."""
    if os.path.lexists(path) and not _is_socket(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    return os.path.join(os.path.dirname(path), f".{secrets.token_hex(4)}")


def _is_socket(path: str) -> bool:
    return stat.S_ISSOCK(os.lstat(path).st_mode)


def _is_stale(path: str) -> bool:
    """Return whether a path is a socket on which no process listens."""
    if not _is_socket(path):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(0)
        return trial.connect_ex(path) == errno.ECONNREFUSED


def _reason(path: str, error: OSError) -> str:
    if error.errno is None:
        # Raised by Python: the limit is the system's (108 bytes on Linux, 104 on macOS, with a terminating zero).
        return f"a Unix socket cannot have a path of {len(os.fsencode(path))} bytes; choose a shorter one"
    if error.errno != errno.EADDRINUSE:
        return error.strerror or str(error)
    with contextlib.suppress(OSError):
        if not _is_socket(path):
            return "there is a file that is not a socket"
    return "a running server has it"


def is_of_this_user(connected: socket.socket) -> bool:
    """Return whether the peer is the user of this process; if the system cannot tell, the mode of the file must do."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return bool(user == os.geteuid())
