"""Groups: a graph of its own for each key, or for each window.

The body is copied for each group, with fresh state; it runs in place, item by item.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, Sink, one
from kayrx.graph.join import end_of, is_fed
from kayrx.graph.node import Node
from kayrx.nodes.time import Timed
from kayrx.nodes.values import needs_function, whole

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Grouping(Node):
    """A node with a body; subclasses say which items share a copy of it."""

    expands: ClassVar[bool] = True
    body: Graph[Any, Any]

    def check_body(self) -> None:
        if not isinstance(self.body, Graph):
            raise GraphError(f"{self.word}(body): takes a graph, got {type(self.body).__name__}; "
                             "wrap a function: kx.map(f)")
        first, last = self.body.nodes[0], self.body.nodes[-1]
        if is_fed(self.body.nodes):
            raise GraphError(f"{self.word}(body): {first.where} brings its own items, and each copy takes those of its "
                             "group; leave it off")
        if isinstance(self.body, Sink):
            raise GraphError(f"{self.word}(body): nothing comes out of {last.where}; write it after {self.word}(), "
                             "and for a list a group a kx.buffer(n) or kx.reduce(f) in its place")
        if end_of(self.body.nodes) != "one":
            raise GraphError(f"{self.word}(body): {last.where} has several outputs; write it after {self.word}()")

    @property
    def label(self) -> str:
        return self.name or self.word


@dataclass(frozen=True, slots=True)
class GroupBy(Grouping):
    word: ClassVar[str] = "group_by"
    key: Callable[[Any], Any]
    max_groups: int = 1000

    def __post_init__(self) -> None:
        needs_function("group_by", "key", self.key)
        self.check_body()
        whole("group_by", "max_groups", self.max_groups, 1)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.key,)

    @property
    def holds(self) -> str:
        return f"{self.max_groups} groups, then the longest unused is completed"


@dataclass(frozen=True, slots=True)
class InWindows(Grouping):
    word: ClassVar[str] = "window"
    count: int | None

    def __post_init__(self) -> None:
        if self.count is not None:
            whole("window", "count", self.count, 1)
        self.check_body()

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Ticks(Timed):
    """Says when the time of a window is over: ``seconds`` after its first item, unless it has ``count`` before."""

    word: ClassVar[str] = "window"
    count: int | None = None


def group_by(key: Callable[[T], Hashable] | Callable[[T], Awaitable[Hashable]], body: Graph[T, U], *,
             max_groups: int = 1000) -> Graph[T, U]:
    """Send the items of each key through a copy of ``body`` of their own, and give all that comes out.

        in   --a1--b1--a2--b2--|
        group_by(kx.it[0], kx.buffer(2))
        out  ----------A---B---|      A = [a1 a2], B = [b1 b2]

    State:   each group has fresh state, and ends with the stream, or when ``body`` wants no more (as
             after ``take``): then later items of its key are dropped.
    Order:   what an item gives comes at once; at the end the groups are completed in the order in which
             they began.
    Memory:  ``max_groups`` groups and what each holds.  One more, and the group that has been without an
             item longest is completed: what it still gives comes first, and a later item of its key
             begins a new group.
    Waits:   a body may wait (async functions, backoff); the groups then take turns, for all are in one task.
    Raises:  GraphError for a body that is not open at both ends; CompileError for one that needs a task or
             a lane of its own: time, concurrency, branches.
    Source:  ReactiveX "GroupBy" with flat_map; RxPY's groups are without bound.

    >>> import kayrx as kx
    >>> (kx.source(["a1", "b1", "a2"]) >> kx.group_by(kx.it[0], kx.scan(lambda a, b: a + b[1]))).collect()
    ['a1', 'b1', 'a12']
    """
    return one(GroupBy(body, frozen(key), max_groups))  # type: ignore[no-any-return]


def window(count: int | None, body: Graph[T, U], *, seconds: float | None = None) -> Graph[T, U]:
    """Send each ``count`` items in a row through a fresh copy of ``body``, and complete it.

        in   --1--2--3--4--5--|
        window(2, kx.sum())
        out  -----3-----7-----(5|)

    Time:    with ``seconds`` a copy is completed so long after its first item, if it has no ``count`` items before;
             no window is empty.  ``window(None, body, seconds=60)`` goes by time alone.
    Memory:  what one copy of ``body`` holds: a fold needs no list, as `buffer` would.
    Raises:  as `group_by`; GraphError if neither ``count`` nor ``seconds`` would end a window.
    Source:  ReactiveX "Window", RxPY window_with_count with flat_map (which also opens an empty window).

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3, 4, 5]) >> kx.window(2, kx.sum())).collect()
    [3, 7, 5]
    """
    if seconds is None:
        if count is None:
            raise GraphError("window(None, body): give a count or seconds=, or nothing would end a window")
        return one(InWindows(body, count))  # type: ignore[no-any-return]
    windows = one(InWindows(body, count))
    return one(Ticks(seconds, count)) >> windows  # type: ignore[no-any-return]


__all__ = ["group_by", "window"]
