"""A chat room beside a page of FastAPI.

    pip install 'ashtree[asgi]' fastapi
    uvicorn examples.fastapi_app:app

The socket is at ws://127.0.0.1:8000/live/socket; the page /say?text=hello broadcasts to the room. This file is a complete
program, to copy and change: the examples for the other frameworks have the same channel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from ashtree import Channel, Endpoint, Payload, Reply, Socket, System, ok


class RoomChannel(Channel):
    """A chat room."""

    def join(self, topic: str, payload: Payload) -> Reply:
        """Accept every join."""
        return ok()

    def handle_in(self, event: str, payload: Payload) -> Any:
        """Broadcast what a client says."""
        match event:
            case "new_msg":
                self.broadcast("new_msg", {"body": payload["body"]})
                return ok()
            case _:
                return super().handle_in(event, payload)


class UserSocket(Socket):
    """Accepts every connection."""

    channels = {"room:*": RoomChannel}


endpoint = Endpoint({"/socket": UserSocket}, port=None)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Run the supervision tree as long as the application."""
    async with System([endpoint]):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/live", endpoint.asgi())


@app.get("/say")
def say(text: str) -> dict[str, bool]:
    """Broadcast to the room from a page, which FastAPI runs in a thread."""
    endpoint.broadcast("room:lobby", "new_msg", {"body": text})
    return {"said": True}
