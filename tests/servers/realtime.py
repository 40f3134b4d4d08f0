"""A server for the stock client of Supabase Realtime, as far as its channels are Phoenix's: broadcast and presence.

It is a program of its own, as the demo is: `python tests/servers/realtime.py --port 4000`. The client's version 2.0.0 adds
two kinds of binary messages to Phoenix's; the serializer for them is written here, as an application would.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from actors import Broadcast, Channel, Frame, Message, Opcode, Presence, Reply, ok
from supervisors import System
from transport import SERIALIZERS, Endpoint, MalformedMessageError, Socket
from transport.protocol.serializer import V2JSONSerializer

USER_BROADCAST_PUSH, USER_BROADCAST = 3, 4
BINARY, JSON = 0, 1

presence = Presence()


class RealtimeSerializer(V2JSONSerializer):
    """Version 2.0.0 with Supabase's user broadcasts, which have the event of the user in the head of a binary frame."""

    def decode(self, data: str | bytes) -> Message:
        if isinstance(data, bytes) and data[:1] == bytes([USER_BROADCAST_PUSH]):
            return user_broadcast_push(data)
        return super().decode(data)

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        payload = broadcast.payload
        if broadcast.event == "broadcast" and isinstance(payload["payload"], bytes):
            return Frame(Opcode.BINARY, user_broadcast(broadcast.topic, payload["event"], payload["payload"]))
        return super().encode_broadcast(broadcast)


def user_broadcast_push(data: bytes) -> Message:
    """Read `3 | sizes of join_ref, ref, topic, event, metadata | encoding`, the fields, and the payload."""
    try:
        sizes, encoding = data[1:6], data[6]
        fields, at = [], 7
        for size in sizes:
            fields.append(data[at : at + size].decode())
            at += size
        payload = msgspec.json.decode(data[at:]) if encoding == JSON else data[at:]
    except (IndexError, ValueError) as error:
        raise MalformedMessageError(f"no user broadcast: {error}") from error
    join_ref, ref, topic, event, _metadata = fields
    return Message(join_ref, ref, topic, "broadcast", {"type": "broadcast", "event": event, "payload": payload})


def user_broadcast(topic: str, event: str, payload: bytes) -> bytes:
    """Write `4 | sizes of topic, event, metadata | encoding`, the fields, and the payload."""
    fields = [topic.encode(), event.encode(), b""]
    return b"".join([bytes([USER_BROADCAST, *map(len, fields), BINARY]), *fields, payload])


class RealtimeChannel(Channel):
    """What Supabase's client asks of a topic: broadcast to the others or to all, acknowledged or not, and presence."""

    def join(self, topic: str, payload: Any) -> Reply:
        if topic.endswith(":private"):
            return Reply("error", {"reason": "Unauthorized"})
        config = payload["config"]
        self.assigns["broadcast"] = config["broadcast"]
        self.assigns["key"] = config["presence"]["key"] or str(self.join_ref)
        self.send(self, "after_join")
        return ok({"postgres_changes": []})

    def handle_info(self, message: Any) -> None:
        self.push("presence_state", presence.list(self.topic))

    def handle_in(self, event: str, payload: Any) -> Reply | None:
        match event, payload:
            case "broadcast", _:
                return self._broadcast(payload)
            case "presence", {"event": "track", "payload": meta}:
                presence.track(self, self.assigns["key"], meta)
                return ok()
            case "presence", {"event": "untrack"}:
                presence.untrack(self, self.assigns["key"])
                return ok()
        return super().handle_in(event, payload)

    def handle_token(self) -> None:
        message = f"the token is {self.assigns['token']}"
        self.push("system", {"extension": "system", "status": "ok", "message": message})

    def _broadcast(self, payload: Any) -> Reply | None:
        options = self.assigns["broadcast"]
        send = self.broadcast if options.get("self") else self.broadcast_from
        send("broadcast", payload)
        return ok() if options.get("ack") else None


class RealtimeSocket(Socket):
    channels = {"realtime:*": RealtimeChannel}  # noqa: RUF012  # as an author writes it

    def handle_token(self, token: str) -> Reply:
        self.assigns["token"] = token
        return ok()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4000, help="0 takes a free one")
    options = parser.parse_args()
    serializers = {**SERIALIZERS, "2.0.0": RealtimeSerializer()}
    endpoint = Endpoint({"/realtime": RealtimeSocket}, host=options.host, port=options.port, serializers=serializers)
    System([presence, endpoint]).run(lambda _: print(endpoint.url, flush=True))  # noqa: T201  # it prints its address


if __name__ == "__main__":
    main()
