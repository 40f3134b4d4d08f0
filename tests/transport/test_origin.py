"""Which pages may connect (Phoenix.Socket.Transport.check_origin)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from tests.transport.wire import HANDSHAKE, on_loop, serving
from transport import Endpoint, Socket, SocketError, TcpPort
from transport.access.origin import AllowedOrigin, Asking, Origin, origin_rule, parse_origins, read_origin
from transport.http.exchange import Incoming

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
        ("http://example.com.", "example.com", True),
        ("http://example.com", "example.com.:80", True),
        ("http://[0:0:0:0:0:0:0:1]", "[::1]:4000", True),
        ("null", "null", False),
        ("null", "", False),
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
    assert origin_rule(check_origin=True)(Asking(origin, host)) is allowed


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
        ("//[0:0::1]", "http://[::1]:4000", True),
        ("//127.0.0.1", "http://127.0.0.1:4000", True),
        ("HTTPS://Example.COM", "https://example.com", True),
        ("https://example.com/", "https://example.com", True),
        ("https://example.com.", "https://example.com", True),
        ("https://example.com", "https://example.com.", True),
        ("https://example.com:0443", "https://example.com", True),
        # A page is of a name in ASCII.
        ("https://münchen.de", "https://xn--mnchen-3ya.de", True),
        ("https://MÜNCHEN.de", "https://xn--mnchen-3ya.de", True),
        ("https://xn--mnchen-3ya.de", "https://xn--mnchen-3ya.de", True),
        ("//*.münchen.de:8443", "https://a.xn--mnchen-3ya.de:8443", True),
        ("//例え。jp", "https://xn--r8jz45g.jp", True),
        ("https://straße.de", "https://xn--strae-oqa.de", True),
        ("https://straße.de", "https://strasse.de", False),
        # Pages of files.
        ("null", "null", True),
        ("null", "file://", False),
        ("null", "http://null", False),
        ("null", "NULL", False),
        ("null", "", False),
        ("file://", "file://", True),
        ("file://", "null", False),
        ("file://", "file://host", False),
        ("//null", "null", False),
        ("//*.com", "null", False),
        ("capacitor://localhost", "capacitor://localhost", True),
        # What no browser sends.
        ("https://example.com", "https://user@example.com", False),
        ("https://example.com", "https://example.com/path", False),
        ("https://example.com", "https://example.com?", False),
        ("https://example.com", "https://exam\tple.com", False),
        ("https://example.com", " https://example.com", False),
        ("https://example.com", "//example.com", False),
        ("https://example.com", "https://example.com:65536", False),
        ("https://example.com", "https://example.com:" + "9" * 5000, False),
        ("https://example.com", "https://example.com, https://example.com", False),
    ],
)
def test_an_entry_of_a_list_allows(entry: str, origin: str | None, *, allowed: bool) -> None:
    assert origin_rule([entry])(Asking(origin, "whatever", over_loopback=True)) is allowed


def test_one_entry_of_a_list_is_enough_and_the_host_is_not() -> None:
    rule = origin_rule(["//localhost", "//example.com"])
    assert rule(Asking("http://example.com"))
    assert not rule(Asking("http://other.com", "other.com"))


def test_an_empty_list_allows_no_page() -> None:
    assert not origin_rule([])(Asking("http://example.com", "example.com"))


def test_an_entry_has_a_host_and_perhaps_a_scheme_and_a_port() -> None:
    assert parse_origins(["//a", "https://b.c:8443"]) == [
        AllowedOrigin(None, "a", None),
        AllowedOrigin("https", "b.c", 8443),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        "localhost",
        "localhost:4000",
        "",
        "//",
        "http://",
        "https://:443",
        "//a:port",
        "//a:65536",
        "http://[",
        "//[::1",
        "//[fe80::x]",
        "/path",
        "https://example.com/path",
        "https://example.com//",
        "https://example.com?query",
        "https://example.com#top",
        "https://user@example.com",
        "https://user:password@example.com",
        "https://example.com:443:443",
        " https://example.com",
        "https://exam ple.com",
        "https://example..com",
        "https://.example.com",
        "//127.1",
        "//1.2.3.4.5",
        "//a.*.com",
        "//*example.com",
        "//*.",
        "//*.*.com",
        "https://mün chen.de",
        "https://mün\u200bchen.de",
        "https://ä℀.de",
        "https://" + "ä" * 60 + ".de",
        "NULL",
        "file:",
        b"https://example.com",
        ("https", "example.com"),
        None,
        5,
    ],
    ids=repr,
)
def test_an_entry_that_cannot_be_read_is_an_error_with_its_value(entry: Any) -> None:
    with pytest.raises(SocketError) as raised:
        Endpoint({}, check_origin=["//localhost", entry])
    assert str(raised.value).startswith('check_origin entries are written like "https://example.com", "//localhost" or')
    assert str(raised.value).endswith(f", got {entry!r}")


@pytest.mark.parametrize("entry", ["*", "//*"])
def test_an_entry_for_every_page_is_an_error_that_says_how_they_are_allowed(entry: str) -> None:
    with pytest.raises(SocketError, match=r"; for every page write check_origin=False, got "):
        Endpoint({}, check_origin=[entry])


@settings(deadline=None)
@given(st.text(), st.text() | st.none())
def test_no_header_of_a_client_is_an_error(origin: str, host: str | None) -> None:
    for check_origin in (True, "conn", ["//localhost"], lambda page: str(page) != ""):
        for url_host in (None, "localhost"):
            assert origin_rule(check_origin, url_host)(Asking(origin, host, over_loopback=True)) in {True, False}


@settings(deadline=None)
@given(st.sampled_from(["http", "https", "ws", "file", "x"]), st.integers(0, 70000) | st.just(""), st.text("a.-:[*ä"))
def test_an_origin_that_is_read_is_written_as_it_was(scheme: str, port: int | str, host: str) -> None:
    page = read_origin(f"{scheme}://{host}:{port}")
    if page is not None:
        assert read_origin(str(page)) == page


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
    assert origin_rule("conn")(Asking(origin, host)) is allowed


def test_conn_knows_the_scheme_that_a_request_came_by() -> None:
    rule = origin_rule("conn")
    assert rule(Asking("https://example.com", "example.com", "https"))
    assert not rule(Asking("http://example.com", "example.com", "https"))


@pytest.mark.parametrize(
    ("host", "url_host", "over_loopback", "allowed"),
    [
        ("localhost", None, True, True),
        ("LOCALHOST.", None, True, True),
        ("shop.localhost", None, True, True),
        ("127.0.0.1", None, True, True),
        ("[::1]", None, True, True),
        ("[::ffff:127.0.0.1]", None, True, True),
        ("0.0.0.0", None, True, True),  # noqa: S104  # as it is printed for an endpoint that others reach
        # These names may have been led here by their owner.
        ("evil.example", None, True, False),
        ("localhost.evil.example", None, True, False),
        ("127.0.0.1.evil.example", None, True, False),
        ("notlocalhost", None, True, False),
        ("192.168.1.7", None, True, False),
        # Where clients of other machines come, it is not known what their names of this one are.
        ("shop.example", None, False, True),
        ("192.168.1.7", None, False, True),
        # Of a server that knows its name.
        ("shop.example", "shop.example", True, True),
        ("shop.example", "shop.example", False, True),
        ("evil.example", "shop.example", True, False),
        ("evil.example", "shop.example", False, False),
        ("www.shop.example", "shop.example", False, False),
        ("localhost", "shop.example", False, False),
    ],
)
@pytest.mark.parametrize("check_origin", [True, "conn"])
def test_a_page_is_not_ones_own_because_its_name_was_led_here(
    check_origin: Any, host: str, url_host: str | None, *, over_loopback: bool, allowed: bool
) -> None:
    asking = Asking(f"http://{host}:4000", f"{host}:4000", over_loopback=over_loopback)
    assert origin_rule(check_origin, url_host)(asking) is allowed
    # Only pages are asked for a name.
    assert origin_rule(check_origin, url_host)(asking._replace(origin=None))


def test_a_server_that_knows_its_name_need_not_be_told_it_by_its_proxy() -> None:
    rule = origin_rule(check_origin=True, url_host="shop.example")
    assert rule(Asking("https://shop.example", "127.0.0.1:4000", over_loopback=True))
    assert rule(Asking("https://shop.example:8443", None))
    # As in Phoenix.
    assert not rule(Asking("http://localhost:4000", "localhost:4000", over_loopback=True))


@pytest.mark.parametrize(
    "options",
    [
        {"host": "Dev.Shop.test"},
        {"listen": [TcpPort("dev.shop.test", 4000)]},
        {"host": "dev.shop.test", "check_origin": "conn"},
    ],
)
def test_the_name_at_which_it_listens_is_its_own(options: dict[str, Any]) -> None:
    # A line of /etc/hosts gives it a loopback address; `endpoint.url` has it.
    endpoint = Endpoint({}, **options)
    for name, allowed in [("dev.shop.test", True), ("evil.example", False)]:
        headers = Headers({"Host": f"{name}:4000", "Origin": f"http://{name}:4000"})
        assert endpoint.origin_allowed(Incoming(Request("/", headers), b"", ("127.0.0.1", 5))) is allowed


def test_conn_takes_this_machines_names_beside_the_servers() -> None:
    assert origin_rule("conn", "shop.example")(Asking("http://localhost", "localhost", over_loopback=True))


@pytest.mark.parametrize(
    ("url_host", "known"),
    [
        (None, None),
        ("example.com", "example.com"),
        ("EXAMPLE.com.", "example.com"),
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_the_name_of_a_server_is_kept_as_browsers_write_it(url_host: str | None, known: str | None) -> None:
    assert Endpoint({}, url_host=url_host).url_host == known


@pytest.mark.parametrize(
    "url_host",
    [
        "",
        "https://example.com",
        "//example.com",
        "example.com:443",
        "example.com/",
        "*.example.com",
        "a b",
        b"a",
        5,
        ["a"],
    ],
    ids=repr,
)
def test_what_is_no_name_of_a_server_is_an_error_with_its_value(url_host: Any) -> None:
    with pytest.raises(SocketError) as raised:
        Endpoint({}, url_host=url_host)
    assert str(raised.value).startswith("url_host must be the name of the server in the addresses of its pages")
    assert str(raised.value).endswith(f'such as "example.com", got {url_host!r}')


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
    assert origin_rule(lambda page: page == good)(Asking(origin, "whatever")) is allowed


@pytest.mark.parametrize(
    ("origin", "page"),
    [
        ("null", Origin("", "", None)),
        ("file://", Origin("file", "", None)),
        ("https://good.org", Origin("https", "good.org", 443)),
        ("http://[::1]:4000", Origin("http", "::1", 4000)),
        ("capacitor://localhost", Origin("capacitor", "localhost", None)),
    ],
)
def test_a_function_is_asked_about_pages_of_files_too(origin: str, page: Origin) -> None:
    assert origin_rule(lambda asked: asked == page and str(asked) == origin)(Asking(origin))


@pytest.mark.parametrize("result", [None, 1, "yes", object], ids=repr)
def test_a_function_that_returns_anything_else_is_an_error_and_lets_nobody_in(result: Any) -> None:
    with pytest.raises(SocketError) as raised:
        origin_rule(lambda _page: result)(Asking("http://good.org"))
    assert str(raised.value) == f"the function that is check_origin must return a bool, got {result!r}"


def test_false_allows_every_page() -> None:
    rule = origin_rule(check_origin=False)
    assert all(rule(Asking(origin)) for origin in [None, "null", "http://[", "http://evil.org"])


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
        (["null"], "null", True),
        (["file://"], "null", False),
        (lambda page: str(page) == "null", "null", True),
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


@pytest.mark.parametrize("path", ["/socket/websocket?vsn=2.0.0", "/socket/longpoll?vsn=2.0.0"])
@pytest.mark.parametrize("listens_on", ["127.0.0.1", "localhost", "0.0.0.0"])  # noqa: S104  # as containers do
@pytest.mark.parametrize(
    ("options", "page", "allowed"),
    [
        ({}, "evil.example", False),
        ({"check_origin": "conn"}, "evil.example", False),
        ({"url_host": "shop.example"}, "evil.example", False),
        ({"url_host": "shop.example"}, "shop.example", True),
        ({"check_origin": ["//shop.example"]}, "shop.example", True),
        ({"check_origin": ["//shop.example"]}, "evil.example", False),
        ({}, "localhost", True),
        ({}, None, True),
        # A client may write what it likes in the headers of a proxy.
        ({"trusted_proxies": ["10.0.0.0/8"]}, "evil.example", False),
        ({"trusted_proxies": ["127.0.0.1", "::1"]}, "shop.example", True),
    ],
)
@on_loop
async def test_a_page_whose_name_was_led_to_this_machine_is_not_of_it(
    options: dict[str, Any], page: str | None, listens_on: str, path: str, *, allowed: bool
) -> None:
    host = page or "evil.example"
    header = f"Origin: http://{page}:4000\r\nX-Forwarded-For: 203.0.113.9\r\n" if page else ""
    async with serving(Socket, host=listens_on, **options) as server:
        tcp = await server.tcp()
        await tcp.send(f"GET {path} HTTP/1.1\r\nHost: {host}:4000\r\n{header}", UPGRADE)
        answer = await tcp.answer()
    assert ('"status":410' in answer.body if "longpoll" in path else answer.status == 101) is allowed
