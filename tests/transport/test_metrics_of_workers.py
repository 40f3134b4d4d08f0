"""A scrape of one worker gets the metrics of all, whatever happens to the others."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families as parsed
from websockets.sync.client import connect

from tests.children import needs_fork
from tests.live import ROOT, WAIT, LiveDemo
from tests.servers.redis_server import PROGRAM, until
from transport.metrics.collector import EndpointRegistry
from transport.metrics.metrics_of_workers import MetricsOfWorkers

if TYPE_CHECKING:
    from actors.testing import ManualRuntime
    from supervisors.workers.gathering import Gathered

pytestmark = [needs_fork, pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")]

PATIENCE = 4.0
"""Seconds for a scrape: the connection may be in the queue of a worker that does not run, and then another one is tried."""


class Workers:
    """The demo in two workers."""

    def __init__(self, demo: LiveDemo, stack: ExitStack) -> None:
        self.demo, self._stack = demo, stack

    def scrape(self) -> dict[str, float]:
        """Return the samples that a new connection gets, by name and labels."""
        page = urllib.request.Request(f"{self.demo.address}/metrics", headers={"Connection": "close"})  # noqa: S310  # our own
        while True:
            try:
                with urllib.request.urlopen(page, timeout=PATIENCE) as answer:  # noqa: S310  # as above
                    return by_name(answer.read().decode())
            except TimeoutError:
                continue
            except urllib.error.URLError as error:
                if not isinstance(error.reason, TimeoutError | ConnectionResetError):
                    raise

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        words = self.scrape()
        return sorted(int(each.split('"')[1]) for each in words if each.startswith("process_start_time_seconds"))

    def join(self, clients: int) -> None:
        for number in range(clients):
            address = f"{self.demo.websocket_address}/socket/websocket?vsn=2.0.0"
            client = self._stack.enter_context(connect(address, proxy=None, open_timeout=WAIT, close_timeout=0))
            client.send(f'["1","1","bench:{number}","phx_join",{{}}]')
            assert '"ok"' in str(client.recv(WAIT))


def by_name(text: str) -> dict[str, float]:
    families = parsed(text)
    return {
        sample.name + "".join(f'[{name}="{value}"]' for name, value in sample.labels.items()): sample.value
        for family in families
        for sample in family.samples
    }


def totals(samples: dict[str, float]) -> dict[str, float]:
    """Return what never goes down; what each process counts begins again with it."""
    ends = ("_total", "_count", "_sum")
    return {
        name: number
        for name, number in samples.items()
        if "_bucket" in name or (name.partition("[")[0].endswith(ends) and '[pid="' not in name)
    }


def assert_no_total_went_down(before: dict[str, float], after: dict[str, float]) -> None:
    later = totals(after)
    assert {name: (number, later.get(name)) for name, number in totals(before).items() if later[name] < number} == {}


@contextmanager
def running() -> Iterator[Workers]:
    with LiveDemo(ROOT / "demo.py", "--workers", "2") as demo, ExitStack() as stack:
        yield Workers(demo, stack)


ACCEPTED = 'ashtree_connections_accepted_total[transport="websocket"]'
JOINED = 'ashtree_joins_total[channel="BenchChannel"][result="ok"]'
CONNECTED = 'ashtree_connections[transport="websocket"]'


def test_a_scrape_has_the_clients_of_both_and_each_process_by_its_pid() -> None:
    with running() as workers:
        workers.join(12)
        samples = workers.scrape()
        assert (samples[CONNECTED], samples[ACCEPTED], samples[JOINED]) == (12, 12, 12)
        assert samples['ashtree_actors[class="BenchChannel"]'] == 12
        assert samples['ashtree_actors[class="Listener"]'] == 2
        assert (samples["ashtree_workers"], samples["ashtree_workers_silent"]) == (2, 0)
        assert len(workers.pids()) == 2
        assert workers.demo.pid not in workers.pids()


def test_what_a_worker_has_counted_outlives_it() -> None:
    with running() as workers:
        workers.join(12)
        before, pids = workers.scrape(), workers.pids()
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: len(set(workers.pids()) - {pids[0]}) == 2)
        after = workers.scrape()
        assert (after[ACCEPTED], after[JOINED], after["ashtree_worker_deaths_total"]) == (12, 12, 1)
        assert after[CONNECTED] < 12
        assert_no_total_went_down(before, after)


def test_what_a_worker_has_counted_outlives_its_orderly_end() -> None:
    with running() as workers:
        workers.join(12)
        before, pids = workers.scrape(), workers.pids()
        os.kill(pids[0], signal.SIGTERM)
        until(lambda: len(set(workers.pids()) - {pids[0]}) == 2)
        after = workers.scrape()
        assert (after[ACCEPTED], after["ashtree_worker_deaths_total"]) == (12, 0)
        assert after['ashtree_connections_closed_total[code="1012"]'] == 12 - after[CONNECTED]
        assert_no_total_went_down(before, after)


def test_a_worker_that_does_not_answer_is_told_and_its_totals_stay() -> None:
    with running() as workers:
        workers.join(12)
        before, pids = workers.scrape(), workers.pids()
        os.kill(pids[0], signal.SIGSTOP)
        try:
            after = workers.scrape()
            assert (after["ashtree_workers"], after["ashtree_workers_silent"]) == (2, 1)
            assert after[ACCEPTED] == 12
            assert after[CONNECTED] < 12
            assert_no_total_went_down(before, after)
        finally:
            os.kill(pids[0], signal.SIGCONT)
        until(lambda: workers.scrape()["ashtree_workers_silent"] == 0)
        assert workers.scrape()[CONNECTED] == 12


def test_without_an_answer_of_the_parent_it_is_503() -> None:
    with running() as workers:
        workers.scrape()
        os.kill(workers.demo.pid, signal.SIGSTOP)
        try:
            with pytest.raises(urllib.error.HTTPError, match="503"):
                workers.scrape()
        finally:
            os.kill(workers.demo.pid, signal.SIGCONT)
        assert workers.scrape()["ashtree_workers"] == 2


# What the parent is told between scrapes


class Parent:
    """Stands for a worker's channel to its parent, which takes everything, or nothing."""

    def __init__(self) -> None:
        self.has_room = True
        self.told: list[dict[str, float]] = []
        self.handlers: dict[str, Any] = {}

    def handle(self, kind: str, handler: Any) -> None:
        self.handlers[kind] = handler

    def tally(self, kind: str, numbers: dict[str, float]) -> None:
        assert kind == "metrics of x"
        self.told.append(numbers)

    async def gather(self, kind: str) -> Gathered:
        raise NotImplementedError


@contextmanager
def told_each_second(runtime: ManualRuntime) -> Iterator[tuple[Parent, Counter, MetricsOfWorkers]]:
    parent, registry = Parent(), EndpointRegistry()
    counter = Counter("sold", "Cakes.", registry=registry)

    async def sampled(use: Any) -> Any:
        return use(registry)

    metrics = MetricsOfWorkers(parent, "metrics of x", runtime.clock, registry.collect, sampled)  # type: ignore[arg-type]  # as far as it is used
    yield parent, counter, metrics
    metrics.close()


SOLD = '["sold","sold_total",{}]'


def test_each_second_the_parent_is_told_what_has_changed(runtime: ManualRuntime) -> None:
    with told_each_second(runtime) as (parent, counter, _):
        runtime.advance(1)
        counter.inc(2)
        runtime.advance(3)
        assert parent.told == [{SOLD: 0}, {SOLD: 2}]


def test_a_parent_that_takes_nothing_is_told_later(runtime: ManualRuntime) -> None:
    with told_each_second(runtime) as (parent, counter, _):
        parent.has_room = False
        counter.inc()
        runtime.advance(5)
        assert parent.told == []
        parent.has_room = True
        runtime.advance(1)
        assert parent.told == [{SOLD: 1}]


def test_the_last_is_told_at_the_end(runtime: ManualRuntime) -> None:
    with told_each_second(runtime) as (parent, counter, metrics):
        counter.inc()
        metrics.close()
        assert parent.told == [{SOLD: 1}]
        runtime.advance(5)
        assert parent.told == [{SOLD: 1}]
