"""Names and look-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import NameTakenError
from actors.exits import SHUTDOWN
from actors.registry import ActorRegistry, Keys, Registry
from actors.testing import WAIT, ManualRuntime, Probe

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.scheduler import in_thread


class Animal(Actor):
    def __init__(self, log: list[Any] | None = None) -> None:
        self.log = log

    def on_receive(self, message: Any) -> Any:
        if self.log is not None:
            self.log.append((type(self).__name__, message))
        return message

    def on_stop(self) -> None:
        if self.log is not None:
            self.log.append(("stopped", self.actor_ref))


class Dog(Animal):
    """A subclass."""


class Cat(Animal):
    """Another one."""


@pytest.fixture(params=list(Keys), ids=lambda keys: keys.value)
def registry(request: pytest.FixtureRequest) -> Registry:
    return Registry(request.param)


# What both kinds of registries do


def test_an_actor_is_found_by_its_key(runtime: ManualRuntime, registry: Registry) -> None:
    dog = Dog.start()
    registry.register(("room", 1), dog, "a value")
    assert registry.whereis(("room", 1)) is dog
    assert registry.lookup(("room", 1)) == [(dog, "a value")]
    assert (registry.names(), len(registry)) == ([("room", 1)], 1)


def test_an_unknown_key_has_nobody(registry: Registry) -> None:
    assert (registry.whereis("x"), registry.lookup("x"), registry.names(), len(registry)) == (None, [], [], 0)


def test_one_actor_may_have_many_keys(runtime: ManualRuntime, registry: Registry) -> None:
    dog = Dog.start()
    registry.register("a", dog)
    registry.register("b", dog)
    assert (registry.whereis("a"), registry.whereis("b"), len(registry)) == (dog, dog, 2)


def test_registering_again_changes_the_value(runtime: ManualRuntime, registry: Registry) -> None:
    dog = Dog.start()
    registry.register("a", dog, 1)
    registry.register("a", dog, 2)
    assert registry.lookup("a") == [(dog, 2)]
    dog.stop()
    assert len(registry) == 0


def test_unregister_gives_a_key_back(runtime: ManualRuntime, registry: Registry) -> None:
    dog, cat = Dog.start(), Cat.start()
    registry.register("a", dog)
    registry.register("b", dog)
    registry.unregister("a", dog)
    registry.unregister("a", dog)
    registry.unregister("b", cat)
    assert registry.names() == ["b"]
    assert dog.process.names == [(registry, "b")]
    registry.register("a", cat)
    dog.stop()
    assert registry.names() == ["a"]


def test_a_key_given_back_is_not_taken_away_from_the_next_when_the_first_ends(
    runtime: ManualRuntime, registry: Registry
) -> None:
    dog, cat = Dog.start(), Cat.start()
    registry.register("a", dog)
    registry.unregister("a", dog)
    registry.register("a", cat)
    dog.kill()
    runtime.settle()
    assert registry.whereis("a") is cat


@pytest.mark.parametrize("end", ["stop", "kill", "crash"])
def test_entries_die_with_their_actor_before_anybody_is_told(
    runtime: ManualRuntime, registry: Registry, end: str
) -> None:
    class Watcher(Actor):
        def on_receive(self, message: Any) -> None:
            if message is dog:
                self.monitor(dog)
            else:
                seen.append((registry.whereis("a"), len(registry), ActorRegistry.get_by_class(Dog)))

    dog, seen = Dog.start(), list[Any]()
    registry.register("a", dog)
    registry.register("b", dog)
    Watcher.start().ask(dog)
    match end:
        case "stop":
            dog.stop()
        case "kill":
            dog.kill()
        case _:
            dog.exit(ValueError("boom"))
    runtime.settle()
    assert seen == [(None, 0, [])]


def test_the_dead_are_not_registered(runtime: ManualRuntime, registry: Registry) -> None:
    dog = Dog.start()
    dog.stop()
    with pytest.raises(pykka.ActorDeadError, match="cannot be registered as 'a'"):
        registry.register("a", dog)
    assert len(registry) == 0


# What they do not


def test_a_unique_key_has_one_actor(runtime: ManualRuntime) -> None:
    registry, dog, cat = Registry(), Dog.start(), Cat.start()
    registry.register("a", dog)
    with pytest.raises(NameTakenError) as caught:
        registry.register("a", cat)
    assert (caught.value.name, caught.value.owner) == ("a", dog)
    assert str(caught.value) == f"name 'a' is already taken by {dog}"
    assert registry.lookup("a") == [(dog, None)]
    cat.stop()
    assert registry.whereis("a") is dog


def test_a_duplicate_key_has_many_in_the_order_they_came(runtime: ManualRuntime) -> None:
    registry, dog, cat = Registry(Keys.DUPLICATE), Dog.start(), Cat.start()
    registry.register("a", cat, 1)
    registry.register("a", dog, 2)
    assert registry.lookup("a") == [(cat, 1), (dog, 2)]
    assert registry.whereis("a") is cat
    cat.stop()
    assert registry.lookup("a") == [(dog, 2)]


@pytest.mark.parametrize("keys", ["unique", True, None])
def test_keys_are_named_by_the_enumeration(keys: Any) -> None:
    with pytest.raises(TypeError, match=r"keys must be Keys\.UNIQUE or Keys\.DUPLICATE, got "):
        Registry(keys)


# All living actors


@pytest.fixture
def zoo(runtime: ManualRuntime) -> tuple[list[Any], list[ActorRef[Any]]]:
    log: list[Any] = []
    return log, [Dog.start(log), Cat.start(log), Dog.start(log)]


def test_get_all_returns_the_living_in_the_order_they_started(zoo: tuple[list[Any], list[ActorRef[Any]]]) -> None:
    _, (first, second, third) = zoo
    assert ActorRegistry.get_all() == [first, second, third]
    second.stop()
    assert ActorRegistry.get_all() == [first, third]


def test_get_by_class_finds_subclasses_too(zoo: tuple[list[Any], list[ActorRef[Any]]]) -> None:
    _, (first, second, third) = zoo
    assert ActorRegistry.get_by_class(Dog) == [first, third]
    assert ActorRegistry.get_by_class(Animal) == [first, second, third]


def test_get_by_class_name_finds_that_name_only(zoo: tuple[list[Any], list[ActorRef[Any]]]) -> None:
    _, (first, _second, third) = zoo
    assert ActorRegistry.get_by_class_name("Dog") == [first, third]
    assert ActorRegistry.get_by_class_name("Animal") == []


def test_get_by_urn_and_by_pid_find_one(zoo: tuple[list[Any], list[ActorRef[Any]]]) -> None:
    _, refs = zoo
    for ref in refs:
        assert ActorRegistry.get_by_urn(ref.actor_urn) is ref
        assert ActorRegistry.get_by_pid(ref.pid) is ref
        assert ActorRegistry.get_by_pid(ref.pid.strip("<>")) is ref
    refs[0].stop()
    assert ActorRegistry.get_by_urn(refs[0].actor_urn) is None
    assert ActorRegistry.get_by_pid(refs[0].pid) is None


@pytest.mark.parametrize("pid", ["", "41", "<0.x.0>", "<>"])
def test_a_pid_that_is_none_is_an_error_that_shows_one(pid: str) -> None:
    with pytest.raises(ValueError, match=r"a pid is written like <0\.41\.0>, got "):
        ActorRegistry.get_by_pid(pid)


@pytest.mark.parametrize(
    ("target", "hear"),
    [
        (None, ["Dog", "Cat", "Dog"]),
        ("Cat", ["Cat"]),
        (Dog, ["Dog", "Dog"]),
        (Animal, ["Dog", "Cat", "Dog"]),
        ("Cow", []),
    ],
    ids=["all", "a name", "a class", "a base class", "nobody"],
)
def test_broadcast_tells_all_or_those_of_a_class(
    runtime: ManualRuntime, zoo: tuple[list[Any], list[ActorRef[Any]]], target: Any, hear: list[str]
) -> None:
    log, _ = zoo
    ActorRegistry.broadcast("dinner", target)
    runtime.settle()
    assert log == [(name, "dinner") for name in hear]


def test_stop_all_stops_the_last_started_first(zoo: tuple[list[Any], list[ActorRef[Any]]]) -> None:
    log, refs = zoo
    assert ActorRegistry.stop_all() == [True, True, True]
    assert log == [("stopped", ref) for ref in reversed(refs)]
    assert ActorRegistry.get_all() == []


def test_stop_all_without_blocking_returns_futures(
    runtime: ManualRuntime, zoo: tuple[list[Any], list[ActorRef[Any]]]
) -> None:
    log, refs = zoo
    stops = ActorRegistry.stop_all(block=False)
    assert [stop.done for stop in stops] == [False] * 3
    runtime.settle()
    assert [stop.get() for stop in stops] == [True] * 3
    assert log == [("stopped", ref) for ref in reversed(refs)]


def test_stop_all_from_another_thread(background: in_thread) -> None:
    refs = [Dog.start() for _ in range(3)]
    assert ActorRegistry.stop_all(timeout=WAIT) == [True] * 3
    assert not any(ref.is_alive() for ref in refs)


def test_a_registry_may_be_read_from_another_thread(background: in_thread) -> None:
    registry, dog = background.scheduler.names, Dog.start()
    background.scheduler.post(registry.register, "dog", dog)
    assert dog.ask("registered by now", timeout=WAIT)
    assert registry.whereis("dog") is dog
    probe = Probe()
    probe.monitor(dog)
    dog.exit(SHUTDOWN)
    probe.assert_receive(lambda message: message.reason == SHUTDOWN)
    assert registry.whereis("dog") is None
