"""Pages that an endpoint serves beside its sockets: the files of a folder in a package, read once."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
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


def pages(package: str, folder: str, *, index: str = "/", assets: str = "/assets/") -> dict[str, Page]:
    """Return routes for the files of `folder` in `package`: index.html at `index`, all others below `assets`.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    routes = {}
    for file in files(package).joinpath(folder).iterdir():
        if file.is_file():
            routes[index if file.name == "index.html" else assets + file.name] = _page(file)
    return routes


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
