"""What connections tell telemetry and the log: who came in or was refused, how it ended, and never a secret."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect

from actors import Channel, Reply, error, ok, telemetry
from tests.transport.wire import HEARTBEAT, UPGRADE, Server, masked, on_loop, serving
from transport import ConnectInfo, Endpoint, Socket, SocketError, Uri, V1JSONSerializer, V2JSONSerializer
from transport.carriers.websocket import WebSocketTraffic
from transport.limits import Limits
from transport.socket_events import CONNECTED, DISCONNECTED, DRAIN, FRAME_IN, FRAME_OUT

Seen = list[tuple[Any, Mapping[str, float], Mapping[str, Any]]]


class RoomChannel(Channel):
    log_handle_in = "info"

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        if event == "crash":
            raise RuntimeError("on purpose")
        return ok()


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it
    auth_token = True

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        return error() if "refuse" in params else ok()

    def id(self) -> Any:
        return "users:alice"


class LaterSocket(UserSocket):
    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        await asyncio.sleep(0)
        return super().connect(params, connect_info)

    def id(self) -> Any:
        return 5


class DebugSocket(UserSocket):
    log = "debug"


class SilentSocket(UserSocket):
    log = None


SOCKETS = {"/socket": UserSocket, "/later": LaterSocket, "/debug": DebugSocket, "/silent": SilentSocket}


@pytest.fixture
def seen() -> Iterator[Seen]:
    events: Seen = []
    names = [CONNECTED, DISCONNECTED, DRAIN]
    telemetry.attach("connections", names, lambda *event: events.append(event))
    yield events
    telemetry.detach("connections")


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def opened(server: Server, path: str, query: str, *headers: str) -> None:
    """Ask, and do not care for the answer."""
    await (await server.tcp()).get(f"{path}?{query}", *headers)


@pytest.mark.parametrize(
    ("path", "query", "line"),
    [
        (
            "/socket/websocket",
            "vsn=2.0.0&user=alice&user_token=hidden",
            (
                "CONNECTED TO UserSocket in TIME\n  Transport: websocket\n  Serializer: V2JSONSerializer\n"
                "  Parameters: {'vsn': '2.0.0', 'user': 'alice', 'user_token': '[FILTERED]'}"
            ),
        ),
        (
            "/socket/longpoll",
            "a=1",
            (
                "CONNECTED TO UserSocket in TIME\n  Transport: longpoll\n  Serializer: V1JSONSerializer\n"
                "  Parameters: {'a': '1'}"
            ),
        ),
        (
            "/socket/websocket",
            "vsn=1.0.0&refuse=1",
            (
                "REFUSED CONNECTION TO UserSocket in TIME\n  Transport: websocket\n  Serializer: V1JSONSerializer\n"
                "  Parameters: {'vsn': '1.0.0', 'refuse': '1'}"
            ),
        ),
        (
            "/later/websocket",
            "vsn=2.0.0",
            (
                "REFUSED CONNECTION TO LaterSocket in TIME\n  Transport: websocket\n  Serializer: V2JSONSerializer\n"
                "  Parameters: {'vsn': '2.0.0'}"
            ),
        ),
        ("/socket/websocket", "vsn=9", None),
        ("/debug/websocket", "vsn=2.0.0", None),
        ("/silent/websocket", "vsn=2.0.0", None),
    ],
)
@on_loop
async def test_a_line_says_who_came_in_and_who_was_refused(
    path: str, query: str, line: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(SOCKETS) as server:
        await opened(server, path, query, *UPGRADE)
    lines = [
        (record.levelname, re.sub(r"in \d+(ms|µs)\n", "in TIME\n", record.getMessage()))
        for record in caplog.records
        if "CONNECT" in record.getMessage()
    ]
    assert lines == ([] if line is None else [("INFO", line)])


@on_loop
async def test_no_line_of_the_log_has_more_of_what_a_client_chose_than_it_may(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ashtree")
    long, other = "x" * 3000, "http://" + "y" * 3000
    async with serving(SOCKETS, limits=Limits(log_line=300), max_frame_size=10**6) as server:
        await opened(server, "/socket/websocket", f"vsn=2.0.0&a={long}", *UPGRADE)
        await opened(server, "/socket/websocket", f"vsn=2.0.0&refuse={long}", *UPGRADE)
        await opened(server, "/socket/websocket", f"vsn={long}", *UPGRADE)
        await opened(server, "/socket/websocket", "vsn=2.0.0", f"Origin: {other}", *UPGRADE)
        client = await server.connect()
        topic, payload = "room:" + "z" * 900, {"text": ["w" * 3000] * 9, "password": "s" * 3000}
        for event in ("phx_join", "e" * 1000, "crash", "phx_leave"):
            await client.send("1", "1", topic, event, payload)
            await client.recv()
        await client.send("1", "1", {"topic": long}, "phx_join", {})
        await client.closed()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("ashtree")]
    for words in ("CONNECTED TO", "REFUSED CONN", "no serializer", "of origin", "JOINED", "HANDLED", "malformed"):
        assert any(words in line for line in lines), words
    assert [line for line in lines if len(line) > 2000 and "crash" not in line] == []
    assert not any("sss" in line for line in lines)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/socket/websocket", "vsn=2.0.0", ("websocket", "2.0.0", UserSocket, "ok", V2JSONSerializer)),
        ("/socket/longpoll", "", ("longpoll", "1.0.0", UserSocket, "ok", V1JSONSerializer)),
        ("/socket/websocket", "vsn=2.0.9&refuse", ("websocket", "2.0.9", UserSocket, "error", V2JSONSerializer)),
        ("/later/longpoll", "vsn=2.0.0", ("longpoll", "2.0.0", LaterSocket, "error", V2JSONSerializer)),
        ("/silent/websocket", "vsn=2.0.0", ("websocket", "2.0.0", SilentSocket, "ok", V2JSONSerializer)),
        ("/socket/websocket", "vsn=9", None),
    ],
)
@on_loop
async def test_an_event_tells_of_each_client_of_a_known_version(
    path: str, query: str, expected: tuple[Any, ...] | None, seen: Seen
) -> None:
    async with serving(SOCKETS) as server:
        await opened(server, path, query, *UPGRADE)
        connected = [event for event in seen if event[0] == CONNECTED]
    if expected is None:
        assert connected == []
        return
    [(_, measurements, about)] = connected
    assert list(measurements) == ["duration"]
    assert 0 <= measurements["duration"] < 60
    names = ("transport", "vsn", "user_socket", "result", "serializer")
    assert tuple(about[name] for name in names[:4]) == expected[:4]
    assert type(about["serializer"]) is expected[4]
    assert (about["endpoint"], about["log"]) == (server.endpoint, about["user_socket"].log)
    assert about["connect_info"].path == path
    assert "[FILTERED]" not in str(about["params"])


@on_loop
async def test_connect_info_has_all_of_phoenixs(seen: Seen) -> None:
    async with serving(UserSocket) as server:
        headers = ["X-One: 1", "x-two: 2", "X-One: 3", "User-Agent: test/1"]
        await opened(server, "/socket/longpoll", "vsn=2.0.0&a=b+c&my_token=hidden", *headers)
        await opened(server, "/socket/longpoll", "a=b+c")
    info, plain = (about["connect_info"] for event, _, about in seen if event == CONNECTED)
    assert info.x_headers == [("x-one", "1"), ("x-two", "2"), ("x-one", "3")]
    assert info.user_agent == "test/1"
    query = "vsn=2.0.0&a=b+c&my_token=%5BFILTERED%5D"
    assert info.uri == Uri("http", "localhost", 80, "/socket/longpoll", query)
    assert (plain.uri.query, plain.user_agent, plain.x_headers, plain.session) == ("a=b+c", None, [], None)


# How it ends


@pytest.mark.parametrize(
    ("end", "code"), [("close", 1000), ("vanish", 1006), ("malformed", 1011), ("disconnect", 1001), ("kill", 1006)]
)
@on_loop
async def test_an_event_tells_how_a_connection_ended(end: str, code: int, seen: Seen) -> None:
    async with serving(UserSocket) as server:
        client = await server.connect()
        match end:
            case "close":
                await client.close()
            case "vanish":
                client.vanish()
            case "malformed":
                await client.connection.send("nonsense")
                await client.closed()
            case "disconnect":
                server.endpoint.broadcast("users:alice", "disconnect", {})
                await client.closed()
            case "kill":
                server.find("transport").kill()
                await client.closed()
        await server.nothing_is_left()
        [(_, measurements, about)] = [event for event in seen if event[0] == DISCONNECTED]
    assert 0 <= measurements["duration"] < 60
    assert (about["code"], about["endpoint"], type(about["socket"])) == (code, server.endpoint, UserSocket)


@on_loop
async def test_an_endpoint_that_stops_tells_that_it_drains(seen: Seen, caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack, serving(UserSocket) as server:
        for _ in range(2):
            uri = f"ws://127.0.0.1:{server.endpoint.port}/socket/websocket?vsn=2.0.0"
            await stack.enter_async_context(connect(uri, proxy=None, ping_interval=None))
    assert [event[1] for event in seen if event[0] == DRAIN] == [{"count": 2, "total": 2, "index": 1, "rounds": 1}]
    assert [about["code"] for event, _, about in seen if event == DISCONNECTED] == [1012, 1012]
    assert "DRAINING 2 connection(s)" in caplog.text


# Bytes


@on_loop
async def test_frames_are_counted_for_those_who_ask() -> None:
    counted: list[tuple[Any, Any]] = []
    async with serving(UserSocket) as server:
        tcp = await server.tcp()
        await tcp.upgrade()
        await tcp.send(masked(0x81, HEARTBEAT))
        await tcp.text()
        telemetry.attach("bytes", [FRAME_IN, FRAME_OUT], lambda *event: counted.append((event[0], event[1]["bytes"])))
        try:
            await tcp.send(masked(0x81, '["é",null,"phoenix","heartbeat",{}]'))
            answer = await tcp.text()
            await tcp.send(masked(0x82, b"\x01\x00\x00\x01\x00xyz"))
            await tcp.close_code()
        finally:
            telemetry.detach("bytes")
    assert counted == [(FRAME_IN, 36), (FRAME_OUT, len(answer)), (FRAME_IN, 8)]


def test_an_outlet_is_watched_while_a_handler_of_frame_out_is_attached() -> None:
    traffic = WebSocketTraffic()
    seen = [traffic.watched]
    telemetry.attach("bytes", [FRAME_OUT], lambda *_: None)
    try:
        seen.append(traffic.watched)
    finally:
        telemetry.detach("bytes")
    assert [*seen, traffic.watched] == [False, True, False]


# Secrets


@pytest.mark.parametrize(
    ("options", "hidden"),
    [({}, {"password", "user_token"}), ({"filter_parameters": ["PIN", "token"]}, {"pin", "user_token"})],
)
@on_loop
async def test_secrets_are_in_no_line_of_the_log(
    options: dict[str, Any], hidden: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    values = {"password": "VALUE1", "user_token": "VALUE2", "pin": "VALUE3"}
    caplog.set_level(logging.DEBUG)
    async with serving(UserSocket, **options) as server:
        client = await server.connect(**values)
        await client.send("1", "1", "room:1", "phx_join", values)
        await client.recv()
        await client.ask("1", "room:1", "some", values)
        await client.send("1", "3", "room:1", "crash", values)
        await client.recv()
    theirs = "websockets.client"
    ours = "\n".join(record.getMessage() + str(record.exc_text) for record in caplog.records if record.name != theirs)
    assert [name for name, value in values.items() if value in ours] == [name for name in values if name not in hidden]
    assert ours.count("[FILTERED]") >= 6


@on_loop
async def test_a_channel_that_is_killed_over_a_message_shows_no_secret_of_it(caplog: pytest.LogCaptureFixture) -> None:
    class StuckChannel(RoomChannel):
        shutdown = 0.01

        async def handle_in(self, event: str, payload: Any) -> Any:
            handling.set()
            for _ in range(2):
                with suppress(asyncio.CancelledError):  # it does not want to end; that is the test
                    await asyncio.get_running_loop().create_future()

    handling = asyncio.Event()
    async with serving(type("TestSocket", (Socket,), {"channels": {"room:*": StuckChannel}})) as server:
        client = await server.connect()
        await client.join("room:1")
        await client.send(None, None, "room:1", "some", {"password": "VALUE"})
        await handling.wait()
        await client.close()
        await server.nothing_is_left()
    [line] = [message for message in caplog.messages if "is killed" in message]
    assert "'[FILTERED]'" in line
    assert "VALUE" not in line


@pytest.mark.parametrize("wrong", ["password", [""], [5], [None]], ids=repr)
def test_filtered_parameters_are_names(wrong: Any) -> None:
    with pytest.raises(SocketError) as raised:
        Endpoint({}, filter_parameters=wrong)
    assert str(raised.value) == f'filter_parameters takes names such as ("password", "token"), got {wrong!r}'


@pytest.mark.parametrize("wrong", ["loud", "INFO", ""])
def test_the_level_of_a_sockets_line_is_one(wrong: str) -> None:
    with pytest.raises(SocketError, match=rf"TestSocket.log must be one of .*info.*, or None, got {wrong!r}"):
        Endpoint({"/socket": type("TestSocket", (Socket,), {"log": wrong})})
