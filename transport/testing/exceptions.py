"""The failures of a channel test.

AssertionError
├── ConnectRefusedError     a socket's `connect` refused the client
├── JoinRefusedError        a join that should have succeeded did not
├── UnexpectedCrashError    an actor crashed unexpectedly
└── LeftBehindError         actors, timers, subscriptions or tasks outlived the test
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from actors.pickling import Portable
from actors.redaction import class_name, safe_repr, safe_str

if TYPE_CHECKING:
    from actors.channels.message import Reply

__all__ = ["ConnectRefusedError", "JoinRefusedError", "LeftBehindError", "UnexpectedCrashError"]


class ConnectRefusedError(Portable, AssertionError):
    """A socket's `connect` refused the client."""

    def __init__(self, socket: type, params: Mapping[str, object]) -> None:
        self.socket, self.params = socket, params
        super().__init__(f"{socket.__name__}.connect() refused {safe_repr(dict(params))}")


class JoinRefusedError(Portable, AssertionError):
    """A join that should have succeeded did not."""

    def __init__(self, topic: str, reply: Reply | None, hints: Sequence[str] = ()) -> None:
        self.topic, self.reply = topic, reply
        lines = ["there is no reply yet", *hints] if reply is None else [f"{reply.status} {safe_repr(reply.payload)}"]
        super().__init__(f"could not join {topic!r}: " + "\n".join(lines))


class UnexpectedCrashError(Portable, AssertionError):
    """An actor crashed unexpectedly; the actor's own exception is the cause."""

    def __init__(self, actor: str, error: BaseException, last_message: str, block: str) -> None:
        self.actor, self.error = actor, error
        name, text = class_name(error), safe_str(error)
        self.summary = f"{actor} crashed: {name}{f': {text}' if text else ''}"
        super().__init__(
            f"{self.summary}\n"
            f"  its last message: {last_message}\n"
            f"  if that is what the test is about: {block}.expect_crash({name}): …"
        )


class LeftBehindError(Portable, AssertionError):
    """Something outlived the test; `left` names each thing."""

    def __init__(self, left: Sequence[str]) -> None:
        self.left = tuple(left)
        super().__init__("\n  ".join(["left behind at the end of the test:", *left]))
