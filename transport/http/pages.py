"""Pages that an endpoint serves beside its sockets: the files of a folder, read once."""

from __future__ import annotations

import mimetypes
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from transport.http.exchange import respond

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

__all__ = ["Page", "pages"]

Page = Callable[["Request"], "Response"]
"""A function that answers a plain GET."""

# The pages load nothing from other origins; what a user types must not become a script.
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

_BY_PATH = 'give the path of a folder, such as pages(Path(__file__).parent / "static")'


def pages(
    package: str | os.PathLike[str], folder: str | None = None, *, index: str = "/", assets: str = "/assets/"
) -> dict[str, Page]:
    """Return routes for the files of a folder: index.html at `index`, all others below `assets`; not for folders in it.

        pages("shop", "static")                   # the folder in a package, also where it is installed as a zip file
        pages(__name__, "static")                 # the folder beside a module, or beside the program
        pages(Path(__file__).parent / "static")   # a folder by its path

    Raises:
        FileNotFoundError: if there is no such folder.
        ModuleNotFoundError: if there is no such package.
    """
    root = Path(package) if folder is None else _place_of(os.fspath(package)).joinpath(folder)
    if not root.is_dir():
        raise FileNotFoundError(_missing(package, folder, root))
    routes = {}
    for file in root.iterdir():
        if file.is_file():
            routes[index if file.name == "index.html" else assets + file.name] = _page(file)
    return routes


def _place_of(name: str) -> Traversable:
    """Return where a package is, or a module that is not one; `__main__` is the program."""
    module = sys.modules.get(name) or import_module(name)
    if hasattr(module, "__path__"):
        return files(module)
    source: str | None = getattr(module, "__file__", None)
    if source is None:
        raise FileNotFoundError(f"{name!r} has no file, and so no folder beside it; {_BY_PATH}")
    return Path(source).parent


def _missing(package: str | os.PathLike[str], folder: str | None, root: Traversable) -> str:
    if folder is None:
        return f"there is no folder {str(Path(package).absolute())!r}; {_BY_PATH}"
    return f"there is no folder {folder!r} in {package!r}: {str(root)!r}; {_BY_PATH}"


def _page(file: Traversable) -> Page:
    body = file.read_bytes()
    kind, _ = mimetypes.guess_type(file.name)
    content_type = kind or "application/octet-stream"
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"

    def page(_request: Request) -> Response:
        response = respond(200, body, content_type)
        response.headers.update(_HEADERS)
        return response

    return page
