"""Loops: a graph applied to an item again and again; the one way to write a cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.join import end_of, is_fed
from kayrx.graph.node import Node
from kayrx.nodes.values import is_generator, needs_function, whole

T = TypeVar("T")
SIZE = 16


@dataclass(frozen=True, slots=True)
class Loop(Node):
    word: ClassVar[str] = "loop"
    body: Graph[Any, Any]
    until: Callable[[Any], Any]
    size: int = SIZE

    def __post_init__(self) -> None:
        if not isinstance(self.body, Graph):
            raise GraphError(f"loop(body): takes a graph, got {type(self.body).__name__}; wrap a function: kx.map(f)")
        first, last = self.body.nodes[0], self.body.nodes[-1]
        if is_fed(self.body.nodes):
            raise GraphError(f"loop(body): {first.where} brings its own items; what comes in goes round, so leave it "
                             "off and write kx.source(items) >> kx.loop(body, until=)")
        if first.role == "guard" or (first.role == "fan_in" and not first.beside):
            raise GraphError(f"loop(body): {first.where} needs something before it; write it with that")
        end = end_of(self.body.nodes)
        if end == "closed":
            raise GraphError(f"loop(body): nothing comes out of {last.where}, so nothing can go round; leave the sink "
                             "off, or look at what goes round with kx.also_to(sink)")
        if end == "ports":
            raise GraphError(f"loop(body): {last.where} has several outputs; join them, e.g. >> kx.merge()")
        needs_function("loop", "until", self.until, many=True)
        if is_generator(self.until):
            raise GraphError("loop(until): a generator function says neither yes nor no; return True or False")
        whole("loop", "size", self.size, 0)

    @property
    def label(self) -> str:
        return self.name or self.word

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.until,)

    @property
    def branches(self) -> tuple[Any, ...]:
        return (self.body,)


def loop(body: Graph[T, T], *, until: Callable[[T], Any], size: int = SIZE) -> Graph[T, T]:
    """Apply ``body`` to each item, and to what comes out, until ``until(item)`` is true; then it leaves.

        in   --1-----5--|
        loop(map(lambda x: x * 2), until=lambda x: x > 9)
        out  --(16)--(10)--|

    Turns:   ``until``, which may be async, is asked about what comes out of ``body``, so each item goes through it
             once at least.  To stop after n turns let the item count them.
    Order:   what has come back goes before new input.  While ``body`` does not wait, an input is done before the next
             is read.  Where it waits, ``size`` items are inside at once and leave as they are done; ``size=1`` keeps
             the order.
    End:     when the input has ended and nothing moves inside: then ``body`` is completed and gives what it holds.
             A timer that holds nothing (`sample`, `keep_alive`) is no move; one of an ``rx()`` operator is.
             If ``body`` ends by itself (`take`), so does the loop; what is inside then is cancelled.
    Memory:  ``size`` items that have come back, in the gate of the feedback, and the bounds of ``body``.
    Raises:  GateOverflow when ``body`` gives more that has to go round than the gate holds.  RunError when ``body``,
             once completed, gives something that has to go round.  GraphError for a body that is not open at both
             ends; CompileError, with the cycle drawn, for ``size=0``: a cycle without a gate.
    Source:  Pekko graph cycles with MergePreferred and a bounded buffer.

    >>> import kayrx as kx
    >>> (kx.source([1, 5, 20]) >> kx.loop(kx.map(kx.it * 2), until=kx.it > 9)).collect()
    [16, 10, 40]
    >>> halves = kx.flat_map(lambda x: [x // 2, x - x // 2])
    >>> (kx.source([5]) >> kx.loop(halves, until=lambda x: x < 2)).collect()
    [1, 1, 1, 1, 1]
    """
    return one(Loop(body, frozen(until), size))  # type: ignore[no-any-return]


__all__ = ["loop"]
