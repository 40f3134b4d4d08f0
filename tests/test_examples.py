"""The examples run as their first lines say: on the ASGI servers, and with the package installed from its wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
import venv
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


# A project of somebody else, with nothing but what `pip install` brings


PACKAGED = [
    "ashtree",
    "actors",
    "supervisors",
    "transport",
    "demo.py",
    "pytest_ashtree.py",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
]
BUILD = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program, away from this checkout, and return what it prints."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "COV"))
    }
    done = subprocess.run(  # noqa: S603  # our own commands
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, from a copy, so that nothing is left in the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in PACKAGED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy)
    run(sys.executable, "-c", BUILD, copy / "dist", cwd=copy)
    [built] = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def fresh_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in a fresh environment, which finds everything else where these tests do: no network is needed."""
    directory = tmp_path_factory.mktemp("fresh")
    venv.create(directory, with_pip=False)
    python = directory / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=directory).strip())
    (packages / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=directory)
    return python


def test_a_project_of_somebody_else_has_the_plugin_by_installing_the_package(
    fresh_python: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(ROOT / "examples" / "silence", tmp_path / "silence")
    where = "import transport.testing, pytest_ashtree; print(transport.testing.__file__, pytest_ashtree.__file__)"
    files = run(fresh_python, "-c", where, cwd=project).split()
    assert [Path(file).is_relative_to(fresh_python.parents[1]) for file in files] == [True, True]
    for parallel in ([], ["-n", "2"]):
        printed = run(fresh_python, "-m", "pytest", "-p", "no:cacheprovider", *parallel, cwd=project)
        assert "7 passed" in printed
