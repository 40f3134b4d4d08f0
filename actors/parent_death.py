"""The death of a parent process, with which a child process is to end.

The kernel of Linux kills the child then (`PR_SET_PDEATHSIG`, man 2 prctl). Other systems have no such thing: there a child has
to notice it by itself, as by the end of a pipe.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

__all__ = ["killed_with_parent"]

_PR_SET_PDEATHSIG = 1


def killed_with_parent() -> Callable[[], None]:
    """Return a function for a child of this process to call: from then on it is killed when this process dies.

    The child may be another program too, if it is called between fork and exec. What counts as the parent is the thread that
    forks: it has to live as long as the process. Where the system cannot do it, the function does nothing.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    import ctypes  # noqa: PLC0415  # most programs have no children

    # Looked up before the fork: in the child, a lock that another thread held would not be released.
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # It had died before.
            os.kill(os.getpid(), signal.SIGKILL)

    return ask_the_kernel
