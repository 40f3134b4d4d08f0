"""The options of a client's socket that its protocol uses."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import get_args

import msgspec

from actors.validation import check_number, check_seconds, check_share
from transport.client.protocol.effects import TransportName
from transport.client.protocol.reconnection import Delay, reconnect_after, rejoin_after

__all__ = ["Options"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a socket; times are seconds.

    Raises:
        ValueError: naming the option that is out of range.
        TypeError: naming the option that is not a function.
    """

    heartbeat_interval: float = 30.0
    timeout: float = 10.0
    reconnect_after: Delay = reconnect_after
    rejoin_after: Delay = rejoin_after
    min_uptime: float = 5.0
    jitter: float = 0.5
    max_buffered: int = 1000
    transport: TransportName = "websocket"
    longpoll_fallback: float | None = None
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        check_seconds("heartbeat_interval", self.heartbeat_interval, "> 0")
        check_seconds("timeout", self.timeout, "> 0")
        _check_delay("reconnect_after", self.reconnect_after)
        _check_delay("rejoin_after", self.rejoin_after)
        check_seconds("min_uptime", self.min_uptime)
        check_share("jitter", self.jitter, meaning=", the share of a delay that may be taken off")
        check_number("max_buffered", self.max_buffered)
        if self.transport not in get_args(TransportName):
            raise ValueError(f"transport must be {' or '.join(get_args(TransportName))}, got {self.transport!r}")
        if self.longpoll_fallback is not None:
            check_seconds("longpoll_fallback", self.longpoll_fallback, "> 0", others=" or None")


def _check_delay(name: str, delay: object) -> None:
    if not callable(delay):
        raise TypeError(f"{name} must be a function of the number of the try, such as lambda tries: 5.0, got {delay!r}")
