"""Run an ASGI application on one of three servers, as a program that prints its address and ends with status 0."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import socket
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def uvicorn(app: str, host: str, port: int) -> None:
    from uvicorn import run  # noqa: PLC0415  # the one that is wanted

    # It raises the signal again when all is over.
    signal.signal(signal.SIGTERM, lambda *_: None)
    run(load(app), host=host, port=port, timeout_graceful_shutdown=5)


def hypercorn(app: str, host: str, port: int) -> None:
    from hypercorn import Config  # noqa: PLC0415  # as above
    from hypercorn.asyncio import serve  # noqa: PLC0415  # as above

    config = Config()
    config.bind = [f"{host}:{port}"]
    config.accesslog = None
    asyncio.run(serve(load(app), config))


def granian(app: str, host: str, port: int) -> None:
    from granian import Granian  # noqa: PLC0415  # as above
    from granian.constants import Interfaces  # noqa: PLC0415  # as above

    # It takes the package around the current directory for that of the application.
    os.chdir(ROOT)
    port = port or free_port()
    server = Granian(app, address=host, port=port, interface=Interfaces.ASGI, websockets=True, log_enabled=False)
    Thread(target=announce, args=(host, port), daemon=True).start()
    server.serve()


def announce(host: str, port: int) -> None:
    """Print the address when it can be reached, which the main process of granian is not told."""
    with socket.socket() as probe:
        while probe.connect_ex((host, port)):
            Event().wait(0.05)
    print(f"http://{host}:{port}", flush=True)  # noqa: T201  # for whoever has started it


SERVERS = {"uvicorn": uvicorn, "hypercorn": hypercorn, "granian": granian}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--server", choices=SERVERS, default="uvicorn")
    parser.add_argument("--app", default="tests.asgi_demo:app")
    options = parser.parse_args()
    SERVERS[options.server](options.app, options.host, options.port)


if __name__ == "__main__":
    main()
