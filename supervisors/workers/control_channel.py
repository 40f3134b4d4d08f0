"""What a worker and its parent exchange: small messages over a pair of sockets, each JSON behind its length in four bytes.

An end is used by one thread, and never blocks: what the other end does not take yet is kept. Its owner waits until its
`fileno()` is readable, and until it is writable when `on_full` says so.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Protocol

import msgspec

__all__ = ["ControlChannel", "ControlMessage", "pair"]

_LENGTH = struct.Struct("!I")
_READ = 64 * 1024

Answered = Callable[[Any], object]


class ControlMessage(msgspec.Struct, omit_defaults=True):
    """A message: a question if it has a `ref`, or the answer to the question with that one."""

    kind: str = ""
    body: Any = None
    ref: int | None = None

    @property
    def is_answer(self) -> bool:
        """Whether it answers a question."""
        return not self.kind


class OnFull(Protocol):
    """What waits for an end to be writable, or stops to."""

    def __call__(self, *, writable: bool) -> object:
        """Wait from now on, or no longer."""


class ControlChannel:
    """One end. `on_full(writable=…)` is called when it begins to wait until more can be written, and when that is over."""

    def __init__(self, end: socket.socket, on_full: OnFull) -> None:
        end.settimeout(0)
        self._end, self._on_full = end, on_full
        self._received, self._unsent = bytearray(), bytearray()
        self._refs = count(1)
        self._asked: dict[int, Answered] = {}
        self.is_open = True

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._end.fileno()

    @property
    def has_room(self) -> bool:
        """Whether the other end has taken all that was sent."""
        return not self._unsent

    def tell(self, kind: str, body: object = None) -> None:
        """Send a message; nothing if the other end is closed."""
        self._send(ControlMessage(kind, body))

    def ask(self, kind: str, body: object, answered: Answered) -> int:
        """Send a question; `answered(body)` is called with its answer, if one comes and it is not forgotten."""
        ref = next(self._refs)
        self._asked[ref] = answered
        self._send(ControlMessage(kind, body, ref))
        return ref

    def forget(self, ref: int) -> None:
        """Wait for an answer no longer."""
        self._asked.pop(ref, None)

    def answer(self, question: ControlMessage, body: object) -> None:
        """Answer a question."""
        self._send(ControlMessage("", body, question.ref))

    def _send(self, message: ControlMessage) -> None:
        data = msgspec.json.encode(message)
        was_full = bool(self._unsent)
        self._unsent += _LENGTH.pack(len(data)) + data
        if not was_full:
            self.flush()

    def flush(self) -> None:
        """Write what the other end takes."""
        try:
            while self._unsent and self.is_open:
                del self._unsent[: self._end.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()
        self._on_full(writable=bool(self._unsent) and self.is_open)

    def receive(self) -> Iterator[ControlMessage]:
        """Yield what has arrived, answers excepted: those are passed on. Afterwards `is_open` says whether more may come."""
        self._read()
        for message in self._messages():
            if not message.is_answer:
                yield message
            elif (answered := self._asked.pop(message.ref or 0, None)) is not None:
                answered(message.body)

    def _read(self) -> None:
        try:
            while data := self._end.recv(_READ):
                self._received += data
        except BlockingIOError:
            return
        except OSError:
            pass
        self.is_open = False

    def _messages(self) -> Iterator[ControlMessage]:
        received = self._received
        while len(received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
            if len(received) < end:
                return
            data = bytes(received[_LENGTH.size : end])
            del received[:end]
            yield msgspec.json.decode(data, type=ControlMessage)

    def close(self) -> None:
        """Close this end; questions that are not answered yet are forgotten."""
        self.is_open = False
        self._asked.clear()
        self._unsent.clear()
        self._end.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new channel."""
    return socket.socketpair()
