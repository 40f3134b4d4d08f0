"""What `channel.push`, `join` and `leave` return: await it, register callbacks, or ignore it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from transport.client.exceptions import ClosedError, JoinError, ReplyError, ReplyTimeoutError
from transport.client.protocol.push_protocol import CLOSED, TIMEOUT, PushProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from actors.channels.message import Reply
    from transport.client.protocol.effects import Callback

__all__ = ["Push"]


class Push:
    """An event sent to the server, and its reply.

    Awaiting it returns the response of a reply with status "ok". It raises

    - ReplyError for any other status, JoinError if it is a join, both with the server's `response`,
    - ReplyTimeoutError if there is no reply in time; a late reply is dropped,
    - ClosedError if the channel is closed before there is a reply.

    It need not be awaited: many events have no reply.
    """

    def __init__(self, topic: str, protocol: PushProtocol, carry: Callable[[], None]) -> None:
        self._topic, self._protocol, self._carry = topic, protocol, carry

    def __repr__(self) -> str:
        return f"<Push {self._protocol.event} on {self._topic}>"

    def receive(self, status: str, callback: Callback) -> Self:
        """Call `callback(response)` for a reply with that status, at once if it has been received; return the push.

        A status is "ok", "error" or another one that the server sends, "timeout", or "closed". A callback may be a coroutine
        function. The callback of a join is called each time the channel has rejoined.
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
        try:
            self._carry()
            return self._checked(*await answered)
        finally:
            self._protocol.unwatch(settle)

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
