"""`python -m supervisors.console`, in a pseudo-terminal and in a pipe."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from threading import Event

import pytest

from actors.testing import WAIT
from supervisors.console.client.attach import ConsoleClient
from supervisors.console.client.terminal import Terminal
from supervisors.console.protocol import Bye, Output, Ready, encode
from supervisors.system import System
from tests.live import ROOT
from tests.supervisors.attached import sessions
from tests.supervisors.workers import child
from tests.terminal import CTRL_C, TAB, TerminalSession

ARGUMENTS = ("-m", "supervisors.console")


def terminal(path: Path) -> TerminalSession:
    return TerminalSession(*ARGUMENTS, str(path), HOME=str(path.parent), NO_COLOR="")


@pytest.fixture
def prompt(system: System, path: Path) -> Iterator[TerminalSession]:
    with terminal(path) as session:
        session.until_prompt()
        yield session


def piped(path: Path, source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own program
        [sys.executable, *ARGUMENTS, str(path)],
        input=source,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"HOME": str(path.parent)},
        timeout=12 * WAIT,
        check=False,
    )


# In a terminal


def test_the_prompt_is_that_of_the_repl(system: System, path: Path) -> None:
    with terminal(path) as prompt:
        assert "This is Shop, process" in prompt.until_prompt()
        assert "a <0." in prompt.run("tree()")
        assert "\x1b[1mpubsub\x1b[0m" in prompt.raw
        assert prompt.run("ask('a', 'hello')") == "'a got hello'\n"
        assert prompt.run("import asyncio") == ""
        assert prompt.run("await asyncio.sleep(0, 'slept')") == "'slept'\n"
        assert prompt.run("1 / 0").endswith("ZeroDivisionError: division by zero\n")
        prompt.end()
    assert system.ref.is_alive()


def test_several_are_attached_at_once(prompt: TerminalSession, path: Path) -> None:
    with terminal(path) as other:
        other.until_prompt()
        prompt.run("x = 'mine'")
        assert "NameError" in other.run("x")
        assert prompt.run("x") == "'mine'\n"
        other.end()
    prompt.end()


def test_a_statement_of_several_lines_has_a_prompt_for_the_others(prompt: TerminalSession) -> None:
    prompt.type("for number in range(2):\n")
    prompt.until(r"\.\.\. ")
    prompt.type("  number\n")
    prompt.until(r"\.\.\. ")
    prompt.type("\n")
    assert prompt.until_prompt() == "\n0\n1\n"
    prompt.end()


def test_tab_completes(prompt: TerminalSession) -> None:
    prompt.type(f"subsc{TAB}")
    prompt.until(r"subscribers\(")
    prompt.type("'nowhere')\n")
    assert "no actor has subscribed to 'nowhere'" in prompt.until_prompt()
    prompt.end()


def test_tab_completes_names_of_actors_in_quotes(prompt: TerminalSession) -> None:
    prompt.type(f"whereis('pubs{TAB}")
    prompt.until(r"whereis\('pubsub'?")
    prompt.type(f'{CTRL_C}whereis("{TAB}{TAB}')
    prompt.until("Shop.*pubsub")
    prompt.interrupt()
    prompt.end()


def test_ctrl_c_interrupts_the_line_that_is_typed(prompt: TerminalSession) -> None:
    prompt.type("kill('a")
    prompt.until(r"kill\('a")
    assert "\nKeyboardInterrupt\n" in prompt.interrupt()
    assert prompt.run("1 + 1") == "2\n"
    prompt.end()


def test_ctrl_c_interrupts_what_runs(system: System, prompt: TerminalSession) -> None:
    prompt.type("while print('runs') is None: pass\n\n")
    prompt.until("runs\n")
    prompt.type(CTRL_C)
    assert prompt.until_prompt().endswith("\nKeyboardInterrupt\n")
    assert child(system.ref, "a").ask("hello", timeout=WAIT) == "a got hello"
    prompt.end()


def test_what_comes_while_a_line_is_typed_stands_above_it(system: System, prompt: TerminalSession) -> None:
    prompt.run("trace('a', 1)")
    prompt.type("41 + ")
    prompt.until(r"41 \+ ")
    child(system.ref, "a").send("look")
    prompt.until("got 'look'\n")
    prompt.until(r"is no longer traced\n>>> 41 \+ ")
    prompt.type("1\n")
    assert prompt.until_prompt().endswith("\n42\n")
    prompt.end()


def test_what_was_typed_is_remembered_for_its_user_only(prompt: TerminalSession, path: Path) -> None:
    prompt.run("'remember me'")
    prompt.end()
    history = path.parent / ".ashtree_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "'remember me'\n" in history.read_text()
    with terminal(path) as again:
        again.until_prompt()
        again.type("\x10\n")  # the line before
        assert again.until_prompt().endswith("'remember me'\n")
        again.end()


def test_exit_leaves(prompt: TerminalSession) -> None:
    prompt.type("exit()\n")
    prompt.rest()


@contextmanager
def unsuccessful(path: Path) -> Iterator[TerminalSession]:
    with pytest.raises(AssertionError, match="it ended with status 1"), terminal(path) as prompt:
        yield prompt


def test_a_server_that_stops_ends_the_line_that_is_typed(path: Path) -> None:
    with ExitStack() as server:
        server.enter_context(System(console=path))
        with unsuccessful(path) as prompt:
            prompt.until_prompt()
            prompt.type("half a li")
            prompt.until("half a li")
            server.close()
            prompt.until("console: the server is stopping\n")


class DeafTerminal(Terminal):
    """A terminal at which somebody types a line and never ends it, while the server stops."""

    def __init__(self, server: socket.socket) -> None:
        super().__init__(StringIO(), StringIO())
        self._server = server
        self.is_interactive = True

    def edit_lines(self, history: Path, complete: object) -> None:
        """Leave the lines of this process as they are."""

    def remember(self, history: Path) -> None:
        """Write nothing."""

    def _next_line(self, prompt: str) -> str:
        self._server.sendall(encode(Bye("the server is stopping")))
        self._server.shutdown(socket.SHUT_WR)
        Event().wait(WAIT)
        raise AssertionError("nothing has ended the line")


def test_a_line_ends_though_the_first_signal_comes_before_a_key_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[int] = []
    deliver = signal.pthread_kill

    def interrupt(thread: int, number: int) -> None:
        signals.append(number)
        if len(signals) > 1:
            deliver(thread, number)

    monkeypatch.setattr(signal, "pthread_kill", interrupt)
    ours, of_the_server = socket.socketpair()
    with of_the_server:
        of_the_server.sendall(encode(Ready(0)))
        assert ConsoleClient(ours, DeafTerminal(of_the_server)).run() == 1
    assert signals == [signal.SIGINT] * 2


def test_the_kill_of_its_session_is_told(system: System, path: Path) -> None:
    with unsuccessful(path) as prompt:
        prompt.until_prompt()
        (session,) = sessions(system)
        session.ref.kill()
        prompt.until("console: the server has closed the connection\n")


# In a pipe


def test_a_pipe_sees_the_answers_and_nothing_else(system: System, path: Path) -> None:
    done = piped(path, "x = 20\nx + 1\nfor n in range(2):\n  print(n)\n\nprint('no new line', end='')\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "21\n0\n1\nno new line", "")


def test_the_end_of_a_pipe_ends_the_statement(system: System, path: Path) -> None:
    assert piped(path, "if True:\n  'the end'").stdout == "'the end'\n"


@pytest.mark.parametrize(
    ("source", "status", "error"),
    [
        ("1\n", 0, ""),
        ("1/0", 1, ""),
        ("1/0\n1\n", 1, ""),
        ("1 +\n", 1, ""),
        ("state('nobody')\n", 1, ""),
        ("raise KeyboardInterrupt\n", 1, ""),
        ("print((1,\n", 1, "console: the last statement is not complete\n"),
        ("exit()\n", 0, ""),
        ("exit(0)\n1/0\n", 0, ""),
        ("import sys; sys.exit(3)\n", 3, ""),
        ("1/0\nexit('no')\n", 1, ""),
        ("", 0, ""),
    ],
)
def test_a_program_sees_by_the_status_whether_a_statement_has_failed(
    source: str, status: int, error: str, system: System, path: Path
) -> None:
    done = piped(path, source)
    assert (done.returncode, done.stderr) == (status, error)


def test_a_person_at_a_terminal_has_seen_the_error(prompt: TerminalSession) -> None:
    prompt.run("1 / 0")
    prompt.end()


def test_without_a_server_it_says_so(path: Path) -> None:
    done = piped(path, "1\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"console: no server listens at {str(path)!r}: No such file or directory\n"


def test_a_server_that_ends_is_told(system: System, path: Path) -> None:
    done = piped(path, "kill('session')\n1\n")
    assert (done.returncode, done.stderr) == (1, "console: the server has closed the connection\n")


# Servers that are none


@pytest.mark.parametrize(
    ("answer", "status", "shown"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 1, "console: not a console: a frame may have"),
        (encode(Bye("go away")), 1, "console: go away\n"),
        (encode(Output("\x1b]0;title\x07")) + encode(Ready(0)) + encode(Bye("")), 0, "\\x1b]0;title\\x07"),
    ],
    ids=["another protocol", "refuses", "attacks"],
)
def test_a_client_shows_what_comes_and_does_nothing_of_it(answer: bytes, status: int, shown: str, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        client = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, *ARGUMENTS, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        listening.settimeout(12 * WAIT)
        connection, _ = listening.accept()
        with connection:
            connection.sendall(answer)
        out, _ = client.communicate("1\n", timeout=12 * WAIT)
    assert (client.returncode, shown in out) == (status, True), out


# The demo


def demo(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-u", "demo.py", "--port", "0", "--console", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_the_demo_has_a_console(path: Path) -> None:
    with demo(path) as program:
        assert program.stdout is not None
        for line in program.stdout:
            if "listener" in line:
                break
        attached = piped(path, "tree()\nwhereis('listener')\n")
        assert "session <0." in attached.stdout
        assert "<ActorRef Listener 'listener' <0." in attached.stdout
        with demo(path) as second:
            assert second.wait(12 * WAIT) == 1
            assert second.stderr is not None
            assert second.stderr.read() == f"demo: cannot open a console at {str(path)!r}: a running server has it\n"
        program.send_signal(signal.SIGINT)
        assert program.wait(12 * WAIT) == 0
    assert not path.exists()
