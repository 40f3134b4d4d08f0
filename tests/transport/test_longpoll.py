"""Long polling: on virtual time up to the bytes of HTTP, then over a real listener."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from actors import Channel, Shutdown, ok
from actors.channels.message import Broadcast, Frame, Opcode, error
from actors.clock import wall_time
from actors.lowlevel import spawn
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.testing import ManualRuntime
from tests.transport.wire import Tcp, dropped_broadcasts, limits_reached, on_loop, serving, until
from transport import ConnectInfo, Endpoint, LongPoll, Socket
from transport.access import token
from transport.carriers.carrier import MAX_FRAME_SIZE, SLICE
from transport.carriers.intake import FULL
from transport.carriers.longpoll import INACTIVE, LongPollCarrier
from transport.carriers.outbox import OutboxPolicy
from transport.endpoint_supervisor import Transports
from transport.http.exchange import Incoming
from transport.http.http_connection import HttpConnection
from transport.http.http_connections import HttpConnections
from transport.limits import Limits
from transport.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.lowlevel import Process
    from actors.ref import ActorRef

NDJSON = "application/x-ndjson"
WINDOW = 10.0
SECRET = "s" * 32
HEARTBEAT: list[Any] = [None, "beat", "phoenix", "heartbeat", {}]
BEATEN: list[Any] = [None, "beat", "phoenix", "phx_reply", {"status": "ok", "response": {}}]


class Room(Channel):
    def join(self, topic: str, payload: Any) -> Any:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "slow":
                return self.slow(payload)
            case "shout":
                self.broadcast("shout", payload)
            case "echo":
                return ok(payload)
            case "later":
                self.send_after(payload, ("later", payload))
            case "three":
                for value in range(3):
                    self.push("count", {"value": value})
            case "die":
                self.socket.transport.kill()
            case _:
                return super().handle_in(event, payload)
        return None

    async def slow(self, seconds: float) -> Any:
        await asyncio.sleep(seconds)
        return ok()

    def handle_info(self, message: Any) -> None:
        self.push("later", {"after": message[1]})


class UserSocket(Socket):
    channels: ClassVar[Mapping[str, type[Channel]]] = {"room:*": Room}

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.assigns["info"] = connect_info
        return error() if params.get("user") == "nobody" else ok()

    def id(self) -> str:
        return "the user"


def frame(*message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))


def reply(ref: str, response: Any, topic: str = "room:1") -> list[Any]:
    return ["1", ref, topic, "phx_reply", {"status": "ok", "response": response}]


JOIN = frame("1", "1", "room:1", "phx_join", {})
JOINED = reply("1", {})


class Response:
    """An HTTP answer."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    @property
    def json(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json; charset=utf-8"
        assert self.headers["cache-control"] == "no-store"
        assert self.headers["access-control-allow-origin"] == "*"
        members: dict[str, Any] = json.loads(self.body)
        return members

    @property
    def messages(self) -> list[Any]:
        assert self.json["status"] == (200 if self.json["messages"] else 204)
        return [json.loads(message) for message in self.json["messages"]]


class Wire(asyncio.Transport):
    """The client's end of a TCP connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5)})
        self.written, self.closing = b"", False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.closing
        self.written += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Everything is sent at once."""

    def write_eof(self) -> None:
        """Nothing is read any more."""

    def pause_reading(self) -> None:
        """Nothing is on its way."""

    def resume_reading(self) -> None:
        """Nothing is on its way."""

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True


class Exchange:
    """One request on a connection of its own, and its answer."""

    def __init__(self, server: Server, request: bytes) -> None:
        self._server, self.wire = server, Wire()
        scheduler = server.process.scheduler
        self.connection = HttpConnection(server.endpoint, scheduler, HttpConnections())
        scheduler.loop.call_soon(self.connection.connection_made, self.wire)
        scheduler.loop.call_soon(self.connection.data_received, request)

    @property
    def answer(self) -> Response | None:
        self._server.runtime.settle()
        return Response(self.wire.written) if self.wire.written else None

    def answered(self) -> Response:
        answer = self.answer
        assert answer is not None, "the answer has not come"
        return answer

    def end(self) -> bool:
        """End the client's half; return whether the connection is kept for the answer."""
        return self.connection.eof_received()

    def vanish(self) -> None:
        """End the connection, as the event loop sees it: from now on it is closing, in its next turn it is lost."""
        self.wire.closing = True
        self._server.process.scheduler.loop.call_soon(self.connection.connection_lost, None)


class Server:
    """An endpoint on virtual time, without a listener."""

    def __init__(self, runtime: ManualRuntime, socket: type[Socket] = UserSocket, **options: Any) -> None:
        self.runtime, self.pubsub = runtime, PubSub()
        self.exchanges: list[Exchange] = []
        spawn(PubSubServer, (self.pubsub,), name="pubsub")
        self.endpoint = Endpoint({"/socket": socket}, **{"secret_key": SECRET, **options})
        self.transports = spawn(Transports, (self.endpoint,))
        self.process: Process = self.transports.process
        self.endpoint.attach(self.transports, [])

    def start(
        self, method: str, query: str = "", body: str | bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Exchange:
        data = body.encode() if isinstance(body, str) else body
        fields = {"Host": "localhost", "Content-Length": str(len(data)), **(headers or {})}
        lines = [f"{method} /socket/longpoll?{query} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
        exchange = Exchange(self, "\r\n".join([*lines, "", ""]).encode() + data)
        self.exchanges.append(exchange)
        return exchange

    def request(self, method: str, query: str = "", body: str | bytes = b"", **headers: str) -> Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.start(method, query, body, fields).answered()

    def open(self, query: str = "vsn=2.0.0") -> Session:
        answer = self.request("GET", query).json
        assert answer == {"status": 410, "token": answer["token"], "messages": []}
        return Session(self, answer["token"])

    @property
    def sessions(self) -> list[ActorRef[Any]]:
        self.runtime.settle()
        return [ref for ref in self.runtime.actors if ref.actor_class is Transport]


def carrier_of(transport: ActorRef[Any]) -> LongPollCarrier:
    """Return what carries a session."""
    actor = transport.process.actor
    assert isinstance(actor, Transport)
    assert isinstance(actor.carrier, LongPollCarrier)
    return actor.carrier


class Session:
    """What a client knows of its session."""

    def __init__(self, server: Server, signed: str) -> None:
        self.server, self.token = server, signed
        self.ref = server.sessions[-1]
        self.carrier = carrier_of(self.ref)

    def post(self, *lines: str | bytes, kind: str = NDJSON) -> Response:
        data = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
        return self.server.request("POST", f"token={self.token}", data, Content_Type=kind)

    def join(self) -> None:
        assert self.post(JOIN).json == {"status": 200}
        assert self.poll() == [JOINED]

    def start_poll(self) -> Exchange:
        poll = self.server.start("GET", f"vsn=2.0.0&token={self.token}")
        self.server.runtime.settle()
        return poll

    def poll(self) -> list[Any]:
        """Return what waits; the poll must be answered at once."""
        answer = self.start_poll().answered()
        assert answer.json["token"] == self.token
        return answer.messages

    def is_gone(self) -> bool:
        answer = self.server.request("GET", f"vsn=2.0.0&token={self.token}").json
        return bool(answer["status"] == 410 and answer["token"] != self.token)


@pytest.fixture
def runtime() -> Iterator[ManualRuntime]:
    with ManualRuntime() as runtime:
        yield runtime


@pytest.fixture
def server(runtime: ManualRuntime) -> Server:
    return Server(runtime)


@pytest.fixture
def session(server: Server) -> Session:
    return server.open()


# What is taken from the client


@pytest.mark.parametrize(
    ("method", "query", "origin", "answer"),
    [
        ("POST", "token={}", "http://localhost", MAX_FRAME_SIZE),
        ("POST", "token={}", "http://elsewhere.example", (200, {"status": 403})),
        ("POST", "token=wrong", "http://localhost", (200, {"status": 410})),
        ("POST", "", "http://localhost", (200, {"status": 410})),
        ("POST", "token=%ff", "http://localhost", (400, None)),
        ("GET", "token={}", "http://localhost", (400, None)),
    ],
    ids=["a session", "another origin", "wrong token", "no token", "not UTF-8", "GET"],
)
def test_a_large_body_is_taken_only_for_a_session(
    session: Session, method: str, query: str, origin: str, answer: object
) -> None:
    headers = Headers({"Host": "localhost", "Origin": origin})
    request = Request(f"/socket/longpoll?{query.format(session.token)}", headers, method)
    admission = session.server.endpoint.admit(Incoming(request, b"", None))
    if not isinstance(admission, int):
        body = json.loads(admission.body) if admission.body else None
        assert (admission.status_code, body) == answer
        return
    assert admission == answer


# What goes to the client


def test_all_that_waits_is_delivered_at_once_the_oldest_first(session: Session) -> None:
    session.post(JOIN)
    session.post(frame("1", "2", "room:1", "three", {}), frame("1", "3", "room:1", "echo", {"a": "é"}))
    counts = [["1", None, "room:1", "count", {"value": value}] for value in range(3)]
    assert session.poll() == [JOINED, *counts, reply("3", {"a": "é"})]


def test_a_poll_waits_for_something_to_deliver(server: Server, session: Session) -> None:
    session.join()
    poll = session.start_poll()
    assert poll.answer is None
    session.post(frame("1", "2", "room:1", "three", {}))
    assert [message[3] for message in poll.answered().messages] == ["count"] * 3


def test_a_poll_without_anything_to_deliver_ends_with_the_window(server: Server, session: Session) -> None:
    session.join()
    session.post(frame("1", "2", "room:1", "later", 10.5))
    poll = session.start_poll()
    server.runtime.advance(9.9)
    assert poll.answer is None
    server.runtime.advance(0.1)
    assert poll.answered().json == {"status": 204, "token": session.token, "messages": []}
    server.runtime.advance(0.5)
    assert session.poll() == [["1", None, "room:1", "later", {"after": 10.5}]]


def test_the_window_is_an_option(runtime: ManualRuntime) -> None:
    server = Server(runtime, longpoll=LongPoll(window=100))
    poll = server.open().start_poll()
    # Longer than a client may take for a request: it is our turn.
    runtime.advance(99.9)
    assert poll.answer is None
    assert not poll.wire.closing
    runtime.advance(0.1)
    assert poll.answered().messages == []


def test_a_poll_whose_client_has_vanished_swallows_nothing(session: Session) -> None:
    session.join()
    session.start_poll().vanish()
    session.post(frame(*HEARTBEAT))
    assert session.poll() == [BEATEN]


def test_a_client_that_vanishes_when_its_answer_is_due_takes_nothing_with_it(server: Server, session: Session) -> None:
    poll = session.start_poll()
    session.ref.send(frame(*HEARTBEAT))
    # The poll is woken and its connection closed in one turn of the loop; the one does not know of the other.
    poll.vanish()
    assert poll.answer is None
    assert session.poll() == [BEATEN]


def test_a_client_that_vanishes_before_its_poll_has_begun_takes_nothing_with_it(
    server: Server, session: Session
) -> None:
    poll = server.start("GET", f"token={session.token}")
    poll.vanish()
    session.post(frame(*HEARTBEAT))
    assert session.poll() == [BEATEN]
    server.runtime.advance(15)
    assert session.is_gone()


def test_a_waiting_poll_of_a_half_closed_client_is_answered_at_once(session: Session) -> None:
    session.join()
    poll = session.start_poll()
    assert poll.end()
    assert poll.answered().json == {"status": 204, "token": session.token, "messages": []}
    assert poll.wire.closing
    session.post(frame(*HEARTBEAT))
    assert session.poll() == [BEATEN]


def test_a_half_closed_client_that_may_have_gone_takes_no_messages_with_it(session: Session) -> None:
    poll = session.start_poll()
    session.ref.send(frame(*HEARTBEAT))
    # The poll is woken and the end of its client read in one turn of the loop.
    assert poll.end()
    assert poll.answered().messages == []
    assert session.poll() == [BEATEN]


def test_a_second_poll_takes_the_place_of_the_first(session: Session) -> None:
    first, second = session.start_poll(), session.start_poll()
    assert first.answered().messages == []
    assert second.answer is None
    session.post(frame(*HEARTBEAT))
    assert second.answered().messages == [BEATEN]


def test_a_poll_that_lost_its_place_takes_nothing(server: Server, session: Session) -> None:
    first = session.start_poll()
    second = server.start("GET", f"token={session.token}")
    session.ref.send(frame(*HEARTBEAT))
    assert first.answered().messages == []
    assert second.answered().messages == [BEATEN]


def test_binary_data_stands_as_text_if_it_is_text_else_as_base64(session: Session) -> None:
    session.carrier.send(Frame(Opcode.BINARY, b"\x01\x01ok"))
    session.carrier.send(Frame(Opcode.BINARY, b"\x00\xff\xfe"))
    assert session.start_poll().answered().json["messages"] == ["\x01\x01ok", "AP/+"]


def test_a_session_whose_client_fetches_nothing_is_cut_off(session: Session) -> None:
    half = Frame(Opcode.TEXT, b"x" * (OutboxPolicy().max_bytes // 2), broadcast=Broadcast("room:1", "news", {}))
    session.carrier.send(half)
    session.carrier.send(half)
    assert session.ref.is_alive()
    with limits_reached() as reached:
        session.carrier.send(half)
        session.carrier.send(half)
        assert session.is_gone()
    assert reached == ["outbox"]


# What comes from the client


def test_lines_are_handled_in_order(session: Session) -> None:
    echoes = [frame("1", str(number), "room:1", "echo", number) for number in range(2, 90)]
    assert session.post(JOIN, *echoes).json == {"status": 200}
    assert session.poll() == [JOINED, *(reply(str(number), number) for number in range(2, 90))]


def test_a_hundred_lines_of_a_batch_are_read(session: Session) -> None:
    echoes = [frame("1", str(number), "room:1", "echo", number) for number in range(2, 200)]
    assert session.post(JOIN, *echoes).json == {"status": 200}
    assert session.poll()[-1] == reply("100", 100)


def test_another_content_type_brings_one_text_message(session: Session) -> None:
    assert session.post(frame(*HEARTBEAT), kind="application/json").json == {"status": 200}
    assert session.poll() == [BEATEN]


@pytest.mark.parametrize("body", ["[not json", "[1]", "[\udcff]", "", frame(*HEARTBEAT) + "\n"])
def test_a_malformed_message_ends_the_session_and_is_answered_at_once(session: Session, body: str) -> None:
    assert session.post(body.encode(errors="surrogateescape")).json == {"status": 408}
    assert session.ref.exit_reason == Shutdown("malformed message")
    assert session.post(frame(*HEARTBEAT)).json == {"status": 410}
    assert session.is_gone()


def test_a_message_that_was_handled_is_not_to_blame_for_what_it_led_to(session: Session) -> None:
    session.join()
    assert session.post(frame("1", "2", "room:1", "die", {})).json == {"status": 200}
    assert session.is_gone()


def test_what_comes_before_a_malformed_message_is_handled_and_what_comes_after_is_not(
    server: Server, session: Session
) -> None:
    poll = session.start_poll()
    assert session.post(frame(*HEARTBEAT), "[]", frame(*HEARTBEAT)).json == {"status": 408}
    assert poll.answered().messages == [BEATEN]


def test_a_line_that_is_neither_json_nor_base64_is_named_and_the_session_lives_on(session: Session) -> None:
    answer = session.post(frame(*HEARTBEAT), "?!", frame(*HEARTBEAT))
    assert answer.status == answer.json["status"] == 400
    assert answer.json["reason"].startswith("line 2 is neither a JSON array nor base64")
    session.post(frame(*HEARTBEAT))
    assert session.poll() == [BEATEN]


def test_a_base64_line_is_a_binary_message(session: Session) -> None:
    session.join()
    push = b"\x00\x01\x01\x06\x04" + b"12room:1echo" + b"\xff\xfe"
    assert session.post(b64encode(push)).json == {"status": 200}
    answer = session.start_poll().answered().json["messages"]
    assert answer == [b64encode(b"\x01\x01\x01\x06\x02" + b"12room:1ok" + b"\xff\xfe").decode()]


def test_version_1_posts_one_message_at_a_time(server: Server) -> None:
    session = server.open("vsn=1.0.0")
    message = {"topic": "room:1", "event": "phx_join", "payload": {}, "ref": "1"}
    assert session.post(json.dumps(message), kind="application/json").json == {"status": 200}
    joined = {"status": "ok", "response": {}}
    assert session.poll() == [{"topic": "room:1", "event": "phx_reply", "payload": joined, "ref": "1"}]


def test_a_post_that_is_not_handled_within_the_window_says_408(server: Server, session: Session) -> None:
    async def wait(_message: object) -> None:
        await asyncio.Event().wait()

    session.ref.process.actor.on_receive = wait  # type: ignore[union-attr]  # a transport that hangs
    post = server.start("POST", f"token={session.token}", frame(*HEARTBEAT))
    server.runtime.advance(9.9)
    assert post.answer is None
    server.runtime.advance(0.1)
    assert post.answered().json == {"status": 408}


# More than is worked, or read


class Work(Channel):
    """Takes its time: it keeps what it is sent, and works only while its gate is open."""

    handled: ClassVar[list[Any]]
    gate: ClassVar[asyncio.Event]

    def join(self, topic: str, payload: Any) -> Any:
        type(self).handled, type(self).gate = [], asyncio.Event()
        return ok()

    async def handle_in(self, event: str, payload: Any) -> None:
        await self.gate.wait()
        self.handled.append(payload["number"])


class List(Channel):
    """Lists what it is sent, and when the event loop had its turn in between."""

    handled: ClassVar[list[Any]]

    def join(self, topic: str, payload: Any) -> Any:
        type(self).handled = []
        return ok()

    def handle_in(self, event: str, payload: Any) -> None:
        if payload["number"] == 0:
            asyncio.get_running_loop().call_soon(self.handled.append, "loop")
        self.handled.append(payload["number"])


class WorkSocket(UserSocket):
    channels: ClassVar[Mapping[str, type[Channel]]] = {"work": Work, "list": List, "room:*": Room}


def pushes(topic: str, *numbers: int, size: int = 0) -> list[str]:
    return [frame("1", str(number), topic, "echo", {"number": number, "x": "x" * size}) for number in numbers]


class Working:
    """A session that has joined a topic."""

    def __init__(self, runtime: ManualRuntime, topic: str, **options: Any) -> None:
        self.runtime, self.topic, self.server = runtime, topic, Server(runtime, WorkSocket, **options)
        self.session = self.server.open()
        self.session.post(frame("1", "1", topic, "phx_join", {}))
        self.session.poll()

    def start(self, *numbers: int, size: int = 0) -> Exchange:
        body = "\n".join(pushes(self.topic, *numbers, size=size))
        post = self.server.start("POST", f"token={self.session.token}", body, {"Content-Type": NDJSON})
        self.runtime.settle()
        return post

    def work(self) -> None:
        Work.gate.set()
        self.runtime.settle()


def test_a_post_waits_while_too_much_of_what_was_posted_is_not_handled(runtime: ManualRuntime) -> None:
    working = Working(runtime, "work", limits=Limits(waiting_messages=10))
    first = working.start(*range(11))
    assert first.answered().json == {"status": 200}
    second = working.start(11, 12)
    third = working.start(13)
    assert (second.answer, third.answer) == (None, None)
    working.work()
    assert second.answered().json == third.answered().json == {"status": 200}
    assert Work.handled == list(range(14))
    assert working.session.carrier.intake.messages == 0


@pytest.mark.parametrize(
    ("limits", "size", "limit"),
    [(Limits(waiting_messages=10), 0, "waiting_messages"), (Limits(waiting_bytes=3000), 1000, "waiting_bytes")],
)
def test_a_post_that_is_too_much_is_refused_and_nothing_of_it_is_taken(
    runtime: ManualRuntime, limits: Limits, size: int, limit: str
) -> None:
    working = Working(runtime, "work", limits=limits)
    for number in range(30):
        working.start(number, size=size)
    with limits_reached() as reached:
        refused = working.start(30, size=size).answered()
        assert (refused.status, refused.json) == (429, {"status": 429})
    assert reached == [limit]
    assert working.session.carrier.intake.bytes <= 4100
    working.work()
    answers = [exchange.answered().status for exchange in working.server.exchanges]
    taken = answers.count(200) - 3  # the session, the join and the poll
    assert Work.handled == list(range(taken))
    assert working.session.carrier.intake.messages == 0


def test_a_post_may_be_larger_than_all_that_may_wait_if_nothing_else_waits(runtime: ManualRuntime) -> None:
    working = Working(runtime, "list", limits=Limits(waiting_bytes=1000, waiting_messages=10))
    assert working.start(*range(100), size=1000).answered().json == {"status": 200}
    assert [each for each in List.handled if each != "loop"] == list(range(100))


def test_after_a_slice_of_a_batch_others_get_their_turns(runtime: ManualRuntime) -> None:
    working = Working(runtime, "list")
    assert working.start(*range(100)).answered().json == {"status": 200}
    assert List.handled == [*range(SLICE), "loop", *range(SLICE, 100)]


def test_a_client_that_does_not_fetch_its_replies_is_not_worked_for_and_loses_none(runtime: ManualRuntime) -> None:
    working = Working(runtime, "room:1")
    post = working.start(*range(20), size=10_000)
    assert post.answer is None
    assert working.session.carrier.get_write_buffer_size() < 80_000
    fetched: list[Any] = []
    while len(fetched) < 20:
        fetched += working.session.poll()
    assert [message[1] for message in fetched] == [str(number) for number in range(20)]
    assert post.answered().json == {"status": 200}


def test_a_post_that_waits_too_long_says_408_and_is_handled_nevertheless(runtime: ManualRuntime) -> None:
    working = Working(runtime, "work", limits=Limits(waiting_messages=1))
    working.start(0, 1)
    late = working.start(2)
    runtime.advance(9.9)
    assert late.answer is None
    runtime.advance(0.1)
    assert late.answered().json == {"status": 408}
    working.work()
    assert Work.handled == [0, 1, 2]


def test_the_post_of_a_half_closed_client_is_answered_when_it_is_handled(runtime: ManualRuntime) -> None:
    working = Working(runtime, "work", limits=Limits(waiting_messages=1))
    working.start(0, 1)
    late = working.start(2)
    assert late.end()
    assert late.answer is None
    working.work()
    assert late.answered().json == {"status": 200}
    assert late.wire.closing


def test_what_a_client_has_posted_is_handled_although_it_has_vanished(runtime: ManualRuntime) -> None:
    working = Working(runtime, "work", limits=Limits(waiting_messages=1))
    working.start(0, 1)
    working.start(2).vanish()
    working.work()
    assert Work.handled == [0, 1, 2]


def test_the_posts_that_wait_are_answered_when_the_session_ends(runtime: ManualRuntime) -> None:
    working = Working(runtime, "work", limits=Limits(waiting_messages=1))
    working.start(0, 1)
    waiting = working.start(2)
    working.session.ref.kill()
    assert waiting.answered().json == {"status": 408}


def test_a_message_that_is_too_large_is_refused_with_its_batch_and_the_session_lives_on(runtime: ManualRuntime) -> None:
    session = Server(runtime, max_frame_size=10_000).open()
    message = frame("1", "1", "room:1", "phx_join", {"x": "x" * 20_000})
    with limits_reached() as reached:
        binary = b64encode(bytes(10_001)).decode()
        for lines, kind in [([message], "text/plain"), ([JOIN, message], NDJSON), ([JOIN, binary], NDJSON)]:
            answer = session.post(*lines, kind=kind)
            assert (answer.status, answer.json) == (413, {"status": 413})
    assert reached == ["max_frame_size"] * 3
    session.join()


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(runtime: ManualRuntime) -> None:
    session = Server(runtime, max_frame_size=10_000).open()
    headers = {"Content-Type": NDJSON, "Content-Length": "9000000"}
    answer = session.server.start("POST", f"token={session.token}", b"", headers).answered()
    assert (answer.status, answer.json) == (413, {"status": 413})


def test_a_server_has_so_many_sessions_and_a_client_without_one_tries_again(runtime: ManualRuntime) -> None:
    server = Server(runtime, limits=Limits(sessions=2))
    first = server.open()
    server.open()
    with limits_reached() as reached:
        answer = server.request("GET", "vsn=2.0.0")
        # What phoenix.js takes as a reason to try again.
        assert (answer.status, answer.json) == (503, {"status": 500})
    assert reached == ["sessions"]
    assert len(server.sessions) == 2
    first.post(frame(*HEARTBEAT))
    assert first.poll() == [BEATEN]
    runtime.advance(16)
    server.open()


def test_an_address_has_so_many_sessions(runtime: ManualRuntime) -> None:
    server = Server(runtime, limits=Limits(sessions_per_address=1))
    server.open()
    assert server.request("GET", "vsn=2.0.0").status == 429


def test_sessions_that_begin_at_the_same_time_are_counted(runtime: ManualRuntime) -> None:
    server = Server(runtime, SlowSocket, limits=Limits(sessions=2))
    exchanges = [server.start("GET", "vsn=2.0.0") for _ in range(10)]
    assert sorted(exchange.answered().status for exchange in exchanges) == [200] * 2 + [503] * 8
    assert len(server.sessions) == 2


def test_the_oldest_broadcasts_are_dropped_and_counted_if_the_policy_says_so(runtime: ManualRuntime) -> None:
    server = Server(runtime, outbox=OutboxPolicy(max_messages=3, overflow="drop_oldest"))
    session = server.open()
    session.join()
    with dropped_broadcasts() as sizes:
        for number in range(5):
            server.endpoint.broadcast("room:1", "news", {"number": number})
        assert [message[4]["number"] for message in session.poll()] == [2, 3, 4]
    assert len(sizes) == 2


# The end of a session


def test_a_session_ends_one_and_a_half_windows_after_its_last_poll(server: Server, session: Session) -> None:
    server.runtime.advance(14.9)
    assert session.ref.is_alive()
    session.post(frame(*HEARTBEAT))  # is no poll
    server.runtime.advance(0.1)
    assert session.ref.exit_reason == INACTIVE == Shutdown("inactive")
    assert session.is_gone()


def test_polls_keep_a_session_alive(server: Server, session: Session) -> None:
    for _ in range(5):
        server.runtime.advance(14.9)
        session.post(frame(*HEARTBEAT))
        assert session.poll() == [BEATEN]
        server.runtime.advance(14.9)
        poll = session.start_poll()
        server.runtime.advance(WINDOW)
        assert poll.answered().messages == []
    server.runtime.advance(15)
    assert not session.ref.is_alive()


def test_a_session_ends_one_and_a_half_windows_after_its_client_vanished(server: Server, session: Session) -> None:
    poll = session.start_poll()
    server.runtime.advance(5)
    poll.vanish()
    server.runtime.advance(14.9)
    assert session.ref.is_alive()
    server.runtime.advance(0.1)
    assert session.ref.exit_reason == INACTIVE


@pytest.mark.parametrize("end", ["inactive", "malformed", "kick", "kill"])
def test_what_was_posted_is_handled_after_the_end_of_the_session(server: Server, session: Session, end: str) -> None:
    session.join()
    server.runtime.advance(13.5)
    session.post(frame("1", "2", "room:1", "slow", 4), frame("1", "3", "room:1", "shout", {}))
    match end:
        case "inactive":
            server.runtime.advance(1.5)
        case "malformed":
            assert session.post("[").json == {"status": 408}
        case "kick":
            server.endpoint.broadcast("the user", "disconnect", {})
        case "kill":
            session.ref.kill()
    assert session.post(frame("1", "4", "room:1", "echo", {})).json == {"status": 410}
    assert session.is_gone()
    other = server.open()
    other.join()
    server.runtime.advance(4)
    assert [message[3] for message in other.poll()] == ["shout"]
    assert not session.ref.is_alive()


def test_what_waits_to_be_read_is_handled_before_an_inactive_session_ends(server: Server, session: Session) -> None:
    session.join()
    session.carrier.intake.hold(FULL)
    post = server.start(
        "POST", f"token={session.token}", frame("1", "2", "room:1", "slow", 1), {"Content-Type": NDJSON}
    )
    assert post.answer is None
    server.runtime.advance(15)
    assert session.is_gone()
    assert session.ref.process.waiting == 0
    server.runtime.advance(1)
    assert session.ref.exit_reason == INACTIVE


def test_a_push_behind_one_that_crashes_is_unmatched_within_a_batch_too(session: Session) -> None:
    session.join()
    session.post(frame("1", "2", "room:1", "none", {}), frame("1", "3", "room:1", "echo", {}))
    crash, unmatched = session.poll()
    assert (crash[3], unmatched[:3], unmatched[4]["response"]) == (
        "phx_error",
        [None, "3", "room:1"],
        {"reason": "unmatched topic"},
    )


@pytest.mark.parametrize("end", ["disconnect", "kill", "crash", "stop"])
def test_a_waiting_poll_is_answered_when_the_session_ends_and_the_next_finds_none(
    server: Server, session: Session, end: str
) -> None:
    poll = session.start_poll()
    match end:
        case "disconnect":
            server.endpoint.broadcast("the user", "disconnect", {})
        case "kill":
            session.ref.kill()
        case "crash":
            session.ref.exit(RuntimeError("crash"))
        case "stop":
            session.ref.exit(Shutdown())
    assert poll.answered().json == {"status": 204, "token": session.token, "messages": []}
    assert session.is_gone()


def test_the_last_words_of_a_session_reach_the_poll_that_waits(server: Server, session: Session) -> None:
    session.join()
    poll = session.start_poll()
    session.ref.send(frame(*HEARTBEAT))
    server.endpoint.broadcast("the user", "disconnect", {})
    assert poll.answered().messages == [BEATEN]


def test_nothing_is_left_of_a_session(server: Server, session: Session) -> None:
    session.join()
    session.start_poll()
    session.ref.kill()
    for exchange in server.exchanges:
        exchange.vanish()
    assert not server.sessions
    assert server.process.scheduler.names.names() == ["pubsub"]
    assert server.runtime.clock.pending() == 0
    assert server.pubsub.topics() == []


# The token


@pytest.mark.parametrize("bad", ["", "x", "x.y.z"])
def test_without_a_good_token_a_get_opens_a_session_and_a_post_finds_none(
    server: Server, session: Session, bad: str
) -> None:
    answer = server.request("GET", f"vsn=2.0.0&token={bad}").json
    assert answer["status"] == 410
    assert len(server.sessions) == 2
    assert server.request("POST", f"token={bad}", frame(*HEARTBEAT)).json == {"status": 410}
    assert server.request("POST", "", frame(*HEARTBEAT)).json == {"status": 410}


def test_a_token_is_good_for_two_weeks(server: Server, session: Session) -> None:
    salt, age = "ashtree long polling", 1_209_600
    for seconds, is_good in [(age - 60, True), (age + 60, False)]:
        signed = token.sign(SECRET, salt, session.carrier.id, signed_at=wall_time() - seconds)
        status = server.request("POST", f"token={signed}", frame(*HEARTBEAT)).json["status"]
        assert status == (200 if is_good else 410)


def test_a_token_of_another_secret_or_purpose_is_worth_nothing(server: Server, session: Session) -> None:
    for secret, salt in [("o" * 32, "ashtree long polling"), (SECRET, "other")]:
        signed = token.sign(secret, salt, session.carrier.id)
        assert server.request("POST", f"token={signed}", frame(*HEARTBEAT)).json == {"status": 410}


def test_a_token_that_is_a_list_is_worth_nothing(server: Server, session: Session) -> None:
    query = f"token[]={session.token}"
    assert server.request("POST", query, frame(*HEARTBEAT)).json == {"status": 410}
    assert server.request("GET", f"vsn=2.0.0&{query}").json["status"] == 410


def test_the_header_goes_before_the_query(server: Server, session: Session) -> None:
    good, bad = session.token, "x"
    by_header = server.request("POST", f"token={bad}", frame(*HEARTBEAT), x_phoenix_longpoll_token=good)
    assert by_header.json == {"status": 200}
    assert server.request("POST", f"token={good}", x_phoenix_longpoll_token=bad).json == {"status": 410}
    answer = server.request("GET", "", x_phoenix_longpoll_token=good)
    assert answer.messages == [BEATEN]
    assert answer.json["token"] == good


def test_an_endpoint_without_a_secret_makes_one(runtime: ManualRuntime) -> None:
    session = Server(runtime, secret_key=None).open()
    session.join()


def test_each_client_has_a_session_of_its_own(server: Server) -> None:
    first, second = server.open(), server.open()
    assert first.token != second.token
    second.post(frame(*HEARTBEAT))
    assert second.poll() == [BEATEN]
    assert first.start_poll().answer is None


# The handshake


@pytest.mark.parametrize("query", ["vsn=9.0.0", "vsn=", "vsn=2.0.0&user=nobody"])
def test_who_is_refused_reads_403_in_the_body(server: Server, query: str) -> None:
    answer = server.request("GET", query)
    assert (answer.status, answer.json) == (200, {"status": 403})
    assert not server.sessions


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_a_page_of_another_origin_reads_403_in_the_body(server: Server, method: str) -> None:
    assert server.request(method, "vsn=2.0.0", Origin="http://evil.example").json == {"status": 403}


@pytest.mark.parametrize("method", ["DELETE", "HEAD", "PUT", "PATCH"])
def test_another_method_is_a_bad_request(server: Server, method: str) -> None:
    answer = server.request(method, "vsn=2.0.0")
    assert (answer.status, answer.body) == (400, b"")


def test_a_query_that_is_not_utf8_is_a_bad_request(server: Server) -> None:
    assert server.request("GET", "vsn=%ff").status == 400


def test_the_preflight_of_a_page_is_answered(server: Server) -> None:
    answer = server.request(
        "OPTIONS", Origin="http://localhost:1234", Access_Control_Request_Headers="x-phoenix-longpoll-token"
    )
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "get, post, options"
    assert answer.headers["access-control-allow-headers"] == "x-phoenix-longpoll-token"
    assert answer.headers["access-control-max-age"] == "3600"


def test_connect_knows_the_request(server: Server) -> None:
    server.request("GET", "vsn=2.0.0&token=x", X_Forwarded_For="192.0.2.7")
    transport = server.sessions[0].process.actor
    assert isinstance(transport, Transport)
    info = transport.socket.assigns["info"]
    assert (info.peer, info.path) == (("192.0.2.1", 5), "/socket/longpoll")
    assert info.headers["x-forwarded-for"] == "192.0.2.7"


class SlowSocket(UserSocket):
    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        await asyncio.sleep(0)
        return error() if "bad" in params else ok()


def test_connect_may_take_its_time(runtime: ManualRuntime) -> None:
    server = Server(runtime, SlowSocket)
    server.open().join()
    assert server.request("GET", "vsn=2.0.0&bad=1").json == {"status": 403}


class BrokenSocket(UserSocket):
    ids = 0

    def id(self) -> str:
        self.ids += 1
        if self.ids > 1:
            raise RuntimeError("on purpose")
        return "first"


def test_a_session_that_cannot_start_is_an_error(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(runtime, BrokenSocket)
    assert server.request("GET", "vsn=2.0.0").json == {"status": 500}
    assert "cannot start a transport" in caplog.text


def test_while_the_connections_restart_there_are_no_sessions(server: Server, session: Session) -> None:
    server.transports.kill()
    assert server.request("GET", f"vsn=2.0.0&token={session.token}").json == {"status": 500}
    assert server.request("POST", f"token={session.token}").json == {"status": 410}


def test_long_polling_can_be_left_out(runtime: ManualRuntime) -> None:
    assert Server(runtime, longpoll=None).request("GET", "vsn=2.0.0").status == 404


@pytest.mark.parametrize("options", [{"window": 0}, {"window": -1}, {"max_age": 0}, {"window": float("nan")}])
def test_times_are_above_zero(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be seconds > 0, got "):
        LongPoll(**options)


# Over a real listener


async def call(tcp: Tcp, method: str, query: str, body: str = "") -> dict[str, Any]:
    """Send one request on a connection that stays open."""
    lines = [f"{method} /socket/longpoll?{query} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    await tcp.send("\r\n".join([*lines, f"Content-Type: {NDJSON}", "", body]))
    answer = await tcp.answer()
    assert answer.status == 200
    assert answer.header("connection") == ["keep-alive"]
    members: dict[str, Any] = json.loads(answer.body)
    return members


@on_loop
async def test_a_session_over_two_connections() -> None:
    async with serving(UserSocket) as server:
        up, down = await server.tcp(), await server.tcp()
        query = f"token={(await call(down, 'GET', 'vsn=2.0.0'))['token']}"
        poll = asyncio.create_task(call(down, "GET", query))
        assert await call(up, "POST", query, JOIN) == {"status": 200}
        assert (await poll)["messages"] == [frame(*JOINED)]
        poll = asyncio.create_task(call(down, "GET", query))
        server.endpoint.broadcast("room:1", "news", {})
        assert (await poll)["messages"] == [frame(None, None, "room:1", "news", {})]


@on_loop
async def test_a_connection_that_is_reset_gives_its_poll_back() -> None:
    async with serving(UserSocket) as server:
        first, second = await server.tcp(), await server.tcp()
        query = f"token={(await call(first, 'GET', 'vsn=2.0.0'))['token']}"
        await first.send(f"GET /socket/longpoll?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        carrier = carrier_of(server.find("transport"))
        await until(lambda: carrier._poll is not None)
        await first.close()
        await until(lambda: carrier._poll is None)
        assert await call(second, "POST", query, frame(*HEARTBEAT)) == {"status": 200}
        assert (await call(second, "GET", query))["messages"] == [frame(*BEATEN)]


@on_loop
async def test_a_body_beyond_the_limit_is_refused() -> None:
    async with serving(UserSocket) as server:
        tcp = await server.tcp()
        opened = json.loads((await tcp.get("/socket/longpoll?vsn=2.0.0")).body)
        size = 10 * 1024 * 1024 + 1
        target = f"/socket/longpoll?token={opened['token']}"
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
        await tcp.send(head, b"x" * size)
        assert (await tcp.answer()).status == 413


class FailingSocket(UserSocket):
    def connect(self, params: Any, connect_info: ConnectInfo) -> Any:
        raise RuntimeError("failed on purpose")


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("lines", "body", "expected"),
    [
        (["POST {}?token={}", f"Content-Length: {10**8}"], "", 413),
        (["POST {}?token={}", CHUNKED], "50000\r\n".ljust(200_000, "a"), 413),
        (["POST {}?token={}", CHUNKED], "nonsense\r\n", 400),
        (["GET {}?vsn=%ff"], "", 400),
        (["PUT {}?vsn=2.0.0"], "", 400),
        (["GET {}?vsn=2.0.0", f"Cookie: {'a' * 20_000}"], "", 431),
        ([f"GET {{}}?a={'a' * 20_000}"], "", 414),
        (["GET /fail/longpoll?vsn=2.0.0"], "", 500),
    ],
)
@on_loop
async def test_a_page_of_another_origin_may_read_every_error(lines: list[str], body: str, expected: int) -> None:
    mounts = {"/socket": UserSocket, "/fail": FailingSocket}
    async with serving(mounts, max_frame_size=100_000) as server:
        tcp = await server.tcp()
        token = json.loads((await tcp.get("/socket/longpoll?vsn=2.0.0")).body)["token"]
        line, *headers = lines
        line = line.format("/socket/longpoll", token)
        await tcp.send("\r\n".join([f"{line} HTTP/1.1", "Host: localhost", *headers, "", body]))
        answer = await tcp.answer()
    assert answer.status == expected
    assert answer.header("Access-Control-Allow-Origin") == ["*"]
