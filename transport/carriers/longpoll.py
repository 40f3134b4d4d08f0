"""Long polling, for clients that cannot hold a WebSocket: the carrier, and the HTTP around it (Phoenix.Transports.LongPoll).

A session is a transport actor like any other; its carrier keeps the messages for the client until a GET fetches them, and
POSTs bring the client's messages. The status of an answer is in its body, where phoenix.js reads it.
"""

from __future__ import annotations

import contextlib
import inspect
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from actors.exceptions import ActorDeadError, StartError, Timeout
from actors.exits import Shutdown
from actors.future import Future
from actors.validation import check_seconds
from transport.access import token
from transport.carriers.batch import read_batch, text_of
from transport.carriers.carrier import Disconnected
from transport.carriers.intake import Intake
from transport.carriers.outbox import OVERFLOWED
from transport.exceptions import MalformedMessageError, TokenError
from transport.http.exchange import MAX_BODY, Answer, Incoming, Late, respond
from transport.mount import read_params

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors.channels.message import Frame
    from actors.clock import Timer
    from actors.lowlevel import Process
    from actors.registry import Registry
    from transport.carriers.carrier import CarrierOptions
    from transport.mount import Mount

__all__ = ["INACTIVE", "LongPoll", "LongPollCarrier", "LongPollHandler"]

INACTIVE = Shutdown("inactive")
"""The exit reason of a session whose client has stopped polling."""

TOKEN_HEADER = "x-phoenix-longpoll-token"  # noqa: S105  # a header's name
_SALT = "ashtree long polling"
# A client that is refused with one of these may try again.
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
# Windows that may pass without a poll; phoenix.js polls again as soon as it has received an answer.
_PATIENCE = 1.5


@dataclass(frozen=True, slots=True)
class LongPoll:
    """How an endpoint serves long polling.

    - `window`: seconds that a poll waits for messages; a session ends one and a half windows after its last poll.
    - `max_age`: seconds for which the token of a session is valid.

    Raises:
        ValueError: if one of them is not above zero.
    """

    window: float = 10.0
    max_age: float = 1_209_600.0

    def __post_init__(self) -> None:
        check_seconds("window", self.window, "> 0")
        check_seconds("max_age", self.max_age, "> 0")


class LongPollCarrier:
    """One session of long polling: the messages that wait for the client, and the poll that waits for messages.

    Its byte counts are those of the messages for the client, and of the bodies of its requests.
    """

    kind: ClassVar[str] = "longpoll"

    def __init__(self, window: float, options: CarrierOptions) -> None:
        self.id = secrets.token_urlsafe(16)
        self._window, self._outbox, self._traffic = window, options.outbox, options.traffic
        self.intake = Intake(options.limits, lambda: None, options.reached)
        self._messages: list[str] = []
        self._size = 0
        self._process: Process | None = None
        self._poll: Future[None] | None = None
        self._inactivity: Timer | None = None

    @staticmethod
    def find(names: Registry, session: object) -> LongPollCarrier | None:
        """Return the session with that id, while its transport actor is alive; None otherwise."""
        found = names.lookup((LongPollCarrier, session))
        carrier: LongPollCarrier | None = found[0][1] if found else None
        return carrier

    # Carrier

    def get_write_buffer_size(self) -> int:
        """Return the size of the messages that wait for the next poll."""
        return self._size

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on, and end it when the client stops polling."""
        self._process = transport
        transport.scheduler.names.register((LongPollCarrier, self.id), transport.ref, self)
        self._expect_poll(self._window * _PATIENCE)

    def send(self, frame: Frame) -> None:
        """Keep one frame for the next poll, and wake a poll that is waiting."""
        text = text_of(frame)
        self._messages.append(text)
        self._size += len(text)
        self._traffic.messages_out += 1
        self._traffic.bytes_out += len(frame.data)
        if self._size > self._outbox.max_bytes and self._process is not None:
            self._process.put(Disconnected(OVERFLOWED))
            self.take()
        self._wake()

    def close(self, code: int) -> None:
        """Answer a waiting poll with the messages there are; the next one finds no session."""
        self._wake()

    def abort(self) -> None:
        """Answer a waiting poll with the messages there are; there is no connection to cut."""
        self._wake()

    # Requests of the client

    async def publish(self, messages: list[str | bytes], size: int) -> bool:
        """Deliver the messages of a body of `size` bytes to the transport actor; return whether it has handled them all."""
        process = self._process
        assert process is not None
        self._traffic.messages_in += len(messages)
        self._traffic.bytes_in += size
        *first, last = messages
        for message in messages:
            self.intake.add(len(message))
        for message in first:
            process.put(message)
        try:
            refused = await process.ref.call(last, timeout=self._window)
        except Exception:  # noqa: BLE001  # whatever ended the actor is in the log; for the client the session is over
            return False
        return refused is None

    def begin_poll(self) -> Future[None] | None:
        """Begin a poll, in the place of a waiting one, which then ends empty; return None if there are messages already."""
        self._wake()
        self._poll = None
        if self._messages:
            self._expect_poll(self._window * _PATIENCE)
            return None
        assert self._process is not None
        # If the client disconnects before the poll is awaited, `end_poll` never runs: this is then the session's only limit.
        self._expect_poll(self._window * (1 + _PATIENCE))
        self._poll = Future(self._process.scheduler, timeout=self._window)
        return self._poll

    async def end_poll(self, poll: Future[None]) -> bool:
        """Wait until there are messages, or the window is over; return whether this poll has not been replaced meanwhile."""
        try:
            with contextlib.suppress(Timeout):
                await poll
        finally:
            # Also if the client has disconnected: further messages are for its next poll.
            current = self._poll is poll
            if current:
                self._poll = None
                self._expect_poll(self._window * _PATIENCE)
        return current

    def take(self) -> list[str]:
        """Remove and return all messages that wait for the client, oldest first."""
        messages, self._messages, self._size = self._messages, [], 0
        return messages

    def _wake(self) -> None:
        if self._poll is not None and not self._poll.done:
            self._poll.set()

    def _expect_poll(self, seconds: float) -> None:
        """End the session unless another poll begins within these seconds."""
        process = self._process
        assert process is not None
        if self._inactivity is not None:
            self._inactivity.cancel()
        if process.alive:
            clock = process.scheduler.clock
            self._inactivity = clock.call_at(
                clock.now() + seconds, lambda: process.exit_signal(INACTIVE, None), process
            )


class LongPollHandler:
    """Answers the requests to the long-polling path of one socket."""

    def __init__(self, mount: Mount, options: LongPoll, carriers: CarrierOptions, secret: token.Secrets) -> None:
        self._mount, self._options, self._carriers, self._secret = mount, options, carriers, secret

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request, in Phoenix's order: origin, method, session."""
        request = incoming.request
        params = read_params(request.path)
        if params is None:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        if not self._mount.origin_allowed(incoming):
            return self._refuse(HTTPStatus.FORBIDDEN)
        match request.method:
            case "OPTIONS":
                return _preflight(request)
            case "GET":
                return self._get(incoming, params)
            case "POST":
                return self._post(incoming, params)
        return self._refuse(HTTPStatus.BAD_REQUEST)

    def admit(self, incoming: Incoming) -> int | Response:
        """Return the bytes that the body of a POST may have; without a session nothing is taken, and the answer is returned."""
        params = read_params(incoming.request.path)
        if params is None or incoming.request.method != "POST":
            return self._refuse(HTTPStatus.BAD_REQUEST)
        if not self._mount.origin_allowed(incoming):
            return self._refuse(HTTPStatus.FORBIDDEN)
        if self._find(_token(incoming.request, params)) is None:
            return _status(HTTPStatus.GONE)
        return MAX_BODY

    def _refuse(self, status: HTTPStatus) -> Response:
        """Refuse a request; only requests that our clients never make are refused with an HTTP status."""
        self._mount.refused("longpoll", status)
        if status in _LATER:
            # phoenix.js tries again after a status of 500 in the body, and knows no other that means "later".
            return _status(HTTPStatus.INTERNAL_SERVER_ERROR, http_status=status)
        return _with_headers(respond(status)) if status is HTTPStatus.BAD_REQUEST else _status(status)

    # A session

    def _get(self, incoming: Incoming, params: Mapping[str, str]) -> Answer | Awaitable[Answer]:
        signed = _token(incoming.request, params)
        session = self._find(signed)
        if session is None:
            return self._open(incoming, params)
        return self._poll(session, signed)

    def _find(self, signed: str | None) -> LongPollCarrier | None:
        transports = self._mount.transports
        if signed is None or transports is None:
            return None
        try:
            session = token.verify(self._secret, _SALT, signed, max_age=self._options.max_age)
        except TokenError:
            return None
        return LongPollCarrier.find(transports.process.scheduler.names, session)

    async def _open(self, incoming: Incoming, params: Mapping[str, str]) -> Answer:
        """Begin a session; its status, 410, means that the client's previous session, if it had one, is over."""
        client = self._mount.connect(incoming, params, "longpoll")
        if inspect.isawaitable(client):
            client = await client
        if isinstance(client, HTTPStatus):
            return self._refuse(client)
        carrier = LongPollCarrier(self._options.window, self._carriers)
        try:
            await self._mount.start(carrier, client)
        except (StartError, ActorDeadError):
            return self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _status(HTTPStatus.GONE, token=token.sign(self._secret, _SALT, carrier.id), messages=[])

    # GET

    def _poll(self, session: LongPollCarrier, signed: str | None) -> Answer | Awaitable[Answer]:
        # The messages are taken when the answer is written, so that none are lost with a client that has disconnected.
        answer = Late(lambda: _messages(signed, session.take()))
        poll = session.begin_poll()
        return answer if poll is None else self._wait(session, poll, answer, _messages(signed, []))

    async def _wait(self, session: LongPollCarrier, poll: Future[None], answer: Late, nothing: Answer) -> Answer:
        return answer if await session.end_poll(poll) else nothing

    # POST

    def _post(self, incoming: Incoming, params: Mapping[str, str]) -> Answer | Awaitable[Answer]:
        session = self._find(_token(incoming.request, params))
        if session is None:
            return _status(HTTPStatus.GONE)
        try:
            messages = read_batch(incoming.body, incoming.request.headers.get_all("Content-Type"))
        except MalformedMessageError as error:
            # The one error that does not end the session (Phoenix fails with HTTP status 500).
            return _status(HTTPStatus.BAD_REQUEST, http_status=HTTPStatus.BAD_REQUEST, reason=str(error))
        return self._publish(session, messages, len(incoming.body))

    async def _publish(self, session: LongPollCarrier, messages: list[str | bytes], size: int) -> Answer:
        # Phoenix answers 408 too when a message has ended the session, but only after the window.
        return _status(HTTPStatus.OK if await session.publish(messages, size) else HTTPStatus.REQUEST_TIMEOUT)


def _token(request: Request, params: Mapping[str, str]) -> str | None:
    """Return the session's token, from the header of newer clients or the query of older ones."""
    for signed in request.headers.get_all(TOKEN_HEADER):
        return signed
    return params.get("token")


# Answers


def _messages(signed: str | None, messages: list[str]) -> Response:
    return _status(HTTPStatus.OK if messages else HTTPStatus.NO_CONTENT, token=signed, messages=messages)


def _status(status: int, *, http_status: int = HTTPStatus.OK, **members: Any) -> Response:
    body = msgspec.json.encode({"status": status, **members})
    response = _with_headers(respond(http_status, body, "application/json; charset=utf-8"))
    # The URL may be the same for all sessions.
    response.headers["Cache-Control"] = "no-store"
    return response


def _preflight(request: Request) -> Response:
    response = _with_headers(respond(HTTPStatus.OK))
    response.headers["Access-Control-Allow-Headers"] = ", ".join(
        request.headers.get_all("Access-Control-Request-Headers")
    )
    response.headers["Access-Control-Allow-Methods"] = "get, post, options"
    response.headers["Access-Control-Max-Age"] = "3600"
    return response


def _with_headers(response: Response) -> Response:
    # Any page may read the answer: its origin has been checked.
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
