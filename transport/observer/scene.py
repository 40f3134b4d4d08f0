"""The tree of this process as one viewer has unfolded it, and the actor that the viewer has selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from actors import sys
from actors.channels.message import Payload, Reply, error, ok
from actors.log import Log
from supervisors.snapshot import Search, Sweep
from transport.observer.view import View
from transport.observer.watch import Watch

if TYPE_CHECKING:
    from actors.lowlevel import Process

__all__ = ["Scene"]

_log = Log("ashtree.transport")

_ARRANGING = ("unfold", "fold", "page")
_ORDERS = ("suspend", "resume", "kill")


class Scene:
    """What one viewer sees, as differences to what it has seen.

    - `viewer`: what the log names as the origin of an order.
    - `actors`: the viewer's own, the first of which belongs to the tree; their rates are not shown, and they are not suspended.
    - `secrets`: values of names that contain one of these are filtered.
    """

    def __init__(self, viewer: object, actors: Sequence[Process], secrets: Sequence[str]) -> None:
        self._viewer, self._actors, self._secrets = viewer, actors, secrets
        self._scheduler = actors[0].scheduler
        self._view, self._sweep = View(*actors), Sweep(self._scheduler, without=actors)
        self._watch: Watch | None = None
        self._totals: dict[str, Any] = {}

    def end(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None

    # What is seen

    def sample(self) -> dict[str, Any]:
        """Look at the tree again; return what has changed."""
        self._sweep.poll()
        self._view.measure()
        if self._view.search is not None:
            self._view.search.poll()
        return self.difference()

    def difference(self) -> dict[str, Any]:
        """Return what has changed since the last time; empty if nothing has."""
        difference = self._view.difference(self._sweep)
        totals = self._read_totals()
        if totals != self._totals:
            difference["totals"] = self._totals = totals
        if self._watch is not None and (actor := self._watch.difference()):
            difference["actor"] = actor
        return difference

    def _read_totals(self) -> dict[str, Any]:
        sweep, search = self._sweep, self._view.search
        totals = {"actors": len(self._scheduler.processes), "rate": round(sweep.rate, 1), "waiting": sweep.waiting}
        return totals if search is None else totals | {"hits": len(search.hits), "most": search.most}

    # What the viewer does

    def takes(self, event: str) -> bool:
        """Return whether an event is a command for `do`."""
        return event in (*_ARRANGING, *_ORDERS, "search", "select")

    def do(self, event: str, payload: Payload) -> tuple[Reply | None, dict[str, Any]]:
        """Carry out a command; return the answer of one that is answered, and what has changed."""
        reply, unknown = None, {}
        if event in _ARRANGING:
            self._arrange(event, payload)
        elif event == "search":
            text = str(payload["text"])
            self._view.search = Search(self._scheduler, text) if text.strip() else None
            self.search_on()
        elif event == "select":
            unknown = self._select(payload["id"])
        else:
            reply = self._order(event, payload["id"])
        return reply, self.difference() | unknown

    def search_on(self) -> bool:
        """Search some more actors; return whether that was all."""
        search = self._view.search
        return search is None or search.poll()

    def _arrange(self, event: str, payload: Payload) -> None:
        number = int(payload["id"])
        if event == "page":
            self._view.turn_to(number, int(payload["first"]))
        elif event == "unfold":
            self._view.unfold(number)
        else:
            self._view.fold(number)

    def _select(self, id_: object) -> dict[str, Any]:
        self.end()
        process = None if id_ is None else self._find(id_)
        self._view.selected = process
        if process is not None:
            self._view.reveal(process)
            self._watch = Watch(process, self._secrets)
        elif id_ is not None:
            return {"actor": {"id": str(id_), "pid": f"<0.{id_}.0>", "status": "dead", "reason": "no longer known"}}
        return {}

    def _find(self, id_: object) -> Process | None:
        """Return the actor of a row if it is alive; a child that is not running has none."""
        return self._scheduler.processes.get(int(str(id_))) if str(id_).isdecimal() else None

    def _order(self, order: str, id_: object) -> Reply:
        process = self._find(id_)
        if process is None:
            return error({"reason": "it has exited"})
        _log.info("%s: %s %s", self._viewer, order, process.name)
        if order == "kill":
            process.ref.kill()
        elif order == "resume":
            sys.resume(process.ref)
        elif process in self._actors:
            return error({"reason": "this page could not resume it"})
        else:
            sys.suspend(process.ref)
        return ok()
