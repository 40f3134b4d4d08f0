"""The package as users have it: built by way of the source distribution, installed from the wheel, away from this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("actors", "ashtree", "supervisors", "transport")
PACKAGED = (*PACKAGES, "demo.py", "pytest_ashtree.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys, setuptools.build_meta as backend; print(backend.build_{}(sys.argv[1]))"


def start(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a directory, with nothing of these tests in its environment."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "COV"))
    }
    return subprocess.run(  # noqa: S603  # our own commands
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program that succeeds, and return what it prints."""
    done = start(*command, cwd=cwd)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def built(what: str, source: Path) -> Path:
    """Build a distribution from a source tree."""
    printed = run(sys.executable, "-c", BUILD.format(what), source / "dist", cwd=source)
    return source / "dist" / printed.splitlines()[-1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as `python -m build` does, from a copy, so that nothing is left in the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in PACKAGED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built("sdist", copy)) as sdist:
        sdist.extractall(unpacked, filter="data")
    [source] = unpacked.iterdir()
    return built("wheel", source)


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in a fresh environment, which finds everything else where these tests do: no network is needed."""
    directory = tmp_path_factory.mktemp("fresh")
    venv.create(directory, with_pip=False)
    python = directory / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=directory).strip())
    (packages / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=directory)
    return python
