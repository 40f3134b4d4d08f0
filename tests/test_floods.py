"""A part of `benchmarks/floods.py`: servers under floods, in processes of their own, on both event loops.

What is asserted is the growth of the server's memory, what the hostile client has seen, and that every echo of the neighbour is
answered; never a time. At this scale each of these was above its mark before reading was paced.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.live import ROOT, WAIT

FLOODS = ROOT / "benchmarks" / "floods.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

both_loops = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


def play(
    name: str, folder: Path, *, scale: float = 1.0, loop: str = "uvloop", server: str = "ashtree"
) -> Mapping[str, Any]:
    """Play one flood; return its figures, without the marks that are times."""
    figures = folder / "figures.json"
    options = ["--only", name, "--scale", str(scale), "--loop", loop, "--server", server, "--json", str(figures)]
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, str(FLOODS), *options], capture_output=True, text=True, timeout=5 * WAIT, check=False
    )
    assert figures.exists(), done.stderr
    [row] = json.loads(figures.read_text())
    row["failed"] = [mark for mark in row["failed"] if mark not in {"p99", "longest", "CPU"}]
    assert row["echoes"] >= row["lost"] == 0, row
    return row  # type: ignore[no-any-return]  # it is JSON


@both_loops
@pytest.mark.parametrize("name", ["slow_handler", "behind_a_join", "small_behind_a_join"])
def test_a_client_that_sends_faster_than_it_is_served_is_paused(name: str, loop: str, tmp_path: Path) -> None:
    row = play(name, tmp_path, scale=0.2, loop=loop)
    assert row["failed"] == [], row
    assert row["seen"].endswith("then paused")


@both_loops
def test_a_client_that_does_not_read_its_replies_is_paused(loop: str, tmp_path: Path) -> None:
    row = play("unread_large_echoes", tmp_path, scale=0.3, loop=loop)
    assert row["failed"] == [], row
    assert row["seen"].endswith("then paused")


@both_loops
def test_stalled_readers_of_broadcasts_take_no_more_than_their_bounds(loop: str, tmp_path: Path) -> None:
    assert play("stalled_readers", tmp_path, scale=0.2, loop=loop)["failed"] == []


@pytest.mark.parametrize("name", ["posts_behind_a_poll", "unfinished_posts"])
def test_bodies_that_nothing_waits_for_are_not_kept(name: str, tmp_path: Path) -> None:
    assert play(name, tmp_path, scale=0.2)["failed"] == []


@pytest.mark.parametrize("name", ["fragments", "empty_fragments"])
def test_a_message_of_too_many_fragments_ends_its_connection(name: str, tmp_path: Path) -> None:
    row = play(name, tmp_path)
    assert row["failed"] == [], row
    assert row["seen"].endswith("closed with 1009")


def test_a_message_that_is_nested_too_deep_ends_its_connection(tmp_path: Path) -> None:
    row = play("nested", tmp_path)
    assert row["failed"] == [], row
    assert row["seen"].endswith("closed with 1011")


@pytest.mark.parametrize(("name", "status"), [("large_head", "431"), ("many_headers", "431"), ("long_line", "414")])
def test_a_head_that_is_too_large_is_refused(name: str, status: str, tmp_path: Path) -> None:
    row = play(name, tmp_path)
    assert (row["seen"], row["failed"]) == (status, [])


@both_loops
def test_out_of_files_the_log_has_a_few_lines_and_clients_connect_again(loop: str, tmp_path: Path) -> None:
    assert play("out_of_files", tmp_path, loop=loop)["failed"] == []


@pytest.mark.parametrize("name", ["slow_handler", "behind_a_join", "stalled_readers"])
def test_on_uvicorn_the_same_holds(name: str, tmp_path: Path) -> None:
    assert play(name, tmp_path, scale=0.2, server="ashtree-asgi", loop="asyncio")["failed"] == []
