"""docs/reference.md has every public name, and says what the docstrings say."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "reference.md").read_text()
NAME = re.compile(r"^\| `(\w+)` \| (.+?) \|", re.MULTILINE)

# The modules whose names are public: those that an application imports, and those that the names come from.
PUBLIC = (
    "actors",
    "actors.exits",
    "actors.sys",
    "actors.telemetry",
    "actors.testing",
    "ashtree",
    "ashtree.client",
    "ashtree.client.sync",
    "ashtree.django",
    "ashtree.observer",
    "ashtree.sys",
    "ashtree.telemetry",
    "ashtree.testing",
    "supervisors",
    "supervisors.observer",
    "transport",
    "transport.client",
    "transport.client.sync",
    "transport.django",
    "transport.testing",
)


def script() -> ModuleType:
    """Return docs/reference.py as a module."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names_of(module: str) -> list[str]:
    """Return the names in the tables below a module's headings."""
    sections = re.split(r"^(##+ .*)$", PAGE, flags=re.MULTILINE)
    found: list[str] = []
    above = "##"
    for heading, body in zip(sections[1::2], sections[2::2], strict=True):
        above = heading if heading.startswith("## ") else above
        if f"`{module}`" in {above.split()[-1], heading.split()[-1]}:
            found.extend(name for name, _ in NAME.findall(body))
    return found


def test_the_page_is_what_the_script_writes() -> None:
    assert script().reference() == PAGE, "run `make reference`"


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_on_the_page_once(module: str) -> None:
    assert sorted(names_of(module)) == sorted(importlib.import_module(module).__all__)


def test_every_public_submodule_of_the_facade_is_listed() -> None:
    packages = sorted(path.parent.relative_to(DOCS.parent) for path in (DOCS.parent / "ashtree").rglob("__init__.py"))
    public = {".".join(path.parts) for path in packages} - {"ashtree.demo"}  # a program, with no names to import
    assert public <= set(PUBLIC)


def test_the_names_that_a_group_explains_are_its_module_s() -> None:
    for group in script().GROUPS:
        explained = {name for names in group.explained.values() for name in names.split()}
        assert explained <= set(importlib.import_module(group.module).__all__), group.module


def test_every_description_is_a_sentence() -> None:
    bad = [name for name, description in NAME.findall(PAGE) if not description.endswith((".", ":"))]
    assert bad == []
