"""The metrics in Prometheus' terms: families with names, units, labels and help. Only this module needs its library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from actors.pubsub.adapter import LocalAdapter
from transport.metrics.counters import BUCKETS, Counters, Histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from actors.history.history_store import HistoryStore
    from actors.idempotency.push_logs import PushLogs
    from actors.pubsub.pubsub import PubSub
    from transport.carriers.traffic import Traffic
    from transport.metrics.gauges import Gauges

__all__ = ["EndpointCollector", "EndpointRegistry", "choose_encoder", "register"]

_Numbers = Mapping[str, float] | Mapping[tuple[str, str], float]


class EndpointRegistry(CollectorRegistry):
    """A registry that knows what is to become of its gauges in a program of several workers.

    `modes` has the `multiprocess_mode` of each, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.modes: dict[str, str] = {}

    def register(self, collector: Collector) -> None:
        """Add a collector."""
        super().register(collector)
        # The library has no public name for it.
        mode = getattr(collector, "_multiprocess_mode", None)
        if isinstance(collector, Gauge) and isinstance(mode, str):
            self.modes |= {metric.name: mode for metric in collector.describe()}


def register(collector: EndpointCollector) -> EndpointRegistry:
    """Return a registry with this collector, and the library's own for the process (where there is /proc) and its garbage."""
    registry = EndpointRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class EndpointCollector(Collector):
    """Collects one endpoint's counters, and its gauges if they have been read."""

    def __init__(self, counters: Counters, traffic: Mapping[str, Traffic]) -> None:
        self._counters, self._traffic = counters, traffic
        self.gauges: Gauges | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        if self.gauges is not None:
            yield from _actors(self.gauges)
            yield from _connections(self.gauges)
        yield from _left_out(self._counters)
        yield _restarts(self._counters, self.gauges)
        yield from _clients(self._counters)
        yield from _messages(self._traffic)
        yield from _broadcasts(self._counters)
        yield from _limits(self._counters)
        pubsub = self._counters.pubsub
        if pubsub is not None and type(pubsub.adapter) is not LocalAdapter:
            yield from _exchange(pubsub)
        if pubsub is not None and pubsub.has_histories:
            yield from _histories(pubsub.history)
        if pubsub is not None and pubsub.pushes.are_used:
            yield from _pushes(pubsub.pushes)


def _actors(gauges: Gauges) -> Iterator[Metric]:
    by_class = gauges.mailboxes.items()
    yield _gauge(
        "ashtree_actors",
        "Actors on the event loop, by class.",
        ["class"],
        {name: mailboxes.actors for name, mailboxes in by_class},
    )
    yield _gauge(
        "ashtree_mailbox_messages",
        "Messages waiting in the mailboxes of all actors of a class.",
        ["class"],
        {name: mailboxes.waiting for name, mailboxes in by_class},
    )
    yield _gauge(
        "ashtree_mailbox_max_messages",
        "Messages waiting in the fullest mailbox of a class.",
        ["class"],
        {name: mailboxes.fullest for name, mailboxes in by_class},
    )


def _left_out(counters: Counters) -> Iterator[Metric]:
    yield _counter(
        "ashtree_dead_letters",
        "Messages that no actor has handled, by the class of the actor (empty: no actor has the name), and reason: "
        "dead, not_registered or mailbox_full.",
        ["class", "reason"],
        counters.dead_letters,
    )
    yield _counter(
        "ashtree_mailbox_limit_reached",
        "Messages that found no room in a bounded mailbox, by class of the actor, and what its Mailbox says to do with them.",
        ["class", "on_full"],
        counters.mailbox_limits,
    )


def _connections(gauges: Gauges) -> Iterator[Metric]:
    yield _gauge(
        "ashtree_connections",
        "Connected clients, by transport: websocket or longpoll.",
        ["transport"],
        gauges.connections,
    )
    yield GaugeMetricFamily(
        "ashtree_write_buffer_bytes", "Bytes waiting to be written, for all connections.", gauges.write_buffers
    )
    yield GaugeMetricFamily(
        "ashtree_write_buffer_max_bytes",
        "Bytes waiting to be written, for the connection with the most.",
        gauges.fullest_write_buffer,
    )
    yield GaugeMetricFamily(
        "ashtree_connections_paused",
        "Connections that are not read for now, as too much of their client's waits, or it is over a rate.",
        gauges.paused,
    )
    yield GaugeMetricFamily(
        "ashtree_waiting_messages", "Messages received from clients and not handled yet.", gauges.waiting_messages
    )
    yield GaugeMetricFamily(
        "ashtree_waiting_bytes",
        "Bytes of the messages received from clients and not handled yet.",
        gauges.waiting_bytes,
    )


def _restarts(counters: Counters, gauges: Gauges | None) -> Metric:
    # Supervisors without restarts are exported with 0, so that a first restart is seen as a change.
    names = dict.fromkeys(() if gauges is None else gauges.supervisors, 0)
    return _counter(
        "ashtree_supervisor_restarts",
        "Restarts of children, by the name of their supervisor; supervisors under a DynamicSupervisor are labelled by class.",
        ["supervisor"],
        names | counters.restarts,
    )


def _clients(counters: Counters) -> Iterator[Metric]:
    yield _counter(
        "ashtree_connections_accepted",
        "Clients that connect() accepted, by transport.",
        ["transport"],
        counters.accepted,
    )
    yield _counter(
        "ashtree_connections_refused",
        "Clients that were refused, by transport and HTTP status; 500 if connect() raised.",
        ["transport", "code"],
        counters.refused,
    )
    yield _counter(
        "ashtree_connections_closed",
        "Closed connections, by close code (RFC 6455); 1006 if there was no close frame.",
        ["code"],
        counters.closed,
    )
    yield _counter(
        "ashtree_joins",
        "Answered joins, by class of the channel and result: ok or error.",
        ["channel", "result"],
        counters.joins,
    )


def _messages(traffic: Mapping[str, Traffic]) -> Iterator[Metric]:
    labels, headers = ["transport"], "for built-in WebSockets, frame headers included."
    kinds = traffic.items()
    yield _counter(
        "ashtree_messages_received",
        "Messages received from clients.",
        labels,
        {kind: counts.messages_in for kind, counts in kinds},
    )
    yield _counter(
        "ashtree_messages_sent",
        "Messages sent to clients.",
        labels,
        {kind: counts.messages_out for kind, counts in kinds},
    )
    yield _counter(
        "ashtree_received_bytes",
        f"Bytes received from clients; {headers}",
        labels,
        {kind: counts.bytes_in for kind, counts in kinds},
    )
    yield _counter(
        "ashtree_sent_bytes",
        f"Bytes sent to clients; {headers}",
        labels,
        {kind: counts.bytes_out for kind, counts in kinds},
    )


def _broadcasts(counters: Counters) -> Iterator[Metric]:
    yield HistogramMetricFamily(
        "ashtree_broadcast_fanout_seconds",
        "Time to encode a broadcast and deliver it to the mailboxes of all subscribers; the writes to clients come after.",
        *_buckets(counters.fan_out),
    )
    yield CounterMetricFamily(
        "ashtree_broadcast_deliveries", "Deliveries of broadcasts to subscribers.", counters.deliveries
    )


def _exchange(pubsub: PubSub) -> Iterator[Metric]:
    counts = pubsub.relay.counts
    yield GaugeMetricFamily(
        "ashtree_pubsub_connected",
        "Whether the adapter of the PubSub reaches other processes.",
        int(pubsub.adapter.trouble() is None),
    )
    yield _counter(
        "ashtree_pubsub_messages",
        "Messages between processes: published and received; dropped as duplicate or malformed; "
        "missed (of another process, never received) and lost (of this process, not handed on).",
        ["outcome"],
        {name: getattr(counts, name) for name in counts.__slots__},
    )


def _histories(history: HistoryStore) -> Iterator[Metric]:
    sizes, counts = history.sizes, history.counts
    yield GaugeMetricFamily("ashtree_history_topics", "Topics that have a history in this process.", sizes.topics)
    yield GaugeMetricFamily("ashtree_history_messages", "Broadcasts that are kept in this process.", sizes.messages)
    yield GaugeMetricFamily("ashtree_history_bytes", "Bytes of the histories in this process.", sizes.bytes)
    yield CounterMetricFamily(
        "ashtree_history_topics_dropped",
        "Topics whose history was dropped, as all together had no room.",
        sizes.dropped,
    )
    yield _counter(
        "ashtree_history_broadcasts",
        "Broadcasts of channels with a history, by outcome: recorded, or unrecorded as there was no history then.",
        ["outcome"],
        {"recorded": counts.recorded, "unrecorded": counts.unrecorded},
    )
    yield _counter(
        "ashtree_recoveries",
        "Joins of clients that said where they had been, by outcome: recovered or unrecovered.",
        ["outcome"],
        {"recovered": counts.recovered, "unrecovered": counts.unrecovered},
    )
    yield CounterMetricFamily(
        "ashtree_broadcasts_replayed", "Broadcasts that were sent to clients that had missed them.", counts.replayed
    )


def _pushes(pushes: PushLogs) -> Iterator[Metric]:
    yield _counter(
        "ashtree_keyed_pushes",
        "Pushes with a key to channels with an idempotency, by outcome: handled, repeated, refused or unknown.",
        ["outcome"],
        {
            "handled": pushes.claimed,
            "repeated": pushes.repeated,
            "refused": pushes.refused,
            "unknown": pushes.unknown,
        },
    )
    yield GaugeMetricFamily("ashtree_keyed_pushes_bytes", "Bytes of the keys and answers that are kept.", pushes.bytes)


def _limits(counters: Counters) -> Iterator[Metric]:
    yield _counter(
        "ashtree_limits_reached",
        "Times that a limit was reached, by the name of its option.",
        ["limit"],
        counters.limits,
    )
    yield CounterMetricFamily(
        "ashtree_broadcasts_dropped",
        "Broadcasts that clients that did not keep up have missed, or got a newer one in the place of.",
        counters.dropped,
    )
    yield CounterMetricFamily(
        "ashtree_broadcasts_dropped_bytes", "Bytes of the broadcasts that were dropped.", counters.dropped_bytes
    )


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Return the cumulative buckets, as Prometheus expects them, and the sum."""
    bounds = [*map(str, BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum


def _gauge(name: str, text: str, labels: Sequence[str], numbers: _Numbers) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), numbers)


def _counter(name: str, text: str, labels: Sequence[str], numbers: _Numbers) -> Metric:
    """Return a counter; "_total" is added to its name."""
    return _filled(CounterMetricFamily(name, text, labels=labels), numbers)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, numbers: _Numbers) -> Metric:
    for key, number in sorted(numbers.items()):
        family.add_metric([key] if isinstance(key, str) else key, number)
    return family
