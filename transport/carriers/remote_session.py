"""A session of long polling whose process is another one, as the requests of its client see it (Phoenix.Transports.LongPoll).

A poll takes two requests to that process: one that waits until there is something for the client, and one that takes it. If
the client disconnects while the first one waits, that is cancelled there, and the messages are for its next poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from actors.pubsub.peers import HEARD_WITHIN
from actors.pubsub.requests import OutOfReachError, PeerError, UnreachableError
from actors.time_bound import sleep
from transport.http.exchange import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.http11 import Response

    from actors.pubsub.peers import Peers
    from actors.pubsub.requests import PeerAnswer

__all__ = ["NO_MESSAGES", "RemotePoll", "RemoteSession", "SessionGoneError", "with_run", "without_run"]

NO_MESSAGES = msgspec.Raw(b"[]")

_BETWEEN = "~"
_RUN = 32
_TRY_AGAIN = 0.25
"""Seconds between two looks whether a broker that was out of reach is back."""


class SessionGoneError(Exception):
    """No process has the session any more."""


def with_run(run: str, signed: str) -> str:
    """Return a session's token with the run of the process that has it, where others can read that."""
    return f"{run}{_BETWEEN}{signed}"


def without_run(signed: str) -> tuple[str, str]:
    """Return the run of the process that has a session, "" if its token names none, and what that process has signed."""
    run, between, own = signed.partition(_BETWEEN)
    return (run, own) if between and len(run) <= _RUN else ("", signed)


class RemoteSession:
    """One session of another process; `service` is the name under which that answers for its sessions.

    While the adapter is out of reach, a poll waits and is then answered with nothing, so that the session outlives that.
    """

    def __init__(self, peers: Peers, run: str, service: str, signed: str, window: float) -> None:
        self._peers, self._run, self._service, self._signed = peers, run, service, signed
        self._window, self._clock = window, peers.clock

    @property
    def is_known(self) -> bool:
        """Whether its process is known to be alive."""
        return self._run in self._peers.known

    async def wait(self) -> PeerAnswer | None:
        """Wait until there are messages, or the window is over; None if the adapter is out of reach for as long.

        Raises:
            SessionGoneError: if there is no such session.
            PeerError: if its process cannot answer now.
        """
        until = self._clock.now() + self._window
        while self._clock.now() < until and await self._is_reachable(until):
            try:
                return await self._ask("wait")
            except UnreachableError:
                # To wait again does no harm: the messages have not been taken.
                if not self._peers.may_be_alive(self._run):
                    raise SessionGoneError from None
        return None

    async def take(self) -> msgspec.Raw:
        """Return all messages that wait for the client, as a JSON list; they are gone there.

        Raises:
            SessionGoneError: if the answer does not come, so that the client knows that it may have missed something.
            PeerError: if its process cannot answer now.
        """
        try:
            return msgspec.Raw((await self._ask("take")).body)
        except UnreachableError:
            raise SessionGoneError from None

    async def post(self, body: bytes, content_types: Sequence[str]) -> HTTPStatus:
        """Deliver a body; return the status of the answer.

        It is 408 if it is not known whether it was delivered, and 503 if its process cannot answer now.
        """
        if not await self._is_reachable(self._clock.now() + self._window):
            return HTTPStatus.REQUEST_TIMEOUT
        try:
            answer = await self._ask("post", body, types=list(content_types))
        except SessionGoneError:
            return HTTPStatus.GONE
        except OutOfReachError:
            return HTTPStatus.REQUEST_TIMEOUT
        except UnreachableError:
            return HTTPStatus.GONE
        except PeerError:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus(answer.about["status"])

    async def _is_reachable(self, until: float) -> bool:
        """Wait until the adapter reaches others, or until a time; return whether it does."""
        while self._peers.trouble() is not None:
            if self._clock.now() >= until:
                return False
            await sleep(self._clock, _TRY_AGAIN)
        return True

    async def _ask(self, do: str, body: bytes = b"", **more: Any) -> PeerAnswer:
        about = {"do": do, "session": self._signed, **more}
        answer = await self._peers.ask(self._run, self._service, about, body, seconds=self._window + HEARD_WITHIN)
        if answer.about["status"] == HTTPStatus.GONE:
            raise SessionGoneError
        return answer


class RemotePoll(Waiting):
    """A poll that waits for messages in another process.

    - `answer`: makes the answer with a JSON list of messages; of None, that its process cannot answer now.
    - `gone`: makes that for a client whose session is over.
    """

    __slots__ = ("_answer", "_gone", "_has_ended", "_session", "_wait")

    def __init__(
        self,
        session: RemoteSession,
        answer: Callable[[msgspec.Raw | None], Response],
        gone: Callable[[], Awaitable[Response]],
    ) -> None:
        self._session, self._answer, self._gone = session, answer, gone
        self._wait: asyncio.Future[PeerAnswer | None] | None = None
        self._has_ended = False

    def __await__(self) -> Generator[Any, Any, Response]:
        return self._answered().__await__()

    async def _answered(self) -> Response:
        try:
            return self._answer(await self._messages())
        except SessionGoneError:
            return await self._gone()
        except PeerError:
            return self._answer(None)

    async def _messages(self) -> msgspec.Raw:
        waited = await self._waited()
        if waited is None:
            return NO_MESSAGES
        # A session that ends gives what it has.
        return await self._session.take() if waited.about.get("ready") else msgspec.Raw(waited.body or b"[]")

    async def _waited(self) -> PeerAnswer | None:
        if self._has_ended:
            return None
        self._wait = asyncio.ensure_future(self._session.wait())
        try:
            return await self._wait
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            return None

    def end(self) -> None:
        """Answer with nothing, at once: the messages are for the next poll."""
        self._has_ended = True
        if self._wait is not None:
            self._wait.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
