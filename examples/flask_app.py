"""A chat room beside pages of Flask, which is synchronous: the room has a thread and a port of its own.

    pip install ashtree flask
    flask --app examples.flask_app run

The socket is at ws://127.0.0.1:4000/socket; the page http://127.0.0.1:5000/say?text=hello broadcasts to the room. This file is
a complete program, to copy and change: the examples for the other frameworks have the same channel. What a reloader, several
workers and `--preload` mean is in docs/flask.md.
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, request
from werkzeug.serving import is_running_from_reloader

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


endpoint = Endpoint({"/socket": UserSocket}, port=int(os.environ.get("LIVE_PORT", "4000")))
system = System([endpoint])
app = Flask(__name__)


@app.get("/")
def index() -> dict[str, str]:
    """Say where the socket is."""
    return {"socket": f"{endpoint.url.replace('http', 'ws', 1)}/socket"}


@app.get("/say")
def say() -> dict[str, bool]:
    """Broadcast to the room from a page."""
    endpoint.broadcast("room:lobby", "new_msg", {"body": request.args["text"]})
    return {"said": True}


# `flask run --debug` has two processes. The first one only watches the files, and serves nothing.
if not app.debug or is_running_from_reloader():
    system.start_in_thread()
