"""What is known of an item, beside it: its number, its time, and whether it is an item at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Timestamp(NamedTuple, Generic[T_co]):
    """An item and the run's time in seconds when it passed; only differences of times mean anything.

    >>> Timestamp("a", 0.5)
    Timestamp(value='a', time=0.5)
    """

    value: T_co
    time: float


@dataclass(frozen=True, slots=True)
class OnNext(Generic[T_co]):
    """The notification of an item; ``value`` is the item.

    >>> OnNext(1) == OnNext(1)
    True
    """

    value: T_co


@dataclass(frozen=True, slots=True)
class OnError:
    """The notification of a failure; ``error`` is the very exception, which compares by identity.

    >>> OnError(ValueError("bad"))
    OnError(error=ValueError('bad'))
    """

    error: Exception


@dataclass(frozen=True, slots=True)
class OnCompleted:
    """The notification of completion.

    >>> OnCompleted() == OnCompleted()
    True
    """


Notification = OnNext[T_co] | OnError | OnCompleted
"""What `materialize` gives: any number of OnNext, then one OnCompleted or OnError."""


@dataclass(frozen=True, slots=True)
class WithIndex(Node):
    word: ClassVar[str] = "with_index"
    start: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.start, int) or isinstance(self.start, bool):
            raise GraphError(f"with_index(start): start must be a whole number, got {self.start!r}")


@dataclass(frozen=True, slots=True)
class Stamp(Node):
    word: ClassVar[str] = "timestamp"
    asks: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Materialize(Node):
    word: ClassVar[str] = "materialize"


@dataclass(frozen=True, slots=True)
class Dematerialize(Node):
    word: ClassVar[str] = "dematerialize"


def with_index(start: int = 0) -> Graph[T, tuple[int, T]]:
    """Give each item with its number: ``(index, item)``, in the order of Python's enumerate.

    In:      any items.  Out: tuples, counted from ``start``.
    Order:   kept.  Memory: the next number.
    Raises:  GraphError when written, for a ``start`` that is no whole number.
    Source:  Pekko zipWithIndex (which puts the item first), Reactor index.

    >>> import kayrx as kx
    >>> (kx.source("ab") >> kx.with_index(1)).collect()
    [(1, 'a'), (2, 'b')]
    """
    return one(WithIndex(start))  # type: ignore[no-any-return]


def timestamp() -> Graph[T, Timestamp[T]]:
    """Give each item with the time at which it passed: ``Timestamp(value, time)``.

    In:      any items.  Out: one Timestamp for each.  Order: kept.  Memory: none.
    Raises:  nothing of its own.
    Time:    the run's own clock, in seconds: the event loop's, the monotonic one without a loop, or what
             ``World(now=)`` says; as an Rx operator, that of the scheduler given to ``subscribe``.
    Source:  ReactiveX "Timestamp" (RxPY gives a datetime).

    >>> import kayrx as kx
    >>> (kx.source("ab") >> kx.timestamp()).collect(world=kx.World(now=lambda: 7.0))
    [Timestamp(value='a', time=7.0), Timestamp(value='b', time=7.0)]
    """
    return one(Stamp())  # type: ignore[no-any-return]


def materialize() -> Graph[T, OnNext[T] | OnError | OnCompleted]:
    """Give everything that happens as items: ``OnNext(item)``, then ``OnCompleted()`` or ``OnError(error)``.

        in   --a--b--#
        materialize()
        out  --a--b--(#|)

    In:      any items, completion and failure.  Out: notifications.  Order: kept.
    Errors:  what fails before this node, in whatever task, is an item here and fails the run no more; it
             keeps its type and has its note, and it comes after the items that were before it.  What fails
             after this node fails the run.  A branch that reaches the run's end by another way fails it too.
    Memory:  one lane of 16 items: the node stands in a segment of its own.
    Raises:  nothing of its own.
    Source:  ReactiveX "Materialize".

    >>> import kayrx as kx
    >>> (kx.source([1, 0]) >> kx.map(lambda x: 1 // x) >> kx.materialize()).collect()
    [OnNext(value=1), OnError(error=ZeroDivisionError('integer division or modulo by zero'))]
    """
    return one(Materialize())  # type: ignore[no-any-return]


def dematerialize() -> Graph[OnNext[T] | OnError | OnCompleted, T]:
    """Make of notifications what they tell of: the item, the failure, or completion, which releases the source.

    In:      OnNext, OnError and OnCompleted.  Out: the items; nothing after the first of the other two.
    Order:   kept.  Memory: none.
    Raises:  the error of an OnError; TypeError for an item that is no notification.
    Source:  ReactiveX "Dematerialize".

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.materialize() >> kx.dematerialize()).collect()
    [1, 2]
    """
    return one(Dematerialize())  # type: ignore[no-any-return]


__all__ = [
    "Notification", "OnCompleted", "OnError", "OnNext", "Timestamp", "dematerialize", "materialize", "timestamp",
    "with_index",
]
