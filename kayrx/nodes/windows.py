"""Windows: nodes that give lists of neighbouring items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Never, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.until import BufferUntil
from kayrx.nodes.values import span, whole

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Buffer(Node):
    word: ClassVar[str] = "buffer"
    count: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.count is None and self.seconds is None:
            raise GraphError("buffer(): give count=, seconds= or until=, or nothing would end a list")
        if self.count is not None:
            whole("buffer", "count", self.count, 1)
        if self.seconds is not None:
            span("buffer", "seconds", self.seconds, zero=False)

    @property
    def timed(self) -> bool:
        return self.seconds is not None


@dataclass(frozen=True, slots=True)
class Sliding(Node):
    word: ClassVar[str] = "sliding"
    count: int
    step: int = 1

    def __post_init__(self) -> None:
        whole("sliding", "n", self.count, 1)
        whole("sliding", "step", self.step, 1)


def buffer(count: int | None = None, seconds: float | None = None, *,
           until: Graph[Never, Any] | None = None) -> Graph[T, list[T]]:
    """Give lists of ``count`` items, of what came within ``seconds``, or before an item of ``until``.

        in   --a--b--c--|
        buffer(count=2)
        out  -----[ab]--([c]|)

    In:      any items.  Whichever is first ends a list; ``until`` is a graph with a source of its own.
    Out:     lists of neighbours; each item is in one.  Order: kept.
    Memory:  ``count`` items (without it: as many as come; `check` says so).
    Time:    ``seconds`` run from the first item of a list, so no list is empty (Rx: from the
             subscription on, also empty).  The last list may be shorter; after the end of ``until``
             the rest is one list (RxPY: the end).
    Raises:  GraphError, here, without any of the three, unless ``count`` is a whole number >= 1 and ``seconds`` > 0,
             and if ``until`` has no source of its own.
    Source:  ReactiveX "Buffer", RxPY buffer and buffer_with_time_or_count.

    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.buffer(count=2)).collect()
    [['a', 'b'], ['c']]
    """
    if until is not None:
        return one(BufferUntil((until,), count=count, seconds=seconds))  # type: ignore[no-any-return]
    return one(Buffer(count, seconds))  # type: ignore[no-any-return]


def sliding(n: int, step: int = 1) -> Graph[T, list[T]]:
    """Give the last ``n`` items as a list, every ``step`` items.

    In:      any items.
    Out:     lists of ``n`` neighbours; a shorter last one comes only if it holds items that no list held.
    Order:   kept.  Memory: ``n`` items.
    Raises:  GraphError, here, unless ``n`` and ``step`` are whole numbers >= 1.
    Source:  Pekko sliding (RxPY's buffer_with_count(n, step) also gives the shrinking tails).

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3, 4, 5]) >> kx.sliding(3, step=2)).collect()
    [[1, 2, 3], [3, 4, 5]]
    """
    return one(Sliding(n, step))  # type: ignore[no-any-return]


__all__ = ["buffer", "sliding"]
