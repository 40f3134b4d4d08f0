"""The option that enables metrics, the check of who may see them, and the page that shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, TypeVar

from websockets.datastructures import MultipleValuesError

from supervisors.branches import root_of
from supervisors.workers.worker import this_worker
from transport.access.loopback import is_from_this_machine, is_loopback
from transport.access.origin import read_origin
from transport.exceptions import SocketError
from transport.extension import Extension, MetricsExtension
from transport.http.exchange import answer_page, respond
from transport.metrics.counters import Counters
from transport.metrics.gauges import Gauges

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from websockets.http11 import Response

    from actors.clock import Clock
    from actors.lowlevel import Process, Scheduler
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from supervisors.workers.worker import Worker
    from transport.endpoint_api import EndpointAPI
    from transport.http.exchange import Answer, Application, Incoming
    from transport.metrics.metrics_of_workers import MetricsOfWorkers

__all__ = ["Metrics", "MetricsPage"]

T = TypeVar("T")

_LIBRARY = "prometheus_client"
_TOKEN = re.compile(r"[!-~]{16,}")


@dataclass(frozen=True, slots=True, repr=False)
class Metrics(Extension):
    """Metrics in Prometheus' format at "/metrics", for `Endpoint(…, metrics=Metrics())`; it needs the extra `metrics`.

    Without a `token` only clients on this machine may see them, whatever address the endpoint listens on; those of a proxy on
    this machine that does not identify itself cannot be told from them. With one, all clients that send it as
    `Authorization: Bearer …`, which Prometheus does with `authorization: {credentials: …}`.

    Raises:
        SocketError: if the token is invalid.
        ModuleNotFoundError: if the library is not installed.
    """

    token: str | None = None

    def __post_init__(self) -> None:
        token: object = self.token
        if token is not None and not (isinstance(token, str) and _TOKEN.fullmatch(token)):
            raise SocketError(
                "the token of metrics must be 16 or more characters of ASCII without spaces, "
                "such as secrets.token_urlsafe() returns; got another one"
            )
        if not self.installed():
            raise ModuleNotFoundError(
                "metrics need the library prometheus-client: pip install 'ashtree[metrics]'", name=_LIBRARY
            )

    def bind(self, endpoint: EndpointAPI) -> MetricsPage:
        """Return the counts and the page of one endpoint.

        Raises:
            SocketError: if there is no token, and the endpoint has a name for clients elsewhere: a proxy is in front of it.
        """
        public = endpoint.url_host
        if self.token is None and public is not None and not is_loopback(public):
            raise SocketError(
                f"what a proxy in front of {public!r} passes on may look as if it came from this machine, so metrics need a "
                "token here: Endpoint(…, url_host=…, metrics=Metrics(token=…))"
            )
        return MetricsPage(endpoint, self)

    @staticmethod
    def installed() -> bool:
        """Return whether the library that metrics need is installed."""
        return find_spec(_LIBRARY) is not None

    def admits(self, incoming: Incoming) -> bool:
        """Return whether a client may see them: it has the token, or, if there is none, is on this machine."""
        headers = incoming.request.headers
        try:
            shown, host = headers.get("Authorization", ""), headers.get("Host")
        except MultipleValuesError:
            return False
        if self.token is not None:
            return compare_digest(shown.encode(errors="surrogateescape"), f"Bearer {self.token}".encode())
        requested = read_origin(f"{incoming.scheme}://{host or ''}")
        return not incoming.is_forwarded and is_from_this_machine(incoming.peer, requested and requested.host, headers)


class MetricsPage(MetricsExtension):
    """Counts the events of one endpoint, and answers scrapes; in a program of several workers, for all of them.

    `registry` is a `prometheus_client.CollectorRegistry` of this endpoint alone. Collectors that an application registers there
    are exported too.
    """

    path: ClassVar[str] = "/metrics"

    def __init__(self, endpoint: EndpointAPI, options: Metrics) -> None:
        from transport.metrics import collector  # noqa: PLC0415  # its library is an extra

        self._endpoint, self._options = endpoint, options
        self._scheduler: Scheduler | None = None
        self._root: Process | None = None
        self._counters = Counters(endpoint)
        self._collector = collector.EndpointCollector(self._counters, endpoint.traffic)
        self._choose_encoder = collector.choose_encoder
        self.registry: CollectorRegistry = collector.register(self._collector)
        self._workers: MetricsOfWorkers | None = None

    def handlers(self) -> Mapping[str, Application]:
        """Return the page."""
        return {self.path: self.handle}

    def attach(self, supervisor: ActorRef, pubsub: PubSub) -> None:
        """Count from now on, until the root of the endpoint's tree exits."""
        process = supervisor.process
        self._scheduler = process.scheduler
        self._counters.attach(pubsub, process.scheduler)
        # Not in `detach`: the endpoint's own restart is to be counted too.
        root = root_of(process)
        if root is not self._root:
            self._root = root
            root.own(self._counters.detach)
        worker = this_worker()
        if worker is not None:
            self._tell_others(worker, process.scheduler.clock)

    def _tell_others(self, worker: Worker, clock: Clock) -> None:
        from transport.metrics.metrics_of_workers import MetricsOfWorkers  # noqa: PLC0415  # its library is an extra

        about = f"metrics of {self._endpoint.name}"
        self._workers = MetricsOfWorkers(worker, about, clock, self._collector.collect, self._sampled)

    def detach(self) -> None:
        """Tell the other workers what was counted; the pages of the endpoint have ended."""
        if self._workers is not None:
            self._workers.close()

    async def handle(self, incoming: Incoming) -> Answer:
        """Answer one request: GET, from an admitted client."""
        response = await self._response(incoming)
        return answer_page(incoming.request, lambda _: response)

    async def _response(self, incoming: Incoming) -> Response:
        if not self._options.admits(incoming):
            return self._refuse()
        if self._scheduler is None:
            return respond(503, "restarting, try again")
        encode, content_type = self._choose_encoder(", ".join(incoming.request.headers.get_all("Accept")))
        try:
            text = await (self._sampled(encode) if self._workers is None else self._workers.sampled(encode))
        except (ConnectionError, TimeoutError):
            return respond(503, "the parent of the workers does not answer")
        response = respond(200, text, content_type)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _sampled(self, use: Callable[[CollectorRegistry], T]) -> T:
        """Sample all actors, and return what a function makes of the registry."""
        assert self._scheduler is not None
        gauges = Gauges(self._endpoint)
        await gauges.read(self._scheduler)
        self._collector.gauges = gauges
        try:
            return use(self.registry)
        finally:
            # Another export of the registry must not find an old sample.
            self._collector.gauges = None

    def _refuse(self) -> Response:
        if self._options.token is None:
            return respond(403, "metrics are for clients on this machine, unless they have a token: Metrics(token=…)")
        response = respond(401, "metrics need their token: Authorization: Bearer …")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
