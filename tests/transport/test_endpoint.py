"""The endpoint: who is let in, in which order that is asked, and what an application calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from actors import Actor, Broadcast, Channel, Reply, StartError, error, ok
from actors.lowlevel import spawn
from actors.pubsub import Adapter, PubSub
from supervisors import ChildExistsError, ChildSpec, System, start_child, terminate_child, which_children
from supervisors.supervisor import Supervisor
from tests.live import WAIT
from tests.transport.wire import HANDSHAKE, NO_CLOSE_FRAME, Server, barrier, on_loop, serving, until
from transport import ConnectInfo, Endpoint, Socket, SocketError, respond


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        if event == "from":
            self.socket.endpoint.broadcast_from(self.actor_ref, self.topic, "news", payload)
        return ok()


class Listening(list[Any]):
    """What an actor has heard."""


class Recorder(Actor):
    """Writes down what it hears."""

    def __init__(self, heard: Listening) -> None:
        self.heard = heard

    def on_receive(self, message: Any) -> None:
        self.heard.append(message)


class UserSocket(Socket):
    """Does with a client what its parameter `do` says, and writes down what it is asked."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it
    asked: list[Any] = []  # noqa: RUF012  # cleared for each test

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.asked.append((dict(params), connect_info))
        self.assigns["do"] = params.get("do")
        match params.get("do"):
            case "refuse":
                return error({"reason": "no"})
            case "raise":
                raise RuntimeError("on purpose")
            case "nonsense":
                return "yes"
        return ok()

    def id(self) -> Any:
        self.asked.append("id")
        match self.assigns["do"]:
            case "number":
                return 5
            case "raise in id":
                raise RuntimeError("on purpose")
            case "raise in id later" if self.asked.count("id") > 1:
                raise RuntimeError("later")
        return "users:alice"


class LaterSocket(UserSocket):
    """The same, but `async`."""

    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        await asyncio.sleep(0)
        return super().connect(params, connect_info)


SOCKETS = {"/socket": UserSocket, "/later": LaterSocket}


@pytest.fixture(autouse=True)
def asked() -> list[Any]:
    UserSocket.asked.clear()
    return UserSocket.asked


async def status(server: Server, request: str = HANDSHAKE, **replaced: str) -> int:
    """Return how a handshake is answered."""
    for name, text in replaced.items():
        old = {"query": "vsn=2.0.0", "path": "/socket", "method": "GET"}[name]
        request = request.replace(old, text, 1)
    tcp = await server.tcp()
    await tcp.send(request)
    return (await tcp.answer()).status


# Who is let in


@pytest.mark.parametrize("path", ["/socket", "/later"])
@pytest.mark.parametrize(
    ("do", "expected", "logged"),
    [
        ("accept", 101, ""),
        ("refuse", 403, ""),
        ("raise", 500, "on purpose"),
        ("nonsense", 500, "connect() must return ok() or error(), got 'yes'"),
        ("number", 403, "Socket.id() must return a str or None, got 5"),
        ("raise+in+id", 500, "on purpose"),
    ],
)
@on_loop
async def test_connect_and_id_decide(
    path: str, do: str, expected: int, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(SOCKETS) as server:
        assert await status(server, path=path, query=f"vsn=2.0.0&do={do}") == expected
        assert await status(server, path=path) == 101
    assert logged in caplog.text


@on_loop
async def test_a_transport_that_cannot_start_cuts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(UserSocket) as server:
        client = await server.connect(do="raise in id later")
        assert await client.closed() == NO_CLOSE_FRAME
        await server.nothing_is_left()
    assert "cannot start a transport" in caplog.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("vsn=2.0.0", 101),
        ("vsn=2.0.9&other=1", 101),
        ("vsn=1.0.0", 101),
        ("", 101),
        ("vsn=9&vsn=2.0.0", 101),
        ("vsn=2.0.0&vsn=9", 403),
        ("vsn=", 403),
        ("vsn=2", 403),
        ("vsn=2.0", 403),
        ("vsn=2.1.0", 403),
        ("vsn[]=2.0.0", 403),
        ("vsn=2.0.0%0a", 403),
        ("vsn=2.0.0&user=%ff", 400),
    ],
)
@on_loop
async def test_the_query_says_the_version(query: str, expected: int) -> None:
    async with serving(UserSocket) as server:
        assert await status(server, query=query) == expected


@pytest.mark.parametrize(
    ("check_origin", "origin", "expected"),
    [
        (True, None, 101),
        (True, "http://localhost:1234", 101),
        (True, "http://evil.org", 403),
        (False, "http://evil.org", 101),
        (["//example.com"], "https://example.com", 101),
        (["//example.com"], "http://localhost", 403),
        (["//example.com"], None, 101),
        ([], "http://localhost", 403),
    ],
)
@on_loop
async def test_the_page_must_be_an_allowed_one(
    check_origin: Any, origin: str | None, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    header = "" if origin is None else f"Origin: {origin}\r\n"
    async with serving(UserSocket, check_origin=check_origin) as server:
        assert await status(server, HANDSHAKE.replace("\r\n", "\r\n" + header, 1)) == expected
    assert (f"refused a page of origin {origin!r}" in caplog.text) is (expected == 403)


@pytest.mark.parametrize(
    "headers",
    ["Origin: http://localhost\r\nOrigin: http://localhost\r\n", "Origin: http://localhost\r\nHost: other\r\n"],
)
@on_loop
async def test_a_page_that_says_two_things_is_refused(headers: str) -> None:
    async with serving(UserSocket) as server:
        assert await status(server, HANDSHAKE.replace("\r\n", "\r\n" + headers, 1)) == 403


@pytest.mark.parametrize(
    ("request_text", "expected", "is_asked"),
    [
        (HANDSHAKE.replace("GET", "POST", 1).replace("vsn=2.0.0", "vsn=9&a=%ff"), 400, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9&a=%ff").replace("Host", "Origin: http://evil.org\r\nHost"), 400, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9").replace("Host", "Origin: http://evil.org\r\nHost"), 403, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9&do=raise"), 403, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=2.0.0&do=refuse").replace("Upgrade", "Downgrade"), 403, True),
        (HANDSHAKE.replace("Upgrade", "Downgrade"), 400, True),
    ],
    ids=["method", "query", "origin", "version", "connect", "handshake"],
)
@on_loop
async def test_what_is_wrong_first_decides(
    request_text: str, expected: int, asked: list[Any], *, is_asked: bool
) -> None:
    async with serving(UserSocket) as server:
        assert await status(server, request_text) == expected
    assert bool(asked) is is_asked


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("Upgrade: websocket\r\n", "", id="no Upgrade"),
        pytest.param("Upgrade: websocket", "Upgrade: h2c", id="other Upgrade"),
        pytest.param("Connection: Upgrade\r\n", "", id="no Connection"),
        pytest.param("Connection: Upgrade", "Connection: keep-alive", id="other Connection"),
        pytest.param("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", id="no key"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ==", "dGhl", id="short key"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ==", "?", id="key not base64"),
        pytest.param(
            "Sec-WebSocket-Key:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key:", id="two keys"
        ),
        pytest.param("Sec-WebSocket-Version: 13\r\n", "", id="no version"),
        pytest.param("Version: 13", "Version: 8", id="old version"),
        pytest.param("Version: 13", "Version: x", id="version no number"),
    ],
)
@on_loop
async def test_a_broken_handshake_is_400_with_the_reason(old: str, new: str) -> None:
    async with serving(UserSocket) as server:
        tcp = await server.tcp()
        assert old in HANDSHAKE
        await tcp.send(HANDSHAKE.replace(old, new))
        answer = await tcp.answer()
    assert answer.status == 400
    assert "WebSocket" in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
@on_loop
async def test_a_websocket_is_opened_by_get_only(method: str) -> None:
    async with serving(UserSocket) as server:
        assert await status(server, HANDSHAKE.replace("GET", method, 1)) == 400


@on_loop
async def test_the_answer_to_a_handshake_has_the_key_and_no_extension() -> None:
    async with serving(UserSocket) as server:
        tcp = await server.tcp()
        offers = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: phoenix, other\r\nHost:"
        await tcp.send(HANDSHAKE.replace("Host:", offers, 1))
        answer = await tcp.answer()
    assert answer.status == 101
    assert answer.header("Sec-WebSocket-Accept") == ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    assert answer.header("Sec-WebSocket-Extensions") == []
    assert answer.header("Sec-WebSocket-Protocol") == []


@on_loop
async def test_connect_gets_the_parameters_and_what_is_known_of_the_connection(asked: list[Any]) -> None:
    async with serving(UserSocket) as server:
        tcp = await server.tcp()
        query = "vsn=2.0.0&user=J%C3%BCrgen+M&a=1&a=2&empty="
        await tcp.send(HANDSHAKE.replace("vsn=2.0.0", query).replace("Host:", "X-Some-Header: one\r\nHost:"))
        await tcp.answer()
        me = tcp.writer.get_extra_info("sockname")
    params, info = asked[0]
    assert params == {"vsn": "2.0.0", "user": "Jürgen M", "a": "2", "empty": ""}
    assert (info.peer, info.path) == (me, "/socket/websocket")
    assert (info.headers["x-some-header"], info.headers["host"]) == ("one", "localhost")


@on_loop
async def test_while_the_connections_supervisor_is_away_a_client_is_told_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(UserSocket) as server:
        transports = server.endpoint._transports
        monkeypatch.setattr(server.endpoint, "_transports", None)
        assert await status(server) == 503
        monkeypatch.setattr(server.endpoint, "_transports", transports)
        assert await status(server) == 101


# Mounts and routes


@on_loop
async def test_sockets_and_routes_share_a_port() -> None:
    routes = {"/": lambda _: respond(200, "page")}
    async with serving({"/one/": UserSocket, "/two": LaterSocket}, routes=routes) as server:
        assert await status(server, path="/one") == 101
        assert await status(server, path="/two") == 101
        assert await status(server, path="/three") == 404
        assert (await (await server.tcp()).get("/")).body == "page"


@on_loop
async def test_a_connection_may_join_as_many_topics_as_the_endpoint_allows() -> None:
    async with serving(UserSocket, max_channels=2) as server:
        client = await server.connect()
        await client.join("room:1")
        await client.join("room:2")
        await client.send("9", "9", "room:3", "phx_join", {})
        response = {"reason": "too many channels joined"}
        assert await client.recv() == ["9", "9", "room:3", "phx_reply", {"status": "error", "response": response}]


# What an application calls


@on_loop
async def test_the_url_has_the_port_that_it_got() -> None:
    async with serving(UserSocket) as server:
        assert server.endpoint.port != 0
        assert server.endpoint.url == f"http://127.0.0.1:{server.endpoint.port}"


@on_loop
async def test_a_broadcast_may_come_from_any_thread() -> None:
    async with serving(UserSocket) as server:
        client = await server.connect()
        await client.join("room:1")
        thread = threading.Thread(target=server.endpoint.broadcast, args=("room:1", "news", {"a": 1}))
        thread.start()
        assert await client.recv() == [None, None, "room:1", "news", {"a": 1}]
        thread.join(WAIT)


@on_loop
async def test_a_payload_that_clients_cannot_expect_is_an_error_for_whoever_broadcasts_it() -> None:
    async with serving(UserSocket) as server:
        client = await server.connect()
        await client.join("room:1")
        endpoint = server.endpoint
        for broadcast in (
            endpoint.broadcast,
            endpoint.local_broadcast,
            partial(endpoint.broadcast_from, server.system.ref),
        ):
            with pytest.raises(TypeError, match=r"a payload must be a dict, a msgspec\.Struct or bytes, got \[1\]"):
                broadcast("room:1", "news", [1])
        await client.nothing_came()


@on_loop
async def test_broadcast_from_leaves_out_its_sender() -> None:
    async with serving(UserSocket) as server:
        one, two = await server.connect(), await server.connect()
        join_ref = await one.join("room:1")
        await two.join("room:1")
        await one.ask(join_ref, "room:1", "from", {"a": 1})
        assert await two.recv() == [None, None, "room:1", "news", {"a": 1}]
        await one.nothing_came()


@on_loop
async def test_an_actor_hears_what_it_subscribes_to_until_it_unsubscribes() -> None:
    async with serving(UserSocket) as server:
        endpoint, heard = server.endpoint, Listening()
        ref = await start_child(server.system.ref, ChildSpec(Recorder, (heard,)))
        client = await server.connect()
        await client.join("room:1")
        endpoint.subscribe("room:1", ref)
        endpoint.local_broadcast("room:1", "news", {"n": 1})
        assert await client.recv() == [None, None, "room:1", "news", {"n": 1}]
        await barrier(ref)
        assert heard == [Broadcast("room:1", "news", {"n": 1})]
        endpoint.unsubscribe("room:1", ref)
        endpoint.broadcast("room:1", "news", {"n": 2})
        assert await client.recv() == [None, None, "room:1", "news", {"n": 2}]
        await barrier(ref)
        assert len(heard) == 1
        await terminate_child(server.system.ref, "Recorder")


@on_loop
async def test_a_disconnect_closes_all_connections_of_an_id_with_1001() -> None:
    async with serving(UserSocket) as server:
        one, two = await server.connect(), await server.connect()
        await one.join("room:1")
        server.endpoint.broadcast("users:bob", "disconnect", {})
        await one.nothing_came()
        server.endpoint.broadcast("users:alice", "disconnect", {})
        assert [await one.closed(), await two.closed()] == [1001, 1001]
        await server.nothing_is_left()


def test_an_endpoint_that_does_not_run_has_no_pubsub() -> None:
    with pytest.raises(RuntimeError, match="the endpoint is not running; make it a child of a System"):
        Endpoint({}).broadcast("room:1", "news", {})


@on_loop
async def test_an_endpoint_without_a_system_says_what_it_needs() -> None:
    supervisor = spawn(Supervisor, ([Endpoint({}, port=0)],))
    assert supervisor.process.started is not None
    with pytest.raises(StartError) as failed:
        await supervisor.process.started
    assert str(failed.value.root) == "an endpoint needs a PubSub that runs before it; make it a child of a System"


@on_loop
async def test_two_endpoints_may_share_a_system() -> None:
    one, two = Endpoint({"/socket": UserSocket}, port=0), Endpoint({"/socket": LaterSocket}, port=0)
    async with System([one, two.child_spec().having(id="second")]):
        assert one.port != two.port
        assert one.pubsub is two.pubsub


@on_loop
async def test_two_endpoints_of_one_tree_have_two_names() -> None:
    one, two = Endpoint({"/socket": UserSocket}, port=0), Endpoint({"/socket": UserSocket}, port=0, name="admin")
    async with System([one, two]) as system:
        assert [child.id for child in await which_children(system.ref)] == ["pubsub", "endpoint", "admin"]
        assert "├── endpoint <" in system.tree()
        assert "└── admin <" in system.tree()


def test_two_endpoints_of_one_tree_without_a_name_show_the_line_to_write() -> None:
    with pytest.raises(
        ChildExistsError, match=r"""child with id 'endpoint' already; .*: Endpoint\(…, name="other"\)$"""
    ):
        Supervisor([Endpoint({}), Endpoint({})])


@pytest.mark.parametrize("name", ["", None, 5], ids=["empty", "None", "a number"])
def test_the_name_of_an_endpoint_is_a_text(name: Any) -> None:
    with pytest.raises(SocketError, match=rf"""a non-empty str such as Endpoint\(…, name="admin"\), got {name!r}$"""):
        Endpoint({}, name=name)


# The PubSub of its own tree


def a_system(name: str, **options: Any) -> tuple[System, Endpoint]:
    """Return a system with an endpoint that share the event loop with others."""
    endpoint = Endpoint({"/socket": UserSocket}, **({"port": 0} | options))
    return System([endpoint], pubsub=PubSub(name=name), name=name.title()), endpoint


@on_loop
async def test_two_systems_with_endpoints_share_an_event_loop() -> None:
    (shop, first), (forum, second) = a_system("shop"), a_system("forum")
    async with shop, forum, AsyncExitStack() as stack:
        assert (first.pubsub, second.pubsub) == (shop.pubsub, forum.pubsub)
        here = await Server(first, shop, stack).connect()
        there = await Server(second, forum, stack).connect()
        for client in (here, there):
            await client.join("room:1")
        first.broadcast("room:1", "news", {"n": 1})
        assert await here.recv() == [None, None, "room:1", "news", {"n": 1}]
        await there.nothing_came()
        second.broadcast("users:alice", "disconnect", {})
        assert await there.closed() == 1001
        await here.nothing_came()


@on_loop
async def test_an_endpoint_is_restarted_with_the_pubsub_of_its_tree_also_while_that_is_down() -> None:
    (shop, first), (forum, second) = a_system("shop"), a_system("forum")
    async with shop, forum, AsyncExitStack() as stack:
        server = Server(first, shop, stack)
        for label in ("shop", "endpoint"):
            found = [each for each in await which_children(shop.ref) if each.id == label]
            assert found[0].ref is not None
            down = found[0].ref.down()
            found[0].ref.kill()
            if label == "endpoint":
                await down
        await barrier(shop.ref)
        await until(lambda: first.transports is not None)
        assert (first.pubsub, second.pubsub) == (shop.pubsub, forum.pubsub)
        client = await server.connect()
        await client.join("room:1")
        first.broadcast("room:1", "news", {"n": 1})
        assert await client.recv() == [None, None, "room:1", "news", {"n": 1}]


@on_loop
async def test_the_nearest_pubsub_is_taken() -> None:
    inner, near, far = PubSub("inner"), Endpoint({}, port=None), Endpoint({}, port=None, name="far")
    nested = ChildSpec(Supervisor, ([inner, near, ChildSpec(Supervisor, ([far],), id="below")],), id="nested")
    outer = Endpoint({}, port=None)
    async with System([nested, outer], pubsub=PubSub("outer")) as system:
        assert (near.pubsub, far.pubsub, outer.pubsub) == (inner, inner, system.pubsub)


def test_systems_in_threads_may_all_have_the_usual_names() -> None:
    one, two = Endpoint({}, port=None), Endpoint({}, port=None)
    with System([one]) as first, System([two]) as second:
        assert (one.pubsub, two.pubsub) == (first.pubsub, second.pubsub)


def test_an_endpoint_of_a_system_in_a_thread_takes_a_pubsub_of_any_name() -> None:
    system, endpoint = a_system("shop", port=None)
    with system:
        assert endpoint.pubsub is system.pubsub


class Bridge(Adapter):
    """Hands what is published to another PubSub of the same event loop."""

    other: PubSub

    def publish(self, topic: str, message: object) -> None:
        self.other.local_broadcast(topic, message)

    def subscribed(self, topic: str) -> None:
        pass

    def unsubscribed(self, topic: str) -> None:
        pass


@on_loop
async def test_what_an_endpoint_and_its_channels_broadcast_reaches_the_clients_of_other_processes() -> None:
    bridges = Bridge(), Bridge()
    pubsubs = [PubSub(name, adapter=bridge) for name, bridge in zip(("one", "two"), bridges, strict=True)]
    bridges[0].other, bridges[1].other = pubsubs[1], pubsubs[0]
    one, two = (Endpoint({"/socket": UserSocket}, port=0) for _ in pubsubs)
    async with (
        System([one], pubsub=pubsubs[0]) as first,
        System([two], pubsub=pubsubs[1]) as second,
        AsyncExitStack() as stack,
    ):
        here = await Server(one, first, stack).connect()
        there = await Server(two, second, stack).connect()
        join_ref = await here.join("room:1")
        await there.join("room:1")
        one.local_broadcast("room:1", "news", {"n": 0})
        assert await here.recv() == [None, None, "room:1", "news", {"n": 0}]
        one.broadcast("room:1", "news", {"n": 1})
        for client in (here, there):
            assert await client.recv() == [None, None, "room:1", "news", {"n": 1}]
        await here.ask(join_ref, "room:1", "from", {"n": 2})
        assert await there.recv() == [None, None, "room:1", "news", {"n": 2}]
        two.broadcast("users:alice", "disconnect", {})
        assert [await here.closed(), await there.closed()] == [1001, 1001]
