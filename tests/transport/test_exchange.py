"""What an HTTP server and its application exchange."""

from __future__ import annotations

from websockets.datastructures import Headers
from websockets.http11 import Request

from transport import respond
from transport.access.proxies import Proxies
from transport.http.exchange import Incoming


def test_respond_makes_a_whole_answer() -> None:
    response = respond(404, "nö")
    assert (response.status_code, response.reason_phrase, response.body) == (404, "Not Found", "nö".encode())
    assert response.headers["Content-Length"] == "3"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_an_empty_answer_has_no_type() -> None:
    assert "Content-Type" not in respond(403).headers
    assert respond(403).headers["Content-Length"] == "0"


def test_a_request_of_a_trusted_proxy_is_that_of_its_client() -> None:
    headers = Headers([("X-Forwarded-For", "203.0.113.5"), ("X-Forwarded-Host", "chat.example"), ("Cookie", "a")])
    incoming = Incoming(Request("/", headers), b"body", ("127.0.0.1", 5), scheme="https")
    seen = incoming.forwarded(Proxies(["127.0.0.1"]))
    assert (seen.peer, seen.scheme, seen.body) == (("203.0.113.5", 0), "https", b"body")
    assert (seen.request.headers["Host"], seen.request.headers["Cookie"]) == ("chat.example", "a")
    assert "Host" not in headers


def test_a_request_of_another_client_stays_as_it_is() -> None:
    incoming = Incoming(Request("/", Headers({"X-Forwarded-Host": "forged.example"})), b"", ("127.0.0.1", 5))
    assert incoming.forwarded(Proxies(["10.0.0.0/8"])) is incoming
    assert incoming.forwarded(Proxies()) is incoming
