"""The commands by which histories are kept in Redis: the scripts, what they are called with, and what they answer. Pure.

A topic has two keys, in the slot of its channel. A hash says where it stands: epoch, when that began (0 if the clock was set
back over it), offset, bytes, and the run of the server that has counted them. A stream has the broadcasts, the offset of each
in its id.

The run of a server is another one after each restart, and that of a replica which takes over is its own. Such a server may have
forgotten what the one before has counted last, so the topics begin another epoch.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from actors.pubsub.remote_message import Header, RemoteMessageError, unpack

if TYPE_CHECKING:
    from actors.history.history import History, Position

__all__ = [
    "Arrival",
    "Extent",
    "TopicKeys",
    "about_keys",
    "append_command",
    "forget_command",
    "key_of",
    "read_command",
    "read_extent",
    "scan_command",
]

IDLE = 3600.0
"""Seconds that the epoch and the offset of a topic are kept after its last broadcast has expired."""

LONGEST = 10 * 365 * 86_400.0
"""Seconds that a broadcast is kept at most: of a key, Redis has to know the millisecond when it expires."""

_DRIFT = 0.001
"""By which ratio the clock of a process may run faster than that of a server. Machines adjust theirs by half of it."""

_OVERHEAD = 200
"""Bytes of a broadcast beside its message, as in the memory of a process."""

# A script begins with what a server without memory refuses, HSET or XADD: after another write it would refuse nothing.
# The text is sent each time: EVALSHA is not measurably cheaper, and after SCRIPT FLUSH it would be repeated out of order.
# The time is read before something is written, which servers before Redis 7 refuse otherwise.
_NOW = """
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_BEGIN = (
    _NOW
    + """
local about, stream, run, ttl = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[3])
local known = redis.call('HMGET', about, 'epoch', 'run', 'offset', 'bytes', 'began')
local epoch, last = known[1], tonumber(known[3] or 0)
if not epoch or known[2] ~= run then
  epoch, last = ARGV[2], 0
  redis.call('HSET', about, 'epoch', epoch, 'run', run, 'began', now, 'offset', 0, 'bytes', 0)
  redis.call('DEL', stream)
elseif tonumber(known[5]) > now then
  redis.call('HSET', about, 'began', 0)
end
"""
)

_APPEND = (
    _BEGIN
    + """
local most, most_bytes, channel, message = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[8], ARGV[9]
local offset = string.format('%.0f', last + 1)
local size, length = #message + OVERHEAD, redis.call('XLEN', stream)
local bytes = length == 0 and 0 or tonumber(known[4] or 0)
redis.call('XADD', stream, offset .. '-0', 't', now, 'm', message)
bytes, length = bytes + size, length + 1
local fits = false
while length > 0 and not fits do
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if length <= most and bytes <= most_bytes and tonumber(first[2][2]) + ttl > now then break end
  redis.call('XDEL', stream, first[1])
  bytes, length = bytes - #first[2][4] - OVERHEAD, length - 1
  -- What has expired and is not the oldest one goes with the next broadcasts; no client is sent it.
  fits = length <= most and bytes <= most_bytes
end
redis.call('HSET', about, 'offset', offset, 'bytes', bytes)
redis.call('PEXPIRE', stream, ttl)
redis.call('PEXPIRE', about, ttl + tonumber(ARGV[4]))
redis.call(ARGV[7], channel, '{"epoch":"' .. epoch .. '","offset":' .. offset .. ',' .. string.sub(message, 2))
return {epoch, tonumber(offset)}
"""
).replace("OVERHEAD", str(_OVERHEAD))

_READ = (
    _BEGIN
    + """
local after = epoch == ARGV[5] and tonumber(ARGV[6]) or 0
local kept = redis.call('XRANGE', stream, string.format('%.0f', after + 1) .. '-0', '+')
redis.call('PEXPIRE', about, ttl + tonumber(ARGV[4]))
return {epoch, last, now, kept}
"""
)

# All times are those of the server, and the ages those of a monotonic clock, so the clocks of the other machines do not matter.
# The server's own may have been set since: the epoch has to be younger by the time of then and of now. One that seems to begin
# in the future is older than the change.
_FORGET = (
    _NOW
    + """
local began = tonumber(redis.call('HGET', KEYS[1], 'began') or 0)
if began <= math.max(now - tonumber(ARGV[1]), tonumber(ARGV[2])) or began > now then redis.call('DEL', KEYS[1], KEYS[2]) end
return 1
"""
)


class TopicKeys(NamedTuple):
    """The channel of a topic, and its keys, which a cluster has in the same slot."""

    channel: bytes
    about: bytes
    stream: bytes

    @classmethod
    def of(cls, prefix: str, channel: bytes) -> TopicKeys:
        """Return the keys that belong to a channel."""
        return cls(channel, key_of(prefix, b"topic", channel), key_of(prefix, b"log", channel))


def key_of(prefix: str, kind: bytes, channel: bytes) -> bytes:
    """Return a key of this kind in the slot of a channel."""
    own = prefix.encode()
    if b"{" not in channel and b"}" not in channel:
        return b"%b!%b:{%b}" % (own, kind, channel)
    return b"%b%b!%b:%b" % (_tag(channel), own, kind, channel)


@lru_cache(maxsize=10_000)
def _tag(channel: bytes) -> bytes:
    """Return what a key begins with that is in the slot of a channel, of whose name perhaps only a part decides."""
    from redis.crc import key_slot  # noqa: PLC0415  # its library is an extra

    slot = key_slot(channel)
    return next(tag for number in count() if key_slot(tag := b"{%d}" % number) == slot)


class Arrival(msgspec.Struct, frozen=True, eq=False):
    """A recorded broadcast as it comes from Redis: when it happens, or read later.

    `age` is how many seconds ago it was recorded.
    """

    epoch: str
    offset: int
    header: Header
    payload: bytes
    age: float = 0.0


class Extent(NamedTuple):
    """What was read of a topic: where it stands, and the broadcasts that are kept, of those that were asked for."""

    epoch: str
    offset: int
    arrivals: list[Arrival]


def append_command(
    keys: TopicKeys, run: bytes, epoch: str, history: History, message: bytes, *, sharded: bool
) -> tuple[bytes, ...]:
    """Return the command that records a message, which begins with a header, and publishes it with its epoch and its offset.

    It is answered with these two. `epoch` is that of a topic that has none.
    """
    publish = b"SPUBLISH" if sharded else b"PUBLISH"
    bounds = (b"%d" % history.size, b"%d" % history.max_bytes)
    return (*_begin(_APPEND, keys, run, epoch, history), *bounds, publish, keys.channel, message)


def read_command(keys: TopicKeys, run: bytes, epoch: str, history: History, known: Position) -> tuple[bytes, ...]:
    """Return the command that reads what is kept after a position, or all if its epoch has ended; see `read_extent`."""
    return (*_begin(_READ, keys, run, epoch, history), known.epoch.encode(), b"%d" % known.offset)


def forget_command(keys: TopicKeys, age: float, server_time: float | None = None) -> tuple[bytes, ...]:
    """Return the command that ends the epoch of a topic, if it had begun already `age` seconds ago.

    `server_time` is what the server's clock has shown then at most, in seconds, if that is known.
    """
    times = (b"%d" % (age * (1 - _DRIFT) * 1000), b"%d" % ceil((server_time or 0.0) * 1000))
    return (b"EVAL", _FORGET.encode(), b"2", keys.about, keys.stream, *times)


def scan_command(prefix: str, cursor: bytes) -> tuple[bytes, ...]:
    """Return the command that looks for topics with a history: it is answered with the next cursor, and keys."""
    literal = re.sub(rb"([*?\[\]\\^-])", rb"\\\1", prefix.encode())
    return (b"SCAN", cursor, b"MATCH", b"*%b!topic:*" % literal, b"COUNT", b"1000")


def about_keys(prefix: str, found: list[bytes]) -> list[bytes]:
    """Return those of the keys that a scan has found which say where a topic stands."""
    ours = re.compile(rb"(\{\d+\})?" + re.escape(prefix.encode()) + rb"!topic:")
    return [key for key in found if ours.match(key)]


def _begin(script: str, keys: TopicKeys, run: bytes, epoch: str, history: History) -> tuple[bytes, ...]:
    ttl = b"%d" % max(1, round(min(history.ttl, LONGEST) * 1000))
    return (
        b"EVAL",
        script.encode(),
        b"2",
        keys.about,
        keys.stream,
        run,
        epoch.encode(),
        ttl,
        b"%d" % round(IDLE * 1000),
    )


def read_extent(answer: Any, ttl: float) -> Extent:
    """Return what the answer to a `read_command` says, without what has expired.

    Raises:
        RemoteMessageError: if a broadcast in the stream is no message.
    """
    name, offset, now, kept = answer
    epoch, arrivals = name.decode(), []
    for place, (_, time, _, data) in kept or ():
        # The clock of the server may have been set back.
        age = max(0, now - int(time)) / 1000
        if age < ttl:
            header, payload = unpack(data)
            if header.event is None:
                raise RemoteMessageError("a broadcast must have an event")
            arrivals.append(Arrival(epoch, int(place.partition(b"-")[0]), header, payload, age))
    return Extent(epoch, offset, arrivals)
