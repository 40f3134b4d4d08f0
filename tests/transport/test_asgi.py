"""An endpoint as an ASGI application, with this test as the server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from actors import Actor, Channel, PubSub, error, ok
from actors.testing import WAIT
from supervisors import ChildSpec, System
from tests.transport.wire import BEATEN, HEARTBEAT, KEY, collected, dropped_broadcasts, limits_reached, on_loop, until
from transport import Endpoint, Socket, respond
from transport.carriers import asgi_carrier
from transport.carriers.asgi_carrier import AsgiCarrier
from transport.carriers.intake import FULL, UNREAD
from transport.carriers.outbox import OutboxPolicy
from transport.http.exchange import MAX_BODY
from transport.limits import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from actors import Reply
    from transport import ConnectInfo
    from transport.carriers.asgi import AsgiApplication

CLOSE = {"type": "websocket.close"}


class EchoChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "crash_transport":
                self.socket.transport.kill()
            case "shout":
                self.broadcast("shout", payload)
                return None
            case "wait":
                return self.wait()
        return ok(payload)

    async def wait(self) -> None:
        await self.socket.assigns["gate"].wait()


class EchoSocket(Socket):
    gates: ClassVar[list[asyncio.Event]] = []
    channels = {"echo": EchoChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.assigns["path"], self.assigns["gate"] = connect_info.path, asyncio.Event()
        self.gates.append(self.assigns["gate"])
        match params:
            case {"fail": _}:
                raise RuntimeError("failed on purpose")
            case {"cancelled": "later"}:
                return self.fail_later()
            case {"wait": _}:
                return asyncio.Event().wait()
            case {"cancelled": _}:
                raise asyncio.CancelledError
            case {"refuse": _}:
                return error()
        return ok()

    async def fail_later(self) -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError


class Peer:
    """One scope of an application; the test is its server and its client."""

    def __init__(self, app: AsgiApplication, scope: dict[str, Any]) -> None:
        self._in: asyncio.Queue[Any] = asyncio.Queue()
        self._out: asyncio.Queue[Any] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        # What the server's `send` raises.
        self.fail: Exception | None = None
        self.refused_codes = range(0)
        self.is_writing = False
        self.task = asyncio.create_task(app(scope, self._in.get, self._write))

    async def _write(self, event: Any) -> None:
        self.is_writing = True
        await self.gate.wait()
        if self.fail is not None:
            raise self.fail
        if event.get("code") in self.refused_codes:
            raise ValueError("invalid close code")
        await self._out.put(event)

    def put(self, kind: str, **members: Any) -> None:
        self._in.put_nowait({"type": kind, **members})

    async def get(self) -> Any:
        async with asyncio.timeout(WAIT):
            return await self._out.get()

    async def text(self) -> Any:
        event = await self.get()
        assert event["type"] == "websocket.send", event
        return event["text"]

    async def ended(self) -> None:
        """See that the application has returned and has said no more."""
        async with asyncio.timeout(WAIT):
            await self.task
        assert self._out.empty()

    async def answer(self, kind: str = "http.response") -> tuple[int, dict[bytes, bytes], bytes]:
        start, body = await self.get(), await self.get()
        assert (start["type"], body["type"]) == (f"{kind}.start", f"{kind}.body")
        await self.ended()
        return start["status"], dict(start["headers"]), body["body"]


def scope(kind: str, path: str, query: str = "", **members: Any) -> dict[str, Any]:
    return {"type": kind, "path": path, "query_string": query.encode(), "headers": [(b"host", b"here")], **members}


async def opened(app: AsgiApplication, path: str = "/socket/websocket", query: str = "vsn=2.0.0", **more: Any) -> Peer:
    peer = Peer(app, scope("websocket", path, query, **more))
    peer.put("websocket.connect")
    assert await peer.get() == {"type": "websocket.accept", "subprotocol": None}
    return peer


def posted(path: str, query: str = "", **more: Any) -> dict[str, Any]:
    return scope("http", path, query, method="POST") | more


async def a_session(app: AsgiApplication) -> str:
    """Open a session of long polling, and return its token."""
    token: str = json.loads((await (await asked(app, "/socket/longpoll", "vsn=2.0.0")).answer())[2])["token"]
    return token


async def asked(app: AsgiApplication, path: str, query: str = "", method: str = "GET", **more: Any) -> Peer:
    peer = Peer(app, scope("http", path, query, method=method, **more))
    peer.put("http.request", body=b"", more_body=False)
    return peer


def an_endpoint(**options: Any) -> Endpoint:
    return Endpoint({"/socket": EchoSocket}, routes={"/page": lambda _: respond(200, "hello")}, port=None, **options)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[AsgiApplication]:
    endpoint = an_endpoint(**options)
    async with System([endpoint]):
        yield endpoint.asgi()


async def beats(peer: Peer) -> None:
    peer.put("websocket.receive", text=HEARTBEAT, bytes=None)
    assert await peer.text() == BEATEN


# Lifespan


@on_loop
async def test_the_lifespan_runs_the_tree_which_has_no_listener() -> None:
    endpoint = an_endpoint()
    system = System([endpoint])
    life = Peer(endpoint.asgi(system), {"type": "lifespan"})
    life.put("lifespan.startup")
    assert await life.get() == {"type": "lifespan.startup.complete"}
    assert "transports" in system.tree()
    assert "listener" not in system.tree()
    life.put("lifespan.shutdown")
    assert await life.get() == {"type": "lifespan.shutdown.complete"}
    await life.ended()
    assert not system.ref.is_alive()


@on_loop
async def test_two_applications_with_systems_of_their_own_share_an_event_loop() -> None:
    endpoints = [an_endpoint() for _ in range(2)]
    systems = [System([each], pubsub=PubSub(name=name)) for each, name in zip(endpoints, ("one", "two"), strict=True)]
    lives = [Peer(each.asgi(system), {"type": "lifespan"}) for each, system in zip(endpoints, systems, strict=True)]
    for life in lives:
        life.put("lifespan.startup")
        assert await life.get() == {"type": "lifespan.startup.complete"}
    assert [endpoint.pubsub for endpoint in endpoints] == [system.pubsub for system in systems]
    for endpoint in endpoints:
        peer = await opened(endpoint.asgi())
        await beats(peer)
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()
    for life in lives:
        life.put("lifespan.shutdown")
        assert await life.get() == {"type": "lifespan.shutdown.complete"}
        await life.ended()


@on_loop
async def test_a_system_that_runs_already_is_left_running() -> None:
    endpoint = an_endpoint()
    async with System([endpoint]) as system:
        life = Peer(endpoint.asgi(system), {"type": "lifespan"})
        life.put("lifespan.startup")
        assert await life.get() == {"type": "lifespan.startup.complete"}
        life.put("lifespan.shutdown")
        assert await life.get() == {"type": "lifespan.shutdown.complete"}
        await life.ended()
        assert system.ref.is_alive()


@on_loop
async def test_a_lifespan_without_a_system_fails_and_says_what_to_write() -> None:
    life = Peer(an_endpoint().asgi(), {"type": "lifespan"})
    life.put("lifespan.startup")
    failed = await life.get()
    assert failed["type"] == "lifespan.startup.failed"
    assert "endpoint.asgi(system)" in failed["message"]
    await life.ended()


@on_loop
async def test_a_tree_that_cannot_start_fails_the_lifespan() -> None:
    class Broken(Actor):
        def on_start(self) -> None:
            raise RuntimeError("broken on purpose")

    endpoint = an_endpoint()
    life = Peer(endpoint.asgi(System([endpoint, ChildSpec(Broken)])), {"type": "lifespan"})
    life.put("lifespan.startup")
    failed = await life.get()
    assert failed["type"] == "lifespan.startup.failed"
    assert "broken on purpose" in failed["message"]
    await life.ended()


@on_loop
async def test_a_scope_of_another_type_is_refused() -> None:
    async with running() as app:
        with pytest.raises(ValueError, match="got 'webtransport'"):
            await Peer(app, scope("webtransport", "/")).task


@pytest.mark.parametrize("kind", ["lifespan", "http", "websocket"])
def test_a_server_without_asyncio_is_told_what_is_needed(kind: str) -> None:
    async def nothing(*_: object) -> Any:
        return {}

    with pytest.raises(RuntimeError, match="run the server with asyncio or uvloop, and not with trio"):
        an_endpoint().asgi()(scope(kind, "/"), nothing, nothing).send(None)


def test_a_system_on_another_loop_is_refused() -> None:
    endpoint = an_endpoint()

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await (await asked(endpoint.asgi(), "/page")).task

    with System([endpoint]):
        asyncio.run(ask())


# Plain requests


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/page", ""),
        ("/live/page", "/live"),
        ("/live/page", "/live/"),
        ("/page", "/live"),
        ("//page/", ""),
        ("/live//page/", "/live"),
    ],
)
@on_loop
async def test_a_page_is_answered_wherever_the_application_is_mounted(path: str, root: str) -> None:
    async with running() as app:
        status, headers, body = await (await asked(app, path, root_path=root)).answer()
        assert (status, headers[b"content-length"], body) == (200, b"5", b"hello")


@on_loop
async def test_the_answer_to_head_has_no_body() -> None:
    async with running() as app:
        status, headers, body = await (await asked(app, "/page", method="HEAD")).answer()
        assert (status, headers[b"content-length"], body) == (200, b"5", b"")


@pytest.mark.parametrize(
    ("path", "status"), [("/nothing", 404), ("/livepage", 404), ("//x/page", 404), ("/socket/websocket", 400)]
)
@on_loop
async def test_what_is_no_page_is_refused(path: str, status: int) -> None:
    async with running() as app:
        assert (await (await asked(app, path, root_path="/live")).answer())[0] == status


@on_loop
async def test_a_load_balancer_may_ask_with_options() -> None:
    async with running() as app:
        status, headers, body = await (await asked(app, "/page", method="OPTIONS")).answer()
        assert (status, headers[b"allow"], body) == (200, b"GET, HEAD, OPTIONS", b"")


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (("::1", 5, 0, 0), ("::1", 5)),
        (["::1", "5"], ("::1", 5)),
        (["testclient", None], ("testclient", 0)),
        (None, None),
        (["", 0], None),
    ],
)
@on_loop
async def test_connect_gets_the_address_and_port_of_the_client_and_unescaped_parameters(
    client: Any, expected: tuple[str, int] | None
) -> None:
    async with running() as app:
        with collected(("phoenix", "socket_connected"), lambda _, about: about) as seen:
            peer = await opened(app, "//socket//websocket/", "vsn=2.0.0&user=é", client=client)
            peer.put("websocket.disconnect", code=1001)
            await peer.ended()
    assert seen[0]["params"]["user"] == "é"
    assert seen[0]["connect_info"].peer == expected


LARGE = 9_400_000


@pytest.mark.parametrize(
    ("path", "answer"), [("/nothing", (404, b"not found")), ("/socket/longpoll", (200, b'{"status":410}'))]
)
@on_loop
async def test_a_large_body_is_not_taken_where_none_is_expected(path: str, answer: object) -> None:
    async with running() as app:
        declared = Peer(app, posted(path, headers=[(b"content-length", str(LARGE).encode())]))
        status, _, body = await declared.answer()
        assert (status, body) == answer
        chunked = Peer(app, posted(path))
        for _ in range(2):
            chunked.put("http.request", body=b"x" * 40_000, more_body=True)
        status, _, body = await chunked.answer()
        assert (status, body) == answer


@on_loop
async def test_a_body_above_what_a_session_takes_is_refused() -> None:
    async with running() as app:
        query = f"token={await a_session(app)}"
        peer = Peer(app, posted("/socket/longpoll", query, headers=[(b"content-length", str(MAX_BODY + 1).encode())]))
        status, headers, _ = await peer.answer()
        assert (status, headers[b"access-control-allow-origin"]) == (413, b"*")
        peer = Peer(app, posted("/socket/longpoll", query))
        for _ in range(11):
            peer.put("http.request", body=bytes(1024 * 1024), more_body=True)
        with limits_reached() as reached:
            status, headers, _ = await peer.answer()
            assert (status, headers[b"access-control-allow-origin"]) == (413, b"*")
        assert reached == ["max_body"]


@on_loop
async def test_a_body_that_does_not_arrive_in_time_is_answered_with_408() -> None:
    async with running(limits=Limits(body_timeout=0.05)) as app:
        with limits_reached() as reached:
            peer = Peer(app, posted("/socket/longpoll"))
            peer.put("http.request", body=b"1", more_body=True)
            status, headers, _ = await peer.answer()
            assert (status, headers[b"access-control-allow-origin"]) == (408, b"*")
    assert reached == ["body_timeout"]


@on_loop
async def test_an_answer_that_the_server_does_not_take_is_given_up() -> None:
    async with running(limits=Limits(send_timeout=0.05)) as app:
        peer = Peer(app, scope("http", "/page", method="GET"))
        peer.gate.clear()
        peer.put("http.request", body=b"", more_body=False)
        await peer.ended()


@on_loop
async def test_a_long_answer_is_passed_on_in_pieces_each_of_which_has_its_time() -> None:
    page = bytes(range(250)) * 1000
    endpoint = Endpoint({}, routes={"/long": lambda _: respond(200, page)}, port=None)
    async with System([endpoint]):
        peer = await asked(endpoint.asgi(), "/long")
        assert dict((await peer.get())["headers"])[b"content-length"] == b"250000"
        pieces = [await peer.get() for _ in range(4)]
        assert [piece["more_body"] for piece in pieces] == [True, True, True, False]
        assert b"".join(piece["body"] for piece in pieces) == page
        await peer.ended()


@on_loop
async def test_a_request_whose_client_goes_before_it_has_come_is_answered_all_the_same() -> None:
    async with running() as app:
        peer = Peer(app, scope("http", "/socket/longpoll", method="POST"))
        peer.put("http.request", body=b"1", more_body=True)
        peer.put("http.disconnect")
        assert (await peer.answer())[0] == 408


@pytest.mark.parametrize("query", ["vsn=2.0.0", "vsn=2.0.0&wait"], ids=["a poll", "a slow connect"])
@on_loop
async def test_middleware_gets_an_answer_although_the_client_has_gone(query: str) -> None:
    starlette = pytest.importorskip("starlette.middleware.base")

    async def passing(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    async with running() as app:
        if "wait" not in query:
            query = f"{query}&token={await a_session(app)}"
        behind = starlette.BaseHTTPMiddleware(app, dispatch=passing)
        peer = await asked(behind, "/socket/longpoll", query)
        peer.put("http.disconnect")
        assert (await peer.get())["status"] == 408


@on_loop
async def test_a_poll_whose_client_has_gone_takes_nothing_with_it() -> None:
    async with running() as app:
        query = f"vsn=2.0.0&token={await a_session(app)}"
        gone = await asked(app, "/socket/longpoll", query)
        gone.put("http.disconnect")
        assert (await gone.answer())[0] == 408
        said = Peer(app, scope("http", "/socket/longpoll", query, method="POST"))
        said.put("http.request", body=HEARTBEAT.encode())
        assert json.loads((await said.answer())[2]) == {"status": 200}
        _, _, body = await (await asked(app, "/socket/longpoll", query)).answer()
        assert json.loads(body)["messages"] == [BEATEN]


@on_loop
async def test_a_server_without_websockets_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    handshake = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
    }
    headers = [(name.encode(), value.encode()) for name, value in handshake.items()]
    async with running() as app:
        peer = Peer(app, scope("http", "/socket/websocket", "vsn=2.0.0", method="GET") | {"headers": headers})
        peer.put("http.request")
        assert (await peer.answer())[0] == 501
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the server in front of this application has been started without WebSockets" in caplog.text


@on_loop
async def test_a_page_that_is_no_response_is_an_error_of_the_server() -> None:
    endpoint = Endpoint({}, routes={"/wrong": lambda _: "text"}, port=None)  # type: ignore[dict-item,return-value]  # the wrong answer is what it is about
    async with System([endpoint]):
        assert (await (await asked(endpoint.asgi(), "/wrong")).answer())[0] == 500


@pytest.mark.parametrize("when", ["at+once", "later"])
@on_loop
async def test_a_cancellation_that_is_not_the_servers_is_an_error_of_the_application(when: str) -> None:
    async with running() as app:
        peer = Peer(app, scope("http", "/socket/longpoll", f"vsn=2.0.0&cancelled={when}", method="GET"))
        peer.put("http.request")
        assert (await peer.answer())[0] == 500


# WebSockets


@on_loop
async def test_a_websocket_below_a_path_is_carried_as_text_and_as_binary() -> None:
    async with running() as app:
        peer = await opened(app, "/live/socket/websocket", root_path="/live")
        await beats(peer)
        peer.put("websocket.receive", text='["1","1","echo","phx_join",{}]')
        assert json.loads(await peer.text())[3] == "phx_reply"
        peer.put("websocket.receive", text=None, bytes=b"\x00\x01\x01\x04\x0112echox\x00\xff")
        assert (await peer.get())["bytes"] == b"\x01\x01\x01\x04\x0212echook\x00\xff"
        peer.put("websocket.disconnect", code=1001)
        await peer.ended()


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/nothing", "", 404),
        ("/socket/websocket", "a=%ff", 400),
        ("/socket/websocket", "fail=1", 500),
        ("/socket/websocket", "cancelled=1", 500),
        ("/socket/websocket", "cancelled=later", 500),
        ("/page", "", 200),
    ],
)
@on_loop
async def test_a_refusal_has_its_status_where_the_server_can(path: str, query: str, status: int) -> None:
    async with running() as app:
        able: dict[str, Any] = {"websocket.http.response": {}}
        for extensions in (able, None):
            peer = Peer(app, scope("websocket", path, query, extensions=extensions))
            peer.put("websocket.connect")
            if extensions:
                assert (await peer.answer("websocket.http.response"))[0] == status
            else:
                assert await peer.get() == CLOSE
                await peer.ended()


@on_loop
async def test_a_client_that_is_not_let_in_is_closed_before_the_handshake() -> None:
    async with running() as app:
        for query in ("vsn=3.0.0", "refuse=1"):
            peer = Peer(app, scope("websocket", "/socket/websocket", query, extensions={"websocket.http.response": {}}))
            peer.put("websocket.connect")
            assert await peer.get() == CLOSE
            await peer.ended()


@on_loop
async def test_a_websocket_is_asked_to_come_back_while_the_endpoint_does_not_run() -> None:
    peer = Peer(an_endpoint().asgi(), scope("websocket", "/socket/websocket", "vsn=2.0.0"))
    peer.put("websocket.connect")
    assert await peer.get() == CLOSE
    await peer.ended()


@on_loop
async def test_a_malformed_message_is_answered_with_a_close_code() -> None:
    async with running() as app:
        peer = await opened(app)
        peer.put("websocket.receive", text="not json")
        assert await peer.get() == CLOSE | {"code": 1011}
        await peer.ended()


@pytest.mark.parametrize("message", [{"text": "é" * 6}, {"text": "e" * 11}, {"bytes": b"e" * 11}])
@on_loop
async def test_a_message_that_is_too_large_closes_with_1009(message: dict[str, Any]) -> None:
    async with running(max_frame_size=10) as app:
        peer = await opened(app)
        peer.put("websocket.receive", **message)
        assert await peer.get() == CLOSE | {"code": 1009}
        await peer.ended()


@on_loop
async def test_a_silent_client_is_closed_with_1002() -> None:
    async with running(idle_timeout=0.05) as app:
        peer = await opened(app)
        assert await peer.get() == CLOSE | {"code": 1002}
        await peer.ended()


@on_loop
async def test_the_end_of_the_tree_closes_with_1012() -> None:
    async with running() as app:
        peer = await opened(app)
        await beats(peer)
    assert await peer.get() == CLOSE | {"code": 1012}
    await peer.ended()


@on_loop
async def test_a_killed_transport_ends_its_connection_without_a_word() -> None:
    async with running() as app:
        peer = await opened(app)
        peer.put("websocket.receive", text='["1","1","echo","phx_join",{}]')
        await peer.text()
        peer.put("websocket.receive", text='["1","2","echo","crash_transport",{}]')
        await peer.ended()


@on_loop
async def test_a_server_that_does_not_send_the_close_code_sends_one_for_private_use() -> None:
    async with running() as app:
        peer = await opened(app)
        # As daphne: 1000, and codes for applications.
        peer.refused_codes = range(1001, 3000)
        peer.put("websocket.receive", text="{")
        assert await peer.get() == {"type": "websocket.close", "code": 4011}
        await peer.ended()


@pytest.mark.parametrize("end", ["disconnect", "malformed", "silence"])
@on_loop
async def test_what_was_received_before_the_end_is_handled(end: str) -> None:
    async with running() as app:
        watcher, peer = await opened(app), await opened(app)
        for each in (watcher, peer):
            each.put("websocket.receive", text='["1","1","echo","phx_join",{}]')
            await each.text()
        for ref, event in (("2", "wait"), ("3", "shout")):
            peer.put("websocket.receive", text=f'["1","{ref}","echo","{event}",{{}}]')
        match end:
            case "disconnect":
                await until(peer._in.empty)
                peer.put("websocket.disconnect", code=1001)
                await peer.ended()
            case "malformed":
                peer.put("websocket.receive", text="{")
                assert (await peer.get())["code"] == 1011
            case "silence":
                await until(peer._in.empty)
                peer.task.cancel()
        watcher.put("websocket.receive", text=HEARTBEAT)
        assert await watcher.text() == BEATEN
        EchoSocket.gates[-1].set()
        assert json.loads(await watcher.text())[3] == "shout"


@on_loop
async def test_what_is_written_keeps_its_order_for_a_slow_client() -> None:
    async with running() as app:
        peer = await opened(app)
        peer.gate.clear()
        for ref in range(5):
            peer.put("websocket.receive", text=f'[null,"{ref}","phoenix","heartbeat",{{}}]')
        await until(peer._in.empty)
        peer.gate.set()
        assert [json.loads(await peer.text())[1] for _ in range(5)] == ["0", "1", "2", "3", "4"]
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()


@on_loop
async def test_the_subprotocol_of_an_auth_token_is_accepted_through_the_server() -> None:
    class TokenSocket(EchoSocket):
        auth_token = True

    endpoint = Endpoint({"/socket": TokenSocket}, port=None)
    offered = (b"sec-websocket-protocol", b"phoenix, base64url.bearer.phx.dG9rZW4")
    async with System([endpoint]):
        peer = Peer(endpoint.asgi(), scope("websocket", "/socket/websocket", "vsn=2.0.0") | {"headers": [offered]})
        peer.put("websocket.connect")
        assert await peer.get() == {"type": "websocket.accept", "subprotocol": "phoenix"}
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()


@on_loop
async def test_a_server_that_cancels_ends_the_transport() -> None:
    endpoint = an_endpoint()
    async with System([endpoint]) as system:
        peer = await opened(endpoint.asgi())
        await beats(peer)
        peer.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await peer.task
        await until(lambda: "transport <" not in system.tree())


@on_loop
async def test_a_server_that_raises_when_the_client_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_carrier, "CLOSE_TIMEOUT", 0.01)
    async with running() as app:
        events = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": HEARTBEAT}])
        never = asyncio.Event()

        async def receive() -> Any:
            event = next(events, None)
            return event or await never.wait()

        async def send(event: Any) -> None:
            if event["type"] != "websocket.accept":
                raise OSError("gone")

        async with asyncio.timeout(WAIT):
            await app(scope("websocket", "/socket/websocket", "vsn=2.0.0"), receive, send)


@on_loop
async def test_a_client_that_leaves_during_a_slow_connect_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ashtree")
    async with running() as app:
        peer = Peer(app, scope("websocket", "/socket/websocket", "vsn=2.0.0"))
        peer.fail = RuntimeError("the server's own error for a send after the end")
        peer.put("websocket.connect")
        await peer.ended()
    assert caplog.records == []


@on_loop
async def test_connect_sees_the_scope_with_what_middleware_has_added() -> None:
    endpoint = Endpoint({"/socket": ScopeSocket}, port=None)
    async with System([endpoint]):
        app = endpoint.asgi()
        added: dict[str, Any] = {"user": "ann", "session": {"cart": 3}}
        peer = Peer(app, scope("websocket", "/socket/websocket", "vsn=2.0.0", **added))
        peer.put("websocket.connect")
        assert (await peer.get())["type"] == "websocket.accept"
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()
        await (await asked(app, "/socket/longpoll", "vsn=2.0.0", **added)).answer()
    assert ScopeSocket.seen == [("websocket", "ann", {"cart": 3}), ("http", "ann", {"cart": 3})]


class ScopeSocket(Socket):
    seen: ClassVar[list[Any]] = []

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        found = connect_info.scope
        assert found is not None
        self.seen.append((found["type"], found["user"], found["session"]))
        return ok()


@pytest.mark.parametrize("joins", [False, True])
def test_the_test_client_of_starlette_leaves_without_an_error(*, joins: bool) -> None:
    pytest.importorskip("httpx2")
    testclient = pytest.importorskip("starlette.testclient")
    endpoint = an_endpoint()
    with testclient.TestClient(endpoint.asgi(System([endpoint]))) as client:
        for _ in range(5):
            with client.websocket_connect("/socket/websocket?vsn=2.0.0") as websocket:
                if joins:
                    websocket.send_text('["1","1","echo","phx_join",{}]')
                    assert json.loads(websocket.receive_text())[3] == "phx_reply"


# Clients that send faster than is worked, or do not read


class WorkChannel(Channel):
    """A channel that takes its time: it keeps what it is sent, and works only while its gate is open."""

    gate: ClassVar[asyncio.Event]
    handled: ClassVar[list[Any]]

    def join(self, topic: str, payload: Any) -> Reply:
        type(self).handled, type(self).gate = [], asyncio.Event()
        return ok()

    async def handle_in(self, event: str, payload: Any) -> Any:
        await self.gate.wait()
        self.handled.append(payload["number"])


class ListChannel(Channel):
    """A channel that lists what it is sent."""

    handled: ClassVar[list[Any]]

    def join(self, topic: str, payload: Any) -> Reply:
        type(self).handled = []
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        self.handled.append(payload["number"])

    def terminate(self, reason: Any) -> None:
        self.handled.append("closed")


class WorkSocket(EchoSocket):
    channels = {"echo": EchoChannel, "list": ListChannel, "work": WorkChannel}  # noqa: RUF012  # as an author writes it


@asynccontextmanager
async def working(**options: Any) -> AsyncIterator[tuple[Endpoint, AsgiApplication]]:
    endpoint = Endpoint({"/socket": WorkSocket}, port=None, **options)
    async with System([endpoint]):
        yield endpoint, endpoint.asgi()


async def joined(app: AsgiApplication, topic: str = "echo") -> Peer:
    peer = await opened(app)
    peer.put("websocket.receive", text=json.dumps(["1", "1", topic, "phx_join", {}]))
    assert json.loads(await peer.text())[3] == "phx_reply"
    return peer


def push(number: int, topic: str = "echo", text: str = "") -> dict[str, Any]:
    return {"text": json.dumps(["1", str(number), topic, "do", {"number": number, "text": text}])}


def carrier_of(endpoint: Endpoint) -> AsgiCarrier:
    """Return the carrier of the only connection."""
    [carrier] = endpoint.idle._connections
    assert isinstance(carrier, AsgiCarrier)
    return carrier


@on_loop
async def test_a_client_that_sends_faster_than_is_worked_is_not_read_until_half_is_left() -> None:
    async with working(limits=Limits(waiting_messages=10)) as (endpoint, app):
        peer = await joined(app, "work")
        for number in range(100):
            peer.put("websocket.receive", **push(number, "work"))
        carrier = carrier_of(endpoint)
        await until(lambda: carrier.intake.held == FULL)
        # The one that is being handled, ten that wait, and the one that is too much.
        assert peer._in.qsize() == 100 - 12
        WorkChannel.gate.set()
        await until(lambda: len(WorkChannel.handled) == 100 and carrier.intake.messages == 0)
        assert WorkChannel.handled == list(range(100))
        assert (carrier.intake.held, carrier.intake.bytes) == (0, 0)
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()


@on_loop
async def test_what_is_received_of_a_client_that_is_not_read_is_bounded_in_bytes() -> None:
    async with working() as (endpoint, app):
        peer = await joined(app, "work")
        for number in range(20):
            peer.put("websocket.receive", **push(number, "work", "x" * 500_000))
        carrier = carrier_of(endpoint)
        await until(lambda: carrier.intake.held == FULL)
        assert peer._in.qsize() == 20 - 3
        WorkChannel.gate.set()
        await until(lambda: len(WorkChannel.handled) == 20)
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()


@on_loop
async def test_a_client_that_does_not_read_its_replies_is_not_read_and_loses_none() -> None:
    async with working() as (endpoint, app):
        peer = await joined(app)
        peer.gate.clear()
        for number in range(2, 5000):
            peer.put("websocket.receive", **push(number))
        carrier = carrier_of(endpoint)
        await until(lambda: carrier.intake.held == UNREAD)
        assert carrier.get_write_buffer_size() < 70_000
        assert peer._in.qsize() > 4000
        peer.gate.set()
        assert [json.loads(await peer.text())[1] for _ in range(2, 5000)] == [str(number) for number in range(2, 5000)]
        assert carrier.intake.held == 0
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()


@on_loop
async def test_a_flood_does_not_starve_a_neighbour() -> None:
    async with working() as (_, app):
        flood, neighbour = await joined(app), await joined(app)
        for number in range(2, 10_000):
            flood.put("websocket.receive", **push(number))
        await beats(neighbour)
        assert flood._in.qsize() > 5000
        for peer in (flood, neighbour):
            peer.task.cancel()


@on_loop
async def test_a_client_that_shouts_is_read_as_fast_as_the_others_are_written() -> None:
    async with working(outbox=OutboxPolicy(max_messages=10)) as (_, app):
        room = [await joined(app) for _ in range(50)]
        for number in range(2, 300):
            text = json.dumps(["1", str(number), "echo", "shout", {"number": number}])
            room[0].put("websocket.receive", text=text)
        for peer in room:
            assert [json.loads(await peer.text())[4]["number"] for _ in range(2, 300)] == list(range(2, 300))
            peer.task.cancel()


@on_loop
async def test_a_client_that_is_not_read_is_not_idle() -> None:
    async with working(limits=Limits(waiting_messages=1)) as (endpoint, app):
        peer = await joined(app, "work")
        for number in range(3):
            peer.put("websocket.receive", **push(number, "work"))
        carrier = carrier_of(endpoint)
        await until(lambda: carrier.intake.held == FULL)
        carrier.expire()
        WorkChannel.gate.set()
        await until(lambda: carrier.intake.held == 0 and peer._in.empty())
        assert carrier.sweeps == 0
        carrier.expire()
        assert await peer.get() == CLOSE | {"code": 1002}
        await peer.ended()


@on_loop
async def test_what_was_received_is_handled_before_the_end() -> None:
    async with working() as (_, app):
        peer = await joined(app, "list")
        for number in range(500):
            peer.put("websocket.receive", **push(number, "list"))
        peer.put("websocket.disconnect", code=1001)
        await peer.ended()
        await until(lambda: ListChannel.handled[-1] == "closed")
        assert ListChannel.handled == [*range(500), "closed"]


@on_loop
async def test_what_was_received_is_handled_although_nothing_can_be_written_any_more() -> None:
    async with working() as (_, app):
        peer = await joined(app, "list")
        peer.fail = OSError("gone")
        peer.put("websocket.receive", text=HEARTBEAT)
        await until(peer._in.empty)
        for number in range(100):
            peer.put("websocket.receive", **push(number, "list"))
        peer.put("websocket.disconnect", code=1006)
        await peer.ended()
        await until(lambda: ListChannel.handled[-1] == "closed")
        assert ListChannel.handled == [*range(100), "closed"]


@on_loop
async def test_what_was_received_is_handled_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_carrier, "CLOSE_TIMEOUT", 0.01)
    async with working(limits=Limits(waiting_messages=1)) as (endpoint, app):
        peer = await joined(app, "work")
        peer.fail = OSError("gone")
        peer.put("websocket.receive", text=HEARTBEAT)
        for number in range(10):
            peer.put("websocket.receive", **push(number, "work"))
        peer.put("websocket.disconnect", code=1006)
        carrier, timers = carrier_of(endpoint), set[Any]()

        def given_again() -> bool:
            timers.add(carrier._timer)
            return len(timers) > 3

        await until(given_again)
        WorkChannel.gate.set()
        await peer.ended()
        await until(lambda: len(WorkChannel.handled) == 10)


# The outbox


def broadcasts(endpoint: Endpoint, count: int, text: str = "") -> None:
    for number in range(count):
        endpoint.broadcast("echo", "news", {"number": number, "text": text})


@on_loop
async def test_a_client_that_does_not_keep_up_is_asked_to_come_back() -> None:
    async with working() as (endpoint, app):
        peer = await joined(app)
        peer.gate.clear()
        with limits_reached() as reached:
            broadcasts(endpoint, 1, "x" * 1_000_000)
            await until(lambda: carrier_of(endpoint).get_write_buffer_size() == 0)
            broadcasts(endpoint, 2, "x" * 500_000)
            assert reached == []
            broadcasts(endpoint, 1, "x" * 500_000)
            assert reached == ["outbox"]
        peer.gate.set()
        assert len(await peer.text()) > 1_000_000
        assert await peer.get() == CLOSE | {"code": 1013}
        await peer.ended()


@on_loop
async def test_a_client_that_reads_nothing_at_all_is_left_after_the_time_for_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_carrier, "CLOSE_TIMEOUT", 0.01)
    async with working(outbox=OutboxPolicy(max_bytes=1000)) as (endpoint, app):
        peer = await joined(app)
        peer.gate.clear()
        broadcasts(endpoint, 3, "x" * 900)
        await peer.ended()


@on_loop
async def test_a_client_that_reads_no_replies_is_left_after_the_time_for_sending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_carrier, "CLOSE_TIMEOUT", 0.01)
    async with working(limits=Limits(send_timeout=0.05)) as (_, app):
        with limits_reached() as reached:
            peer = await joined(app)
            peer.gate.clear()
            for number in range(2, 200):
                peer.put("websocket.receive", **push(number, text="x" * 1000))
            await peer.ended()
        assert reached == ["send_timeout"]


@on_loop
async def test_the_oldest_broadcasts_are_dropped_and_counted_if_the_policy_says_so() -> None:
    async with working(outbox=OutboxPolicy(max_messages=3, overflow="drop_oldest")) as (endpoint, app):
        peer = await joined(app)
        peer.gate.clear()
        with dropped_broadcasts() as sizes:
            broadcasts(endpoint, 1)
            await until(lambda: carrier_of(endpoint).get_write_buffer_size() == 0)
            broadcasts(endpoint, 5)
        assert len(sizes) == 2
        peer.gate.set()
        assert [json.loads(await peer.text())[4]["number"] for _ in range(4)] == [0, 2, 3, 4]
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()


def test_an_endpoint_without_a_port_has_no_address() -> None:
    with pytest.raises(RuntimeError, match="no address"):
        _ = an_endpoint().url


@on_loop
@pytest.mark.parametrize(("scheme", "allowed"), [("wss", True), ("ws", False)])
async def test_a_page_of_https_is_of_the_same_origin_where_the_server_speaks_tls(scheme: str, *, allowed: bool) -> None:
    headers = [(b"host", b"here"), (b"origin", b"https://here")]
    async with running(check_origin="conn") as app:
        peer = Peer(app, scope("websocket", "/socket/websocket", "vsn=2.0.0") | {"scheme": scheme, "headers": headers})
        peer.put("websocket.connect")
        assert (await peer.get())["type"] == ("websocket.accept" if allowed else "websocket.close")
        if allowed:
            peer.put("websocket.disconnect", code=1000)
        await peer.ended()


@on_loop
@pytest.mark.parametrize("path", ["/socket/websocket", "/socket/longpoll"])
@pytest.mark.parametrize(
    ("options", "client", "server", "host", "allowed"),
    [
        ({}, ("127.0.0.1", 5), None, b"evil.example", False),
        ({"check_origin": "conn"}, ("::1", 5), ("::1", 80), b"evil.example", False),
        ({}, ("127.0.0.1", 5), ("127.0.0.1", 80), b"localhost:8000", True),
        ({"url_host": "shop.example"}, ("127.0.0.1", 5), ("127.0.0.1", 80), b"shop.example", True),
        ({}, ("203.0.113.9", 5), ("192.0.2.1", 80), b"shop.example", True),
        ({}, ["testclient", 5], ["testserver", 80], b"testserver", True),
        # A server that believes the headers of a proxy on this machine believes those of a page too.
        ({}, ("203.0.113.9", 5), ("127.0.0.1", 80), b"evil.example", False),
        # A client of a Unix socket is no browser, but a proxy.
        ({}, None, ("/run/server.sock", None), b"shop.example", True),
    ],
)
async def test_a_page_whose_name_was_led_to_this_machine_is_not_of_it(
    options: dict[str, Any], path: str, client: Any, server: Any, host: bytes, *, allowed: bool
) -> None:
    about = {"headers": [(b"host", host), (b"origin", b"http://" + host)], "client": client, "server": server}
    async with running(**options) as app:
        if path.endswith("longpoll"):
            _, _, body = await (await asked(app, path, "vsn=2.0.0", **about)).answer()
            assert json.loads(body)["status"] == (410 if allowed else 403)
        else:
            peer = Peer(app, scope("websocket", path, "vsn=2.0.0") | about)
            peer.put("websocket.connect")
            assert (await peer.get())["type"] == ("websocket.accept" if allowed else "websocket.close")
            if allowed:
                peer.put("websocket.disconnect", code=1000)
            await peer.ended()


# Tokens and disconnects by id


class PassingSocket(EchoSocket):
    expiry_warning, expiry_leeway = 0.0, 0.0

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.expire_in(float(params.get("seconds", "60")))
        return ok({})

    def handle_token(self, token: str) -> Any:
        self.expire_in(60)
        return ok({"token": token})

    def id(self) -> str:
        return "users:ann"


@asynccontextmanager
async def passing() -> AsyncIterator[tuple[AsgiApplication, Endpoint]]:
    endpoint = Endpoint({"/socket": PassingSocket}, port=None)
    async with System([endpoint]):
        yield endpoint.asgi(), endpoint


@on_loop
async def test_a_connection_expires() -> None:
    async with passing() as (app, _):
        peer = await opened(app, query="vsn=2.0.0&seconds=0.05")
        closed = await peer.get()
        assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
        peer.put("websocket.disconnect", code=1008)
        await peer.ended()


@on_loop
async def test_another_token_is_answered() -> None:
    async with passing() as (app, _):
        peer = await opened(app)
        peer.put("websocket.receive", text='[null,"1","phoenix","access_token",{"access_token":"t"}]', bytes=None)
        assert json.loads(await peer.text()) == [
            None,
            "1",
            "phoenix",
            "phx_reply",
            {"status": "ok", "response": {"token": "t"}},
        ]
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()


@on_loop
async def test_a_disconnect_by_id_reaches_a_client_whose_server_has_not_sent_the_acceptance() -> None:
    async with passing() as (app, endpoint):
        peer = Peer(app, scope("websocket", "/socket/websocket", "vsn=2.0.0"))
        peer.gate.clear()
        peer.put("websocket.connect")
        await until(lambda: peer.is_writing)
        endpoint.broadcast("users:ann", "disconnect", {})
        peer.gate.set()
        assert (await peer.get())["type"] == "websocket.accept"
        closed = await peer.get()
        assert (closed["type"], closed["code"]) == ("websocket.close", 1001)
        peer.put("websocket.disconnect", code=1001)
        await peer.ended()
