"""The servers of `benchmarks/peers`, each in a process of its own, and how `benchmarks/compare.py` chooses and judges them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.live import ROOT, WAIT
from tests.peer_client import PAYLOAD

sys.path.insert(0, str(ROOT / "benchmarks"))

import compare

PATH = "/socket/websocket?vsn=2.0.0"
SOCKETIO_PATH = "/socket.io/?EIO=4&transport=websocket"
ROW = compare.ROWS["echo_1x1"]

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="it takes a compiler to build socketio_wire.c"
)


def command(name: str) -> list[str]:
    return [sys.executable, str(ROOT / "benchmarks" / "peers" / compare.PEERS[name].script)]


def conversation(port: int, path: str, **variables: str) -> list[Any]:
    """Return what two clients receive that join, one of which then echoes and shouts; the last message is the other's."""
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "tests.peer_client", str(port), path],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=5 * WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def expected(topic: str) -> list[Any]:
    def reply(ref: str, response: Any) -> list[Any]:
        return ["1", ref, topic, "phx_reply", {"status": "ok", "response": response}]

    shout = [None, None, "bench:0", "shout", PAYLOAD]
    return [reply("1", {}), reply("1", {}), reply("2", PAYLOAD), shout, shout]


@pytest.mark.parametrize("name", sorted(compare.PEERS.keys() - {"socketio"}))
def test_a_peer_answers_an_echo_and_broadcasts_a_shout(name: str) -> None:
    with compare.serving(command(name)) as (port, _):
        assert conversation(port, PATH) == expected("bench:0")


def test_the_peer_that_speaks_socketio_does_so_in_rooms_and_acknowledgements() -> None:
    with compare.serving(command("socketio")) as (port, _):
        address = f"ws://127.0.0.1:{port}{SOCKETIO_PATH}"
        with connect(address) as one, connect(address) as other:
            for client in (one, other):
                assert str(client.recv(WAIT)).startswith("0{")
                client.send("40")
                assert str(client.recv(WAIT)).startswith("40{")
                client.send('421["join","bench:0"]')
                assert client.recv(WAIT) == "431[{}]"
            one.send('422["echo","bench:0",{"a":1}]')
            assert one.recv(WAIT) == '432[{"a":1}]'
            one.send('42["shout","bench:0",{"a":1}]')
            assert {client.recv(WAIT) for client in (one, other)} == {'42["shout","bench:0",{"a":1}]'}


@needs_compiler
def test_what_speaks_phoenix_can_talk_to_it_through_the_translation(tmp_path: Path) -> None:
    compare.build_wire(tmp_path)
    with compare.serving(command("socketio")) as (port, _):
        received = conversation(port, SOCKETIO_PATH, LD_PRELOAD=str(tmp_path / "socketio_wire.so"))
    assert received == expected("")


def test_a_peer_that_is_not_installed_is_reported_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(compare.PEERS, "picows", compare.Peer("picows_listener.py", ["json", "not_installed"]))
    assert list(compare.servers(tmp_path, ["picows", "starlette", "ours"])) == ["peer_raw", "starlette", "ours"]
    monkeypatch.setattr(sys, "argv", ["compare.py", "--load", str(tmp_path)])
    with pytest.raises(SystemExit, match="no phxload"):
        compare.main()
    assert capsys.readouterr().err == "compare: picows is left out: not_installed is not installed\n"


def test_an_unknown_server_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["compare.py", "--servers", "ours", "tornado"])
    with pytest.raises(SystemExit):
        compare.main()
    assert "there is no server tornado; there are ours, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ('{"errors": 3, "first_error": "server closed: 1011"}', "server closed: 1011"),
        ('{"errors": 0, "rtt_per_s": 0}', "rtt_per_s is 0; let it last longer: --seconds"),
        ("", "phxload has ended with status 2"),
    ],
)
def test_a_row_that_a_peer_does_not_complete_has_the_reason_and_one_of_ours_ends_the_run(
    output: str, reason: str, tmp_path: Path
) -> None:
    generator = tmp_path / "phxload"
    generator.write_text(f"#!/bin/sh\necho '{output}'\nexit 2\n")
    generator.chmod(0o755)
    listens = [sys.executable, "-c", "import signal; print(flush=True); signal.pause()"]
    peer = compare.Server(listens, may_fail=True)
    figures, failed = compare.measure(tmp_path, ROW, {"peer": peer}, runs=1, seconds=1)
    assert (figures, str(failed["peer"])) == ({}, reason)
    with pytest.raises(compare.LoadError, match=reason):
        compare.measure(tmp_path, ROW, {"ours": compare.Server(listens)}, runs=1, seconds=1)
