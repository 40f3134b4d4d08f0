"""Documentation and source use the terms of docs/glossary.md, and none of the phrases that these have replaced."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("actors", "supervisors", "transport", "ashtree", "docs", "benchmarks", "examples", "fuzz")
TEXTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("*.py"),
        *(path for folder in SOURCES for path in (ROOT / folder).rglob("*") if path.suffix in {".md", ".py"}),
    ]
)
# The phrases, and what is written instead.
REPLACED = {
    r"who(?:m|so)?ever": "the caller, the process that …",
    r"(?:some|no|every)body": "an actor, no actor, all clients",
    r"anew": "again",
    r"for ever": "indefinitely",
    r"tak(?:e|es|en|ing) note": "store, record",
    r"good-bye": "close frame",
    r"at hand": "current",
    r"minds (?:its|their|the)": "monitors",
    r"circles? of": "cycle of",
    r"without a word": "silently",
    r"as it must be": "valid",
    r"time-outs?": "timeout",
}
PHRASE = re.compile(rf"\b(?:{'|'.join(REPLACED)})\b", re.IGNORECASE)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_uses_the_terms_of_the_field(path: Path) -> None:
    assert PHRASE.findall(path.read_text()) == []
