"""The interval join: items of two streams that happened close together, as pairs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Never, TypeVar, overload

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.nodes.combine import LANE
from kayrx.nodes.latest import Beside
from kayrx.nodes.values import needs_function, span, whole

T = TypeVar("T")
U = TypeVar("U")
Two = tuple[Callable[[Any], Any], Callable[[Any], Any]]


@dataclass(frozen=True, slots=True)
class Join(Beside):
    word: ClassVar[str] = "join"
    before: float = 0.0
    after: float = 0.0
    key: Two | None = None
    event_time: Two | None = None
    lateness: float = 0.0
    max_items: int = 10_000

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            span("join", "within", getattr(self, name))
        span("join", "lateness", self.lateness)
        whole("join", "max_items", self.max_items, 1)
        for name in ("key", "event_time"):
            for fn in getattr(self, name) or ():
                needs_function("join", name, fn)
        if self.lateness and self.event_time is None:
            raise GraphError("join(lateness=): items arrive in the order of their arrival; give event_time= as well")
        if len(self.inputs) != 1:
            raise GraphError("join(other): takes one other graph; write a >> join(b, ...) >> join(c, ...) for three")
        Beside.__post_init__(self)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (*(self.key or ()), *(self.event_time or ()))

    @property
    def holds(self) -> str:
        return f"{self.max_items} items of each stream"

    @property
    def label(self) -> str:
        return self.name or self.word


def two(word: str, given: Any) -> Two | None:
    """A function for both streams, or one for each, as two."""
    if isinstance(given, tuple) and len(given) != 2:
        raise GraphError(f"join({word}=): give one function, or (of the stream, of the other), got {len(given)}")
    return None if given is None else tuple(map(frozen, given if isinstance(given, tuple) else (given, given)))


@overload
def join(other: Graph[Never, U], *, within: float | tuple[float, float],
         key: Callable[[Any], Any] | tuple[Callable[[T], Any], Callable[[U], Any]] | None = ...,
         event_time: tuple[Callable[[T], float], Callable[[U], float]], lateness: float = ...,
         max_items: int = ..., size: int = ...) -> Graph[T, tuple[T, U]]: ...
@overload
def join(other: Graph[Never, U], *, within: float | tuple[float, float],
         key: Callable[[Any], Any] | tuple[Callable[[T], Any], Callable[[U], Any]] | None = ...,
         event_time: Callable[[Any], float] | Callable[[Any], Awaitable[float]] | None = ..., lateness: float = ...,
         max_items: int = ..., size: int = ...) -> Graph[T, tuple[T, U]]: ...
def join(other: Graph[Never, Any], *, within: float | tuple[float, float], key: Any = None, event_time: Any = None,
         lateness: float = 0.0, max_items: int = 10_000, size: int = LANE) -> Graph[Any, Any]:
    """Give a pair for each two items, one of the stream and one of ``other``, that happened within some seconds.

    In:      ``within=s``: at most ``s`` seconds apart; ``within=(before, after)``: the other's item at most
             ``before`` seconds earlier or ``after`` later.  ``event_time(item)`` gives seconds, a tuple of two
             functions one for each stream; without it the time is that of arrival.  With ``key`` only
             items of equal keys are paired.
    Out:     tuples: the item of the stream, then that of ``other``; an item without a partner in none.
    Order:   a pair comes with the later to arrive of its two.  By event time the stream that is behind
             is read first, where both have items.
    Memory:  an item is held until the other stream's event time has passed it by ``within`` and
             ``lateness`` (by how much a stream may be out of order), ``max_items`` a stream at most: then
             that stream waits for the other; where both are full, RunError.
    Stops:   when nothing can be paired any more: one has ended and what is held of it is too old.
    Raises:  GraphError when written, for an ``other`` without a source, seconds below 0, a ``key`` or
             ``event_time`` that is no function, ``lateness`` without ``event_time``, and a ``max_items`` or
             ``size`` that is no whole number >= 1; when run, RunError as above, TypeError for a key without
             a hash and a time that is no finite number, and what the functions raise, with a note.
    Source:  Flink interval join (there without the bound); ReactiveX "Join" opens a window an item.

    >>> import kayrx as kx
    >>> orders, payments = [("a", 1), ("b", 2), ("c", 20)], [("b", 4), ("a", 30), ("c", 19)]
    >>> paid = kx.join(kx.source(payments), within=5, key=kx.it[0], event_time=kx.it[1], lateness=15)
    >>> (kx.source(orders) >> paid).collect()
    [(('b', 2), ('b', 4)), (('c', 20), ('c', 19))]
    """
    before, after = within if isinstance(within, tuple) and len(within) == 2 else (within, within)
    node = Join((other,), size, before, after, two("key", key), two("event_time", event_time), lateness, max_items)
    return one(node)  # type: ignore[no-any-return]


__all__ = ["join"]
