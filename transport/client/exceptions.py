"""What the client raises.

ClientError
├── ConnectError            no connection could be established; the cause is chained
├── LongPollError           a server's answer to a request of long polling is none
├── ParamsError             the socket's params or auth_token function failed; the cause is chained
├── ReplyError              the reply to a push has a status other than "ok"
│   └── JoinError           a join was refused, or its params function failed; then the cause is chained
├── ReplyTimeoutError       no reply in time (also a TimeoutError)
├── ClosedError             the channel or the socket is closed, or was closed while waiting
├── BufferFullError         too many pushes are waiting for the channel to be joined
├── NotJoinedError          push() before join()
└── AlreadyJoinedError      a second join() of the same channel
"""

from __future__ import annotations

from typing import Any

from actors.redaction import safe_repr
from transport.exceptions import TransportError

__all__ = [
    "AlreadyJoinedError",
    "BufferFullError",
    "ClientError",
    "ClosedError",
    "ConnectError",
    "JoinError",
    "LongPollError",
    "NotJoinedError",
    "ParamsError",
    "ReplyError",
    "ReplyTimeoutError",
]


class ClientError(TransportError):
    """The base class of the errors that the client raises."""


class ConnectError(ClientError):
    """No connection could be established; `cause` says why."""

    def __init__(self, url: str, cause: BaseException) -> None:
        self.url, self.cause = url, cause
        super().__init__(f"cannot connect to {url}: {str(cause) or type(cause).__name__}")


class LongPollError(ClientError):
    """A server refused long polling, or its answer to such a request is not one: a proxy's error page, for example.

    It is the cause of a ConnectError, and is passed to the callbacks of `on_error`.
    """


class ParamsError(ClientError):
    """The function given as `params` or `auth_token` of a socket raised, or returned an invalid value.

    The exception that it raised is chained. A ParamsError is the cause of a ConnectError, is passed to the callbacks of
    `on_error`, and is logged at each attempt.
    """


class ReplyError(ClientError):
    """The server replied to a push with an error; `status` and `response` are from its reply."""

    def __init__(self, topic: str, event: str, status: str, response: Any) -> None:
        self.topic, self.event, self.status, self.response = topic, event, status, response
        super().__init__(f"{event!r} on {topic!r} was answered with {status!r}: {response!r}")


class JoinError(ReplyError):
    """The server refused a join, and `response` says why; or the channel's params function failed with `__cause__`.

    As in phoenix.js, the channel keeps trying to join until `leave()`.
    """

    def __str__(self) -> str:
        if self.__cause__ is not None:
            return f"{self.topic!r} was not joined: the params failed: {safe_repr(self.__cause__)}"
        return f"{self.topic!r} was not joined: {self.response!r}"


class ReplyTimeoutError(ClientError, TimeoutError):
    """The server did not reply in time; a late reply is dropped."""

    def __init__(self, topic: str, event: str, timeout: float) -> None:
        self.topic, self.event, self.timeout = topic, event, timeout
        super().__init__(f"no reply to {event!r} on {topic!r} within {timeout:g} s")


class ClosedError(ClientError):
    """The channel or the socket is closed, so nothing more can be sent or received."""


class BufferFullError(ClientError):
    """A push was not accepted: the channel is not joined, and `limit` pushes are waiting for it already."""

    def __init__(self, topic: str, event: str, limit: int) -> None:
        self.topic, self.event, self.limit = topic, event, limit
        super().__init__(
            f"{event!r} on {topic!r} is one too many: {limit} pushes are waiting for the channel to be joined"
        )


class NotJoinedError(ClientError):
    """An event was pushed to a channel before `join()` was called."""

    def __init__(self, topic: str, event: str) -> None:
        self.topic, self.event = topic, event
        super().__init__(f"{event!r} was pushed to {topic!r} before it was joined; call channel.join() first")


class AlreadyJoinedError(ClientError):
    """`join()` was called twice; a channel rejoins on its own."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"{topic!r} was joined before; make another channel with socket.channel({topic!r})")
