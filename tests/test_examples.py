"""The examples run on their servers as their docstrings say, in an environment into which the wheel has been installed."""

from __future__ import annotations

import http.cookiejar
import json
import re
import shutil
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.asgi_server import free_port
from tests.live import WAIT, LiveDemo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
RUNS = [
    ("starlette_app", "uvicorn"),
    ("fastapi_app", "uvicorn"),
    ("django_app", "uvicorn"),
    ("django_app", "uvicorn-without-lifespan"),
    ("django_app", "daphne"),
    ("starlette_app", "gunicorn"),
    ("starlette_app", "hypercorn"),
    ("starlette_app", "granian"),
    ("flask_app", "flask"),
    ("flask_app", "flask-reloader"),
    ("flask_app", "gunicorn-threads"),
]

Run: TypeAlias = "Callable[[str, str], LiveDemo]"


@pytest.fixture(scope="session")
def runs(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs an example on a server, away from this checkout."""
    directory = tmp_path_factory.mktemp("author")
    shutil.copytree(ROOT / "examples", directory / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "servers").mkdir()
    server = Path(shutil.copy(ROOT / "tests" / "asgi_server.py", directory / "servers"))

    def run(name: str, kind: str) -> LiveDemo:
        pytest.importorskip(name.removesuffix("_app"))
        pytest.importorskip(kind.partition("-")[0])
        return LiveDemo(server, "--server", kind, "--app", f"examples.{name}:app", python=python)

    return run


@pytest.fixture(scope="module", params=RUNS, ids="-".join)
def example(request: pytest.FixtureRequest, runs: Run) -> Iterator[LiveDemo]:
    with pytest.MonkeyPatch.context() as patch:
        # Not any port: a second process that starts the system too, as that of the reloader could, fails.
        patch.setenv("LIVE_PORT", str(free_port()))
        with runs(*request.param) as running:
            yield running


def socket(example: LiveDemo, origin: Origin | None = None, **headers: str) -> ClientConnection:
    address = f"{base(example)}/websocket?vsn=2.0.0"
    return connect(
        address, open_timeout=WAIT, close_timeout=WAIT, proxy=None, origin=origin, additional_headers=headers
    )


def base(example: LiveDemo) -> str:
    """Return the address of the socket: that of Flask has a port of its own."""
    if "flask_app" not in " ".join(example.options):
        return f"{example.websocket_address}/live/socket"
    with urllib.request.urlopen(f"{example.address}/", timeout=WAIT) as answer:  # noqa: S310  # our own
        address: str = json.load(answer)["socket"]
    return address


def receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(timeout=WAIT))


def join(client: ClientConnection) -> None:
    client.send('["1","1","room:lobby","phx_join",{}]')
    assert receive(client) == ["1", "1", "room:lobby", "phx_reply", {"status": "ok", "response": {}}]


def test_a_page_of_the_framework_may_speak_before_any_client_is_there(example: LiveDemo) -> None:
    with urllib.request.urlopen(f"{example.address}/say?text=hi", timeout=WAIT) as answer:  # noqa: S310  # our own
        assert json.load(answer) == {"said": True}


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
    address = f"{base(example).replace('ws:', 'http:', 1)}/longpoll?vsn=2.0.0"
    with urllib.request.urlopen(address, timeout=WAIT) as answer:  # noqa: S310  # our own
        assert json.load(answer)["status"] == 410


def test_a_page_of_another_host_may_not_connect(example: LiveDemo) -> None:
    with pytest.raises(InvalidStatus, match="403"), socket(example, Origin("http://evil.example")):
        pass


# Django's users and database


@pytest.fixture(scope="module", params=["uvicorn", "daphne", "gunicorn"])
def django(request: pytest.FixtureRequest, runs: Run) -> Iterator[LiveDemo]:
    with runs("django_app", request.param) as running:
        yield running


def cookies_of(example: LiveDemo, name: str, password: str) -> str:
    """Log in as a browser does."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    form = browser.open(f"{example.address}/", timeout=WAIT).read().decode()
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    data = urlencode({"csrfmiddlewaretoken": token, "username": name, "password": password})
    assert f"You are {name}." in browser.open(f"{example.address}/", data.encode(), timeout=WAIT).read().decode()
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def test_the_socket_knows_who_has_logged_in_and_the_database_what_was_said(django: LiveDemo) -> None:
    cookies = cookies_of(django, "ann", "secret")
    with socket(django, Cookie=cookies) as ann, socket(django, Cookie="sessionid=stolen") as anonymous:
        join(ann)
        join(anonymous)
        ann.send('["1","2","room:lobby","new_msg",{"body":"hello"}]')
        said = {"body": "hello", "author": "ann"}
        assert receive(anonymous) == [None, None, "room:lobby", "new_msg", said]
        page = urllib.request.Request(f"{django.address}/say?text=hi", headers={"Cookie": cookies})  # noqa: S310  # our own
        urllib.request.urlopen(page, timeout=WAIT).close()  # noqa: S310  # as above
        assert receive(anonymous)[4] == {"body": "hi", "author": "ann"}
        anonymous.send('["1","3","room:lobby","new_msg",{"body":"who is that?"}]')
        assert receive(anonymous)[4] == {"body": "who is that?"}
        assert receive(anonymous)[3] == "phx_reply"
        anonymous.send('["1","4","room:lobby","history",{}]')
        history = receive(anonymous)[4]["response"]["messages"]
    assert history[-3:] == [said, {"body": "hi", "author": "ann"}, {"body": "who is that?"}]


# The end


def test_a_server_that_ends_sends_its_clients_away_and_stops_the_tree(runs: Run) -> None:
    with ExitStack() as clients:
        with runs("django_app", "uvicorn") as running:
            client = clients.enter_context(socket(running))
            join(client)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=WAIT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert "Application shutdown complete" in "".join(running.output)


def test_the_end_of_a_program_closes_the_system_in_its_thread(runs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE_PORT", str(free_port()))
    for server in ("flask", "gunicorn-threads"):
        with ExitStack() as clients:
            with runs("flask_app", server) as running:
                client = clients.enter_context(socket(running))
                join(client)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=WAIT)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
