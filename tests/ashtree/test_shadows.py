"""Packages of a project that take the place of Ashtree's."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import transport
from ashtree.shadows import PACKAGES, check_packages


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which modules are looked for on the path, as the directory of a program that was just started."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "transport")
    return tmp_path


def assert_shadowed(name: str, file: Path) -> None:
    ours = Path(transport.__file__).parents[1] / name
    text = (
        f"{file} shadows Ashtree's package {name!r}: rename it, or move it into a package of your own, "
        f"so that `import {name}` finds {ours}"
    )
    with pytest.raises(ImportError, match=f"^{re.escape(text)}$") as raised:
        check_packages()
    assert (raised.value.name, raised.value.path) == (name, str(file))


def test_our_own_packages_are_accepted() -> None:
    check_packages()


def test_a_package_of_the_project_is_named(project: Path) -> None:
    (project / "transport").mkdir()
    file = project / "transport" / "__init__.py"
    file.write_text("class Endpoint: pass\n")
    assert_shadowed("transport", file)


def test_a_module_of_the_project_is_named(project: Path) -> None:
    file = project / "transport.py"
    file.write_text("class Endpoint: pass\n")
    assert_shadowed("transport", file)


def test_a_folder_without_an_init_file_is_named(project: Path) -> None:
    (project / "transport").mkdir()
    assert_shadowed("transport", project / "transport")


def test_a_package_that_fails_to_import_is_named_and_its_failure_is_the_cause(project: Path) -> None:
    file = project / "transport.py"
    file.write_text("raise RuntimeError('not configured')\n")
    assert_shadowed("transport", file)
    with pytest.raises(ImportError, match="shadows") as raised:
        check_packages()
    assert str(raised.value.__cause__) == "not configured"


def test_a_stub_without_a_spec_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = ModuleType("transport")
    monkeypatch.setitem(sys.modules, "transport", stub)
    assert_shadowed("transport", Path("sys.modules['transport']"))
    stub.__file__ = str(project / "transport.py")
    assert_shadowed("transport", project / "transport.py")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_imported_already_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"{name}.py"
    file.touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, name)
    __import__(name)
    assert_shadowed(name, file)


def test_a_failure_of_our_own_package_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "transport")
    monkeypatch.setitem(sys.modules, "transport.endpoint", None)
    with pytest.raises(ModuleNotFoundError, match=r"import of transport\.endpoint halted"):
        check_packages()
