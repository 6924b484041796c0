"""Event time: windows by the time at which items happened, not by when they came.

Time passes by the items alone: the watermark is the latest event time seen.  So an answer depends on the
items and their order and on nothing else, and a recorded stream gives what the live one gave.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar, overload

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen, it
from kayrx.graph.graph import Graph, Sink, one
from kayrx.graph.node import Node
from kayrx.nodes.sides import divert_to
from kayrx.nodes.transform import map
from kayrx.nodes.values import is_async, needs_function, span, whole

T = TypeVar("T")
S = TypeVar("S")
V = TypeVar("V", covariant=True)
Partial = Literal["item", "watermark"]
KINDS = ("tumbling", "sliding", "session")


@dataclass(frozen=True, slots=True)
class Window(Generic[V]):
    """What `window_by` gives: the items of ``key`` with ``start <= event time < end``, or their fold.

    ``count`` items are in it; ``final`` is False for a result that another of this window will follow.
    """

    key: Any
    start: float
    end: float
    value: V
    count: int
    final: bool = True


@dataclass(frozen=True, slots=True)
class Late:
    """An item that came after all its windows had closed, on its way to the ``late`` graph."""

    item: Any


@dataclass(frozen=True, slots=True)
class WindowBy(Node):
    word: ClassVar[str] = "window_by"
    expands: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    key: Callable[[Any], Any] | None
    event_time: Callable[[Any], Any]
    tumbling: float | None = None
    sliding: tuple[float, float] | None = None
    session: float | None = None
    lateness: float = 0.0
    fold: tuple[Any, ...] | None = None
    partial: Partial | None = None
    max_windows: int = 10_000
    late: bool = False

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise GraphError("window_by(): give one of tumbling=, sliding= and session=, "
                             f"got {' and '.join(given) or 'none'}")
        if self.key is not None:
            needs_function("window_by", "key", self.key)
        needs_function("window_by", "event_time", self.event_time)
        spans = self.sliding if given == ["sliding"] else (getattr(self, given[0]),)
        if not isinstance(spans, tuple) or (given == ["sliding"] and len(spans) != 2):
            raise GraphError(f"window_by(sliding={spans!r}): give (seconds, step)")
        for seconds in spans:
            span("window_by", given[0], seconds, zero=False)
        if self.sliding is not None and self.sliding[1] > self.sliding[0]:
            raise GraphError(f"window_by(sliding={self.sliding!r}): a step longer than the window leaves items out")
        span("window_by", "lateness", self.lateness)
        whole("window_by", "max_windows", self.max_windows, 1)
        if self.partial not in (None, "item", "watermark"):
            raise GraphError(f"window_by(partial={self.partial!r}): 'item', 'watermark' or None")
        if self.fold is not None:
            self._check_fold(self.fold)

    def _check_fold(self, fold: Any) -> None:
        if not isinstance(fold, tuple) or len(fold) != (2 if self.session is None else 3):
            merging = ", merge): two sessions become one when an item comes between them" if self.session else ")"
            raise GraphError(f"window_by(fold=): give (seed, fn{merging}")
        for name, fn in zip(("fn", "merge"), fold[1:], strict=False):
            needs_function("window_by", f"fold {name}", fn)
        if self.session is not None and is_async(fold[2]):
            raise GraphError("window_by(fold=): merge must be a plain function")

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        found = (self.key, self.event_time, *(self.fold or ())[1:])
        return tuple(fn for fn in found if fn is not None)

    @property
    def holds(self) -> str:
        return f"{self.max_windows} windows" + (", all items of each" if self.fold is None else "")

    @property
    def unbounded(self) -> str | None:
        return "holds all items of the windows that are open (unbounded); add fold=(seed, fn)" \
            if self.fold is None else None

    @property
    def label(self) -> str:
        return self.name or self.word


Key = Callable[[T], Any] | None
Time = Callable[[T], float] | Callable[[T], Awaitable[float]]
Slide = tuple[float, float]


@overload
def window_by(key: Key[T] = ..., *, event_time: Time[T], tumbling: float | None = ..., sliding: Slide | None = ...,
              session: float | None = ..., lateness: float = ..., fold: None = ..., partial: Partial | None = ...,
              late: Sink[T, Any] | None = ..., max_windows: int = ...) -> Graph[T, Window[list[T]]]: ...
@overload
def window_by(key: Key[T] = ..., *, event_time: Time[T], tumbling: float | None = ..., sliding: Slide | None = ...,
              lateness: float = ..., fold: tuple[S, Callable[[S, T], S]], partial: Partial | None = ...,
              late: Sink[T, Any] | None = ..., max_windows: int = ...) -> Graph[T, Window[S]]: ...
@overload
def window_by(key: Key[T] = ..., *, event_time: Time[T], session: float, lateness: float = ...,
              fold: tuple[S, Callable[[S, T], S], Callable[[S, S], S]], partial: Partial | None = ...,
              late: Sink[T, Any] | None = ..., max_windows: int = ...) -> Graph[T, Window[S]]: ...
def window_by(key: Any = None, *, event_time: Any, tumbling: float | None = None, sliding: Slide | None = None,
              session: float | None = None, lateness: float = 0.0, fold: Any = None, partial: Partial | None = None,
              late: Sink[Any, Any] | None = None, max_windows: int = 10_000) -> Graph[Any, Any]:
    """Give a `Window` of the items of each key that happened in the same span of time.

    In:      ``event_time(item)`` is a number of seconds; ``tumbling=s`` puts the items into spans of ``s``
             seconds, ``sliding=(s, step)`` into one every ``step``, ``session=gap`` into one for
             as long as no ``gap`` seconds pass without an item.
    Time:    the watermark is the latest event time seen, of any key.  A window closes, with its one
             final result, when the watermark is ``lateness`` seconds past its end, or at completion;
             silence closes nothing, and what has closed is not opened again.
    Late:    an item for closed windows alone is late: it goes to the graph ``late``, which ends in a
             sink (as in `divert_to`), else it is dropped, and told of in `Run.events`.
    Partial: "item" gives a result after each item too, "watermark" one when the watermark reaches the
             window's end and one for each item after that; they have ``final=False`` and hold
             all items so far (Dataflow's accumulating panes).
    Order:   windows that close at one item by their ends, then as they were opened.
    Memory:  ``max_windows`` open windows, then RunError.  A window holds its items; with
             ``fold=(seed, fn)`` only the state that ``fn(state, item)`` gives (for sessions
             ``(seed, fn, merge)``, for an item may join two of them).
    Raises:  GraphError for missing or contradicting arguments; TypeError for an event time that is no
             finite number.
    Source:  Akidau et al., The Dataflow Model (2015); Flink allowedLateness, sideOutputLateData, with
             its one watermark for all keys (Bytewax has one a key); Bytewax EventClock, fold_window.

    >>> import kayrx as kx
    >>> clicks = [("a", 1), ("b", 2), ("a", 14), ("a", 8), ("b", 31), ("a", 3)]
    >>> per_10_s = kx.window_by(kx.it[0], tumbling=10, event_time=kx.it[1], lateness=5,
    ...                         fold=(0, lambda n, click: n + 1))
    >>> for w in (kx.source(clicks) >> per_10_s).collect():
    ...     print(w.key, w.start, w.end, w.value)
    a 0 10 2
    b 0 10 1
    a 10 20 1
    b 30 40 1
    """
    if fold is not None and isinstance(fold, tuple):
        fold = (*fold[:1], *(frozen(fn) for fn in fold[1:]))
    node = WindowBy(frozen(key), frozen(event_time), tumbling, sliding, session, lateness, fold, partial, max_windows,
                    late is not None)
    graph: Graph[Any, Any] = one(node)
    if late is None:
        return graph
    if not isinstance(late, Sink):
        raise GraphError("window_by(late=): give an open graph that ends in a sink, as kx.to_list() or kx.each(f)")
    return graph >> divert_to(map(it.item).named("late") >> late, is_late)


def is_late(x: object) -> bool:
    return isinstance(x, Late)


__all__ = ["Window", "window_by"]
