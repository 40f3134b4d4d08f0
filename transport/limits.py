"""The limits of an endpoint: what one client, one address and all clients together may use of a server.

Each has a default that suits a public server, and each that is reached is reported by telemetry and counted by the metrics
under the name of its field. docs/security.md lists them with what a client is answered.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.redaction import LINE, safe_repr
from actors.validation import check_count, check_seconds
from transport.carriers.rate import Rate

__all__ = ["Limits"]

_KIB = 1024
_JOINS = Rate(100, burst=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of an endpoint besides `max_frame_size`, `max_channels`, `idle_timeout` and its `OutboxPolicy`.

    Times are in seconds, sizes in bytes. None turns a limit off, where it is allowed.

    What one connection has sent and is not handled yet; above it, the connection is not read until half of it is left:
    - `waiting_bytes`, `waiting_messages`: in the mailboxes of its actors, and behind joins that are not answered. So large may
      also be, together, the joins of its topics, which its channels keep; one more is answered with an error.

    One connection:
    - `fragments`: frames of one fragmented message; above it the connection is closed with 1009.
    - `joins`, `messages`: the rate of joins, and of all messages. Over a rate the connection is read more slowly; nothing is
      answered, closed or lost.
    - `topic_length`: bytes of a topic, an event, and the join_ref of a join; a longer one is answered with an error.
    - `first_join_timeout`: after `connect`, without a join or a heartbeat; then the connection is closed with 1008.

    All connections:
    - `connections`: of the endpoint's own port, HTTP included; None derives it from the limit of open files. A WebSocket counts
      until its channels have handled what they had received.
    - `connections_per_address`, `connections_per_id`: sockets of one client address, and of one `Socket.id()`.
    - `sessions`, `sessions_per_address`: sessions of long polling.

    HTTP:
    - `head_size`, `request_line`, `headers`: of a request (431, 414, 431).
    - `requests`: that one connection may make.
    - `head_timeout`, `body_timeout`: for a head, from its first byte or the connection's start, and for a body.
    - `connect_timeout`: for an `async` `Socket.connect`.
    - `send_timeout`: without progress while a client reads an answer.
    - `keep_alive`: between two requests.

    The log:
    - `log_line`: characters of what a client sent, in one line.

    Raises:
        ValueError: naming the field and its value.
    """

    waiting_bytes: int = 1024 * _KIB
    waiting_messages: int = 1_000
    fragments: int = 128 * _KIB
    joins: Rate | None = _JOINS
    messages: Rate | None = None
    topic_length: int = 1024
    first_join_timeout: float | None = None
    connections: int | None = None
    connections_per_address: int | None = None
    connections_per_id: int | None = None
    sessions: int | None = 10_000
    sessions_per_address: int | None = None
    head_size: int = 16 * _KIB
    request_line: int = 10 * _KIB
    headers: int = 100
    requests: int = 1_000
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    connect_timeout: float = 10.0
    send_timeout: float = 30.0
    keep_alive: float = 75.0
    log_line: int = LINE

    def __post_init__(self) -> None:
        for name in _COUNTS:
            check_count(name, getattr(self, name), least=1)
        for name in _OPTIONAL_COUNTS:
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least=1, others=" or None")
        for name in _SECONDS:
            check_seconds(name, getattr(self, name), "> 0")
        if self.first_join_timeout is not None:
            check_seconds("first_join_timeout", self.first_join_timeout, "> 0", others=" or None")
        for name in ("joins", "messages"):
            rate = getattr(self, name)
            if rate is not None and not isinstance(rate, Rate):
                raise ValueError(f"{name} must be a Rate such as Rate(100, burst=200), or None, got {safe_repr(rate)}")


_COUNTS = (
    "waiting_bytes",
    "waiting_messages",
    "fragments",
    "topic_length",
    "head_size",
    "request_line",
    "headers",
    "requests",
    "log_line",
)
_OPTIONAL_COUNTS = (
    "connections",
    "connections_per_address",
    "connections_per_id",
    "sessions",
    "sessions_per_address",
)
_SECONDS = ("head_timeout", "body_timeout", "connect_timeout", "send_timeout", "keep_alive")
