"""Text and tables as a prompt shows them: plain, or in colours on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, Self, TextIO, TypeVar

from actors.redaction import printable

__all__ = ["ALARM", "BOLD", "DIM", "PID", "PLAIN", "WARN", "Cell", "Column", "Table", "Text", "duration", "in_columns"]

T = TypeVar("T")

# Select Graphic Rendition (ECMA-48).
PLAIN = ""
BOLD = "1"
DIM = "2"
ALARM = "31"
WARN = "33"
PID = "36"

# Pieces of text with their styles.
Cell = Sequence[tuple[str, str]]


class Text(str):
    """A string that a prompt shows without quotes, in colours on a terminal (unless NO_COLOR is set)."""

    __slots__ = ("_out", "coloured")

    coloured: str
    _out: TextIO | None

    def __new__(cls, plain: str, coloured: str | None = None, out: TextIO | None = None) -> Self:
        """Create it from the text without and with colours; `out` is where it goes, by default standard output."""
        text = super().__new__(cls, plain)
        text.coloured, text._out = plain if coloured is None else coloured, out
        return text

    def __repr__(self) -> str:
        return self.coloured if _takes_colours(self._out) else str(self)


def _takes_colours(out: TextIO | None) -> bool:
    # https://no-color.org
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    out = sys.stdout if out is None else out
    return out is not None and out.isatty()


def in_columns(
    titles: Sequence[str], rows: Iterable[Sequence[Cell]], right: Sequence[bool], out: TextIO | None = None
) -> Text:
    """Lay out rows of cells below their titles, each column as wide as needed; `right` columns are aligned to the right."""
    lines: list[Sequence[Cell]] = [[((title, DIM),) for title in titles], *(list(map(_printable, row)) for row in rows)]
    widths = [max(_width(cell) for cell in column) for column in zip(*lines, strict=True)]
    plain, coloured = [], []
    for cells in lines:
        padded = [_pad(*cell) for cell in zip(cells, widths, right, strict=True)]
        plain.append(_joined(padded, _plain))
        coloured.append(_joined(padded, _coloured))
    return Text("\n".join(plain), "\n".join(coloured), out)


def _printable(cell: Cell) -> Cell:
    """Return a cell on one line that commands no terminal: clients choose topics and ids."""
    return [(printable(text), style) for text, style in cell]


def _width(cell: Cell) -> int:
    return sum(len(text) for text, _ in cell)


def _pad(cell: Cell, width: int, right: bool) -> Cell:  # noqa: FBT001  # one of the columns of a table
    space = ((" " * (width - _width(cell)), PLAIN),)
    return (*space, *cell) if right else (*cell, *space)


def _joined(cells: Iterable[Cell], written: Callable[[Cell], str]) -> str:
    return "  ".join(written(cell) for cell in cells).rstrip()


def _plain(cell: Cell) -> str:
    return "".join(text for text, _ in cell)


def _coloured(cell: Cell) -> str:
    return "".join(f"\x1b[{style}m{text}\x1b[0m" if style and text else text for text, style in cell)


class Column(NamedTuple, Generic[T]):
    """A column of a table: its title, and the function from an item to its cell."""

    title: str
    cell: Callable[[T], Cell]
    right: bool = False


class Table(list[T]):
    """A list that a prompt shows as a table."""

    def __init__(
        self, items: Iterable[T], columns: Sequence[Column[T]], *, footer: str = "", out: TextIO | None = None
    ) -> None:
        super().__init__(items)
        self._columns, self._footer, self._out = columns, footer, out

    def with_footer(self, line: str) -> Self:
        """Return it with one more line below."""
        self._footer = f"{self._footer}\n{line}" if self._footer else line
        return self

    def __repr__(self) -> str:
        return repr(self._text())

    def __str__(self) -> str:
        return str(self._text())

    def _text(self) -> Text:
        if not self:
            return Text(self._footer, None, self._out)
        rows = [[column.cell(item) for column in self._columns] for item in self]
        titles, right = [column.title for column in self._columns], [column.right for column in self._columns]
        table = in_columns(titles, rows, right, self._out)
        if not self._footer:
            return table
        return Text(f"{table}\n{self._footer}", f"{table.coloured}\n{self._footer}", self._out)


def duration(seconds: float) -> str:
    """Format a duration for people, such as `350 ms`, `12 s`, `5 min`, `3 h` or `9 d`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < most:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86400)} d"
