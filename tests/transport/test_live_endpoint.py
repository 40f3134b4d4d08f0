"""Endpoints on a free port: real clients can connect, and whatever is left behind fails the test."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from actors.actor import Actor
from actors.presence.presence import Presence
from actors.registry import ActorRegistry
from supervisors.child_spec import ChildSpec
from supervisors.exceptions import SystemDownError
from tests.live import WAIT
from tests.transport.rooms import UserSocket
from transport.endpoint import Endpoint
from transport.testing.exceptions import LeftBehindError, UnexpectedCrashError
from transport.testing.live_endpoint import LiveEndpoint


def client_of(live: LiveEndpoint, path: str = "/socket") -> ClientConnection:
    return connect(live.websocket_url(path), open_timeout=WAIT, close_timeout=WAIT, proxy=None, ping_interval=None)


def receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(timeout=WAIT))


def join(client: ClientConnection, topic: str = "room:1") -> None:
    client.send(json.dumps(["1", "1", topic, "phx_join", {}]))
    assert receive(client)[3:] == ["phx_reply", {"status": "ok", "response": {"you": {}}}]


def push(client: ClientConnection, event: str, topic: str = "room:1") -> None:
    client.send(json.dumps(["1", "2", topic, event, {}]))


def test_a_real_client_reaches_it() -> None:
    with LiveEndpoint({"/socket": UserSocket}) as live, client_of(live) as client:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", live.url)
        join(client)
        push(client, "say")
        assert receive(client) == [None, None, "room:1", "said", {}]
        assert live.pubsub.topics() == ["room:1"]


def test_nothing_lives_on_when_it_has_stopped() -> None:
    before, threads = ActorRegistry.get_all(), threading.active_count()
    with ExitStack() as clients:
        with LiveEndpoint({"/socket": UserSocket}) as live:
            client = clients.enter_context(client_of(live))
            join(client)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=WAIT)
    client.recv_events_thread.join(WAIT)
    assert ActorRegistry.get_all() == before
    assert threading.active_count() == threads


def test_an_endpoint_of_the_authors_gets_a_free_port_each_time() -> None:
    endpoint = Endpoint({"/live": UserSocket}, host="0.0.0.0", port=4000)  # noqa: S104  # to be replaced
    for _ in range(2):
        with LiveEndpoint(endpoint) as live, client_of(live, "/live") as client:
            assert live.endpoint is endpoint
            assert live.endpoint.port not in (0, 4000, None)
            join(client)


def test_two_run_at_a_time_on_ports_of_their_own() -> None:
    with LiveEndpoint({"/socket": UserSocket}) as one, LiveEndpoint({"/socket": UserSocket}) as two:
        assert one.url != two.url


def test_options_are_the_endpoints_and_children_the_systems() -> None:
    presence = Presence()
    with LiveEndpoint({"/socket": UserSocket}, children=[presence], max_channels=1) as live:
        assert live.endpoint.max_channels == 1
        assert live.system.whereis("presence") is not None
    with pytest.raises(TypeError, match="an endpoint has its options already, got max_channels too"):
        LiveEndpoint(live.endpoint, max_channels=1)


def test_what_cannot_start_raises_and_leaves_nothing() -> None:
    class Failing(Actor):
        def on_start(self) -> None:
            raise ArithmeticError("not today")

    threads = threading.active_count()
    with pytest.raises(Exception, match="ArithmeticError: not today"):
        LiveEndpoint({"/socket": UserSocket}, children=[ChildSpec(Failing)]).__enter__()
    assert threading.active_count() == threads


def end_with(what: Callable[[LiveEndpoint, ClientConnection], None]) -> None:
    with LiveEndpoint({"/socket": UserSocket}) as live, client_of(live) as client:
        join(client)
        what(live, client)


def crash(_: LiveEndpoint, client: ClientConnection) -> None:
    push(client, "fail")
    assert receive(client)[3] == "phx_error"


def test_a_crash_fails_the_test_at_the_end() -> None:
    with pytest.raises(
        UnexpectedCrashError, match=r"RoomChannel 'room:1' <.*> crashed: ValueError: cannot take \{\}"
    ) as failed:
        end_with(crash)
    assert "with live.expect_crash(ValueError): …" in str(failed.value)


def test_a_crash_may_be_expected() -> None:
    def expected(live: LiveEndpoint, client: ClientConnection) -> None:
        with live.expect_crash(ValueError) as crashed:
            crash(live, client)
        crashed.check()
        assert str(crashed.exception) == "cannot take {}"

    end_with(expected)
    with LiveEndpoint({"/socket": UserSocket}, expected_crashes=ValueError) as live, client_of(live) as client:
        join(client)
        crash(live, client)


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("task", r"the task 'poll' of RoomChannel\.endless\(\)"),
        ("timer", r"a timer, in 29\.\d+ s, of forgotten"),
        ("actor", r"the actor Worker <.*>: linked to Worker <.*>, with a timer in 2\.\d+ s, subscribed to 'room:1'"),
    ],
)
def test_what_is_left_behind_is_named(monkeypatch: pytest.MonkeyPatch, what: str, left: str) -> None:
    monkeypatch.setattr("transport.testing.live_endpoint._CLOSING", 0.1)

    def leave(_: LiveEndpoint, client: ClientConnection) -> None:
        push(client, what)
        push(client, "echo")
        assert receive(client)[3] == "phx_reply"

    with pytest.raises(LeftBehindError) as failed:
        end_with(leave)
    assert re.fullmatch(left, failed.value.left[0])


def test_a_failing_test_keeps_its_own_error() -> None:
    def fail(live: LiveEndpoint, client: ClientConnection) -> None:
        crash(live, client)
        raise KeyError("the test")

    with pytest.raises(KeyError, match="the test") as failed:
        end_with(fail)
    [note] = failed.value.__notes__
    assert re.fullmatch(r"RoomChannel 'room:1' <.*> crashed: ValueError: cannot take \{\}", note)


def test_a_system_that_has_ended_by_itself_fails_the_test() -> None:
    def end(live: LiveEndpoint, _: ClientConnection) -> None:
        live.system.ref.kill()
        assert live.system.ref.down().get(timeout=WAIT) is not None

    with pytest.raises(SystemDownError, match="live"):
        end_with(end)


def test_it_is_not_entered_twice() -> None:
    with LiveEndpoint({"/socket": UserSocket}) as live:
        with pytest.raises(RuntimeError, match="this LiveEndpoint is running already; make another one"), live:
            pytest.fail("entered twice")
        assert live.system.is_running
