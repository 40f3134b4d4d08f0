"""Long polling, for clients that cannot hold a WebSocket: the carrier, and the HTTP around it (Phoenix.Transports.LongPoll).

A session is a transport actor like any other; its carrier keeps the messages for the client until a GET fetches them, and
POSTs bring the client's messages. The status of an answer is in its body, where phoenix.js reads it.
"""

from __future__ import annotations

import contextlib
import inspect
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from actors.exceptions import ActorDeadError, StartError, Timeout
from actors.exits import Shutdown
from actors.future import Future
from actors.pubsub.requests import PeerAnswer
from actors.validation import check_seconds
from transport.access import token
from transport.carriers.batch import batch_size, read_batch, text_of
from transport.carriers.carrier import SLICE, Disconnected, EndConnection
from transport.carriers.intake import Intake
from transport.carriers.outbox import OVERFLOWED
from transport.carriers.remote_session import NO_MESSAGES, RemotePoll, RemoteSession, with_run, without_run
from transport.exceptions import MalformedMessageError, TokenError
from transport.http.exchange import MAX_BODY, Answer, Incoming, Late, Waiting, respond
from transport.http.request_target import RequestTarget

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors.channels.message import Frame
    from actors.clock import Timer
    from actors.history.backlog import Backlog
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
# Bytes of an answer with broadcasts that the client has missed; the next poll gets more.
_PART = 1024 * 1024
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
    """One session of long polling: what waits for the client, the poll that waits for it, and what the client has posted.

    Its byte counts are those of the messages for the client, and of the bodies of its requests.
    """

    kind: ClassVar[str] = "longpoll"

    def __init__(self, window: float, options: CarrierOptions) -> None:
        self.id = secrets.token_urlsafe(16)
        self._window, self._options, self._traffic = window, options, options.traffic
        self.intake = Intake(options.limits, self._on_intake, options.reached)
        self._outbox = options.outbox_for(self.intake)
        self.is_open = True
        self._process: Process | None = None
        self._poll: Future[None] | None = None
        self._inactivity: Timer | None = None
        # What was posted and is not delivered yet: a message, and the answer to its POST if it is the last one in it.
        self._posted: deque[tuple[str | bytes, Future[bool] | None]] = deque()
        self._posted_bytes = 0
        self._delivers_later = self._is_expired = False
        # What ends the session, behind what was posted.
        self._farewell: EndConnection | None = None

    @staticmethod
    def find(names: Registry, session: object) -> LongPollCarrier | None:
        """Return the session with that id until it ends; its transport actor may live longer, for its channels."""
        found = names.lookup((LongPollCarrier, session))
        carrier: LongPollCarrier | None = found[0][1] if found else None
        return carrier if carrier is not None and carrier.is_open else None

    # Carrier

    @property
    def dropped(self) -> int:
        """How many broadcasts the client has missed, as it did not keep up."""
        return self._outbox.dropped

    def get_write_buffer_size(self) -> int:
        """Return the size of the messages that wait for the next poll."""
        return self._outbox.bytes

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on, and end it when the client stops polling."""
        self._process = transport
        transport.scheduler.names.register((LongPollCarrier, self.id), transport.ref, self)
        self._expect_poll(self._window * _PATIENCE)

    def send(self, frame: Frame) -> None:
        """Keep one frame for the next poll, and wake a poll that is waiting."""
        if not self.is_open:
            return
        self._count(frame)
        if not self._outbox.put(frame, len(frame.data)):
            self._overflow()
        self._wake()

    def _count(self, frame: Frame) -> None:
        self._traffic.messages_out += 1
        self._traffic.bytes_out += len(frame.data)

    def send_backlog(self, backlog: Backlog) -> None:
        """Keep what the client has missed for the next polls, and wake a poll that is waiting."""
        if self.is_open:
            backlog.watch(self._count)
            self._outbox.put_backlog(backlog)
            self._wake()

    def when_taken(self, done: Callable[[], object]) -> None:
        """Call a function when polls have taken what waits now."""
        self._outbox.when_taken(done)

    def _overflow(self) -> None:
        """End the session of a client that does not keep up; its next poll finds none, and phoenix.js joins again."""
        assert self._process is not None
        self.is_open = False
        self._outbox.clear()
        self._options.reached("outbox")
        self._process.put(Disconnected(OVERFLOWED))

    def close(self, code: int) -> None:
        """Answer a waiting poll with the messages there are; the next one finds no session."""
        self._end()

    def finish(self, end: EndConnection) -> bool:
        """Take no more; return whether all that was posted has been delivered. If not, `end` is delivered behind it."""
        if not self._posted:
            return True
        self._farewell = end
        return False

    def abort(self) -> None:
        """Answer a waiting poll with the messages there are; there is no connection to cut."""
        self._end()

    def _end(self) -> None:
        self.is_open = False
        self._wake()
        posted, self._posted = self._posted, deque()
        for _, answer in posted:
            if answer is not None:
                answer.set(False)
        # It refers back to this object.
        self.intake.changed = bool

    # Requests of the client

    async def publish(self, messages: list[str | bytes], size: int) -> HTTPStatus:
        """Deliver the messages of a body of `size` bytes, after those of earlier bodies; return the status of the answer.

        200 if the transport actor has handled them all, 408 if it has not within the window, or has ended. Nothing was taken if
        it is 429, as too much of what the client has posted waits already, or 410, as the session is about to end.
        """
        if self._farewell is not None:
            return HTTPStatus.GONE
        limit = self._full(messages, size)
        if limit is not None:
            self._options.reached(limit)
            return HTTPStatus.TOO_MANY_REQUESTS
        try:
            handled = await self._post(messages, size)
        except Timeout:
            handled = False
        return HTTPStatus.OK if handled else HTTPStatus.REQUEST_TIMEOUT

    def _full(self, messages: list[str | bytes], size: int) -> str | None:
        """Return the name of the limit that forbids to take these messages; a body may be larger if nothing else waits."""
        limits, posted = self._options.limits, self._posted
        if posted and self._posted_bytes + size > limits.waiting_bytes:
            return "waiting_bytes"
        if posted and len(posted) + len(messages) > limits.waiting_messages:
            return "waiting_messages"
        return None

    def _post(self, messages: list[str | bytes], size: int) -> Future[bool]:
        """Take messages; return a future of whether all have been handled."""
        assert self._process is not None
        self._traffic.messages_in += len(messages)
        self._traffic.bytes_in += size
        answer: Future[bool] = Future(self._process.scheduler, timeout=self._window)
        *first, last = messages
        self._posted.extend((message, None) for message in first)
        self._posted.append((last, answer))
        self._posted_bytes += sum(map(len, messages))
        self._deliver()
        return answer

    def _deliver(self) -> None:
        """Deliver what was posted, a message at a time, while the intake is not held; after a slice others get their turns."""
        self._delivers_later = False
        process, left = self._process, SLICE
        assert process is not None
        while self._posted and (self._is_expired or not self.intake.held):
            if not left or process.scheduler.overdue:
                self._deliver_later()
                return
            left -= 1
            self._deliver_next(process)
            process.scheduler.run_ready()
        if self._farewell is not None and not self._posted:
            farewell, self._farewell = self._farewell, None
            process.put(farewell)

    def _deliver_next(self, process: Process) -> None:
        message, answer = self._posted.popleft()
        self._posted_bytes -= len(message)
        self.intake.add(len(message))
        if answer is None:
            process.put(message)
        else:
            # The reply is None unless the message is malformed.
            handled = process.ref.ask(message, block=False, timeout=None)
            handled.add_done_callback(lambda reply: answer.set(reply.exception is None and reply.result() is None))

    def _on_intake(self) -> None:
        if self._posted and not self.intake.held:
            self._deliver_later()

    def _deliver_later(self) -> None:
        assert self._process is not None
        if not self._delivers_later:
            self._delivers_later = True
            self._process.scheduler.loop.call_soon(self._deliver, context=self._process.context.copy())

    def begin_poll(self) -> Future[None] | None:
        """Begin a poll, in the place of a waiting one, which then ends empty; return None if there are messages already."""
        self._wake()
        self._poll = None
        if self._outbox.messages:
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
        """Remove and return all messages that wait for the client, oldest first; of what it has missed, a part at a time."""
        outbox = self._outbox
        frames = outbox.take(_PART) if outbox.has_backlog else iter(outbox.pop, None)
        return [text_of(frame) for frame in frames]

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
            self._inactivity = clock.call_at(clock.now() + seconds, self._expire, process)

    def _expire(self) -> None:
        """End the session, after everything that was posted."""
        self._is_expired, self._farewell = True, EndConnection(INACTIVE)
        self._deliver()


class LongPollHandler:
    """Answers the requests to the long-polling path of one socket."""

    def __init__(
        self, mount: Mount, options: LongPoll, carriers: CarrierOptions, secret: token.Secrets, service: str
    ) -> None:
        self._mount, self._options, self._carriers, self._secret = mount, options, carriers, secret
        self.service = service
        """The name under which other processes ask for its sessions."""

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request, in Phoenix's order: origin, method, session."""
        request = incoming.request
        params = RequestTarget.read(request.path).params()
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
        params = RequestTarget.read(incoming.request.path).params()
        if params is None or incoming.request.method != "POST":
            return self._refuse(HTTPStatus.BAD_REQUEST)
        if not self._mount.origin_allowed(incoming):
            return self._refuse(HTTPStatus.FORBIDDEN)
        session = self._find(_token(incoming.request, params))
        if session is None or (isinstance(session, RemoteSession) and not session.is_known):
            return _status(HTTPStatus.GONE)
        request = incoming.request
        most = min(MAX_BODY, batch_size(request.headers.get_all("Content-Type"), self._carriers.max_size))
        # Declared as too large, it is answered here: the server's own answer could not be read by a page of another origin.
        return self._too_large() if _declared_size(request) > most else most

    def _too_large(self) -> Response:
        self._carriers.reached("max_frame_size")
        return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def _refuse(self, status: HTTPStatus) -> Response:
        """Refuse a request; only requests that our clients never make are refused with an HTTP status."""
        self._mount.refused("longpoll", status)
        if status in _LATER:
            return _later(status)
        return _with_headers(respond(status)) if status is HTTPStatus.BAD_REQUEST else _status(status)

    # A session

    def _get(self, incoming: Incoming, params: Mapping[str, Any]) -> Answer | Awaitable[Answer]:
        signed = _token(incoming.request, params)
        session = self._find(signed)
        if session is None:
            return self._gone(signed) or self._open(incoming, params)
        if isinstance(session, RemoteSession):
            answer = partial(_raw_messages, signed)
            return RemotePoll(session, answer, lambda: self._open_another(incoming, params, signed))
        return self._poll(session, signed)

    def _gone(self, signed: str | None) -> Response | None:
        """Return the answer to a client that had a session, was told to go elsewhere, and does so at once.

        A new client is refused, and tries again later.
        """
        return _status(HTTPStatus.GONE) if signed is not None and self._mount.refuses else None

    async def _open_another(self, incoming: Incoming, params: Mapping[str, Any], signed: str | None) -> Response:
        return self._gone(signed) or await self._open(incoming, params)

    def _find(self, signed: str | None) -> LongPollCarrier | RemoteSession | None:
        """Return the session of a token: here, or perhaps in the process that the token names."""
        transports = self._mount.transports
        if not isinstance(signed, str) or transports is None:
            return None
        peers = self._mount.peers
        run, own = without_run(signed)
        if run and run != peers.run and peers.are_possible:
            return RemoteSession(peers, run, self.service, own, self._options.window)
        return self._find_here(own)

    def _find_here(self, signed: object) -> LongPollCarrier | None:
        transports = self._mount.transports
        if transports is None:
            return None
        try:
            session = token.verify(self._secret, _SALT, signed, max_age=self._options.max_age)
        except TokenError:
            return None
        return LongPollCarrier.find(transports.process.scheduler.names, session)

    async def _open(self, incoming: Incoming, params: Mapping[str, Any]) -> Response:
        """Begin a session; its status, 410, means that the client's previous session, if it had one, is over."""
        attempt = self._mount.attempt(incoming, params, "longpoll")
        client = attempt if isinstance(attempt, HTTPStatus) else self._mount.connect(attempt)
        if inspect.isawaitable(client):
            client = await client
        if isinstance(client, HTTPStatus):
            return self._refuse(client)
        carrier = LongPollCarrier(self._options.window, self._carriers)
        try:
            await self._mount.start(carrier, client)
        except (StartError, ActorDeadError):
            return self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        signed, peers = token.sign(self._secret, _SALT, carrier.id), self._mount.peers
        if peers.are_possible:
            signed = with_run(peers.run, signed)
        return _status(HTTPStatus.GONE, token=signed, messages=[])

    # GET

    def _poll(self, session: LongPollCarrier, signed: str | None) -> Answer | Awaitable[Answer]:
        # The messages are taken when the answer is written, so that none are lost with a client that has disconnected.
        answer = Late(lambda: _messages(signed, session.take()))
        poll = session.begin_poll()
        return answer if poll is None else _WaitingPoll(session, poll, answer, _messages(signed, []))

    # POST

    def _post(self, incoming: Incoming, params: Mapping[str, Any]) -> Answer | Awaitable[Answer]:
        session = self._find(_token(incoming.request, params))
        if session is None:
            return _status(HTTPStatus.GONE)
        try:
            content_types = incoming.request.headers.get_all("Content-Type")
            messages = read_batch(incoming.body, content_types, self._carriers.max_size)
        except MalformedMessageError as error:
            # The one error that does not end the session (Phoenix fails with HTTP status 500).
            return _status(HTTPStatus.BAD_REQUEST, http_status=HTTPStatus.BAD_REQUEST, reason=str(error))
        if messages is None:
            return self._too_large()
        if isinstance(session, RemoteSession):
            # What was read is not sent: it is larger than the body.
            return self._published(session.post(incoming.body, content_types))
        return self._published(session.publish(messages, len(incoming.body)))

    async def _published(self, publishing: Awaitable[HTTPStatus]) -> Answer:
        # Phoenix answers 408 too when a message has ended the session, but only after the window.
        status = await publishing
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            return _later(status)
        is_above_limit = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return _error(status) if is_above_limit else _status(status)

    # Requests that have reached another process

    def answer_peer(self, about: Mapping[str, Any], body: bytes) -> PeerAnswer | Awaitable[PeerAnswer]:
        """Answer the request of another process, which has checked the origin, and the form of a body."""
        session = self._find_here(about["session"])
        if session is None:
            return PeerAnswer({"status": HTTPStatus.GONE})
        match about["do"]:
            case "wait":
                poll = session.begin_poll()
                return _READY if poll is None else _wait(session, poll)
            case "take":
                return PeerAnswer({"status": HTTPStatus.OK}, msgspec.json.encode(session.take()))
        return self._post_here(session, body, about["types"])

    async def _post_here(self, session: LongPollCarrier, body: bytes, content_types: Sequence[str]) -> PeerAnswer:
        messages = read_batch(body, content_types, self._carriers.max_size)
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if messages is None else await session.publish(messages, len(body))
        return PeerAnswer({"status": status})


async def _wait(session: LongPollCarrier, poll: Future[None]) -> PeerAnswer:
    """Wait for another process until there is something to take; a session that has ended gives what it has, as the last."""
    is_current = await session.end_poll(poll)
    if not is_current:
        return _NOTHING
    return _READY if session.is_open else PeerAnswer({"status": HTTPStatus.OK}, msgspec.json.encode(session.take()))


_READY = PeerAnswer({"status": HTTPStatus.OK, "ready": True})
_NOTHING = PeerAnswer({"status": HTTPStatus.OK})


def _token(request: Request, params: Mapping[str, Any]) -> str | None:
    """Return the session's token, from the header of newer clients or the query of older ones."""
    for signed in request.headers.get_all(TOKEN_HEADER):
        return signed
    return params.get("token")


def _declared_size(request: Request) -> int:
    """Return the size of the body that is to come; 0 if it is not declared."""
    declared = request.headers.get_all("Content-Length")
    return int(declared[0]) if declared and declared[0].isdecimal() else 0


class _WaitingPoll(Waiting):
    """A poll that waits for messages."""

    __slots__ = ("_answer", "_has_ended", "_nothing", "_poll", "_session")

    def __init__(self, session: LongPollCarrier, poll: Future[None], answer: Late, nothing: Response) -> None:
        self._session, self._poll, self._answer, self._nothing = session, poll, answer, nothing
        self._has_ended = False

    def __await__(self) -> Generator[Any, Any, Response | Late]:
        return self._wait().__await__()

    async def _wait(self) -> Response | Late:
        is_current = await self._session.end_poll(self._poll)
        return self._answer if is_current and not self._has_ended else self._nothing

    def end(self) -> None:
        """Answer with nothing, at once: the messages are for the next poll."""
        self._has_ended = True
        if not self._poll.done:
            self._poll.set()


# Answers


def _messages(signed: str | None, messages: list[str]) -> Response:
    return _status(HTTPStatus.OK if messages else HTTPStatus.NO_CONTENT, token=signed, messages=messages)


def _raw_messages(signed: str | None, messages: msgspec.Raw | None) -> Response:
    if messages is None:
        return _later(HTTPStatus.SERVICE_UNAVAILABLE)
    status = HTTPStatus.OK if bytes(messages) != bytes(NO_MESSAGES) else HTTPStatus.NO_CONTENT
    return _status(status, token=signed, messages=messages)


def _later(status: HTTPStatus) -> Response:
    # phoenix.js tries again after a status of 500 in the body, and knows no other that means "later".
    return _status(HTTPStatus.INTERNAL_SERVER_ERROR, http_status=status)


def _error(status: HTTPStatus) -> Response:
    """Return the answer to a request that is above a limit: phoenix.js then begins a new session, and others see the status."""
    return _status(status, http_status=status)


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
