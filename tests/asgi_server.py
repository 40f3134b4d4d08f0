"""Run an application on one of several servers, as a program that prints its address and ends with status 0."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
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


def uvicorn_without_lifespan(app: str, host: str, port: int) -> None:
    from uvicorn import run  # noqa: PLC0415  # as above

    signal.signal(signal.SIGTERM, lambda *_: None)
    run(load(app), host=host, port=port, lifespan="off", timeout_graceful_shutdown=5)


def daphne(app: str, host: str, port: int) -> None:
    """Run daphne, which is Django's own server for ASGI, and runs no lifespan."""
    from daphne.cli import CommandLineInterface  # noqa: PLC0415  # as above

    port = port or free_port()
    Thread(target=announce, args=(host, port), daemon=True).start()
    CommandLineInterface().run(["-b", host, "-p", str(port), app])


def gunicorn(worker: str, app: str, host: str, port: int) -> None:
    """Run gunicorn, which prints its address."""
    from gunicorn.app.wsgiapp import run  # noqa: PLC0415  # as above

    bind = f"{host}:{port or free_port()}"
    sys.argv[1:] = ["--bind", bind, "--worker-class", worker, "--no-control-socket", app]
    run()


def flask(*options: str) -> Callable[[str, str, int], None]:
    """Return what runs Flask's own server, which prints its address, and does not handle SIGTERM."""

    def run(app: str, host: str, port: int) -> None:
        from flask.cli import cli  # noqa: PLC0415  # as above

        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        cli.main(["--app", app, *options, "run", "--host", host, "--port", str(port)])

    return run


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


SERVERS: dict[str, Callable[[str, str, int], None]] = {
    "daphne": daphne,
    "flask": flask(),
    "flask-reloader": flask("--debug"),
    "granian": granian,
    "gunicorn": partial(gunicorn, "asgi"),
    "gunicorn-threads": partial(gunicorn, "gthread"),
    "hypercorn": hypercorn,
    "uvicorn": uvicorn,
    "uvicorn-without-lifespan": uvicorn_without_lifespan,
}


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
