"""The shapes of callbacks, and of what they return.

A callback is called once. A plain one returns its result; for one that is `async`, or that returns something awaitable, the
result is awaited. A function with a `yield` in it does neither: calling it makes a generator and runs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine, Hashable
from functools import lru_cache, partial
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any

import pykka

from actors.redaction import function_name, safe_repr

__all__ = [
    "can_be_awaited",
    "check_callbacks",
    "check_function",
    "check_over",
    "check_parameters",
    "check_reply",
    "check_settings",
    "coroutine_of",
    "is_async",
    "is_awaitable",
    "place_of",
    "yields",
]


def is_async(function: object) -> bool:
    """Return whether a function, or an object that can be called, is `async`."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def yields(function: object) -> bool:
    """Return whether calling a function makes a generator, plain or asynchronous, and runs nothing of it."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def is_awaitable(value: object) -> bool:
    """Return whether a value can be awaited."""
    kind: Any = type(value)
    return can_be_awaited(kind)


@lru_cache(maxsize=1024)
def can_be_awaited(kind: Hashable) -> bool:
    """Return whether the objects of a class can be awaited."""
    return hasattr(kind, "__await__")


# Declared


def check_callbacks(owner: type, names: tuple[str, ...], *, plain: bool = False, instead: str = "") -> None:
    """Raise unless the methods of a class can be called as callbacks; with `plain`, they may not be `async` either.

    `instead` ends the text for a method that is `async`. A property is no method, nor is a value.

    Raises:
        TypeError: naming the class and the method.
    """
    for name in names:
        method = getattr(owner, name, None)
        if method is not None:
            check_function(f"{owner.__qualname__}.{name}", method, plain=plain, instead=instead)


def check_function(what: str, function: object, *, plain: bool = True, instead: str = "") -> None:
    """Raise if a function cannot be called as a callback; `what` names it, and `instead` ends the text if it is `async`.

    Raises:
        TypeError: if it is no function, has a `yield` in it or, with `plain`, is `async`.
    """
    if _is_plain(function):
        return
    if not callable(function):
        raise TypeError(f"{what} must be a function, as it is called, got {safe_repr(function)}")
    if yields(function):
        raise TypeError(f"{what} has a `yield` in it, so that calling it runs nothing; {_RETURN}")
    if plain and is_async(function):
        raise TypeError(f"{what} must be a plain `def`, got `async def`{instead and f'; {instead}'}")


def check_parameters(owner: type, **callbacks: tuple[str, ...]) -> None:
    """Raise unless the methods of a class can be called with these positional arguments, besides `self`.

    Raises:
        TypeError: naming the class and the method, with how it must be declared.
    """
    for name, parameters in callbacks.items():
        function = inspect.getattr_static(owner, name, None)
        if type(function) is FunctionType and not _takes(function, len(parameters) + 1):
            code = function.__code__
            declared = f"def {name}({', '.join(('self', *parameters))})"
            raise TypeError(
                f"{owner.__qualname__}.{name} must be declared as `{declared}`, got {_header(function)} "
                f"({code.co_filename}:{code.co_firstlineno})"
            )


def _takes(function: FunctionType, number: int) -> bool:
    """Return whether a function can be called with so many positional arguments and no others."""
    code, defaults = function.__code__, function.__defaults__ or ()
    keywords = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    is_enough = code.co_argcount >= number or bool(code.co_flags & inspect.CO_VARARGS)
    return is_enough and not keywords and code.co_argcount - len(defaults) <= number


def _header(function: FunctionType) -> str:
    try:
        return f"`def {function.__name__}({', '.join(map(str, inspect.signature(function).parameters))})`"
    except (TypeError, ValueError):  # what a decorator has left cannot be read
        return safe_repr(function)


def check_settings(owner: type, names: tuple[str, ...]) -> None:
    """Raise if a class has a plain value in place of an attribute that is set on its objects, where it has no effect.

    Raises:
        TypeError: naming the class, the attribute, and where to set it.
    """
    for name in names:
        value = inspect.getattr_static(owner, name)
        if not hasattr(value, "__set__"):
            raise TypeError(
                f"{owner.__qualname__}.{name} = {safe_repr(value)} in the class has no effect; "
                f"write `self.{name} = {safe_repr(value)}` in `__init__` or `on_start`"
            )


def _is_plain(function: Any) -> bool:
    """Return whether a function, as most are, is certainly neither `async` nor a generator; it costs a tenth of the others."""
    while type(function) is partial:
        function = function.func
    if type(function) is MethodType:
        function = function.__func__
    return type(function) is FunctionType and not function.__code__.co_flags & _NOT_PLAIN


_NOT_PLAIN = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
_RETURN = "return the whole result, a list for example, or send() each item as a message"


# Returned


def check_reply(value: object) -> None:
    """Raise if a reply would have to be awaited first.

    Raises:
        TypeError: with the value, and how to write it.
    """
    if is_awaitable(value):
        _close(value)
        raise TypeError(f"a reply must be a value, got {safe_repr(value)}; await it first, in an `async def`")


def check_over(what: str, result: object, *, instead: str) -> None:
    """Raise if a function that is called at once returned something that would have to be awaited.

    Raises:
        TypeError: with the value, and what to do instead.
    """
    if result is not None and is_awaitable(result):
        _close(result)
        raise TypeError(f"{what} is called at once, but returned {safe_repr(result)}, which nothing awaits; {instead}")


def coroutine_of(result: object, actor: object) -> Coroutine[Any, Any, Any] | None:
    """Return the coroutine by which the result of a callback is awaited, or None if it is a value as it is.

    Raises:
        TypeError: if it is a generator that `actor` made by calling a method of its own, or a future that would block.
    """
    if result is None:  # as most callbacks return
        return None
    if isinstance(result, CoroutineType):
        return result
    if isinstance(result, (GeneratorType, AsyncGeneratorType)):
        _must_not_be_its_own(result, actor)
        return None
    if not is_awaitable(result) or (isinstance(result, pykka.Future) and _is_for_the_caller(result, actor)):
        return None
    return _await(result)


def _is_for_the_caller(future: pykka.Future[Any], actor: Any) -> bool:
    """Return whether a future is the reply as it is, since its answer is to come from the actor that returned it."""
    if type(future).__await__ is pykka.Future.__await__:
        raise TypeError(
            f"a handler returned {safe_repr(future)}, which cannot be awaited without blocking; get() it in a ThreadedActor"
        )
    return getattr(future, "asked", None) is actor.actor_inbox


async def _await(result: Any) -> object:
    return await result


def _must_not_be_its_own(generator: Any, actor: object) -> None:
    """Raise if a generator would run code of the actor outside of it, by the caller that gets it; others are values."""
    is_async = isinstance(generator, AsyncGeneratorType)
    frame, code = (generator.ag_frame, generator.ag_code) if is_async else (generator.gi_frame, generator.gi_code)
    if frame is not None and code.co_argcount and frame.f_locals.get(code.co_varnames[0]) is actor:
        raise TypeError(f"{_place_of_code(code)} has a `yield` in it, so that calling it runs nothing; {_RETURN}")


def place_of(function: object) -> str:
    """Return the name of a function with the file and line of its source, as in a traceback."""
    code = getattr(inspect.unwrap(function), "__code__", None)  # type: ignore[arg-type]  # anything can be asked for it
    return function_name(function, "__qualname__") + "()" if code is None else _place_of_code(code)


def _place_of_code(code: CodeType) -> str:
    return f"{code.co_qualname}() ({code.co_filename}:{code.co_firstlineno})"


def _close(result: Any) -> None:
    """Close a coroutine that will not be awaited, so that Python does not warn of that too."""
    if isinstance(result, CoroutineType):
        result.close()
