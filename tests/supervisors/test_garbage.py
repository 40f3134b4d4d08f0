"""Python's garbage collector, while a system is the program."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from actors.actor import Actor
from supervisors import SystemDownError
from supervisors.garbage import THRESHOLDS, rare_collections
from supervisors.system import System
from tests.live import WAIT

DEFAULT = (700, 10, 10)


@pytest.fixture(autouse=True)
def _as_python_starts() -> Iterator[None]:
    before, enabled = gc.get_threshold(), gc.isenabled()
    gc.enable()
    gc.set_threshold(*DEFAULT)
    yield
    gc.set_threshold(*before)
    if enabled:
        gc.enable()
    else:
        gc.disable()


def test_it_looks_less_often_and_not_at_what_was_there_until_the_block_ends() -> None:
    with rare_collections():
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > len(gc.get_objects())
    assert gc.get_threshold() == DEFAULT
    assert gc.get_freeze_count() == 0


def test_cycles_are_still_freed() -> None:
    class Ring:
        def __init__(self) -> None:
            self.ring = self

    with rare_collections():
        gone = weakref.ref(Ring())
        for _ in range(THRESHOLDS[0] + 1):
            if gone() is None:
                break
            keep = [Ring()]
        assert gone() is None
        assert keep


@pytest.mark.parametrize("decided", [(5000, 10, 10), (0, 0, 0)])
def test_who_has_decided_already_is_obeyed(decided: tuple[int, int, int]) -> None:
    gc.set_threshold(*decided)
    with rare_collections():
        assert (gc.get_threshold(), gc.get_freeze_count()) == (decided, 0)


def test_a_collector_that_is_off_stays_as_it_is() -> None:
    gc.disable()
    with rare_collections():
        assert (gc.get_threshold(), gc.isenabled()) == (DEFAULT, False)


class Observed(Actor):
    """Looks at the thresholds when the system serves, and ends it."""

    seen: list[tuple[int, int, int]]

    def __init__(self, seen: list[tuple[int, int, int]], system: System) -> None:
        self.seen = seen
        self.system = system

    def on_receive(self, message: object) -> None:
        self.seen.append(gc.get_threshold())
        self.system.ref.kill()


def serve() -> list[tuple[int, int, int]]:
    seen: list[tuple[int, int, int]] = []

    def then(system: System) -> None:
        observed = Observed.start(seen, system)
        system.ref.process.scheduler.loop.call_soon(observed.send, "look")

    with pytest.raises(SystemDownError):
        System().run(then)
    return seen


def test_a_system_that_is_the_program_does_so_while_it_serves() -> None:
    assert serve() == [THRESHOLDS]
    assert gc.get_threshold() == DEFAULT


def test_one_in_another_thread_does_not() -> None:
    seen: list[tuple[int, int, int]] = []
    thread = threading.Thread(target=lambda: seen.extend(serve()))
    thread.start()
    thread.join(WAIT)
    assert seen == [DEFAULT]
