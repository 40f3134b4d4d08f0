"""The examples run on the ASGI servers, as their docstrings say."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.live import WAIT, LiveDemo

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SERVER = TESTS / "asgi_server.py"
RUNS = [
    ("starlette_app", "uvicorn"),
    ("fastapi_app", "uvicorn"),
    ("django_app", "uvicorn"),
    ("starlette_app", "hypercorn"),
    ("starlette_app", "granian"),
]


@pytest.fixture(scope="module", params=RUNS, ids="-".join)
def example(request: pytest.FixtureRequest) -> Iterator[LiveDemo]:
    name, server = request.param
    pytest.importorskip(name.removesuffix("_app"))
    pytest.importorskip(server)
    with LiveDemo(SERVER, "--server", server, "--app", f"examples.{name}:app") as running:
        yield running


def socket(example: LiveDemo, origin: Origin | None = None) -> ClientConnection:
    address = f"{example.websocket_address}/live/socket/websocket?vsn=2.0.0"
    return connect(address, open_timeout=WAIT, close_timeout=WAIT, proxy=None, origin=origin)


def receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(timeout=WAIT))


def join(client: ClientConnection) -> None:
    client.send('["1","1","room:lobby","phx_join",{}]')
    assert receive(client) == ["1", "1", "room:lobby", "phx_reply", {"status": "ok", "response": {}}]


def test_what_one_says_reaches_everybody_before_it_is_answered(example: LiveDemo) -> None:
    with socket(example) as alice, socket(example) as bob:
        join(alice)
        join(bob)
        alice.send('["1","2","room:lobby","new_msg",{"body":"hello"}]')
        said = [None, None, "room:lobby", "new_msg", {"body": "hello"}]
        assert receive(alice) == said
        assert receive(alice) == ["1", "2", "room:lobby", "phx_reply", {"status": "ok", "response": {}}]
        assert receive(bob) == said


def test_a_page_of_the_framework_speaks_to_the_room(example: LiveDemo) -> None:
    with socket(example) as alice:
        join(alice)
        with urllib.request.urlopen(f"{example.address}/say?text=hi", timeout=WAIT) as answer:  # noqa: S310  # our own
            assert json.load(answer) == {"said": True}
        assert receive(alice) == [None, None, "room:lobby", "new_msg", {"body": "hi"}]


def test_long_polling_has_the_same_address(example: LiveDemo) -> None:
    address = f"{example.address}/live/socket/longpoll?vsn=2.0.0"
    with urllib.request.urlopen(address, timeout=WAIT) as answer:  # noqa: S310  # our own
        assert json.load(answer)["status"] == 410


def test_a_page_of_another_host_may_not_connect(example: LiveDemo) -> None:
    with pytest.raises(InvalidStatus, match="403"), socket(example, Origin("http://evil.example")):
        pass


def test_a_server_that_ends_sends_its_clients_away_and_stops_the_tree() -> None:
    pytest.importorskip("uvicorn")
    with ExitStack() as clients:
        with LiveDemo(SERVER, "--app", "examples.django_app:app") as running:
            client = clients.enter_context(socket(running))
            join(client)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=WAIT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert "Application shutdown complete" in "".join(running.output)
