"""Selection: nodes that pass some items on and stop the others.

All are one-in, one-out, keep the order and invent no item.  All but `distinct` hold O(1) state.
Selection by position (`first`, `last`, ...) is in `kayrx.nodes.position`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Never, TypeVar

from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import flag, needs_function, whole

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter(Node):
    word: ClassVar[str] = "filter"
    fn: Callable[[Any], Any]

    def __post_init__(self) -> None:
        needs_function("filter", "predicate", self.fn)


@dataclass(frozen=True, slots=True)
class Take(Node):
    word: ClassVar[str] = "take"
    count: int

    def __post_init__(self) -> None:
        whole("take", "count", self.count, 0)


@dataclass(frozen=True, slots=True)
class Skip(Node):
    word: ClassVar[str] = "skip"
    count: int

    def __post_init__(self) -> None:
        whole("skip", "count", self.count, 0)


@dataclass(frozen=True, slots=True)
class TakeWhile(Node):
    word: ClassVar[str] = "take_while"
    fn: Callable[[Any], Any]
    inclusive: bool = False

    def __post_init__(self) -> None:
        needs_function("take_while", "predicate", self.fn)
        flag("take_while", "inclusive", self.inclusive)


@dataclass(frozen=True, slots=True)
class DistinctUntilChanged(Node):
    word: ClassVar[str] = "distinct_until_changed"
    key: Callable[[Any], Any] | None = None
    comparer: Callable[[Any, Any], bool] | None = None

    def __post_init__(self) -> None:
        for name in ("key", "comparer"):
            if getattr(self, name) is not None:
                needs_function("distinct_until_changed", name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class SkipWhile(Node):
    word: ClassVar[str] = "skip_while"
    fn: Callable[[Any], Any]

    def __post_init__(self) -> None:
        needs_function("skip_while", "predicate", self.fn)


@dataclass(frozen=True, slots=True)
class Distinct(Node):
    word: ClassVar[str] = "distinct"
    key: Callable[[Any], Any] | None = None
    max_keys: int | None = None

    def __post_init__(self) -> None:
        if self.key is not None:
            needs_function("distinct", "key", self.key)
        if self.max_keys is not None:
            whole("distinct", "max_keys", self.max_keys, 1)

    @property
    def holds(self) -> str:
        return "unbounded (all keys)" if self.max_keys is None else \
            f"{self.max_keys} keys, then the oldest is forgotten"

    @property
    def unbounded(self) -> str | None:
        return "remembers every key that has come (unbounded); give max_keys=" if self.max_keys is None else None


@dataclass(frozen=True, slots=True)
class IgnoreElements(Node):
    word: ClassVar[str] = "ignore_elements"


def filter(predicate: Callable[[T], bool | Awaitable[bool]]) -> Graph[T, T]:
    """Pass on the items for which ``predicate(item)`` is true.

        in   --1--2--3--4--|
        filter(lambda x: x % 2 == 0)
        out  -----2-----4--|

    In:      any items; ``predicate`` may be an async function or an expression.  Out: some of them.
    Order:   kept.  Memory: none.
    Raises:  what ``predicate`` raises, with a note; GraphError when written, for a predicate that is no function or
             is a generator function.
    Source:  ReactiveX "Filter".

    >>> import kayrx as kx
    >>> (kx.source(range(6)) >> kx.filter(kx.it % 2 == 0)).collect()
    [0, 2, 4]
    """
    return one(Filter(frozen(predicate)))  # type: ignore[no-any-return]


def take(count: int) -> Graph[T, T]:
    """Pass on the first ``count`` items, then complete and release the source.

        in   --a--b--c--d--|
        take(2)
        out  --a--(b|)

    In:      any items.  Out: at most ``count`` of them.  Order: kept.  Memory: a number.
    Stops:   upstream is released inside the push of item ``count``;
             ``take(0)`` completes at once and pulls nothing.
    Raises:  GraphError, here and not at run time, if ``count`` is no whole number >= 0.
    Source:  ReactiveX "Take".

    >>> take(2)
    Graph(nodes=(Take(count=2),))
    """
    return one(Take(count))  # type: ignore[no-any-return]


def skip(count: int) -> Graph[T, T]:
    """Leave out the first ``count`` items.

    In:      any items.  Out: all but those.  Order: kept.  Memory: a number.
    Raises:  GraphError when written, for a ``count`` that is no whole number >= 0.
    Source:  ReactiveX "Skip".

    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.skip(2)).collect()
    ['c']
    """
    return one(Skip(count))  # type: ignore[no-any-return]


def take_while(predicate: Callable[[T], bool | Awaitable[bool]], *, inclusive: bool = False) -> Graph[T, T]:
    """Pass items on until ``predicate`` is false, then complete; ``inclusive`` passes that item too.

    In:      any items; ``predicate`` may be an async function or an expression.  Out: the first of them.
    Order:   kept.  Memory: none.
    Raises:  what ``predicate`` raises, with a note; GraphError when written, for a predicate that is no function or
             is a generator function, or an ``inclusive`` that is no bool.
    Source:  ReactiveX "TakeWhile".

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 9, 1]) >> kx.take_while(kx.it < 5)).collect()
    [1, 2]
    """
    return one(TakeWhile(frozen(predicate), inclusive))  # type: ignore[no-any-return]


def skip_while(predicate: Callable[[T], bool | Awaitable[bool]]) -> Graph[T, T]:
    """Leave items out until ``predicate`` is false; that item and all after it pass, and it is asked no more.

        in   --1--2--9--1--|
        skip_while(lambda x: x < 5)
        out  --------9--1--|

    In:      any items; ``predicate`` may be an async function or an expression.  Out: the last of them.
    Order:   kept.  Memory: none.
    Raises:  what ``predicate`` raises, with a note; GraphError when written, for a predicate that is no function or
             is a generator function.
    Source:  ReactiveX "SkipWhile".

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 9, 1]) >> kx.skip_while(kx.it < 5)).collect()
    [9, 1]
    """
    return one(SkipWhile(frozen(predicate)))  # type: ignore[no-any-return]


def distinct(key: Callable[[T], Any] | None = None, *, max_keys: int | None = None) -> Graph[T, T]:
    """Leave out items whose key (default: the item) has come before.

        in   --a--b--a--c--b--|
        distinct()
        out  --a--b-----c-----|

    In:      any items; ``key`` may be an async function or an expression.  Out: some of them.  Order: kept.
    Memory:  one key for each distinct item, without bound (`check` says so).  With ``max_keys`` at most
             so many: the oldest is forgotten for a new one, and an item with a forgotten key passes again.
    Raises:  TypeError when run, for a key that has no hash (RxPY compares with every earlier key instead);
             what ``key`` raises, with a note; GraphError when written, for a ``key`` that is no function or is a
             generator function, or a ``max_keys`` that is no whole number >= 1.
    Source:  ReactiveX "Distinct".

    >>> import kayrx as kx
    >>> (kx.source("abacb") >> kx.distinct()).collect()
    ['a', 'b', 'c']
    >>> (kx.source("abacb") >> kx.distinct(max_keys=1)).collect()
    ['a', 'b', 'a', 'c', 'b']
    """
    return one(Distinct(frozen(key), max_keys))  # type: ignore[no-any-return]


def ignore_elements() -> Graph[object, Never]:
    """Pass no item on, only completion or the error.

    In:      any items.  Out: none.  Order: of no account.  Memory: none.
    Raises:  nothing of its own.
    Source:  ReactiveX "IgnoreElements".

    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.ignore_elements()).collect()
    []
    """
    return one(IgnoreElements())  # type: ignore[no-any-return]


def distinct_until_changed(key: Callable[[T], Any] | None = None,
                           comparer: Callable[[Any, Any], bool] | None = None) -> Graph[T, T]:
    """Leave out items equal to the one before (by ``key`` and ``comparer``, default ``==``).

    In:      any items; ``key`` and ``comparer(key before, key)`` may be async functions.  Out: some of them.
    Order:   kept.  Memory: one key.
    Raises:  what ``key``, ``comparer`` or ``==`` raises, with a note; GraphError when written, for one that is no
             function or is a generator function.
    Source:  ReactiveX "Distinct" (distinctUntilChanged).

    >>> import kayrx as kx
    >>> (kx.source([1, 1, 2, 1]) >> kx.distinct_until_changed()).collect()
    [1, 2, 1]
    """
    return one(DistinctUntilChanged(frozen(key), comparer))  # type: ignore[no-any-return]


__all__ = [
    "distinct", "distinct_until_changed", "filter", "ignore_elements", "skip", "skip_while", "take", "take_while",
]
