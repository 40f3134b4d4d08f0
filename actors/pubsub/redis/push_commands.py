"""The commands by which the keys of pushes are kept in Redis: the scripts, their arguments, and what they answer. Pure.

A claimant has two keys, in the slot of its topic's channel. A hash has what is known of each push, at "@" and the push's key,
and beside it how many bytes those take that are answered, and how many are not. A list has these fields, the oldest first.
Bounds are those of `PushLog`, by the clock of the server. That knows neither which handlers have returned nor which processes
have ended: so there is a bound for those that are not answered.

What is known of a push is one text: "?" while it is being handled or "=" when it is answered, the time of the claim in
milliseconds, and the push as JSON; behind a line break its answer.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from actors.channels.message import Reply
from actors.pubsub.redis.history_commands import LONGEST, key_of
from actors.pubsub.remote_message import RemoteMessageError
from actors.redaction import safe_repr

if TYPE_CHECKING:
    from actors.idempotency.idempotency import Idempotency
    from actors.idempotency.push_store import SharedPush

__all__ = ["PushCommands", "find_command", "read_push"]

GRACE = 60.0
"""Seconds, beyond its `ttl`, that a push is remembered which is still being handled."""

MOST_RUNNING = 10_000
"""Pushes of a claimant that are remembered while they are not answered; of more the oldest are forgotten."""

_OVERHEAD = 300
"""Bytes of a push beside its key and what is known of it."""

_BEGIN = """
if redis.replicate_commands then redis.replicate_commands() end
local log, order, field = KEYS[1], KEYS[2], ARGV[1]
local ttl, grace, most, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local counted = redis.call('HMGET', log, 'bytes', 'running')
local bytes, running = tonumber(counted[1] or 0), tonumber(counted[2] or 0)
local function is_running(known)
  return string.sub(known, 1, 1) == '?'
end
local function count(name, known, sign)
  if is_running(known) then
    running = running + sign
  else
    bytes = bytes + sign * (#known + #name + OVERHEAD)
  end
end
local function put(name, known)
  redis.call('HSET', log, name, known)
  count(name, known, 1)
end
local function take(name, known)
  redis.call('HDEL', log, name)
  count(name, known, -1)
end
local function forget_oldest()
  local name = redis.call('LPOP', order)
  local known = redis.call('HGET', log, name)
  if known then take(name, known) end
end
local function is_over()
  local answered = redis.call('LLEN', order) - running
  return running > MOST_RUNNING or answered > 1 and (answered > most or bytes > most_bytes)
end
local function finish()
  -- One that is not answered goes to the end of the list; a few at a time, as these may be many.
  local passed = 0
  while passed < 16 and is_over() do
    local name = redis.call('LINDEX', order, 0)
    local known = redis.call('HGET', log, name)
    if known and is_running(known) and running <= MOST_RUNNING then
      redis.call('RPUSH', order, redis.call('LPOP', order))
      passed = passed + 1
    else
      forget_oldest()
    end
  end
  redis.call('HSET', log, 'bytes', bytes, 'running', running)
end
""".replace("OVERHEAD", str(_OVERHEAD)).replace("MOST_RUNNING", str(MOST_RUNNING))

_CLAIM = (
    _BEGIN
    + """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function has_expired(known)
  local mark, at = string.match(known, '^(.)(%d+)')
  return tonumber(at) + ttl + (mark == '?' and grace or 0) <= now
end
local known = redis.call('HGET', log, field)
if known and not has_expired(known) then return known end
if known then
  redis.call('LREM', order, 1, field)
  take(field, known)
end
while true do
  local name = redis.call('LINDEX', order, 0)
  local oldest = name and redis.call('HGET', log, name)
  if not name or (oldest and not has_expired(oldest)) then break end
  forget_oldest()
end
if redis.call('LLEN', order) == 0 then
  -- It may have been evicted on its own.
  redis.call('DEL', log)
  bytes, running = 0, 0
end
put(field, '?' .. string.format('%.0f', now) .. ' ' .. ARGV[6])
redis.call('RPUSH', order, field)
finish()
redis.call('PEXPIRE', log, ttl + grace)
redis.call('PEXPIRE', order, ttl + grace)
return false
"""
)

_ANSWER = (
    _BEGIN
    + """
local known = redis.call('HGET', log, field)
if not known then return 0 end
local at, push = string.match(known, '^%?(%d+) (.*)$')
if push ~= ARGV[6] then return 0 end
take(field, known)
if ARGV[7] == '' then
  redis.call('LREM', order, -1, field)
else
  put(field, '=' .. at .. ' ' .. ARGV[7])
end
finish()
return 1
"""
)


class _Known(msgspec.Struct, omit_defaults=True):
    """The JSON of a push; `status` is that of its answer, None until there is one. `number` tells claims of a process apart."""

    run: str
    number: int
    digest: str
    status: str | None = None
    binary: bool = False


_decode = msgspec.json.Decoder(_Known).decode


class PushCommands(NamedTuple):
    """The commands for one claim: the `number` that its process has given it tells it from others."""

    push: SharedPush
    keys: tuple[bytes, bytes]
    options: Idempotency
    number: int

    @classmethod
    def of(cls, prefix: str, channel: bytes, push: SharedPush, options: Idempotency, number: int) -> PushCommands:
        """Return the commands for a push on the topic of a channel."""
        return cls(push, _keys(prefix, channel, push.claimant.client), options, number)

    @property
    def claim(self) -> tuple[bytes, ...]:
        """The command that claims its key. It is answered with None, or what is known of the push that has: see `read_push`."""
        return (*self._called(_CLAIM), self._known(None))

    def answer(self, answer: Reply) -> tuple[bytes, ...]:
        """Return the command that keeps the first answer, as a `Claim` has encoded it."""
        payload = answer.payload if isinstance(answer.payload, bytes) else bytes(answer.payload)
        return (*self._called(_ANSWER), self._known(None), b"%b\n%b" % (self._known(answer), payload))

    @property
    def release(self) -> tuple[bytes, ...]:
        """The command that undoes the claim, as its push is not handled."""
        return (*self._called(_ANSWER), self._known(None), b"")

    def _called(self, script: str) -> tuple[bytes, ...]:
        options = self.options
        numbers = (
            max(1, round(min(options.ttl, LONGEST) * 1000)),
            round(GRACE * 1000),
            options.size,
            options.max_bytes,
        )
        return (b"EVAL", script.encode(), b"2", *self.keys, _field(self.push.key), *(b"%d" % each for each in numbers))

    def _known(self, answer: Reply | None) -> bytes:
        push = self.push
        known = _Known(push.run, self.number, push.digest.hex())
        if answer is not None:
            known.status, known.binary = answer.status, isinstance(answer.payload, bytes)
        return msgspec.json.encode(known)


def find_command(prefix: str, channel: bytes, push: SharedPush) -> tuple[bytes, ...]:
    """Return the command that is answered with what is known of a push, or None; see `read_push`."""
    return (b"HGET", _keys(prefix, channel, push.claimant.client)[0], _field(push.key))


def _keys(prefix: str, channel: bytes, client: str | None) -> tuple[bytes, bytes]:
    """Return the keys of a claimant, of whose name they have a digest, as it is the client's own affair and may be long."""
    name = (
        b"" if client is None else blake2b(client.encode(errors="surrogatepass"), digest_size=12).hexdigest().encode()
    )
    pushes, order = (b"%b/%b" % (key_of(prefix, kind, channel), name) for kind in (b"pushes", b"order"))
    return pushes, order


def _field(key: str) -> bytes:
    return b"@" + key.encode(errors="surrogatepass")


def read_push(asked: SharedPush, data: bytes) -> SharedPush:
    """Return what is known of the push that has claimed a key before the one that was asked for.

    Raises:
        RemoteMessageError: if it is not in this form.
    """
    about, _, payload = data.partition(b" ")[2].partition(b"\n")
    try:
        known = _decode(about)
        digest = bytes.fromhex(known.digest)
    except (msgspec.MsgspecError, ValueError) as error:
        raise RemoteMessageError(f"{error}, got {safe_repr(data)}") from None
    answer = None
    if known.status is not None:
        answer = Reply(known.status, payload if known.binary else msgspec.Raw(payload))
    return asked._replace(digest=digest, run=known.run, answer=answer)
