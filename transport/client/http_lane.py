"""HTTP requests of a client, one after the other, over a connection that is kept between them (RFC 9112)."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urljoin, urlsplit

import httptools
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.headers import build_authorization_basic, build_host
from websockets.http11 import USER_AGENT
from websockets.proxy import Proxy, parse_proxy
from websockets.uri import parse_uri

from actors.fork import shut_down
from transport.client.address import proxy_for
from transport.client.exceptions import LongPollError

if TYPE_CHECKING:
    from actors.clock import Clock, Timer
    from transport.client.connection_options import ConnectionOptions

__all__ = ["HttpAnswer", "HttpLane"]

# What a server keeps for a client is a number of messages.
_MESSAGES = 4

_REDIRECTS = 5
_REDIRECTED = (301, 302, 303, 307, 308)


class HttpAnswer(NamedTuple):
    """The status and the body of a response."""

    status: int
    body: bytes
    location: str | None = None


class HttpLane:
    """Requests to the server of one URL; each is over when nothing was received, nor sent, for `longpoll_timeout` seconds.

    `cookies` are those that the server has set, perhaps in the answers of another lane: load balancers recognise clients by
    them.
    """

    def __init__(self, url: str, options: ConnectionOptions, clock: Clock, cookies: SimpleCookie) -> None:
        self._options, self._clock, self._cookies = options, clock, cookies
        self._peer: _HttpPeer | None = None
        self._connecting: asyncio.Task[_HttpPeer] | None = None
        self._is_aborted = False
        self._point(url)

    def _point(self, url: str) -> None:
        self.url, self._uri = url, parse_uri(url)
        self._proxy_url = proxy_for(url, proxy=self._options.proxy)

    async def request(self, method: str, query: str, headers: Mapping[str, str], body: bytes = b"") -> HttpAnswer:
        """Send a request with `query` added to that of the URL, and return the answer.

        A GET that is redirected on the same host changes the URL of this lane.

        Raises:
            OSError: if the connection could not be established, or is lost; TimeoutError after a silence.
            LongPollError: if the answer is not HTTP, or leads away from the host.
        """
        for _ in range(_REDIRECTS):
            if self._peer is None or not self._peer.is_usable:
                self._peer = await self._connected()
            answer = await self._peer.exchange(self._head(method, query, headers, body) + body)
            if method != "GET" or answer.status not in _REDIRECTED or answer.location is None:
                return answer
            self._follow(answer.location)
        raise LongPollError(f"the server redirects more than {_REDIRECTS} times")

    def _follow(self, location: str) -> None:
        """Go where a redirect leads: to TLS or another path, but not without TLS, nor with a token to another host."""
        url = urljoin("http" + self.url.removeprefix("ws"), location)
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
        if host != self._uri.host or scheme not in ("https",) + ("http",) * (not self._uri.secure):
            raise LongPollError(f"a redirect to {url} is not followed")
        if self._peer is not None:
            self._peer.fail(ConnectionAbortedError("it is not needed any more"))
            self._peer = None
        self._point("ws" + url.removeprefix("http"))

    def abort(self) -> None:
        """Cut the connection; a request that waits for its answer raises ConnectionAbortedError."""
        self._is_aborted = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._peer is not None:
            self._peer.fail(ConnectionAbortedError("the connection was closed"))

    # Connecting

    @property
    def _forwarding(self) -> Proxy | None:
        """The proxy that forwards requests as they are: one of HTTP, unless the server wants TLS."""
        if self._proxy_url is None or self._uri.secure:
            return None
        proxy = parse_proxy(self._proxy_url)
        return None if proxy.scheme.startswith("socks") else proxy

    async def _connected(self) -> _HttpPeer:
        """Return a new connection, unless it takes too long or is aborted."""
        if self._is_aborted:
            raise ConnectionAbortedError("the connection was closed")
        connecting = self._connecting = asyncio.create_task(self._connect(), name="connecting for long polling")
        timer = self._clock.call_after(self._options.longpoll_timeout, connecting.cancel)
        try:
            # Which cancels it with this task, and waits for its end.
            await asyncio.gather(connecting, return_exceptions=True)
        finally:
            timer.cancel()
        if not connecting.cancelled():
            return connecting.result()
        if self._is_aborted:
            raise ConnectionAbortedError("the connection was closed")
        raise TimeoutError(f"no connection within {self._options.longpoll_timeout:g} s")

    async def _connect(self) -> _HttpPeer:
        size = self._options.max_size
        peer = _HttpPeer(self._clock, self._options.longpoll_timeout, size and _MESSAGES * size, self._cookies)
        if (proxy := self._forwarding) is not None:
            context = tls.create_default_context() if proxy.scheme == "https" else None
            await asyncio.get_running_loop().create_connection(lambda: peer, proxy.host, proxy.port, ssl=context)
        else:
            # As for a WebSocket: through a tunnel if there is a proxy, and with TLS if the server wants it.
            await connect(
                self.url,
                create_connection=cast("Any", lambda *_arguments, **_options: peer),
                proxy=self._proxy_url,
                **self._options.tls,
            ).open_tcp_connection()
        return peer

    # Requests

    def _head(self, method: str, query: str, headers: Mapping[str, str], body: bytes) -> bytes:
        uri, proxy = self._uri, self._forwarding
        target = uri.resource_name + (("&" if uri.query else "?") + query if query else "")
        sent = Headers({"Host": build_host(uri.host, uri.port, uri.secure), "User-Agent": USER_AGENT})
        if uri.user_info is not None:
            sent["Authorization"] = build_authorization_basic(*uri.user_info)
        if proxy is not None:
            target = f"http://{sent['Host']}{target}"
            if proxy.user_info is not None:
                sent["Proxy-Authorization"] = build_authorization_basic(*proxy.user_info)
        if self._cookies:
            sent["Cookie"] = "; ".join(f"{cookie.key}={cookie.coded_value}" for cookie in self._cookies.values())
        if method == "POST":
            sent["Content-Length"] = str(len(body))
        sent.update(headers)
        return f"{method} {target} HTTP/1.1\r\n".encode() + sent.serialize()


class _HttpPeer(asyncio.Protocol):
    """The client's end of an HTTP connection."""

    def __init__(self, clock: Clock, timeout: float, most: int | None, cookies: SimpleCookie) -> None:
        self._clock, self._timeout, self._most, self._cookies = clock, timeout, most, cookies
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._parser: httptools.HttpResponseParser
        self._body = bytearray()
        self._location: str | None = None
        self._silence: Timer | None = None
        self._unsent = 0
        self._ends_with_connection = self._keeps_alive = True

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and self._keeps_alive and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> HttpAnswer:
        """Send a request, and return the answer."""
        if self._transport is None:
            raise ConnectionAbortedError("the connection was closed")
        self._body, self._location, self._parser = bytearray(), None, httptools.HttpResponseParser(self)
        self._ends_with_connection, self._keeps_alive = False, False
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        self._unsent = self._transport.get_write_buffer_size()
        self._wait()
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.fail(ConnectionAbortedError("the request was cancelled"))
            raise
        finally:
            self._answer = None
            self._stop_waiting()

    def fail(self, error: Exception) -> None:
        """Cut the connection, and raise the error from a request that waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    # Silence

    def _wait(self) -> None:
        self._stop_waiting()
        self._silence = self._clock.call_after(self._timeout, self._expire)

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()

    def _expire(self) -> None:
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent = unsent
            self._wait()
        else:
            self.fail(TimeoutError(f"the server was silent for {self._timeout:g} s"))

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse a part of the answer."""
        if self._answer is None or self._answer.done():
            self.fail(ConnectionAbortedError("the server has sent what was not requested"))
            return
        self._wait()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(LongPollError(f"the server's answer is not HTTP: {error}"))

    def eof_received(self) -> None:
        """End an answer that ends with the connection (RFC 9112, section 6.3)."""
        if self._ends_with_connection:
            self._complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail a request that waits."""
        assert self._transport is not None
        shut_down(self._transport)
        self._transport = None
        self.fail(exc if isinstance(exc, OSError) else ConnectionResetError("the server has closed the connection"))

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep cookies, and where a redirect leads."""
        text = value.decode("latin-1")
        match name.lower():
            case b"set-cookie":
                with suppress(CookieError):
                    self._cookies.load(text)
            case b"location":
                self._location = text

    def on_headers_complete(self) -> None:
        """Note whether the body ends with the connection."""
        self._ends_with_connection = not self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body += body
        if self._most is not None and len(self._body) > self._most:
            self.fail(LongPollError(f"the server's answer has more than {self._most} bytes"))

    def on_message_complete(self) -> None:
        """End the request, unless this is an interim response (RFC 9110, section 15.2)."""
        if self._parser.get_status_code() >= 200:  # noqa: PLR2004
            self._keeps_alive = self._parser.should_keep_alive()
            self._complete()

    def _complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(HttpAnswer(self._parser.get_status_code(), bytes(self._body), self._location))
