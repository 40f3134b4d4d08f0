"""The logs of Ashtree: what is logged never harms the code that logs it, nor the terminal that shows it.

Handlers and filters are the application's, and so are the values in a record, such as exceptions and messages: any of them may
raise. The actor that reports something goes on.

Much of what is logged was chosen by clients: topics, events, payloads, and what exceptions quote of these. It must not forge a
line of the log, command the terminal that shows it, or fill the disk. So each value of a record is one printable line of
bounded length, unless the caller passes `Lines`; and in a traceback the text of an exception is printable and bounded, and its
lines after the first are indented.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator

from actors.redaction import LINE, LONGEST, Lines, Shown, printable, safe_repr, safe_str
from actors.runtime.program_exit import leave

__all__ = ["Log"]

_PLAIN = (int, float, bool, type(None), Lines)

# Exceptions in the chain of one, as its causes, whose texts are looked at.
_CHAIN = 100
_CONTINUED = "\n    | "


class Log:
    """A logger of the standard library's, by its name; its methods do not raise.

    A handler or a filter that raises is reported on stderr, as `logging` reports handlers (see `logging.raiseExceptions`).
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        # The method itself, without a call of ours around it: it is looked up for each message of a client.
        self.is_enabled_for: Callable[[int], bool] = self._logger.isEnabledFor

    def debug(self, text: str, *args: object) -> None:
        """Log at the level DEBUG."""
        self._write(logging.DEBUG, text, args)

    def info(self, text: str, *args: object) -> None:
        """Log at the level INFO."""
        self._write(logging.INFO, text, args)

    def warning(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log at the level WARNING."""
        self._write(logging.WARNING, text, args, exc_info)

    def error(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log at the level ERROR."""
        self._write(logging.ERROR, text, args, exc_info)

    def exception(self, text: str, *args: object) -> None:
        """Log at the level ERROR, with the exception that is being handled."""
        self._write(logging.ERROR, text, args, sys.exception())

    def critical(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log at the level CRITICAL."""
        self._write(logging.CRITICAL, text, args, exc_info)

    def log(self, level: int, text: str, *args: object) -> None:
        """Log at a level."""
        self._write(level, text, args)

    def _write(self, level: int, text: str, args: tuple[object, ...], exc_info: BaseException | None = None) -> None:
        try:
            if self._logger.isEnabledFor(level):
                self._handle(level, text, tuple(map(_shown, args)), exc_info)
        except BaseException as error:  # noqa: BLE001  # whatever a handler or a filter raises
            leave(error, of_report=True)
            _complain(error)

    def _handle(self, level: int, text: str, args: tuple[object, ...], error: BaseException | None) -> None:
        logger = self._logger
        if error is None:
            logger.log(level, text, *args, stacklevel=4)
            return
        path, line, function, _ = logger.findCaller(stacklevel=4)
        exc_info = (type(error), error, error.__traceback__)
        record = logger.makeRecord(logger.name, level, path, line, text, args, exc_info, function)
        # Formatters show this in the place of the traceback that they would make. As they may have a form of their own, it is
        # there only if that would show a text as it is that is not printable, or has no end.
        if not all(map(_is_harmless, _chain(error))):
            record.exc_text = _traceback(error)
        logger.handle(record)


class _Value:
    """A value in a record: its text is made when the record is formatted, and cannot raise."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __str__(self) -> str:
        return printable(safe_str(self.value))

    def __repr__(self) -> str:
        return printable(safe_repr(self.value))


def _shown(value: object) -> object:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Shown):
        # Its maker has bounded it.
        return printable(value.text, LONGEST)
    if kind is str and len(value) <= LINE and value.isprintable():  # type: ignore[arg-type, attr-defined]  # it is a str
        return value
    return _Value(value)


# Tracebacks


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that its traceback shows: causes, contexts, and those of groups."""
    left, seen = [error], set[int]()
    while left and len(seen) < _CHAIN:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        others = [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            others.extend(each.exceptions)
        left.extend(other for other in others if other is not None)


def _is_harmless(error: BaseException) -> bool:
    try:
        texts = [str(error), *map(str, getattr(error, "__notes__", None) or ())]
        return all(len(text) <= LINE and text.isprintable() for text in texts)
    except BaseException as failure:  # noqa: BLE001  # whatever the author's text raises; the traceback says that it cannot be shown
        leave(failure, of_report=True)
        return True


def _traceback(error: BaseException) -> str:
    """Return a traceback with the texts of its exceptions printable, bounded and indented."""
    shown = traceback.TracebackException.from_exception(error)
    left, seen = [shown], 0
    while left and seen < _CHAIN:
        each = left.pop()
        seen += 1
        _make_harmless(each)
        others = (each.__cause__, each.__context__, *(each.exceptions or ()))
        left.extend(other for other in others if other is not None)
    return str(Lines("".join(shown.format()).removesuffix("\n")))


def _make_harmless(shown: traceback.TracebackException) -> None:
    # The text of a SyntaxError is in the last three, that of all others in `_str`, which has no public name.
    for name in ("_str", "msg", "filename", "text"):
        text = getattr(shown, name, None)
        if isinstance(text, str):
            setattr(shown, name, _continued(text) if name == "_str" else printable(text))
    notes = getattr(shown, "__notes__", None)
    if isinstance(notes, list):
        shown.__notes__ = [_continued(safe_str(note)) for note in notes]


def _continued(text: str) -> str:
    return str(Lines(text, LINE)).replace("\n", _CONTINUED)


def _complain(error: BaseException) -> None:
    if logging.raiseExceptions and sys.stderr is not None:
        with contextlib.suppress(Exception):  # there is no other place to report it
            sys.stderr.write(f"{_traceback(error)}\n")
