"""Random conversations of clients with a server, and what must be so in all of them (see `test_conversations.py`).

A script is made from a seed, without a server: what a client writes, which of its messages share a TCP segment, how its
connection ends, and what it must have received by then. Where two orders of events are possible nothing is certain, as for
what is behind a crash in a mailbox.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, NamedTuple

TOPICS = ("room:1", "room:2")
UNMATCHED = {"status": "error", "response": {"reason": "unmatched topic"}}
FULL = {"status": "error", "response": {"reason": "full"}}
TEXT, PING, PONG, CLOSE, RESERVED = 0x81, 0x89, 0x8A, 0x88, 0x83

# How a connection ends, and the close code that answers it; None if no client is left to read it, or if any will do.
ENDS = {"close": 1000, "malformed": 1011, "reserved": 1002, "eof": None, "reset": None, "kick": None}
# Before these the client waits for a pong: the server has then read all that it wrote.
FROM_OUTSIDE = ("reset", "kick")


class Step(NamedTuple):
    """A frame that a client sends."""

    first: int
    data: bytes


LAST_FRAMES = {"close": Step(CLOSE, b"\x03\xe8"), "malformed": Step(TEXT, b"{"), "reserved": Step(RESERVED, b"")}


class Write(NamedTuple):
    """Frames that share a TCP segment."""

    steps: list[Step]
    until: Settled | None = None
    """What the client waits for before it goes on."""


class Settled(NamedTuple):
    """A moment in a script at which all that was sent before has been handled."""

    ref: int
    """The last one that was used."""
    exits: dict[str, int]
    """How many channels have ended by then, by topic."""


class Received(NamedTuple):
    """A text that a client has received, as a message."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: Any


@dataclass
class Push:
    """A message whose answer is known, unless something takes it away (`certain` is then False)."""

    ref: str
    topic: str
    join_ref: str | None
    answer: Any
    shout: str | None = None
    is_later: bool = False
    by_transport: bool = False
    certain: bool = True
    shout_certain: bool = True


@dataclass
class Script:
    """What one client does, in writes of one TCP segment each, and what must come of it."""

    name: str
    version: str
    polls: bool = False
    """Whether it is a client of long polling: it has neither control frames nor a close frame."""
    writes: list[Write] = field(default_factory=list)
    pushes: dict[str, Push] = field(default_factory=dict)
    pongs: list[str] = field(default_factory=list)
    end: str = "eof"

    def encode(self, join_ref: str | None, ref: str, topic: str, event: str, payload: Any) -> Step:
        """Return a message as this client's version writes it."""
        message: Any = [join_ref, ref, topic, event, payload]
        if self.version == "1.0.0":
            message = dict(zip(("join_ref", "ref", "topic", "event", "payload"), message, strict=True))
        return Step(TEXT, json.dumps(message, ensure_ascii=False).encode())

    def decode(self, text: str) -> Received:
        """Read a message of the server."""
        message = json.loads(text)
        if self.version == "2.0.0":
            return Received(*message)
        return Received(message.get("join_ref"), message["ref"], message["topic"], message["event"], message["payload"])


class Writer:
    """Makes the script of a client from random numbers; it knows what each message must come to."""

    def __init__(self, name: str, random: Random, *, polls: bool = False) -> None:
        self.random = random
        self.script = Script(name, "2.0.0" if polls else random.choice(["2.0.0", "2.0.0", "1.0.0"]), polls)
        self.joined: dict[str, str] = {}
        # Topics whose channel is about to end: whether it still handles a message depends on which is faster.
        self.doubtful: set[str] = set()
        self.unsettled: list[Push] = []
        self.exits: Counter[str] = Counter()
        self.last_ref = 0
        self._shouts = count(1)

    def write(self) -> Script:
        """Return the script."""
        for _ in range(self.random.randint(1, 6)):
            steps = [step for _ in range(self.random.randint(1, 5)) for step in self.some_step()]
            self.script.writes.append(Write(steps))
            if self.random.random() < 0.3:
                self.settle()
        self.end("kick" if self.script.polls else self.random.choice(list(ENDS)))
        return self.script

    def some_step(self) -> Iterator[Step]:
        topic = self.random.choice(TOPICS)
        kinds = ["heartbeat", "unknown"] if self.script.polls else ["heartbeat", "ping", "unknown"]
        if topic not in self.joined and topic not in self.doubtful:
            kinds += ["join"] * 6 + ["refused", "push"]
        else:
            kinds += ["push"] * 12 + ["leave", "crash", "stop", "join"]
        return iter(getattr(self, self.random.choice(kinds))(topic))

    # The kinds of steps

    def heartbeat(self, _topic: str) -> list[Step]:
        return [self.asked(None, "phoenix", "heartbeat", {}, {"status": "ok", "response": {}}, by_transport=True)]

    def unknown(self, _topic: str) -> list[Step]:
        return [self.asked(None, "nothing:here", "echo", {}, UNMATCHED, by_transport=True)]

    def ping(self, _topic: str) -> list[Step]:
        data = f"{self.script.name}.{len(self.script.pongs)}"
        self.script.pongs.append(data)
        return [Step(PING, data.encode())]

    def join(self, topic: str) -> list[Step]:
        ref = self.ref()
        for push in self.unsettled:
            # The first channel ends at once: what waited for it is lost.
            if push.topic == topic and not push.by_transport:
                push.certain = push.shout_certain = False
        if topic in self.joined:
            self.exits[topic] += 1
        self.doubtful.discard(topic)
        self.joined[topic] = ref
        answer = {"status": "ok", "response": {"as": self.script.name}}
        payload = {"turns": self.turns()}
        return [self.asked(ref, topic, "phx_join", payload, answer, ref=ref, by_transport=True)]

    def refused(self, topic: str) -> list[Step]:
        ref = self.ref()
        return [self.asked(ref, topic, "phx_join", {"refuse": True}, FULL, ref=ref, by_transport=True)]

    def push(self, topic: str) -> list[Step]:
        event = self.random.choice(["echo", "echo", "shout", "shout", "later"])
        shout = f"{self.script.name}:{next(self._shouts)}" if event == "shout" else None
        payload = {"turns": self.turns(), "value": shout or self.value()}
        answer = {"status": "ok", "response": {"value": payload["value"]}}
        join_ref = self.joined.get(topic)
        if join_ref is None:
            if topic in self.doubtful:
                return [self.asked("0", topic, event, payload, answer, shout=shout, certain=False)]
            return [self.asked(None, topic, event, payload, UNMATCHED, shout=shout, by_transport=True)]
        return [self.asked(join_ref, topic, event, payload, answer, shout=shout, is_later=event == "later")]

    def leave(self, topic: str) -> list[Step]:
        join_ref = self.joined.get(topic)
        if join_ref is None:
            return []
        self.is_ending(topic)
        return [self.asked(join_ref, topic, "phx_leave", {}, {"status": "ok", "response": {}})]

    def crash(self, topic: str) -> list[Step]:
        return self.fatal(topic, "crash")

    def stop(self, topic: str) -> list[Step]:
        return self.fatal(topic, "stop")

    def fatal(self, topic: str, event: str) -> list[Step]:
        join_ref = self.joined.get(topic)
        if join_ref is None:
            return []
        self.is_ending(topic)
        return [self.script.encode(join_ref, self.ref(), topic, event, {})]

    def is_ending(self, topic: str) -> None:
        for push in self.unsettled:
            if push.topic == topic and push.is_later:
                push.certain = False
        self.exits[topic] += 1
        self.doubtful.add(topic)
        del self.joined[topic]

    def settle(self) -> None:
        """Have the client wait until all that it has sent is handled."""
        steps = [self.ask_back(topic) for topic in self.joined]
        self.script.writes.append(Write(steps, Settled(self.last_ref, dict(self.exits))))
        self.unsettled.clear()
        self.doubtful.clear()

    def ask_back(self, topic: str) -> Step:
        answer = {"status": "ok", "response": {"value": None}}
        return self.asked(self.joined[topic], topic, "echo", {"value": None}, answer)

    def end(self, end: str) -> None:
        """End the connection in the same segment as what came last, and with messages behind it that must not be handled."""
        self.script.end = end
        for push in self.unsettled:
            # A channel's reply may come too late; that of a transport, which handles one message after the other, may not.
            push.certain &= push.by_transport and end not in FROM_OUTSIDE
        if self.script.writes[-1].until is not None:
            self.script.writes.append(Write([]))
        last = self.script.writes[-1].steps
        if end in FROM_OUTSIDE and not self.script.polls:
            last += self.ping("")
        if end in LAST_FRAMES:
            last.append(LAST_FRAMES[end])
            last += self.after_the_end() if self.random.random() < 0.5 else []

    def after_the_end(self) -> list[Step]:
        shouts = [
            self.script.encode(join_ref, self.ref(), topic, "shout", {"value": f"{self.script.name}:0"})
            for topic, join_ref in self.joined.items()
        ]
        return [Step(PING, b"too late"), *shouts]

    # Parts of messages

    def asked(self, join_ref: str | None, topic: str, event: str, payload: Any, answer: Any, **about: Any) -> Step:
        ref = about.pop("ref", None) or self.ref()
        push = self.script.pushes[ref] = Push(ref, topic, join_ref, answer, **about)
        push.shout_certain = push.certain and answer is not UNMATCHED
        self.unsettled.append(push)
        return self.script.encode(join_ref, ref, topic, event, payload)

    def ref(self) -> str:
        self.last_ref += 1
        return str(self.last_ref)

    def turns(self) -> int:
        """Return for how many turns of the event loop a handler waits: none, in half of the cases."""
        return self.random.choice([0, 0, 0, 1, 2, 30])

    def value(self, depth: int = 0) -> Any:
        """Return any JSON value."""
        random = self.random
        plain = [None, True, -1, 2**53, 0.25, "", "é", "\u2028", '"\\/', "\x7f", "😀" * 3]
        if depth > 2 or random.random() < 0.6:
            return random.choice(plain)
        values = [self.value(depth + 1) for _ in range(random.randint(0, 3))]
        return values if random.random() < 0.5 else {str(key): value for key, value in enumerate(values)}


class Heard:
    """What a client has received, checked against its script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.messages: list[Received] = []
        self.pongs: list[str] = []
        self.close_code: int | None = None

    def frame(self, first: int, data: bytes) -> None:
        """Take a frame."""
        if first == TEXT:
            self.messages.append(self.script.decode(data.decode()))
        elif first == PONG:
            self.pongs.append(data.decode())
        else:
            assert first == CLOSE, first
            self.close_code = int.from_bytes(data[:2], "big")

    def missing(self, settled: Settled) -> list[Any]:
        """Return what has not come of all that is certain to come up to a moment."""
        answered = {message.ref for message in self.messages if message.event == "phx_reply"}
        due = [push for push in self.script.pushes.values() if push.certain and int(push.ref) <= settled.ref]
        return [push for push in due if push.ref not in answered] + list(Counter(settled.exits) - self.exits())

    def exits(self) -> Counter[str]:
        return Counter(message.topic for message in self.messages if message.event in {"phx_error", "phx_close"})

    def shouts(self) -> dict[tuple[str, str], list[int]]:
        """Return the numbers of the broadcasts by topic and the client that made them, in the order in which they came."""
        found = defaultdict(list)
        for message in self.messages:
            if message.event == "shouted":
                client, number = message.payload["value"].split(":")
                found[message.topic, client].append(int(number))
        return found

    def check(self) -> None:
        """Assert all that this client can know."""
        self.check_answers()
        self.check_order()
        self.check_topics()
        self.check_end()

    def check_answers(self) -> None:
        answers = Counter(message.ref for message in self.messages if message.event == "phx_reply")
        for ref, number in answers.items():
            assert number == 1, ("answered twice", ref)
            assert ref in self.script.pushes, ("answered though it was behind the end", ref)
        for message in self.messages:
            if message.event == "phx_reply":
                push = self.script.pushes[str(message.ref)]
                assert message.topic == push.topic
                expected = (push.answer,) if push.certain else (push.answer, UNMATCHED)
                assert message.payload in expected, message
        missing = [push for push in self.script.pushes.values() if push.certain and push.ref not in answers]
        assert not missing, ("not answered", missing)

    def check_order(self) -> None:
        """Each channel replies in order, but for what it replies later; each broadcast comes once and in order."""
        replied = defaultdict(list)
        for message in self.messages:
            if message.event == "phx_reply" and message.payload["status"] == "ok":
                push = self.script.pushes[str(message.ref)]
                if not push.is_later:
                    replied[push.topic, push.join_ref].append(int(push.ref))
        for numbers in [*replied.values(), *self.shouts().values()]:
            assert numbers == sorted(set(numbers)), numbers
        assert self.pongs == self.script.pongs[: len(self.pongs)]

    def check_topics(self) -> None:
        """No broadcast comes before the reply to a join (one that is on its way when a channel ends may come behind that)."""
        joined = set()
        for message in self.messages:
            push = self.script.pushes.get(message.ref or "")
            if message.event == "phx_reply" and push is not None and push.ref == push.join_ref and push.answer != FULL:
                joined.add(message.topic)
            assert message.event != "shouted" or message.topic in joined, message

    def check_end(self) -> None:
        code = ENDS[self.script.end]
        assert code in {None, self.close_code}, self.close_code
        if self.script.end in {"close", "malformed", "reserved"}:
            assert self.pongs == self.script.pongs


def check_shouts(witness: Heard, script: Script) -> None:
    """Assert that the witness has heard each broadcast of a client that was handled for certain, and none behind an end."""
    heard = witness.shouts()
    for push in script.pushes.values():
        if push.shout is None:
            continue
        number = int(push.shout.split(":")[1])
        times = heard[push.topic, script.name].count(number)
        assert times <= 1, ("came twice", push)
        if push.shout_certain:
            assert times == 1, ("lost", push)
        if push.answer is UNMATCHED:
            assert times == 0, ("of a topic that is not joined", push)
