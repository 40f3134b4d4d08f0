"""The `websockets` library, on uvloop as its documentation advises: `python websockets_asyncio.py PORT`.

A topic is a set of connections, and a broadcast the library's own `broadcast`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from typing import Any

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosedError

topics: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def handler(websocket: ServerConnection) -> None:
    joined: set[str] = set()
    try:
        async for message in websocket:
            join_ref, ref, topic, event, payload = json.loads(message)
            if event == "shout" and topic in joined:
                broadcast(topics[topic], json.dumps([None, None, topic, "shout", payload]))
                continue
            reply = answer(websocket, joined, topic, event, payload)
            await websocket.send(json.dumps([join_ref, ref, topic, "phx_reply", reply]))
    except ConnectionClosedError:
        pass  # the client has gone without a close frame
    finally:
        for topic in joined:
            topics[topic].discard(websocket)


def answer(websocket: ServerConnection, joined: set[str], topic: str, event: str, payload: Any) -> dict[str, Any]:
    match event:
        case "phx_join" if topic.startswith("bench:"):
            joined.add(topic)
            topics[topic].add(websocket)
            return {"status": "ok", "response": {}}
        case "echo" if topic in joined:
            return {"status": "ok", "response": payload}
        case "heartbeat" if topic == "phoenix":
            return {"status": "ok", "response": {}}
        case _:
            return {"status": "error", "response": {"reason": "unmatched topic"}}


async def main() -> None:
    async with serve(handler, "127.0.0.1", int(sys.argv[1]), backlog=2048):
        print("listening", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main())
