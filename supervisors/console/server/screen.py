"""`sys.stdout` for code at a prompt: each session gets its own, and the server keeps the real one."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO, cast

from actors.fork import free_after_fork, in_child
from actors.lowlevel import not_inherited

if TYPE_CHECKING:
    from supervisors.console.server.interruption import Interruption
    from supervisors.console.server.output_queue import OutputQueue

__all__ = ["Screen", "divert", "restore"]

_current: ContextVar[Screen | None] = ContextVar("screen of a console", default=None)
# An actor that is started at a prompt outlives the session.
not_inherited.append(_current)


class Screen(io.TextIOBase):
    """The standard output of one session, sent to its client.

    The session's own thread waits for a slow client; the output of others, such as a trace, is dropped then.
    """

    def __init__(self, outbox: OutputQueue, namespace: dict[str, Any]) -> None:
        self._outbox, self._namespace = outbox, namespace
        self._interruption: Interruption | None = None
        self.given_up: set[threading.Thread] = set()
        """Abandoned threads, whose output is no longer accepted."""
        self._kept: list[object] = []
        self.has_colours = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of io.TextIOBase, which has an attribute
        """The encoding of the wire."""
        return "utf-8"

    def isatty(self) -> bool:
        """Return whether the client shows colours."""
        return self.has_colours

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Send text to the client.

        Raises:
            BrokenPipeError: if the client has disconnected, or has abandoned this thread.
        """
        interruption = self._interruption
        if threading.current_thread() in self.given_up:
            raise BrokenPipeError("the client of this console has abandoned this thread")
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
        """Show a value and store it as `_`: now in the session's thread, or once the task is done if this is the loop."""
        if value is None:
            return
        if self._interruption is not None and self._interruption.is_here():
            self.write(f"{value!r}\n")
            self._namespace["_"] = value
        else:
            # Its repr may take long, and must not block the loop.
            self._kept.append(value)

    def display_kept(self) -> None:
        """Show the values that were kept for later."""
        kept, self._kept = self._kept, []
        for value in kept:
            self.display(value)

    # The threads it serves

    def take(self) -> None:
        """Become the standard output of this thread, and of the tasks it starts."""
        _current.set(self)

    def serve(self, interruption: Interruption) -> None:
        """Serve the thread of this interruption, and abandon the previous one."""
        self.give_up()
        self._interruption = interruption

    def give_up(self) -> None:
        """Accept no more output from the current thread."""
        if self._interruption is not None and self._interruption.thread is not None:
            self.given_up.add(self._interruption.thread)


class _Diverted:
    """A standard stream that leads to the session whose code uses it, and for all other code to the original stream."""

    def __init__(self, before: Any, of: Callable[[Screen], Any]) -> None:
        # In a program without standard streams it is None, with which print() does nothing.
        self.before, self._of = before, of

    def __getattr__(self, name: str) -> Any:
        screen = _current.get()
        return getattr(self.before or _Nowhere() if screen is None else self._of(screen), name)

    def __iter__(self) -> Any:
        return iter(self.readline, "")


class _DivertedHook:
    """A displayhook that serves the session whose code uses it, and for all other code calls the original."""

    def __init__(self, before: Callable[[object], object]) -> None:
        self.before = before

    def __call__(self, value: object) -> None:
        screen = _current.get()
        if screen is None:
            self.before(value)
        else:
            screen.display(value)


class _Nowhere(io.TextIOBase):
    """Discards text."""

    def write(self, text: str) -> int:
        return len(text)


_NAMES = ("stdin", "stdout", "stderr", "displayhook")
_lock = free_after_fork(threading.Lock())
_served: set[Screen] = set()
# Abandoned by sessions that are over: their output must not go to the server's own standard output.
_left: set[threading.Thread] = set()


def divert(screen: Screen) -> None:
    """Make standard streams and displayhook serve a session too, even if they were replaced since the last time."""
    with _lock:
        _served.add(screen)
        if not isinstance(sys.stdin, _Diverted):
            # A session has no standard input: input() raises EOFError.
            sys.stdin = cast("TextIO", _Diverted(sys.stdin, lambda _: io.StringIO()))
        if not isinstance(sys.stdout, _Diverted):
            sys.stdout = cast("TextIO", _Diverted(sys.stdout, lambda screen: screen))
        if not isinstance(sys.stderr, _Diverted):
            sys.stderr = cast("TextIO", _Diverted(sys.stderr, lambda screen: screen))
        if not isinstance(sys.displayhook, _DivertedHook):
            sys.displayhook = _DivertedHook(sys.displayhook)


def restore(screen: Screen, left: Iterable[threading.Thread] = ()) -> None:
    """Restore the original streams, if this was the last session and no abandoned thread is running."""
    with _lock:
        _served.discard(screen)
        alive = {thread for thread in {*_left, *left} if thread.is_alive()}
        _left.clear()
        _left.update(alive)
        if not _served and not _left:
            _restore_streams()


def _restore_streams() -> None:
    for name in _NAMES:
        stream = getattr(sys, name)
        if isinstance(stream, _Diverted | _DivertedHook):
            setattr(sys, name, stream.before)


def _leave_sessions_behind() -> None:
    """Serve no session, in a forked child: their clients are the parent's."""
    _served.clear()
    _left.clear()
    _restore_streams()


in_child(_leave_sessions_behind)
