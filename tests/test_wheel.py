"""The package as users have it: built by way of the source distribution, installed from the wheel, away from this checkout."""

from __future__ import annotations

import re
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import pytest

from ashtree import __version__
from tests.installed import PACKAGES, ROOT, run, start
from tests.live import WAIT, LiveDemo


@pytest.fixture
def ashtree(python: Path) -> Path:
    """The command that the wheel has installed."""
    return python.with_name("ashtree")


def files_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_has_the_packages_and_the_plugin_at_the_top_and_nothing_else(wheel: Path) -> None:
    assert {name.partition("/")[0] for name in files_of(wheel)} == {*PACKAGES, "pytest_ashtree.py"}


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files["pytest_ashtree.py"] = (ROOT / "pytest_ashtree.py").read_bytes()
    assert files_of(wheel) == files
    assert files["ashtree/demo/app.py"] == (ROOT / "demo.py").read_bytes()


def test_the_wheel_has_the_version_of_the_package(wheel: Path) -> None:
    assert wheel.name == f"ashtree-{__version__}-py3-none-any.whl"


# The commands


def test_the_command_says_its_version(ashtree: Path, python: Path, tmp_path: Path) -> None:
    assert run(ashtree, "--version", cwd=tmp_path) == f"ashtree {__version__}\n"
    assert run(python, "-m", "ashtree", "--version", cwd=tmp_path) == f"ashtree {__version__}\n"


def test_the_modules_that_are_programs_run(python: Path, tmp_path: Path) -> None:
    for module in ("transport.client", "supervisors.console"):
        assert run(python, "-m", module, "--help", cwd=tmp_path).startswith(f"usage: python -m {module} ")


def test_the_demo_is_no_module_at_the_top(python: Path, tmp_path: Path) -> None:
    done = start(python, "-c", "import demo", cwd=tmp_path)
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'demo'\n")


def test_the_demo_serves_its_pages_from_the_wheel(ashtree: Path, python: Path) -> None:
    with LiveDemo(ashtree, "demo", python=python) as demo:
        files = {page: files_of_page(demo.address, page) for page in ("/", "/observer")}
    assert {"/assets/base.css", "/assets/demo.css", "/assets/demo.js", "/assets/chat.js", "/assets/dom.js"} < files["/"]
    assert {"/observer/base.css", "/observer/observer.js", "/observer/tree.js", "/observer/dom.js"} < files["/observer"]


def files_of_page(address: str, page: str) -> set[str]:
    """Load a page and, as a browser does, the style sheets and scripts that it and its scripts name; return their paths."""
    loaded: set[str] = set()
    left = [page]
    while left:
        path = left.pop()
        for file in re.findall(r'(?:href=|src=|from )"([^"]+\.(?:css|js))"', get(address + path)):
            if (found := urljoin(path, file)) not in loaded:
                loaded.add(found)
                left.append(found)
    return loaded


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WAIT) as answer:  # noqa: S310  # our own
        body: bytes = answer.read()
        return body.decode()


# A project of another author


def test_a_project_has_the_plugin_by_installing_the_package(python: Path, tmp_path: Path) -> None:
    project = shutil.copytree(ROOT / "examples" / "silence", tmp_path / "silence")
    where = "import transport.testing, pytest_ashtree; print(transport.testing.__file__, pytest_ashtree.__file__)"
    files = run(python, "-c", where, cwd=project).split()
    assert [Path(file).is_relative_to(python.parents[1]) for file in files] == [True, True]
    for parallel in ([], ["-n", "2"]):
        printed = run(python, "-m", "pytest", "-p", "no:cacheprovider", *parallel, cwd=project)
        assert "7 passed" in printed


# A project with packages of the same names


@pytest.fixture(scope="module")
def django_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of Django with an app that is called `actors`, which was made before Ashtree was installed."""
    pytest.importorskip("django")
    project = tmp_path_factory.mktemp("project")
    # Django does not give an app the name of a module that exists: without `site`, Ashtree is not found.
    paths = [path for path in sys.path if path.endswith("-packages")]
    code = f"import sys; sys.path += {paths}; from django.core.management import call_command as call; "
    run(sys.executable, "-S", "-c", code + "call('startproject', 'shop', '.'); call('startapp', 'actors')", cwd=project)
    return project


@pytest.fixture
def project(django_project: Path, tmp_path: Path) -> Path:
    """A copy of it, with a package `transport` too."""
    project = shutil.copytree(django_project, tmp_path / "shop")
    package = project / "transport"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "lorries.py").touch()
    return project


def shadowed(project: Path, name: str, file: str) -> str:
    return f"ImportError: {project / name / file} shadows Ashtree's package {name!r}: rename it"


def test_the_facade_names_the_file_that_shadows_a_package(python: Path, project: Path) -> None:
    done = start(python, "-c", "import ashtree", cwd=project)
    assert done.returncode == 1
    assert shadowed(project, "actors", "__init__.py") in done.stderr.splitlines()[-1]


def test_the_facade_names_the_only_package_that_is_shadowed(python: Path, project: Path) -> None:
    shutil.rmtree(project / "actors")
    done = start(python, "-m", "ashtree", "client", cwd=project)
    assert done.returncode == 1
    assert shadowed(project, "transport", "__init__.py") in done.stderr.splitlines()[-1]


def test_the_fixtures_of_the_plugin_name_the_file_that_shadows_a_package(python: Path, project: Path) -> None:
    shutil.rmtree(project / "actors")
    (project / "test_shop.py").write_text(
        "import transport.lorries\n\n"
        "def test_channels(channel_test): pass\n"
        "def test_endpoints(live_endpoint): pass\n"
        "def test_actors(no_actors_left): pass\n"
        "def test_the_rest(): pass\n"
    )
    done = start(python, "-m", "pytest", "-p", "no:cacheprovider", cwd=project)
    assert "1 passed, 3 errors" in done.stdout
    errors = [line.removeprefix("E").strip() for line in done.stdout.splitlines() if line.startswith("E ")]
    assert len(errors) == 3
    assert all(error.startswith(shadowed(project, "transport", "__init__.py")) for error in errors)


def test_the_command_works_in_a_project_that_shadows_packages(ashtree: Path, project: Path) -> None:
    # The directory of a console script, not the current one, is where Python looks first.
    assert run(ashtree, "client", "--help", cwd=project).startswith("usage: ashtree client ")


def test_the_project_still_imports_its_own_packages(python: Path, project: Path) -> None:
    code = "import actors.apps, transport.lorries; print(actors.__file__, transport.__file__)"
    files = run(python, "-c", code, cwd=project).split()
    assert files == [str(project / "actors" / "__init__.py"), str(project / "transport" / "__init__.py")]
