"""Which pages may connect (Phoenix.Socket.Transport.check_origin)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.wire import HANDSHAKE, on_loop, serving
from transport import Endpoint, Socket, SocketError
from transport.access.origin import AllowedOrigin, Origin, origin_allowed, origin_rule, parse_origins

UPGRADE = HANDSHAKE.partition("Host: localhost\r\n")[2]


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "example.com", True),
        (None, None, True),
        ("http://example.com", "example.com", True),
        ("https://example.com:8443", "example.com:4000", True),
        ("http://EXAMPLE.com", "example.COM", True),
        ("http://[::1]:4000", "[::1]:4000", True),
        ("http://example.com", "www.example.com", False),
        ("http://example.com.evil.org", "example.com", False),
        ("http://evil.org", "example.com", False),
        ("http://evil.org/example.com", "example.com", False),
        ("http://example.com@evil.org", "example.com", False),
        ("http://example.com", None, False),
        ("http://example.com", "", False),
        ("http://example.com", "[", False),
        ("null", "null", False),
        ("", "", False),
        ("file://", "example.com", False),
        ("example.com", "example.com", False),
        ("http://[", "example.com", False),
        ("http://example.com:port", "example.com", False),
        ("http://example.com:99999", "example.com", False),
    ],
)
def test_without_a_list_a_page_must_come_from_the_host_that_is_asked(
    origin: str | None, host: str | None, *, allowed: bool
) -> None:
    assert origin_allowed(origin, None, host) is allowed


@pytest.mark.parametrize(
    ("entry", "origin", "allowed"),
    [
        ("//localhost", None, True),
        ("//localhost", "http://localhost", True),
        ("//localhost", "https://localhost:4000", True),
        ("//localhost", "http://LocalHost", True),
        ("//localhost", "http://sub.localhost", False),
        ("//localhost", "http://localhost.evil.org", False),
        ("//localhost", "null", False),
        ("//localhost", "", False),
        ("//localhost", "http://[", False),
        ("https://example.com", "https://example.com", True),
        ("https://example.com", "https://example.com:8443", True),
        ("https://example.com", "http://example.com", False),
        ("https://example.com:443", "https://example.com", True),
        ("https://example.com:8443", "https://example.com", False),
        ("//example.com:80", "http://example.com", True),
        ("//example.com:80", "https://example.com", False),
        ("//example.com:4000", "http://example.com:4000", True),
        ("//example.com:4000", "other://example.com", False),
        ("//*.example.com", "https://example.com", True),
        ("//*.example.com", "https://a.b.example.com:1", True),
        ("//*.example.com", "https://badexample.com", False),
        ("//*.example.com", "https://example.com.org", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com", False),
        ("//EXAMPLE.com", "http://example.com", True),
        ("//[::1]", "http://[::1]:4000", True),
    ],
)
def test_an_entry_of_a_list_allows(entry: str, origin: str | None, *, allowed: bool) -> None:
    assert origin_allowed(origin, parse_origins([entry]), "whatever") is allowed


def test_one_entry_of_a_list_is_enough_and_the_host_is_not() -> None:
    entries = parse_origins(["//localhost", "//example.com"])
    assert origin_allowed("http://example.com", entries, None)
    assert not origin_allowed("http://other.com", entries, "other.com")


def test_an_empty_list_allows_no_page() -> None:
    assert not origin_allowed("http://example.com", parse_origins([]), "example.com")


def test_an_entry_has_a_host_and_perhaps_a_scheme_and_a_port() -> None:
    assert parse_origins(["//a", "https://b.c:8443"]) == [
        AllowedOrigin(None, "a", None),
        AllowedOrigin("https", "b.c", 8443),
    ]


@pytest.mark.parametrize(
    "entry", ["localhost", "localhost:4000", "", "//", "http://", "//a:port", "http://[", "/path", None, 5], ids=repr
)
def test_an_entry_that_cannot_be_read_is_an_error_with_its_value(entry: Any) -> None:
    with pytest.raises(SocketError) as raised:
        Endpoint({}, check_origin=["//localhost", entry])
    assert str(raised.value).endswith(f'are written like "https://example.com" or "//localhost", got {entry!r}')


@settings(deadline=None)
@given(st.text(), st.text() | st.none())
def test_no_header_of_a_client_is_an_error(origin: str, host: str | None) -> None:
    assert origin_allowed(origin, parse_origins(["//localhost"]), host) in {True, False}
    assert origin_allowed(origin, None, host) in {True, False}


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "example.com", True),
        ("http://example.com", "example.com", True),
        ("http://example.com:80", "example.com", True),
        ("http://example.com", "example.com:80", True),
        ("http://EXAMPLE.com:4000", "example.com:4000", True),
        ("http://[::1]:4000", "[::1]:4000", True),
        ("https://example.com", "example.com", False),
        ("https://example.com:4000", "example.com:4000", False),
        ("http://example.com", "example.com:4000", False),
        ("http://www.example.com", "example.com", False),
        ("null", "null", False),
        ("null", None, False),
        ("http://", "", False),
        ("http://[", "[", False),
    ],
)
def test_conn_compares_scheme_host_and_port(origin: str | None, host: str | None, *, allowed: bool) -> None:
    assert origin_rule("conn")(origin, host) is allowed


def test_conn_knows_the_scheme_that_a_request_came_by() -> None:
    rule = origin_rule("conn")
    assert rule("https://example.com", "example.com", "https")
    assert not rule("http://example.com", "example.com", "https")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://good.org", True),
        ("https://good.org:443", True),
        ("https://good.org:8443", False),
        ("http://good.org", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_a_function_is_asked_about_every_page_that_says_where_it_comes_from(
    origin: str | None, *, allowed: bool
) -> None:
    good = Origin("https", "good.org", 443)
    assert origin_rule(lambda page: page == good)(origin, "whatever") is allowed


@pytest.mark.parametrize("result", [None, 1, "yes", object], ids=repr)
def test_a_function_that_returns_anything_else_is_an_error_and_lets_nobody_in(result: Any) -> None:
    with pytest.raises(SocketError) as raised:
        origin_rule(lambda _page: result)("http://good.org", None)
    assert str(raised.value) == f"the function that is check_origin must return a bool, got {result!r}"


def test_false_allows_every_page() -> None:
    rule = origin_rule(check_origin=False)
    assert all(rule(origin, None) for origin in [None, "null", "http://[", "http://evil.org"])


@pytest.mark.parametrize("value", ["//localhost", "con", b"conn", None, 5], ids=repr)
def test_what_is_no_rule_is_an_error_with_its_value(value: Any) -> None:
    with pytest.raises(SocketError) as raised:
        Endpoint({}, check_origin=value)
    assert str(raised.value) == (f'check_origin must be a bool, "conn", a list of origins or a function, got {value!r}')


@pytest.mark.parametrize("path", ["/socket/websocket?vsn=2.0.0", "/socket/longpoll?vsn=2.0.0"])
@pytest.mark.parametrize(
    ("check_origin", "origin", "allowed"),
    [
        (True, "https://localhost:1234", True),
        (True, "http://evil.org", False),
        ("conn", "http://localhost:4000", True),
        ("conn", "http://localhost:1234", False),
        (["//*.good.org:8443"], "https://a.good.org:8443", True),
        (["//*.good.org:8443"], "https://a.good.org", False),
        (lambda page: page == ("https", "good.org", 443), "https://good.org", True),
        (lambda page: page == ("https", "good.org", 443), "http://localhost", False),
        (False, "http://evil.org", True),
    ],
)
@on_loop
async def test_the_rule_is_the_same_for_both_transports(
    check_origin: Any, origin: str, path: str, *, allowed: bool
) -> None:
    async with serving(Socket, check_origin=check_origin) as server:
        tcp = await server.tcp()
        await tcp.send(f"GET {path} HTTP/1.1\r\nHost: localhost:4000\r\nOrigin: {origin}\r\n", UPGRADE)
        answer = await tcp.answer()
    if "longpoll" in path:
        assert ('"status":410' in answer.body) is allowed
    else:
        assert answer.status == (101 if allowed else 403)
