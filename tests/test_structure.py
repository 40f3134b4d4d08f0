"""The structure of the source: import cycles, names that are used once, private names, and how much of it is untyped.

Each limit is a ratchet: what is allowed is listed with its reason, and must be taken off the list when it is gone.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.test_layers import MODULES, ROOT, imports, module_named, parsed

Graph = Mapping[str, set[str]]

# The kernel: a process has a scheduler, which has processes; both have refs, names and exit reasons, which lead to processes.
# These are types: at run time it has no cycle.
KERNEL = {
    "actors.exits",
    "actors.ref",
    "actors.registry",
    "actors.runtime.behaviour",
    "actors.runtime.bonds",
    "actors.runtime.dead_letters",
    "actors.runtime.debug",
    "actors.runtime.envelope",
    "actors.runtime.message_queue",
    "actors.runtime.process",
    "actors.runtime.report",
    "actors.runtime.scheduler",
    "actors.via",
}

# Private names of another module that are used, each with its reason.
REACHED = {
    "_ActorStop": "pykka's own message behind `ref.stop()`; there is no public name",
    "_actor_refs_lock": "pykka's own lock, which another thread may hold at a fork",
    "_at_fork_reinit": "how the standard library frees its own locks in a forked process; there is no public name",
    "_current_frames": "documented by `sys`, and the only way to see where another thread is",
    "_clear": "of `atexit`, as multiprocessing does it in its processes: what was registered is for the parent",
    "_cut_short": "the kernel calls it: see `actors.runtime.behaviour.Behaviour`",
    "_end": "the kernel calls it",
    "_exit_reason": "the kernel calls it",
    "_exit": "documented by `os`: it ends a forked process, or one whose main thread does not end, without what would follow",
    "_left_out": "the kernel calls it: see `actors.runtime.behaviour.Behaviour`",
    "_no_dead_letters": "the kernel reads it: see `actors.runtime.behaviour.Behaviour`",
    "_prepare": "the kernel calls it",
    "_receive": "the kernel calls it",
    "_run": "of `asyncio.Handle`: a loop on virtual time has to run its calls, and `stack` finds it in tracebacks",
    "_run_exitfuncs": "of `atexit`, which has no public name to call what was registered, before `os._exit`",
    "_start_actor_loop": "pykka's hook that starts the thread of one of its actors",
    "_unstarted": "the kernel takes it for the scheduler of an actor that is not running yet",
}

FILE_NAMES = {"__init__.py", "__main__.py", "exceptions.py"}

# Class names of two modules, each with its reason.
CLASS_NAMES = {
    "Channel": "the actor's, phoenix.js's as the client has it, and the client's for threads",
    "NotJoinedError": "of a channel's author, and of a client",
    "Presence": "the server's, phoenix.js's as the client has it, and the client's for threads",
    "Push": "phoenix.js's as the client has it, and the client's for threads",
    "Socket": "the server's, phoenix.js's as the client has it, and the client's for threads",
}

MOST_ANY = 3.0
"""The uses of `Any` in 100 lines of code: trio has 0.2, websockets 1.2, anyio 2.9, starlette 4.1, pykka 8.8."""


# Cycles


def test_the_only_import_cycle_is_the_kernels() -> None:
    graph = {
        module: {found for name in imports(path) if (found := module_named(name)) is not None and found != module}
        for module, path in MODULES.items()
    }
    assert rings(graph) == [KERNEL]


def rings(graph: Graph) -> list[set[str]]:
    """Return the groups of modules that import each other, types included, the largest first."""
    reached = {module: reachable(graph, module) for module in graph}
    found = {frozenset(other for other in seen if module in reached[other]) for module, seen in reached.items()}
    return sorted((set(ring) for ring in found if ring), key=len, reverse=True)


def reachable(graph: Graph, module: str) -> set[str]:
    """Return what a module imports, directly or through others; itself only in a cycle."""
    seen: set[str] = set()
    left = list(graph[module])
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += graph[name]
    return seen


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [{"a", "b"}]),
        ({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}, "e": {"f"}, "f": {"e"}}, [{"b", "c", "d"}, {"e", "f"}]),
    ],
    ids=["a line", "two", "three, one that imports them, and two"],
)
def test_rings_are_found(graph: Graph, found: list[set[str]]) -> None:
    assert rings(graph) == found


# Names


def twice(names: Callable[[ast.Module, str], Iterator[str]]) -> dict[str, list[str]]:
    """Return the names that more than one module has, with those modules."""
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for module, path in MODULES.items():
        for name in names(parsed(path), path.name):
            modules[name].append(module)
    return {name: found for name, found in modules.items() if len(found) > 1}


def test_a_file_name_is_used_once() -> None:
    assert set(twice(lambda _tree, name: iter([name]))) <= FILE_NAMES


def test_a_class_name_is_used_once() -> None:
    assert twice(classes).keys() == CLASS_NAMES.keys()


def classes(tree: ast.Module, _name: str) -> Iterator[str]:
    yield from (node.name.lstrip("_") for node in tree.body if isinstance(node, ast.ClassDef))


# Private names


def test_private_names_of_other_modules_are_used_for_a_reason() -> None:
    used = {name for path in MODULES.values() for name in reached_through(parsed(path))}
    assert used == REACHED.keys()


def reached_through(tree: ast.Module) -> Iterator[str]:
    """Yield the private names that a module uses and does not define, other than those of `self`, `cls` and `super()`."""
    own = set(defined(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not of_oneself(node.value) and node.attr not in own:
            yield from filter(is_private, [node.attr])
        elif isinstance(node, ast.ImportFrom):
            yield from filter(is_private, [alias.name for alias in node.names])


def of_oneself(value: ast.expr) -> bool:
    name = value.func if isinstance(value, ast.Call) else value
    return isinstance(name, ast.Name) and name.id in {"self", "cls", "super"}


def is_private(name: str) -> bool:
    # What a namedtuple has is public, and called so that it is none of its fields.
    return name.startswith("_") and not name.startswith("__") and name not in {"_asdict", "_fields", "_replace"}


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield what a module defines: functions, classes, variables, attributes and slots."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.Constant(value=str(name)):
                yield name


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("other._name", ["_name"]),
        ("other._name()\nother._name", ["_name", "_name"]),
        ("from other import _name", ["_name"]),
        ("self._name\ncls._name\nsuper()._name()", []),
        ("def f(one, two):\n    one._name = two._name", []),
        ("other.__name__", []),
        ("one_of_a_namedtuple._replace()", []),
    ],
)
def test_what_is_reached_through_is_found(source: str, found: list[str]) -> None:
    assert list(reached_through(ast.parse(source))) == found


# Types


def test_little_is_any() -> None:
    trees = [parsed(path) for path in MODULES.values()]
    uses = sum(isinstance(node, ast.Name) and node.id == "Any" for tree in trees for node in ast.walk(tree))
    lines = sum(code_lines((ROOT / path).read_text(encoding="utf-8")) for path in MODULES.values())
    assert uses / lines * 100 < MOST_ANY


def code_lines(source: str) -> int:
    """Count the lines that have code: no comments, no docstrings, nothing empty."""
    prose = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [each for each in tokenize.generate_tokens(io.StringIO(source).readline) if each.type not in nothing]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - prose)


def test_lines_of_code_are_counted() -> None:
    assert code_lines('"""Prose\nof two lines."""\n\n# Reasons.\na = 1\nb = f(\n    2,\n)\n') == 4
