"""The requests to other processes that have not been answered: plain data, no actor, no time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MOST_BYTES",
    "MOST_REQUESTS",
    "OutOfReachError",
    "PeerAnswer",
    "PeerBusyError",
    "PeerError",
    "PeerRequest",
    "Requests",
    "UnreachableError",
]

MOST_REQUESTS = 10_000
"""Requests to other processes, and as many of theirs, that are answered at the same time."""

MOST_BYTES = 64 * 1024 * 1024
"""Bytes that all requests of one process, which have not been answered, may have."""


class PeerError(Exception):
    """Another process has not answered a request."""


class UnreachableError(PeerError):
    """It has ended, or its answer has not come in time."""


class OutOfReachError(UnreachableError):
    """The adapter has lost its connection: nothing is known of the other process, nor of what it has done."""


class PeerBusyError(PeerError):
    """Too many requests have not been answered yet, here or there; nothing was sent, or nothing done."""


class PeerAnswer(NamedTuple):
    """What a process answers: values that JSON has, and bytes."""

    about: dict[str, Any]
    body: bytes = b""


class PeerRequest:
    """One request: `heard` is done when the other process has begun with it, `answer` when it has answered."""

    __slots__ = ("answer", "heard", "number", "run", "size")

    def __init__(self, run: str, number: int, size: int) -> None:
        self.run, self.number, self.size = run, number, size
        loop = asyncio.get_running_loop()
        self.heard: asyncio.Future[None] = loop.create_future()
        self.answer: asyncio.Future[PeerAnswer] = loop.create_future()

    @property
    def is_over(self) -> bool:
        """Whether there is an answer, or an error in its place."""
        if not self.answer.done() or self.answer.cancelled():
            return False
        # An error that was looked at is not reported by asyncio, if it came when it was no longer waited for.
        self.answer.exception()
        return True

    def is_heard(self) -> None:
        """The other process is there."""
        if not self.heard.done():
            self.heard.set_result(None)

    def set(self, answer: PeerAnswer) -> None:
        """Set the answer, unless it is no longer waited for."""
        self.is_heard()
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: PeerError) -> None:
        """Raise an error where the answer is waited for."""
        self.is_heard()
        if not self.answer.done():
            self.answer.set_exception(error)


class Requests:
    """The requests by their numbers, which are bounded in number and bytes."""

    def __init__(self) -> None:
        self._requests: dict[int, PeerRequest] = {}
        self._number = self.bytes = 0

    def __len__(self) -> int:
        return len(self._requests)

    def open(self, run: str, size: int) -> PeerRequest:
        """Return a new request of `size` bytes to a process.

        Raises:
            PeerBusyError: if there are too many.
        """
        if len(self._requests) >= MOST_REQUESTS or (self._requests and self.bytes + size > MOST_BYTES):
            raise PeerBusyError(f"{len(self._requests)} requests with {self.bytes} bytes wait for answers already")
        self._number += 1
        self.bytes += size
        request = self._requests[self._number] = PeerRequest(run, self._number, size)
        return request

    def close(self, request: PeerRequest) -> None:
        """Forget a request."""
        if self._requests.pop(request.number, None) is not None:
            self.bytes -= request.size

    def of(self, run: str, number: int) -> PeerRequest | None:
        """Return a request to a process."""
        request = self._requests.get(number)
        return request if request is not None and request.run == run else None

    def ended(self, runs: Iterable[str]) -> None:
        """Fail the requests to processes that have ended."""
        ended = set(runs)
        for request in list(self._requests.values()):
            if request.run in ended:
                request.fail(UnreachableError("it has ended"))

    def out_of_reach(self, trouble: str) -> None:
        """Fail all requests, as their answers cannot come."""
        for request in list(self._requests.values()):
            request.fail(OutOfReachError(trouble))
