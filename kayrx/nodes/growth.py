"""Growth: a node whose output comes back as its input."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, overload

from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import needs_function, whole

T = TypeVar("T")
LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Expand(Node):
    word: ClassVar[str] = "expand"
    expands: ClassVar[bool] = True
    fn: Callable[[Any], Any]
    max_depth: int | None = None
    limit: int = LIMIT

    def __post_init__(self) -> None:
        needs_function("expand", "fn", self.fn, many=True)
        if self.max_depth is not None:
            whole("expand", "max_depth", self.max_depth, 0)
        whole("expand", "limit", self.limit, 1)

    @property
    def holds(self) -> str:
        return "1 item" if self.limit == 1 else f"{self.limit} items that wait to be expanded"


@overload
def expand(fn: Callable[[T], AsyncIterable[T]], *, max_depth: int | None = ..., limit: int = ...) -> Graph[T, T]: ...
@overload
def expand(fn: Callable[[T], Awaitable[Iterable[T]]], *, max_depth: int | None = ...,
           limit: int = ...) -> Graph[T, T]: ...
@overload
def expand(fn: Callable[[T], Iterable[T]], *, max_depth: int | None = ..., limit: int = ...) -> Graph[T, T]: ...
def expand(fn: Callable[[Any], Any], *, max_depth: int | None = None, limit: int = LIMIT) -> Graph[Any, Any]:
    """Give each item, then every item of ``fn(item)``, then what ``fn`` gives for those, and so on.

        in   --1---------|
        expand(lambda x: [x * 2, x * 3] if x < 3 else [])
        out  --(1 2 3 4 6)--|

    In:      any items; ``fn`` gives an iterable or async iterable, or is an async function or generator.
    Out:     each item and all that grows from it.
    Order:   breadth first; an input is expanded to the end before the next is read (RxPY reads on), and
             one call of ``fn`` is under way at a time.  ``fn`` is called for an item after it has gone on.
    Depth:   with ``max_depth`` an item that is so many calls away from its input is not expanded.
    Memory:  ``limit`` items that wait to be expanded.
    Raises:  GateOverflow when more wait; what ``fn`` raises, with a note.  TypeError for Observables:
             ``kx.rx(ops.expand(fn))`` takes those.  GraphError when written, for an ``fn`` that is no function, a
             ``max_depth`` that is no whole number >= 0, a ``limit`` that is none >= 1.
    Source:  RxPY, RxJS expand; Reactor expand.

    >>> import kayrx as kx
    >>> (kx.source([1]) >> kx.expand(lambda x: [x * 2] if x < 50 else [])).collect()
    [1, 2, 4, 8, 16, 32, 64]
    >>> (kx.source([""]) >> kx.expand(lambda s: [s + "a", s + "b"], max_depth=2)).collect()
    ['', 'a', 'b', 'aa', 'ab', 'ba', 'bb']
    """
    return one(Expand(frozen(fn), max_depth, limit))  # type: ignore[no-any-return]


__all__ = ["expand"]
