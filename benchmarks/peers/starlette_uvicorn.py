"""Starlette on uvicorn: `python starlette_uvicorn.py PORT`.

A topic is a set of connections. A broadcast is a loop over them, as in the chat of FastAPI's documentation, here over a copy,
since members come and go while it awaits.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

from announced import serve
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket  # noqa: TC002  # beside the others, as its users write it

topics: defaultdict[str, set[WebSocket]] = defaultdict(set)


class BenchEndpoint(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        self.joined: set[str] = set()
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        join_ref, ref, topic, event, payload = data
        match event:
            case "phx_join" if topic.startswith("bench:"):
                self.joined.add(topic)
                topics[topic].add(websocket)
                reply = {"status": "ok", "response": {}}
            case "echo" if topic in self.joined:
                reply = {"status": "ok", "response": payload}
            case "shout" if topic in self.joined:
                await broadcast(topic, payload)
                return
            case "heartbeat" if topic == "phoenix":
                reply = {"status": "ok", "response": {}}
            case _:
                reply = {"status": "error", "response": {"reason": "unmatched topic"}}
        await websocket.send_json([join_ref, ref, topic, "phx_reply", reply])

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        for topic in self.joined:
            topics[topic].discard(websocket)


async def broadcast(topic: str, payload: Any) -> None:
    message = json.dumps([None, None, topic, "shout", payload])
    for member in list(topics[topic]):
        await member.send_text(message)


app = Starlette(routes=[WebSocketRoute("/socket/websocket", BenchEndpoint)])

if __name__ == "__main__":
    serve(app, int(sys.argv[1]))
