"""A server whose connections expire: a token is a name and the seconds for which it is good, such as "ann:2".

It is a program of its own, as the demo is: `python tests/servers/tokens.py --port 4000`. At "/short" clients are not warned in
time, and there is no leeway.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actors import Channel, Reply, error, ok
from supervisors import System
from transport import Endpoint, Socket


class RoomChannel(Channel):
    """Tells what it knows of the token."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        return ok({"name": self.assigns["name"], "left": self.assigns["expires_at"] - time.time()})

    def handle_token(self) -> None:
        self.push("renamed", {"name": self.assigns["name"]})


class TokenSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it
    auth_token = True
    expiry_leeway = 30.0

    def connect(self, params: Any, connect_info: Any) -> Reply:
        return self.handle_token(params.get("user_token") or connect_info.auth_token)

    def handle_token(self, token: str) -> Reply:
        name, _, seconds = token.partition(":")
        if not seconds:
            return error({"reason": "invalid token"})
        self.expire_in(float(seconds))
        self.assigns |= {"name": name, "expires_at": self.expires_at}
        return ok({"name": name})


class ShortSocket(TokenSocket):
    expiry_warning, expiry_leeway = 0.0, 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4000, help="0 takes a free one")
    options = parser.parse_args()
    endpoint = Endpoint({"/socket": TokenSocket, "/short": ShortSocket}, host=options.host, port=options.port)
    System([endpoint]).run(lambda _: print(endpoint.url, flush=True))  # noqa: T201  # it prints its address


if __name__ == "__main__":
    main()
