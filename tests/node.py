"""Scripts of javascript/ under node, and the programs that they need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.live import WAIT

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = dict[str, Any]
    Reporter = Callable[[str], Report]

JAVASCRIPT = Path(__file__).parent / "javascript"
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]


def program(*names: str) -> str:
    """Return the path of the first program that is installed; without any the test is skipped, but never in CI."""
    for name in names:
        if path := shutil.which(name):
            return path
    return missing(f"{' or '.join(names)} is not installed")


def missing(reason: str) -> NoReturn:
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


def browser() -> str:
    """Return the path of the browser in CHROMIUM, or of the first that is installed."""
    chosen = os.environ.get("CHROMIUM")
    return program(*([chosen] if chosen else BROWSERS))


def play(script: str, *arguments: str) -> Reporter:
    """Play all scenarios of a script; return a function that returns the report of each."""
    node = program("node")
    if not are_clients_installed():
        missing("the JavaScript clients are not installed: make tests/javascript/node_modules/.installed")
    done = subprocess.run(  # noqa: S603  # our own script
        [node, script, *arguments],
        cwd=JAVASCRIPT,
        env=os.environ | {"ASHTREE_TEST_WAIT": str(WAIT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=12 * WAIT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    results = {result["scenario"]: result for result in map(json.loads, done.stdout.splitlines())}

    def report_of(scenario: str) -> Report:
        result = results[scenario]
        assert "error" not in result, "\n".join([result["error"], *result["trace"]])
        return dict(result["report"])

    return report_of


def are_clients_installed() -> bool:
    dependencies = json.loads((JAVASCRIPT / "package.json").read_text())["dependencies"]
    return all((JAVASCRIPT / "node_modules" / name / "package.json").exists() for name in dependencies)
