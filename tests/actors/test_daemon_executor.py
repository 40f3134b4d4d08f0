"""The threads of `asyncio.to_thread` on our own event loops, which do not keep the program from ending."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from actors.runtime.daemon_executor import DaemonExecutor
from actors.testing import WAIT


def test_a_call_returns_or_raises_through_its_future() -> None:
    executor = DaemonExecutor()
    assert executor.submit(divmod, 7, 2).result(WAIT) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 7, 0).result(WAIT)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(divmod, 7, 2)


def test_its_threads_are_daemons_and_used_again() -> None:
    executor = DaemonExecutor()
    threads = [executor.submit(threading.current_thread).result(WAIT) for _ in range(10)]
    assert {thread.daemon for thread in threads} == {True}
    executor.shutdown()
    assert not any(thread.is_alive() for thread in threads)


def test_calls_that_wait_for_each_other_have_a_thread_each() -> None:
    executor, barrier = DaemonExecutor(), threading.Barrier(20)
    calls = [executor.submit(barrier.wait, WAIT) for _ in range(20)]
    assert wait(calls, WAIT).not_done == set()
    executor.shutdown()


def test_what_hangs_is_left_behind_with_its_name_and_its_result_dropped() -> None:
    executor, begun, released = DaemonExecutor(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        released.wait(WAIT)

    call = executor.submit(hang)
    assert begun.wait(WAIT)
    left = executor.leave(0.0)
    assert [name.rpartition(".")[2] for name in left.values()] == ["hang"]
    released.set()
    for thread in left:
        thread.join(WAIT)
    assert not call.done()
