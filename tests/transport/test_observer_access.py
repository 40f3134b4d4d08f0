"""Who may see the observer, and who is told that they may not."""

from __future__ import annotations

from base64 import b64encode

import pytest

from tests.transport.wire import HANDSHAKE, Answer, Server, on_loop, serving
from transport import ConnectInfo, Endpoint, Observer, Socket, SocketError, Uri
from transport.access.auth_token import PREFIX

TOKEN = "a-token-of-some-length"  # noqa: S105  # of no other use
PATH = "/observer/socket/websocket?vsn=2.0.0"


def info(
    peer: str | None = "127.0.0.1", host: str | None = "localhost:4000", token: str | None = None, **headers: str
) -> ConnectInfo:
    """Return what is known of a client of an observer at port 4000."""
    known = {name.replace("_", "-"): value for name, value in headers.items()}
    uri = Uri("http", host and host.rpartition(":")[0].strip("[]"), 4000, "/observer/socket/websocket", "")
    given = {"host": host} if host is not None else {}
    return ConnectInfo((peer, 1234) if peer else None, "", {**given, **known}, uri=uri, auth_token=token)


@pytest.mark.parametrize(
    ("client", "admitted"),
    [
        (info(), True),
        (info("::1", "[::1]:4000"), True),
        (info(origin="http://localhost:4000"), True),
        (info(host="127.0.0.1:4000", origin="http://127.0.0.1:4000"), True),
        # Other machines, and what may stand for them.
        (info("192.168.1.7"), False),
        (info(None), False),
        (info(x_forwarded_for="203.0.113.9"), False),
        (info(x_real_ip="203.0.113.9"), False),
        (info(forwarded="for=203.0.113.9"), False),
        (info(via="1.1 proxy"), False),
        # Other pages in a browser on this machine; the name of the second one leads to 127.0.0.1.
        (info(origin="https://evil.example"), False),
        (info(host="evil.example:4000", origin="http://evil.example:4000"), False),
        (info(origin="http://localhost:3000"), False),
        (info(origin="https://localhost:4000"), False),
        (info(origin="null"), False),
        (info(host=None), False),
        (info(token=TOKEN, host="evil.example:4000"), False),
    ],
)
def test_without_a_token_it_is_for_pages_of_this_machine(client: ConnectInfo, admitted: object) -> None:
    assert Observer().admits(client) is admitted


@pytest.mark.parametrize(
    ("token", "admitted"),
    [(TOKEN, True), (None, False), ("", False), (TOKEN[:-1], False), (TOKEN + "x", False), ("jürgen", False)],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.9"])
def test_with_a_token_it_is_for_whoever_has_it(peer: str, token: str | None, admitted: object) -> None:
    assert Observer(TOKEN).admits(info(peer, "example.com:443", token, x_forwarded_for="a")) is admitted


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", ""])  # noqa: S104  # to be refused
def test_an_endpoint_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(SocketError, match=rf"an endpoint on {host!r} needs a token for it: Endpoint\(…, observer=Obs"):
        Endpoint({}, host=host, observer=Observer())
    assert Endpoint({}, host=host, observer=Observer(TOKEN)).observer is not None


def test_an_endpoint_that_does_not_know_where_it_is_needs_a_token() -> None:
    with pytest.raises(SocketError, match="an endpoint without a port of its own needs a token"):
        Endpoint({}, port=None, observer=Observer())
    assert Endpoint({}, port=None, observer=Observer(TOKEN)).observer is not None


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "with/slashes/in/it", "jürgenjürgenjürgen"])
def test_a_token_that_a_browser_could_not_show_or_is_short_is_an_error_without_it(token: str) -> None:
    with pytest.raises(SocketError, match="must be 16 or more characters") as raised:
        Observer(token)
    assert token == "" or token not in str(raised.value)


def test_the_token_is_not_shown_with_the_observer() -> None:
    assert TOKEN not in repr(Observer(TOKEN))


def test_its_address_for_people_holds_the_token_where_no_server_sees_it() -> None:
    assert Endpoint({}, observer=Observer()).observer_url == "http://127.0.0.1:4000/observer"
    assert Endpoint({}, observer=Observer(TOKEN)).observer_url == f"http://127.0.0.1:4000/observer#token={TOKEN}"
    assert Endpoint({}).observer_url is None


# Over the wire


@pytest.mark.parametrize(("slashes", "location"), [("/", "../observer"), ("///", "../../../observer")])
@on_loop
async def test_its_page_has_one_path_as_its_links_are_relative(slashes: str, location: str) -> None:
    async with serving(Socket, observer=Observer()) as server:
        tcp = await server.tcp()
        moved = await tcp.get(f"/observer{slashes}?a=1")
        assert (moved.status, moved.header("Location")) == (302, [location])
        assert (await tcp.get("//observer")).body == (await tcp.get("/observer")).body != ""


@on_loop
async def test_a_browser_on_this_machine_may_use_ipv6() -> None:
    async with serving(Socket, observer=Observer(), host="::1") as server:
        assert (await handshake(server, "[::1]", "Origin: http://[::1]:{port}")).status == 101
        assert (await handshake(server, "[::1]", "Origin: http://[::2]:{port}")).status == 403


async def handshake(server: Server, host: str, *headers: str) -> Answer:
    """Ask for the observer's WebSocket; `{port}` is the server's."""
    tcp = await server.tcp()
    lines = "".join(f"{header}\r\n" for header in headers).format(port=server.endpoint.port)
    text = HANDSHAKE.replace("/socket/websocket?vsn=2.0.0", PATH)
    await tcp.send(text.replace("Host: localhost\r\n", f"Host: {host}:{server.endpoint.port}\r\n{lines}"))
    return await tcp.answer()


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("localhost", ["Origin: http://localhost:{port}"], 101),
        ("127.0.0.1", ["Origin: http://127.0.0.1:{port}"], 101),
        ("localhost", [], 101),
        ("localhost", ["Origin: http://evil.example"], 403),
        ("evil.example", ["Origin: http://evil.example:{port}"], 403),
        ("localhost", ["Origin: http://localhost:{port}", "X-Forwarded-For: 203.0.113.9"], 403),
    ],
)
@on_loop
async def test_it_has_a_rule_of_its_own_whatever_other_sockets_allow(
    host: str, headers: list[str], status: int
) -> None:
    async with serving({}, observer=Observer(), check_origin=False) as server:
        assert (await handshake(server, host, *headers)).status == status


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
    offer = f"Sec-WebSocket-Protocol: phoenix, {PREFIX}{b64encode(TOKEN.encode()).decode().rstrip('=')}"
    async with serving({}, observer=Observer(TOKEN), check_origin=["//localhost"]) as server:
        assert (await handshake(server, host, f"Origin: {origin}", offer)).status == status
        assert (await handshake(server, host, f"Origin: {origin}")).status == 403


@on_loop
async def test_without_a_token_its_own_page_needs_not_be_one_that_other_sockets_are_for() -> None:
    async with serving({}, observer=Observer(), check_origin=["https://shop.example"]) as server:
        assert (await handshake(server, "localhost", "Origin: http://localhost:{port}")).status == 101
        assert (await handshake(server, "localhost", "Origin: https://shop.example")).status == 403


@pytest.mark.parametrize(("token", "status"), [(TOKEN, 101), ("another-one-as-long", 403)])
@on_loop
async def test_the_token_is_shown_as_an_auth_token(token: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    offer = f"Sec-WebSocket-Protocol: phoenix, {PREFIX}{b64encode(token.encode()).decode().rstrip('=')}"
    async with serving({}, observer=Observer(TOKEN)) as server:
        assert (await handshake(server, "localhost", offer)).status == status
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
