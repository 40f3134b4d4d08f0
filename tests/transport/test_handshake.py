"""The common kind of handshake, held against the general rules of `websockets`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from transport.carriers.handshake import common_handshake

COMMON = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def request(method: str = "GET", protocol: str = "HTTP/1.1", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("/socket/websocket", Headers({**COMMON, **named}), method, protocol)


def test_the_sample_of_the_rfc_is_accepted() -> None:
    response = common_handshake(request())
    assert response is not None
    assert response.serialize() == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(
    "unusual",
    [
        request(method="POST"),
        request(protocol="HTTP/1.0"),
        request(Connection="keep-alive"),
        request(Connection="foo, Upgrade"),
        request(Upgrade="h2c"),
        request(Upgrade="websocket, h2c"),
        request(Sec_WebSocket_Key="short=="),
        request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=!"),
        request(Sec_WebSocket_Version="8"),
        request(Sec_WebSocket_Protocol="phoenix"),
    ],
    ids=repr,
)
def test_all_else_is_left_to_the_general_rules(unusual: Request) -> None:
    assert common_handshake(unusual) is None


NAMES = [*COMMON, "Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"]
VALUES = st.sampled_from(
    [
        *COMMON.values(),
        *("upgrade", "keep-alive, Upgrade", "Upgrade, keep-alive", "WebSocket", "", ",", "8", "13 ", "13, 8"),
        *(
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "ZGhlIHNhbXBsZSBub25jZQ==",
        ),
        *("http://example.com", "phoenix", "phoenix, other", "permessage-deflate", "permessage-deflate; ;", '"'),
    ]
)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=2),
    st.sets(st.sampled_from(list(COMMON))),
    st.sampled_from(["GET", "GET", "GET", "HEAD"]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
)
def test_what_it_accepts_is_accepted_by_the_general_rules_with_the_same_answer(
    more: list[tuple[str, str]], without: set[str], method: str, protocol: str
) -> None:
    headers = Headers(
        [(name, value) for name, value in COMMON.items() if name not in without or len(without) > 2] + more
    )
    asked = Request("/socket/websocket", headers, method, protocol)
    fast, general = common_handshake(asked), ServerProtocol().accept(asked)
    if fast is not None:
        del general.headers["Date"]
        assert (fast.status_code, list(fast.headers.raw_items())) == (101, list(general.headers.raw_items()))
