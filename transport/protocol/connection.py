"""What a socket does with a message: pure logic, messages in and effects out (Phoenix.Socket).

Nothing here touches a mailbox, a thread, a clock or a wire. The transport actor passes in what happens and carries out the
effects, so the rules can be read here from top to bottom, and tested as values.
"""

from __future__ import annotations

import enum
import sys
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from msgspec.json import encode

from actors.channels.message import Frame, Message, Payload, Reply, Serializer, error, ok
from actors.exits import ExitReason, Shutdown
from actors.redaction import shown
from supervisors.child_spec import Restart
from supervisors.restart import RestartIntensity, should_restart
from transport.exceptions import MalformedMessageError
from transport.limits import Limits

if TYPE_CHECKING:
    from actors.channel import Channel
    from actors.channels.join_reply import JoinReply
    from actors.history.backlog import Backlog
    from actors.ref import ActorRef
    from transport.socket import Route, Routes

__all__ = [
    "Connection",
    "Deliver",
    "Effect",
    "EndChannel",
    "Joined",
    "Monitor",
    "Reached",
    "RefreshToken",
    "Resume",
    "SendBacklog",
    "SendFrame",
    "StartChannel",
    "TopicStatus",
    "Unmatched",
    "Wait",
]

_CRASHED = {"reason": "channel_crash"}
# The events that the socket itself handles; a tuple, as an event may be any JSON value.
_SPECIAL_EVENTS = ("phx_join", "phx_leave", "heartbeat")
ACCESS_TOKEN = "access_token"  # noqa: S105  # an event, Supabase Realtime's
_LIMITS = Limits()
# Code points that are no characters.
_SURROGATES = range(0xD800, 0xE000)
# Characters of what is no topic, in the log.
_SHOWN = 200
DUPLICATE_JOIN = Shutdown("duplicate_join")


class TopicStatus(enum.Enum):
    """The state of one topic of a connection."""

    JOINING = "joining"
    JOINED = "joined"
    LEAVING = "leaving"
    RESTARTING = "restarting"


# Looking up a member of an enum takes longer than comparing a join_ref.
_JOINED = TopicStatus.JOINED


class Joined:
    """One topic that the client has joined, or is joining."""

    __slots__ = (
        "channel",
        "closes",
        "intensity",
        "join_ref",
        "message",
        "pending",
        "recovers",
        "route",
        "size",
        "status",
        "topic",
    )

    def __init__(self, route: Route, message: Message, size: int, closes: list[SendFrame] | None = None) -> None:
        self.route, self.message, self.size = route, message, size
        self.topic: str = message.topic
        # As the client wrote it: null stays null here, though the channel then uses the ref (Phoenix's two views).
        self.join_ref = message.join_ref
        self.status = TopicStatus.JOINING
        self.channel: ActorRef[Channel] | None = None
        # The frames that close the joins before it; they are sent after its answer.
        self.closes = closes
        # With their sizes.
        self.pending: deque[tuple[Message, int]] | None = None
        self.intensity: RestartIntensity | None = None
        # Whether the client recovers what it misses.
        self.recovers = False

    @property
    def is_waiting(self) -> bool:
        """Whether messages for its channel wait until the join is answered."""
        return self.status is TopicStatus.JOINING or self.status is TopicStatus.RESTARTING

    def wait(self, message: Message, size: int) -> None:
        """Keep a message until the join is answered."""
        if self.pending is None:
            self.pending = deque()
        self.pending.append((message, size))

    def may_restart(self, reason: ExitReason, now: float) -> bool:
        """Return whether the server joins again on behalf of the client, by OTP's table and within OTP's intensity.

        A client that recovers what it misses has to join itself: it knows where it was.
        """
        if self.recovers or not should_restart(Restart(self.route.channel.restart), reason):
            return False
        if self.intensity is None:
            self.intensity = RestartIntensity()
        return self.intensity.allows(now)


class SendFrame(msgspec.Struct, frozen=True):
    """Write a frame to the client."""

    frame: Frame


class SendBacklog(msgspec.Struct, frozen=True):
    """Write the broadcasts that the client has missed, as there is room for them."""

    backlog: Backlog


class Deliver(msgspec.Struct, frozen=True):
    """Send a message to a channel."""

    channel: ActorRef[Channel]
    message: Message
    size: int = 0


class Wait(msgspec.Struct, frozen=True):
    """Count a message of `size` bytes as received but not handled: it waits for a join."""

    size: int


class Resume(msgspec.Struct, frozen=True):
    """End the count of a `Wait`: what is done with the message now are the effects that follow."""

    size: int


class RefreshToken(msgspec.Struct, frozen=True):
    """Let the socket handle another token of the client, in a message of `size` bytes."""

    message: Message
    join_ref: object
    size: int


class Reached(msgspec.Struct, frozen=True):
    """Report that a limit was reached, by the name of its option."""

    limit: str


class Unmatched(SendFrame, frozen=True):
    """Write the answer to a join of a topic for which there is no channel, and log that."""

    topic: object


class StartChannel(msgspec.Struct, frozen=True):
    """Start the channel actor for a join."""

    joined: Joined


class Monitor(msgspec.Struct, frozen=True):
    """Monitor a channel."""

    channel: ActorRef[Channel]


class EndChannel(msgspec.Struct, frozen=True):
    """End a channel, and do not restart it."""

    channel: ActorRef[Channel]
    reason: ExitReason


Effect = (
    SendFrame
    | SendBacklog
    | Deliver
    | StartChannel
    | Monitor
    | EndChannel
    | Wait
    | Resume
    | Reached
    | RefreshToken
    | Unmatched
)
Effects = Iterable[Effect]


class Connection:
    """One client's connection: the topics it has joined, and the rules for its messages."""

    __slots__ = (
        "_by_channel",
        "_held",
        "_max_channels",
        "_most_held",
        "_serializer",
        "_short",
        "_special_events",
        "_takes_tokens",
        "_topic_length",
        "routes",
        "topics",
    )

    def __init__(
        self,
        routes: Routes,
        serializer: Serializer,
        max_channels: int = 100,
        limits: Limits = _LIMITS,
        *,
        takes_tokens: bool = False,
    ) -> None:
        self.routes, self._serializer, self._max_channels = routes, serializer, max_channels
        self._takes_tokens = takes_tokens
        self._special_events = (*_SPECIAL_EVENTS, ACCESS_TOKEN) if takes_tokens else _SPECIAL_EVENTS
        self._topic_length, self._most_held = limits.topic_length, limits.waiting_bytes
        # A message of so few characters cannot contain a topic of more bytes.
        self._short = limits.topic_length // 4
        # The size of the joins whose topics are joined: their channels keep what they contain.
        self._held = 0
        self.topics: dict[str, Joined] = {}
        self._by_channel: dict[ActorRef[Channel], Joined] = {}

    # A message of the client

    def addressee(self, message: Message, size: int = 0) -> ActorRef[Channel] | None:
        """Return the channel if all that is to do with a message is to deliver it; otherwise None, and `receive` decides.

        This is the result of `receive` for most messages, without the effects.
        """
        topic, join_ref = message.topic, message.join_ref
        joined = self.topics.get(topic) if type(topic) is str else None
        if joined is None or joined.status is not _JOINED or message.event in self._special_events:
            return None
        if size > self._short and self._is_long(message.event):
            return None
        own = joined.join_ref
        if join_ref is None or (join_ref == own and type(join_ref) is type(own) is str):
            return joined.channel
        return None

    def receive(self, message: Message, size: int = 0) -> Effects:
        """Return the effects of a message of the client, which had `size` bytes, or characters.

        Raises:
            MalformedMessageError: if it joins a topic that is an object, or a list that Phoenix cannot read as text.
        """
        topic = message.topic
        joined = self.topics.get(topic) if isinstance(topic, str) else None
        if joined is None or (topic == "phoenix" and message.event == "heartbeat"):
            return self._receive_unjoined(message, size)
        if joined.is_waiting:
            # Phoenix stops reading while a join runs; here only this topic waits.
            joined.wait(message, size)
            return (Wait(size),)
        if size > self._short and self._is_long(message.event):
            return self._too_long(message, "event too long")
        if message.event == "phx_join":
            return self._join_again(joined, message, size)
        if message.join_ref is not None and not _same(message.join_ref, joined.join_ref):
            return ()
        if self._takes_tokens and message.event == ACCESS_TOKEN:
            return (RefreshToken(message, joined.message.ref_of_join, size),)
        if message.event == "phx_leave":
            joined.status = TopicStatus.LEAVING
        assert joined.channel is not None
        return (Deliver(joined.channel, message, size),)

    def _is_long(self, name: object) -> bool:
        return isinstance(name, str) and len(name) > self._short and len(name.encode()) > self._topic_length

    def _too_long(self, message: Message, reason: str) -> Effects:
        return self._beyond("topic_length", message, reason)

    def _beyond(self, limit: str, message: Message, reason: str) -> Effects:
        """Answer a message that is beyond a limit."""
        return (Reached(limit), self._reply(message.join_ref, message, error({"reason": reason})))

    def _receive_unjoined(self, message: Message, size: int) -> Effects:
        if size > self._short and self._is_long(message.topic):
            return self._too_long(message, "topic too long")
        if size > self._short and self._is_long(message.event):
            return self._too_long(message, "event too long")
        match message:
            case Message(topic="phoenix", event="heartbeat"):
                return (self._reply(None, message, ok()),)
            case Message(topic="phoenix", event="access_token") if self._takes_tokens:
                return (RefreshToken(message, None, size),)
            case Message(event="phx_join"):
                return self._join(message, size)
            case Message(event="phx_leave"):
                return (self._reply(message.join_ref, message, ok()),)
        return (self._unmatched(message),)

    def _join(self, message: Message, size: int) -> Effects:
        if not isinstance(message.topic, str):
            return self._join_no_text(message)
        route = self.routes.match(message.topic)
        if route is None:
            return self._unmatched_join(message)
        if len(self.topics) >= self._max_channels:
            return self._beyond("max_channels", message, "too many channels joined")
        if size > self._short and (refused := self._too_large(message, size, 0)):
            return refused
        joined = self.topics[message.topic] = Joined(route, message, size)
        self._held += size
        return (StartChannel(joined),)

    def _join_no_text(self, message: Message) -> Effects:
        """Answer a join whose topic is no string as Phoenix does, whose warning fails unless the topic can be read as text."""
        if not _reads_as_text(message.topic):
            raise MalformedMessageError(f"a topic must be a string, got {shown(message.topic, (), _SHOWN)}")
        return self._unmatched_join(message)

    def _unmatched_join(self, message: Message) -> Effects:
        return (Unmatched(self._unmatched(message).frame, message.topic),)

    def _too_large(self, message: Message, size: int, freed: int) -> Effects:
        """Answer a join that would hold too much while its topic is joined; the first one may be as large as a message."""
        if len(encode(message.ref_of_join)) > self._topic_length:
            # Each push of the channel has it.
            return self._too_long(message, "join_ref too long")
        held = self._held - freed
        if held and held + size > self._most_held:
            return self._beyond("waiting_bytes", message, "joins too large")
        return ()

    def _join_again(self, old: Joined, message: Message, size: int) -> Effects:
        """Replace the channel: the client has joined again, so it has given up the first join."""
        if size > self._short and (refused := self._too_large(message, size, old.size)):
            return refused
        closes = self._closes(old)
        closes.append(self._close(old))
        joined = self.topics[old.topic] = Joined(old.route, message, size, closes)
        self._held += size - old.size
        assert old.channel is not None
        del self._by_channel[old.channel]
        return (EndChannel(old.channel, DUPLICATE_JOIN), StartChannel(joined))

    # What the actors report

    def started(self, joined: Joined, channel: ActorRef[Channel]) -> Effects:
        """Store the actor that was started for a join."""
        joined.channel = channel
        self._by_channel[channel] = joined
        return (Monitor(channel),)

    def not_started(self, joined: Joined) -> Effects:
        """Answer a join whose actor could not be started, or crashed in it."""
        if joined.status is TopicStatus.RESTARTING:
            return self._crashed(joined)
        return self._join_failed(
            joined, self._reply(joined.join_ref, joined.message, error({"reason": "join crashed"}))
        )

    def join_replied(self, reply: JoinReply) -> Effects:
        """Answer a join, and handle what the client has sent meanwhile."""
        joined = self._by_channel.get(reply.channel)
        if joined is None:
            return ()
        joining = joined.status is TopicStatus.JOINING
        if not reply.joined:
            return self._join_failed(joined, SendFrame(reply.reply)) if joining else self._crashed(joined)
        joined.status, joined.recovers = TopicStatus.JOINED, reply.recovers
        answer: list[Effect] = [SendFrame(reply.reply)] if joining else []
        if reply.backlog is not None:
            # Before anything else on this topic, such as answers to what has waited.
            answer += (*self._closes(joined), SendBacklog(reply.backlog))
        return (*answer, *self._go_on(joined))

    def closed(self, channel: ActorRef[Channel], reason: ExitReason, now: float) -> Effects:
        """Notify the client that a channel stops on purpose, unless the server restarts it."""
        joined = self._by_channel.get(channel)
        if joined is None:
            return ()
        if joined.status is TopicStatus.JOINED and joined.may_restart(reason, now):
            return self._restart(joined)
        if joined.recovers and should_restart(Restart(joined.route.channel.restart), reason):
            return self._crashed(joined)
        self._forget(joined)
        return (self._close(joined),)

    def down(self, channel: ActorRef[Channel], reason: ExitReason, now: float) -> Effects:
        """Notify the client that a channel has exited, unless the server restarts it."""
        joined = self._by_channel.get(channel)
        if joined is None:
            return ()
        if joined.status is TopicStatus.JOINING:
            return self.not_started(joined)
        if joined.status is TopicStatus.JOINED and joined.may_restart(reason, now):
            return self._restart(joined)
        return self._crashed(joined)

    # Steps

    def _restart(self, joined: Joined) -> Effects:
        """Join again with the client's last payload and join_ref; the client is not told."""
        assert joined.channel is not None
        del self._by_channel[joined.channel]
        joined.channel, joined.status = None, TopicStatus.RESTARTING
        return (StartChannel(joined),)

    def _forget(self, joined: Joined) -> None:
        if self.topics.get(joined.topic) is joined:
            del self.topics[joined.topic]
            self._held -= joined.size
        if joined.channel is not None:
            self._by_channel.pop(joined.channel, None)

    def _join_failed(self, joined: Joined, answer: SendFrame) -> Effects:
        self._forget(joined)
        return (answer, *self._go_on(joined))

    def _crashed(self, joined: Joined) -> Effects:
        self._forget(joined)
        return (self._push(joined, "phx_error", _CRASHED), *self._go_on(joined))

    def _go_on(self, joined: Joined) -> Effects:
        """Handle the messages that have waited; those behind another join of the topic go on waiting, for that one.

        The joins before it are closed after that, or after the answer to that other one: in Phoenix a message of the connection
        to itself closes them, behind what it has received.
        """
        pending, joined.pending = joined.pending, None
        effects: list[Effect] = []
        while pending:
            message, size = pending.popleft()
            effects += (Resume(size), *self.receive(message, size))
            current = self.topics.get(joined.topic)
            if pending and current is not None and current.is_waiting:
                # As a whole: to move them one by one, for each of N joins, would take N² steps.
                current.pending, pending = pending, None
        return effects + self._close_old(joined)

    def _close_old(self, joined: Joined) -> list[SendFrame]:
        current = self.topics.get(joined.topic)
        if current is None or current is joined or not current.is_waiting or not joined.closes:
            return self._closes(joined)
        # `joined` was refused, so `current` follows no other.
        current.closes = self._closes(joined)
        return []

    def _closes(self, joined: Joined) -> list[SendFrame]:
        closes, joined.closes = joined.closes, None
        return closes or []

    # Frames

    def _reply(self, join_ref: object, message: Message, reply: Reply) -> SendFrame:
        return SendFrame(self._serializer.encode_reply(join_ref, message.ref, message.topic, reply))

    def _unmatched(self, message: Message) -> SendFrame:
        return self._reply(None, message, error({"reason": "unmatched topic"}))

    def _close(self, joined: Joined) -> SendFrame:
        return self._push(joined, "phx_close", {})

    def _push(self, joined: Joined, event: str, payload: Payload) -> SendFrame:
        return SendFrame(self._serializer.encode_push(joined.join_ref, joined.join_ref, joined.topic, event, payload))


def _reads_as_text(topic: object) -> bool:
    """Return whether a JSON value has a text in Elixir; of lists, those of texts and characters, which may be nested."""
    if not isinstance(topic, list):
        return not isinstance(topic, dict)
    left = list(topic)
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += each
        elif not isinstance(each, str) and not _is_character(each):
            return False
    return True


def _is_character(code: object) -> bool:
    return type(code) is int and 0 <= code <= sys.maxunicode and code not in _SURROGATES


def _same(left: object, right: object) -> bool:
    """Compare as JSON values do: 1, 1.0 and true are three."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return left == right
