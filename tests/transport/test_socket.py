"""Which channel serves which topic, and what is wrong with a socket class."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Actor, Channel, error, ok
from actors.channels.message import Reply
from supervisors import System
from transport import Endpoint, Socket, SocketError
from transport.socket import Route, Routes, accepted


class RoomChannel(Channel):
    """Serves rooms."""


class LobbyChannel(Channel):
    """Serves the lobby."""


class OtherChannel(Channel):
    """Serves all the rest."""


def socket(**channels: Any) -> type[Socket]:
    return type("TestSocket", (Socket,), {"channels": channels})


def routes(channels: Any) -> Routes:
    return Routes(type("TestSocket", (Socket,), {"channels": channels}))


ROUTES = routes({"room:lobby": LobbyChannel, "room:*": RoomChannel, "room:vip:*": OtherChannel, "system": OtherChannel})


@pytest.mark.parametrize(
    ("topic", "channel"),
    [
        ("room:1", RoomChannel),
        ("room:", RoomChannel),
        ("room:lobby", LobbyChannel),
        ("room:lobby2", RoomChannel),
        ("room:vip:1", RoomChannel),
        ("room:*", RoomChannel),
        ("system", OtherChannel),
        ("system:1", None),
        ("room", None),
        ("Room:1", None),
        ("", None),
        ("phoenix", None),
    ],
)
def test_the_first_route_that_a_topic_fits_serves_it(topic: str, channel: type[Channel] | None) -> None:
    route = ROUTES.match(topic)
    assert (route and route.channel) is channel


def test_a_star_alone_serves_every_topic() -> None:
    every = routes({"*": OtherChannel})
    assert every.match("") == every.match("room:1") == Route(OtherChannel)


def test_no_route_matches_the_topics_of_messages_between_processes() -> None:
    assert routes({"*": OtherChannel}).match("\0nodes") is None
    assert routes({"*": OtherChannel}).match("room:\0") == Route(OtherChannel)


def test_a_topic_behind_a_prefix_that_it_has_is_never_reached() -> None:
    assert routes({"room:*": RoomChannel, "room:lobby": LobbyChannel}).match("room:lobby") == Route(RoomChannel)


def test_assigns_of_a_route_must_be_a_mapping() -> None:
    wrong: Any = ["admin"]
    with pytest.raises(SocketError, match=r"\['room:\*'\]: assigns must be a mapping, got \['admin'\]"):
        routes({"room:*": Route(RoomChannel, assigns=wrong)})


def test_the_channel_of_a_route_must_be_one() -> None:
    wrong: Any = dict
    with pytest.raises(SocketError, match=r"must be a subclass of actors\.Channel, got <class 'dict'>"):
        routes({"room:*": Route(wrong)})


@pytest.mark.parametrize("option", ["log_join", "log_handle_in"])
def test_a_level_that_there_is_not_is_an_error_at_the_start(option: str) -> None:
    loud = type("LoudChannel", (RoomChannel,), {option: "loud"})
    with pytest.raises(SocketError, match=rf"LoudChannel\.{option} must be one of .*debug.*, or None, got 'loud'"):
        routes({"room:*": loud})


def test_a_socket_without_channels_serves_nothing() -> None:
    assert Routes(Socket).match("room:1") is None


class Wrong(Channel):
    restart = "sometimes"


class Slow(Channel):
    shutdown = "soon"  # type: ignore[assignment]


class Late(Channel):
    join_timeout = "5"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        (
            {"room:*": Actor},
            r"TestSocket\.channels\['room:\*'\] must be a subclass of actors\.Channel, got <class '.*Actor'>",
        ),
        ({"room:*": "RoomChannel"}, "must be a subclass of actors.Channel, got 'RoomChannel'"),
        ({"room:*": None}, r"TestSocket\.channels\['room:\*'\] must be a subclass of actors\.Channel, got None"),
        (
            {"*:room": RoomChannel},
            r"""TestSocket\.channels\['\*:room'\]: a topic may have one "\*", at its end, such as""",
        ),
        ({5: RoomChannel}, r"""TestSocket\.channels\[5\]: a topic must be a str such as "room:\*", got 5"""),
        ([RoomChannel], r"""TestSocket\.channels must be a dict such as \{"room:\*": RoomChannel\}, got \["""),
        ([("room:*", RoomChannel)], r"""TestSocket\.channels must be a dict such as"""),
        (RoomChannel, r"""TestSocket\.channels must be a dict such as .*, got <class"""),
        ({"room:*": Slow}, "Slow: shutdown must be seconds >= 0.*, got 'soon'"),
        ({"room:*": Late}, "Late.join_timeout must be seconds > 0, got '5'"),
        ({"room:**": RoomChannel}, r'a topic may have one "\*", at its end'),
        ({"room:*": Wrong}, "Wrong.restart must be one of permanent, transient, temporary, got 'sometimes'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_route_is_an_error_with_its_value(channels: Any, text: str) -> None:
    with pytest.raises(SocketError, match=text):
        routes(channels)


@pytest.mark.parametrize("value", [RoomChannel, object, "UserSocket", None, 5], ids=str)
def test_what_is_mounted_must_be_a_socket_class(value: Any) -> None:
    with pytest.raises(SocketError, match=r"a socket must be a subclass of transport\.Socket, got "):
        Endpoint({"/socket": value})


def test_a_wrong_route_is_an_error_before_anything_runs() -> None:
    with pytest.raises(SocketError, match="got 5"):
        System([Endpoint({"/socket": socket(room=5)})])


def test_connect_accepts_by_default_and_without_an_id() -> None:
    anybody = Socket(endpoint=None)  # type: ignore[arg-type]  # it is not asked for
    assert accepted(anybody.connect({}, None))  # type: ignore[arg-type]  # as above
    assert anybody.id() is None
    assert anybody.assigns == {}


@pytest.mark.parametrize(
    ("result", "is_accepted"), [(ok(), True), (error(), False), (Reply("other", {}), False)], ids=str
)
def test_only_ok_accepts(result: Reply, *, is_accepted: bool) -> None:
    assert accepted(result) is is_accepted


@pytest.mark.parametrize("result", [None, True, "ok", {"status": "ok"}, 0], ids=repr)
def test_anything_else_that_connect_returns_is_an_error_with_its_value(result: object) -> None:
    with pytest.raises(SocketError) as raised:
        accepted(result)
    assert str(raised.value) == f"connect() must return ok() or error(), got {result!r}"


def test_the_text_of_routes_names_the_class_and_its_topics() -> None:
    assert str(routes({"room:*": RoomChannel, "system": OtherChannel})) == (
        "TestSocket, whose channels are 'room:*', 'system'"
    )
    assert str(routes({})) == "TestSocket, whose channels are none"
    assert str(routes({f"room:{number}": RoomChannel for number in range(11)})).endswith("'room:9', …")


def test_callbacks_of_a_socket_take_what_they_are_called_with() -> None:
    with pytest.raises(
        TypeError, match=r"Wrong\.connect must be declared as `def connect\(self, params, connect_info\)`"
    ):
        type("Wrong", (Socket,), {"connect": lambda self, params: ok()})
    with pytest.raises(TypeError, match=r"must be declared as `def id\(self\)`, got `def <lambda>\(self, socket\)`"):
        type("Wrong", (Socket,), {"id": lambda self, socket: None})
