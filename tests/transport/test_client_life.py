"""Whatever happens to a client, in any order: in the end it is joined, and after closing it nothing is left."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.client_world import Answers, Member, World
from transport.client.exceptions import BufferFullError, ClosedError

TOPICS = ["room:1", "room:2"]
LIMIT = 3

steps = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "connect",
                "disconnect",
                "reconnect",
                "open",
                "refuse",
                "drop",
                "join",
                "push",
                "leave",
                "ok",
                "error",
                "crash",
                "close",
                "stale",
                "advance",
            ]
        ),
        st.integers(0, 20),
    ),
    max_size=60,
)


class Life:
    """A client, the events that happen to it, and the replies that it waits for."""

    def __init__(self) -> None:
        self.world = World(max_buffered=LIMIT)
        self.members: list[Member] = []
        self.joins: list[Answers] = []
        self.pushes: list[Answers] = []

    def happen(self, what: str, number: int) -> None:
        match what:
            case "connect" | "disconnect" | "reconnect":
                getattr(self.world.socket, what)()
                self.world.settle()
            case "open" | "refuse":
                getattr(self.world, what)()
            case "drop":
                self.world.drop(1000 if number > 15 else 1006)
            case "advance":
                self.world.advance(number)
            case "join":
                self.members.append(self.world.channel(TOPICS[number % 2]))
                self.joins.append(self.members[-1].join())
            case "ok" | "error" if self.world.sent:
                self.world.answer(self.world.sent[-1 - number % len(self.world.sent)], what)
            case _ if self.members:
                self.happen_to(self.members[number % len(self.members)], what)

    def happen_to(self, member: Member, what: str) -> None:
        channel = member.channel
        match what:
            case "push":
                self.push(member)
            case "leave":
                self.pushes.append(member.leave())
            case "crash":
                self.world.say(channel.join_ref, None, channel.topic, "phx_error", {})
            case "close":
                self.world.say(channel.join_ref, None, channel.topic, "phx_close", {})
            case "stale":
                self.world.say("0", None, channel.topic, "phx_close", {})

    def push(self, member: Member) -> None:
        try:
            self.pushes.append(member.push("event"))
        except BufferFullError:
            assert len(member.channel.buffer) == LIMIT
        except ClosedError:
            assert member.state in {"closed", "leaving"}

    def recover(self) -> None:
        """Make the server available, and reply to everything."""
        self.world.open()
        self.world.advance(0)
        for _ in range(3):
            for message in list(self.world.sent):
                self.world.answer(message)
            # By now all errored channels have tried to rejoin.
            self.world.advance(10)
        for message in list(self.world.sent):
            self.world.answer(message)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_in_the_end_all_is_well(script: list[tuple[str, int]]) -> None:
    life = Life()
    for step in script:
        life.happen(*step)
        assert all(len(member.channel.buffer) <= LIMIT for member in life.members)
    life.recover()
    states = {member.channel: member.state for member in life.members}
    assert {states[channel] for channel in life.world.socket.channels} <= {"joined"}
    assert all(states[channel] == "closed" for channel in states if channel not in life.world.socket.channels)
    topics = [channel.topic for channel in life.world.socket.channels]
    assert len(topics) == len(set(topics)), "a topic is joined once"
    refs = [message.ref for message in life.world.sent]
    assert len(refs) == len(set(refs))

    life.world.socket.close_channels()
    life.world.socket.disconnect()
    life.world.settle()
    assert (life.world.socket.channels, life.world.timers) == ([], {})
    assert all(life.joins), "each join was answered at least once"
    assert [len(answers) for answers in life.pushes] == [1] * len(life.pushes)
    assert all([event for event, _ in member.heard].count("phx_close") == 1 for member in life.members)
