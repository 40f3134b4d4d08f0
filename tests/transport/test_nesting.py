"""What is nested deep is done on a stack of its own."""

from __future__ import annotations

import sys
import threading
from typing import Any

import msgspec
import pytest

from transport.protocol.nesting import MAX_NESTING, read_deep, write_deep


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_this_thread_cannot_read_it() -> None:
    with pytest.raises(RecursionError):
        msgspec.json.decode("[" * 5000 + "]" * 5000)


@pytest.mark.parametrize("levels", [1, 5000, MAX_NESTING - 100])
def test_what_is_read_can_be_written(levels: int) -> None:
    data = b"[" * levels + b"]" * levels
    assert write_deep(msgspec.json.encode, read_deep(msgspec.json.decode, data)) == data


def test_there_is_an_end_to_it() -> None:
    with pytest.raises(RecursionError):
        read_deep(msgspec.json.decode, "[" * 1_000_000)
    with pytest.raises(RecursionError):
        write_deep(msgspec.json.encode, nested(1_000_000))


def test_other_errors_are_those_of_the_function() -> None:
    with pytest.raises(msgspec.DecodeError):
        read_deep(msgspec.json.decode, "[" * 5000)


def test_the_limits_of_the_process_are_as_they_were() -> None:
    before = sys.getrecursionlimit(), threading.stack_size(), threading.active_count()
    read_deep(msgspec.json.decode, "[]")
    with pytest.raises(msgspec.DecodeError):
        read_deep(msgspec.json.decode, "[")
    assert (sys.getrecursionlimit(), threading.stack_size(), threading.active_count()) == before
