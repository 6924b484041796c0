"""Graphs as one thing: `share` makes one upstream of many uses, `unit` one node of many."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, Sink, one
from kayrx.graph.join import is_fed
from kayrx.graph.node import Node, must_be_name, written_here
from kayrx.nodes.values import whole

T = TypeVar("T")
U = TypeVar("U")
LANE = 16


@dataclass(frozen=True, slots=True)
class Share(Node):
    word: ClassVar[str] = "share"
    identity: str
    size: int = LANE
    replay: int | None = None

    def __post_init__(self) -> None:
        whole("share", "size", self.size, 1)
        if self.replay is not None:
            whole("share", "replay", self.replay, 1)

    @property
    def holds(self) -> str | None:
        return None if self.replay is None else f"the last {'item' if self.replay == 1 else f'{self.replay} items'}"


@dataclass(frozen=True, slots=True)
class Unit(Node):
    word: ClassVar[str] = "unit"
    expands: ClassVar[bool] = True
    graph: Graph[Any, Any]

    def __post_init__(self) -> None:
        if self.name is not None:
            must_be_name("unit", self.name)
        if not isinstance(self.graph, Graph):
            raise GraphError(f"unit(graph): takes a graph, got {type(self.graph).__name__}")
        if is_fed(self.graph.nodes) or isinstance(self.graph, Sink):
            raise GraphError(f"unit(graph): {self.graph.nodes[0].where} must be open at both ends")

    @property
    def label(self) -> str:
        return self.name or "unit"

    @property
    def branches(self) -> tuple[Any, ...]:
        return (self.graph,)


def alike(one: Sequence[Node], other: Sequence[Node]) -> bool:
    """True if two series are the same but for their names."""
    return len(one) == len(other) and all(
        a is b or (type(a) is type(b) and replace(a, name=None) == replace(b, name=None))
        for a, b in zip(one, other, strict=True))


_marks = itertools.count(1)


def share(*, size: int = LANE, replay: int | None = None) -> Graph[T, T]:
    """Make what is before it one upstream, however often the graph is used within one run.

        in       --a--b--c--d--|
        merge(shared, concat(timer, shared))       the timer ends at 7; replay=1
        first    --a--b--c--d--|
        second   -------b-c--d--|

    In:      any items.  Out: the same, to each subscriber.
    Order:   each subscriber gets the items in order, through a lane of its own of ``size`` items.
    Lanes:   ``backpressure(...)`` or ``coalesce(...)`` first behind it sets the size and policy of that lane.
             The slowest that waits paces all; one whose policy drops or joins never does.
    Open:    once all written subscribers are attached, until the last leaves; a run has its own upstream, also
             one inside a function (``flat_map``).  One that raises fails the run, or its branch if that detaches.
    Late:    a subscriber whose turn comes later (behind ``concat``) is waited for; if another use comes before
             it there, it has its lane from the beginning, and holds the others when that is full.  With
             ``replay=n`` it is attached when its turn comes: it gets the last ``n`` items, then those that
             come; it holds nobody before, and the upstream is opened by the first.  While nobody is attached,
             nothing is read.
    Memory:  ``size`` items a lane, and ``replay`` items, which may stand in a lane beyond its size.
    Raises:  GraphError for numbers below 1; CompileError where one ``share()`` stands behind different graphs.
    Source:  ReactiveX "RefCount" and "Replay"; Reactor replay(n).refCount().

    >>> import kayrx as kx
    >>> numbers = kx.source([1, 2]) >> kx.share()
    >>> sorted(kx.merge(numbers >> kx.map(kx.it * 10), numbers).collect())
    [1, 2, 10, 20]
    >>> newest = numbers >> kx.backpressure(1, overflow="latest") >> kx.map(kx.it * 10)
    >>> kx.merge(newest, numbers >> kx.ignore_elements()).collect()[-1]
    20
    >>> replayed = kx.source(range(5)) >> kx.share(replay=2)
    >>> kx.concat(replayed, replayed).collect()
    [0, 1, 2, 3, 4, 3, 4]
    """
    return one(Share(f"{written_here()}#{next(_marks)}", size, replay))  # type: ignore[no-any-return]


def unit(graph: Graph[T, U], name: str | None = None) -> Graph[T, U]:
    """Make an open graph one node, so that the guards after it wrap all of it.

    In:      what the first node of ``graph`` takes.  Out: what its last node gives.
    Order:   that of ``graph``.  Memory: that of its nodes; the unit adds none.
    Raises:  GraphError when written, for what is no graph, one with a source or a sink, and a ``name`` that is
             no text or empty; CompileError for guards after a unit of nodes that do not work item by item.
    Source:  Pekko's nested flows: a composite is one operator, with attributes of its own.

    >>> import kayrx as kx
    >>> both = kx.unit(kx.map(int) >> kx.map(kx.it + 1), name="parse") >> kx.skip_errors()
    >>> (kx.source(["1", "x", "3"]) >> both).collect()
    [2, 4]
    """
    return one(Unit(graph, name=name))  # type: ignore[no-any-return]


__all__ = ["share", "unit"]
