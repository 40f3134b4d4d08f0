"""The join of a client that recovers what it has missed: the answer, and what is sent after it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from actors.channels.encoding import as_json, decoded
from actors.channels.join_reply import WhenTaken
from actors.channels.message import Broadcast, NumberedBroadcast, Payload, Reply
from actors.exceptions import BadReturnError
from actors.history.backlog import Backlog, broadcast_of, frame_at, skip_at
from actors.history.history import Position, wanted_position
from actors.time_bound import TimeBound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterator

    from actors.channels.channel_socket import ChannelSocket
    from actors.channels.message import Frame
    from actors.clock import Clock
    from actors.history.history import History
    from actors.history.history_store import Recovery
    from actors.history.topic_log import KeptBroadcast

__all__ = ["RECOVER", "RecoverRequest", "Rejoin", "read_request"]

RECOVER = "recover"
"""The key in the payload of a join that has the client's position, and in the answer that has the topic's."""

_AHEAD = 64 * 1024
"""Bytes that a channel sends of what was missed before it waits for the client."""

_PATIENCE = 10.0
"""Seconds that it waits: a client that takes nothing for so long is one for its outbox to close."""


class RecoverRequest(NamedTuple):
    """The position of a client, None if it is not valid; and the rest of its payload, which is the channel's."""

    position: Position | None
    payload: Payload


def read_request(payload: Payload) -> RecoverRequest | None:
    """Return what the payload of a join says about recovery; None if it says nothing."""
    if not isinstance(payload, dict) or RECOVER not in payload:
        return None
    own = {key: value for key, value in payload.items() if key != RECOVER}
    return RecoverRequest(wanted_position(payload[RECOVER]), own)


class Rejoin:
    """One join of a client that wants to get what it has missed since `position`."""

    __slots__ = ("_ahead", "_handled", "_history", "_is_paced", "_position", "_recovery", "_socket")

    def __init__(self, socket: ChannelSocket, history: History, position: Position) -> None:
        self._socket, self._history, self._position = socket, history, position
        self._recovery: Recovery | None = None
        # What `handle_out` handles, until a push of the same event has taken its offset.
        self._handled: NumberedBroadcast | None = None
        # Bytes of what was missed and sent by the channel since the client had taken all.
        self._ahead, self._is_paced = 0, True

    @property
    def _client(self) -> int:
        return self._socket.transport.process.number

    # The answer

    def prepare(self) -> Awaitable[None] | None:
        """Return what to await before `recover` may be called, if there is anything."""
        return self._socket.pubsub.history.prepare(self._socket.topic, self._history, self._position)

    def answer(self, reply: Reply) -> Reply:
        """Find out what the client has missed up to now, and add that to what the channel answers.

        Raises:
            BadReturnError: if that is not an object.
        """
        own = _as_object(reply)
        self._recovery = self._socket.pubsub.history.recover(self._socket.topic, self._history, self._position)
        return Reply(reply.status, {**own, RECOVER: self._recovery.answer()})

    def backlog(self) -> Backlog | None:
        """Return what the client has missed, to be sent by its transport; None if that is nothing."""
        found, socket = self._recovery, self._socket
        if found is None or found.log is None or not found.missed:
            return None
        return Backlog(socket.topic, socket.serializer, self._client, found.log, found.position.offset, found.missed)

    def missed(self) -> Iterator[NumberedBroadcast]:
        """Yield what the client has missed, to be sent by the channel."""
        return map(self._numbered, () if self._recovery is None else self._recovery.missed)

    def _numbered(self, kept: KeptBroadcast) -> NumberedBroadcast:
        self._ahead += kept.size
        is_own = kept.sender != 0 and kept.sender == self._client
        return NumberedBroadcast(decoded(broadcast_of(kept, self._socket.topic)), kept.offset, is_own)

    # What the channel itself sends

    @property
    def is_ahead(self) -> bool:
        """Whether so much was sent that the client should take it before there is more."""
        return self._is_paced and self._ahead > _AHEAD

    async def until_taken(self, clock: Clock) -> None:
        """Wait until the client has taken what was sent, if that is much."""
        if self.is_ahead:
            self._ahead, self._is_paced = 0, False
            taken = asyncio.get_running_loop().create_future()
            self._socket.transport.send(WhenTaken(partial(_finish, taken)))
            with suppress(TimeoutError), TimeBound(clock, _PATIENCE):
                await taken
                self._is_paced = True

    def is_by_channel(self, intercept: Collection[str]) -> bool:
        """Return whether the channel sends all broadcasts: those past its mailbox would overtake what it intercepts."""
        return any(map(self._history.records, intercept))

    def frame(self, numbered: NumberedBroadcast) -> Frame:
        """Encode a broadcast with its offset; the offset alone if the client has made it by `broadcast_from`."""
        if numbered.is_own:
            return self._skip(numbered)
        return frame_at(self._socket.serializer, numbered.broadcast, numbered.offset)

    def _skip(self, numbered: NumberedBroadcast) -> Frame:
        return skip_at(self._socket.serializer, self._socket.topic, numbered.offset)

    def handle(self, numbered: NumberedBroadcast) -> None:
        """Begin to handle a broadcast by `handle_out`: the first push of its event has its offset."""
        self._handled = numbered

    def pushed(self, event: str, payload: Payload) -> Frame | None:
        """Encode a push of `handle_out` with the offset of the broadcast, if it is the one that has it."""
        numbered = self._handled
        if numbered is None or numbered.broadcast.event != event:
            return None
        self._handled = None
        return frame_at(self._socket.serializer, Broadcast(self._socket.topic, event, payload), numbered.offset)

    def handled(self) -> Frame | None:
        """Return the offset alone, if `handle_out` has not pushed the event: the client has to see no gap."""
        numbered, self._handled = self._handled, None
        return None if numbered is None else self._skip(numbered)


def _finish(taken: asyncio.Future[None]) -> None:
    if not taken.done():
        taken.set_result(None)


def _as_object(reply: Reply) -> dict[str, object]:
    payload = reply.payload
    if not isinstance(payload, dict | bytes):
        payload = msgspec.json.decode(as_json("answer to a join", payload))
    if not isinstance(payload, dict):
        raise BadReturnError("join", f'ok(…) with an object, to which "{RECOVER}" can be added', reply)
    return payload
