"""The console of a system: it listens on a Unix socket, and starts a session for each client."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from supervisors.calls import start_child
from supervisors.child_spec import ChildSpec, Restart
from supervisors.console.server.console_connection import ConsoleConnection
from supervisors.console.server.console_session import Session
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.exceptions import ConsoleError
from supervisors.socket_file import SocketFile

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.future import Future
    from actors.ref import ActorRef
    from supervisors.system import System

__all__ = ["ConsoleServer", "open_console"]

# Maximum number of sessions: each has a thread.
_MOST = 16

_BACKLOG = 16


def open_console(system: System, path: str) -> ChildSpec:
    """Return the child of a system that serves `System(console=path)`."""
    return ChildSpec(ConsoleServer, (system, path), id="console")


class ConsoleServer(DynamicSupervisor):
    """Supervises the sessions of the clients that are attached to `system` at `path`; see `System(console=…)`.

    Raises:
        StartError: from ConsoleError, if there cannot be a socket at that path.
    """

    shutdown: ClassVar[float] = 5.0

    def __init__(self, system: System, path: str) -> None:
        super().__init__(max_children=_MOST)
        self.path = path
        self._system = system
        self._server: asyncio.Server | None = None

    def on_start(self) -> Any:
        """Start listening."""
        super().on_start()
        return self._listen()

    async def _listen(self) -> None:
        try:
            # Only the user of the server can open it.
            socket = SocketFile(self.path, mode=0o600, backlog=_BACKLOG)
        except OSError as error:
            raise ConsoleError(self.path, str(error.strerror)) from error
        self.own(partial(self._close, socket))
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: ConsoleConnection(self._accept), sock=socket.listening)

    def _close(self, socket: SocketFile) -> None:
        if self._server is not None:
            # First, as it is still polling the socket.
            self._server.close()
        socket.close()

    def _accept(self, connection: ConsoleConnection) -> None:
        spec = ChildSpec(Session, (self._system, connection), id="session", restart=Restart.TEMPORARY)
        start_child(self.actor_ref, spec).add_done_callback(partial(_on_started, connection))

    def terminate(self, reason: ExitReason) -> Any:
        """Stop accepting clients, and stop the sessions."""
        if self._server is not None:
            self._server.close()
        return super().terminate(reason)


def _on_started(connection: ConsoleConnection, started: Future[ActorRef[Session]]) -> None:
    if started.exception is not None:
        connection.refuse(f"cannot start a session: {started.exception}")
