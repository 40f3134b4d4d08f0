"""nginx or HAProxy in front of two processes of examples/balanced, with the files that stand there, on free ports."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from http.client import HTTPSConnection
from itertools import count
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import NamedTuple, Self

from websockets.asyncio.client import ClientConnection, connect

from tests.live import ROOT, WAIT
from tests.node import program
from tests.servers.redis_server import free_port, until

__all__ = ["EXAMPLE", "HOST", "Balancer", "Certificate", "Chat", "Pair"]

EXAMPLE = ROOT / "examples" / "balanced"
HOST = "chat.example.com"
SECRET = "of all processes, so that each knows the sessions of the others"  # noqa: S105  # a test's
CLIENT = "127.0.0.2"
"""Where clients are; the balancer, at 127.0.0.1, is a trusted proxy."""


class Certificate(NamedTuple):
    """A certificate of the host, signed by itself; `both` has the key and the certificate in one file."""

    key: Path
    chain: Path
    both: Path

    @classmethod
    def made_in(cls, directory: Path) -> Certificate:
        made = cls(directory / "key.pem", directory / "chain.pem", directory / "both.pem")
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-subj", f"/CN={HOST}"]
        names = ["-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1"]
        command = [program("openssl"), "req", "-x509", "-nodes", *kind, *names]
        files = ["-keyout", str(made.key), "-out", str(made.chain)]
        subprocess.run([*command, *files], check=True, capture_output=True, timeout=WAIT)  # noqa: S603  # our own
        made.both.write_text(made.key.read_text() + made.chain.read_text())
        return made


class Chat:
    """A process of chat.py, which is started, told to stop, and started again."""

    def __init__(self, port: int, redis: str) -> None:
        self.port = port
        self._variables = {"ASHTREE_REDIS_URL": redis, "ASHTREE_SECRET_KEY": SECRET, "PYTHONPATH": str(ROOT)}

    def start(self) -> None:
        """Start it; return when it is ready."""
        self._process = subprocess.Popen(  # noqa: S603  # our own
            [sys.executable, EXAMPLE / "chat.py", "--port", str(self.port)],
            env={**os.environ, **self._variables},
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        until(lambda: self._process.poll() is not None or _is_open(self.port))

    def stop(self) -> int:
        """Let it drain; return its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(WAIT)
        finally:
            self._process.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(WAIT)


class Pair:
    """Two processes, each with the URL of its Redis."""

    def __init__(self, redis: tuple[str, str]) -> None:
        self.chats = [Chat(free_port(), url) for url in redis]

    def __enter__(self) -> Self:
        for chat in self.chats:
            chat.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for chat in self.chats:
            chat.kill()

    @property
    def ports(self) -> tuple[int, int]:
        return self.chats[0].port, self.chats[1].port


def _is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=WAIT):
        return True
    return False


class Balancer:
    """A running balancer in front of two ports; further `changes` of its file are regular expressions."""

    def __init__(
        self, kind: str, directory: Path, ports: tuple[int, int], changes: Mapping[str, str] | None = None
    ) -> None:
        self.kind, self.directory = kind, directory
        self.certificate = Certificate.made_in(directory)
        self.plain, self.port = free_port(), free_port()
        self._changes = {**self._places(ports), **(changes or {})}
        self._output = directory / "output"

    def _places(self, ports: tuple[int, int]) -> dict[str, str]:
        key, chain, both = map(str, self.certificate)
        places = {r"127\.0\.0\.1:4001\b": f"127.0.0.1:{ports[0]}", r"127\.0\.0\.1:4002\b": f"127.0.0.1:{ports[1]}"}
        if self.kind == "haproxy":
            places |= {r"bind :80\b": f"bind 127.0.0.1:{self.plain}", r"bind :443\b": f"bind 127.0.0.1:{self.port}"}
            # As many files as a test may open.
            places |= {r"maxconn 100000": "maxconn 1000"}
            places |= {r"/etc/haproxy/chat\.pem": both, r"/run/haproxy/admin\.sock": f"{self.directory}/admin.sock"}
            return places if os.geteuid() == 0 else places | {r"    (user|group) haproxy\n": ""}
        temporary = "".join(f"{each}_temp_path {self.directory}/{each};\n" for each in _TEMPORARY)
        places |= {r"listen 80;": f"listen 127.0.0.1:{self.plain};", r"listen 443 ": f"listen 127.0.0.1:{self.port} "}
        places |= {r"/etc/ssl/chat/privkey\.pem": key, r"/etc/ssl/chat/fullchain\.pem": chain}
        return places | {r"/run/nginx\.pid": f"{self.directory}/nginx.pid", r"http \{\n": f"http {{\n{temporary}"}

    def file(self) -> Path:
        """Write its file, with the places of this test."""
        name = "haproxy.cfg" if self.kind == "haproxy" else "nginx.conf"
        text = (EXAMPLE / name).read_text()
        for pattern, new in self._changes.items():
            text, found = re.subn(pattern, new, text)
            assert found, f"{name} has no {pattern}"
        written = self.directory / name
        written.write_text(text)
        return written

    def __enter__(self) -> Self:
        command = {"haproxy": ["haproxy", "-W", "-f"], "nginx": ["nginx", "-g", "daemon off;", "-c"]}[self.kind]
        command[0] = _program(command[0])
        with self._output.open("w") as output:
            self._process = subprocess.Popen([*command, str(self.file())], stdout=output, stderr=STDOUT)  # noqa: S603
        until(lambda: self._process.poll() is not None or _is_open(self.port))
        assert self._process.poll() is None, self._output.read_text()
        return self

    def __exit__(self, *_exc: object) -> None:
        # At once; the old processes of a reload too.
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(WAIT)

    def reload(self) -> None:
        """Do what `systemctl reload` does; return when new processes have taken over."""
        before, looks = self._processes(), count()

        def is_over() -> bool:
            # HAProxy misses the signal while it starts, and does not say when it has.
            if next(looks) % 50 == 0:
                self._process.send_signal(signal.SIGUSR2 if self.kind == "haproxy" else signal.SIGHUP)
            return bool(self._processes() - before)

        until(is_over)

    def _processes(self) -> set[int]:
        parent = self._process.pid
        return {int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}

    @cached_property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate.chain)

    @asynccontextmanager
    async def websocket(self, **headers: str) -> AsyncIterator[ClientConnection]:
        """Connect to the socket, as a client elsewhere."""
        async with connect(
            f"wss://{HOST}/socket/websocket?vsn=2.0.0",
            additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
            ssl=self.tls,
            host="127.0.0.1",
            port=self.port,
            local_addr=(CLIENT, 0),
            proxy=None,
            # Members that do not listen are told of all that come and go.
            max_queue=None,
            open_timeout=WAIT,
            close_timeout=WAIT,
        ) as connection:
            yield connection

    def fetch(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        """Make a request on a connection of its own."""
        connection = HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=WAIT, source_address=(CLIENT, 0))
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Host": HOST, **named})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def _program(name: str) -> str:
    return program(name, f"/usr/sbin/{name}")
