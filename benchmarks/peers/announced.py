"""uvicorn with its defaults, which says when it listens; what it logs of each connection is off."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn


class AnnouncedServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print("listening", flush=True)


def serve(app: Any, port: int) -> None:
    AnnouncedServer(uvicorn.Config(app, port=port, log_level="warning")).run()
