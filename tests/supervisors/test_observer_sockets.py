"""Connected clients and their channels, as an observer sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from actors.channel import Channel
from actors.channels.client_actor import ClientActor
from actors.channels.message import ok
from actors.future import Future
from supervisors.exceptions import AmbiguousActorError
from supervisors.observer.commands import Commands
from transport.socket import Socket
from transport.testing.channel_test import ChannelTest
from transport.transport import Transport

if TYPE_CHECKING:
    from transport.testing.channel_test import TestClient


class Room(Channel):
    def join(self, topic: str, payload: Any) -> Any:
        return self._later() if payload else ok()

    async def _later(self) -> Any:
        await Future(self._process.scheduler)


class UserSocket(Socket):
    channels = {"room:*": Room}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Any, connect_info: Any) -> Any:
        self.assigns |= {"user": params["user"], "api_token": "hunter2"}
        return ok()

    def id(self) -> str | None:
        user: str = self.assigns["user"]
        if user == "broken":
            raise RuntimeError(user)
        return f"users:{user}"


@pytest.fixture
def ann() -> Iterator[TestClient]:
    with ChannelTest(UserSocket, {"user": "ann"}) as connected:
        yield connected


@pytest.fixture
def its(ann: TestClient) -> Commands:
    return Commands()


def test_clients_are_listed_with_what_is_known_of_them(ann: TestClient, its: Commands) -> None:
    ann.join("room:a")
    ann.join("room:b")
    ben = ann.connect({"user": "ben"})
    first, second = its.sockets()
    assert (first.socket, first.id, first.topics) == ("UserSocket", "users:ann", ["room:a", "room:b"])
    assert (second.id, second.topics) == ("users:ben", [])
    assert "user='ann', api_token=[FILTERED]" in str(its.sockets())
    assert "hunter2" not in f"{its.sockets()} {first}"
    ben.close()
    assert [row.id for row in its.sockets()] == ["users:ann"]


def test_a_transport_actor_is_known_as_a_client_by_its_class(ann: TestClient, its: Commands) -> None:
    [row] = its.sockets()
    assert issubclass(Transport, ClientActor)
    assert row.ref is not None
    assert issubclass(row.ref.actor_class, ClientActor)


def test_what_waits_for_a_client_is_shown(ann: TestClient, its: Commands) -> None:
    [row] = its.sockets()
    assert row.ref is not None
    transport = row.ref.process.actor
    assert isinstance(transport, Transport)
    carrier: Any = transport.carrier
    assert (row.waiting_in, row.waiting_out, row.dropped, row.paused) == (0, 0, 0, False)
    carrier.intake.add(2_000_000)
    carrier.dropped = 1_234
    [row] = its.sockets()
    assert (row.waiting_in, row.waiting_out, row.dropped, row.paused) == (2_000_000, 0, 1_234, True)
    assert "2,000,000 paused" in str(its.sockets())
    assert "1,234" in str(its.sockets())


def test_a_channel_tells_its_own_pid_and_its_transports(ann: TestClient, its: Commands) -> None:
    room = ann.join("room:a")
    ann.connect({"user": "ben"}).join("room:b")
    (socket, _) = its.sockets()
    (channel,) = its.channels(socket)
    assert (channel.ref, channel.topic, channel.channel, channel.status) == (room.ref, "room:a", "Room", "joined")
    assert channel.transport == socket.pid
    assert its.state(channel)["socket"].transport == socket.ref
    assert f"transport=<{socket.ref}>" in repr(its.state(channel))
    assert [row.topic for row in its.channels()] == ["room:a", "room:b"]


def test_a_join_that_waits_is_seen(ann: TestClient, its: Commands) -> None:
    ann.send("1", "1", "room:slow", "phx_join", {"wait": True})
    ann.advance(0)
    assert [(row.topic, row.status) for row in its.channels()] == [("room:slow", "joining")]


def test_a_channel_that_is_killed_is_replaced_when_the_client_joins_again(ann: TestClient, its: Commands) -> None:
    before = ann.join("room:a").ref
    its.kill("room:a")
    assert list(its.channels()) == []
    after = ann.join("room:a").ref
    assert [row.ref for row in its.channels()] == [after] != [before]


def test_a_topic_stands_for_its_one_channel(ann: TestClient, its: Commands) -> None:
    room = ann.join("room:a")
    assert its.whereis("room:a") == room.ref
    assert [row.ref for row in its.subscribers("room:a")] == [room.ref]
    other = ann.connect({"user": "ben"}).join("room:a")
    with pytest.raises(AmbiguousActorError, match=f"2 actors match 'room:a': {room.ref}, {other.ref}; give the pid"):
        its.whereis("room:a")


def test_a_socket_whose_id_fails_is_listed_without_it(ann: TestClient, its: Commands) -> None:
    def fail() -> None:
        raise RuntimeError("no id")

    (before,) = its.sockets()
    its.state(before)["socket"].id = fail
    (after,) = its.sockets()
    assert (before.id, after.id) == ("users:ann", None)


def test_of_many_some_are_listed_and_the_others_counted(ann: TestClient, its: Commands) -> None:
    for user in "abc":
        ann.connect({"user": user}).join("room:a")
    assert str(its.sockets(most=1)).splitlines()[-1] == "… and 3 more; most=None lists all"
    assert str(its.channels(most=1)).splitlines()[-1] == "… and 2 more; most=None lists all"
    assert str(its.subscribers("room:a", most=1)).splitlines()[-1] == "… and 2 more; most=None lists all"


def test_the_secrets_of_an_endpoint_are_those_of_its_channels(ann: TestClient, its: Commands) -> None:
    room = ann.join("room:a")
    assert "assigns = {'user': 'ann', 'api_token': [FILTERED]}" in repr(its.state(room.ref))
    its.state(room.ref)["socket"].endpoint.filter_parameters = ("user",)
    assert "assigns = {'user': [FILTERED], 'api_token': [FILTERED]}" in repr(its.state(room.ref))
