"""Chaos: real clients keep a ledger while actors are killed, connections cut, and floods and garbage arrive.

    python benchmarks/chaos.py                           # a minute
    python benchmarks/chaos.py --seconds 3600 --seed 7
    python benchmarks/chaos.py --only kill --only cut    # some of what happens

The server is the demo's application in a process of its own (`havoc/victim.py`). Its clients reach it through a bad network
(`havoc/network.py`): our client over WebSockets and long polling, and one written by hand (`havoc/members.py`). They join
rooms, talk, crash their channels, kick each other, leave and return. Meanwhile:

- kill: an actor of the tree is killed, crashed or stopped: channels, connections, PubSub, Presence, the listener, supervisors;
- cut, finish, stall, slow, garble: a connection is reset, ended, stands still, is slow, or carries random bytes;
- flood, garbage: a hostile client sends as fast as it can, or nonsense;
- freeze: the server's process stands still for a second;
- deploy: another server starts on the same port, and the current one drains.

At the end all clients come to rest. What must be so, besides what `havoc/ledger.py` says: each client is in its rooms again and
hears all others; the presences that each knows are those of the server, and are right; when the clients have gone the server
has as many actors, timers, subscriptions, tasks, futures, files and threads as before they came, and its memory has not grown
much; nothing was logged or raised that nothing here has planned.

The exit status is 1 if there was a fault. A seed repeats the decisions that are taken here, not their times: a fault may need
several runs of its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flooding.raw_client import TEXT, RawClient, frame, message
from havoc.ledger import Ledger
from havoc.members import OVER, AshtreeMember, Member, Outcome, Role, WireMember
from havoc.network import Network
from havoc.trial import AGAIN, DEADLINE, Service

if TYPE_CHECKING:
    from havoc.census import Census

ROOMS = ["room:1", "room:2", "room:3"]
USERS = 8
MEMORY = 60e6
"""Bytes by which the server's memory may have grown at the end."""
EVERY = 0.15
"""Seconds between two harms, on average."""
LASTING = 30.0
"""Seconds of a run that also waits for sessions of long polling to end by themselves."""
PAUSE = 0.1
"""Seconds between two actions of a client, on average."""
ATTEMPTS = 5
"""How often a client may learn at the end that what it said came too late for its connection."""


class Actions:
    """What a member does, each at random."""

    def __init__(self, member: Member, chance: random.Random) -> None:
        self._member, self._random = member, chance
        # By weight.
        often: list[Any] = [self.say] * 12 + [self.echo] * 4
        self._all = [*often, self.fail, self.typing, self.whoami, self.crash, self.stop, self.leave, self.reconnect]
        self._all += [self.crash_transport, self.kick]

    async def live(self, is_over: asyncio.Event) -> None:
        """Act until it is over, whenever it is in all of its rooms."""
        while not is_over.is_set():
            await asyncio.sleep(self._random.expovariate(1 / PAUSE))
            if self._member.is_settled:
                await self._random.choice(self._all)(self._random.choice(self._member.topics))

    async def say(self, topic: str) -> None:
        await self._member.say(topic)

    async def echo(self, topic: str) -> None:
        payload = {"text": "ä" * self._random.choice([0, 10, 100, 5_000]), "n": self._random.random()}
        await self._expect(topic, "echo", payload, "ok", payload)

    async def fail(self, topic: str) -> None:
        await self._expect(topic, "fail", {}, "error", {"reason": "failed on purpose"})

    async def _expect(self, topic: str, event: str, payload: Any, status: str, response: Any) -> None:
        outcome = await self._member.push(topic, event, payload)
        if outcome.status in {"ok", "error"} and tuple(outcome) != (status, response):
            if outcome.response == {"reason": "unmatched topic"}:
                return  # the channel was gone, and the client has not yet heard of it
            self._member.ledger.fault(f"{self._member.name}: {event} was answered {outcome}")

    async def typing(self, topic: str) -> None:
        self._member.send(topic, "typing")

    async def whoami(self, topic: str) -> None:
        outcome = await self._member.push(topic, "whoami")
        if outcome.status == "ok" and outcome.response["user"] != self._member.user:
            self._member.ledger.fault(f"{self._member.name} is told to be {outcome.response}")

    async def crash(self, topic: str) -> None:
        await self._member.push(topic, "crash")

    async def stop(self, topic: str) -> None:
        await self._member.push(topic, "stop")

    async def leave(self, topic: str) -> None:
        await self._member.leave(topic)

    async def reconnect(self, _topic: str) -> None:
        await self._member.reconnect()

    async def crash_transport(self, topic: str) -> None:
        self._member.send(topic, "crash_transport")

    async def kick(self, topic: str) -> None:
        self._member.send(topic, "kick", {"user": f"user{self._random.randrange(USERS)}"})


class Harm:
    """What happens to the server and its connections."""

    def __init__(self, service: Service, network: Network, ledger: Ledger, chance: random.Random) -> None:
        self._service, self._network, self._ledger, self._random = service, network, ledger, chance
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []

    async def run(self, names: list[str], is_over: asyncio.Event) -> None:
        """Do one thing after the other, some of which take a while, until it is over."""
        async with asyncio.TaskGroup() as harms:
            while not is_over.is_set():
                await asyncio.sleep(self._random.expovariate(1 / EVERY))
                name = self._random.choice(names)
                self.done[name] += 1
                harms.create_task(getattr(self, name)())

    async def kill(self) -> None:
        name, how = await self._service.current.ask("kill", self._random.getrandbits(32))
        self.done[f"{how} of {name}"] += 1

    async def cut(self) -> None:
        if line := self._network.some_line(self._random):
            line.reset()

    async def finish(self) -> None:
        if line := self._network.some_line(self._random):
            line.close()

    async def stall(self) -> None:
        if line := self._network.some_line(self._random):
            line.stall()
            asyncio.get_running_loop().call_later(3 * self._random.random(), line.resume)

    async def slow(self) -> None:
        if line := self._network.some_line(self._random):
            line.slow()

    async def garble(self) -> None:
        if line := self._network.some_line(self._random):
            line.garble(self._random)

    async def freeze(self) -> None:
        await self._service.current.freeze(self._random.random())

    async def deploy(self) -> None:
        with self._ledger.deploy():
            self.faults += await self._service.deploy()

    async def flood(self) -> None:
        pieces = [self._message() for _ in range(self._random.randrange(2_000))]
        await asyncio.to_thread(
            hostile, self._service.current.port, pieces, upgrade=True, read=self._random.random() < 0.5
        )

    def _message(self) -> bytes:
        topic = self._random.choice([*ROOMS, "room:vip", "demo:1", "bench:1", "nowhere", "phoenix"])
        event = self._random.choice(["phx_join", "phx_leave", "echo", "typing", "heartbeat", "ping:5", "\x1b[2J\n"])
        return message("1", "1", topic, event, {"body": self._random.random()})

    async def garbage(self) -> None:
        upgrade = self._random.random() < 0.6
        pieces = [self._garbage(upgrade=upgrade) for _ in range(self._random.randrange(1, 20))]
        await asyncio.to_thread(hostile, self._service.current.port, pieces, upgrade=upgrade, read=True)

    def _garbage(self, *, upgrade: bool) -> bytes:
        noise = self._random.randbytes(self._random.randrange(300))
        whole = self._message() if upgrade else b"GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        at = self._random.randrange(len(whole))
        broken = whole[:at] + noise[:3] + whole[at + self._random.randrange(3) :]
        return self._random.choice([noise, whole, whole[:at], broken, frame(TEXT, noise)])


def hostile(port: int, pieces: list[bytes], *, upgrade: bool, read: bool) -> None:
    """Send all of it over a connection of its own, and leave."""
    try:
        with RawClient(port) as client:
            client.socket.settimeout(1.0)
            if upgrade:
                client.upgrade("/socket/websocket?vsn=2.0.0&user=user0")
            client.pour(pieces, 0.2, read=read)
    except OSError:
        pass  # it is sent away, or the server cannot be reached just now


# By weight.
HARMS = [
    *["kill"] * 16,
    *["cut", "finish", "stall", "slow", "garble"] * 4,
    *["flood", "garbage", "garbage", "freeze"] * 2,
    "deploy",
]


class Play:
    """One run: the server, the network, the clients, and what happens to them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._random = random.Random(options.seed)  # noqa: S311  # to be repeated
        self.ledger = Ledger()
        self._service = Service("--loop", options.loop)
        self._members: list[Member] = []
        self._is_over = asyncio.Event()

    async def run(self) -> list[str]:
        """Return the faults."""
        await self._service.start()
        self._network = Network(self._service.current.port)
        await self._network.start()
        try:
            await self._warm_up()
            before = await self._service.current.census()
            await self._chaos()
            return [*self.ledger.check(), *await self._leavings(before)]
        finally:
            await self._network.stop()
            self._service.current.kill()

    async def _warm_up(self) -> None:
        """Let clients of all kinds come and go, so that what is made once is there before it is counted."""
        idle = await self._service.current.census()
        self._members = self._cast(4)
        for member in self._members:
            await member.start()
        await self._until_settled("warm-up")
        for member in self._members:
            await member.say(ROOMS[0] if ROOMS[0] in member.topics else member.topics[0])
            await member.push(member.topics[0], "crash")
        await self._part(at_once=True)
        for kind in ("flood", "garbage"):
            await getattr(Harm(self._service, self._network, self.ledger, self._random), kind)()
        await self._service.current.settles(
            {kind: idle[kind] for kind in ("actors", "timers", "subscriptions", "tasks")}
        )

    def _cast(self, number: int) -> list[Member]:
        return [self._member(n) for n in range(number)]

    def _member(self, number: int) -> Member:
        topics = self._random.sample(ROOMS, self._random.choice([1, 2]))
        role = Role(f"client{number}", f"user{number % USERS}", topics)
        url = f"ws://127.0.0.1:{self._network.port}/socket"
        kinds: list[Callable[[], Member]] = [
            lambda: AshtreeMember(role, self.ledger, url, "websocket"),
            lambda: AshtreeMember(role, self.ledger, url, "longpoll"),
            lambda: WireMember(role, self.ledger, url),
        ]
        return kinds[number % len(kinds)]()

    async def _chaos(self) -> None:
        self._members = self._cast(self._options.clients)
        for member in self._members:
            await member.start()
        await self._until_settled("the start")
        harm = Harm(self._service, self._network, self.ledger, self._random)
        names = [name for name in HARMS if not self._options.only or name in self._options.only]
        lives = [asyncio.create_task(Actions(member, self._chance()).live(self._is_over)) for member in self._members]
        harming = asyncio.create_task(harm.run(names, self._is_over))
        await asyncio.wait([*lives, harming], timeout=self._options.seconds)
        self._is_over.set()
        await asyncio.gather(*lives, harming)
        self.done = harm.done
        self.ledger.faults += harm.faults
        if "kill" not in names and self._network.refused:
            self.ledger.fault(f"{self._network.refused} connections were refused")
        await self._come_to_rest()
        await self._part(at_once=self._options.seconds < LASTING)

    def _chance(self) -> random.Random:
        return random.Random(self._random.getrandbits(64))  # noqa: S311  # to be repeated

    # The end

    async def _come_to_rest(self) -> None:
        """Let all clients join again, and each tell all others something."""
        for line in self._network.lines:
            line.resume()
        await self._until_settled("the end")
        everywhere = [(member, topic) for member in self._members for topic in member.topics]
        outcomes = await asyncio.gather(*(self._said(member, topic) for member, topic in everywhere))
        # What was sent before is heard before the reply to this.
        outcomes += await asyncio.gather(*(member.push(topic, "echo") for member, topic in everywhere))
        for (member, topic), outcome in zip([*everywhere, *everywhere], outcomes, strict=True):
            if outcome.status != "ok":
                self.ledger.fault(f"{member} is not served in {topic} at the end: {outcome}")
        await self._check_presences(everywhere)

    async def _said(self, member: Member, topic: str) -> Outcome:
        """Let a client say something; again if it learns only now that its connection has ended, as on a stalled line."""
        for _ in range(ATTEMPTS):
            outcome = await member.say(topic)
            if outcome != OVER:
                break
            await self._until(lambda: all_settled([member]))
        return outcome

    async def _until_settled(self, when: str) -> None:
        if not await self._until(lambda: all_settled(self._members)):
            for member in self._members:
                if not member.is_settled:
                    self.ledger.fault(f"{member} is not in {member.topics} again at {when}")

    async def _until(self, is_so: Callable[[], Awaitable[bool]]) -> bool:
        end = asyncio.get_running_loop().time() + DEADLINE
        while not await is_so():
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(AGAIN)
        return True

    async def _check_presences(self, everywhere: list[tuple[Member, str]]) -> None:
        truth = {topic: Counter(member.user for member, joined in everywhere if joined == topic) for topic in ROOMS}
        wrong: list[str] = []

        async def is_so() -> bool:
            wrong.clear()
            listed = await self._service.current.ask("presences")
            for topic, users in truth.items():
                counted = {user: len(entry["metas"]) for user, entry in listed.get(topic, {}).items()}
                if counted != users:
                    wrong.append(f"the presences of {topic} are {counted}, and should be {dict(users)}")
            for member, topic in everywhere:
                if refs(member.present(topic)) != refs(listed.get(topic, {})):
                    wrong.append(f"{member.name} knows other presences of {topic} than the server")
            return not wrong

        if not await self._until(is_so):
            self.ledger.faults += wrong

    async def _part(self, *, at_once: bool) -> None:
        """Let all clients go; end sessions of long polling at once, or let them end when nothing polls any more."""
        await asyncio.gather(*(member.close() for member in self._members))
        if at_once:
            for user in {member.user for member in self._members}:
                await self._service.current.ask("disconnect", user)

    async def _leavings(self, before: Census) -> list[str]:
        """Return what the server has left of it all."""
        faults = await self._service.current.settles(before)
        grown = (await self._service.current.census())["rss"] - before["rss"]
        if grown > MEMORY:
            faults.append(f"the server's memory has grown by {grown / 1e6:.0f} MB")
        self.grown = grown
        faults += await self._service.current.ask("surprises")
        return faults + await self._service.current.stop()


async def all_settled(members: list[Member]) -> bool:
    return all(member.is_settled for member in members)


def refs(state: Any) -> dict[str, list[str]]:
    return {user: sorted(meta["phx_ref"] for meta in entry["metas"]) for user, entry in state.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time")
    parser.add_argument("--clients", type=int, default=36)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop", help="the server's event loop")
    parser.add_argument("--only", action="append", default=[], choices=sorted(set(HARMS)), metavar="NAME")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(10**6)  # noqa: S311  # it is printed
    print(f"seed {options.seed}", flush=True)
    return asyncio.run(report(options))


async def report(options: argparse.Namespace) -> int:
    """Play, and print what was done and what was wrong."""
    play = Play(options)
    faults = await play.run()
    for title, counts in (("harms", play.done), ("clients", play.ledger.counts)):
        print(f"{title}:", ", ".join(f"{number:,} x {name}" for name, number in sorted(counts.items())))
    print(f"memory: {play.grown / 1e6:+.1f} MB")
    for text in faults[:20]:
        print(text)
    print(f"{len(faults)} faults" + (f"; again: python benchmarks/chaos.py --seed {options.seed}" if faults else ""))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
