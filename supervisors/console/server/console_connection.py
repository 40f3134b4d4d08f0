"""The connection of one client: it passes frames to the session, and sends what is in the output queue."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from actors.fork import shut_down
from supervisors.console.protocol import Bye, Frames, FromClient, FromServer
from supervisors.console.server.output_queue import OutputQueue
from supervisors.socket_file import is_of_this_user

if TYPE_CHECKING:
    from actors.ref import ActorRef

__all__ = ["ClientGone", "ConsoleConnection"]


class ClientGone(msgspec.Struct, frozen=True):
    """Reports to the session that its client has disconnected, or must be disconnected after a malformed frame."""

    reason: str = ""


class ConsoleConnection(asyncio.Protocol):
    """Carries frames between a client and its session. It is not an actor.

    `accept(connection)` is called for each client that runs as the same user.
    """

    def __init__(self, accept: Callable[[ConsoleConnection], object]) -> None:
        loop = asyncio.get_running_loop()
        self.outbox = OutputQueue(loop)
        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when the connection is closed."""
        self._accept = accept
        self._frames = Frames(FromClient)
        self._early: list[FromClient | FromServer | ClientGone] = []
        self._session: ActorRef[Any] | None = None
        self._transport: asyncio.Transport | None = None

    def serve(self, session: ActorRef[Any]) -> None:
        """Pass the frames received so far, and all later ones, to the session."""
        self._session = session
        for frame in self._early:
            session.send(frame)
        self._early.clear()

    def refuse(self, reason: str) -> None:
        """Send the reason why the session was refused or has ended, and close."""
        self.outbox.finish(Bye(reason))

    def abort(self) -> None:
        """Close at once."""
        self.outbox.close()
        if self._transport is not None:
            self._transport.abort()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the client if it runs as the same user."""
        self._transport = cast("asyncio.Transport", transport)
        self.outbox.open(self._transport)
        # A duplicate, as the object of an event loop is not a `socket.socket`.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connected:
            if not is_of_this_user(connected):
                self.refuse("this console is for the user of the server only")
                return
        self._accept(self)

    def data_received(self, data: bytes) -> None:
        """Pass on the frames that are complete."""
        try:
            for frame in self._frames.feed(data):
                self._pass_on(frame)
        except ValueError as error:  # msgspec's are ValueErrors too
            assert self._transport is not None
            self._transport.pause_reading()
            self._pass_on(ClientGone(f"not a client of a console: {error}"))

    def _pass_on(self, frame: FromClient | FromServer | ClientGone) -> None:
        if self._session is None:
            self._early.append(frame)
        else:
            self._session.send(frame)

    def pause_writing(self) -> None:
        """Keep output in the queue, as the client is slow."""
        self.outbox.pause()

    def resume_writing(self) -> None:
        """Send what is in the queue."""
        self.outbox.resume()

    def connection_lost(self, _error: Exception | None) -> None:
        """Notify the session that the client has disconnected."""
        if self._transport is not None:
            shut_down(self._transport)
        self.outbox.close()
        self.closed.set_result(None)
        self._pass_on(ClientGone())
