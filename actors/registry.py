"""Who is alive, and who is called what."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import pykka

from actors.exceptions import NameTakenError

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.future import Future
    from actors.ref import ActorRef
    from actors.runtime.bonds import Bonds
    from actors.runtime.scheduler import Scheduler

__all__ = ["ActorRegistry", "Keys", "Registry"]

A = TypeVar("A", bound="Actor")


class Keys(enum.Enum):
    """Whether a key of a `Registry` has one actor or many."""

    UNIQUE = "unique"
    DUPLICATE = "duplicate"


class Registry:
    """Names for actors, by any hashable key; an entry ends with its actor, before anybody is told of its death.

    Reads are safe from any thread. A ref that was found may die before it is used, as everywhere.
    """

    def __init__(self, keys: Keys = Keys.UNIQUE) -> None:
        if not isinstance(keys, Keys):
            raise TypeError(f"keys must be Keys.UNIQUE or Keys.DUPLICATE, got {keys!r}")
        self.keys = keys
        self._entries: dict[Any, dict[Bonds, Any]] = {}

    def __len__(self) -> int:
        return sum(len(entries) for entries in list(self._entries.values()))

    def register(self, key: Any, ref: ActorRef[Any], value: Any = None) -> None:
        """Give `ref` the name `key`, with a value of your own beside it.

        Raises:
            NameTakenError: if keys are unique and another living actor has it.
            ActorDeadError: if the actor is dead.
        """
        process = ref.process
        if not process.alive:
            raise pykka.ActorDeadError(f"{ref} is dead and cannot be registered as {key!r}")
        entries = self._entries.setdefault(key, {})
        if self.keys is Keys.UNIQUE:
            for other in entries:
                if other is not process:
                    raise NameTakenError(key, other.ref)
        entries[process] = value
        process.named(self, key)

    def unregister(self, key: Any, ref: ActorRef[Any]) -> None:
        """Take the name `key` from `ref`; nothing happens if it does not have it."""
        self.forget(key, ref.process)
        ref.process.unnamed(self, key)

    def forget(self, key: Any, process: Bonds) -> None:
        """Drop one entry; for the runtime, when an actor ends."""
        entries = self._entries.get(key)
        if entries is not None:
            entries.pop(process, None)
            if not entries:
                del self._entries[key]

    def whereis(self, key: Any) -> ActorRef[Any] | None:
        """Return the actor called `key`, or None; with duplicate keys, the one registered first."""
        for process in list(self._entries.get(key, ())):
            return process.ref
        return None

    def lookup(self, key: Any) -> list[tuple[ActorRef[Any], Any]]:
        """Return all actors called `key` with their values, in the order of registration."""
        return [(process.ref, value) for process, value in list(self._entries.get(key, {}).items())]

    def names(self) -> list[Any]:
        """Return all keys that are in use."""
        return list(self._entries)


class ActorRegistry:
    """All living actors of all event loops; pykka's look-ups, in constant time to enter and to leave."""

    # One for the interpreter, as pykka's; a scheduler that nobody needs any more takes its actors with it.
    _schedulers: WeakSet[Scheduler] = WeakSet()

    @classmethod
    def join(cls, scheduler: Scheduler) -> None:
        """Take note of a scheduler whose actors are to be found; for the runtime."""
        cls._schedulers.add(scheduler)

    @classmethod
    def get_all(cls) -> list[ActorRef[Any]]:
        """Return all living actors, in the order they were started."""
        living = [process for scheduler in list(cls._schedulers) for process in list(scheduler.processes.values())]
        return [process.ref for process in sorted(living, key=lambda process: process.number)]

    @classmethod
    def get_by_class(cls, actor_class: type[A]) -> list[ActorRef[A]]:
        """Return all living actors of that class or a subclass."""
        return [ref for ref in cls.get_all() if issubclass(ref.actor_class, actor_class)]

    @classmethod
    def get_by_class_name(cls, actor_class_name: str) -> list[ActorRef[Any]]:
        """Return all living actors whose class has that name."""
        return [ref for ref in cls.get_all() if ref.actor_class.__name__ == actor_class_name]

    @classmethod
    def get_by_urn(cls, actor_urn: str) -> ActorRef[Any] | None:
        """Return the living actor with that URN, or None."""
        return next((ref for ref in cls.get_all() if ref.actor_urn == actor_urn), None)

    @classmethod
    def get_by_pid(cls, pid: str) -> ActorRef[Any] | None:
        """Return the living actor with that pid text, such as `<0.41.0>`, or None."""
        try:
            number = int(pid.strip("<>").split(".")[1])
        except (IndexError, ValueError):
            raise ValueError(f"a pid is written like <0.41.0>, got {pid!r}") from None
        found = (scheduler.processes.get(number) for scheduler in list(cls._schedulers))
        return next((process.ref for process in found if process is not None), None)

    @classmethod
    def broadcast(cls, message: Any, target_class: str | type[Actor] | None = None) -> None:
        """Tell `message` to all living actors, or to those of one class or class name."""
        if target_class is None:
            targets = cls.get_all()
        elif isinstance(target_class, str):
            targets = cls.get_by_class_name(target_class)
        else:
            targets = cls.get_by_class(target_class)
        for ref in targets:
            ref.send(message)

    @classmethod
    def stop_all(cls, *, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Stop all living actors, the last started first; return what each `stop` returned."""
        if block:
            return [ref.stop(block=True, timeout=timeout) for ref in reversed(cls.get_all())]
        stops: list[Future[bool]] = [ref.stop(block=False, timeout=timeout) for ref in reversed(cls.get_all())]
        return stops
