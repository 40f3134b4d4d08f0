"""What `channel.push`, `join` and `leave` return: to be awaited, or told of by callbacks, or let go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from transport.client.exceptions import ClosedError, JoinError, ReplyError, ReplyTimeoutError
from transport.client.protocol.push_protocol import CLOSED, TIMEOUT, PushProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from actors.channels.message import Reply

__all__ = ["Push"]


class Push:
    """An event on its way to the server, and the answer to it.

    Awaited, it is the response of a reply with status "ok". It raises

    - ReplyError for any other status, JoinError if it is a join, both with the server's `response`,
    - ReplyTimeoutError if there is no answer in time; one that comes later is dropped,
    - ClosedError if the channel is closed before there is an answer.

    Nobody needs to await it: many events have no reply.
    """

    def __init__(self, topic: str, protocol: PushProtocol, carry: Callable[[], None]) -> None:
        self._topic, self._protocol, self._carry = topic, protocol, carry

    def __repr__(self) -> str:
        return f"<Push {self._protocol.event} on {self._topic}>"

    def receive(self, status: str, callback: Callable[[Any], object]) -> Self:
        """Have `callback(response)` called for an answer of that status, at once if it is there; return the push.

        A status is "ok" or "error" or what else the server says, "timeout", or "closed". A callback may be a coroutine
        function. That of a join is called each time that the channel has joined again.
        """
        self._protocol.receive(status, callback)
        self._carry()
        return self

    def __await__(self) -> Generator[Any, None, Any]:
        return self._response().__await__()

    async def _response(self) -> Any:
        answered: asyncio.Future[tuple[Reply, Exception | None]] = asyncio.get_running_loop().create_future()

        def settle(reply: Reply) -> None:
            if not answered.done():
                answered.set_result((reply, self._protocol.cause))

        self._protocol.watch(settle)
        self._carry()
        return self._checked(*await answered)

    def _checked(self, reply: Reply, cause: Exception | None) -> Any:
        event = self._protocol.event
        match reply.status:
            case "ok":
                return reply.payload
            case status if status == TIMEOUT:
                raise ReplyTimeoutError(self._topic, event, self._protocol.timeout)
            case status if status == CLOSED:
                raise ClosedError(f"{self._topic!r} was closed before {event!r} was answered")
            case status if event == "phx_join":
                raise JoinError(self._topic, event, status, reply.payload) from cause
            case status:
                raise ReplyError(self._topic, event, status, reply.payload)
