"""Broadcasts from programs that run no endpoint: scripts, cron jobs, workers of a queue, synchronous web applications."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from actors.channels.encoding import as_json
from actors.channels.message import Broadcast, checked_payload
from actors.pubsub.disconnects import DISCONNECT
from actors.pubsub.peer_message import PEERS, RESERVED
from actors.pubsub.redis.redis_pubsub import PREFIX, channel_of, check_prefix, redis_address
from actors.pubsub.remote_message import Header, pack, text_or_bytes
from actors.redaction import safe_repr
from actors.validation import check_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import Payload

__all__ = ["publish"]


def publish(
    topic: str,
    event: str,
    payload: Payload = None,
    *,
    url: str | None = None,
    prefix: str = PREFIX,
    timeout: float = 5.0,
) -> int:
    """Send an event to all clients that have joined `topic`, in all processes with a `RedisPubSub`; return how many they are.

    For programs without an endpoint, from any thread. It blocks until Redis has the message, at most `timeout` seconds for each
    server that it asks; on an event loop call it by `asyncio.to_thread`. The connection is kept for the next call. `payload` is
    an object or bytes, by default `{}`; `url` is by default the one in the environment variable ASHTREE_REDIS_URL.

    Raises:
        TypeError: if the event or the topic is not a str, or the payload has no form as a JSON object.
        ValueError: if the topic is reserved, or the URL or the timeout is invalid.
        redis.RedisError: if Redis is out of reach. The message is not sent again; after a `redis.TimeoutError` it may have been
            published.
    """
    check_seconds("timeout", timeout, "> 0")
    check_prefix(prefix)
    data = _packed(topic, event, payload)
    send = _sender(redis_address(url).url, timeout)
    if event == DISCONNECT:
        # As `PubSub.broadcast` does, for clients that are connecting.
        send(channel_of(prefix, PEERS), pack(Header(), as_json("a topic", {DISCONNECT: topic})))
    return send(channel_of(prefix, topic), data)


def _packed(topic: str, event: str, payload: Payload) -> bytes:
    broadcast = Broadcast(topic, event, checked_payload(event, {} if payload is None else payload, topic))
    if topic.startswith(RESERVED):
        text = "topics that begin with NUL are reserved for messages between processes"
        raise ValueError(f"{text}, got {safe_repr(topic)}")
    data = text_or_bytes(topic, broadcast)
    binary = isinstance(broadcast.payload, bytes)
    if not binary and not data.startswith(b"{"):
        raise TypeError(f'a payload must be an object or bytes, got {safe_repr(payload)}; write {{"value": …}}')
    return pack(Header(event=event, binary=binary), data)


@lru_cache(maxsize=8)
def _sender(url: str, timeout: float) -> Callable[[bytes, bytes], int]:
    return redis_address(url).sender(timeout)
