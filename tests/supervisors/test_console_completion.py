"""What a word at a console's prompt can become."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from supervisors.console.server.completion import completions


class Thing:
    """Something with attributes."""

    colour = "red"
    _hidden = 1
    parts: ClassVar[dict[str, Any]] = {}

    def shake(self) -> None:
        raise AssertionError("it was called")

    @property
    def price(self) -> int:
        raise AssertionError("it was looked at")

    @property
    def inner(self) -> Thing:
        return self


class Closed:
    """Does not want to be looked at."""

    def __dir__(self) -> list[str]:
        raise RuntimeError("no")


NAMESPACE = {"thing": Thing(), "things": [], "closed": Closed(), "_secret": 1, "thingify": len}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("thing", ["thing", "thingify(", "things"]),
        ("_sec", ["_secret"]),
        ("isinst", ["isinstance("]),
        ("nonloc", ["nonlocal"]),
        ("matc", ["match"]),
        ("thing.", ["thing.colour", "thing.inner", "thing.parts", "thing.price", "thing.shake("]),
        ("thing._h", ["thing._hidden"]),
        ("thing.inner.inner.c", ["thing.inner.inner.colour"]),
        ("thing.price.", []),
        ("closed.", []),
        ("nobody.", []),
        ("nobody", []),
        ("thing().", []),
        ("thing. ", []),
        ("things[0].", []),
    ],
)
def test_a_word_is_completed(text: str, fits: list[str]) -> None:
    if text == "thing.price.":
        with pytest.raises(AssertionError, match="it was looked at"):
            Thing().price  # noqa: B018  # it is what the next line must survive
    assert completions(text, NAMESPACE) == fits


def test_without_a_word_all_names_fit_but_those_with_underscores() -> None:
    found = completions("", NAMESPACE)
    assert {"thing", "closed", "print(", "while"} <= set(found)
    assert not any(name.startswith("_") for name in found)
