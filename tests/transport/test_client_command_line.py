"""The command line of the client: `python -m transport.client`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from queue import SimpleQueue
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Any, Self

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.live import ROOT, WAIT
from transport.client.command_line import parse_line

if TYPE_CHECKING:
    from tests.live import LiveDemo

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d\d\d (\S+) (.*)\n")


class Program:
    """The command line client as a subprocess."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._arguments, self._environment = arguments, environment

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-m", "transport.client", *self._arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment},
        )
        self.out, self.err = self._follow(self.process.stdout), self._follow(self.process.stderr)
        return self

    def _follow(self, stream: IO[str] | None) -> SimpleQueue[str]:
        lines: SimpleQueue[str] = SimpleQueue()
        assert stream is not None

        def follow() -> None:
            with stream:
                for line in stream:
                    lines.put(line)

        Thread(target=follow, daemon=True).start()
        return lines

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(WAIT)
        if self.process.stdin is not None:
            self.process.stdin.close()

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def says(self, event: str) -> Any:
        """Return the payload of the next line about that event."""
        while True:
            line = self.out.get(timeout=WAIT)
            match = LINE.fullmatch(line)
            assert match, line
            if match[1] == event:
                return json.loads(match[2])

    def complains(self) -> str:
        return self.err.get(timeout=WAIT).removesuffix("\n")

    def end(self) -> int:
        """End the input, and return the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(WAIT)


def url(demo: LiveDemo) -> str:
    return f"{demo.websocket_address}/socket"


def answer(event: str, response: Any, status: str = "ok") -> dict[str, Any]:
    return {"event": event, "status": status, "response": response}


@pytest.mark.parametrize("carrier", [[], ["--longpoll"]], ids=["websocket", "longpoll"])
@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
def test_it_joins_prints_what_arrives_and_sends_what_is_typed(demo: LiveDemo, vsn: str, carrier: list[str]) -> None:
    topic = f"room:console-{vsn}{''.join(carrier)}"
    with Program(url(demo), topic, "--param", "user=cat", "--vsn", vsn, *carrier) as program:
        assert program.says("phx_reply") == answer("phx_join", {})
        assert list(program.says("presence_state")) == ["cat"]
        program.type('new_msg {"body": "hé"}')
        assert program.says("new_msg") == {"user": "cat", "body": "hé"}
        assert program.says("phx_reply") == answer("new_msg", {})
        program.type("fail")
        assert program.says("phx_reply") == answer("fail", {"reason": "failed on purpose"}, "error")
        assert program.end() == 0


def test_what_was_typed_before_the_end_is_answered(demo: LiveDemo) -> None:
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "transport.client", url(demo), "room:console-pipe"],
        cwd=ROOT,
        input='echo {"n": 1}\n\necho {"n": 2}',
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=True,
    )
    replies = [json.loads(match[2]) for match in LINE.finditer(done.stdout) if match[1] == "phx_reply"]
    assert replies == [answer("phx_join", {}), answer("echo", {"n": 1}), answer("echo", {"n": 2})]
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="it needs /dev/full")
def test_output_that_cannot_be_written_is_told_and_ends_it(demo: LiveDemo) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-m", "transport.client", url(demo), "room:console-full"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WAIT,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "client: the output cannot be written: No space left on device\n")


def test_a_line_that_is_not_understood_is_explained(demo: LiveDemo) -> None:
    with Program(url(demo), "room:console-wrong") as program:
        program.says("presence_state")
        program.type("new_msg {body: hello}")
        explained = program.complains()
        assert explained.startswith("client: '{body: hello}' is not JSON (")
        assert explained.endswith(
            '; write an event and optionally its payload as JSON, such as: new_msg {"body": "hello"}'
        )
        program.type('echo {"still": "here"}')
        assert program.says("phx_reply") == answer("echo", {"still": "here"})
        assert program.end() == 0


def test_ctrl_c_leaves(demo: LiveDemo) -> None:
    with Program(url(demo), "room:console-ctrl-c") as program:
        program.says("presence_state")
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(WAIT) == 0
        assert program.err.empty()


def test_a_channel_that_the_server_closes_is_one_line_and_status_1(demo: LiveDemo) -> None:
    with Program(url(demo), "room:console-stop") as program:
        program.says("presence_state")
        program.type("stop")
        assert program.says("phx_reply") == answer("stop", {})
        assert program.process.wait(WAIT) == 1
        assert program.complains() == "client: the server closed 'room:console-stop'"
        assert program.err.empty()


def test_a_join_that_fails_after_the_first_is_told() -> None:
    with Stubborn() as server, Program(server.url, "once", "--timeout", "1") as program:
        assert program.says("phx_reply") == answer("phx_join", {})
        program.type("crash")
        assert program.complains() == """client: lost 'once': {}"""
        assert program.says("phx_reply") == answer("phx_join", {"reason": "no more"}, "error")
        assert program.complains() == "client: no reply to the join of 'once'; retrying"


def test_a_crash_and_a_lost_connection_are_told(demo: LiveDemo) -> None:
    with Program(url(demo), "room:console-crash") as program:
        program.says("presence_state")
        program.type("crash")
        assert program.complains() == """client: lost 'room:console-crash': {"reason":"channel_crash"}"""
        assert program.says("phx_reply") == answer("phx_join", {})
        program.says("presence_state")
        program.type("crash_transport")
        assert program.complains().startswith("client: lost 'room:console-crash': ")
        assert program.complains() == "client: the connection ended with 1006; reconnecting"
        assert program.complains() == "client: reconnected"
        assert program.says("phx_reply") == answer("phx_join", {})
        program.says("presence_state")
        assert program.end() == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{url}", "room:vip"], """client: 'room:vip' was not joined: {'reason': 'unauthorized'}"""),
        (["{url}", "nope:x"], """client: 'nope:x' was not joined: {'reason': 'unmatched topic'}"""),
        (["{url}", "room:1", "--param", "user_token=forged"], "client: cannot connect to .*403.*"),
        (["ws://127.0.0.1:1/socket", "room:1"], r"client: cannot connect to ws://127\.0\.0\.1:1/socket/websocket: .*"),
        (["nonsense", "room:1"], "client: a URL such as ws://host:4000/socket is expected, got 'nonsense'"),
    ],
    ids=["refused", "unknown topic", "refused connection", "no server", "no url"],
)
def test_what_goes_wrong_at_the_start_is_one_line_and_status_1(demo: LiveDemo, arguments: list[str], text: str) -> None:
    with Program(*(argument.format(url=url(demo)) for argument in arguments)) as program:
        assert program.process.wait(WAIT) == 1
        assert re.fullmatch(text.replace("{'", r"\{'"), program.complains())
        assert (program.err.empty(), program.out.empty()) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--param", "user"], "expected key=value, got 'user'"),
        (["--join", "{"], "'{' is not JSON"),
        (["--vsn", "3.0.0"], "invalid choice: '3.0.0'"),
        (["--timeout", "0"], "expected seconds > 0, got '0'"),
        (["--timeout", "nan"], "expected seconds > 0, got 'nan'"),
        (["--timeout", "soon"], "expected seconds > 0, got 'soon'"),
    ],
    ids=["param", "join", "vsn", "timeout 0", "timeout nan", "timeout soon"],
)
def test_options_that_are_wrong_are_explained(arguments: list[str], text: str) -> None:
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "transport.client", "ws://127.0.0.1:1/socket", "room:1", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("event", ("event", {})),
        ("  event  ", ("event", {})),
        ('event {"n": 1}', ("event", {"n": 1})),
        ("event   [1, 2]", ("event", [1, 2])),
        ("event null", ("event", None)),
        ('event\t{"n": 1}', ("event", {"n": 1})),
    ],
)
def test_a_line_is_an_event_and_perhaps_a_payload(line: str, parsed: tuple[str, Any]) -> None:
    assert parse_line(line) == parsed


class Stubborn:
    """A server that replies to joins, sends an event that no server should, and does not reply to leaves."""

    def __init__(self) -> None:
        self.loop, self.ready, self.joins = asyncio.new_event_loop(), Event(), 0
        self.thread = Thread(target=self.loop.run_until_complete, args=(self.serve(),))

    async def serve(self) -> None:
        self.end = asyncio.Event()
        async with serve(self.answer, "127.0.0.1", 0) as server:
            self.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/socket"
            self.ready.set()
            await self.end.wait()

    async def answer(self, connection: ServerConnection) -> None:
        async for data in connection:
            join_ref, ref, topic, event, _ = json.loads(data)
            if topic == "close":
                await connection.close(1000, "at the join")
            elif topic == "once" and event == "crash":
                await connection.send(json.dumps([join_ref, None, topic, "phx_error", {}]))
            elif topic == "once" and event == "phx_join":
                await self.answer_joins(connection, join_ref, ref)
            elif event == "phx_join":
                await connection.send(json.dumps([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]))
                await connection.send(json.dumps([None, None, topic, "\x1b[2J\nevent", {"a": "\x9bé"}]))
            if event.startswith("close"):
                await connection.close(1000, event)

    async def answer_joins(self, connection: ServerConnection, join_ref: str, ref: str) -> None:
        """Accept the first, refuse the second, and do not reply to the others."""
        self.joins += 1
        replies = [{"status": "ok", "response": {}}, {"status": "error", "response": {"reason": "no more"}}]
        for reply in replies[self.joins - 1 : self.joins]:
            await connection.send(json.dumps([join_ref, ref, "once", "phx_reply", reply]))

    def __enter__(self) -> Self:
        self.thread.start()
        assert self.ready.wait(WAIT)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.end.set)
            self.thread.join(WAIT)
            self.loop.close()


def test_a_server_that_does_not_answer_to_leaving_is_one_line() -> None:
    with Stubborn() as server, Program(server.url, "room:1", "--timeout", "0.5") as program:
        program.says("phx_reply")
        assert program.end() == 0
        assert program.complains() == "client: no reply to 'phx_leave' on 'room:1' within 0.5 s"
        assert program.err.empty()


def test_what_a_server_says_does_not_reach_the_terminal_as_commands() -> None:
    with Stubborn() as server, Program(server.url, "room:1", "--timeout", "0.5") as program:
        program.says("phx_reply")
        assert program.says(r"\u001b[2J\u000aevent") == {"a": "\x9bé"}


def test_lines_that_cannot_be_kept_are_complained_of() -> None:
    with Stubborn() as server, Program(server.url, "room:1", "--timeout", "60") as program:
        program.says("phx_reply")
        server.__exit__()
        while "reconnecting" not in program.complains():
            pass
        for number in range(1001):
            program.type(f"event {number}")
        assert "1000 pushes are waiting" in program.complains()
        assert program.end() == 0


def test_a_connection_that_the_server_closes_for_good_is_one_line_and_status_1() -> None:
    with Stubborn() as server, Program(server.url, "room:1") as program:
        program.says("phx_reply")
        program.type("close")
        assert program.process.wait(WAIT) == 1
        assert program.complains() == "client: the server closed the connection with 1000 close"
        assert program.err.empty()


def test_a_connection_that_is_closed_for_good_instead_of_joined_is_one_line_and_status_1() -> None:
    with Stubborn() as server, Program(server.url, "close", "--timeout", "3600") as program:
        assert program.process.wait(WAIT) == 1
        assert program.complains() == "client: the server closed the connection with 1000 at the join"
        assert (program.err.empty(), program.out.empty()) == (True, True)


def test_what_the_output_has_no_character_for_is_escaped() -> None:
    with (
        Stubborn() as server,
        Program(server.url, "room:1", "--timeout", "0.5", PYTHONIOENCODING="ascii") as program,
    ):
        program.says("phx_reply")
        assert program.out.get(timeout=WAIT).endswith(r'event {"a":"\u009b\xe9"}' + "\n")
        assert program.end() == 0
        assert program.complains().startswith("client: no reply to 'phx_leave'")
        assert program.err.empty()
