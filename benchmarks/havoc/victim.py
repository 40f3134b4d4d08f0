"""The server that is tried, in a process of its own: the demo's application, whose actors can be killed and counted.

`python victim.py [--port 0] [--loop uvloop|asyncio]` prints its port, on which another one may listen beside it. Each line of
its input is then a command, and each line of its output the answer to one, both JSON:

- ["kill", SEED]: kill one actor of the tree at random, or make it crash; answers with its class and how.
- ["census"]: count what there is (`census.py`).
- ["disconnect", USER]: close the connections of a user.
- ["presences"]: the presences of all topics.
- ["surprises"]: what was logged or raised that nothing here has planned, since the last time.

It ends with its input, or as any server by SIGTERM; the last line then has the surprises of its end.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actors import ActorRef, Crash, Shutdown, UnhandledEventError
from actors.lowlevel import Scheduler, run_on
from demo import demo_endpoint, presence
from havoc.census import Census, take_census
from supervisors import System
from transport import Drainer

if TYPE_CHECKING:
    from transport import Endpoint

DEADLINE = 60.0
INTERVALS = 10_000
"""Restarts that a supervisor allows in a second: it is not to give up because of what is done here."""

# Killed by weight: few of them take all connections with them.
OFTEN = ("RoomChannel", "Transport", "ChannelSupervisor")
SHARE_OF_OFTEN = 0.75


class PlannedError(Exception):
    """What an actor is made to crash with."""


class Surprises(logging.Handler):
    """Keeps everything that was logged as an error, or raised where nothing catches it, unless it was planned."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def install(self) -> None:
        logging.getLogger().addHandler(self)
        sys.unraisablehook = lambda what: self.add("unraisable", what.exc_value)
        threading.excepthook = lambda what: self.add("thread", what.exc_value)

    def add(self, where: str, error: BaseException | None) -> None:
        text = "" if error is None else "".join(traceback.format_exception(error))
        self._texts.append(f"{where}: {text}")

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None and record.name.startswith("ashtree"):
            return  # a line, as of a restart or a limit
        if error is None or not is_planned(error):
            self._texts.append(f"log: {self.format(record)}")

    def take(self) -> list[str]:
        taken, self._texts = self._texts, []
        return taken


def is_planned(error: BaseException) -> bool:
    """Return whether it was planned, or raised by the demo's own code because of what a client has sent."""
    if isinstance(error, PlannedError | UnhandledEventError):
        return True
    return Path(innermost(error.__traceback__)).name == "demo.py"


def innermost(trace: TracebackType | None) -> str:
    """Return the file in which an exception was raised."""
    name = ""
    while trace is not None:
        name, trace = trace.tb_frame.f_code.co_filename, trace.tb_next
    return name


class Commands:
    """Does what is read from the input, in the thread of the event loop."""

    def __init__(self, system: System, endpoint: Endpoint, surprises: Surprises) -> None:
        self._system, self._endpoint, self._surprises = system, endpoint, surprises
        self._scheduler = Scheduler.here()

    def serve(self) -> None:
        """Answer one command after the other; stop the program at the end of the input."""
        for line in sys.stdin:
            name, *args = json.loads(line)
            answer = run_on(self._scheduler, getattr(self, name), *args, timeout=DEADLINE).get()
            print(json.dumps(answer), flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

    def kill(self, seed: int) -> list[str]:
        chance = random.Random(seed)  # noqa: S311  # to be repeated
        by_class: dict[str, list[ActorRef[Any]]] = {}
        for process in self._scheduler.processes.values():
            if process.ref != self._system.ref:
                by_class.setdefault(process.actor_class.__name__, []).append(process.ref)
        often = [name for name in OFTEN if name in by_class]
        seldom = sorted(by_class.keys() - set(OFTEN))
        name = chance.choice(often if often and chance.random() < SHARE_OF_OFTEN else seldom)
        how, end = chance.choice(self._ends())
        end(chance.choice(by_class[name]))
        return [name, how]

    def _ends(self) -> list[tuple[str, Callable[[ActorRef[Any]], object]]]:
        return [
            ("kill", lambda ref: ref.kill()),
            ("crash", lambda ref: ref.exit(Crash(PlannedError("chaos")))),
            ("shutdown", lambda ref: ref.exit(Shutdown("chaos"))),
            ("stop", lambda ref: ref.stop(block=False)),
        ]

    def census(self) -> Census:
        return take_census(self._system, self._scheduler)

    def disconnect(self, user: str) -> None:
        self._endpoint.broadcast(f"users_socket:{user}", "disconnect", {})

    def presences(self) -> Any:
        return {topic: presence.list(topic) for topic in presence.presences.topics()}

    def surprises(self) -> list[str]:
        return self._surprises.take()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    options = parser.parse_args()
    if options.loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # Python's own way to say that a module is missing
    serve(options.port)


def serve(port: int) -> None:
    surprises = Surprises()
    endpoint = demo_endpoint(port=port, reuse_port=True, drainer=Drainer(batch_size=10, batch_interval=0.2))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    surprises.install()

    def begin(system: System) -> None:
        commands = Commands(system, endpoint, surprises)
        threading.Thread(target=commands.serve, name="commands", daemon=True).start()
        print(endpoint.port, flush=True)

    System([presence, endpoint], max_restarts=INTERVALS, max_seconds=1.0).run(begin)
    print(json.dumps(surprises.take()), flush=True)


if __name__ == "__main__":
    main()
