"""Flow: gates that a user asks for by name, with what happens when they are full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import needs_function, whole

T = TypeVar("T")
Named = Literal["block", "drop_oldest", "drop_newest", "latest", "error"]


@dataclass(frozen=True, slots=True)
class Conflate:
    """Overflow policy: the newest waiting item becomes ``fn(waiting, item)``; nothing is lost."""

    fn: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        needs_function("conflate", "fn", self.fn)

    def __str__(self) -> str:
        return "conflate"


Overflow = Named | Conflate


def policy(word: str, overflow: object) -> Overflow:
    """``overflow`` checked: one of the names, or ``conflate(fn)``.  Raises GraphError."""
    if isinstance(overflow, Conflate) or overflow in get_args(Named):
        return overflow  # type: ignore[return-value]
    raise GraphError(f"{word}(overflow={overflow!r}): the policies are {', '.join(get_args(Named))} "
                     "and kx.conflate(fn)")


@dataclass(frozen=True, slots=True)
class Backpressure(Node):
    word: ClassVar[str] = "backpressure"
    size: int = 16
    overflow: Overflow = "block"

    def __post_init__(self) -> None:
        whole("backpressure", "size", self.size, 1)
        policy("backpressure", self.overflow)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.overflow.fn,) if isinstance(self.overflow, Conflate) else ()


def backpressure(size: int = 16, *, overflow: Overflow = "block") -> Graph[T, T]:
    """A bounded gate of ``size`` items between what is before and after it.

    ``overflow`` says what happens to an item that finds it full:

    ==============  ==========================================================
    block           the source is not read until there is room; loses nothing
    drop_oldest     the longest-waiting item is dropped and counted
    drop_newest     the item itself is dropped and counted
    latest          all waiting items are dropped and counted
    conflate(fn)    it is joined into the newest waiting item
    error           the run fails with GateOverflow
    ==============  ==========================================================

    Order is kept.  Every policy but ``block`` reads its source as fast as it gives, in a task of
    its own.  Source: Reactor onBackpressureBuffer/Drop/Latest/Error, Pekko Buffer and Conflate.

    >>> backpressure(4, overflow="drop_oldest")
    Graph(nodes=(Backpressure(size=4, overflow='drop_oldest'),))
    """
    return one(Backpressure(size, overflow))  # type: ignore[no-any-return]


def conflate(fn: Callable[[T, T], T]) -> Conflate:
    """The overflow policy that joins: ``backpressure(1, overflow=kx.conflate(operator.add))``.

    ``fn(waiting, item)`` gives what waits from then on.  Source: Pekko Conflate.

    >>> import operator
    >>> conflate(operator.add)
    Conflate(fn=<built-in function add>)
    """
    return Conflate(frozen(fn))


__all__ = ["Overflow", "backpressure", "conflate"]
