"""What a prompt says of its commands."""

from __future__ import annotations

from io import StringIO
from pydoc import Helper

from supervisors.observer.commands import words
from supervisors.observer.guide import SUMMARY, vocabulary
from supervisors.system import System


def test_the_summary_has_all_words() -> None:
    assert [word for word in words() if f"{word}(" not in SUMMARY] == []


def test_the_words_are_listed_with_what_each_does() -> None:
    listed = repr(words())
    assert [word for word in words() if f"\n{word} " not in f"\n{listed}"] == []
    assert "Draw the supervision tree" in listed


def test_help_lists_the_words_or_describes_what_it_is_given() -> None:
    shown = StringIO()
    variables = vocabulary(System(), Helper(StringIO(), shown))
    assert variables["help"]().keys() == variables["words"]().keys() == words().keys()
    variables["help"](variables["tree"], variables["ps"])
    assert "Draw the supervision tree" in shown.getvalue()
    assert "List the actors" in shown.getvalue()
    assert "help(tree)" in repr(variables["help"])
