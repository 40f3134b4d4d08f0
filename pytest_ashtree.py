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
from contextlib import ExitStack
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

    with ExitStack() as running:
        yield lambda sockets, **options: running.enter_context(LiveEndpoint(sockets, **options))


@pytest.fixture
def no_actors_left() -> Iterator[None]:
    """Fail the test if actors that it has started outlive it, with their names."""
    from actors.registry import ActorRegistry  # noqa: PLC0415  # see above
    from transport.testing.leftovers import check_actors  # noqa: PLC0415  # see above

    before = ActorRegistry.get_all()
    yield
    check_actors(before)


def _look_after(request: pytest.FixtureRequest) -> None:
    """Have `no_actors_left`, if the test uses it, look when this fixture has stopped its actors, whatever their order."""
    if "no_actors_left" in request.fixturenames:
        request.getfixturevalue("no_actors_left")
