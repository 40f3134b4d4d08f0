"""The completions of a word at the prompt.

`rlcompleter` is not used: it imports readline, which would take over the terminal of the server.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
from collections.abc import Mapping

__all__ = ["completions"]

_DOTTED = re.compile(r"(?:(?P<path>\w+(?:\.\w+)*)\.)?(?P<word>\w*)")

# More completions would be of no use.
_MOST = 500


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
