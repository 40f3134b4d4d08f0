"""A prompt beside a system."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from actors.actor import Actor
from actors.exceptions import StartError
from supervisors.observer.commands import words
from supervisors.observer.prompt import BANNER, repl
from supervisors.system import System
from tests.supervisors.workers import worker

Type = Callable[..., None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Have lines typed at Python's own prompt; the end of the input is Ctrl-D."""
    monkeypatch.setitem(sys.modules, "IPython", None)

    def type_(*lines: str) -> None:
        rest = iter(lines)

        def read(_prompt: str = "") -> str:
            try:
                return next(rest)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", read)

    return type_


def test_a_system_runs_while_its_prompt_is_there(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    typed("print(system.whereis('pubsub').is_alive(), whereis('pubsub').pid)")
    system = System()
    seen: list[bool] = []
    repl(system, lambda started: seen.append(started.ref.is_alive()))
    printed = capsys.readouterr()
    assert printed.out.startswith("True <0.")
    assert BANNER in printed.err
    assert seen == [True]
    assert not system.ref.is_alive()


def test_at_the_end_the_tree_is_stopped_in_order(typed: Type, journal: list[str]) -> None:
    typed("kill('a')")
    repl(System([worker("a", journal), worker("b", journal)]))
    assert journal == ["a starts", "b starts", "a starts", "b ends: shutdown", "a ends: shutdown"]


def test_a_system_that_runs_already_runs_on(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    typed()
    with System() as system:
        repl(system)
        assert system.ref.is_alive()
    banner = capsys.readouterr().err
    assert "the system keeps running" in banner
    assert "then kill(" not in banner


@pytest.mark.parametrize("line", ["exit()", "raise SystemExit(3)", "import sys; sys.exit('over')"])
def test_who_exits_leaves_the_prompt_and_nothing_else(typed: Type, line: str) -> None:
    typed(line, "raise AssertionError('not reached')")
    system = System()
    repl(system)
    assert not system.ref.is_alive()


def test_a_mistake_at_the_prompt_ends_nothing(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    typed("state('pubsup')", "1 / 0", "print('still here')")
    repl(System())
    printed = capsys.readouterr()
    assert "UnknownActorError: there is no actor 'pubsup'; closest matches: 'pubsub'" in printed.err
    assert "ZeroDivisionError" in printed.err
    assert printed.out.endswith("still here\n")


def test_all_words_are_there_and_the_banner_names_them(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    typed("print(*dir())")
    repl(System())
    assert words().keys() | {"system", "help", "words"} <= set(capsys.readouterr().out.split())
    assert [word for word in words() if f"{word}(" not in BANNER] == []


def test_a_system_that_cannot_start_has_no_prompt(typed: Type) -> None:
    class Failing(Actor):
        def on_start(self) -> None:
            raise ValueError("no")

    typed("raise AssertionError('not reached')")
    with pytest.raises(StartError):
        repl(System([Failing]))


def test_a_prompt_does_not_block_the_systems_own_loop(typed: Type) -> None:
    async def main() -> None:
        async with System() as system:
            with pytest.raises(RuntimeError, match=r"await asyncio.to_thread\(repl, system\)"):
                repl(system)
            typed("ask('pubsub', 'x')")
            await asyncio.to_thread(repl, system)
            assert system.ref.is_alive()

    asyncio.run(main())


def test_ipython_is_taken_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython_prompt = pytest.importorskip("supervisors.observer.ipython_prompt")
    given: dict[str, Any] = {}
    monkeypatch.setattr(ipython_prompt, "start_ipython", lambda **options: given.update(options))
    repl(System())
    assert given["argv"] == []
    assert words().keys() | {"system", "help", "words"} == given["user_ns"].keys()
    assert given["config"].TerminalInteractiveShell.banner1 == BANNER


def test_there_is_a_prompt_without_readline(
    typed: Type, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "readline", None)
    typed("print('here')")
    repl(System())
    assert capsys.readouterr().out == "here\n"
