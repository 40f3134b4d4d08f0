"""Extensions: tools that an endpoint serves without knowing them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actors import ActorRef, Channel, PubSub, Reply, StartError, ok
from supervisors import System
from tests.transport.wire import HANDSHAKE, Server, on_loop, serving, until
from transport import Endpoint, Extension, Metrics, Observer, Socket, SocketError, respond
from transport.mount import Mount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.http11 import Response

    from transport.endpoint_api import EndpointAPI
    from transport.http.exchange import Application, Incoming
    from transport.http.pages import Page
    from transport.mount import MountedOn


class LoadChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        endpoint = self.socket.endpoint
        assert isinstance(endpoint, Endpoint)
        load = endpoint.extension(Load)
        assert load is not None
        return ok({"attached": load.attached})


class LoadSocket(Socket):
    channels = {"load": LoadChannel}  # noqa: RUF012  # as an author writes it


class Load(Extension):
    """A page, a handler, a socket, and a record of what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.attached = 0

    def routes(self) -> Mapping[str, Page]:
        return {"/load": lambda _request: respond(200, f"attached {self.attached}")}

    def handlers(self) -> Mapping[str, Application]:
        return {"/load/set": self._set}

    async def _set(self, incoming: Incoming) -> Response:
        await asyncio.sleep(0)
        return respond(202, f"{incoming.request.method} {incoming.body.decode()}")

    def sockets(self) -> Mapping[str, type[Socket]]:
        return {"/load/socket": LoadSocket}

    def attach(self, supervisor: ActorRef[Any], pubsub: PubSub) -> None:
        self.attached += 1
        self.told.append(("attach", supervisor, pubsub))

    def detach(self) -> None:
        self.attached -= 1
        self.told.append("detach")


def endpoint_of(server: Server) -> ActorRef[Any]:
    return server.find("endpoint")


@on_loop
async def test_it_serves_pages_handlers_and_sockets() -> None:
    async with serving({}, extensions=[Load()]) as server:
        tcp = await server.tcp()
        page = await tcp.get("/load")
        assert (page.status, page.body) == (200, "attached 1")
        assert (await tcp.get("/load", method="POST")).status == 405
        await tcp.send("PUT /load/set HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n42")
        answer = await tcp.answer()
        assert (answer.status, answer.body) == (202, "PUT 42")
        client = await server.connect("/load/socket")
        assert await client.ask("1", "load", "phx_join") == {"attached": 1}
        assert (await tcp.get("/load/socket/longpoll?vsn=2.0.0")).status == 404


@on_loop
async def test_it_is_attached_while_the_endpoint_runs() -> None:
    load = Load()
    async with serving({}, extensions=[load]) as server:
        first = endpoint_of(server)
        assert load.told == [("attach", first, server.endpoint.pubsub)]
        first.kill()
        await until(lambda: len(load.told) == 3)
        assert load.told[1:] == ["detach", ("attach", endpoint_of(server), server.endpoint.pubsub)]
        assert endpoint_of(server) != first
    assert load.told[3:] == ["detach"]


class Broken(Extension):
    def attach(self, supervisor: ActorRef[Any], pubsub: PubSub) -> None:
        raise RuntimeError("no load today")


@on_loop
async def test_one_that_cannot_be_attached_keeps_the_endpoint_from_starting() -> None:
    good, broken = Load(), Broken()
    with pytest.raises(StartError, match="no load today"):
        await System([Endpoint({}, port=None, extensions=[good, broken])]).start()
    assert (good.attached, good.told[1:]) == (0, ["detach"])


class Shared(Extension):
    """One object for several endpoints: what it serves knows which one it is on."""

    def bind(self, endpoint: EndpointAPI) -> Extension:
        return Named(endpoint)


class Named(Extension):
    def __init__(self, endpoint: EndpointAPI) -> None:
        self._endpoint = endpoint

    def routes(self) -> Mapping[str, Page]:
        return {"/name": lambda _request: respond(200, self._endpoint.url)}


def test_one_object_may_make_an_extension_for_each_endpoint() -> None:
    shared = Shared()
    endpoints = [Endpoint({}, port=port, extensions=[shared]) for port in (4001, 4002)]
    named = [endpoint.extension(Named) for endpoint in endpoints]
    assert [extension and extension._endpoint for extension in named] == endpoints


def test_an_endpoint_finds_its_extensions_by_their_class() -> None:
    load, observer = Load(), Observer()
    endpoint = Endpoint({}, observer=observer, extensions=[load])
    assert endpoint.extension(Load) is load
    assert endpoint.extension(Observer) is endpoint.observer is observer
    assert endpoint.extension(Shared) is None


def test_metrics_and_the_observer_can_be_given_as_extensions_too() -> None:
    endpoint = Endpoint({}, extensions=[Metrics(), Observer()])
    assert endpoint.observer is endpoint.extension(Observer) is not None
    assert (endpoint.observer_url or "").startswith("http://127.0.0.1:4000/observer#token=")
    assert endpoint.metrics is not None
    names = [family.name for family in endpoint.metrics.registry.collect()]
    assert "ashtree_connections_refused" in names


@pytest.mark.parametrize("option", ["metrics", "observer", "extensions"])
@pytest.mark.parametrize("given", [Metrics, Load, "load", respond])
def test_what_is_not_an_extension_is_an_error_that_names_the_option(option: str, given: Any) -> None:
    options: dict[str, Any] = {option: [given] if option == "extensions" else given}
    where = r"extensions\[0\]" if option == "extensions" else option
    with pytest.raises(SocketError, match=rf"{where} must be a transport\.Extension, such as Metrics\(\) .*, got "):
        Endpoint({}, **options)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"extensions": [Load(), Load()]}, "/load"),
        ({"extensions": [Load()], "routes": {"/load": respond}}, "/load"),
        ({"extensions": [Load()], "routes": {"/load/set": respond}}, "/load/set"),
        ({"metrics": Metrics(), "extensions": [Metrics()]}, "/metrics"),
        ({"metrics": Metrics(), "routes": {"/metrics": respond}}, "/metrics"),
    ],
    ids=["twice", "beside a route", "a handler", "twice, by its option", "metrics"],
)
def test_a_path_that_the_endpoint_serves_already_is_an_error(options: dict[str, Any], path: str) -> None:
    with pytest.raises(SocketError, match=f"serves '{path}', which this endpoint serves already"):
        Endpoint({}, **options)


def test_a_socket_that_the_endpoint_serves_already_is_an_error() -> None:
    class OnlySocket(Extension):
        def sockets(self) -> Mapping[str, type[Socket]]:
            return {"/socket": LoadSocket}

    with pytest.raises(SocketError, match=r"extensions\[0\] serves '/socket/websocket', which"):
        Endpoint({"/socket": LoadSocket}, extensions=[OnlySocket()])


@on_loop
async def test_it_may_allow_other_origins_than_the_endpoint_does() -> None:
    class AnyOrigin(Mount):
        def origin_allowed(self, incoming: Incoming) -> bool:
            return True

    class Public(Extension):
        def sockets(self) -> Mapping[str, type[Socket]]:
            return {"/public": LoadSocket, "/other": LoadSocket}

        def mount(self, endpoint: MountedOn, socket: type[Socket]) -> Mount:
            return AnyOrigin(endpoint, socket)

    async with serving({"/socket": LoadSocket}, extensions=[Public()]) as server:
        for path, status in {"/socket": 403, "/public": 101, "/other": 101}.items():
            tcp = await server.tcp()
            await tcp.send(
                HANDSHAKE.replace("/socket/", f"{path}/").replace("\r\n\r\n", "\r\nOrigin: https://a.example\r\n\r\n")
            )
            assert (await tcp.answer()).status == status
