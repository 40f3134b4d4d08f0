"""The standard streams of a program that was started without some of them, or has lost them.

A program that was started with a closed stdin, stdout or stderr (`2>&-`) has their descriptors 0, 1 and 2 free: the next socket
or file that it opens gets one of them. Then what libraries write to stderr goes to a client, and libuv ends the program when
such a socket is closed. So they are opened on the null device, as Go and Node.js do at their start.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

__all__ = ["abandon_broken_output", "complain", "fill_missing", "keep_descriptors"]

_LAST = 2
"""The descriptor of stderr."""


def keep_descriptors() -> None:
    """Open the descriptors 0 to 2 on the null device where they are closed, so that nothing else gets them.

    Programs that are started later inherit them. `sys.stdin`, `sys.stdout` and `sys.stderr` stay None.
    """
    if all(map(_is_open, range(_LAST + 1))):
        return
    # Without a null device, in an empty root directory, the program is no worse off than before.
    with suppress(OSError):
        while (lowest := os.open(os.devnull, os.O_RDWR)) <= _LAST:
            os.set_inheritable(lowest, True)  # noqa: FBT003  # that is how it is called
        os.close(lowest)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def abandon_broken_output() -> None:
    """Redirect stdout and stderr to the null device if what was printed cannot be written, as to a full disk.

    Python tries once more at its end, and would end a program that has done its work with status 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError):  # none, or closed
            pass
        except OSError:
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def fill_missing() -> None:
    """Open `sys.stdin`, `sys.stdout` and `sys.stderr` on the null device where they are None, for code that uses them.

    It finds the end of the input, then, and what it prints is lost.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # until the program ends


def complain(text: str) -> None:
    """Print a line of a command itself to stderr; if it cannot be written, the command goes on without it."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr, flush=True)  # noqa: T201  # it is for command lines
        except OSError:
            abandon_broken_output()


# Before the first event loop of the program, which may be another library's.
keep_descriptors()
