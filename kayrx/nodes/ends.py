"""Ends: where items come from and where they go; a source is read only while the gate below it has room."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Never, Protocol, TypeVar, overload

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, Sink, one
from kayrx.graph.node import Node, Resource
from kayrx.nodes.place import Placement, Processes
from kayrx.nodes.replay import FileLines, Items, Replayable
from kayrx.nodes.values import file_path, needs_function, span, taking, whole

if TYPE_CHECKING:
    from reactivex import Observable

    from kayrx.nodes.feed import Publisher, Pushing

T = TypeVar("T")
S = TypeVar("S", contravariant=True)


class Appends(Protocol[S]):
    def append(self, item: S, /) -> Any: ...


class Puts(Protocol[S]):
    def put(self, item: S, /) -> Any: ...


class Writes(Protocol[S]):
    def write(self, item: S, /) -> Any: ...


def is_observable(value: object) -> bool:
    """True for a `reactivex.Observable`, told by its shape so that reactivex is not imported."""
    return hasattr(value, "pipe") and hasattr(value, "subscribe")


def is_publisher(value: object) -> bool:
    """True for a Reactive Streams publisher: ``subscribe``, and not an Observable or a Graph."""
    return hasattr(value, "subscribe") and not hasattr(value, "pipe") and not isinstance(value, Graph)


@dataclass(frozen=True, slots=True)
class Source(Node):
    role = "source"
    word: ClassVar[str] = "source"
    what: Any
    on: Placement | None = None
    cursor: Callable[[Any], Any] | None = None
    used: list[bool] = field(default_factory=list, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.what, Graph):
            raise GraphError("source(x): a graph is no items; one that begins with a source is written as it is")
        if self.kind == "nothing":
            raise GraphError(f"source(x): a {type(self.what).__name__} gives no items; x is an iterable, "
                             "an async iterable, a callable that gives one, an Observable or a publisher")
        if isinstance(self.on, Processes) or (self.on is not None and not hasattr(self.on, "start")):
            raise GraphError("source(x, on=): a source is read in a thread of this process: on=kx.threads(1)")
        if self.cursor is not None and self.kind != "callable":
            raise GraphError("source(connect, cursor=): only a callable can be opened again at a cursor")

    @property
    def kind(self) -> str:
        """observable, publisher, async, iterable, replayable, callable or nothing."""
        kinds: dict[str, Any] = {"async": AsyncIterable, "iterable": Iterable, "replayable": Replayable,
                                 "callable": Callable}
        hot = "observable" if is_observable(self.what) else "publisher" if is_publisher(self.what) else None
        return hot or next((name for name, kind in kinds.items() if isinstance(self.what, kind)), "nothing")

    @property
    def replayable(self) -> Replayable[Any] | None:
        """How to read the source again from a cursor; None for what can be read but once."""
        if self.kind == "replayable":
            return self.what  # type: ignore[no-any-return]
        return Items(self.what, self.where) if isinstance(self.what, (list, tuple, range, str)) else None

    @property
    def local(self) -> bool:
        return self.kind in ("observable", "publisher", "async") or isinstance(self.what, Iterator)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.what,) if self.kind == "callable" else ()


@dataclass(frozen=True, slots=True)
class Interval(Node):
    role = "source"
    word: ClassVar[str] = "interval"
    seconds: float

    def __post_init__(self) -> None:
        span("interval", "seconds", self.seconds, zero=False)


@dataclass(frozen=True, slots=True)
class Timer(Node):
    role = "source"
    word: ClassVar[str] = "timer"
    seconds: float

    def __post_init__(self) -> None:
        span("timer", "seconds", self.seconds)


@dataclass(frozen=True, slots=True)
class Lines(Node):
    role = "source"
    word: ClassVar[str] = "lines"
    path: str
    chunk: int = 256

    def __post_init__(self) -> None:
        whole("lines", "chunk", self.chunk, 1)

    @property
    def replayable(self) -> Replayable[str]:
        return FileLines(self.path, self.where)


@dataclass(frozen=True, slots=True)
class ToList(Node):
    role = "sink"
    word: ClassVar[str] = "to_list"


@dataclass(frozen=True, slots=True)
class Each(Node):
    role = "sink"
    word: ClassVar[str] = "each"
    fn: Callable[[Any], Any]

    def __post_init__(self) -> None:
        needs_function(self.word, "fn", self.fn)


@dataclass(frozen=True, slots=True)
class SinkTo(Node):
    role = "sink"
    word: ClassVar[str] = "sink"
    target: Any

    def __post_init__(self) -> None:
        if not callable(self.take) and not isinstance(self.target, Resource):
            raise GraphError(f"sink(target): a {type(self.target).__name__} takes no items; "
                             "give a function, a list, a file open for writing or a queue")
        if self.functions:
            needs_function("sink", "target", self.target)

    @property
    def method(self) -> str | None:
        """The method of the target that takes an item: append, put or write; None for a function."""
        return taking(self.target)

    @property
    def take(self) -> Any:
        """What is called with each item; a resource is what opens it."""
        return getattr(self.target, self.method) if self.method else self.target

    @property
    def local(self) -> bool:
        return self.method is not None

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.target,) if callable(self.target) and not self.method else ()


@overload
def source(what: Observable[T], *, on: Placement | None = ...) -> Graph[Never, T]: ...
@overload
def source(what: Pushing[T], *, on: Placement | None = ...) -> Graph[Never, T]: ...
@overload
def source(what: Publisher[T], *, on: Placement | None = ...) -> Graph[Never, T]: ...
@overload
def source(what: AsyncIterable[T], *, on: Placement | None = ...) -> Graph[Never, T]: ...
@overload
def source(what: Iterable[T], *, on: Placement | None = ...) -> Graph[Never, T]: ...
@overload
def source(what: Callable[..., AsyncIterable[T]], *, on: Placement | None = ...,
           cursor: Callable[[T], Any] | None = ...) -> Graph[Never, T]: ...
@overload
def source(what: Callable[..., Iterable[T]], *, on: Placement | None = ...,
           cursor: Callable[[T], Any] | None = ...) -> Graph[Never, T]: ...
@overload
def source(what: Callable[..., Awaitable[Iterable[T] | AsyncIterable[T]]], *, on: Placement | None = ...,
           cursor: Callable[[T], Any] | None = ...) -> Graph[Never, T]: ...
def source(what: Any, *, on: Placement | None = None,
           cursor: Callable[[Any], Any] | None = None) -> Graph[Never, Any]:
    """The items of an iterable, an async iterable, a callable that gives one, an Observable or publisher.

    In:      a list, range or callable serves any number of runs, an iterator one: a second is a RunError, never empty.
             ``on=kx.threads(1)`` reads what blocks in a thread; ``cursor=key`` reopens with ``what(key(last item))``.
    Out:     the items.  Order: theirs; nothing is read before the run, nor ahead of demand.  Source: ReactiveX "From".
    Memory:  none; of an object with ``read(cursor, n)`` (`kayrx.Replayable`; a retry reads on) 16 items; an Observable
             gets a gate of 1024, ``overflow="error"``, where a node waits, or ``>> kx.backpressure(size, overflow=)``.
    Raises:  GraphError for what gives no items, a wrong ``on`` or ``cursor``; when run what the iterable raises.

    >>> import kayrx as kx
    >>> kx.source([1, 2]).collect()
    [1, 2]
    """
    return one(Source(what, on, frozen(cursor)))  # type: ignore[no-any-return]


def interval(seconds: float) -> Graph[Never, int]:
    """0, 1, 2 ... every ``seconds``, the first after ``seconds``, by the run's clock, without drift.

    In: nothing.  Out: ints; a tick that comes while the gate below is full waits for it; none is lost.
    Order: rising.  Memory: one number.  Raises: GraphError unless ``seconds`` > 0.  Source: ReactiveX "Interval".

    >>> interval(1)
    Graph(nodes=(Interval(seconds=1),))
    """
    return one(Interval(seconds))  # type: ignore[no-any-return]


def timer(seconds: float) -> Graph[Never, int]:
    """0 after ``seconds``, then the end.

    In: nothing.  Out: 0.  Order: one item.  Memory: none.  Raises: GraphError if < 0.  Source: ReactiveX "Timer".

    >>> timer(2)
    Graph(nodes=(Timer(seconds=2),))
    """
    return one(Timer(seconds))  # type: ignore[no-any-return]


def lines(path: str | os.PathLike[str], *, chunk: int = 256) -> Graph[Never, str]:
    """The lines of a UTF-8 file, in file order, without their line ends.

    In: a path.  Out: str, one per line; an empty file completes at once.  Order: that of the file.
    Memory:  at most ``chunk`` lines are read at a time; on an event loop in a worker thread, never blocking it.
    Raises:  GraphError for no path or ``chunk`` < 1; when run FileNotFoundError, UnicodeDecodeError for another
             encoding.  Source: Java Files.lines.

    >>> lines("log.txt")
    Graph(nodes=(Lines(path='log.txt', chunk=256),))
    """
    return one(Lines(file_path("lines", path), chunk))  # type: ignore[no-any-return]


def to_list() -> Sink[T, list[T]]:
    """A sink whose result is the list of all items, in order.

    In: any items.  Out: one list.  Order: kept.  Memory: all of them.  Raises: nothing.  Source: ReactiveX "To".

    >>> import kayrx as kx
    >>> (kx.source("ab") >> kx.to_list()).run()
    ['a', 'b']
    """
    return one(ToList())  # type: ignore[no-any-return]


def each(fn: Callable[[T], Any]) -> Sink[T, None]:
    """A sink that calls ``fn(item)``, sync or async, one item after another; its result is None.

    In: any items.  Out: None.  Order: kept.  Memory: none.  Source: ReactiveX "Subscribe", Pekko Sink.foreach.
    Raises:  GraphError, here, if ``fn`` cannot be called or is a generator function; when run what ``fn`` raises.

    >>> import kayrx as kx
    >>> (kx.source("ab") >> kx.each(print)).run()
    a
    b
    """
    return one(Each(frozen(fn)))  # type: ignore[no-any-return]


@overload
def sink(target: list[T]) -> Sink[T, list[T]]: ...
@overload
def sink(target: Callable[[T], Any]) -> Sink[T, None]: ...
@overload
def sink(target: Resource[Any]) -> Sink[Any, None]: ...
@overload
def sink(target: Appends[T] | Puts[T] | Writes[T]) -> Sink[T, Any]: ...
def sink(target: Any) -> Any:
    """A sink that gives each item to ``target``: a function, a list, an open file, a queue.

    In:      ``kx.resource(factory)`` opens the target when the run starts and closes it with the run.
    Out:     the target, if it is an object with ``append``, ``put`` or ``write``; None for a function or resource.
    Order:   one item after another; the item is delivered when the call has returned.  Memory: the target's.
    Back:    a `Retract` cuts a file off where what it takes back began (till then it is read); others get the marker.
    Raises:  GraphError, here, for what takes no items; when run what it raises.  Source: Pekko Sink.

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.sink([])).run()
    [1, 2]
    """
    return one(SinkTo(frozen(target)))


__all__ = ["each", "interval", "lines", "sink", "source", "timer", "to_list"]
