"""What is inside an actor, as a prompt shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors import sys
from actors.actor import Actor
from actors.future import Future
from tests.supervisors.systems import Counter, its, out, system

if TYPE_CHECKING:
    from io import StringIO

    from actors.lowlevel import FormatStatus
    from actors.testing import ManualRuntime
    from supervisors.observer.commands import Commands
    from supervisors.system import System

__all__ = ["its", "out", "system"]


def test_the_state_holds_the_values_and_shows_no_secrets(its: Commands) -> None:
    its.send("counter", "x")
    state = its.state("counter")
    assert state == {"count": 1, "password": "hunter2"}
    assert repr(state) == "count = 1\npassword = [FILTERED]"


class Cashier(Actor):
    """Hides the number of a card."""

    def __init__(self) -> None:
        self.card, self.token = "4929", "hunter2"

    async def on_receive(self, message: Any) -> None:
        if message != "go on":
            await Future(self._process.scheduler)

    def format_status(self, status: FormatStatus) -> FormatStatus:
        if status.state is not None:
            status.state["card"] = "…"
        else:
            status.message = "a card"
        return status


def test_the_state_and_the_messages_are_shown_as_the_author_wants(
    its: Commands, runtime: ManualRuntime, out: StringIO
) -> None:
    ref = Cashier.start()
    sys.log(ref, 5)
    assert its.state(ref) == {"card": "…", "token": "hunter2"}
    assert repr(its.state(ref)) == "card = '…'\ntoken = [FILTERED]"
    its.trace(ref, 1)
    its.send(ref, "4929")
    runtime.settle()
    assert out.getvalue() == f"{ref} got 'a card'\n"
    info = its.info(ref)
    assert info.message == "'a card'"
    assert "4929" not in repr(info)


def test_the_state_of_an_actor_that_waits_is_seen_at_once(its: Commands, runtime: ManualRuntime) -> None:
    its.send("counter", 60.0)
    its.send("counter", "x")
    assert its.state("counter")["count"] == 0
    assert (its.info("counter").status, its.info("counter").mailbox) == ("waiting", 1)


def test_the_dead_have_no_state_and_a_last_status(its: Commands, runtime: ManualRuntime) -> None:
    ref = its.whereis("counter")
    its.kill(ref)
    assert (its.info(ref).status, its.state(ref)) == ("dead", {})
    assert repr(its.state(ref)) == f"{ref} is dead"


def test_info_tells_what_the_runtime_knows_without_secrets(its: Commands, system: System) -> None:
    its.send("counter", 60.0)
    info = its.info("counter")
    lines = {line.split(":")[0].strip(): line.split(":", 1)[-1].strip() for line in repr(info).splitlines()}
    assert (lines["status"], lines["message"], lines["restarts"]) == ("waiting", "60.0", "0")
    assert lines["parent"] == str(system.ref)
    assert lines["password = [FILTERED]"] == "password = [FILTERED]"
    assert "hunter2" not in f"{info} {info!r}"
    assert info.state["password"] == Counter.SECRET


def test_info_shows_no_secrets_of_the_message_at_hand_and_the_log(its: Commands, runtime: ManualRuntime) -> None:
    class Login(Actor):
        async def on_receive(self, message: Any) -> None:
            await Future(self._process.scheduler)

    ref = Login.start()
    sys.log(ref, 5)
    its.send(ref, {"user": "ann", "password": "hunter2"})
    runtime.settle()
    text = repr(its.info(ref))
    assert "'user': 'ann', 'password': [FILTERED]" in text
    assert "hunter2" not in text
