"""The console of a system that runs, over a real Unix socket."""

from __future__ import annotations

import logging
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from actors.exceptions import StartError
from actors.exits import KILLED
from actors.testing import WAIT, sync
from actors.threads.actor_thread import threads_left
from supervisors.console.protocol import MOST, Evaluate, Hello, Interrupt
from supervisors.exceptions import ConsoleError
from supervisors.observer.commands import words
from supervisors.system import System
from tests.supervisors.attached import Attached, sessions
from tests.supervisors.workers import child, running, worker

# Each says that it has begun, and then does not end.
COMPUTES = "if True:\n  print('begun')\n  while True: pass\n"
AWAITS = "if True:\n  print('begun')\n  await asyncio.Event().wait()\n"
BLOCKS = "if True:\n  print('begun')\n  gate.wait()\n"
PRINTS = "while True: print('more and more')\n"

INTERRUPTED = "\nKeyboardInterrupt\n"


class Attach(Protocol):
    def __call__(self, **options: Any) -> Attached: ...


@pytest.fixture
def attach(system: System, path: Path) -> Iterator[Attach]:
    with ExitStack() as open_:
        yield lambda **options: open_.enter_context(Attached(path, **options))


@pytest.fixture
def prompt(attach: Attach) -> Attached:
    return attach()


# What is typed


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("1 + 1", "2\n"),
        ("None", ""),
        ("", ""),
        ("x = 1; x; x + 1", "1\n2\n"),
        ("print('hello')", "hello\n"),
        ("import sys; print('oh', file=sys.stderr)", "oh\n"),
        ("import sys; sys.stdout.isatty()", "False\n"),
        ("for i in range(2): i\n", "0\n1\n"),
        ("'\\x1b[2J'", "'\\x1b[2J'\n"),
        ("print(chr(0xd800))", "\\ud800\n"),
        ("__name__", "'__console__'\n"),
        ("system.name", "'Shop'\n"),
        ("whereis('nobody')", ""),
        ("ask('pubsub', 1, timeout=0.0)", None),
        ("import asyncio; await asyncio.sleep(0, 'slept')", "'slept'\n"),
        ("import asyncio; asyncio.get_running_loop() is system.ref.process.scheduler.loop", None),
        ("[await asyncio.sleep(0, n) for n in range(3)]", None),
    ],
    ids=str,
)
def test_a_statement_is_evaluated_and_what_it_prints_comes_back(
    source: str, answer: str | None, prompt: Attached
) -> None:
    prompt.run("import asyncio")
    printed = prompt.run(source)
    if answer is not None:
        assert printed == answer
    assert prompt.run("'go on'") == "'go on'\n"


def test_the_last_value_is_kept(prompt: Attached) -> None:
    assert prompt.run("_") != ""
    prompt.run("6 * 7")
    prompt.run("None")
    assert prompt.run("_ + 1") == "43\n"


def test_the_words_are_those_of_the_repl(system: System, prompt: Attached) -> None:
    drawn = prompt.run("tree()")
    assert [line.split(" <")[0].strip("│├└─ ") for line in drawn.splitlines()[1:]] == [
        "Shop",
        "console",
        "session",
        "evaluator",
        "pubsub",
        "a",
    ]
    assert prompt.run("state('a')['label']") == "'a'\n"
    assert prompt.run("ask('a', 'hello')") == "'a got hello'\n"


def test_help_needs_no_pager(prompt: Attached) -> None:
    assert "Draw the supervision tree" in prompt.run("help(tree)")
    assert "Python" in prompt.run("help(help)")
    assert prompt.run("'go on'") == "'go on'\n"


def test_a_statement_of_several_lines_needs_them_all(prompt: Attached) -> None:
    for lines in (["def f(x):"], ["def f(x):", "  return 2 * x"]):
        assert prompt.run("\n".join(lines)) == ""
        assert prompt.needs_more
    assert prompt.run("def f(x):\n  return 2 * x\n") == ""
    assert not prompt.needs_more
    assert prompt.run("f(21)") == "42\n"


@pytest.mark.parametrize(
    ("source", "last_line"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("1 +", "SyntaxError: invalid syntax"),
        ("raise ValueError('\\x1b[2J')", "ValueError: \\x1b[2J"),
        ("await asyncio.sleep(0, 1 / 0)", "ZeroDivisionError: division by zero"),
        ("await asyncio.wait_for(asyncio.Event().wait(), 0)", "TimeoutError"),
        ("raise BaseException('any')", "BaseException: any"),
        ("raise asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        ("if True:\n  await asyncio.sleep(0)\n  raise asyncio.CancelledError\n", "asyncio.exceptions.CancelledError"),
        ("input()", "EOFError"),
        (
            "state('nobody')",
            "supervisors.exceptions.UnknownActorError: there is no actor 'nobody'; ps() lists all actors",
        ),
    ],
    ids=str,
)
def test_an_error_is_shown_from_the_line_that_was_typed(source: str, last_line: str, prompt: Attached) -> None:
    prompt.run("import asyncio")
    lines = prompt.run(source).splitlines()
    assert lines[-1].startswith(last_line)
    assert "evaluator.py" not in "".join(lines)
    assert prompt.has_failed
    assert prompt.run("'go on'") == "'go on'\n"
    assert not prompt.has_failed


@pytest.mark.parametrize(
    "typo",
    [
        "state('nobody')",
        "tre()",
        "state()",
        "system.nam",
        "ps('size')",
        "state([])",
        "await ask('nobody', 1)",
        "kill(None)",
    ],
)
def test_a_typo_is_answered_in_one_line(typo: str, prompt: Attached) -> None:
    assert prompt.run(typo).count("\n") == 1


def test_the_fault_of_an_actor_is_no_typo(prompt: Attached) -> None:
    prompt.run("def fail(state): raise ValueError('of the function')\n")
    assert "in fail" in prompt.run("replace_state('a', fail)")
    assert prompt.run("fail(1)").startswith("Traceback")


def test_what_awaits_runs_on_the_loop_and_all_else_in_the_thread_of_the_session(
    system: System, prompt: Attached
) -> None:
    prompt.run("import asyncio, threading")
    assert prompt.run("threading.current_thread().name").startswith("'evaluator <")
    assert prompt.run("(await asyncio.sleep(0), threading.current_thread().name)[1]") == "'Shop'\n"


def test_what_a_task_shows_is_written_down_in_the_thread_of_the_session(prompt: Attached) -> None:
    prompt.run("import asyncio, threading")
    prompt.run("class Slow:\n  def __repr__(self): return threading.current_thread().name\n")
    assert prompt.run("(await asyncio.sleep(0), Slow())[1]").startswith("evaluator <")


def test_an_actor_that_is_started_at_the_prompt_lives_on_the_loop_of_the_system(
    system: System, prompt: Attached
) -> None:
    prompt.run("from actors.actor import Actor")
    prompt.run("class Echo(Actor):\n  def on_receive(self, message): return message\n")
    prompt.run("echo = Echo.start()")
    assert prompt.run("echo.process.scheduler is system.ref.process.scheduler") == "True\n"
    assert prompt.run("echo.ask('hello')") == "'hello'\n"
    assert prompt.run("await echo.call('again')") == "'again'\n"
    assert prompt.run("echo.stop()") == "True\n"


def test_a_large_output_arrives_as_it_is(prompt: Attached) -> None:
    assert prompt.run("print('é' * 3_000_000)") == "é" * 3_000_000 + "\n"


def test_a_banner_is_for_those_who_want_one(attach: Attach) -> None:
    assert attach().banner == ""
    banner = attach(is_interactive=True).banner
    assert banner.startswith(f"This is Shop, process {os.getpid()}. It keeps running when you leave")
    assert "tree()" in banner
    assert "then kill(" not in banner
    assert "Ctrl-D or exit() leaves" in banner


def test_the_words_can_be_listed(prompt: Attached) -> None:
    for listing in ("help()", "words()"):
        listed = prompt.run(listing)
        assert [word for word in words() if f"\n{word} " not in f"\n{listed}"] == []
        assert "Draw the supervision tree" in listed


def test_colours_are_for_those_who_want_them(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in attach(has_colours=True).run("tree()")
    assert "\x1b[" not in attach().run("tree()")


def test_each_statement_sees_the_context_variables_that_earlier_ones_have_set(prompt: Attached) -> None:
    prompt.run("import asyncio, contextvars; var = contextvars.ContextVar('var', default='nothing')")
    assert prompt.run("_ = var.set('by a plain one')") == ""
    assert prompt.run("await asyncio.sleep(0, var.get())") == "'by a plain one'\n"
    assert prompt.run("_ = await asyncio.sleep(0, var.set('by one that awaits'))") == ""
    assert prompt.run("var.get()") == "'by one that awaits'\n"


def test_an_actor_that_is_started_at_a_prompt_prints_for_the_server(
    prompt: Attached, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt.run("from actors import Actor, ThreadedActor")
    for kind in ("Actor", "ThreadedActor"):
        prompt.run(f"class Prints({kind}):\n  def on_receive(self, message): print(message)\n\n")
        prompt.run("prints = Prints.start()")
        assert prompt.run(f"prints.ask('from an actor {kind}')") == ""
        assert capsys.readouterr().out == f"from an actor {kind}\n"
        prompt.run("prints.kill()")


def test_a_trace_prints_on_the_screen_of_its_session(system: System, attach: Attach) -> None:
    watching, other = attach(), attach()
    watching.run("trace('a', 1)")
    other.run("send('a', 'look')")
    assert "got 'look'" in watching.until("is no longer traced\n")
    assert other.run("1") == "1\n"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("subs", ["subscribers("]),
        ("wherei", ["whereis("]),
        ("system.nam", ["system.name", "system.names"]),
        ("system.nobody.", []),
        ("no_such.", []),
        ("'a'.", []),
        ("lambd", ["lambda"]),
    ],
)
def test_words_are_completed(text: str, fits: list[str], prompt: Attached) -> None:
    assert prompt.complete(text) == fits


def test_names_of_actors_and_topics_are_completed_in_quotes(system: System, prompt: Attached) -> None:
    system.pubsub.subscribe("room:lobby", child(system.ref, "a"))
    assert prompt.complete("pub", "state('pub") == ["pubsub"]
    assert prompt.complete("lo", 'subscribers("room:lo') == ["lobby"]
    assert {"a", "pubsub", "Shop", "room:lobby"} <= set(prompt.complete("", "state('"))
    assert prompt.complete("pub", "state('a').pub") == []


# The first Ctrl-C must not end it, whether or not its thread waits for the gate yet.
HANGS = """class Hanging:
  def __dir__(self):
    while True:
      try:
        begun.set()
        return [str(gate.wait())]
      except KeyboardInterrupt:
        pass
"""


def test_a_completion_that_hangs_is_given_up_at_the_second_ctrl_c(system: System, prompt: Attached) -> None:
    prompt.run("import threading; gate = threading.Event()")
    prompt.run("begun = system.__dict__['begun'] = threading.Event()")
    prompt.run(HANGS)
    prompt.run("hanging = Hanging()")
    prompt.begin_to_complete("hanging.")
    assert system.__dict__["begun"].wait(WAIT)
    prompt.interrupt()
    prompt.interrupt()
    assert prompt.until_ready().startswith("\nAbandoned.")
    left = [one.thread for one in threads_left()]
    assert prompt.run("gate.set()") == ""
    assert_ended(left)
    assert prompt.complete("gat") == ["gate"]


# Several sessions, and the server


def test_sessions_have_namespaces_and_outputs_of_their_own(attach: Attach) -> None:
    one, other = attach(), attach()
    one.run("x = 1")
    assert other.run("x").endswith("NameError: name 'x' is not defined\n")
    one.run("from threading import Event; both = system.__dict__['both'] = Event()")
    one.begin("both.wait(), print('one')")
    other.run("print('other'); system.__dict__['both'].set()")
    assert one.until_ready() == "one\n(True, None)\n"


def test_neither_the_server_nor_another_session_waits_for_what_runs(system: System, attach: Attach) -> None:
    busy, other = attach(), attach()
    busy.begin(COMPUTES)
    busy.until("begun\n")
    assert other.run("ask('a', 'hello')") == "'a got hello'\n"
    assert child(system.ref, "a").ask("hello", timeout=WAIT) == "a got hello"
    busy.interrupt()
    busy.until_ready()


def test_the_server_keeps_its_standard_streams(system: System, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Attached(path) as prompt:
        prompt.run("print('for the client')")
        prompt.run("'for the client, too'")
        sys.stdout.write("for the server\n")
        diverted = sys.stdout
        (session,) = sessions(system)
        down = session.ref.down()
    down.get(timeout=WAIT)
    assert capsys.readouterr() == ("for the server\n", "")
    assert sys.stdout is not diverted


def test_displayhook_of_the_server_serves_the_server(attach: Attach, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = attach()
    sys.displayhook("the server's")
    assert prompt.run("'mine'") == "'mine'\n"
    assert capsys.readouterr().out == '"the server\'s"\n'


# Ctrl-C


@pytest.mark.parametrize("source", [COMPUTES, AWAITS], ids=["computes", "awaits"])
def test_ctrl_c_interrupts_what_runs(source: str, prompt: Attached) -> None:
    prompt.run("import asyncio")
    prompt.begin(source)
    prompt.until("begun\n")
    prompt.interrupt()
    assert prompt.until_ready() == INTERRUPTED
    assert prompt.run("'go on'") == "'go on'\n"


@pytest.mark.parametrize("source", [COMPUTES, AWAITS, PRINTS], ids=["computes", "awaits", "prints"])
def test_ctrl_c_is_not_lost_when_it_comes_with_the_statement(source: str, prompt: Attached) -> None:
    prompt.run("import asyncio")
    for number in range(2, 12):
        prompt._number = number
        prompt.send(Evaluate(number, source), Interrupt(number))
        assert prompt.until_ready().endswith(INTERRUPTED)
    assert prompt.run("'go on'") == "'go on'\n"


def test_ctrl_c_interrupts_what_prints_for_a_client_that_does_not_read(prompt: Attached) -> None:
    prompt.begin(PRINTS)
    prompt.until("more\n")
    prompt.interrupt()
    assert prompt.until_ready().endswith(INTERRUPTED)


def test_ctrl_c_for_what_is_over_is_ignored(prompt: Attached) -> None:
    prompt.run("1")
    prompt.interrupt()
    assert prompt.run("2") == "2\n"
    prompt.send(Interrupt(7))
    assert prompt.run("3") == "3\n"


def test_what_does_not_let_itself_be_interrupted_is_given_up_at_the_second_ctrl_c(
    prompt: Attached, caplog: pytest.LogCaptureFixture
) -> None:
    prompt.run("import threading; gate = threading.Event()")
    prompt.begin(BLOCKS)
    prompt.until("begun\n")
    prompt.interrupt()
    prompt.interrupt()
    assert prompt.until_ready().startswith("\nAbandoned.")
    (left,) = threads_left()
    assert prompt.run("gate.set()") == ""
    left.thread.join(WAIT)
    assert not left.thread.is_alive()
    assert prompt.run("'go on'") == "'go on'\n"


# The end of a session


@pytest.mark.parametrize("source", ["exit()", "quit()", "raise SystemExit", "await asyncio.sleep(0, exit())"], ids=str)
def test_exit_ends_the_session_and_nothing_else(source: str, system: System, attach: Attach) -> None:
    prompt, other = attach(), attach()
    prompt.run("import asyncio")
    prompt.begin(source)
    assert prompt.bye() == ""
    assert other.run("'go on'") == "'go on'\n"
    assert child(system.ref, "a").ask("hello", timeout=WAIT) == "a got hello"


@pytest.mark.parametrize("source", ["'idle'", COMPUTES, AWAITS, PRINTS], ids=["idle", "computes", "awaits", "prints"])
def test_a_client_that_vanishes_ends_its_session_and_what_runs_there(
    source: str, system: System, attach: Attach, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = attach()
    prompt.run("import asyncio")
    prompt.begin(source)
    prompt.until("\n")
    (session,) = sessions(system)
    threads = evaluator_threads()
    down = session.ref.down()
    prompt.close()
    down.get(timeout=WAIT)
    assert_ended(threads)
    assert sessions(system) == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def evaluator_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("evaluator")]


def assert_ended(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(WAIT)
    assert [thread for thread in threads if thread.is_alive()] == []


def test_a_session_that_is_killed_leaves_the_others_and_the_console(system: System, attach: Attach) -> None:
    prompt, other = attach(), attach()
    first, _ = sessions(system)
    down = first.ref.down()
    first.ref.kill()
    assert prompt.rest() == []
    assert down.get(timeout=WAIT) == KILLED
    assert other.run("'go on'") == "'go on'\n"
    assert attach().run("'come in'") == "'come in'\n"


def test_a_session_ends_with_its_evaluator(prompt: Attached, attach: Attach) -> None:
    prompt.begin("kill('evaluator')")
    assert prompt.bye() == "the session has ended: Killed()"
    assert attach().run("'come in'") == "'come in'\n"


def test_a_console_that_is_killed_is_restarted_and_listens_again(system: System, path: Path, attach: Attach) -> None:
    prompt = attach()
    console = child(system.ref, "console")
    down = console.down()
    console.kill()
    down.get(timeout=WAIT)
    assert prompt.bye() == "the session has ended: Killed()"
    assert child(system.ref, "console") is not console
    assert attach().run("'come in'") == "'come in'\n"


@pytest.mark.parametrize("source", ["'idle'", COMPUTES, AWAITS, PRINTS], ids=["idle", "computes", "awaits", "prints"])
def test_a_system_that_stops_ends_its_sessions_and_says_so(source: str, path: Path) -> None:
    with System(console=path) as system:
        prompt = Attached(path)
        prompt.run("import asyncio")
        prompt.begin(source)
        prompt.until("\n")
        if "idle" in source:
            prompt.until_ready()
        threads = evaluator_threads()
        reader = threading.Thread(target=lambda: ends.append(prompt.bye()))
        ends: list[str] = []
        reader.start()
        sync(*(session.ref for session in sessions(system)))
    reader.join(WAIT)
    prompt.close()
    assert ends == ["the server is stopping"]
    assert not path.exists()
    assert_ended(threads)


def test_a_client_that_does_not_read_does_not_hold_up_the_end(path: Path) -> None:
    with System(console=path):
        prompt = Attached(path)
        prompt.begin("print('x' * 10_000_000)")
        prompt.until("x")
    prompt.close()
    assert not path.exists()


# Clients that are none


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", f"a frame may have {MOST} bytes, got 1195725856"),
        (b"\0\0\0\1\xc1", "invalid"),
        (b"\0\0\0\1\x01", "Expected `object`, got `int`"),
    ],
    ids=["http", "no messagepack", "no frame"],
)
def test_what_is_no_frame_ends_the_session(data: bytes, reason: str, prompt: Attached) -> None:
    prompt.send_bytes(data)
    bye = prompt.bye()
    assert bye.startswith("not a client of a console: ")
    assert reason.lower() in bye.lower()


def test_a_client_of_another_version_is_told_so(prompt: Attached) -> None:
    prompt.send(Hello(99, has_colours=False, is_interactive=False))
    assert prompt.bye() == "the server has version 1 of the console's protocol, not 99"


def test_a_client_that_does_not_wait_is_told_so(prompt: Attached) -> None:
    prompt.send(Evaluate(1, COMPUTES), Evaluate(2, "2"))
    assert prompt.bye() == "a client may send one statement at a time; 1 is not done"


def test_there_is_an_end_to_the_number_of_sessions(path: Path, attach: Attach) -> None:
    for _ in range(16):
        attach()
    with pytest.raises(AssertionError, match="cannot start a session: there are 16 children already"):
        attach()


# The socket


def test_the_socket_is_for_its_user_only_and_gone_at_the_end(path: Path) -> None:
    with System(console=str(path)):
        assert stat.filemode(path.stat().st_mode) == "srw-------"
    assert not path.exists()


def test_there_is_no_console_unless_one_is_asked_for(journal: list[str]) -> None:
    with System([worker("a", journal)]) as system:
        assert running(system.ref) == ["pubsub", "a"]


def test_another_user_is_sent_away(system: System, attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(AssertionError, match="this console is for the user of the server only"):
        attach()
    assert sessions(system) == []


def test_the_socket_of_a_dead_server_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with System(console=path), Attached(path) as prompt:
        assert prompt.run("1") == "1\n"


@contextmanager
def refused(path: Path) -> Iterator[list[str]]:
    reason: list[str] = []
    with pytest.raises(StartError) as caught:
        yield reason
    assert isinstance(caught.value.root, ConsoleError)
    assert str(caught.value.root).startswith(f"cannot open a console at {str(path)!r}: ")
    reason.append(caught.value.root.reason)


def test_the_socket_of_a_living_server_is_not_taken(system: System, path: Path, attach: Attach) -> None:
    with refused(path) as reason, System(console=path):
        pass
    assert reason == ["a running server has it"]
    assert attach().run("1") == "1\n"


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with refused(path) as reason, System(console=path):
        pass
    assert reason == ["there is a file that is not a socket"]
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_told_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with refused(path) as reason, System(console=path):
        pass
    assert reason == [f"a Unix socket cannot have a path of {len(str(path))} bytes; choose a shorter one"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "console"
    with refused(path) as reason, System(console=path):
        pass
    assert reason == ["No such file or directory"]


def test_a_file_that_has_taken_the_place_of_the_socket_is_left_alone(path: Path) -> None:
    with System(console=path):
        path.unlink()
        path.write_text("precious")
    assert path.read_text() == "precious"
