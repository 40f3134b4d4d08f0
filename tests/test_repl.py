"""The prompts, in a pseudo-terminal: the session of the README, Ctrl-C, Ctrl-D, SIGTERM, and other prompts than our own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisors.observer.prompt import BANNER
from tests.live import ROOT
from tests.terminal import CTRL_C, TAB, TerminalSession, without
from transport.client.sync import Channel, connect

DEMO = ("demo.py", "--repl", "--port", "0")
SESSIONS = re.findall(r"^```pycon\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def prompt(tmp_path: Path) -> Iterator[TerminalSession]:
    """The demo with Python's own prompt."""
    with TerminalSession(*DEMO, **without("IPython", tmp_path)) as session:
        yield session


def normal(text: str) -> str:
    """Take out of a text what differs from run to run: times, ports, and how wide columns are."""
    text = re.sub(r"\b\d+(\.\d+)? (ms|s|min)\b", "1 s", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:4000", text)
    return re.sub(r"[ ─]+", " ", text).replace(" \n", "\n").strip()


def steps(session: str) -> list[tuple[str, str]]:
    """Return the lines that are typed in a session of the README, each with what comes of it."""
    parts = re.split(r"^>>> (.*)\n", session, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def test_the_session_of_the_readme(prompt: TerminalSession) -> None:
    first, joined, killed = SESSIONS
    started = prompt.until_prompt()
    assert BANNER.strip() in started
    follow(prompt, first)
    address = re.search(r"127\.0\.0\.1:\d+", started)
    assert address is not None
    with connect(f"ws://{address[0]}/socket", params={"user": "ann"}, rejoin_after=lambda _tries: 0.01) as socket:
        room = socket.channel("room:lobby")
        room.join()
        until(room, "presence_state")
        follow(prompt, joined)
        follow(prompt, killed, first_step=True)
        until(room, "presence_state")
        follow(prompt, killed, first_step=False)
        prompt.end()


def follow(prompt: TerminalSession, session: str, *, first_step: bool | None = None) -> None:
    of_session = steps(session)
    chosen = {None: of_session, True: of_session[:1], False: of_session[1:]}[first_step]
    for line, answer in chosen:
        assert normal(prompt.run(line)) == normal(answer), line


def until(channel: Channel, event: str) -> Any:
    for message in channel.messages(timeout=15):
        if message.event == event:
            return message
    raise AssertionError(f"no {event} came")


def test_it_is_in_colours_in_a_terminal(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    prompt.run("tree()")
    assert "\x1b[1mpubsub\x1b[0m\x1b[36m <0.2.0>\x1b[0m" in prompt.raw
    prompt.end()


def test_it_is_plain_if_colours_are_not_wanted(tmp_path: Path) -> None:
    with TerminalSession(*DEMO, **without("IPython", tmp_path), NO_COLOR="1") as prompt:
        prompt.until_prompt()
        assert "pubsub <0.2.0>" in prompt.run("tree()")
        assert "\x1b[36m" not in prompt.raw
        prompt.end()


def test_ctrl_c_interrupts_the_line_and_not_the_server(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    prompt.type("whereis('nobo")
    prompt.until("nobo")
    assert "KeyboardInterrupt" in prompt.interrupt()
    assert prompt.run("whereis('listener')") == "<ActorRef Listener 'listener' <0.6.0>>\n"
    prompt.end()


def test_ctrl_c_ends_what_refreshes(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    prompt.type("top(every=0.01)\n")
    for _ in range(3):
        prompt.until(r"actors: 6  waiting: 0  messages/s")
    prompt.type(CTRL_C)
    prompt.until_prompt()
    assert prompt.run("whereis('listener').is_alive()") == "True\n"
    prompt.end()


def test_names_of_actors_are_completed_in_quotes(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    prompt.type(f"whereis('listen{TAB}")
    prompt.until(r"whereis\('listener'?")
    prompt.interrupt()
    prompt.end()


def test_what_awaits_runs_on_the_loop_of_the_system(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    prompt.run("import asyncio")
    assert prompt.run("await asyncio.sleep(0, 'slept')") == "'slept'\n"
    assert prompt.run("await kill('pubsub')") == "Killed()\n"
    prompt.run("x = (await asyncio.sleep(0), asyncio.get_running_loop())[1]")
    assert prompt.run("x is system.ref.process.scheduler.loop") == "True\n"
    assert prompt.run("await asyncio.sleep(0, 1 / 0)").endswith("ZeroDivisionError: division by zero\n")
    prompt.type("await asyncio.sleep(3600, print('begun'))\n")
    prompt.until("begun\n")
    prompt.type(CTRL_C)
    assert prompt.until_prompt().endswith("KeyboardInterrupt\n")
    assert prompt.run("await asyncio.sleep(0, 'goes on')") == "'goes on'\n"
    prompt.end()


def test_words_are_completed(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    prompt.type(f"subscri{TAB}'x')\n")
    assert "no actor has subscribed to 'x'" in prompt.until_prompt()
    prompt.end()


def test_an_unknown_actor_is_told_in_the_last_line(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    lines = prompt.run("state('lisstener')").splitlines()
    assert len(lines) == 1
    assert lines[-1].endswith("UnknownActorError: there is no actor 'lisstener'; closest matches: 'listener'")
    prompt.end()


def test_sigterm_stops_it_in_order(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    prompt.terminate()
    prompt.wake()
    assert "Traceback" not in prompt.rest()


def test_exit_stops_it_in_order(prompt: TerminalSession) -> None:
    prompt.until_prompt()
    prompt.type("exit()\n")
    assert "Traceback" not in prompt.rest()


def test_in_ipython(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    simple = {"IPY_TEST_SIMPLE_PROMPT": "1", "NO_COLOR": "1", "IPYTHONDIR": str(tmp_path)}
    with TerminalSession(*DEMO, prompt=r"In \[\d+\]: ", **simple) as prompt:
        assert "Try first" in prompt.until_prompt()
        assert "── listener <0.6.0> Listener" in prompt.run("tree()")
        assert "pubsub = PubSub(\n    name='pubsub'," in prompt.run("state('pubsub')")
        assert "Killed()" in prompt.run("kill('pubsub')")
        typo = prompt.run("state('lisstener')").strip()
        assert typo == "UnknownActorError: there is no actor 'lisstener'; closest matches: 'listener'"
        assert prompt.run("1 / 0").count("Cell In") == 1
        prompt.run("import asyncio")
        assert "'slept'" in prompt.run("await asyncio.sleep(0, 'slept')")
        prompt.run("x = (await asyncio.sleep(0), asyncio.get_running_loop())[1]")
        assert "True" in prompt.run("x is system.ref.process.scheduler.loop")
        assert "----> 1 await asyncio.sleep(0, 1 / 0)" in prompt.run("await asyncio.sleep(0, 1 / 0)")
        prompt.run("from warnings import simplefilter; simplefilter('ignore')")
        prompt.run("fits = lambda line: [one.text for one in get_ipython().Completer.completions(line, len(line))]")
        assert "['listener']" in prompt.run("fits('state(\"list')")
        assert "['whereis']" in prompt.run("fits('wherei')")
        assert "replace_state" in prompt.run("help()")
        assert "<ActorRef PubSubServer 'pubsub' <0.7.0>>" in prompt.run("whereis('pubsub')")
        assert "KeyboardInterrupt" in prompt.interrupt()
        prompt.end()


def test_in_a_plain_prompt_with_a_system_of_its_own() -> None:
    with TerminalSession("-q", "-i", "-c", "from supervisors import System") as prompt:
        prompt.until_prompt()
        prompt.run("from supervisors.observer import *")
        prompt.run("system = System().__enter__()")
        assert "└── pubsub <0.2.0> PubSubServer" in prompt.run("tree()")
        prompt.run("ask('pubsub', 'x')")  # what it logs comes before the next prompt, and not within
        assert prompt.run("ps('handled')[0].name").endswith("'pubsub'\n")
        assert prompt.run("kill('pubsub')") == "Killed()\n"
        assert "<0.3.0>" in prompt.run("whereis('pubsub')")
        prompt.run("system.__exit__(None, None, None)")
        prompt.end()


def test_in_the_prompt_of_asyncio_nothing_hangs() -> None:
    with TerminalSession("-m", "asyncio") as prompt:
        prompt.until(">>> import asyncio\n")
        prompt.until_prompt()
        prompt.run("from supervisors import System")
        prompt.run("from supervisors.observer import *")
        prompt.run("system = await System().start()")
        assert "└── pubsub <0.2.0> PubSubServer" in prompt.run("tree()")
        assert "subscriptions=Subscriptions()" in prompt.run("state('pubsub')")
        assert "status: running" in prompt.run("info('pubsub')")
        assert prompt.run("send('pubsub', 'x'); state('pubsub')['_monitors']").endswith("{}\n")
        assert prompt.run("await kill('pubsub')") == "Killed()\n"
        assert prompt.run("await suspend('pubsub')") == ""
        assert "status: suspended" in prompt.run("info('pubsub')")
        assert "actors: 2" in prompt.run("await top(every=0.01, times=1)")
        assert prompt.run("await system.stop()") == ""
        prompt.end()
