"""Trusted proxies: what they say of clients is believed, what anybody else says is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers

from actors import Reply, ok
from tests.transport.wire import HANDSHAKE, on_loop, serving
from transport import ConnectInfo, Endpoint, Extension, Socket, SocketError, respond
from transport.access.proxies import Forwarded, InvalidPrefaceError, Preface, Proxies, read_preface
from transport.limits import Limits

if TYPE_CHECKING:
    from websockets.http11 import Response

    from transport.access.proxies import Address
    from transport.http.exchange import Incoming

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32", "fe80::/10"]
CLIENT = "203.0.113.5"
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def proxied(peer: str, *pairs: tuple[str, str]) -> Forwarded | None:
    return Proxies(TRUSTED).forwarded((peer, 5), Headers(list(pairs)))


# Whom to trust


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("2001:db8::1", True),
        ("fe80::1%eth0", True),
        ("localhost", False),
        ("", False),
    ],
)
def test_a_peer_is_trusted_by_its_address(peer: str, *, trusted: bool) -> None:
    assert Proxies(TRUSTED).trust((peer, 1)) is trusted


def test_by_default_no_peer_is_trusted() -> None:
    proxies = Proxies()
    assert not proxies
    assert not proxies.trust(("127.0.0.1", 1))
    assert proxies.forwarded(("127.0.0.1", 1), Headers({"X-Forwarded-For": CLIENT})) is None
    assert not Proxies(TRUSTED).trust(None)


def test_a_peer_of_a_unix_socket_has_no_address_and_is_trusted_by_unix() -> None:
    for trusted in (["unix:"], ["unix:", "127.0.0.1"]):
        proxies = Proxies(trusted)
        assert proxies.forwarded(None, Headers({"X-Forwarded-For": CLIENT})) == Forwarded((CLIENT, 0), None, None)
        assert proxies.forwarded(None, Headers()) == Forwarded(None, None, None)
        assert not proxies.trust(("10.0.0.1", 1))
    assert Proxies(["unix:"], proxy_protocol=True).send_preface(None)


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "", 5, None, "*"])
def test_a_wrong_network_is_an_error_with_the_value(wrong: Any) -> None:
    with pytest.raises(SocketError, match="trusted_proxies takes entries such as") as failed:
        Endpoint({}, trusted_proxies=["127.0.0.1", wrong])
    assert repr(wrong) in str(failed.value)


@pytest.mark.parametrize("wrong", ["127.0.0.1", b"127.0.0.1", True, None])
def test_the_proxies_are_a_list(wrong: Any) -> None:
    with pytest.raises(SocketError, match="trusted_proxies takes a list such as"):
        Endpoint({}, trusted_proxies=wrong)


def test_the_proxy_protocol_needs_trusted_proxies() -> None:
    with pytest.raises(SocketError, match=r"proxy_protocol=True needs the addresses of the proxies"):
        Endpoint({}, proxy_protocol=True)
    wrong: Any = "yes"
    with pytest.raises(SocketError, match="proxy_protocol must be a bool, got 'yes'"):
        Endpoint({}, trusted_proxies=TRUSTED, proxy_protocol=wrong)


# Headers


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([CLIENT], (CLIENT, 0)),
        ([f"{CLIENT}:4711"], (CLIENT, 4711)),
        (["[2001:db9::1]:4711"], ("2001:db9::1", 4711)),
        (["2001:db9::1"], ("2001:db9::1", 0)),
        ([f"1.1.1.1, {CLIENT}"], (CLIENT, 0)),
        ([f"1.1.1.1,{CLIENT} , 10.0.0.7"], (CLIENT, 0)),
        (["1.1.1.1", CLIENT, "10.0.0.7"], (CLIENT, 0)),
        (["10.0.0.9, 10.0.0.7"], ("10.0.0.9", 0)),
        (["1.1.1.1, unknown, 10.0.0.7"], ("10.0.0.7", 0)),
        (["1.1.1.1, unknown"], ("127.0.0.1", 5)),
        ([f"{CLIENT}:99999"], ("127.0.0.1", 5)),
        ([""], ("127.0.0.1", 5)),
        ([], ("127.0.0.1", 5)),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_trusted(values: list[str], client: Address) -> None:
    forwarded = proxied("127.0.0.1", *(("X-Forwarded-For", value) for value in values))
    assert forwarded == Forwarded(client, None, None)


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        (["https"], "https"),
        (["wss"], "https"),
        (["HTTP"], "http"),
        (["https, http"], "http"),
        (["ftp"], None),
        ([""], None),
    ],
)
def test_the_scheme_is_what_the_nearest_proxy_says(values: list[str], scheme: str | None) -> None:
    forwarded = proxied("127.0.0.1", *(("X-Forwarded-Proto", value) for value in values))
    assert forwarded is not None
    assert forwarded.scheme == scheme


def test_the_host_is_what_the_nearest_proxy_says() -> None:
    forwarded = proxied(
        "127.0.0.1", ("X-Forwarded-Host", "forged.example"), ("X-Forwarded-Host", "a.example, b.example")
    )
    assert forwarded is not None
    assert forwarded.host == "b.example"


def test_a_client_that_is_no_trusted_proxy_is_not_believed() -> None:
    assert proxied(CLIENT, ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Proto", "https")) is None


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), max_size=5))
def test_headers_of_any_kind_do_no_harm(values: list[str]) -> None:
    headers = [(f"X-Forwarded-{name}", value) for name in ("For", "Proto", "Host") for value in values]
    assert proxied("127.0.0.1", *headers) is not None


# The PROXY protocol


def version_2(command: int, family: int, rest: bytes) -> bytes:
    return V2 + bytes((command, family)) + len(rest).to_bytes(2, "big") + rest


V4 = bytes((203, 0, 113, 5, 10, 0, 0, 1)) + (4711).to_bytes(2, "big") + (80).to_bytes(2, "big")
V6 = bytes.fromhex("20010db9000000000000000000000001" + "20010db9000000000000000000000002" + "1267" + "0050")


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 80\r\n", (CLIENT, 4711)),
        (b"PROXY TCP6 2001:db9::1 2001:db9::2 4711 80\r\n", ("2001:db9::1", 4711)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
        (version_2(0x21, 0x11, V4), (CLIENT, 4711)),
        (version_2(0x21, 0x11, V4 + b"\x04\x00\x01a"), (CLIENT, 4711)),
        (version_2(0x21, 0x21, V6), ("2001:db9::1", 4711)),
        (version_2(0x20, 0x00, b""), None),
        (version_2(0x20, 0x11, V4), None),
        (version_2(0x21, 0x31, b"a" * 216), None),
    ],
)
def test_a_header_is_read_when_it_is_complete(header: bytes, peer: Address | None) -> None:
    for size in range(len(header)):
        assert read_preface(header[:size]) is None
    assert read_preface(header + b"GET") == Preface(peer, len(header))


@pytest.mark.parametrize(
    "wrong",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 203.0.113.5 10.0.0.1 4711\r\n",
        b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 80 1\r\n",
        b"PROXY TCP4 2001:db9::1 10.0.0.1 4711 80\r\n",
        b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 65536\r\n",
        b"PROXY TCP4 203.0.113.5 10.0.0.1 -1 80\r\n",
        b"PROXY UDP4 203.0.113.5 10.0.0.1 4711 80\r\n",
        b"PROXY \xff\r\n",
        b"PROXY  \r\n",
        b"PROXY TCP4 ".ljust(107, b"1"),
        version_2(0x31, 0x11, V4),
        version_2(0x22, 0x11, V4),
        version_2(0x21, 0x11, V4[:-1]),
        version_2(0x21, 0x21, V4),
        version_2(0x21, 0x11, V4.ljust(4081)),
        b"\r\n\r\nGET",
    ],
    ids=ascii,
)
def test_what_is_no_header_is_an_error(wrong: bytes) -> None:
    with pytest.raises(InvalidPrefaceError):
        read_preface(wrong)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2, V2 + b"\x21\x11"]))
def test_bytes_of_any_kind_are_a_header_or_an_error(data: bytes, begin: bytes) -> None:
    try:
        preface = read_preface(begin + data)
    except InvalidPrefaceError:
        return
    assert preface is None or preface.size <= len(begin + data)


# Behind a proxy


class Seen(list[ConnectInfo]):
    """What `connect` was told."""


def socket_that_tells(seen: Seen) -> type[Socket]:
    class Telling(Socket):
        def connect(self, params: Any, connect_info: ConnectInfo) -> Reply:
            seen.append(connect_info)
            return ok()

    return Telling


def handshake(*headers: str) -> str:
    return HANDSHAKE.replace("\r\n\r\n", "\r\n" + "".join(f"{header}\r\n" for header in headers) + "\r\n")


FORWARDED = (f"X-Forwarded-For: 1.1.1.1, {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Host: chat.example")


@on_loop
async def test_connect_is_told_of_the_client_behind_a_trusted_proxy() -> None:
    seen = Seen()
    origin = "Origin: https://chat.example"
    async with serving(socket_that_tells(seen), trusted_proxies=["127.0.0.1"], check_origin="conn") as server:
        for headers, status in [((*FORWARDED, origin), 101), ((*FORWARDED, "Origin: http://localhost"), 403)]:
            tcp = await server.tcp()
            await tcp.send(handshake(*headers))
            assert (await tcp.answer()).status == status
    [info] = seen
    assert info.peer == (CLIENT, 0)
    assert info.uri is not None
    assert (info.uri.scheme, info.uri.host, info.uri.port) == ("https", "chat.example", 443)


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]])
@on_loop
async def test_a_client_cannot_forge_its_address(trusted: list[str]) -> None:
    seen = Seen()
    async with serving(socket_that_tells(seen), trusted_proxies=trusted) as server:
        for headers, status in [(FORWARDED, 101), ((*FORWARDED, "Origin: https://chat.example"), 403)]:
            tcp = await server.tcp()
            await tcp.send(handshake(*headers))
            assert (await tcp.answer()).status == status
    [info] = seen
    assert info.peer is not None
    assert info.peer[0] == "127.0.0.1"
    assert info.uri is not None
    assert (info.uri.scheme, info.uri.host) == ("http", "localhost")


@pytest.mark.parametrize("header", [b"PROXY TCP4 203.0.113.5 10.0.0.1 4711 80\r\n", version_2(0x21, 0x11, V4)])
@pytest.mark.parametrize("size", [1, 1000])
@on_loop
async def test_a_connection_begins_with_the_header_of_its_proxy(header: bytes, size: int) -> None:
    seen = Seen()
    async with serving(socket_that_tells(seen), trusted_proxies=["127.0.0.1"], proxy_protocol=True) as server:
        tcp = await server.tcp()
        data = header + handshake("X-Forwarded-For: 1.1.1.1").encode()
        for start in range(0, len(data), size):
            await tcp.send(data[start : start + size])
        assert (await tcp.answer()).status == 101
    assert [info.peer for info in seen] == [(CLIENT, 4711)]


@on_loop
async def test_the_headers_of_a_trusted_proxy_behind_another_are_believed() -> None:
    seen = Seen()
    trusted = ["127.0.0.1", "10.0.0.0/8"]
    async with serving(socket_that_tells(seen), trusted_proxies=trusted, proxy_protocol=True) as server:
        tcp = await server.tcp()
        await tcp.send("PROXY TCP4 10.0.0.2 10.0.0.1 4711 80\r\n", handshake(*FORWARDED))
        assert (await tcp.answer()).status == 101
    assert [info.peer for info in seen] == [(CLIENT, 0)]


@on_loop
async def test_a_trusted_proxy_has_to_send_its_header() -> None:
    async with serving(Socket, trusted_proxies=["127.0.0.1"], proxy_protocol=True) as server:
        tcp = await server.tcp()
        await tcp.send(HANDSHAKE)
        assert await tcp.ended() == b""
        await server.nothing_is_left()


@on_loop
async def test_a_header_has_the_time_of_a_head() -> None:
    limits = Limits(head_timeout=0.05)
    async with serving(Socket, trusted_proxies=["127.0.0.1"], proxy_protocol=True, limits=limits) as server:
        tcp = await server.tcp()
        await tcp.send("PROXY TCP4 ")
        assert await tcp.ended() == b""


@on_loop
async def test_the_header_of_another_client_is_no_request() -> None:
    async with serving(Socket, trusted_proxies=["10.0.0.0/8"], proxy_protocol=True) as server:
        tcp = await server.tcp()
        await tcp.send("PROXY TCP4 203.0.113.5 10.0.0.1 4711 80\r\n", HANDSHAKE)
        assert (await tcp.answer()).status == 400


@on_loop
async def test_limits_of_an_address_count_the_clients_behind_a_proxy() -> None:
    limits = Limits(connections_per_address=1)
    async with serving(Socket, trusted_proxies=["127.0.0.1"], limits=limits) as server:
        statuses = []
        for client in ("203.0.113.5", "203.0.113.6", "203.0.113.5"):
            tcp = await server.tcp()
            await tcp.send(handshake(f"X-Forwarded-For: {client}"))
            statuses.append((await tcp.answer()).status)
    assert statuses == [101, 101, 429]


class Telling(Extension):
    """Answers with what it is told of a client."""

    def handlers(self) -> dict[str, Any]:
        return {"/client": self.serve}

    def serve(self, incoming: Incoming) -> Response:
        return respond(200, f"{incoming.peer} {incoming.scheme} {incoming.request.headers['Host']}")


@pytest.mark.parametrize(
    ("peer", "told"),
    [("10.0.0.1", f"('{CLIENT}', 0) https chat.example"), ("192.0.2.1", "('192.0.2.1', 5) http here")],
)
@on_loop
async def test_the_same_holds_behind_an_asgi_server(peer: str, told: str) -> None:
    endpoint = Endpoint({}, port=None, trusted_proxies=["10.0.0.0/8"], extensions=[Telling()])
    headers = [(name.lower().encode(), value.encode()) for name, value in (line.split(": ") for line in FORWARDED)]
    scope = {"type": "http", "path": "/client", "method": "GET", "headers": [(b"host", b"here"), *headers]}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Any) -> None:
        sent.append(event)

    await endpoint.asgi()(scope | {"client": [peer, 5], "scheme": "http"}, receive, send)
    assert sent[1]["body"].decode() == told
