"""Histories that all processes share, in Redis.

A broadcast is recorded and published by one script: so the offsets are the same in all processes, and each delivers in their
order, also the one that it is made in. There it waits for a second at most. If Redis is out of reach, or does not answer in
time, it is delivered without an offset; its topic is then marked, and begins another epoch when Redis is back, before anything
else is recorded or read there.

What this process has delivered of a topic is also in a log here, which clients that were away are sent from. Each join that
recovers reads what the log does not have. What is read and was not delivered yet is delivered then, and dropped when it
arrives.
"""

from __future__ import annotations

import asyncio
import os
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Raw

from actors.channels.encoding import ENCODING_ERRORS
from actors.channels.message import Broadcast
from actors.history.history import NOWHERE, Position
from actors.history.history_store import NOTHING, HistorySizes, HistoryStore, Recording, Recovery
from actors.history.topic_log import KeptBroadcast, TopicLog
from actors.history.topic_logs import SWEEP_SECONDS, TopicLogs
from actors.log import Log
from actors.log_limit import LogLimit
from actors.pubsub.redis.appends import Append, Appends
from actors.pubsub.redis.broken_topics import BrokenTopics
from actors.pubsub.redis.history_commands import (
    IDLE,
    Arrival,
    Extent,
    TopicKeys,
    append_command,
    read_command,
    read_extent,
)
from actors.pubsub.redis.readings import Reading, Readings
from actors.pubsub.redis.redis_shard import Lost
from actors.pubsub.remote_message import Header, RemoteMessageError, pack, text_or_bytes
from actors.redaction import safe_repr
from actors.time_bound import TimeBound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.clock import Timer
    from actors.history.history import History
    from actors.pubsub.redis.redis_link import RedisLink
    from actors.pubsub.redis.redis_shard import RedisShard
    from actors.runtime.process import Process

__all__ = ["RedisHistory"]

_log = Log("ashtree.pubsub")

APPEND_SECONDS = 1.0
"""Seconds that a broadcast waits for its offset, and a join for what is kept."""

_NEARLY = 0.9
"""Of these seconds a server has had so much when it is given up as silent. One that had less may only be slow."""

_ROOM = 2048
"""Bytes of a command beside its message."""

_MAX_BYTES = 64 * 1024 * 1024
"""What the logs in this process take at most: they are copies, and can be read again."""

_AT_ONCE = 200
"""Topics that are looked after in one iteration of the event loop."""
_SHOWN = 100


class Sharing(Protocol):
    """The adapter, as far as its histories use it."""

    prefix: str

    def channel(self, topic: str) -> bytes:
        """Return the channel of a topic."""

    def lost(self, messages: int) -> None:
        """Count messages that were lost."""

    def in_effect(self, topic: str) -> object:
        """Return None if what is published on a topic arrives here."""


class RedisHistory(HistoryStore):
    """The histories of one PubSub whose adapter is a `RedisPubSub`; for the thread of its event loop."""

    def __init__(self, adapter: Sharing) -> None:
        super().__init__()
        self._adapter = adapter
        self._link: RedisLink | None = None
        self._pid = os.getpid()
        self.logs = TopicLogs(_MAX_BYTES)
        self._appends, self._readings = Appends(), Readings()
        # Of the last broadcast that was recorded here, on any topic.
        self._seq = 0
        self._broken = BrokenTopics(adapter.prefix, self._keys, self._now, self._all_have_ended)
        # The offsets of topics, in epochs that have ended, at which clients may be until they see the next one.
        self._ended: dict[str, set[int]] = {}
        # Topics that the last join could not read.
        self._unread: set[str] = set()
        self._timer: Timer | None = None
        self._sweeper: Timer | None = None
        self._limit: LogLimit[str] = LogLimit(1, 10.0)

    @property
    def sizes(self) -> HistorySizes:
        """What it keeps in this process."""
        logs = self.logs
        return HistorySizes(len(logs), logs.messages, logs.bytes, logs.dropped)

    # What the adapter calls

    def open(self, link: RedisLink) -> None:
        """Begin, or go on, by this actor."""
        if self._pid != os.getpid():
            # Another process, which was forked, draws the names of its epochs itself.
            self._pid, self.logs = os.getpid(), TopicLogs(_MAX_BYTES)
        self._link = link
        self._broken.use(link)
        self._sweep_later()

    def close(self) -> None:
        """Stop, as the actor has ended."""
        for topic in self._appends.topics():
            self._break(topic)
        for topic in self._readings.topics():
            self._readings.fail(topic)
        self._link = None
        self._broken.use(None)
        for timer in (self._timer, self._sweeper):
            if timer is not None:
                timer.cancel()
        self._timer = self._sweeper = None

    def changed(self, serves: Callable[[bytes], bool]) -> None:
        """Go on with the topics of a server that is out of reach, or there again.

        What does not arrive any more is delivered. Epochs that are broken end, and what was missed is read.
        """
        for topic in self._appends.topics():
            if serves(self._channel(topic)) and not self._arrives(topic):
                self._deliver_placed(topic)
        self._broken.go_on()
        known = dict.fromkeys((*self._broken.topics(), *self.logs.topics()))
        self._go_on([each for each in known if serves(self._channel(each))])

    def _go_on(self, topics: list[str]) -> None:
        """Do it for some topics, and for the others in the next iterations of the event loop."""
        for topic in topics[:_AT_ONCE]:
            self._broken.end(topic)
            if self.pubsub.is_subscribed(topic) and self.logs.get(topic) is not None:
                self._catch_up(topic)
        if len(topics) > _AT_ONCE:
            self.pubsub.scheduler.loop.call_soon(self._go_on, topics[_AT_ONCE:])

    def _all_have_ended(self) -> None:
        self._go_on(self.logs.topics())

    def _now(self) -> float:
        return self.pubsub.scheduler.clock.now()

    def _arrives(self, topic: str) -> bool:
        shard = None if self._link is None else self._link.shard_of(self._channel(topic))
        return shard is not None and shard.connected

    def unsubscribed(self, topic: str) -> None:
        """Drop the log of a topic that does not arrive any more."""
        self.logs.forget(topic)
        self._ended.pop(topic, None)
        self._unread.discard(topic)
        self._deliver_placed(topic)

    def _channel(self, topic: str) -> bytes:
        return self._adapter.channel(topic)

    def _shard(self, topic: str, size: int = 0) -> RedisShard | None:
        """Return the server of a topic, if it can be asked."""
        if self._link is None:
            return None
        shard = self._link.shard_of(self._channel(topic))
        return shard if shard is not None and shard.can_ask(size + _ROOM) else None

    def _keys(self, topic: str) -> TopicKeys:
        return TopicKeys.of(self._adapter.prefix, self._channel(topic))

    # Record

    def record(self, broadcast: Broadcast, history: History, sender: Process | None, cause: Process | None) -> bool:
        """Record a broadcast, to be delivered when it comes back; return False if Redis is out of reach."""
        topic = broadcast.topic
        payload = text_or_bytes(topic, broadcast)
        self.pubsub.check(broadcast)
        shard = self._shard(topic, len(payload))
        if shard is None or self._link is None:
            self._break(topic)
            self.counts.unrecorded += 1
            return False
        header = self._header(broadcast, sender)
        deadline = self._link.clock.now() + APPEND_SECONDS
        # As it is now: what is changed in its payload later does not reach the others either.
        recorded = Broadcast(topic, broadcast.event, payload if header.binary else Raw(payload))
        append = Append(recorded, sender, cause, copy_context(), header, pack(header, payload), deadline)
        append.is_heard = self._adapter.in_effect(topic) is None
        self._append(append, shard, history)
        return True

    def _header(self, broadcast: Broadcast, sender: Process | None) -> Header:
        self._seq += 1
        connection = self.pubsub.connection_of(broadcast.topic, sender)
        return self.pubsub.relay.recorded(broadcast, self._seq, connection)

    def _append(self, append: Append, shard: RedisShard, history: History) -> None:
        topic = append.topic
        self._broken.end(topic)
        command = append_command(
            self._keys(topic), shard.server_run, self.logs.new_epoch(), history, append.message, sharded=shard.sharded
        )
        append.pace(self.pubsub.scheduler)
        self._appends.add(append)
        shard.ask(command, partial(self._appended, append, shard))
        self._watch()

    def _appended(self, append: Append, shard: RedisShard, answer: Any) -> None:
        """Take the answer to an append; it is delivered when it arrives, if it does."""
        if isinstance(answer, Exception):
            self._not_appended(append, shard, answer)
            return
        self.counts.recorded += 1
        if not append.is_settled:
            self._has_place(append, answer[0].decode(), answer[1])

    def _not_appended(self, append: Append, shard: RedisShard, error: Exception) -> None:
        if not append.is_settled:
            self._give_up(append)
            self._broken.add(append.topic)
        if isinstance(error, Lost):
            self._adapter.lost(1)
        else:
            shard.log_refusal("a broadcast of a history", error)
            self.pubsub.relay.publish(append.topic, append.broadcast)

    def _has_place(self, append: Append, epoch: str, offset: int) -> None:
        append.place = (epoch, offset)
        if not append.is_heard or not self.pubsub.is_subscribed(append.topic):
            self._deliver_here(append)

    def _deliver_here(self, append: Append) -> None:
        """Deliver a broadcast whose offset is known, and which does not arrive: its topic was not subscribed to."""
        assert append.place is not None
        epoch, offset = append.place
        if self.pubsub.is_subscribed(append.topic):
            payload = append.message.partition(b"\n")[2]
            self._take(append.topic, Arrival(epoch, offset, append.header, payload))
        if not append.is_settled:
            self._settle(append)

    def _deliver_placed(self, topic: str) -> None:
        """Deliver the broadcasts of a topic whose offsets are known: they will not arrive."""
        for append in self._appends.of(topic):
            if append.place is not None and not append.is_settled:
                self._deliver_here(append)

    def _settle(self, append: Append) -> None:
        self._appends.settle(append)
        append.settled()

    # Not in time, or not at all

    def _watch(self) -> None:
        """Look at the oldest append when its time is over."""
        deadline = self._appends.next_deadline()
        if self._timer is None and deadline is not None and self._link is not None:
            self._timer = self._link.clock.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._link is None:
            return
        for append in self._appends.overdue(self._link.clock.now()):
            if append.is_settled:
                continue
            if append.place is not None:
                self._deliver_here(append)
            else:
                self._silent(append.topic)
                self._break(append.topic)
        self._watch()

    def _silent(self, topic: str) -> None:
        """Do without a server that does not answer in time, until it does."""
        shard = None if self._link is None else self._link.shard_of(self._channel(topic))
        if shard is not None:
            shard.is_silent = True

    def _break(self, topic: str) -> None:
        """Deliver all that is being recorded on a topic without offsets: what follows is not to overtake it."""
        for append in self._appends.of(topic):
            if append.place is not None:
                self._deliver_here(append)
            else:
                self._give_up(append)
        self._broken.add(topic)

    def _give_up(self, append: Append) -> None:
        """Deliver a broadcast without an offset."""
        self.counts.unrecorded += 1
        self._appends.settle(append)
        try:
            append.context.run(self.pubsub.deliver_here, append.topic, append.broadcast, append.sender, append.cause)
        except Exception as error:  # noqa: BLE001  # a serializer of the author's, or a handler of telemetry
            self._failed(append.topic, error)
        append.settled()

    # Arrivals

    def received(self, topic: str, header: Header, payload: bytes) -> bool:
        """Deliver a recorded broadcast in its order; return False if it is none."""
        if header.epoch is None or header.offset is None or header.event is None:
            return False
        reading = self._readings.get(topic)
        arrival = Arrival(header.epoch, header.offset, header, payload)
        if reading is not None and reading.holds(arrival):
            return True
        log = self.logs.get(topic)
        is_gap = log is not None and log.epoch == arrival.epoch and arrival.offset > log.last + 1
        if not (is_gap and self._catch_up(topic, arrival)):
            self._take(topic, arrival)
        return True

    def _take(self, topic: str, arrival: Arrival) -> None:
        """Deliver a broadcast if it is the next one, or if nothing is known of those before."""
        history = self.pubsub.history_of(topic)
        log = self.logs.get(topic)
        if history is None or self._link is None:
            self.pubsub.deliver_here(topic, arrival.header.message(topic, arrival.payload), None, None)
            return
        if log is not None and log.epoch == arrival.epoch and arrival.offset <= log.last:
            return
        if log is None or log.epoch != arrival.epoch or arrival.offset != log.last + 1:
            if log is not None and log.epoch == arrival.epoch:
                self.pubsub.relay.missed(topic, "", arrival.offset - 1 - log.last)
            log = self._begin(topic, arrival.epoch, arrival.offset - 1, history)
        self._deliver(topic, log, arrival, history)

    def _begin(self, topic: str, epoch: str, last: int, history: History) -> TopicLog:
        """Begin the log of a topic after an offset; clients see by the next one that something is missing."""
        before = self.logs.get(topic)
        if before is not None and before.epoch != epoch:
            self._may_be_at(topic, before.last)
        return self.logs.begin(topic, TopicLog(epoch, self._now(), history, last))

    def _deliver(self, topic: str, log: TopicLog, arrival: Arrival, history: History) -> None:
        header, is_own = arrival.header, arrival.header.run == self.pubsub.relay.run
        append = self._appends.find(topic, header.seq) if is_own else None
        recording = Recording(log, self._kept(arrival))
        if is_own and append is None:
            # It was given up, and delivered then. Clients see a gap.
            recording.commit()
            self._may_be_at(topic, arrival.offset - 1)
            return
        # By chance it follows where clients are, in an epoch that has ended: they have to see a gap.
        looks_right = arrival.offset - 1 in self._ended.pop(topic, ())
        if looks_right and arrival.offset > 1:
            self.pubsub.show_gap(topic, arrival.offset + 1)
        self._hand_on(topic, arrival, append, recording)
        if looks_right and arrival.offset == 1:
            self.pubsub.show_gap(topic, 3)

    def _hand_on(self, topic: str, arrival: Arrival, append: Append | None, recording: Recording) -> None:
        try:
            if append is None:
                message = arrival.header.message(topic, arrival.payload)
                self.pubsub.deliver_here(topic, message, None, None, recording)
            else:
                self._appends.settle(append)
                append.context.run(
                    self.pubsub.deliver_here, topic, append.broadcast, append.sender, append.cause, recording
                )
        except Exception as error:  # noqa: BLE001  # a serializer of the author's, or a handler of telemetry
            self._failed(topic, error)
            if recording.log.last < arrival.offset:
                recording.commit()
        if append is not None:
            append.settled()

    def _may_be_at(self, topic: str, offset: int) -> None:
        self._ended.setdefault(topic, set()).add(offset)

    def _failed(self, topic: str, error: Exception) -> None:
        bug = None if isinstance(error, ENCODING_ERRORS) else error
        if self._link is not None and self._limit.admit("failed", self._link.clock.now()) is not None:
            _log.error(
                "a recorded broadcast on %s cannot be delivered", safe_repr(topic, _SHOWN), exc_info=bug or error
            )

    # Read

    def prepare(self, topic: str, history: History, position: Position) -> Awaitable[None] | None:
        """Return what reads the part of a topic's history that is not here, within a second from now.

        A client does not wait a second for the subscription of its topic, and another one for this.
        """
        return self._read_for(topic, history, position, self._now() + APPEND_SECONDS)

    async def _read_for(self, topic: str, history: History, position: Position, deadline: float) -> None:
        seconds = deadline - self._now()
        is_good = seconds > 0 and await self._reads(topic, history, position, seconds)
        # `recover` is called in this turn.
        (self._unread.discard if is_good else self._unread.add)(topic)

    async def _reads(self, topic: str, history: History, position: Position, seconds: float) -> bool:
        reading = self._read(topic, history, position)
        try:
            with TimeBound(self.pubsub.scheduler.clock, seconds):
                await reading.wait()
        except TimeoutError:
            if seconds > _NEARLY * APPEND_SECONDS:
                self._silent(topic)
        return reading.is_good

    def _read(self, topic: str, history: History, position: Position) -> Reading:
        """Read a topic: what the log does not have, or all if the position is before it."""
        log = self.logs.get(topic)
        everything = log is None or (position.epoch == log.epoch and not log.has_all_after(position.offset))
        reading = self._readings.open(topic, history, everything=everything)
        if reading is self._readings.get(topic) and not reading.is_sent:
            self._send(topic, reading)
        return reading

    def _send(self, topic: str, reading: Reading) -> bool:
        shard, log = self._shard(topic), self.logs.get(topic)
        if shard is None:
            self._readings.fail(topic)
            return False
        self._broken.end(topic)
        reading.is_sent, reading.everything = True, reading.everything or log is None
        reading.known = NOWHERE if log is None else Position(log.epoch, 0 if reading.everything else log.last)
        command = read_command(
            self._keys(topic), shard.server_run, self.logs.new_epoch(), reading.history, reading.known
        )
        shard.ask(command, partial(self._answered, topic, reading, shard))
        return True

    def _answered(self, topic: str, reading: Reading, shard: RedisShard, answer: Any) -> None:
        log = self.logs.get(topic)
        if isinstance(answer, Exception) or (log is not None and log.epoch == answer[0].decode()):
            self._has_read(topic, reading, answer)
            return
        # A log of this epoch would say that subscribers have had what is still on its way to them.
        for arrival in reading.release():
            self._take(topic, arrival)
        if self.pubsub.is_subscribed(topic):
            shard.after_arrivals(partial(self._has_read, topic, reading, answer))
        else:
            self._has_read(topic, reading, answer)

    def _has_read(self, topic: str, reading: Reading, answer: Any) -> None:
        try:
            if not isinstance(answer, Exception):
                reading.is_good = self._merge(topic, reading, read_extent(answer, reading.history.ttl))
        except RemoteMessageError as error:
            self._failed(topic, error)
        next_one = self._readings.close(topic, reading)
        for arrival in reading.release():
            self.received(topic, arrival.header, arrival.payload)
        reading.finish()
        if next_one is not None:
            self._send(topic, next_one)

    def _merge(self, topic: str, reading: Reading, extent: Extent) -> bool:
        """Deliver what was read and has not been delivered, and put the rest into the log; return False if it is outdated."""
        log, history = self.logs.get(topic), reading.history
        if self._link is None or (log is not None and log.epoch not in {extent.epoch, reading.known.epoch}):
            return False
        if log is None:
            self._copy(topic, extent, extent.offset, history)
        elif log.epoch == extent.epoch and reading.everything:
            self._copy(topic, extent, log.last, history)
        elif log.epoch != extent.epoch:
            # All of another epoch is new.
            self._begin(topic, extent.epoch, 0, history)
        self._deliver_read(topic, extent, history)
        return True

    def _deliver_read(self, topic: str, extent: Extent, history: History) -> None:
        for arrival in extent.arrivals:
            self._take(topic, arrival)
        log = self.logs.get(topic)
        if log is not None and log.epoch == extent.epoch and log.last < extent.offset:
            # What is between is kept no more.
            self.pubsub.relay.missed(topic, "", extent.offset - log.last)
            self._begin(topic, extent.epoch, extent.offset, history).is_whole = True

    def _copy(self, topic: str, extent: Extent, known: int, history: History) -> None:
        """Begin a log with what was read, and what has arrived since, up to an offset that is known here."""
        before = self.logs.get(topic)
        kept = [self._kept(each) for each in extent.arrivals if each.offset <= known]
        if before is not None:
            kept += [each for each in before.after(extent.offset) if each.offset <= known]
        is_joined = bool(kept) and [each.offset for each in kept] == list(range(known + 1 - len(kept), known + 1))
        log = self._begin(topic, extent.epoch, known - len(kept) if is_joined else known, history)
        for each in kept if is_joined else ():
            log.append(each)
        log.is_whole = True

    def _kept(self, arrival: Arrival) -> KeptBroadcast:
        header = arrival.header
        sender = header.sender if header.run == self.pubsub.relay.run else 0
        time = self._now() - arrival.age
        return KeptBroadcast(arrival.offset, time, header.event or "", arrival.payload, header.binary, sender)

    def _catch_up(self, topic: str, arrival: Arrival | None = None) -> bool:
        """Read what was missed, while what arrives waits; return False if Redis is out of reach."""
        history = self.pubsub.history_of(topic)
        if history is None or self._readings.get(topic) is not None:
            return False
        reading = self._readings.open(topic, history, everything=False)
        if not self._send(topic, reading):
            return False
        reading.hold(arrival)
        return True

    def recover(self, topic: str, history: History, position: Position) -> Recovery:
        """Return where a topic stands, and what a client has missed; nothing while Redis is out of reach."""
        log = self.logs.get(topic)
        if log is None or topic in self._broken or topic in self._unread or self._shard(topic) is None:
            recovery = NOTHING
            self._may_be_at(topic, NOWHERE.offset)
        else:
            log = self.logs.use(topic, history, self._now())
            missed = log.missed(position)
            recovery = Recovery(Position(log.epoch, log.last), missed is not None, missed or [], log)
        self.counts.joined(position, recovery)
        return recovery

    # Those who wait

    def behind(self, topic: str) -> list[Callable[[], object]] | None:
        """Return the list of what is called when all that was recorded on a topic before is delivered; None if it is."""
        append = self._appends.last(topic)
        return None if append is None else append.behind

    def undelivered(self, cause: Process) -> Awaitable[None] | None:
        """Return what to await until all that an actor has recorded is delivered; None if it is."""
        append = self._appends.of_cause(cause)
        if append is None:
            return None
        done = asyncio.get_running_loop().create_future()
        append.behind.append(partial(_finish, done))
        return asyncio.shield(done)

    # Expiry

    def _sweep_later(self, seconds: float = SWEEP_SECONDS) -> None:
        if self._link is not None and self._sweeper is None:
            self._sweeper = self._link.clock.call_after(seconds, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        if self._link is not None:
            now = self._link.clock.now()
            for topic in self.logs.sweep(now, self.pubsub.is_subscribed):
                self._keep(topic, now)
            self._sweep_later(SWEEP_SECONDS if self.logs.is_swept else 0.0)

    def _keep(self, topic: str, now: float) -> None:
        """Read a topic on which nothing has happened for long, so that Redis keeps its epoch while it has subscribers."""
        log = self.logs.get(topic)
        if log is not None and now - log.used > IDLE / 2 and self.pubsub.is_subscribed(topic):
            log.used = now
            self._catch_up(topic)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
