"""What a process is told of a push that another one handles, and what it tells others of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from actors.channels.message import Reply, ok
from actors.idempotency.claim import IN_PROGRESS, UNKNOWN, Claim
from actors.idempotency.idempotency import Idempotency
from actors.idempotency.push_logs import Claimant, PushLogs
from actors.idempotency.push_store import PushStore, SharedPush, StoreUnavailableError
from actors.pubsub.push_inquiry import PushInquiry
from actors.pubsub.requests import OutOfReachError, PeerAnswer, PeerError, UnreachableError
from actors.testing.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors.runtime.scheduler import Scheduler
    from actors.testing.manual_runtime import ManualRuntime

ANN = Claimant("room:1", "ann")
PUSH = SharedPush(ANN, "k", b"digest", "the other")
DONE = Reply("ok", msgspec.Raw(b"1"))
ABOUT = {"topic": "room:1", "client": "ann", "key": "k"}


class Store(PushStore):
    """Knows one push, and whether a claim is unsettled."""

    def __init__(self, known: SharedPush | Exception | None, *, unsettled: bool = False) -> None:
        self.known, self.unsettled = known, unsettled

    async def claim(self, push: SharedPush, options: Idempotency) -> SharedPush | Callable[[Reply], object]:
        raise NotImplementedError

    async def find(self, push: SharedPush) -> SharedPush | None:
        if isinstance(self.known, Exception):
            raise self.known
        return self.known

    def is_unsettled(self, claimant: Claimant, key: str) -> bool:
        return self.unsettled and (claimant, key) == (ANN, "k")


class Handler:
    """Stands for a PubSub, its adapter, and its peers, of which one says always the same."""

    def __init__(self, store: PushStore | None, says: PeerAnswer | Exception | None = None) -> None:
        self.pushes: Any = store
        self.says = says
        self.alive = False
        self.service: Any = None
        self.runs: list[str] = []
        self.logs = PushLogs()
        self.scheduler: Scheduler = Probe().ref.process.scheduler
        self.inquiry = PushInquiry(cast("Any", Handling(self)))

    def serve(self, _name: str, service: Any) -> None:
        self.service = service

    async def ask(self, run: str, _service: str, about: dict[str, Any], *, seconds: float) -> PeerAnswer:
        assert (about, seconds) == (ABOUT, 7.0)
        self.runs.append(run)
        if isinstance(self.says, Exception):
            raise self.says
        assert self.says is not None
        return self.says

    def may_be_alive(self, run: str) -> bool:
        assert run == "the other"
        return self.alive


class Handling:
    """The PubSub as `PushInquiry` sees it."""

    def __init__(self, handler: Handler) -> None:
        self.adapter = self.peers = handler
        self.pushes, self.scheduler = handler.logs, handler.scheduler


def run(runtime: ManualRuntime, handler: Handler, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    task = handler.scheduler.loop.create_task(work)
    runtime.settle()
    return task


def first_answer(runtime: ManualRuntime, says: PeerAnswer | Exception, known: Any, *, alive: bool = False) -> Reply:
    handler = Handler(Store(known), says)
    handler.alive = alive
    found: Reply = run(runtime, handler, handler.inquiry.first_answer(handler.pushes, PUSH)).result()
    assert handler.runs == ["the other"]
    return found


NOTHING = PeerAnswer({})


@pytest.mark.parametrize(
    ("says", "known", "answer"),
    [
        (PeerAnswer({"status": "ok", "binary": False}, b"1"), PUSH, DONE),
        (PeerAnswer({"status": "error", "binary": True}, b"1"), PUSH, Reply("error", b"1")),
        (PeerAnswer({"running": True}), PUSH, IN_PROGRESS),
        (PeerError("busy"), PUSH, IN_PROGRESS),
        # It knows nothing of it: it may be answered by now, undone, or claimed by another process since.
        (NOTHING, PUSH, UNKNOWN),
        (NOTHING, PUSH._replace(answer=DONE), DONE),
        (NOTHING, None, IN_PROGRESS),
        (NOTHING, PUSH._replace(run="a third"), IN_PROGRESS),
        (NOTHING, StoreUnavailableError(), IN_PROGRESS),
        (PeerAnswer({"status": 7}), PUSH, UNKNOWN),
        # It has ended.
        (UnreachableError("gone"), PUSH, UNKNOWN),
        (UnreachableError("gone"), PUSH._replace(answer=DONE), DONE),
    ],
)
def test_what_another_process_handles(
    runtime: ManualRuntime, says: PeerAnswer | Exception, known: SharedPush | Exception | None, answer: Reply
) -> None:
    assert first_answer(runtime, says, known) == answer


@pytest.mark.parametrize("failure", [UnreachableError("gone"), OutOfReachError("Redis is away")])
def test_a_process_that_may_be_alive_is_not_given_up(runtime: ManualRuntime, failure: Exception) -> None:
    assert first_answer(runtime, failure, PUSH, alive=True) is IN_PROGRESS


# What others ask


def claimed(handler: Handler) -> Claim:
    return handler.logs.claim(ANN, "k", b"digest", Idempotency(), 0.0)


def asked(runtime: ManualRuntime, handler: Handler, about: dict[str, Any]) -> PeerAnswer | asyncio.Task[PeerAnswer]:
    answer = handler.service(about, b"")
    if not isinstance(answer, Awaitable):
        return cast("PeerAnswer", answer)
    return run(runtime, handler, cast("Coroutine[Any, Any, PeerAnswer]", answer))


def test_it_tells_the_first_answer_when_there_is_one(runtime: ManualRuntime) -> None:
    handler = Handler(None)
    claim = claimed(handler)
    later = asked(runtime, handler, ABOUT)
    assert isinstance(later, asyncio.Task)
    assert not later.done()
    claim.settle(ok(1))
    runtime.settle()
    answer = PeerAnswer({"status": "ok", "binary": False}, b"1")
    assert later.result() == asked(runtime, handler, ABOUT) == answer


def test_bytes_are_told_as_such(runtime: ManualRuntime) -> None:
    handler = Handler(None)
    claimed(handler).settle(ok(b"1"))
    assert asked(runtime, handler, ABOUT) == PeerAnswer({"status": "ok", "binary": True}, b"1")


def test_it_says_after_five_seconds_that_it_is_still_handled(runtime: ManualRuntime) -> None:
    handler = Handler(None)
    claimed(handler)
    later = asked(runtime, handler, ABOUT)
    assert isinstance(later, asyncio.Task)
    runtime.advance(4.9)
    assert not later.done()
    runtime.advance(0.2)
    assert later.result() == PeerAnswer({"running": True})


def test_of_more_than_eight_that_wait_the_first_is_told_to_come_again(runtime: ManualRuntime) -> None:
    handler = Handler(None)
    claimed(handler)
    first, *others = (asked(runtime, handler, ABOUT) for _ in range(9))
    assert isinstance(first, asyncio.Task)
    assert first.result() == PeerAnswer({"running": True})
    assert not any(cast("asyncio.Task[Any]", each).done() for each in others)
    for each in others:
        cast("asyncio.Task[Any]", each).cancel()


def test_a_claim_that_is_unsettled_is_in_progress(runtime: ManualRuntime) -> None:
    assert asked(runtime, Handler(Store(None, unsettled=True)), ABOUT) == PeerAnswer({"running": True})


@pytest.mark.parametrize("about", [ABOUT, {**ABOUT, "key": 1}, {**ABOUT, "client": 1}, {}])
@pytest.mark.parametrize("store", [None, Store(None)])
def test_of_what_it_does_not_know_it_says_nothing(
    runtime: ManualRuntime, about: dict[str, Any], store: PushStore | None
) -> None:
    assert asked(runtime, Handler(store), about) == NOTHING
