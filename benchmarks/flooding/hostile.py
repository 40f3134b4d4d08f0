"""The floods: what one hostile or slow client sends, and what it must be answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import repeat
from typing import NamedTuple, Protocol
from urllib.parse import quote

from flooding.raw_client import CONTINUATION, LAST, PING, TEXT, RawClient, frame, join, message

ALL = frozenset({"ashtree", "ashtree-asgi", "websockets", "uvicorn"})
HTTP = ALL - {"websockets"}
OURS = frozenset({"ashtree", "ashtree-asgi"})

TOPIC = "flood:1"
ECHO = frame(TEXT, b'["1","7","flood:1","echo",{"a":1}]')
"""34 bytes of text."""
HEARTBEAT = frame(TEXT, b'[null,"1","phoenix","heartbeat",{}]')
"""As long, for the transport actor."""
SHOUT = message("1", None, TOPIC, "shout", {})
MEGABYTE = "x" * 1_000_000
END = message("1", json.loads(LAST), TOPIC, "echo", {})


class Audience(Protocol):
    """Clients of another process."""

    def leave(self) -> dict[str, object]:
        """End it; return what it has seen."""


class Stage(Protocol):
    """The server that is flooded, and the clients that play."""

    scale: float
    """How much of each flood: 1 for all of it."""

    def client(self) -> RawClient:
        """Open a connection, which is closed when all has been measured."""

    def audience(self, count: int, topic: str, mode: str) -> Audience:
        """Let so many clients join, which read or stall."""

    def measured(self) -> AbstractContextManager[None]:
        """Measure the server and the neighbour inside a block."""

    def files(self) -> int:
        """Count the open files of the server."""

    def stop_for(self, seconds: float) -> None:
        """Let the server stand still."""

    def log_lines(self) -> int:
        """Count the lines that the server has logged."""


class Seen(NamedTuple):
    """What a hostile client has seen, and whether that is what it should see."""

    text: str
    held: bool = True


class Flood(NamedTuple):
    """One flood.

    `servers` are those that can do this work at all. The marks: `growth` in megabytes, `timed` whether the neighbour's times
    count, `cpu` in seconds. The server runs with `files` open files at most, and `idle` as its `idle_timeout`.
    """

    title: str
    play: Callable[[Stage], Seen]
    servers: frozenset[str] = ALL
    growth: float = 40.0
    timed: bool = True
    cpu: float | None = None
    files: int | None = None
    idle: float | None = None


FLOODS: dict[str, Flood] = {}


def flood(
    title: str,
    servers: frozenset[str] = ALL,
    *,
    growth: float = 40.0,
    timed: bool = True,
    cpu: float | None = None,
    files: int | None = None,
    idle: float | None = None,
) -> Callable[[Callable[[Stage], Seen]], Callable[[Stage], Seen]]:
    """Add a function to the floods, under its name."""

    def add(play: Callable[[Stage], Seen]) -> Callable[[Stage], Seen]:
        FLOODS[play.__name__] = Flood(title, play, servers, growth, timed, cpu, files, idle)
        return play

    return add


# What is written in a table


def outcome(client: RawClient, *, answered: bool = False) -> Seen:
    """Say how it went: closed, all answered, or read so far and no further."""
    megabytes = f"{client.sent / 1e6:,.1f} MB taken"
    if client.ended is not None:
        return Seen(f"{megabytes}, {_ending(client.ended)}")
    if answered:
        return Seen("all answered")
    return Seen(f"{megabytes}, not answered" if client.all_sent else f"{megabytes}, then paused")


def _ending(ended: int | str) -> str:
    return f"closed with {ended}" if isinstance(ended, int) else ended


def status_of(client: RawClient) -> str:
    """Return the status of the answer to a request; what happened to the connection, if there is none."""
    first = client.answer.split(b"\r\n", 1)[0].split()
    return first[1].decode() if len(first) > 1 else str(client.ended or "no answer")


def wait_until(true: Callable[[], bool], seconds: float) -> float | None:
    """Return the seconds that it took, None if it took longer than that."""
    begun = time.monotonic()
    while not true():
        if time.monotonic() - begun > seconds:
            return None
        rest(0.05)
    return time.monotonic() - begun


def rest(seconds: float) -> None:
    """Do nothing."""
    time.sleep(seconds)  # noqa: TID251  # a client that is silent for a while is what is played


def member(stage: Stage, topic: str = TOPIC) -> RawClient:
    return stage.client().upgrade().join(topic)


def poured(stage: Stage, client: RawClient, pieces: Iterator[bytes], seconds: float, *, read: bool = True) -> Seen:
    """Play the plain kind of flood: pieces from one client, which reads what comes or nothing."""
    if not read:
        seconds *= min(1.0, max(0.2, stage.scale))
    with stage.measured():
        answered = client.pour(pieces, seconds, read=read)
    return outcome(client, answered=answered)


def times(piece: bytes, count: float, *last: bytes) -> Iterator[bytes]:
    yield from repeat(piece, int(count))
    yield from last


# Nothing


@flood("no flood")
def nothing(stage: Stage) -> Seen:
    """The machine itself: what the neighbour sees when the server has nothing else to do."""
    with stage.measured():
        rest(5.0 * stage.scale)
    return Seen("")


# A. Reading is paced


@flood("1 MB messages to a slow asynchronous handler")
def slow_handler(stage: Stage) -> Seen:
    piece = message("1", "7", "slow:1", "slow", {"text": MEGABYTE})
    return poured(stage, member(stage, "slow:1"), times(piece, 600 * stage.scale), 6, read=False)


@flood("34-byte echoes, answers never read")
def unread_echoes(stage: Stage) -> Seen:
    return poured(stage, member(stage), times(ECHO, 15_000_000 * stage.scale), 6, read=False)


@flood("10 kB echoes, answers never read")
def unread_large_echoes(stage: Stage) -> Seen:
    piece = message("1", "7", TOPIC, "echo", {"text": MEGABYTE[:10_000]})
    return poured(stage, member(stage), times(piece, 60_000 * stage.scale), 6, read=False)


@flood("34-byte heartbeats, answers never read")
def unread_heartbeats(stage: Stage) -> Seen:
    return poured(stage, member(stage), times(HEARTBEAT, 15_000_000 * stage.scale), 6, read=False)


@flood("100 kB messages behind an asynchronous join", OURS)
def behind_a_join(stage: Stage) -> Seen:
    piece = message("1", "7", "late:1", "echo", {"text": MEGABYTE[:100_000]})
    client = stage.client().upgrade()
    client.socket.sendall(join("late:1"))
    return poured(stage, client, times(piece, 6_000 * stage.scale), 6, read=False)


@flood("34-byte messages behind an asynchronous join", OURS)
def small_behind_a_join(stage: Stage) -> Seen:
    piece = message("1", "7", "late:1", "echo", {"a": 1})
    client = stage.client().upgrade()
    client.socket.sendall(join("late:1"))
    return poured(stage, client, times(piece, 1_000_000 * stage.scale), 6, read=False)


@flood("100,000 pipelined GETs, never read", HTTP)
def pipelined_gets(stage: Stage) -> Seen:
    piece = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return poured(stage, stage.client(), times(piece, 100_000 * stage.scale), 6, read=False)


@flood("9 MB POSTs behind a poll that waits", OURS)
def posts_behind_a_poll(stage: Stage) -> Seen:
    client = stage.client()
    token = new_session(client)
    poll = f"GET /socket/longpoll?vsn=2.0.0&token={token} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    body = b'["1","1","flood:1","phx_join",{"text":"' + b"x" * 9_000_000 + b'"}]'
    client.socket.sendall(poll)
    return poured(stage, client, times(post(token, body), 40 * stage.scale), 6, read=False)


def new_session(client: RawClient) -> str:
    """Open a session of long polling; return its token, for a query."""
    _, body = client.request("GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return quote(json.loads(body)["token"])


def post(token: str, body: bytes) -> bytes:
    head = f"POST /socket/longpoll?vsn=2.0.0&token={token} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@flood("50 unfinished POSTs of 9.4 MB to an unknown path", HTTP)
def unfinished_posts(stage: Stage) -> Seen:
    head = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9500000\r\n\r\n"
    clients = [stage.client() for _ in range(int(50 * stage.scale))]
    with stage.measured():
        for client in clients:
            client.pour([head, b"x" * 9_400_000], 0.2)
    answers = sorted({status_of(client) for client in clients})
    return Seen(f"{sum(client.sent for client in clients) / 1e6:,.0f} MB taken; {', '.join(answers)}")


@flood("20 clients stall while they read 5 MB over HTTP", HTTP, growth=110.0)
def stalled_page(stage: Stage) -> Seen:
    before = stage.files()
    clients = [stage.client() for _ in range(20)]
    with stage.measured():
        for client in clients:
            client.socket.sendall(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
        rest(1.0)
        seconds = wait_until(lambda: stage.files() <= before, 45)
    return Seen("held indefinitely", held=False) if seconds is None else Seen(f"closed after {seconds:.0f} s")


@flood("130 MB of pings, never read")
def unread_pings(stage: Stage) -> Seen:
    return poured(stage, member(stage), times(frame(PING, b"x" * 125), 1_000_000 * stage.scale), 10, read=False)


@flood("1 MB of empty pings")
def empty_pings(stage: Stage) -> Seen:
    return poured(stage, member(stage), times(frame(PING), 1e6 / 6 * stage.scale, END), 60)


@flood("5.4 MB of empty pings")
def many_empty_pings(stage: Stage) -> Seen:
    return poured(stage, member(stage), times(frame(PING), 5.4e6 / 6 * stage.scale, END), 120)


@flood("1 MB of 34-byte echoes")
def echoes(stage: Stage) -> Seen:
    return poured(stage, member(stage), times(ECHO, 1e6 / len(ECHO) * stage.scale, END), 60)


@flood("1 MB of 34-byte heartbeats")
def heartbeats(stage: Stage) -> Seen:
    return poured(stage, member(stage), times(HEARTBEAT, 1e6 / len(HEARTBEAT) * stage.scale, END), 60)


@flood("1 MB of shouts to a room of 100")
def shouts(stage: Stage) -> Seen:
    audience = stage.audience(99, TOPIC, "read")
    seen = poured(stage, member(stage), times(SHOUT, 1e6 / len(SHOUT) * stage.scale, END), 60)
    lost = audience.leave()["closed"]
    return seen._replace(text=f"{seen.text}, readers closed: {lost or 'none'}", held=not lost)


@flood("a message of a million one-byte fragments")
def fragments(stage: Stage) -> Seen:
    first, rest_of_it = frame(TEXT, b"[", final=False), frame(CONTINUATION, b" ", final=False)
    pieces = times(rest_of_it, 1_000_000 * stage.scale, frame(CONTINUATION, END[6:].removeprefix(b"[")), END)
    client = member(stage)
    return poured(stage, client, _after(first, pieces), 60)


@flood("a message of a million empty fragments")
def empty_fragments(stage: Stage) -> Seen:
    pieces = times(frame(CONTINUATION, final=False), 1_000_000 * stage.scale, frame(CONTINUATION, END[6:]), END)
    return poured(stage, member(stage), _after(frame(TEXT, final=False), pieces), 60)


def _after(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


@flood("a message of 7 MB in 14,000 segments")
def segments(stage: Stage) -> Seen:
    data = message("1", "7", TOPIC, "echo", {"text": MEGABYTE * 7 if stage.scale == 1 else MEGABYTE})
    client = member(stage)
    with stage.measured():
        for at in range(0, len(data), 500):
            client.socket.sendall(data[at : at + 500])
        answered = client.pour([END], 30)
    return outcome(client, answered=answered)


@flood("10 shouts to 10,000 clients")
def large_room(stage: Stage) -> Seen:
    stage.audience(int(9_999 * stage.scale), TOPIC, "read")
    client = member(stage)
    with stage.measured():
        for _ in range(10):
            client.socket.sendall(SHOUT)
            rest(0.3)
        answered = client.pour([END], 10)
    return outcome(client, answered=answered)


@flood("8,000 joins of one topic in one write", OURS, cpu=3.0)
def joins(stage: Stage) -> Seen:
    client = stage.client().upgrade()
    return poured(stage, client, times(join(TOPIC), 8_000 * stage.scale, END), 15)


@flood("a join nested 4,900 deep, before any join")
def nested(stage: Stage) -> Seen:
    deep = frame(TEXT, b'[null,null,"x","y",' + b"[" * 4_900 + b"]" * 4_900 + b"]")
    seen = poured(stage, stage.client().upgrade(), times(deep, 1), 2)
    return seen._replace(held=stage.client().upgrade().ended is None)


@flood("1,000 half-open handshakes", growth=40.0)
def half_open(stage: Stage) -> Seen:
    before = stage.files()
    count = int(1_000 * stage.scale)
    with stage.measured():
        for client in [stage.client() for _ in range(count)]:
            client.socket.sendall(b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n")
        rest(1.0)
        seconds = wait_until(lambda: stage.files() <= before, 20)
    return Seen("open after 20 s", held=False) if seconds is None else Seen(f"all closed after {seconds + 1:.0f} s")


@flood("a head of 70 kB")
def large_head(stage: Stage) -> Seen:
    return refused(stage, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "431")


@flood("5,000 headers")
def many_headers(stage: Stage) -> Seen:
    return refused(stage, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", "431")


@flood("a request line of 12 kB")
def long_line(stage: Stage) -> Seen:
    return refused(stage, b"GET /" + b"x" * 12_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "414")


def refused(stage: Stage, request: bytes, status: str) -> Seen:
    client = stage.client()
    with stage.measured():
        client.pour([request], 1.0)
    return Seen(got := status_of(client), held=got == status)


@flood("a POST of 200,000 one-byte chunks", HTTP)
def chunked(stage: Stage) -> Seen:
    head = b"POST /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = stage.client()
    with stage.measured():
        client.pour(_after(head, times(b"1\r\nx\r\n", 200_000 * stage.scale, b"0\r\n\r\n")), 5.0)
    return Seen(f"{client.sent / 1e6:.1f} MB taken; {status_of(client)}")


@flood("400 connections where 256 files may be open", files=256)
def out_of_files(stage: Stage) -> Seen:
    before, log = stage.files(), stage.log_lines()
    with stage.measured():
        clients = [stage.client() for _ in range(400)]
        rest(4.0)
        lines = stage.log_lines() - log
        for client in clients:
            client.socket.close()
        seconds = wait_until(lambda: stage.files() <= before, 10)
        stage.client().upgrade().join(TOPIC)
    return Seen(f"{lines} lines in the log; accepts again", held=lines <= 5 and seconds is not None)


@flood("SIGSTOP for 9 s, idle_timeout=6, 20 clients that beat", OURS, timed=False, idle=6.0)
def stall(stage: Stage) -> Seen:
    clients = [member(stage) for _ in range(20)]
    with stage.measured():
        for _ in range(3):
            _beat(clients)
        stage.stop_for(9.0)
        _beat(clients)
        rest(3.0)
        alive = [client for client in clients if client.pour([END], 5)]
    return Seen(f"{len(alive)} of 20 live on", held=len(alive) == 20)


def _beat(clients: list[RawClient]) -> None:
    rest(1.0)
    for client in clients:
        client.socket.sendall(message(None, "1", "phoenix", "heartbeat", {}))


# Long polling


@flood("500 POSTs of 100 echoes, never polled", OURS)
def unpolled(stage: Stage) -> Seen:
    client = stage.client()
    token = new_session(client)
    batch = (
        b'["1","1","flood:1","phx_join",{}]\n["1","7","flood:1","echo",{"text":"' + MEGABYTE[:500].encode() + b'"}]\n'
    )
    batch += b'["1","7","flood:1","echo",{"a":1}]\n' * 98
    with stage.measured():
        client.pour(times(post(token, batch.rstrip()), 500 * stage.scale), 6.0)
    return Seen(
        f"{client.answer.count(b'HTTP/1.1 ')}+ answers, the first {status_of(client)}; {client.sent / 1e6:.1f} MB taken"
    )


@flood("3,000 sessions of long polling over one connection", OURS)
def sessions(stage: Stage) -> Seen:
    client = stage.client()
    piece = b"GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with stage.measured():
        client.pour(times(piece, 3_000 * stage.scale), 6.0)
    return Seen(f"{client.sent // len(piece):,} requests taken, {client.ended or 'open'}")


# Other work that a client can cause


@flood("25,000 messages to a topic that it has not joined")
def unmatched(stage: Stage) -> Seen:
    piece = message("9", "7", "nowhere:1", "echo", {})
    return poured(stage, member(stage), times(piece, 25_000 * stage.scale, END), 60)


@flood("5,000 crashes, each after a join", OURS)
def crashes(stage: Stage) -> Seen:
    piece = join(TOPIC) + message("1", "2", TOPIC, "echo", [])
    return poured(stage, stage.client().upgrade(), times(piece, 5_000 * stage.scale, END), 15)


# B. The outbox


@flood("100 stalled readers of 40 broadcasts of 500 kB", growth=100.0)
def stalled_readers(stage: Stage) -> Seen:
    audience = stage.audience(int(100 * stage.scale), "flood:big", "stall")
    client = member(stage, "flood:big")
    with stage.measured():
        for _ in range(40):
            client.pour([message("1", None, "flood:big", "big", {})], 0.1)
    return Seen(f"readers closed: {audience.leave()['closed']}")
