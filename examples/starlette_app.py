"""A chat room beside a page of Starlette.

    pip install 'ashtree[asgi]' starlette
    uvicorn examples.starlette_app:app

The socket is at ws://127.0.0.1:8000/live/socket; the page /say?text=hello broadcasts to the room. This file is a complete
program, to copy and change: the examples for the other frameworks have the same channel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002  # as in Starlette's own examples
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

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


async def say(request: Request) -> Response:
    """Broadcast to the room from a page."""
    endpoint.broadcast("room:lobby", "new_msg", {"body": request.query_params["text"]})
    return JSONResponse({"said": True})


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Run the supervision tree as long as the application."""
    async with System([endpoint]):
        yield


app = Starlette(routes=[Route("/say", say), Mount("/live", endpoint.asgi())], lifespan=lifespan)
