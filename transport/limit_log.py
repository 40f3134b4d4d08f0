"""What the log says of limits that are reached: the first time, and then now and then, however often it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from actors.log import Log
from actors.log_limit import LogLimit
from transport.limits import Limits

__all__ = ["INTERVAL", "LimitLog"]

INTERVAL = 10.0
"""Seconds between two lines for one limit."""

_log = Log("ashtree.transport")


class LimitLog:
    """Writes a line with the limit, its value and how to change it; a client that reaches a limit all the time fills no log.

    `options` are the limits of an endpoint that are not fields of its `Limits`, by name.
    """

    def __init__(self, limits: Limits, options: Mapping[str, object]) -> None:
        self._limits, self._options = limits, options
        self._limit: LogLimit[str] = LogLimit(1, INTERVAL)

    def count(self, limit: str, now: float) -> None:
        """Count that a limit was reached, by the name of its option; `now` is the monotonic time."""
        if limit in _USUAL:
            return
        left_out = self._limit.admit(limit, now)
        if left_out is None:
            return
        often = f" {left_out + 1:,} times since the last line" if left_out else ""
        _log.warning("a limit was reached%s: %s", often, self._described(limit))

    def _described(self, limit: str) -> str:
        if limit in _LIMITS:
            return f"{limit} is {getattr(self._limits, limit)!r}; Endpoint(limits=Limits({limit}=…)) changes it"
        if limit in self._options:
            return f"{limit} is {self._options[limit]!r}; Endpoint({limit}=…) changes it"
        return _OTHERS.get(limit, limit)


# Well-behaved clients reach these every day.
_USUAL = frozenset(("keep_alive", "requests"))
_OTHERS = {
    "files": "no file is left for another connection (ulimit -n); none is accepted until others have ended",
    "max_body": "the body of a request is larger than its path takes",
}
_LIMITS = frozenset(field.name for field in fields(Limits))
