"""Switch: one open result at a time, while items go on coming.

`kayrx.nodes.transform.concat_map` makes the next item wait for the result of the one before;
`switch_map` gives the result up, `exhaust_map` the item.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, overload

from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import needs_function

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Inner(Node):
    """A node with one inner open at a time."""

    fn: Callable[[Any], Any]

    def __post_init__(self) -> None:
        needs_function(self.word, "fn", self.fn, many=True)


class SwitchMap(Inner):
    word: ClassVar[str] = "switch_map"
    __slots__ = ()


class ExhaustMap(Inner):
    word: ClassVar[str] = "exhaust_map"
    __slots__ = ()


@overload
def switch_map(fn: Callable[[T], AsyncIterable[U]]) -> Graph[T, U]: ...
@overload
def switch_map(fn: Callable[[T], Awaitable[Iterable[U]]]) -> Graph[T, U]: ...
@overload
def switch_map(fn: Callable[[T], Iterable[U]]) -> Graph[T, U]: ...
def switch_map(fn: Callable[[Any], Any]) -> Graph[Any, Any]:
    """Give the items of ``fn(item)`` until the next item comes, then those of its own result.

        in   --a--------b---c-----|
        fn   a gives a1 a2 a3, two seconds apart, and so on
        out  --a1-a2-a3-b1--c1-c2-c3-|

    In:      ``fn`` gives an iterable or async iterable, or is an async function or generator.
    Out:     the items of its results, as they come.
    Order:   the superseded result is cancelled and closed before the next is opened.  What it gave by
             then goes on; so does all of a result that never waits.
    Memory:  one open result, read no further than what has been sent on.
    Raises:  what ``fn`` and its results raise, also while a superseded one is closed; TypeError for a result
             that is no iterable, as for Observables; GraphError when written, for an ``fn`` that is no function.
    Source:  RxPY switch_map, RxJS switchMap.

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.switch_map(lambda x: [x, -x])).collect()
    [1, -1, 2, -2]
    """
    return one(SwitchMap(frozen(fn)))  # type: ignore[no-any-return]


@overload
def exhaust_map(fn: Callable[[T], AsyncIterable[U]]) -> Graph[T, U]: ...
@overload
def exhaust_map(fn: Callable[[T], Awaitable[Iterable[U]]]) -> Graph[T, U]: ...
@overload
def exhaust_map(fn: Callable[[T], Iterable[U]]) -> Graph[T, U]: ...
def exhaust_map(fn: Callable[[Any], Any]) -> Graph[Any, Any]:
    """Give the items of ``fn(item)``, and drop the items that come before it has ended.

        in   --a--b--------c--------|
        fn   a gives a1 a2 a3, two seconds apart, and so on
        out  --a1-a2-a3----c1-c2-c3-|

    In:      as for `switch_map`.  A result that never waits drops nothing.
    Out:     the items of the results that were opened.  Order: kept; results never overlap.
    Memory:  one open result, read no further than what has been sent on.
    Raises:  what ``fn`` and its results raise; TypeError and GraphError as `switch_map`.
    Source:  RxPY map and exclusive, RxJS exhaustMap.

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.exhaust_map(lambda x: [x, -x])).collect()
    [1, -1, 2, -2]
    """
    return one(ExhaustMap(frozen(fn)))  # type: ignore[no-any-return]


__all__ = ["exhaust_map", "switch_map"]
