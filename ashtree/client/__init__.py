"""A client for Phoenix servers: phoenix.js' behaviour in Python. Async here, blocking in `ashtree.client.sync`."""

from transport.client import (
    AlreadyJoinedError,
    BufferFullError,
    Channel,
    ClientError,
    ClosedError,
    ConnectError,
    JoinError,
    LongPollError,
    NotJoinedError,
    ParamsError,
    Presence,
    Push,
    ReplyError,
    ReplyTimeoutError,
    Socket,
)

__all__ = [
    "AlreadyJoinedError",
    "BufferFullError",
    "Channel",
    "ClientError",
    "ClosedError",
    "ConnectError",
    "JoinError",
    "LongPollError",
    "NotJoinedError",
    "ParamsError",
    "Presence",
    "Push",
    "ReplyError",
    "ReplyTimeoutError",
    "Socket",
]
