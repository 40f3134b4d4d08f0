"""Names and look-ups."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import NameTakenError, NotRegisteredError
from actors.exits import SHUTDOWN, Down, Exit
from actors.registry import ActorRegistry, Keys, Registered, Registry, Unregistered
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime, Probe
from actors.via import Via

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


def test_a_required_key_is_an_error_if_no_actor_has_it(runtime: ManualRuntime, registry: Registry) -> None:
    dog = Dog.start()
    registry.register("dog", dog)
    assert registry.whereis("dog", required=True) is dog
    with pytest.raises(NotRegisteredError, match=r"^no actor is registered as 'dogs'; closest matches: 'dog'$"):
        registry.whereis("dogs", required=True)
    with pytest.raises(NotRegisteredError, match=r"^no actor is registered as 1$"):
        registry.whereis(1, required=True)


def test_few_names_are_compared_with_one_that_no_actor_has(runtime: ManualRuntime) -> None:
    registry, dog = Registry(), Dog.start()
    for number in range(200):
        registry.register(f"room {number}", dog)
    with pytest.raises(NotRegisteredError) as caught:
        registry.whereis("room 150 ", required=True)
    assert "room 150" not in caught.value.nearest
    assert caught.value.nearest


def test_one_actor_may_have_many_keys(runtime: ManualRuntime, registry: Registry) -> None:
    dog = Dog.start()
    registry.register("a", dog)
    registry.register("b", dog)
    assert (registry.whereis("a"), registry.whereis("b"), len(registry)) == (dog, dog, 2)


def test_unregister_gives_a_key_back(runtime: ManualRuntime, registry: Registry) -> None:
    dog, cat = Dog.start(), Cat.start()
    registry.register("a", dog)
    registry.register("b", dog)
    assert registry.unregister("a", dog) is True
    assert registry.unregister("a", dog) is False
    assert registry.unregister("b", cat) is False
    assert registry.names() == ["b"]
    assert dog.process.names == {(registry, "b"): None}
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


def test_the_keys_of_an_actor_are_those_of_this_registry(runtime: ManualRuntime, registry: Registry) -> None:
    dog, cat, other = Dog.start(), Cat.start(), Registry()
    for key in "ba":
        registry.register(key, dog)
    registry.register("c", cat)
    other.register("d", dog)
    assert (registry.keys(dog), registry.keys(cat), other.keys(dog)) == (["b", "a"], ["c"], ["d"])
    dog.stop()
    assert (registry.keys(dog), other.keys(dog)) == ([], [])


def test_match_finds_the_entries_of_a_key_by_their_value(runtime: ManualRuntime, registry: Registry) -> None:
    dog, cat = Dog.start(), Cat.start()
    registry.register("a", dog, 1)
    registry.register("b", cat, 1)
    assert registry.match("a", lambda value: value == 1) == [(dog, 1)]
    assert registry.match("a", lambda value: value == 2) == []
    assert registry.count_match("a", lambda value: value == 1) == 1
    assert registry.count_match("a", lambda value: value == 2) == 0


def test_select_finds_entries_by_key_actor_and_value(runtime: ManualRuntime, registry: Registry) -> None:
    dog, cat = Dog.start(), Cat.start()
    registry.register("a", dog, 1)
    registry.register("b", cat, 2)
    registry.register("c", dog, 3)
    assert registry.select() == [("a", dog, 1), ("b", cat, 2), ("c", dog, 3)]
    assert registry.select(lambda key, _ref, _value: key > "a") == [("b", cat, 2), ("c", dog, 3)]
    assert registry.select(lambda _key, ref, _value: ref == dog) == [("a", dog, 1), ("c", dog, 3)]
    assert registry.select(lambda _key, _ref, value: value == 2) == [("b", cat, 2)]
    assert registry.count_select(lambda _key, _ref, value: value != 2) == 2


def test_dispatch_calls_once_with_all_entries_of_a_key(runtime: ManualRuntime, registry: Registry) -> None:
    dog, calls = Dog.start(), list[Any]()
    registry.register("a", dog, 1)
    registry.dispatch("a", calls.append)
    registry.dispatch("b", calls.append)
    assert calls == [[(dog, 1)]]


def test_a_registry_shows_what_it_is(runtime: ManualRuntime, registry: Registry) -> None:
    registry.register("a", Dog.start())
    assert repr(registry) == f"<Registry {registry.kind.value}, entries: 1>"


class Mourner(Actor):
    """Notes what is left of whom it watches, each time that it hears of a death."""

    def __init__(self, look: Callable[[], Any]) -> None:
        self.look, self.heard = look, list[Any]()

    def on_start(self) -> None:
        self.trap_exit = True

    def on_receive(self, message: Any) -> None:
        match message:
            case ("link", ref):
                self.link(ref)
            case ("monitor", ref):
                self.monitor(ref)
            case _:
                self.heard.append((type(message), self.look()))


ENDS: dict[str, Callable[[ActorRef[Any]], object]] = {
    "stopped": lambda ref: ref.stop(block=False),
    "killed": lambda ref: ref.kill(),
    "crashed": lambda ref: ref.exit(ValueError("boom")),
    "shut down": lambda ref: ref.exit(SHUTDOWN),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
@pytest.mark.parametrize(("bond", "message"), [("link", Exit), ("monitor", Down)])
def test_whoever_hears_of_a_death_finds_no_entry(
    runtime: ManualRuntime,
    registry: Registry,
    bond: str,
    message: type,
    end: Callable[[ActorRef[Any]], object],
) -> None:
    dog = Dog.start()
    for key in "ab":
        registry.register(key, dog)
    mourner = Mourner.start(lambda: (registry.select(), registry.whereis("a"), registry.keys(dog), registry.count()))
    mourner.ask((bond, dog))
    end(dog)
    runtime.settle()
    assert mourner.proxy().heard.get() == [(message, ([], None, [], 0))]


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_no_entry_is_left_when_a_future_of_the_death_is_answered(
    runtime: ManualRuntime, registry: Registry, end: Callable[[ActorRef[Any]], object]
) -> None:
    dog, seen = Dog.start(), list[Any]()
    registry.register("a", dog)
    dog.down().add_done_callback(lambda _: seen.append((registry.select(), registry.whereis("a"), registry.count())))
    end(dog)
    runtime.settle()
    assert seen == [([], None, 0)]


def test_no_entry_is_left_when_the_answer_to_a_question_says_that_the_actor_is_dead(
    runtime: ManualRuntime, registry: Registry
) -> None:
    class Quick(Actor):
        def on_receive(self, message: Any) -> None:
            raise ValueError(message)

    quick, seen = Quick.start(), list[Any]()
    registry.register("a", quick)
    answer = quick.ask("boom", block=False)
    answer.add_done_callback(lambda _: seen.append(registry.select()))
    runtime.settle()
    assert (str(answer.exception), seen) == ("boom", [[]])


def test_a_unique_key_can_be_taken_as_soon_as_the_death_is_heard_of(runtime: ManualRuntime) -> None:
    class Heir(Actor):
        def on_receive(self, message: Any) -> None:
            if isinstance(message, Down):
                names.register("king", self.actor_ref, "the second")
            else:
                self.monitor(message)

    names, old, new = Registry(), Dog.start(), Heir.start()
    names.register("king", old, "the first")
    new.ask(old)
    old.kill()
    runtime.settle()
    assert names.lookup("king") == [(new, "the second")]


def test_a_key_can_be_taken_while_its_dead_owner_is_not_yet_gone(runtime: ManualRuntime) -> None:
    def take() -> None:
        taken.append((registry.whereis("a"), registry.lookup("a")))
        registry.register("a", cat, "mine")

    registry, dog, cat, taken = Registry(), Dog.start(), Cat.start(), list[Any]()
    registry.register("a", dog)
    # What an actor owns is closed before its names are given back.
    dog.process.own(take)
    dog.kill()
    runtime.settle()
    assert taken == [(None, [])]
    assert (registry.lookup("a"), registry.count()) == ([(cat, "mine")], 1)


# Listeners


def test_listeners_hear_of_each_change_in_order(runtime: ManualRuntime) -> None:
    probe, dog = Probe(), Dog.start()
    registry = Registry(listeners=[probe.ref])
    registry.register("a", dog, 1)
    registry.register("a", dog, 2)
    registry.unregister("a", dog)
    registry.unregister("a", dog)
    runtime.settle()
    assert probe.messages == [
        Registered(registry, "a", dog, 1),
        Registered(registry, "a", dog, 2),
        Unregistered(registry, "a", dog),
    ]


def test_listeners_are_told_that_an_actor_lost_a_duplicate_key_when_it_lost_the_last_entry(
    runtime: ManualRuntime,
) -> None:
    probe, dog = Probe(), Dog.start()
    registry = Registry(Keys.DUPLICATE, listeners=[probe.ref])
    for value in (1, 2):
        registry.register("a", dog, value)
    registry.unregister_match("a", dog, lambda value: value == 1)
    runtime.settle()
    assert probe.messages == [Registered(registry, "a", dog, value) for value in (1, 2)]
    registry.unregister_match("a", dog, lambda value: value == 2)
    runtime.settle()
    assert probe.messages[2:] == [Unregistered(registry, "a", dog)]


def test_listeners_are_told_of_the_dead_before_a_monitor_is(runtime: ManualRuntime) -> None:
    probe, dog = Probe(), Dog.start()
    registry = Registry(listeners=[probe.ref])
    registry.register("a", dog)
    probe.monitor(dog)
    dog.kill()
    runtime.settle()
    assert probe.messages[:2] == [Registered(registry, "a", dog, None), Unregistered(registry, "a", dog)]
    assert [type(message) for message in probe.messages[2:]] == [Down]


@pytest.mark.parametrize("form", ["name", "via"])
def test_a_listener_is_found_by_its_name_each_time(runtime: ManualRuntime, form: str) -> None:
    names, dog = Registry(), Dog.start()
    listener = "listener" if form == "name" else Via(names, "listener")
    registry = Registry(listeners=[listener])

    def probe() -> Probe:
        started = Probe()
        Via.of(listener, started.ref.process.scheduler.names).register(started.ref)
        return started

    first = probe()
    registry.register("a", dog)
    runtime.settle()
    first.ref.kill()
    runtime.settle()
    registry.register("nobody hears of", dog)
    second = probe()
    registry.register("b", dog)
    runtime.settle()
    assert first.messages == [Registered(registry, "a", dog, None)]
    assert second.messages == [Registered(registry, "b", dog, None)]


def test_a_listener_may_be_what_is_registered(runtime: ManualRuntime) -> None:
    probe = Probe()
    registry = Registry(listeners=["me"])
    probe.ref.process.scheduler.names.register("me", probe.ref)
    registry.register("a", probe.ref)
    runtime.settle()
    assert probe.messages == [Registered(registry, "a", probe.ref, None)]
    probe.ref.kill()
    runtime.settle()
    assert registry.count() == 0


@pytest.mark.parametrize("listeners", ["probe", [None]])
def test_listeners_are_a_list_of_somebody(listeners: Any) -> None:
    with pytest.raises(TypeError, match="listeners must be a list of refs or names, got "):
        Registry(listeners=listeners)


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


def test_registering_a_unique_key_again_changes_the_value(runtime: ManualRuntime) -> None:
    registry, dog = Registry(), Dog.start()
    registry.register("a", dog, 1)
    registry.register("a", dog, 2)
    assert (registry.lookup("a"), len(registry)) == ([(dog, 2)], 1)
    dog.stop()
    assert len(registry) == 0


def test_registering_a_duplicate_key_again_adds_an_entry(runtime: ManualRuntime) -> None:
    registry, dog, cat = Registry(Keys.DUPLICATE), Dog.start(), Cat.start()
    registry.register("a", dog, 1)
    registry.register("a", cat, 2)
    registry.register("a", dog, 3)
    assert registry.lookup("a") == [(dog, 1), (dog, 3), (cat, 2)]
    assert (registry.values("a", dog), registry.values("a", cat), registry.values("b", dog)) == ([1, 3], [2], [])
    assert (registry.keys(dog), registry.count()) == (["a", "a"], 3)
    registry.unregister("a", dog)
    assert (registry.lookup("a"), registry.count()) == ([(cat, 2)], 1)


def test_a_value_is_updated_by_a_function(runtime: ManualRuntime) -> None:
    registry, dog = Registry(), Dog.start()
    registry.register("a", dog, 1)
    assert registry.update_value("a", dog, lambda old: old + 1) == (2, 1)
    assert registry.values("a", dog) == [2]


def test_a_value_that_is_not_there_is_not_updated(runtime: ManualRuntime) -> None:
    registry, dog, cat = Registry(), Dog.start(), Cat.start()
    registry.register("a", dog, 1)
    for key, ref in (("a", cat), ("b", dog)):
        with pytest.raises(NotRegisteredError, match=f"{ref} is not registered as '{key}'; register") as caught:
            registry.update_value(key, ref, lambda old: old)
        assert (caught.value.key, caught.value.actor) == (key, ref)


def test_a_value_of_a_duplicate_key_is_not_updated(runtime: ManualRuntime) -> None:
    registry, dog = Registry(Keys.DUPLICATE), Dog.start()
    registry.register("a", dog, 1)
    with pytest.raises(ValueError, match=r"update_value\(\) needs unique keys"):
        registry.update_value("a", dog, lambda old: old)


@pytest.mark.parametrize(("limit", "left"), [(0, [1, 2, 3]), (2, [3]), (3, [])], ids=["none", "some", "all"])
def test_entries_are_unregistered_by_their_value(runtime: ManualRuntime, limit: int, left: list[int]) -> None:
    registry, dog, cat = Registry(Keys.DUPLICATE), Dog.start(), Cat.start()
    for value in (1, 2, 3):
        registry.register("a", dog, value)
    registry.register("a", cat, 1)
    registry.unregister_match("a", dog, lambda value: value <= limit)
    assert (registry.values("a", dog), registry.values("a", cat)) == (left, [1])
    assert (registry.keys(dog), registry.count()) == (["a"] * len(left), len(left) + 1)


def test_ten_thousand_actors_have_one_key_and_give_it_back(runtime: ManualRuntime) -> None:
    registry, refs = Registry(Keys.DUPLICATE), [Dog.start() for _ in range(10_000)]
    for number, ref in enumerate(refs):
        registry.register("a", ref, number)
    assert registry.count() == len(registry.lookup("a")) == registry.count_match("a", lambda _: True) == 10_000
    assert registry.whereis("a") is refs[0]
    for ref in refs[:9_999]:
        ref.kill()
    runtime.settle()
    assert registry.lookup("a") == [(refs[-1], 9_999)]
    assert (registry.whereis("a"), registry.count()) == (refs[-1], 1)


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


@pytest.mark.parametrize("block", [True, False], ids=["blocking", "not blocking"])
def test_stop_all_leaves_children_to_their_parents(
    runtime: ManualRuntime, zoo: tuple[list[Any], list[ActorRef[Any]]], *, block: bool
) -> None:
    log, refs = zoo
    mother = refs[0]
    kittens = [spawn(Cat, (log,), parent=mother.process) for _ in range(2)]
    stops = ActorRegistry.stop_all(block=block)
    runtime.settle()
    assert len(stops) == 3
    assert log == [("stopped", ref) for ref in [*reversed(refs), *kittens]]
    assert ActorRegistry.get_all() == []


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


@pytest.fixture
def hasty() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty")
def test_a_registry_may_be_written_from_several_threads(background: in_thread, registry: Registry) -> None:
    """Actors die in their thread while two others register them: nobody who is dead stays in."""

    def register() -> None:
        for ref in refs:
            try:
                registry.register(("mine", ref.pid), ref)
                registry.register(("theirs", ref.pid), ref)
                if registry.kind is Keys.DUPLICATE:
                    registry.register("all", ref)
                    registry.whereis("all")
            except pykka.ActorDeadError:
                refused.append(ref)

    refs, refused = [Dog.start() for _ in range(500)], list[Any]()
    downs = [ref.down() for ref in refs]
    writers = [threading.Thread(target=register) for _ in range(2)]
    for writer in writers:
        writer.start()
    for ref in refs:
        ref.kill()
    for writer in writers:
        writer.join(WAIT)
    for down in downs:
        down.get(timeout=WAIT)
    assert (registry.select(), registry.names(), registry.count()) == ([], [], 0)
    assert not any(ref.process.names for ref in refs)


@pytest.mark.usefixtures("hasty")
def test_no_update_of_a_value_is_lost_between_threads(background: in_thread) -> None:
    def one_more(old: int) -> int:
        return old + sum(1 for number in range(50) if number == 7)

    def update() -> None:
        together.wait(WAIT)
        for _ in range(3_000):
            registry.update_value("a", dog, one_more)

    registry, dog, together = Registry(), Dog.start(), threading.Barrier(2)
    registry.register("a", dog, 0)
    writers = [threading.Thread(target=update) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(WAIT)
    assert registry.values("a", dog) == [6_000]


def test_a_look_up_looks_again_when_another_thread_changed_what_it_looks_at(runtime: ManualRuntime) -> None:
    class Changed(dict[Any, Any]):
        looks = 0

        def __iter__(self) -> Iterator[Any]:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("dictionary changed size during iteration")
            return super().__iter__()

    registry, dog = Registry(Keys.DUPLICATE), Dog.start()
    registry.register("a", dog)
    entries = registry._entries["a"] = Changed(registry._entries["a"])
    assert (registry.whereis("a"), entries.looks) == (dog, 2)


@pytest.fixture
def often_switched() -> Iterator[None]:
    """Threads are switched at almost every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often_switched")
def test_the_registry_is_read_while_another_thread_adds_its_loops() -> None:
    class Loop:
        """Stands for a scheduler."""

    def add() -> None:
        while not is_over.is_set():
            loops: list[Any] = [Loop() for _ in range(200)]
            for loop in loops:
                ActorRegistry.join(loop)

    is_over = threading.Event()
    adding = threading.Thread(target=add)
    adding.start()
    try:
        for _ in range(2000):
            ActorRegistry.schedulers()
    finally:
        is_over.set()
        adding.join(WAIT)
