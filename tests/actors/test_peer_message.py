"""The form of what processes say to each other: whatever else comes is no message, and does no harm."""

from __future__ import annotations

import pytest

from actors.pubsub.peer_message import PeerMessage, pack_peer, unpack_peer


@pytest.mark.parametrize("body", [b"", b"text", b"\n\x00\xff\n"])
def test_a_message_comes_back_as_it_was(body: bytes) -> None:
    message = PeerMessage("ask", "r1", "web-1", 7, "longpoll", {"do": "take", "types": ["é\n"]})
    assert unpack_peer(pack_peer(message, body)) == (message, body)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}",
        b"[]\n",
        b"\xff\n",
        b'{"what":"shout","run":"r"}\n',
        b'{"what":"ask"}\n',
        b'{"what":"ask","run":""}\n',
        b'{"what":"ask","run":"%b"}\n' % (b"r" * 300),
        b'{"what":"ask","run":"r","node":"%b"}\n' % (b"n" * 300),
        b'{"what":"ask","run":"r","number":"1"}\n',
        b'{"what":"ask","run":"r","about":' + b"[" * 100_000,
    ],
    ids=range(12),
)
def test_anything_else_is_no_message(data: bytes) -> None:
    assert unpack_peer(data) is None
