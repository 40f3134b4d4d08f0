"""Names in registries of one's own, and whom a target stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exceptions import NameTakenError, NotRegisteredError
from actors.names import send
from actors.pubsub.pubsub import PubSub
from actors.registry import Registry
from actors.runtime.spawn import spawn
from actors.via import Via, resolve

if TYPE_CHECKING:
    from actors.testing import ManualRuntime


class Room(Actor):
    def on_receive(self, message: Any) -> Any:
        return self if message == "self" else message


def test_a_plain_name_is_a_key_of_the_names_that_it_is_used_in() -> None:
    names, rooms = Registry(), Registry()
    assert Via.of("lobby", names) == Via(names, "lobby", None)
    assert Via.of(Via(rooms, "lobby", 1), names) == Via(rooms, "lobby", 1)
    assert str(Via(rooms, ("lobby", 1))) == "('lobby', 1)"


def test_an_actor_is_registered_via_its_name_with_its_value(runtime: ManualRuntime) -> None:
    rooms, room = Registry(), Room.start()
    via = Via(rooms, "lobby", {"seats": 3})
    assert via.whereis() is None
    via.register(room)
    assert (via.whereis(), rooms.lookup("lobby")) == (room, [(room, {"seats": 3})])
    assert via.whereis(required=True) is room


def test_a_via_may_be_required_to_have_an_actor() -> None:
    with pytest.raises(NotRegisteredError, match=r"^no actor is registered as 'lobby'$"):
        Via(Registry(), "lobby").whereis(required=True)


def test_an_actor_may_be_started_via_a_name(runtime: ManualRuntime) -> None:
    rooms = Registry()
    room = spawn(Room, name=Via(rooms, "lobby", 3))
    assert rooms.lookup("lobby") == [(room, 3)]
    assert runtime._scheduler.names.names() == []
    assert str(room) == f"lobby {room.pid}"
    room.stop()
    assert rooms.names() == []


def test_an_actor_cannot_be_started_via_a_name_that_is_taken(runtime: ManualRuntime) -> None:
    rooms = Registry()
    room = spawn(Room, name=Via(rooms, "lobby"))
    with pytest.raises(NameTakenError):
        spawn(Room, name=Via(rooms, "lobby"))
    assert rooms.lookup("lobby") == [(room, None)]


def test_a_target_is_a_ref_an_actor_a_name_or_a_via(runtime: ManualRuntime) -> None:
    names, rooms, room = Registry(), Registry(), Room.start()
    names.register("lobby", room)
    rooms.register(("room", 1), room)
    for target in (room, room.ask("self"), "lobby", Via(rooms, ("room", 1))):
        assert resolve(target, names.whereis) is room


def test_a_name_that_nobody_has_stands_for_none(runtime: ManualRuntime) -> None:
    names, rooms = Registry(), Registry()
    assert [resolve(target, names.whereis) for target in ("lobby", 0, Via(rooms, "lobby"))] == [None] * 3


def test_none_is_no_target() -> None:
    with pytest.raises(TypeError, match=r"a target must be .* got None; did whereis\(\) find no actor\?"):
        resolve(None, Registry().whereis)


def test_a_via_whose_parts_are_exchanged_is_refused() -> None:
    with pytest.raises(TypeError, match=r"registry must be a Registry, got 'lobby'; write Via\(registry, key\)"):
        Via("lobby", Registry())  # type: ignore[arg-type]  # swapped


@pytest.mark.parametrize("target", [{"a": 1}, ["a"], ("a", [])], ids=repr)
def test_what_cannot_be_a_name_is_refused_with_the_value(target: Any, runtime: ManualRuntime) -> None:
    with pytest.raises(TypeError) as raised:
        send(target, "message")
    assert str(raised.value) == (
        f"a target must be an actor, a ref, a name or Via(registry, key), got {target!r}; it comes before the message"
    )


REGISTRY: Any = Registry()
PUBSUB: Any = PubSub()


@pytest.mark.parametrize(
    ("call", "usage"),
    [
        (lambda ref: REGISTRY.register(ref, "key"), "registry.register(key, ref)"),
        (lambda ref: REGISTRY.unregister(ref, "key"), "registry.unregister(key, ref)"),
        (lambda ref: PUBSUB.subscribe(ref, "key"), "pubsub.subscribe(topic, ref)"),
        (lambda ref: PUBSUB.unsubscribe(ref, "key"), "pubsub.unsubscribe(topic, ref)"),
    ],
    ids=["register", "unregister", "subscribe", "unsubscribe"],
)
def test_a_ref_in_another_place_is_refused_with_the_call_to_write(
    call: Any, usage: str, runtime: ManualRuntime
) -> None:
    with pytest.raises(TypeError) as raised:
        call(Actor.start())
    assert str(raised.value) == f"expected the ref of an actor, got 'key'; write {usage}"


def test_an_actor_in_place_of_its_ref_is_refused_with_how_to_get_that(runtime: ManualRuntime) -> None:
    class Worker(Actor):
        def on_receive(self, message: Any) -> None:
            Registry().register("key", self)  # type: ignore[arg-type]  # the mistake

    with pytest.raises(TypeError, match=r"write registry\.register\(key, ref\), and `self\.actor_ref` in an actor$"):
        Worker.start().ask(1)


def test_what_is_demonitored_is_what_monitor_returned(runtime: ManualRuntime) -> None:
    class Worker(Actor):
        def on_receive(self, message: Any) -> None:
            self.demonitor(self.actor_ref)  # type: ignore[arg-type]  # the mistake

    with pytest.raises(TypeError, match=r"^demonitor\(\) takes what monitor\(\) returned, got <ActorRef Worker "):
        Worker.start().ask(1)
