"""Text and tables at a prompt."""

from __future__ import annotations

from io import StringIO
from typing import NamedTuple

import pytest

from supervisors.observer.display import BOLD, PLAIN, Column, Table, Text, duration, in_columns
from tests.supervisors.terminals import Terminal, colourful

__all__ = ["colourful"]


class Person(NamedTuple):
    name: str
    age: int


COLUMNS = (
    Column[Person]("name", lambda row: ((row.name, BOLD),)),
    Column[Person]("age", lambda row: ((str(row.age), PLAIN),), right=True),
)
PEOPLE = [Person("Ann", 7), Person("Benjamin", 101)]


def test_a_text_is_shown_as_it_is() -> None:
    text = Text("a\nb", "\x1b[1ma\x1b[0m\nb", StringIO())
    assert (text, repr(text), str(text)) == ("a\nb", "a\nb", "a\nb")


@pytest.mark.usefixtures("colourful")
def test_a_text_is_in_colours_in_a_terminal_but_not_as_a_string() -> None:
    text = Text("a", "\x1b[1ma\x1b[0m", Terminal())
    assert (repr(text), str(text)) == ("\x1b[1ma\x1b[0m", "a")


@pytest.mark.usefixtures("colourful")
def test_standard_output_decides_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Text("a", "\x1b[1ma\x1b[0m")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert repr(text) == "\x1b[1ma\x1b[0m"
    monkeypatch.setattr("sys.stdout", StringIO())
    assert repr(text) == "a"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
@pytest.mark.usefixtures("colourful")
def test_the_environment_forbids_colours(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    assert repr(Text("a", "\x1b[1ma\x1b[0m", Terminal())) == "a"


@pytest.mark.usefixtures("colourful")
def test_an_empty_no_color_forbids_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert repr(Text("a", "b", Terminal())) == "b"


def test_a_table_is_a_list_that_is_shown_in_columns() -> None:
    table = Table(PEOPLE, COLUMNS)
    assert table == PEOPLE
    assert str(table).splitlines() == ["name      age", "Ann         7", "Benjamin  101"]


@pytest.mark.usefixtures("colourful")
def test_colours_do_not_count_as_width() -> None:
    lines = repr(Table(PEOPLE, COLUMNS, out=Terminal())).splitlines()
    assert lines[1:] == ["\x1b[1mAnn\x1b[0m         7", "\x1b[1mBenjamin\x1b[0m  101"]


def test_a_footer_stands_below_and_alone_if_there_is_nothing_else() -> None:
    assert str(Table(PEOPLE[:1], COLUMNS, footer="… and 1 more")).splitlines()[-1] == "… and 1 more"
    assert str(Table([], COLUMNS, footer="nobody")) == "nobody"


def test_cells_may_be_empty() -> None:
    assert in_columns(("", "n"), [((("a", PLAIN),), ())], (False, True)) == "   n\na"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0004, "0 ms"),
        (0.35, "350 ms"),
        (1, "1 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172799, "47 h"),
        (172800, "2 d"),
    ],
)
def test_a_duration_is_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
