"""The commands of a prompt: list actors, inspect them, send, ask, suspend, kill.

    >>> from supervisors.observer import *
    >>> tree()
    >>> state("room:lobby")

Each works in any thread, and `help(…)` describes its arguments. An actor is given by a ref, an actor, a row of a table, a name,
a label of the tree, a pid (`"<0.41.0>"`, `"0.41.0"` or 41) or a topic. A prompt shows the results as text; a program gets
lists, dicts and values.

`tree`, `ps`, `topics`, `subscribers` and `whereis` work even while the event loop of the actors is blocked; `info`, `state`,
`sockets` and `channels` read on that loop, between two messages. All of them include the effect of messages that were sent
before, as far as the actors could handle them at once. `ask`, `replace_state`, `suspend`, `resume` and `trace` wait until the
actor gets to the request, and `kill` until the actor has exited. At a prompt on the loop's own thread (`python -m asyncio` with
`await System(…).start()`), where waiting would hang, these and `top` return something to await instead.
"""

from __future__ import annotations

import sys as standard
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar, overload

from actors import lowlevel, sys
from actors.channel import Channel
from actors.ref import ASK_TIMEOUT
from actors.registry import nearest
from supervisors.exceptions import UnknownActorError
from supervisors.observer import tables
from supervisors.observer.busiest import Top
from supervisors.observer.display import Column, Table, Text
from supervisors.observer.lookup import find
from supervisors.observer.nodes import ask_nodes, here, node_of, sockets_of, tree_of
from supervisors.observer.process_info import ProcessInfo, process_info, ranked
from supervisors.observer.scope import Scope
from supervisors.observer.sockets import (
    ChannelInfo,
    NodeInfo,
    SocketInfo,
    TopicInfo,
    channel_info,
    channels_of,
    is_client,
    socket_info,
)
from supervisors.observer.state import Info, State, info_of
from supervisors.observer.tracing import MessageTrace
from supervisors.observer.tree_table import draw_with_details
from supervisors.observer.waiting import answer, inspect, settle

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actors.future import Future
    from actors.lowlevel import CrashReport, Process
    from actors.pubsub.known_peers import Peer
    from actors.pubsub.requests import PeerAnswer
    from actors.ref import ActorRef
    from supervisors.system import System

__all__ = [
    "Commands",
    "ask",
    "channels",
    "info",
    "kill",
    "last_crash",
    "nodes",
    "ps",
    "replace_state",
    "resume",
    "send",
    "sockets",
    "state",
    "subscribers",
    "suspend",
    "top",
    "topics",
    "trace",
    "tree",
    "whereis",
    "words",
]

T = TypeVar("T")

# Rows that are shown by default.
_MOST = 50


class Commands:
    """The commands, for the actors of one system or, without a system, for all of this program.

    `out` is where `trace` and `top` write, and decides about colours; by default standard output.
    """

    def __init__(self, system: System | None = None, out: TextIO | None = None) -> None:
        self._scope, self._out = Scope(system), out

    # Lists of actors

    def tree(self, x: object = None, *, most: int | None = _MOST) -> Text:
        """Draw the supervision tree, or the part below `x`: names, pids, classes, restarts, waiting messages and ages.

        Of the children of one supervisor at most `most` are drawn; None draws all. `x` may also be a row of `nodes()`, or the
        name of another node.
        """
        self._settle()
        if (remote := self._tree_of_node(x, most)) is not None:
            return Text(remote, None, self._out)
        roots = self._scope.roots() if x is None else [self._find(x).process]
        return draw_with_details(roots, most, self._out)

    def _tree_of_node(self, x: object, most: int | None) -> str | None:
        node = x.node if isinstance(x, NodeInfo) else x
        if not isinstance(node, str):
            return None
        trees = (tree_of(pubsub, node, 1_000 if most is None else most) for pubsub in self._scope.pubsubs())
        return next((tree for tree in trees if tree is not None), None)

    def ps(self, by: str = "pid", *, most: int | None = _MOST) -> Table[ProcessInfo]:
        """List the actors, sorted by a column.

        The columns are "pid", "name", "actor", "status", "mailbox", "handled", "restarts", "age" and
        "left_out". Numbers are sorted in descending order. At most `most` are listed; None lists all.

        Raises:
            ValueError: if there is no such column.
        """
        self._settle()
        infos = [process_info(process) for process in self._scope.processes()]
        return self._table(ranked(infos, by, most), tables.PROCESSES, len(infos), "no actors are running")

    def top(
        self, *, most: int = 20, every: float = 1.0, times: int | None = None
    ) -> Coroutine[object, object, None] | None:
        """Show the actors that handle the most messages, every `every` seconds, until Ctrl-C or `times` times."""
        scheduler = self._scope.scheduler()
        shown = Top(self._scope, scheduler, most, every, self._out or standard.stdout)
        if scheduler.is_current_thread():
            return shown.run_on_loop(times)
        shown.run(times)
        return None

    @overload
    def whereis(self, x: object, *, required: Literal[True]) -> ActorRef[Any]: ...

    @overload
    def whereis(self, x: object, *, required: bool = ...) -> ActorRef[Any] | None: ...

    def whereis(self, x: object, *, required: bool = False) -> ActorRef[Any] | None:
        """Return the ref of an actor, or None if there is none; if one is `required`, raise UnknownActorError."""
        try:
            return self._find(x)
        except UnknownActorError:
            if required:
                raise
            return None

    # One actor

    def info(self, x: object) -> Info:
        """Return everything the runtime knows of an actor: links, monitors, timers, current message, state, and so on."""
        process = self._find(x).process
        return self._inspect(process, lambda: info_of(process, process_info(process).restarts))

    def state(self, x: object) -> State:
        """Return the attributes of an actor as they are now, even in the middle of a handler that is waiting.

        Secrets are not shown; `state(x)["name"]` is the value itself, unless `format_status` of the actor returns another one.
        """
        process = self._find(x).process
        return self._inspect(process, lambda: State(process))

    def replace_state(
        self, x: object, function: Callable[[dict[str, Any]], Mapping[str, Any]]
    ) -> State | Future[dict[str, Any]]:
        """Replace the attributes of an actor by `function(attributes)`, between two messages; return the new ones."""
        ref = self._find(x)
        replaced = self._answer(ref, sys.replace_state(ref, function))
        return self.state(ref) if isinstance(replaced, dict) else replaced

    def trace(self, x: object, n: int = 10) -> Future[None] | None:
        """Print the next `n` messages of an actor and their outcomes as it handles them; 0 stops a trace."""
        ref = self._find(x)
        watch = MessageTrace(ref, n, self._out or standard.stdout)
        return self._answer(ref, sys.install(ref, watch) if n > 0 else sys.remove(ref, watch))

    def last_crash(self) -> CrashReport | None:
        """Return the report of the latest crash in the program, or None; `print` it for the full text.

        It has the actor's latest messages if it keeps them (`record`), its state, and the exception with its traceback.
        """
        return lowlevel.last_crash()

    # Connections

    def nodes(self) -> Table[NodeInfo]:
        """List the processes that the adapter of the PubSub connects, this one first: their clients, channels and actors."""
        rows = []
        for pubsub in self._scope.pubsubs():
            rows += [here(pubsub), *(node_of(*each) for each in ask_nodes(pubsub, "about"))]
        return self._table(rows, tables.NODES, len(rows), "no PubSub runs")

    def sockets(self, *, most: int | None = _MOST) -> Table[SocketInfo]:
        """List the connected clients, of all nodes: their transports, sockets, assigns without secrets, and topics.

        At most `most` of each node are listed; None lists all of this one, and a thousand of each other one.
        """
        self._settle()
        found = [process for process in self._scope.processes() if is_client(process)]
        pubsubs = self._scope.pubsubs()
        node = pubsubs[0].node if pubsubs else ""
        rows = [row._replace(node=node) for row in self._rows(found, most, socket_info)]
        asked = [each for pubsub in pubsubs for each in ask_nodes(pubsub, "sockets", 1_000 if most is None else most)]
        if not asked:
            return self._table(rows, tables.SOCKETS, len(found), "no clients are connected")
        return self._sockets_of_nodes(rows, len(found), asked)

    def _sockets_of_nodes(
        self, rows: list[SocketInfo], count: int, asked: list[tuple[Peer, PeerAnswer | None]]
    ) -> Table[SocketInfo]:
        for peer, answered in asked:
            if answered is not None:
                rows += sockets_of(peer, answered)
                count += answered.about["count"]
        silent = [peer.node for peer, answered in asked if answered is None]
        table = self._table(rows, tables.SOCKETS_OF_NODES, count, "no clients are connected")
        return table.with_footer(f"{', '.join(silent)} did not answer") if silent else table

    def channels(self, socket: object = None, *, most: int | None = _MOST) -> Table[ChannelInfo]:
        """List the channels of one client, given by its transport or a row of `sockets()`; or those of all."""
        self._settle()
        if socket is None:
            found = [process for process in self._scope.processes() if issubclass(process.actor_class, Channel)]
        else:
            found = list(channels_of(self._find(socket).process))
        return self._table(self._rows(found, most, channel_info), tables.CHANNELS, len(found), "no channels are joined")

    def topics(self, *, most: int | None = _MOST) -> Table[TopicInfo]:
        """List the topics that actors have subscribed to, the largest first."""
        self._settle()
        found = [
            TopicInfo(topic, len(pubsub.subscribers(topic)))
            for pubsub in self._scope.pubsubs()
            for topic in pubsub.topics()
            # Those of the processes among themselves are left out.
            if not topic.startswith("\0")
        ]
        found.sort(key=lambda row: (-row.subscribers, row.topic))
        return self._table(found[:most], tables.TOPICS, len(found), "there are no subscriptions")

    def subscribers(self, topic: str, *, most: int | None = _MOST) -> Table[ProcessInfo]:
        """List the actors that have subscribed to a topic."""
        self._settle()
        found = [ref for pubsub in self._scope.pubsubs() for ref in pubsub.subscribers(topic)]
        rows = [process_info(ref.process) for ref in found[:most]]
        known = [name for pubsub in self._scope.pubsubs() for name in pubsub.topics()]
        near = [] if found else nearest(topic, known)
        advice = f"; closest matches: {', '.join(map(repr, near))}" if near else ""
        return self._table(rows, tables.PROCESSES, len(found), f"no actor has subscribed to {topic!r}{advice}")

    # Messages and signals

    def send(self, x: object, message: object) -> None:
        """Send a message (Erlang's `!`)."""
        self._find(x).send(message)

    def ask(self, x: object, message: object, *, timeout: float | None = ASK_TIMEOUT) -> Any:
        """Send a message, wait for the reply at most `timeout` seconds, and return it."""
        ref = self._find(x)
        return self._answer(ref, ref.ask(message, block=False, timeout=timeout))

    def kill(self, x: object) -> Any:
        """Kill an actor, unconditionally (Erlang's `exit(Pid, kill)`); wait until it has exited, and return the reason."""
        ref = self._find(x)
        down = ref.down()
        ref.kill()
        reason = self._answer(ref, down)
        self._settle()
        return reason

    def suspend(self, x: object) -> Future[None] | None:
        """Stop an actor from handling messages until it is resumed; they wait in its mailbox."""
        ref = self._find(x)
        return self._answer(ref, sys.suspend(ref))

    def resume(self, x: object) -> Future[None] | None:
        """Resume a suspended actor: it handles messages again."""
        ref = self._find(x)
        return self._answer(ref, sys.resume(ref))

    # Parts of the commands

    def _settle(self) -> None:
        for scheduler in self._scope.schedulers():
            settle(scheduler)

    def _find(self, x: object) -> ActorRef[Any]:
        return find(x, self._scope)

    def _inspect(self, process: Process, function: Callable[[], T]) -> T:
        return inspect(process.scheduler, function) if process.alive else function()

    def _answer(self, ref: ActorRef[Any], future: Future[T]) -> T | Future[T]:
        return answer(ref.process.scheduler, future)

    def _rows(self, processes: Iterable[Process], most: int | None, row: Callable[[Process], T | None]) -> list[T]:
        found = (self._inspect(process, partial(row, process)) for process in list(processes)[:most])
        return [one for one in found if one is not None]

    def _table(self, rows: list[T], columns: Sequence[Column[T]], count: int, empty: str) -> Table[T]:
        more = count - len(rows)
        footer = empty if count == 0 else f"… and {more:,} more; most=None lists all" if more > 0 else ""
        return Table(rows, columns, footer=footer, out=self._out)


_everywhere = Commands()
tree, ps, top, whereis = _everywhere.tree, _everywhere.ps, _everywhere.top, _everywhere.whereis
info, state, replace_state, trace = _everywhere.info, _everywhere.state, _everywhere.replace_state, _everywhere.trace
sockets, channels, nodes = _everywhere.sockets, _everywhere.channels, _everywhere.nodes
topics, subscribers = _everywhere.topics, _everywhere.subscribers
send, ask, kill = _everywhere.send, _everywhere.ask, _everywhere.kill
suspend, resume = _everywhere.suspend, _everywhere.resume
last_crash = _everywhere.last_crash


class Words(dict[str, Callable[..., object]]):
    """The commands by name, which a prompt shows as a list with what each does."""

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        lines = [f"{name:<{width}}  {(command.__doc__ or '').partition(chr(10))[0]}" for name, command in self.items()]
        return "\n".join([*lines, "help(tree) describes a command and its arguments"])


def words(system: System | None = None, out: TextIO | None = None) -> Words:
    """Return the commands by name, for the namespace of a prompt: for one system, or for all of this program.

    At a prompt `words()` lists them. `out` is where `trace` and `top` write, and decides about colours; by default standard
    output.
    """
    own = Commands(system, out)
    members = {name: getattr(own, name) for name in dir(own) if not name.startswith("_")}
    return Words({name: member for name, member in members.items() if callable(member)})
