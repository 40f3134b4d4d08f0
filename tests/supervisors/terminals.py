"""Where text may go: a terminal, or a file."""

from __future__ import annotations

from io import StringIO

import pytest


class Terminal(StringIO):
    """Takes what is written to it for shown in a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what in the environment of the tests may forbid colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
