"""The log of a program that has not set one up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from actors.testing import WAIT

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import logging, os, signal, sys
from ashtree import Actor, Channel, Endpoint, Socket, System, ok

def then(system):
    logging.getLogger("ashtree.channels").info("JOINED room:1")
    logging.getLogger("ashtree.transport").warning("something is wrong")
    during()
    os.kill(os.getpid(), signal.SIGINT)

def during():
    pass
"""
RUN = "System([Endpoint({}, port=0)], name='Shop').run(then)\n"
LINES = [
    r"INFO Shop is running at http://127\.0\.0\.1:\d+; Ctrl-C stops it",
    r"WARNING something is wrong",
    r"INFO Shop stops; a second Ctrl-C ends it at once",
    r"INFO Shop has stopped",
]


def output_of(*lines: str) -> list[str]:
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", PROGRAM + "\n".join(map(dedent, lines)) + "\n" + RUN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=4 * WAIT,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_program_that_has_not_set_up_logging_says_where_it_listens_and_how_to_stop_it() -> None:
    lines = output_of()
    assert len(lines) == len(LINES)
    for line, pattern in zip(lines, LINES, strict=True):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} " + pattern, line)


@pytest.mark.parametrize(
    ("set_up", "expected"),
    [
        ("logging.basicConfig(format='%(message)s')", ["something is wrong"]),
        ("logging.getLogger('ashtree').addHandler(logging.NullHandler())", []),
        ("logging.getLogger('ashtree').setLevel('ERROR')", []),
        (
            "during = lambda: (logging.basicConfig(format='later: %(message)s'), logging.warning('once'))",
            [*LINES[:2], "later: once", "later: Shop stops.*", "later: Shop has stopped"],
        ),
        (
            "logging.getLogger('ashtree.transport').addHandler(logging.StreamHandler())",
            [LINES[0], "something is wrong", *LINES[2:]],
        ),
    ],
    ids=["set up", "silenced", "a level", "set up later", "in part"],
)
def test_what_a_program_sets_up_itself_is_left_to_it(set_up: str, expected: list[str]) -> None:
    lines = output_of(set_up)
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.search(f"(^|[0-9] ){pattern}$", line)


def test_the_log_is_as_before_when_the_program_goes_on() -> None:
    after = (
        "import atexit\n"
        "@atexit.register\n"
        "def after():\n"
        "    assert not logging.getLogger('ashtree').handlers\n"
        "    assert logging.getLogger('ashtree.system').level == logging.NOTSET\n"
        "    sys.stderr.write('checked\\n')"
    )
    assert output_of(after)[-1] == "checked"
