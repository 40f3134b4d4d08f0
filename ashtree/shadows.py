"""Detect packages that shadow Ashtree's: a project may have an `actors`, a `supervisors` or a `transport` of its own."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PACKAGES", "check_packages"]

PACKAGES = ("actors", "supervisors", "transport")
_FOLDER = Path(__file__).resolve().parents[1]


def check_packages() -> None:
    """Raise unless `actors`, `supervisors` and `transport` are Ashtree's, wherever they were installed.

    Raises:
        ImportError: naming the file or folder that is imported in place of Ashtree's package.
    """
    for name in PACKAGES:
        try:
            module = import_module(name)
        except Exception as failure:
            if _location(name).is_relative_to(_FOLDER / name):
                raise
            raise _shadowed(name) from failure
        if getattr(module, "__distribution__", None) != "ashtree":
            raise _shadowed(name)


def _location(name: str) -> Path:
    """Return the file that is imported by this name; of a namespace package, which has none, its first folder."""
    try:
        spec = find_spec(name)
    except ValueError:
        # It was put into `sys.modules` without a spec, as stubs of tests are.
        return Path(getattr(sys.modules[name], "__file__", None) or f"sys.modules[{name!r}]")
    if spec is None:
        return _FOLDER / name
    return Path(spec.origin or next(iter(spec.submodule_search_locations or ()))).resolve()


def _shadowed(name: str) -> ImportError:
    location = _location(name)
    text = (
        f"{location} shadows Ashtree's package {name!r}: rename it, or move it into a package of your own, "
        f"so that `import {name}` finds {_FOLDER / name}"
    )
    return ImportError(text, name=name, path=str(location))
