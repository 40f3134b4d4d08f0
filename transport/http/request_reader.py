"""Finds the requests in what one client sends, one at a time, within the limits of an endpoint; no I/O, no time.

llhttp (through httptools) parses the heads: `websockets` parses only handshakes, which have no body, and this port also serves
pages and long polling. It is given a head only when that is complete. So the limits of a head are exact however its bytes
arrive, and what follows a request stays unparsed until the next one is read. Bodies are taken by their length, or from their
chunks (`ChunkedBody`), so nothing in them changes the head: trailers are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import httptools
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from actors.pickling import Portable
from transport.http.chunked_body import ChunkedBody, MalformedBodyError
from transport.http.exchange import SMALL_BODY, refusal
from transport.http.request_target import escaped

if TYPE_CHECKING:
    from transport.limits import Limits

__all__ = ["NOTHING", "PART", "ReadRequest", "RefusedRequestError", "RequestReader"]

# The end of a head (RFC 9112, section 2.1).
_END = b"\r\n\r\n"
# A line that has another end: a head may have been sent whole, although there is none of these.
_BARE_LF = re.compile(rb"(?<!\r)\n")
# The most of a body that is taken in one go.
_SLICE = 64 * 1024

_VERSIONS = ("HTTP/1.1", "HTTP/1.0")
# The scheme and the authority of an absolute target (RFC 9112, section 3.2.2).
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")

# A name or an address, and a port up to 65,535 (RFC 9110, section 7.2).
_PORT = r"0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])?"
_HOST = re.compile(rf"(\[[0-9A-Za-z:.%_~-]+\]|[^\s\[\]\\:/?#@,<>\"]*)(:{_PORT})?")


class _Unfinished(Enum):
    NOTHING = 0
    PART = 1


NOTHING: Final = _Unfinished.NOTHING
"""More has to be received first."""
PART: Final = _Unfinished.PART
"""A part of a body was read; there may be more."""


class ReadRequest(NamedTuple):
    """A request with its body; `keep_alive` is whether another one may follow it."""

    request: Request
    body: bytes
    keep_alive: bool


class RefusedRequestError(Portable):
    """A request that is answered without being read to its end; then the connection ends.

    `limit` is the name of the limit that it exceeds, None for another reason.
    """

    def __init__(self, response: Response, limit: str | None = None) -> None:
        super().__init__(response)
        self.response, self.limit = response, limit


class RequestReader:
    """The requests of one connection.

    `admit(request)` is called for a body above `SMALL_BODY` before it is read; see `Admission`.
    """

    __slots__ = (
        "_admit",
        "_body",
        "_bound",
        "_chunks",
        "_expects",
        "_headers",
        "_keep_alive",
        "_left",
        "_limits",
        "_parser",
        "_received",
        "_request",
        "_scanned",
        "_surely_small",
        "_url",
    )

    def __init__(self, limits: Limits, admit: Callable[[Request], int | Response]) -> None:
        self._limits, self._admit = limits, admit
        self._surely_small = min(limits.request_line, limits.head_size)
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._received = bytearray()
        self._scanned = 0
        self._begin()

    def _begin(self) -> None:
        self._url, self._body = b"", bytearray()
        self._headers = Headers()
        self._keep_alive = False
        # The request whose head has been parsed; the bytes that its body still has, or its chunks.
        self._request: Request | None = None
        self._left = 0
        self._chunks: ChunkedBody | None = None
        self._bound = SMALL_BODY
        self._expects = False

    @property
    def waiting(self) -> int:
        """The received bytes that have not been parsed."""
        return len(self._received)

    @property
    def in_body(self) -> bool:
        """Whether a head has been read, and its body has not."""
        return self._request is not None

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told that its body is taken; once for a request (RFC 9110, section 10.1.1)."""
        expects, self._expects = self._expects, False
        return expects

    def receive(self, data: bytes) -> None:
        """Keep received bytes, until `read` parses them."""
        self._received += data

    def rest(self) -> bytes:
        """Return the bytes that have not been parsed, and forget them: they are not HTTP."""
        rest, self._received = bytes(self._received), bytearray()
        return rest

    def close(self) -> None:
        """Read no more. This frees the parser, which refers back to this object, and the connection."""
        self._parser, self._admit = None, _nothing
        self._request, self._body = None, bytearray()

    def read(self) -> ReadRequest | _Unfinished:
        """Return the next request, `PART` of one, or `NOTHING` if it has not been received.

        Raises:
            RefusedRequestError: if it is invalid or exceeds a limit.
        """
        if self._parser is None:
            return NOTHING
        if not (self._read_head() if self._request is None else self._read_body()):
            return NOTHING
        is_complete = not self._left if self._chunks is None else self._chunks.is_complete
        return self._finish() if is_complete else PART

    # Heads

    def _read_head(self) -> bool:
        """Parse the next head; return whether it was complete."""
        head = self._head()
        if head:
            self._parse(head)
            self._head_parsed()
        return bool(head)

    def _head(self) -> bytes:
        """Return the whole head; nothing while it is incomplete."""
        received = self._received
        if received.startswith((b"\r", b"\n")):
            # RFC 9112, section 2.2: empty lines before a request are ignored.
            received = self._received = received.lstrip(b"\r\n")
            self._scanned = 0
        end = received.find(_END, self._scanned) + len(_END)
        if end >= len(_END):
            self._check_head(end)
            self._scanned = 0
            return _escaped_line(self._take(end))
        if received and not received[:1].isupper():
            # No method begins like this; perhaps the client speaks TLS. The parser says what is wrong.
            return self._take(len(received))
        if _BARE_LF.search(received, self._scanned):
            raise _bad("its lines must end with CR and LF")
        self._check_head_size(len(received) + 1)
        self._scanned = max(0, len(received) - len(_END) + 1)
        return b""

    def _check_head(self, size: int) -> None:
        if size > self._surely_small:
            self._check_head_size(size)
        # Beside the headers there are the request line and the empty line.
        if self._received.count(b"\r\n", 0, size) - 2 > self._limits.headers:
            raise RefusedRequestError(refusal(431, "the request has too many headers"), "headers")

    def _check_head_size(self, size: int) -> None:
        """Check a head of at least so many bytes."""
        limits, received = self._limits, self._received
        line = limits.request_line + 2
        if len(received) >= line and received.find(b"\r\n", 0, line) < 0:
            raise RefusedRequestError(refusal(414, "the request line is too long"), "request_line")
        if size > limits.head_size:
            raise RefusedRequestError(refusal(431, "the request's head is too large"), "head_size")

    def _take(self, size: int) -> bytes:
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    # httptools

    def _parse(self, piece: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # What follows is not HTTP, whether the upgrade is granted or not.
            pass
        except httptools.HttpParserError as error:
            raise _bad(str(error)) from None

    def on_url(self, url: bytes) -> None:
        """Append a part of the path and query."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header."""
        self._headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Store whether another request may follow: at the end of the message, the parser has forgotten it."""
        assert self._parser is not None
        self._keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()

    # What has been parsed

    def _head_parsed(self) -> None:
        parser, headers = self._parser, self._headers
        assert parser is not None
        method, version = parser.get_method().decode("latin-1"), f"HTTP/{parser.get_http_version()}"
        if version not in _VERSIONS:
            raise _bad("expected HTTP/1.1")
        request = self._request = Request(self._url.decode("latin-1"), headers, method, version)
        _check_host(request)
        if not request.path.startswith("/"):
            _take_host_of_target(request)
        if "Transfer-Encoding" in headers:
            _check_transfer_encoding(request)
            self._chunks = ChunkedBody()
        elif "Content-Length" in headers:
            # int() takes no more than some thousand digits, however many of them are zeros.
            self._left = int(headers["Content-Length"].lstrip("0") or "0")
        if self._left or self._chunks is not None:
            self._body_begins(request)

    def _body_begins(self, request: Request) -> None:
        # The parser would take what comes now for the body.
        self._parser = httptools.HttpRequestParser(self)
        self._admit_body(self._left)
        self._expects = not self._received and _waits(request)

    # Bodies

    def _read_body(self) -> bool:
        """Take a part of the body; return whether there was one."""
        waiting = len(self._received)
        if self._chunks is None:
            part = self._take(min(self._left, _SLICE))
            self._left -= len(part)
            self._body += part
        else:
            self._read_chunks(self._chunks)
        return len(self._received) < waiting

    def _read_chunks(self, chunks: ChunkedBody) -> None:
        """Take some chunks; what is between and after them, extensions and trailers, may be as large as a head."""
        waiting = len(self._received)
        try:
            self._body += chunks.read(self._received)
        except MalformedBodyError as error:
            raise _bad(str(error)) from None
        self._admit_body(len(self._body) + chunks.left)
        unfinished = 0 if len(self._received) < waiting else waiting
        if chunks.framing + unfinished > self._limits.head_size:
            raise RefusedRequestError(refusal(431, "the request's trailers are too large"), "head_size")

    def _admit_body(self, size: int) -> None:
        """Check the size of the body, as declared or as received so far."""
        if size > SMALL_BODY >= self._bound:
            assert self._request is not None
            admitted = self._admit(self._request)
            if isinstance(admitted, Response):
                raise RefusedRequestError(admitted)
            self._bound = admitted
        if size > self._bound:
            raise RefusedRequestError(refusal(413, "the request's body is too large"), "max_body")

    def _finish(self) -> ReadRequest:
        assert self._request is not None
        done = ReadRequest(self._request, bytes(self._body), self._keep_alive)
        if self._keep_alive:
            self._begin()
        else:
            self.close()
        return done


def _check_host(request: Request) -> None:
    """Check that a request names its host once (RFC 9112, section 3.2); in HTTP/1.0 it need not."""
    hosts = request.headers.get_all("Host")
    if len(hosts) > 1 or not (hosts or request.protocol == "HTTP/1.0"):
        raise _bad(f"expected one Host header, got {len(hosts)}")
    if hosts and not _is_host(hosts[0]):
        raise _bad("the Host header is invalid")


def _take_host_of_target(request: Request) -> None:
    """Replace the Host header by the host of an absolute target, which counts (RFC 9112, section 3.2.2)."""
    absolute = _ABSOLUTE.match(request.path)
    if absolute is None:
        return
    if not absolute[1] or not _is_host(absolute[1]):
        raise _bad("the host of its target is invalid")
    if "Host" in request.headers:
        del request.headers["Host"]
    request.headers["Host"] = absolute[1]


def _check_transfer_encoding(request: Request) -> None:
    """Check that a body is in chunks, and nothing else; the parser has checked that chunks are its last encoding.

    HTTP/1.0 has none: what its client, or a proxy, takes for the end of the body cannot be known (RFC 9112, section 6.1).
    """
    if request.protocol == "HTTP/1.0":
        raise _bad("HTTP/1.0 has no Transfer-Encoding")
    named = ",".join(request.headers.get_all("Transfer-Encoding")).lower().split(",")
    if [name for each in named if (name := each.strip(" \t"))] != ["chunked"]:
        raise RefusedRequestError(refusal(501, "only chunked is implemented as Transfer-Encoding"))


def _bad(why: str) -> RefusedRequestError:
    return RefusedRequestError(refusal(400, f"bad request: {why}"))


@lru_cache(maxsize=64)
def _is_host(text: str) -> bool:
    """Return whether a Host header is valid; it has one of a few values for all clients of a server."""
    return _HOST.fullmatch(text) is not None


def _waits(request: Request) -> bool:
    """Return whether a client sends its body only when it is told to."""
    expected = [value.lower() for value in request.headers.get_all("Expect")]
    return "100-continue" in expected and request.protocol != "HTTP/1.0"


def _escaped_line(head: bytes) -> bytes:
    """Return a head with its target in ASCII, as the parser takes no other."""
    if head.isascii():
        return head
    line, end, headers = head.partition(b"\r\n")
    return escaped(line).encode() + end + headers


def _nothing(_request: Request) -> int:
    return 0
