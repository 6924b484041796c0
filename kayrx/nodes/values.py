"""Small values that several families share: the empty mark, argument checks, function kinds."""

from __future__ import annotations

import enum
import inspect
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from kayrx.errors import GraphError, Misused
from kayrx.graph.expr import Expr


class Empty(enum.Enum):
    """The mark for "no value given"; an enum so that it pickles to itself and prints shortly."""

    EMPTY = "EMPTY"

    def __repr__(self) -> str:
        return "EMPTY"


EMPTY: Final = Empty.EMPTY


def whole(word: str, name: str, value: object, least: int) -> None:
    """Raise GraphError unless ``value`` is an int of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise GraphError(f"{word}({name}): {name} must be a whole number >= {least}, got {value!r}"
                         + ("; write int(...)" if hasattr(value, "__index__") and not isinstance(value, int) else ""))


def flag(word: str, name: str, value: object) -> None:
    """Raise GraphError unless ``value`` is True or False: "no" counts as true."""
    if not isinstance(value, bool):
        raise GraphError(f"{word}({name}): {name} must be True or False, got {value!r}")


def span(word: str, name: str, value: object, *, zero: bool = True) -> None:
    """Raise GraphError unless ``value`` is a number of seconds (>= 0, or > 0 with ``zero=False``)."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value != value \
            or value < 0 or (value == 0 and not zero):
        raise GraphError(f"{word}({name}): {name} must be seconds {'>=' if zero else '>'} 0, got {value!r}")


def needs_function(word: str, name: str, value: object, *, many: bool = False) -> None:
    """Raise GraphError unless ``value`` can be called, and is no generator function where nobody would read it."""
    if not callable(value):
        raise GraphError(f"{word}({name}): {name} must be a function, got {type(value).__name__}")
    if not many and is_generator(value, through=False):
        raise GraphError(f"{word}({name}): {name} is a generator function, whose body would never run; "
                         "give a function that returns, or use flat_map for many items")


def taking(target: object) -> str | None:
    """The method of an object that takes an item: append, put or write; None for a function."""
    return next((m for m in ("append", "put", "write") if hasattr(target, m)), None)


def must_be_given(where: str, value: object, remedy: str) -> None:
    """Raise Misused for an awaitable: nobody would wait for it, and as an answer it is always yes (ruling 24)."""
    if hasattr(value, "__await__"):
        if hasattr(value, "close"):
            value.close()
        raise Misused(f"{where}: a function returned an awaitable and looks synchronous; {remedy}")


def file_path(word: str, path: Any) -> str:
    """``path`` as text; GraphError unless it is a path."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise GraphError(f"{word}(path): path must be the path of a file, got {type(path).__name__}")
    return os.fsdecode(path)


def unwrapped(fn: Any, through: bool = True) -> Any:
    """The function behind partials, wrappers and ``__call__``: what decides between sync and async.

    A wrapper that is itself async or a generator function is what is called, whatever it wraps;
    ``through=False`` looks through none.
    """
    while True:
        if isinstance(fn, partial):
            fn = fn.func
        elif inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            return fn
        elif through and hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        elif not isinstance(fn, (Expr, type)) and not inspect.isroutine(fn) and callable(fn):
            fn = type(fn).__call__
        else:
            return fn


def is_async(fn: Callable[..., Any]) -> bool:
    """True if calling ``fn`` gives a coroutine (ruling 24: decided on the unwrapped function)."""
    return inspect.iscoroutinefunction(unwrapped(fn))


def is_generator(fn: Callable[..., Any], *, through: bool = True) -> bool:
    """True if ``fn`` is a generator function, synchronous or asynchronous."""
    inner = unwrapped(fn, through)
    return inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)


def is_async_generator(fn: Callable[..., Any]) -> bool:
    """True if calling ``fn`` gives an async generator."""
    return inspect.isasyncgenfunction(unwrapped(fn))
