"""picows by its core API, on uvloop as in its own benchmarks: `python picows_listener.py PORT`.

A topic is a set of transports. JSON is orjson's: who writes on this API does so for speed.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import orjson
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

topics: defaultdict[str, set[WSTransport]] = defaultdict(set)


class BenchListener(WSListener):
    def __init__(self) -> None:
        self.joined: set[str] = set()
        self.parts = b""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        match frame.msg_type:
            case WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            case WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            case WSMsgType.TEXT | WSMsgType.CONTINUATION if not frame.fin or self.parts:
                self.parts += frame.get_payload_as_bytes()
                if frame.fin:
                    message, self.parts = self.parts, b""
                    self.on_message(transport, message)
            case WSMsgType.TEXT:
                self.on_message(transport, frame.get_payload_as_memoryview())

    def on_message(self, transport: WSTransport, message: bytes | memoryview) -> None:
        join_ref, ref, topic, event, payload = orjson.loads(message)
        if event == "shout" and topic in self.joined:
            shout = orjson.dumps([None, None, topic, "shout", payload])
            for member in topics[topic]:
                member.send(WSMsgType.TEXT, shout)
            return
        reply = self.answer(transport, topic, event, payload)
        transport.send(WSMsgType.TEXT, orjson.dumps([join_ref, ref, topic, "phx_reply", reply]))

    def answer(self, transport: WSTransport, topic: str, event: str, payload: Any) -> dict[str, Any]:
        match event:
            case "phx_join" if topic.startswith("bench:"):
                self.joined.add(topic)
                topics[topic].add(transport)
                return {"status": "ok", "response": {}}
            case "echo" if topic in self.joined:
                return {"status": "ok", "response": payload}
            case "heartbeat" if topic == "phoenix":
                return {"status": "ok", "response": {}}
            case _:
                return {"status": "error", "response": {"reason": "unmatched topic"}}

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        for topic in self.joined:
            topics[topic].discard(transport)


def listener(_request: WSUpgradeRequest) -> BenchListener:
    return BenchListener()


async def main() -> None:
    server = await ws_create_server(listener, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
