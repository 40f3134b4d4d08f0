"""Recovery in ten thousand orders of events: clients that come and go, read slowly and join twice, while the history crashes.

Whatever the order: what a client gets is what was broadcast from where it was, each once and in order, or it was told that it
has not recovered. The clients follow the rules of docs/recovery.md, and are told nothing else.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
import pytest

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.message import Broadcast, Frame, Reply, ok
from actors.exits import SHUTDOWN, Stop
from actors.history.history import History
from actors.history.memory_history import MemoryHistory
from actors.lowlevel import spawn
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.testing.simulation import Simulation, explore
from supervisors.child_spec import ChildSpec
from supervisors.supervisor import Supervisor
from transport.carriers.carrier import Disconnected
from transport.carriers.intake import Intake
from transport.carriers.outbox import Outbox, OutboxPolicy
from transport.endpoint import Endpoint
from transport.limits import Limits
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer
from transport.socket import Routes, Socket
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.channels.message import Serializer
    from actors.history.backlog import Backlog
    from actors.lowlevel import Process
    from actors.ref import ActorRef

TOPIC = "room:1"
HISTORY = History(size=5, ttl=20.0, events=("said", "heard"))
RECORDED = {"said", "heard"}
SKIPPED = "phx_skip"


class RoomChannel(Channel):
    """Broadcasts what its client asks for; pushes something after each join, which must not overtake what was missed."""

    history = HISTORY

    def join(self, topic: str, payload: Any) -> Reply:
        assert "recover" not in payload
        self.send(self, "after join")
        return ok()

    def handle_info(self, message: Any) -> None:
        self.push("welcome", {})

    def handle_in(self, event: str, payload: Any) -> Reply:
        self.socket.assigns["world"].say(self, *payload["say"])
        return ok()


class FilterChannel(RoomChannel):
    """Sends its client only every other one of the messages that it intercepts."""

    intercept = ("heard",)

    def handle_out(self, event: str, payload: Any) -> Any:
        if payload["n"] % 2:
            self.push(event, payload)


class LateChannel(FilterChannel):
    """Takes its time for them."""

    async def handle_out(self, event: str, payload: Any) -> None:
        await self.socket.assigns["world"].doorman.call("may I?")
        super().handle_out(event, payload)


CHANNELS: list[type[Channel]] = [RoomChannel, RoomChannel, FilterChannel, LateChannel]


class Doorman(Actor):
    def on_receive(self, message: Any) -> bool:
        return True


class Rooms(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it


class Filters(Socket):
    channels = {"room:*": FilterChannel}  # noqa: RUF012


class LateOnes(Socket):
    channels = {"room:*": LateChannel}  # noqa: RUF012


ENDPOINT = Endpoint({"/socket": Rooms}, port=None)
KINDS: list[type[Socket]] = [Rooms, Rooms, Filters, LateOnes]
ROUTES = {kind: Routes(kind) for kind in KINDS}


class Wire:
    """The carrier of one connection: what its client does not read waits in a real outbox."""

    def __init__(self, client: Client) -> None:
        self.client, self.is_open = client, True
        self.intake, self.dropped = Intake(Limits(), lambda: None), 0
        self.outbox = Outbox(OutboxPolicy(), lambda size: None)

    def attach(self, transport: Process) -> None:
        """Nothing to do: what clients send goes straight to the transport actor."""

    def send(self, frame: Frame) -> None:
        assert self.outbox.put(frame, len(frame.data))
        self.drain()

    def send_backlog(self, backlog: Backlog) -> None:
        self.outbox.put_backlog(backlog)
        self.drain()

    def drain(self, most: int = 1_000_000) -> None:
        while self.is_open and most > 0 and not self.client.is_slow and (frame := self.outbox.pop()) is not None:
            most -= 1
            self.client.read(frame)

    def close(self, code: int) -> None:
        self.is_open = False

    def abort(self) -> None:
        self.is_open = False


class Position(NamedTuple):
    epoch: str
    offset: int


class World:
    """PubSub under its supervisor, and all that was ever said, by number and by position."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation, self.store = simulation, MemoryHistory()
        self.pubsub = PubSub(history=self.store)
        spec = ChildSpec(PubSubServer, (self.pubsub,), id="pubsub", name="pubsub")
        self.top = spawn(Supervisor, ([spec],), label="system")
        simulation.run(self.top.started())
        self.pubsub.attach_audience(ENDPOINT, self.top.process)
        self.doorman = Doorman.start()
        self.said = self.crashes = 0
        self.is_healed = False
        self.truth: dict[Position, int] = {}
        self.own: dict[int, int] = {}

    def crash_history(self) -> bool:
        """Kill what the histories belong to; return False if it is too late."""
        if not self.is_healed:
            self.crashes += 1
            assert self.pubsub.server is not None
            self.pubsub.server.actor_ref.kill()
        return not self.is_healed

    def say(self, channel: Channel | None, way: str, event: str) -> None:
        """Broadcast the next number, and find out where the history has put it."""
        self.said += 1
        before, payload = self.store.counts.recorded, {"n": self.said}
        if channel is None:
            self.pubsub.broadcast(TOPIC, Broadcast(TOPIC, event, payload))
        elif way == "broadcast":
            channel.broadcast(event, payload)
        else:
            self.own[self.said] = channel.socket.assigns["client"]
            channel.broadcast_from(event, payload)
        if self.store.counts.recorded > before:
            self.truth[self.last()] = self.said

    def last(self) -> Position:
        """Return where the topic stands."""
        log = self.store.logs.use(TOPIC, HISTORY, self.simulation.clock.now())
        return Position(log.epoch, log.last)


class Client(Actor):
    """One client: it does one thing a turn, and reads what comes by the rules.

    `runs` are the stretches in which it has recovered: where each began, and the offsets it has seen, with the number of what
    was broadcast, None for an offset alone.
    """

    def __init__(self, world: World, number: int, steps: int) -> None:
        self.world, self.number, self.steps = world, number, steps
        self.random = world.simulation.random
        kind = self.random.choice(KINDS)
        self.kind, self.is_v1 = kind, self.random.random() < 0.25
        self.is_slow = self.was_slow = False
        self.joins = 0
        self.position: Position | None = None
        self.asked: dict[str, Position | None] = {}
        self.runs: list[tuple[Position, list[tuple[int, int | None]]]] = []
        self.owed = 0
        self.expected: int | None = None
        self.gaps = 0
        self.wire: Wire | None = None
        self.transport: ActorRef[Any] | None = None

    def on_start(self) -> None:
        self.send(self, "step")

    def on_receive(self, message: Any) -> Stop | None:
        if message == "join":
            self.join()
            return None
        if not self.steps:
            return None
        self.steps -= 1
        self.step()
        self.send_after(self.random.choice((0.0, 0.0, 0.0, 1.0, 8.0)), "step")
        return None

    def step(self) -> None:
        match self.random.randrange(10):
            case _ if self.wire is None:
                self.connect()
            case 0:
                self.cut()
            case 1:
                self.join()
            case 2 | 3:
                self.read_slowly()
            case 4:
                self.world.say(None, "broadcast", self.random.choice(("said", "heard", "typing")))
            case _:
                way = self.random.choice(("broadcast", "broadcast", "from"))
                self.push("say", {"say": [way, self.random.choice(("said", "said", "heard", "typing"))]})

    def read_slowly(self) -> None:
        self.is_slow = not self.is_slow
        self.was_slow |= self.is_slow
        if self.wire is not None:
            self.wire.drain()

    # Its side of the protocol

    def connect(self) -> None:
        socket = self.kind(ENDPOINT)
        socket.assigns.update(world=self.world, client=self.number)
        serializer: Serializer = V1JSONSerializer() if self.is_v1 else V2JSONSerializer()
        self.wire = Wire(self)
        self.transport = spawn(
            Transport,
            (self.wire, socket, ROUTES[self.kind], serializer, self.world.pubsub),
            label=f"client {self.number}",
        )
        self.join()

    def cut(self) -> None:
        assert self.wire is not None
        assert self.transport is not None
        self.wire.is_open = False
        self.transport.send(Disconnected(1006))
        self.wire, self.transport, self.owed, self.expected = None, None, 0, None

    def join(self) -> None:
        if self.transport is None:
            return
        self.joins += 1
        ref = str(self.joins)
        self.asked[ref] = self.position
        recover = True if self.position is None else self.position._asdict()
        self.write(ref, "phx_join", {"recover": recover})

    def push(self, event: str, payload: Any) -> None:
        self.write("push", event, payload)

    def write(self, ref: str, event: str, payload: Any) -> None:
        assert self.transport is not None
        if self.is_v1:
            message: Any = {"topic": TOPIC, "event": event, "payload": payload, "ref": ref}
        else:
            message = [None if event != "phx_join" else ref, ref, TOPIC, event, payload]
        self.transport.send(msgspec.json.encode(message).decode())

    def read(self, frame: Frame) -> None:
        message = msgspec.json.decode(frame.data)
        if self.is_v1:
            ref, event, payload = message["ref"], message["event"], message["payload"]
        else:
            _, ref, _, event, payload = message
        if event == "phx_reply" and ref in self.asked:
            assert not self.owed
            self.joined(self.asked.pop(ref), payload["response"]["recover"])
        elif isinstance(ref, str) and ref.startswith("@"):
            self.numbered(int(ref[1:]), None if event == SKIPPED else payload["n"])
        elif event != "phx_close" or not self.owed:
            assert not self.owed, f"{event} comes before what was missed"

    def joined(self, asked: Position | None, recover: dict[str, Any]) -> None:
        assert recover.keys() == {"epoch", "offset", "recovered", "count"}
        if recover["recovered"]:
            assert asked is not None
            assert recover["epoch"] == asked.epoch
            assert recover["offset"] == asked.offset + recover["count"]
            self.owed, self.expected = recover["count"], asked.offset + 1
        else:
            assert recover["count"] == 0
            self.position = Position(recover["epoch"], recover["offset"])
            self.runs.append((self.position, []))
            self.owed, self.expected = 0, recover["offset"] + 1

    def numbered(self, offset: int, number: int | None) -> None:
        """Take a broadcast if it is the next one; what was had already came before the answer to a join."""
        if self.owed:
            assert offset == self.expected
            self.owed -= 1
        if offset != self.expected:
            self.gaps += 1
        self.expected = offset + 1
        assert self.position is not None
        if offset == self.position.offset + 1:
            self.position = Position(self.position.epoch, offset)
            self.runs[-1][1].append((offset, number))
        elif offset > self.position.offset + 1 or self.is_of_another_epoch():
            self.send(self, "join")

    def is_of_another_epoch(self) -> bool:
        log = self.world.store.logs.get(TOPIC)
        assert self.position is not None
        return log is None or log.epoch != self.position.epoch


def recoveries(simulation: Simulation) -> None:
    world, random = World(simulation), simulation.random
    if random.random() < 0.4:
        simulation.fault("the history crashes", world.crash_history, probability=0.02, limit=2)
    simulation.delays(RoomChannel, steps=10, probability=0.02, limit=2)
    refs = [Client.start(world, number, random.randint(4, 11)) for number in range(random.randint(1, 3))]
    clients = [cast("Client", ref.process.actor) for ref in refs]
    simulation.advance(random.choice((5.0, 60.0)))
    heal(simulation, world, clients)
    for client in clients:
        check(world, client)
    for client in clients:
        assert client.transport is not None
        client.transport.exit(SHUTDOWN)
    simulation.settle()
    assert world.pubsub.topics() == []


def heal(simulation: Simulation, world: World, clients: list[Client]) -> None:
    """Let all read and be connected; after one more broadcast each knows where the topic stands."""
    world.is_healed = True
    simulation.advance(0.1)
    for client in clients:
        client.steps = 0
        client.is_slow = False
        if client.wire is None:
            client.connect()
        else:
            client.wire.drain()
    simulation.settle()
    world.say(None, "broadcast", "said")
    simulation.settle()
    for client in clients:
        client.join()
    simulation.settle()


def check(world: World, client: Client) -> None:
    """What each run has is what was said, from where it began, without a hole, except what the client has sent itself."""
    assert client.position == world.last()
    assert client.gaps == 0 or world.crashes or client.was_slow
    for (epoch, start), got in client.runs:
        assert [offset for offset, _ in got] == list(range(start + 1, start + 1 + len(got)))
        for offset, number in got:
            said = world.truth.get(Position(epoch, offset))
            if said is None:
                # It was at 0 when the history crashed: then another epoch has gone on where it was.
                assert world.crashes
                break
            assert number == said or (number is None and is_left_out(world, client, said))


def is_left_out(world: World, client: Client, said: int) -> bool:
    """Return whether a client may get the offset alone: it has said it itself, or its channel leaves it out."""
    return world.own.get(said) == client.number or (client.kind is not Rooms and not said % 2)


@pytest.mark.parametrize("part", range(10))
def test_what_a_client_gets_is_whole_or_it_is_told(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The texts of epochs are drawn by chance, and would be different when a failure is replayed.
    runs = count()
    monkeypatch.setattr("actors.history.topic_logs.secrets.token_urlsafe", lambda _: f"run {next(runs)}")
    explore(recoveries, seeds=range(part * 1000, part * 1000 + 1000))
