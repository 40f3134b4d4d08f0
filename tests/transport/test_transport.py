"""The transport actor, on virtual time: what it starts, what it survives, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Actor, Channel, Reply, Stop, error, ok, telemetry
from actors.channels.fastlane import fastlane_of
from actors.channels.message import Broadcast, Frame, Message, Opcode
from actors.exits import KILL, KILLED, NORMAL, SHUTDOWN, Crash, ExitReason, Shutdown
from actors.lowlevel import described, spawn
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.testing import ManualRuntime
from transport import ConnectInfo, Endpoint, Socket, Transport, V2JSONSerializer
from transport.carriers.carrier import Disconnected, EndConnection
from transport.carriers.intake import FULL, RATE, Intake
from transport.carriers.rate import Rate
from transport.limits import Limits
from transport.protocol.connection import Connection
from transport.socket import Route, Routes
from transport.socket_events import FRAME_IN, LIMIT_REACHED
from transport.testing import ChannelTest, JoinedChannel, TestClient

if TYPE_CHECKING:
    from actors.lowlevel import Process


class RoomChannel(Channel):
    """Does what it is asked to, and writes down how it ends."""

    ended: list[tuple[str, ExitReason]] = []  # noqa: RUF012  # cleared for each test

    def join(self, topic: str, payload: Any) -> Reply:
        return error({"reason": "no"}) if payload.get("refuse") else ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "crash":
                raise RuntimeError("on purpose")
            case "stop":
                return Stop(NORMAL)
            case "who":
                return ok({"channel": self.pid, "id": self.socket.id, "user": self.assigns["user"]})
            case "shout":
                self.broadcast("shout", payload)
        return None

    def terminate(self, reason: ExitReason) -> None:
        self.ended.append((self.topic, reason))


class PermanentChannel(RoomChannel):
    restart = "permanent"


class BrokenChannel(Channel):
    """Cannot even be made."""

    def __init__(self, *args: Any) -> None:
        raise RuntimeError("no such thing")


class UnpreparedChannel(Channel):
    """Is made, but cannot start."""

    def on_start(self) -> None:
        raise RuntimeError("not today")


class SlowChannel(Channel):
    """Lets in when its gate is opened."""

    gate: asyncio.Event

    async def join(self, topic: str, payload: Any) -> Reply:
        await self.gate.wait()
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        return ok({"event": event})


class StuckChannel(RoomChannel):
    """Never starts."""

    async def on_start(self) -> None:  # type: ignore[override]  # as authors may
        await asyncio.sleep(1_000)


class LateChannel(RoomChannel):
    """Lets in after a while."""

    async def join(self, topic: str, payload: Any) -> Reply:  # type: ignore[override]  # as authors may
        await asyncio.sleep(9)
        return ok()


class PatientChannel(RoomChannel):
    """Answers each message after a second."""

    async def handle_in(self, event: str, payload: Any) -> Reply:
        await asyncio.sleep(1)
        return ok({"event": event})


class UserSocket(Socket):
    channels = {  # noqa: RUF012  # as an author writes it
        "room:*": RoomChannel,
        "permanent:*": PermanentChannel,
        "broken": BrokenChannel,
        "unprepared": UnpreparedChannel,
        "slow": SlowChannel,
        "stuck": StuckChannel,
        "late:*": LateChannel,
        "patient:*": PatientChannel,
    }

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        self.assigns["user"] = params.get("user", "anonymous")
        return ok()

    def id(self) -> str | None:
        user: str = self.assigns["user"]
        return None if user == "anonymous" else f"users:{user}"


@pytest.fixture
def client() -> Iterator[TestClient]:
    RoomChannel.ended.clear()
    SlowChannel.gate = asyncio.Event()
    with ChannelTest(UserSocket, {"user": "alice"}, expected_crashes=RuntimeError) as connected:
        yield connected


@pytest.fixture
def room(client: TestClient) -> JoinedChannel:
    return client.join("room:1")


def living_in(runtime: ManualRuntime) -> list[str]:
    runtime.settle()
    return sorted(ref.actor_class.__name__ for ref in runtime.actors)


def living(client: TestClient) -> list[str]:
    return living_in(client.runtime)


def channels_supervisor(client: TestClient) -> Any:
    transport = client.transport.process.actor
    assert isinstance(transport, Transport)
    return transport._channels.ref


# Channels


def test_a_channel_knows_its_socket(room: JoinedChannel) -> None:
    room.push("who").assert_reply("ok", {"channel": room.ref.pid, "id": "users:alice", "user": "alice"})


def test_a_channel_that_crashes_is_told_to_its_client_and_can_be_joined_again(
    client: TestClient, room: JoinedChannel
) -> None:
    other, first = client.join("room:2"), room.ref
    room.push("crash").refute_reply()
    room.assert_push("phx_error", {"reason": "channel_crash"})
    again = client.join("room:1")
    assert again.ref is not first
    other.push("who").assert_reply("ok")
    assert client.received == []
    [(topic, reason)] = RoomChannel.ended
    assert (topic, type(reason)) == ("room:1", Crash)


@pytest.mark.parametrize("topic", ["broken", "unprepared"])
def test_a_channel_that_cannot_start_is_answered_join_crashed(
    client: TestClient, room: JoinedChannel, topic: str
) -> None:
    client.try_join(topic).assert_reply("error", {"reason": "join crashed"})
    client.try_join(topic).assert_reply("error", {"reason": "join crashed"})
    room.push("who").assert_reply("ok")
    assert client.close_code is None
    assert client.received == []
    assert living(client) == ["ChannelSupervisor", "PubSubServer", "RoomChannel", "Transport"]


def test_a_join_that_takes_time_does_not_keep_other_topics_waiting(client: TestClient, room: JoinedChannel) -> None:
    slow = client.try_join("slow")
    client.send(slow.ref, "early", "slow", "push", {})
    slow.refute_reply()
    room.push("who").assert_reply("ok")
    client.join("room:2")
    client.send(None, "beat", "phoenix", "heartbeat", {})
    assert client.take("phx_reply", "phoenix", "beat") is not None
    assert client.received == []
    SlowChannel.gate.set()
    assert [(message.ref, message.payload.payload) for message in client.received] == [
        (slow.ref, {}),
        ("early", {"event": "push"}),
    ]


def test_a_join_that_runs_when_the_client_goes_is_finished_and_nothing_is_left(client: TestClient) -> None:
    slow = client.try_join("slow")
    client.close()
    assert living(client) == ["ChannelSupervisor", "PubSubServer", "SlowChannel", "Transport"]
    SlowChannel.gate.set()
    slow.assert_reply("ok")
    assert living(client) == ["PubSubServer"]
    assert client.runtime.clock.pending() == 0


def test_the_supervisor_of_the_channels_is_replaced_when_it_dies(client: TestClient, room: JoinedChannel) -> None:
    client.join("room:2")
    first, transport = channels_supervisor(client), client.transport
    first.kill()
    for topic in ("room:1", "room:2"):
        assert client.take("phx_error", topic, payload={"reason": "channel_crash"}) is not None
    assert client.received == []
    second = channels_supervisor(client)
    assert second.is_alive()
    assert second is not first
    assert transport.is_alive()
    client.join("room:1").push("who").assert_reply("ok")
    assert client.close_code is None


def test_a_join_at_the_moment_when_that_supervisor_dies_is_answered(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    channels_supervisor(client).kill()
    client.try_join("room:1").assert_reply("error", {"reason": "join crashed"})
    assert [record.exc_info for record in caplog.records if "cannot start a channel" in record.message] == [None]
    client.join("room:1")
    client.try_join("room:2")
    channels_supervisor(client).kill()
    assert [message.event for message in client.received if message.topic == "room:2"] in (
        ["phx_reply"],
        ["phx_reply", "phx_error"],
    )
    client.join("room:2")


def test_channels_that_the_server_restarts_come_back_under_the_new_supervisor(client: TestClient) -> None:
    permanent = client.join("permanent:1")
    first = permanent.ref
    channels_supervisor(client).kill()
    assert client.received == []
    assert permanent.ref is not first
    assert permanent.ref.process.parent is channels_supervisor(client).process
    permanent.push("who").assert_reply("ok")


# What comes in


@pytest.mark.parametrize(
    "message", [object(), None, 5, ("tick",), {"a": 1}, RuntimeError("a value")], ids=lambda value: type(value).__name__
)
def test_a_stray_message_is_ignored(client: TestClient, room: JoinedChannel, message: Any) -> None:
    client.transport.send(message)
    assert client.received == []
    room.push("who").assert_reply("ok")
    assert client.close_code is None


def test_a_message_that_makes_no_sense_closes_with_1011_and_nobody_else_notices(client: TestClient) -> None:
    other = client.connect()
    room = other.join("room:1")
    client.join("room:1")
    client.send("1", "1", {"no": "topic"}, "phx_join", {})
    assert client.close_code == 1011
    assert client.received == []
    assert RoomChannel.ended == [("room:1", Shutdown("malformed message"))]
    room.push("who").assert_reply("ok")
    assert other.received == []


LIMITS = Limits()


class RecordingCarrier:
    """A wire that keeps what is written to it."""

    kind = "test"

    def __init__(self) -> None:
        self.written: list[str] = []
        self.end: int | str | None = None
        self.intake = Intake(Limits(), lambda: None)
        self.dropped = 0

    def get_write_buffer_size(self) -> int:
        return 0

    def attach(self, transport: Any) -> None:
        """There is nothing to deliver: the test speaks to the transport."""

    def send(self, frame: Frame) -> None:
        self.written.append(frame.data.decode())

    def close(self, code: int) -> None:
        self.end = code

    def abort(self) -> None:
        if self.end is None:
            self.end = "cut"


class Wired:
    """A transport that speaks version 2.0.0."""

    def __init__(self, runtime: ManualRuntime, pubsub: PubSub, limits: Limits = LIMITS) -> None:
        self.runtime, self.carrier = runtime, RecordingCarrier()
        self.endpoint = Endpoint({}, port=None)
        socket = UserSocket(self.endpoint)
        socket.connect({}, ConnectInfo(None, "/", {}))
        args = (self.carrier, socket, Routes(UserSocket), V2JSONSerializer(), pubsub, 100, limits)
        self.ref = spawn(Transport, args)

    def receive(self, data: str | bytes) -> list[str]:
        self.carrier.intake.add(len(data))
        self.ref.send(data)
        self.runtime.settle()
        return self.carrier.written

    def take(self, data: str | bytes) -> None:
        """Do what a WebSocket does with what it reads."""
        fastlane = fastlane_of(self.ref.process)
        if fastlane is not None and not fastlane.take(data):
            self.carrier.intake.add(len(data))

    def channel(self, topic: str) -> Process:
        """Return the process that serves a topic."""
        transport = self.ref.process.actor
        assert isinstance(transport, Transport)
        channel = transport.connection.topics[topic].channel
        assert channel is not None
        return channel.process


@pytest.fixture
def runtime() -> Iterator[ManualRuntime]:
    with ManualRuntime() as manual:
        yield manual


@pytest.fixture
def pubsub(runtime: ManualRuntime) -> PubSub:
    pubsub = PubSub()
    spawn(PubSubServer, (pubsub,))
    return pubsub


@pytest.fixture
def wired(runtime: ManualRuntime, pubsub: PubSub) -> Wired:
    return Wired(runtime, pubsub)


def test_text_is_decoded_and_answered(wired: Wired) -> None:
    assert wired.receive('[null,"1","phoenix","heartbeat",{}]') == [
        '[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]'
    ]
    assert wired.carrier.end is None


@pytest.mark.parametrize("data", ["not json", "", "{}", '["1","2","t","e"]', b"", b"\x07"], ids=repr)
def test_what_is_no_message_closes_with_1011(wired: Wired, data: str | bytes) -> None:
    assert wired.receive(data) == []
    assert wired.carrier.end == 1011
    assert wired.ref.exit_reason == Shutdown("malformed message")


@pytest.mark.parametrize("place", ["ref", "join_ref", "topic", "payload"])
def test_what_is_nested_deep_is_mirrored_or_refused_but_never_a_crash(
    runtime: ManualRuntime, pubsub: PubSub, place: str
) -> None:
    for depth in (254, 255, 256, *range(900, 1000, 20), 5_000, 200_000):
        wired, deep = Wired(runtime, pubsub), "[" * depth + "]" * depth
        message = {"join_ref": "null", "ref": '"1"', "topic": '"room:1"', "event": '"e"', "payload": "{}", place: deep}
        written = wired.receive(f"[{','.join(message.values())}]")
        assert (len(written), wired.carrier.end) == ((1, None) if depth < 256 else (0, 1011)), depth
        if place == "ref" and written:
            assert deep in written[0]


def test_a_join_ref_that_is_nested_deep_is_compared_or_refused_but_never_a_crash(
    runtime: ManualRuntime, pubsub: PubSub
) -> None:
    for depth in (10, 254, 255, 256, 700):
        wired, deep = Wired(runtime, pubsub), "[" * depth + "]" * depth
        wired.receive(f'[{deep},"1","room:1","phx_join",{{}}]')
        written = wired.receive(f'[{deep},"2","room:1","who",{{}}]')
        assert (len(written), wired.carrier.end) == ((2, None) if depth < 256 else (0, 1011)), depth


# Limits


@pytest.fixture
def reached() -> Iterator[list[str]]:
    """The limits that were reached, by name."""
    names: list[str] = []
    telemetry.attach("test", [LIMIT_REACHED], lambda _event, _numbers, about: names.append(about["limit"]))
    yield names
    telemetry.detach("test")


def test_a_client_that_joins_too_often_is_read_more_slowly_and_loses_nothing(
    runtime: ManualRuntime, pubsub: PubSub, reached: list[str]
) -> None:
    wired = Wired(runtime, pubsub, Limits(joins=Rate(10, burst=5)))
    for ref in range(7):
        wired.receive(f'["{ref}","{ref}","room:{ref}","phx_join",{{}}]')
    assert (wired.carrier.intake.held, reached) == (RATE, ["joins"])
    assert len(wired.carrier.written) == 7
    runtime.advance(0.21)
    assert wired.carrier.intake.held == 0


def test_messages_count_against_their_rate_whichever_way_they_take(
    runtime: ManualRuntime, pubsub: PubSub, reached: list[str]
) -> None:
    wired = Wired(runtime, pubsub, Limits(messages=Rate(1, burst=4), joins=None))
    wired.receive('["1","1","room:1","phx_join",{}]')
    wired.receive('[null,"2","phoenix","heartbeat",{}]')
    for ref in (3, 4):
        wired.take(f'["1","{ref}","room:1","who",{{}}]')
    assert wired.carrier.intake.held == 0
    wired.take('["1","5","room:1","who",{}]')
    runtime.settle()
    assert (wired.carrier.intake.held, reached) == (RATE, ["messages"])
    assert len(wired.carrier.written) == 5
    runtime.advance(1)
    assert wired.carrier.intake.held == 0


def test_a_connection_that_ends_while_it_is_not_read_leaves_no_timer(runtime: ManualRuntime, pubsub: PubSub) -> None:
    wired = Wired(runtime, pubsub, Limits(joins=Rate(0.01, burst=1), first_join_timeout=1000.0))
    for ref in range(3):
        wired.receive(f'["{ref}","{ref}","room:1","phx_join",{{}}]')
    assert wired.carrier.intake.held == RATE
    wired.receive("malformed")
    assert wired.ref.process.scheduler.clock.timers() == []


@pytest.mark.parametrize(
    ("said", "end"),
    [
        (None, 1008),
        ('["1","1","room:1","phx_join",{}]', None),
        ('["1","1","nowhere","phx_join",{}]', None),
        ('[null,"1","phoenix","heartbeat",{}]', None),
        ('["1","1","room:1","heartbeat",{}]', 1008),
        ('["1","1","room:1","echo",{}]', 1008),
    ],
)
def test_a_client_joins_or_sends_a_heartbeat_in_time(
    runtime: ManualRuntime, pubsub: PubSub, reached: list[str], said: str | None, end: int | None
) -> None:
    wired = Wired(runtime, pubsub, Limits(first_join_timeout=5.0))
    runtime.advance(4.9)
    if said is not None:
        wired.receive(said)
    assert wired.carrier.end is None
    runtime.advance(100)
    assert (wired.carrier.end, wired.ref.is_alive()) == (end, end is None)
    assert reached == ([] if end is None else ["first_join_timeout"])


def test_a_client_whose_first_join_is_not_read_has_more_time(runtime: ManualRuntime, pubsub: PubSub) -> None:
    wired = Wired(runtime, pubsub, Limits(first_join_timeout=5.0))
    wired.carrier.intake.hold(FULL)
    runtime.advance(7)
    assert wired.carrier.end is None
    wired.carrier.intake.release(FULL)
    runtime.advance(5)
    assert wired.carrier.end == 1008


def test_what_is_too_long_is_reported(wired: Wired, reached: list[str]) -> None:
    [answer] = wired.receive(json.dumps(["1", "1", "room:" + "x" * 1020, "phx_join", {}]))
    assert json.loads(answer)[4] == {"status": "error", "response": {"reason": "topic too long"}}
    wired.receive('["1","1","room:1","phx_join",{}]')
    wired.take(json.dumps(["1", "2", "room:1", "x" * 1025, {}]))
    runtime_answer = wired.receive('["1","3","room:1","who",{}]')
    assert json.loads(runtime_answer[2])[4] == {"status": "error", "response": {"reason": "event too long"}}
    assert reached == ["topic_length", "topic_length"]


def test_the_channel_above_the_limit_is_reported(runtime: ManualRuntime, pubsub: PubSub, reached: list[str]) -> None:
    wired = Wired(runtime, pubsub, Limits(joins=None))
    for ref in range(101):
        wired.receive(f'["{ref}","{ref}","room:{ref}","phx_join",{{}}]')
    assert reached == ["max_channels"]


# The end


def test_a_disconnect_by_id_closes_with_1001_and_says_nothing_else(client: TestClient) -> None:
    same, other = client.connect({"user": "alice"}), client.connect({"user": "bob"})
    client.join("room:1")
    room = other.join("room:1")
    client.pubsub.broadcast("users:alice", Broadcast("users:alice", "disconnect", {}))
    assert (client.close_code, same.close_code, other.close_code) == (1001, 1001, None)
    assert client.received == same.received == []
    assert RoomChannel.ended == [("room:1", Shutdown("disconnected"))]
    room.push("who").assert_reply("ok")
    assert other.received == []


@pytest.mark.parametrize(
    ("topic", "event"), [("users:alice", "other"), ("users:bob", "disconnect"), ("users:*", "disconnect")]
)
def test_only_a_disconnect_by_its_own_id_closes_it(client: TestClient, topic: str, event: str) -> None:
    client.pubsub.broadcast(topic, Broadcast(topic, event, {}))
    client.transport.send(Broadcast(topic, event, {}))
    assert client.close_code is None
    assert client.received == []


def test_a_disconnect_on_a_topic_that_is_joined_is_an_event_like_any_other(
    client: TestClient, room: JoinedChannel
) -> None:
    client.pubsub.broadcast("room:1", Broadcast("room:1", "disconnect", {}))
    room.assert_push("disconnect", {})
    assert client.close_code is None


def test_a_socket_without_an_id_is_reached_by_no_disconnect(client: TestClient) -> None:
    nobody = client.connect()
    client.pubsub.broadcast("None", Broadcast("None", "disconnect", {}))
    assert nobody.close_code is None


def test_a_client_that_goes_ends_its_channels_and_leaves_nothing(client: TestClient, room: JoinedChannel) -> None:
    client.join("room:2")
    client.close()
    assert client.close_code == 1000
    assert sorted(RoomChannel.ended, key=str) == [("room:1", Shutdown("closed")), ("room:2", Shutdown("closed"))]
    assert living(client) == ["PubSubServer"]
    assert client.pubsub.topics() == []
    assert client.runtime.clock.pending() == 0


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (SHUTDOWN, 1012),
        (Shutdown("disconnected"), 1001),
        (Shutdown("malformed message"), 1011),
        (Shutdown("whatever"), 1000),
        (Crash(RuntimeError("on purpose")), 1006),
        (KILLED, 1006),
    ],
    ids=str,
)
def test_the_reason_of_its_end_decides_the_close_code(
    client: TestClient, room: JoinedChannel, reason: ExitReason, code: int
) -> None:
    client.transport.exit(reason)
    assert client.close_code == code
    assert client.transport.exit_reason == reason
    assert RoomChannel.ended == [("room:1", Shutdown("draining") if reason == SHUTDOWN else reason)]
    assert client.received == []


# What was received before the client disconnected


def replies(wired: Wired) -> list[list[str]]:
    """Return the topic and the ref of each reply so far."""
    frames = [json.loads(text) for text in wired.carrier.written]
    return [[frame[2], frame[1]] for frame in frames if frame[3] == "phx_reply"]


@pytest.fixture
def patient(wired: Wired) -> Wired:
    """A client that has sent two messages to each of two channels, and has disconnected."""
    RoomChannel.ended.clear()
    for topic in ("patient:1", "patient:2"):
        wired.receive(f'["1","1","{topic}","phx_join",{{}}]')
        for ref in ("2", "3"):
            wired.take(f'["1","{ref}","{topic}","say",{{}}]')
    wired.carrier.written.clear()
    wired.ref.send(Disconnected(1001))
    wired.runtime.settle()
    return wired


def test_channels_handle_what_was_received_before_the_connection_ends(patient: Wired) -> None:
    patient.runtime.advance(1)
    assert replies(patient) == [["patient:1", "2"], ["patient:2", "2"]]
    assert (patient.carrier.end, RoomChannel.ended) == (None, [])
    patient.runtime.advance(1)
    assert replies(patient)[2:] == [["patient:1", "3"], ["patient:2", "3"]]
    assert (patient.carrier.end, patient.ref.is_alive()) == (1000, False)
    assert sorted(topic for topic, _ in RoomChannel.ended) == ["patient:1", "patient:2"]
    assert patient.carrier.intake.messages == 0
    assert patient.runtime.clock.pending() == 0


def test_the_slowest_channel_is_waited_for(patient: Wired) -> None:
    patient.channel("patient:1").kill()
    patient.runtime.advance(1.9)
    assert patient.ref.is_alive()
    patient.runtime.advance(0.1)
    assert (patient.carrier.end, replies(patient)) == (1000, [["patient:2", "2"], ["patient:2", "3"]])


@pytest.mark.parametrize(("reason", "end"), [(KILL, "cut"), (Shutdown("disconnected"), 1001)])
def test_a_transport_that_waits_for_its_channels_can_be_ended_and_they_go_on(
    patient: Wired, reason: Any, end: int | str
) -> None:
    patient.ref.exit(reason)
    patient.runtime.settle()
    assert (patient.carrier.end, patient.ref.is_alive(), RoomChannel.ended) == (end, False, [])
    patient.runtime.advance(2)
    assert RoomChannel.ended == [("patient:1", Shutdown("closed")), ("patient:2", Shutdown("closed"))]
    assert patient.carrier.intake.messages == 0
    assert patient.runtime.clock.pending() == 0


def test_a_transport_that_waits_for_its_channels_and_is_shut_down_stops_them(patient: Wired) -> None:
    patient.ref.exit(SHUTDOWN)
    patient.runtime.settle()
    assert (patient.carrier.end, patient.ref.is_alive()) == (1012, False)
    assert RoomChannel.ended == [("patient:1", Shutdown("draining")), ("patient:2", Shutdown("draining"))]
    assert patient.carrier.intake.messages == 0
    assert patient.runtime.clock.pending() == 0


@pytest.mark.parametrize("topics", [["slow"], ["slow", "patient:1"]])
def test_what_waits_behind_a_join_is_handled_before_the_connection_ends(wired: Wired, topics: list[str]) -> None:
    SlowChannel.gate = asyncio.Event()
    for topic in topics:
        wired.receive(f'["1","1","{topic}","phx_join",{{}}]')
        wired.receive(f'["1","2","{topic}","say",{{}}]')
    wired.ref.send(Disconnected(1001))
    wired.runtime.advance(2)
    assert wired.ref.is_alive()
    SlowChannel.gate.set()
    wired.runtime.settle()
    assert replies(wired)[-2:] == [["slow", "1"], ["slow", "2"]]
    assert (wired.carrier.end, wired.carrier.intake.messages) == (1000, 0)


@pytest.mark.parametrize(
    ("topic", "payload", "answer"),
    [
        ("broken", "{}", "join crashed"),
        ("unprepared", "{}", "join crashed"),
        ("room:1", '{"refuse":true}', "no"),
        ("room:1", "[]", "join crashed"),
    ],
)
def test_what_waits_behind_a_join_that_fails_is_answered_and_the_connection_ends_at_once(
    wired: Wired, topic: str, payload: str, answer: str
) -> None:
    wired.carrier.intake.add(0)
    wired.carrier.intake.add(0)
    wired.ref.send(f'["1","1","{topic}","phx_join",{payload}]')
    wired.ref.send(f'["1","2","{topic}","say",{{}}]')
    wired.ref.send(Disconnected(1001))
    wired.runtime.settle()
    reasons = [json.loads(text)[4]["response"]["reason"] for text in wired.carrier.written]
    assert reasons == [answer, "unmatched topic"]
    assert (wired.carrier.end, wired.ref.is_alive()) == (1000, False)


def test_a_join_that_is_not_answered_is_waited_for_as_long_as_a_join_may_take(wired: Wired) -> None:
    SlowChannel.gate = asyncio.Event()
    wired.receive('["1","1","slow","phx_join",{}]')
    wired.receive('["1","2","slow","say",{}]')
    wired.ref.send(Disconnected(1001))
    wired.runtime.advance(9.9)
    assert wired.ref.is_alive()
    wired.runtime.advance(0.1)
    assert (wired.carrier.end, wired.ref.is_alive()) == (1000, False)
    assert wired.runtime.clock.pending() == 0


@pytest.mark.parametrize(("end", "seconds"), [("kick", 15), ("client", 27)])
def test_joins_in_a_row_delay_a_close_no_longer_than_one_but_are_finished_for_a_client_that_has_gone(
    wired: Wired, end: str, seconds: float
) -> None:
    for ref in "123":
        wired.receive(f'["{ref}","{ref}","late:1","phx_join",{{}}]')
    wired.ref.send(EndConnection(Shutdown("disconnected")) if end == "kick" else Disconnected(1001, lambda: None))
    wired.runtime.advance(seconds - 0.1)
    assert wired.ref.is_alive()
    wired.runtime.advance(0.1)
    assert not wired.ref.is_alive()
    assert (wired.carrier.end, len(replies(wired))) == ((1001, 1) if end == "kick" else ("cut", 3))
    assert wired.runtime.clock.pending() == 0


def test_a_channel_that_does_not_start_is_waited_for_a_while(wired: Wired) -> None:
    wired.receive('["1","1","stuck","phx_join",{}]')
    wired.ref.send(Disconnected(1001))
    wired.runtime.advance(14.9)
    assert wired.ref.is_alive()
    wired.runtime.advance(0.1)
    assert (wired.carrier.end, wired.ref.is_alive(), living_in(wired.runtime)) == (
        1000,
        False,
        ["PubSubServer"],
    )
    assert wired.runtime.clock.pending() == 0


@pytest.mark.parametrize("reason", [KILL, SHUTDOWN, Shutdown("disconnected")], ids=str)
def test_a_channel_that_does_not_start_keeps_nothing_alive(wired: Wired, reason: Any) -> None:
    wired.receive('["1","1","stuck","phx_join",{}]')
    wired.ref.exit(reason)
    wired.runtime.settle()
    assert living_in(wired.runtime) == ["PubSubServer"]


def test_channels_are_waited_for_as_long_as_they_handle_messages(wired: Wired) -> None:
    wired.receive('["1","1","patient:1","phx_join",{}]')
    for ref in range(100):
        wired.receive(f'["1","{ref}","patient:1","say",{{}}]')
    wired.ref.send(Disconnected(1001))
    wired.runtime.advance(99.9)
    assert wired.ref.is_alive()
    wired.runtime.advance(0.1)
    assert replies(wired)[1:] == [["patient:1", str(ref)] for ref in range(100)]
    assert (wired.carrier.end, wired.ref.is_alive()) == (1000, False)
    assert wired.runtime.clock.pending() == 0


def test_a_killed_transport_cuts_the_connection_and_its_channels_end_with_its_reason(
    client: TestClient, room: JoinedChannel
) -> None:
    other = client.connect()
    other_room = other.join("room:1")
    client.transport.kill()
    assert client.close_code == 1006
    assert RoomChannel.ended == [("room:1", KILLED)]
    other_room.push("who").assert_reply("ok")
    assert living(client) == ["ChannelSupervisor", "PubSubServer", "RoomChannel", "Transport"]


def test_a_frame_that_cannot_be_written_crashes_it_and_nobody_else(wired: Wired) -> None:
    wired.ref.send(Frame(Opcode.TEXT, None))
    wired.runtime.settle()
    assert wired.carrier.end == "cut"
    assert isinstance(wired.ref.exit_reason, Crash)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            '["1","2","room:1","say",{"password":"x","text":"y"}]',
            "Message(join_ref='1', ref='2', topic='room:1', event='say', payload={'password': '[FILTERED]', 'text': 'y'})",
        ),
        (
            Message("1", "2", "room:1", "say", {"token": "x"}),
            "Message(join_ref='1', ref='2', topic='room:1', event='say', payload={'token': '[FILTERED]'})",
        ),
        ('{"password": "x"', "<malformed str of length 16>"),
        (b"password", "<malformed bytes of length 8>"),
        (Frame(Opcode.TEXT, b"password"), "<Frame of 8 bytes>"),
        (Frame(Opcode.TEXT, None), "<Frame>"),
    ],
    ids=["text", "message", "no message", "binary that is none", "frame", "frame of the test kit"],
)
def test_its_messages_are_described_without_secrets(wired: Wired, message: Any, shown: str) -> None:
    assert described(wired.ref.process.actor, message) == shown


class Companion(Actor):
    """Somebody to be linked to."""


@pytest.mark.parametrize(
    ("reason", "code"),
    [(NORMAL, None), (Shutdown("x"), 1000), (Crash(RuntimeError("x")), 1006), (KILLED, 1006)],
    ids=str,
)
def test_it_ends_with_an_actor_that_it_is_linked_to_unless_that_ends_normally(
    client: TestClient, reason: ExitReason, code: int | None
) -> None:
    companion = Companion.start()
    client.transport.process.link(companion.process)
    if reason == NORMAL:
        companion.stop()
    else:
        companion.exit(reason)
    assert client.close_code == code


def test_what_comes_after_its_end_is_dropped(client: TestClient, room: JoinedChannel) -> None:
    client.close()
    client.transport.send(Disconnected(1000))
    client.send(None, "1", "phoenix", "heartbeat", {})
    assert client.received == []


def test_frames_are_written_in_the_order_they_were_made(wired: Wired) -> None:
    texts = [json.dumps([None, number, "phoenix", "heartbeat", {}]) for number in range(200)]
    for text in texts:
        wired.ref.send(text)
    assert [json.loads(text)[1] for text in wired.receive(texts[0])] == [*range(200), 0]


@pytest.mark.parametrize(
    "then",
    [
        pytest.param([], id="join"),
        pytest.param(["who"], id="push"),
        pytest.param(["crash"], id="crash"),
        pytest.param(["stop"], id="stop"),
        pytest.param(["phx_leave"], id="leave"),
        pytest.param(["phx_join"], id="join again"),
        pytest.param(["phx_join", "phx_join", "crash"], id="crash after a second join"),
    ],
)
@pytest.mark.parametrize("topic", ["room:1", "permanent:1", "broken", "unprepared", "none"])
def test_whatever_follows_a_join_ref_that_is_nested_deep_the_connection_lives_or_closes_with_1011(
    runtime: ManualRuntime, pubsub: PubSub, topic: str, then: list[str]
) -> None:
    for depth in (10, 255, 256, 1_000, 5_000):
        wired, deep = Wired(runtime, pubsub), "[" * depth + "]" * depth
        for ref, event in enumerate(["phx_join", *then]):
            wired.receive(f'[{deep},"{ref}","{topic}","{event}",{{}}]')
        assert wired.carrier.end == (None if depth < 256 else 1011), depth
        assert wired.ref.is_alive() is (wired.carrier.end is None), depth


@pytest.mark.parametrize("failing", ["join_replied", "closed", "down", "receive"])
def test_what_cannot_be_written_for_its_depth_closes_with_1011_wherever_it_comes_up(
    wired: Wired, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(Connection, failing, fail)
    for event in ["phx_join", "crash" if failing == "down" else "stop"]:
        wired.receive(f'["1","1","room:1","{event}",{{}}]')
    assert wired.carrier.end == 1011
    assert wired.ref.exit_reason == Shutdown("malformed message")


class AssignedChannel(Channel):
    """Lets everybody in."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()


class AssignedSocket(Socket):
    """Has a route with assigns, and one without."""

    channels = {"admin:*": Route(AssignedChannel, assigns={"admin": True, "user": "root"}), "room:*": AssignedChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        self.assigns["user"] = "alice"
        return ok()


def test_a_channel_has_the_assigns_of_its_socket_and_of_its_route_which_wins() -> None:
    with ChannelTest(AssignedSocket) as client:
        admin, room = client.join("admin:1"), client.join("room:1")
        assert admin.assigns == {"admin": True, "user": "root"}
        assert room.assigns == client.socket.assigns == {"user": "alice"}
        admin.assigns["user"] = "changed"
        assert client.join("admin:2").assigns == {"admin": True, "user": "root"}


# Past the mailbox: what comes in for a channel that has joined is handed to it at once


def test_what_is_for_a_channel_is_handed_to_it_without_a_turn(wired: Wired) -> None:
    wired.receive('["1","1","room:1","phx_join",{}]')
    wired.take('["1","2","room:1","shout",{}]')
    channel = wired.channel("room:1")
    assert (channel.waiting, wired.ref.process.waiting) == (1, 0)
    wired.runtime.settle()
    assert wired.carrier.written[-1] == '[null,null,"room:1","shout",{}]'


def test_what_comes_behind_something_that_needs_a_turn_waits_for_it(wired: Wired) -> None:
    wired.receive('["1","1","room:1","phx_join",{}]')
    wired.take('["1","2","room:1","phx_leave",{}]')
    wired.take('["1","3","room:1","shout",{}]')
    assert (wired.channel("room:1").waiting, wired.ref.process.waiting) == (0, 2)


def test_what_cannot_be_read_ends_the_transport_in_a_turn(wired: Wired) -> None:
    wired.take("not json")
    assert wired.carrier.end is None
    wired.runtime.settle()
    assert wired.carrier.end == 1011


def test_frames_that_come_in_are_told_of_if_somebody_listens(wired: Wired) -> None:
    sizes: list[float] = []
    wired.receive('["1","1","room:1","phx_join",{}]')
    telemetry.attach("test", [FRAME_IN], lambda _event, measured, _about: sizes.append(measured["bytes"]))
    try:
        wired.take('["1","2","room:1","shout",{}]')
        wired.runtime.settle()
    finally:
        telemetry.detach("test")
    assert sizes == [29]


TOPICS, REFS = st.sampled_from(["room:1", "permanent:1", "nowhere", "phoenix"]), st.sampled_from(["1", "2", None, 1])
EVENTS = st.sampled_from(["phx_join", "phx_join", "phx_leave", "shout", "shout", "crash", "stop", "heartbeat"])
READS = st.lists(st.lists(st.tuples(REFS, TOPICS, EVENTS), max_size=4), max_size=8)


def converse(reads: list[list[Any]], *, at_once: bool) -> dict[Any, list[Any]]:
    """Send a client's messages, some in one read; return what it gets on each topic, and how it ended."""
    with ManualRuntime() as runtime:
        pubsub = PubSub()
        spawn(PubSubServer, (pubsub,))
        wired, number = Wired(runtime, pubsub), count(1)
        for read in reads:
            for join_ref, topic, event in read:
                data = json.dumps([join_ref, str(next(number)), topic, event, {}])
                (wired.take if at_once else wired.ref.send)(data)
            runtime.settle()
        got: dict[Any, list[Any]] = {"end": [wired.carrier.end]}
        for text in wired.carrier.written:
            got.setdefault(json.loads(text)[2], []).append(text)
        return got


@settings(deadline=None)
@given(READS)
def test_both_ways_answer_the_same_on_each_topic(reads: list[list[Any]]) -> None:
    assert converse(reads, at_once=True) == converse(reads, at_once=False)


@pytest.mark.parametrize(
    ("topic", "shown"),
    [("nowhere", "'nowhere'"), ("x" * 100_000, "'xxx"), ("a\n\x1b", r"'a\n\x1b'")],
    ids=["short", "long", "odd"],
)
def test_a_join_of_a_topic_without_a_channel_is_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture, topic: str, shown: str
) -> None:
    client.try_join(topic).assert_reply("error", {"reason": "unmatched topic"})
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(f"ignoring unmatched topic {shown}")
    assert line.endswith(" in UserSocket, whose channels are " + ", ".join(map(repr, UserSocket.channels)))
    assert len(line) < 2_500


def test_many_joins_of_topics_without_a_channel_are_counted(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(25):
        client.try_join(f"nowhere:{number}")
    client.advance(2)
    client.try_join("nowhere").assert_reply("error")
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 12
    assert "15 more joins of unmatched topics of UserSocket in the last second were not logged" in lines
