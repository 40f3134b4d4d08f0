"""The channel behind the live page: it tells its client what has changed in the tree, and does to actors what it is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from actors import sys
from actors.channel import Channel
from actors.channels.message import Reply, error, ok
from actors.redaction import STATE_SECRETS
from supervisors.snapshot import Search, Sweep
from transport.observer.view import View
from transport.observer.watch import Watch

if TYPE_CHECKING:
    from actors.clock import Interval
    from actors.lowlevel import Process

__all__ = ["INTERVAL", "ObserverChannel"]

INTERVAL = 0.5
"""Seconds between two looks at the tree."""

_log = logging.getLogger("ashtree.transport")

_LOOK = object()
_SEARCH = object()


class ObserverChannel(Channel):
    """The tree as its client has unfolded it: a "difference" twice a second, if there is one.

    The client pushes "unfold" and "fold" (`{"id": "41"}`), "page" (`{"id", "first"}`), "search" (`{"text"}`), "select"
    (`{"id"}`, null: none), "rest" and "watch" (while nobody looks at its page nothing is measured), and "suspend", "resume"
    and "kill" (`{"id"}`), which are answered. A "difference" may have `rows`, `order` (the ids of all rows), `ended`,
    `totals`, and `actor`: the one that is selected.
    """

    log_join: ClassVar[str | None] = "debug"
    log_handle_in: ClassVar[str | None] = None

    def join(self, topic: str, payload: Any) -> Reply:
        """Begin to watch; the first difference is the whole."""
        process = self.actor_ref.process
        self._scheduler = process.scheduler
        transport = self.socket.transport.process
        self._view, self._sweep = View(process, transport), Sweep(process.scheduler, without=(process, transport))
        self._watch: Watch | None = None
        self._totals: dict[str, Any] = {}
        self._interval: Interval | None = None
        self._secrets = tuple({*STATE_SECRETS, *self.socket.filter_parameters})
        self.own(self._leave_alone)
        self.send(self, _LOOK)
        self._go_on()
        return ok({"interval": INTERVAL, "own": [str(process.number), str(transport.number)]})

    def _go_on(self) -> None:
        if self._interval is None:
            self._interval = self.send_interval(INTERVAL, _LOOK)

    def _rest(self) -> None:
        if self._interval is not None:
            self._interval.cancel()
            self._interval = None

    def handle_info(self, message: Any) -> None:
        """Look at the tree, or go on with a search."""
        if message is _LOOK:
            self._look()
        elif message is _SEARCH:
            self._go_on_searching()
        else:
            super().handle_info(message)

    def _look(self) -> None:
        self._sweep.poll()
        self._view.measure()
        if self._view.search is not None:
            self._view.search.poll()
        self._tell()

    def _tell(self) -> None:
        """Push what has changed, if anything has."""
        difference = self._view.difference(self._sweep)
        totals = self._read_totals()
        if totals != self._totals:
            difference["totals"] = self._totals = totals
        if self._watch is not None and (actor := self._watch.difference()):
            difference["actor"] = actor
        if difference:
            self.push("difference", difference)

    def _read_totals(self) -> dict[str, Any]:
        sweep, search = self._sweep, self._view.search
        totals = {"actors": len(self._scheduler.processes), "rate": round(sweep.rate, 1), "waiting": sweep.waiting}
        return totals if search is None else totals | {"hits": len(search.hits), "most": search.most}

    # What the client asks

    def handle_in(self, event: str, payload: Any) -> Any:
        """Do what the client asks."""
        match event:
            case "unfold" | "fold" | "page":
                self._turn(event, payload)
            case "search":
                self._search(str(payload["text"]))
            case "select":
                self._select(payload["id"])
            case "rest":
                self._rest()
            case "watch":
                self._go_on()
                self._look()
            case "suspend" | "resume" | "kill":
                return self._order(event, payload["id"])
            case _:
                return super().handle_in(event, payload)
        return None

    def _turn(self, event: str, payload: Mapping[str, Any]) -> None:
        number = int(payload["id"])
        if event == "page":
            self._view.turn_to(number, int(payload["first"]))
        elif event == "unfold":
            self._view.unfold(number)
        else:
            self._view.fold(number)
        self._tell()

    def _search(self, text: str) -> None:
        self._view.search = Search(self._scheduler, text) if text.strip() else None
        self._go_on_searching()

    def _go_on_searching(self) -> None:
        """Look at some more actors, and then let others go on."""
        search = self._view.search
        if search is not None and not search.poll():
            self.send(self, _SEARCH)
        else:
            self._tell()

    def _select(self, id_: Any) -> None:
        self._leave_alone()
        process = None if id_ is None else self._find(id_)
        self._view.selected = process
        if process is not None:
            self._view.reveal(process)
            self._watch = Watch(process, self._secrets)
        elif id_ is not None:
            gone = {"id": str(id_), "pid": f"<0.{id_}.0>", "status": "dead", "reason": "nobody knows any more"}
            self.push("difference", {"actor": gone})
        self._tell()

    def _leave_alone(self) -> None:
        if self._watch is not None:
            self._watch.end()
            self._watch = None

    def _find(self, id_: Any) -> Process | None:
        """Return the living actor of a row; a child that does not run has none."""
        return self._scheduler.processes.get(int(id_)) if str(id_).isdecimal() else None

    def _order(self, order: str, id_: Any) -> Reply:
        process = self._find(id_)
        if process is None:
            return error({"reason": "it has ended"})
        _log.info("%s: %s %s", self, order, process.name)
        if order == "kill":
            process.ref.kill()
        elif order == "resume":
            sys.resume(process.ref)
        elif process.ref in (self.actor_ref, self.socket.transport):
            return error({"reason": "this page could not resume it"})
        else:
            sys.suspend(process.ref)
        return ok()
