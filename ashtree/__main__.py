"""The command line: `ashtree COMMAND`, or `python -m ashtree COMMAND`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from actors import standard_streams
from ashtree import __version__

__all__ = ["main"]

# Each is a module with `main(arguments, prog)`, which is imported only when its command is given.
COMMANDS = {
    "demo": ("ashtree.demo.app", "serve a page that uses channels and crashes their actors"),
    "console": ("supervisors.console.__main__", "open a prompt inside a running server"),
    "publish": ("transport.publish", "broadcast an event to the clients of all processes with a Redis"),
    "client": ("transport.client.__main__", "join a channel of any Phoenix server from the terminal"),
}


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Run a command with its arguments, those of the process unless given; return its exit status."""
    options = parser().parse_args(arguments)
    if options.command is None:
        parser().print_help(sys.stderr)
        return 2
    if options.command not in COMMANDS:
        complain(f"unknown command {options.command!r}, expected one of: {', '.join(COMMANDS)}")
        return 2
    module, _ = COMMANDS[options.command]
    run: Callable[[Sequence[str], str], int | None] = import_module(module).main
    return run(options.arguments, f"ashtree {options.command}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of what stands before the arguments of a command."""
    width = max(map(len, COMMANDS))
    made = argparse.ArgumentParser(
        prog="ashtree",
        usage="ashtree [--help] [--version] COMMAND ...",
        description="Phoenix Channels for Python, on an actor runtime with an OTP-style supervision tree.",
        epilog="commands:\n"
        + "".join(f"  {name:<{width}}  {summary}\n" for name, (_, summary) in COMMANDS.items())
        + "\nRun `ashtree COMMAND --help` for the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"ashtree {__version__}")
    made.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    made.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return made


def complain(text: str) -> None:
    """Print an error of the command line."""
    standard_streams.complain(f"ashtree: {text}")


if __name__ == "__main__":
    sys.exit(main())
