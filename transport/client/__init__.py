"""A client for Phoenix servers: phoenix.js' behaviour in Python, async here, synchronous in `transport.client.sync`."""

from transport.client.channel import Channel
from transport.client.exceptions import (
    AlreadyJoinedError,
    BufferFullError,
    ClientError,
    ClosedError,
    ConnectError,
    JoinError,
    NotJoinedError,
    ParamsError,
    ReplyError,
    ReplyTimeoutError,
)
from transport.client.presence import Presence
from transport.client.push import Push
from transport.client.socket import Socket

__all__ = [
    "AlreadyJoinedError",
    "BufferFullError",
    "Channel",
    "ClientError",
    "ClosedError",
    "ConnectError",
    "JoinError",
    "NotJoinedError",
    "ParamsError",
    "Presence",
    "Push",
    "ReplyError",
    "ReplyTimeoutError",
    "Socket",
]
