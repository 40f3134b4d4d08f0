"""What an HTTP server and its application exchange."""

from __future__ import annotations

from transport import respond


def test_respond_makes_a_whole_answer() -> None:
    response = respond(404, "nö")
    assert (response.status_code, response.reason_phrase, response.body) == (404, "Not Found", "nö".encode())
    assert response.headers["Content-Length"] == "3"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_an_empty_answer_has_no_type() -> None:
    assert "Content-Type" not in respond(403).headers
    assert respond(403).headers["Content-Length"] == "0"
