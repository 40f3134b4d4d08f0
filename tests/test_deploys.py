"""A small part of `benchmarks/deploys.py`: the old server drains in batches while the new one takes its clients."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.live import ROOT, WAIT
from tests.node import are_clients_installed

CLIENTS, BATCH = 60, 20


def test_every_client_is_told_to_go_and_joins_again_at_the_new_server(tmp_path: Path) -> None:
    stock = 15 if shutil.which("node") and are_clients_installed() else 0
    figures = tmp_path / "figures.json"
    options = ["--clients", CLIENTS, "--javascript", stock, "--batch-size", BATCH, "--batch-interval", 0.5]
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, str(ROOT / "benchmarks" / "deploys.py"), *map(str, options), "--json", str(figures)],
        capture_output=True,
        text=True,
        timeout=10 * WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert (found["status"], found["codes"], found["lost"]) == (0, {"1012": CLIENTS}, 0)
    assert found["rounds"] == [BATCH] * (CLIENTS // BATCH)
