"""Broadcasts in slices: each client receives what it would receive if they were written at once, in the same order."""

from __future__ import annotations

import gc
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import sys, telemetry
from actors.actor import Actor
from actors.channels.fastlane import CORKED, OWED, PAUSED, Fastlane, send_frame
from actors.channels.message import Broadcast, Frame, Opcode
from actors.exits import KILL, NORMAL, Crash, ExitReason, Stop
from actors.pubsub import fanout, subscriptions
from actors.pubsub.fanout import MOST, SLICE
from actors.pubsub.pubsub import BROADCAST, PubSub, PubSubServer
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime, Probe, Simulation
from actors.threads.threaded_actor import ThreadedActor
from tests.actors.test_receipt import Counted

AT_ONCE = 1_000_000
"""A slice that no broadcast exceeds."""


class Serializer:
    """Writes the payload, which is the text that identifies a message."""

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        return Frame(Opcode.TEXT, str(broadcast.payload).encode())


class Wire:
    """The outlet of all clients."""

    watched = False
    messages = 0

    def wire(self, frame: Frame) -> bytes:
        data: bytes = frame.data
        return data

    def wrote(self, data: bytes, times: int) -> None:
        self.messages += times


class Transport(Actor):
    """A client: its log is what it receives."""

    def __init__(self, serializer: Any, outlet: Wire | None) -> None:
        self.serializer, self.outlet = serializer, outlet
        self.log: list[str] = []

    def on_start(self) -> None:
        self.lane = Fastlane(self._process, self.serializer, self.write)
        self.lane.open()
        if self.outlet is not None:
            self.lane.outlet, self.lane.write = self.outlet, self.write_data

    def write(self, frame: Frame) -> None:
        self.write_data(frame.data)

    def write_data(self, data: bytes) -> None:
        self.log.append(data.decode())

    def on_receive(self, frame: Any) -> None:
        self.write(frame)

    def terminate(self, reason: ExitReason) -> None:
        self.log.append("closed")


class Caller(Actor):
    """A channel: it calls the functions that it is sent."""

    def on_receive(self, call: Any) -> Any:
        return call()


class Room:
    """Clients on topics, each with a channel; `number` is how many broadcasts are written to in an iteration."""

    def __init__(self, slice_: int, *, outlet: bool = True) -> None:
        self.pubsub, self.wire = PubSub(), Wire()
        self.server = spawn(PubSubServer, (self.pubsub,), label="pubsub")
        self.pubsub.fanouts.slice, self.pubsub.fanouts.chunk = slice_, 1 if slice_ < SLICE else slice_
        self.serializers = Serializer(), Serializer()
        self.outlet = self.wire if outlet else None
        self.transports: list[Transport] = []
        self.channels: list[Any] = []

    def client(self, *topics: str, form: int = 0) -> Transport:
        transport: Any = spawn(Transport, (self.serializers[form], self.outlet)).process.actor
        channel = Caller.start()
        for topic in topics:
            self.pubsub.subscribe(topic, channel, transport.lane)
        self.transports.append(transport)
        self.channels.append(channel)
        return transport  # type: ignore[no-any-return]  # of the actor that was started

    def clients(self, number: int) -> None:
        for _ in range(number):
            self.client("a")

    def broadcast(self, text: str, topic: str = "a", sender: int | None = None) -> None:
        if sender is None:
            self.pubsub.broadcast(topic, Broadcast(topic, "news", text))
        else:
            self.pubsub.broadcast_from(self.channels[sender], topic, Broadcast(topic, "news", text))

    def push(self, client: int, text: str) -> None:
        send_frame(self.transports[client].actor_ref, Frame(Opcode.TEXT, text.encode()))

    @property
    def logs(self) -> list[list[str]]:
        return [transport.log for transport in self.transports]


@pytest.fixture
def room(runtime: ManualRuntime) -> Room:
    """A room of ten clients, which are written to two at a time."""
    room = Room(2)
    room.clients(10)
    return room


def one_iteration(runtime: ManualRuntime) -> None:
    loop = runtime._scheduler.loop
    loop.call_soon(loop.stop)
    loop.run_forever()


# Slices


def test_a_large_broadcast_is_written_some_clients_at_a_time(room: Room, runtime: ManualRuntime) -> None:
    room.broadcast("1")
    reached = []
    while len(room.pubsub.fanouts):
        one_iteration(runtime)
        reached.append(sum(len(log) for log in room.logs))
    assert reached == [2, 4, 6, 8, 10]
    assert room.logs == [["1"]] * 10


def test_a_small_one_is_written_at_once(room: Room) -> None:
    room.pubsub.fanouts.slice = 10
    room.broadcast("1")
    assert room.logs == [["1"]] * 10


def test_a_broadcast_of_many_bytes_is_written_to_some_clients_at_a_time(
    room: Room, runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.pubsub.fanouts.slice = room.pubsub.fanouts.chunk = 20
    room.pubsub.fanouts.slice_bytes = 1000
    monkeypatch.setattr(fanout, "CHUNK_BYTES", 100)
    room.broadcast("x" * 90)
    assert [len(log) for log in room.logs] == [1] * 10
    room.broadcast("y" * 400)
    reached = []
    while len(room.pubsub.fanouts):
        one_iteration(runtime)
        reached.append(sum(len(log) for log in room.logs) - 10)
    assert reached == [3, 6, 9, 10]


def test_the_slices_of_lanes_are_counted_like_those_written_at_once(room: Room, runtime: ManualRuntime) -> None:
    room.pubsub.fanouts.slice = 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscriptions, "MANY", 1)
        for text in "123":
            room.broadcast(text)
        assert room.wire.messages == 20
        room.pubsub.fanouts.slice = 2
        room.broadcast("4")
        room.push(7, "reply")
        runtime.settle()
    assert room.wire.messages == 29  # the one that had the reply was written to by its transport
    assert room.transports[7].log == ["1", "2", "3", "4", "reply"]


def test_writing_that_takes_long_ends_a_slice_early(room: Room, runtime: ManualRuntime) -> None:
    room.pubsub.fanouts.slice = 9
    clock = runtime.clock

    def slow(frame: Frame) -> None:
        clock.step(clock.after(fanout.SLICE_SECONDS))
        room.transports[0].log.append("slow")

    for transport in room.transports:
        transport.lane.send = slow
    room.broadcast("1")
    one_iteration(runtime)
    assert room.logs[0] == ["slow"]
    runtime.settle()
    assert room.logs[0] == ["slow"] * 10


def test_a_smaller_broadcast_does_not_wait_for_a_larger_one(runtime: ManualRuntime) -> None:
    room = Room(3)
    for _ in range(30):
        room.client("large")
    for _ in range(4):
        room.client("small")
    room.broadcast("1", "large")
    room.broadcast("2", "small")
    for _ in range(4):
        one_iteration(runtime)
    assert room.logs[-4:] == [["2"]] * 4
    assert sum(len(log) for log in room.logs[:30]) < 30
    runtime.settle()
    assert room.logs[:30] == [["1"]] * 30


def test_a_broadcast_to_many_actors_alone_is_over_at_once(runtime: ManualRuntime) -> None:
    pubsub, heard = PubSub(), list[object]()
    spawn(PubSubServer, (pubsub,))
    pubsub.fanouts.slice = 2

    class Listener(Actor):
        def on_receive(self, message: object) -> None:
            heard.append(message)

    for _ in range(5):
        pubsub.subscribe("a", Listener.start())
    pubsub.broadcast("a", "news")
    pubsub.broadcast("a", Broadcast("a", "event", {}))
    assert len(pubsub.fanouts) == 0
    runtime.settle()
    assert heard.count("news") == 5


# Who receives it


def test_who_joins_or_leaves_meanwhile_makes_no_difference(room: Room, runtime: ManualRuntime) -> None:
    room.broadcast("1")
    room.pubsub.unsubscribe("a", room.channels[9])
    room.channels[8].kill()
    room.client("a")
    runtime.settle()
    assert room.logs == [["1"]] * 10 + [[]]


def test_one_that_has_ended_gets_no_more(room: Room, runtime: ManualRuntime) -> None:
    room.broadcast("1")
    room.transports[9]._process.finish_killed()
    runtime.settle()
    assert room.logs == [["1"]] * 9 + [[]]
    assert room.transports[9].lane.owed is None


def test_a_client_that_cannot_be_written_to_ends_alone(room: Room, runtime: ManualRuntime) -> None:
    def fail(_frame: Frame) -> None:
        raise OSError("the handle is closed")

    probe = Probe()
    probe.monitor(room.transports[9].actor_ref)
    room.transports[9].lane.send = fail
    room.broadcast("1")
    room.push(9, "2")
    runtime.settle()
    assert isinstance(probe.assert_receive(lambda down: True).reason, Crash)
    assert room.logs == [["1"]] * 9 + [["closed"]]


# The order


@pytest.mark.parametrize("reason", [NORMAL, KILL, Crash(ValueError("x"))])
def test_the_end_of_a_connection_comes_after_it(room: Room, runtime: ManualRuntime, reason: Any) -> None:
    room.broadcast("1")
    if reason is NORMAL:
        room.transports[9].actor_ref.stop(block=False)
    else:
        room.transports[9].actor_ref.exit(reason)
    runtime.settle()
    assert room.logs[9] == (["1"] if reason is KILL else ["1", "closed"])


def test_a_suspended_client_gets_what_was_broadcast_before(room: Room, runtime: ManualRuntime) -> None:
    room.broadcast("1")
    sys.suspend(room.transports[9].actor_ref)
    runtime.settle()
    room.broadcast("2")
    runtime.settle()
    assert room.logs[9] == ["1"]
    sys.resume(room.transports[9].actor_ref)
    runtime.settle()
    assert room.logs[9] == ["1", "2"]


def test_frames_that_are_sent_while_an_owed_one_is_written_come_after_all_that_is_owed(
    room: Room, runtime: ManualRuntime
) -> None:
    transport = room.transports[9]

    def write(frame: Frame) -> None:
        transport.write(frame)
        if frame.data == b"1":
            room.push(9, "3")

    transport.lane.send = write
    room.broadcast("1")
    room.broadcast("2")
    runtime.settle()
    assert room.logs[9] == ["1", "2", "3"]


def test_broadcasts_in_progress_reach_each_client_in_their_order(room: Room, runtime: ManualRuntime) -> None:
    room.pubsub.subscribe("b", room.channels[9], room.transports[9].lane)
    for text in "1234":
        room.broadcast(text)
    room.broadcast("5", "b")
    room.push(8, "reply")
    runtime.settle()
    assert room.logs[:8] == [["1", "2", "3", "4"]] * 8
    assert room.logs[8:] == [["1", "2", "3", "4", "reply"], ["1", "2", "3", "4", "5"]]


def test_a_slice_of_one_broadcast_writes_none_of_the_later_ones(room: Room, runtime: ManualRuntime) -> None:
    for text in "123":
        room.broadcast(text)
    one_iteration(runtime)
    assert sum(len(log) for log in room.logs) == 2


def test_a_lane_that_is_not_its_actors_own_goes_by_the_mailbox(room: Room, runtime: ManualRuntime) -> None:
    transport: Any = Transport.start(room.serializers[0], None).process.actor
    transport.lane.process.bypass = None
    lane = Fastlane(transport._process, transport.serializer, transport._process.put)
    room.pubsub.subscribe("a", Caller.start(), lane)
    room.broadcast("1")
    transport.actor_ref.tell(Frame(Opcode.TEXT, b"2"))
    runtime.settle()
    assert transport.log == ["1", "2"]


STEP = st.one_of(
    st.tuples(st.just("broadcast"), st.sampled_from("ab"), st.none() | st.integers(0, 5)),
    st.tuples(st.sampled_from(["push", "mail", "cork", "pause", "watch", "leave", "close", "kill"]), st.integers(0, 5)),
    st.tuples(st.sampled_from(["settle", "iteration"])),
    st.tuples(st.just("thread"), st.sampled_from("ab"), st.integers(0, 5)),
)
TOPICS = st.sampled_from([("a",), ("b",), ("a", "b"), ("a", "a"), ()])
CLIENTS = st.lists(st.tuples(TOPICS, st.integers(0, 1)), min_size=1, max_size=6)


def play(clients: list[Any], steps: list[Any], slice_: int, *, outlet: bool) -> list[list[str]]:
    """Return what each client receives."""
    with ManualRuntime() as runtime:
        room = Room(slice_, outlet=outlet)
        for topics, form in clients:
            room.client(*topics, form=form)
        for number, step in enumerate(steps):
            take(room, runtime, str(number), *step)
        runtime.settle()
        assert len(room.pubsub.fanouts) == 0
        assert not any(transport.lane.held & OWED or transport.lane.owed for transport in room.transports)
        return room.logs


def take(room: Room, runtime: ManualRuntime, text: str, step: str, *what: Any) -> None:
    if step == "broadcast":
        room.broadcast(text, what[0], None if what[1] is None else what[1] % len(room.channels))
    elif step == "settle":
        runtime.settle()
    elif step == "iteration":
        one_iteration(runtime)
    elif step == "thread":
        client = what[1] % len(room.channels)
        in_thread(lambda: both(room, client, what[0], text))
        runtime.settle()  # a thread's messages arrive with an iteration, which takes longer with slices
    else:
        touch(room, text, step, what[0] % len(room.channels))


def both(room: Room, client: int, topic: str, text: str) -> None:
    room.broadcast(text, topic)
    room.push(client, f"{text} then")


def in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def touch(room: Room, text: str, step: str, client: int) -> None:
    transport = room.transports[client]
    lane, ref = transport.lane, transport._process.ref
    match step:
        case "push":
            send_frame(ref, Frame(Opcode.TEXT, text.encode()))
        case "mail":
            ref.send(Frame(Opcode.TEXT, text.encode()))
        case "cork" | "pause":
            reason = CORKED if step == "cork" else PAUSED
            (lane.release if lane.held & reason else lane.hold)(reason)
        case "watch":
            if ref.is_alive():
                sys.log(ref, 3)
        case "leave":
            room.pubsub.unsubscribe("a", room.channels[client])
        case "close":
            if ref.is_alive():
                ref.stop(block=False)
        case "kill":
            ref.kill()


@given(CLIENTS, st.lists(STEP, max_size=20), st.integers(1, 3), st.sampled_from([1, AT_ONCE]), st.booleans())
def test_each_client_receives_the_same_as_without_slices(
    clients: list[Any], steps: list[Any], slice_: int, many: int, outlet: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscriptions, "MANY", many)
        assert play(clients, steps, slice_, outlet=outlet) == play(clients, steps, AT_ONCE, outlet=outlet)


# The sender


def shouts(room: Room, log: list[str], *texts: str) -> list[Callable[[], None]]:
    """Return calls for a channel, each of which broadcasts."""

    def shout(text: str) -> None:
        log.append(text)
        room.broadcast(text)

    return [lambda text=text: shout(text) for text in texts]  # type: ignore[misc]  # it has a default


def test_an_actor_that_broadcasts_gets_no_further_message_until_it_is_written(
    room: Room, runtime: ManualRuntime
) -> None:
    log: list[str] = []
    for call in shouts(room, log, "1", "2"):
        room.channels[0].tell(call)
    one_iteration(runtime)
    for _ in range(4):
        one_iteration(runtime)
        assert log == ["1"]
    assert room.logs[9] == []
    runtime.settle()
    assert (log, room.logs) == (["1", "2"], [["1", "2"]] * 10)


def test_other_actors_go_on_meanwhile(room: Room, runtime: ManualRuntime) -> None:
    log: list[str] = []
    first, *_ = shouts(room, log, "1")
    room.channels[0].tell(first)
    one_iteration(runtime)
    room.channels[1].tell(lambda: log.append("other"))
    room.channels[0].tell(lambda: log.append("own"))
    one_iteration(runtime)
    assert log == ["1", "other"]
    runtime.settle()
    assert log == ["1", "other", "own"]


def test_an_async_handler_goes_on_and_its_next_message_waits(room: Room, runtime: ManualRuntime) -> None:
    log: list[str] = []

    async def handler() -> None:
        room.broadcast("1")
        room.broadcast("2")
        log.append(f"{len(room.pubsub.fanouts)} in progress")

    room.channels[0].tell(handler)
    room.channels[0].tell(lambda: log.append(f"{len(room.pubsub.fanouts)} in progress"))
    runtime.settle()
    assert log == ["2 in progress", "0 in progress"]
    assert room.logs == [["1", "2"]] * 10


@pytest.mark.parametrize("reason", [KILL, ValueError("x")])
@pytest.mark.parametrize("mail", [True, False])
def test_an_exit_signal_ends_an_actor_at_once_while_what_it_has_broadcast_is_written(
    room: Room, runtime: ManualRuntime, reason: Any, *, mail: bool
) -> None:
    room.channels[0].tell(*shouts(room, [], "1"))
    if mail:
        room.channels[0].tell(lambda: pytest.fail("it has ended"))
    one_iteration(runtime)
    one_iteration(runtime)
    room.channels[0].exit(reason)
    one_iteration(runtime)
    assert not room.channels[0].is_alive()
    assert len(room.pubsub.fanouts) == 1
    runtime.settle()
    assert room.logs == [["1"]] * 10
    assert not runtime._scheduler._paced
    assert not runtime._scheduler._parked


def test_an_actor_that_stops_as_it_broadcasts_is_not_kept(room: Room, runtime: ManualRuntime) -> None:
    def shout_and_stop() -> Stop:
        room.broadcast("1")
        return Stop(NORMAL)

    room.channels[0].tell(shout_and_stop)
    one_iteration(runtime)
    assert not room.channels[0].is_alive()
    runtime.settle()
    assert room.logs == [["1"]] * 10
    assert not runtime._scheduler._paced


def test_a_threaded_actor_is_paced_as_well(room: Room, runtime: ManualRuntime) -> None:
    log: list[str] = []

    class Ledger(ThreadedActor):
        def on_receive(self, call: Any) -> None:
            call()

    ref = Ledger.start()
    for call in shouts(room, log, "1", "2"):
        ref.tell(call)
    ref.tell(lambda: log.append(f"{len(room.pubsub.fanouts)} in progress"))
    runtime.settle()
    assert log == ["1", "2", "0 in progress"]
    assert room.logs == [["1", "2"]] * 10


def test_senders_without_turns_have_a_bounded_number_in_progress(room: Room, runtime: ManualRuntime) -> None:
    for number in range(3 * MOST):
        room.broadcast(str(number))
    assert len(room.pubsub.fanouts) == MOST
    assert [len(log) for log in room.logs] == [2 * MOST] * 10
    runtime.settle()
    assert room.logs == [[str(number) for number in range(3 * MOST)]] * 10


def test_senders_without_turns_have_a_bounded_size_in_progress(
    room: Room, runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "MOST_BYTES", 100)
    for number in range(5):
        room.broadcast(str(number) * 40)
    assert len(room.pubsub.fanouts) == 2
    room.broadcast("x" * 1000)
    assert len(room.pubsub.fanouts) == 1
    runtime.settle()
    assert [text[0] for text in room.logs[9]] == ["0", "1", "2", "3", "4", "x"]


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("end", [None, KILL])
def test_a_message_is_over_when_what_it_broadcasts_is_written(
    room: Room, runtime: ManualRuntime, kind: str, end: Any
) -> None:
    async def later() -> None:
        room.broadcast("1")

    receipt = Counted()
    room.channels[0].process.put_counted(later if kind == "async" else lambda: room.broadcast("1"), receipt)
    one_iteration(runtime)
    one_iteration(runtime)
    assert len(room.pubsub.fanouts) == 1
    if end is not None:
        room.channels[0].exit(end)
        one_iteration(runtime)
    assert receipt.times == 0
    runtime.settle()
    assert receipt.times == 1


def test_a_broadcast_is_reported_when_it_is_written(room: Room, runtime: ManualRuntime) -> None:
    reports: list[Any] = []
    clock = runtime.clock
    telemetry.attach("reports", [BROADCAST], lambda _event, measured, _about: reports.append(measured))
    try:
        room.broadcast("1")
        one_iteration(runtime)
        clock.step(clock.after(0.5))
        assert reports == []
        runtime.settle()
    finally:
        telemetry.detach("reports")
    assert reports == [{"deliveries": 10, "duration": 0.5}]


def test_a_report_that_broadcasts_finishes_what_is_above_the_bound(room: Room, runtime: ManualRuntime) -> None:
    room.pubsub.fanouts.chunk = 100
    transport = room.transports[0]

    def write(frame: Frame) -> None:
        transport.write(frame)
        if frame.data == b"first":
            for number in range(MOST + 1):
                room.broadcast(str(number))

    transport.lane.send = write
    room.broadcast("first")
    runtime.settle()
    assert room.logs == [["first", *map(str, range(MOST + 1))]] * 10


# The same per sender, for senders that are paced

CALL = st.tuples(
    st.integers(0, 5),
    st.lists(st.tuples(st.sampled_from(["a", "b", "push", "mail"]), st.integers(0, 5)), max_size=4),
    st.booleans(),
)


def talk(clients: list[Any], calls: list[Any], slice_: int) -> list[dict[str, list[str]]]:
    """Return what each client receives of each sender."""
    with ManualRuntime() as runtime:
        room = Room(slice_)
        for topics, form in clients:
            room.client(*topics, form=form)
        for number, (sender, actions, waits) in enumerate(calls):
            channel = sender % len(clients)
            room.channels[channel].tell(action_of(room, f"{channel}:{number}", actions, waits=waits))
        runtime.settle()
        return [by_sender(log) for log in room.logs]


def action_of(room: Room, text: str, actions: list[Any], *, waits: bool) -> Callable[[], object]:
    def act() -> None:
        for step, (action, client) in enumerate(actions):
            if action in {"a", "b"}:
                room.broadcast(f"{text}.{step}", action)
            else:
                touch(room, f"{text}.{step}", action, client % len(room.transports))

    async def act_later() -> None:
        act()

    return act_later if waits else act


def by_sender(log: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for text in log:
        found[text.split(":")[0]].append(text)
    return found


@given(CLIENTS, st.lists(CALL, max_size=12), st.integers(1, 3))
def test_each_client_receives_the_same_of_each_channel(clients: list[Any], calls: list[Any], slice_: int) -> None:
    assert talk(clients, calls, slice_) == talk(clients, calls, AT_ONCE)


@pytest.mark.parametrize("seed", range(30))
def test_the_order_holds_whatever_runs_first(seed: int) -> None:
    with Simulation(seed) as simulation:
        room = Room(2)
        room.clients(6)
        for number in range(4):
            for channel in range(6):
                actions = [("a", 0), ("push", (channel + number) % 6), ("a", 0)]
                room.channels[channel].tell(action_of(room, f"{channel}:{number}", actions, waits=number % 2 == 1))
        simulation.settle()
        for client, log in enumerate(room.logs):
            for sender, texts in by_sender(log).items():
                assert texts == [
                    f"{sender}:{number}.{step}"
                    for number in range(4)
                    for step in range(3)
                    if step != 1 or (int(sender) + number) % 6 == client
                ]


def test_a_finished_broadcast_leaves_nothing_behind(room: Room, runtime: ManualRuntime) -> None:
    room.broadcast("1")
    runtime.settle()
    gc.collect()
    assert not any(isinstance(each, fanout.Fanout) for each in gc.get_objects())
