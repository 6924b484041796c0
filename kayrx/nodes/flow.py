"""Flow: gates that a user asks for by name, with what happens when they are full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import is_async, must_be_given, needs_function, span, whole

T = TypeVar("T")
Named = Literal["block", "drop_oldest", "drop_newest", "latest", "error"]


@dataclass(frozen=True, slots=True)
class Conflate:
    """Overflow policy: the newest waiting item becomes ``fn(waiting, item)``; nothing is lost."""

    fn: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        needs_function("conflate", "fn", self.fn)

    def joined(self, waiting: Any, item: Any) -> Any:
        value = self.fn(waiting, item)
        must_be_given("conflate", value, "items are joined at once, by a synchronous function")
        return value

    def __str__(self) -> str:
        return "conflate"


Overflow = Named | Conflate


@dataclass(frozen=True, slots=True)
class Coalesced:
    """What `coalesce` asks of its gate: join up to ``most`` items into the waiting one, then wait."""

    fn: Callable[[Any, Any], Any]
    most: int

    def __str__(self) -> str:
        return f"coalesced from {self.most} at most"


@dataclass(frozen=True, slots=True)
class Measured:
    """A policy with a second bound, in what ``size_of`` measures, and with watermarks."""

    overflow: Overflow
    bytes: int | None = None
    size_of: Callable[[Any], int] = len
    low: float | None = None

    def __post_init__(self) -> None:
        if self.bytes is not None:
            whole("backpressure", "bytes", self.bytes, 1)
        elif self.size_of is not len:
            raise GraphError("backpressure(size_of=): without bytes= nothing is measured; give the bound")
        needs_function("backpressure", "size_of", self.size_of)
        if self.low is not None and (self.overflow != "block" or not 0 <= self.low < 1):
            raise GraphError(f"backpressure(low={self.low!r}): a part of the bounds from 0 to below 1, e.g. 0.5, at "
                             "which a source that was held is read again; only with overflow='block'")

    def __str__(self) -> str:
        parts = [str(self.overflow)] + ([f"{self.bytes} bytes"] if self.bytes else [])
        return ", ".join(parts + ([f"low {self.low:g}"] if self.low is not None else []))


Policy = Overflow | Coalesced | Measured


def holds(overflow: Policy) -> bool:
    """True if a writer that finds the gate full has to wait."""
    return isinstance(overflow, Coalesced) or plain(overflow) == "block"


def plain(overflow: Policy) -> Policy:
    """The policy without its measures."""
    return overflow.overflow if isinstance(overflow, Measured) else overflow


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
    overflow: Policy = "block"

    def __post_init__(self) -> None:
        whole(self.word, "size", self.size, 1)
        if not isinstance(self.overflow, Coalesced):
            policy(self.word, plain(self.overflow))

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.overflow.fn,) if isinstance(self.overflow, Conflate | Coalesced) else ()


class Prefetch(Backpressure):
    word: ClassVar[str] = "prefetch"
    __slots__ = ()


class Coalesce(Backpressure):
    word: ClassVar[str] = "coalesce"
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RateLimit(Node):
    word: ClassVar[str] = "rate_limit"
    count: float
    per: float = 1.0
    burst: float = 1
    key: Callable[[Any], Any] | None = None
    cost: Callable[[Any], Any] | None = None
    size: int = 16
    keys: int = 1024

    def __post_init__(self) -> None:
        span("rate_limit", "per", self.per, zero=False)
        for name, value in (("n", self.count), ("burst", self.burst)):
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
                raise GraphError(f"rate_limit({name}): {name} must be a number > 0, got {value!r}")
        for name in ("key", "cost"):
            if getattr(self, name) is not None:
                needs_function("rate_limit", name, getattr(self, name))
        whole("rate_limit", "size", self.size, 1)
        whole("rate_limit", "keys", self.keys, 1)

    @property
    def label(self) -> str:
        return self.name or self.word


def backpressure(size: int = 16, *, overflow: Overflow = "block", bytes: int | None = None,
                 size_of: Callable[[T], int] | None = None, low: float | None = None) -> Graph[T, T]:
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

    In:      any items.  Out: the same, less what a policy drops or joins.
    Order:   kept.  Every policy but ``block`` reads its source as fast as it gives, in a task of its own.
    Memory:  ``size`` items, and with ``bytes`` no more than that many in all, as ``size_of`` measures them
             (default ``len``); an item that alone is larger passes alone.
    Time:    with ``low``, a part such as 0.5, a source that was held is read again only when no more
             than this part of each bound is taken: the low watermark below the high one.
    Raises:  GraphError for a bad bound or policy, and for ``low`` with a policy that does not wait; when run
             GateOverflow with ``overflow="error"``, and what ``size_of`` raises.
    Source:  Reactor onBackpressureBuffer/Drop/Latest/Error, limitRate; Pekko Buffer and Conflate.

    >>> backpressure(4, overflow="drop_oldest")
    Graph(nodes=(Backpressure(size=4, overflow='drop_oldest'),))
    >>> import kayrx as kx
    >>> (kx.source(["some", "text"]) >> kx.backpressure(100, bytes=1_000_000, low=0.5)).collect()
    ['some', 'text']
    """
    if bytes is None and size_of is None and low is None:
        return one(Backpressure(size, overflow))  # type: ignore[no-any-return]
    measured = Measured(policy("backpressure", overflow), bytes, size_of or len, low)
    return one(Backpressure(size, measured))  # type: ignore[no-any-return]


def prefetch(n: int) -> Graph[T, T]:
    """Read up to ``n`` items ahead, in a task of its own, whether or not what follows has asked for them.

    ``backpressure(n)`` waits with a source that can wait until its items are wanted; this does not.

    In:      any items.  Out: the same.  Order: kept.  Memory: ``n`` items.
    Raises:  GraphError unless ``n`` is a whole number >= 1.
    Source:  Reactor publishOn(prefetch), fs2 prefetchN.

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3]) >> kx.prefetch(2)).collect()
    [1, 2, 3]
    """
    return one(Prefetch(n))  # type: ignore[no-any-return]


def coalesce(max: int, fn: Callable[[T, T], T]) -> Graph[T, T]:
    """Join the items that come while the reader is busy into one, of ``max`` items at most; then wait.

        in   --a--bcd----e--|      the reader takes 5 seconds for an item
        coalesce(9, operator.add)
        out  --a--(bcd)--e--|

    In:      any items.  Out: items, and what ``fn`` makes of two.
    Order:   kept; nothing is lost: ``fn(waiting, item)`` gives what waits from then on.
    Memory:  one waiting item.  ``conflate`` is the policy without the bound ``max``.
    Raises:  GraphError unless ``max`` is a whole number >= 1 and ``fn`` a plain function; when run what it raises.
    Source:  Pekko batch.

    >>> import kayrx as kx, operator
    >>> "".join((kx.source("abc") >> kx.coalesce(2, operator.add)).collect())
    'abc'
    """
    whole("coalesce", "max", max, 1)
    needs_function("coalesce", "fn", fn)
    if is_async(fn):
        raise GraphError("coalesce(max, fn): fn is called between two items and cannot wait; write a plain function")
    return one(Coalesce(1, Coalesced(frozen(fn), max)))  # type: ignore[no-any-return]


def rate_limit(n: float, *, per: float = 1.0, burst: float = 1, key: Callable[[T], Any] | None = None,
               cost: Callable[[T], Any] | None = None, size: int = 16, keys: int = 1024) -> Graph[T, T]:
    """Pass on ``n`` items in ``per`` seconds at most: a token bucket that makes items wait and loses none.

        in   --abc-------d--|
        rate_limit(1, per=3)
        out  --a--b--c-----d|

    In:      after a pause ``burst`` items may pass at once (1: evenly spaced); an item takes ``cost(item)``
             tokens; each ``key(item)`` has a bucket of its own.  Both functions may be async.
    Out:     the same items.
    Order:   kept; with ``key`` within each key, so an item that waits holds none of another key.
    Memory:  ``size`` items that wait, then the source is read no further; ``keys`` buckets, then a new
             key waits until a bucket is full again and so forgotten.
    Raises:  GraphError for numbers that are not > 0; RunError for a cost that is not a number >= 0;
             what ``key`` and ``cost`` raise, and TypeError for a key that has no hash.
    Source:  Pekko throttle (shaping).

    >>> rate_limit(5, per=2.0)
    Graph(nodes=(RateLimit(count=5, per=2.0, burst=1, key=None, cost=None, size=16, keys=1024),))
    """
    return one(RateLimit(n, per, burst, frozen(key), frozen(cost), size, keys))  # type: ignore[no-any-return]


def conflate(fn: Callable[[T, T], T]) -> Conflate:
    """The overflow policy that joins: ``backpressure(1, overflow=kx.conflate(operator.add))``.

    In:      ``fn(waiting, item)`` gives what waits from then on; ``waiting`` is the newest that waits.
    Out:     a value for ``overflow=``.  Order: kept, joined from old to new.  Memory: none of its own.
    Raises:  GraphError, here, if ``fn`` cannot be called or is a generator function; when run what it raises,
             and an error if it returns an awaitable.
    Source:  Pekko Conflate.

    >>> import operator
    >>> conflate(operator.add)
    Conflate(fn=<built-in function add>)
    """
    return Conflate(frozen(fn))


__all__ = ["Overflow", "backpressure", "coalesce", "conflate", "prefetch", "rate_limit"]
