"""The session of one client: its namespace, and the statement that is evaluated in it."""

from __future__ import annotations

import os
from io import StringIO
from pydoc import Helper
from typing import TYPE_CHECKING, Any, TextIO, cast

from actors.actor import Actor
from actors.exits import SHUTDOWN, ExitReason, Shutdown, Stop
from actors.lowlevel import spawn
from supervisors.console.protocol import VERSION, Bye, Complete, Completions, Evaluate, Hello, Interrupt, Ready
from supervisors.console.server.console_connection import ClientGone
from supervisors.console.server.evaluator import Evaluated, Evaluator, Leave
from supervisors.console.server.interruption import Interruption
from supervisors.console.server.screen import Screen, divert, restore
from supervisors.observer.guide import SUMMARY, vocabulary
from supervisors.observer.scope import Scope

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from supervisors.console.server.console_connection import ConsoleConnection
    from supervisors.system import System

__all__ = ["Session"]

# Seconds at the end of a session for the client to receive the remaining output, and for a running statement to stop.
_LINGER = 1.0

_BANNER = """This is {name}, process {pid}. It keeps running when you leave, and what you change is changed for its clients.

{summary}
Try first: tree(), then state(system.pubsub.name). Ctrl-C interrupts the statement; Ctrl-D or exit() leaves.

"""

_ABANDONED = "\nAbandoned. The thread cannot be killed and runs until its statement ends (see actors.threads_left).\n"


class _NoInput(StringIO):
    """The input of `help()`, which then leaves its prompt: Python 3.14 does not leave it for an empty line."""

    def readline(self, _size: int | None = -1, /) -> Any:
        """Report the end of the input."""
        raise EOFError


class Session(Actor):
    """Serves one client: evaluates what it sends, one statement at a time, until it leaves."""

    _no_dead_letters = (object,)

    def __init__(self, system: System, connection: ConsoleConnection) -> None:
        self._system, self._connection = system, connection
        self._outbox = connection.outbox
        self._namespace: dict[str, Any] = {"__name__": "__console__"}
        self._screen = Screen(self._outbox, self._namespace)
        # A Screen has the part of TextIO that writing needs.
        out = cast("TextIO", self._screen)
        # Python's own help() may open a pager in the server's terminal.
        self._namespace.update(vocabulary(system, Helper(_NoInput(), out), out))
        self._running: int | None = None
        self._is_interrupted = False
        self._bye = Bye("the server is stopping")

    def on_start(self) -> None:
        """Start the evaluator, with its thread."""
        self._evaluator = self._start_evaluator()
        divert(self._screen)
        self.own(self._let_go)
        self._connection.serve(self.actor_ref)

    def _start_evaluator(self) -> ActorRef[Evaluator]:
        self._interruption = Interruption(self._process.scheduler.loop)
        self._screen.serve(self._interruption)
        arguments = (self.actor_ref, Scope(self._system), self._namespace, self._screen, self._interruption)
        return spawn(Evaluator, arguments, parent=self._process, label="evaluator")

    def on_receive(self, message: object) -> object:
        """Handle the client's requests and the evaluator's results."""
        match message:
            case Hello():
                return self._greet(message)
            case Evaluate(number=number) | Complete(number=number):
                return self._evaluate(number, message)
            case Interrupt(number=number):
                self._interrupt(number)
            case Evaluated(number=number) if number == self._running:
                self._answer(Ready(number, message.needs_more, message.has_failed))
            case Completions(number=number) if number == self._running:
                self._answer(message)
            case Evaluated() | Completions():
                return None  # of an evaluator that was abandoned
            case Leave(status=status):
                return self._over("", status)
            case ClientGone(reason=reason):
                return self._over(reason)
            case _:
                return super().on_receive(message)
        return None

    def _greet(self, hello: Hello) -> Stop | None:
        if hello.version != VERSION:
            return self._over(f"the server has version {VERSION} of the console's protocol, not {hello.version}")
        self._screen.has_colours = hello.has_colours
        if hello.is_interactive:
            self._outbox.write(_BANNER.format(name=self._system.name, pid=os.getpid(), summary=SUMMARY))
        self._outbox.put(Ready(0))
        return None

    def _evaluate(self, number: int, message: Evaluate | Complete) -> Stop | None:
        if self._running is not None:
            return self._over(f"a client may send one statement at a time; {self._running} is not done")
        self._running, self._is_interrupted = number, False
        self._interruption.reset()
        divert(self._screen)
        self._evaluator.send(message)
        return None

    def _answer(self, frame: Ready | Completions) -> None:
        self._running = None
        self._outbox.put(frame)

    def _interrupt(self, number: int) -> None:
        if number != self._running:
            return
        if self._is_interrupted:
            self._abandon(number)
        else:
            self._stop_what_runs()

    def _stop_what_runs(self) -> None:
        if self._running is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._interruption.interrupt()
            self._outbox.wake()

    def _abandon(self, number: int) -> None:
        """Continue with a new thread, as the current one is blocked or ignores the interrupt."""
        self._process.unlink(self._evaluator.process)
        self._evaluator.kill()
        self._evaluator = self._start_evaluator()
        self._outbox.write(_ABANDONED)
        self._answer(Ready(number, has_failed=True))

    # The end

    def _over(self, reason: str, status: int = 0) -> Stop:
        self._bye = Bye(reason, status)
        return Stop(Shutdown("the client has left"))

    async def terminate(self, reason: ExitReason) -> None:
        """Stop the running statement, and send the client the reason why the session is over."""
        self._stop_what_runs()
        is_orderly = isinstance(reason, Shutdown)
        self._outbox.finish(self._bye if is_orderly else Bye(f"the session has ended: {reason}"))
        self._evaluator.exit(SHUTDOWN)
        timer = self.clock.call_after(_LINGER, self._cut_off)
        await self._connection.closed
        await self._evaluator.down()
        timer.cancel()

    def _cut_off(self) -> None:
        self._connection.abort()
        self._evaluator.kill()

    def _let_go(self) -> None:
        self._stop_what_runs()
        self._cut_off()
        if self._running is not None:
            self._screen.give_up()
        restore(self._screen, self._screen.given_up)
