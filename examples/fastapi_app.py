"""A chat beside a page of FastAPI.

    pip install 'ashtree[asgi]' fastapi
    uvicorn examples.fastapi_app:app

The socket is at ws://127.0.0.1:8000/live/socket; the page /say?text=hello speaks to everybody in the room.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from actors import Channel, Reply, ok
from supervisors import System
from transport import Endpoint, Socket


class RoomChannel(Channel):
    """A chat room."""

    def join(self, topic: str, payload: Any) -> Reply:
        """Let everybody in."""
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        """Tell everybody what one has said."""
        match event:
            case "new_msg":
                self.broadcast("new_msg", {"body": payload["body"]})
                return ok()
            case _:
                return super().handle_in(event, payload)


class UserSocket(Socket):
    """Lets everybody connect."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it


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
    """Speak to the room from a page, here in a thread of FastAPI's."""
    endpoint.broadcast("room:lobby", "new_msg", {"body": text})
    return {"said": True}
