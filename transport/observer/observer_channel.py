"""The channel behind the live page: it pushes changes of the supervision tree, and carries out the page's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from actors import sys
from actors.channel import Channel
from actors.channels.message import Payload, Reply, error, ok
from actors.log import Log
from actors.redaction import STATE_SECRETS
from supervisors.snapshot import Search, Sweep
from transport.observer.view import View
from transport.observer.watch import Watch

if TYPE_CHECKING:
    from actors.clock import Interval
    from actors.lowlevel import Process

__all__ = ["INTERVAL", "ObserverChannel"]

INTERVAL = 0.5
"""Seconds between two samples of the tree."""

_log = Log("ashtree.transport")

_SAMPLE = object()
_SEARCH = object()


class ObserverChannel(Channel):
    """The tree as its client has unfolded it: a "difference" twice a second, unless it is empty.

    The client pushes "unfold" and "fold" (`{"id": "41"}`), "page" (`{"id", "first"}`), "search" (`{"text"}`), "select"
    (`{"id"}`, null for none), "rest" and "watch" (sampling pauses while the page is hidden), and "suspend", "resume" and "kill"
    (`{"id"}`), which are answered. A "difference" may have `rows`, `order` (the ids of all rows), `ended`, `totals`, and
    `actor` (the selected one).
    """

    log_join: ClassVar[str | None] = "debug"
    log_handle_in: ClassVar[str | None] = None

    def join(self, topic: str, payload: Payload) -> Reply:
        """Start sampling; the first difference is the whole tree."""
        process = self.actor_ref.process
        self._scheduler = process.scheduler
        transport = self.socket.transport.process
        self._view, self._sweep = View(process, transport), Sweep(process.scheduler, without=(process, transport))
        self._watch: Watch | None = None
        self._totals: dict[str, Any] = {}
        self._interval: Interval | None = None
        self._secrets = tuple({*STATE_SECRETS, *self.socket.filter_parameters})
        self.own(self._end_watch)
        self.send(self, _SAMPLE)
        self._resume()
        own = [str(process.number), str(transport.number)]
        return ok({"interval": INTERVAL, "own": own, "links": self.assigns.get("links", [])})

    def _resume(self) -> None:
        if self._interval is None:
            self._interval = self.send_interval(INTERVAL, _SAMPLE)

    def _pause(self) -> None:
        if self._interval is not None:
            self._interval.cancel()
            self._interval = None

    def handle_info(self, message: object) -> None:
        """Sample the tree, or continue a search."""
        if message is _SAMPLE:
            self._sample()
        elif message is _SEARCH:
            self._continue_search()
        else:
            super().handle_info(message)

    def _sample(self) -> None:
        self._sweep.poll()
        self._view.measure()
        if self._view.search is not None:
            self._view.search.poll()
        self._push_difference()

    def _push_difference(self) -> None:
        """Push what has changed since the last time, if anything has."""
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

    # Commands of the client

    def handle_in(self, event: str, payload: Payload) -> object:
        """Carry out a command."""
        match event:
            case "unfold" | "fold" | "page":
                self._arrange(event, payload)
            case "search":
                self._search(str(payload["text"]))
            case "select":
                self._select(payload["id"])
            case "rest":
                self._pause()
            case "watch":
                self._resume()
                self._sample()
            case "suspend" | "resume" | "kill":
                return self._command(event, payload["id"])
            case _:
                return super().handle_in(event, payload)
        return None

    def _arrange(self, event: str, payload: Payload) -> None:
        number = int(payload["id"])
        if event == "page":
            self._view.turn_to(number, int(payload["first"]))
        elif event == "unfold":
            self._view.unfold(number)
        else:
            self._view.fold(number)
        self._push_difference()

    def _search(self, text: str) -> None:
        self._view.search = Search(self._scheduler, text) if text.strip() else None
        self._continue_search()

    def _continue_search(self) -> None:
        """Search some more actors, then give other actors a turn."""
        search = self._view.search
        if search is not None and not search.poll():
            self.send(self, _SEARCH)
        else:
            self._push_difference()

    def _select(self, id_: object) -> None:
        self._end_watch()
        process = None if id_ is None else self._find(id_)
        self._view.selected = process
        if process is not None:
            self._view.reveal(process)
            self._watch = Watch(process, self._secrets)
        elif id_ is not None:
            unknown = {"id": str(id_), "pid": f"<0.{id_}.0>", "status": "dead", "reason": "no longer known"}
            self.push("difference", {"actor": unknown})
        self._push_difference()

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.end()
            self._watch = None

    def _find(self, id_: object) -> Process | None:
        """Return the actor of a row if it is alive; a child that is not running has none."""
        return self._scheduler.processes.get(int(str(id_))) if str(id_).isdecimal() else None

    def _command(self, command: str, id_: object) -> Reply:
        process = self._find(id_)
        if process is None:
            return error({"reason": "it has exited"})
        _log.info("%s: %s %s", self, command, process.name)
        if command == "kill":
            process.ref.kill()
        elif command == "resume":
            sys.resume(process.ref)
        elif process.ref in (self.actor_ref, self.socket.transport):
            return error({"reason": "this page could not resume it"})
        else:
            sys.suspend(process.ref)
        return ok()
