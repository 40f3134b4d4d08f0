"""State as text: bounded, and without secrets."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from actors.actor import Actor
from actors.exits import KILLED, NORMAL, SHUTDOWN, Crash, ExitReason, Shutdown
from transport.observer.pretty import CHARACTERS, ITEMS, LEVELS, PARTS, pretty, pretty_attribute, reason_in_words

if TYPE_CHECKING:
    from actors.testing import ManualRuntime


@dataclass
class Account:
    user: str
    password: str
    unseen: str = field(default="unseen", repr=False)


class Session(msgspec.Struct):
    n: int
    api_token: str


class Careful(msgspec.Struct):
    """Says itself what may be shown."""

    headers: dict[str, str]

    def __repr__(self) -> str:
        return "Careful(…)"


class Plain:
    pass


class Broken:
    def __repr__(self) -> str:
        raise ValueError("no repr")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (1.5, "1.5"),
        ("it's", '"it\'s"'),
        (b"abc", "<3 bytes>"),
        ({}, "{}"),
        ([1, "a"], "[1, 'a']"),
        ((1,), "(1,)"),
        ({1}, "set(1)"),
        (deque([1, 2]), "deque(1, 2)"),
        (OrderedDict(a=1), "{'a': 1}"),
        ({"password": "x", "n": {"Cookie": 2}}, "{'password': [FILTERED], 'n': {'Cookie': [FILTERED]}}"),
        ({1: "x", ("a", "b"): 2}, "{1: 'x', ('a', 'b'): 2}"),
        (Account("ann", "hunter2"), "Account(user='ann', password=[FILTERED])"),
        ([Session(1, "x")], "[Session(n=1, api_token=[FILTERED])]"),
        (Careful({"cookie": "x"}), "Careful(…)"),
        (Plain(), "<Plain>"),
        ([Broken(), 1], "[<Broken that cannot be shown>, 1]"),
        ('["1","2","room","phx_join",{"token":"x"}]', "JSON ['1', '2', 'room', 'phx_join', {'token': [FILTERED]}]"),
        (b'{"secret":1}', "JSON {'secret': [FILTERED]}"),
        ("[not json", "'[not json'"),
        (b"{\xff", "<2 bytes>"),
    ],
)  # fmt: skip  # a row is a line
def test_a_value_as_text(value: Any, text: str) -> None:
    assert pretty(value) == text


def test_what_does_not_fit_in_a_line_is_indented() -> None:
    value = {"name": "x" * 40, "inner": {"first": "y" * 40, "second": [1, 2, 3]}}
    assert pretty(value).splitlines() == [
        "{",
        f"  'name': '{'x' * 40}',",
        "  'inner': {",
        f"    'first': '{'y' * 40}',",
        "    'second': [1, 2, 3],",
        "  },",
        "}",
    ]


def test_short_items_stand_side_by_side() -> None:
    first, *lines, last = pretty(list(range(ITEMS + 7))).splitlines()
    assert (first, last) == ("[", "]")
    assert lines[0].startswith("  0, 1, 2, ")
    assert lines[-1].endswith("49, … 7,")
    assert len(lines) == 3


def test_all_is_bounded() -> None:
    assert len(pretty("x" * 10_000)) <= CHARACTERS + 2
    assert pretty("[" + "1," * 100_000 + "1]") == "<200,003 characters of JSON>"
    wide = [[list(range(ITEMS)) for _ in range(ITEMS)] for _ in range(ITEMS)]
    assert len(pretty(wide)) < 10 * PARTS
    assert pretty(list(range(1_000_000))).count(",") == ITEMS + 1


def test_a_ring_ends() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert pretty(ring) == "[" * (LEVELS + 1) + "[DEEPER]" + "]" * (LEVELS + 1)


def test_json_that_is_nested_deeper_than_a_message_may_be_is_not_decoded() -> None:
    assert pretty('{"a":' * 5 + "1" + "}" * 5).startswith("JSON {")
    for text in ("[" * 300, "[" * 300 + "]" * 300):
        assert (
            pretty(text)
            == pretty(text.encode())
            == pretty(bytearray(text.encode()))
            == f"<{len(text)} characters of JSON>"
        )


def test_an_actor_is_shown_by_its_name(runtime: ManualRuntime) -> None:
    ref = Actor.start()
    assert pretty([ref]) == f"[Actor {ref.pid}]"


def test_a_timer_is_shown_without_the_time_that_is_left(runtime: ManualRuntime) -> None:
    assert pretty(Actor.start().process.scheduler.clock.call_after(5, print)) == "<Timer>"


def test_an_attribute_with_the_name_of_a_secret_is_not_shown() -> None:
    assert pretty_attribute("_secret_key", "x") == "[FILTERED]"
    assert pretty_attribute("user", "x") == "'x'"
    assert pretty_attribute("user", "x", ["user"]) == "[FILTERED]"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (NORMAL, "normal"),
        (SHUTDOWN, "shutdown"),
        (Shutdown("left"), "shutdown: left"),
        (Shutdown({"token": 1}), "shutdown: {'token': [FILTERED]}"),
        (KILLED, "killed"),
        (Crash(ValueError("bad")), "ValueError: bad"),
        (None, "None"),
    ],
)
def test_a_reason_in_words(reason: ExitReason | None, text: str) -> None:
    assert reason_in_words(reason) == text
