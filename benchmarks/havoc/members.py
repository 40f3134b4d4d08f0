"""Clients that keep a ledger: ours, over WebSockets and long polling, and one written by hand on the package `websockets`.

A member joins rooms of the demo, and joins again whenever it has lost one. Whatever carries it, it reports the same to the
ledger: a join, the end of a stay, a message, the outcome of a push.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from transport.client import Channel, Presence, Socket
from transport.client.client_presence import State, sync_diff, sync_state

if TYPE_CHECKING:
    from havoc.ledger import Ledger, Stay

PATIENCE = 30.0
"""Seconds that a client waits for a reply."""
AGAIN = 0.05
"""Seconds before it connects or joins again."""
EVENTS = ("new_msg", "typing", "presence_state", "presence_diff")

Status = Literal["ok", "error", "timeout", "closed", "over"]


class Outcome(NamedTuple):
    """How a push has ended; "over" if the stay in which it was made has ended before."""

    status: Status
    response: Any = None


OVER = Outcome("over")


class Role(NamedTuple):
    """Who a member is, and which rooms it joins."""

    name: str
    user: str
    topics: list[str]


class Member(ABC):
    """A client in some rooms."""

    def __init__(self, role: Role, ledger: Ledger) -> None:
        self.name, self.user, self.topics = role
        self.ledger = ledger
        self._stays: dict[str, Stay] = {}
        self._has_joined = asyncio.Event()

    # What it is told to do

    @abstractmethod
    async def start(self) -> None:
        """Connect and join, and do so again whenever something is lost."""

    @abstractmethod
    async def close(self) -> None:
        """Leave for good."""

    @abstractmethod
    async def reconnect(self) -> None:
        """End the connection; it is to come back."""

    @abstractmethod
    async def leave(self, topic: str) -> None:
        """Leave a room, and join it again."""

    @abstractmethod
    def _push(self, topic: str, event: str, payload: Any) -> asyncio.Future[Outcome]:
        """Push; return the outcome, which may never come."""

    @abstractmethod
    def present(self, topic: str) -> State:
        """Return the presences of a room as this client knows them."""

    async def push(self, topic: str, event: str, payload: Any = None) -> Outcome:
        """Push; wait for the outcome, or for the end of the stay."""
        stay = self.stay(topic)
        outcome = self._push(topic, event, {} if payload is None else payload)
        ends: list[asyncio.Future[Any]] = [outcome] if stay is None else [outcome, stay.over]
        await asyncio.wait(ends, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if outcome.done() and not outcome.cancelled():
            result = outcome.result()
        else:
            outcome.cancel()
            result = OVER if stay is not None and stay.is_over else Outcome("timeout")
        self.ledger.counts[result.status] += 1
        if result.status == "timeout":
            self.ledger.not_answered(self.name, topic, event, stay)
        return result

    def send(self, topic: str, event: str, payload: Any = None) -> None:
        """Push something that has no reply."""
        self._push(topic, event, {} if payload is None else payload)

    async def say(self, topic: str) -> Outcome:
        """Send a message to a room."""
        sent = self.ledger.sends(self.name, topic, self.stay(topic))
        outcome = await self.push(topic, "new_msg", {"body": [self.name, sent.number]})
        if outcome.status == "ok":
            self.ledger.acknowledged(sent)
        return outcome

    # How it stands

    def stay(self, topic: str) -> Stay | None:
        """Return the stay in a room, while it lasts."""
        stay = self._stays.get(topic)
        return None if stay is None or stay.is_over else stay

    @property
    def is_settled(self) -> bool:
        """Whether it is in all of its rooms."""
        return all(self.stay(topic) is not None for topic in self.topics)

    async def settled(self) -> None:
        """Wait until it is in all of its rooms, twice as long as it waits for a reply.

        Raises:
            TimeoutError: if it is not.
        """
        async with asyncio.timeout(2 * PATIENCE):
            while not self.is_settled:
                self._has_joined.clear()
                await self._has_joined.wait()

    def __str__(self) -> str:
        return f"{self.name} ({type(self).__name__})"

    # What it sees

    def _joined(self, topic: str) -> None:
        self._over(topic)
        self._stays[topic] = self.ledger.joined(self.name, topic)
        self._has_joined.set()

    def _over(self, topic: str) -> None:
        if topic in self._stays:
            self._stays[topic].end()

    def _heard(self, topic: str, payload: Mapping[str, Any]) -> None:
        stay = self.stay(topic)
        if stay is None:
            self.ledger.fault(f"{self.name} has heard {payload} in {topic}, which it is not in")
            return
        match payload["body"]:
            case [str(sender), int(number)]:
                self.ledger.heard(stay, sender, number)


class AshtreeMember(Member):
    """Our client."""

    def __init__(self, role: Role, ledger: Ledger, url: str, transport: Literal["websocket", "longpoll"]) -> None:
        super().__init__(role, ledger)
        self._socket = Socket(
            url,
            params={"user": role.user},
            transport=transport,
            reconnect_after=lambda _tries: AGAIN,
            rejoin_after=lambda _tries: AGAIN,
            heartbeat_interval=PATIENCE / 3,
            timeout=PATIENCE,
        )
        self._channels: dict[str, Channel] = {}
        self._presences: dict[str, Presence] = {}
        self._is_closing = False

    async def start(self) -> None:
        self._socket.on_close(self._disconnected)
        self._socket.connect()
        for topic in self.topics:
            self._open(topic)

    def _disconnected(self, code: int, _reason: str) -> None:
        self.ledger.counts[f"closed with {code}"] += 1
        if not (self._is_closing or self._socket.will_reconnect):
            # By 1000, as of a transport that was told to stop, the server says that it is not to come back; it does.
            asyncio.get_running_loop().call_later(AGAIN, self._socket.connect)

    def _open(self, topic: str) -> None:
        channel = self._channels[topic] = self._socket.channel(topic, max_queue=0)
        self._presences[topic] = Presence(channel)
        channel.on("new_msg", partial(self._heard, topic))
        channel.on_error(lambda _reason: self._over(topic))
        channel.on_close(lambda _reason: self._closed(topic))
        channel.join().receive("ok", lambda _response: self._joined(topic))

    def _closed(self, topic: str) -> None:
        self._over(topic)
        if not self._is_closing:
            asyncio.get_running_loop().call_later(AGAIN, self._open, topic)

    async def close(self) -> None:
        self._is_closing = True
        await self._socket.close()

    async def reconnect(self) -> None:
        await self._socket.disconnect()
        self._socket.connect()

    async def leave(self, topic: str) -> None:
        self._channels[topic].leave()

    def _push(self, topic: str, event: str, payload: Any) -> asyncio.Future[Outcome]:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(status: Status, response: Any) -> None:
            if not outcome.done():
                outcome.set_result(Outcome(status, response))

        channel = self._channels[topic]
        if channel.state in {"closed", "leaving"}:
            outcome.set_result(OVER)
            return outcome
        push = channel.push(event, payload)
        statuses: tuple[Status, ...] = ("ok", "error", "timeout", "closed")
        for status in statuses:
            push.receive(status, partial(settle, status))
        return outcome

    def present(self, topic: str) -> State:
        return self._presences[topic].state

    def __str__(self) -> str:
        return f"{self.name} ({self._socket}, {self._socket.transport}, {list(self._channels.values())})"


class WireMember(Member):
    """A client written by hand."""

    def __init__(self, role: Role, ledger: Ledger, url: str) -> None:
        super().__init__(role, ledger)
        self._url = f"{url}/websocket?{urlencode({'vsn': '2.0.0', 'user': role.user})}"
        self._refs = map(str, count(1))
        self._connection: ClientConnection | None = None
        self._join_refs: dict[str, str] = {}
        self._asked: dict[str, asyncio.Future[Outcome]] = {}
        self._states: dict[str, State] = {}
        self._pending: dict[str, list[Any]] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        self._lost()

    async def vanish(self) -> None:
        """Leave for good, without a close frame."""
        if self._connection is not None:
            self._connection.transport.abort()
        await self.close()

    async def _run(self) -> None:
        while True:
            with suppress(OSError, WebSocketException, TimeoutError):
                await self._converse()
            self._lost()
            await asyncio.sleep(AGAIN)

    async def _converse(self) -> None:
        async with connect(self._url, ping_interval=None, max_queue=None, compression=None, proxy=None) as connection:
            self._connection = connection
            for topic in self.topics:
                self._join(topic, connection)
            async for text in connection:
                self._take(*json.loads(text))
            self.ledger.counts[f"closed with {connection.close_code}"] += 1

    def _lost(self) -> None:
        self._connection = None
        for topic in self.topics:
            self._over(topic)
        self._join_refs.clear()
        for outcome in self._asked.values():
            outcome.cancel()
        self._asked.clear()

    def _join(self, topic: str, connection: ClientConnection | None) -> None:
        if connection is not None and connection is self._connection:
            ref = self._join_refs[topic] = next(self._refs)
            self._pending[topic] = []
            self._write(ref, ref, topic, "phx_join", {})

    def _write(self, *message: Any) -> None:
        assert self._connection is not None
        task = asyncio.create_task(self._written(self._connection, json.dumps(message)))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _written(self, connection: ClientConnection, text: str) -> None:
        with suppress(WebSocketException):
            await connection.send(text)

    def _take(self, join_ref: str | None, ref: str | None, topic: str, event: str, payload: Any) -> None:
        if topic not in self.topics or (join_ref is not None and join_ref != self._join_refs.get(topic)):
            return
        match event:
            case "phx_reply" if ref == self._join_refs[topic]:
                if payload["status"] == "ok":
                    self._joined(topic)
            case "phx_reply" if ref in self._asked:
                outcome = self._asked.pop(ref)
                if not outcome.done():
                    outcome.set_result(Outcome(payload["status"], payload["response"]))
            case "phx_error" | "phx_close":
                self._over(topic)
                asyncio.get_running_loop().call_later(AGAIN, self._join, topic, self._connection)
            case "new_msg":
                self._heard(topic, payload)
            case "presence_state":
                self._states[topic] = sync_state(self._states.get(topic, {}), payload)
                self._diff(topic, *self._pending.pop(topic, ()))
            case "presence_diff":
                self._diff(topic, payload)

    def _diff(self, topic: str, *diffs: Any) -> None:
        if topic in self._pending:
            self._pending[topic] += diffs
            return
        for diff in diffs:
            self._states[topic] = sync_diff(self._states[topic], diff)

    async def reconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def leave(self, topic: str) -> None:
        if self.stay(topic) is not None:
            self._write(self._join_refs[topic], next(self._refs), topic, "phx_leave", {})

    def _push(self, topic: str, event: str, payload: Any) -> asyncio.Future[Outcome]:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if self.stay(topic) is None:
            outcome.set_result(OVER)
            return outcome
        ref = next(self._refs)
        self._asked[ref] = outcome
        self._write(self._join_refs[topic], ref, topic, event, payload)
        return outcome

    def present(self, topic: str) -> State:
        return self._states.get(topic, {})
