"""What a worker tells the others of its metrics, and what a scrape of any of them gets: those of all workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from actors.time_bound import TimeBound
from supervisors.workers.gathering import ANSWER
from transport.metrics.collector import EndpointRegistry
from transport.metrics.worker_metrics import WorkerFamily, numbers_that_grow, sum_of_workers, told_by_worker

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from actors.clock import Clock
    from supervisors.workers.gathering import Gathered
    from supervisors.workers.worker import Worker

__all__ = ["MetricsOfWorkers"]

T = TypeVar("T")

_BETWEEN = 1.0
"""Seconds between two times that the parent is told what was counted: so much is lost with a worker that is killed."""

_PATIENCE = ANSWER + 1.0
"""Seconds in which the parent answers."""


class MetricsOfWorkers:
    """The metrics of one endpoint in all workers, as this worker has them.

    - `about` names the endpoint to the other workers.
    - `counted()` returns the counters of the endpoint, without those of the application, which may take time.
    - `sampled(use)` returns `use(registry)`, with all metrics of this worker.
    """

    def __init__(
        self,
        worker: Worker,
        about: str,
        clock: Clock,
        counted: Callable[[], Iterable[Metric]],
        sampled: Callable[[Callable[[CollectorRegistry], list[WorkerFamily]]], Awaitable[list[WorkerFamily]]],
    ) -> None:
        self._worker, self._about, self._clock = worker, about, clock
        self._counted, self._sampled = counted, sampled
        self._told: dict[str, float] = {}
        worker.handle(about, self._tell)
        self._timer = clock.call_after(_BETWEEN, self._tally_again)

    def close(self) -> None:
        """Tell what was counted."""
        self._timer.cancel()
        self._tally(told_by_worker(self._counted(), {}))

    def _tally_again(self) -> None:
        # A parent that reads nothing for now is told the next time.
        if self._worker.has_room:
            self._tally(told_by_worker(self._counted(), {}))
        self._timer = self._clock.call_after(_BETWEEN, self._tally_again)

    def _tally(self, told: Iterable[WorkerFamily]) -> None:
        numbers = numbers_that_grow(told)
        changed = {name: number for name, number in numbers.items() if self._told.get(name) != number}
        if changed:
            self._told |= changed
            self._worker.tally(self._about, changed)

    async def _tell(self, _question: object) -> list[WorkerFamily]:
        told = await self._sampled(_of_registry)
        # First, so that no total goes down if this worker dies now.
        self._tally(told)
        return told

    async def sampled(self, use: Callable[[CollectorRegistry], T]) -> T:
        """Return what a function makes of the metrics of all workers.

        Raises:
            ConnectionError, TimeoutError: if the parent is dead, or does not answer.
        """
        with TimeBound(self._clock, _PATIENCE):
            gathered = await self._worker.gather(self._about)
        registry = CollectorRegistry()
        registry.register(_OfAllWorkers(gathered))
        return use(registry)


def _of_registry(registry: CollectorRegistry) -> list[WorkerFamily]:
    assert isinstance(registry, EndpointRegistry)
    return told_by_worker(registry.collect(), registry.modes)


class _OfAllWorkers(Collector):
    """Collects what several workers have told."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered

    def collect(self) -> Iterator[Metric]:
        """Yield the sums, and the metrics of the workers themselves."""
        gathered = self._gathered
        told = msgspec.convert(gathered.answers, dict[int, list[WorkerFamily]])
        yield from sum_of_workers(told, gathered.kept)
        yield GaugeMetricFamily("ashtree_workers", "Worker processes that serve clients.", gathered.workers)
        yield GaugeMetricFamily(
            "ashtree_workers_silent",
            "Workers that have not answered within a second: of these only what they have counted before is here.",
            gathered.workers - len(told),
        )
        yield CounterMetricFamily("ashtree_worker_deaths", "Workers that have died.", gathered.deaths)
