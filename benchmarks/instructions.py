"""Count the processor's instructions of one message, and compare them with what is committed.

    python benchmarks/instructions.py             # complains about what costs more than 5 % above benchmarks/instructions.json
    python benchmarks/instructions.py --write     # takes today's figures

Instructions, unlike seconds, are the same however busy the machine is. Valgrind (Debian's package) counts those of
`benchmarks/messages.py` twice, with few messages and with more; the difference is what the messages cost. The figures hold for
one version of Python and of the libraries, which are kept with them; with others nothing is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COMMITTED = HERE / "instructions.json"
MARGIN = 1.05

# Of each row, few messages and more.
NUMBERS = {
    "echo": (200, 1200),
    "echo10": (2000, 6000),
    "fanout100": (1000, 21_000),
    "join": (1000, 11_000),
    "churn": (1000, 11_000),
}
SHARE = {"join": 100, "churn": 100}
LIBRARIES = ("msgspec", "websockets", "httptools", "uvloop")


VALGRIND = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]


def run(row: str, number: int, under: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run the program of one row with so many messages, under another program if one is given."""
    return subprocess.run(  # noqa: S603  # our own program
        [*under, sys.executable, str(HERE / "messages.py"), row, "--number", str(number), "--once"],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )


def count(row: str, number: int) -> int:
    """Return the instructions of a whole run with so many messages."""
    done = run(row, number, VALGRIND)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", ""))


def measure(row: str) -> int:
    """Return the instructions of one message."""
    few, more = NUMBERS[row]
    messages = (more - few) // SHARE.get(row, 1)
    return round((count(row, more) - count(row, few)) / messages)


def surroundings() -> dict[str, str]:
    """Return what the figures depend on beside our code."""
    versions = {library: version(library) for library in LIBRARIES}
    return {"python": platform.python_version(), "machine": platform.machine()} | versions


def complaints(figures: dict[str, int], committed: dict[str, int]) -> list[str]:
    """Say which rows cost more than they did."""
    return [
        f"{row}: {figure:,} instructions, {figure / committed[row] - 1:+.1%}"
        for row, figure in figures.items()
        if row in committed and figure > committed[row] * MARGIN
    ]


def main() -> None:
    """Print the figures; end with status 1 if one has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="commit to today's figures")
    options = parser.parse_args()
    # In a fresh checkout the first run also compiles our modules, which must not count as work of its messages.
    run("echo", 1)
    figures = {}
    for row in NUMBERS:
        figures[row] = measure(row)
        print(f"{row:12} {figures[row]:12,} instructions", flush=True)
    around = surroundings()
    if options.write:
        COMMITTED.write_text(json.dumps({"figures": figures, "surroundings": around}, indent=4) + "\n")
        return
    committed: dict[str, Any] = json.loads(COMMITTED.read_text())
    if committed["surroundings"] != around:
        print(f"not compared: the committed figures are of {committed['surroundings']}, these of {around}")
        return
    if worse := complaints(figures, committed["figures"]):
        sys.exit("\n".join(["more than was committed:", *worse]))


if __name__ == "__main__":
    main()
