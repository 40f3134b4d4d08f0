"""Django Channels on daphne, with the channel layer in memory: `python channels_daphne.py PORT`.

A topic is a group, whose name may not have a colon. As in the chat of Channels' tutorial, the layer passes a message to the
consumer of each member, which encodes it. There are no sessions, no users and no check of the origin. daphne uses asyncio's own
loop. The backlog is that of uvicorn; with Twisted's 50, clients that connect together wait for a second and try again.
"""

from __future__ import annotations

import sys
from typing import Any

import django
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from daphne.server import Server
from django.conf import settings
from django.urls import path


class BenchConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # its types are not known
    async def connect(self) -> None:
        self.joined: set[str] = set()
        await self.accept()

    async def receive_json(self, content: Any) -> None:
        join_ref, ref, topic, event, payload = content
        match event:
            case "phx_join" if topic.startswith("bench:"):
                self.joined.add(topic)
                await self.channel_layer.group_add(group(topic), self.channel_name)
                reply = {"status": "ok", "response": {}}
            case "echo" if topic in self.joined:
                reply = {"status": "ok", "response": payload}
            case "shout" if topic in self.joined:
                shout = {"type": "bench.shout", "topic": topic, "payload": payload}
                await self.channel_layer.group_send(group(topic), shout)
                return
            case "heartbeat" if topic == "phoenix":
                reply = {"status": "ok", "response": {}}
            case _:
                reply = {"status": "error", "response": {"reason": "unmatched topic"}}
        await self.send_json([join_ref, ref, topic, "phx_reply", reply])

    async def bench_shout(self, event: dict[str, Any]) -> None:
        await self.send_json([None, None, event["topic"], "shout", event["payload"]])

    async def disconnect(self, code: int) -> None:
        for topic in self.joined:
            await self.channel_layer.group_discard(group(topic), self.channel_name)


def group(topic: str) -> str:
    return topic.replace(":", ".")


def main() -> None:
    settings.configure(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})
    django.setup()
    app = ProtocolTypeRouter({"websocket": URLRouter([path("socket/websocket", BenchConsumer.as_asgi())])})
    endpoint = f"tcp:port={sys.argv[1]}:interface=127.0.0.1:backlog=2048"
    Server(app, endpoints=[endpoint], ready_callable=lambda: print("listening", flush=True)).run()


if __name__ == "__main__":
    main()
