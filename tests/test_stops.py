"""The demo, told to stop by each signal: what its clients see, and its exit status."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.live import ROOT, WAIT, LiveDemo

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
DEMO = ROOT / "demo.py"


class Visitor:
    """A client of the demo."""

    def __init__(self, demo: LiveDemo, stack: ExitStack, **params: str) -> None:
        query = "&".join(["vsn=2.0.0", *(f"{name}={value}" for name, value in params.items())])
        address = f"{demo.websocket_address}/socket/websocket?{query}"
        self.connection: ClientConnection = stack.enter_context(connect(address, proxy=None, open_timeout=WAIT))

    def ask(self, *message: Any) -> Any:
        """Send a message, and return the response in the reply to it."""
        self.connection.send(json.dumps(message))
        while (got := json.loads(self.connection.recv(timeout=WAIT)))[1] != message[1]:
            pass
        return got[4]["response"]

    def closed(self) -> int:
        """Return the close code, 1006 without a close frame."""
        try:
            while True:
                self.connection.recv(timeout=WAIT)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


def get(demo: LiveDemo, path: str, method: str = "GET") -> tuple[int, Any]:
    """Return the status and the body, as JSON unless it is empty."""
    request = urllib.request.Request(demo.address + path, method=method)  # noqa: S310  # our own
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as response:  # noqa: S310  # our own
            status, body = response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.status, error.read()
    return status, json.loads(body) if body else None


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_drains_all_clients_and_the_status_is_0(number: signal.Signals) -> None:
    with LiveDemo(DEMO, "--drain-batch-size", "2", "--drain-batch-interval", "0.1") as demo, ExitStack() as stack:
        visitors = [Visitor(demo, stack, user=f"user{n}") for n in range(5)]
        for visitor in visitors[:3]:
            assert visitor.ask("1", "1", "room:lobby", "phx_join", {}) == {}
        about = visitors[0].ask("1", "2", "room:lobby", "node", {})
        assert about["pid"] == demo.pid
        assert isinstance(about["node"], str)
        demo.signal(number)
        assert [visitor.closed() for visitor in visitors] == [1012] * 5
        assert demo.ended() == 0
    rounds = [line for line in demo.output if "DRAINING" in line]
    assert len(rounds) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGHUP, signal.SIGTERM),
    ],
)
def test_a_second_signal_ends_at_once_with_status_1(first: signal.Signals, second: signal.Signals) -> None:
    with LiveDemo(DEMO, "--drain-batch-size", "1", "--drain-batch-interval", "1000") as demo, ExitStack() as stack:
        visitors = [Visitor(demo, stack) for _ in range(2)]
        assert get(demo, "/health/ready") == (200, {"status": "ready"})
        demo.signal(first)
        assert visitors[0].closed() == 1012
        for method, body in [("GET", {"status": "draining"}), ("HEAD", None), ("OPTIONS", None)]:
            assert get(demo, "/health/ready", method) == (503, body)
        assert get(demo, "/health/live") == (200, {"status": "ok"})
        with pytest.raises(InvalidStatus, match="503"):
            Visitor(demo, stack)
        demo.signal(second)
        assert demo.ended() == 1
        assert visitors[1].closed() == 1006


def test_what_is_left_at_the_time_out_is_cut_and_the_status_is_0() -> None:
    options = ("--drain-batch-size", "1", "--drain-batch-interval", "1000", "--shutdown-timeout", "0.5")
    with LiveDemo(DEMO, *options) as demo, ExitStack() as stack:
        visitors = [Visitor(demo, stack) for _ in range(3)]
        demo.signal(signal.SIGTERM)
        assert [visitor.closed() for visitor in visitors] == [1012, 1006, 1006]
        assert demo.ended() == 0


def test_each_process_has_another_node() -> None:
    with LiveDemo(DEMO) as one, LiveDemo(DEMO) as other, ExitStack() as stack:
        nodes = []
        for demo in (one, other):
            visitor = Visitor(demo, stack)
            visitor.ask("1", "1", "room:lobby", "phx_join", {})
            nodes.append(visitor.ask("1", "2", "room:lobby", "node", {})["node"])
    assert nodes[0] != nodes[1]


@pytest.mark.parametrize("options", [[], ["--reuse-port"], ["--repl"]], ids=" ".join)
def test_a_port_that_is_taken_is_one_line_before_any_other_output(options: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, str(DEMO), "--port", str(port), *options]
        ended = subprocess.run(  # noqa: S603  # our own script
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT, check=False
        )
    assert ended.returncode == 1
    lines = (ended.stdout + ended.stderr).splitlines()
    assert len(lines) == 1
    assert f"127.0.0.1:{port}" in lines[0]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--drain-batch-size", "0"], "batch_size must be a whole number >= 1, got 0"),
        (["--drain-batch-interval", "-1"], "batch_interval must be seconds >= 0, got -1.0"),
        (["--shutdown-timeout", "nan"], "shutdown must be seconds >= 0, got nan"),
        (["--port", "70000"], "port must be a whole number from 0 to 65535 or None, got 70000"),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_an_option_that_makes_no_sense_is_named(options: list[str], error: str) -> None:
    ended = subprocess.run(  # noqa: S603  # our own script
        [sys.executable, DEMO, *options], cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (2, f"demo.py: error: {error}")
