"""Sides: the stream goes on, and a sink beside it gets items too; and `balance`, which spreads them.

The side sink is part of the run: it is opened with it, and when the stream has ended, or nobody below
wants more, it finishes what it has been given.  Its result is no result of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, Sink, graph_of, one
from kayrx.graph.join import end_of, join
from kayrx.graph.node import Node
from kayrx.nodes.combine import LANE, Broadcast, Partition, open_branches
from kayrx.nodes.flow import backpressure
from kayrx.nodes.values import whole

T = TypeVar("T")
U = TypeVar("U")


class AlsoTo(Broadcast):
    word: ClassVar[str] = "also_to"
    aside: ClassVar[bool] = True
    __slots__ = ()


class WireTap(Broadcast):
    word: ClassVar[str] = "wire_tap"
    aside: ClassVar[bool] = True
    __slots__ = ()


class DivertTo(Partition):
    word: ClassVar[str] = "divert_to"
    aside: ClassVar[bool] = True
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Balance(Node):
    role = "fan_out"
    word: ClassVar[str] = "balance"
    graphs: tuple[Graph[Any, Any], ...]
    size: int = 1

    def __post_init__(self) -> None:
        open_branches(self.word, self.graphs)
        whole("balance", "size", self.size, 1)

    @property
    def branches(self) -> tuple[Any, ...]:
        return self.graphs


def closed(word: str, sink: Any) -> Sink[Any, Any]:
    """``sink`` checked: a graph that waits for items and leaves nothing open."""
    open_branches(word, (sink,))
    if end_of(sink.nodes) != "closed":
        raise GraphError(f"{word}(sink): what comes out of {sink.nodes[-1].where} would go nowhere; end it with a "
                         "sink, e.g. >> kx.each(f)")
    return sink  # type: ignore[no-any-return]


def also_to(sink: Sink[T, Any], *, size: int = LANE) -> Graph[T, T]:
    """Every item to ``sink`` as well; the stream waits for it.

    In:      any items.  Out: the same.
    Order:   kept; the side may lag ``size`` items behind, then it paces the stream.
    Memory:  ``size`` items a lane.
    Raises:  what ``sink`` raises fails the run; GraphError when written, if ``sink`` has a source or leaves an
             output open, and for a ``size`` that is no whole number >= 1.
    Source:  Pekko alsoTo.

    >>> import kayrx as kx
    >>> log = []
    >>> (kx.source([1, 2]) >> kx.also_to(kx.sink(log)) >> kx.map(kx.it * 10)).collect(), log
    ([10, 20], [1, 2])
    """
    return one(AlsoTo((closed("also_to", sink),), size))  # type: ignore[no-any-return]


def divert_to(sink: Sink[T, Any], when: Callable[[T], Any], *, size: int = LANE) -> Graph[T, T]:
    """Items for which ``when(item)`` is true to ``sink`` instead; the others go on.

    In:      any items; ``when`` may be async.  Out: those for which it is false.
    Order:   kept.  Memory: ``size`` items a lane.
    Raises:  what ``when`` and ``sink`` raise; GraphError when written, for a ``when`` that is no function, and
             as `also_to`.
    Source:  Pekko divertTo.

    >>> import kayrx as kx
    >>> odd = []
    >>> (kx.source(range(5)) >> kx.divert_to(kx.sink(odd), kx.it % 2 == 1)).collect(), odd
    ([0, 2, 4], [1, 3])
    """
    return one(DivertTo(frozen(when), (closed("divert_to", sink),), size))  # type: ignore[no-any-return]


def wire_tap(sink: Sink[T, Any], *, size: int = 64) -> Graph[T, T]:
    """Show every item to ``sink``, and never wait for it.

    In:      any items.  Out: the same.
    Order:   kept.  What finds ``size`` items waiting there is dropped and counted.
    Memory:  ``size`` items, and a lane of 16 each way.
    Raises:  nothing of what ``sink`` raises: it is cut off and reported by `Run.events`, and the
             stream goes on.  GraphError when written, as `also_to`.
    Source:  Pekko wireTap.

    >>> import kayrx as kx
    >>> seen = []
    >>> (kx.source([1, 2]) >> kx.wire_tap(kx.sink(seen))).collect(), seen
    ([1, 2], [1, 2])
    """
    whole("wire_tap", "size", size, 1)
    may_drop: Graph[Any, Any] = backpressure(size, overflow="drop_newest").named("wire_tap")
    tap = graph_of(join(may_drop.nodes, closed("wire_tap", sink).nodes))
    return one(WireTap((tap,), LANE, "detach"))  # type: ignore[no-any-return]


def balance(*graphs: Graph[T, U], size: int = 1) -> Graph[T, U]:
    """Each item to one branch: the one with the most room, in turn among equals.

    In:      any items.  Out: what the branches give, to a fan-in, or the results of their sinks.
    Order:   kept within a branch.  Which branch gets which item depends on their pace.
    Memory:  ``size`` items a branch, the one that it works on included; then the source waits.
    Raises:  GraphError when written, for no branches, one that is no open graph, and a ``size`` that is no
             whole number >= 1; what a branch raises fails the run.
    Source:  Pekko Balance.

    >>> import kayrx as kx
    >>> sorted((kx.source(range(4)) >> kx.balance(kx.map(str), kx.map(str)) >> kx.merge()).collect())
    ['0', '1', '2', '3']
    """
    return one(Balance(graphs, size))  # type: ignore[no-any-return]


__all__ = ["also_to", "balance", "divert_to", "wire_tap"]
