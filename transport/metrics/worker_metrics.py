"""The metrics of several workers as those of one program: what each says of its own, and their sum. Pure data, without I/O.

Each worker tells all samples of its registry, and how those of several workers become one. What only grows is also told between
scrapes, as numbers by name, so that what a worker has counted is not lost with it: a total never goes down.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
from prometheus_client.core import Metric

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

__all__ = ["Rule", "WorkerFamily", "WorkerSample", "numbers_that_grow", "sum_of_workers", "told_by_worker"]

Rule = Literal["sum", "max", "min", "each"]
"""What becomes of the samples of several workers: one, or one for each, with the label "pid"."""

# The modes that an author may give a gauge of prometheus_client, for programs of several processes.
_MODES: Mapping[str, Rule] = {
    "sum": "sum",
    "livesum": "sum",
    "max": "max",
    "livemax": "max",
    "min": "min",
    "livemin": "min",
}

_GROW = ("counter", "histogram", "summary")

# All others of ours are added up.
_OURS: Mapping[str, Rule] = {
    "ashtree_mailbox_max_messages": "max",
    "ashtree_write_buffer_max_bytes": "max",
    "ashtree_pubsub_connected": "min",
}

_COMBINED: Mapping[Rule, Callable[[float, float], float]] = {"sum": operator.add, "max": max, "min": min}


class WorkerSample(msgspec.Struct, array_like=True):
    """A sample of one worker; a value that JSON does not have, such as NaN, is a text."""

    name: str
    labels: dict[str, str]
    value: float | str


class WorkerFamily(msgspec.Struct, array_like=True):
    """A metric of one worker: its samples, and how they are combined with those of the others."""

    name: str
    text: str
    kind: str
    unit: str
    rule: Rule
    samples: list[WorkerSample]

    @property
    def grows(self) -> bool:
        """Whether its numbers outlive the worker."""
        return self.kind in _GROW and self.rule == "sum"


# In a worker


def told_by_worker(metrics: Iterable[Metric], modes: Mapping[str, str]) -> list[WorkerFamily]:
    """Return what a worker tells; `modes` are the `multiprocess_mode` of its gauges, by name."""
    return [
        WorkerFamily(
            metric.name,
            metric.documentation,
            metric.type,
            metric.unit,
            _rule(metric, modes),
            [_told(sample) for sample in metric.samples if not _is_time_of_birth(metric, sample)],
        )
        for metric in metrics
    ]


def _rule(metric: Metric, modes: Mapping[str, str]) -> Rule:
    """Return the rule: what measures the process itself is told for each, what grows is added up, gauges have their mode."""
    if metric.name.startswith(("process_", "python_")):
        return "each"
    if metric.type in _GROW:
        return "sum"
    if metric.name.startswith("ashtree_"):
        return _OURS.get(metric.name, "sum")
    return _MODES.get(modes.get(metric.name, ""), "each")


def _is_time_of_birth(metric: Metric, sample: Sample) -> bool:
    """Return whether a sample says since when the others count, which a sum cannot."""
    return metric.type in _GROW and sample.name.endswith("_created")


def _told(sample: Sample) -> WorkerSample:
    value = float(sample.value)
    return WorkerSample(sample.name, dict(sample.labels), value if math.isfinite(value) else str(value))


def numbers_that_grow(families: Iterable[WorkerFamily]) -> dict[str, float]:
    """Return the numbers that are to outlive the worker, each by a text that says what it counts."""
    return {
        msgspec.json.encode((family.name, sample.name, sample.labels)).decode(): float(sample.value)
        for family in families
        if family.grows
        for sample in family.samples
    }


# In the one that is asked


def sum_of_workers(told: Mapping[int, Sequence[WorkerFamily]], kept: Mapping[str, float]) -> Iterator[Metric]:
    """Yield the metrics of all workers, by process id, and what those have counted that have not told it themselves."""
    sums: dict[str, _Sum] = {}
    for pid, families in told.items():
        for family in families:
            sums.setdefault(family.name, _Sum(family)).add(family, pid)
    for text, number in kept.items():
        name, sample, labels = msgspec.json.decode(text, type=tuple[str, str, dict[str, str]])
        if name in sums:
            sums[name].count(sample, labels, number)
    for each in sums.values():
        yield each.metric()


class _Sum:
    """One metric of several workers."""

    def __init__(self, first: WorkerFamily) -> None:
        self._family = first
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def add(self, family: WorkerFamily, pid: int) -> None:
        """Add the samples of one worker."""
        for sample in family.samples:
            labels = sample.labels if family.rule != "each" else _with_pid(sample.labels, pid)
            self.count(sample.name, labels, float(sample.value))

    def count(self, sample: str, labels: Mapping[str, str], value: float) -> None:
        """Combine a value with those of the same labels."""
        key, combined = (sample, tuple(labels.items())), _COMBINED.get(self._family.rule)
        known = key in self._values and combined is not None
        self._values[key] = combined(self._values[key], value) if known and combined is not None else value

    def metric(self) -> Metric:
        """Return the metric."""
        family = self._family
        metric = Metric(family.name, family.text, family.kind, family.unit)
        for (name, labels), value in self._values.items():
            metric.add_sample(name, dict(labels), value)
        return metric


def _with_pid(labels: Mapping[str, str], pid: int) -> dict[str, str]:
    """Return labels with the process id, as prometheus_client has it; what had that name is renamed as Prometheus does."""
    return {("exported_pid" if name == "pid" else name): text for name, text in labels.items()} | {"pid": str(pid)}
