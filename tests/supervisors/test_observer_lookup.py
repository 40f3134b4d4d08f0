"""Whom a person means."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from actors.exceptions import AmbiguousNameError
from actors.registry import Registry
from actors.via import Via
from supervisors.child_spec import ChildSpec
from supervisors.exceptions import AmbiguousActorError, UnknownActorError
from supervisors.observer.lookup import find
from supervisors.observer.process_info import process_info
from supervisors.observer.scope import Scope
from tests.supervisors.systems import Counter, running

if TYPE_CHECKING:
    from actors.lowlevel import in_thread
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime
    from supervisors.system import System


@pytest.fixture
def system(runtime: ManualRuntime) -> Iterator[System]:
    children = [ChildSpec(Counter, name="counter"), ChildSpec(Counter, id="label"), ChildSpec(Counter, id="other")]
    with running(runtime, *children) as started:
        yield started


@pytest.fixture
def scope(system: System) -> Scope:
    return Scope(system)


def by_label(scope: Scope, label: str) -> ActorRef[Any]:
    (ref,) = [process.ref for process in scope.processes() if process.label == label]
    return ref


def test_an_actor_is_found_by_all_that_it_is_called(scope: Scope) -> None:
    ref = by_label(scope, "counter")
    number = ref.process.number
    ways = [
        ref,
        ref.process.actor,
        "counter",
        ref.pid,
        f"0.{number}.0",
        f" {ref.pid} ",
        number,
        process_info(ref.process),
    ]
    assert [find(way, scope) for way in ways] == [ref] * len(ways)


def test_an_actor_is_found_by_a_name_in_a_registry_of_ones_own(scope: Scope) -> None:
    ref, rooms = by_label(scope, "label"), Registry()
    rooms.register("lobby", ref)
    assert find(Via(rooms, "lobby"), scope) is ref
    with pytest.raises(UnknownActorError, match="ps"):
        find(Via(rooms, "attic"), scope)


def test_an_actor_is_found_by_its_label_in_the_tree(scope: Scope) -> None:
    assert find("label", scope) is by_label(scope, "label")


def test_the_root_is_found_by_the_name_of_the_system(scope: Scope, system: System) -> None:
    assert find("System", scope) is system.ref


def test_an_actor_is_found_by_the_topic_that_it_alone_has_subscribed_to(scope: Scope, system: System) -> None:
    first, second = by_label(scope, "label"), by_label(scope, "other")
    system.pubsub.subscribe("news", first)
    system.pubsub.subscribe("news", first)
    assert find("news", scope) is first
    system.pubsub.subscribe("news", second)
    with pytest.raises(AmbiguousActorError) as several:
        find("news", scope)
    assert several.value.refs == (first, second)
    assert str(several.value) == f"2 actors match 'news': {first}, {second}; give the pid of one"


def test_a_name_goes_before_a_label_and_a_pid(scope: Scope, system: System) -> None:
    first, second = by_label(scope, "label"), by_label(scope, "other")
    for name in ("label", first.process.number):
        system.names.register(name, second)
        assert find(name, scope) is second


def test_the_dead_are_found_by_their_ref_alone(scope: Scope, runtime: ManualRuntime) -> None:
    ref = by_label(scope, "label")
    ref.kill()
    runtime.settle()
    assert find(ref, scope) is ref
    with pytest.raises(UnknownActorError):
        find(ref.pid, scope)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("countr", "there is no actor 'countr'; closest matches: 'counter'"),
        ("pubsup", "there is no actor 'pubsup'; closest matches: 'pubsub'"),
        ("newz", "there is no actor 'newz'; closest matches: 'news'"),
        ("xyz", "there is no actor 'xyz'; ps() lists all actors"),
        ("<0.0.0>", "there is no actor '<0.0.0>'; ps() lists all actors"),
        (0, "there is no actor 0; ps() lists all actors"),
    ],
    ids=str,
)
def test_who_is_unknown_is_told_with_the_nearest_names(scope: Scope, system: System, target: Any, text: str) -> None:
    system.pubsub.subscribe("news", by_label(scope, "label"))
    with pytest.raises(UnknownActorError) as unknown:
        find(target, scope)
    assert str(unknown.value) == text


@pytest.mark.parametrize("target", [None, ["counter"], {}], ids=str)
def test_what_can_be_nobodys_name_is_refused(scope: Scope, target: Any) -> None:
    with pytest.raises(TypeError, match=r"an actor is given by .*; got "):
        find(target, scope)


async def start_one() -> ActorRef[Counter]:
    return Counter.start()


def test_without_a_system_all_event_loops_are_looked_through(scope: Scope, background: in_thread) -> None:
    mine = by_label(scope, "counter")
    other = asyncio.run_coroutine_threadsafe(start_one(), background.scheduler.loop).result()
    everywhere = Scope()
    assert find(mine.pid, everywhere) is mine
    assert find(other.pid, everywhere) is other
    with pytest.raises(UnknownActorError):
        find(other.pid, scope)
    background.scheduler.names.register("counter", other)
    with pytest.raises(AmbiguousNameError):
        find("counter", everywhere)
    assert find("counter", scope) is mine
