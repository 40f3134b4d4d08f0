"""Recorded conversations with a Phoenix server, and a player that holds them with ours (format: golden/README.md)."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import UNSET, UnsetType
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.live import WAIT

if TYPE_CHECKING:
    from pathlib import Path

NO_CLOSE_FRAME = (1006, "")


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a transcript; its first field's name says which kind."""


class Header(Step):
    transcript: str
    recorded: str
    without: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()


class Note(Step):
    note: str


class Connect(Step):
    connect: str
    path: str
    headers: dict[str, str] = {}
    status: int = 101
    body: str | None = None


class Http(Step):
    http: str
    path: str
    headers: dict[str, str] = {}
    content: str | None = None
    status: int = 200
    body: str | None = None


class Message(Step, kw_only=True):
    frame: Any = UNSET
    text: str | UnsetType = UNSET
    binary: str | UnsetType = UNSET

    @property
    def is_frame(self) -> bool:
        """Whether it is compared as a value."""
        return self.frame is not UNSET

    @property
    def data(self) -> str | bytes:
        """What goes over the wire."""
        if self.binary is not UNSET:
            return bytes.fromhex(self.binary)
        return compact(self.frame) if self.text is UNSET else self.text


class Send(Message):
    send: str


class Receive(Message):
    receive: str
    after: dict[str, float] = {}


class Silence(Step):
    silence: str
    topic: str | None = None
    join_ref: Any = None


class Ping(Step):
    ping: str


class Close(Step):
    close: str
    code: int = 1000
    reason: str = ""


class Closed(Step):
    closed: str
    code: int
    reason: str = ""


class Mark(Step):
    mark: str


KINDS: dict[str, type[Step]] = {
    "transcript": Header,
    "note": Note,
    "connect": Connect,
    "http": Http,
    "send": Send,
    "receive": Receive,
    "silence": Silence,
    "ping": Ping,
    "close": Close,
    "closed": Closed,
    "mark": Mark,
}


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def read_step(line: str) -> Step:
    """Return the step a line holds, or raise naming what it may not hold."""
    raw = json.loads(line)
    kind = next(iter(raw))
    if kind not in KINDS:
        raise ValueError(f"expected one of {', '.join(KINDS)} first, got {kind!r}")
    return msgspec.convert(raw, KINDS[kind])


def read_transcript(path: Path) -> list[Step]:
    return [read_step(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


class Bindings:
    """What the placeholders of a transcript have stood for so far."""

    def __init__(self) -> None:
        self.values: dict[str, str | int] = {}

    def match(self, expected: object, got: object) -> bool:
        match expected:
            case dict() if "$bind" in expected or "$same" in expected:
                # To Python True is an integer.
                return type(got) in (str, int) and self._stands_for(expected, got)
            case dict():
                return isinstance(got, dict) and self._match_members(expected, got)
            case list():
                return isinstance(got, list) and self._match_items(expected, got)
            case _:
                # As texts, because to Python 1, 1.0 and True are equal; on the wire they are not.
                return compact(expected) == compact(got)

    def _match_members(self, expected: dict[str, object], got: dict[str, object]) -> bool:
        return expected.keys() == got.keys() and all(self.match(expected[key], got[key]) for key in expected)

    def _match_items(self, expected: list[object], got: list[object]) -> bool:
        return len(expected) == len(got) and all(map(self.match, expected, got))

    def _stands_for(self, placeholder: dict[str, Any], got: object) -> bool:
        if got in [self.values[name] for name in placeholder.get("$other", [])]:
            return False
        if "$same" in placeholder:
            return got == self.values[placeholder["$same"]]
        return got == self.values.setdefault(placeholder["$bind"], cast("str | int", got))


async def replay(steps: list[Step], address: str, player_class: type[Player] | None = None) -> None:
    """Hold the conversation with the server at `address`; an error names the step it came at.

    After the last step every connection not seen closing must be open still, with nothing more to read.
    """
    async with AsyncExitStack() as stack:
        player = (player_class or Player)(address, stack)
        for number, step in enumerate(steps, start=1):
            await play_one(player, step, f"at line {number}")
        for name in sorted(player.open):
            await play_one(player, Silence(name), "after the last line")
        await player.see_silence()


async def play_one(player: Player, step: Step, where: str) -> None:
    try:
        async with asyncio.timeout(WAIT):
            await player.play(step)
    except Exception as error:
        error.add_note(f"{where}: {step}")
        raise


class Player:
    """Plays steps over real WebSockets, one after another."""

    def __init__(self, address: str, stack: AsyncExitStack) -> None:
        self.address = address
        self.stack = stack
        self.without: tuple[str, ...] = ()
        self.bindings = Bindings()
        self.marks: dict[str, float] = {}
        self.connections: dict[str, ClientConnection] = {}
        self.open: set[str] = set()
        self.version_1: set[str] = set()

    async def play(self, step: Step) -> None:
        match step:
            case Header():
                self.without = step.without
            case Mark():
                self.marks[step.mark] = asyncio.get_running_loop().time()
            case Http():
                await self.request(step)
            case _:
                await self.converse(step)

    async def see_silence(self) -> None:
        """See that nothing is on its way by other means than these connections."""

    async def converse(self, step: Step) -> None:
        match step:
            case Connect():
                await self.connect(step)
            case Send():
                await self.connections[step.send].send(step.data)
            case Receive():
                await self.receive(step)
            case Silence():
                await self.prove_silence(step)
            case Ping():
                await (await self.connections[step.ping].ping())
            case Close():
                self.open.remove(step.close)
                await self.connections[step.close].close(step.code, step.reason)
            case Closed():
                await self.see_closed(step)

    async def request(self, step: Http) -> None:
        status, body = await asyncio.to_thread(fetch, self.address, step)
        assert status == step.status, f"expected status {step.status}, got {status}: {body}"
        assert step.body in (None, body), f"expected body {step.body!r}, got {body!r}"

    async def connect(self, step: Connect) -> None:
        assert step.connect not in self.connections, f"{step.connect} is connected already"
        opening = connect(
            self.address.replace("http:", "ws:", 1) + step.path,
            additional_headers=step.headers,
            compression=None,
            proxy=None,
            ping_interval=None,
            max_size=None,
        )
        try:
            connection = await self.stack.enter_async_context(opening)
        except InvalidStatus as refused:
            self.see_refused(step, refused)
            return
        assert step.status == 101, f"expected status {step.status}, got 101"
        self.connections[step.connect] = connection
        self.open.add(step.connect)
        if speaks_version_1(step.path):
            self.version_1.add(step.connect)

    def see_refused(self, step: Connect, refused: InvalidStatus) -> None:
        status, body = refused.response.status_code, (refused.response.body or b"").decode()
        assert status == step.status, f"expected status {step.status}, got {status}: {body}"
        assert step.body in (None, body), f"expected body {step.body!r}, got {body!r}"

    async def receive(self, step: Receive) -> None:
        got = await self.next_message(step.receive)
        if not step.is_frame:
            assert got == step.data, f"expected {step.data!r}, got {got!r}"
        else:
            assert isinstance(got, str), f"expected {compact(step.frame)}, got {got!r}"
            assert self.bindings.match(step.frame, json.loads(got)), f"expected {compact(step.frame)}, got {got}"
        for mark, seconds in step.after.items():
            passed = asyncio.get_running_loop().time() - self.marks[mark]
            assert passed >= seconds, f"expected not before {seconds} s after {mark}, got it after {passed:.3f} s"

    async def next_message(self, name: str) -> str | bytes:
        """Return the next message but those the transcript is recorded without."""
        while True:
            got = await self.connections[name].recv()
            if isinstance(got, bytes) or event_of(got) not in self.without:
                return got

    async def prove_silence(self, step: Silence) -> None:
        """See that nothing is on its way: what is asked for now is what comes next.

        A heartbeat's reply is the transport's own. With a topic, an echo goes before it through the channel, which
        then has dealt with all that was sent to it earlier.
        """
        if step.topic is not None:
            await self.ask(step.silence, step.join_ref, step.topic, "echo")
        await self.ask(step.silence, None, "phoenix", "heartbeat")

    async def ask(self, name: str, join_ref: object, topic: str, event: str) -> None:
        reply = {"status": "ok", "response": {}}
        for kind, said, payload in ((Send, event, {}), (Receive, "phx_reply", reply)):
            frame: object = [join_ref, "barrier", topic, said, payload]
            if name in self.version_1:
                frame = {"topic": topic, "event": said, "payload": payload, "ref": "barrier"}
            await self.play(kind(name, frame=frame))

    async def see_closed(self, step: Closed) -> None:
        self.open.discard(step.closed)
        try:
            got = await self.next_message(step.closed)
        except ConnectionClosed as closed:
            end = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else NO_CLOSE_FRAME
            assert end == (step.code, step.reason), f"expected {step.closed} closed with {step.code}, got {end}"
        else:
            raise AssertionError(f"expected {step.closed} closed with {step.code}, got {got!r}")


def speaks_version_1(path: str) -> bool:
    """Tell which version a client chose by its path; without a word it is the first."""
    return parse_qs(urlsplit(path).query).get("vsn", ["1.0.0"])[-1].startswith("1.")


def event_of(text: str) -> object:
    """Return a frame's event, in V2's array as in V1's object."""
    match json.loads(text):
        case [_, _, _, event, *_] | {"event": event}:
            return event
        case _:
            return None


def fetch(address: str, step: Http) -> tuple[int, str]:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=WAIT)
    try:
        connection.request(step.http, step.path, body=step.content, headers=step.headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
