"""The log of a program that has not set one up: the lines of its start and its stop, and warnings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from actors.log import Log

__all__ = ["FORMAT", "FORMAT_OF_WORKERS", "LIFE", "default_log"]

_ALL, _LIFE = "ashtree", "ashtree.system"

LIFE = Log(_LIFE)
"""What starts and stops: systems that run as programs, and endpoints that listen."""

FORMAT = "%(asctime)s %(levelname)s %(message)s"
FORMAT_OF_WORKERS = "%(asctime)s %(process)d %(levelname)s %(message)s"
"""The same with the process that logs, where several write to one place."""


class _LastHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic only for type checkers
    """Writes to stderr what no other handler gets."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what the program handles, which may set up logging when it runs already."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


@contextmanager
def default_log(line: str = FORMAT) -> Iterator[None]:
    """Inside the block, show the lines of start and stop, and warnings, on stderr, unless the program has set up logging.

    A handler of the root logger or of ours, a `NullHandler` too, is such a set-up, and so is a level of ours.
    """
    ours, life = logging.getLogger(_ALL), logging.getLogger(_LIFE)
    if ours.hasHandlers() or life.hasHandlers():
        yield
        return
    handler = _LastHandler()
    handler.setFormatter(logging.Formatter(line))
    is_default = ours.level == life.level == logging.NOTSET and logging.getLogger().level == logging.WARNING
    ours.addHandler(handler)
    if is_default:
        life.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        if is_default:
            life.setLevel(logging.NOTSET)
