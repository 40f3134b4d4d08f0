"""Use a channel of any Phoenix server from the command line: python -m transport.client ws://host/socket room:lobby."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import msgspec

from actors.standard_streams import fill_missing
from transport.client.client_serializer import CLIENT_SERIALIZERS
from transport.client.client_socket import Socket
from transport.client.command_line import CommandLine, complain
from transport.client.exceptions import ClientError


def main(arguments: Sequence[str] | None = None, prog: str = "python -m transport.client") -> int:
    """Run until the end of the input or Ctrl-C; return the exit status: 0, or 1 after an error."""
    fill_missing()
    if isinstance(sys.stdout, TextIOWrapper):
        # Output that is declared as ASCII, for example, must not end the program at the first "é".
        sys.stdout.reconfigure(errors="backslashreplace")
    options = argument_parser(prog).parse_args(arguments)
    try:
        asyncio.run(talk(options))
    except KeyboardInterrupt:
        return 0
    except (ClientError, ValueError) as error:
        complain(error)
        return 1
    return 0


def argument_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Join a channel of a Phoenix server, print the messages that arrive, and push the lines that you type: "
        'an event and its payload, such as new_msg {"body": "hello"}. Press Ctrl-D or Ctrl-C to leave.',
    )
    parser.add_argument("url", help="the URL of the socket, such as ws://localhost:4000/socket")
    parser.add_argument("topic", help="the topic to join, such as room:lobby")
    parser.add_argument("--param", metavar="K=V", action="append", type=param, default=[], help="a param of the socket")
    parser.add_argument("--join", metavar="JSON", type=payload, default={}, help="the payload of the join")
    parser.add_argument("--token", help="the auth token of the socket")
    parser.add_argument("--vsn", choices=list(CLIENT_SERIALIZERS), default="2.0.0", help="the version of the protocol")
    parser.add_argument(
        "--longpoll",
        dest="transport",
        action="store_const",
        const="longpoll",
        default="websocket",
        help="use long polling instead of a WebSocket",
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=10.0, help="for connecting and for replies"
    )
    return parser


def param(text: str) -> tuple[str, str]:
    """Parse `key=value`."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected key=value, got {text!r}")
    return key, value


def payload(text: str) -> object:
    """Parse JSON."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error


def seconds(text: str) -> float:
    """Parse a timeout."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected seconds > 0, got {text!r}")
    return value


async def talk(options: argparse.Namespace) -> None:
    """Connect, and run the command line on a channel."""
    client = Socket(
        options.url,
        params=dict(options.param),
        auth_token=options.token,
        vsn=options.vsn,
        timeout=options.timeout,
        transport=options.transport,
    )
    async with client as socket:
        await CommandLine(socket, socket.channel(options.topic, options.join)).run()


if __name__ == "__main__":
    sys.exit(main())
