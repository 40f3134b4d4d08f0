"""The client of a console: it sends what is typed, and shows the output."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from actors import standard_streams
from supervisors.console.protocol import (
    VERSION,
    Bye,
    Complete,
    Completions,
    Evaluate,
    Frames,
    FromClient,
    FromServer,
    Hello,
    Interrupt,
    Output,
    Ready,
    encodable,
    encode,
)
from supervisors.exceptions import NO_UNIX_SOCKETS

if TYPE_CHECKING:
    from supervisors.console.client.terminal import Terminal

__all__ = ["ConsoleClient", "complain", "connect"]

HISTORY = Path("~/.ashtree_history")

# Seconds that Tab waits: finding the attributes of an object may take time.
_PATIENCE = 2.0

# Seconds after which the signal that ends a line is sent again: readline misses one that arrives just before it waits for
# a key.
_AGAIN = 0.1

_CUT_OFF = Bye("the server has closed the connection")


def complain(text: object) -> None:
    """Print a message of the client itself."""
    standard_streams.complain(f"console: {text}")


def connect(path: str) -> socket.socket:
    """Connect to the console at a path.

    Raises:
        OSError: if no server listens there, the socket belongs to another user, or the platform has none of its kind.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(NO_UNIX_SOCKETS)
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.connect(path)
    except BaseException:
        connected.close()
        raise
    return connected


class ConsoleClient:
    """Runs a session for a person at a terminal, or for a program that pipes statements in."""

    def __init__(self, connected: socket.socket, terminal: Terminal) -> None:
        self._socket, self._terminal = connected, terminal
        self._answers: SimpleQueue[Ready | Completions | Bye] = SimpleQueue()
        self._number = 0
        self._runs = self._has_failed = False
        self._bye: Bye | None = None
        self._is_line_ended = threading.Event()
        self._has_left = False

    def run(self) -> int:
        """Run until the input ends or the server closes the session; return the exit status."""
        history = HISTORY.expanduser()
        self._terminal.edit_lines(history, self._complete)
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        reader = threading.Thread(target=self._read, name="output", daemon=True)
        reader.start()
        try:
            self._talk()
        finally:
            self._hang_up(reader)
            signal.signal(signal.SIGINT, before)
            self._terminal.remember(history)
        return self._status()

    def _talk(self) -> None:
        self._send(Hello(VERSION, self._terminal.has_colours, self._terminal.is_interactive))
        typed: list[str] = []
        needs_more = self._wait_until_ready()
        while needs_more is not None:
            try:
                typed.append(encodable(self._read_line("... " if needs_more else ">>> ")))
            except KeyboardInterrupt:
                needs_more = self._forget(typed)
                continue
            except EOFError:
                self._has_left = True
                break
            needs_more = self._evaluate("\n".join(typed))
            if not needs_more:
                typed.clear()
        # The end of the input completes the statement.
        if typed and needs_more and self._evaluate("\n".join([*typed, ""])):
            complain("the last statement is not complete")
            self._has_failed = True

    def _read_line(self, prompt: str) -> str:
        return self._terminal.read_line(prompt, is_over=lambda: self._bye is not None)

    def _forget(self, typed: list[str]) -> bool | None:
        """Start a new line after Ctrl-C; return None if the session is over, which ends the line in the same way."""
        if self._bye is not None:
            self._terminal.show("\n")
            return None
        typed.clear()
        self._terminal.show("\nKeyboardInterrupt\n")
        return False

    # One request at a time

    def _evaluate(self, source: str) -> bool | None:
        """Send a statement and wait until it is done; return whether it needs more lines, or None if the session is over."""
        self._number += 1
        self._runs = True
        self._send(Evaluate(self._number, source))
        try:
            return self._wait_until_ready()
        finally:
            self._runs = False

    def _wait_until_ready(self) -> bool | None:
        while True:
            match self._answers.get():
                case Ready(number=number, needs_more=needs_more, has_failed=has_failed) if number == self._number:
                    self._terminal.end_of_output()
                    self._has_failed |= has_failed
                    return needs_more
                case Bye():
                    return None

    def _complete(self, text: str, line: str) -> Sequence[str]:
        self._number += 1
        self._send(Complete(self._number, encodable(text), encodable(line)))
        try:
            while True:
                match self._answers.get(timeout=_PATIENCE):
                    case Completions(number=number, matches=matches) if number == self._number:
                        return matches
                    case Bye():
                        return ()
        except Empty:
            # The second one abandons the completion, so that the next line can be evaluated at once.
            self._send(Interrupt(self._number))
            self._send(Interrupt(self._number))
            return ()

    def _on_interrupt(self, _number: int, _frame: object) -> None:
        if self._runs:
            self._send(Interrupt(self._number))
        elif self._terminal.is_prompting and not self._is_line_ended.is_set():
            if self._bye is not None:
                self._is_line_ended.set()
            raise KeyboardInterrupt

    # The connection

    def _send(self, frame: FromClient) -> None:
        try:
            self._socket.sendall(encode(frame))
        except OSError:
            # The reader thread gets the error too, after the last frames of the server.
            return

    def _read(self) -> None:
        frames = Frames(FromServer)
        bye: Bye = _CUT_OFF
        try:
            while data := self._socket.recv(1 << 16):
                for frame in frames.feed(data):
                    if isinstance(frame, Bye):
                        bye = frame
                    self._take(frame)
        except OSError:
            pass
        except ValueError as error:
            bye = Bye(f"not a console: {error}")
        self._end(bye)

    def _take(self, frame: FromClient | FromServer) -> None:
        if isinstance(frame, Output):
            self._terminal.show(frame.text)
        elif isinstance(frame, Ready | Completions):
            self._answers.put(frame)

    def _end(self, bye: Bye) -> None:
        self._bye = bye
        self._answers.put(bye)
        while self._terminal.is_prompting and self._terminal.is_interactive and not self._is_line_ended.is_set():
            # Only a signal ends the line that is being typed.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            self._is_line_ended.wait(_AGAIN)

    def _hang_up(self, reader: threading.Thread) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        reader.join(_PATIENCE)
        self._socket.close()

    def _status(self) -> int:
        """Print why the session is over, unless the client ended it; return the exit status.

        Of a program that pipes statements in, it is 1 if one of them has failed.
        """
        assert self._bye is not None
        if self._bye.reason and not self._has_left:
            complain(self._bye.reason)
            return 1
        return self._bye.status or int(self._has_failed and not self._terminal.is_interactive)
