"""Graphs as one thing: `share` makes one upstream of many uses, `unit` one node of many."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, Sink, one
from kayrx.graph.join import is_fed
from kayrx.graph.node import Node, written_here
from kayrx.nodes.values import whole

T = TypeVar("T")
U = TypeVar("U")
LANE = 16


@dataclass(frozen=True, slots=True)
class Share(Node):
    word: ClassVar[str] = "share"
    identity: str
    size: int = LANE

    def __post_init__(self) -> None:
        whole("share", "size", self.size, 1)


@dataclass(frozen=True, slots=True)
class Unit(Node):
    word: ClassVar[str] = "unit"
    expands: ClassVar[bool] = True
    graph: Graph[Any, Any]

    def __post_init__(self) -> None:
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


_marks = itertools.count(1)


def share(*, size: int = LANE) -> Graph[T, T]:
    """Make what is before it one upstream, however often the graph is used within one run.

    It is opened once all written subscribers are attached and closed when the last leaves; each
    has a lane of ``size`` items, and the slowest paces all.  Source: ReactiveX "RefCount".

    >>> import kayrx as kx
    >>> numbers = kx.source([1, 2]) >> kx.share()
    >>> sorted(kx.merge(numbers >> kx.map(kx.it * 10), numbers).collect())
    [1, 2, 10, 20]
    """
    return one(Share(f"{written_here()}#{next(_marks)}", size))  # type: ignore[no-any-return]


def unit(graph: Graph[T, U], name: str | None = None) -> Graph[T, U]:
    """Make an open graph one node, so that the guards after it wrap all of it.

    >>> import kayrx as kx
    >>> both = kx.unit(kx.map(int) >> kx.map(kx.it + 1), name="parse") >> kx.skip_errors()
    >>> (kx.source(["1", "x", "3"]) >> both).collect()
    [2, 4]
    """
    return one(Unit(graph, name=name))  # type: ignore[no-any-return]


__all__ = ["share", "unit"]
