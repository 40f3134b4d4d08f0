"""The channel: one actor for each topic that a client has joined."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from actors.actor import Actor
from actors.callbacks import check_callbacks, check_parameters, coroutine_of, place_of
from actors.channels import channel_events
from actors.channels.encoding import ENCODING_ERRORS, payload_of, unencodable_by
from actors.channels.fastlane import Fastlane, fastlane_of, send_frame
from actors.channels.join_reply import JoinReply
from actors.channels.message import (
    Broadcast,
    Message,
    NumberedBroadcast,
    Payload,
    Reply,
    SocketClose,
    SocketRef,
    TokenAccepted,
    TransportEnded,
    checked_payload,
    error,
    ok,
)
from actors.channels.payloads import JOIN, InvalidPayloadError, typed
from actors.exceptions import BadReturnError, ChannelError, NotJoinedError, UnencodableError, UnhandledEventError
from actors.exits import SHUTDOWN, ExitReason, Shutdown, Stop, exit_reason
from actors.history.backlog import skip_at
from actors.history.history import History
from actors.history.rejoin import Rejoin, read_request
from actors.idempotency.idempotency import Idempotency
from actors.idempotency.keyed_pushes import KeyedPushes
from actors.log import Log
from actors.redaction import STATE_SECRETS, Parameters, safe_repr
from actors.runtime.behaviour import described

if TYPE_CHECKING:
    from actors.channels.channel_socket import ChannelEndpoint, ChannelSocket
    from actors.history.backlog import Backlog
    from actors.pubsub.pubsub import PubSub
    from actors.runtime.behaviour import FormatStatus

__all__ = ["Channel", "as_sent", "reply"]

_log = Log("ashtree.channels")

T = TypeVar("T")

_REPLIES = 'a Reply such as ok({"some": "payload"}) or error({"reason": "…"})'


_INVALID_RECOVER = error({"reason": "invalid recover"})

# What each callback is called with.
_CALLBACKS = {
    "__init__": ("socket", "message"),
    "join": ("topic", "payload"),
    "handle_in": ("event", "payload"),
    "handle_out": ("event", "payload"),
    "handle_info": ("message",),
    "handle_token": (),
    "terminate": ("reason",),
}


class _Join(msgspec.Struct, frozen=True, eq=False):
    """The first message of a channel, sent by itself."""


_JOIN = _Join()


class _ShowGap(msgspec.Struct, frozen=True, eq=False):
    """Sent by a channel to itself, as its bounded mailbox has left out a broadcast with an offset."""


_SHOW_GAP = _ShowGap()


def reply(ref: SocketRef, answer: Reply) -> None:
    """Answer a message by its `socket_ref`, from any actor or thread, any number of times.

    Nothing happens if the client has disconnected.

    Raises:
        TypeError: if `answer` is not a `Reply`.
        UnencodableError: if its payload cannot be encoded.
    """
    if not isinstance(answer, Reply):
        raise TypeError(f"reply() takes {_REPLIES}, got {safe_repr(answer)}")
    try:
        frame = ref.serializer.encode_reply(ref.join_ref, ref.ref, ref.topic, answer)
    except ENCODING_ERRORS as wrong:
        what = f"payload of a reply on {safe_repr(ref.topic)}"
        raise unencodable_by(ref.serializer, wrong, what, answer.payload) from None
    send_frame(ref.transport, frame)
    if ref.claim is not None:
        ref.claim.settle_from_any_thread(answer, ref)


class Channel(Actor):
    """A conversation with one client on one topic. Subclass it and write the callbacks that you need.

    - `join(topic, payload)` accepts the client (`return ok(…)`) or refuses it (`return error(…)`).
    - `handle_in(event, payload)` handles a push of the client; a returned `ok(…)` or `error(…)` is the reply.
    - `handle_out(event, payload)` handles the broadcasts named in `intercept`, in place of sending them to the client.
    - `handle_info(message)` handles everything else: timers, messages of other actors, `Down`.
    - `handle_token()` is called when the socket has accepted another token of the client.
    - `terminate(reason)` cleans up.

    Each may be `async`. Handlers may return `Stop(reason)` to stop the channel, `handle_in` also `Stop(reason, reply=ok(…))`.
    An exception stops the channel: the client gets phx_error and joins again; other channels are not affected.
    """

    intercept: ClassVar[Collection[str]] = ()
    # The classes of the payloads of some events, such as {"new_msg": NewMessage}: a msgspec.Struct, a dataclass, a TypedDict, a
    # pydantic model or a class of attrs. handle_in gets an instance, and a payload that does not validate is answered with an
    # error. "phx_join" is the payload of the join.
    payloads: ClassVar[Mapping[str, type[Any]]] = {}
    # What is kept of the broadcasts on its topics, so that clients that were away get what they have missed; None for nothing.
    history: ClassVar[History | None] = None
    # Which pushes with a key are handled at most once, although a client sends them again after a reconnect; None for none.
    idempotency: ClassVar[Idempotency | None] = None
    # A crashed channel is not restarted by its supervisor: its client joins again (as in Phoenix).
    restart: ClassVar[str] = "temporary"
    # Seconds that it may go without finishing a message when its connection has ended, or the server stops: then its handler is
    # cancelled, and `terminate` may take as long.
    shutdown: ClassVar[float] = 5.0
    # Seconds that an `async` join may take; after that the client gets an error and the channel stops.
    join_timeout: ClassVar[float] = 10.0
    # The log levels of joins and of messages handled by `handle_in`; None logs nothing.
    log_join: ClassVar[str | None] = "info"
    log_handle_in: ClassVar[str | None] = "debug"

    # Broadcasts are for a client that has gone, or joins again.
    _no_dead_letters: ClassVar[tuple[type, ...]] = (
        _Join,
        _ShowGap,
        Broadcast,
        NumberedBroadcast,
        TokenAccepted,
        TransportEnded,
    )

    # Of a client that recovers what it misses; most do not, and pay nothing.
    _rejoin: Rejoin | None = None
    # The last offset that its bounded mailbox has left out, until the client sees that.
    _gap: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if a callback cannot be called as one, or `intercept` is not a collection of events."""
        super().__init_subclass__(**kwargs)
        check_callbacks(cls, ("join", "handle_in", "handle_out", "handle_info", "handle_token"))
        check_parameters(cls, **_CALLBACKS)
        _check_intercept(cls.__qualname__, cls.intercept)
        _check_option(cls.__qualname__, "history", cls.history, History)
        _check_option(cls.__qualname__, "idempotency", cls.idempotency, Idempotency)

    def __init__(self, socket: ChannelSocket, message: Message) -> None:
        self.socket = socket
        self.assigns = dict(socket.assigns)
        self._join_message = message
        self._joined: bool | None = None
        self._message_ref: object = None
        # Of a channel that has an `idempotency`; of the instance, as it is read for each message.
        self._pushes: KeyedPushes | None = None

    @property
    def topic(self) -> str:
        """The topic, such as "room:lobby"."""
        return self.socket.topic

    @property
    def join_ref(self) -> object:
        """The client's reference for this join."""
        return self.socket.join_ref

    @property
    def join_payload(self) -> Payload:
        """The payload of the client's join."""
        return self._join_message.payload

    @property
    def is_joined(self) -> bool:
        """Whether the client was accepted by `join`."""
        return self._joined is True

    @property
    def endpoint(self) -> ChannelEndpoint:
        """The endpoint that the client is connected to."""
        return self.socket.endpoint

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of this channel's system."""
        return self.socket.pubsub

    # Callbacks, to be overridden, also by `async` ones: see `Actor`. `handle_in` only raises, so an
    # override may end in `return super().handle_in(…)` whatever it returns (`T`).

    def join(self, topic: str, payload: Payload) -> Reply | Any:
        """Accept the client with `ok(…)`, or refuse it with `error(…)`."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a join(self, topic, payload) that returns ok() or error()"
        )

    def handle_in(self, event: str, payload: Payload) -> T | Any:
        """Handle a push of the client; call this one, as `super().handle_in(…)`, for events that you do not know."""
        raise UnhandledEventError(type(self).__name__, event)

    def handle_out(self, event: str, payload: Payload) -> Any | None:
        """Handle a broadcast that is named in `intercept`; by default it is pushed to the client."""
        self.push(event, payload)
        return None

    def handle_info(self, message: Any) -> Any | None:
        """Handle a message of an actor or a timer; by default it is logged as unexpected."""
        _log.warning("%s got an unexpected message: %s", self, described(self, message))
        return None

    def handle_token(self) -> Any | None:
        """Check what the client may do now: it has sent another token, which `Socket.handle_token` has accepted.

        What that has changed in the socket's assigns is in `assigns` already. By default nothing is done.
        """

    # What callbacks call

    def push(self, event: str, payload: Payload = msgspec.UNSET) -> None:
        """Send an event to this client.

        Raises:
            UnencodableError: if the payload cannot be encoded; it names the part at fault.
        """
        self._must_have_joined("push()")
        socket, payload = self.socket, checked_payload(event, payload)
        try:
            frame = None if self._rejoin is None else self._rejoin.pushed(event, payload)
            if frame is None:
                frame = socket.serializer.encode_push(socket.join_ref, None, socket.topic, event, payload)
        except ENCODING_ERRORS as wrong:
            raise unencodable_by(socket.serializer, wrong, payload_of(event, socket.topic), payload) from None
        send_frame(socket.transport, frame)
        channel_events.pushed(self, event)

    def broadcast(self, event: str, payload: Payload = msgspec.UNSET) -> None:
        """Send an event to all clients that have joined this topic, this one included.

        Raises:
            UnencodableError: if the payload cannot be encoded; it names the part at fault.
        """
        self._must_have_joined("broadcast()")
        self.pubsub.broadcast(self.topic, Broadcast(self.topic, event, checked_payload(event, payload)))

    def broadcast_from(self, event: str, payload: Payload = msgspec.UNSET) -> None:
        """Send an event to all clients that have joined this topic except this one."""
        self._must_have_joined("broadcast_from()")
        broadcast = Broadcast(self.topic, event, checked_payload(event, payload))
        self.pubsub.broadcast_from(self.actor_ref, self.topic, broadcast)

    def reply(self, ref: SocketRef, answer: Reply) -> None:
        """Answer a message by its `socket_ref`."""
        reply(ref, answer)

    def socket_ref(self) -> SocketRef:
        """Return the reference of the message that is being handled, for a `reply` later.

        Raises:
            ChannelError: outside `handle_in`, or if the client's message has no ref.
        """
        self._must_have_joined("socket_ref()")
        if self._message_ref is None:
            raise ChannelError("socket_ref() can only be called in handle_in(), for a message that has a ref")
        socket = self.socket
        claim = None if self._pushes is None else self._pushes.defer()
        return SocketRef(socket.transport, socket.serializer, socket.topic, self._message_ref, socket.join_ref, claim)

    def _must_have_joined(self, verb: str) -> None:
        if not self._joined:
            raise NotJoinedError(verb)

    # The actor that runs the callbacks

    def on_start(self) -> None:
        """Call `join` next, as the first message."""
        if self.idempotency is not None:
            self._pushes = KeyedPushes(self.socket, self.idempotency, self._process)
        self._process.put(_JOIN)

    def on_receive(self, message: object) -> object:
        """Call the callback for a message."""
        if type(message) is Message:
            return self._on_message(message)
        if type(message) is Broadcast and message.topic == self.socket.topic:
            return self._then(self.handle_out(message.event, message.payload), self._after_out)
        if message is _JOIN:
            return self._on_join()
        if type(message) is NumberedBroadcast:
            return self._on_numbered(message)
        if type(message) is TransportEnded:
            return Stop(message.exit_reason)
        if type(message) is TokenAccepted:
            self.assigns.update(message.assigns)
            return self._then(self.handle_token(), self._after_token)
        if message is _SHOW_GAP:
            self._show_gap()
            return None
        return self._then(self.handle_info(message), self._after_info)

    def _on_join(self) -> object:
        began = self.clock.now()
        if self.history is not None and not self._read_recover(self.history):
            return self._after_join(_INVALID_RECOVER, began)
        try:
            payload = self._typed(JOIN, self._join_message.payload) if self.payloads else self._join_message.payload
        except InvalidPayloadError as invalid:
            return self._after_join(invalid.reply, began)
        result = self.join(self.socket.topic, payload)
        if type(result) is not Reply and (coroutine := coroutine_of(result, self)) is not None:
            return self._await_join(coroutine, began)
        return self._after_join(result, began)

    async def _await_join(self, result: Awaitable[object], began: float) -> Stop | None:
        timer = self.clock.call_at(began + self.join_timeout, self._join_timed_out, self._process)
        try:
            answered = await result
        finally:
            timer.cancel()
        after = self._after_join(answered, began)
        return after if after is None or isinstance(after, Stop) else await after

    def _join_timed_out(self) -> None:
        """Refuse the client, which has probably given up, and stop without `terminate`, as `join` has not set up anything."""
        self._send_join_reply(error({"reason": "join timeout"}), joined=False)
        self._process.exit_signal(Shutdown("join timeout"), None)

    def _on_message(self, message: Message, *, is_taken: bool = False) -> Any:
        if message.event == "phx_leave":
            return self._leave(message)
        if self._pushes is not None and not is_taken:
            return self._take(message, self._pushes)
        self._message_ref = message.ref
        began = self.clock.now() if channel_events.handled_in_is_watched(self) else None
        try:
            payload = self._typed(message.event, message.payload) if self.payloads else message.payload
        except InvalidPayloadError as invalid:
            return self._after_in(message, invalid.reply, began)
        result = self.handle_in(message.event, payload)
        if result is not None and type(result) is not Reply and (coroutine := coroutine_of(result, self)) is not None:
            return self._await_in(coroutine, message, began)
        return self._after_in(message, result, began)

    def _take(self, message: Message, pushes: KeyedPushes) -> object:
        """Handle a push unless it is a copy, which is known now, or when other processes have said so."""
        push = pushes.take(message)
        if push is None or isinstance(push, Message):
            return push and self._on_message(push, is_taken=True)
        return self._take_later(push)

    async def _take_later(self, found: Awaitable[Message | None]) -> Stop | None:
        push = await found
        after: Any = push and self._on_message(push, is_taken=True)
        return after if after is None or isinstance(after, Stop) else await after

    async def _await_in(self, result: Awaitable[object], message: Message, began: float | None) -> Stop | None:
        after = self._after_in(message, await result, began)
        return after if after is None or isinstance(after, Stop) else await after

    def _typed(self, event: object, payload: object) -> object:
        kind = self.payloads.get(event) if isinstance(event, str) else None
        return payload if kind is None else typed(payload, kind)

    def _then(self, result: object, after: Callable[[object], T]) -> T | Coroutine[object, object, T]:
        """Check what a callback returned, now or when its coroutine has finished."""
        if result is not None and (coroutine := coroutine_of(result, self)) is not None:
            return self._await(coroutine, after)
        return after(result)

    @staticmethod
    async def _await(result: Awaitable[object], after: Callable[[object], T]) -> T:
        return after(await result)

    def _leave(self, message: Message) -> Stop:
        self._send_reply(message, ok())
        return self._end_on_purpose(Shutdown("left"))

    # Results

    def _after_in(
        self, message: Message, result: object, began: float | None
    ) -> Stop | Coroutine[object, object, Stop | None] | None:
        self._message_ref = None
        if began is not None:
            channel_events.channel_handled_in(self, message, self.clock.now() - began)
        if self._pushes is not None:
            result = self._pushes.answered(result)
        if result is None:
            return None
        if self.history is not None:
            undelivered = self.pubsub.history.undelivered(self._process)
            if undelivered is not None:
                return self._answer_later(undelivered, message, result)
        return self._answer(message, result)

    async def _answer_later(self, undelivered: Awaitable[None], message: Message, result: object) -> Stop | None:
        """Answer behind what was broadcast before, as where that needs no other process."""
        await undelivered
        return self._answer(message, result)

    def _answer(self, message: Message, result: object) -> Stop | None:
        if isinstance(result, Reply):
            self._send_reply(message, result)
            return None
        if isinstance(result, Stop):
            if result.reply is not None:
                self._send_reply(message, _checked_reply(result.reply))
            return self._end_on_purpose(result.reason)
        raise BadReturnError("handle_in", f"None, {_REPLIES}, or Stop(reason, reply=…)", result)

    def _after_out(self, result: object) -> Stop | None:
        return self._after("handle_out", result)

    def _after_token(self, result: object) -> Stop | None:
        return self._after("handle_token", result)

    def _after_info(self, result: object) -> Stop | None:
        return self._after("handle_info", result)

    def _after(self, callback: str, result: object) -> Stop | None:
        if result is None:
            return None
        if isinstance(result, Stop):
            return self._end_on_purpose(result.reason)
        raise BadReturnError(callback, "None or Stop(reason)", result)

    def _after_join(self, result: object, began: float) -> Stop | Coroutine[object, object, Stop | None] | None:
        if not isinstance(result, Reply):
            raise BadReturnError("join", _REPLIES, result)
        if result.status != "ok":
            return self._answer_join(result, began)
        history = None if self._rejoin is None else self._rejoin.prepare()
        socket = self.socket
        if history is not None or not socket.pubsub.is_in_effect(socket.topic):
            return self._when_in_effect(result, began, history)
        return self._answer_join(result, began)

    async def _when_in_effect(self, result: Reply, began: float, history: Awaitable[None] | None) -> Stop | None:
        """Answer the join when broadcasts of other processes arrive; so a client that has joined misses none."""
        async with self.pubsub.held(self.topic):
            if history is not None:
                await history
            after = self._answer_join(result, began)
        return after if after is None or isinstance(after, Stop) else await after

    def _answer_join(self, result: Reply, began: float) -> Stop | Coroutine[object, object, Stop | None] | None:
        self._joined = result.status == "ok"
        if self._joined and self._rejoin is not None:
            missed = self._recover(self._rejoin, result)
            channel_events.channel_joined(self, result, self.clock.now() - began)
            return self._replay(self._rejoin, missed)
        if self._joined:
            self._subscribe()
        self._send_join_reply(result, joined=self._joined)
        channel_events.channel_joined(self, result, self.clock.now() - began)
        return None if self._joined else Stop(SHUTDOWN)

    # What the client has missed

    def _read_recover(self, history: History) -> bool:
        """Take what the client wants to recover out of the payload of its join; return False if it is not valid."""
        request = read_request(self.join_payload)
        if request is None:
            return True
        self._join_message = msgspec.structs.replace(self._join_message, payload=request.payload)
        if request.position is not None:
            self._rejoin = Rejoin(self.socket, history, request.position)
        return request.position is not None

    def _recover(self, rejoin: Rejoin, result: Reply) -> Iterator[NumberedBroadcast]:
        """Answer the join with what the client has missed; return that part of it that this channel has to send itself."""
        answer = rejoin.answer(result)
        if rejoin.is_by_channel(self.intercept):
            self._subscribe(offsets=True, by_channel=True)
            self._send_join_reply(answer, joined=True)
            return rejoin.missed()
        self._subscribe(offsets=True)
        self._send_join_reply(answer, joined=True, backlog=rejoin.backlog())
        return iter(())

    def _replay(
        self, rejoin: Rejoin, missed: Iterator[NumberedBroadcast]
    ) -> Stop | Coroutine[object, object, Stop | None] | None:
        """Handle what the client has missed, before anything else."""
        for each in missed:
            after = self._on_numbered(each)
            if isinstance(after, Stop):
                return after
            if after is not None or rejoin.is_ahead:
                return self._replay_later(rejoin, after, missed)
        return None

    async def _replay_later(
        self, rejoin: Rejoin, first: Awaitable[Stop | None] | None, missed: Iterator[NumberedBroadcast]
    ) -> Stop | None:
        """Handle the rest, as there is room for it in what waits for the client."""
        stop = None if first is None else await first
        while stop is None:
            await rejoin.until_taken(self.clock)
            each = next(missed, None)
            if each is None:
                break
            after = self._on_numbered(each)
            stop = after if after is None or isinstance(after, Stop) else await after
        return stop

    def _on_numbered(self, message: NumberedBroadcast) -> Stop | Coroutine[object, object, Stop | None] | None:
        """Send the client a broadcast with its offset, or let `handle_out` do that."""
        rejoin, broadcast = self._rejoin, message.broadcast
        assert rejoin is not None
        if message.is_own or broadcast.event not in self.intercept:
            send_frame(self.socket.transport, rejoin.frame(message))
            return None
        rejoin.handle(message)
        return self._then(self.handle_out(broadcast.event, broadcast.payload), self._after_numbered)

    def _after_numbered(self, result: object) -> Stop | None:
        left = None if self._rejoin is None else self._rejoin.handled()
        if left is not None:
            send_frame(self.socket.transport, left)
        return self._after_out(result)

    def _left_out(self, message: object) -> None:
        """Show the client that it has missed a broadcast, behind what waits: it takes that before it joins again."""
        if type(message) is NumberedBroadcast:
            # The sender may be an actor of another event loop.
            self._process.scheduler.run_or_post(self._begin_gap, message.offset)

    def _begin_gap(self, offset: int) -> None:
        if self._gap is None:
            self._process.put(_SHOW_GAP)
        self._gap = offset

    def _show_gap(self) -> None:
        """Send the offset after the one that was left out, which the client cannot take for the next."""
        gap, self._gap = self._gap, None
        if gap is not None:
            send_frame(self.socket.transport, skip_at(self.socket.serializer, self.topic, gap + 1))

    # The answer to a join

    def _send_join_reply(self, result: Reply, *, joined: bool, backlog: Backlog | None = None) -> None:
        message, socket = self._join_message, self.socket
        try:
            answer = socket.serializer.encode_reply(message.join_ref, message.ref, socket.topic, result)
        except ENCODING_ERRORS as wrong:
            raise self._unencodable(wrong, message, result, self.join) from None
        socket.transport.send(
            JoinReply(self.actor_ref, socket.topic, joined, answer, joined and self._rejoin is not None, backlog)
        )

    def _subscribe(self, *, offsets: bool = False, by_channel: bool = False) -> None:
        # Before the join reply, in the same turn, so that no later broadcast is missed or overtakes the reply.
        socket = self.socket
        transport = socket.transport.process
        fastlane = fastlane_of(transport) or Fastlane(transport, socket.serializer, transport.put)
        direct = None if by_channel else fastlane
        socket.pubsub.subscribe(
            socket.topic, self.actor_ref, direct, self.intercept, offsets=offsets, connection=transport.number
        )

    def _end_on_purpose(self, reason: object) -> Stop:
        """Stop because a callback said so: the client gets phx_close if the reason is graceful, otherwise phx_error."""
        stop = Stop(exit_reason(reason))
        if stop.reason.is_graceful:
            self.socket.transport.send(SocketClose(self.actor_ref, stop.reason))
        return stop

    def _send_reply(self, message: Message, answer: Reply) -> None:
        socket = self.socket
        try:
            frame = socket.serializer.encode_reply(socket.join_ref, message.ref, socket.topic, answer)
        except ENCODING_ERRORS as wrong:
            raise self._unencodable(wrong, message, answer, self.handle_in) from None
        send_frame(socket.transport, frame)

    def _unencodable(self, wrong: Exception, message: Message, answer: Reply, callback: object) -> Exception:
        """Return the error for a reply that cannot be encoded, with the line of the callback that returned it."""
        what = payload_of(message.event, self.topic)
        error = unencodable_by(self.socket.serializer, wrong, what, answer.payload)
        if isinstance(error, UnencodableError):
            return UnencodableError(f"{error}; it is a reply of {place_of(callback)}", error.path)
        return error

    def format_status(self, status: FormatStatus) -> FormatStatus:
        """Show the client's messages with the payloads that `filter_parameters` of the endpoint leaves of them.

        An override calls this by `super()`, for what it does not format itself.
        """
        message = status.message = as_sent(self, status.message)
        if type(message) is Message:
            payload = Parameters(message.payload, self.socket.filter_parameters)
            status.message = msgspec.structs.replace(message, payload=payload)
        return status

    def _secret_words(self) -> Sequence[str]:
        return (*STATE_SECRETS, *self.socket.filter_parameters)

    # The end

    def _exit_reason(self, reason: ExitReason) -> ExitReason:
        """Return why the transport ended, where the signal only says that the supervisor shuts down."""
        transport = self.socket.transport.process
        ended = transport.reason or transport.ending
        return reason if ended is None or reason != SHUTDOWN else TransportEnded(ended).exit_reason

    def _end(self, reason: ExitReason) -> object:
        """Stop sending to the client; call `terminate` unless `join` did not finish."""
        if self._joined is None:
            return None
        if self._joined:
            self.pubsub.unsubscribe(self.topic, self.actor_ref)
            channel_events.channel_left(self, reason)
        return self.terminate(reason)


def _check_intercept(channel: str, events: object) -> None:
    if (
        isinstance(events, str | bytes)
        or not isinstance(events, Collection)
        or not all(isinstance(event, str) for event in events)
    ):
        raise TypeError(
            f'{channel}.intercept must be a collection of events such as ("new_msg",), got {safe_repr(events)}'
        )


def _check_option(channel: str, name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        article = "an" if name[0] in "aeiou" else "a"
        raise TypeError(
            f"{channel}.{name} must be {article} {kind.__name__} such as {kind.__name__}(ttl=300.0), got {safe_repr(value)}"
        )


def _checked_reply(value: object) -> Reply:
    if not isinstance(value, Reply):
        raise BadReturnError("handle_in", f"with a Stop, as its reply, {_REPLIES}", value)
    return value


def as_sent(channel: Channel, message: object) -> object:
    """Return the client's join message in place of the channel's own request to join, and other messages as they are."""
    return channel._join_message if message is _JOIN else message
