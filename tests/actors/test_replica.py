"""The replica of one process: diffs in and out of order, and all presences in parts."""

from __future__ import annotations

import msgspec

from actors.presence.presences import Diff
from actors.presence.replica import Replica
from actors.presence.replica_messages import PresenceDiff, PresenceState


def meta(ref: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"phx_ref": ref}))


def diff(clock: int, *refs: str, leaves: tuple[str, ...] = (), key: str = "ann") -> PresenceDiff:
    joins = {"room": {key: [meta(ref) for ref in refs]}} if refs else {}
    return PresenceDiff(
        node="", run="", clock=clock, joins=joins, leaves={"room": {key: list(leaves)}} if leaves else {}
    )


def state(clock: int, *refs: str, part: int = 0, is_last: bool = True, number: int = 1) -> PresenceState:
    joins = {"room": {"ann": [meta(ref) for ref in refs]}} if refs else {}
    return PresenceState(node="", run="", clock=clock, number=number, part=part, is_last=is_last, joins=joins)


def change(joins: tuple[str, ...] = (), leaves: tuple[str, ...] = ()) -> Diff:
    sides = ({"ann": [{"phx_ref": ref} for ref in refs]} if refs else {} for refs in (joins, leaves))
    return Diff("room", *sides)


def met(*refs: str) -> Replica:
    """Return a replica that has these presences, at clock 0."""
    replica = Replica("web-1", "run")
    replica.ask(1, 0.0)
    assert replica.add_state(state(0, *refs)) == ([change(refs)] if refs else [])
    return replica


def refs(replica: Replica, key: str = "ann") -> list[str]:
    return [each["phx_ref"] for each in replica.table.metas("room", key)]


def test_nothing_is_known_before_all_presences_have_come() -> None:
    replica = Replica("web-1", "run")
    assert replica.is_behind
    assert replica.add_diff(diff(2, "2")) == []
    replica.ask(1, 0.0)
    assert replica.add_state(state(1, "1")) == [change(("1",)), change(("2",))]
    assert refs(replica) == ["1", "2"]
    assert not replica.is_behind


def test_diffs_out_of_order_are_added_in_order_and_once() -> None:
    replica = met()
    assert replica.add_diff(diff(2, leaves=("1",))) == []
    assert replica.add_diff(diff(1, "1", "2")) == [change(("1", "2")), change((), ("1",))]
    assert replica.add_diff(diff(1, "1", "2")) == replica.add_diff(diff(2, leaves=("1",))) == []
    assert (refs(replica), len(replica.table)) == (["2"], 1)


def test_only_what_differs_is_told_when_all_presences_come_again() -> None:
    replica = met("1", "2")
    replica.saw(5)
    assert replica.is_behind
    replica.ask(2, 0.0)
    assert replica.add_state(state(5, "2", "3", number=2)) == [change(("3",), ("1",))]
    assert (replica.clock, refs(replica)) == (5, ["2", "3"])


def test_presences_come_in_parts_in_any_order_and_those_that_have_left_leave_when_all_have_come() -> None:
    replica = met("1", "2")
    replica.ask(2, 0.0)
    assert replica.add_state(state(5, "3", part=0, is_last=False, number=2)) == [change(("3",))]
    # Once more, and one before its turn.
    assert replica.add_state(state(5, "3", part=0, is_last=False, number=2)) == []
    assert replica.add_state(state(5, "5", part=2, number=2)) == [change(("5",))]
    assert replica.add_state(state(5, "2", "4", part=1, is_last=False, number=2)) == [change(("4",), ("1",))]
    assert sorted(refs(replica)) == ["2", "3", "4", "5"]


def test_an_answer_to_an_earlier_request_is_ignored() -> None:
    replica = met("1")
    replica.ask(2, 0.0)
    assert replica.add_state(state(5, "2", number=1)) == []
    assert refs(replica) == ["1"]


def test_an_answer_is_ignored_if_the_missing_diffs_have_come() -> None:
    replica = met("1")
    replica.ask(2, 0.0)
    replica.add_diff(diff(1, "2"))
    assert replica.add_state(state(1, "2", number=2)) == []
    assert refs(replica) == ["1", "2"]


def test_what_does_not_fit_in_while_a_diff_is_missing_is_missing_too() -> None:
    replica = met()
    for clock in range(2, 500):
        replica.saw(clock)
        assert replica.add_diff(diff(clock, str(clock))) == []
    assert len(replica.add_diff(diff(1, "1"))) == 201
    assert replica.is_behind


def test_a_key_has_its_metas_in_the_order_in_which_they_came() -> None:
    replica = met("1")
    replica.add_diff(diff(1, "2", "3"))
    replica.add_diff(diff(2, leaves=("2",)))
    replica.add_diff(diff(3, "4"))
    assert refs(replica) == ["1", "3", "4"]
    assert [entry.ref for entry in replica.table] == ["1", "3", "4"]
    assert replica.leaves() == [change((), ("1", "3", "4"))]


def test_what_has_left_leaves_nothing() -> None:
    replica = met("1")
    assert replica.add_diff(diff(1, leaves=("unknown",))) == []
    assert replica.add_diff(diff(2, leaves=("unknown",), key="ben")) == []
    assert replica.add_diff(diff(3, "1")) == []
    replica.add_diff(diff(4, "2", leaves=("1",)))
    replica.add_diff(diff(5, leaves=("2",)))
    assert (list(replica.table), list(replica.table.keys("room")), len(replica.table)) == ([], [], 0)
