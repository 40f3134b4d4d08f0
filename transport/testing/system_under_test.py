"""The actors of a channel test: PubSub, an endpoint without a port, the children of the system, and the connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.frozen import frozen_payload
from actors.channels.message import Broadcast, Message
from actors.exits import SHUTDOWN
from actors.lowlevel import spawn
from actors.pubsub.pubsub import PubSub, PubSubServer
from supervisors.supervisor import Supervisor
from transport.channel_supervisor import ChannelSupervisor
from transport.endpoint import Endpoint
from transport.protocol.serializer import V2JSONSerializer
from transport.socket import ConnectInfo, Route, Routes, Socket, accepted, has_expired
from transport.testing.client_end import ClientEnd
from transport.testing.crashes import Crashes, Kinds
from transport.testing.exceptions import ConnectRefusedError, LeftBehindError
from transport.testing.expectation import Expectation, Inbox, Wanted
from transport.testing.leftovers import left_behind, name_of
from transport.testing.serializers import ProvingSerializer
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.channels.message import Serializer
    from actors.history.history import History
    from actors.lowlevel import Scheduler
    from actors.ref import ActorRef
    from supervisors.child_spec import Supervised

__all__ = ["DEFAULT_INFO", "Channels", "SystemUnderTest", "connected", "new_socket"]

M = TypeVar("M", Message, Broadcast)

Channels = Mapping[str, type[Channel] | Route]
"""The channels of a socket class, by topic."""

DEFAULT_INFO = ConnectInfo(None, "/socket/websocket", {})
"""The connection that a client has unless the test gives another."""


class _Subscriber(Actor):
    """Subscribes to topics on behalf of the test."""

    def __init__(self, inbox: Inbox[Broadcast]) -> None:
        self._inbox = inbox

    def on_receive(self, message: object) -> None:
        if isinstance(message, Broadcast):
            self._inbox.messages.append(message)


class SystemUnderTest:
    """The actors that exist when a test begins, and those that start and stop with its clients.

    Its `inbox` receives the broadcasts on the topics that the test has subscribed to.
    """

    def __init__(self, endpoint: Any, serializer: Serializer | None, expected_crashes: Kinds) -> None:
        self.endpoint = Endpoint({}, port=None) if endpoint is None else endpoint
        self.pubsub, self.crashes = PubSub(), Crashes(expected_crashes)
        self.inbox: Inbox[Broadcast] = Inbox()
        self.topics: set[str] = set()
        self._subscriber: ActorRef[Any] | None = None
        # Payloads stay Python objects, but what could not be sent fails here too.
        objects = ProvingSerializer(V2JSONSerializer(), frozen_payload)
        self._serializer = objects if serializer is None else ProvingSerializer(serializer)
        self._routes: list[Routes] = []
        self._ends: list[ClientEnd] = []
        self._supervisors: list[ActorRef[Any]] = []

    def start(self) -> None:
        """Start in the runtime of this thread."""
        self._server = spawn(PubSubServer, (self.pubsub,), name=self.pubsub.name)
        self.pubsub.attach_audience(self, self._server.process)
        self.crashes.watch(self.scheduler)
        if isinstance(self.endpoint, Endpoint):
            self.endpoint.attach(self._server, [])

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of its actors."""
        return self._server.process.scheduler

    def start_children(self, children: Iterable[Supervised]) -> Any:
        """Start children under a new supervisor; return the future of their start, or None if there are none."""
        specs = list(children)
        if not specs:
            return None
        supervisor = spawn(Supervisor, (specs,), label="children")
        self._supervisors.append(supervisor)
        return supervisor.process.started

    def check_accepted(self, result: object, socket: Socket, params: Mapping[str, Any]) -> None:
        """Check the result of `connect`.

        Raises:
            ConnectRefusedError: if it refuses the client, or has set an `expires_at` that is over.
        """
        __tracebackhide__ = True
        if not accepted(result) or has_expired(socket, self.scheduler.clock.unix_time()):
            raise ConnectRefusedError(type(socket), params)

    def open(self, socket: Socket) -> ClientEnd:
        """Start the transport actor of a client that was accepted."""
        end = ClientEnd()
        self._routes.append(Routes(type(socket)))
        end.transport = spawn(Transport, (end, socket, self._routes[-1], self._serializer, self.pubsub))
        self._ends.append(end)
        return end

    def serializers(self, topic: str, event: str) -> list[Serializer]:
        """Return the serializer of the clients that may join a topic, and are sent its broadcasts of an event."""
        return [self._serializer] if any(routes.sends(topic, event) for routes in self._routes) else []

    @property
    def has_histories(self) -> bool:
        """Whether one of the channels may have a history."""
        return True

    def history_of(self, topic: str) -> History | None:
        """Return what is kept of the broadcasts on a topic: what the first channel for it says that has a history."""
        found = (routes.history_of(topic) for routes in self._routes)
        return next((history for history in found if history is not None), None)

    @property
    def subscriber(self) -> ActorRef[Any]:
        """The actor that subscribes on behalf of the test; it is started when first used."""
        if self._subscriber is None:
            self._subscriber = spawn(_Subscriber, (self.inbox,), label="the test")
        return self._subscriber

    def subscribe(self, topic: str) -> None:
        """Subscribe the test to a topic, unless it is subscribed."""
        if topic not in self.topics:
            self.topics.add(topic)
            self.pubsub.subscribe(topic, self.subscriber)

    def check_subscribed(self, topic: str) -> None:
        """Raise unless the test can receive broadcasts on a topic.

        Raises:
            RuntimeError: if the test has not subscribed.
        """
        __tracebackhide__ = True
        if topic not in self.topics:
            raise RuntimeError(
                f"the test does not see the broadcasts on {topic!r}: "
                f"join by client.subscribe_and_join({topic!r}), or client.subscribe({topic!r})"
            )

    def expect(self, inbox: Inbox[M], wanted: Wanted) -> Expectation[M]:
        """Return the expectation that an inbox receives a message."""
        return Expectation(wanted, inbox, self.crashes, self.hints)

    def hints(self) -> list[str]:
        """Return possible reasons why a message was not received."""
        processes, timers = self.scheduler.processes.values(), self.scheduler.clock.timers()
        hints = [f"{name_of(process)} is in a handler that waits." for process in processes if process.task is not None]
        if timers:
            hints.append(f"The clock stands still; the next timer is due in {timers[0].remaining():.3f} s.")
        return hints

    def end(self) -> Iterator[None]:
        """Stop all actors in order, as a system does; let the runtime settle at each step."""
        yield
        for end in self._ends:
            end.disconnect()
        yield
        for process in list(self.scheduler.processes.values()):
            # What their handlers wait for may never come: the test is over.
            if process.actor_class is Transport or process.actor_class is ChannelSupervisor:
                process.exit_signal(SHUTDOWN, None)
        yield
        for supervisor in reversed(self._supervisors):
            supervisor.exit(SHUTDOWN)
        yield
        if self._subscriber is not None:
            self._subscriber.exit(SHUTDOWN)
        yield
        self._server.exit(SHUTDOWN)
        yield

    def check_end(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        """Check, after `end`, that no actor has crashed and nothing is left; `tasks` are those to check.

        Raises:
            UnexpectedCrashError: if an actor has crashed.
            LeftBehindError: if actors, timers, subscriptions or tasks are left.
        """
        __tracebackhide__ = True
        self.crashes.check()
        left = left_behind(self.scheduler, self.pubsub, tasks, self.scheduler.clock.timers())
        if left:
            raise LeftBehindError(left)


def new_socket(
    kind: type[Socket],
    endpoint: Any,
    *,
    identity: str | None,
    assigns: Mapping[str, Any],
    channels: Channels | None,
) -> Socket:
    """Create a socket without calling `connect` (Phoenix.ChannelTest's `socket/3`)."""
    if channels is not None:
        kind = type(kind.__name__, (kind,), {"channels": channels})
    socket = kind(endpoint)
    socket.assigns.update(assigns)
    if identity is not None:
        socket.id = lambda: identity  # type: ignore[method-assign]  # the author's would need what `connect` has set
    return socket


async def connected(result: Awaitable[object]) -> tuple[object, Context]:
    """Return the result of an `async` `connect`, and the context variables that the client's actors have from it."""
    return await result, copy_context()
