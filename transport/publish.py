"""Broadcast an event to the clients of all processes: python -m transport.publish --redis URL room:1 news '{"n": 1}'."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import msgspec

from actors.pubsub.redis.publish_message import publish
from actors.pubsub.redis.redis_pubsub import PREFIX, REDIS_URL
from actors.redaction import safe_str
from actors.standard_streams import fill_missing

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, prog: str = "python -m transport.publish") -> int:
    """Publish one message; return the exit status: 0, or 1 if it could not be published."""
    fill_missing()
    options = argument_parser(prog).parse_args(arguments)
    try:
        payload = payload_of(options)
        reached = publish(options.topic, options.event, payload, url=options.redis, prefix=options.prefix)
    except Exception as error:  # noqa: BLE001  # Redis is out of reach, or the payload or the URL is wrong
        print(f"{prog}: {safe_str(error) or type(error).__name__}", file=sys.stderr)  # noqa: T201  # it is a command line
        return 1
    print(f"published to {reached} process{'' if reached == 1 else 'es'}")  # noqa: T201
    return 0


def payload_of(options: argparse.Namespace) -> object:
    """Return the payload that the arguments, or the standard input, have."""
    if options.binary:
        return sys.stdin.buffer.read()
    return msgspec.json.decode(sys.stdin.buffer.read() if options.payload == "-" else options.payload)


def argument_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Broadcast an event to all clients that have joined a topic, in all processes with the same Redis.",
    )
    parser.add_argument("--redis", metavar="URL", help=f"such as redis://localhost; by default what {REDIS_URL} has")
    parser.add_argument(
        "--prefix", default=PREFIX, help="what the names of the channels begin with, if it is another one"
    )
    parser.add_argument("--binary", action="store_true", help="send the bytes of the standard input as the payload")
    parser.add_argument("topic", help="the topic, such as room:lobby")
    parser.add_argument("event", help="the event, such as new_msg")
    parser.add_argument("payload", nargs="?", default="{}", help="a JSON object; - reads it from the standard input")
    return parser


if __name__ == "__main__":
    sys.exit(main())
