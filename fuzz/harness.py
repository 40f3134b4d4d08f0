"""Coverage-guided fuzzing of everything that reads what clients write; see README.md beside it.

python fuzz/harness.py v2 /tmp/corpus fuzz/corpus/v2 -max_total_time=120
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

with atheris.instrument_imports(include=["actors", "transport"]):
    from actors.channels.message import Message, ok
    from actors.testing import ManualRuntime
    from transport.access.proxies import Proxies
    from transport.carriers.batch import NDJSON, read_batch
    from transport.exceptions import MalformedMessageError, UnencodableError
    from transport.http.exchange import Answer, Incoming, respond
    from transport.http.http_connection import HttpConnection
    from transport.http.http_connections import HttpConnections
    from transport.limits import Limits
    from transport.mount import read_params
    from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer
    from transport.protocol.versions import Versions

Serializer = V1JSONSerializer | V2JSONSerializer

V1, V2 = V1JSONSerializer(), V2JSONSerializer()
VERSIONS = Versions({"1.0.0": V1, "2.0.0": V2})


def read(serializer: Serializer, data: str | bytes) -> None:
    """A message or MalformedMessageError; and what could be read can be mirrored, and is then read as the same."""
    try:
        message = serializer.decode(data)
    except MalformedMessageError:
        return
    mirror(serializer, message)


def mirror(serializer: Serializer, message: Message) -> None:
    try:
        frame = serializer.encode_reply(message.join_ref, message.ref, message.topic, ok(message.payload))
    except (UnencodableError, RecursionError):
        return  # fields of over 255 bytes, and what was nested just not too deep
    if isinstance(message.payload, bytes):
        assert frame.data.endswith(message.payload)
        return
    again = serializer.decode(frame.data.decode())
    assert repr(again.payload["response"]) == repr(message.payload), (again, message)
    assert repr((again.topic, again.ref)) == repr((message.topic, message.ref)), (again, message)


def v1(data: bytes) -> None:
    read(V1, data.decode(errors="surrogateescape"))
    read(V1, data)


def v2(data: bytes) -> None:
    read(V2, data.decode(errors="surrogateescape"))


def binary(data: bytes) -> None:
    read(V2, data)


def batch(data: bytes) -> None:
    for content_types in ([NDJSON], ["application/json"]):
        try:
            messages = read_batch(data, content_types)
        except MalformedMessageError:
            continue
        assert 1 <= len(messages) <= 100
        for message in messages:
            read(V2, message)


class Wire(asyncio.Transport):
    """The client's end of a TCP connection: it keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write_eof(self) -> None:
        pass

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing


class Answering:
    """What an endpoint and its long polling read in a request, without a tree."""

    limits, proxies = Limits(), Proxies()

    def handle(self, incoming: Incoming) -> Answer:
        params = read_params(incoming.request.path)
        if params is None:
            return respond(400)
        VERSIONS.negotiate(params.get("vsn", "1.0.0"))
        try:
            read_batch(incoming.body, incoming.request.headers.get_all("content-type"))
        except MalformedMessageError as error:
            return respond(400, str(error))
        return respond(200, incoming.body)

    def admit(self, incoming: Incoming) -> int:
        return len(incoming.request.path) * 100_000

    def reached(self, limit: str) -> None:
        pass


def http(data: bytes) -> None:
    """What comes in one piece or in two is answered alike, and what answers it is HTTP."""
    cut = data[0] if data else 0
    whole, split = exchange([data[1:]]), exchange([data[1 : 1 + cut], data[1 + cut :]])
    assert whole == split, (whole, split)
    assert all(each.startswith(b"HTTP/1.1 ") for each in whole)


def exchange(pieces: list[bytes]) -> list[bytes]:
    with ManualRuntime() as runtime:
        wire, scheduler = Wire(), runtime._scheduler  # noqa: SLF001  # there is no other way to one without a thread
        connection = HttpConnection(Answering(), scheduler, HttpConnections())
        connection.connection_made(wire)
        for piece in pieces:
            if piece and not wire.closing:
                connection.data_received(piece)
        runtime.settle()
        connection.connection_lost(None)
        return [each.split(b"\r\n")[0] for each in wire.written]


TARGETS: dict[str, Callable[[bytes], None]] = {"v1": v1, "v2": v2, "binary": binary, "batch": batch, "http": http}


def main() -> None:
    """Fuzz the target that is named first; the rest is for libFuzzer."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
