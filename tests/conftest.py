"""What all tests share: the live demo, a runtime on virtual time, and our own plugin, even if it is not installed."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import pytest_ashtree
from actors.lowlevel import in_thread
from actors.runtime import current
from actors.testing import ManualRuntime
from tests.installed import python, wheel
from tests.live import demo
from tests.time_limit import LIMIT, heed_signals, time_limit

__all__ = ["demo", "python", "wheel"]

# How fast a machine is, and how busy, is not what is tested.
settings.register_profile("ashtree", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ashtree")


def pytest_configure(config: pytest.Config) -> None:
    heed_signals()
    if not config.pluginmanager.hasplugin("ashtree"):
        config.pluginmanager.register(pytest_ashtree, "ashtree")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Processes that run tests in parallel must collect the same ones.
    if unstable := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"the ids of tests contain addresses, give them `ids`: {', '.join(unstable)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    with time_limit(LIMIT):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    with time_limit(LIMIT):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    with time_limit(LIMIT):
        result = yield
    # All tests after it would run slower and slower.
    assert gc.isenabled(), "this test has left the garbage collector off"
    return result


@pytest.fixture
def runtime() -> Iterator[ManualRuntime]:
    with ManualRuntime() as manual:
        yield manual


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> Iterator[in_thread]:
    """Take the place of the background scheduler; actors that a test without a loop starts live there, and end with it."""
    thread = in_thread("background of a test")
    monkeypatch.setitem(current.schedulers, current.BACKGROUND, thread.scheduler)
    yield thread
    thread.stop()


@pytest.fixture
def journal() -> list[str]:
    """What the workers of a test did, in order."""
    return []
