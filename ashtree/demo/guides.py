"""The documentation as pages of the demo: a list of the guides, and each guide as the text that it is."""

from __future__ import annotations

from html import escape
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from transport.http.exchange import respond

if TYPE_CHECKING:
    from transport.http.pages import Page

__all__ = ["guides"]

_PATH = "/docs"

# Beside the package in a checkout; an installed package has its README only, in its metadata.
_CHECKOUT = Path(__file__).parents[2]


def guides() -> dict[str, Page]:
    """Return the routes of the documentation: a list at "/docs", and the texts below it."""
    texts = {"README.md": metadata("ashtree")["Description"]}
    for file in (_CHECKOUT / "README.md", *sorted((_CHECKOUT / "docs").glob("*.md"))):
        if file.exists():
            texts[file.name] = file.read_text(encoding="utf-8")
    return {_PATH: _page(_listed(texts), "text/html")} | {
        f"{_PATH}/{name}": _page(text, "text/plain") for name, text in texts.items()
    }


_LIST = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Documentation · Ashtree</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/assets/base.css">
  <link rel="stylesheet" href="/assets/demo.css">
</head>
<body>
  <main>
    <section class="panel wide" aria-labelledby="title">
      <h1 id="title">Documentation</h1>
      <p><a href="/">To the demo</a></p>
      <ul class="guides">
{items}
      </ul>
    </section>
  </main>
</body>
</html>
"""


def _listed(texts: dict[str, str]) -> str:
    titles = {name: text.strip().partition("\n")[0].lstrip("# ") for name, text in texts.items()}
    items = [f'        <li><a href="{_PATH}/{name}">{escape(title)}</a></li>' for name, title in titles.items()]
    return _LIST.format(items="\n".join(items))


def _page(text: str, kind: str) -> Page:
    return lambda _request: respond(200, text.encode(), f"{kind}; charset=utf-8")
