"""Output that is taken back: the marker of ``resume="restart"``, and the node that applies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import whole

T = TypeVar("T")
REACH = 65_536
"""How many items a filter and a file know of the last, so that a mark can take them back."""


@dataclass(frozen=True, slots=True)
class Retract:
    """The last ``count`` items are taken back: attempt ``attempt`` of the unit ``node`` sent them, and failed.

    It stands in the stream where the attempt ended.  `map`, `tap`, `timestamp`, `delay` and `rate_limit` pass it
    by, `filter` gives it the number of what has passed, gates and fan-outs carry it, a file that can seek is cut off by
    `sink`, and other sinks get it.  Any node that would lose count of what is taken back is a CompileError: write
    `settled` before it.

    >>> Retract(2, "answer", 1)
    Retract(count=2, node='answer', attempt=1)
    """

    count: int
    node: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Settled(Node):
    word: ClassVar[str] = "settled"
    size: int = 1024

    def __post_init__(self) -> None:
        whole("settled", "size", self.size, 1)

    @property
    def holds(self) -> str | None:
        return f"{self.size} items"


def settled(size: int = 1024) -> Graph[T | Retract, T]:
    """Hold items back until no `Retract` can reach them: the last ``size`` items, and all others are settled.

        in           -a-b-R-c-d-|       R: Retract(2)
        settled(9)
        out          -----------(cd|)

    Order:   kept; an item goes on once ``size`` others are behind it, or at the end.
    Memory:  ``size`` items.
    Raises:  GraphError for a size below 1; RunError for a Retract that takes back more than is held.
    Source:  none; ``resume="restart"`` of `retry` and `fallback` sends what it applies.

    >>> import kayrx as kx
    >>> (kx.source(["a", "b", kx.Retract(2), "c"]) >> kx.settled()).collect()
    ['c']
    """
    return one(Settled(size))  # type: ignore[no-any-return]


def is_mark(x: Any) -> bool:
    return type(x) is Retract


__all__ = ["Retract", "settled"]
