"""The columns of each table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from supervisors.observer.display import ALARM, BOLD, DIM, PID, PLAIN, WARN, Cell, Column, duration

if TYPE_CHECKING:
    from supervisors.observer.process_info import ProcessInfo, TopRow
    from supervisors.observer.sockets import ChannelInfo, NodeInfo, SocketInfo, TopicInfo

__all__ = [
    "CHANNELS",
    "CROWDED",
    "NODES",
    "PROCESSES",
    "SOCKETS",
    "SOCKETS_OF_NODES",
    "TOP",
    "TOPICS",
    "mailbox_cell",
    "restarts_cell",
]

# Longer cells are cut, so that a table fits on a screen.
_WIDTH = 48


# A mailbox with more messages than this is shown in red.
CROWDED = 100


def restarts_cell(restarts: int | None) -> Cell:
    """Show how many times an actor was restarted."""
    return (("" if restarts is None else str(restarts), WARN if restarts else DIM),)


def mailbox_cell(info: ProcessInfo) -> Cell:
    """Show how many messages wait, of how many that may, and how many found no room."""
    limit, left_out = info.mailbox_limit, info.left_out
    text = f"{info.mailbox}{'' if limit is None else f'/{limit}'}{f' ({left_out} left out)' if left_out else ''}"
    is_full = info.mailbox > CROWDED if limit is None else info.mailbox >= limit
    return ((text, ALARM if is_full else WARN if info.mailbox or left_out else DIM),)


def _waiting(size: int, note: str = "") -> Cell:
    """Show how many bytes wait."""
    return _cell(f"{size:,}{note}", WARN if size or note else DIM)


def _number(number: int | None) -> Cell:
    return _cell("" if number is None else f"{number:,}")


def _cell(value: object, style: str = PLAIN) -> Cell:
    text = str(value)
    return ((text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…", style),)


def _status(status: str) -> Cell:
    return _cell(status, {"running": DIM, "joined": DIM, "suspended": WARN, "ending": ALARM}.get(status, PLAIN))


def _in_words(assigns: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in assigns.items())


PROCESSES: Sequence[Column[ProcessInfo]] = (
    Column("pid", lambda row: _cell(row.pid, PID)),
    Column("name", lambda row: _cell(row.name, BOLD)),
    Column("class", lambda row: _cell(row.actor)),
    Column("status", lambda row: _status(row.status)),
    Column("mailbox", mailbox_cell, right=True),
    Column("handled", lambda row: _cell(row.handled), right=True),
    Column("restarts", lambda row: restarts_cell(row.restarts), right=True),
    Column("age", lambda row: _cell(duration(row.age), DIM), right=True),
)

TOP: Sequence[Column[TopRow]] = (
    Column("pid", lambda row: _cell(row.info.pid, PID)),
    Column("name", lambda row: _cell(row.info.name, BOLD)),
    Column("class", lambda row: _cell(row.info.actor)),
    Column("messages/s", lambda row: _cell(f"{row.rate:,.1f}", PLAIN if row.rate else DIM), right=True),
    Column("mailbox", lambda row: mailbox_cell(row.info), right=True),
    Column("handled", lambda row: _cell(row.info.handled), right=True),
)

SOCKETS: Sequence[Column[SocketInfo]] = (
    Column("transport", lambda row: _cell(row.pid, PID)),
    Column("socket", lambda row: _cell(row.socket, BOLD)),
    Column("id", lambda row: _cell(row.id or "", PLAIN)),
    Column("assigns", lambda row: _cell(_in_words(row.assigns))),
    Column("topics", lambda row: _cell(", ".join(row.topics))),
    Column("in", lambda row: _waiting(row.waiting_in, " paused" if row.paused else ""), right=True),
    Column("out", lambda row: _waiting(row.waiting_out), right=True),
    Column("dropped", lambda row: _cell(f"{row.dropped:,}", WARN if row.dropped else DIM), right=True),
    Column("age", lambda row: _cell(duration(row.age), DIM), right=True),
)

SOCKETS_OF_NODES: Sequence[Column[SocketInfo]] = (Column("node", lambda row: _cell(row.node)), *SOCKETS)

NODES: Sequence[Column[NodeInfo]] = (
    Column("node", lambda row: _cell(row.node, BOLD)),
    Column("status", lambda row: _cell(row.status, ALARM if row.pid is None else DIM)),
    Column("process", lambda row: _cell("" if row.pid is None else row.pid), right=True),
    Column("clients", lambda row: _number(row.clients), right=True),
    Column("channels", lambda row: _number(row.channels), right=True),
    Column("actors", lambda row: _number(row.actors), right=True),
    Column("age", lambda row: _cell("" if row.age is None else duration(row.age), DIM), right=True),
)

CHANNELS: Sequence[Column[ChannelInfo]] = (
    Column("channel", lambda row: _cell(row.pid, PID)),
    Column("topic", lambda row: _cell(row.topic, BOLD)),
    Column("class", lambda row: _cell(row.channel)),
    Column("status", lambda row: _status(row.status)),
    Column("transport", lambda row: _cell(row.transport, PID)),
    Column("mailbox", lambda row: _cell(row.mailbox, WARN if row.mailbox else DIM), right=True),
    Column("handled", lambda row: _cell(row.handled), right=True),
    Column("age", lambda row: _cell(duration(row.age), DIM), right=True),
)

TOPICS: Sequence[Column[TopicInfo]] = (
    Column("topic", lambda row: _cell(row.topic, BOLD)),
    Column("subscribers", lambda row: _cell(row.subscribers), right=True),
)
