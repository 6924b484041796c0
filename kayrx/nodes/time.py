"""Time: nodes that look at the clock.  All wait, so each begins a segment; the clock is the run's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import span, whole

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timed(Node):
    """A node of the time family: one item in, at most one out, at a time that ``seconds`` decides."""

    seconds: float

    def __post_init__(self) -> None:
        span(self.word, "seconds", self.seconds, zero=self.word in ("delay", "debounce"))


@dataclass(frozen=True, slots=True)
class Debounce(Timed):
    word: ClassVar[str] = "debounce"


@dataclass(frozen=True, slots=True)
class ThrottleFirst(Timed):
    word: ClassVar[str] = "throttle_first"


@dataclass(frozen=True, slots=True)
class Sample(Timed):
    word: ClassVar[str] = "sample"


@dataclass(frozen=True, slots=True)
class Delay(Timed):
    word: ClassVar[str] = "delay"
    size: int = 1024

    def __post_init__(self) -> None:
        span("delay", "seconds", self.seconds)
        whole("delay", "size", self.size, 1)


@dataclass(frozen=True, slots=True)
class KeepAlive(Timed):
    word: ClassVar[str] = "keep_alive"
    item: Any = None

    @property
    def label(self) -> str:
        return self.name or self.word


def debounce(seconds: float) -> Graph[T, T]:
    """Pass an item on when ``seconds`` have gone by without another; the last one at completion.

        in   -a-bc----d-|
        debounce(2)
        out  -----c----(d|)

    In:      any items.  Out: some of them.
    Order:   kept.  Memory: one item.
    Raises:  GraphError, here, unless ``seconds`` >= 0.
    Source:  ReactiveX "Debounce".

    >>> debounce(0.5)
    Graph(nodes=(Debounce(seconds=0.5),))
    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.debounce(60)).collect()
    ['c']
    """
    return one(Debounce(seconds))  # type: ignore[no-any-return]


def throttle_first(seconds: float) -> Graph[T, T]:
    """Pass an item on, then drop what comes for ``seconds``.

    In:      any items.  Out: some of them.
    Order:   kept.  Memory: one time, no item.
    Raises:  GraphError, here, unless ``seconds`` > 0.
    Source:  RxPY throttle_first.

    >>> throttle_first(1)
    Graph(nodes=(ThrottleFirst(seconds=1),))
    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.throttle_first(60)).collect()
    ['a']
    """
    return one(ThrottleFirst(seconds))  # type: ignore[no-any-return]


def sample(seconds: float) -> Graph[T, T]:
    """Every ``seconds`` pass on the newest item, if one has come since the last time.

    In:      any items.  Out: some of them.
    Order:   kept.  Memory: one item; at completion the newest is passed on.
    Raises:  GraphError, here, unless ``seconds`` > 0.
    Source:  ReactiveX "Sample".

    >>> sample(1)
    Graph(nodes=(Sample(seconds=1),))
    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.sample(60)).collect()
    ['c']
    """
    return one(Sample(seconds))  # type: ignore[no-any-return]


def delay(seconds: float, *, size: int = 1024) -> Graph[T, T]:
    """Pass each item on ``seconds`` after it came; completion too, an error at once.

    In:      any items.  Out: the same, later.  Order: kept.
    Memory:  ``size`` items at most are under way, then the source is read no further (Rx: without
             bound).
    Raises:  GraphError, here, unless ``seconds`` >= 0 and ``size`` is a whole number >= 1.
    Source:  ReactiveX "Delay".

    >>> delay(2)
    Graph(nodes=(Delay(seconds=2, size=1024),))
    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.delay(0.01)).collect()
    ['a', 'b', 'c']
    """
    return one(Delay(seconds, size))  # type: ignore[no-any-return]


def keep_alive(every: float, item: Any) -> Graph[T, T]:
    """Whenever ``every`` seconds have gone by without an item, give ``item``; if callable, what it returns.

        in   --a-----------b--|
        keep_alive(4, "~")
        out  --a---~---~---b--|

    In:      any items.  Out: the same, and ``item`` in the pauses.  Order: kept.
    Time:    the seconds run from the last item that has been sent on, so a slow reader gets no pile.
    Memory:  no item.  Raises: GraphError unless ``every`` > 0; what ``item()`` raises.
    Source:  Pekko keepAlive.

    >>> import kayrx as kx
    >>> (kx.timer(0.03) >> kx.keep_alive(0.02, "~")).collect()
    ['~', 0]
    """
    return one(KeepAlive(every, frozen(item)))  # type: ignore[no-any-return]


__all__ = ["debounce", "delay", "keep_alive", "sample", "throttle_first"]
