"""The numbers as Prometheus wants them: families with names, units, labels and help. No other module needs its library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from transport.metrics.counters import BUCKETS, Counters, Histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from transport.carriers.traffic import Traffic
    from transport.metrics.gauges import Gauges

__all__ = ["CollectorRegistry", "EndpointCollector", "choose_encoder"]

_Numbers = Mapping[str, float] | Mapping[tuple[str, str], float]


class EndpointCollector(Collector):
    """Writes down one endpoint's counters, and its gauges if they have been read."""

    def __init__(self, counters: Counters, traffic: Mapping[str, Traffic]) -> None:
        self._counters, self._traffic = counters, traffic
        self.gauges: Gauges | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        if self.gauges is not None:
            yield from _actors(self.gauges)
            yield from _connections(self.gauges)
        yield _restarts(self._counters, self.gauges)
        yield from _clients(self._counters)
        yield from _messages(self._traffic)
        yield from _broadcasts(self._counters)


def _actors(gauges: Gauges) -> Iterator[Metric]:
    by_class = gauges.mailboxes.items()
    yield _gauge(
        "ashtree_actors",
        "Actors that live on the event loop, by class.",
        ["class"],
        {name: mailboxes.actors for name, mailboxes in by_class},
    )
    yield _gauge(
        "ashtree_mailbox_messages",
        "Messages that wait in the mailboxes of all actors of a class.",
        ["class"],
        {name: mailboxes.waiting for name, mailboxes in by_class},
    )
    yield _gauge(
        "ashtree_mailbox_max_messages",
        "Messages that wait in the fullest mailbox of a class.",
        ["class"],
        {name: mailboxes.fullest for name, mailboxes in by_class},
    )


def _connections(gauges: Gauges) -> Iterator[Metric]:
    yield _gauge(
        "ashtree_connections",
        "Clients that are connected, by transport: websocket or longpoll.",
        ["transport"],
        gauges.connections,
    )
    yield GaugeMetricFamily(
        "ashtree_write_buffer_bytes", "Bytes that wait to be written, of all connections.", gauges.write_buffers
    )
    yield GaugeMetricFamily(
        "ashtree_write_buffer_max_bytes",
        "Bytes that wait to be written to the client that lags most.",
        gauges.fullest_write_buffer,
    )


def _restarts(counters: Counters, gauges: Gauges | None) -> Metric:
    # A supervisor shows at 0 first, so that its first restart is seen as a change.
    names = dict.fromkeys(() if gauges is None else gauges.supervisors, 0)
    return _counter(
        "ashtree_supervisor_restarts",
        "Restarts of children, by the name of their supervisor; dynamic supervisors' supervisors are told by class.",
        ["supervisor"],
        names | counters.restarts,
    )


def _clients(counters: Counters) -> Iterator[Metric]:
    yield _counter(
        "ashtree_connections_accepted",
        "Clients that were let in by connect(), by transport.",
        ["transport"],
        counters.accepted,
    )
    yield _counter(
        "ashtree_connections_refused",
        "Clients that were refused, by transport and status of HTTP; 500 if connect() failed.",
        ["transport", "code"],
        counters.refused,
    )
    yield _counter(
        "ashtree_connections_closed",
        "Connections that have ended, by close code of RFC 6455; 1006 if without a close frame.",
        ["code"],
        counters.closed,
    )
    yield _counter(
        "ashtree_joins",
        "Joins that were answered, by class of the channel and result: ok or error.",
        ["channel", "result"],
        counters.joins,
    )


def _messages(traffic: Mapping[str, Traffic]) -> Iterator[Metric]:
    labels, heads = ["transport"], "of the listener's WebSockets with the heads of frames."
    kinds = traffic.items()
    yield _counter(
        "ashtree_messages_received",
        "Messages that came from clients.",
        labels,
        {kind: counts.messages_in for kind, counts in kinds},
    )
    yield _counter(
        "ashtree_messages_sent",
        "Messages that went out to clients.",
        labels,
        {kind: counts.messages_out for kind, counts in kinds},
    )
    yield _counter(
        "ashtree_received_bytes",
        f"Bytes that came from clients, {heads}",
        labels,
        {kind: counts.bytes_in for kind, counts in kinds},
    )
    yield _counter(
        "ashtree_sent_bytes",
        f"Bytes that went out to clients, {heads}",
        labels,
        {kind: counts.bytes_out for kind, counts in kinds},
    )


def _broadcasts(counters: Counters) -> Iterator[Metric]:
    yield HistogramMetricFamily(
        "ashtree_broadcast_fanout_seconds",
        "Time in which a broadcast was encoded and put into the mailboxes of all its subscribers; the writing comes after.",
        *_buckets(counters.fan_out),
    )
    yield CounterMetricFamily(
        "ashtree_broadcast_deliveries", "Subscribers to whom broadcasts were delivered.", counters.deliveries
    )


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Return the buckets as Prometheus counts them, each with all below it, and the sum."""
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
