"""A chat room beside a page of Django.

    pip install 'ashtree[asgi]' django
    uvicorn examples.django_app:app

The socket is at ws://127.0.0.1:8000/live/socket; the page /say?text=hello broadcasts to the room. This file is a complete
program, to copy and change: the examples for the other frameworks have the same channel.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

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


# In a Django project the code above belongs in an app, and what follows in asgi.py.

endpoint = Endpoint({"/live/socket": UserSocket}, port=None)


def say(request: HttpRequest) -> HttpResponse:
    """Broadcast to the room from a page."""
    endpoint.broadcast("room:lobby", "new_msg", {"body": request.GET["text"]})
    return JsonResponse({"said": True})


urlpatterns = [path("say", say)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY=secrets.token_urlsafe(32))

pages = get_asgi_application()
live = endpoint.asgi(System([endpoint]))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Route HTTP requests to Django, all others to Ashtree: Django does not handle lifespan events."""
    if scope["type"] == "http" and not scope["path"].startswith("/live/"):
        await pages(scope, receive, send)
    else:
        await live(scope, receive, send)
