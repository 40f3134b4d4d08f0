"""Who is alive, and who is called what."""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from weakref import WeakSet

import msgspec
import pykka

from actors.exceptions import AmbiguousNameError, NameTakenError, NotRegisteredError
from actors.exits import KILLED
from actors.via import resolve

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable

    from actors.future import Future
    from actors.ref import ActorRef
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.bonds import Bonds
    from actors.runtime.scheduler import Scheduler
    from actors.via import Target

__all__ = ["ActorRegistry", "Keys", "Registered", "Registry", "Unregistered"]

A = TypeVar("A", bound="Behaviour")

# One for all registries: what a process keeps of its names is written by any of them. Reads go without it.
# Re-entrant, as the functions of `update_value` and `unregister_match` are the author's.
_writing = threading.RLock()


class Keys(enum.Enum):
    """Whether a key of a `Registry` has one actor or many."""

    UNIQUE = "unique"
    DUPLICATE = "duplicate"


class Registered(msgspec.Struct, frozen=True):
    """Sent to the listeners of a `Registry` when an actor got a key, or a unique key another value by `register`."""

    registry: Registry
    key: Any
    actor: ActorRef[Any]
    value: Any


class Unregistered(msgspec.Struct, frozen=True):
    """Sent to the listeners of a `Registry` when an actor does not have a key any more, also because it has ended."""

    registry: Registry
    key: Any
    actor: ActorRef[Any]


class Registry:
    """Names for actors, by any hashable key; an entry ends with its actor, before anybody is told of its death.

    With `Keys.UNIQUE` a key has one actor. With `Keys.DUPLICATE` it has many, and one that registers twice has two entries.
    Listeners get a `Registered` or an `Unregistered` for each change, in order; as names or `Via` they are looked up at each,
    a plain name among those of the runtime in which the registered actor lives.

    It is an object and not an actor: it cannot crash, so it is no child of a supervisor. Make it beside your System, and hand
    it to whom it concerns. All of it is safe from any thread. A ref that was found may die before it is used, as everywhere.
    To find an entry, to add one and to end one takes the same time however many there are.

    Raises:
        TypeError: if `keys` is no `Keys`, or a listener is None.
    """

    def __init__(self, keys: Keys = Keys.UNIQUE, *, listeners: Iterable[Target] = ()) -> None:
        if not isinstance(keys, Keys):
            raise TypeError(f"keys must be Keys.UNIQUE or Keys.DUPLICATE, got {keys!r}")
        if isinstance(listeners, str) or None in (listeners := tuple(listeners)):
            raise TypeError(f"listeners must be a list of refs or names, got {listeners!r}")
        self.kind = keys
        self._listeners: tuple[Target, ...] = listeners
        # The values that each actor has under each key, in the order of registration.
        self._entries: dict[Any, dict[Bonds, list[Any]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<Registry {self.kind.value}, entries: {self._count}>"

    # Entries

    def register(self, key: Any, ref: ActorRef[Any], value: Any = None) -> None:
        """Give `ref` the name `key`, with a value of your own beside it.

        A unique key that it has already gets the new value; with duplicate keys it has one entry more.

        Raises:
            NameTakenError: if keys are unique and another living actor has it.
            ActorDeadError: if the actor is dead.
        """
        process = ref.process
        with _writing:
            if self.kind is Keys.UNIQUE:
                self._must_be_free(key, process)
            process.named(self, key)
            # In this order: who ends is first dead and then gives its names back, so that in another thread one of us sees it.
            if not process.alive:
                process.unnamed(self, key)
                raise pykka.ActorDeadError(f"{ref} is dead and cannot be registered as {key!r}")
            self._enter(key, process, value)
            self._tell(process, Registered(self, key, ref, value))

    def _must_be_free(self, key: Any, process: Bonds) -> None:
        for other in list(self._entries.get(key, ())):
            if other is process:
                continue
            if other.alive:
                raise NameTakenError(key, other.ref)
            # It ends in another thread at this very moment.
            self.forget(key, other)

    def _enter(self, key: Any, process: Bonds, value: Any) -> None:
        values = self._entries.setdefault(key, {}).setdefault(process, [])
        if values and self.kind is Keys.UNIQUE:
            values[0] = value
        else:
            values.append(value)
            self._count += 1

    def unregister(self, key: Any, ref: ActorRef[Any]) -> None:
        """Take the name `key` from `ref`, with all its values; nothing happens if it does not have it."""
        with _writing:
            ref.process.unnamed(self, key)
            self.forget(key, ref.process)

    def unregister_match(self, key: Any, ref: ActorRef[Any], matches: Callable[[Any], bool]) -> None:
        """End those entries of `ref` under `key` whose value `matches`."""
        with _writing:
            values = self._entries.get(key, {}).get(ref.process, [])
            kept = [value for value in values if not matches(value)]
            if not kept:
                self.unregister(key, ref)
            else:
                self._count -= len(values) - len(kept)
                values[:] = kept

    def forget(self, key: Any, process: Bonds) -> None:
        """Drop what an actor has under a key; for the runtime, when the actor ends."""
        with _writing:
            entries = self._entries.get(key, {})
            values = entries.pop(process, None)
            if values is None:
                return
            self._count -= len(values)
            if not entries:
                del self._entries[key]
            self._tell(process, Unregistered(self, key, process.ref))

    def update_value(self, key: Any, ref: ActorRef[Any], update: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Give `ref` the value `update(old)` under a unique key; return the new value and the old one.

        No listener is told. Other threads that would change a registry wait meanwhile, so let `update` be quick.

        Raises:
            NotRegisteredError: if it does not have the key.
            ValueError: if keys are not unique.
        """
        if self.kind is not Keys.UNIQUE:
            raise ValueError(
                "update_value() needs unique keys; with duplicate ones unregister_match() and register() again"
            )
        with _writing:
            values = self._entries.get(key, {}).get(ref.process)
            if values is None:
                raise NotRegisteredError(key, ref)
            old = values[0]
            new = values[0] = update(old)
            return new, old

    def _tell(self, process: Bonds, message: Registered | Unregistered) -> None:
        for listener in self._listeners:
            ref = resolve(listener, process.scheduler.names.whereis)
            if ref is not None:
                ref.send(message)

    # Look-ups by key

    def whereis(self, key: Any) -> ActorRef[Any] | None:
        """Return the living actor called `key`, or None; with duplicate keys, the one registered first."""
        entries = self._entries.get(key, ())
        while True:
            try:
                for process in entries:
                    if process.alive:
                        return process.ref
            except RuntimeError:
                # Another thread changed them meanwhile: look again, which is cheaper than a copy each time.
                continue
            return None

    def lookup(self, key: Any) -> list[tuple[ActorRef[Any], Any]]:
        """Return all living actors called `key` with their values, in the order of registration; one's own values together."""
        entries = list(self._entries.get(key, {}).items())
        return [(process.ref, value) for process, values in entries if process.alive for value in list(values)]

    def values(self, key: Any, ref: ActorRef[Any]) -> list[Any]:
        """Return the values that `ref` has under `key`: none, one, or with duplicate keys as many as it registered."""
        return list(self._entries.get(key, {}).get(ref.process, ()))

    def match(self, key: Any, matches: Callable[[Any], bool]) -> list[tuple[ActorRef[Any], Any]]:
        """Return those entries of `key`, as `lookup` does, whose value `matches`."""
        return [(ref, value) for ref, value in self.lookup(key) if matches(value)]

    def count_match(self, key: Any, matches: Callable[[Any], bool]) -> int:
        """Return how many entries of `key` have a value that `matches`."""
        return len(self.match(key, matches))

    def dispatch(self, key: Any, function: Callable[[list[tuple[ActorRef[Any], Any]]], object]) -> None:
        """Call `function` once, here, with all entries of `key` as `lookup` returns them; not at all if there is none."""
        entries = self.lookup(key)
        if entries:
            function(entries)

    # Look-ups through all

    def keys(self, ref: ActorRef[Any]) -> list[Any]:
        """Return the keys of an actor, one as often as it has entries under it."""
        own = [key for registry, key in list(ref.process.names or ()) if registry is self]
        return [key for key in own for _ in self.values(key, ref)]

    def names(self) -> list[Any]:
        """Return all keys that are in use."""
        return list(self._entries)

    def count(self) -> int:
        """Return how many entries there are."""
        return self._count

    def select(
        self, matches: Callable[[Any, ActorRef[Any], Any], bool] = lambda _key, _ref, _value: True
    ) -> list[tuple[Any, ActorRef[Any], Any]]:
        """Return all entries for which `matches(key, ref, value)`, as key, ref and value."""
        entries = [(key, ref, value) for key in self.names() for ref, value in self.lookup(key)]
        return [entry for entry in entries if matches(*entry)]

    def count_select(self, matches: Callable[[Any, ActorRef[Any], Any], bool]) -> int:
        """Return for how many entries `matches(key, ref, value)`."""
        return len(self.select(matches))


class ActorRegistry:
    """All living actors of all event loops; pykka's look-ups, in constant time to enter and to leave."""

    # One for the interpreter, as pykka's; a scheduler that nobody needs any more takes its actors with it.
    _schedulers: ClassVar[WeakSet[Scheduler]] = WeakSet()

    @classmethod
    def join(cls, scheduler: Scheduler) -> None:
        """Take note of a scheduler whose actors are to be found; for the runtime."""
        cls._schedulers.add(scheduler)

    @classmethod
    def schedulers(cls) -> list[Scheduler]:
        """Return the schedulers of all event loops that have had actors, closed ones too; for the runtime."""
        return list(cls._schedulers)

    @classmethod
    def scheduler_of(cls, loop: AbstractEventLoop) -> Scheduler | None:
        """Return the scheduler of an event loop, if it has one; for the runtime."""
        return next((scheduler for scheduler in cls.schedulers() if scheduler.loop is loop), None)

    @classmethod
    def clear(cls) -> None:
        """Take all actors for dead and forget them: they live in another process of the system; for the runtime."""
        for scheduler in cls.schedulers():
            for process in scheduler.processes.values():
                process.alive, process.reason = False, KILLED
        cls._schedulers.clear()

    @classmethod
    def get_all(cls) -> list[ActorRef[Any]]:
        """Return all living actors, in the order they were started."""
        living = [process for scheduler in cls.schedulers() for process in list(scheduler.processes.values())]
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
    def get_by_name(cls, name: Any) -> ActorRef[Any] | None:
        """Return the living actor that has a name in whichever event loop, or None.

        Raises:
            AmbiguousNameError: if the name has an actor in more than one.
        """
        living = [scheduler for scheduler in cls.schedulers() if not scheduler.loop.is_closed()]
        found: list[ActorRef[Any]] = []
        for scheduler in living:
            ref = scheduler.names.whereis(name)
            if ref is not None:
                found.append(ref)
        if len(found) > 1:
            found.sort(key=lambda ref: ref.process.number)
            raise AmbiguousNameError(name, found)
        return found[0] if found else None

    @classmethod
    def get_by_pid(cls, pid: str) -> ActorRef[Any] | None:
        """Return the living actor with that pid text, such as `<0.41.0>`, or None."""
        try:
            number = int(pid.strip("<>").split(".")[1])
        except (IndexError, ValueError):
            raise ValueError(f"a pid is written like <0.41.0>, got {pid!r}") from None
        found = (scheduler.processes.get(number) for scheduler in cls.schedulers())
        return next((process.ref for process in found if process is not None), None)

    @classmethod
    def broadcast(cls, message: Any, target_class: str | type[Behaviour] | None = None) -> None:
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
        """Stop all living actors, the last started first; return what each `stop` returned.

        Those that have a parent, such as the children of a supervisor, are left to it: it ends them with itself, in its order,
        where it would start again what somebody else stops. They are waited for, but not among what is returned.
        """
        top: list[ActorRef[Any]] = []
        below: list[ActorRef[Any]] = []
        for ref in reversed(cls.get_all()):
            parent = ref.process.parent
            (top if parent is None or not parent.alive else below).append(ref)
        stops: list[bool | Future[bool]] = [ref.stop(block=block, timeout=timeout) for ref in top]
        if block:
            for ref in below:
                ref.stop(block=True, timeout=timeout)
        return stops
