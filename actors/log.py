"""The logs of Ashtree: what is logged never harms the code that logs it.

Handlers and filters are the application's, and so are the values in a record, such as exceptions and messages: any of them may
raise. The actor that reports something goes on.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable

from actors.redaction import safe_repr, safe_str
from actors.runtime.program_exit import leave

__all__ = ["Log"]

_PLAIN = (str, int, float, bool, type(None))

_LONGEST = 100_000
"""The most characters of one value of a record: a report has several lines, and a stack has many."""


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
                self._logger.log(level, text, *map(_shown, args), exc_info=exc_info, stacklevel=3)
        except BaseException as error:  # noqa: BLE001  # whatever a handler or a filter raises
            leave(error, of_report=True)
            _complain(error)


class _Value:
    """A value in a record: its text is made when the record is formatted, and cannot raise."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __str__(self) -> str:
        return safe_str(self.value, _LONGEST)

    def __repr__(self) -> str:
        return safe_repr(self.value)


def _shown(value: object) -> object:
    return value if type(value) in _PLAIN else _Value(value)


def _complain(error: BaseException) -> None:
    if logging.raiseExceptions and sys.stderr is not None:
        with contextlib.suppress(Exception):  # there is no other place to report it
            traceback.print_exception(error, file=sys.stderr)
