"""A chat beside a page of Starlette.

    pip install 'ashtree[asgi]' starlette
    uvicorn examples.starlette_app:app

The socket is at ws://127.0.0.1:8000/live/socket; the page /say?text=hello speaks to everybody in the room.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002  # Starlette's examples import it so
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

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


async def say(request: Request) -> Response:
    """Speak to the room from a page."""
    endpoint.broadcast("room:lobby", "new_msg", {"body": request.query_params["text"]})
    return JSONResponse({"said": True})


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Run the supervision tree as long as the application."""
    async with System([endpoint]):
        yield


app = Starlette(routes=[Route("/say", say), Mount("/live", endpoint.asgi())], lifespan=lifespan)
