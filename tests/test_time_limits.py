"""No test waits indefinitely: a wait for a process, thread or queue has a timeout, and each phase of a test a limit."""

from __future__ import annotations

import ast
import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from tests.live import ROOT, WAIT
from tests.time_limit import LIMIT, heed_signals, time_limit

PROGRAMS = sorted(
    path.relative_to(ROOT)
    for name in ("tests", "examples", "fuzz")
    for path in (ROOT / name).rglob("*.py")
    if "node_modules" not in path.parts
)

# What blocks a thread, its methods that wait, and how many arguments come before their timeout.
WAITS = {
    "Barrier": {"wait": 0},
    "Event": {"wait": 0},
    "Popen": {"communicate": 1, "wait": 0},
    "Queue": {"get": 1},
    "SimpleQueue": {"get": 1},
    "Thread": {"join": 0},
    "subprocess": dict.fromkeys(("run", "call", "check_call", "check_output"), sys.maxsize),
}


def unbounded(tree: ast.Module) -> Iterator[str]:
    """Yield the waits that block a thread and have no timeout."""
    kinds = {"subprocess": "subprocess", **dict(bindings(tree))}
    kinds |= {last_name(target): kinds[last_name(of)] for target, of in loops(tree) if last_name(of) in kinds}
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and id(node) not in awaited:
            kind = kinds.get(last_name(node.func.value), "")
            before = WAITS.get(kind, {}).get(node.func.attr)
            timed = any(keyword.arg in {"timeout", None} for keyword in node.keywords)
            if before is not None and len(node.args) <= before and not timed:
                yield f"line {node.lineno}: {ast.unparse(node)}"


def bindings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that is bound to, or annotated as, something that can be waited for, and its kind."""
    for target, value in assignments(tree):
        kinds = {last_name(node) for node in ast.walk(value) if isinstance(node, ast.Name | ast.Attribute)}
        if name := last_name(target):
            yield from ((name, kind) for kind in sorted(kinds & WAITS.keys() - {"subprocess"}))


def assignments(tree: ast.Module) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from ((target, value) for target in targets)
            case ast.AnnAssign(target=target, annotation=kind):
                yield target, kind
            case ast.arg(arg=name, annotation=ast.expr() as kind):
                yield ast.Name(name), kind
            case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                yield target, value


def loops(tree: ast.Module) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension):
            yield node.target, node.iter


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Attribute(value=ast.Name("asyncio")):
            return ""  # its waits are awaited
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
    return ""


def test_a_wait_that_blocks_a_thread_has_a_timeout() -> None:
    found = {
        path.as_posix(): list(unbounded(ast.parse((ROOT / path).read_text(encoding="utf-8")))) for path in PROGRAMS
    }
    assert {path: waits for path, waits in found.items() if waits} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("subprocess.run(['x'], check=True)", "subprocess.run(['x'], check=True)"),
        ("subprocess.run(['x'], check=True, timeout=9)", None),
        ("p = subprocess.Popen(['x'])\np.wait()", "p.wait()"),
        ("p = subprocess.Popen(['x'])\np.wait(9)", None),
        ("p = Popen(['x'])\np.communicate('1')", "p.communicate('1')"),
        ("with Popen(['x']) as p:\n    p.wait()", "p.wait()"),
        ("self.q: SimpleQueue[str] = SimpleQueue()\nself.q.get()", "self.q.get()"),
        ("def f(q: Queue[int]): q.get(timeout=9)", None),
        ("threads = [Thread(target=f)]\nfor thread in threads:\n    thread.join()", "thread.join()"),
        ("def f(done: threading.Event): done.wait()", "done.wait()"),
        ("done = asyncio.Event()\nasync def f(): await done.wait()", None),
        ("futures = [ref.ask(1)]\nfutures[0].get()", None),
    ],
    ids=str,
)
def test_waits_without_a_timeout_are_found(source: str, found: str | None) -> None:
    assert [wait.partition(": ")[2] for wait in unbounded(ast.parse(source))] == ([found] if found else [])


def test_a_wait_past_the_limit_fails_where_it_waits() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"more than 0\.05 s") as caught, time_limit(0.05):
        SimpleQueue[None]().get(timeout=WAIT)
    assert "get(timeout=WAIT)" in str(caught.traceback[-3].statement)


def test_the_tasks_that_wait_are_named() -> None:
    async def patient() -> None:
        await asyncio.Event().wait()

    with (
        pytest.raises(pytest.fail.Exception, match=r"in patient\n +await asyncio\.Event\(\)\.wait\(\)"),
        time_limit(0.05),
    ):
        asyncio.run(patient())


def test_what_ends_in_time_is_left_alone() -> None:
    with time_limit(4 * LIMIT):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 3 * LIMIT
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= LIMIT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])  # as in `make test &` of a script, or under nohup
def test_children_of_a_test_run_in_the_background_can_be_interrupted(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        heed_signals()
        code = f"import signal; raise SystemExit(signal.getsignal({number:d}) is signal.SIG_IGN)"
        assert subprocess.run([sys.executable, "-c", code], check=False, timeout=WAIT).returncode == 0  # noqa: S603  # our own
    finally:
        signal.signal(number, before)
