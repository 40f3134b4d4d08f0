"""The documentation as pages of the demo."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.http11 import Request

from ashtree.demo.guides import guides
from tests.live import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def page(path: str) -> tuple[str, str]:
    response = guides()[path](Request(path, Headers()))
    return response.headers["Content-Type"], (response.body or b"").decode()


def test_every_guide_is_listed_and_served_as_it_is() -> None:
    kind, listed = page("/docs")
    assert kind == "text/html; charset=utf-8"
    links = re.findall(r'href="(/docs/[^"]+)"', listed)
    assert links == list(guides())[1:]
    for file in (ROOT / "docs").glob("*.md"):
        assert page(f"/docs/{file.name}") == ("text/plain; charset=utf-8", file.read_text())


def test_an_installed_package_has_its_readme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert page("/docs/README.md")[1] == (ROOT / "README.md").read_text()
    monkeypatch.setattr("ashtree.demo.guides._CHECKOUT", tmp_path)
    assert page("/docs/README.md")[1].startswith("# Ashtree\n")
    assert list(guides()) == ["/docs", "/docs/README.md"]
