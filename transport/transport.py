"""The transport: the actor that owns the connection of one client."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from actors import telemetry
from actors.callbacks import is_awaitable
from actors.channel import Channel
from actors.channels.channel_socket import ChannelSocket
from actors.channels.client_actor import ClientActor, ClientLoad
from actors.channels.fastlane import Fastlane
from actors.channels.join_reply import JoinReply, WhenTaken
from actors.channels.message import (
    Broadcast,
    Frame,
    Message,
    Reply,
    Serializer,
    SocketClose,
    TokenAccepted,
    error,
)
from actors.exceptions import ActorDeadError
from actors.exits import NORMAL, SHUTDOWN, Down, Exit, ExitReason, Shutdown, Stop
from actors.log import Log
from actors.lowlevel import Receipt
from actors.redaction import STATE_SECRETS, Parameters, Shown, safe_str, shown
from actors.task.task import Task
from actors.time_bound import TimeBound
from supervisors import calls
from supervisors.child import Child, launch, stop_children
from supervisors.child_spec import ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervision import adopt, start_at_once
from transport import socket_events
from transport.carriers.carrier import CLOSE_TIMEOUT, Disconnected, EndConnection, Pinged
from transport.carriers.intake import ENDING, Counted
from transport.carriers.throttle import Throttle
from transport.channel_supervisor import ChannelSupervisor, can_end_at_once
from transport.credentials import Credentials, TokenDue, TokenHandled
from transport.exceptions import MalformedMessageError
from transport.limits import Limits
from transport.protocol.connection import (
    Connection,
    Deliver,
    Effect,
    Effects,
    EndChannel,
    Joined,
    Monitor,
    Reached,
    RefreshToken,
    Resume,
    SendBacklog,
    SendFrame,
    StartChannel,
    Unmatched,
    Wait,
)
from transport.socket import accepted, takes_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextvars import Context

    from actors.clock import Timer
    from actors.lowlevel import FormatStatus, Process
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from transport.carriers.carrier import Carrier
    from transport.socket import Routes, Socket

__all__ = ["CLOSE_CODES", "Transport"]

_log = Log("ashtree.transport")

DISCONNECTED = Shutdown("disconnected")
MALFORMED = Shutdown("malformed message")
NO_JOIN = Shutdown("no join")
EXPIRED = Shutdown("token expired")

CLOSE_CODES: dict[ExitReason, int] = {
    NORMAL: 1000,
    # phoenix.js reconnects unless the code is 1000, and a client that was disconnected on purpose may reconnect.
    DISCONNECTED: 1001,
    MALFORMED: 1011,
    # "Policy violation".
    NO_JOIN: 1008,
    EXPIRED: 1008,
    # "Service restart": phoenix.js reconnects.
    SHUTDOWN: 1012,
}


_CHANNELS = ChildSpec(ChannelSupervisor, id="channels", restart=Restart.TEMPORARY)

_CUT = 1006
"""The close code that a client sees if the connection ends without a close frame."""


_LIMITS = Limits()

# What a client is told before its token expires, on the topic "phoenix".
_TOKEN_EXPIRES = "token_expires"  # noqa: S105  # an event
_NO_TOKEN = error({"reason": "access_token must be a string"})
_TOO_SLOW = error({"reason": "timeout"})

# Up to this number of messages of this size, in bytes, wait uncounted for a channel that handles them at once.
_FEW, _SMALL = 64, 1024


class _Started(msgspec.Struct, frozen=True, eq=False):
    """The answer of the channels' supervisor to a `StartChannel`."""

    joined: Joined
    channel: ActorRef[Channel] | None
    error: BaseException | None = None


class _NotAnswered(msgspec.Struct, frozen=True, eq=False):
    """At the end of the connection a join has not been answered in time."""


_NOT_ANSWERED = _NotAnswered()


class _Subscribed(msgspec.Struct, frozen=True, eq=False):
    """Disconnects of the id arrive from other processes."""


_SUBSCRIBED = _Subscribed()


class _Starting(Receipt):
    """Gives the answer of the channels' supervisor to the transport: a future would cost twice as much."""

    __slots__ = ("_joined", "_transport")

    def __init__(self, joined: Joined, transport: Process) -> None:
        super().__init__()
        self._joined, self._transport = joined, transport

    def set(self, channel: Any = None) -> None:
        """Give it the channel."""
        self.done = True
        self._transport.put(_Started(self._joined, channel))

    def set_exception(self, error: BaseException, /) -> None:
        """Give it the reason why there is no channel."""
        self.done = True
        self._transport.put(_Started(self._joined, None, error))

    refuse = set_exception


class Transport(ClientActor):
    """Owns the connection of one client: decodes its messages, starts and monitors its channels, and sends it frames.

    When the connection ends, it exits after its channels have handled what was received, and have exited. If it crashes or is
    killed, the connection is cut without a close frame, the client reconnects, and its supervisor adopts the channels.
    """

    restart: ClassVar[str] = Restart.TEMPORARY
    shutdown: ClassVar[float] = 10.0

    def __init__(  # noqa: PLR0917  # positional in a child spec
        self,
        carrier: Carrier,
        socket: Socket,
        routes: Routes,
        serializer: Serializer,
        pubsub: PubSub,
        max_channels: int = 100,
        limits: Limits = _LIMITS,
        reached: Callable[[str], object] | None = None,
        context: Context | None = None,
        disconnects: int | None = None,
    ) -> None:
        if context is not None:
            # What `connect` has set is seen by the channels.
            self._process.context = context
        self.socket: Socket = socket
        self.serializer, self.pubsub = serializer, pubsub
        takes = takes_tokens(type(socket))
        self.connection = Connection(routes, serializer, max_channels, limits, takes_tokens=takes)
        self._credentials = Credentials(socket, self._process) if takes or socket.expires_at is not None else None
        self._limits = limits
        # Not a method of this object: it would refer back to it, and both would wait for the garbage collector.
        self._report_limit = reached or partial(socket_events.limit_reached, socket.endpoint)
        self._throttle: Throttle | None = None
        # Runs until the client has joined a topic, or sent a heartbeat.
        self._first_join: Timer | None = None
        self.carrier = carrier
        self._began = 0.0
        # The end: why, how to answer the client, its close code, whether the channels know, and whether the carrier is closed.
        self._ends: ExitReason | None = None
        self._answer: Callable[[], object] | None = None
        self._client_code: int | None = None
        self._channels_know = self._is_closed = False
        self._patience: Timer | None = None
        self._id: str | None = None
        # The number of disconnects by id when the client was accepted.
        self._disconnects = pubsub.disconnects.number if disconnects is None else disconnects
        self._channels = Child(_CHANNELS)

    def on_start(self) -> None:
        """Attach to the carrier, and start the supervisor of the channels."""
        self.trap_exit = True
        self._began = self.clock.now()
        self._process.own(self._cut)
        self._id = self.socket.id()
        if self._id is not None:
            self._await_disconnects(self._id)
        launch(self._process, self._channels)
        receive = self._receive_at_once if self._limits.messages is None else self._receive_and_count
        Fastlane(self._process, self.serializer, self._on_frame, receive).open()
        self.carrier.attach(self._process)
        self._expect_join()
        if self._credentials is not None:
            self._credentials.watch()

    def _await_disconnects(self, identity: str) -> None:
        """Subscribe to the id, and end if it was disconnected since it was accepted, here or by another process."""
        self.pubsub.subscribe(identity, self.actor_ref)
        if self.pubsub.disconnects.since(self._disconnects, identity):
            self._process.put(EndConnection(DISCONNECTED))
        subscribed = self.pubsub.in_effect(identity)
        if subscribed is not None:
            # Until then this process learns of it, but the subscribers of the id do not.
            subscribed.add_done_callback(lambda _: self._process.put(_SUBSCRIBED))

    # Messages

    def on_receive(self, message: object) -> object:
        """Handle a message by its type; other messages are ignored, as in Phoenix."""
        handle = _MESSAGES.get(type(message))
        try:
            return handle(self, message) if handle is not None else None
        except (MalformedMessageError, RecursionError) as error:
            # A serializer of the application's may recurse as deep as a client's message is nested.
            refused = self._refuse(error)
            if type(message) in _OF_CHANNELS and not self._channels_know:
                # A join whose reply cannot be written is never answered.
                return self._end_channels()
            return refused

    def _receive_at_once(self, data: str | bytes) -> bool:
        """Deliver a received message to its channel without a turn of this actor; return whether nothing is left to do.

        That is possible for most messages: those for a channel that has joined. A malformed message is decoded again in a turn,
        which then stops this actor.
        """
        if telemetry.attached and socket_events.FRAME_IN in telemetry.attached:
            return False
        size = len(data)
        try:
            message = self.serializer.decode(data)
            channel = self.connection.addressee(message, size)
        except BaseException:  # noqa: BLE001  # whatever it is, it is raised again in the turn
            return False
        if channel is None:
            return False
        self._process.handled += 1
        # What `_put` does, without a call.
        process = channel.process
        queue = process.queue
        if size <= _SMALL and (queue is None or len(queue) < _FEW) and process.task is None and process.debug is None:
            process.put(message)
        else:
            process.put_counted(message, Counted(self.carrier.intake, size))
        return True

    def _receive_and_count(self, data: str | bytes) -> bool:
        """Do the same, and count the message against the rate of the client."""
        is_done = self._receive_at_once(data)
        if is_done:
            self._rates.message()
        return is_done

    def _put(self, channel: Process, message: Message, size: int) -> None:
        """Put a message in the mailbox of a channel; it counts as waiting there, unless it is handled presently."""
        queue = channel.queue
        if (
            size <= _SMALL
            and (queue is None or len(queue) < _FEW)
            and channel.task is None  # its handler waits for something
            and channel.debug is None  # it may be suspended
        ):
            channel.put(message)
        else:
            channel.put_counted(message, Counted(self.carrier.intake, size))

    def _on_data(self, data: str | bytes) -> ExitReason | None:
        size = len(data)
        if self._ends is not None:
            self.carrier.intake.done(size)
            return self._ends
        if telemetry.attached and socket_events.FRAME_IN in telemetry.attached:
            socket_events.frame_in(self.socket, data)
        message = self.serializer.decode(data)
        self._count(message)
        self._carry_out(self.connection.receive(message, size))
        self.carrier.intake.done(size)
        return None

    def _on_message(self, message: Message) -> None:
        if self._ends is None:
            self._count(message)
            self._carry_out(self.connection.receive(message))

    def _on_pinged(self, pinged: Pinged) -> None:
        if self._ends is None:
            pinged.answer()

    def _count(self, message: Message) -> None:
        """Count a message against the rates of the client, and see the first sign that it is going to use the connection."""
        if self._limits.messages is not None:
            self._rates.message()
        if message.event == "phx_join":
            self._rates.join()
        elif message.topic != "phoenix" or message.event != "heartbeat":
            return
        if self._first_join is not None:
            self._first_join.cancel()
            self._first_join = None

    @property
    def _rates(self) -> Throttle:
        if self._throttle is None:
            self._throttle = Throttle(self._limits, self.carrier.intake, self.clock, self._report_limit)
        return self._throttle

    def _expect_join(self) -> None:
        """End the connection, if the endpoint wants that, unless the client joins or sends a heartbeat in time."""
        if self._limits.first_join_timeout is not None:
            self._first_join = self.clock.call_after(self._limits.first_join_timeout, self._on_no_join)
            self.own(self._first_join.cancel)

    def _on_no_join(self) -> None:
        if self.carrier.intake.held or self._process.queue:
            # The client may have joined: what it has sent is not read, or not handled.
            self._expect_join()
            return
        self._report_limit("first_join_timeout")
        self._process.exit_signal(NO_JOIN, None)

    def _refuse(self, error: MalformedMessageError | RecursionError) -> Stop | ExitReason:
        if self._admits("malformed messages of clients", type(self.socket), logging.WARNING):
            _log.warning(
                "%s closes the connection: malformed message: %s", self, safe_str(error, self._limits.log_line)
            )
        stops = self._end_behind(MALFORMED) is not None
        return Stop(MALFORMED, reply=MALFORMED) if stops else MALFORMED

    def _admits(self, what: str, of: type, level: int = logging.ERROR) -> bool:
        return self._process.scheduler.crash_log.admits(_log, what, of, level)

    def _on_frame(self, frame: Frame) -> None:
        if telemetry.attached and socket_events.FRAME_OUT in telemetry.attached and not self._is_closed:
            socket_events.frame_out(self.socket, frame)
        self.carrier.send(frame)

    def _on_started(self, started: _Started) -> Stop | None:
        late = None if self._credentials is None else self._credentials.late.pop(started.joined, None)
        if started.channel is not None:
            self._carry_out(self.connection.started(started.joined, started.channel))
            if late is not None:
                started.channel.process.put(late)
            return None
        error = started.error
        if self._admits("channels that could not start", type(self.socket)):
            # Where the supervisor has ended meanwhile, that is reported on its own.
            trace = None if isinstance(error, ActorDeadError) else error
            _log.error("%s cannot start a channel: %s", self, error, exc_info=trace)
        return self._go_on(self.connection.not_started(started.joined))

    def _on_join_reply(self, reply: JoinReply) -> Stop | None:
        return self._go_on(self.connection.join_replied(reply))

    def _on_when_taken(self, message: WhenTaken) -> None:
        self.carrier.when_taken(message.done)

    def _on_socket_close(self, close: SocketClose) -> Stop | None:
        if self._channels_know:
            return None
        return self._go_on(self.connection.closed(close.channel, close.reason, self.clock.now()))

    def _on_down(self, down: Down) -> Stop | None:
        if self._channels_know:
            return None
        return self._go_on(self.connection.down(down.actor, down.reason, self.clock.now()))

    def _on_exit(self, exit_: Exit) -> Stop | None:
        """Replace the supervisor of the channels; its channels have exited with it, and each is reported on its own."""
        if exit_.actor is not self._channels.ref:
            return None if exit_.reason == NORMAL else self._end_behind(exit_.reason)
        if self._ends is not None and self._channels_know:
            return Stop(self._ends)
        if self._admits("restarts of the channels' supervisor", type(self.socket)):
            _log.error("%s restarts the supervisor of its channels, which exited: %s", self, exit_.reason)
        launch(self._process, self._channels)
        return None

    def _on_broadcast(self, broadcast: Broadcast) -> Stop | None:
        is_kick = broadcast.event == "disconnect" and broadcast.topic == self._id
        return self._end_behind(DISCONNECTED) if is_kick else None

    def _on_subscribed(self, _subscribed: _Subscribed) -> Stop | None:
        assert self._id is not None
        is_late = self.pubsub.disconnects.since(self._disconnects, self._id)
        return self._end_behind(DISCONNECTED) if is_late else None

    # The client's token

    def _on_token_due(self, _due: TokenDue) -> Stop | None:
        credentials = self._credentials
        if credentials is None or self._ends is not None:
            return None
        if credentials.have_expired:
            return self._end_behind(EXPIRED)
        seconds = credentials.seconds_to_warn_of()
        if seconds is not None:
            left = {"expires_in": round(seconds)}
            self._on_frame(self.serializer.encode_push(None, None, "phoenix", _TOKEN_EXPIRES, left))
        return None

    def _refresh_token(self, refresh: RefreshToken) -> None:
        """Let the socket handle another token, behind those before it."""
        payload, credentials = refresh.message.payload, self._credentials
        token = payload.get("access_token") if isinstance(payload, dict) else None
        if not isinstance(token, str) or credentials is None:
            self._answer_token([refresh], _NO_TOKEN)
            return
        self.carrier.intake.add(refresh.size)
        if credentials.add(token, refresh):
            self._handle_tokens(credentials)

    def _handle_tokens(self, credentials: Credentials) -> None:
        while (token := credentials.next()) is not None:
            result: Any = self.socket.handle_token(token)
            if is_awaitable(result):
                Task.start_link(self, _handle_token, result, self._process, self._limits.connect_timeout)
                return
            self._token_handled(credentials, result)

    def _on_token_handled(self, handled: TokenHandled) -> None:
        if self._credentials is not None:
            self._token_handled(self._credentials, handled.result)
            self._handle_tokens(self._credentials)

    def _token_handled(self, credentials: Credentials, result: Any) -> None:
        is_accepted = accepted(result, "handle_token")
        if not is_accepted:
            credentials.forget_changes()
        socket_events.token_handled(self.socket, accepted=is_accepted)
        refreshes = credentials.handled()
        for refresh in refreshes:
            self.carrier.intake.done(refresh.size)
        self._answer_token(refreshes, result)
        if is_accepted:
            credentials.watch()
            self._tell_channels(credentials)

    def _answer_token(self, refreshes: Iterable[RefreshToken], answer: Reply) -> None:
        for refresh in refreshes:
            message = refresh.message
            self._on_frame(self.serializer.encode_reply(refresh.join_ref, message.ref, message.topic, answer))

    def _tell_channels(self, credentials: Credentials) -> None:
        changes = credentials.changes()
        for joined in self.connection.topics.values():
            own = joined.route.assigns
            accepted_ = TokenAccepted({key: value for key, value in changes.items() if key not in own})
            if joined.channel is not None:
                joined.channel.process.put(accepted_)  # a bounded mailbox may refuse what is sent
            else:
                earlier = credentials.late.get(joined)
                merged = accepted_.assigns if earlier is None else {**earlier.assigns, **accepted_.assigns}
                credentials.late[joined] = TokenAccepted(merged)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed; its channels may still handle what was received."""
        return self._is_closed

    # The end, in order: joins are answered, what waits behind them is delivered, the channels handle what they have

    def _on_disconnected(self, disconnected: Disconnected) -> Stop | None:
        if self._ends is None:
            self._client_code, self._answer = disconnected.code, disconnected.answer
        return self._end_behind(NORMAL)

    def _on_end_connection(self, end: EndConnection) -> Stop | None:
        if self._ends is None and end.reason == SHUTDOWN and not self.carrier.finish(end):
            return None  # a server that stops handles what it has received
        return self._end_behind(end.reason)

    def _end_behind(self, reason: ExitReason) -> Stop | None:
        """End when what was received before is handled, at once if it is; nothing more is read."""
        if self._ends is not None:
            if self._channels_know and reason == SHUTDOWN:
                self._supervisor.process.put(EndConnection(reason))  # there is less time now
            return None
        self._ends = reason
        stop = self._end_when_joined()
        if stop is None:
            self.carrier.intake.hold(ENDING)
        return stop

    def _end_when_joined(self) -> Stop | None:
        waits = [joined.route.channel.join_timeout for joined in self.connection.topics.values() if joined.is_waiting]
        if not waits:
            return self._end_channels()
        if self._patience is None or self._client_code is not None:
            # When the client has gone each join may take its time, but many joins must not put off a close of ours.
            self._stop_waiting()
            self._patience = self.send_after(max(waits) + CLOSE_TIMEOUT, _NOT_ANSWERED)
        return None

    def _go_on(self, effects: Effects) -> Stop | None:
        self._carry_out(effects)
        return None if self._ends is None or self._channels_know else self._end_when_joined()

    def _end_channels(self) -> Stop | None:
        assert self._ends is not None
        self._channels_know = True
        self._stop_waiting()
        channels = self._supervisor.process
        if can_end_at_once(channels):
            return Stop(self._ends)
        if self._client_code is None or self._answer is not None:
            self._close(self._ends)
        channels.put(EndConnection(self._ends))
        return None

    def _on_not_answered(self, _not_answered: _NotAnswered) -> None:
        """Stop the channels as they are: their supervisor may wait for one that does not start."""
        assert self._ends is not None
        self._channels_know = True
        self._close(self._ends)
        self._supervisor.process.exit_signal(SHUTDOWN, self._process)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    @property
    def load(self) -> ClientLoad:
        """What waits for the client, for tools."""
        carrier = self.carrier
        intake = carrier.intake
        size = carrier.get_write_buffer_size()
        return ClientLoad(intake.bytes, intake.messages, size, carrier.dropped, bool(intake.held))

    # Effects

    def _carry_out(self, effects: Effects) -> None:
        for effect in effects:
            _EFFECTS[type(effect)](self, effect)

    def _send(self, send: SendFrame) -> None:
        self._on_frame(send.frame)

    def _send_backlog(self, send: SendBacklog) -> None:
        backlog = send.backlog
        if telemetry.attached and socket_events.FRAME_OUT in telemetry.attached and not self._is_closed:
            backlog.watch(partial(socket_events.frame_out, self.socket))
        self.carrier.send_backlog(backlog)

    def _deliver(self, deliver: Deliver) -> None:
        self._put(deliver.channel.process, deliver.message, deliver.size)

    def _wait(self, wait: Wait) -> None:
        self.carrier.intake.add(wait.size)

    def _resume(self, resume: Resume) -> None:
        self.carrier.intake.done(resume.size)

    def _reached(self, reached: Reached) -> None:
        self._report_limit(reached.limit)

    def _unmatched(self, unmatched: Unmatched) -> None:
        if self._admits("joins of unmatched topics", type(self.socket), logging.WARNING):
            topic = shown(unmatched.topic, (), self._limits.log_line)
            _log.warning("ignoring unmatched topic %s in %s", topic, self.connection.routes)
        self._on_frame(unmatched.frame)

    def _start_channel(self, start: StartChannel) -> None:
        joined = start.joined
        args = (self._channel_socket(joined), joined.message)
        spec = joined.route.child_spec.of_another(args, joined.topic)
        # A class of the application's may have an `on_start` that is awaited.
        is_plain = joined.route.channel.on_start is Channel.on_start
        started = start_at_once(self._supervisor, spec) if is_plain else None
        if started is None:
            self._supervisor.process.put_counted(calls.StartChild(spec), _Starting(joined, self._process))
        elif started.exception is None:
            self._carry_out(self.connection.started(joined, started.result()))
        else:
            self._process.put(_Started(joined, None, started.exception))

    def _channel_socket(self, joined: Joined) -> ChannelSocket:
        message = joined.message
        return ChannelSocket(
            transport=self.actor_ref,
            serializer=self.serializer,
            pubsub=self.pubsub,
            topic=message.topic,
            join_ref=message.ref_of_join,
            assigns={**self.socket.assigns, **joined.route.assigns},
            id=self._id,
            endpoint=self.socket.endpoint,
        )

    def _monitor(self, monitor: Monitor) -> None:
        self._process.monitor(monitor.channel.process)

    def _end_channel(self, end: EndChannel) -> None:
        self._supervisor.send(calls.TerminateChild(end.channel, end.reason))

    @property
    def _supervisor(self) -> ActorRef:
        assert self._channels.ref is not None
        return self._channels.ref

    # The end

    def format_status(self, status: FormatStatus) -> FormatStatus:
        """Show a message of the client without its secrets, and the size of a frame that is sent to it."""
        status.message = self._shown(status.message)
        return status

    def _secret_words(self) -> Sequence[str]:
        return (*STATE_SECRETS, *self.socket.endpoint.filter_parameters)

    def _shown(self, message: object) -> object:
        match message:
            case str() | bytes():
                return self._shown_data(message)
            case Message():
                payload = Parameters(message.payload, self.socket.endpoint.filter_parameters)
                return msgspec.structs.replace(message, payload=payload)
            case Frame(data=data):
                return Shown(f"<Frame of {len(data)} bytes>" if isinstance(data, bytes) else "<Frame>")
            case JoinReply():
                return msgspec.structs.replace(message, reply=None)
        return message

    def _shown_data(self, data: str | bytes) -> object:
        try:
            return self._shown(self.serializer.decode(data))
        except (MalformedMessageError, RecursionError):
            return Shown(f"<malformed {type(data).__name__} of length {len(data)}>")

    def terminate(self, reason: ExitReason) -> object:
        """Close the connection with the code for `reason`; on shutdown, stop the channels too."""
        self._close(reason)
        return stop_children(self._process, [self._channels]) if reason == SHUTDOWN else None

    def _close(self, reason: ExitReason) -> None:
        """Close the connection, and report its end."""
        if self._is_closed:
            return
        code = CLOSE_CODES.get(reason, 1000) if reason.is_graceful else _CUT
        self._report_end(code if self._client_code is None else self._client_code)
        if self._answer is not None:
            self._answer()
        elif reason.is_graceful:
            self.carrier.close(code)
        else:
            self.carrier.abort()

    def _cut(self) -> None:
        """Cut the connection unless a close frame has been sent, and report its end if `terminate` was not called."""
        if not self._is_closed:
            self._report_end(_CUT)
        if self._throttle is not None:
            self._throttle.end()
        self.carrier.abort()
        self._leave_channels()

    def _leave_channels(self) -> None:
        """If this actor ends before its channels, let them handle what they have, under its own supervisor."""
        process, channels = self._process, self._channels.ref
        parent = process.parent
        if channels is None or can_end_at_once(channels.process) or channels.process.task is not None:
            return
        if process.reason == SHUTDOWN or (parent is not None and not _is_running(parent.ref.process)):
            return
        supervisor = None if parent is None else parent.ref.process.actor
        if isinstance(supervisor, DynamicSupervisor):
            adopt(supervisor, self._channels)
        else:
            channels.process.pass_to(parent)
        assert process.reason is not None
        channels.send(EndConnection(process.reason))

    def _report_end(self, code: int) -> None:
        self._is_closed = True
        socket_events.socket_disconnected(self.socket, code, self.clock.now() - self._began)


async def _handle_token(result: Awaitable[object], transport: Process, seconds: float) -> None:
    """Await what `handle_token` has returned, but not longer than `connect` may take."""
    bound = TimeBound(transport.scheduler.clock, seconds)
    try:
        with bound:
            answer = await result
    except TimeoutError:
        if not bound.expired:
            raise
        answer = _TOO_SLOW
    transport.put(TokenHandled(answer))


def _is_running(process: Process) -> bool:
    return process.alive and process.ending is None


_MESSAGES: dict[type, Callable[[Transport, Any], object]] = {
    str: Transport._on_data,
    bytes: Transport._on_data,
    Message: Transport._on_message,
    Frame: Transport._on_frame,
    Pinged: Transport._on_pinged,
    _Started: Transport._on_started,
    JoinReply: Transport._on_join_reply,
    WhenTaken: Transport._on_when_taken,
    SocketClose: Transport._on_socket_close,
    Down: Transport._on_down,
    Exit: Transport._on_exit,
    Broadcast: Transport._on_broadcast,
    _Subscribed: Transport._on_subscribed,
    Disconnected: Transport._on_disconnected,
    EndConnection: Transport._on_end_connection,
    _NotAnswered: Transport._on_not_answered,
    TokenDue: Transport._on_token_due,
    TokenHandled: Transport._on_token_handled,
}

_OF_CHANNELS = frozenset((_Started, JoinReply, SocketClose, Down))

_EFFECTS: dict[type[Effect], Callable[[Transport, Any], None]] = {
    SendFrame: Transport._send,
    SendBacklog: Transport._send_backlog,
    Deliver: Transport._deliver,
    StartChannel: Transport._start_channel,
    Monitor: Transport._monitor,
    EndChannel: Transport._end_channel,
    Wait: Transport._wait,
    Resume: Transport._resume,
    Reached: Transport._reached,
    RefreshToken: Transport._refresh_token,
    Unmatched: Transport._unmatched,
}
