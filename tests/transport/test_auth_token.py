"""The auth token that a client presents when it connects (Phoenix.Socket's `:auth_token`; phoenix.js's `authToken`)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.datastructures import Headers

from actors import Reply, ok
from tests.transport.wire import HANDSHAKE, Answer, Server, on_loop, serving
from transport import ConnectInfo, Endpoint, Socket, SocketError, TokenInvalidError
from transport.access.auth_token import PREFIX, Offer, longpoll_token, without_token

BAD = "not*base64"


def encoded(token: str) -> str:
    """Encode as phoenix.js does."""
    return PREFIX + b64encode(token.encode()).decode().rstrip("=")


class PlainSocket(Socket):
    """Writes down what is known of its clients."""

    infos: list[ConnectInfo] = []  # noqa: RUF012  # cleared for each test

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        self.infos.append(connect_info)
        return ok()


class TokenSocket(PlainSocket):
    auth_token = True


SOCKETS = {"/socket": TokenSocket, "/plain": PlainSocket}


@pytest.fixture(autouse=True)
def infos() -> list[ConnectInfo]:
    PlainSocket.infos.clear()
    return PlainSocket.infos


@pytest.mark.parametrize(
    ("lines", "names", "token"),
    [
        ([], [], None),
        (["phoenix"], ["phoenix"], None),
        (["phoenix, " + encoded("a token")], ["phoenix"], "a token"),
        ([encoded("a token") + ",phoenix"], ["phoenix"], "a token"),
        (["phoenix", encoded("a token"), "other"], ["phoenix", "other"], "a token"),
        ([encoded("a")], [], "a"),
        ([encoded("")], [], ""),
        ([PREFIX + "Pz8/"], [], "???"),
        ([PREFIX + "fn5+"], [], "~~~"),
        ([PREFIX + "YQ=="], [], "a"),
        ([encoded("one") + ", " + encoded("two")], [], "one"),
        ([encoded("jürgen")], [], "jürgen"),
    ],
)
def test_a_token_is_offered_as_a_subprotocol(lines: list[str], names: list[str], token: str | None) -> None:
    headers = Headers([("Host", "a"), *[("Sec-WebSocket-Protocol", line) for line in lines]])
    offer = Offer.read(headers)
    assert (offer.names, offer.token()) == (names, token)
    stripped = without_token(headers)
    assert stripped["Host"] == "a"
    assert stripped.get_all("Sec-WebSocket-Protocol") == ([", ".join(names)] if names else [])


@pytest.mark.parametrize("value", [BAD, "Y", "Pz8_", "fn5-", "YQ==YQ==", "/w", "ü"])
def test_a_token_that_is_not_base64_is_an_error_without_it(value: str) -> None:
    with pytest.raises(TokenInvalidError) as raised:
        Offer([], PREFIX + value).token()
    assert str(raised.value) == (
        f"an auth token is base64 of UTF-8 (standard alphabet, no padding), got {len(value)} other characters"
    )
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@settings(deadline=None)
@given(st.text())
def test_every_token_comes_back(token: str) -> None:
    assert Offer.read(Headers([("Sec-WebSocket-Protocol", "phoenix, " + encoded(token))])).token() == token


@pytest.mark.parametrize(
    ("headers", "token"),
    [([], None), ([("X-Phoenix-AuthToken", "a b")], "a b"), ([("x-phoenix-authtoken", "")], "")],
)
def test_long_polling_has_a_header_for_it(headers: list[tuple[str, str]], token: str | None) -> None:
    assert longpoll_token(Headers(headers)) == token


def test_auth_token_is_a_bool() -> None:
    class WrongSocket(Socket):
        auth_token = "yes"  # type: ignore[assignment]  # noqa: S105  # no password

    with pytest.raises(SocketError, match=r"WrongSocket.auth_token must be True or False, got 'yes'"):
        Endpoint({"/socket": WrongSocket})


async def handshake(server: Server, protocols: str, path: str = "/socket") -> Answer:
    tcp = await server.tcp()
    text = HANDSHAKE.replace("/socket", path, 1)
    await tcp.send(text.replace("Host:", f"Sec-WebSocket-Protocol: {protocols}\r\nHost:", 1))
    return await tcp.answer()


@pytest.mark.parametrize(
    ("path", "protocols", "status", "echoed", "token"),
    [
        ("/socket", f"phoenix, {encoded('~~~ ???')}", 101, ["phoenix"], "~~~ ???"),
        ("/socket", f"{encoded('a')}, other, phoenix", 101, ["phoenix"], "a"),
        ("/socket", "phoenix", 101, ["phoenix"], None),
        ("/socket", "other", 101, [], None),
        ("/socket", encoded("a"), 101, [], "a"),
        ("/plain", f"phoenix, {encoded('a')}", 101, [], None),
        ("/plain", "phoenix", 101, [], None),
    ],
)
@on_loop
async def test_a_handshake_with_a_token_is_answered_by_the_other_subprotocol(  # noqa: PLR0917  # a row
    path: str, protocols: str, status: int, echoed: list[str], token: str | None, infos: list[ConnectInfo]
) -> None:
    async with serving(SOCKETS) as server:
        answer = await handshake(server, protocols, path)
    assert (answer.status, answer.header("Sec-WebSocket-Protocol")) == (status, echoed)
    assert infos[0].auth_token == token
    assert path == "/plain" or PREFIX not in str(infos[0].headers)


@on_loop
async def test_a_bad_token_is_403_and_not_in_the_log(
    infos: list[ConnectInfo], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(SOCKETS) as server:
        answer = await handshake(server, f"phoenix, {PREFIX}{BAD}")
        assert (await handshake(server, f"phoenix, {PREFIX}{BAD}", "/plain")).status == 101
    assert answer.status == 403
    assert len(infos) == 1
    assert "refused a client of TokenSocket: an auth token is base64" in caplog.text
    assert BAD not in caplog.text


@pytest.mark.parametrize(("path", "token"), [("/socket", "a token"), ("/plain", None)])
@on_loop
async def test_long_polling_takes_the_token_of_its_header(
    path: str, token: str | None, infos: list[ConnectInfo]
) -> None:
    async with serving(SOCKETS) as server:
        answer = await (await server.tcp()).get(f"{path}/longpoll?vsn=2.0.0", "X-Phoenix-AuthToken: a token")
    assert '"status":410' in answer.body
    assert infos[0].auth_token == token


def test_what_is_known_of_a_connection_is_not_shown() -> None:
    info: Any = ConnectInfo(("1.2.3.4", 5), "/socket", {"cookie": "a"}, session={"a": 1}, auth_token="a")  # noqa: S106  # no secret, only a name
    assert repr(info) == "ConnectInfo(peer=('1.2.3.4', 5), path='/socket', …)"
