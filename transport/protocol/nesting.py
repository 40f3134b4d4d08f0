"""JSON that is nested deeper than a thread's stack allows, decoded and encoded all the same.

The JSON codec recurses in C, and Python stops that after about a thousand levels, before the stack of the thread overflows.
Phoenix has no such limit. So what is nested deeper is processed again in a thread with a larger stack. That is slow, but no
ordinary message is nested like that; and what could be decoded can be encoded, however deep the caller's own stack is.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["MAX_NESTING", "read_deep", "write_deep"]

MAX_NESTING = 10_000
"""The approximate number of levels that a message may have; JSON that is nested deeper is malformed."""

# A reply adds levels around a payload that it sends back.
_WRAPPING = 100
# msgspec needs less than 420 bytes of stack for a level (measured on x86-64).
_STACK_SIZE = 2048 * (MAX_NESTING + _WRAPPING)

Value = TypeVar("Value")
Result = TypeVar("Result")

# The recursion limit and the stack size of new threads are settings of the whole process.
_lock = threading.Lock()


def read_deep(read: Callable[[Value], Result], data: Value) -> Result:
    """Return `read(data)`; RecursionError if it is nested deeper than `MAX_NESTING`."""
    return _on_a_deep_stack(read, data, MAX_NESTING)


def write_deep(write: Callable[[Value], Result], value: Value) -> Result:
    """Return `write(value)`; RecursionError if it is nested much deeper than `MAX_NESTING`."""
    return _on_a_deep_stack(write, value, MAX_NESTING + _WRAPPING)


def _on_a_deep_stack(function: Callable[[Value], Result], value: Value, levels: int) -> Result:
    results: list[Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(function(value))
        except Exception as error:  # noqa: BLE001  # raised again in the caller's thread
            errors.append(error)

    with _lock:
        _run_in_thread(run, levels)
    if errors:
        raise errors[0]
    return results[0]


def _run_in_thread(run: Callable[[], None], levels: int) -> None:
    limit, stack_size = sys.getrecursionlimit(), threading.stack_size(_STACK_SIZE)
    sys.setrecursionlimit(max(limit, levels))
    try:
        thread = threading.Thread(target=run, name="deep nesting")
        thread.start()
        thread.join()
    finally:
        threading.stack_size(stack_size)
        sys.setrecursionlimit(limit)
