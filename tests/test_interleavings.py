"""The project's own trickiest moments, each in a thousand orders of events: real transports, channels and PubSub, no wire.

What must be so whatever the order is said by a function for each moment. A failure prints the seed that replays it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.message import Broadcast, Frame, Reply, error, ok
from actors.exits import SHUTDOWN, ExitReason, MonitorRef, Stop
from actors.lowlevel import spawn
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.testing.simulation import Simulation, explore
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from tests.live import WAIT
from transport.carriers.carrier import Disconnected
from transport.carriers.intake import Intake
from transport.endpoint import Endpoint
from transport.limits import Limits
from transport.protocol.serializer import V2JSONSerializer
from transport.socket import Routes, Socket
from transport.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.lowlevel import Process
    from actors.ref import ActorRef

ROOT = Path(__file__).parents[1]
TOPIC = "room:1"
WAYS = ("now", "call", "sleep", "refuse")


class Doorman(Actor):
    """Whom a channel asks whether somebody may come in."""

    def on_receive(self, message: Any) -> bool:
        return True


class RoomChannel(Channel):
    """Lets clients in, in the way they ask for, and writes down whom it let in and how that ended."""

    def join(self, topic: str, payload: Any) -> Any:
        self.log: list[tuple[str, Any]] = self.socket.assigns["log"]
        match payload["way"]:
            case "now":
                return self.let_in()
            case "refuse":
                return error({"reason": "no"})
            case way:
                return self.join_later(way)

    async def join_later(self, way: str) -> Reply:
        if way == "call":
            await self.socket.assigns["doorman"].call("may I?")
        else:
            await asyncio.sleep(1.0)
        return self.let_in()

    def let_in(self) -> Reply:
        self.log.append(("let in", self.pid))
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        return ok(payload)

    def terminate(self, reason: ExitReason) -> None:
        if self.join_payload["way"] != "refuse":
            self.log.append(("ended", self.pid))


class RoomSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it


ENDPOINT, ROUTES, SERIALIZER = Endpoint({}, port=None), Routes(RoomSocket), V2JSONSerializer()


class Wire:
    """The carrier of a transport: it keeps what is written, and how it ended."""

    def __init__(self) -> None:
        self.frames: list[list[Any]] = []
        self.ends: list[int] = []
        self.late = 0
        self.intake = Intake(Limits(), lambda: None)
        self.dropped = 0

    def attach(self, transport: Process) -> None:
        """Nothing to do: what clients send goes straight to the transport actor."""

    def send(self, frame: Frame) -> None:
        self.late += bool(self.ends)
        self.frames.append(json.loads(frame.data))

    def close(self, code: int) -> None:
        self.ends.append(code)

    def abort(self) -> None:
        if not self.ends:
            self.ends.append(1006)

    def refs(self, event: str) -> Counter[str]:
        """Count the frames of an event by their join_ref, replies by their ref."""
        return Counter(frame[1] if event == "phx_reply" else frame[0] for frame in self.frames if frame[3] == event)

    def replies(self, status: str) -> list[str]:
        """Return the refs of what was answered with a status."""
        return [frame[1] for frame in self.frames if frame[3] == "phx_reply" and frame[4]["status"] == status]


class Client(Actor):
    """Sends what a client has to say, one thing a turn."""

    def __init__(self, transport: ActorRef[Any], lines: Sequence[list[Any]]) -> None:
        self.transport, self.lines = transport, list(lines)

    def on_start(self) -> None:
        self.send(self, "next")

    def on_receive(self, message: Any) -> Stop | None:
        if not self.lines:
            return Stop(SHUTDOWN)
        self.transport.send(json.dumps(self.lines.pop(0)))
        self.send(self, "next")
        return None


class World:
    """PubSub under its supervisor, a doorman, and the connection of one client."""

    def __init__(self, simulation: Simulation) -> None:
        self.pubsub, self.wire, self.log = PubSub(), Wire(), list[tuple[str, Any]]()
        spec = ChildSpec(PubSubServer, (self.pubsub,), id="pubsub", name="pubsub")
        simulation.run(spawn(Supervisor, ([spec],), label="system").started())
        self.doorman = Doorman.start()
        self.transport = self.connect(self.wire)

    def connect(self, wire: Wire) -> ActorRef[Any]:
        socket = RoomSocket(ENDPOINT)
        socket.assigns.update(log=self.log, doorman=self.doorman)
        return spawn(Transport, (wire, socket, ROUTES, SERIALIZER, self.pubsub), label="transport")

    @property
    def server(self) -> PubSubServer:
        assert self.pubsub.server is not None
        return self.pubsub.server

    def watched(self) -> list[Process]:
        """Return whom the actor of PubSub monitors."""
        return list(self.server._monitors)


def living(simulation: Simulation, kind: type[Actor]) -> list[ActorRef[Any]]:
    return [ref for ref in simulation.actors if issubclass(ref.actor_class, kind)]


# A second join while the first is still being answered


def rejoining(simulation: Simulation) -> list[list[Any]]:
    """Draw what a client says that joins one topic again and again, pushes under its newest join, and perhaps leaves."""
    random, lines = simulation.random, list[list[Any]]()
    for join in range(random.randint(2, 4)):
        ref = f"join {join}"
        lines.append([ref, ref, TOPIC, "phx_join", {"way": random.choice(WAYS)}])
        lines += [[ref, f"echo {join}.{n}", TOPIC, "echo", {"n": n}] for n in range(random.randint(0, 2))]
        if random.random() < 0.25:
            lines.append([ref, f"leave {join}", TOPIC, "phx_leave", {}])
    return lines


def duplicate_joins(simulation: Simulation) -> tuple[World, list[list[Any]]]:
    world, lines = World(simulation), rejoining(simulation)
    Client.start(world.transport, lines)
    simulation.advance(30)
    check_answers(world.wire, lines)
    check_ends(world, simulation)
    assert world.transport.is_alive()
    return world, lines


def check_answers(wire: Wire, lines: list[list[Any]]) -> None:
    """Each join is answered once; nothing else more than once, and what follows the last join or leave once."""
    answered = wire.refs("phx_reply")
    said = [line[1] for line in lines]
    assert set(answered) <= set(said)
    assert max(answered.values()) == 1
    assert {ref for ref in said if ref.startswith("join")} <= set(answered)


def check_ends(world: World, simulation: Simulation) -> None:
    """Each join that was let in ends once for the client, all but the one that lives.

    After that nothing more comes of it, but the socket's own answer to a client that leaves what has ended.
    """
    wire = world.wire
    rooms = living(simulation, RoomChannel)
    current = [room.process.actor.join_ref for room in rooms if isinstance(room.process.actor, RoomChannel)]
    let_in = {ref for ref in wire.replies("ok") if ref.startswith("join")}
    ends = wire.refs("phx_close") + wire.refs("phx_error")
    assert ends == Counter(let_in - set(current))
    for number, (join_ref, _, _, event, _) in enumerate(wire.frames):
        if event in {"phx_close", "phx_error"}:
            later = [frame[1] for frame in wire.frames[number + 1 :] if frame[0] == join_ref]
            assert [ref for ref in later if not ref.startswith("leave")] == []
    assert world.pubsub.subscribers(TOPIC) == rooms
    assert world.watched() == [room.process for room in rooms]
    assert len(current) <= 1


def test_a_join_while_another_is_answered() -> None:
    def scenario(simulation: Simulation) -> None:
        world, lines = duplicate_joins(simulation)
        assert not world.wire.refs("phx_error")
        *_, last = [line for line in lines if line[3] in {"phx_join", "phx_leave"}]
        rooms = living(simulation, RoomChannel)
        assert len(rooms) == (last[3] == "phx_join" and last[4]["way"] != "refuse")
        after = [line[1] for line in lines[lines.index(last) + 1 :]]
        assert set(after) <= set(world.wire.refs("phx_reply"))
        pids = Counter(pid for what, pid in world.log if what == "let in")
        ended = Counter(pid for what, pid in world.log if what == "ended")
        assert pids - ended == Counter(room.pid for room in rooms)
        assert not ended - pids

    explore(scenario)


def test_a_join_while_another_is_answered_and_channels_and_their_supervisor_are_slow_or_killed() -> None:
    def scenario(simulation: Simulation) -> None:
        simulation.delays(RoomChannel, steps=15, probability=0.1, limit=2)
        simulation.delays(DynamicSupervisor, steps=15, probability=0.1, limit=2)
        simulation.kills(RoomChannel, probability=0.05)
        simulation.kills(DynamicSupervisor, probability=0.03)
        world, _ = duplicate_joins(simulation)
        kills = sum("is killed by a fault" in line for line in simulation.trace)
        assert world.wire.refs("phx_error").total() <= kills

    explore(scenario)


# The transport's death while its channels join

DEATHS = ("the client leaves", "killed", "shut down", "crashes")


def transport_deaths(simulation: Simulation) -> None:
    world, random = World(simulation), simulation.random
    topics = [f"room:{number}" for number in range(4)]
    lines = [[topic, topic, topic, "phx_join", {"way": random.choice(WAYS)}] for topic in topics]
    Client.start(world.transport, lines)
    death = random.choice(DEATHS)
    simulation.delays(lambda ref: ref != world.transport, steps=20, probability=0.1)
    simulation.fault(death, lambda: end_transport(world.transport, death), probability=0.06)
    simulation.settle()
    end_transport(world.transport, death)
    simulation.settle()
    if rooms := living(simulation, RoomChannel):
        assert death != "shut down"
        check_what_was_received_is_handled(simulation, world, rooms)
    check_nothing_is_left(simulation, world)


def check_what_was_received_is_handled(simulation: Simulation, world: World, rooms: list[ActorRef[Any]]) -> None:
    """Only joins that take a second are waited for, and only that long; they are answered if there still is a transport."""
    waited_for = {room.process.label for room in rooms} if world.transport.is_alive() else set()
    simulation.advance(1.0)
    assert waited_for <= set(world.wire.replies("ok"))


def end_transport(transport: ActorRef[Any], death: str) -> bool:
    if not transport.is_alive():
        return False
    match death:
        case "the client leaves":
            transport.send(Disconnected(1001))
        case "killed":
            transport.kill()
        case "shut down":
            transport.exit(SHUTDOWN)
        case "crashes":
            transport.exit(RuntimeError("on purpose"))
    return True


def check_nothing_is_left(simulation: Simulation, world: World) -> None:
    """The connection has ended once, and with it all that was its own: channels, subscriptions, monitors, timers."""
    assert {ref.actor_class for ref in simulation.actors} == {Supervisor, PubSubServer, Doorman}
    assert (len(world.wire.ends), world.wire.late) == (1, 0)
    assert (world.pubsub.topics(), world.watched()) == ([], [])
    assert simulation.clock.pending() == 0
    assert max(world.wire.refs("phx_reply").values(), default=0) <= 1
    assert not world.wire.refs("phx_close") + world.wire.refs("phx_error")
    pids = Counter(pid for what, pid in world.log if what == "let in")
    assert Counter(pid for what, pid in world.log if what == "ended") == pids
    assert max(pids.values(), default=0) <= 1


def test_the_transport_dies_while_its_channels_join() -> None:
    explore(transport_deaths)


# PubSub is started anew while others broadcast, subscribe and die

NUMBERS = list(range(6))


class Listener(Actor):
    """Subscribes, once or at its second turn for a while only, and keeps what comes."""

    def __init__(self, pubsub: PubSub, *, passing: bool) -> None:
        self.pubsub, self.passing = pubsub, passing
        self.got: list[tuple[str, int]] = []

    def on_start(self) -> None:
        if self.passing:
            self.send(self, "subscribe")
        else:
            self.pubsub.subscribe(TOPIC, self.actor_ref)

    def on_receive(self, message: Any) -> None:
        if message == "subscribe":
            self.pubsub.subscribe(TOPIC, self.actor_ref)
        elif message == "unsubscribe":
            self.pubsub.unsubscribe(TOPIC, self.actor_ref)
        else:
            self.keep(message)

    def keep(self, broadcast: Broadcast) -> None:
        payload = cast("dict[str, Any]", broadcast.payload)
        self.got.append((payload["from"], payload["n"]))
        if self.passing and len(self.got) == 5:
            self.send(self, "unsubscribe")


class Passing(Listener):
    """One that may be killed."""


class Speaker(Actor):
    """Broadcasts its numbers, one a turn."""

    def __init__(self, pubsub: PubSub, name: str) -> None:
        self.pubsub, self.name = pubsub, name

    def on_start(self) -> None:
        self.send(self, 0)

    def on_receive(self, number: int) -> Stop | None:
        if number == len(NUMBERS):
            return Stop(SHUTDOWN)
        self.pubsub.broadcast(TOPIC, Broadcast(TOPIC, "said", {"from": self.name, "n": number}))
        self.send(self, number + 1)
        return None


def pubsub_restarts(simulation: Simulation) -> None:
    world = World(simulation)
    world.transport.send(json.dumps(["1", "1", TOPIC, "phx_join", {"way": "now"}]))
    simulation.settle()
    steady = [Listener.start(world.pubsub, passing=False) for _ in range(2)]
    passing = [Passing.start(world.pubsub, passing=True) for _ in range(4)]
    simulation.kills(PubSubServer, probability=0.1, limit=3)
    simulation.kills(Passing, probability=0.05, limit=2)
    simulation.delays(PubSubServer, steps=20, probability=0.05)
    for name in "ab":
        Speaker.start(world.pubsub, name)
    simulation.settle()
    check_everything_was_heard(world, [said(ref) for ref in steady])
    check_what_was_heard_has_no_gaps([said(ref) for ref in passing if ref.is_alive()])
    check_table(simulation, world)
    everybody: list[ActorRef[Any]] = [*steady, *passing, world.transport]
    for ref in everybody:
        ref.kill()
    simulation.settle()
    assert (world.pubsub.topics(), world.watched()) == ([], [])


def said(ref: ActorRef[Any]) -> list[tuple[str, int]]:
    assert isinstance(ref.process.actor, Listener)
    return ref.process.actor.got


def by_speaker(heard: list[tuple[str, int]]) -> list[list[int]]:
    return [[number for name, number in heard if name == speaker] for speaker in "ab"]


def check_everything_was_heard(world: World, heard: list[list[tuple[str, int]]]) -> None:
    """Whoever was there all the time, behind a wire or not, has heard all of each speaker once, in order."""
    frames = [frame[4] for frame in world.wire.frames if frame[3] == "said"]
    for got in [*heard, [(frame["from"], frame["n"]) for frame in frames]]:
        assert by_speaker(got) == [NUMBERS, NUMBERS]


def check_what_was_heard_has_no_gaps(heard: list[list[tuple[str, int]]]) -> None:
    """Whoever came later, and perhaps went, has heard a part without gaps or doubles."""
    for got in heard:
        for numbers in by_speaker(got):
            assert numbers == NUMBERS[min(numbers, default=0) :][: len(numbers)]


def check_table(simulation: Simulation, world: World) -> None:
    """The table has those who live and have not unsubscribed, once each; the new actor monitors each, once."""
    rooms, listeners = living(simulation, RoomChannel), living(simulation, Listener)
    subscribed = {ref for ref in listeners if not (ref.actor_class is Passing and len(said(ref)) >= 5)}
    subscribers = world.pubsub.subscribers(TOPIC)
    assert len(subscribers) == len(set(subscribers))
    assert set(subscribers) == subscribed | set(rooms)
    assert sorted(process.number for process in world.watched()) == sorted(ref.process.number for ref in subscribers)
    for ref in subscribers:
        monitors = [watcher for watcher in ref.process.watchers or () if isinstance(watcher, MonitorRef)]
        watchers = [cast("Process", monitor.watcher) for monitor in monitors]
        assert [each for each in watchers if each.actor_class is PubSubServer] == [world.server._process]


def test_pubsub_is_started_anew_while_others_broadcast() -> None:
    explore(pubsub_restarts)


# All of it is the same once more

PRINT = """
from tests.test_interleavings import traces
print("\\n".join(traces()))
"""


def traces() -> list[str]:
    steps: list[str] = []
    for scenario in (duplicate_joins, transport_deaths, pubsub_restarts):
        with Simulation(7) as simulation:
            scenario(simulation)
            steps += simulation.trace
    return steps


def test_the_steps_of_a_seed_are_the_same_in_a_process_that_hashes_otherwise() -> None:
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-c", PRINT], env=env, capture_output=True, text=True, check=True, timeout=4 * WAIT
    )
    assert run.stdout.splitlines() == "\n".join(traces()).splitlines()
