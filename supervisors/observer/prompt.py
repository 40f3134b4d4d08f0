"""A prompt with the commands, for a running system."""

from __future__ import annotations

import code
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from supervisors.observer.commands import words

if TYPE_CHECKING:
    from supervisors.system import System

__all__ = ["BANNER", "repl"]

BANNER = """
List  tree()  ps()  top()  whereis(x)  topics()  subscribers(topic)  sockets()  channels(socket)
Read  info(x)  state(x)  trace(x, n)  last_crash()
Act   send(x, message)  ask(x, message)  replace_state(x, function)  suspend(x)  resume(x)  kill(x)

x is a name, a pid such as "<0.2.0>" or 2, a label of the tree, a topic, or a ref; help(tree) describes a command.
Try first: tree(), then state(system.pubsub.name), then kill(system.pubsub.name) and tree() again. Ctrl-D ends the prompt.
"""
"""The summary of the commands at the start of a prompt."""


def repl(system: System, then: Callable[[System], object] | None = None) -> None:
    """Open a prompt with the commands of a system (see `supervisors.observer`); return at Ctrl-D, `exit()` or SIGTERM.

    A system that is not running is started in a thread of its own, and stopped in order at the end; `then(system)` is called
    before the first prompt. Ctrl-C interrupts the current statement only. The prompt is IPython's if it is installed (the
    `repl` extra), else Python's own, with completion.

    Raises:
        RuntimeError: on the thread of the system's own event loop, which a prompt would block.
        StartError: if the system could not start.
        SystemDownError: at the end, if the system ended unexpectedly.
    """
    if not system.is_running:
        with system:
            _prompt(system, then)
    elif system.ref.process.scheduler.is_current_thread():
        raise RuntimeError(
            f"a prompt would block the event loop of {system.name}; write `await asyncio.to_thread(repl, system)`"
        )
    else:
        _prompt(system, then)


def _prompt(system: System, then: Callable[[System], object] | None) -> None:
    if then is not None:
        then(system)
    namespace = {**words(system), "system": system}
    with _exit_at_sigterm(), suppress(SystemExit):
        _shell()(namespace)


def _shell() -> Callable[[dict[str, Any]], None]:
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


def _ipython(namespace: dict[str, Any]) -> None:
    from IPython import start_ipython  # noqa: PLC0415  # it is installed
    from traitlets.config import Config  # noqa: PLC0415  # of IPython

    config = Config()
    config.TerminalInteractiveShell.banner1 = BANNER
    config.TerminalInteractiveShell.confirm_exit = False
    start_ipython(argv=[], user_ns=namespace, config=config)


def _python(namespace: dict[str, Any]) -> None:
    try:
        import readline  # noqa: PLC0415  # Python can be built without it
        import rlcompleter  # noqa: PLC0415  # as above
    except ImportError:
        pass
    else:
        readline.set_completer(rlcompleter.Completer(namespace).complete)
        readline.parse_and_bind("tab: complete")
    code.interact(BANNER, local=namespace, exitmsg="")
