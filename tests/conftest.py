"""What all tests share: the live demo, a runtime on virtual time, and a look at what was left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live import demo

from actors.registry import ActorRegistry
from actors.runtime import scheduler
from actors.runtime.scheduler import in_thread
from actors.testing import ManualRuntime

__all__ = ["demo"]


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    """Fail a test that leaves an actor alive, with the names of those left."""
    before = ActorRegistry.get_all()
    yield
    left = [str(ref) for ref in ActorRegistry.get_all() if ref not in before]
    assert not left, f"still alive: {', '.join(left)}"


@pytest.fixture
def runtime() -> Iterator[ManualRuntime]:
    with ManualRuntime() as manual:
        yield manual


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> Iterator[in_thread]:
    """Take the place of the background scheduler; actors that a test without a loop starts live there, and end with it."""
    thread = in_thread("background of a test")
    monkeypatch.setitem(scheduler._by_thread, 0, thread.scheduler)
    yield thread
    thread.stop()


@pytest.fixture
def journal() -> list[str]:
    """What the workers of a test did, in order."""
    return []
