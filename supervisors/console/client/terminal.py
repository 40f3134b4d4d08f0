"""The terminal of a client: output with control characters escaped, and line editing with history and completion."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TextIO

from actors.standard_streams import abandon_broken_output
from supervisors.observer.completion import Complete, complete_words

try:
    import readline as _imported
except ImportError:  # Python can be built without it: then there is no line editing
    _readline: ModuleType | None = None
else:
    _readline = _imported

__all__ = ["Filter", "Terminal"]

# Colours, and the sequences with which top() clears the screen (ECMA-48).
_ALLOWED = re.compile(r"\x1b\[(?:[0-9;]*m|H|2J)")
_ODD = re.compile(rf"{_ALLOWED.pattern}|[^ -~\n\t]")
# The beginning of an escape sequence, which may continue in the next text.
_BEGUN = re.compile(r"\x1b(?:\[[0-9;]*)?\Z")

_HISTORY_LENGTH = 1000


class Filter:
    """Escapes control characters, except line feeds, tabs, colours and clearing the screen.

    The output of a server may contain an attacker's message.
    """

    def __init__(self) -> None:
        self._begun = ""

    def feed(self, text: str) -> str:
        """Return the text, but hold back an escape sequence at its end that may continue."""
        text = self._begun + text
        begun = _BEGUN.search(text)
        self._begun = "" if begun is None else begun.group()
        return _ODD.sub(_escaped, text[: len(text) - len(self._begun)])

    def end(self) -> str:
        """Return what was held back, as no more text follows it."""
        begun, self._begun = self._begun, ""
        return _ODD.sub(_escaped, begun)


def _escaped(found: re.Match[str]) -> str:
    text = found.group()
    return text if len(text) > 1 or text.isprintable() else ascii(text)[1:-1]


class Terminal:
    """Input and output of a client: lines are edited at a terminal; other input, such as a pipe, gets no prompts."""

    def __init__(self, source: TextIO | None = None, out: TextIO | None = None) -> None:
        self._source, self._out = source or sys.stdin, out or sys.stdout
        self._filter = Filter()
        self._prompt: str | None = None
        self._is_at_line_start = True
        self.is_interactive = self._source.isatty()

    @property
    def has_colours(self) -> bool:
        """Whether it shows colours (https://no-color.org)."""
        return self._out.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")

    @property
    def is_prompting(self) -> bool:
        """Whether a line is being typed."""
        return self._prompt is not None

    def show(self, text: str) -> None:
        """Write output of the server; while a line is being typed, above it. For any thread."""
        harmless = self._filter.feed(text)
        if self._prompt is None or not self.is_interactive:
            self._write(harmless)
            return
        typed = "" if _readline is None else _readline.get_line_buffer()
        line_end = "" if harmless.endswith("\n") else "\n"
        self._write(f"\r\x1b[K{harmless}{line_end}{self._prompt}{typed}")

    def end_of_output(self) -> None:
        """Start a new line for the next prompt, unless the output ended with one."""
        rest = self._filter.end()
        self._write(rest if self._is_at_line_start or not self.is_interactive else f"{rest}\n")

    def _write(self, text: str) -> None:
        if text:
            self._is_at_line_start = text.endswith("\n")
            try:
                self._out.write(text)
                self._out.flush()
            except OSError:
                # The reader of the pipe, such as `head`, has exited: what is typed or piped in is run all the same.
                abandon_broken_output()

    def read_line(self, prompt: str, *, is_over: Callable[[], bool]) -> str:
        """Return the next line, without its end; do not wait for one when `is_over()`.

        Raises:
            EOFError: at the end of the input: Ctrl-D.
            KeyboardInterrupt: at Ctrl-C, or when it is over.
        """
        self._prompt = prompt
        try:
            # Checked after `is_prompting` is set, so that the thread that ends the session sees it.
            if is_over():
                raise KeyboardInterrupt
            return self._next_line(prompt)
        finally:
            self._prompt = None

    def _next_line(self, prompt: str) -> str:
        if self.is_interactive:
            return input(prompt)
        line = self._source.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n")

    # readline

    def edit_lines(self, history: Path, complete: Complete) -> None:
        """Turn on line editing, with a history file and `complete(word, line)` for Tab (see `complete_words`)."""
        if _readline is None or not self.is_interactive:
            return
        complete_words(_readline, complete)
        with suppress(OSError):
            _readline.read_history_file(history)

    def remember(self, history: Path) -> None:
        """Write the history, readable by its user only, as what was typed may be secret."""
        if _readline is None or not self.is_interactive:
            return
        with suppress(OSError):
            history.touch(mode=0o600)
            _readline.set_history_length(_HISTORY_LENGTH)
            _readline.write_history_file(history)
