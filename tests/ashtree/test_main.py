"""The command line: `ashtree COMMAND`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ashtree import __version__
from ashtree.__main__ import main
from tests.live import ROOT, WAIT


def exit_status(*arguments: str) -> object:
    """Run a command line that ends by `sys.exit`, and return its status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--version") == 0
    assert capsys.readouterr().out == f"ashtree {__version__}\n"


def test_the_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--help") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: ashtree [--help] [--version] COMMAND ...\n")
    assert [line.split()[0] for line in printed.partition("commands:\n")[2].partition("\n\n")[0].splitlines()] == [
        "demo",
        "console",
        "publish",
        "client",
    ]


def test_without_a_command_the_help_is_printed_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: ashtree ")


def test_an_unknown_command_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "0"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "ashtree: unknown command 'serve', expected one of: demo, console, publish, client\n"


@pytest.mark.parametrize("command", ["demo", "console", "client"])
def test_a_command_gets_its_arguments_and_its_name(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(command, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: ashtree {command} ")
    assert exit_status(command, "--no-such-option") == 2
    assert f"ashtree {command}: error: " in capsys.readouterr().err


def test_a_command_returns_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["console", "/no/such/socket"]) == 1
    assert "no server listens at '/no/such/socket'" in capsys.readouterr().err


def test_the_package_is_a_program() -> None:
    done = subprocess.run(  # our own module
        [sys.executable, "-m", "ashtree", "serve"], capture_output=True, text=True, cwd=ROOT, timeout=WAIT, check=False
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "ashtree: unknown command 'serve', expected one of: demo, console, publish, client",
    )
