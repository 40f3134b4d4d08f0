"""The address that a client connects to."""

from __future__ import annotations

from typing import Any

import pytest

from transport.client.address import checked_url, connect_url, subprotocols


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("ws://host/socket", "ws://host/socket/websocket"),
        ("ws://host/socket/", "ws://host/socket/websocket"),
        ("wss://host:444/a/socket", "wss://host:444/a/socket/websocket"),
        ("http://host/socket", "ws://host/socket/websocket"),
        ("https://host/socket", "wss://host/socket/websocket"),
        ("ws://host/socket/websocket", "ws://host/socket/websocket"),
        ("ws://host/socket?a=1#there", "ws://host/socket/websocket?a=1"),
        ("ws://host", "ws://host/websocket"),
        ("ws://[::1]:4000/socket", "ws://[::1]:4000/socket/websocket"),
    ],
)
def test_a_url_is_that_of_the_socket(url: str, checked: str) -> None:
    assert checked_url(url) == checked


NONE: list[Any] = [
    "",
    "/socket",
    "host:4000/socket",
    "ftp://host/socket",
    "ws:///socket",
    "ws://host:0/socket",
    "ws://host:99999/socket",
    "ws://host:port/socket",
    "ws://[::1/socket",
    None,
    4000,
]


@pytest.mark.parametrize("url", NONE)
def test_a_url_that_is_none_is_refused(url: Any) -> None:
    with pytest.raises(ValueError, match=r"ws://host:4000/socket is expected, got"):
        checked_url(url)


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({}, ""),
        ({"user": "ann & ben"}, "user=ann+%26+ben&"),
        ({"n": 1, "x": 1.5, "yes": True, "no": False, "none": None}, "n=1&x=1.5&yes=true&no=false&"),
        (
            {"user": {"name": "ann", "tags": ["a", "b"]}},
            "user%5Bname%5D=ann&user%5Btags%5D%5B0%5D=a&user%5Btags%5D%5B1%5D=b&",
        ),
    ],
    ids=["none", "text", "values", "nested"],
)
def test_params_are_the_query(params: dict[str, Any], query: str) -> None:
    assert connect_url("ws://host/socket/websocket", params, "2.0.0") == f"ws://host/socket/websocket?{query}vsn=2.0.0"


def test_a_query_that_is_there_stays() -> None:
    assert connect_url("ws://h/websocket?a=1&b=", {"c": 2}, "1.0.0") == "ws://h/websocket?a=1&b=&c=2&vsn=1.0.0"


@pytest.mark.parametrize(
    ("token", "offered"),
    [
        (None, None),
        ("1234", ["phoenix", "base64url.bearer.phx.MTIzNA"]),
        ("ÿÿÿ>?", ["phoenix", "base64url.bearer.phx.w7/Dv8O/Pj8"]),
    ],
    ids=["none", "without padding", "in the standard alphabet"],
)
def test_a_token_is_a_subprotocol(token: str | None, offered: list[str] | None) -> None:
    assert subprotocols(token) == offered
