"""What code at the prompt sees as `sys.stdout`, and how each prompt gets its own while the server keeps the real one."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from supervisors.console.server.interruption import Interruption
    from supervisors.console.server.output_queue import OutputQueue

__all__ = ["Screen", "divert", "restore"]

_current: ContextVar[Screen | None] = ContextVar("screen of a console", default=None)


class Screen(io.TextIOBase):
    """Standard output of one session: text for its client.

    The session's own thread waits for a client that is slow; what others print beyond that, such as a trace, is dropped.
    """

    def __init__(self, outbox: OutputQueue, namespace: dict[str, Any]) -> None:
        self._outbox, self._namespace = outbox, namespace
        self._interruption: Interruption | None = None
        self.given_up: set[threading.Thread] = set()
        """The threads from which nothing is taken any more."""
        self._kept: list[object] = []
        self.has_colours = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of io.TextIOBase, which has an attribute
        """The encoding of the wire."""
        return "utf-8"

    def isatty(self) -> bool:
        """Tell whether colours and the like are welcome."""
        return self.has_colours

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Send text to the client.

        Raises:
            BrokenPipeError: if the client has left, or has given up this thread.
        """
        interruption = self._interruption
        if threading.current_thread() in self.given_up:
            raise BrokenPipeError("the client of this console does not wait for this any more")
        if interruption is None or not interruption.is_here():
            self._outbox.write(text)
            return len(text)
        was_exposed = interruption.cover()
        try:
            self._outbox.write(text, waits=lambda: not interruption.is_pending)
        finally:
            if was_exposed:
                interruption.expose()
        return len(text)

    # Values, shown as at Python's own prompt

    def display(self, value: object) -> None:
        """Show a value, and keep it as `_`, now if this is the session's thread; from a task on the loop, when that is done."""
        if value is None:
            return
        if self._interruption is not None and self._interruption.is_here():
            self.write(f"{value!r}\n")
            self._namespace["_"] = value
        else:
            # It may take long to write down, and the loop has others to serve.
            self._kept.append(value)

    def display_kept(self) -> None:
        """Show the values that were kept."""
        kept, self._kept = self._kept, []
        for value in kept:
            self.display(value)

    # For whom it is

    def take(self) -> None:
        """Be the standard output of this thread, and of the tasks it starts, from now on."""
        _current.set(self)

    def serve(self, interruption: Interruption) -> None:
        """Wait for room in the thread that this can interrupt, and take nothing more from the one before."""
        self.give_up()
        self._interruption = interruption

    def give_up(self) -> None:
        """Take nothing more from the thread that is served."""
        if self._interruption is not None and self._interruption.thread is not None:
            self.given_up.add(self._interruption.thread)


class _Diverted:
    """A standard stream that leads to the session whose code uses it, and for all others where it led before."""

    def __init__(self, before: Any, of: Callable[[Screen], Any]) -> None:
        # A program without standard streams has None there, on which print() does nothing.
        self.before, self._of = before, of

    def __getattr__(self, name: str) -> Any:
        screen = _current.get()
        return getattr(self.before or _Nowhere() if screen is None else self._of(screen), name)

    def __iter__(self) -> Any:
        return iter(self.readline, "")


class _DivertedHook:
    """A displayhook that serves the session whose code uses it, and all others as before."""

    def __init__(self, before: Callable[[object], object]) -> None:
        self.before = before

    def __call__(self, value: object) -> None:
        screen = _current.get()
        if screen is None:
            self.before(value)
        else:
            screen.display(value)


class _Nowhere(io.TextIOBase):
    """Takes text, and does nothing."""

    def write(self, text: str) -> int:
        return len(text)


_NAMES = ("stdin", "stdout", "stderr", "displayhook")
_lock = threading.Lock()
_served: set[Screen] = set()
# Given up by sessions that are over: what these print must not go to the server's own standard output.
_left: set[threading.Thread] = set()


def divert(screen: Screen) -> None:
    """Have standard streams and displayhook serve a session too, also if somebody has put others there since the last time."""
    with _lock:
        _served.add(screen)
        if not isinstance(sys.stdin, _Diverted):
            # Nobody types at the server for a session: input() finds the end at once.
            sys.stdin = cast("TextIO", _Diverted(sys.stdin, lambda _: io.StringIO()))
        if not isinstance(sys.stdout, _Diverted):
            sys.stdout = cast("TextIO", _Diverted(sys.stdout, lambda screen: screen))
        if not isinstance(sys.stderr, _Diverted):
            sys.stderr = cast("TextIO", _Diverted(sys.stderr, lambda screen: screen))
        if not isinstance(sys.displayhook, _DivertedHook):
            sys.displayhook = _DivertedHook(sys.displayhook)


def restore(screen: Screen, left: Iterable[threading.Thread] = ()) -> None:
    """Put all back as it was, if this was the last session, and no thread is left behind by it or others."""
    with _lock:
        _served.discard(screen)
        alive = {thread for thread in {*_left, *left} if thread.is_alive()}
        _left.clear()
        _left.update(alive)
        if _served or _left:
            return
        for name in _NAMES:
            stream = getattr(sys, name)
            if isinstance(stream, _Diverted | _DivertedHook):
                setattr(sys, name, stream.before)
