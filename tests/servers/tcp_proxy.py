"""A TCP proxy between two programs of a test: the network between them may be cut, or what is on it changed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.live import WAIT

__all__ = ["TCPProxy"]


class TCPProxy:
    """Passes on what comes to `port`, to the port `target` of this machine and back; a context manager.

    `to_target` and `to_client` may change what is passed on, a piece as it was received.
    """

    def __init__(
        self,
        target: int,
        to_target: Callable[[bytes], bytes] | None = None,
        to_client: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._target, self._to_target, self._to_client = target, to_target, to_client
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listening.close()
        self.heal()
        for each in self._sockets:
            each.close()

    def cut(self) -> None:
        """Pass nothing on; connections stay open, and neither side is told."""
        self._passes.clear()

    def heal(self) -> None:
        """Pass on again, what was held back first."""
        self._passes.set()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listening.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for pair in ((client, server, self._to_target), (server, client, self._to_client)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes] | None) -> None:
        try:
            while data := source.recv(65536):
                if not self._passes.wait(4 * WAIT):
                    break
                sink.sendall(change(data) if change else data)
        except OSError:
            pass
        sink.close()
