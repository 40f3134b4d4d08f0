"""A chat for several processes, behind the load balancers that are configured beside this file.

    export ASHTREE_REDIS_URL=redis://localhost
    export ASHTREE_SECRET_KEY=$(python -c 'import secrets; print(secrets.token_urlsafe(48))')
    python chat.py --port 4001 & python chat.py --port 4002

`nginx.conf` and `haproxy.cfg` pass clients of https://chat.example.com on to both; `chat@.service` is the unit of systemd that
runs them as services. docs/scaling.md explains what each option is for.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from typing import Any

from ashtree import (
    Channel,
    ConnectInfo,
    Drainer,
    Endpoint,
    Health,
    Payload,
    Presence,
    PubSub,
    RedisPubSub,
    Reply,
    Socket,
    System,
    ok,
)

presence = Presence()


class RoomChannel(Channel):
    """A room, whose members may be clients of different processes."""

    def join(self, topic: str, payload: Payload) -> Reply:
        """Tell the client which process serves it, and by which address it is known there."""
        presence.track(self, self.assigns["address"], {})
        return ok({"node": self.pubsub.node, "address": self.assigns["address"]})

    def handle_in(self, event: str, payload: Payload) -> Any:
        """Broadcast what a member says to all of them."""
        if event == "new_msg":
            self.broadcast("new_msg", {"body": payload["body"]})
            return ok()
        return super().handle_in(event, payload)


class UserSocket(Socket):
    """Knows clients by their address, which the load balancer tells."""

    channels = {"room:*": RoomChannel}

    def connect(self, params: Mapping[str, Any], connect_info: ConnectInfo) -> Reply:
        """Accept all clients."""
        self.assigns["address"] = connect_info.peer[0] if connect_info.peer else "unknown"
        return ok()


def main() -> None:
    """Serve until SIGTERM; then drain."""
    parser = argparse.ArgumentParser(description="Serve a chat, as one of several processes.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; that of the internal network")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, help="processes that accept on the port; by default it is this one")
    options = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
    endpoint = Endpoint(
        {"/socket": UserSocket},
        host=options.host,
        port=options.port,
        # The same in all processes: sessions of long polling and tokens are valid in each of them.
        secret_key=os.environ["ASHTREE_SECRET_KEY"],
        # The name in the addresses of your pages. Pages of other sites may not connect.
        url_host="chat.example.com",
        # Where the load balancers are. What they say of the clients' addresses is believed.
        trusted_proxies=["127.0.0.1", "10.0.0.0/8"],
        health=Health(),
        # 500 clients a second connect again elsewhere.
        drainer=Drainer(batch_size=500, batch_interval=1.0, shutdown=60.0),
    )
    # Where Redis is says ASHTREE_REDIS_URL.
    system = System([presence, endpoint], pubsub=PubSub(adapter=RedisPubSub()), shutdown_timeout=60.0)
    system.run(workers=options.workers)


if __name__ == "__main__":
    main()
