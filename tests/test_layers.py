"""The direction of imports: `actors` <- `supervisors` <- `transport` <- `ashtree` <- the demo; nothing imports from above."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("actors", "supervisors", "transport", "ashtree")
LAYERS = (*PACKAGES, "demo")
# A symbolic link is the demo's, as the package has it.
SOURCES = sorted(
    path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py") if not path.is_symlink()
)
SOURCES.append(Path("demo.py"))
SOURCE_IDS = [path.as_posix() for path in SOURCES]

# Third-party packages that belong to one layer.
HOMES = {
    "pykka": "actors",
    "websockets": "transport",
    "httptools": "transport",
    "prometheus_client": "transport",
    "redis": "actors",
}

# Who may use a timer of the event loop; all others have the clock of their runtime. A future that is awaited on another
# loop than its actor's can have no time-out on its actor's clock.
TIMERS = {
    "actors/clock.py": {"self._loop.call_later", "threading.Timer"},
    "actors/future.py": {"loop.call_later"},
    "supervisors/main_loop.py": {"asyncio.wait"},  # the clock of the actors is closed by then
}
TIMES_OF_ASYNCIO = {"sleep", "wait_for", "wait", "timeout", "timeout_at", "as_completed"}

every_source = pytest.mark.parametrize("path", SOURCES, ids=SOURCE_IDS)


def read(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


parsed = cache(read)


@cache
def imports(path: Path) -> list[str]:
    return list(imported(parsed(path)))


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything that is imported anywhere, a name from a module as `module.name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top(name: str) -> str:
    return name.partition(".")[0]


def height(name: str) -> int:
    """Return how high the layer of a dotted name is; what is not ours lies below all."""
    return LAYERS.index(top(name)) if top(name) in LAYERS else -1


def at_run_time(tree: ast.Module) -> ast.Module:
    """Drop what only type checkers import, and what functions import when they are called."""

    class Dropping(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                return [self.visit(child) for child in node.orelse]
            return self.generic_visit(node)

        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

    dropped: ast.Module = Dropping().visit(tree)
    return dropped


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


def module_named(name: str) -> str | None:
    """Return the module of ours that an imported name is or comes from."""
    for candidate in (name, name.rpartition(".")[0]):
        if candidate in MODULES:
            return candidate
    return None


def test_there_is_something_to_look_at() -> None:
    assert {"actors/actor.py", "supervisors/system.py", "transport/endpoint.py", "demo.py"} <= set(SOURCE_IDS)


@every_source
def test_imports_point_down(path: Path) -> None:
    own = height(module_of(path))
    assert [name for name in imports(path) if height(name) > own] == []


@every_source
def test_third_party_packages_stay_in_their_layers(path: Path) -> None:
    names = [name for name in imports(path) if top(name) in HOMES]
    assert [name for name in names if HOMES[top(name)] != path.parts[0]] == []


@every_source
def test_tests_and_benchmarks_are_imported_by_nobody(path: Path) -> None:
    assert [name for name in imports(path) if top(name) in {"tests", "benchmarks", "pytest"}] == []


def test_helpers_of_the_tests_have_no_names_at_the_top() -> None:
    assert [entry for entry in sys.path if Path(entry).resolve().is_relative_to(ROOT / "tests")] == []


@every_source
def test_the_kernel_is_used_through_its_door(path: Path) -> None:
    inside = path.parts[0] == "actors"
    assert inside or [name for name in imports(path) if f"{name}.".startswith("actors.runtime.")] == []
    assert not inside or "actors.lowlevel" not in {module_named(name) for name in imports(path)}


# What is built on the kernel, which therefore knows nothing of it.
ON_THE_KERNEL = ("channel", "channels", "presence", "pubsub", "stack", "sys", "task", "testing", "threads")


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.parts[:2] == ("actors", "runtime")], ids=Path.as_posix
)
def test_the_kernel_knows_nothing_of_what_is_built_on_it(path: Path) -> None:
    assert [name for name in imports(path) if name.split(".")[1:2] and name.split(".")[1] in ON_THE_KERNEL] == []


@every_source
def test_only_the_clock_reads_the_time(path: Path) -> None:
    modules = {top(name) for name in imports(path)} & {"time", "sched"}
    assert modules == ({"time"} if path.as_posix() == "actors/clock.py" else set())


@every_source
def test_only_the_clock_sets_timers(path: Path) -> None:
    assert set(timers(parsed(path))) == TIMERS.get(path.as_posix(), set())


def timers(tree: ast.Module) -> Iterator[str]:
    """Yield what waits for time to pass on an event loop or in a thread."""
    yield from (name for name in imported(tree) if name in {f"asyncio.{word}" for word in TIMES_OF_ASYNCIO})
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, name = ast.unparse(node.value), node.attr
            if (
                name == "call_later"
                or (owner == "asyncio" and name in TIMES_OF_ASYNCIO)
                or (owner.endswith("loop") and name in {"call_at", "time"})
                or (owner == "threading" and name == "Timer")
            ):
                yield f"{owner}.{name}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("asyncio.sleep(1)", ["asyncio.sleep"]),
        ("from asyncio import sleep", ["asyncio.sleep"]),
        ("async def f():\n    async with asyncio.timeout(1): pass", ["asyncio.timeout"]),
        ("asyncio.get_running_loop().call_later(1, f)", ["asyncio.get_running_loop().call_later"]),
        ("self._loop.call_at(1, f)", ["self._loop.call_at"]),
        ("self.loop.time()", ["self.loop.time"]),
        ("threading.Timer(1, f)", ["threading.Timer"]),
        ("self.clock.call_at(1, f)", []),
        ("asyncio.Event().wait()", []),
    ],
    ids=str,
)
def test_timers_are_found(source: str, found: list[str]) -> None:
    assert list(timers(ast.parse(source))) == found


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name not in {"__init__.py", "demo.py"}], ids=Path.as_posix
)
def test_our_own_code_imports_from_the_module_that_defines(path: Path) -> None:
    packages = {name for name, source in MODULES.items() if source.name == "__init__.py"}
    borrowed = [name for name in imports(path) if name.rpartition(".")[0] in packages and module_named(name) != name]
    # The version is defined in the package itself.
    assert set(borrowed) <= {"ashtree.__version__"}


def test_there_are_no_import_cycles_at_run_time() -> None:
    imports = {
        module: {
            found
            for name in imported(at_run_time(read(path)))
            if (found := module_named(name)) is not None and found != module
        }
        for module, path in MODULES.items()
    }
    assert list(cycles(imports)) == []


def cycles(imports: dict[str, set[str]]) -> Iterator[str]:
    """Take away what imports nothing that is left, again and again; yield the ways round that remain."""
    left = {module: set(names) for module, names in imports.items()}
    while ready := [module for module, names in left.items() if not names & left.keys()]:
        for module in ready:
            del left[module]
    for module in left:
        way = [module]
        while way[-1] not in way[:-1]:
            way.append(min(left[way[-1]] & left.keys()))
        yield " -> ".join(way)


@pytest.mark.parametrize(
    ("imports", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, ["a -> b -> a", "b -> a -> b"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["a -> b -> c -> b", "b -> c -> b", "c -> b -> c"]),
    ],
    ids=["a line", "two", "two and who imports them"],
)
def test_cycles_are_found(imports: dict[str, set[str]], found: list[str]) -> None:
    assert list(cycles(imports)) == found


def test_what_only_type_checkers_import_is_no_import_at_run_time() -> None:
    source = """
if TYPE_CHECKING:
    import a
else:
    import b
def f():
    import c
import d
"""
    assert list(imported(at_run_time(ast.parse(source)))) == ["b", "d"]
