"""python-socketio (ASGI) on uvicorn: `python socketio_uvicorn.py PORT`.

A topic is a room, and the reply to an echo is the acknowledgement of the event. The server speaks Socket.IO only;
`socketio_wire.c` translates for the load generator.
"""

from __future__ import annotations

import sys
from typing import Any

import socketio
from announced import serve

sio = socketio.AsyncServer(async_mode="asgi")


@sio.event  # type: ignore[untyped-decorator]  # its types are not known
async def join(sid: str, topic: str) -> dict[str, Any]:
    await sio.enter_room(sid, topic)
    return {}


@sio.event  # type: ignore[untyped-decorator]  # as above
async def echo(_sid: str, _topic: str, payload: Any) -> Any:
    return payload


@sio.event  # type: ignore[untyped-decorator]  # as above
async def shout(_sid: str, topic: str, payload: Any) -> None:
    await sio.emit("shout", (topic, payload), room=topic)


app = socketio.ASGIApp(sio)

if __name__ == "__main__":
    serve(app, int(sys.argv[1]))
