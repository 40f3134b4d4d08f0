"""Messages that nobody would write, in any order: the serializers, the connection, and two clients on real transports."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors import Channel, Reply, Stop, error, ok
from actors.channels.join_reply import JoinReply
from actors.channels.message import Message, Serializer
from actors.exits import KILLED, NORMAL, Crash, ExitReason, Shutdown
from transport.exceptions import MalformedMessageError, UnencodableError
from transport.protocol.connection import Connection, Effects, EndChannel, Joined, SendFrame, StartChannel, TopicStatus
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer
from transport.socket import Routes, Socket
from transport.testing import ChannelTest, JoinedChannel, TestClient

V1, V2 = V1JSONSerializer(), V2JSONSerializer()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELD = st.text(max_size=20) | st.text(min_size=250, max_size=260)


# Serializers


@settings(deadline=None, max_examples=80)
@given(st.sampled_from([V1, V2]), st.text() | st.binary() | JSON.map(json.dumps))
def test_whatever_comes_in_is_a_message_or_malformed(serializer: Serializer, data: str | bytes) -> None:
    try:
        message = serializer.decode(data)
    except MalformedMessageError:
        return
    assert isinstance(message, Message)


@settings(deadline=None, max_examples=60)
@given(JSON, JSON, JSON, JSON, JSON)
def test_any_json_comes_in_as_it_was_written_and_goes_out_as_it_came(
    join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any
) -> None:
    fields = {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
    values = [join_ref, ref, topic, event, payload]
    for serializer, data in ((V1, json.dumps(fields)), (V2, json.dumps(values))):
        message = serializer.decode(data)
        assert [message.join_ref, message.ref, message.topic, message.event, message.payload] == values
        answer = serializer.encode_reply(join_ref, ref, topic, ok(message.payload)).data
        assert serializer.decode(answer.decode()).payload == {"status": "ok", "response": payload}


@settings(deadline=None, max_examples=60)
@given(FIELD, FIELD, FIELD, FIELD, st.binary())
def test_a_binary_push_comes_in_as_it_was_written(join_ref: str, ref: str, topic: str, event: str, data: bytes) -> None:
    fields = [field.encode() for field in (join_ref, ref, topic, event)]
    if any(len(field) > 255 for field in fields):
        with pytest.raises(UnencodableError):
            V2.encode_push(max(join_ref, topic, event, ref, key=lambda field: len(field.encode())), None, "", "", data)
        return
    message = V2.decode(b"".join([bytes([0, *map(len, fields)]), *fields, data]))
    assert (message.join_ref, message.ref, message.topic, message.event) == (join_ref, ref, topic, event)
    assert message.payload == data


# A connection


class Temporary(Channel):
    """Restarted by nobody but the client."""


class Permanent(Channel):
    restart = "permanent"


class AnySocket(Socket):
    channels = {"room:*": Temporary, "permanent:*": Permanent}  # noqa: RUF012  # as an author writes it


MAX_CHANNELS = 2
CRASH = Crash(RuntimeError("on purpose"))
REFS = st.sampled_from(["1", "2", 1, None, "", [1]]) | JSON
TOPICS = st.sampled_from(["room:1", "room:2", "permanent:1", "permanent:2", "phoenix", "nowhere", None]) | JSON
EVENTS = st.sampled_from(["phx_join", "phx_join", "phx_leave", "heartbeat", "phx_close", "echo"]) | JSON


class AnyConnection(RuleBasedStateMachine):
    """Whatever the client sends and the channels do, in any order that actors can: each join is answered once."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = Connection(Routes(AnySocket), V2, MAX_CHANNELS)
        self.starting: list[Joined] = []
        self.alive: dict[Any, Joined] = {}
        self.ending: list[Any] = []
        self.sent = 0
        self.asked = 0
        self.answered = 0
        self.frames: list[list[Any]] = []

    def carry_out(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, StartChannel):
                self.starting.append(effect.joined)
            elif isinstance(effect, EndChannel):
                self.ending.append(effect.channel)
            elif isinstance(effect, SendFrame):
                self.look_at(json.loads(effect.frame.data))

    def look_at(self, frame: list[Any]) -> None:
        join_ref, ref, _, event, payload = frame
        self.frames.append(frame)
        if event in {"phx_close", "phx_error"}:
            assert repr(join_ref) == repr(ref)
            return
        assert event == "phx_reply"
        self.answered += ref == "join"
        assert payload["status"] in {"ok", "error"}

    def receive(self, message: Message) -> None:
        self.sent += 1
        try:
            self.carry_out(self.connection.receive(message))
        except MalformedMessageError:
            assert message.event == "phx_join"
            assert not isinstance(message.topic, str)
            self.asked -= message.ref == "join"

    @rule(join_ref=REFS, ref=REFS, topic=TOPICS, event=EVENTS, payload=JSON)
    def send_anything(self, join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any) -> None:
        self.receive(Message(join_ref, ref, topic, event, payload))

    @rule(join_ref=REFS, topic=TOPICS)
    def join(self, join_ref: Any, topic: Any) -> None:
        self.asked += 1
        self.receive(Message(join_ref, "join", topic, "phx_join", {}))

    @rule(join_ref=REFS, ref=REFS)
    def beat(self, join_ref: Any, ref: Any) -> None:
        before = len(self.frames)
        self.receive(Message(join_ref, ref, "phoenix", "heartbeat", {}))
        reply = [None, ref, "phoenix", "phx_reply", {"status": "ok", "response": {}}]
        assert self.frames[before:] == [reply]

    @precondition(lambda self: self.starting)
    @rule()
    def start(self) -> None:
        channel: Any = object()
        self.alive[channel] = joined = self.starting.pop(0)
        self.carry_out(self.connection.started(joined, channel))

    @precondition(lambda self: self.starting)
    @rule()
    def fail_to_start(self) -> None:
        self.carry_out(self.connection.not_started(self.starting.pop(0)))

    def draw(self, data: st.DataObject) -> Any:
        return data.draw(st.sampled_from(list(self.alive)))

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), joined=st.booleans())
    def answer(self, data: st.DataObject, *, joined: bool) -> None:
        channel = self.draw(data)
        topic = self.alive[channel]
        if channel not in self.connection._by_channel or topic.status not in {
            TopicStatus.JOINING,
            TopicStatus.RESTARTING,
        }:
            return  # it has answered, and does so once
        asked, refs = topic.status is TopicStatus.JOINING, topic.message
        frame = V2.encode_reply(refs.join_ref, refs.ref, refs.topic, ok() if joined else error())
        before = len(self.frames)
        self.carry_out(self.connection.join_replied(JoinReply(channel, refs.topic, joined, frame)))
        if asked:
            assert self.frames[before][:2] == json.loads(json.dumps([refs.join_ref, refs.ref]))

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), reason=st.sampled_from([NORMAL, Shutdown("left"), CRASH, KILLED]), announced=st.booleans())
    def end(self, data: st.DataObject, reason: ExitReason, *, announced: bool) -> None:
        channel = self.draw(data)
        joined = self.alive.pop(channel)
        refs = {repr(joined.join_ref), *self.old_refs(joined)}
        before = len(self.frames)
        if announced and reason.is_graceful and joined.status in {TopicStatus.JOINED, TopicStatus.LEAVING}:
            self.carry_out(self.connection.closed(channel, reason, 0.0))
        self.carry_out(self.connection.down(channel, reason, 0.0))
        ends = [frame for frame in self.frames[before:] if frame[3] in {"phx_close", "phx_error"}]
        assert all(repr(frame[0]) in refs for frame in ends)

    @staticmethod
    def old_refs(joined: Joined) -> set[str]:
        """A join that failed also tells of the end of those that it was to replace."""
        return {repr(json.loads(close.frame.data)[0]) for close in joined.closes or ()}

    @invariant()
    def it_has_no_more_topics_than_allowed(self) -> None:
        assert len(self.connection.topics) <= MAX_CHANNELS

    @invariant()
    def no_more_waits_than_was_sent(self) -> None:
        assert sum(len(joined.pending or ()) for joined in self.connection.topics.values()) <= self.sent

    def teardown(self) -> None:
        while self.starting or self.alive:
            if self.starting:
                self.fail_to_start()
            else:
                self.carry_out(self.connection.down(self.alive.popitem()[0], KILLED, 0.0))
        assert not self.connection.topics
        assert not self.connection._by_channel
        assert self.answered == self.asked


TestAnyConnection = AnyConnection.TestCase
TestAnyConnection.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


# Two clients


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        if payload == {"crash": True}:
            raise RuntimeError("on purpose")
        return error({"reason": "no"}) if payload == {"refuse": True} else ok()

    def handle_in(self, event: str, payload: Any) -> Reply | Stop | None:
        match event:
            case "echo":
                return ok(payload)
            case "shout":
                self.broadcast("shout", payload)
                return None
            case "stop":
                return Stop(NORMAL, reply=ok())
        raise RuntimeError("on purpose")


class RoomSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it


CLIENTS = st.integers(0, 1)
ROOMS = st.sampled_from(["room:1", "room:2", "room:3"])


class TwoClients(RuleBasedStateMachine):
    """Two clients join, push, leave and crash; the model is who is in which room."""

    def __init__(self) -> None:
        super().__init__()
        self.test = ChannelTest(RoomSocket, expected_crashes=Exception)
        first = self.test.__enter__()
        self.clients: list[TestClient] = [first, first.connect()]
        self.members: dict[tuple[int, str], JoinedChannel] = {}
        self.shouted = 0

    def member(self, data: st.DataObject) -> tuple[int, str]:
        return data.draw(st.sampled_from(sorted(self.members)))

    def nothing_else_came(self) -> None:
        assert [client.received for client in self.clients] == [[], []]

    @rule(client=CLIENTS, room=ROOMS)
    def join(self, client: int, room: str) -> None:
        old = self.members.get((client, room))
        self.members[client, room] = self.clients[client].join(room)
        if old is not None:
            assert old.assert_push("phx_close").join_ref == old.join_ref

    @rule(client=CLIENTS, room=ROOMS, payload=st.sampled_from([{"crash": True}, {"refuse": True}]))
    def join_in_vain(self, client: int, room: str, payload: Any) -> None:
        self.clients[client].try_join(room, payload).assert_reply("error")
        if old := self.members.pop((client, room), None):
            assert old.assert_push("phx_close").join_ref == old.join_ref

    @precondition(lambda self: self.members)
    @rule(data=st.data(), payload=JSON)
    def push(self, data: st.DataObject, payload: Any) -> None:
        expected = {} if payload is None else payload
        self.members[self.member(data)].push("echo", payload).assert_reply("ok", expected)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def shout(self, data: st.DataObject) -> None:
        client, room = self.member(data)
        self.shouted += 1
        self.members[client, room].push("shout", {"n": self.shouted})
        for each in range(2):
            if (each, room) in self.members:
                self.members[each, room].assert_push("shout", {"n": self.shouted})

    @precondition(lambda self: self.members)
    @rule(data=st.data(), event=st.sampled_from(["phx_leave", "stop"]))
    def end(self, data: st.DataObject, event: str) -> None:
        channel = self.members.pop(self.member(data))
        channel.push(event).assert_reply("ok")
        assert channel.assert_push("phx_close").join_ref == channel.join_ref

    @precondition(lambda self: self.members)
    @rule(data=st.data(), event=st.sampled_from(["crash", "phx_close", "killed"]))
    def crash(self, data: st.DataObject, event: str) -> None:
        channel = self.members.pop(self.member(data))
        if event == "killed":
            channel.ref.kill()
        else:
            channel.push(event)
        assert channel.assert_push("phx_error", {"reason": "channel_crash"}).join_ref == channel.join_ref

    @rule(client=CLIENTS, room=ROOMS, payload=JSON)
    def send_with_a_stale_join_ref(self, client: int, room: str, payload: Any) -> None:
        self.clients[client].send("stale", "r", room, "echo", payload)
        if (client, room) not in self.members:
            assert self.clients[client].take("phx_reply", room, "r") is not None

    @rule(client=CLIENTS)
    def go_away_and_come_back(self, client: int) -> None:
        self.clients[client].close()
        self.clients[client] = self.clients[client].connect()
        self.members = {key: channel for key, channel in self.members.items() if key[0] != client}

    @invariant()
    def only_what_the_model_says_is_left(self) -> None:
        self.nothing_else_came()
        for number, client in enumerate(self.clients):
            topics = {room for member, room in self.members if member == number}
            assert set(connection_of(client).topics) == topics
        channels = [ref for ref in self.test.runtime.actors if isinstance(ref.process.actor, RoomChannel)]
        assert len(channels) == len(self.members)

    def teardown(self) -> None:
        self.test.__exit__()


def connection_of(client: TestClient) -> Connection:
    transport: Any = client.transport.process.actor
    connection: Connection = transport.connection
    return connection


TestTwoClients = TwoClients.TestCase
TestTwoClients.settings = settings(deadline=None, max_examples=25, stateful_step_count=25)
