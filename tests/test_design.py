"""docs/design.md names what is there: every path in it exists, and every folder of the packages is on its map."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DESIGN = (ROOT / "docs" / "design.md").read_text()
MAPS = dict(re.findall(r"^### `(\w+)/`: .*\n((?:\n|\|.*\n)+)", DESIGN, re.MULTILINE))
PATH = re.compile(r"`([\w.]+/[\w./]*|\w+\.(?:py|md))`")
# The submodules of the facade are listed in its docstring.
FOLDERS = sorted(
    path.parent.relative_to(ROOT)
    for package in ("actors", "supervisors", "transport", "ashtree")
    for path in (ROOT / package).glob("**/__init__.py" if package != "ashtree" else "__init__.py")
)


def on_the_map(package: str) -> list[str]:
    return PATH.findall(MAPS[package])


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder.parent.name], ids=str)
def test_every_folder_of_a_package_is_on_its_map(folder: Path) -> None:
    package, *inside = folder.parts
    assert f"{'/'.join(inside)}/" in on_the_map(package)


@pytest.mark.parametrize("package", ["actors", "supervisors", "transport", "ashtree"])
def test_every_path_on_a_map_exists(package: str) -> None:
    assert len(on_the_map(package)) > 3
    assert [path for path in on_the_map(package) if not (ROOT / package / path).exists()] == []


@pytest.mark.parametrize("package", ["actors", "supervisors", "transport"])
def test_every_module_at_the_top_of_a_package_is_on_its_map(package: str) -> None:
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py", "exceptions.py"}
    assert sorted(modules - set(on_the_map(package))) == []


def test_every_path_outside_the_maps_exists() -> None:
    text = DESIGN
    for table in MAPS.values():
        text = text.replace(table, "")
    paths = PATH.findall(text)
    assert len(paths) > 60
    assert [path for path in paths if not (ROOT / path).exists()] == []
