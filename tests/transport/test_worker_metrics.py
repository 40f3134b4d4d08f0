"""Metrics of several workers: what each tells, how they are added up, and what is kept of those that have ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import msgspec
import pytest
from prometheus_client import Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_fd_to_metric_families as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from transport.metrics.collector import EndpointRegistry
from transport.metrics.worker_metrics import WorkerFamily, numbers_that_grow, sum_of_workers, told_by_worker


def told(registry: EndpointRegistry) -> list[WorkerFamily]:
    """Return what a worker tells, as it arrives."""
    data = msgspec.json.encode(told_by_worker(registry.collect(), registry.modes))
    return msgspec.json.decode(data, type=list[WorkerFamily])


class Summed(Collector):
    def __init__(self, workers: Sequence[EndpointRegistry], kept: Mapping[str, float]) -> None:
        self._told = {100 + number: told(each) for number, each in enumerate(workers)}
        self._kept = kept

    def collect(self) -> Any:
        return sum_of_workers(self._told, self._kept)


def summed(*workers: EndpointRegistry, kept: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the samples of all workers, by name and labels as they are shown."""
    registry = CollectorRegistry()
    registry.register(Summed(workers, kept or {}))
    lines = generate_latest(registry).decode().splitlines()
    text = choose_encoder("application/openmetrics-text")[0](registry).decode()
    list(openmetrics(StringIO(text)))  # type: ignore[no-untyped-call]  # the library's: it is valid
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    assert len({name for name, _, _ in samples}) == len(samples)
    return {name: float(value) for name, _, value in samples}


def registries(number: int = 2) -> list[EndpointRegistry]:
    return [EndpointRegistry() for _ in range(number)]


def test_counters_are_added_up_by_their_labels() -> None:
    workers = registries()
    for number, registry in enumerate(workers, 1):
        counter = Counter("sold", "Cakes.", ["kind"], registry=registry)
        counter.labels("apple").inc(number)
        counter.labels(f"only {number}").inc(5)
    assert summed(*workers) == {
        'sold_total{kind="apple"}': 3,
        'sold_total{kind="only 1"}': 5,
        'sold_total{kind="only 2"}': 5,
    }


def test_histograms_and_summaries_are_added_up() -> None:
    workers = registries()
    for number, registry in enumerate(workers, 1):
        Histogram("baking", "Time.", buckets=(1, 2), registry=registry).observe(number)
        Summary("weight", "Weight.", registry=registry).observe(number)
    assert summed(*workers) == {
        'baking_bucket{le="1.0"}': 1,
        'baking_bucket{le="2.0"}': 2,
        'baking_bucket{le="+Inf"}': 2,
        "baking_count": 2,
        "baking_sum": 3,
        "weight_count": 2,
        "weight_sum": 3,
    }


@pytest.mark.parametrize(
    ("mode", "samples"),
    [
        ("sum", {"warm": 5}),
        ("livesum", {"warm": 5}),
        ("max", {"warm": 3}),
        ("livemax", {"warm": 3}),
        ("min", {"warm": 2}),
        ("livemin", {"warm": 2}),
        ("all", {'warm{pid="100"}': 2, 'warm{pid="101"}': 3}),
        ("mostrecent", {'warm{pid="100"}': 2, 'warm{pid="101"}': 3}),
    ],
)
def test_gauges_of_the_application_have_their_multiprocess_mode(mode: Any, samples: dict[str, float]) -> None:
    workers = registries()
    for number, registry in enumerate(workers, 2):
        Gauge("warm", "Ovens.", multiprocess_mode=mode, registry=registry).set(number)
    assert summed(*workers) == samples


def test_what_has_no_sum_is_shown_for_each() -> None:
    workers = registries()
    for registry in workers:
        Info("oven", "Oven.", registry=registry).info({"pid": "of the oven"})
        Enum("state", "State.", states=["hot"], registry=registry).state("hot")
    assert summed(*workers) == {
        'oven_info{exported_pid="of the oven",pid="100"}': 1,
        'oven_info{exported_pid="of the oven",pid="101"}': 1,
        'state{pid="100",state="hot"}': 1,
        'state{pid="101",state="hot"}': 1,
    }


class Ours(Collector):
    """What an endpoint and the library's own collectors yield, each with one number."""

    NAMES = (
        "ashtree_connections",
        "ashtree_mailbox_max_messages",
        "ashtree_write_buffer_max_bytes",
        "ashtree_pubsub_connected",
        "process_open_fds",
    )

    def __init__(self, number: float) -> None:
        self._number = number

    def collect(self) -> Any:
        for name in self.NAMES:
            yield GaugeMetricFamily(name, "Text.", self._number)
        yield CounterMetricFamily("process_cpu_seconds", "Text.", self._number)


def test_gauges_of_ours_are_added_up_or_the_largest_counts_and_processes_are_shown_each() -> None:
    workers = registries()
    for registry, number in zip(workers, (0, 1), strict=True):
        registry.register(Ours(number))
    assert summed(*workers) == {
        "ashtree_connections": 1,
        "ashtree_mailbox_max_messages": 1,
        "ashtree_write_buffer_max_bytes": 1,
        "ashtree_pubsub_connected": 0,
        'process_open_fds{pid="100"}': 0,
        'process_open_fds{pid="101"}': 1,
        'process_cpu_seconds_total{pid="100"}': 0,
        'process_cpu_seconds_total{pid="101"}': 1,
    }


def test_numbers_that_json_does_not_have_arrive() -> None:
    [registry] = registries(1)
    for name, number in (("a", math.inf), ("b", -math.inf), ("c", math.nan)):
        Gauge(name, "Text.", multiprocess_mode="max", registry=registry).set(number)
    samples = summed(registry)
    assert (samples["a"], samples["b"]) == (math.inf, -math.inf)
    assert math.isnan(samples["c"])


# What is kept


def test_what_others_have_counted_is_added_also_under_labels_that_none_has_now() -> None:
    dead, living = registries()
    for registry in (dead, living):
        Counter("sold", "Cakes.", ["kind"], registry=registry).labels("apple").inc(2)
        Histogram("baking", "Time.", ["oven"], buckets=(1,), registry=registry).labels("a").observe(1)
        Gauge("warm", "Ovens.", multiprocess_mode="sum", registry=registry).set(1)
    dead._names_to_collectors["sold"].labels("plum").inc(7)  # type: ignore[attr-defined]
    dead._names_to_collectors["baking"].labels("b").observe(3)  # type: ignore[attr-defined]
    assert summed(living, kept=numbers_that_grow(told(dead))) == {
        'sold_total{kind="apple"}': 4,
        'sold_total{kind="plum"}': 7,
        'baking_bucket{le="1.0",oven="a"}': 2,
        'baking_bucket{le="+Inf",oven="a"}': 2,
        'baking_count{oven="a"}': 2,
        'baking_sum{oven="a"}': 2,
        'baking_bucket{le="1.0",oven="b"}': 0,
        'baking_bucket{le="+Inf",oven="b"}': 1,
        'baking_count{oven="b"}': 1,
        'baking_sum{oven="b"}': 3,
        "warm": 1,
    }


def test_of_what_measures_a_process_nothing_is_kept() -> None:
    [registry] = registries(1)
    registry.register(Ours(3))
    assert numbers_that_grow(told(registry)) == {}


def test_what_no_worker_knows_any_more_is_left_out() -> None:
    dead, living = registries()
    Counter("sold", "Cakes.", registry=dead).inc()
    assert summed(living, kept=numbers_that_grow(told(dead))) == {}
