"""What a channel test runs: PubSub, an endpoint without a port, the children of the system, and the connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from actors.actor import Actor
from actors.channels.message import Broadcast
from actors.exits import SHUTDOWN
from actors.lowlevel import spawn
from actors.pubsub.pubsub import PubSub, PubSubServer
from supervisors.supervisor import Supervisor
from transport.endpoint import Endpoint
from transport.socket import Routes, Socket
from transport.testing.client_end import ClientEnd
from transport.testing.crashes import Crashes, Kinds
from transport.testing.inbox import Inbox
from transport.testing.leftovers import name_of
from transport.testing.serializers import NoopSerializer, ProvingSerializer
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.channels.message import Serializer
    from actors.lowlevel import Scheduler
    from actors.ref import ActorRef
    from supervisors.child_spec import Supervised

__all__ = ["SystemUnderTest"]


class _Subscriber(Actor):
    """Stands for the test where it subscribes."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Broadcast):
            self._inbox.messages.append(message)


class SystemUnderTest:
    """The actors that are there when a test begins, and those that come and go with its clients.

    Its `inbox` has the broadcasts on the topics that the test has subscribed to.
    """

    def __init__(self, endpoint: Any, serializer: Serializer | None, expected_crashes: Kinds) -> None:
        self.endpoint = Endpoint({}, port=None) if endpoint is None else endpoint
        self.pubsub, self.crashes, self.inbox = PubSub(), Crashes(expected_crashes), Inbox()
        self.topics: set[str] = set()
        self._subscriber: ActorRef[Any] | None = None
        self._serializer = NoopSerializer() if serializer is None else ProvingSerializer(serializer)
        self._ends: list[ClientEnd] = []
        self._supervisors: list[ActorRef[Any]] = []

    def start(self) -> None:
        """Start in the runtime of this thread."""
        self._server = spawn(PubSubServer, (self.pubsub,), name=self.pubsub.name)
        self.crashes.watch(self.scheduler)
        if isinstance(self.endpoint, Endpoint):
            self.endpoint.attach(self._server, self.endpoint.port)

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of its actors."""
        return self._server.process.scheduler

    def start_children(self, children: Iterable[Supervised]) -> Any:
        """Start children of the system under a supervisor of their own; return what their start is awaited by, or None."""
        specs = list(children)
        if not specs:
            return None
        supervisor = spawn(Supervisor, (specs,), label="children")
        self._supervisors.append(supervisor)
        return supervisor.process.started

    def open(self, socket: Socket) -> ClientEnd:
        """Start the transport actor of a client that was let in."""
        end = ClientEnd()
        end.transport = spawn(Transport, (end, socket, Routes(type(socket)), self._serializer, self.pubsub))
        self._ends.append(end)
        return end

    @property
    def subscriber(self) -> ActorRef[Any]:
        """The actor that stands for the test; it is started when it is first asked for."""
        if self._subscriber is None:
            self._subscriber = spawn(_Subscriber, (self.inbox,), label="the test")
        return self._subscriber

    def subscribe(self, topic: str) -> None:
        """Have the broadcasts on a topic come to the test, once each."""
        if topic not in self.topics:
            self.topics.add(topic)
            self.pubsub.subscribe(topic, self.subscriber)

    def must_be_subscribed(self, topic: str) -> None:
        """Refuse to look for broadcasts that cannot have come.

        Raises:
            RuntimeError: if the test has not subscribed.
        """
        __tracebackhide__ = True
        if topic not in self.topics:
            raise RuntimeError(
                f"the test does not see the broadcasts on {topic!r}: "
                f"join by client.subscribe_and_join({topic!r}), or client.subscribe({topic!r})"
            )

    def hints(self) -> list[str]:
        """Say what may be the reason why something has not come."""
        processes, timers = self.scheduler.processes.values(), self.scheduler.clock.timers()
        hints = [f"{name_of(process)} is in a handler that waits." for process in processes if process.task is not None]
        if timers:
            hints.append(f"The clock stands still; the next timer is due in {timers[0].remaining():.3f} s.")
        return hints

    def end(self) -> Iterator[None]:
        """Stop all in order, as a system does; the runtime is to come to rest at each step."""
        for end in self._ends:
            end.go()
        yield
        for supervisor in reversed(self._supervisors):
            supervisor.exit(SHUTDOWN)
        yield
        if self._subscriber is not None:
            self._subscriber.exit(SHUTDOWN)
        yield
        self._server.exit(SHUTDOWN)
        yield


def new_socket(
    kind: type[Socket],
    endpoint: Any,
    *,
    identity: str | None,
    assigns: Mapping[str, Any],
    channels: Mapping[str, Any] | None,
) -> Socket:
    """Make a socket that nobody asked to connect (Phoenix.ChannelTest's `socket/3`)."""
    if channels is not None:
        kind = type(kind.__name__, (kind,), {"channels": channels})
    socket = kind(endpoint)
    socket.assigns.update(assigns)
    if identity is not None:
        socket.id = lambda: identity  # type: ignore[method-assign]  # the author's would need what `connect` has set
    return socket
