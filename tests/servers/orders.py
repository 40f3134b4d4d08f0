"""A server that handles orders once, over Redis: `python tests/servers/orders.py --redis URL --port 4000`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actors import Channel, Idempotency, PubSub, RedisPubSub, Reply, SocketRef, error, ok, reply
from supervisors import System
from transport import Endpoint, Socket

TAKEN = 0


class OrdersChannel(Channel):
    """Numbers what it handles; each answer says which process that was."""

    idempotency = Idempotency(ttl=300.0, size=200, max_bytes=20_000)

    def join(self, topic: str, payload: Any) -> Reply:
        self.later: list[SocketRef] = []
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        global TAKEN  # noqa: PLW0603  # of the process
        TAKEN += 1
        self.broadcast("taken", {"event": event, "payload": payload if isinstance(payload, dict) else payload.hex()})
        answer = {"pid": os.getpid(), "number": TAKEN}
        match event:
            case "order":
                return ok(answer)
            case "refuse":
                return error(answer)
            case "bytes":
                return ok(b"%d" % TAKEN)
            case "long":
                return ok(answer | {"text": "x" * 30_000})
            case "crash":
                raise ValueError("on purpose")
            case "later":
                self.later.append(self.socket_ref())
                return None
            case "ship":
                for ref in self.later:
                    reply(ref, ok(answer))
                return ok()
        return None


class OrdersSocket(Socket):
    channels = {"orders:*": OrdersChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Any, connect_info: Any) -> Reply:
        self.assigns["user"] = params.get("user")
        return ok()

    def id(self) -> str | None:
        user: str | None = self.assigns["user"]
        return user


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4000, help="0 takes a free one")
    options = parser.parse_args()
    endpoint = Endpoint({"/socket": OrdersSocket}, host=options.host, port=options.port)
    pubsub = PubSub(adapter=RedisPubSub(options.redis))
    System([endpoint], pubsub=pubsub).run(lambda _: print(endpoint.url, flush=True))  # noqa: T201  # it prints its address


if __name__ == "__main__":
    main()
