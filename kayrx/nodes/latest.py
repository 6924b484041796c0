"""Latest: joins that look at what their branches gave last, or first.

Each branch has a lane of ``size`` items, as in `kayrx.nodes.combine`; beyond it a join holds one item a
branch.  Where several branches give at one instant, an earlier port goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Never, TypeVar, overload

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, one
from kayrx.nodes.combine import LANE, FanIn
from kayrx.nodes.values import whole

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Beside(FanIn):
    """Joins the graphs in ``inputs`` to the stream before it, which is the first port."""

    beside: ClassVar[bool] = True

    def __post_init__(self) -> None:
        FanIn.__post_init__(self)
        if not self.inputs:
            raise GraphError(f"{self.word}(other): give a graph with a source of its own")


class WithLatestFrom(Beside):
    word: ClassVar[str] = "with_latest_from"
    __slots__ = ()


class ZipLatest(FanIn):
    word: ClassVar[str] = "zip_latest"
    __slots__ = ()


class Race(FanIn):
    word: ClassVar[str] = "race"
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class MergePrioritized(FanIn):
    word: ClassVar[str] = "merge_prioritized"
    priorities: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for priority in self.priorities:
            whole(self.word, "priorities", priority, 1)
        if not self.priorities:
            raise GraphError("merge_prioritized(priorities=): give a whole number for each branch, e.g. (3, 1)")
        FanIn.__post_init__(self)

    def check_ports(self, count: int) -> None:
        if count != len(self.priorities):
            raise GraphError(f"merge_prioritized(priorities={self.priorities}): {count} branches need {count} "
                             f"priorities, got {len(self.priorities)}")


@overload
def with_latest_from(other: Graph[Never, U], /, *, size: int = ...) -> Graph[T, tuple[T, U]]: ...
@overload
def with_latest_from(other: Graph[Never, U], another: Graph[Never, V], /,
                     *, size: int = ...) -> Graph[T, tuple[T, U, V]]: ...
@overload
def with_latest_from(*others: Graph[Never, Any], size: int = ...) -> Graph[T, tuple[Any, ...]]: ...
def with_latest_from(*others: Graph[Never, Any], size: int = LANE) -> Graph[Any, Any]:
    """Give each item with the newest item of each other graph; before all have given one, give none.

        in     --1-----2--3-----|
        other  ----a--b------c--|
        out    --------2b-3b----|

    In:      any items; ``others`` are graphs with a source of their own.
    Out:     tuples: the item, then the newest of each other graph.
    Order:   what the others give at the instant of an item comes first.  Ends with the stream itself; an
             ``other`` that has ended keeps its newest item.
    Memory:  ``size`` items a lane and one newest item of each other graph.
    Raises:  GraphError when written, without ``others``, for one without a source of its own, and for a
             ``size`` that is no whole number >= 1; what an ``other`` raises fails the run.
    Source:  ReactiveX "WithLatestFrom".

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.with_latest_from(kx.source("a"))).collect()
    [(1, 'a'), (2, 'a')]
    """
    return one(WithLatestFrom(others, size))  # type: ignore[no-any-return]


@overload
def zip_latest(a: Graph[Never, T], b: Graph[Never, U], /, *, size: int = ...) -> Graph[Never, tuple[T, U]]: ...
@overload
def zip_latest(*graphs: Graph[Never, Any], size: int = ...) -> Graph[Any, tuple[Any, ...]]: ...
def zip_latest(*graphs: Graph[Never, Any], size: int = LANE) -> Graph[Any, Any]:
    """Tuples of a fresh item of every branch; a faster branch replaces the one that it has waiting.

        a    --1--2--------3--|
        b    --------a--b-----|
        out  --------2a----3b-|

    In:      branches, as for `merge`.  Out: tuples, with an item of each branch; each item in one at most.
    Order:   kept within each branch; which items meet depends on when they come.
    Memory:  ``size`` items a lane and one waiting item a branch; no branch is made to wait for another.
    Stops:   when a branch has ended and nothing of it waits.
    Raises:  GraphError as `merge`; what a branch raises fails the run.
    Source:  RxPY zip_latest.

    >>> import kayrx as kx
    >>> kx.zip_latest(kx.source([1]), kx.source("a")).collect()
    [(1, 'a')]
    """
    return one(ZipLatest(graphs, size))  # type: ignore[no-any-return]


def race(*graphs: Graph[Never, T], size: int = LANE) -> Graph[Any, T]:
    """The items of the branch that gives or ends first; the others are cancelled and their sources closed.

        a    -----1--2--3--|
        b    --a-----b-----c--|
        out  --a-----b-----c--|

    In:      branches, as for `merge`.  Out: the items of the winner.
    Order:   kept.
    Memory:  ``size`` items a lane.  What a loser gave at the instant of the decision is dropped.
    Raises:  what a branch raises before the decision; afterwards nobody hears of the losers.  GraphError as
             `merge`.
    Source:  ReactiveX "Amb", RxJS race.

    >>> import kayrx as kx
    >>> kx.race(kx.timer(60) >> kx.map(lambda _: "late"), kx.source(["at once"])).collect()
    ['at once']
    """
    return one(Race(graphs, size))  # type: ignore[no-any-return]


def merge_prioritized(*graphs: Graph[Never, T], priorities: Sequence[int], size: int = LANE) -> Graph[Any, T]:
    """`merge` that takes from the branches by their priorities where several have items waiting.

    Of branches that always have items, ``priorities=(3, 1)`` takes three of the first for one of the
    second, evenly spread; none starves.  What has no rival passes at once.

    In:      branches, as for `merge`.  Out: the items themselves.
    Order:   kept within each branch.  Memory: ``size`` items a branch.
    Raises:  GraphError when written, unless there is one whole number >= 1 for each branch, and as `merge`.
    Source:  Pekko MergePrioritized (there drawn at random).

    >>> import kayrx as kx
    >>> kx.merge_prioritized(kx.source("aaaaaa"), kx.source("bb"), priorities=(3, 1)).collect()
    ['a', 'a', 'b', 'a', 'a', 'a', 'b', 'a']
    """
    if not isinstance(priorities, Sequence):
        raise GraphError(f"merge_prioritized(priorities=): give a whole number for each branch, e.g. (3, 1), got "
                         f"{type(priorities).__name__}")
    return one(MergePrioritized(graphs, size, tuple(priorities)))  # type: ignore[no-any-return]


__all__ = ["merge_prioritized", "race", "with_latest_from", "zip_latest"]
