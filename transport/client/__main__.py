"""Talk to a channel of any Phoenix server from the command line: python -m transport.client ws://host/socket room:lobby."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

import msgspec

from transport.client.client_serializer import CLIENT_SERIALIZERS
from transport.client.client_socket import Socket
from transport.client.command_line import Console, complain
from transport.client.exceptions import ClientError


def main(arguments: Sequence[str] | None = None, prog: str = "python -m transport.client") -> int:
    """Run until the input ends or Ctrl-C; return the exit status: 0, or 1 if it was anything else that has ended it."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal or a pipe that is said to be ASCII, say, must not end the program at the first "é".
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser(prog).parse_args(arguments)
    try:
        asyncio.run(talk(options))
    except KeyboardInterrupt:
        return 0
    except (ClientError, ValueError) as error:
        complain(error)
        return 1
    return 0


def parser(prog: str) -> argparse.ArgumentParser:
    """Say what can be asked for."""
    made = argparse.ArgumentParser(
        prog=prog,
        description="Join a channel of a Phoenix server, print what arrives, and push what is typed: "
        'an event and its payload on a line, such as new_msg {"body": "hello"}. Ctrl-D or Ctrl-C leaves.',
    )
    made.add_argument("url", help="of the socket, such as ws://localhost:4000/socket")
    made.add_argument("topic", help="such as room:lobby")
    made.add_argument("--param", metavar="K=V", action="append", type=param, default=[], help="a param of the socket")
    made.add_argument("--join", metavar="JSON", type=payload, default={}, help="the payload of the join")
    made.add_argument("--token", help="the auth token of the socket")
    made.add_argument("--vsn", choices=list(CLIENT_SERIALIZERS), default="2.0.0", help="the version of the protocol")
    made.add_argument("--timeout", metavar="SECONDS", type=seconds, default=10.0, help="for connecting and answers")
    return made


def param(text: str) -> tuple[str, str]:
    """Read `key=value`."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected key=value, got {text!r}")
    return key, value


def payload(text: str) -> Any:
    """Read JSON."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error


def seconds(text: str) -> float:
    """Read a time-out."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected seconds > 0, got {text!r}")
    return value


async def talk(options: argparse.Namespace) -> None:
    """Connect, and let the console run."""
    made = Socket(
        options.url,
        params=dict(options.param),
        auth_token=options.token,
        vsn=options.vsn,
        timeout=options.timeout,
    )
    async with made as socket:
        await Console(socket, socket.channel(options.topic, options.join)).run()


if __name__ == "__main__":
    sys.exit(main())
