"""An actor that is used in its `__init__` says that it is not running yet, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors import SHUTDOWN, Actor, ActorDeadError, IdleTimeout, PubSub, Registry, Task, ThreadedActor
from actors.runtime.unstarted import not_running
from actors.testing import ManualRuntime
from supervisors.calls import start_child, which_children
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from supervisors.task_supervisor import TaskSupervisor

Use = Callable[[Any], object]

USES: dict[str, Use] = {
    "send": lambda actor: actor.send("other", 1),
    "send to itself": lambda actor: actor.send(actor, 1),
    "whereis": lambda actor: actor.whereis("other"),
    "register": lambda actor: actor.register("a name"),
    "monitor": lambda actor: actor.monitor("other"),
    "link": lambda actor: actor.link("other"),
    "unlink": lambda actor: actor.unlink("other"),
    "exit": lambda actor: actor.exit("other", SHUTDOWN),
    "send_after": lambda actor: actor.send_after(1.0, "tick"),
    "send_after to a name": lambda actor: actor.send_after(1.0, "tick", "other"),
    "send_interval": lambda actor: actor.send_interval(1.0, "tick"),
    "clock": lambda actor: actor.clock,
    "own": lambda actor: actor.own(pytest.fail),
    "reply_later": lambda actor: actor.reply_later(),
    "continue_with": lambda actor: actor.continue_with("next"),
    "stop": lambda actor: actor.stop(),
    "stop with a reason": lambda actor: actor.stop(SHUTDOWN),
    "stop by its ref": lambda actor: actor.actor_ref.stop(block=False),
    "down": lambda actor: actor.actor_ref.down(),
    "started": lambda actor: actor.actor_ref.started(),
    "Task.start_link": lambda actor: Task.start_link(actor, print),
}


OF_SUPERVISORS: dict[str, Use] = {
    "start_child": lambda supervisor: start_child(supervisor, Actor),
    "which_children": lambda supervisor: which_children(supervisor.actor_ref),
    "TaskSupervisor.start_child": lambda supervisor: TaskSupervisor.start_child(supervisor, print),
}


def worker(base: type[Actor], use: Use) -> type[Actor]:
    class Worker(base):  # type: ignore[misc, valid-type]  # a base that is an argument
        def __init__(self) -> None:
            use(self)

    return Worker


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("base", [Actor, ThreadedActor, Supervisor, DynamicSupervisor])
def test_what_needs_a_running_actor_says_so_in_init(base: type[Actor], use: Use) -> None:
    kind = worker(base, use)
    with ManualRuntime(), pytest.raises(RuntimeError) as raised:
        kind.start()
    assert str(raised.value) == str(not_running(kind))


@pytest.mark.parametrize("use", OF_SUPERVISORS.values(), ids=OF_SUPERVISORS)
@pytest.mark.parametrize("base", [Supervisor, DynamicSupervisor, TaskSupervisor])
def test_a_supervisor_has_no_children_in_init(base: type[Actor], use: Use) -> None:
    kind = worker(base, use)
    with ManualRuntime(), pytest.raises(RuntimeError, match="is not running yet"):
        kind.start()


def test_an_actor_does_not_subscribe_in_init() -> None:
    pubsub = PubSub()
    kind = worker(Actor, lambda actor: pubsub.subscribe("topic", actor.actor_ref))
    with ManualRuntime(), pytest.raises(RuntimeError, match="is not running yet"):
        kind.start()


def test_the_error_names_the_class_and_says_where_to_do_it() -> None:
    assert str(not_running(TaskSupervisor)) == (
        "TaskSupervisor is not running yet: in __init__ it can only set attributes; do this in on_start, which is called "
        "before the first message"
    )


def test_an_owner_of_tasks_must_be_running() -> None:
    with ManualRuntime():
        tasks = TaskSupervisor.start()
        kind = worker(Actor, lambda actor: TaskSupervisor.async_nolink(tasks, actor, print))
        with pytest.raises(RuntimeError, match="is not running yet"):
            kind.start()


def test_settings_may_be_made_in_init() -> None:
    got: list[object] = []

    class Worker(Actor):
        def __init__(self) -> None:
            self.trap_exit = True
            self.idle_timeout = 3.0
            got.append(self.idle_timeout)

        def on_receive(self, message: object) -> None:
            got.append(message)

    with ManualRuntime() as runtime:
        assert Worker.start().process.trap_exit
        runtime.advance(3.0)
    assert got == [3.0, IdleTimeout(3.0)]


def test_a_ref_of_an_actor_that_is_not_running_does_not_say_that_it_is_dead() -> None:
    texts: list[str] = []

    def use(actor: Actor) -> None:
        for call in (actor.actor_ref.ask, actor.actor_ref.tell, lambda key: Registry().register(key, actor.actor_ref)):
            with pytest.raises(ActorDeadError) as raised:
                call("a")
            texts.append(str(raised.value).removeprefix(str(actor)))

    with ManualRuntime():
        worker(Actor, use).start()
    unknown = " is not running yet"
    assert texts == [unknown, unknown, f"{unknown} and cannot be registered as 'a'"]


def test_what_does_not_exist_is_not_found_without_an_error_of_its_own() -> None:
    """`copy` and `pickle` look for special methods, which is no use of the actor."""

    class Worker(Actor):
        def __init__(self) -> None:
            assert not hasattr(self._process.scheduler, "__deepcopy__")

    with ManualRuntime():
        assert Worker.start().is_alive()
