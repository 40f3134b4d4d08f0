"""The Unix socket of a console: a file that only the user of the server can open, removed with the console."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct

from supervisors.exceptions import ConsoleError

__all__ = ["UnixSocket", "is_of_this_user"]

_BACKLOG = 16

# struct ucred of Linux: pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")


class UnixSocket:
    """A listening socket at a path, with mode 0600; it replaces a socket file that a dead server has left.

    Raises:
        ConsoleError: with what is wrong with the path, or that a running server has it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.listening.settimeout(0)
            self._bind()
            # No client can connect before listen(), so none has while the mode was different.
            os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
            self.listening.listen(_BACKLOG)
            self._file = os.stat(path)
        except OSError as error:
            self.listening.close()
            raise ConsoleError(path, _reason(path, error)) from error

    def _bind(self) -> None:
        try:
            self.listening.bind(self.path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(self.path):
                raise
            os.unlink(self.path)
            self.listening.bind(self.path)

    def close(self) -> None:
        """Stop listening, and remove the file, unless it has been replaced."""
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)  # a forked process may have it open too
        self.listening.close()
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self.path), self._file):
                os.unlink(self.path)


def _is_stale(path: str) -> bool:
    """Return whether a path is a socket on which no process listens."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
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
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return "there is a file that is not a socket"
    return "a running server has it"


def is_of_this_user(connected: socket.socket) -> bool:
    """Return whether the peer is the user of this process; if the system cannot tell, the mode of the file must do."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return bool(user == os.geteuid())
