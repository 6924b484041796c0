"""Selection by position: nodes that pick items by where they stand, or stand in for none.

What they pick keeps its order.  `first`, `last` and `element_at` give exactly one item, or fail: a
``default`` says what to give instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, overload

from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import EMPTY, needs_function, whole

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class TakeLast(Node):
    word: ClassVar[str] = "take_last"
    count: int

    def __post_init__(self) -> None:
        whole("take_last", "count", self.count, 0)

    @property
    def holds(self) -> str:
        return "1 item" if self.count == 1 else f"{self.count} items"


@dataclass(frozen=True, slots=True)
class Picks(Node):
    """A node that gives one item of those for which ``fn``, if given, is true."""

    fn: Callable[[Any], Any] | None = None
    default: Any = EMPTY

    def __post_init__(self) -> None:
        if self.fn is not None:
            needs_function(self.word, "predicate", self.fn)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return () if self.fn is None else (self.fn,)  # the default may be callable too


@dataclass(frozen=True, slots=True)
class First(Picks):
    word: ClassVar[str] = "first"


@dataclass(frozen=True, slots=True)
class Last(Picks):
    word: ClassVar[str] = "last"


@dataclass(frozen=True, slots=True)
class ElementAt(Node):
    word: ClassVar[str] = "element_at"
    index: int
    default: Any = EMPTY

    def __post_init__(self) -> None:
        whole("element_at", "index", self.index, 0)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return ()


@dataclass(frozen=True, slots=True)
class DefaultIfEmpty(Node):
    word: ClassVar[str] = "default_if_empty"
    value: Any = None

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return ()


def take_last(count: int) -> Graph[T, T]:
    """Pass on the last ``count`` items, when the source has completed.

        in   --a--b--c--|
        take_last(2)
        out  -----------(bc|)

    In:      any items.  Out: at most ``count`` of them.  Order: kept.
    Memory:  ``count`` items.
    Raises:  GraphError, here, if ``count`` is no whole number >= 0.
    Source:  ReactiveX "TakeLast".

    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.take_last(2)).collect()
    ['b', 'c']
    """
    return one(TakeLast(count))  # type: ignore[no-any-return]


@overload
def first(predicate: Callable[[T], bool | Awaitable[bool]]) -> Graph[T, T]: ...
@overload
def first(predicate: Callable[[T], bool | Awaitable[bool]], default: D) -> Graph[T, T | D]: ...
@overload
def first(predicate: None = ..., default: T = ...) -> Graph[T, T]: ...
def first(predicate: Callable[[Any], Any] | None = None, default: Any = EMPTY) -> Graph[Any, Any]:
    """Give the first item, or the first for which ``predicate`` is true, then complete and release the source.

        in   --1--2--3--|
        first(lambda x: x > 1)
        out  -----(2|)

    In:      any items; ``predicate`` may be an async function or an expression.  Out: one, or ``default``.
    Order:   the first in order.  Memory: none.
    Stops:   upstream is released inside the push of that item.
    Raises:  RunError when the source completes without such an item, unless there is a ``default``,
             which is then given (RxPY spells it first_or_default); what ``predicate`` raises, with a note;
             GraphError when written, for a predicate that is no function or is a generator function.
    Source:  ReactiveX "First".

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3]) >> kx.first(kx.it > 1)).collect()
    [2]
    >>> (kx.source([]) >> kx.first(default=0)).collect()
    [0]
    """
    return one(First(frozen(predicate), default))  # type: ignore[no-any-return]


@overload
def last(predicate: Callable[[T], bool | Awaitable[bool]]) -> Graph[T, T]: ...
@overload
def last(predicate: Callable[[T], bool | Awaitable[bool]], default: D) -> Graph[T, T | D]: ...
@overload
def last(predicate: None = ..., default: T = ...) -> Graph[T, T]: ...
def last(predicate: Callable[[Any], Any] | None = None, default: Any = EMPTY) -> Graph[Any, Any]:
    """Give the last item, or the last for which ``predicate`` is true, when the source has completed.

    In:      any items; ``predicate`` may be an async function or an expression.  Out: one, or ``default``.
    Order:   the last in order.  Memory: one item.
    Raises:  RunError if there was none, unless there is a ``default``, which is then given; what ``predicate``
             raises, with a note; GraphError when written, for a predicate that is no function or is a generator
             function.
    Source:  ReactiveX "Last" (RxPY last, last_or_default).

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3]) >> kx.last(kx.it < 3)).collect()
    [2]
    """
    return one(Last(frozen(predicate), default))  # type: ignore[no-any-return]


def element_at(index: int, default: Any = EMPTY) -> Graph[T, T]:
    """Give item number ``index``, counted from 0, then complete and release the source.

    In:      any items.  Out: one, or ``default``.  Order: by which they are counted.  Memory: a number.
    Raises:  GraphError, here, unless ``index`` is a whole number >= 0; RunError when the source is shorter, unless
             there is a ``default``, which is then given (RxPY spells it element_at_or_default).
    Source:  ReactiveX "ElementAt".

    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.element_at(1)).collect()
    ['b']
    """
    return one(ElementAt(index, default))  # type: ignore[no-any-return]


def default_if_empty(value: Any = None) -> Graph[T, T]:
    """Pass every item on; give ``value`` at the end if there was none.

    In:      any items.  Out: the same, or ``value`` itself, not a copy.  Order: kept.
    Memory:  none.
    Raises:  nothing of its own.
    Source:  ReactiveX "DefaultIfEmpty".

    >>> import kayrx as kx
    >>> (kx.source([]) >> kx.default_if_empty("none")).collect()
    ['none']
    """
    return one(DefaultIfEmpty(value))  # type: ignore[no-any-return]


__all__ = ["default_if_empty", "element_at", "first", "last", "take_last"]
