"""Transformation: nodes that give something else for each item.

Order is kept except by ``flat_map`` of async functions and ``map(ordered=False)``.  Every function
may be ``async def``; an async node waits, so it begins a segment of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, overload

from kayrx.errors import GraphError, Misused
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node, function_name
from kayrx.nodes.place import Placement, check_placed
from kayrx.nodes.values import EMPTY, flag, is_async, is_generator, needs_function, whole

T = TypeVar("T")
U = TypeVar("U")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Map(Node):
    word: ClassVar[str] = "map"
    fn: Callable[[Any], Any]
    concurrency: int = 1
    ordered: bool = True
    on: Placement | None = None
    is_async: bool | None = None

    def __post_init__(self) -> None:
        needs_function("map", "fn", self.fn, many=True)
        whole("map", "concurrency", self.concurrency, 1)
        flag("map", "ordered", self.ordered)
        if self.is_async is not None:
            flag("map", "is_async", self.is_async)
        if is_generator(self.fn):
            raise GraphError(f"map({self.label}): a generator function gives many items; use flat_map")
        check_placed(f"map({self.label})", self.fn, self.on, self.is_async)
        if self.concurrency > 1 and not self.waits:
            raise GraphError(f"map({self.label}, concurrency={self.concurrency}): the function is synchronous, "
                             "so nothing runs beside it; make it async or give on=kx.threads(n)")

    @property
    def waits(self) -> bool:
        return self.on is not None or (is_async(self.fn) if self.is_async is None else self.is_async)


@dataclass(frozen=True, slots=True)
class FlatMap(Node):
    word: ClassVar[str] = "flat_map"
    expands: ClassVar[bool] = True
    fn: Callable[[Any], Any]
    concurrency: int = 16

    def __post_init__(self) -> None:
        needs_function("flat_map", "fn", self.fn, many=True)
        whole("flat_map", "concurrency", self.concurrency, 1)


@dataclass(frozen=True, slots=True)
class Scan(Node):
    word: ClassVar[str] = "scan"
    fn: Callable[[Any, Any], Any]
    seed: Any = EMPTY

    def __post_init__(self) -> None:
        needs_function("scan", "fn", self.fn)


@dataclass(frozen=True, slots=True)
class Reduce(Node):
    word: ClassVar[str] = "reduce"
    fn: Callable[[Any, Any], Any]
    seed: Any = EMPTY

    def __post_init__(self) -> None:
        needs_function("reduce", "fn", self.fn)


@dataclass(frozen=True, slots=True)
class Tap(Node):
    word: ClassVar[str] = "tap"
    fn: Callable[[Any], Any]

    def __post_init__(self) -> None:
        needs_function("tap", "fn", self.fn)


@dataclass(frozen=True, slots=True)
class Pairwise(Node):
    word: ClassVar[str] = "pairwise"


@dataclass(frozen=True, slots=True)
class Rx(Node):
    word: ClassVar[str] = "rx"
    expands: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    operator: Callable[[Any], Any]
    max_burst: int | None = None

    def __post_init__(self) -> None:
        needs_function("rx", "operator", self.operator)
        if self.max_burst is not None:
            whole("rx", "max_burst", self.max_burst, 1)

    def over(self, upstream: Any) -> Any:
        """What the operator makes of ``upstream``; Misused if that is no Observable."""
        made = self.operator(upstream)
        if not hasattr(made, "subscribe"):
            raise Misused(f"{self.where}: the operator gave a {type(made).__name__} and no Observable; "
                          "write kx.rx(reactivex.operators.map(f)), with what the operator takes")
        return made

    @property
    def label(self) -> str:
        name = function_name(self.operator) or "_"
        return self.name or (self.word if name.startswith("_") else name)  # RxPY's own are all `_wrap_curried`


@overload
def map(fn: Callable[[T], Awaitable[U]], *, concurrency: int = ..., ordered: bool = ...,
        on: Placement | None = ..., is_async: bool | None = ...) -> Graph[T, U]: ...
@overload
def map(fn: Callable[[T], U], *, concurrency: int = ..., ordered: bool = ...,
        on: Placement | None = ..., is_async: bool | None = ...) -> Graph[T, U]: ...
def map(fn: Callable[[Any], Any], *, concurrency: int = 1, ordered: bool = True,
        on: Placement | None = None, is_async: bool | None = None) -> Graph[Any, Any]:
    """Give ``fn(item)`` for each item.

        in   --1--2--3--|
        map(lambda x: x * 10)
        out  --10-20-30-|

    In:      ``fn`` is a function, an async function or an expression (``kx.it * 10``);
             ``concurrency`` calls at most are under way, from their start until their result has
             left; ``ordered=False`` gives results as they come; ``on=kx.threads(n)`` calls a
             blocking function on worker threads, ``on=kx.processes(n)`` a computing one in worker
             processes; ``is_async=True`` says that a function which looks synchronous returns an
             awaitable.
    Out:     one result an item.  Order: kept, unless ``ordered=False``.  Memory: ``concurrency`` items.
    Raises:  what ``fn`` raises, with a note; Misused for an awaitable nobody announced.  GraphError when written, for a
             generator function (use flat_map), concurrency without waiting, a place where ``fn`` cannot run.
    Source:  ReactiveX "Map"; Pekko mapAsync, mapAsyncUnordered.

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3]) >> kx.map(lambda x: x * 10)).collect()
    [10, 20, 30]
    """
    return one(Map(frozen(fn), concurrency, ordered, on, is_async))  # type: ignore[no-any-return]


@overload
def flat_map(fn: Callable[[T], AsyncIterable[U]], *, concurrency: int = ...) -> Graph[T, U]: ...
@overload
def flat_map(fn: Callable[[T], Awaitable[Iterable[U]]], *, concurrency: int = ...) -> Graph[T, U]: ...
@overload
def flat_map(fn: Callable[[T], Iterable[U]], *, concurrency: int = ...) -> Graph[T, U]: ...
def flat_map(fn: Callable[[Any], Any], *, concurrency: int = 16) -> Graph[Any, Any]:
    """Give every item of ``fn(item)``, an iterable or an async iterable.

    In:      any items; ``fn`` may be an async function or generator.  Out: what its results hold.
    Order:   synchronous results one after another; up to ``concurrency`` async results at once,
             their items interleaved as they come (Rx: without limit).
    Memory:  one open iterator a result; nothing is read ahead of demand.
    Raises:  what ``fn`` and its iterators raise, with a note; TypeError for a result that is no iterable (a str is
             split into characters, as in RxPY), as for Observables: ``kx.rx(ops.flat_map(fn))`` takes those.
             GraphError when written, for a ``concurrency`` that is no whole number >= 1.
    Source:  ReactiveX "FlatMap".

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.flat_map(lambda x: [x] * x)).collect()
    [1, 2, 2]
    """
    return one(FlatMap(frozen(fn), concurrency))  # type: ignore[no-any-return]


@overload
def concat_map(fn: Callable[[T], AsyncIterable[U]]) -> Graph[T, U]: ...
@overload
def concat_map(fn: Callable[[T], Awaitable[Iterable[U]]]) -> Graph[T, U]: ...
@overload
def concat_map(fn: Callable[[T], Iterable[U]]) -> Graph[T, U]: ...
def concat_map(fn: Callable[[Any], Any]) -> Graph[Any, Any]:
    """`flat_map` with one result at a time, so order is kept for async results too.

    In:      any items; ``fn`` as for `flat_map`.  Out: what its results hold.
    Order:   kept.  Memory: one open iterator; nothing is read ahead of demand.
    Raises:  as `flat_map`.  Source: ReactiveX "ConcatMap".

    >>> import kayrx as kx
    >>> (kx.source("ab") >> kx.concat_map(lambda c: [c, c.upper()])).collect()
    ['a', 'A', 'b', 'B']
    """
    return one(FlatMap(frozen(fn), 1))  # type: ignore[no-any-return]


@overload
def scan(fn: Callable[[T, T], T]) -> Graph[T, T]: ...
@overload
def scan(fn: Callable[[S, T], S], seed: S) -> Graph[T, S]: ...
@overload
def scan(fn: Callable[[S, T], Awaitable[S]], seed: S) -> Graph[T, S]: ...
def scan(fn: Callable[[Any, Any], Any], seed: Any = EMPTY) -> Graph[Any, Any]:
    """Give each intermediate result of ``state = fn(state, item)``.

    In:      any items.  Without a seed the first is the first state and is given as it is.  The seed is
             copied for each run, so a list or dict as seed is not shared.
    Out:     one state an item.  Order: kept.  Memory: one state, changed only when ``fn`` returns.
    Raises:  what ``fn`` raises, with a note; GraphError when written, for a generator function or no function.
    Source:  ReactiveX "Scan".

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3]) >> kx.scan(lambda total, x: total + x, 0)).collect()
    [1, 3, 6]
    """
    return one(Scan(frozen(fn), seed))  # type: ignore[no-any-return]


@overload
def reduce(fn: Callable[[T, T], T]) -> Graph[T, T]: ...
@overload
def reduce(fn: Callable[[S, T], S], seed: S) -> Graph[T, S]: ...
@overload
def reduce(fn: Callable[[S, T], Awaitable[S]], seed: S) -> Graph[T, S]: ...
def reduce(fn: Callable[[Any, Any], Any], seed: Any = EMPTY) -> Graph[Any, Any]:
    """Give the last ``state = fn(state, item)``, once, when the source has completed.

    In:      as for `scan`.  Functions of `operator` (``operator.add``) compile inline.
    Out:     one state; the seed if no item came.  Order: items in turn.  Memory: one state.
    Raises:  as `scan`; RunError without items and seed (RxPY: SequenceContainsNoElementsError).
    Source:  ReactiveX "Reduce".

    >>> import kayrx as kx, operator
    >>> (kx.source([1, 2, 3]) >> kx.reduce(operator.add, 0)).collect()
    [6]
    """
    return one(Reduce(frozen(fn), seed))  # type: ignore[no-any-return]


def tap(fn: Callable[[T], Any]) -> Graph[T, T]:
    """Call ``fn(item)`` for its effect and pass the item on.  If ``fn`` raises, the item fails.

    In:      any items.  Out: the same.  Order: kept.  Memory: none.
    Raises:  what ``fn`` raises, with a note; GraphError when written, for a generator function or no function.
    Source:  ReactiveX "Do" (RxPY do_action), RxJS tap.

    >>> import kayrx as kx
    >>> seen = []
    >>> (kx.source([1, 2]) >> kx.tap(seen.append)).run(); seen
    [1, 2]
    """
    return one(Tap(frozen(fn)))  # type: ignore[no-any-return]


def pairwise() -> Graph[T, tuple[T, T]]:
    """Give each item with the one before it; n items give n - 1 pairs.

    In:      any items.  Out: tuples of two.  Order: kept.  Memory: one item.
    Raises:  nothing of its own.  Source: RxPY pairwise.

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3]) >> kx.pairwise()).collect()
    [(1, 2), (2, 3)]
    """
    return one(Pairwise())  # type: ignore[no-any-return]


def rx(operator: Callable[[Any], Any], *, max_burst: int | None = None) -> Graph[Any, Any]:
    """Any RxPY operator as a node; its timers run in the run's own task, or wait in a synchronous run.

    In:      any items; ``operator`` takes an Observable and gives one.  Out: what that gives.
    Order:   the operator's.  Memory: what it holds, and one burst: ``max_burst`` bounds what one item
             may release; without it `explain` and `check` say "unbounded", and no input is read until it has left.
    Raises:  the operator's error, with a note; GateOverflow beyond ``max_burst``; Misused when run, if
             ``operator`` gives no Observable; GraphError when written, for no function or a burst < 1.
    Source:  RxPY, whose operators these are.

    >>> import kayrx as kx
    >>> from reactivex import operators as ops
    >>> (kx.source([1, 2, 3]) >> kx.rx(ops.take_last(1))).collect()
    [3]
    """
    return one(Rx(operator, max_burst))  # type: ignore[no-any-return]


__all__ = ["concat_map", "flat_map", "map", "pairwise", "reduce", "rx", "scan", "tap"]
