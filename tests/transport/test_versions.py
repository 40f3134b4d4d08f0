"""How the version of the serializer is negotiated (Phoenix.Socket's `:serializer` option; phoenix.js's `vsn`)."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import pytest

from actors import Broadcast, Channel, Frame, Message, Opcode, ok
from tests.transport.wire import UPGRADE, on_loop, serving
from transport import SERIALIZERS, Endpoint, Socket, SocketError, UnencodableError, V1JSONSerializer, V2JSONSerializer
from transport.protocol.versions import Versions

PHOENIX = Versions(SERIALIZERS)


@pytest.mark.parametrize("vsn", ["2.0.0", "2.0.9", "2.0.10", "2.0.0+build.5", "2.0.1-rc.1", "2.0.1-0.a-b.9+x"])
def test_any_2_0_is_version_2(vsn: str) -> None:
    assert isinstance(PHOENIX.negotiate(vsn), V2JSONSerializer)


@pytest.mark.parametrize("vsn", ["1.0.0", "1.0.7", "1.0.7-beta", "1.0." + "9" * 5000])
def test_any_1_0_is_version_1(vsn: str) -> None:
    assert isinstance(PHOENIX.negotiate(vsn), V1JSONSerializer)


NO_VERSIONS = (
    "",
    "2",
    "2.0",
    "2.0.",
    "02.0.0",
    "2.00.0",
    "2.0.00",
    "2.0.x",
    "2.0.0.0",
    "v2.0.0",
    "-2.0.0",
    "\uff12.0.0",
)
NOT_QUITE = (
    " 2.0.0",
    "2.0.0 ",
    "2.0.0\n",
    "~> 2.0.0",
    "2.0.0+",
    "2.0.0+a..b",
    "2.0.1-",
    "2.0.1-a..b",
    "2.0.1-01",
    "2.0.1-a_b",
)
OTHERS = ("2.1.0", "3.0.0", "0.0.0", "1.1.0")
# A pre-release of 2.0.0 comes before it, and one of 2.1.0 is no 2.0 any more.
PRE_RELEASES = ("2.0.0-rc.1", "1.0.0-0", "2.1.0-rc.1")


@pytest.mark.parametrize("vsn", NO_VERSIONS + NOT_QUITE + OTHERS + PRE_RELEASES, ids=ascii)
def test_any_other_version_has_no_serializer(vsn: str) -> None:
    assert PHOENIX.negotiate(vsn) is None


def test_a_serializer_speaks_from_its_own_version_on_and_the_first_that_fits_is_taken() -> None:
    old, new = V2JSONSerializer(), V2JSONSerializer()
    versions = Versions({"2.0.10": new, "2.0.9": old})
    assert versions.negotiate("2.0.8") is None
    assert versions.negotiate("2.0.9") is old
    assert versions.negotiate("2.0.10-rc.1") is old
    assert versions.negotiate("2.0.10") is versions.negotiate("2.0.11") is new


@pytest.mark.parametrize(
    ("serializers", "text"),
    [
        ({"3": V2JSONSerializer()}, "serializers must be named by full versions, such as \"3.0.0\", got '3'"),
        ({3: V2JSONSerializer()}, 'serializers must be named by full versions, such as "3.0.0", got 3'),
        (
            {"3.0.0": V2JSONSerializer},
            r"serializers\['3.0.0'\] must be a serializer, an object, not its class; got <class",
        ),
        ({"3.0.0": json}, r"must be a serializer, one with decode\(\) and .* and encode_broadcast\(\); got <module"),
    ],
)
def test_what_is_no_version_or_no_serializer_is_refused(serializers: Any, text: str) -> None:
    with pytest.raises(SocketError, match=text):
        Endpoint({}, serializers=serializers)


# Over a wire


class Room(Channel):
    def join(self, topic: str, payload: Any) -> Any:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "shout":
                self.broadcast("shout", payload)
            case "push":
                self.push("pushed", payload)
            case "echo":
                return ok(payload)
        return None


class AnySocket(Socket):
    channels: ClassVar = {"room:*": Room}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 101),
        ("?vsn=1.0.0", 101),
        ("?vsn=2.0.9", 101),
        ("?vsn=x&vsn=2.0.0", 101),
        ("?vsn=2.0.0&vsn=x", 403),
        ("?vsn=2", 403),
        ("?vsn=2.1.0", 403),
        ("?vsn=", 403),
        ("?vsn", 403),
        ("?vsn[]=2.0.0", 403),
        ("?vsn%5B%5D=2.0.0", 403),
        ("?vsn[a]=2.0.0", 403),
        ("?vsn=2.0.0&x=%ff", 400),
        ("?vsn=%ff", 400),
    ],
)
@on_loop
async def test_the_parameter_vsn_decides(query: str, status: int) -> None:
    async with serving(AnySocket) as server:
        tcp = await server.tcp()
        assert (await tcp.get(f"/socket/websocket{query}", *UPGRADE)).status == status


@on_loop
async def test_clients_of_both_versions_meet_in_a_topic() -> None:
    async with serving(AnySocket) as server:
        old, new = (await server.connect(vsn="1.0.0")).connection, await server.connect()
        await old.send(json.dumps({"topic": "room:a", "event": "phx_join", "payload": {}, "ref": "1"}))
        assert json.loads(await old.recv())["payload"]["status"] == "ok"
        join_ref = await new.join("room:a")
        # As Phoenix, version 1 does not care for the kind of the frame.
        await old.send(json.dumps({"topic": "room:a", "event": "shout", "payload": {"a": 1}, "ref": "2"}).encode())
        assert await new.recv() == [None, None, "room:a", "shout", {"a": 1}]
        assert json.loads(await old.recv()) == {"topic": "room:a", "event": "shout", "payload": {"a": 1}, "ref": None}
        await new.connection.send(b"\x00\x01\x01\x06\x0519room:ashout\x01\x02")
        assert await new.connection.recv() == b"\x02\x06\x05room:ashout\x01\x02"
        # The old client cannot get it; nobody is the worse for that.
        assert await new.ask(join_ref, "room:a", "echo", {"b": 2}) == {"b": 2}
        await old.send(json.dumps({"topic": "room:a", "event": "echo", "payload": {}, "ref": "3"}))
        assert json.loads(await old.recv())["ref"] == "3"


@on_loop
async def test_bytes_are_pushed_in_a_binary_frame() -> None:
    async with serving(AnySocket) as server:
        client = await server.connect()
        assert await client.join("room:a") == "1"
        await client.connection.send(b"\x00\x01\x01\x06\x0419room:apush\xff")
        assert await client.connection.recv() == b"\x00\x01\x06\x061room:apushed\xff"


@pytest.mark.parametrize("event", ["echo", "shout"])
@pytest.mark.parametrize("join_ref", ["", "7"])
@on_loop
async def test_a_binary_push_whose_join_ref_is_empty_or_another_is_stale(event: str, join_ref: str) -> None:
    async with serving(AnySocket) as server:
        client = await server.connect()
        await client.join("room:a")
        head = bytes((0, len(join_ref), 1, 6, len(event)))
        await client.connection.send(head + f"{join_ref}9room:a{event}".encode())
        await client.nothing_came()


@pytest.mark.parametrize("data", [b"\x01\x00\x00\x00\x00", b"\x00\x01", b'["1","2","room:a","phx_join",{}]', b""])
@on_loop
async def test_a_binary_message_that_is_none_closes_with_1011(data: bytes) -> None:
    async with serving(AnySocket) as server:
        client = await server.connect()
        await client.connection.send(data)
        assert await client.closed() == 1011


@on_loop
async def test_256_levels_are_echoed_and_one_more_closes_with_1011() -> None:
    levels = 255  # the message is a level of its own
    objects, arrays = '{"a":' * levels + "1" + "}" * levels, "[" * levels + "]" * levels
    async with serving(AnySocket) as server:
        for payload, topic in ((f"[{objects}]", '"room:a"'), ("{}", f"[{arrays}]")):
            client = await server.connect()
            await client.join("room:a")
            for event in ("echo", "shout"):
                await client.connection.send(f'["1","9","room:a","{event}",{objects}]')
                assert objects in str(await client.connection.recv())
            # A topic is mirrored too.
            await client.connection.send(f'["1","9",{arrays},"echo",{{}}]')
            assert arrays in str(await client.connection.recv())
            await client.connection.send(f'["1","9",{topic},"echo",{payload}]')
            assert await client.closed() == 1011


@on_loop
async def test_more_levels_than_any_stack_holds_close_with_1011() -> None:
    async with serving(AnySocket) as server:
        client = await server.connect()
        await client.join("room:a")
        await client.connection.send('["1","9","room:a","echo",' + "[" * 1_000_000)
        assert await client.closed() == 1011


class Shouting(V2JSONSerializer):
    """A version in which everything is said aloud."""

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Any) -> Frame:
        return Frame(Opcode.TEXT, bytes(super().encode_reply(join_ref, ref, topic, reply).data).upper())

    def decode(self, data: str | bytes) -> Message:
        return super().decode(data.lower())


@on_loop
async def test_an_endpoint_speaks_the_versions_that_it_is_given() -> None:
    async with serving(AnySocket, serializers={**SERIALIZERS, "3.0.0": Shouting()}) as server:
        loud, quiet = await server.connect(vsn="3.0.5"), await server.connect()
        await loud.connection.send('["A","B","ROOM:A","PHX_JOIN",{}]')
        assert await loud.recv() == ["A", "B", "ROOM:A", "PHX_REPLY", {"STATUS": "OK", "RESPONSE": {}}]
        await quiet.join("room:a")


class Pickled(V2JSONSerializer):
    """A version that knows complex numbers, and nothing of words that begin with an x."""

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        return self._written(broadcast.payload)

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Any) -> Frame:
        return self._written(reply.payload)

    @staticmethod
    def _written(payload: Any) -> Frame:
        text = repr(payload)
        if "'x" in text:
            raise ValueError("no word begins with an x")
        return Frame(Opcode.TEXT, text.encode())


@on_loop
async def test_what_a_serializer_of_the_application_cannot_encode_is_an_error_of_the_caller() -> None:
    async with serving(AnySocket, serializers={"3.0.0": Pickled()}) as server:
        endpoint = server.endpoint
        for call in (called, asyncio.to_thread):
            with pytest.raises(
                UnencodableError, match=r"^payload of 'e' on 'room:a' at \$\.a\[1\]: no word begins with an x$"
            ):
                await call(endpoint.broadcast, "room:a", "e", {"a": [1, "xylophone"]})
            await call(endpoint.broadcast, "room:a", "e", {"a": 1j})


async def called(function: Any, *args: Any) -> Any:
    return function(*args)
