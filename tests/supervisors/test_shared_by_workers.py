"""What the workers of a program share."""

from __future__ import annotations

import pytest

from actors import Actor
from supervisors import ChildSpec, Supervisor
from supervisors.workers.shared_by_workers import check_workers, shared_by_workers


class Port:
    """A child that is opened once for all workers."""

    def before_fork(self, workers: int) -> None: ...

    def in_worker(self, number: int) -> None: ...

    def without_worker(self, number: int) -> None: ...

    def after_workers(self) -> None: ...


def test_children_that_are_shared_are_found_also_in_the_lists_of_supervisors() -> None:
    one, two, three = Port(), Port(), Port()
    inner = ChildSpec(Supervisor, ([Actor, two],))
    children = [one, Actor, ChildSpec(Supervisor, ([inner],), {"others": (three,)}), ChildSpec(Actor, (1, "two"))]
    assert shared_by_workers(children) == [one, two, three]


@pytest.mark.parametrize("workers", [0, -1, True, 1.0, "2"])
def test_a_number_of_workers_is_checked(workers: object) -> None:
    with pytest.raises(ValueError, match=r"workers must be a number of processes >= 1, or None, got"):
        check_workers(workers)


def test_workers_need_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    check_workers(2)
    monkeypatch.delattr("os.fork")
    with pytest.raises(ValueError, match=r"os\.fork, which this platform does not have: start several programs"):
        check_workers(2)
