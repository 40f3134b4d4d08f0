"""The listening sockets of an endpoint that several workers serve.

Theory of operation.

The parent opens them, so that a port which is taken is found before there are workers, and keeps them, so that the clients that
wait for a worker which dies are those of the next one.

1. TCP: each worker has a socket and a queue of its own, by SO_REUSEPORT, and the kernel spreads clients over them, where it
   does that (Linux). The first one is opened without it, as a port that another program has is taken.
2. Others, such as a Unix socket, have one queue, from which all workers accept.

A worker that stops alone leaves its queue to the next one. When all stop each accepts what waits, and then shuts it down.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisors.workers.worker import this_worker
from transport.http.listening_socket import FileSocket, ListeningSocket, TcpSocket

if TYPE_CHECKING:
    from transport.http.addresses import Address

__all__ = ["WorkerSockets"]

_SPREADS = sys.platform == "linux"


class WorkerSockets:
    """The sockets at some addresses, as the parent opens and keeps them.

    Raises:
        ListenError: if one cannot be opened; then none is.
    """

    def __init__(self, addresses: Sequence[Address], workers: int, *, reuse_port: bool) -> None:
        # Of each socket, one for each worker.
        self._opened: list[list[ListeningSocket]] = []
        # Listening sockets are closed in a forked process; these are not.
        self._kept: list[list[_Kept]] = []
        try:
            for address in addresses:
                for first in address.open(reuse_port=reuse_port):
                    self._opened.append([first])
                    self._opened[-1] += _others(first, workers - 1)
        except BaseException:
            self.close()
            raise
        self._kept = [[_Kept.of(each) for each in sockets] for sockets in self._opened]

    def places(self, number: int) -> list[Address]:
        """Return those of a worker, as places to listen."""
        return [sockets[number] for sockets in self._kept]

    def leave_to_others(self, number: int) -> None:
        """Close those of the other workers, in the process of a worker."""
        for sockets in self._kept:
            for other, kept in enumerate(sockets):
                if other != number:
                    kept.socket.close()

    def abandon(self, number: int) -> None:
        """Close the sockets that are this worker's alone; in the parent."""
        for sockets in self._opened:
            if sockets.count(sockets[number]) == 1:
                sockets[number].close()

    def close(self) -> None:
        """Stop to listen; in the parent."""
        for sockets in self._opened:
            for opened in dict.fromkeys(sockets):
                opened.close()
        for copies in self._kept:
            for kept in copies:
                kept.socket.close()


def _others(first: ListeningSocket, number: int) -> list[ListeningSocket]:
    if not isinstance(first, TcpSocket) or not _SPREADS:
        return [first] * number
    first.admit_others()
    return [first.twin() for _ in range(number)]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A socket for one worker, and what kind of a socket it is there; a place to listen."""

    socket: socket.socket
    kind: type[ListeningSocket]

    @classmethod
    def of(cls, opened: ListeningSocket) -> _Kept:
        return cls(opened.kept(), _KINDS.get(type(opened), ListeningSocket))

    def open(self, *, reuse_port: bool) -> Sequence[ListeningSocket]:  # it is open
        opened = self.kind(self.socket.dup())
        if not isinstance(opened, WorkerTcpSocket):
            # So that the others get some too.
            opened.at_once = 1
        return [opened]


class WorkerTcpSocket(TcpSocket):
    """A TCP socket with a queue of its own, which the parent has opened."""

    def divert(self) -> bool:
        """Let clients go elsewhere, if there is nothing here any more."""
        return _all_end() and super().divert()

    def close(self) -> None:
        """Stop to accept; the next worker goes on, unless all end."""
        if _all_end():
            super().close()
        else:
            ListeningSocket.close(self)


class QueueOfAll(ListeningSocket):
    """A socket with one queue, from which all workers accept."""

    def divert(self) -> bool:
        """Return whether those that wait are to be accepted: not if other workers go on."""
        return _all_end()


_KINDS = {TcpSocket: WorkerTcpSocket if _SPREADS else QueueOfAll, FileSocket: QueueOfAll}


def _all_end() -> bool:
    worker = this_worker()
    return worker is not None and worker.is_ending
