"""The scenarios of javascript/session.mjs, played by `transport.client`: the same steps, and reports of the same shape."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.live import WAIT
from transport.client import Presence, Socket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from transport.client import Channel
    from transport.client.protocol.effects import TransportName

    Open = Callable[[str], "Client"]

Report = dict[str, Any]


class Log:
    """What has happened to one socket or channel, and a way to wait for more of it."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Any]] = []
        self._changed = asyncio.Event()

    def add(self, kind: str, value: Any = None) -> None:
        self.entries.append((kind, value))
        self._changed.set()

    def of(self, kind: str) -> list[Any]:
        return [value for entry, value in self.entries if entry == kind]

    async def until(self, kind: str, count: int = 1) -> list[Any]:
        """Return all values of the kind once there are so many."""
        while len(self.of(kind)) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.of(kind)


class Member:
    """A channel; its log holds join replies, errors, the close and the events named."""

    def __init__(self, socket: Socket, topic: str, events: tuple[str, ...]) -> None:
        self.socket, self.log, self.joins = socket, Log(), 0
        self.channel: Channel = socket.channel(topic, self._params)
        self.channel.on_error(lambda reason: self.log.add("error", reason))
        self.channel.on_close(lambda _: self.log.add("closed"))
        for event in events:
            self.listen(event)

    def _params(self) -> dict[str, Any]:
        # Asked anew at each join.
        self.joins += 1
        return {}

    def listen(self, event: str) -> None:
        self.channel.on(event, lambda payload: self.log.add(event, payload))

    def join(self) -> Member:
        joining = self.channel.join()
        joining.receive("ok", lambda reply: self.log.add("joined", reply))
        joining.receive("error", lambda reply: self.log.add("refused", reply))
        return self

    async def ask(self, event: str, payload: Any = None) -> Report:
        """Return the reply to a push, whatever its status."""
        answered: asyncio.Future[Report] = asyncio.get_running_loop().create_future()

        def answer(status: str, response: Any) -> None:
            answered.set_result({"status": status, "response": response})

        push = self.channel.push(event, payload)
        for status in ("ok", "error", "timeout"):
            push.receive(status, partial(answer, status))
        return await answered

    async def whoami(self) -> Any:
        return (await self.ask("whoami"))["response"]

    def standing(self) -> Report:
        """Return how the channel stands, and how often it was joined, closed and in error to get there."""
        topics = [channel.topic for channel in self.socket.protocol.channels]
        return {
            "state": self.channel.state,
            "forgotten": self.channel.topic not in topics,
            "joins": self.joins,
            "closed": len(self.log.of("closed")),
            "errors": self.log.of("error"),
        }


class Client:
    """A socket with a log of its connections."""

    def __init__(self, url: str, user: str, transport: TransportName) -> None:
        self.log, self.socket = Log(), Socket(url, params={"user": user}, transport=transport)
        self.socket.on_open(lambda: self.log.add("open"))
        self.socket.on_close(lambda code, _: self.log.add("close", code))
        self.socket.connect()

    def join(self, topic: str, *events: str) -> Member:
        return Member(self.socket, topic, events).join()


class Attendant:
    """A member of a room with the list that `Presence` keeps for it, and what it was told of the others."""

    def __init__(self, client: Client, topic: str) -> None:
        self.client, self.log, self.changes = client, Log(), list[str]()
        self.room = Member(client.socket, topic, ())
        self._looked = 0
        presence = Presence(self.room.channel)
        presence.on_join(lambda key, current, _: self.changes.append(f"{key} {'again' if current else 'joins'}"))
        presence.on_leave(
            lambda key, current, _: self.changes.append(f"{key} {'less' if current['metas'] else 'leaves'}")
        )
        presence.on_sync(lambda: self.log.add("synced", presence.list(lambda key, entry: [key, entry["metas"]])))
        self.room.join()

    async def until(self, wanted: dict[str, int]) -> list[Any]:
        """Return the first list in which each key has so many metas, looking at each list once."""
        while True:
            self._looked += 1
            members: list[Any] = (await self.log.until("synced", self._looked))[self._looked - 1]
            if {key: len(metas) for key, metas in members} == wanted:
                return members


async def ticks_and_pings(open_: Open) -> Report:
    started, answers, ticks = time.monotonic(), list[Report](), list[Report]()
    demo, two = Member(open_("ticker").socket, "demo:ticks", ()), asyncio.Event()

    def tick(payload: Any) -> None:
        ticks.append({**payload, "at": time.monotonic() - started})
        if len(ticks) == 2:
            two.set()

    demo.channel.on("tick", tick)
    await demo.join().log.until("joined")
    asked = time.monotonic()

    async def ping(event: str) -> None:
        answer = await demo.ask(event)
        answers.append({"event": event, **answer, "after": time.monotonic() - asked})

    await asyncio.gather(*map(ping, ["ping:3000", "ping:2000", "ping:1000", "ping"]))
    await two.wait()
    return {"answers": answers, "ticks": ticks[:2], "standing": demo.standing()}


async def crashes(open_: Open) -> Report:
    client = open_("crasher")
    room, demo = client.join("room:crashes"), client.join("demo:crashes", "tick")
    await room.log.until("joined")
    await demo.log.until("tick")
    before = await room.whoami()

    room.channel.push("crash", {})
    await room.log.until("joined", 2)
    after_channel, ping = await room.whoami(), await demo.ask("ping")
    channel_crash = {
        "errors": room.log.of("error"),
        "joins": room.joins,
        "demo": {
            **demo.standing(),
            "ping": ping,
            "joined": len(demo.log.of("joined")),
            "ticks": demo.log.of("tick"),
        },
        "sockets": {"opened": len(client.log.of("open")), "closed": client.log.of("close")},
    }

    room.channel.push("crash_transport", {})
    await client.log.until("open", 2)
    await room.log.until("joined", 3)
    await demo.log.until("joined", 2)
    after_transport = await room.whoami()
    transport_crash = {
        "closes": client.log.of("close"),
        "errors": {"room": room.log.of("error")[1:], "demo": demo.log.of("error")},
        "joins": {"room": room.joins, "demo": demo.joins},
        "ping": await demo.ask("ping"),
    }
    return {
        "before": before,
        "afterChannel": after_channel,
        "channelCrash": channel_crash,
        "afterTransport": after_transport,
        "transportCrash": transport_crash,
    }


async def chat_and_kick(open_: Open) -> Report:
    clients = {user: open_(user) for user in ("ann", "ben")}
    ann, ben = (client.join("room:chat", "new_msg", "typing") for client in clients.values())
    await ann.log.until("joined")
    await ben.log.until("joined")

    sent = await ann.ask("new_msg", {"body": "hello"})
    await ben.log.until("new_msg")
    ann.channel.push("typing", {})
    await ben.log.until("typing")
    await ann.ask("echo")  # whatever was on its way to ann came before this reply
    typing = {"ann": ann.log.of("typing"), "ben": ben.log.of("typing")}

    kicked = await ann.ask("kick", {"user": "ben"})
    [code] = await clients["ben"].log.until("close")
    await ben.log.until("joined", 2)
    again = await ann.ask("new_msg", {"body": "welcome back"})
    await ben.log.until("new_msg", 2)
    return {
        "sent": sent,
        "typing": typing,
        "kicked": kicked,
        "code": code,
        "again": again,
        "messages": {"ann": ann.log.of("new_msg"), "ben": ben.log.of("new_msg")},
        "opened": {user: len(client.log.of("open")) for user, client in clients.items()},
    }


async def leave_stop_and_refusals(open_: Open) -> Report:
    client = open_("leaver")
    left, stopped, clock = (client.join(topic) for topic in ("room:left", "room:stopped", "demo:leaver"))
    await left.log.until("joined")
    await stopped.log.until("joined")

    left.channel.leave()
    await left.log.until("closed")
    stop = await stopped.ask("stop")
    await stopped.log.until("closed")
    refusals = {}
    for topic in ("nope:x", "room:vip"):
        refused = client.join(topic)
        [refusals[topic]] = await refused.log.until("refused")
        refused.channel.leave()
    await clock.ask("ping:1500")  # the client rejoins after at most 1 s; by then it would have
    return {
        "stop": stop,
        "refusals": refusals,
        "left": left.standing(),
        "stopped": stopped.standing(),
        "closes": client.log.of("close"),
    }


async def presence(open_: Open) -> Report:
    topic = "room:presence-python"
    ann = Attendant(open_("ann"), topic)
    await ann.until({"ann": 1})
    tab = Attendant(open_("ann"), topic)
    await tab.until({"ann": 2})
    odd = Attendant(open_("__proto__"), topic)
    everybody = {"ann": 2, "__proto__": 1}
    together = [await member.until(everybody) for member in (ann, tab, odd)]

    odd.room.channel.push("crash", {})
    crashed = await ann.until({"ann": 2})
    rejoined = [await member.until(everybody) for member in (ann, odd)]

    await tab.client.socket.close()
    closed = await ann.until({"ann": 1, "__proto__": 1})
    odd.room.channel.leave()
    left = await ann.until({"ann": 1})
    return {
        "together": together,
        "crashed": crashed,
        "rejoined": rejoined,
        "closed": closed,
        "left": left,
        "changes": ann.changes,
    }


SCENARIOS: dict[str, Callable[[Open], Awaitable[Report]]] = {
    "ticks and pings": ticks_and_pings,
    "crashes": crashes,
    "chat and kick": chat_and_kick,
    "leave, stop and refusals": leave_stop_and_refusals,
    "presence": presence,
}


async def _play(url: str, transport: TransportName) -> dict[str, Report]:
    async def run(scenario: Callable[[Open], Awaitable[Report]]) -> Report:
        async with AsyncExitStack() as clients, asyncio.timeout(WAIT):

            def open_(user: str) -> Client:
                client = Client(url, user, transport)
                clients.push_async_callback(client.socket.close)
                return client

            return await scenario(open_)

    reports = await asyncio.gather(*map(run, SCENARIOS.values()))
    return dict(zip(SCENARIOS, reports, strict=True))


def play_in_python(url: str, transport: TransportName) -> Callable[[str], Report]:
    """Play all scenarios at once; return what gives the report of each."""
    return asyncio.run(_play(url, transport)).__getitem__
