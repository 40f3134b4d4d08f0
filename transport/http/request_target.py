"""The target of a request, taken apart as Plug does: the path that is looked up, and the parameters in the query."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

__all__ = ["RequestTarget", "escaped", "query_of", "route_of"]


class RequestTarget(NamedTuple):
    """The path and the query of a target, as they were sent."""

    path: str
    query: str

    # That of one request is read in several places.
    @staticmethod
    @lru_cache(maxsize=16)
    def read(target: str) -> RequestTarget:
        """Parse a target; any text is one. Of an absolute one (RFC 9112, section 3.2.2) the scheme and host are left out."""
        if "#" in target:
            target = target.partition("#")[0]
        path, _, query = target.partition("?")
        if not path.startswith("/"):
            scheme, separator, rest = path.partition("://")
            if separator and scheme.isalpha():
                path = "/" + rest.partition("/")[2]
        return RequestTarget(path, query)

    @property
    def route(self) -> str:
        """The path by which its handler or page is found."""
        return route_of(self.path)

    def params(self) -> dict[str, Any] | None:
        """Parse the query; None if it is not UTF-8.

        Of several values for one name the last one counts, but all of `name[]` are the list `name`.
        """
        pairs = _pairs(self.query)
        if pairs is None:
            return None
        params: dict[str, Any] = {}
        for name, value in pairs:
            if name.endswith("[]"):
                _append(params, name.removesuffix("[]"), value)
            else:
                params[name] = value
        return params


@lru_cache(maxsize=16)
def _pairs(query: str) -> list[tuple[str, str]] | None:
    """Return the names and values of a query; None if it is not UTF-8. That of many clients is the same: their version."""
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        return None


def _append(params: dict[str, Any], name: str, value: str) -> None:
    values = params.setdefault(name, [])
    if isinstance(values, list):
        values.append(value)
    else:
        params[name] = [value]


def query_of(params: Mapping[str, Any]) -> str:
    """Return a query with these parameters."""
    return urlencode(
        {f"{name}[]" if isinstance(value, list) else name: value for name, value in params.items()}, doseq=True
    )


def route_of(path: str) -> str:
    """Return a path without its empty segments: "/socket" for "//socket/"."""
    if path.startswith("/") and not path.endswith("/") and "//" not in path:
        # As nearly always.
        return path
    return "/" + "/".join(filter(None, path.split("/")))


def escaped(data: bytes) -> str:
    """Return a part of a target with the bytes escaped that are not ASCII, as the UTF-8 that some clients send as it is."""
    if data.isascii():
        return data.decode("ascii")
    return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in data)  # noqa: PLR2004  # ASCII
