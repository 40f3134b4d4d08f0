"""How many messages may wait in the mailbox of an actor, and what becomes of one for which there is no room."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Literal, get_args

from actors.redaction import safe_repr
from actors.validation import check_count

__all__ = ["Mailbox", "OnFull", "check_mailbox", "check_own_mailbox"]

OnFull = Literal["refuse", "drop_newest", "drop_oldest", "crash"]
"""What `Mailbox.on_full` may be."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Bounds the mailbox of the actors of a class; without one it is unbounded, as in OTP.

        class Resizer(Actor):
            mailbox = Mailbox(limit=100, on_full="drop_oldest")

    `limit` is the number of messages that may wait; the one that is being handled does not wait any more. What becomes of a
    message that finds no room:

    - `"refuse"`: `tell`, `ask` and `call` raise MailboxFullError; `send`, which never raises, drops the message.
    - `"drop_newest"`: it is dropped.
    - `"drop_oldest"`: it is added, and the message that has waited longest is dropped.
    - `"crash"`: as "refuse"; and the actor ends, with MailboxFullError as its reason, so that its supervisor restarts it.

    The caller that asked a message that is dropped gets MailboxFullError. What is dropped is a dead letter: see
    docs/observability.md. `ref.tell(message, timeout=…)` and `await ref.put(message)` wait for room first.

    Only messages that are sent, told or asked count, broadcasts too. Exits, `Down`, `IdleTimeout`, the actor's own timers and
    `continue_with`, requests of `sys`, `stop()` and what a client sends to its channel always get in, and are never dropped.

    Raises:
        ValueError: if `limit` is not a whole number >= 1, or `on_full` is not one of these.
    """  # the colon leads to the example

    limit: int
    on_full: OnFull = "refuse"

    def __post_init__(self) -> None:
        check_count("limit", self.limit, least=1)
        if self.on_full not in get_args(OnFull):
            raise ValueError(f"on_full must be {', '.join(map(repr, get_args(OnFull)))}, got {safe_repr(self.on_full)}")


def check_mailbox(owner: type) -> None:
    """Raise if the `mailbox` of a class is a value that bounds nothing; a method or a property of that name is the author's.

    Raises:
        TypeError: naming the class and the value, and how to write it.
    """
    value = inspect.getattr_static(owner, "mailbox")
    if value is None or isinstance(value, Mailbox) or (hasattr(type(value), "__get__") and not isinstance(value, type)):
        return
    example = f"Mailbox(limit={value})" if isinstance(value, int) else 'Mailbox(limit=100, on_full="refuse")'
    raise TypeError(
        f"{owner.__qualname__}.mailbox must be a Mailbox or None, got {safe_repr(value)}; write `{example}`"
    )


def check_own_mailbox(actor: object, value: object) -> None:
    """Raise if the `mailbox` of an object, and not of its class, is a `Mailbox`; another value is the author's.

    Raises:
        TypeError: naming the class, and where to write it.
    """
    if isinstance(value, Mailbox):
        raise TypeError(
            f"{type(actor).__qualname__}: `self.mailbox = {value}` in `__init__` has no effect; "
            f"write `mailbox = {value}` in the class"
        )
