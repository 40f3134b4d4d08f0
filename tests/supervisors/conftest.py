"""A system with a console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisors.system import System
from tests.supervisors.workers import worker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the console of `system` is."""
    return tmp_path / "console"


@pytest.fixture
def system(path: Path, journal: list[str]) -> Iterator[System]:
    with System([worker("a", journal)], console=path, name="Shop") as started:
        yield started
