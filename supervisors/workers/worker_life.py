"""The life of a worker process, from its fork to its end: it never returns to the code of its parent."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from actors.exceptions import StartError
from supervisors.exceptions import SystemDownError

if TYPE_CHECKING:
    from supervisors.workers.worker import Worker

__all__ = ["live"]


def live(worker: Worker, work: Callable[[Worker], object]) -> NoReturn:
    """Do the work of a worker, and end the process."""
    status = 1
    try:
        # What the program has registered so far is for the parent; what its worker registers is for the worker.
        atexit._clear()
        status = _done(worker, work)
        atexit._run_exitfuncs()
    except BaseException as error:  # noqa: BLE001  # nothing may get to the parent's code
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        with suppress(Exception):
            worker.end()
        os._exit(status)


def _done(worker: Worker, work: Callable[[Worker], object]) -> int:
    """Return the exit status."""
    try:
        work(worker)
    except StartError as error:
        # The parent says it, once for all workers.
        worker.failed(error)
        return 1
    except SystemDownError:
        # The log has it.
        return 1
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0
