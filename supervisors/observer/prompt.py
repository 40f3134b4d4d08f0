"""A prompt with the words, beside a system that runs."""

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
See   tree()  ps()  top()  whereis(x)  topics()  subscribers(topic)  sockets()  channels(socket)
Look  info(x)  state(x)  trace(x, n)  last_crash()
Act   send(x, message)  ask(x, message)  replace_state(x, function)  suspend(x)  resume(x)  kill(x)

x is a name, a pid such as "<0.2.0>" or 2, a label of the tree, a topic, or a ref; help(tree) says more of a word.
Try first: tree(), then state(system.pubsub.name), then kill(system.pubsub.name) and tree() again. Ctrl-D ends it.
"""
"""What a prompt says of its words."""


def repl(system: System, then: Callable[[System], object] | None = None) -> None:
    """Give a prompt with the words of a system (see `supervisors.observer.commands`); return at Ctrl-D, `exit()` or SIGTERM.

    A system that does not run yet is started in a thread of its own, and stopped in order at the end; `then(system)` is called
    before the prompt comes. Ctrl-C interrupts the line, and nothing else. It is IPython's prompt if that is installed (the
    `repl` extra), else Python's own, with completion.

    Raises:
        RuntimeError: on the thread of the system's own event loop, which a prompt would block.
        StartError: if it could not start.
        SystemDownError: at the end, if it ended by itself.
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
        import IPython  # noqa: F401, PLC0415  # an extra: there or not
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
    from IPython import start_ipython  # noqa: PLC0415  # it is there
    from traitlets.config import Config  # noqa: PLC0415  # of IPython

    config = Config()
    config.TerminalInteractiveShell.banner1 = BANNER
    config.TerminalInteractiveShell.confirm_exit = False
    start_ipython(argv=[], user_ns=namespace, config=config)


def _python(namespace: dict[str, Any]) -> None:
    try:
        import readline  # noqa: PLC0415  # not everywhere: it is GNU's
        import rlcompleter  # noqa: PLC0415  # as above
    except ImportError:
        pass
    else:
        readline.set_completer(rlcompleter.Completer(namespace).complete)
        readline.parse_and_bind("tab: complete")
    code.interact(BANNER, local=namespace, exitmsg="")
