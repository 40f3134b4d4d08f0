"""Attach to a running server from a terminal: python -m supervisors.console PATH."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from actors.standard_streams import fill_missing
from supervisors.console.client.attach import ConsoleClient, complain, connect
from supervisors.console.client.terminal import Terminal


def main(arguments: Sequence[str] | None = None, prog: str = "python -m supervisors.console") -> int:
    """Run until Ctrl-D or the server stops; return the exit status."""
    fill_missing()
    options = parser(prog).parse_args(arguments)
    try:
        connected = connect(options.path)
    except OSError as error:
        complain(f"no server listens at {options.path!r}: {error.strerror or error}")
        return 1
    return ConsoleClient(connected, Terminal()).run()


def parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog=prog,
        description="Attach to a running server that was started with System(console=PATH), and get a prompt inside it. "
        "Ctrl-C interrupts the current statement and Ctrl-D leaves; the server keeps running. Statements may also be piped in.",
    )
    made.add_argument("path", help="path of the server's Unix socket")
    return made


if __name__ == "__main__":
    sys.exit(main())
