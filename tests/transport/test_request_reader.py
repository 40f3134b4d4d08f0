"""Finding requests in bytes: the same ones however the bytes arrive, within the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport import respond
from transport.http.exchange import SMALL_BODY
from transport.http.request_reader import NOTHING, PART, ReadRequest, RefusedRequestError, RequestReader
from transport.limits import Limits

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

UPGRADE = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def reader(size: int = 1_000_000, **limits: Any) -> RequestReader:
    return RequestReader(Limits(**limits), lambda _: size)


def read_all(requests: RequestReader) -> list[ReadRequest]:
    """Return the requests that have been received."""
    found = []
    while (read := requests.read()) is not NOTHING:
        if read is not PART:
            found.append(read)
    return found


def received(requests: RequestReader, *pieces: bytes) -> list[ReadRequest]:
    found = []
    for piece in pieces:
        requests.receive(piece)
        found += read_all(requests)
    return found


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


bodies = st.binary(max_size=60) | st.sampled_from(
    [b"\r\n\r\n", b"\r\n" * 30, b"a\r\n\r", b"0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"]
)


@given(
    st.lists(st.tuples(bodies, st.sampled_from([None, 1, 7])), min_size=1, max_size=5),
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
)
def test_requests_are_the_same_however_they_arrive(sent: list[tuple[bytes, int | None]], sizes: list[int]) -> None:
    data = b""
    for number, (body, size) in enumerate(sent):
        kind = b"Content-Length: %d" % len(body) if size is None else b"Transfer-Encoding: chunked"
        data += b"POST /%d HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (number, kind)
        data += body if size is None else chunked(body, size)
    pieces: list[bytes] = []
    start = 0
    while start < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[start : start + size])
        start += size
    found = received(reader(), *pieces)
    assert [(each.request.path, each.body) for each in found] == [
        (f"/{number}", body) for number, (body, _) in enumerate(sent)
    ]


def test_what_follows_a_request_stays_unparsed_until_the_next_one_is_read() -> None:
    requests = reader()
    requests.receive(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\ngarbage")
    assert isinstance(requests.read(), ReadRequest)
    assert requests.waiting == len(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\ngarbage")
    assert isinstance(requests.read(), ReadRequest)
    with pytest.raises(RefusedRequestError):
        requests.read()


def test_the_preface_of_http_2_is_refused() -> None:
    with pytest.raises(RefusedRequestError) as refused:
        received(reader(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize(
    "host",
    [
        "",
        "x",
        "x:",
        "x:0",
        "x:65535",
        "x:000080",
        "localhost:4000",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:4000",
        "[fe80::1%eth0]:1",
        "a_b.c-d",
    ],
)
def test_a_host_may_be_a_name_or_an_address_with_a_port(host: str) -> None:
    assert len(received(reader(), f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())) == 1


@pytest.mark.parametrize(
    "headers",
    [
        "",
        "Host: x\r\nHost: x\r\n",
        "Host: x\r\nhost: y\r\n",
        "Host: x:a\r\n",
        "Host: x:65536\r\n",
        "Host: x:-1\r\n",
        "Host: x:\u0663\r\n",
        "Host: x:80:80\r\n",
        "Host: ::1\r\n",
        "Host: [::1\r\n",
        "Host: a b\r\n",
        "Host: a, b\r\n",
        "Host: user@x\r\n",
        "Host: x/y\r\n",
        "Host: http://x\r\n",
    ],
)
@pytest.mark.parametrize("body", ["", "Content-Length: 1\r\n"], ids=["GET", "POST"])
def test_a_request_names_one_host(headers: str, body: str) -> None:
    method = "POST" if body else "GET"
    with pytest.raises(RefusedRequestError, match="400"):
        received(reader(), f"{method} / HTTP/1.1\r\n{headers}{body}\r\n".encode())


@pytest.mark.parametrize(("headers", "is_read"), [("", True), ("Host: x\r\n", True), ("Host: x\r\nHost: x\r\n", False)])
def test_a_request_of_http_1_0_needs_no_host(headers: str, is_read: bool) -> None:  # noqa: FBT001  # a parameter
    requests = reader()
    requests.receive(f"GET / HTTP/1.0\r\n{headers}\r\n".encode())
    if is_read:
        assert isinstance(requests.read(), ReadRequest)
        return
    with pytest.raises(RefusedRequestError):
        requests.read()


@pytest.mark.parametrize("target", ["/?user=é", "/é", "/日?本"])
def test_utf_8_in_a_target_needs_no_escapes(target: str) -> None:
    [read] = received(reader(), f"GET {target} HTTP/1.1\r\nHost: x\r\nA: é\r\n\r\n".encode())
    assert read.request.path.isascii()
    assert unquote(read.request.path) == target


def test_what_follows_an_upgrade_is_not_http() -> None:
    requests = reader()
    [request] = received(requests, UPGRADE.encode() + b"\x81\x00GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not request.keep_alive
    assert requests.rest() == b"\x81\x00GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert requests.waiting == 0


@pytest.mark.parametrize("empty", ["\r\n", "\r\n\r\n", "\n", "\r\n" * 100])
def test_empty_lines_before_a_request_are_ignored(empty: str) -> None:
    [request] = received(
        reader(head_size=49), *(bytes([byte]) for byte in empty.encode() + b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    )
    assert request.request.path == "/a"


def test_trailers_are_not_headers() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    requests = received(reader(), head + b"1\r\na\r\n0\r\nX-User: b\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [dict(each.request.headers.raw_items()) for each in requests] == [
        {"Host": "x", "Transfer-Encoding": "chunked"},
        {"Host": "x"},
    ]


@pytest.mark.parametrize(
    "trailer", ["Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "Host: y", "Upgrade: websocket"]
)
def test_trailers_change_nothing(trailer: str) -> None:
    head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent = f"{head}1\r\na\r\n0\r\n{trailer}\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = received(reader(), sent.encode())
    assert [(each.body, each.keep_alive, each.request.headers["Host"]) for each in requests] == [
        (b"a", True, "x"),
        (b"", True, "x"),
    ]


@pytest.mark.parametrize("body", ["Content-Length: 27\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1b\r\n"])
def test_the_body_of_an_upgrade_is_read_with_it(body: str) -> None:
    inner = "GET / HTTP/1.1\r\nHost: y\r\n\r\n"
    assert len(inner) == 0x1B
    end = "\r\n0\r\nX-A: b\r\n\r\n" if "chunked" in body else ""
    requests = reader()
    [request] = received(requests, f"{UPGRADE[:-2]}{body}{inner}{end}".encode() + b"\x81\x00")
    assert (request.body, request.keep_alive) == (inner.encode(), False)
    assert requests.rest() == b"\x81\x00"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Transfer-Encoding: chunked", None),
        ("Transfer-Encoding: CHUNKED", None),
        ("Transfer-Encoding: , chunked", None),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501),
        ("Transfer-Encoding: identity, chunked", 501),
        ("Transfer-Encoding: x;q=1, chunked", 501),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: chunked, gzip", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked;q=1", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: ", 400),
        ("Transfer-Encoding:\r\n chunked", 400),
        ("Transfer-Encoding : chunked", 400),
        ("Transfer-Encoding: \x0bchunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: gzip, chunked", 400),
    ],
)
def test_chunks_are_the_only_encoding_of_a_body(headers: str, status: int | None) -> None:
    data = f"POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode()
    if status is None:
        assert [each.body for each in received(reader(), data)] == [b"hello"]
        return
    with pytest.raises(RefusedRequestError) as refused:
        received(reader(), data)
    assert refused.value.response.status_code == status


@pytest.mark.parametrize("connection", ["", "Connection: keep-alive\r\n"])
def test_http_1_0_has_no_chunks(connection: str) -> None:
    with pytest.raises(RefusedRequestError, match="400"):
        received(reader(), f"POST / HTTP/1.0\r\n{connection}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())


@pytest.mark.parametrize("zeros", [0, 20, 5_000])
def test_the_length_of_a_body_may_have_leading_zeros(zeros: int) -> None:
    data = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {'0' * zeros}5\r\n\r\nhello".encode()
    assert [each.body for each in received(reader(), data)] == [b"hello"]


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0"])
def test_other_versions_of_http_are_refused(version: str) -> None:
    with pytest.raises(RefusedRequestError, match="400"):
        received(reader(), f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("target", "host"),
    [("http://other:80/a", "other:80"), ("HTTPS://[::1]?a", "[::1]"), ("*", "x"), ("/http://other", "x")],
)
def test_the_host_of_an_absolute_target_counts(target: str, host: str) -> None:
    method = "OPTIONS" if target == "*" else "GET"
    [read] = received(reader(), f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert read.request.headers.get_all("Host") == [host]


@pytest.mark.parametrize("target", ["http:///a", "http://user@other/", "http://a:b/"])
def test_an_absolute_target_names_a_host(target: str) -> None:
    with pytest.raises(RefusedRequestError, match="400"):
        received(reader(), f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("limits", "head", "status", "limit"),
    [
        ({"request_line": 20}, "GET /123456 HTTP/1.1\r\nHost: x\r\n\r\n", None, None),
        ({"request_line": 19}, "GET /123456 HTTP/1.1\r\nHost: x\r\n\r\n", 414, "request_line"),
        ({"head_size": 33}, "GET /123456 HTTP/1.1\r\nHost: x\r\n\r\n", None, None),
        ({"head_size": 32}, "GET /123456 HTTP/1.1\r\nHost: x\r\n\r\n", 431, "head_size"),
        ({"headers": 3}, "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\nA: b\r\n\r\n", None, None),
        ({"headers": 2}, "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\nA: b\r\n\r\n", 431, "headers"),
    ],
)
@pytest.mark.parametrize(
    "before", ["", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n"], ids=["first", "second", "after an empty line"]
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_limits_of_a_head_are_exact(  # noqa: PLR0917  # parameters
    limits: dict[str, int], head: str, status: int | None, limit: str | None, before: str, size: int
) -> None:
    data = (before + head).encode()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    requests = reader(**limits)
    if status is None:
        assert len(received(requests, *pieces)) == 1 + ("GET" in before)
        return
    with pytest.raises(RefusedRequestError) as refused:
        received(requests, *pieces)
    assert (refused.value.response.status_code, refused.value.limit) == (status, limit)


@pytest.mark.parametrize("size", [SMALL_BODY, SMALL_BODY + 1])
@pytest.mark.parametrize("kind", ["Content-Length: {}", "Transfer-Encoding: chunked"])
def test_a_body_above_64_kib_has_to_be_admitted(size: int, kind: str) -> None:
    asked: list[str] = []

    def admit(request: Request) -> Response:
        asked.append(request.path)
        return respond(404)

    requests = RequestReader(Limits(), admit)
    head = f"POST /a HTTP/1.1\r\nHost: x\r\n{kind.format(size)}\r\n\r\n".encode()
    body = b"a" * size if "Length" in kind else chunked(b"a" * size, 1000)
    if size == SMALL_BODY:
        assert [len(each.body) for each in received(requests, head, body)] == [size]
        return
    with pytest.raises(RefusedRequestError) as refused:
        received(requests, head, body)
    assert (refused.value.response.status_code, refused.value.limit, asked) == (404, None, ["/a"])


def test_a_declared_body_is_refused_before_it_is_received() -> None:
    requests = reader(100_000)
    requests.receive(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n")
    with pytest.raises(RefusedRequestError) as refused:
        requests.read()
    assert (refused.value.response.status_code, refused.value.limit) == (413, "max_body")


def test_a_long_body_is_read_in_parts() -> None:
    requests, size = reader(), 500_000
    requests.receive(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
    parts = 0
    while requests.read() is PART:
        assert requests.in_body
        parts += 1
    assert parts >= size // (64 * 1024)
    assert not requests.in_body


def test_nothing_is_read_after_the_last_request() -> None:
    requests = reader()
    assert len(received(requests, b"GET / HTTP/1.0\r\n\r\n", b"garbage\r\n\r\n")) == 1


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET / HTTP/1.1\nHost: x\n\n",),
        (b"GET / HTTP/1.1\r\nHost: x\n\n",),
        (b"GET / HTTP/1.1\r", b"\nHost: x", b"\n", b"\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\n",),
    ],
)
def test_a_head_with_bare_line_feeds_is_refused_before_its_end_which_may_never_come(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(RefusedRequestError, match="400"):
        received(reader(), *pieces)
