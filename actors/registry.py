"""Registries: names for actors, and all living actors of the program."""

from __future__ import annotations

import enum
import threading
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload
from weakref import ReferenceType, WeakSet

import msgspec

from actors.callbacks import check_function
from actors.exceptions import AmbiguousNameError, ForkedError, NameTakenError, NotRegisteredError
from actors.exits import LEFT_BEHIND
from actors.fork import free_after_fork, parent_id
from actors.pickling import Local
from actors.redaction import safe_repr
from actors.via import Via, checked_ref, resolve

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Hashable, Iterable

    from actors.future import Future
    from actors.ref import ActorRef
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.bonds import Bonds
    from actors.runtime.scheduler import Scheduler
    from actors.via import Target

__all__ = ["ActorRegistry", "Keys", "Registered", "Registry", "Unregistered", "check_missing", "nearest", "not_found"]

A = TypeVar("A", bound="Behaviour")

if TYPE_CHECKING:
    Match = Callable[[Any], bool]
    Entry = tuple[ActorRef, Any]

# Names that are compared for close matches: with more of them a person at a prompt would wait too long, and where a look-up
# is an error, which clients may cause, the event loop.
_COMPARED, _COMPARED_AT_ERRORS = 10_000, 100

# One for all registries, as any of them writes the names that a process keeps. Reads do not take it.
# Re-entrant, as the functions given to `update_value` and `unregister_match` are the author's.
_writing = free_after_fork(threading.RLock())
_registries: WeakSet[Registry] = WeakSet()


class Keys(enum.Enum):
    """Whether a key of a `Registry` belongs to one actor or to many."""

    UNIQUE = "unique"
    DUPLICATE = "duplicate"


class Registered(msgspec.Struct, frozen=True):
    """Sent to the listeners of a `Registry` when an actor gets a key, or by `register` another value for a unique key."""

    registry: Registry
    key: Hashable
    actor: ActorRef
    value: Any


class Unregistered(msgspec.Struct, frozen=True):
    """Sent to the listeners of a `Registry` when an actor no longer has a key, also because it has ended."""

    registry: Registry
    key: Hashable
    actor: ActorRef


class Registry(Local):
    """Names for actors, by any hashable key; an entry is removed when its actor ends, before links and monitors are notified.

    With `Keys.UNIQUE` a key has one actor. With `Keys.DUPLICATE` it has many, and an actor that registers twice has two
    entries. Listeners get a `Registered` or an `Unregistered` for each change, in order. A listener that is a name or a `Via`
    is looked up at each change, a plain name in the runtime of the registered actor.

    It is an object and not an actor: it cannot crash, so it is not a child of a supervisor. Create it beside your System, and
    pass it to the actors that need it. All methods are safe from any thread. An actor that was found may end before its ref
    is used. To find, add or remove an entry takes constant time.

    Raises:
        TypeError: if `keys` is not a `Keys`, or a listener is None.
    """

    def __init__(self, keys: Keys = Keys.UNIQUE, *, listeners: Iterable[Target] = ()) -> None:
        if not isinstance(keys, Keys):
            raise TypeError(f"keys must be Keys.UNIQUE or Keys.DUPLICATE, got {safe_repr(keys)}")
        if isinstance(listeners, str) or None in (listeners := tuple(listeners)):
            raise TypeError(f"listeners must be a list of refs or names, got {safe_repr(listeners)}")
        self.kind = keys
        self._listeners: tuple[Target, ...] = listeners
        # The values that each actor has under each key, in the order of registration.
        self._entries: dict[Hashable, dict[Bonds, list[Any]]] = {}
        self._count = 0
        self._left_behind: frozenset[Hashable] = frozenset()
        _registries.add(self)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<Registry {self.kind.value}, entries: {self._count}>"

    # Entries

    def register(self, key: Hashable, ref: ActorRef, value: object = None) -> None:
        """Register `ref` under `key`, with a value of your own.

        If it has a unique key already, that gets the new value; with duplicate keys it gets one more entry.

        Raises:
            NameTakenError: if keys are unique and another living actor has it.
            ActorDeadError: if the actor is dead.
        """
        process = checked_ref(ref, "registry.register(key, ref)").process
        with _writing:
            if self.kind is Keys.UNIQUE:
                self._must_be_free(key, process)
            process.named(self, key)
            # In this order: an actor that ends in another thread is first dead and then releases its names, so one of the two
            # sees the other.
            if not process.alive:
                process.unnamed(self, key)
                raise process.dead(f" and cannot be registered as {safe_repr(key)}")
            self._enter(key, process, value)
            self._notify(process, Registered(self, key, ref, value))

    def _must_be_free(self, key: Hashable, process: Bonds) -> None:
        for other in list(self._entries.get(key, ())):
            if other is process:
                continue
            if other.alive:
                raise NameTakenError(key, other.ref)
            # It is ending in another thread just now.
            self.forget(key, other)

    def _enter(self, key: Hashable, process: Bonds, value: object) -> None:
        values = self._entries.setdefault(key, {}).setdefault(process, [])
        if values and self.kind is Keys.UNIQUE:
            values[0] = value
        else:
            values.append(value)
            self._count += 1

    def unregister(self, key: Hashable, ref: ActorRef) -> bool:
        """Remove all entries of `ref` under `key`; return whether there were any."""
        checked_ref(ref, "registry.unregister(key, ref)")
        with _writing:
            ref.process.unnamed(self, key)
            return self.forget(key, ref.process)

    def unregister_match(self, key: Hashable, ref: ActorRef, matches: Match) -> None:
        """Remove the entries of `ref` under `key` for whose value `matches(value)` is true."""
        check_function("matches", matches)
        with _writing:
            values = self._entries.get(key, {}).get(ref.process, [])
            kept = [value for value in values if not matches(value)]
            if not kept:
                self.unregister(key, ref)
            else:
                self._count -= len(values) - len(kept)
                values[:] = kept

    def forget(self, key: Hashable, process: Bonds) -> bool:
        """Remove the entries of an actor under a key, and return whether there were any; for the runtime, at its end."""
        with _writing:
            entries = self._entries.get(key, {})
            values = entries.pop(process, None)
            if values is None:
                return False
            self._count -= len(values)
            if not entries:
                del self._entries[key]
            self._notify(process, Unregistered(self, key, process.ref))
            return True

    def update_value(self, key: Hashable, ref: ActorRef, update: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Set the value of `ref` under a unique key to `update(old)`; return the new value and the old one.

        Listeners are not notified. Other threads that change a registry wait meanwhile, so `update` must be quick.

        Raises:
            NotRegisteredError: if it does not have the key.
            ValueError: if keys are not unique.
        """
        check_function("update", update)
        if self.kind is not Keys.UNIQUE:
            raise ValueError(
                "update_value() needs unique keys; with duplicate ones unregister_match() and register() again"
            )
        with _writing:
            values = self._entries.get(key, {}).get(ref.process)
            if values is None:
                ref.process.check_here()
                raise NotRegisteredError(key, ref)
            old = values[0]
            new = values[0] = update(old)
            return new, old

    def _notify(self, process: Bonds, message: Registered | Unregistered) -> None:
        for listener in self._listeners:
            ref = resolve(listener, process.scheduler.names.whereis)
            if ref is not None:
                ref.send(message)

    # Look-ups by key

    @overload
    def whereis(self, key: Hashable, *, required: Literal[True]) -> ActorRef: ...

    @overload
    def whereis(self, key: Hashable, *, required: bool = ...) -> ActorRef | None: ...

    def whereis(self, key: Hashable, *, required: bool = False) -> ActorRef | None:
        """Return the living actor registered as `key`, or None; with duplicate keys, the one registered first.

        Raises:
            NotRegisteredError: if no actor has the key, and one is `required`.
        """
        entries = self._entries.get(key, ())
        while True:
            try:
                for process in entries:
                    if process.alive:
                        return process.ref
            except RuntimeError:
                # Another thread changed them meanwhile: try again, which is cheaper than a copy each time.
                continue
            if required:
                raise not_found(Via(self, key))
            return None

    def lookup(self, key: Hashable) -> list[Entry]:
        """Return the living actors registered as `key` and their values, in order of registration, an actor's together."""
        entries = list(self._entries.get(key, {}).items())
        return [(process.ref, value) for process, values in entries if process.alive for value in list(values)]

    def values(self, key: Hashable, ref: ActorRef) -> list[Any]:
        """Return the values of `ref` under `key`: none, one, or with duplicate keys as many as it registered."""
        return list(self._entries.get(key, {}).get(ref.process, ()))

    def match(self, key: Hashable, matches: Match) -> list[Entry]:
        """Return the entries of `key`, as `lookup` does, for whose value `matches(value)` is true."""
        return [(ref, value) for ref, value in self.lookup(key) if matches(value)]

    def count_match(self, key: Hashable, matches: Match) -> int:
        """Return the number of entries of `key` for whose value `matches(value)` is true."""
        return len(self.match(key, matches))

    def dispatch(self, key: Hashable, function: Callable[[list[Entry]], object]) -> None:
        """Call `function` once, in this thread, with all entries of `key` as `lookup` returns them; not if there are none."""
        entries = self.lookup(key)
        if entries:
            function(entries)
        else:
            self.check_missing(key)

    def check_missing(self, key: Hashable) -> None:
        """Raise ForkedError in a forked process if an actor of its parent has a key that no actor has here."""
        if key in self._left_behind:
            raise ForkedError(f"the actor that is registered as {key!r}", parent_id())

    def leave_behind(self) -> None:
        """Forget all entries, as their actors are in the parent process; for the runtime, in a forked child."""
        self._left_behind = frozenset((*self._left_behind, *self._entries))
        self._entries, self._count = {}, 0

    # Look-ups in all entries

    def keys(self, ref: ActorRef) -> list[Any]:
        """Return the keys of an actor, each once for each of its entries."""
        own = [key for registry, key in list(ref.process.names or ()) if registry is self]
        return [key for key in own for _ in self.values(key, ref)]

    def names(self) -> list[Any]:
        """Return all keys that are in use."""
        return list(self._entries)

    def count(self) -> int:
        """Return the number of entries."""
        return self._count

    def select(
        self, matches: Callable[[Any, ActorRef, Any], bool] = lambda _key, _ref, _value: True
    ) -> list[tuple[Any, ActorRef, Any]]:
        """Return all entries for which `matches(key, ref, value)` is true, as key, ref and value."""
        entries = [(key, ref, value) for key in self.names() for ref, value in self.lookup(key)]
        return [entry for entry in entries if matches(*entry)]

    def count_select(self, matches: Callable[[Any, ActorRef, Any], bool]) -> int:
        """Return the number of entries for which `matches(key, ref, value)` is true."""
        return len(self.select(matches))


class ActorRegistry:
    """All living actors of all event loops, with pykka's look-ups; an actor enters and leaves in constant time."""

    # One for the interpreter, as pykka's. A scheduler that is freed takes its actors with it. They are kept by their ids, and
    # not in a WeakSet, which cannot be read while another thread adds to it.
    _schedulers: ClassVar[dict[int, ReferenceType[Scheduler]]] = {}
    # In a forked child: the names that actors of its parent have.
    _names: ClassVar[frozenset[Hashable]] = frozenset()

    @classmethod
    def join(cls, scheduler: Scheduler) -> None:
        """Add a scheduler, whose actors are then found; for the runtime."""
        number = id(scheduler)
        cls._schedulers[number] = ReferenceType(scheduler, lambda _: cls._schedulers.pop(number, None))

    @classmethod
    def schedulers(cls) -> list[Scheduler]:
        """Return the schedulers of all event loops that have had actors, closed ones too; for the runtime."""
        found = [reference() for reference in list(cls._schedulers.values())]
        return [scheduler for scheduler in found if scheduler is not None]

    @classmethod
    def scheduler_of(cls, loop: AbstractEventLoop) -> Scheduler | None:
        """Return the scheduler of an event loop, if it has one; for the runtime."""
        return next((scheduler for scheduler in cls.schedulers() if scheduler.loop is loop), None)

    @classmethod
    def leave_behind(cls) -> list[Scheduler]:
        """Forget all schedulers, in a forked child, and return them; their actors are dead there. For the runtime."""
        schedulers = cls.schedulers()
        for scheduler in schedulers:
            for process in list(scheduler.processes.values()):
                process.alive, process.reason = False, LEFT_BEHIND
        cls._names = frozenset((*cls._names, *(name for scheduler in schedulers for name in scheduler.names.names())))
        cls._schedulers.clear()
        return schedulers

    @classmethod
    def check_missing(cls, name: Hashable) -> None:
        """Raise ForkedError in a forked process if an actor of its parent has a name that no actor has here."""
        if name in cls._names:
            raise ForkedError(f"the actor that is registered as {name!r}", parent_id())

    @classmethod
    def get_all(cls) -> list[ActorRef[Any]]:
        """Return all living actors, in the order in which they were started."""
        living = [process for scheduler in cls.schedulers() for process in list(scheduler.processes.values())]
        return [process.ref for process in sorted(living, key=lambda process: process.number)]

    @classmethod
    def get_by_class(cls, actor_class: type[A]) -> list[ActorRef[A]]:
        """Return all living actors of a class or its subclasses."""
        return [ref for ref in cls.get_all() if issubclass(ref.actor_class, actor_class)]

    @classmethod
    def get_by_class_name(cls, actor_class_name: str) -> list[ActorRef]:
        """Return all living actors whose class has a name."""
        return [ref for ref in cls.get_all() if ref.actor_class.__name__ == actor_class_name]

    @classmethod
    def get_by_urn(cls, actor_urn: str) -> ActorRef | None:
        """Return the living actor with that URN, or None."""
        return next((ref for ref in cls.get_all() if ref.actor_urn == actor_urn), None)

    @overload
    @classmethod
    def get_by_name(cls, name: Hashable, *, required: Literal[True]) -> ActorRef: ...

    @overload
    @classmethod
    def get_by_name(cls, name: Hashable, *, required: bool = ...) -> ActorRef | None: ...

    @classmethod
    def get_by_name(cls, name: Hashable, *, required: bool = False) -> ActorRef | None:
        """Return the living actor that has a name, in any event loop, or None.

        Raises:
            NotRegisteredError: if no actor has it, and one is `required`.
            AmbiguousNameError: if actors of several event loops have the name.
        """
        living = [scheduler for scheduler in cls.schedulers() if not scheduler.loop.is_closed()]
        found: list[ActorRef] = []
        for scheduler in living:
            ref = scheduler.names.whereis(name)
            if ref is not None:
                found.append(ref)
        if len(found) > 1:
            found.sort(key=lambda ref: ref.process.number)
            raise AmbiguousNameError(name, found)
        if not found and required:
            raise not_found(name, living)
        return found[0] if found else None

    @classmethod
    def get_by_pid(cls, pid: str) -> ActorRef | None:
        """Return the living actor with that pid text, such as `<0.41.0>`, or None."""
        try:
            number = int(pid.strip("<>").split(".")[1])
        except (IndexError, ValueError):
            raise ValueError(f"a pid is written like <0.41.0>, got {safe_repr(pid)}") from None
        found = (scheduler.processes.get(number) for scheduler in cls.schedulers())
        return next((process.ref for process in found if process is not None), None)

    @classmethod
    def broadcast(cls, message: object, target_class: str | type[Behaviour] | None = None) -> None:
        """Send `message` to all living actors, or to those of one class or class name."""
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

        Actors that have a parent, such as the children of a supervisor, are left to it: it stops them in its own order, and
        would restart those that were stopped by others. They are waited for, but their results are not returned.
        """
        top: list[ActorRef] = []
        below: list[ActorRef] = []
        for ref in reversed(cls.get_all()):
            parent = ref.process.parent
            (top if parent is None or not parent.alive else below).append(ref)
        stops: list[bool | Future[bool]] = [ref.stop(block=block, timeout=timeout) for ref in top]
        if block:
            for ref in below:
                ref.stop(block=True, timeout=timeout)
        return stops


def check_missing(target: Target) -> None:
    """Raise ForkedError if `target` is a name that no actor has in this process, and one in its parent has: after a fork."""
    if isinstance(target, Via):
        if isinstance(target.registry, Registry):
            target.registry.check_missing(target.key)
    else:
        ActorRegistry.check_missing(target)


def not_found(target: Target, schedulers: Iterable[Scheduler] = ()) -> NotRegisteredError | ForkedError:
    """Return the error of a target that no actor has, with the closest names: of the `Via`'s registry, or of `schedulers`."""
    try:
        check_missing(target)
    except ForkedError as forked:
        return forked
    key, registries = target, [scheduler.names for scheduler in schedulers]
    if isinstance(target, Via):
        key, registries = target.key, [target.registry]
    names = (name for registry in registries for name in registry.names() if isinstance(name, str))
    known = islice(names, _COMPARED_AT_ERRORS)
    return NotRegisteredError(key, nearest=nearest(key, known) if isinstance(key, str) else ())


def nearest(text: str, names: Iterable[str]) -> list[str]:
    """Return the names that are close matches of `text`, the closest first."""
    return get_close_matches(text, list(islice(names, _COMPARED)), n=3, cutoff=0.6)


def leave_registries_behind() -> None:
    """Empty all registries, in a forked child: their actors are in the parent process; for the runtime."""
    for registry in _registries:
        registry.leave_behind()
