"""A real Redis for a test, on a Unix socket or a free port, in a directory of its own; it can be stopped and frozen."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Self

import pytest
import redis

from tests.live import WAIT

__all__ = ["RedisServer", "free_port", "move_slot", "redis_by_tls", "redis_cluster", "redis_sentinel", "until"]

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
_POLL = 0.02


def free_port() -> int:
    """Return a port that nothing listens on; its bus port, 10,000 above, must exist too."""
    while True:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port: int = taken.getsockname()[1]
        if port < 55_000:
            return port


class RedisServer:
    """A server with the options of redis.conf, started as a context manager; `url` leads to it."""

    def __init__(
        self, directory: Path, *options: str, port: int = 0, password: str = "", arguments: tuple[str, ...] = ()
    ) -> None:
        if PROGRAM is None:
            pytest.skip("redis-server is not installed")
        self.directory, self.port = directory, port
        self.socket = directory / "redis.sock"
        credentials = f":{password}@" if password else ""
        self.url = f"redis://{credentials}127.0.0.1:{port}" if port else f"unix://{credentials}{self.socket}"
        self._command = [
            PROGRAM,
            *arguments,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(directory),
        ]
        if not port:
            self._command += ["--unixsocket", str(self.socket)]
        if password:
            self._command += ["--requirepass", password]
        self._command += options
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; return when it accepts connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if "Ready to accept connections" in line or "Sentinel ID is" in line or "accept connections at" in line:
                return
        raise AssertionError(f"it did not start: {''.join(lines)}")

    def stop(self) -> None:
        """Kill it, as a machine that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=WAIT)
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str | int | bytes) -> Any:
        """Return the reply to a command."""
        with redis.Redis.from_url(self.url, socket_timeout=WAIT) as client:
            return client.execute_command(*command)


def until(condition: Any) -> None:
    """Return when a condition holds, which nothing reports."""
    for _ in range(int(WAIT / _POLL)):
        if condition():
            return
        Event().wait(_POLL)
    raise AssertionError(f"{condition} does not hold after {WAIT} s")


@contextmanager
def redis_by_tls(directory: Path) -> Iterator[str]:
    """Run a server that is reached by TLS; yield its URL."""
    key, certificate, port = directory / "key.pem", directory / "certificate.pem", free_port()
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-subj", "/CN=redis"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, "req", "-x509", "-nodes", *made, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT)  # noqa: S603  # our own
    files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    with RedisServer(directory, "--tls-port", str(port), "--tls-auth-clients", "no", *map(str, files)):
        yield f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}"


@contextmanager
def redis_cluster(directory: Path) -> Iterator[tuple[str, list[RedisServer]]]:
    """Run a cluster of three masters; yield its URL and its servers."""
    servers = []
    for number in range(3):
        home = directory / str(number)
        home.mkdir()
        options = (
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        )
        servers.append(RedisServer(home, *options, port=free_port()))
    try:
        for server in servers:
            server.start()
        bounds = [0, 5461, 10923, 16384]
        for server, first, last in zip(servers, bounds, bounds[1:], strict=False):
            server.ask("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            server.ask("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        for server in servers:
            until(lambda server=server: _knows_all(server))
        yield f"redis+cluster://127.0.0.1:{servers[0].port},127.0.0.1:{servers[1].port}", servers
    finally:
        for server in servers:
            server.stop()


def _knows_all(server: RedisServer) -> bool:
    info = server.ask("CLUSTER", "INFO")
    text = info.decode() if isinstance(info, bytes) else str(info)
    return "cluster_state:ok" in text.replace("'", "").replace(
        " ", ""
    ) and "cluster_slots_assigned:16384" in text.replace("'", "").replace(" ", "")


def move_slot(servers: list[RedisServer], channel: bytes) -> None:
    """Give the slot of a channel to the next server, without its keys."""
    slot = servers[0].ask("CLUSTER", "KEYSLOT", channel)
    ids = [server.ask("CLUSTER", "MYID") for server in servers]
    owner = 0 if slot < 5461 else 1 if slot < 10923 else 2
    target = (owner + 1) % 3
    if keys := servers[owner].ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        servers[owner].ask("DEL", *keys)
    # Only a server that imports a slot gets a newer epoch with it. Without one, what the old owner has told another server
    # just before may count as newer than the move.
    servers[target].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
    servers[owner].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    for server in (servers[target], servers[owner], servers[3 - owner - target]):
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target])


@contextmanager
def redis_sentinel(directory: Path) -> Iterator[tuple[str, list[RedisServer], RedisServer]]:
    """Run a master, a replica and a Sentinel; yield the URL, the two servers and the Sentinel."""
    homes = [directory / name for name in ("master", "replica", "sentinel")]
    for home in homes:
        home.mkdir()
    master = RedisServer(homes[0], port=free_port())
    replica = RedisServer(homes[1], "--replicaof", "127.0.0.1", str(master.port), port=free_port())
    configuration = homes[2] / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 3000\n"
    )
    sentinel = RedisServer(homes[2], port=free_port(), arguments=(str(configuration), "--sentinel"))
    with master, replica, sentinel:
        until(lambda: len(sentinel.ask("SENTINEL", "REPLICAS", "main")) == 1)
        yield f"redis+sentinel://127.0.0.1:{sentinel.port}/main", [master, replica], sentinel
