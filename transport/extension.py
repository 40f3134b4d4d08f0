"""The seam between an endpoint and its tools: metrics, the observer's page, and what applications add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from actors.callbacks import check_callbacks
from transport.http.exchange import SMALL_BODY
from transport.mount import Mount

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from transport.endpoint_api import EndpointAPI
    from transport.http.exchange import Application
    from transport.http.pages import Page
    from transport.mount import MountedOn
    from transport.socket import Socket

__all__ = ["Extension", "MetricsExtension", "ObserverExtension"]


class Extension:
    """A tool of an endpoint, with pages and sockets of its own: `Endpoint(…, extensions=[Uptime()])`. Subclass it:

        class Uptime(Extension):
            running = False

            def routes(self):
                return {"/uptime": lambda request: respond(200 if self.running else 503)}

            def attach(self, supervisor, pubsub):
                self.running = True

            def detach(self):
                self.running = False

    Override what the tool needs; by default each method does nothing. `bind` is called first and then `routes`, `handlers` and
    `sockets`, once each, in the endpoint's constructor: what they raise is raised there. `attach` and `detach` are called each
    time the endpoint starts and stops, restarts included, on its event loop.

    `max_body` is how many bytes the body of a request to one of its `handlers` may have, if that is to be more than 64 KiB; a
    larger one is answered with 413 before it is read.
    """  # noqa: D415  # the colon leads to the example

    max_body: ClassVar[int] = SMALL_BODY

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if a method cannot be called by the endpoint."""
        super().__init_subclass__(**kwargs)
        methods = ("bind", "routes", "handlers", "sockets", "mount", "attach", "detach")
        check_callbacks(cls, methods, plain=True, instead="start an actor under the supervisor for what takes time")

    def bind(self, endpoint: EndpointAPI) -> Extension:
        """Return the extension of this endpoint: this object, or one of its own if one object may serve several endpoints."""
        return self

    def routes(self) -> Mapping[str, Page]:
        """Return pages by path, as `Endpoint(routes=…)`: functions that answer a plain GET."""
        return {}

    def handlers(self) -> Mapping[str, Application]:
        """Return functions by path that answer every request, whatever its method; they may be `async`."""
        return {}

    def sockets(self) -> Mapping[str, type[Socket]]:
        """Return socket classes by path, as `Endpoint(sockets)`; they are served by WebSocket only."""
        return {}

    def mount(self, endpoint: MountedOn, socket: type[Socket]) -> Mount:
        """Mount one of `sockets`; override it to allow other origins than the endpoint does."""
        return Mount(endpoint, socket)

    def attach(self, supervisor: ActorRef, pubsub: PubSub) -> None:
        """Begin to work: the endpoint is starting, under this supervisor. What this raises keeps it from starting."""

    def detach(self) -> None:
        """Stop working: the endpoint has stopped or crashed; called once for each `attach`."""


# Those that an endpoint has a property for; it finds them by these classes, and does not know the tools behind them.


class MetricsExtension(Extension):
    """What `endpoint.metrics` returns: `registry` holds the endpoint's metrics, and takes those of the application too."""

    registry: CollectorRegistry


class ObserverExtension(Extension):
    """What `endpoint.observer` returns, and asks for the address of the page."""

    @property
    def location(self) -> str:
        """Path, query and fragment of its page, for the person who may see it."""
        raise NotImplementedError

    def announce(self, url: str) -> None:
        """Print it, unless the application does; called when the endpoint, which is at `url`, starts for the first time."""
