"""A chat beside a page of Django.

    pip install 'ashtree[asgi]' django
    uvicorn examples.django_app:app

The socket is at ws://127.0.0.1:8000/live/socket; the page /say?text=hello speaks to everybody in the room.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

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


# In a project of Django's, everything above stands in your application, and this is asgi.py.

endpoint = Endpoint({"/live/socket": UserSocket}, port=None)


def say(request: HttpRequest) -> HttpResponse:
    """Speak to the room from a page."""
    endpoint.broadcast("room:lobby", "new_msg", {"body": request.GET["text"]})
    return JsonResponse({"said": True})


urlpatterns = [path("say", say)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY=secrets.token_urlsafe(32))

pages = get_asgi_application()
live = endpoint.asgi(System([endpoint]))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Give what is Django's to Django; the life of the server is ours, as Django takes no part in it."""
    if scope["type"] == "http" and not scope["path"].startswith("/live/"):
        await pages(scope, receive, send)
    else:
        await live(scope, receive, send)
