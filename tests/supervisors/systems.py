"""Systems on virtual time, for those who look at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.future import Future
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.observer.commands import Commands
from supervisors.system import System

if TYPE_CHECKING:
    from actors.testing import ManualRuntime


@contextmanager
def running(runtime: ManualRuntime, *children: Any) -> Iterator[System]:
    """Run a system in the thread of the test."""
    system = System(children)
    runtime.run(system.start())
    try:
        yield system
    finally:
        runtime.run(system.stop())


class Counter(Actor):
    """Counts what it is sent, and answers with the count; "boom" ends it, a float keeps it busy for so many seconds."""

    SECRET = "hunter2"  # noqa: S105  # it is to be seen nowhere

    def __init__(self) -> None:
        self.count, self.password = 0, self.SECRET

    def on_receive(self, message: Any) -> Any:
        if message == "boom":
            raise ValueError("boom")
        if isinstance(message, float):
            return self._wait(message)
        self.count += 1
        return self.count

    async def _wait(self, seconds: float) -> None:
        passed: Future[None] = Future(self._process.scheduler)
        self.clock.call_after(seconds, passed.set)
        await passed


@pytest.fixture
def system(runtime: ManualRuntime) -> Iterator[System]:
    children = [ChildSpec(Counter, id=name, name=name) for name in ("counter", "other")] + [
        ChildSpec(DynamicSupervisor)
    ]
    with running(runtime, *children) as started:
        yield started


@pytest.fixture
def out() -> StringIO:
    return StringIO()


@pytest.fixture
def its(system: System, out: StringIO) -> Commands:
    return Commands(system, out)
