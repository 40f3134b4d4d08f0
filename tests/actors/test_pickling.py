"""What can be pickled and copied: every public exception, exit reasons and values; and what a handle says instead."""

from __future__ import annotations

import copy
import gc
import importlib
import inspect
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from actors import KILL, KILLED, NO_PROCESS, NORMAL, SHUTDOWN, Actor, ActorRef, Crash, Future, Registry, Shutdown, Task
from actors.exceptions import ActorsError, NameTakenError, StartError, TaskExitError
from actors.pickling import ForeignError
from actors.testing import ManualRuntime
from supervisors.exceptions import AlreadyStartedError, SystemDownError
from tests.test_exports import PUBLIC
from transport.client.exceptions import ConnectError, JoinError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def exceptions() -> list[type[BaseException]]:
    """Return the exceptions that any module exports."""
    found: dict[type[BaseException], None] = {}
    for name in PUBLIC:
        module = importlib.import_module(name)
        for exported in getattr(module, "__all__", ()):
            value = getattr(module, exported)
            if inspect.isclass(value) and issubclass(value, BaseException):
                found[value] = None
    return list(found)


class RoomSocket:
    """For exceptions that show the name of a class."""


# By the name of the parameter; all others get a text of their own.
SAMPLES: dict[str, Any] = {
    "cause": ValueError("the cause"),
    "error": ValueError("the cause"),
    "socket": RoomSocket,
    "params": {"token": "x"},
    "seed": 7,
    "timeout": 2.5,
    "limit": 100,
    "max_children": 3,
    "deaths": 6,
    "seconds": 10.0,
    "reply": None,
    "reason": "the reason",
    "owners": ["A <0.1.0>", "B <0.2.0>"],
    "refs": ["A <0.1.0>", "B <0.2.0>"],
}


def made(kind: type[BaseException]) -> BaseException:
    """Return an exception with a value for each parameter."""
    if kind.__init__ in {Exception.__init__, ValueError.__init__, TypeError.__init__, AssertionError.__init__}:
        return kind("what happened")
    args: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        sample = SAMPLES.get(parameter.name, f"the {parameter.name}")
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = sample
        elif parameter.kind is not parameter.VAR_KEYWORD:
            args.append(sample)
    return kind(*args, **keywords)


def pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda value: pickle.loads(pickle.dumps(value, protocol))  # noqa: S301  # it was pickled here


WAYS = [
    *(pytest.param(pickled(protocol), id=f"pickle {protocol}") for protocol in PROTOCOLS),
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_keeps_its_type_text_attributes_and_notes(
    kind: type[BaseException], way: Callable[[Any], Any]
) -> None:
    error = made(kind)
    error.add_note("seen at noon")
    again = way(error)
    assert type(again) is kind
    assert again is not error
    assert str(again) == str(error)
    assert repr(again) == repr(error)
    assert again.args == error.args
    assert shown(vars(again)) == shown(vars(error))
    assert again.__notes__ == ["seen at noon"]
    assert str(way(again)) == str(error)


def shown(attributes: dict[str, Any]) -> dict[str, str]:
    # Two exceptions are never equal.
    return {name: repr(value) for name, value in attributes.items()}


def test_an_exception_with_a_text_in_the_place_of_its_cause_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    error = StartError("it", "its cause")  # type: ignore[arg-type]  # as a caller without a type checker may
    assert pickled(4)(error).cause == "its cause"
    del error
    gc.collect()
    assert ignored == []


def test_nearly_fifty_exceptions_are_tested() -> None:
    assert len(exceptions()) > 45  # those of `__all__` when this was written


# What cannot be pickled


class FetchError(Exception):
    """It can be pickled, but not unpickled: its `__init__` is called with the text."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(f"{url} answered {status}")


class SilentError(Exception):
    """It has no text."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Worker(Actor):
    """It does nothing."""


@pytest.fixture
def ref() -> ActorRef[Any]:
    with ManualRuntime():
        return Worker.start()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_ref_in_an_exception_arrives_as_text(protocol: int, ref: ActorRef[Any]) -> None:
    again = pickled(protocol)(NameTakenError("worker", ref))
    assert again.owner == str(ref)
    assert str(again) == f"name 'worker' is already taken by {ref}"
    assert pickled(protocol)(AlreadyStartedError("a", ref)).ref == str(ref)
    assert pickled(protocol)(ActorsError([ref, 1])).args == ([str(ref), 1],)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cause_that_cannot_be_unpickled_arrives_as_an_exception_with_its_text(protocol: int) -> None:
    error = StartError("a child", StartError("a worker", FetchError("/index", 503)))
    again = pickled(protocol)(error)
    assert str(again) == str(error)
    assert isinstance(again.root, ForeignError)
    assert str(again.root) == "/index answered 503"
    assert repr(again.root) == "FetchError('/index answered 503')"
    assert str(pickled(protocol)(again).root) == "/index answered 503"


@pytest.mark.parametrize("way", WAYS)
def test_the_text_of_an_exception_that_has_a_cause_is_kept(way: Callable[[Any], Any]) -> None:
    error = JoinError("room:1", "phx_join", "error", {})
    error.__cause__ = FetchError("/token", 500)
    assert str(way(error)) == str(error)
    assert "FetchError('/token answered 500')" in str(error)


def test_an_exception_without_a_text_does_not_keep_another_from_being_pickled() -> None:
    error = TaskExitError("a task", Crash(SilentError()))
    again = pickled(5)(error)
    assert str(again.reason.exception) == "<SilentError that cannot be shown>"


def test_two_exceptions_that_refer_to_each_other_still_do() -> None:
    error = ConnectError("ws://localhost", ValueError("no"))
    error.cause = StartError("a", error)
    for way in (pickled(5), copy.deepcopy):
        again: Any = way(error)
        assert again.cause.cause is again


def test_a_copy_shares_what_cannot_be_copied() -> None:
    error = ActorsError("a", lock := threading.Lock())
    error.job = lock  # type: ignore[attr-defined]  # as an application may
    again = copy.deepcopy(error)
    assert again.args == ("a", lock)
    assert again.job is lock  # type: ignore[attr-defined]  # as above


# Exit reasons


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "reason", [NORMAL, SHUTDOWN, KILLED, NO_PROCESS, Shutdown("busy"), Shutdown({"at": [1]})], ids=repr
)
def test_exit_reasons_are_equal_again(reason: Any, way: Callable[[Any], Any]) -> None:
    assert way(reason) == reason


@pytest.mark.parametrize("way", WAYS)
def test_kill_is_the_same_again(way: Callable[[Any], Any]) -> None:
    assert way(KILL) is KILL


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_crash_keeps_the_text_of_an_exception_that_cannot_be_pickled(protocol: int, ref: ActorRef[Any]) -> None:
    crash = Crash(FetchError("/index", 503))
    again = pickled(protocol)(SystemDownError("System", crash))
    assert again.reason.exception.args == ("FetchError('/index answered 503')", "/index answered 503")
    assert pickled(protocol)(Shutdown(ref)) == Shutdown(str(ref))
    assert copy.deepcopy(crash) == crash


# Handles


def handles(ref: ActorRef[Any]) -> list[Any]:
    process = ref.process
    runtime = process.scheduler
    return [
        ref,
        process,
        runtime.clock,
        runtime.clock.call_after(1.0, print),
        runtime.clock.send_interval(1.0, process, "tick"),
        Future(),
        Registry(),
        process.reply_later(),
        process.monitor(process),
        Task(print, (), {}, scheduler=runtime),
    ]


def test_a_copy_of_a_handle_is_the_handle() -> None:
    with ManualRuntime():
        for handle in handles(Worker.start()):
            assert copy.copy(handle) is handle
            assert copy.deepcopy({"message": [handle]}) == {"message": [handle]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_handle_says_why_it_cannot_be_pickled(protocol: int) -> None:
    with ManualRuntime():
        for handle in handles(Worker.start()):
            with pytest.raises(TypeError, match="cannot be pickled, as it belongs to this process; "):
                pickle.dumps(handle, protocol)


def test_an_actor_is_not_pickled_either() -> None:
    with ManualRuntime():
        ref = Worker.start()
        actor = ref.process.actor
        with pytest.raises(TypeError, match=rf"^<Process {ref}> cannot be pickled, as it belongs to this process; "):
            pickle.dumps(actor)


def test_a_ref_says_what_to_do_instead_of_pickling_it() -> None:
    with ManualRuntime():
        ref = Worker.start()
        with pytest.raises(TypeError) as raised:
            pickle.dumps({"to": ref})
        assert str(raised.value) == (
            f"{ref!r} cannot be pickled, as it belongs to this process; send a key by which code there finds an actor of its "
            "own, or publish what this one should get with a PubSub whose adapter connects the processes"
        )
