"""Who may see the observer, and who is told that they may not."""

from __future__ import annotations

import re
from base64 import b64encode
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import pytest

from supervisors import System
from tests.transport.wire import HANDSHAKE, Answer, Server, on_loop, serving, until
from transport import ConnectInfo, Endpoint, Observer, Socket, SocketError
from transport.access.auth_token import PREFIX
from transport.observer.observer import TOKEN_VARIABLE

TOKEN = "a-token-of-some-length"  # noqa: S105  # of no other use
PATH = "/observer/socket/websocket?vsn=2.0.0"


def info(peer: str | None, token: str | None, **headers: str) -> ConnectInfo:
    """Return what is known of a client."""
    return ConnectInfo((peer, 1234) if peer else None, "", headers, auth_token=token)


@pytest.mark.parametrize(
    ("token", "admitted"),
    [(TOKEN, True), (None, False), ("", False), (TOKEN[:-1], False), (TOKEN + "x", False), ("jürgen", False)],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "203.0.113.9", None])
def test_it_is_for_whoever_has_the_token(peer: str | None, token: str | None, admitted: object) -> None:
    assert Observer(TOKEN).admits(info(peer, token)) is admitted


def test_without_a_given_token_each_observer_has_its_own() -> None:
    tokens = {Observer().token for _ in range(10)}
    assert len(tokens) == 10
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", token) for token in tokens)


def test_the_environment_may_give_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert Observer().token == TOKEN
    assert Observer("a-token-of-the-program").token == "a-token-of-the-program"  # noqa: S105  # of no other use
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    assert Observer().token not in {"", TOKEN}
    monkeypatch.setenv(TOKEN_VARIABLE, "too short")
    with pytest.raises(SocketError, match=f"token, which {TOKEN_VARIABLE} sets, must be 16 or more") as raised:
        Observer()
    assert "too short" not in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "192.168.1.7", "example.com", ""])  # noqa: S104  # as above
def test_its_endpoint_may_listen_anywhere(host: str) -> None:
    assert Endpoint({}, host=host, observer=Observer()).observer is not None


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "with/slashes/in/it", "jürgenjürgenjürgen"])
def test_a_token_that_a_browser_could_not_show_or_is_short_is_an_error_without_it(token: str) -> None:
    with pytest.raises(SocketError, match="must be 16 or more characters") as raised:
        Observer(token)
    assert token == "" or token not in str(raised.value)


@pytest.mark.parametrize("token", [b"a-token-of-some-length", 1234567890123456, True], ids=repr)
def test_a_token_that_is_no_text_is_an_error(token: Any) -> None:
    with pytest.raises(SocketError, match="must be 16 or more characters"):
        Observer(token)


def test_the_token_is_not_shown_with_the_observer() -> None:
    assert TOKEN not in repr(Observer(TOKEN))


def test_its_address_for_people_holds_the_token_where_no_server_sees_it() -> None:
    assert Endpoint({}, observer=Observer(TOKEN)).observer_url == f"http://127.0.0.1:4000/observer#token={TOKEN}"
    assert Endpoint({}).observer_url is None


@on_loop
async def test_a_new_token_is_printed_with_its_address_at_the_first_start() -> None:
    with redirect_stderr(StringIO()) as printed:
        async with serving({}, observer=Observer()) as server:
            assert printed.getvalue() == f"The observer is at {server.endpoint.observer_url}\n"
            assert "#token=" in printed.getvalue()
            server.find("endpoint").kill()
            await until(lambda: server.endpoint.transports is not None)
    assert printed.getvalue().count("\n") == 1


@on_loop
async def test_under_a_server_of_which_it_has_no_address_the_path_is_printed() -> None:
    endpoint = Endpoint({}, port=None, observer=Observer())
    with redirect_stderr(StringIO()) as printed:
        async with System([endpoint]):
            assert endpoint.observer is not None
            assert printed.getvalue() == f"The observer is at {endpoint.observer.location}\n"


@pytest.mark.parametrize("observer", [Observer(TOKEN), Observer(announce=False)])
@on_loop
async def test_a_token_that_the_program_knows_is_not_printed(observer: Observer) -> None:
    with redirect_stderr(StringIO()) as printed:
        async with serving({}, observer=observer):
            assert printed.getvalue() == ""


def closed_stream() -> StringIO:
    stream = StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stderr", [None, closed_stream()], ids=["none", "closed"])
@on_loop
async def test_a_service_without_stderr_starts(stderr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stderr)
    async with serving({}, observer=Observer()) as server:
        assert (await (await server.tcp()).get("/observer")).status == 200


# Over the wire


@pytest.mark.parametrize(("slashes", "location"), [("/", "../observer"), ("///", "../../../observer")])
@on_loop
async def test_its_page_has_one_path_as_its_links_are_relative(slashes: str, location: str) -> None:
    async with serving(Socket, observer=Observer()) as server:
        tcp = await server.tcp()
        moved = await tcp.get(f"/observer{slashes}?a=1")
        assert (moved.status, moved.header("Location")) == (302, [location])
        assert (await tcp.get("//observer")).body == (await tcp.get("/observer")).body != ""


def offer(token: str) -> str:
    """Return the header with which a browser sends a token."""
    return f"Sec-WebSocket-Protocol: phoenix, {PREFIX}{b64encode(token.encode()).decode().rstrip('=')}"


async def handshake(server: Server, host: str, *headers: str) -> Answer:
    """Ask for the observer's WebSocket; `{port}` is the server's."""
    tcp = await server.tcp()
    lines = "".join(f"{header}\r\n" for header in headers).format(port=server.endpoint.port)
    text = HANDSHAKE.replace("/socket/websocket?vsn=2.0.0", PATH)
    await tcp.send(text.replace("Host: localhost\r\n", f"Host: {host}:{server.endpoint.port}\r\n{lines}"))
    return await tcp.answer()


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("localhost", []),
        ("localhost", ["Origin: http://localhost:{port}"]),
        ("127.0.0.1", ["Origin: http://127.0.0.1:{port}"]),
        # A proxy on this machine that adds no header looks the same; and so may a page whose name was led here.
        ("127.0.0.1", ["Origin: https://shop.example"]),
        ("evil.example", ["Origin: http://evil.example:{port}"]),
    ],
)
@on_loop
async def test_without_the_token_no_client_sees_anything_not_even_one_of_this_machine(
    host: str, headers: list[str]
) -> None:
    async with serving({}, observer=Observer(), check_origin=False) as server:
        assert (await handshake(server, host, *headers)).status == 403
        assert (await handshake(server, host, *headers, offer("another-one-as-long"))).status == 403
        # The page holds no data.
        assert (await (await server.tcp()).get("/observer", f"X-Forwarded-Host: {host}")).status == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("0.0.0.0", "http://0.0.0.0:{port}", 101),  # noqa: S104  # what is printed for an endpoint that others reach
        ("192.168.1.7", "http://192.168.1.7:{port}", 101),
        ("shop.example", "https://shop.example", 101),
        ("shop.example", "http://localhost", 101),
        ("shop.example", "https://evil.example", 403),
        ("shop.example", "null", 403),
        ("shop.example", "https://shop.example\r\nOrigin: https://evil.example", 403),
    ],
)
@on_loop
async def test_its_own_page_may_show_its_token_whatever_pages_other_sockets_are_for(
    host: str, origin: str, status: int
) -> None:
    async with serving({}, observer=Observer(TOKEN), check_origin=["//localhost"]) as server:
        assert (await handshake(server, host, f"Origin: {origin}", offer(TOKEN))).status == status
        assert (await handshake(server, host, f"Origin: {origin}")).status == 403


@pytest.mark.parametrize(("token", "status"), [(TOKEN, 101), ("another-one-as-long", 403)])
@on_loop
async def test_the_token_is_shown_as_an_auth_token(token: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with serving({}, observer=Observer(TOKEN)) as server:
        assert (await handshake(server, "localhost", offer(token))).status == status
        assert (await handshake(server, "localhost")).status == 403
    assert token not in caplog.text


@on_loop
async def test_an_endpoint_without_one_serves_nothing_of_it() -> None:
    async with serving({}) as server:
        tcp = await server.tcp()
        for path in ("/observer", "/observer/observer.js", "/observer/socket/websocket?vsn=2.0.0"):
            assert (await tcp.get(path)).status == 404


@on_loop
async def test_its_page_brings_all_it_needs() -> None:
    async with serving({}, observer=Observer()) as server:
        tcp = await server.tcp()
        page = await tcp.get("/observer")
        assert "<title>Observer" in page.body
        [policy] = page.header("content-security-policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for name in ("observer.js", "tree.js", "actor.js", "journal.js", "totals.js", "channels.js", "dom.js"):
            assert (await tcp.get(f"/observer/{name}")).header("content-type") == ["text/javascript; charset=utf-8"]
        assert (await tcp.get("/observer/observer.css")).status == 200
        assert (await tcp.get("/observer/socket/longpoll?vsn=2.0.0")).status == 404
