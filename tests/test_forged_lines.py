"""What clients choose forges no line of the log, commands no terminal, and does not fill the disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import msgspec
import pytest

from actors import Channel, error, ok
from actors.runtime.report import last_crashes
from supervisors.observer.commands import Commands
from tests.transport.wire import HANDSHAKE, masked, on_loop, serving, until
from transport import Socket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.transport.wire import Server

# A line end of every kind, ESC and its 8-bit form, NUL, a bell, changes of direction, an invisible space.
SIGNS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\x1b[2J\x9b31m\x00\x07\x08\x7f\u202e\u2066\u200b\ufeff"
FORGED = f"{SIGNS}2030-01-01 00:00:00 CRITICAL forged{SIGNS}"
# Characters of the longest record that there may be: a report, with the last messages and a traceback.
LONGEST = 20_000


class Chosen(msgspec.Struct):
    number: int


class Room(Channel):
    payloads: ClassVar[Mapping[str, Any]] = {"typed": Chosen}
    record = 5

    def join(self, topic: str, payload: Any) -> Any:
        match payload:
            case {"refuse": reason}:
                return error({"reason": reason})
            case {"crash": text}:
                raise ValueError(text)
        return ok()

    async def later(self, text: str) -> None:
        raise LookupError(text)

    def handle_in(self, event: str, payload: Any) -> Any:  # a case for each way
        match event:
            case "quote":
                raise ValueError(payload["text"])
            case "key":
                raise KeyError(payload["text"])
            case "chain":
                cause = ValueError(payload["text"])
                cause.add_note(payload["text"])
                raise ExceptionGroup(payload["text"], [cause, RuntimeError(payload["text"])]) from cause
            case "syntax":
                compile(payload["text"], payload["text"], "exec")
            case "later":
                return self.later(payload["text"])
            case "send":
                self.send_after(0, payload["text"])
                return ok()
            case "answer":
                return payload["text"]
            case "push":
                self.push(payload["text"], {"value": object(), payload["text"]: 1})
            case _:
                return super().handle_in(event, payload)
        return None


class Quoting(Socket):
    channels: ClassVar[Mapping[str, Any]] = {"room:*": Room}

    def connect(self, params: Any, connect_info: Any) -> Any:
        self.assigns.update(params, agent=connect_info.user_agent)
        if "raise" in params:
            raise ValueError(params["raise"])
        return error() if "refuse" in params else ok()

    def id(self) -> str | None:
        return self.assigns.get("user")


class Lines(logging.Handler):
    """Keeps each record as a file would have it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))

    def check(self) -> None:
        assert self.records
        for record in self.records:
            assert len(record) < LONGEST
            check(record)


def check(text: str) -> None:
    """Check that a text is printable, and that only indented lines begin with what a client chose."""
    for line in text.split("\n"):
        assert line.isprintable(), line
        assert not line.startswith(("2030", "forged")), text


@contextmanager
def logged() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    ours = logging.getLogger("ashtree")
    level = ours.level
    ours.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        ours.setLevel(level)


async def say(server: Server, topic: str, event: str, payload: Any, **params: str) -> None:
    """Join a topic and push one event."""
    client = await server.connect(**params)
    await client.send("1", "1", topic, "phx_join", {})
    await client.recv()
    await client.send("1", FORGED, topic, event, payload)
    # What comes next is the reply or the error; a heartbeat comes back in any case.
    await client.send(None, "beat", "phoenix", "heartbeat", {})
    while (await client.recv())[1] != "beat":
        pass
    await client.close()


@pytest.mark.parametrize(
    "event", ["quote", "key", "chain", "syntax", "later", "send", "answer", "push", "typed", FORGED]
)
@on_loop
async def test_what_a_message_says_forges_nothing(event: str) -> None:
    with logged() as lines:
        async with serving(Quoting) as server:
            await say(server, f"room:{FORGED}", event, {"text": FORGED, FORGED: [FORGED], "number": FORGED})
            await until(lambda: any("room:" in record for record in lines.records))
    lines.check()
    for report in last_crashes():
        check(str(report))
        check(repr(report))


@pytest.mark.parametrize(
    "message",
    [
        ["1", "1", FORGED, "phx_join", {}],
        ["1", "1", {FORGED: 1}, "phx_join", {}],
        ["1", "1", f"room:{FORGED}", "phx_join", {"refuse": FORGED}],
        ["1", "1", f"room:{FORGED}", "phx_join", {"crash": FORGED}],
        ["1", "1", f"room:{FORGED}", FORGED, {}],
        [FORGED, FORGED, FORGED, FORGED, FORGED],
        FORGED,
    ],
)
@on_loop
async def test_what_a_join_says_forges_nothing(message: Any) -> None:
    with logged() as lines:
        async with serving(Quoting) as server:
            client = await server.connect()
            await client.connection.send(message if isinstance(message, str) else json.dumps(message))
            if isinstance(message, list) and isinstance(message[2], str):
                await client.recv()
                await client.close()
            else:
                await client.closed()
    lines.check()


@pytest.mark.parametrize("name", ["user", "vsn", "raise", "refuse", FORGED])
@on_loop
async def test_what_a_request_says_forges_nothing(name: str) -> None:
    hostile = quote(FORGED)
    head = HANDSHAKE.replace("vsn=2.0.0", f"vsn=2.0.0&{quote(name)}={hostile}")
    # Headers may have the control characters of Latin-1.
    sent = [
        head.replace("Host:", "User-Agent: \x85\x9b2Jforged\r\nHost:"),
        head.replace("Host: localhost", "Origin: https://\x85\x9b2Jforged\r\nHost: localhost"),
        head.replace("/socket/websocket", f"/{hostile}/\x9b"),
        head.replace("/websocket", "/longpoll"),
        head.replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: \x9b"),
        head.replace("Upgrade: websocket", "Upgrade: \x85\x9b"),
    ]
    with logged() as lines:
        async with serving(Quoting, check_origin=["//localhost"]) as server:
            for text in sent:
                tcp = await server.tcp()
                await tcp.send(text.encode("latin-1"))
                await tcp.answer()
                await tcp.close()
    lines.check()


@on_loop
async def test_what_a_close_says_forges_nothing() -> None:
    with logged() as lines:
        async with serving(Quoting) as server:
            tcp = await server.tcp()
            await tcp.send(HANDSHAKE)
            await tcp.answer()
            await tcp.send(masked(0x88, (4000).to_bytes(2, "big") + "\n\x1b[2Jforged\u202e".encode()))
            await tcp.ended()
    lines.check()


@on_loop
async def test_the_tables_of_a_prompt_show_no_more() -> None:
    async with serving(Quoting) as server:
        client = await server.connect(user=FORGED)
        await client.join(f"room:{FORGED}")
        out = StringIO()
        shows = Commands(server.system, out)
        [channel], [socket] = shows.channels(), shows.sockets()
        rows = [shows.tree(), shows.ps(most=None), shows.sockets(), shows.channels(), shows.topics()]
        of_one = [show(each.ref) for show in (shows.info, shows.state) for each in (channel, socket)]
        shows.trace(channel.ref)
        await client.send("1", "2", f"room:{FORGED}", FORGED, {FORGED: FORGED})
        await client.recv()
        for text in [*map(repr, [*rows, *of_one]), out.getvalue()]:
            assert text
            check(text)
        await client.close()


@on_loop
async def test_the_log_of_large_messages_is_small() -> None:
    # 7.5 MB each.
    large = {"text": "\u202e" * 2_500_000}
    with logged() as lines:
        async with serving(Quoting) as server:
            client = await server.connect()
            for number in range(5):
                topic = f"room:{number}"
                await client.connection.send(json.dumps(["1", "1", topic, "phx_join", large], ensure_ascii=False))
                assert (await client.recv())[3] == "phx_reply"
                await client.connection.send(json.dumps(["1", "2", topic, "quote", large], ensure_ascii=False))
                assert (await client.recv())[3] == "phx_error"
            await client.close()
    lines.check()
    assert sum(map(len, lines.records)) < 10 * LONGEST
