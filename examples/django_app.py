"""A chat room beside pages of Django, with its users and its database.

    pip install 'ashtree[asgi]' django
    uvicorn examples.django_app:app

The page http://127.0.0.1:8000/ logs in, as ann with the password "secret". The socket is at ws://127.0.0.1:8000/live/socket,
and knows who has logged in; the page /say?text=hello broadcasts to the room. This file is a complete program, to copy and
change: the examples for the other frameworks have the same channel, without users and a database.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.contrib.auth import authenticate, get_user_model, login
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.db import connection, models
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import engines
from django.urls import path

from ashtree import Actor, Channel, ChildSpec, Endpoint, Payload, Reply, Socket, System, ok
from ashtree.django import database_sync_to_async, user_of

# In a project this is settings.py, and its database is not a temporary one.

directory = tempfile.TemporaryDirectory()
settings.configure(
    SECRET_KEY=secrets.token_urlsafe(32),
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(directory.name) / "chat.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()


# models.py


class ChatMessage(models.Model):  # type: ignore[misc]  # Django has no types
    """What has been said in a room; `author` is empty if the visitor had not logged in."""

    topic = models.CharField(max_length=100)
    author = models.CharField(max_length=150)
    body = models.TextField()

    class Meta:
        """In a project the app is known by the place of its models.py."""

        app_label = "chat"

    @property
    def payload(self) -> dict[str, str]:
        """What clients receive."""
        return {"body": self.body} | ({"author": self.author} if self.author else {})


# channels.py: handlers that use the database run in a thread.


class RoomChannel(Channel):
    """A chat room, whose messages are kept."""

    def join(self, topic: str, payload: Payload) -> Reply:
        """Accept every join."""
        return ok()

    @database_sync_to_async
    def handle_in(self, event: str, payload: Payload) -> Any:
        """Keep and broadcast what a client says; tell one that asks what has been said."""
        match event:
            case "new_msg":
                message = ChatMessage(topic=self.topic, author=self.assigns["user"], body=payload["body"])
                message.save()
                self.broadcast("new_msg", message.payload)
                return ok()
            case "history":
                said = ChatMessage.objects.filter(topic=self.topic).order_by("id")
                return ok({"messages": [message.payload for message in said]})
            case _:
                return super().handle_in(event, payload)


class UserSocket(Socket):
    """Accepts every connection, and knows who has logged in."""

    channels = {"room:*": RoomChannel}

    @database_sync_to_async
    def connect(self, params: Any, connect_info: Any) -> Reply:
        """Remember the user of Django's session; the name of an anonymous one is empty."""
        self.assigns["user"] = user_of(connect_info).get_username()
        return ok()

    def id(self) -> str | None:
        """Name the user, so that a broadcast of "disconnect" on it closes all connections of the user."""
        return f"user:{self.assigns['user']}" if self.assigns["user"] else None


endpoint = Endpoint({"/live/socket": UserSocket}, port=None)


# views.py: they are synchronous, as most views are.

PAGE = """<form method="post">{% csrf_token %}
{% if user.is_authenticated %}You are {{ user }}.{% endif %}
<input name="username"> <input name="password" type="password"> <button>Log in</button></form>"""


def log_in(request: HttpRequest) -> HttpResponse:
    """Log in, and show who has."""
    if request.method == "POST":
        user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
        if user is None:
            return HttpResponse("wrong name or password", status=403)
        login(request, user)
    return HttpResponse(engines["django"].from_string(PAGE).render({"user": request.user}, request))


def say(request: HttpRequest) -> HttpResponse:
    """Keep a message of the page's visitor, and broadcast it to the room."""
    message = ChatMessage(topic="room:lobby", author=request.user.get_username(), body=request.GET["text"])
    message.save()
    endpoint.broadcast(message.topic, "new_msg", message.payload)
    return JsonResponse({"said": True})


urlpatterns = [path("", log_in), path("say", say)]


# asgi.py


class Database(Actor):
    """Makes the tables and a user before the endpoint starts; a project has migrations for that."""

    @database_sync_to_async
    def on_start(self) -> None:
        """Make them, in a thread."""
        call_command("migrate", verbosity=0)
        with connection.schema_editor() as editor:
            editor.create_model(ChatMessage)
        get_user_model().objects.create_user("ann", password="secret")  # noqa: S106  # of an example


pages = get_asgi_application()
live = endpoint.asgi(System([ChildSpec(Database), endpoint]))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Route HTTP requests to Django, all others to Ashtree: Django does not handle lifespan events."""
    if scope["type"] == "http" and not scope["path"].startswith("/live/"):
        # For servers that run no lifespan, such as daphne: the views broadcast.
        await live.start()
        await pages(scope, receive, send)
    else:
        await live(scope, receive, send)
