"""The exceptions of `actors`, raised at authors and callers.

pykka.ActorDeadError        the actor is dead (expect it: any actor may end at any time)
pykka.Timeout               no reply in time
ActorsError
├── AmbiguousNameError      actors of several event loops have the name
├── AskCycleError           you ask an actor that waits for your own reply
├── BlockingCallError       you would block an event loop, or wait for one that cannot run meanwhile
├── ForkedError             what you use is in the process that this one was forked from (it is an ActorDeadError too)
├── MailboxFullError        the mailbox of the actor is bounded, and has no room
├── NameTakenError          another actor has the name
├── NotRegisteredError      the actor is not registered under the key, or no actor is
├── AlreadyTrackedError     the actor is on the topic under that key already
├── NotTrackedError         the actor is not on the topic under that key
├── StartError              an actor could not start
├── TaskExitError           a task ended without a result (it is an ActorDeadError too)
└── ChannelError
    ├── BadReturnError      a callback returned a shape it may not return
    ├── NotJoinedError      a push or broadcast before the reply to the join
    ├── UnencodableError    a payload cannot be encoded, or the client's version of the protocol cannot express it
    └── UnhandledEventError a channel does not handle an event
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pykka import ActorDeadError, Timeout

from actors.pickling import Portable
from actors.redaction import error_text, safe_repr, safe_str
from actors.traceback_locals import drop_locals

__all__ = [
    "ActorDeadError",
    "ActorsError",
    "AlreadyTrackedError",
    "AmbiguousNameError",
    "AskCycleError",
    "BadReturnError",
    "BlockingCallError",
    "ChannelError",
    "ForkedError",
    "MailboxFullError",
    "NameTakenError",
    "NotJoinedError",
    "NotRegisteredError",
    "NotTrackedError",
    "StartError",
    "TaskExitError",
    "Timeout",
    "UnencodableError",
    "UnhandledEventError",
]


class ActorsError(Portable):
    """The base of all exceptions of this package."""


class BlockingCallError(ActorsError, RuntimeError):
    """A wait that would block an event loop, or that could never end: `why` says which."""

    def __init__(
        self,
        call: str = "ask()",
        *,
        instead: str = "`await ref.call(message)` in an async handler, or `ref.ask(message, block=False)` and await the future",
        why: str | None = None,
    ) -> None:
        self.call = call
        super().__init__(
            f"{call} {why}; write {instead}"
            if why is not None
            else f"{call} would block the event loop that has to answer it; write {instead}; "
            "an actor that has to block is a ThreadedActor"
        )


class AskCycleError(ActorsError):
    """An actor is about to wait for one that, directly or through others, waits for it."""

    def __init__(self, chain: Sequence[str]) -> None:
        self.chain = tuple(chain)
        super().__init__(
            f"{' asks '.join(chain)}: each waits for the next, so that none of them can answer; "
            "send() the message and handle the answer as a message too, or keep the question with reply_later(); "
            "where one waits for room in a mailbox, raise its limit"
        )


class ForkedError(ActorsError, ActorDeadError):
    """An actor, event loop, endpoint or client is used that is in the process from which this one was forked."""

    def __init__(self, what: object, process_id: int) -> None:
        self.what, self.process_id = str(what), process_id
        super().__init__(
            f"{what} belongs to process {process_id}, from which this one, {os.getpid()}, was forked: threads and event loops "
            "do not exist in a forked process; make another one here, or let the parent do it"
        )


class MailboxFullError(ActorsError):
    """The mailbox of an actor is bounded (`actors.Mailbox`), and there is no room for a message."""

    def __init__(self, actor: object, limit: int) -> None:
        self.actor, self.limit = actor, limit
        messages = "1 message" if limit == 1 else f"{limit} messages"
        super().__init__(
            f"{safe_str(actor)} has {messages} in its mailbox, which is its limit; send fewer, drop what can be dropped, "
            "or wait for room: tell(message, timeout=…) in a thread, `await ref.put(message)` on an event loop"
        )


class NameTakenError(ActorsError):
    """A unique name is already registered to another living actor."""

    def __init__(self, name: object, owner: object, advice: str = "") -> None:
        self.name, self.owner = name, owner
        super().__init__(
            f"name {safe_repr(name)} is already taken by {safe_str(owner)}" + (f"; {advice}" if advice else "")
        )


class NotRegisteredError(ActorsError):
    """The actor is not registered under that key, or, where `actor` is None, no actor is; `nearest` are the closest matches."""

    def __init__(self, key: object, actor: object = None, nearest: Sequence[str] = ()) -> None:
        self.key, self.actor, self.nearest = key, actor, tuple(nearest)
        if actor is not None:
            super().__init__(f"{safe_str(actor)} is not registered as {safe_repr(key)}; register() it first")
            return
        advice = f"; closest matches: {', '.join(map(safe_repr, nearest))}" if nearest else ""
        super().__init__(f"no actor is registered as {safe_repr(key)}{advice}")


class AmbiguousNameError(ActorsError):
    """Actors of several event loops have the name, and the current thread runs none of these loops."""

    def __init__(self, name: object, owners: Sequence[object]) -> None:
        self.name, self.owners = name, tuple(owners)
        super().__init__(
            f"name {safe_repr(name)} has an actor in {len(owners)} event loops: {', '.join(map(safe_str, owners))}; "
            f"use the ref of the one that is meant, as from system.whereis({safe_repr(name)})"
        )


class AlreadyTrackedError(ActorsError):
    """An actor is tracked on a topic under the key already."""

    def __init__(self, actor: object, topic: str, key: str) -> None:
        self.actor, self.topic, self.key = actor, topic, key
        super().__init__(
            f"{safe_str(actor)} is tracked on {topic!r} as {key!r} already; give it another meta with update()"
        )


class NotTrackedError(ActorsError):
    """An actor is not tracked on a topic under the key."""

    def __init__(self, actor: object, topic: str, key: str) -> None:
        self.actor, self.topic, self.key = actor, topic, key
        super().__init__(f"{safe_str(actor)} is not tracked on {topic!r} as {key!r}; track() it first")


class StartError(ActorsError):
    """An actor failed in `__init__` or `on_start`; the cause is chained."""

    def __init__(self, label: str, cause: BaseException) -> None:
        self.label, self.cause = label, cause
        super().__init__(f"{label} could not start: {error_text(cause)}")

    def __del__(self) -> None:
        # A copy that failed has none, and one that is made by hand may have anything.
        if isinstance(cause := getattr(self, "cause", None), BaseException):
            drop_locals(cause)

    @property
    def root(self) -> BaseException:
        """The first failure, where a supervisor could not start because its child could not."""
        return self.cause.root if isinstance(self.cause, StartError) else self.cause


class TaskExitError(ActorsError, ActorDeadError):
    """A task ended without a result: it was told to end, was killed, or its owner ended."""

    def __init__(self, task: str, reason: object) -> None:
        self.task, self.reason = task, reason
        super().__init__(f"{task} ended without a result: {safe_str(reason)}")


class ChannelError(ActorsError):
    """The base of the errors of channel authors."""


class BadReturnError(ChannelError, TypeError):
    """A channel callback returned a value of a shape it may not return."""

    def __init__(self, callback: str, allowed: str, got: object) -> None:
        self.callback, self.got = callback, got
        super().__init__(f"{callback}() must return {allowed}, got {safe_repr(got)}")


class NotJoinedError(ChannelError):
    """A push, broadcast or socket_ref was tried before the client had its join reply."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        super().__init__(
            f"{verb} can only be called after the socket has finished joining; in join() write "
            'self.send(self, "after_join") and do it in handle_info()'
        )


class UnencodableError(ChannelError, TypeError, ValueError):
    """A payload cannot be encoded, or the client's version of the protocol cannot express a message.

    `path` leads to the part at fault, such as `$.users[2].name`; None if it is not a part of the payload.
    """

    def __init__(self, text: str, path: str | None = None) -> None:
        self.path = path
        super().__init__(text)


class UnhandledEventError(ChannelError):
    """A channel got an event that it does not handle."""

    def __init__(self, channel: str, event: object) -> None:
        self.channel, self.event = channel, event
        super().__init__(f"{channel}.handle_in() has no clause for event {safe_repr(event)}")
