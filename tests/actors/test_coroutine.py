"""The coroutines of actors, as asyncio and its tools see them."""

from __future__ import annotations

import asyncio
import inspect
import io
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors import Actor, Task, ThreadedActor
from actors.testing import ManualRuntime


class Worker(Actor):
    """Its callbacks wait."""

    async def on_start(self) -> None:
        await pause()

    async def on_receive(self, message: object) -> None:
        await pause()

    async def terminate(self, reason: object) -> None:
        await pause()


async def pause() -> None:
    await asyncio.get_running_loop().create_future()


def the_task(name: str) -> asyncio.Task[Any]:
    """Return the task of an actor that waits in a callback."""
    [task] = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    coroutine: Any = task.get_coro()
    assert coroutine.__qualname__ == f"Worker.{name}"
    return task


def in_callback(name: str, look: Callable[[asyncio.Task[Any]], None]) -> None:
    """Call `look` with the task of an actor that waits in the callback of that name."""

    async def main() -> None:
        ref = Worker.start()
        await asyncio.sleep(0)
        if name != "on_start":
            release()
            await ref.started()
            ref.send("message") if name == "on_receive" else ref.stop(block=False)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        look(the_task(name))
        ref.kill()

    asyncio.run(main())


def release() -> None:
    """Let the one task that waits go on."""
    [task] = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    waits_for: Any = task._fut_waiter  # type: ignore[attr-defined]  # what it waits for has no public name
    waits_for.set_result(None)


CALLBACKS = ["on_start", "on_receive", "terminate"]


@pytest.mark.parametrize("name", CALLBACKS)
def test_the_repr_of_a_task_names_the_callback_and_its_line(name: str) -> None:
    line = inspect.getsourcelines(getattr(Worker, name))[1] + 1

    def look(task: asyncio.Task[Any]) -> None:
        assert task.get_name().startswith("Worker <0.")
        assert f"coro=<Worker.{name}() running at {__file__}:{line}>" in repr(task)
        assert repr(task.get_coro()).startswith(f"<coroutine object Worker.{name} at 0x")

    in_callback(name, look)


@pytest.mark.parametrize("name", CALLBACKS)
def test_the_stack_of_a_task_is_the_callbacks(name: str) -> None:
    def look(task: asyncio.Task[Any]) -> None:
        assert [frame.f_code.co_qualname for frame in task.get_stack()] == [f"Worker.{name}"]
        task.print_stack(file=(printed := io.StringIO()))
        assert "await pause()" in printed.getvalue()

    in_callback(name, look)


@pytest.mark.parametrize("name", CALLBACKS)
def test_the_coroutine_of_a_task_has_the_attributes_of_any_other(name: str) -> None:
    def look(task: asyncio.Task[Any]) -> None:
        coroutine: Any = task.get_coro()
        assert (coroutine.__name__, coroutine.__qualname__) == (name, f"Worker.{name}")
        assert coroutine.cr_code is getattr(Worker, name).__code__
        assert coroutine.cr_frame.f_code is coroutine.cr_code
        assert coroutine.cr_await.__qualname__ == "pause"
        assert (coroutine.cr_running, coroutine.cr_suspended, coroutine.cr_origin) == (False, True, None)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_SUSPENDED
        assert asyncio.iscoroutine(coroutine)

    in_callback(name, look)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="new in Python 3.14")
def test_the_call_graph_of_a_task_begins_at_the_innermost_call() -> None:
    def look(task: asyncio.Task[Any]) -> None:
        graph: Any = asyncio.capture_call_graph(task)  # type: ignore[attr-defined, unused-ignore]  # see above
        assert [call.frame.f_code.co_qualname for call in graph.call_stack] == ["pause", "Worker.on_receive"]

    in_callback("on_receive", look)


def test_the_coroutine_that_is_running_says_so() -> None:
    states: list[str] = []

    class Running(Actor):
        async def on_receive(self, message: object) -> None:
            task = asyncio.current_task()
            assert task is not None
            states.append(inspect.getcoroutinestate(task.get_coro()))  # type: ignore[arg-type]  # it is a coroutine

    with ManualRuntime():
        Running.start().ask(1)
    assert states == [inspect.CORO_RUNNING]


@pytest.mark.parametrize(
    ("start", "names"),
    [
        (lambda: Task.start(pause), {"TaskActor._run"}),
        (ThreadedActor.start, {"Work.result"}),
    ],
    ids=["Task", "ThreadedActor"],
)
def test_tasks_and_actors_in_threads_have_names_too(start: Callable[[], Awaitable[Any]], names: set[str]) -> None:
    async def main() -> None:
        start()
        await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        coroutines: list[Any] = [task.get_coro() for task in tasks]
        assert {coroutine.__qualname__ for coroutine in coroutines} == names
        assert all(coroutine.cr_frame is not None for coroutine in coroutines)

    asyncio.run(main())
