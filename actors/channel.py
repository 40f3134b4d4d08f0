"""The channel: one actor for each topic that a client has joined."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator, Mapping
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from actors.actor import Actor
from actors.channels import channel_events
from actors.channels.fastlane import Fastlane, fastlane_of, send_frame
from actors.channels.message import (
    Broadcast,
    JoinReply,
    Message,
    Payload,
    Reply,
    Serializer,
    SocketClose,
    SocketRef,
    checked_payload,
    error,
    ok,
)
from actors.channels.payloads import JOIN, InvalidPayloadError, typed
from actors.exceptions import BadReturnError, ChannelError, NotJoinedError, UnhandledEventError
from actors.exits import NORMAL, SHUTDOWN, ExitReason, Shutdown, Stop, exit_reason
from actors.redaction import filter_parameters
from actors.runtime.report import described

if TYPE_CHECKING:
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef

__all__ = ["Channel", "ChannelSocket", "reply"]

_log = logging.getLogger("ashtree.channels")

_REPLIES = 'a Reply such as ok({"some": "payload"}) or error({"reason": "…"})'


class ChannelSocket(msgspec.Struct, eq=False):
    """The socket as one of its channels sees it: how to reach the client, and what is known of it."""

    transport: ActorRef[Any]
    serializer: Serializer
    pubsub: PubSub
    topic: str
    join_ref: Any
    assigns: dict[str, Any]
    id: str | None = None
    endpoint: Any = None


class _Join(msgspec.Struct, frozen=True, eq=False):
    """A channel's first message, from itself."""


_JOIN = _Join()


class _Waiting:
    """A coroutine of the author's that a channel waits for; it is closed even if the channel ends before it begins."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, None, Any]:
        return self._coroutine.__await__()

    def __del__(self) -> None:
        self._coroutine.close()


def reply(ref: SocketRef, answer: Reply) -> None:
    """Answer a message by its `socket_ref`, from any actor or thread, any number of times.

    Nothing happens if the client is gone.
    """
    if not isinstance(answer, Reply):
        raise TypeError(f"reply() takes {_REPLIES}, got {answer!r}")
    send_frame(ref.transport, ref.serializer.encode_reply(ref.join_ref, ref.ref, ref.topic, answer))


class Channel(Actor):
    """A conversation with one client about one topic. Subclass it; write the callbacks that you need.

    - `join(topic, payload)` lets the client in (`return ok(…)`) or not (`return error(…)`).
    - `handle_in(event, payload)` gets what the client pushes; a returned `ok(…)` or `error(…)` answers it.
    - `handle_out(event, payload)` gets the broadcasts named in `intercept` before the client does.
    - `handle_info(message)` gets everything else: timers, messages of other actors, `Down`.
    - `terminate(reason)` cleans up.

    Each may be `async`. Handlers may return `Stop(reason)` to end the channel, `handle_in` also `Stop(reason, reply=ok(…))`.
    An exception ends the channel: the client gets phx_error and joins again; nobody else notices.
    """

    intercept: ClassVar[Collection[str]] = ()
    # What the payloads of some events must be, such as {"new_msg": NewMessage}: handle_in then gets that msgspec.Struct, and
    # what does not fit is answered with an error. "phx_join" names the payload of the join.
    payloads: ClassVar[Mapping[str, type[msgspec.Struct]]] = {}
    # A crashed channel is not restarted by its supervisor but by its client, which joins again (Phoenix's choice).
    restart: ClassVar[str] = "temporary"
    shutdown: ClassVar[float] = 5.0
    # Seconds that an `async` join may take; then the client is told, and the channel ends.
    join_timeout: ClassVar[float] = 10.0
    # The log levels of joins and of what `handle_in` handled; None for no line at all.
    log_join: ClassVar[str | None] = "info"
    log_handle_in: ClassVar[str | None] = "debug"

    def __init__(self, socket: ChannelSocket, message: Message) -> None:
        self.socket = socket
        self.assigns = dict(socket.assigns)
        self._join_message = message
        self._joined: bool | None = None
        self._message_ref: Any = None

    @property
    def topic(self) -> str:
        """The topic, such as "room:lobby"."""
        return self.socket.topic

    @property
    def join_ref(self) -> Any:
        """The client's own reference for this join."""
        return self.socket.join_ref

    @property
    def join_payload(self) -> Any:
        """What the client sent with its join."""
        return self._join_message.payload

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of this channel's system."""
        return self.socket.pubsub

    # What the author writes

    def join(self, topic: str, payload: Any) -> Any:
        """Let the client in with `ok(…)`, or refuse with `error(…)`."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a join(self, topic, payload) that returns ok() or error()"
        )

    def handle_in(self, event: str, payload: Any) -> Any:
        """Handle a push of the client; end your own with this one for the events that you do not know."""
        raise UnhandledEventError(type(self).__name__, event)

    def handle_out(self, event: str, payload: Any) -> Any:
        """Handle a broadcast that is named in `intercept`; by default it is pushed as it is."""
        self.push(event, payload)

    def handle_info(self, message: Any) -> Any:
        """Handle a message of an actor or a timer; one that nobody handles is logged."""
        _log.warning("%s got an unexpected message: %s", self, described(self, message))

    # What the author calls

    def push(self, event: str, payload: Payload = msgspec.UNSET) -> None:
        """Send an event to this client."""
        self._must_have_joined("push()")
        socket = self.socket
        frame = socket.serializer.encode_push(socket.join_ref, None, socket.topic, event, checked_payload(payload))
        send_frame(socket.transport, frame)
        channel_events.pushed(self, event)

    def broadcast(self, event: str, payload: Payload = msgspec.UNSET) -> None:
        """Send an event to all clients that have joined this topic, this one included."""
        self._must_have_joined("broadcast()")
        self.pubsub.broadcast(self.topic, Broadcast(self.topic, event, checked_payload(payload)))

    def broadcast_from(self, event: str, payload: Payload = msgspec.UNSET) -> None:
        """Send an event to all clients that have joined this topic but this one."""
        self._must_have_joined("broadcast_from()")
        self.pubsub.broadcast_from(self.actor_ref, self.topic, Broadcast(self.topic, event, checked_payload(payload)))

    def reply(self, ref: SocketRef, answer: Reply) -> None:
        """Answer a message by its `socket_ref`."""
        reply(ref, answer)

    def socket_ref(self) -> SocketRef:
        """Return where to send the answer to the message that is being handled, for a `reply` later.

        Raises:
            ChannelError: outside `handle_in`, or if the client gave its message no ref.
        """
        self._must_have_joined("socket_ref()")
        if self._message_ref is None:
            raise ChannelError("socket_ref() can only be called in handle_in(), for a message that has a ref")
        socket = self.socket
        return SocketRef(socket.transport, socket.serializer, socket.topic, self._message_ref, socket.join_ref)

    def _must_have_joined(self, verb: str) -> None:
        if not self._joined:
            raise NotJoinedError(verb)

    # From here on: the process that runs it

    def on_start(self) -> None:
        """Join next, in a turn of its own."""
        self._process.put(_JOIN)

    def on_receive(self, message: Any) -> Any:
        """Call the callback that is for this message."""
        kind = type(message)
        if kind is Message:
            return self._on_message(message)
        if kind is Broadcast and message.topic == self.socket.topic:
            return self._then(self.handle_out(message.event, message.payload), self._after_out)
        if kind is _Join:
            return self._on_join()
        return self._then(self.handle_info(message), self._after_info)

    def _on_join(self) -> Any:
        began = self.clock.now()
        try:
            payload = self._typed(JOIN, self.join_payload)
        except InvalidPayloadError as invalid:
            return self._after_join(invalid.reply, began)
        result = self.join(self.topic, payload)
        return self._await_join(_Waiting(result), began) if iscoroutine(result) else self._after_join(result, began)

    async def _await_join(self, result: Awaitable[Any], began: float) -> Any:
        timer = self.clock.call_at(began + self.join_timeout, self._join_timed_out, self._process)
        try:
            return self._after_join(await result, began)
        finally:
            timer.cancel()

    def _join_timed_out(self) -> None:
        """Refuse the client, which has probably given up by itself, and end without `terminate`: nothing was set up."""
        self._send_join_reply(error({"reason": "join timeout"}), joined=False)
        self._process.exit_signal(Shutdown("join timeout"), None)

    def _on_message(self, message: Message) -> Any:
        if message.event == "phx_leave":
            return self._leave(message)
        self._message_ref = message.ref
        began = self.clock.now() if channel_events.handled_in_is_watched(self) else None
        try:
            payload = self._typed(message.event, message.payload) if self.payloads else message.payload
        except InvalidPayloadError as invalid:
            return self._after_in(message, invalid.reply, began)
        result = self.handle_in(message.event, payload)
        if iscoroutine(result):
            return self._await(_Waiting(result), lambda value: self._after_in(message, value, began))
        return self._after_in(message, result, began)

    def _typed(self, event: Any, payload: Any) -> Any:
        kind = self.payloads.get(event) if isinstance(event, str) else None
        return payload if kind is None else typed(payload, kind)

    @staticmethod
    def _then(result: Any, after: Callable[[Any], Any]) -> Any:
        """Look at what a callback returned, now or when its coroutine has ended."""
        if iscoroutine(result):
            return Channel._await(_Waiting(result), after)
        return after(result)

    @staticmethod
    async def _await(result: Awaitable[Any], after: Callable[[Any], Any]) -> Any:
        return after(await result)

    def _leave(self, message: Message) -> Stop:
        self._send_reply(message, ok())
        return self._end_on_purpose(Shutdown("left"))

    # Results

    def _after_in(self, message: Message, result: Any, began: float | None) -> Stop | None:
        self._message_ref = None
        if began is not None:
            channel_events.channel_handled_in(self, message, self.clock.now() - began)
        if result is None:
            return None
        if isinstance(result, Reply):
            self._send_reply(message, result)
            return None
        if isinstance(result, Stop):
            if result.reply is not None:
                self._send_reply(message, _checked_reply(result.reply))
            return self._end_on_purpose(result.reason)
        raise BadReturnError("handle_in", f"None, {_REPLIES}, or Stop(reason, reply=…)", result)

    def _after_out(self, result: Any) -> Stop | None:
        return self._after("handle_out", result)

    def _after_info(self, result: Any) -> Stop | None:
        return self._after("handle_info", result)

    def _after(self, callback: str, result: Any) -> Stop | None:
        if result is None:
            return None
        if isinstance(result, Stop):
            return self._end_on_purpose(result.reason)
        raise BadReturnError(callback, "None or Stop(reason)", result)

    def _after_join(self, result: Any, began: float) -> Stop | None:
        if not isinstance(result, Reply):
            raise BadReturnError("join", _REPLIES, result)
        self._joined = result.status == "ok"
        if self._joined:
            self._subscribe()
        self._send_join_reply(result, joined=self._joined)
        channel_events.channel_joined(self, result, self.clock.now() - began)
        return None if self._joined else Stop(SHUTDOWN)

    def _send_join_reply(self, result: Reply, *, joined: bool) -> None:
        message, socket = self._join_message, self.socket
        answer = socket.serializer.encode_reply(message.join_ref, message.ref, socket.topic, result)
        socket.transport.send(JoinReply(self.actor_ref, socket.topic, joined, answer))

    def _subscribe(self) -> None:
        # Before the join reply, in the same turn: nothing that is broadcast from now on is missed or overtakes it.
        socket = self.socket
        transport = socket.transport.process
        fastlane = fastlane_of(transport) or Fastlane(transport, socket.serializer, transport.put)
        self.pubsub.subscribe(socket.topic, self.actor_ref, fastlane, self.intercept)

    def _end_on_purpose(self, reason: object) -> Stop:
        """End on a callback's word: an orderly end is a phx_close for the client, any other a phx_error."""
        stop = Stop(exit_reason(reason))
        if stop.reason.is_graceful:
            self.socket.transport.send(SocketClose(self.actor_ref, stop.reason))
        return stop

    def _send_reply(self, message: Message, answer: Reply) -> None:
        socket = self.socket
        send_frame(socket.transport, socket.serializer.encode_reply(socket.join_ref, message.ref, socket.topic, answer))

    # The end

    def _as_sent(self, message: Any) -> Any:
        """Return the client's own message where ours only says that it is time to join."""
        return self._join_message if message is _JOIN else message

    def _describe(self, message: Any) -> str:
        message = self._as_sent(message)
        if type(message) is Message:
            payload = filter_parameters(message.payload, channel_events.secrets_of(self))
            return repr(msgspec.structs.replace(message, payload=payload))
        return super()._describe(message)

    def _exit_reason(self, reason: ExitReason) -> ExitReason:
        """Tell `terminate` why the transport ended, where the signal only says that the supervisor shuts down."""
        transport = self.socket.transport.process
        ended = transport.reason or transport.ending
        if ended is None or reason != SHUTDOWN:
            return reason
        if ended == SHUTDOWN:
            return Shutdown("draining")
        return Shutdown("closed") if ended == NORMAL else ended

    def _end(self, reason: ExitReason) -> Any:
        """Be silent from now on; `terminate` is for those whose `join` came to an end."""
        if self._joined is None:
            return None
        if self._joined:
            self.pubsub.unsubscribe(self.topic, self.actor_ref)
            channel_events.channel_left(self, reason)
        return self.terminate(reason)


def _checked_reply(value: Any) -> Reply:
    if not isinstance(value, Reply):
        raise BadReturnError("handle_in", f"with a Stop, as its reply, {_REPLIES}", value)
    return value
