"""What mypy and pyright make of the types that authors use: answers to requests, names that are required, overrides."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.node import JAVASCRIPT, are_clients_installed, missing, program

ROOT = Path(__file__).parent.parent
WRONG = re.compile(r"# wrong: (?P<mypy>[\w-]+), (?P<pyright>\w+)$")

# A line with a mistake ends in the names under which mypy and pyright report it; all other lines have none.
PROGRAMS = {
    "requests.py": """
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, assert_type

import msgspec

from ashtree import Actor, ActorRef, Future, Registry, Request, Via, ask, call
from ashtree.testing import ManualRuntime

T = TypeVar("T")


class Get(Request[int]):
    pass


@dataclass
class Find(Request[str | None]):
    key: str


@dataclass(frozen=True, slots=True)
class First(Request[T], Generic[T]):
    values: list[T]


class Names(msgspec.Struct, Request[list[str]], frozen=True):
    prefix: str


class _Pair(NamedTuple):
    left: int
    right: int


class Sum(_Pair, Request[int]):
    __slots__ = ()


class Switch(Request[bool], enum.Enum):
    ON = "on"
    OFF = "off"


class Open(Request[ActorRef["Counter"]]):
    pass


class Counter(Actor):
    pass


async def by_ref(ref: ActorRef[Counter]) -> None:
    assert_type(await ref.call(Get()), int)
    assert_type(await ref.call(Find("key"), timeout=None), str | None)
    assert_type(await ref.call(First([1.5])), float)
    assert_type(await ref.call(Names("a")), list[str])
    assert_type(await ref.call(Sum(1, 2)), int)
    assert_type(await ref.call(Switch.ON), bool)
    assert_type(await (await ref.call(Open())).call(Get()), int)
    assert_type(await ref.call("get"), Any)
    assert_type(await ref.call(("find", "key")), Any)


def in_a_thread(ref: ActorRef, counter: Counter, block: bool) -> None:
    assert_type(ref.ask(Get()), int)
    assert_type(ref.ask(Get(), block=True, timeout=1), int)
    assert_type(ref.ask(Get(), block=False), Future[int])
    assert_type(ref.ask(Get(), block=False).get(), int)
    assert_type(counter.actor_ref.ask(Names("a")), list[str])
    assert_type(ref.ask("get"), Any)
    assert_type(ref.ask("get", block=False), Future[Any])
    assert_type(ref.ask(Get(), block=block), object)
    assert_type(ref.ask("get", block=block), Any)


async def by_name(names: Registry) -> None:
    assert_type(ask("counter", Get()), int)
    assert_type(ask("counter", Get(), block=False), Future[int])
    assert_type(ask(Via(names, "counter"), Find("key")), str | None)
    assert_type(ask("counter", "get"), Any)
    assert_type(ask("counter", "get", block=False), Future[Any])
    assert_type(await call("counter", Get()), int)
    assert_type(await call("counter", "get"), Any)


def in_a_test(runtime: ManualRuntime, ref: ActorRef) -> None:
    assert_type(runtime.ask(ref, Get()), int)
    assert_type(runtime.ask(ref, "get"), Any)


def total(request: Request[float]) -> Request[complex]:
    return request


total(Get())


async def to_wider_types(ref: ActorRef) -> None:
    number: float = await ref.call(Get())
    maybe: int | None = ref.ask(Get())
    future: Future[float] = ref.ask(Get(), block=False)
    names: Iterable[object] = await ref.call(Names("a"))
    print(number, maybe, future, names)


async def mistakes(ref: ActorRef) -> None:
    name: str = await ref.call(Get())  # wrong: assignment, reportAssignmentType
    future: Future[str] = ref.ask(Get(), block=False)  # wrong: assignment, reportAssignmentType
    numbers: list[int] = ask("names", Names("a"))  # wrong: assignment, reportAssignmentType
    len(await call("counter", Get()))  # wrong: arg-type, reportArgumentType
    ask("counter", Find("key")).upper()  # wrong: union-attr, reportOptionalMemberAccess
    total(Names("a"))  # wrong: arg-type, reportArgumentType
    print(name, future, numbers)


class Untold(Request):  # wrong: type-arg, reportMissingTypeArgument
    pass
""",
    "names.py": """
from typing import Any, assert_type

from ashtree import Actor, ActorRef, ActorRegistry, Registry, System, Via, observer, whereis


class Waiter(Actor):
    async def on_receive(self, message: object) -> object:
        assert_type(self.whereis("oven"), ActorRef | None)
        return await self.whereis("oven", required=True).call(message)


def everywhere(names: Registry, system: System) -> None:
    assert_type(whereis("oven"), ActorRef | None)
    assert_type(whereis("oven", required=True), ActorRef)
    assert_type(names.whereis("oven"), ActorRef | None)
    assert_type(names.whereis("oven", required=True), ActorRef)
    assert_type(Via(names, "oven").whereis(), ActorRef | None)
    assert_type(Via(names, "oven").whereis(required=True), ActorRef)
    assert_type(ActorRegistry.get_by_name("oven"), ActorRef | None)
    assert_type(ActorRegistry.get_by_name("oven", required=True), ActorRef)
    assert_type(system.whereis("oven"), ActorRef[Any] | None)
    assert_type(system.whereis("oven", required=True), ActorRef[Any])
    assert_type(observer.whereis("oven", required=True), ActorRef[Any])


def mistakes(name: str) -> None:
    whereis(name).send("a dish")  # wrong: union-attr, reportOptionalMemberAccess
    whereis(name, required=False).send("a dish")  # wrong: union-attr, reportOptionalMemberAccess
""",
    "overrides.py": """
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ashtree import (
    Actor,
    Channel,
    ConnectInfo,
    DynamicSupervisor,
    ExitReason,
    FormatStatus,
    Mailbox,
    Payload,
    Presence,
    Reply,
    Socket,
    Stop,
    Supervisor,
    ThreadedActor,
    ok,
)


class Room(Channel):
    def join(self, topic: str, payload: Payload) -> Reply:
        return ok() if topic else super().join(topic, payload)

    def handle_in(self, event: str, payload: Payload) -> Reply | None:
        return ok() if event == "ping" else super().handle_in(event, payload)

    def handle_out(self, event: str, payload: Payload) -> Stop | None:
        return super().handle_out(event, payload)

    def handle_info(self, message: object) -> Stop | None:
        return super().handle_info(message)

    def handle_token(self) -> Stop | None:
        return super().handle_token()

    def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)


class Quiet(Room):
    def handle_in(self, event: str, payload: dict[str, Any]) -> Reply | None:
        answer = super().handle_in(event, payload)
        return answer


class Door(Channel):
    def join(self, topic: str, payload: dict[str, Any]) -> Reply:
        answer = super().join(topic, payload)
        return answer

    def handle_in(self, event: str, payload: dict[str, Any]) -> Stop | None:
        if event == "close":
            return Stop()
        return super().handle_in(event, payload)

    def handle_info(self, message: str) -> None:
        super().handle_info(message)


class Strict(Channel):
    def handle_in(self, event: str, payload: Payload) -> Reply | Stop | None:
        return super().handle_in(event, payload)


class Always(Channel):
    def handle_in(self, event: str, payload: Payload) -> Reply:
        return super().handle_in(event, payload)


class Whatever(Channel):
    def handle_in(self, event: str, payload: Payload) -> object:
        return super().handle_in(event, payload)

    def handle_out(self, event: str, payload: Payload) -> object:
        return super().handle_out(event, payload)


class AsyncRoom(Channel):
    async def join(self, topic: str, payload: Payload) -> Reply:
        return ok() if topic else super().join(topic, payload)

    async def handle_in(self, event: str, payload: Payload) -> Reply | None:
        return ok() if event == "ping" else super().handle_in(event, payload)

    async def handle_out(self, event: str, payload: Payload) -> Stop | None:
        return super().handle_out(event, payload)

    async def handle_info(self, message: object) -> Stop | None:
        return super().handle_info(message)

    async def handle_token(self) -> Stop | None:
        return super().handle_token()

    async def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)


class LoggedRoom(AsyncRoom):
    async def handle_in(self, event: str, payload: Payload) -> Reply | None:
        return await super().handle_in(event, payload)


class UserSocket(Socket):
    def connect(self, params: Mapping[str, Any], connect_info: ConnectInfo) -> Reply:
        return super().connect(params, connect_info)

    def handle_token(self, token: str) -> Reply:
        return super().handle_token(token)

    def id(self) -> str | None:
        return super().id()


class AsyncSocket(Socket):
    async def connect(self, params: Mapping[str, Any], connect_info: ConnectInfo) -> Reply:
        return super().connect(params, connect_info)

    async def handle_token(self, token: str) -> Reply:
        return super().handle_token(token)


class Counter(Actor):
    def __init__(self, count: int) -> None:
        self.count = count

    def on_start(self) -> None:
        super().on_start()

    def on_receive(self, message: object) -> int | None:
        return 1 if message == "get" else super().on_receive(message)

    def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)

    def on_stop(self) -> None:
        super().on_stop()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().on_failure(exception_type, exception_value, traceback)


class Bounded(Actor):
    mailbox = Mailbox(100, on_full="drop_oldest")

    def format_status(self, status: FormatStatus) -> FormatStatus:
        return super().format_status(status)


class Smaller(Bounded):
    mailbox = Mailbox(10)


class Wrong(Actor):
    mailbox = 10  # wrong: assignment, reportAssignmentType


Mailbox(10, "drop")  # wrong: arg-type, reportArgumentType


class AsyncCounter(Actor):
    async def on_start(self) -> None:
        super().on_start()

    async def on_receive(self, message: object) -> int | None:
        return 1 if message == "get" else super().on_receive(message)

    async def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)

    async def on_stop(self) -> None:
        super().on_stop()


class Ledger(ThreadedActor):
    def on_receive(self, message: object) -> object:
        return super().on_receive(message)


class Team(Supervisor):
    async def on_start(self) -> None:
        await super().on_start()

    def on_receive(self, message: object) -> object:
        return super().on_receive(message)

    async def terminate(self, reason: ExitReason) -> None:
        await super().terminate(reason)


class Crowd(DynamicSupervisor):
    def on_start(self) -> None:
        super().on_start()

    async def terminate(self, reason: ExitReason) -> None:
        await super().terminate(reason)


class Users(Presence):
    def handle_metas(self, topic: str, diff: dict[str, Any], presences: dict[str, Any]) -> None:
        super().handle_metas(topic, diff, presences)


class AsyncUsers(Presence):
    async def handle_metas(self, topic: str, diff: dict[str, Any], presences: dict[str, Any]) -> None:
        super().handle_metas(topic, diff, presences)


class Greedy(Actor):
    def on_receive(self, message: object) -> int:
        return super().on_receive(message)  # wrong: return-value, reportReturnType


class Bare(Channel):
    def join(self, topic: str) -> Reply:  # wrong: override, reportIncompatibleMethodOverride
        return ok()
""",
}


class Report(NamedTuple):
    """A mistake that a type checker reports: where, and under which name."""

    file: str
    line: int
    name: str


def test_mypy_reads_the_types_as_authors_mean_them(tmp_path: Path) -> None:
    write_programs(tmp_path)
    cache = ROOT / ".mypy_cache" / "typed_asks"
    options = ["--strict", "--config-file=", "--follow-imports=silent", "--no-error-summary", f"--cache-dir={cache}"]
    checked = run([sys.executable, "-m", "mypy", *options, *PROGRAMS], tmp_path)
    assert checked.stderr == ""
    lines = checked.stdout.splitlines()
    found = [
        re.fullmatch(r"(\w+\.py):(\d+): error: .*  \[([\w-]+)\]", line) for line in lines if ": note: " not in line
    ]
    assert all(found), checked.stdout
    reports = [Report(line[1], int(line[2]), line[3]) for line in found if line]
    assert sorted(reports) == expected("mypy"), checked.stdout


def test_pyright_reads_the_types_as_authors_mean_them(tmp_path: Path) -> None:
    node = program("node")
    if not are_clients_installed():
        missing("pyright is not installed: make tests/javascript/node_modules/.installed")
    write_programs(tmp_path)
    settings = {"typeCheckingMode": "strict", "include": list(PROGRAMS), "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    pyright = str(JAVASCRIPT / "node_modules/pyright/index.js")
    checked = run([node, pyright, "--outputjson", "--pythonpath", sys.executable, "--project", str(tmp_path)], tmp_path)
    reports = [
        Report(Path(report["file"]).name, report["range"]["start"]["line"] + 1, report["rule"])
        for report in json.loads(checked.stdout)["generalDiagnostics"]
    ]
    assert sorted(reports) == expected("pyright"), checked.stdout


def write_programs(directory: Path) -> None:
    for name, text in PROGRAMS.items():
        (directory / name).write_text(text)


def expected(checker: str) -> list[Report]:
    lines = [
        Report(name, number, mistake[checker])
        for name, text in PROGRAMS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (mistake := WRONG.search(line))
    ]
    assert lines
    return sorted(lines)


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own programs
        command,
        cwd=directory,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
