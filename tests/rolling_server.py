"""A server of the demo's socket, for rolling restarts: python rolling_server.py port 4000 [WORKERS] | fd 3 | unix PATH.

It prints "ready" when it accepts, and ends on SIGTERM.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ashtree import Endpoint, InheritedSocket, System, TcpPort, UnixSocket, respond
from demo import UserSocket, presence

if TYPE_CHECKING:
    from transport.http.addresses import Listen


def place(how: str, where: str) -> Listen:
    """Return where to listen."""
    if how == "port":
        return TcpPort("127.0.0.1", int(where))
    return InheritedSocket(int(where)) if how == "fd" else UnixSocket(where)


def main() -> None:
    """Serve until SIGTERM."""
    how, where, *workers = sys.argv[1:]
    # Only what goes wrong.
    logging.basicConfig(level="WARNING")
    endpoint = Endpoint(
        {"/socket": UserSocket},
        listen=place(how, where),
        reuse_port=how != "fd",
        routes={"/": lambda _: respond(200, "page")},
    )
    number = int(workers[0]) if workers else None
    System([presence, endpoint]).run(lambda _: print("ready", flush=True), workers=number)  # noqa: T201  # the test waits for it


if __name__ == "__main__":
    main()
