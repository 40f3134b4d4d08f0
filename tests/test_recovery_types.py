"""The types of the JavaScript helper: they compile, with those that people install for phoenix.js."""

from __future__ import annotations

import subprocess

from tests.node import JAVASCRIPT, are_clients_installed, missing, program


def test_the_types_of_the_helper_compile() -> None:
    node = program("node")
    if not are_clients_installed():
        missing("the JavaScript clients are not installed: make tests/javascript/node_modules/.installed")
    compiled = subprocess.run(  # noqa: S603  # our own files
        [node, "node_modules/typescript/lib/tsc.js", "--project", "tsconfig.json"],
        cwd=JAVASCRIPT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (compiled.returncode, compiled.stdout + compiled.stderr) == (0, "")
