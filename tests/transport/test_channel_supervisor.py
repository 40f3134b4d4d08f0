"""The end of a connection, over real ones: what a client has sent and the server has received is handled."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from actors import Channel, Reply, ok
from actors.exits import KILLED, Crash, ExitReason, Shutdown
from actors.sys import get_state
from supervisors import which_children
from supervisors.child_spec import BRUTAL_KILL
from supervisors.observer.commands import tree
from tests.transport.wire import HEARTBEAT, Client, Server, Tcp, masked, on_loop, reset, serving, status, until
from transport import Limits, Socket

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT, CLOSE, PING = 0x81, 0x88, 0x89
CLOSED = masked(CLOSE, b"\x03\xe8")
MALFORMED = masked(TEXT, "{")


class Room(Channel):
    """Waits, shouts, and writes down what it has done."""

    log: list[Any] = []  # noqa: RUF012  # cleared for each test
    gate: asyncio.Event

    async def join(self, topic: str, payload: Any) -> Reply:
        if payload.get("wait"):
            await self.gate.wait()
        return ok()

    async def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "wait":
                try:
                    await self.gate.wait()
                except asyncio.CancelledError:
                    self.log.append("cancelled")
                    raise
            case "echo":
                return ok(payload)
            case "fail":
                raise RuntimeError("on purpose")
            case "ignore":
                await self.deaf()
        self.broadcast_from(event, payload)
        return None

    async def deaf(self) -> None:
        for _ in ("exit signal", "kill"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.log.append("cancelled")

    def terminate(self, reason: ExitReason) -> None:
        self.log.append(reason)


class HastyRoom(Room):
    shutdown = 0.05


class TidyRoom(Room):
    """Takes its time to end."""

    async def terminate(self, reason: ExitReason) -> None:  # type: ignore[override]  # as authors may
        await self.gate.wait()
        self.log.append(reason)


class BrutalRoom(Room):
    shutdown = BRUTAL_KILL  # type: ignore[assignment]  # as a child spec takes it


class Watcher(Channel):
    """Sees what is shouted, without any wait."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()


class UserSocket(Socket):
    channels = {"room:*": Room, "hasty:*": HastyRoom, "tidy:*": TidyRoom, "brutal:*": BrutalRoom}  # noqa: RUF012  # as an author writes it

    def id(self) -> str:
        return "users:1"


class WatcherSocket(Socket):
    channels = {"*": Watcher}  # noqa: RUF012  # as an author writes it


SOCKETS = {"/socket": UserSocket, "/watch": WatcherSocket}


@pytest.fixture(autouse=True)
def log() -> list[Any]:
    Room.log.clear()
    return Room.log


def message(ref: str, event: str, topic: str = "room:1", payload: Any = None, join_ref: str = "1") -> bytes:
    return masked(TEXT, json.dumps([join_ref, ref, topic, event, {} if payload is None else payload]))


def join(topic: str = "room:1", *, wait: bool = False) -> bytes:
    return message("1", "phx_join", topic, {"wait": True} if wait else {})


async def watching(server: Server, topic: str = "room:1") -> Client:
    client = await server.connect("/watch")
    await client.join(topic)
    return client


async def opened(server: Server) -> Tcp:
    Room.gate = asyncio.Event()
    tcp = await server.tcp()
    await tcp.upgrade()
    return tcp


async def busy(server: Server, topic: str = "room:1") -> Tcp:
    """Return a client whose channel is in a handler, with a push behind it."""
    tcp = await opened(server)
    await tcp.send(join(topic))
    await tcp.text()
    await tcp.send(message("2", "wait", topic), message("3", "shout", topic), masked(TEXT, HEARTBEAT))
    await tcp.text()
    return tcp


async def shouted(watcher: Client, *events: str) -> None:
    for event in events:
        assert (await watcher.recv())[3] == event


# However a connection ends


async def close_frame(_server: Server, tcp: Tcp) -> None:
    await tcp.send(CLOSED)
    assert await tcp.close_code() == 1000


async def protocol_error(_server: Server, tcp: Tcp) -> None:
    await tcp.send(masked(0x83, "reserved"))
    assert await tcp.close_code() == 1002
    await tcp.close()


async def malformed(_server: Server, tcp: Tcp) -> None:
    await tcp.send(MALFORMED)
    assert await tcp.close_code() == 1011
    await tcp.close()


async def tcp_reset(_server: Server, tcp: Tcp) -> None:
    reset(tcp.writer.transport)


async def tcp_end(_server: Server, tcp: Tcp) -> None:
    tcp.end()


async def kick(server: Server, tcp: Tcp) -> None:
    server.endpoint.broadcast("users:1", "disconnect", {})
    assert await tcp.close_code() == 1001
    await tcp.close()


async def kill(server: Server, tcp: Tcp) -> None:
    transport_of(server).kill()
    await tcp.ended()


async def stop(server: Server, tcp: Tcp) -> None:
    transport_of(server).stop(block=False)
    assert await tcp.close_code() == 1000
    await tcp.close()


async def crash(server: Server, tcp: Tcp) -> None:
    transport_of(server).exit(Crash(RuntimeError("on purpose")))
    await tcp.ended()


async def leave(_server: Server, tcp: Tcp) -> None:
    await tcp.send(message("2", "phx_leave", "tidy:1"))
    await tcp.text()
    await tcp.text()
    await tcp.send(CLOSED)
    assert await tcp.close_code() == 1000


ENDS = [close_frame, protocol_error, malformed, tcp_reset, tcp_end, kick, kill, stop, crash]
REASONS: dict[object, Callable[[Any], bool]] = {
    malformed: lambda reason: reason == Shutdown("malformed message"),
    kick: lambda reason: reason == Shutdown("disconnected"),
    kill: lambda reason: reason == KILLED,
    crash: lambda reason: isinstance(reason, Crash),
}
End = "Callable[[Server, Tcp], Awaitable[None]]"


def is_closed(reason: Any) -> bool:
    return bool(reason == Shutdown("closed"))


def transport_of(server: Server) -> Any:
    """Return the transport actor of the client that is no watcher."""
    processes = server.system.ref.process.scheduler.processes.values()
    [found] = [
        process.ref
        for process in processes
        if process.label == "transport" and isinstance(process.actor.socket, UserSocket)  # type: ignore[union-attr]
    ]
    return found


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@on_loop
async def test_a_handler_that_runs_is_finished_and_what_is_behind_it_is_handled(end: Any, log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        watcher, tcp = await watching(server), await busy(server)
        await end(server, tcp)
        await watcher.nothing_came()
        assert log == []
        Room.gate.set()
        await shouted(watcher, "wait", "shout")
        await until(lambda: len(log) == 1)
        assert REASONS.get(end, is_closed)(log[0])
        await watcher.close()
        await server.nothing_is_left()


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@on_loop
async def test_meanwhile_the_tree_shows_its_channel(end: Any) -> None:
    async with serving(SOCKETS) as server:
        tcp = await busy(server)
        channel = server.find("room:1")
        await end(server, tcp)
        await until(lambda: end not in (kill, stop, crash) or "transport" not in server.labels())
        supervisor = server.find("channels")
        await until(lambda: channel.process.parent is supervisor.process)
        assert [child.ref for child in await which_children(supervisor)] == [channel]
        above = await which_children(server.find("transports"))
        assert [child.ref for child in above] == [supervisor if end in (kill, stop, crash) else transport_of(server)]
        assert "room:1" in str(tree())
        Room.gate.set()
        await server.nothing_is_left()
        assert await which_children(server.find("transports")) == []


@pytest.mark.parametrize("end", [*ENDS, leave], ids=lambda end: end.__name__)
@on_loop
async def test_a_channel_that_takes_its_time_to_end_is_shown_too(end: Any, log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        tcp = await opened(server)
        await tcp.send(join("tidy:1"))
        await tcp.text()
        await end(server, tcp)
        channel = server.find("tidy:1")
        await until(lambda: channel.process.ending is not None)
        assert [child.ref for child in await which_children(server.find("channels"))] == [channel]
        assert "tidy:1" in str(tree())
        Room.gate.set()
        await server.nothing_is_left()
        assert len(log) == 1


@pytest.mark.parametrize("end", [close_frame, protocol_error, malformed, tcp_reset, kick])
@on_loop
async def test_meanwhile_the_connection_counts_against_the_limit(end: Any) -> None:
    async with serving(SOCKETS, limits=Limits(connections=1)) as server:
        await end(server, await busy(server))
        await until(lambda: not len(server.endpoint.idle))
        assert await status(server) == 503
        Room.gate.set()
        await until(lambda: server.endpoint.idle.open == 0)
        await (await server.tcp()).upgrade()


@on_loop
async def test_a_second_join_ends_the_first_channel_at_once(log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        watcher, tcp = await watching(server), await busy(server)
        await tcp.send(message("4", "phx_join", join_ref="4"))
        assert json.loads(await tcp.text())[:2] == ["4", "4"]
        assert json.loads(await tcp.text())[3] == "phx_close"
        assert log == ["cancelled", Shutdown("duplicate_join")]
        await watcher.nothing_came()


@on_loop
async def test_a_leave_waits_its_turn(log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        watcher, tcp = await watching(server), await busy(server)
        await tcp.send(message("4", "phx_leave"), CLOSED)
        Room.gate.set()
        await shouted(watcher, "wait", "shout")
        await until(lambda: log == [Shutdown("left")])


@on_loop
async def test_a_handler_that_fails_then_ends_its_channel_alone(log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        watcher = await watching(server, "room:2")
        tcp = await opened(server)
        await tcp.send(join(), join("room:2"))
        await tcp.text()
        await tcp.text()
        await tcp.send(message("2", "wait"), message("3", "fail"), message("4", "shout"))
        await tcp.send(message("5", "wait", "room:2"), message("6", "shout", "room:2"), CLOSED)
        assert await tcp.close_code() == 1000
        Room.gate.set()
        await shouted(watcher, "wait", "shout")
        await until(lambda: len(log) == 2)


# What is in one write with the end


ENDINGS = [
    pytest.param(CLOSED, 1000, id="close"),
    pytest.param(masked(0x83, "x"), 1002, id="reserved opcode"),
    pytest.param(MALFORMED, 1011, id="malformed"),
    pytest.param(MALFORMED + masked(0x83, "x"), 1011, id="malformed and a reserved opcode"),
    pytest.param(MALFORMED + CLOSED, 1011, id="malformed and a close"),
    pytest.param(MALFORMED + masked(PING, "x") + masked(TEXT, HEARTBEAT), 1011, id="malformed and a ping"),
]


@pytest.mark.parametrize(("ending", "code"), ENDINGS)
@pytest.mark.parametrize("waits", [False, True], ids=["join", "slow join"])
@on_loop
async def test_a_join_and_a_push_before_the_end_are_answered_and_handled(
    ending: bytes, code: int, *, waits: bool
) -> None:
    async with serving(SOCKETS) as server:
        watcher, tcp = await watching(server), await opened(server)
        await tcp.send(join(wait=waits), message("2", "shout"), ending)
        if waits:
            await watcher.nothing_came()
            Room.gate.set()
        assert json.loads(await tcp.text()) == ["1", "1", "room:1", "phx_reply", {"status": "ok", "response": {}}]
        assert await tcp.close_code() == code
        await tcp.send(CLOSED)
        assert await tcp.ended() == b""
        await shouted(watcher, "shout")
        await tcp.close()
        await watcher.close()
        await server.nothing_is_left()


@pytest.mark.parametrize(("ending", "code"), ENDINGS)
@on_loop
async def test_what_needs_no_channel_is_answered_before_the_end(ending: bytes, code: int) -> None:
    async with serving(SOCKETS) as server:
        tcp = await opened(server)
        before = [masked(TEXT, HEARTBEAT), message("2", "any", "room:9"), message("3", "phx_leave", "room:9")]
        await tcp.send(*before, message("4", "phx_join", "none"), ending)
        assert [json.loads(await tcp.text())[1] for _ in range(4)] == ["beat", "2", "3", "4"]
        assert await tcp.close_code() == code
        await tcp.send(CLOSED)
        assert await tcp.ended() == b""


@pytest.mark.parametrize("end", [tcp_reset, tcp_end], ids=lambda end: end.__name__)
@on_loop
async def test_what_waits_behind_a_slow_join_is_handled_when_the_client_goes(end: Any) -> None:
    async with serving(SOCKETS) as server:
        watcher, tcp = await watching(server), await opened(server)
        await tcp.send(join(wait=True), message("2", "shout"), masked(TEXT, HEARTBEAT))
        await tcp.text()
        await end(server, tcp)
        await watcher.nothing_came()
        Room.gate.set()
        await shouted(watcher, "shout")


@on_loop
async def test_a_kick_waits_for_a_slow_join_and_nothing_is_read_meanwhile() -> None:
    async with serving(SOCKETS) as server:
        watcher, tcp = await watching(server), await opened(server)
        await tcp.send(join(wait=True), message("2", "shout"), masked(TEXT, HEARTBEAT))
        await tcp.text()
        await kicked(server)
        await tcp.send(message("3", "late"), masked(TEXT, HEARTBEAT), masked(PING, "x"))
        await watcher.nothing_came()
        Room.gate.set()
        assert json.loads(await tcp.text())[1] == "1"
        assert await tcp.close_code() == 1001
        await shouted(watcher, "shout")
        await watcher.nothing_came()


async def kicked(server: Server) -> None:
    server.endpoint.broadcast("users:1", "disconnect", {})
    transport = transport_of(server)
    await get_state(transport)


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        pytest.param(masked(TEXT, HEARTBEAT) + masked(PING, "a"), [0x81, 0x8A], id="heartbeat, ping"),
        pytest.param(masked(PING, "a") + masked(TEXT, HEARTBEAT), [0x8A, 0x81], id="ping, heartbeat"),
        pytest.param(
            masked(PING, "a")
            + masked(TEXT, HEARTBEAT)
            + masked(PING, "b")
            + masked(PING, "c")
            + masked(TEXT, HEARTBEAT),
            [0x8A, 0x81, 0x8A, 0x8A, 0x81],
            id="in turn",
        ),
    ],
)
@on_loop
async def test_pongs_and_replies_are_in_the_order_of_what_they_answer(sent: bytes, answers: list[int]) -> None:
    async with serving(SOCKETS) as server:
        tcp = await opened(server)
        await tcp.send(sent)
        assert [(await tcp.frame())[0] for _ in answers] == answers


# The time that channels have


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@on_loop
async def test_a_handler_that_does_not_end_is_cancelled_after_the_shutdown_time(end: Any, log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        tcp = await busy(server, "hasty:1")
        await end(server, tcp)
        await server.nothing_is_left()
    assert log[0] == "cancelled"
    assert REASONS.get(end, is_closed)(log[1])


@on_loop
async def test_a_handler_that_cannot_be_cancelled_is_killed_after_the_shutdown_time(log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        tcp = await opened(server)
        await tcp.send(join("hasty:1"), message("2", "ignore", "hasty:1"), CLOSED)
        await tcp.text()
        assert await tcp.close_code() == 1000
        await server.nothing_is_left()
        assert log == ["cancelled", "cancelled"]


@on_loop
async def test_a_channel_that_is_to_be_killed_gets_no_time(log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        tcp = await busy(server, "brutal:1")
        await close_frame(server, tcp)
        await server.nothing_is_left()
    assert log == ["cancelled"]


# The server stops


@on_loop
async def test_a_system_that_stops_waits_for_what_was_received(log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        watcher, tcp = await watching(server), await busy(server)
        stopping = asyncio.ensure_future(server.system.stop())
        assert await tcp.close_code() == 1012
        assert log == []
        assert not stopping.done()
        Room.gate.set()
        await stopping
        assert log == [Shutdown("draining")]
        del watcher


@pytest.mark.parametrize("end", [close_frame, kill], ids=lambda end: end.__name__)
@on_loop
async def test_a_system_that_stops_waits_for_channels_that_have_lost_their_client(end: Any, log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        tcp = await busy(server)
        await end(server, tcp)
        stopping = asyncio.ensure_future(server.system.stop())
        await until(lambda: server.endpoint.refuses)
        assert "room:1" in server.labels()
        Room.gate.set()
        await stopping
        assert len(log) == 1
        assert not server.system.ref.is_alive()


@on_loop
async def test_a_system_that_stops_waits_for_a_join(log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        tcp = await opened(server)
        await tcp.send(join(wait=True), message("2", "shout"), masked(TEXT, HEARTBEAT))
        await tcp.text()
        stopping = asyncio.ensure_future(server.system.stop())
        await until(lambda: server.endpoint.refuses)
        Room.gate.set()
        assert json.loads(await tcp.text())[1] == "1"
        assert await tcp.close_code() == 1012
        await stopping
        assert log == [Shutdown("draining")]


@on_loop
async def test_a_system_that_stops_cancels_what_does_not_end(log: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        tcp = await busy(server, "hasty:1")
        await server.system.stop()
        assert await tcp.close_code() == 1012
        assert log == ["cancelled", Shutdown("draining")]
