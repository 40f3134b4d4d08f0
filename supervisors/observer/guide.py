"""What a prompt says of its commands: the summary of its banner, `help()` and `words()`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from supervisors.observer.commands import words

if TYPE_CHECKING:
    from supervisors.system import System

__all__ = ["SUMMARY", "Help", "vocabulary"]

SUMMARY = """
List  tree()  ps()  top()  whereis(x)  topics()  subscribers(topic)  sockets()  channels(socket)  nodes()
Read  info(x)  state(x)  trace(x, n)  last_crash()
Act   send(x, message)  ask(x, message)  replace_state(x, function)  suspend(x)  resume(x)  kill(x)

x is a name, a pid such as "<0.2.0>" or 2, a label of the tree, a topic, or a ref; Tab completes names and topics in quotes.
help() lists the commands, help(tree) describes one; `await` works; `system` is the system.
""".strip()
"""The commands in short, for the banner of a prompt."""


class Help:
    """The `help` of a prompt: without an argument it lists the commands, else it is Python's."""

    def __init__(self, commands: Callable[[], object], helper: Callable[[object], None]) -> None:
        self._commands, self._helper = commands, helper

    def __call__(self, *about: object) -> Any:
        """Return the list of commands, or describe an object."""
        if not about:
            return self._commands()
        for one in about:
            self._helper(one)
        return None

    def __repr__(self) -> str:
        return "help() lists the commands, help(tree) describes one"


def vocabulary(system: System, helper: Callable[[object], None], out: TextIO | None = None) -> dict[str, Any]:
    """Return the variables of a prompt: the commands of a system, `words` and `help` that list them, and the system.

    `helper` describes an object, as Python's `help` does; for `out` see `words`.
    """
    listed = partial(words, system, out)
    return {**listed(), "words": listed, "help": Help(listed, helper), "system": system}
