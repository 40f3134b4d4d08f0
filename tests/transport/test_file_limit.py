"""How many connections the limit of open files allows."""

from __future__ import annotations

import resource
import sys

import pytest

from transport.http.file_limit import connections_for_files, open_files


@pytest.mark.parametrize(
    ("files", "connections"), [(1024, 960), (10_000, 9_500), (1_048_576, 996_148), (100, 50), (2, 1), (1, 1)]
)
def test_a_part_of_the_files_is_for_other_things(files: int, connections: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, resource.RLIM_INFINITY))
    assert connections_for_files() == connections


def test_without_a_limit_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert open_files() == sys.maxsize
    assert connections_for_files() > sys.maxsize // 2
