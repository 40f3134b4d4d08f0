"""Who may open a WebSocket, and in which order that is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import pytest

from actors import Channel, Reply, error, ok
from tests.transport.wire import HANDSHAKE, NO_CLOSE_FRAME, on_loop, serving, status
from transport import ConnectInfo, Endpoint, Limits, Socket


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()


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
            case "end transports":
                assert isinstance(self.endpoint, Endpoint)
                assert self.endpoint.transports is not None
                self.endpoint.transports.stop(block=False)
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


@on_loop
async def test_a_supervisor_of_transports_that_ends_at_that_moment_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(UserSocket) as server:
        client = await server.connect(do="end transports")
        assert await client.closed() == NO_CLOSE_FRAME
        assert await status(server, path="/socket") == 101
    [record] = [record for record in caplog.records if "cannot start a transport" in record.message]
    assert record.exc_info is None


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
    line = f"refused a page of origin {origin!r}; the requested host is 'localhost': if the page is yours"
    assert (line in caplog.text) is (expected == 403)


@on_loop
async def test_of_a_flood_of_other_pages_the_log_has_some_lines(caplog: pytest.LogCaptureFixture) -> None:
    asked = "GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.org\r\n\r\n"
    async with serving(UserSocket) as server:
        tcp = await server.tcp()
        # All at once: it is so many in a second.
        await tcp.send(100 * asked)
        for _ in range(100):
            assert '"status":403' in (await tcp.answer()).body
    assert 0 < caplog.text.count("refused a page of origin") < 100


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("Origin: http://localhost\r\nOrigin: http://localhost\r\n", 403),
        ("Origin: http://localhost\r\nHost: other\r\n", 400),
    ],
)
@on_loop
async def test_a_page_that_says_two_things_is_refused(headers: str, expected: int) -> None:
    async with serving(UserSocket) as server:
        assert await status(server, HANDSHAKE.replace("\r\n", "\r\n" + headers, 1)) == expected


@pytest.mark.parametrize(
    "offered", ["", ",", "phoenix,,x", "a b", '"quoted"', "a/b, c", "phoenix; q=1", "phoenix, phoenix"]
)
@on_loop
async def test_subprotocols_of_any_kind_may_be_offered(offered: str) -> None:
    async with serving(UserSocket) as server:
        tcp = await server.tcp()
        await tcp.send(HANDSHAKE.replace("\r\n", f"\r\nSec-WebSocket-Protocol: {offered}\r\n", 1))
        answer = await tcp.answer()
    assert (answer.status, answer.header("Sec-WebSocket-Protocol")) == (101, [])


@pytest.mark.parametrize(
    ("request_text", "expected", "is_asked"),
    [
        (HANDSHAKE.replace("GET", "POST", 1).replace("vsn=2.0.0", "vsn=9&a=%ff"), 400, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9&a=%ff").replace("Host", "Origin: http://evil.org\r\nHost"), 400, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9").replace("Host", "Origin: http://evil.org\r\nHost"), 403, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9&do=raise"), 403, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=9").replace("Upgrade", "Downgrade"), 403, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=2.0.0&do=refuse").replace("Upgrade", "Downgrade"), 400, False),
        (HANDSHAKE.replace("vsn=2.0.0", "vsn=2.0.0&do=refuse"), 403, True),
    ],
    ids=["method", "query", "origin", "version", "version, without an upgrade", "handshake", "connect"],
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


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "", "no Upgrade header: it is a plain request, or a proxy"),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "Connection: close\r\n", "a proxy in front of this server"),
        ("Sec-WebSocket-Version: 13\r\n", "", "missing Sec-WebSocket-Version header"),
    ],
)
@on_loop
async def test_a_broken_handshake_connects_nobody_and_is_logged_with_what_is_likely_wrong(
    old: str, new: str, why: str, asked: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ashtree")
    assert old in HANDSHAKE
    async with serving(UserSocket) as server:
        assert await status(server, HANDSHAKE.replace(old, new)) == 400
    assert asked == []
    [record] = [record for record in caplog.records if record.name == "ashtree.transport"]
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("refused a client of UserSocket: ")
    assert why in record.getMessage()


@on_loop
async def test_a_client_is_connected_only_if_there_is_a_place_for_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ashtree")
    async with serving(UserSocket, limits=Limits(connections_per_id=1)) as server:
        await server.connect()
        assert await status(server) == 429
    assert caplog.text.count("CONNECTED TO") == 1


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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tags[]=a&tags[]=b", {"tags": ["a", "b"]}),
        ("tags%5B%5D=a", {"tags": ["a"]}),
        ("user=é&name=\u65e5\u672c", {"user": "é", "name": "\u65e5\u672c"}),
        ("user[name]=a", {"user[name]": "a"}),
    ],
)
@on_loop
async def test_parameters_may_be_lists_and_need_no_escapes(
    query: str, expected: dict[str, Any], asked: list[Any]
) -> None:
    async with serving(UserSocket) as server:
        assert await status(server, query=f"vsn=2.0.0&{query}") == 101
    params, info = asked[0]
    assert params == {"vsn": "2.0.0"} | expected
    assert info.uri.query.isascii()


@on_loop
async def test_a_list_of_secrets_is_not_shown_and_other_lists_are(asked: list[Any]) -> None:
    async with serving(UserSocket) as server:
        assert await status(server, query="vsn=2.0.0&tags[]=a&tags[]=b&user_token[]=secret") == 101
    assert parse_qsl(asked[0][1].uri.query) == [
        ("vsn", "2.0.0"),
        ("tags[]", "a"),
        ("tags[]", "b"),
        ("user_token", "[FILTERED]"),
    ]


@pytest.mark.parametrize("path", ["/socket/", "//socket", "///socket//"])
@on_loop
async def test_a_socket_is_found_whatever_empty_segments_its_path_has(path: str) -> None:
    async with serving({"/socket/": UserSocket}) as server:
        assert await status(server, path=path) == 101
        assert await status(server, HANDSHAKE.replace("/websocket?", "/websocket/?")) == 101
        assert (await (await server.tcp()).get(f"{path}/longpoll/?vsn=2.0.0")).status == 200


@pytest.mark.parametrize("path", ["//x/socket", "//localhost:1/socket", "//[/socket"])
@on_loop
async def test_the_first_segment_of_a_path_is_no_host(path: str) -> None:
    async with serving(UserSocket) as server:
        assert await status(server, path=path) == 404


@on_loop
async def test_over_ipv6_a_peer_is_an_address_and_a_port(asked: list[Any]) -> None:
    async with serving(UserSocket, host="::1") as server:
        tcp = await server.tcp()
        await tcp.send(HANDSHAKE.replace("Host: localhost", "Host: [::1]:4000\r\nOrigin: http://[::1]:80"))
        assert (await tcp.answer()).status == 101
        me = tcp.writer.get_extra_info("sockname")
    assert asked[0][1].peer == me[:2]
    assert (asked[0][1].uri.host, asked[0][1].uri.port) == ("::1", 4000)


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
