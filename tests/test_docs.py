"""The code in README and docs is run, and prints what they say."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.forks import Forks

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted(ROOT.glob("fuzz/*.md")),
    *sorted(ROOT.glob("tests/golden/*.md")),
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"# (\w+\.py)\n")
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")


class Example(NamedTuple):
    """A program of a page: its file name, if it has one, and what it prints, if the page says so."""

    code: str
    name: str | None
    output: str | None


def examples(page: Path) -> list[Example]:
    blocks = FENCE.findall(page.read_text())
    found = []
    for index, (language, code) in enumerate(blocks):
        if language == "python":
            title = TITLE.match(code)
            following = blocks[index + 1] if index + 1 < len(blocks) else ("", "")
            output = following[1] if following[0] == "text" else None
            found.append(Example(code, title and title[1], output))
    return found


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


def run(example: Example, directory: Path, forks: Forks) -> str:
    """Run an example; one with a file name is imported, as the ones after it do."""
    path = directory / (example.name or "example.py")
    path.write_text(example.code)
    status, output, errors = forks.run(path, directory, imported=example.name is not None)
    assert status == 0, errors
    return output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path, forks: Forks) -> None:
    checker = doctest.OutputChecker()
    for example in examples(page):
        printed = run(example, tmp_path, forks)
        if example.output is not None:
            # The more milliseconds an example has taken, the wider the column of ages.
            expected, shown = (
                re.sub(r" +age$", " age", text, flags=re.MULTILINE) for text in (example.output, printed)
            )
            assert checker.check_output(expected, shown, doctest.ELLIPSIS), f"{example.code}\nprinted:\n{printed}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = HEADING.findall(BLOCK.sub("", page.read_text()))
    made = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    assert len(made) == len(set(made)), f"{page.name} has two headings with one anchor"
    return set(made)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(BLOCK.sub("", page.read_text())):
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


def test_the_readme_has_programs_for_both_faces_of_a_system() -> None:
    programs = [example.code for example in examples(ROOT / "README.md") if example.output]
    assert any("asyncio.run(" in code for code in programs)
    assert any("\nwith System(" in code for code in programs)


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands == ["demo", "test"]
    assert all(re.search(rf"^{command}:", makefile, re.MULTILINE) for command in commands)


def test_all_loggers_are_in_the_table() -> None:
    sources = [path for package in ("actors", "supervisors", "transport") for path in (ROOT / package).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r'"(ashtree\.[a-z_]+)"', path.read_text(encoding="utf-8"))}
    table = re.findall(
        r"^\| `(ashtree\.[a-z_]+)` \|", (ROOT / "docs/observability.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(table) == sorted(used - NOT_LOGGERS)


NOT_LOGGERS = {"ashtree.demo"}
"""Packages that are named as text."""
