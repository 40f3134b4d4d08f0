"""The pytest plugin, which comes with the package: fixtures, and the outcomes of tests that were raised in actors.

- `channel_test`: a `ChannelTest` for this test, to connect clients to.
- `virtual_clock`: its clock.
- `live_endpoint`: starts endpoints on free ports, for real clients.
- `no_actors_left`: fails the test if actors outlive it; for all tests, set `usefixtures = ["no_actors_left"]`.

`pytest.fail()` in an actor, and the timeout of a test that interrupts one, leave the event loop as an `OutcomeExit`. The test
gets the outcome that it carries, also that of an actor on the loop in the background.

It is a top-level module and imports Ashtree only when a fixture is requested, because pytest loads it in every run of every
project that shares an environment with Ashtree. If one of Ashtree's packages is shadowed by a package of the project, the
fixtures raise an ImportError that names it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisors.child_spec import Supervised
    from transport.endpoint import Endpoint
    from transport.socket import Socket
    from transport.testing.channel_test import ChannelTest, VirtualClock
    from transport.testing.crashes import Kinds
    from transport.testing.live_endpoint import LiveEndpoint

__all__ = ["StartEndpoint", "channel_test", "live_endpoint", "no_actors_left", "virtual_clock"]


class StartEndpoint(Protocol):
    """The type of the fixture `live_endpoint`: called like `LiveEndpoint`, it returns an endpoint that is running."""

    def __call__(
        self,
        sockets: Mapping[str, type[Socket]] | Endpoint,
        *,
        children: Iterable[Supervised] = (),
        expected_crashes: Kinds = (),
        **options: Any,
    ) -> LiveEndpoint:
        """Start an endpoint; it is stopped at the end of the test."""


def _raise_outcomes() -> Generator[None, Any, Any]:
    """Raise the outcome of a test that an actor has raised, around a phase of that test."""
    __tracebackhide__ = True
    outcome: BaseException | None = None
    result = None
    try:
        result = yield
    except KeyboardInterrupt as error:
        outcome = getattr(error, "outcome", None)
        if outcome is None:
            raise
    # Nothing has been raised in an actor before this is imported.
    program_exit = sys.modules.get("actors.runtime.program_exit")
    left = program_exit.unclaimed() if program_exit is not None else None
    outcome = outcome or left
    if outcome is not None:
        raise outcome
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    """Set up a test, whose fixtures may start actors."""
    __tracebackhide__ = True
    return (yield from _raise_outcomes())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Call a test."""
    __tracebackhide__ = True
    return (yield from _raise_outcomes())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    """Tear down a test, whose fixtures may stop actors."""
    __tracebackhide__ = True
    return (yield from _raise_outcomes())


@pytest.fixture
def channel_test(request: pytest.FixtureRequest) -> Iterator[ChannelTest]:
    """A system for channels on virtual time: `channel_test.connect(UserSocket, {"user": "alice"})`."""
    _check_actors_last(request)
    from ashtree.testing import ChannelTest  # noqa: PLC0415  # see above

    # Otherwise pytest would show these lines for a test that fails at its end.
    __tracebackhide__ = True
    test = ChannelTest().start()
    yield test
    test.stop()


@pytest.fixture
def virtual_clock(channel_test: ChannelTest) -> VirtualClock:
    """The clock of `channel_test`: `virtual_clock.advance(5)`."""
    return channel_test.clock


@pytest.fixture
def live_endpoint(request: pytest.FixtureRequest) -> Iterator[StartEndpoint]:
    """Start endpoints on free ports: `live_endpoint({"/socket": UserSocket}).websocket_url()`."""
    _check_actors_last(request)
    from ashtree.testing import LiveEndpoint  # noqa: PLC0415  # see above

    __tracebackhide__ = True
    running: list[LiveEndpoint] = []

    def start(sockets: Any, **options: Any) -> LiveEndpoint:
        running.append(LiveEndpoint(sockets, **options).__enter__())
        return running[-1]

    yield start
    failures = [failure for live in reversed(running) if (failure := _failure_of(live)) is not None]
    if failures:
        raise failures[0]


@pytest.fixture
def no_actors_left() -> Iterator[None]:
    """Fail the test if actors that it has started outlive it, and name them."""
    from ashtree import ActorRegistry  # noqa: PLC0415  # see above
    from transport.testing.leftovers import check_actors  # noqa: PLC0415  # see above

    before = ActorRegistry.get_all()
    __tracebackhide__ = True
    yield
    check_actors(before)


def _failure_of(live: LiveEndpoint) -> BaseException | None:
    """Stop an endpoint; return the failure that stopping it reports, so that the others are stopped too."""
    __tracebackhide__ = True
    try:
        live.__exit__(None, None, None)
    except Exception as failure:  # noqa: BLE001  # the test fails with it
        return failure
    return None


def _check_actors_last(request: pytest.FixtureRequest) -> None:
    """Set up `no_actors_left` first, if the test uses it, so that it checks after this fixture has stopped its actors."""
    if "no_actors_left" in request.fixturenames:
        request.getfixturevalue("no_actors_left")
