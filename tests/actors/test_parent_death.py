"""A child process that is to end with its parent."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from actors.parent_death import killed_with_parent
from tests.children import fork, in_child, needs_fork, runs, wait_for
from tests.servers.redis_server import until

pytestmark = needs_fork

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux does it")


@on_linux
def test_the_child_is_killed_when_its_parent_is() -> None:
    reading, writing = os.pipe()
    parent = fork()
    if not parent:
        end_with_parent = killed_with_parent()
        if not fork():
            end_with_parent()
            os.write(writing, str(os.getpid()).encode())
        signal.pause()
    child = int(os.read(reading, 16))
    os.close(reading)
    os.close(writing)
    os.kill(parent, signal.SIGKILL)
    wait_for(parent)
    until(lambda: not runs(child))


@on_linux
def test_a_child_whose_parent_has_died_before_is_killed_at_once() -> None:
    end_with_this_process = killed_with_parent()
    middle = fork()
    if not middle:
        # The child of this one has another parent already.
        child = fork()
        if not child:
            end_with_this_process()
            os._exit(0)
        os._exit(0 if wait_for(child) == -signal.SIGKILL else 1)
    assert wait_for(middle) == 0


def test_elsewhere_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert in_child(killed_with_parent()) is None
