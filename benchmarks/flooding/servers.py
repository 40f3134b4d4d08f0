"""The servers that are flooded, one in a process: `python servers.py KIND [--port 0] [--loop uvloop|asyncio] [--tree FOLDER]`.

All do the same work behind the same protocol:

- `flood:*` echoes an "echo" and broadcasts a "shout" to its topic; "big" broadcasts half a megabyte.
- `slow:*` answers a "slow" after a while, in an asynchronous handler.
- `late:*` joins after a long while, in an asynchronous `join`. (Only ours: the others have no joins to wait for.)
- GET / is a small page, GET /page one of five megabytes.

`ashtree` is our server on its own listener, `ashtree-asgi` the same endpoint on uvicorn; `websockets` is written by hand on the
package of that name, and `uvicorn` is an ASGI application by hand. `--tree` names the checkout whose Ashtree is served.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

    from ashtree import Endpoint

KINDS = ("ashtree", "ashtree-asgi", "websockets", "uvicorn")

SLOW = 0.05
"""Seconds of a slow handler."""
LATE = 20.0
"""Seconds of a late join."""
BIG = {"text": "x" * 500_000}
SMALL_PAGE, LARGE_PAGE = b"x" * 2_000, b"x" * 5_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--ws", default="auto", help="uvicorn's implementation of WebSockets")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of silence that Ashtree allows")
    parser.add_argument("--tree", type=Path, default=Path(__file__).resolve().parents[2])
    options = parser.parse_args()
    sys.path.insert(0, str(options.tree))
    if options.loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # Python's own way to say that a module is missing
    match options.kind:
        case "ashtree":
            serve_ashtree(options)
        case "ashtree-asgi":
            serve_ashtree_by_uvicorn(options)
        case "websockets":
            serve_websockets(options)
        case "uvicorn":
            serve_uvicorn(raw_application, options)


def announce(port: int) -> None:
    print(f"http://127.0.0.1:{port}", flush=True)


# Ashtree


def make_endpoint(port: int | None, idle: float) -> Endpoint:
    from ashtree import Channel, Endpoint, Payload, Socket, ok, respond  # noqa: PLC0415  # of the tree that was asked for

    class FloodChannel(Channel):
        def join(self, topic: str, payload: Payload) -> Any:
            return ok()

        def handle_in(self, event: str, payload: Payload) -> Any:
            match event:
                case "echo":
                    return ok(payload)
                case "shout":
                    self.broadcast("shout", payload)
                case "big":
                    self.broadcast("big", BIG)
            return None

    class SlowChannel(FloodChannel):
        async def handle_in(self, event: str, payload: Payload) -> Any:
            await asyncio.sleep(SLOW)
            return ok()

    class LateChannel(FloodChannel):
        async def join(self, topic: str, payload: Payload) -> Any:
            await asyncio.sleep(LATE)
            return ok()

    class FloodSocket(Socket):
        channels = {"flood:*": FloodChannel, "slow:*": SlowChannel, "late:*": LateChannel}  # noqa: RUF012  # as an author writes it

    routes = {"/": lambda _request: respond(200, SMALL_PAGE), "/page": lambda _request: respond(200, LARGE_PAGE)}
    return Endpoint({"/socket": FloodSocket}, port=port, routes=routes, idle_timeout=idle)


def serve_ashtree(options: argparse.Namespace) -> None:
    from ashtree import System  # noqa: PLC0415  # as above

    endpoint = make_endpoint(options.port, options.idle)
    System([endpoint]).run(lambda _: print(endpoint.url, flush=True))


def serve_ashtree_by_uvicorn(options: argparse.Namespace) -> None:
    from ashtree import System  # noqa: PLC0415  # as above

    endpoint = make_endpoint(None, options.idle)
    serve_uvicorn(endpoint.asgi(System([endpoint])), options)


# Written by hand, on an ASGI server and on `websockets`

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def serve_uvicorn(application: Any, options: argparse.Namespace) -> None:
    import uvicorn  # noqa: PLC0415  # as above

    listening = socket.create_server(("127.0.0.1", options.port), backlog=4096)
    config = uvicorn.Config(
        application,
        loop=options.loop,
        ws=options.ws,
        # Hostile clients do not answer them: after 40 s uvicorn would close the connection.
        ws_ping_interval=None,
        log_level="warning",
        access_log=False,
    )
    announce(listening.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listening])


async def answer(text: str | bytes, broadcast: Callable[[str, str], Awaitable[None]]) -> str | None:
    """Do the work of one message; return the reply."""
    join_ref, ref, topic, event, payload = json.loads(text)
    match event:
        case "shout" | "big":
            sent = BIG if event == "big" else payload
            await broadcast(topic, json.dumps([None, None, topic, event, sent]))
            return None
        case "slow":
            await asyncio.sleep(SLOW)
    response = payload if event == "echo" else {}
    return json.dumps([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": response}])


_members: defaultdict[str, set[Send]] = defaultdict(set)


async def raw_application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "websocket":
            await raw_websocket(receive, send)
        case "http":
            body = {"/": SMALL_PAGE, "/page": LARGE_PAGE}.get(scope["path"])
            status = 404 if body is None else 200
            headers = [(b"content-length", str(len(body or b"")).encode())]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body or b""})
        case "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})


async def raw_websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    topics = set()

    async def broadcast(topic: str, text: str) -> None:
        for member in list(_members[topic]):
            await member({"type": "websocket.send", "text": text})

    try:
        while (event := await receive())["type"] == "websocket.receive":
            topics.add(topic := json.loads(event["text"])[2])
            _members[topic].add(send)
            reply = await answer(event["text"], broadcast)
            if reply is not None:
                await send({"type": "websocket.send", "text": reply})
    finally:
        for topic in topics:
            _members[topic].discard(send)


def serve_websockets(options: argparse.Namespace) -> None:
    if options.loop == "uvloop":
        import uvloop  # noqa: PLC0415  # an extra, only for this

        uvloop.run(run_websockets(options.port))
    else:
        asyncio.run(run_websockets(options.port))


async def run_websockets(port: int) -> None:
    from websockets.asyncio.server import serve  # noqa: PLC0415  # the server that was asked for

    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    serving: Server = await serve(
        handle, "127.0.0.1", port, process_request=health, compression=None, ping_interval=None, backlog=4096
    )
    announce(serving.sockets[0].getsockname()[1])
    await serving.serve_forever()


def health(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/":
        return connection.respond(200, SMALL_PAGE.decode())
    return None


_rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def handle(connection: ServerConnection) -> None:
    from websockets.asyncio.server import broadcast as write_to_all  # noqa: PLC0415  # as above
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415  # as above

    topics = set()

    async def broadcast(topic: str, text: str) -> None:
        write_to_all(_rooms[topic], text)

    try:
        async for text in connection:
            topics.add(topic := json.loads(text)[2])
            _rooms[topic].add(connection)
            reply = await answer(text, broadcast)
            if reply is not None:
                await connection.send(reply)
    except ConnectionClosed:
        pass
    finally:
        for topic in topics:
            _rooms[topic].discard(connection)


if __name__ == "__main__":
    main()
