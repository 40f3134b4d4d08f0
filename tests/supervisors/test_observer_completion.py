"""What a word at a console's prompt can become."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from supervisors.observer.completion import completions, names_that_fit, open_string


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


@pytest.mark.parametrize(
    ("line", "opened"),
    [
        ("", None),
        ("state(", None),
        ("state('", "'"),
        ('state("room:lo', '"room:lo'),
        ("state('it') + state('an", "'an"),
        ("send('a', {'b': \"it's", "\"it's"),
        (r"send('it\'s', 'a", "'a"),
        ("1 # it's", None),
        ("'#' + 'a", "'a"),
        ("state('a')", None),
    ],
)
def test_a_string_is_open_until_its_quote(line: str, opened: str | None) -> None:
    assert open_string(line) == opened


@pytest.mark.parametrize(
    ("word", "opened", "fits"),
    [
        ("", "'", ["a b", "room:1", "room:lobby"]),
        ("lo", '"room:lo', ["lobby"]),
        ("", "'room:", ["1", "lobby"]),
        ("room:lo", "'room:lo", ["room:lobby"]),
        ("b", "'a b", ["b"]),
        ("x", "'x", []),
        ("it", '"it', ["it's"]),
    ],
)
def test_a_name_in_quotes_is_completed_from_its_last_word_on(word: str, opened: str, fits: list[str]) -> None:
    names = ["room:lobby", "room:1", "room:1", "a b", "back\\slash", "line\n", "it's"]
    assert names_that_fit(word, opened, names) == fits
