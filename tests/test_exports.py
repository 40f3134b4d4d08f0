"""One public surface: what `__all__` says is there, is documented, and is all there is."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import pytest

PACKAGES = ("actors", "supervisors", "transport", "ashtree")


def names_of_modules() -> list[str]:
    found = list(PACKAGES)
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        found.extend(module.name for module in pkgutil.walk_packages(path, f"{package}."))
    # A program: it exports nothing.
    found.remove("ashtree.demo.app")
    return found


MODULES = names_of_modules()
PUBLIC = [name for name in MODULES if not name.rpartition(".")[2].startswith("_")]
EXPORTED = [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__]


def defined(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the classes and functions that a module exports and that are its own."""
    return [
        (name, value)
        for name in module.__all__
        if (inspect.isclass(value := getattr(module, name)) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


DEFINED = [
    pytest.param(value, id=f"{module}.{name}")
    for module in PUBLIC
    if hasattr(importlib.import_module(module), "__all__")
    for name, value in defined(importlib.import_module(module))
]


def own_docstring(value: Any) -> str:
    """Return a docstring that is its own, not its base's, nor what a dataclass or a NamedTuple makes up."""
    doc: str | None = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc, f"{value!r} has no docstring of its own"
    assert not doc.startswith(f"{value.__name__}("), f"{value!r} has a generated docstring"
    return doc


def first_line(value: Any) -> str:
    return own_docstring(value).strip().splitlines()[0]


@pytest.mark.parametrize("module", PUBLIC)
def test_a_module_says_what_it_is_for(module: str) -> None:
    doc = importlib.import_module(module).__doc__
    assert doc
    assert doc.strip().splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize("module", PUBLIC)
def test_a_module_that_defines_anything_says_what_it_exports(module: str) -> None:
    loaded = importlib.import_module(module)
    tree = ast.parse(inspect.getsource(loaded))
    definitions = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert hasattr(loaded, "__all__") or definitions == []


@pytest.mark.parametrize("module", PUBLIC)
def test_all_names_that_a_module_exports_exist_once(module: str) -> None:
    loaded = importlib.import_module(module)
    exported = getattr(loaded, "__all__", [])
    assert [name for name in exported if not hasattr(loaded, name)] == []
    assert len(exported) == len(set(exported))
    assert [name for name in exported if name.startswith("_")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_of_a_package_are_sorted(package: str) -> None:
    exported = importlib.import_module(package).__all__
    assert exported == sorted(exported, key=kind_and_name)


def kind_and_name(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: as ruff sorts `__all__`."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


@pytest.mark.parametrize("package", PACKAGES)
def test_all_that_a_package_imports_it_exports(package: str) -> None:
    loaded = importlib.import_module(package)
    tree = ast.parse(inspect.getsource(loaded))
    imported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "ashtree.shadows"
        for alias in node.names
    ]
    assert sorted(imported) == sorted(loaded.__all__)


@pytest.mark.parametrize(("package", "name"), EXPORTED, ids=[".".join(pair) for pair in EXPORTED])
def test_a_name_of_a_package_can_be_imported_and_has_a_docstring(package: str, name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"from {package} import {name}", namespace)  # noqa: S102  # what a user writes
    value = namespace[name]
    if inspect.isclass(value) or inspect.isfunction(value):
        assert own_docstring(value)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_star_import_brings_what_is_exported_and_no_more(package: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"from {package} import *", namespace)  # noqa: S102  # what a user might write
    assert set(namespace) - {"__builtins__"} == set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("value", DEFINED)
def test_the_first_line_of_a_docstring_is_a_sentence(value: Any) -> None:
    # A colon may lead to a list or an example.
    assert first_line(value).endswith((".", ":"))


@pytest.mark.parametrize("value", [param for param in DEFINED if inspect.isclass(param.values[0])])
def test_public_methods_have_docstrings(value: Any) -> None:
    bare = [
        name
        for name, member in vars(value).items()
        if not name.startswith("_") and is_method(member) and not inspect.getdoc(member)
    ]
    assert bare == []


def is_method(member: Any) -> bool:
    return inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
