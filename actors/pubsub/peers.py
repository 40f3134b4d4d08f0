"""Requests to one other process, and their answers, over whatever adapter a PubSub has.

Each process has a topic of its own, by its run: requests to it and answers for it come there. It publishes what it has to say
about itself to all. So an adapter needs nothing for this but what it does for every topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from actors.actor import Actor
from actors.exits import SHUTDOWN, ExitReason
from actors.log import Log
from actors.pubsub.adapter import LocalAdapter
from actors.pubsub.known_peers import KnownPeers, Peer
from actors.pubsub.peer_message import NODES, PEERS, PeerMessage, What, pack_peer, topic_of, unpack_peer
from actors.pubsub.requests import (
    MOST_REQUESTS,
    PeerAnswer,
    PeerBusyError,
    PeerError,
    PeerRequest,
    Requests,
    UnreachableError,
)
from actors.redaction import safe_str
from actors.time_bound import TimeBound

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from actors.clock import Clock, Timer
    from actors.pubsub.adapter import Adapter
    from actors.pubsub.disconnects import Disconnects
    from actors.pubsub.relay import Relay
    from actors.ref import ActorRef
    from actors.runtime.scheduler import Scheduler

__all__ = ["HEARD_WITHIN", "PeerServer", "Peers", "Service"]

_log = Log("ashtree.pubsub")

HEARD_WITHIN = 4.0
"""Seconds in which another process must have begun with a request.

More than a broker may be silent before that is noticed (2.3 s with `RedisPubSub`, more on a busy machine): otherwise its
silence would be taken for the end of the other process. Phoenix's `pubsub_timeout_ms` is 2,000.
"""

_MEETING = 1.0
"""Seconds that a process which is not known has to say that it is there."""
_MEETINGS = 1_000
"""Unknown processes that are looked for at the same time: clients may name any."""
_LOOK = 0.25
"""Seconds between two looks whether the adapter is still connected, while there are requests."""
_HELLO = 0.25
"""Seconds between two looks for other processes."""
_RECOVERY = 10.0
"""Seconds in which all processes have connected again after a broker's return; what was lost meanwhile is asked again."""
_TICK = 1.0
"""Seconds between two looks whether the adapter is connected."""
_ALIVE = 10
"""Ticks between two messages by which the others know that this process is there."""
_BUSY = "busy"
_LAST_ANSWERS = 1.0
"""Seconds that the answers which are being made may take when this process ends."""

Service = Callable[[dict[str, Any], bytes], PeerAnswer | Awaitable[PeerAnswer]]
"""What answers the requests of other processes: called on the event loop with what was sent."""


class Connected(Protocol):
    """The PubSub, as far as its peers use it."""

    adapter: Adapter
    relay: Relay
    disconnects: Disconnects

    @property
    def node(self) -> str:
        """The name of this process for the others."""

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of its event loop."""

    def broadcast(self, topic: str, message: object) -> None:
        """Publish a message."""

    def subscribe(self, topic: str, subscriber: ActorRef) -> None:
        """Subscribe an actor."""

    def held(self, topic: str) -> AbstractAsyncContextManager[None]:
        """Wait until a topic is in effect."""

    def lost(self, messages: int) -> None:
        """Count messages that have not left."""


class Peers:
    """The other processes with the same PubSub, and what this one asks them; for the thread of its event loop."""

    def __init__(self, pubsub: Connected) -> None:
        self._pubsub = pubsub
        self.known, self.requests = KnownPeers(), Requests()
        self.services: dict[str, Service] = {}
        self._meetings: dict[str, asyncio.Future[None]] = {}
        self._hello_at = float("-inf")
        self._is_open, self._trouble_at, self._lost = False, float("-inf"), 0
        self.server: ActorRef | None = None
        self._lookout: Timer | None = None

    @property
    def pubsub(self) -> Connected:
        """The PubSub."""
        return self._pubsub

    @property
    def run(self) -> str:
        """What this process is addressed by; another one after a restart of the process."""
        return self._pubsub.relay.run

    @property
    def clock(self) -> Clock:
        """The clock of its actors."""
        return self._pubsub.scheduler.clock

    @property
    def are_wanted(self) -> bool:
        """Whether a system is to start its actor: there is an adapter that could reach others."""
        return type(self._pubsub.adapter) is not LocalAdapter

    @property
    def are_possible(self) -> bool:
        """Whether others can reach this process."""
        return self._is_open

    def opened(self, server: ActorRef) -> None:
        """Remember that others can reach this process; called by its actor, which is there from now on, or is restarted."""
        self._is_open, self.server = True, server

    def trouble(self) -> str | None:
        """Return why others are out of reach now."""
        trouble, lost = self._pubsub.adapter.trouble(), self._pubsub.relay.counts.lost
        # What was lost meanwhile tells of an outage that was too short to be seen.
        if trouble is not None or lost != self._lost:
            self._trouble_at, self._lost = self.clock.now(), lost
        return trouble

    def may_be_alive(self, run: str) -> bool:
        """Return whether a process that does not answer may yet be alive: its connection may come back later than ours."""
        self.trouble()
        return self.clock.now() - self._trouble_at < _RECOVERY and not self.known.has_ended(run)

    def serve(self, name: str, service: Service) -> None:
        """Answer the requests of others to a service; the latest one with a name counts."""
        self.services[name] = service

    def all(self) -> list[Peer]:
        """Return the other processes that are known."""
        return self.known.all(self.clock.now())

    # Ask

    async def ask(
        self,
        run: str,
        service: str,
        about: dict[str, Any],
        body: bytes = b"",
        *,
        seconds: float = HEARD_WITHIN,
        heard: float = HEARD_WITHIN,
    ) -> PeerAnswer:
        """Return the answer of another process, which has begun within `heard` seconds, and answers within `seconds` more.

        If the caller is cancelled, so is what the other process does for it.

        Raises:
            UnreachableError: if it has ended, or does not answer.
            OutOfReachError: at once, if the adapter loses its connection.
            PeerBusyError: if too many requests wait already.
            PeerError: if it has failed.
        """
        if run == self.run:
            result = self.services[service](about, body)
            return result if isinstance(result, PeerAnswer) else await result
        await self._meet(run)
        request = self.requests.open(run, len(body))
        self._look_out()
        try:
            self.say("ask", run, body, number=request.number, service=service, about=about)
            return await self._answer(request, heard, seconds)
        finally:
            self.requests.close(request)
            if not request.is_over:
                self.say("cancel", run, number=request.number)

    async def _meet(self, run: str) -> None:
        """Return if a process is known; look for one that is not."""
        if not self.are_possible or self.known.has_ended(run):
            raise UnreachableError("it has ended")
        if run in self.known:
            return
        meeting = self._meetings.get(run)
        if meeting is None:
            if len(self._meetings) >= _MEETINGS:
                raise PeerBusyError(f"{_MEETINGS} processes are looked for already")
            meeting = self._meetings[run] = asyncio.get_running_loop().create_future()
        self._look_for_others()
        try:
            with TimeBound(self.clock, _MEETING):
                await asyncio.shield(meeting)
        except TimeoutError:
            self._meetings.pop(run, None)
            raise UnreachableError("no such process is known") from None

    def _look_out(self) -> None:
        """Fail all requests as soon as the adapter is out of reach."""
        if self._lookout is None:
            self._lookout = self.clock.call_after(_LOOK, self._look)

    def _look(self) -> None:
        self._lookout = None
        trouble = self.trouble()
        if trouble is not None:
            self.requests.out_of_reach(trouble)
        elif self.requests:
            self._look_out()

    async def _answer(self, request: PeerRequest, heard: float, seconds: float) -> PeerAnswer:
        try:
            with TimeBound(self.clock, heard):
                await request.heard
            with TimeBound(self.clock, seconds):
                return await request.answer
        except TimeoutError:
            raise UnreachableError("it has not answered in time") from None

    async def ask_all(
        self, service: str, about: dict[str, Any], *, seconds: float = 1.0
    ) -> list[tuple[Peer, PeerAnswer | None]]:
        """Return what all others answer, None for those that have not within `seconds`, or have failed."""
        peers = self.all()
        answers = await asyncio.gather(*(self._ask_one(peer, service, about, seconds) for peer in peers))
        return list(zip(peers, answers, strict=True))

    async def _ask_one(self, peer: Peer, service: str, about: dict[str, Any], seconds: float) -> PeerAnswer | None:
        with suppress(TimeoutError, PeerError), TimeBound(self.clock, seconds):
            return await self.ask(peer.run, service, about)
        return None

    # What is said

    def say(self, what: What, run: str = "", body: bytes = b"", **members: Any) -> None:
        """Publish a message to one process, or to all; an adapter that raises has lost it."""
        message = PeerMessage(what, self.run, self._pubsub.node, **members)
        try:
            self._pubsub.broadcast(topic_of(run) if run else PEERS, pack_peer(message, body))
        except Exception as error:  # noqa: BLE001  # an adapter may raise anything; the caller waits for an answer, and gets none
            self._pubsub.lost(1)
            _log.debug("%s for another process is lost: %s", what, safe_str(error))

    def _look_for_others(self) -> None:
        """Let all others say that they are there, unless they were just asked."""
        now = self.clock.now()
        if now - self._hello_at >= _HELLO:
            self._hello_at = now
            self.say("hello")

    # What is heard

    def heard(self, message: PeerMessage, body: bytes) -> None:
        """Take a message of another process, but for those to its services."""
        run = message.run
        if message.what == "bye":
            self.ended([run])
            return
        self.known.heard(run, message.node, self.clock.now())
        meeting = self._meetings.pop(run, None)
        if meeting is not None and not meeting.done():
            meeting.set_result(None)
        if message.what == "hello":
            self.say("here", run)
        request = self.requests.of(run, message.number)
        if request is not None:
            _take(request, message, body)

    def down(self, node: str) -> None:
        """Give up the processes with a name: another program knows that they have ended."""
        self.ended(self.known.of_node(node))

    def ended(self, runs: list[str]) -> None:
        """Give up processes that have ended."""
        for run in runs:
            self.known.ended(run)
        self.requests.ended(runs)


def _take(request: PeerRequest, message: PeerMessage, body: bytes) -> None:
    if message.what == "working":
        request.is_heard()
    elif message.what == "answer":
        request.set(PeerAnswer(message.about, body))
    elif message.what == "failed":
        is_busy = message.about.get("reason") == _BUSY
        request.fail(PeerBusyError("it is busy") if is_busy else PeerError("it has failed: see its log"))


class PeerServer(Actor):
    """Receives the messages of other processes, and answers their requests."""

    _no_dead_letters = (object,)

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._ticks, self._is_cut_off = 0, False
        # The requests of others that are being answered, by run and number.
        self._served: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def on_start(self) -> None:
        """Subscribe, and say that this process is there; go on without an adapter that cannot, as local delivery does."""
        self.own(self._stop_serving)
        self.send_interval(_TICK, _TICK)
        await asyncio.gather(*map(self._subscribe, (topic_of(self._peers.run), PEERS, NODES)))
        self._peers.opened(self.actor_ref)
        self._peers.say("hello")

    async def _subscribe(self, topic: str) -> None:
        pubsub = self._peers.pubsub
        try:
            async with pubsub.held(topic):
                pubsub.subscribe(topic, self.actor_ref)
        except Exception as error:  # noqa: BLE001  # an adapter may raise anything
            _log.error("this process cannot be asked by others: %s", safe_str(error), exc_info=error)

    def on_receive(self, message: object) -> object:
        """Handle what another process has said; what is no such message is ignored, as any program may publish."""
        if message is _TICK:
            self._tick()
        elif isinstance(message, bytes):
            said = unpack_peer(message)
            if said is not None and said[0].run != self._peers.run:
                self._handle(*said)
        elif isinstance(message, dict):
            self._note(message)
        return None

    def _note(self, message: dict[str, Any]) -> None:
        match message:
            case {"down": str(node)}:
                self._peers.down(node)
            case {"disconnect": str(topic)}:
                self._peers.pubsub.disconnects.add(topic)

    def _tick(self) -> None:
        was_cut_off, self._is_cut_off = self._is_cut_off, self._peers.trouble() is not None
        self._ticks += 1
        if was_cut_off and not self._is_cut_off:
            # Processes that were silent for so long are forgotten, this one by others too.
            self._peers.say("hello")
        elif self._ticks % _ALIVE == 0:
            self._peers.say("here")

    def _handle(self, message: PeerMessage, body: bytes) -> None:
        self._peers.heard(message, body)
        key = (message.run, message.number)
        if message.what == "ask":
            self._serve(key, message, body)
        elif message.what == "cancel" and key in self._served:
            self._served.pop(key).cancel()

    # Requests of others

    def _serve(self, key: tuple[str, int], message: PeerMessage, body: bytes) -> None:
        service = self._peers.services.get(message.service)
        if service is None or key in self._served:
            self._fail(key, "no such service")
        elif len(self._served) >= MOST_REQUESTS:
            self._fail(key, _BUSY)
        else:
            self._call(key, service, message, body)

    def _call(self, key: tuple[str, int], service: Service, message: PeerMessage, body: bytes) -> None:
        try:
            result = service(message.about, body)
        except Exception as error:  # noqa: BLE001  # what another process asks for ends no actor here
            self._failed(key, message.service, error)
            return
        if isinstance(result, PeerAnswer):
            self._answer(key, result)
            return
        self._peers.say("working", key[0], number=key[1])
        self._served[key] = self._process.scheduler.loop.create_task(self._finish(key, message.service, result))

    async def _finish(self, key: tuple[str, int], service: str, result: Awaitable[PeerAnswer]) -> None:
        try:
            self._answer(key, await result)
        except Exception as error:  # noqa: BLE001  # as above
            self._failed(key, service, error)
        finally:
            self._served.pop(key, None)

    def _answer(self, key: tuple[str, int], answer: PeerAnswer) -> None:
        self._peers.say("answer", key[0], answer.body, number=key[1], about=answer.about)

    def _failed(self, key: tuple[str, int], service: str, error: Exception) -> None:
        if self._process.scheduler.crash_log.admits(_log, "requests of other processes", type(self)):
            _log.error("cannot answer %r for another process: %s", service, safe_str(error), exc_info=error)
        self._fail(key, "failed")

    def _fail(self, key: tuple[str, int], reason: str) -> None:
        self._peers.say("failed", key[0], number=key[1], about={"reason": reason})

    # The end

    async def terminate(self, reason: ExitReason) -> None:
        """Let the last answers leave, then say that this process ends."""
        if self._served:
            with suppress(TimeoutError), TimeBound(self.clock, _LAST_ANSWERS):
                await asyncio.gather(*self._served.values(), return_exceptions=True)
        if reason == SHUTDOWN:
            self._peers.say("bye")

    def _stop_serving(self) -> None:
        served, self._served = self._served, {}
        for task in served.values():
            task.cancel()
