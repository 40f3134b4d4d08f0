"""What the live page is told, and what it can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.channels.message import Message, Reply, ok
from actors.mailbox import Mailbox
from actors.registry import ActorRegistry
from supervisors.backoff import Backoff
from supervisors.calls import start_child
from supervisors.child_spec import ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from tests.supervisors.workers import BoomError, Worker, worker
from transport.endpoint import Endpoint
from transport.observer.observer import ObserverSocket
from transport.observer.observer_channel import INTERVAL
from transport.observer.view import FEW, FULL, NEWEST, PAGE, ROWS, Pager, Row
from transport.testing.channel_test import ChannelTest

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.lowlevel import FormatStatus
    from transport.testing.channel_test import JoinedChannel


class OpenSocket(ObserverSocket):
    """Lets everybody in."""

    def connect(self, params: Any, connect_info: Any) -> Reply:
        return ok()


class Keeper(Actor):
    """Keeps what it is told, and answers with it."""

    def __init__(self) -> None:
        self.password, self.seen = "hunter2", 0

    def on_receive(self, message: Any) -> Any:
        self.seen += 1
        return message


class Lingerer(Actor):
    """Waits in its handler until it is let go on, crashes then, and waits in `terminate` in the same way."""

    def __init__(self) -> None:
        self.steps = [asyncio.Event(), asyncio.Event()]

    async def on_receive(self, message: Any) -> None:
        await self.steps[0].wait()
        raise BoomError

    async def terminate(self, reason: ExitReason) -> None:
        await self.steps[1].wait()


class Page:
    """What the page would show: the rows in their order, and what is known of the selected actor."""

    def __init__(self, channel: JoinedChannel) -> None:
        self.channel = channel
        self.rows: dict[str, Any] = {}
        self.order: list[str] = []
        self.ended: list[dict[str, Any]] = []
        self.totals: dict[str, Any] = {}
        self.actor: dict[str, Any] = {}
        self.differences = 0

    def read(self) -> Page:
        """Take in what has come."""
        while any(message.event == "difference" for message in self.channel.client.received):
            self._apply(self.channel.assert_push("difference").payload)
        return self

    def _apply(self, difference: dict[str, Any]) -> None:
        self.differences += 1
        self.rows |= {row.id: row for row in difference.get("rows", [])}
        self.order = difference.get("order", self.order)
        self.ended += difference.get("ended", [])
        self.totals = difference.get("totals", self.totals)
        self.actor |= difference.get("actor", {})

    def look(self) -> Page:
        """Wait until the server has looked once more."""
        self.channel.client.advance(INTERVAL)
        return self.read()

    def push(self, event: str, payload: Any) -> Page:
        """Push an event, and take in what it leads to."""
        self.channel.push(event, payload)
        return self.read()

    @property
    def shown(self) -> list[Row | Pager]:
        return [self.rows[id_] for id_ in self.order]

    @property
    def names(self) -> list[str]:
        return [row.name if isinstance(row, Row) else "…" for row in self.shown]

    def row(self, name: str) -> Row:
        """Return the one row with that name."""
        [row] = [row for row in self.shown if isinstance(row, Row) and row.name == name]
        return row

    def below(self, name: str) -> list[Row | Pager]:
        """Return the rows of an actor's children."""
        return [row for row in self.shown if row.parent == self.row(name).id]

    @property
    def pager(self) -> Pager:
        [pager] = [row for row in self.shown if isinstance(row, Pager)]
        return pager


@pytest.fixture
def children() -> list[ChildSpec]:
    return [
        ChildSpec(Keeper, id="keeper"),
        ChildSpec(Supervisor, ([worker("a", []), worker("b", [])],), id="inner"),
        ChildSpec(DynamicSupervisor, (), {"max_restarts": 100}, id="many", name="many"),
    ]


@pytest.fixture
def page(children: list[ChildSpec]) -> Iterator[Page]:
    with ChannelTest(OpenSocket, endpoint=Endpoint({}, port=None), children=children) as client:
        page = Page(client.join("observer"))
        yield page.read()


def grow(page: Page, count: int, make: Callable[[int], ChildSpec] | None = None) -> list[Any]:
    """Start children under "many"; return their refs."""
    many = page.row("many").id
    supervisor = by_id(many)
    specs = [make(n) if make else ChildSpec(Keeper, id=f"k{n}", restart=Restart.TEMPORARY) for n in range(count)]
    futures = [start_child(supervisor, spec) for spec in specs]
    page.look()
    return [future.get() for future in futures]


def by_id(id_: str) -> Any:
    [ref] = [ref for ref in ActorRegistry.get_all() if str(ref.process.number) == id_]
    return ref


# The tree


def test_the_first_difference_is_the_whole_tree_with_the_pages_own_line_first(page: Page) -> None:
    assert page.differences == 1
    assert page.names[:3] == ["Transport", "channels", "observer"]
    assert page.names[-6:] == ["children", "keeper", "inner", "a", "b", "many"]
    assert [row.level for row in page.shown[-6:]] == [1, 2, 2, 3, 3, 2]


def test_the_number_of_actors_is_that_of_the_tree_whatever_comes_and_goes(page: Page) -> None:
    def is_consistent() -> bool:
        running = [row for row in page.shown if isinstance(row, Row) and row.pid is not None]
        return bool(page.totals["actors"] == len(running))

    assert is_consistent()
    refs = grow(page, 3)
    assert is_consistent()
    refs[0].kill()
    page.look()
    assert is_consistent()
    page.push("unfold", {"id": page.row("inner").id})
    assert is_consistent()
    loner = Keeper.start()
    page.look()
    assert is_consistent()
    loner.kill()
    page.look()
    assert is_consistent()


def test_a_row_says_what_there_is_to_know(page: Page) -> None:
    row = page.row("inner")
    assert (row.actor, row.supervisor, row.children, row.open) == ("Supervisor", True, 2, True)
    assert (row.position, row.siblings, row.status, row.pid) == (2, 3, "running", f"<0.{row.id}.0>")
    leaf = page.row("a")
    assert (leaf.actor, leaf.supervisor, leaf.children, leaf.open, leaf.parent) == ("Worker", False, 0, None, row.id)


def test_nothing_is_sent_while_nothing_changes(page: Page) -> None:
    # What the test itself has led to fades first.
    page.channel.client.advance(20 * INTERVAL)
    before = page.read().differences
    page.channel.client.advance(10 * INTERVAL)
    assert page.read().differences == before


def test_who_is_born_is_shown_with_the_next_look(page: Page) -> None:
    before = page.order
    grow(page, 1)
    [born] = page.below("many")
    assert set(page.order) == {*before, born.id}


def test_who_ends_is_told_with_its_reason(page: Page) -> None:
    [ref] = grow(page, 1)
    ref.stop(block=False)
    page.look()
    assert page.ended == [{"id": str(ref.process.number), "reason": "normal", "graceful": True}]
    assert page.below("many") == []


def test_a_crash_and_the_restart_after_it_come_together(page: Page) -> None:
    before = page.row("a")
    with page.channel.client.expect_crash(BoomError):
        by_id(before.id).send(BoomError("bang"))
        page.look()
    after = page.row("a")
    assert page.ended == [{"id": before.id, "reason": "BoomError: bang", "graceful": False}]
    assert (before.restarts, after.restarts) == (0, 1)
    assert after.id != before.id
    assert [row.name for row in page.below("inner") if isinstance(row, Row)] == ["a", "b"]


def test_a_child_that_does_not_run_has_a_row_all_the_same(page: Page) -> None:
    spec = ChildSpec(Worker, ("late", []), id="late", backoff=Backoff(5.0))
    [ref] = grow(page, 1, lambda _: spec)
    with page.channel.client.expect_crash(BoomError):
        ref.send(BoomError())
        page.look()
    row = page.row("late")
    assert (row.status, row.pid, row.restarts) == ("restarting", None, 1)
    page.channel.client.advance(10)
    assert page.read().row("late").status == "running"


def test_branches_can_be_folded_and_unfolded(page: Page) -> None:
    inner = page.row("inner").id
    page.push("fold", {"id": inner})
    assert page.row("inner").open is False
    assert "a" not in page.names
    page.push("unfold", {"id": inner})
    assert page.below("inner") == [page.row("a"), page.row("b")]


def test_a_deep_tree_is_shown_in_part(page: Page) -> None:
    spec = ChildSpec(Keeper, id="leaf")
    for depth in range(ROWS + 10):
        spec = ChildSpec(Supervisor, ([spec],), id=f"depth {depth}")
    grow(page, 1, lambda _: spec)
    assert len(page.order) == ROWS


# Many


def test_of_many_children_a_page_and_the_newest_are_shown(page: Page) -> None:
    refs = grow(page, 1000)
    ids = [str(ref.process.number) for ref in refs]
    shown = [row.id for row in page.below("many")]
    assert shown == [*ids[:PAGE], page.pager.id, *ids[-NEWEST:]]
    assert (page.pager.first, page.pager.last, page.pager.siblings) == (1, PAGE, 1000)
    assert [row.position for row in page.below("many") if isinstance(row, Row)] == [*range(1, PAGE + 1), 998, 999, 1000]
    assert page.row("many").children == 1000


def test_the_pages_can_be_turned(page: Page) -> None:
    refs = grow(page, 100)
    page.push("page", {"id": page.row("many").id, "first": 90})
    shown = [row.id for row in page.below("many")]
    assert shown == [*(str(ref.process.number) for ref in refs[90:]), page.pager.id]
    assert (page.pager.first, page.pager.last) == (91, 100)
    page.push("page", {"id": page.row("many").id, "first": 5000})
    assert page.pager.first == 1


@pytest.mark.parametrize(("siblings", "is_open"), [(FEW, True), (FEW + 1, False)])
def test_the_branches_of_many_siblings_are_folded(page: Page, siblings: int, is_open: Any) -> None:
    grow(page, siblings, lambda n: ChildSpec(Supervisor, ([ChildSpec(Keeper)],), id=f"s{n}"))
    assert {row.open for row in page.below("many") if isinstance(row, Row)} == {is_open}


def test_the_fullest_mailbox_is_shown_wherever_it_is_and_warms_those_above(page: Page) -> None:
    refs = grow(page, 500)
    full = refs[250]
    page.push("suspend", {"id": str(full.process.number)})
    for _ in range(FULL + 1):
        full.send("more")
    page.look()
    row = page.rows[str(full.process.number)]
    assert row.id in page.order
    assert (row.mailbox, row.status) == (FULL + 1, "suspended")
    assert page.row("many").below == FULL + 1
    assert page.totals["waiting"] == FULL + 1


class NarrowKeeper(Keeper):
    mailbox = Mailbox(2, "drop_newest")


def test_a_bounded_mailbox_is_shown_with_its_limit(page: Page) -> None:
    (ref,) = grow(page, 1, lambda n: ChildSpec(NarrowKeeper, id=n))
    number = str(ref.process.number)
    page.push("suspend", {"id": number})
    for _ in range(5):
        ref.send("more")
    page.push("select", {"id": number})
    page.look()
    assert (page.rows[number].mailbox, page.rows[number].limit) == (2, 2)
    assert (page.actor["mailbox"], page.actor["mailbox_limit"], page.actor["left_out"]) == (2, 2, 3)
    assert page.row("many").limit is None


def test_rates_are_of_what_was_handled(page: Page) -> None:
    keeper = by_id(page.row("keeper").id)
    for _ in range(40):
        for _ in range(100):
            keeper.send("hello")
        page.look()
    assert page.row("keeper").rate == 100 / INTERVAL
    assert page.totals["rate"] == 100 / INTERVAL


# The search


def test_a_search_shows_its_hits_and_what_is_above_them(page: Page) -> None:
    grow(page, 500)
    page.push("search", {"text": "KEEPER k499"})
    assert page.names == ["children", "many", "k499"]
    assert page.row("k499").hit
    assert (page.totals["hits"], page.row("many").hit, page.row("many").open) == (1, False, True)
    page.push("search", {"text": " "})
    assert page.names[:3] == ["Transport", "channels", "observer"]


def test_a_search_goes_on_with_those_who_are_born(page: Page) -> None:
    many = page.row("many").id
    page.push("search", {"text": "newcomer"})
    assert (page.order, page.totals["hits"]) == ([], 0)
    ref = start_child(by_id(many), ChildSpec(Keeper, id="newcomer"))
    page.look()
    assert page.names == ["children", "many", "newcomer"]
    ref.get().kill()
    page.look()
    assert (page.row("newcomer").restarts, page.totals["hits"]) == (1, 1)


# One actor


def test_a_selected_actor_is_shown_without_its_secrets(page: Page) -> None:
    keeper = page.row("keeper")
    page.push("select", {"id": keeper.id})
    assert page.actor["pid"] == keeper.pid
    assert page.actor["state"] == [["password", "[FILTERED]"], ["seen", "0"]]
    assert page.actor["ancestors"] == [f"children <0.{page.row('children').id}.0>"]
    assert page.actor["links"] == page.actor["ancestors"]


def test_its_messages_are_told_while_it_is_selected(page: Page) -> None:
    keeper = page.row("keeper").id
    page.push("select", {"id": keeper})
    by_id(keeper).ask({"token": "abc", "n": 1}, block=False)
    page.look()
    [message] = page.actor["messages"]
    assert message["text"] == message["reply"] == "{'token': [FILTERED], 'n': 1}"
    assert page.actor["state"][1] == ["seen", "1"]
    page.push("select", {"id": None})
    assert by_id(keeper).process.debug is None


def test_the_messages_that_it_has_kept_are_told_at_once(page: Page) -> None:
    spec = ChildSpec(Keeper, id="recorded", restart=Restart.TEMPORARY, record=2)
    ref = start_child(by_id(page.row("many").id), spec).get()
    for n in range(3):
        ref.ask({"token": "abc", "n": n}, block=False)
    page.push("select", {"id": str(ref.process.number)})
    texts = [message["text"] for message in page.actor["messages"]]
    assert texts == ["{'token': [FILTERED], 'n': 1}", "{'token': [FILTERED], 'n': 2}"]
    assert page.actor["record"] == 2
    ref.ask({"n": 3}, block=False)
    page.look()
    [message] = page.actor["messages"]
    assert message["reply"] == "{'n': 3}"


def test_of_the_kept_messages_the_one_at_hand_is_told_when_it_is_over_and_that_it_failed(page: Page) -> None:
    spec = ChildSpec(Lingerer, id="lingerer", restart=Restart.TEMPORARY, record=2)
    ref = start_child(by_id(page.row("many").id), spec).get()
    assert isinstance(ref.process.actor, Lingerer)
    steps = ref.process.actor.steps
    ref.send("bang")
    page.push("select", {"id": str(ref.process.number)})
    assert "messages" not in page.actor
    with page.channel.client.expect_crash():
        steps[0].set()
        page.push("select", {"id": None})
        page.push("select", {"id": str(ref.process.number)})
        assert [message["error"] for message in page.actor["messages"]] == ["BoomError: "]
        steps[1].set()
        page.look()
    assert page.actor["status"] == "dead"


def test_what_clients_say_is_told_in_brief(page: Page) -> None:
    keeper = page.row("keeper").id
    page.push("select", {"id": keeper})
    by_id(keeper).send(Message("1", "2", "room:a", "new_msg", {"token": "abc", "n": 1}))
    page.look()
    [message] = page.actor["messages"]
    assert message["brief"] == "new_msg {'token': [FILTERED], 'n': 1}"
    assert "topic='room:a'" in message["text"]


def test_a_selected_actor_is_shown_as_its_author_wants(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def hide(_: Keeper, status: FormatStatus) -> FormatStatus:
        if status.state is not None:
            status.state = {"seen": "a few"}
        elif isinstance(status.message, Message):
            status.message = Message(None, None, "a room", "an event", {"token": "abc"})
        return status

    monkeypatch.setattr(Keeper, "format_status", hide)
    keeper = page.row("keeper").id
    page.push("select", {"id": keeper})
    assert page.actor["state"] == [["seen", "'a few'"]]
    by_id(keeper).send(Message("1", "2", "room:a", "new_msg", {"n": "hunter2"}))
    page.look()
    [message] = page.actor["messages"]
    assert message["brief"] == "an event {'token': [FILTERED]}"
    assert "hunter2" not in message["text"]


def test_an_actor_is_left_alone_when_the_page_goes(page: Page) -> None:
    keeper = page.row("keeper").id
    page.push("select", {"id": keeper})
    assert by_id(keeper).process.debug is not None
    page.channel.ref.kill()
    page.channel.client.test.settle()
    assert by_id(keeper).process.debug is None


def test_a_selected_actor_that_ends_is_told_of_as_dead(page: Page) -> None:
    keeper = page.row("keeper").id
    page.push("select", {"id": keeper})
    page.push("kill", {"id": keeper})
    page.look()
    assert (page.actor["status"], page.actor["reason"]) == ("dead", "killed")


def test_one_that_is_gone_can_be_selected_all_the_same(page: Page) -> None:
    page.push("select", {"id": "99999999"})
    assert (page.actor["status"], page.actor["pid"]) == ("dead", "<0.99999999.0>")


def test_a_selected_actor_is_shown_in_the_tree_with_all_above_it(page: Page) -> None:
    refs = grow(page, 500)
    page.push("fold", {"id": page.row("many").id})
    page.push("select", {"id": str(refs[300].process.number)})
    assert str(refs[300].process.number) in page.order


# Orders


def test_suspend_and_resume(page: Page) -> None:
    keeper = page.row("keeper").id
    page.channel.push("suspend", {"id": keeper}).assert_reply("ok")
    by_id(keeper).send("wait")
    assert (page.look().row("keeper").status, page.row("keeper").mailbox) == ("suspended", 1)
    page.channel.push("resume", {"id": keeper}).assert_reply("ok")
    assert (page.look().row("keeper").status, page.row("keeper").mailbox) == ("running", 0)


def test_kill(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ashtree.transport")
    before = page.row("keeper")
    page.channel.push("kill", {"id": before.id}).assert_reply("ok")
    page.look()
    assert page.ended == [{"id": before.id, "reason": "killed", "graceful": False}]
    assert page.row("keeper").restarts == 1
    assert f"observer {page.channel.ref.pid}: kill keeper {before.pid}" in caplog.text


@pytest.mark.parametrize("order", ["kill", "suspend", "resume"])
@pytest.mark.parametrize("id_", ["99999999", "12/keeper"])
def test_who_does_not_run_can_be_told_nothing(page: Page, order: str, id_: str) -> None:
    page.channel.push(order, {"id": id_}).assert_reply("error", {"reason": "it has exited"})


def test_a_page_cannot_suspend_what_keeps_it_alive(page: Page) -> None:
    for id_ in page.channel.reply.payload["own"]:
        page.channel.push("suspend", {"id": id_}).assert_reply("error", {"reason": "this page could not resume it"})


def test_nothing_is_measured_while_nobody_looks(page: Page) -> None:
    handled = page.channel.ref.process.handled
    page.push("rest", {})
    page.channel.client.advance(60)
    assert page.channel.ref.process.handled == handled + 1
    grow_unseen = start_child(by_id(page.row("many").id), ChildSpec(Keeper, id="unseen"))
    assert "unseen" not in page.read().names
    page.push("watch", {})
    assert grow_unseen.get().is_alive()
    assert "unseen" in page.names


def test_an_event_that_it_does_not_know_crashes_it_as_any_channel(page: Page) -> None:
    with page.channel.client.expect_crash():
        page.channel.push("frobnicate", {})
    page.channel.assert_push("phx_error")
