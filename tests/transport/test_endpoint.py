"""The endpoint: its mounts and routes, what an application calls, and its place in the tree."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request

from actors import Actor, Broadcast, Channel, Reply, StartError, ok
from actors.lowlevel import spawn
from actors.pubsub import Adapter, PubSub
from supervisors import ChildExistsError, ChildSpec, System, start_child, terminate_child, which_children
from supervisors.supervisor import Supervisor
from tests.live import WAIT
from tests.transport.wire import Server, barrier, limits_reached, on_loop, serving, status, until
from transport import Endpoint, Extension, Socket, SocketError, respond
from transport.exceptions import UnencodableError
from transport.http.exchange import SMALL_BODY, Incoming


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
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it

    def id(self) -> str:
        return "users:alice"


class OtherSocket(UserSocket):
    """Another one, on another path."""


# Mounts and routes


@on_loop
async def test_sockets_and_routes_share_a_port() -> None:
    routes = {"/": lambda _: respond(200, "page")}
    async with serving({"/one/": UserSocket, "/two": OtherSocket}, routes=routes) as server:
        assert await status(server, path="/one") == 101
        assert await status(server, path="/two") == 101
        assert await status(server, path="/three") == 404
        assert (await (await server.tcp()).get("/")).body == "page"


class Uploads(Extension):
    max_body = 1_000_000

    def handlers(self) -> dict[str, Any]:
        return {"/upload": lambda _: respond(200)}


class Forms(Extension):
    def handlers(self) -> dict[str, Any]:
        return {"/form": lambda _: respond(200)}


@pytest.mark.parametrize(
    ("method", "path", "admitted"),
    [
        ("POST", "/nowhere", 404),
        ("POST", "//[", 404),
        ("POST", "/", 405),
        ("GET", "/", 200),
        ("GET", "/socket/websocket?vsn=2.0.0", SMALL_BODY),
        ("POST", "/form", SMALL_BODY),
        ("POST", "/upload", 1_000_000),
    ],
)
def test_a_large_body_is_taken_only_where_one_is_expected(method: str, path: str, admitted: int) -> None:
    endpoint = Endpoint({"/socket": UserSocket}, routes={"/": lambda _: respond(200)}, extensions=[Uploads(), Forms()])
    admission = endpoint.admit(Incoming(Request(path, Headers(), method), b"", None))
    assert (admission if isinstance(admission, int) else admission.status_code) == admitted


@pytest.mark.parametrize(
    ("option", "value", "error", "text"),
    [
        ("limits", {"joins": 5}, SocketError, r"^limits must be a Limits such as .*, got \{'joins': 5\}$"),
        ("limits", None, SocketError, "^limits must be a Limits"),
        ("outbox", 1_000_000, SocketError, "^outbox must be an OutboxPolicy such as .*, got 1000000$"),
        ("max_frame_size", 0, ValueError, "^max_frame_size must be .*, got 0$"),
        ("max_frame_size", None, ValueError, "^max_frame_size must be"),
        ("max_channels", -1, ValueError, "^max_channels must be .*, got -1$"),
        ("max_channels", "many", ValueError, "^max_channels must be"),
        ("idle_timeout", 0, ValueError, "^idle_timeout must be"),
    ],
)
def test_a_limit_that_cannot_be_is_an_error_where_it_is_written(
    option: str, value: object, error: type[Exception], text: str
) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(error, match=text):
        Endpoint({}, **options)


def test_a_limit_that_is_reached_is_an_event_each_time_and_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endpoint = Endpoint({}, port=None, max_channels=7)
    with limits_reached() as reached:
        for _ in range(3):
            endpoint.reached("max_channels")
    assert reached == ["max_channels"] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "a limit was reached: max_channels is 7; Endpoint(max_channels=…) changes it"
    ]


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


@pytest.mark.parametrize("host", ["::1", "::"])
@on_loop
async def test_the_url_of_an_ipv6_address_has_brackets(host: str) -> None:
    async with serving(UserSocket, host=host) as server:
        url = urlsplit(server.endpoint.url)
        assert (url.hostname, url.port) == (host, server.endpoint.port)


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


class Unwritable:
    """A value that no serializer can encode."""


async def fetch() -> None:
    """Is never awaited."""


@on_loop
@pytest.mark.parametrize("clients", ["no client", "a client"])
@pytest.mark.parametrize("thread", ["its thread", "another thread"])
async def test_what_cannot_be_encoded_is_an_error_of_the_caller(clients: str, thread: str) -> None:
    joined = clients == "a client"
    async with serving(UserSocket) as server:
        client = await server.connect()
        if joined:
            await client.join("room:1")
        call: Any = called if thread == "its thread" else asyncio.to_thread
        at = r"payload of 'news' on 'room:1' at \$\.a"
        with pytest.raises(UnencodableError, match=rf"^{at}\[0\]: Encoding objects of type Unwritable") as caught:
            await call(server.endpoint.broadcast, "room:1", "news", {"a": [Unwritable()]})
        assert caught.value.__suppress_context__
        with pytest.raises(UnencodableError, match=rf"^{at}: a coroutine of fetch\(\): an `await` is missing"):
            await call(server.endpoint.local_broadcast, "room:1", "news", {"a": fetch()})
        with pytest.raises(TypeError, match="an event must be a str"):
            await call(server.endpoint.broadcast, "room:1", {"a": 1}, {})
        with pytest.raises(TypeError, match="a topic must be a str"):
            await call(server.endpoint.broadcast, 1, "news", {})
        if joined:
            await client.nothing_came()


async def called(function: Any, *args: Any) -> Any:
    return function(*args)


@on_loop
async def test_a_broadcast_is_sent_as_it_was_when_it_was_made() -> None:
    async with serving(UserSocket) as server:
        client = await server.connect()
        await client.join("room:1")

        def broadcast() -> None:
            payload: dict[str, Any] = {"a": {"b": [1]}}
            server.endpoint.broadcast("room:1", "news", payload)
            payload["a"]["b"].append(2)
            payload["c"] = 3

        thread = threading.Thread(target=broadcast)
        thread.start()
        thread.join(WAIT)  # the event loop delivers only now
        assert await client.recv() == [None, None, "room:1", "news", {"a": {"b": [1]}}]


@on_loop
async def test_an_actor_gets_a_broadcast_as_it_was_when_it_was_made() -> None:
    async with serving(UserSocket) as server:
        heard = Listening()
        ref = await start_child(server.system.ref, ChildSpec(Recorder, (heard,)))
        server.endpoint.subscribe("room:1", ref)
        payload: dict[str, Any] = {"a": [1]}
        server.endpoint.broadcast("room:1", "news", payload)
        payload["a"].append(2)
        await barrier(ref)
        assert heard == [Broadcast("room:1", "news", {"a": [1]})]
        await terminate_child(server.system.ref, "Recorder")


@on_loop
async def test_what_no_client_is_sent_may_be_any_object() -> None:
    class Intercepting(RoomChannel):
        intercept = ("news",)

        def handle_out(self, event: str, payload: Any) -> None:
            self.push(event, {"type": type(payload["it"]).__name__})

    class InterceptingSocket(Socket):
        channels: ClassVar = {"room:*": Intercepting}

    async with serving(InterceptingSocket) as server:
        server.endpoint.broadcast("room:1", "news", {"it": Unwritable()})
        server.endpoint.broadcast("jobs", "news", {"it": Unwritable()})
        client = await server.connect()
        join_ref = await client.join("room:1")
        server.endpoint.broadcast("room:1", "news", {"it": Unwritable()})
        assert await client.recv() == [join_ref, None, "room:1", "news", {"type": "Unwritable"}]


@on_loop
@pytest.mark.parametrize("payload", [[1], None, 0.01, "text", True], ids=repr)
async def test_a_broadcast_that_is_no_object_reaches_clients_of_version_1(payload: Any) -> None:
    async with serving(UserSocket) as server:
        client = await server.connect(vsn="1.0.0")
        await client.connection.send(json.dumps({"topic": "room:1", "event": "phx_join", "payload": {}, "ref": "1"}))
        await client.recv()
        server.endpoint.broadcast("room:1", "news", payload)
        await asyncio.to_thread(server.endpoint.broadcast, "room:1", "more", payload)
        for event in ("news", "more"):
            got: object = await client.recv()
            assert got == {"topic": "room:1", "event": event, "payload": payload, "ref": None}
        other = await server.connect()
        await other.join("room:1")
        with pytest.raises(TypeError, match="a payload must be a dict"):
            server.endpoint.broadcast("room:1", "news", payload)
        await other.nothing_came()


class Echoing(RoomChannel):
    def handle_in(self, event: str, payload: Any) -> Any:
        self.push("pushed")
        return ok()


class EchoingSocket(Socket):
    channels: ClassVar = {"room:*": Echoing}


@on_loop
@pytest.mark.parametrize("join_ref", [None, False])
async def test_the_ref_of_a_join_without_a_join_ref_is_in_later_messages(join_ref: Any) -> None:
    async with serving(EchoingSocket) as server:
        client = await server.connect()
        await client.send(join_ref, "7", "room:1", "phx_join", {})
        assert (await client.recv())[:2] == [join_ref, "7"]
        await client.send(join_ref, "8", "room:1", "any", {})
        assert [(await client.recv())[:2] for _ in range(2)] == [["7", None], ["7", "8"]]


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
    one, two = Endpoint({"/socket": UserSocket}, port=0), Endpoint({"/socket": OtherSocket}, port=0)
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
async def test_an_endpoint_runs_in_one_system_at_a_time() -> None:
    # Without a port, as under ASGI, no listening socket is in the way of the second one.
    first, endpoint = a_system("shop", port=None)
    second = System([endpoint], pubsub=PubSub(name="forum"))
    async with first:
        transports = endpoint.transports
        with pytest.raises(StartError) as failed:
            await second.start()
        assert str(failed.value.root) == "Endpoint 'endpoint' is running already; each System needs one of its own"
        assert (endpoint.pubsub, endpoint.transports) == (first.pubsub, transports)
    async with second:
        assert endpoint.pubsub is second.pubsub


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

    def publish(self, topic: str, data: bytes) -> None:
        self.other.receive(topic, data)

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


@on_loop
async def test_a_websocket_where_there_is_no_socket_is_refused_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(UserSocket) as server:
        for path in ("/socket", "/ws?token=secret"):
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{server.endpoint.port}{path}", proxy=None)
    lines = [record.getMessage() for record in caplog.records if "there is no socket" in record.getMessage()]
    assert lines == [
        f"refused a WebSocket at {path!r}: there is no socket; those of this endpoint are at /socket/websocket"
        for path in ("/socket", "/ws")
    ]
