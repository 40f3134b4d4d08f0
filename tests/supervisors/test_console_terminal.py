"""The terminal of a console's client: what a server shows does it no harm."""

from __future__ import annotations

import io

import pytest

from supervisors.console.client.terminal import Filter, Terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, äöü, 日本\n\ttext\n", "plain, äöü, 日本\n\ttext\n"),
        ("\x1b[1;31mred\x1b[0m\x1b[m", "\x1b[1;31mred\x1b[0m\x1b[m"),
        ("\x1b[H\x1b[2J", "\x1b[H\x1b[2J"),
        ("\x1b]0;a title\x07", "\\x1b]0;a title\\x07"),
        ("\x1b[6n\x1bc\x1b[1;1H", "\\x1b[6n\\x1bc\\x1b[1;1H"),
        ("\x9b31m\x7f\x08\r\0", "\\x9b31m\\x7f\\x08\\r\\x00"),
        ("\u202eevil\u2066\ufeff\u2028", "\\u202eevil\\u2066\\ufeff\\u2028"),
    ],
    ids=["text", "colours", "top()", "title", "questions", "controls", "directions"],
)
def test_only_harmless_control_characters_pass(text: str, shown: str) -> None:
    whole = Filter()
    assert whole.feed(text) + whole.end() == shown
    cut = Filter()
    assert "".join(cut.feed(char) for char in text) + cut.end() == shown


def test_what_has_begun_as_a_colour_waits_for_its_end() -> None:
    filtering = Filter()
    assert filtering.feed("red: \x1b[3") == "red: "
    assert filtering.feed("1mred") == "\x1b[31mred"
    assert filtering.feed("\x1b[") == ""
    assert filtering.end() == "\\x1b["
    assert filtering.end() == ""


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_output_that_cannot_be_written_is_lost_and_ends_nothing() -> None:
    terminal = Terminal(io.StringIO("1\n"), Broken())
    terminal.show("lost")
    terminal.end_of_output()
    assert terminal.read_line(">>> ", is_over=lambda: False) == "1"


class Tty(io.StringIO):
    """A terminal, to those who ask."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "environment",
    [{"TERM": "xterm"}, {"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}],
    ids=["xterm", "NO_COLOR", "dumb"],
)
def test_it_has_colours_unless_they_are_not_wanted(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Terminal(io.StringIO(), Tty()).has_colours is (environment == {"TERM": "xterm"})
    assert not Terminal(io.StringIO(), io.StringIO()).has_colours


def test_a_program_sees_what_is_shown_and_nothing_else() -> None:
    out = io.StringIO()
    terminal = Terminal(io.StringIO("one\n\ntwo"), out)
    assert [terminal.read_line(">>> ", is_over=lambda: False) for _ in range(3)] == ["one", "", "two"]
    with pytest.raises(EOFError):
        terminal.read_line(">>> ", is_over=lambda: False)
    terminal.show("no end of a line")
    terminal.end_of_output()
    assert out.getvalue() == "no end of a line"


def test_a_prompt_stands_at_the_beginning_of_a_line() -> None:
    out = io.StringIO()
    terminal = Terminal(Tty(), out)
    terminal.show("no end of a line\x1b")
    terminal.end_of_output()
    terminal.show("a line\n")
    terminal.end_of_output()
    assert out.getvalue() == "no end of a line\\x1b\na line\n"


def test_no_line_is_awaited_when_it_is_over() -> None:
    with pytest.raises(KeyboardInterrupt):
        Terminal(io.StringIO("line"), io.StringIO()).read_line(">>> ", is_over=lambda: True)
