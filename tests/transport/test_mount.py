"""How many clients a mounted socket accepts, and how long it waits for `connect`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from actors import Actor, Channel, Reply, ok, telemetry
from actors.pubsub import Adapter, PubSub
from actors.registry import ActorRegistry
from supervisors.system import System
from tests.transport.wire import Answer, Server, Tcp, on_loop, serving, status
from transport import ConnectInfo, Endpoint, Socket
from transport.limits import Limits
from transport.socket_events import LIMIT_REACHED, REFUSED


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()


class NamedSocket(Socket):
    """A user by the name that it gives."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.assigns["user"] = params.get("user")
        return ok()

    def id(self) -> str | None:
        user: str | None = self.assigns["user"]
        return user


class LaterSocket(NamedSocket):
    """Takes as long as its test wants."""

    ends: list[str] = []  # noqa: RUF012  # cleared for each test

    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        match params.get("do"):
            case "wait":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.ends.append("cancelled")
            case "time out":
                raise TimeoutError("of the application")
            case "raise":
                raise asyncio.CancelledError
        await asyncio.sleep(0)
        return super().connect(params, connect_info)


SOCKETS = {"/socket": NamedSocket, "/later": LaterSocket}


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The limits that were reached, and the statuses of refusals."""
    seen: list[Any] = []
    LaterSocket.ends.clear()
    telemetry.attach(
        "test", [LIMIT_REACHED, REFUSED], lambda _event, _n, about: seen.append(about.get("limit") or about["code"])
    )
    yield seen
    telemetry.detach("test")


async def poll(server: Any, query: str = "", path: str = "/socket") -> tuple[int, bytes]:
    """Ask for a session of long polling; return the HTTP status and the body."""
    tcp = await server.tcp()
    tcp.writer.write(
        f"GET {path}/longpoll?vsn=2.0.0{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await tcp.reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("path", ["/socket", "/later"])
@on_loop
async def test_an_address_has_so_many_connections_whatever_carries_them(path: str, events: list[Any]) -> None:
    async with serving(SOCKETS, limits=Limits(connections_per_address=2)) as server:
        first = await server.connect(path)
        assert (await poll(server, path=path))[0] == 200
        assert await status(server, path=path) == 429
        assert await poll(server, path=path) == (429, b'{"status":500}')
        assert events == ["connections_per_address", 429] * 2
        await first.close()
        await server.watched()
        assert await status(server, path=path) == 101


@pytest.mark.parametrize("path", ["/socket", "/later"])
@on_loop
async def test_a_user_has_so_many_connections(path: str, events: list[Any]) -> None:
    async with serving(SOCKETS, limits=Limits(connections_per_id=1)) as server:
        await server.connect(path, user="alice")
        assert await status(server, path=path, query="vsn=2.0.0&user=alice") == 429
        assert (await poll(server, "&user=alice", path))[0] == 429
        assert events == ["connections_per_id", 429] * 2
        await server.connect(path, user="bob")
        for _ in range(3):
            await server.connect(path)


@on_loop
async def test_an_async_connect_has_a_time(events: list[Any]) -> None:
    async with serving(SOCKETS, limits=Limits(connect_timeout=0.02)) as server:
        assert await status(server, path="/later", query="vsn=2.0.0&do=wait") == 503
        assert await poll(server, "&do=wait", "/later") == (503, b'{"status":500}')
        assert events == ["connect_timeout", 503] * 2
        assert LaterSocket.ends == ["cancelled"] * 2
        assert await status(server, path="/later") == 101


@on_loop
async def test_a_cancellation_of_the_applications_is_an_error_of_the_application(events: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        assert await status(server, path="/later", query="vsn=2.0.0&do=raise") == 500
        assert (await poll(server, "&do=raise", "/later"))[0] == 500
        assert events == [500] * 2


@on_loop
async def test_a_time_out_of_the_applications_is_an_error_of_the_application(events: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        assert await status(server, path="/later", query="vsn=2.0.0&do=time+out") == 500
        assert events == [500]


# Disconnected by id, or over, while it connects


class Kicker(Actor):
    """Disconnects a user as soon as it gets its turn."""

    def on_receive(self, message: Any) -> None:
        endpoint, user = message
        endpoint.broadcast(user, "disconnect", {})


class KickedSocket(NamedSocket):
    """Is disconnected right after `connect`, before its actor has started, or inside, before it is accepted."""

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        match params.get("kick"):
            case "after":
                Kicker.start().send((self.endpoint, params["user"]))
            case "inside":
                self.endpoint.broadcast(params["user"], "disconnect", {})
        return super().connect(params, connect_info)


@on_loop
async def test_a_disconnect_by_id_reaches_a_client_that_is_being_accepted() -> None:
    async with serving(KickedSocket) as server:
        kicked = await server.connect(user="ann", kick="after")
        assert await kicked.closed() == 1001
        for kick in ("inside", "none"):
            other = await server.connect(user="ann", kick=kick)
            await other.nothing_came()
        await stop_all(Kicker)


@on_loop
async def test_a_disconnect_by_id_reaches_a_session_that_is_being_accepted() -> None:
    async with serving(KickedSocket) as server:
        tcp = await server.tcp()
        opened = await tcp.get("/socket/longpoll?vsn=2.0.0&user=ann&kick=after")
        token = json.loads(opened.body)["token"]
        answer = await tcp.get(f"/socket/longpoll?vsn=2.0.0&user=ann&token={token}")
        assert json.loads(answer.body)["status"] == 410
        await stop_all(Kicker)


class Subscribing(Adapter):
    """Its subscriptions take effect when the test says so."""

    def __init__(self) -> None:
        self.effect: asyncio.Future[None] | None = None

    def publish(self, topic: str, data: bytes) -> None:
        pass

    def subscribed(self, topic: str) -> None:
        pass

    def unsubscribed(self, topic: str) -> None:
        pass

    def in_effect(self, topic: str) -> asyncio.Future[None] | None:
        return self.effect if topic == "ann" else None


@on_loop
async def test_a_disconnect_of_another_process_reaches_a_client_that_is_not_subscribed_yet() -> None:
    adapter = Subscribing()
    pubsub, endpoint = PubSub(adapter=adapter), Endpoint({"/socket": NamedSocket}, port=0)
    async with System([endpoint], pubsub=pubsub) as system, AsyncExitStack() as stack:
        server = Server(endpoint, system, stack)
        for is_kicked in (True, False):
            adapter.effect = asyncio.get_running_loop().create_future()
            client = await server.connect(user="ann")
            await client.join("room:1")
            # What the process learns of the disconnects of others; their broadcast itself was not received.
            pubsub.disconnects.add("ann" if is_kicked else "ben")
            await client.nothing_came()
            adapter.effect.set_result(None)
            if is_kicked:
                assert await client.closed() == 1001
            else:
                await client.nothing_came()


async def stop_all(kind: type[Actor]) -> None:
    for ref in ActorRegistry.get_by_class(kind):
        await ref.stop(block=False)


class PassingSocket(NamedSocket):
    """Expires when its client says."""

    expiry_leeway = 0.0

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.expire_in(0)
        assert self.expires_at is not None
        self.expires_at += float(params["seconds"])
        return super().connect(params, connect_info)

    def handle_token(self, token: str) -> Any:
        self.expire_in(float(token))
        return ok()


@on_loop
async def test_a_client_whose_time_is_over_is_refused_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(PassingSocket) as server:
        assert await status(server, query="vsn=2.0.0&seconds=-60") == 403
        assert "is in the past; it is a Unix time, such as time.time() + 3600" in caplog.text
        answer = await (await server.tcp()).get("/socket/longpoll?vsn=2.0.0&seconds=-60")
        assert json.loads(answer.body)["status"] == 403


@on_loop
async def test_a_connection_expires_on_the_clock_of_the_machine() -> None:
    async with serving(PassingSocket) as server:
        client = await server.connect(seconds="0.05")
        assert await client.recv() == [None, None, "phoenix", "token_expires", {"expires_in": 0}]
        assert await client.closed() == 1008


async def post(tcp: Tcp, path: str, body: str) -> Answer:
    await tcp.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    return await tcp.answer()


@on_loop
async def test_a_session_that_expires_ends_a_waiting_poll_and_then_is_gone() -> None:
    async with serving(PassingSocket) as server:
        tcp, posting = await server.tcp(), await server.tcp()
        opened = await tcp.get("/socket/longpoll?vsn=2.0.0&seconds=60")
        path = f"/socket/longpoll?vsn=2.0.0&seconds=-60&token={json.loads(opened.body)['token']}"
        posted = await post(posting, path, '[null,"1","phoenix","access_token",{"access_token":"0.05"}]')
        assert json.loads(posted.body) == {"status": 200}
        [reply] = json.loads((await tcp.get(path)).body)["messages"]
        assert json.loads(reply)[4] == {"status": "ok", "response": {}}
        statuses = [200]
        while statuses[-1] in (200, 204):
            statuses.append(json.loads((await tcp.get(path)).body)["status"])
        # A new session would begin; but `connect` refuses it.
        assert statuses[-1] == 403
        assert json.loads((await post(posting, path, "x")).body)["status"] == 410
