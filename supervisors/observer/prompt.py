"""A prompt with the commands, for a running system."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pydoc import Helper
from typing import TYPE_CHECKING, Any

from actors.standard_streams import fill_missing
from supervisors.observer.guide import SUMMARY, vocabulary
from supervisors.observer.python_prompt import PythonPrompt
from supervisors.observer.scope import Scope

if TYPE_CHECKING:
    import asyncio

    from supervisors.system import System

__all__ = ["BANNER", "repl"]

BANNER = f"""
{SUMMARY}
Try first: tree(), then state(system.pubsub.name), then kill(system.pubsub.name) and tree() again. Ctrl-D ends the prompt
and stops the system.
"""
"""What a prompt shows first, if its system runs while it is open."""

_BANNER_OF_RUNNING = f"""
{SUMMARY}
Try first: tree(), then state(system.pubsub.name). Ctrl-D ends the prompt; the system keeps running.
"""


def repl(system: System, then: Callable[[System], object] | None = None) -> None:
    """Open a prompt with the commands of a system (see `supervisors.observer`); return at Ctrl-D, `exit()` or SIGTERM.

    A system that is not running is started in a thread of its own, and stopped in order at the end; `then(system)` is called
    before the first prompt. Ctrl-C interrupts the current statement only. A statement with `await` runs as a task on the event
    loop of the system. The prompt is IPython's if it is installed (the `repl` extra), else Python's own, with completion.

    Raises:
        RuntimeError: on the thread of the system's own event loop, which a prompt would block.
        StartError: if the system could not start.
        SystemDownError: at the end, if the system ended unexpectedly.
    """
    if not system.is_running:
        with system:
            _prompt(system, then, BANNER)
    elif system.ref.process.scheduler.is_current_thread():
        raise RuntimeError(
            f"a prompt would block the event loop of {system.name}; write `await asyncio.to_thread(repl, system)`"
        )
    else:
        _prompt(system, then, _BANNER_OF_RUNNING)


def _prompt(system: System, then: Callable[[System], object] | None, banner: str) -> None:
    if then is not None:
        then(system)
    fill_missing()
    namespace = vocabulary(system, Helper())
    with _exit_at_sigterm(), suppress(SystemExit):
        _shell()(namespace, banner, Scope(system), system.ref.process.scheduler.loop)


def _shell() -> Callable[[dict[str, Any], str, Scope, asyncio.AbstractEventLoop], None]:
    try:
        import IPython  # noqa: F401, PLC0415  # an extra, which need not be installed
    except ImportError:
        return _python
    return _ipython


@contextmanager
def _exit_at_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ipython(namespace: dict[str, Any], banner: str, scope: Scope, loop: asyncio.AbstractEventLoop) -> None:
    from supervisors.observer.ipython_prompt import start  # noqa: PLC0415  # it needs IPython

    start(namespace, banner, scope, loop)


def _python(namespace: dict[str, Any], banner: str, scope: Scope, loop: asyncio.AbstractEventLoop) -> None:
    PythonPrompt(namespace, scope, loop).interact(banner, exitmsg="")
