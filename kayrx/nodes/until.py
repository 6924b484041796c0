"""Until: nodes that another graph steers, by what it gives and when.

The other graph has a source of its own and a lane of ``size`` items.  Where both give at one instant, the
other goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Never, TypeVar

from kayrx.graph.graph import Graph, one
from kayrx.nodes.combine import LANE
from kayrx.nodes.latest import Beside
from kayrx.nodes.values import span, whole

T = TypeVar("T")


class TakeUntil(Beside):
    word: ClassVar[str] = "take_until"
    __slots__ = ()


class SkipUntil(Beside):
    word: ClassVar[str] = "skip_until"
    __slots__ = ()


class PauseWhen(Beside):
    word: ClassVar[str] = "pause_when"
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class BufferUntil(Beside):
    """What `kayrx.nodes.windows.buffer` makes of ``until``."""

    word: ClassVar[str] = "buffer"
    count: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        Beside.__post_init__(self)
        if self.count is not None:
            whole("buffer", "count", self.count, 1)
        if self.seconds is not None:
            span("buffer", "seconds", self.seconds, zero=False)


def take_until(other: Graph[Never, Any], *, size: int = LANE) -> Graph[T, T]:
    """Pass items on until ``other`` gives something, then complete and release both sources.

        in     --1--2--3--4--|
        other  --------x
        out    --1--2--|

    In:      any items; ``other`` may give anything.  Out: the items themselves.  Order: kept.
    Stops:   at the first item of ``other``; what waits then is cancelled.  An ``other`` that ends without
             an item changes nothing.
    Memory:  ``size`` items a lane.
    Raises:  GraphError when written, if ``other`` has no source of its own, and for a ``size`` that is no whole
             number >= 1; what ``other`` raises fails the run.
    Source:  ReactiveX "TakeUntil".

    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.take_until(kx.timer(60))).collect()
    ['a', 'b', 'c']
    """
    return one(TakeUntil((other,), size))  # type: ignore[no-any-return]


def skip_until(other: Graph[Never, Any], *, size: int = LANE) -> Graph[T, T]:
    """Leave out what comes before ``other`` has given something; then ``other`` is released.

        in     --1--2--3--4--|
        other  --------x
        out    -----------4--|

    In:      any items; ``other`` may give anything.  Out: the items themselves.  Order: kept.
    Memory:  ``size`` items a lane.  If ``other`` ends without an item, nothing passes.
    Raises:  GraphError when written, if ``other`` has no source of its own, and for a ``size`` that is no whole
             number >= 1; what ``other`` raises before it is released fails the run.
    Source:  ReactiveX "SkipUntil" (RxPY's does not complete if ``other`` never gave).

    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.skip_until(kx.source(["now"]))).collect()
    ['a', 'b', 'c']
    """
    return one(SkipUntil((other,), size))  # type: ignore[no-any-return]


def pause_when(paused: Graph[Never, Any], *, size: int = LANE) -> Graph[T, T]:
    """Hold the stream while the newest item of ``paused`` is true; the source is read no further meanwhile.

        in      --1--2--3--4-----|
        paused  ----T------F
        out     --1--------234---|

    In:      any items; of what ``paused`` gives the truth counts.  Out: the items themselves.
    Order:   kept; nothing is lost.  It begins open, and is open for good once ``paused`` has ended.
    Memory:  ``size`` items a lane.
    Raises:  GraphError when written, if ``paused`` has no source of its own, and for a ``size`` that is no whole
             number >= 1; what ``paused`` raises fails the run.
    Source:  Pekko Valve, RxJS 4 pausableBuffered (there without bound).

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.pause_when(kx.source([True, False]))).collect()
    [1, 2]
    """
    return one(PauseWhen((paused,), size))  # type: ignore[no-any-return]


__all__ = ["pause_when", "skip_until", "take_until"]
