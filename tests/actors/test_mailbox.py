"""What authors write to bound a mailbox."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import pytest

from actors.actor import Actor
from actors.mailbox import Mailbox
from actors.runtime.bounded_process import BoundedProcess
from supervisors import Supervisor

if TYPE_CHECKING:
    from actors.testing import ManualRuntime


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "10", None])
def test_a_limit_is_a_whole_number_of_messages(limit: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"limit must be a whole number >= 1, got {limit!r}")):
        Mailbox(limit)


@pytest.mark.parametrize("on_full", ["drop", "Refuse", None, 3, ["refuse"]])
def test_what_becomes_of_more_is_one_of_four_words(on_full: Any) -> None:
    expected = f"on_full must be 'refuse', 'drop_newest', 'drop_oldest', 'crash', got {on_full!r}"
    with pytest.raises(ValueError, match=re.escape(expected)):
        Mailbox(10, on_full)


@pytest.mark.parametrize(
    ("value", "example"),
    [
        (100, "Mailbox(limit=100)"),
        (Mailbox, 'Mailbox(limit=100, on_full="refuse")'),
        ({"limit": 100}, 'Mailbox(limit=100, on_full="refuse")'),
    ],
)
def test_a_class_whose_mailbox_bounds_nothing_is_an_error_where_it_is_written(value: Any, example: str) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.mailbox must be a Mailbox or None, got .*" + re.escape(example)):
        type("Wrong", (Actor,), {"mailbox": value, "__qualname__": "Wrong"})


def test_a_mailbox_that_is_set_later_is_checked_at_the_start(runtime: ManualRuntime) -> None:
    class Late(Actor):
        pass

    Late.mailbox = 100  # type: ignore[assignment]  # as an author may write it
    with pytest.raises(
        TypeError, match=r"Late\.mailbox must be a Mailbox or None, got 100; write `Mailbox\(limit=100\)`"
    ):
        Late.start()
    Late.mailbox = Mailbox(100)
    assert Late.start().process.limit == 100


class Wanting(Actor):
    """Has a bound where it bounds nothing."""

    def __init__(self, mailbox: object) -> None:
        self.mailbox = mailbox  # type: ignore[misc,assignment]  # as an author may write it


def test_a_mailbox_that_is_set_in_init_is_an_error_of_the_start(runtime: ManualRuntime) -> None:
    expected = (
        "Wanting: `self.mailbox = Mailbox(limit=3, on_full='refuse')` in `__init__` has no effect; write `mailbox = "
    )
    with pytest.raises(TypeError, match=re.escape(expected)):
        Wanting.start(Mailbox(limit=3))
    assert Wanting.start(["a letter"]).process.limit is None


class Postman(Actor):
    """Has a method of that name."""

    def mailbox(self) -> str:  # type: ignore[override]  # as of an author who needs no bounds
        return "green"


def test_a_method_called_mailbox_is_the_authors(runtime: ManualRuntime) -> None:
    ref = Postman.start()

    assert type(ref.process) is not BoundedProcess
    assert ref.proxy().mailbox().get() == "green"


class Small(Actor):
    mailbox: ClassVar[Mailbox | None] = Mailbox(3)


class Smaller(Small):
    mailbox = Mailbox(1)


class Unbounded(Small):
    mailbox = None


def test_a_subclass_has_the_bounds_of_its_class_unless_it_has_its_own(runtime: ManualRuntime) -> None:
    class AsSmall(Small):
        pass

    limits = [kind.start().process.limit for kind in (Actor, Small, Smaller, Unbounded, AsSmall)]

    assert limits == [None, 3, 1, None, 3]


class BoundedPykka(pykka.ThreadingActor):
    mailbox = Mailbox(3)


def test_a_pykka_actor_whose_messages_wait_elsewhere_is_refused(runtime: ManualRuntime) -> None:
    with pytest.raises(TypeError, match=r"BoundedPykka\.mailbox has no effect.*make it a ThreadedActor"):
        Supervisor.start([BoundedPykka])
