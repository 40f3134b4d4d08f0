"""What a child spec takes, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

from actors.actor import Actor
from actors.pubsub.pubsub import PubSub, PubSubServer
from supervisors.backoff import Backoff
from supervisors.child_spec import BRUTAL_KILL, INFINITY, ChildKind, ChildSpec, Restart, child_spec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.restart import AutoShutdown, Strategy
from supervisors.supervisor import Supervisor


class Plain(Actor):
    pass


class Opinionated(Actor):
    restart = "transient"
    shutdown = 30.0


class Brutal(Actor):
    restart = Restart.TEMPORARY
    shutdown = BRUTAL_KILL


def test_a_spec_of_a_plain_actor_has_the_defaults_of_otp() -> None:
    spec = ChildSpec(Plain)
    assert (spec.id, spec.restart, spec.shutdown) == ("Plain", Restart.PERMANENT, 5.0)
    assert (spec.args, spec.kwargs, spec.name) == ((), {}, None)


@pytest.mark.parametrize("restart", list(Restart), ids=str)
def test_a_restart_may_be_given_by_its_name(restart: Restart) -> None:
    by_name: Any = restart.value
    assert ChildSpec(Plain, restart=by_name).restart is restart
    assert type(ChildSpec(Plain, restart=by_name).restart) is Restart


@pytest.mark.parametrize("shutdown", [0, 0.0, 0.25, 7, INFINITY, BRUTAL_KILL], ids=str)
def test_a_shutdown_is_seconds_or_infinity_or_brutal_kill(shutdown: Any) -> None:
    assert ChildSpec(Plain, shutdown=shutdown).shutdown == shutdown


@pytest.mark.parametrize("child_id", ["a", 1, ("room", "lobby"), frozenset({1})], ids=str)
def test_an_id_is_anything_hashable(child_id: Any) -> None:
    assert ChildSpec(Plain, id=child_id).id == child_id


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"actor": 5}, TypeError, "actor must be a subclass of actors.Actor, got 5"),
    ({"actor": int}, TypeError, "actor must be a subclass of actors.Actor, got <class 'int'>"),
    ({"args": "ab"}, TypeError, "args must be a tuple, got 'ab'"),
    ({"args": [1]}, TypeError, "args must be a tuple, got [1]"),
    ({"args": None}, TypeError, "args must be a tuple, got None"),
    ({"kwargs": ("a", 1)}, TypeError, "kwargs must be a mapping, got ('a', 1)"),
    ({"kwargs": None}, TypeError, "kwargs must be a mapping, got None"),
    ({"id": []}, TypeError, "id must be hashable, got []"),
    ({"id": ("room", [])}, TypeError, r"id must be hashable, got ('room', [])"),
    ({"restart": "always"}, ValueError, "restart must be one of permanent, transient, temporary, got 'always'"),
    ({"restart": None}, ValueError, "restart must be one of permanent, transient, temporary, got None"),
    ({"shutdown": -1}, ValueError, "shutdown must be seconds >= 0, INFINITY or BRUTAL_KILL, got -1"),
    ({"shutdown": math.nan}, ValueError, "shutdown must be seconds >= 0, INFINITY or BRUTAL_KILL, got nan"),
    ({"shutdown": True}, ValueError, "shutdown must be seconds >= 0, INFINITY or BRUTAL_KILL, got True"),
    ({"shutdown": "5"}, ValueError, "shutdown must be seconds >= 0, INFINITY or BRUTAL_KILL, got '5'"),
    ({"shutdown": None}, ValueError, "shutdown must be seconds >= 0, INFINITY or BRUTAL_KILL, got None"),
    ({"name": 5}, TypeError, "name must be a str, Via(registry, key) or None, got 5"),
    ({"kind": "boss"}, ValueError, "kind must be one of worker, supervisor, got 'boss'"),
    ({"significant": 1}, TypeError, "significant must be a bool, got 1"),
    ({"significant": True}, ValueError, "a significant child must be transient or temporary, got restart 'permanent'"),
    ({"backoff": 0.5}, TypeError, "backoff must be a Backoff or None, got 0.5"),
    ({"record": -1}, ValueError, "record must be a number of messages >= 0 or None, got -1"),
    ({"record": True}, ValueError, "record must be a number of messages >= 0 or None, got True"),
    ({"record": "20"}, ValueError, "record must be a number of messages >= 0 or None, got '20'"),
]


@pytest.mark.parametrize(
    ("options", "error", "text"), WRONG, ids=[f"{key}={value!r}" for row in WRONG for key, value in row[0].items()]
)
def test_a_wrong_option_is_named_with_its_value(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        ChildSpec(**{"actor": Plain, **options})
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("actor", "restart", "shutdown"),
    [
        (Plain, Restart.PERMANENT, 5.0),
        (Opinionated, Restart.TRANSIENT, 30.0),
        (Brutal, Restart.TEMPORARY, BRUTAL_KILL),
        (Supervisor, Restart.PERMANENT, INFINITY),
        (DynamicSupervisor, Restart.PERMANENT, INFINITY),
    ],
)
def test_what_is_not_given_comes_from_the_class(actor: type[Actor], restart: Restart, shutdown: Any) -> None:
    for spec in (ChildSpec(actor), child_spec(actor), ChildSpec(actor, (1,), id="other")):
        assert (spec.restart, spec.shutdown) == (restart, shutdown)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (ChildSpec(Plain), ChildKind.WORKER),
        (ChildSpec(Supervisor), ChildKind.SUPERVISOR),
        (ChildSpec(DynamicSupervisor), ChildKind.SUPERVISOR),
        (ChildSpec(Plain, kind=ChildKind.SUPERVISOR), ChildKind.SUPERVISOR),
        (ChildSpec(Supervisor, kind=ChildKind("worker")), ChildKind.WORKER),
    ],
    ids=["an actor", "a supervisor", "a dynamic supervisor", "an actor said to be one", "a supervisor said to be none"],
)
def test_the_kind_of_a_child_is_that_of_its_class_unless_it_is_given(spec: ChildSpec, kind: ChildKind) -> None:
    assert spec.kind is kind
    assert spec.having(id="other").kind is kind


def test_a_kind_may_be_given_by_its_name() -> None:
    assert ChildSpec(Plain, kind="supervisor").kind is ChildKind.SUPERVISOR


def test_an_actor_may_have_a_kind_of_its_own() -> None:
    class Pet(Actor):
        kind = "cat"

    assert ChildSpec(Pet).kind is ChildKind.WORKER


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY], ids=str)
def test_a_child_that_is_not_permanent_may_be_significant(restart: Restart) -> None:
    assert ChildSpec(Plain, restart=restart, significant=True).significant


def test_a_child_is_not_significant_and_does_not_wait_unless_told_so() -> None:
    assert (ChildSpec(Plain).significant, ChildSpec(Plain).backoff) == (False, None)
    assert ChildSpec(Plain, backoff=Backoff(min=1)).backoff == Backoff(min=1)


def test_what_is_given_goes_before_the_class() -> None:
    spec = ChildSpec(Opinionated, restart=Restart.PERMANENT, shutdown=5.0)
    assert (spec.restart, spec.shutdown) == (Restart.PERMANENT, 5.0)


def test_an_option_of_the_class_is_validated_too() -> None:
    class Confused(Actor):
        restart = "often"

    with pytest.raises(ValueError, match=r"restart must be one of .*, got 'often'"):
        child_spec(Confused)


def test_having_changes_a_copy() -> None:
    spec = ChildSpec(Plain, (1,), {"a": 2}, restart=Restart.TRANSIENT, shutdown=BRUTAL_KILL, name="it")
    other = spec.having(id="other", restart="temporary")
    assert (other.id, other.restart) == ("other", Restart.TEMPORARY)
    assert (other.actor, other.args, other.kwargs, other.shutdown, other.name) == (
        Plain,
        (1,),
        {"a": 2},
        BRUTAL_KILL,
        "it",
    )
    assert (spec.id, spec.restart) == ("Plain", Restart.TRANSIENT)


def test_having_validates() -> None:
    with pytest.raises(ValueError, match="got -3"):
        ChildSpec(Plain).having(shutdown=-3)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ChildSpec(Plain).id = "other"  # type: ignore[misc]  # that is the test


def test_a_spec_is_its_own_spec() -> None:
    spec = ChildSpec(Plain)
    assert child_spec(spec) is spec


def test_an_object_may_know_its_spec() -> None:
    class Knowing:
        def child_spec(self) -> ChildSpec:
            return ChildSpec(Plain, id="known")

    assert child_spec(Knowing()).id == "known"


def test_an_object_that_an_actor_serves_is_known_by_its_name() -> None:
    pubsub = PubSub("news")
    spec = child_spec(pubsub)
    assert (spec.actor, spec.args, spec.id, spec.name) == (PubSubServer, (pubsub,), "news", None)


@pytest.mark.parametrize("value", [None, 5, int, "Plain", object()], ids=lambda value: type(value).__name__)
def test_anything_else_is_no_child(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        child_spec(value)
    assert str(caught.value).endswith(f"got {value!r}")


def test_a_class_that_has_child_spec_but_is_no_actor_is_no_child() -> None:
    class Knowing:
        def child_spec(self) -> ChildSpec:
            return ChildSpec(Plain)

    with pytest.raises(TypeError, match="a child must be"):
        child_spec(Knowing)  # type: ignore[arg-type]  # that is the test


def test_options_may_be_given_by_their_names_to_type_checkers_too() -> None:
    spec = ChildSpec(Plain, restart="transient", kind="supervisor")
    assert (spec.restart, spec.kind) == (Restart.TRANSIENT, ChildKind.SUPERVISOR)
    supervisor = Supervisor([], strategy="rest_for_one", auto_shutdown="any_significant")
    assert (supervisor.strategy, supervisor.auto_shutdown) == (Strategy.REST_FOR_ONE, AutoShutdown.ANY_SIGNIFICANT)


class Making:
    """Provides its spec."""

    def child_spec(self) -> ChildSpec:
        return ChildSpec(PubSubServer)


@pytest.mark.parametrize("value", [PubSub, Making])
def test_a_class_whose_objects_are_children_says_to_make_one(value: Any) -> None:
    with pytest.raises(TypeError, match=rf"a child must be .*; write {value.__name__}\(…\)$"):
        child_spec(value)
