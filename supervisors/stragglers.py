"""The actors of a tree that have not ended when the time of its shutdown is up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.log import Log
from supervisors.branches import is_told_to_end

if TYPE_CHECKING:
    from actors.lowlevel import Bonds, Process

__all__ = ["kill_stragglers"]

_log = Log("ashtree.supervisors")

NAMED = 20
"""The most actors that are named in the log."""


def kill_stragglers(root: Process, seconds: float) -> None:
    """Kill what is left of a tree, the newest first, and log which actors it waited for."""
    left = [process for process in root.scheduler.processes.values() if process is root or _is_below(process, root)]
    stuck = _stuck(left)
    named = "; ".join(map(_description, stuck[:NAMED])) + (" and others" if len(stuck) > NAMED else "")
    _log.error(
        "%s did not end within %g s (shutdown_timeout) and is killed; it waited for %s", root.name, seconds, named
    )
    for process in reversed(left):
        process.kill()


def _is_below(process: Bonds, root: Bonds) -> bool:
    """Return whether an actor was started below another one, even if what was between them has ended."""
    parent = process.parent
    while parent is not None and parent is not root:
        parent = parent.parent
    return parent is root


def _stuck(left: list[Process]) -> list[Process]:
    """Return those that were told to end and do not wait for others."""
    parents = {process.parent for process in left if is_told_to_end(process)}
    return [process for process in left if is_told_to_end(process) and process not in parents]


def _description(process: Process) -> str:
    doing = "terminate" if process.ending is not None else process.current_message()
    return f"{process.name} ({doing})"
