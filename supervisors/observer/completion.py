"""The completions of a word at a prompt, and of the name of an actor or a topic in quotes.

`rlcompleter` is not used: it imports readline, which would take over the terminal of a server.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType

__all__ = ["Complete", "complete_words", "completions", "completions_of", "names_that_fit", "open_string"]

# From a word and the line up to its end, to what the word may become.
Complete = Callable[[str, str], Sequence[str]]

_DOTTED = re.compile(r"(?:(?P<path>\w+(?:\.\w+)*)\.)?(?P<word>\w*)")

# A string that is closed, or begins a comment, or is open at the end.
_STRINGS = re.compile(r"""(?P<quote>["'])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P<end>(?P=quote)?)|#.*""", re.DOTALL)

# More completions would be of no use.
_MOST = 500


def complete_words(readline: ModuleType, complete: Complete) -> None:
    """Let readline complete words, also in quotes, by `complete`; Tab at the start of a word indents."""
    matches: list[str] = []

    def completer(word: str, state: int) -> str | None:
        if state == 0:
            line = readline.get_line_buffer()[: readline.get_endidx()]
            matches[:] = complete(word, line) if word or open_string(line) is not None else ["    "]
        return matches[state] if state < len(matches) else None

    readline.set_completer(completer)
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")


def completions_of(
    word: str, line: str, namespace: Mapping[str, object], names: Callable[[], Iterable[str]]
) -> list[str]:
    """Return what a word at the end of a line may become: in quotes one of `names()`, else one of Python's."""
    opened = open_string(line)
    return completions(word, namespace) if opened is None else names_that_fit(word, opened, names())


def completions(text: str, namespace: Mapping[str, object]) -> list[str]:
    """Return the names that start with `text`, or after a dot the attributes; those with underscores only if one was typed.

    Callables have a bracket appended. To find the attributes of `a.b`, `b` is read from `a` as code would do it; nothing else
    is evaluated.
    """
    found = _DOTTED.fullmatch(text)
    if found is None:
        return []
    path, word = found["path"], found["word"]
    known = _names(namespace) if path is None else _attributes(path, namespace)
    prefix = "" if path is None else f"{path}."
    fitting = sorted(name for name in known if name.startswith(word) and (word.startswith("_") or name[:1] != "_"))
    return [f"{prefix}{name}{'(' if callable(known[name]) else ''}" for name in fitting[:_MOST]]


def _names(namespace: Mapping[str, object]) -> Mapping[str, object]:
    return {**dict.fromkeys([*keyword.kwlist, *keyword.softkwlist]), **vars(builtins), **namespace}


def _attributes(path: str, namespace: Mapping[str, object]) -> Mapping[str, object]:
    first, *others = path.split(".")
    try:
        value = namespace[first] if first in namespace else getattr(builtins, first)
        for name in others:
            value = getattr(value, name)
        # Properties are not evaluated.
        return {name: inspect.getattr_static(value, name, None) for name in dir(value)}
    except Exception:  # noqa: BLE001  # the author's __getattr__ or __dir__
        return {}


# In quotes


def open_string(line: str) -> str | None:
    """Return the quote and the text of the string that is open at the end of a line; None if there is none."""
    opened = None
    for found in _STRINGS.finditer(line):
        opened = f"{found['quote']}{found['text']}" if found["quote"] and not found["end"] else None
    return opened


def names_that_fit(word: str, opened: str, names: Iterable[str]) -> list[str]:
    """Return what `word`, the end of an open string, may become: the ends of the `names` that start with the string.

    Names that would have to be escaped are left out.
    """
    quote, start = opened[:1], opened[1:]
    fitting = sorted({name for name in names if name.startswith(start) and _is_plain(name, quote)})[:_MOST]
    return [name[len(start) - len(word) :] for name in fitting]


def _is_plain(name: str, quote: str) -> bool:
    return name.isprintable() and quote not in name and "\\" not in name
