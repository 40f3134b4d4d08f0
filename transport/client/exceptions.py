"""What the client raises.

ClientError
├── ConnectError            no connection could be made; the cause is chained
├── ParamsError             the socket's params or auth_token could not be had; the cause is chained
├── ReplyError              a push was answered with another status than "ok"
│   └── JoinError           a join was refused, or its params failed; then the cause is chained
├── ReplyTimeoutError       no answer in time (a TimeoutError too)
├── ClosedError             the channel or the socket was closed while you waited, or before
├── BufferFullError         too many pushes wait for the channel to be joined
├── NotJoinedError          a push before join()
└── AlreadyJoinedError      a second join() of one channel
"""

from __future__ import annotations

from typing import Any

from transport.exceptions import TransportError

__all__ = [
    "AlreadyJoinedError",
    "BufferFullError",
    "ClientError",
    "ClosedError",
    "ConnectError",
    "JoinError",
    "NotJoinedError",
    "ParamsError",
    "ReplyError",
    "ReplyTimeoutError",
]


class ClientError(TransportError):
    """The base of every error that the client raises on its own account."""


class ConnectError(ClientError):
    """No connection could be made; `cause` says why."""

    def __init__(self, url: str, cause: BaseException) -> None:
        self.url, self.cause = url, cause
        super().__init__(f"cannot connect to {url}: {str(cause) or type(cause).__name__}")


class ParamsError(ClientError):
    """A function given as the `params` or the `auth_token` of a socket raised, or returned what cannot be sent.

    What it raised is chained. It is the cause of a ConnectError, what `on_error` tells, and logged at each try.
    """


class ReplyError(ClientError):
    """The server answered a push with an error; `status` and `response` are its answer."""

    def __init__(self, topic: str, event: str, status: str, response: Any) -> None:
        self.topic, self.event, self.status, self.response = topic, event, status, response
        super().__init__(f"{event!r} on {topic!r} was answered with {status!r}: {response!r}")


class JoinError(ReplyError):
    """The server refused a join, and `response` says why; or the channel's params failed, and `__cause__` says why.

    As in phoenix.js, the channel goes on trying until `leave()`.
    """

    def __str__(self) -> str:
        if self.__cause__ is not None:
            return f"{self.topic!r} was not joined: the params failed: {self.__cause__!r}"
        return f"{self.topic!r} was not joined: {self.response!r}"


class ReplyTimeoutError(ClientError, TimeoutError):
    """The server has not answered in time; an answer that comes later is dropped."""

    def __init__(self, topic: str, event: str, timeout: float) -> None:
        self.topic, self.event, self.timeout = topic, event, timeout
        super().__init__(f"no answer to {event!r} on {topic!r} within {timeout:g} s")


class ClosedError(ClientError):
    """What was waited for cannot come any more: the channel or the socket is closed."""


class BufferFullError(ClientError):
    """A push was not accepted: the channel is not joined, and as many pushes as allowed wait for that."""

    def __init__(self, topic: str, event: str, limit: int) -> None:
        self.topic, self.event, self.limit = topic, event, limit
        super().__init__(f"{event!r} on {topic!r} is one too many: {limit} pushes wait for the channel to be joined")


class NotJoinedError(ClientError):
    """A channel must be joined before anything is pushed to it."""

    def __init__(self, topic: str, event: str) -> None:
        self.topic, self.event = topic, event
        super().__init__(f"{event!r} was pushed to {topic!r} before it was joined; call channel.join() first")


class AlreadyJoinedError(ClientError):
    """A channel is joined once; after that it joins again by itself."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"{topic!r} was joined before; make another channel with socket.channel({topic!r})")
