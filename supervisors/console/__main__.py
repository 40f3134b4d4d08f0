"""Attach to a running server from a terminal: python -m supervisors.console PATH."""

from __future__ import annotations

import argparse
import sys

from supervisors.console.client.attach import Client, complain, connect
from supervisors.console.client.terminal import Terminal


def main() -> int:
    """Run until Ctrl-D or the server stops; return the exit status."""
    options = parser().parse_args()
    try:
        connected = connect(options.path)
    except OSError as error:
        complain(f"no server listens at {options.path!r}: {error.strerror or error}")
        return 1
    return Client(connected, Terminal()).run()


def parser() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    made = argparse.ArgumentParser(
        prog="python -m supervisors.console",
        description="Attach to a running server that was started with System(console=PATH), and get a prompt inside it. "
        "Ctrl-C interrupts, Ctrl-D leaves; the server goes on. Statements may also be piped in.",
    )
    made.add_argument("path", help="of the server's Unix socket")
    return made


if __name__ == "__main__":
    sys.exit(main())
