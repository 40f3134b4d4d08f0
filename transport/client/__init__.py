"""A client for Phoenix servers: phoenix.js' behaviour in Python, async here, synchronous in `transport.client.sync`."""

from transport.client.client_channel import Channel
from transport.client.client_presence import Presence
from transport.client.client_push import Push
from transport.client.client_socket import Socket
from transport.client.exceptions import (
    AlreadyJoinedError,
    BufferFullError,
    ClientError,
    ClosedError,
    ConnectError,
    JoinError,
    LongPollError,
    NotJoinedError,
    ParamsError,
    ReplyError,
    ReplyTimeoutError,
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
