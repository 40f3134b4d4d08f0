"""The ledger of all clients: what each has sent, been answered and heard, and what must follow from that.

All clients are driven by one event loop, so what they see has one order. A moment in it is a number that counts upwards.

A *stay* is one join of one client, from its reply to whatever told the client that it is over: an error or the close of the
channel, the end of the connection. What must be so:

- a push that is not answered in time was made in a stay that has ended since: no reply is lost without notice;
- a message is heard at most once in a stay, and those of one sender in their order;
- one that was acknowledged, and sent after the stay began, is heard: by those whose stay lasts to the end, and by all that
  have heard a later one of its sender; during a deploy only if that one was sent in the same stay, as the sender of the first
  may have been at the server that was to go, and those who hear the second at the new one;
- a sender hears its own message before the acknowledgement.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class Stay:
    """One join of one client: since when, until when, and which numbers it has heard of each sender."""

    member: str
    topic: str
    since: int
    over: asyncio.Future[None]
    heard: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def is_over(self) -> bool:
        return self.over.done()

    def end(self) -> None:
        """The client was told that this is over."""
        if not self.over.done():
            self.over.set_result(None)

    def __str__(self) -> str:
        return f"{self.member} in {self.topic} from {self.since}{' until its end' if self.is_over else ''}"


@dataclass
class Sent:
    """A message to a room: when it was sent, in which stay of its sender, and whether it was acknowledged."""

    number: int
    at: int
    stay: Stay | None
    acknowledged: bool = False


class Ledger:
    """What all clients have seen."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._moment = 0
        self._stays: list[Stay] = []
        self._deploys: list[tuple[int, int]] = []
        self._sent: dict[tuple[str, str], list[Sent]] = defaultdict(list)

    def _now(self) -> int:
        self._moment += 1
        return self._moment

    def fault(self, text: str) -> None:
        self.faults.append(text)

    @contextmanager
    def deploy(self) -> Iterator[None]:
        """Record that there are two servers meanwhile, whose clients do not hear each other."""
        began = self._now()
        yield
        self._deploys.append((began, self._now()))

    # What clients report

    def joined(self, member: str, topic: str) -> Stay:
        self.counts["joins"] += 1
        stay = Stay(member, topic, self._now(), asyncio.get_running_loop().create_future())
        self._stays.append(stay)
        return stay

    def sends(self, member: str, topic: str, stay: Stay | None) -> Sent:
        """Number a message that is about to be sent."""
        of_sender = self._sent[topic, member]
        sent = Sent(len(of_sender) + 1, self._now(), stay)
        of_sender.append(sent)
        return sent

    def heard(self, stay: Stay, sender: str, number: int) -> None:
        self.counts["heard"] += 1
        before = stay.heard[sender]
        if before and before[-1] >= number:
            self.fault(f"{stay}: {sender} {number} was heard after {before[-1]}")
        before.append(number)

    def acknowledged(self, sent: Sent) -> None:
        """Record that a message was acknowledged, in the stay in which it was sent."""
        sent.acknowledged, stay = True, sent.stay
        if stay is not None and not stay.is_over and sent.number not in stay.heard[stay.member]:
            self.fault(f"{stay}: {sent} was acknowledged before its sender has heard it")

    def not_answered(self, member: str, topic: str, event: str, stay: Stay | None) -> None:
        """Record that a push was not answered in time."""
        self.counts["pushes without a reply"] += 1
        if stay is not None and not stay.is_over:
            self.fault(f"{stay}: the reply to {event} of {member} in {topic} was lost without notice")

    # The end

    def check(self) -> list[str]:
        """Return all faults; those whose stay is not over have heard all that they will hear."""
        for stay in self._stays:
            for (topic, sender), messages in self._sent.items():
                if topic == stay.topic:
                    self._check_heard(stay, sender, messages)
        return self.faults

    def _check_heard(self, stay: Stay, sender: str, messages: list[Sent]) -> None:
        heard = set(stay.heard.get(sender, ()))
        last = max(heard, default=0) if stay.is_over else len(messages)
        missed = [
            sent.number
            for sent in messages[:last]
            if sent.acknowledged
            and sent.at > stay.since
            and sent.number not in heard
            and self._were_together(sent, [messages[number - 1] for number in heard if number > sent.number])
        ]
        if missed:
            self.fault(f"{stay}: has not heard {missed[:5]} of {sender} ({len(missed)} in all), only up to {last}")

    def _were_together(self, sent: Sent, later: list[Sent]) -> bool:
        """Return whether a message was sent at the server at which these later ones of its sender were heard, for sure."""
        there_were_two = any(began < sent.at < ended for began, ended in self._deploys)
        return not there_were_two or (sent.stay is not None and any(other.stay is sent.stay for other in later))
