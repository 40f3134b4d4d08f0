"""How many connections one address and one user may have."""

from __future__ import annotations

import pytest

from actors.testing.manual_clock import ManualClock
from transport.access.places import HANDSHAKE, Places, neighbourhood
from transport.limits import Limits

WS, LP = "websocket", "longpoll"
ALICE, BOB = ("10.0.0.1", 1), ("10.0.0.2", 1)


@pytest.mark.parametrize(
    ("host", "same"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_of_ipv6_is_one_of_a_whole_network(host: str, same: str) -> None:
    assert neighbourhood(host) == same


def test_without_limits_nothing_is_counted() -> None:
    places = Places(Limits())
    assert not places.are_limited[WS]
    assert places.take(WS, ALICE, "alice", ManualClock()) is None
    assert places.full(WS, ALICE, "alice") is None
    assert len(places) == 0


def test_an_address_has_so_many_places_and_a_user_others() -> None:
    places, clock = Places(Limits(connections_per_address=2, connections_per_id=1)), ManualClock()
    assert places.are_limited == {WS: True, LP: True}
    first = places.take(WS, ALICE, "alice", clock)
    assert first is not None
    assert places.full(WS, ALICE) is None
    assert places.full(WS, ALICE, "alice") == places.full(WS, BOB, "alice") == "connections_per_id"
    assert places.take(WS, ALICE, None, clock) is not None
    assert places.full(WS, ALICE) == places.full(WS, ALICE, "bob") == "connections_per_address"
    assert places.full(WS, BOB) is None
    first.leave()
    assert places.full(WS, ALICE, "alice") is None
    first.leave()
    assert places.take(WS, ALICE, "alice", clock) is not None
    assert places.full(WS, ALICE) == "connections_per_address"


def test_a_client_without_an_address_counts_for_none() -> None:
    places = Places(Limits(connections_per_address=1))
    assert places.take(WS, None, "alice", ManualClock()) is None
    assert places.full(WS, None) is None


def test_a_client_that_does_not_finish_its_handshake_leaves_its_place() -> None:
    places, clock = Places(Limits(connections_per_address=1)), ManualClock()
    assert places.take(WS, ALICE, None, clock) is not None
    assert not clock.step(HANDSHAKE - 1)
    assert places.full(WS, ALICE) == "connections_per_address"
    assert clock.step(HANDSHAKE)
    assert places.full(WS, ALICE) is None
    assert len(places) == 0


def test_sessions_of_long_polling_have_places_of_their_own() -> None:
    places, clock = Places(Limits(sessions=3, sessions_per_address=2)), ManualClock()
    assert places.are_limited == {WS: False, LP: True}
    taken = [places.take(LP, peer, None, clock) for peer in (ALICE, ALICE, BOB)]
    assert (places.full(LP, ALICE), places.full(LP, BOB), places.full(WS, ALICE)) == ("sessions", "sessions", None)
    assert taken[2] is not None
    taken[2].leave()
    assert (places.full(LP, ALICE), places.full(LP, BOB)) == ("sessions_per_address", None)


def test_sessions_count_as_connections_too() -> None:
    places, clock = Places(Limits(sessions=None, connections_per_address=1)), ManualClock()
    assert places.take(LP, ALICE, None, clock) is not None
    assert places.full(WS, ALICE) == places.full(LP, ALICE) == "connections_per_address"
