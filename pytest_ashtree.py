"""The pytest plugin, which comes with the package; it does nothing but offer fixtures.

- `channel_test`: a `ChannelTest` for this test, to connect clients to.
- `virtual_clock`: its clock.
- `live_endpoint`: starts endpoints on free ports, for real clients.
- `no_actors_left`: fails the test if actors outlive it; also as `usefixtures = ["no_actors_left"]` for all tests.

It stands apart from the packages, and imports them when a fixture is asked for: pytest loads it in every run of everybody who
has installed Ashtree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisors.child_spec import Supervised
    from transport.endpoint import Endpoint
    from transport.socket import Socket
    from transport.testing.channels import ChannelTest, VirtualClock
    from transport.testing.crashes import Kinds
    from transport.testing.live_endpoint import LiveEndpoint

__all__ = ["StartEndpoint", "channel_test", "live_endpoint", "no_actors_left", "virtual_clock"]


class StartEndpoint(Protocol):
    """What the fixture `live_endpoint` is: called as `LiveEndpoint` is, it returns one that has started."""

    def __call__(
        self,
        sockets: Mapping[str, type[Socket]] | Endpoint,
        *,
        children: Iterable[Supervised] = (),
        expected_crashes: Kinds = (),
        **options: Any,
    ) -> LiveEndpoint:
        """Start one more endpoint; it is stopped at the end of the test."""


@pytest.fixture
def channel_test(request: pytest.FixtureRequest) -> Iterator[ChannelTest]:
    """A system for channels on virtual time: `channel_test.connect(UserSocket, {"user": "alice"})`."""
    _look_after(request)
    from transport.testing.channels import ChannelTest  # noqa: PLC0415  # see above

    # Else pytest would show these lines where a test fails at its end.
    __tracebackhide__ = True
    test = ChannelTest().start()
    yield test
    test.stop()


@pytest.fixture
def virtual_clock(channel_test: ChannelTest) -> VirtualClock:
    """The time of `channel_test`: `virtual_clock.advance(5)`."""
    return channel_test.clock


@pytest.fixture
def live_endpoint(request: pytest.FixtureRequest) -> Iterator[StartEndpoint]:
    """Start endpoints on free ports: `live_endpoint({"/socket": UserSocket}).websocket_url()`."""
    _look_after(request)
    from transport.testing.live_endpoint import LiveEndpoint  # noqa: PLC0415  # see above

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
    """Fail the test if actors that it has started outlive it, with their names."""
    from actors.registry import ActorRegistry  # noqa: PLC0415  # see above
    from transport.testing.leftovers import check_actors  # noqa: PLC0415  # see above

    before = ActorRegistry.get_all()
    __tracebackhide__ = True
    yield
    check_actors(before)


def _failure_of(live: LiveEndpoint) -> BaseException | None:
    """Stop an endpoint; return what is wrong with it at the end, so that the others are stopped too."""
    __tracebackhide__ = True
    try:
        live.__exit__(None, None, None)
    except Exception as failure:  # noqa: BLE001  # whatever it is, the test fails by it
        return failure
    return None


def _look_after(request: pytest.FixtureRequest) -> None:
    """Have `no_actors_left`, if the test uses it, look when this fixture has stopped its actors, whatever their order."""
    if "no_actors_left" in request.fixturenames:
        request.getfixturevalue("no_actors_left")
