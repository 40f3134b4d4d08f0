"""A Redis, or Valkey, that a program runs for its own processes only: a child process, on a Unix socket."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from actors.clock import monotonic_time, pause
from actors.exceptions import ActorsError
from actors.parent_death import killed_with_parent
from actors.pubsub.redis.redis_pubsub import redis_address
from actors.redaction import safe_str

__all__ = ["PrivateServer", "PrivateServerError"]

_PROGRAMS = ("redis-server", "valkey-server")

_MISSING = (
    "several processes need Redis between them, and none is installed: install redis-server or valkey-server "
    "(Debian, Ubuntu: apt install redis-server; Fedora: dnf install valkey; macOS: brew install redis), "
    "or pass the URL of one that runs already: --redis URL, or PubSub(adapter=RedisPubSub(url))"
)

# No port, no files. Without a limit of memory: nothing is stored but histories, which have bounds and expire, and a server that
# evicts would make holes in them.
_OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "databases": "1",
    "loglevel": "warning",
    "daemonize": "no",
    "supervised": "no",
}

# The path of a socket has 104 bytes on macOS, 108 on Linux, with a zero at the end.
_LONGEST_PLACE = 70
_SOCKET, _LOG = "redis.sock", "redis.log"
_STARTED = "Server initialized\n"
_BETWEEN_LOOKS = 0.005
_ANSWER = 1.0
_NOT_FOR_IT = (signal.SIGINT, signal.SIGTERM)


class PrivateServerError(ActorsError):
    """No Redis can be run for the processes of this program; the text is one line that says what to do."""


class PrivateServer:
    """A Redis of this process and its children: on a Unix socket that only this user can reach, with no port and no files.

    The process that starts it is its parent, which waits for its children (`os.waitpid`) and starts it again when it has ended.
    Ctrl-C, and a SIGTERM to all processes of the program, as systemd sends it, do not end it: the others need it while they
    drain. It dies with its parent, whatever ends that: on Linux at once; elsewhere a process that outlives the parent calls
    `stop_orphan`.

    Raises:
        PrivateServerError: if neither Redis nor Valkey is installed.
        ModuleNotFoundError: if redis-py is not installed.
    """

    start_timeout: ClassVar[float] = 10.0
    """Seconds in which it must accept connections."""

    def __init__(self) -> None:
        found = [path for path in map(shutil.which, _PROGRAMS) if path is not None]
        if not found:
            raise PrivateServerError(_MISSING)
        # Here, if its library is missing.
        redis_address("unix:///redis.sock")
        self._program = found[0]
        self._directory: Path | None = None
        self._parent = 0
        self.pid = 0
        """Its process id; 0 before it is started."""

    @property
    def url(self) -> str:
        """Where it is, for `RedisPubSub(url)`: it stays the same when it is started again."""
        return f"unix://{quote(str(self._in_directory(_SOCKET)))}"

    def start(self) -> str:
        """Start it, and return its URL when it accepts connections; to be called in the main thread.

        Raises:
            PrivateServerError: if it does not, after 10 s at the latest; nothing is left of it then.
        """
        try:
            self._parent, self._directory = os.getpid(), _fresh_directory()
            self.restart()
            self._wait_until_it_answers()
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError):
                raise PrivateServerError(f"{self._program} cannot be started: {safe_str(error)}") from error
            raise
        return self.url

    def restart(self) -> None:
        """Start it again after it has ended; clients connect again as soon as they can.

        Raises:
            OSError: if there can be no more processes.
        """
        with self._in_directory(_LOG).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  # the program that PATH leads to
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_prepared(),  # noqa: PLW1509  # it takes no lock
            )
        # Its end is for the caller's waitpid; the children that are forked from now on have a copy of this object.
        self.pid, process.returncode = process.pid, 0

    def last_log_line(self) -> str:
        """Return the last line that it has logged, which may be why it has ended; empty if there is none."""
        with suppress(OSError):
            text = self._in_directory(_LOG).read_text(errors="replace").rpartition(_STARTED)[2]
            # Its warnings are about the machine.
            lines = [line.strip() for line in text.split("\n") if line.strip() and "WARNING" not in line]
            return safe_str(lines[-1]) if lines else ""
        return ""

    def stop(self) -> None:
        """End it at once, and remove its directory; in a process that the parent has forked nothing happens."""
        if self._parent != os.getpid():
            return
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._reap(0)
            self.pid = 0
        self._remove()

    def stop_orphan(self) -> None:
        """End it from another process than its parent, after that one has died, and remove its directory."""
        # Not by its process id, which may be another one's by now.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(_ANSWER)
            connected.connect(str(self._in_directory(_SOCKET)))
            connected.sendall(b"SHUTDOWN NOSAVE\r\n")
            connected.recv(1)
        self._remove()

    def _in_directory(self, name: str) -> Path:
        if self._directory is None:
            raise RuntimeError("the private server has not been started")
        return self._directory / name

    def _command(self) -> list[str]:
        options = _OPTIONS | {"unixsocket": str(self._in_directory(_SOCKET)), "dir": str(self._directory)}
        return [self._program, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _wait_until_it_answers(self) -> None:
        limit = monotonic_time() + self.start_timeout
        while not self._answers():
            if self._reap(os.WNOHANG):
                self.pid = 0
                raise PrivateServerError(
                    f"{self._program} has ended at once: {self.last_log_line() or 'it has logged nothing'}"
                )
            if monotonic_time() > limit:
                raise PrivateServerError(f"{self._program} does not answer within {self.start_timeout:g} s")
            pause(_BETWEEN_LOOKS)

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(_ANSWER)
            connected.connect(str(self._in_directory(_SOCKET)))
            connected.sendall(b"PING\r\n")
            return connected.recv(16).startswith(b"+PONG")
        return False

    def _reap(self, options: int) -> bool:
        """Return whether it has ended; with 0, wait for that."""
        try:
            return os.waitpid(self.pid, options)[0] == self.pid
        except ChildProcessError:
            # The caller has waited for it.
            return True

    def _remove(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


def _prepared() -> Callable[[], None]:
    """Return what the child does before it becomes the server."""
    end_with_parent = killed_with_parent()

    def prepare() -> None:
        # The server does not change the mask that it inherits.
        signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_IT)
        end_with_parent()

    return prepare


def _fresh_directory() -> Path:
    """Return a new directory of this user alone, in which the path of a socket is not too long."""
    for place in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # the name is made up by chance, the mode is 0700
        if len(os.fsencode(place)) <= _LONGEST_PLACE:
            return Path(tempfile.mkdtemp(prefix="ashtree-", dir=place))
    raise PrivateServerError("a Unix socket cannot have such a long path; set TMPDIR to a shorter one")
