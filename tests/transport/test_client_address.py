"""The address that a client connects to."""

from __future__ import annotations

from typing import Any

import pytest

from transport.client.address import (
    checked_params,
    checked_proxy,
    checked_token,
    checked_url,
    connect_url,
    proxy_for,
    subprotocols,
)
from transport.client.client_socket import Socket
from transport.exceptions import UnencodableError


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


ENVIRONMENT = ["ws", "wss", "socks", "http", "https", "all", "no"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without variables for proxies."""
    for name in ENVIRONMENT:
        for spelt in (name, name.upper()):
            monkeypatch.delenv(f"{spelt}_proxy", raising=False)
            monkeypatch.delenv(f"{spelt}_PROXY", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("url", "variables", "proxy"),
    [
        ("ws://example.com/socket", {}, None),
        ("ws://example.com/socket", {"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("ws://example.com/socket", {"http_proxy": "http://ann:secret@proxy:3128"}, "http://ann:secret@proxy:3128"),
        ("wss://example.com/socket", {"HTTP_PROXY": "http://proxy:3128"}, None),
        ("wss://example.com/socket", {"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("wss://example.com/socket", {"ALL_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("ws://example.com/socket", {"all_proxy": "proxy:3128"}, "http://proxy:3128"),
        ("ws://example.com/socket", {"ALL_PROXY": "socks://proxy:1080"}, "socks5h://proxy:1080"),
        ("ws://example.com/socket", {"ALL_PROXY": "http://a", "HTTP_PROXY": "http://b"}, "http://b"),
        ("ws://a.example.com/socket", {"ALL_PROXY": "http://a", "NO_PROXY": ".example.com"}, None),
        ("ws://example.com:81/socket", {"HTTP_PROXY": "http://a", "no_proxy": "other,example.com:81"}, None),
        ("ws://example.com/socket", {"HTTP_PROXY": "http://a", "no_proxy": "*"}, None),
    ],
)
def test_the_environment_names_the_proxy(
    environment: pytest.MonkeyPatch, url: str, variables: dict[str, str], proxy: str | None
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert proxy_for(url, proxy=True) == proxy
    assert proxy_for(url, proxy=None) is None
    assert proxy_for(url, proxy="http://own") == "http://own"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:4000",
        "localhost.:4000",
        "app.localhost",
        "127.0.0.1:4000",
        "127.9.9.9",
        "[::1]:4000",
        "[::ffff:127.0.0.1]",
        "0.0.0.0:4000",
    ],
)
def test_there_is_no_proxy_for_this_machine(environment: pytest.MonkeyPatch, host: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        environment.setenv(name, "http://proxy:3128")
    assert proxy_for(f"ws://{host}/socket", proxy=True) is None
    assert proxy_for(f"ws://{host}/socket", proxy="http://own") == "http://own"


@pytest.mark.parametrize("host", ["localhost.example.com", "notlocalhost", "128.0.0.1", "[::2]", "127.0.0.1.nip.io"])
def test_other_machines_are_reached_through_the_proxy(environment: pytest.MonkeyPatch, host: str) -> None:
    environment.setenv("ALL_PROXY", "http://proxy:3128")
    assert proxy_for(f"ws://{host}/socket", proxy=True) == "http://proxy:3128"


# Lone surrogates


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"a": "\ud800"}, "$.a"),
        ({"a": 1, "b": {"c": ["x", "y\ud800z"]}}, "$.b.c[1]"),
        ({"\ud800": 1}, "$"),
        ({"a": {"\udfff": 1}}, "$.a"),
    ],
    ids=ascii,
)
def test_params_with_a_lone_surrogate_are_refused_with_their_path(params: dict[str, Any], path: str) -> None:
    with pytest.raises(UnencodableError) as caught:
        checked_params(params)
    expected = f"params at {path}: a lone surrogate, which UTF-8 does not have"
    assert (str(caught.value), caught.value.path, caught.value.__cause__) == (expected, path, None)


def test_a_token_and_a_url_with_a_lone_surrogate_are_refused() -> None:
    with pytest.raises(
        UnencodableError, match=r"^auth_token has a lone surrogate at position 3, which UTF-8 does not have$"
    ):
        checked_token("abc\ud800")
    with pytest.raises(UnencodableError, match=r"^the URL has a lone surrogate at position 10, "):
        checked_url("ws://host/\ud800")


@pytest.mark.parametrize(
    "proxy", ["proxy:3128", "ftp://proxy:3128", "http://", "http://proxy:port", "", False, 1, 3128]
)
def test_a_proxy_that_is_none_is_refused_where_it_is_given(proxy: Any) -> None:
    with pytest.raises(ValueError, match=rf"^proxy must be the URL of a proxy such as http://.*, got {proxy!r}$"):
        Socket("ws://example.com/socket", proxy=proxy)


def test_the_password_of_a_proxy_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"^proxy must be") as refused:
        checked_proxy("ann:secret@proxy:3128")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("proxy", [True, None, "http://proxy:3128", "socks5h://ann:secret@proxy"])
def test_a_proxy_is_a_url_or_that_of_the_environment_or_none(proxy: Any) -> None:
    assert checked_proxy(proxy) is proxy
