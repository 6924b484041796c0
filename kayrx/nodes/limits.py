"""Guards that bound what is asked of others: how long, how often, how many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.graph import Guards, one
from kayrx.nodes.guards import Errors, Guard, check_errors
from kayrx.nodes.values import span, whole

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limit(Guard):
    """A guard that every call has to pass."""

    @property
    def stands(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Deadline(Limit):
    word: ClassVar[str] = "deadline"
    seconds: float

    def __post_init__(self) -> None:
        span("deadline", "seconds", self.seconds, zero=False)


@dataclass(frozen=True, slots=True)
class Budget(Limit):
    """What is left of the deadline of the item's source; the compiler puts it next to the guarded units below."""

    word: ClassVar[str] = "deadline"


@dataclass(frozen=True, slots=True)
class Hedge(Limit):
    word: ClassVar[str] = "hedge"
    times: ClassVar[bool] = True
    after: float

    def __post_init__(self) -> None:
        span("hedge", "after", self.after)


def check_shared(word: str, shared: object) -> None:
    if shared is not None and (not isinstance(shared, str) or not shared):
        raise GraphError(f"{word}(name={shared!r}): give a text; equal names share their state in this process")


@dataclass(frozen=True, slots=True)
class Bulkhead(Limit):
    word: ClassVar[str] = "bulkhead"
    running: int
    queued: int = 0
    shared: str | None = None

    def __post_init__(self) -> None:
        whole("bulkhead", "running", self.running, 1)
        whole("bulkhead", "queued", self.queued, 0)
        check_shared("bulkhead", self.shared)

    @property
    def pauses(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class CircuitBreaker(Limit):
    word: ClassVar[str] = "circuit_breaker"
    failures: int | None = None
    rate: float | None = None
    window: float | None = None
    reset: float = 30.0
    half_open: int = 1
    calls: int = 10
    shared: str | None = None
    on: Errors = Exception

    def __post_init__(self) -> None:
        word = "circuit_breaker"
        if (self.failures is None) == (self.rate is None):
            raise GraphError(f"{word}(): give failures=, or rate= and window=")
        if self.failures is not None:
            whole(word, "failures", self.failures, 1)
        elif not isinstance(self.rate, (int, float)) or not 0 < self.rate <= 1:
            raise GraphError(f"{word}(rate={self.rate!r}): the part of the calls that fail, above 0, 1 at most")
        elif self.window is None:
            raise GraphError(f"{word}(rate={self.rate:g}): say of how many seconds: window=")
        if self.window is not None:
            span(word, "window", self.window, zero=False)
        span(word, "reset", self.reset)
        whole(word, "half_open", self.half_open, 1)
        whole(word, "calls", self.calls, 1)
        check_shared(word, self.shared)
        check_errors(word, self.on)


def deadline(seconds: float) -> Guards[T]:
    """One budget for all that stands before it: attempts, waits and fallbacks together.

    In:      after a unit: ``seconds`` for an item from its first attempt on, and all guards written before
             ``deadline`` are inside.  After a source: ``seconds`` for each item from the moment it was read,
             and every guarded unit below has what is left of it; a unit without guards does not look.
    Out:     what the unit gives in time.  Order: kept.
    Raises:  GraphError, here, unless ``seconds`` > 0.
             DeadlineExceeded, a TimeoutError: what waits is cut off, no attempt begins and no wait is begun that
             would end later; guards written after it may handle that.  A synchronous call that is under way
             cannot be cut, and what it gives counts.
    Memory:  after a source items carry ids, in which the time is kept; `explain` says so.  Where items are pushed
             without a loop (an Observable as source or face) there are none, and it is not looked at.
    Source:  gRPC deadlines.

    >>> import kayrx as kx
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.retry(9) >> kx.deadline(2) >> kx.fallback(0)).collect()
    [1, 0]
    """
    return one(Deadline(seconds))  # type: ignore[no-any-return]


def hedge(after: float) -> Guards[T]:
    """Make a second call where the first has given nothing for ``after`` seconds; the first result wins.

    In:      seconds.  Out: the first result.
    Order:   kept; the loser is cancelled, and waited for.  Memory: the item in hand.
    Cost:    a task for every call, so it is for calls that wait.
    Events:  "hedged" for each second call.
    Raises:  GraphError, here, unless ``after`` >= 0.
             The error of the first call, if both fail or it fails before there is a second; CompileError over a
             synchronous function, which nothing can cancel, over a source, and over a unit of many outputs.
    Source:  Dean and Barroso, The Tail at Scale (2013); gRPC hedging.

    >>> hedge(after=0.5)
    Graph(nodes=(Hedge(after=0.5),))
    """
    return one(Hedge(after))  # type: ignore[no-any-return]


def bulkhead(running: int, *, queued: int = 0, name: str | None = None) -> Guards[T]:
    """Have at most ``running`` calls of the unit before it under way, and ``queued`` that wait for their turn.

    In:      with ``name`` one bound for all bulkheads of that name, in all runs of this process.
    Out:     what the unit gives.
    Order:   those that wait are let in as they came.
    Raises:  GraphError, here, unless ``running`` is a whole number >= 1 and ``queued`` one >= 0, and for a ``name``
             that is no text.  BulkheadFull, at once and without a call, for any more.
    Memory:  ``queued`` items wait.
    Source:  Nygard, Release It!; resilience4j Bulkhead.

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.map(abs) >> kx.bulkhead(4, queued=4)).collect()
    [1, 2]
    """
    return one(Bulkhead(running, queued, name))  # type: ignore[no-any-return]


def circuit_breaker(failures: int | None = None, *, rate: float | None = None, window: float | None = None,
                    reset: float = 30.0, half_open: int = 1, calls: int = 10, name: str | None = None,
                    on: Errors = Exception) -> Guards[T]:
    """Ask no more of a unit that keeps failing, until it has had ``reset`` seconds to recover.

    In:      it opens after ``failures`` (5 if nothing is said) in a row, or within ``window`` seconds if that is
             given; or when of at least ``calls`` calls within ``window`` seconds the part ``rate`` has failed.
             ``reset`` seconds later ``half_open`` calls may try it: if all succeed it closes, else it is open
             anew.  ``on`` says which errors count.  With ``name`` its state is that of all of this name, in all
             runs of this process; the numbers are each its own.
    Out:     what the unit gives.  Order: kept.
    Raises:  GraphError, here, for numbers that say nothing, both of ``failures`` and ``rate``, ``rate`` without
             ``window``, and a wrong ``name`` or ``on``.  CircuitOpen, at once and without a call, while it is open.
    Events:  "circuit" with its ``state`` (open, half_open, closed), whenever that changes.
    Memory:  ten counts a window.
    Source:  Nygard, Release It!; resilience4j CircuitBreaker.

    >>> import kayrx as kx
    >>> letters = []
    >>> graph = kx.source("1xxx4") >> kx.map(int) >> kx.circuit_breaker(2) >> kx.dead_letter(letters)
    >>> graph.collect(), [type(letter.error).__name__ for letter in letters]
    ([1], ['ValueError', 'ValueError', 'CircuitOpen', 'CircuitOpen'])
    """
    if failures is None and rate is None:
        failures = 5
    return one(CircuitBreaker(  # type: ignore[no-any-return]
        failures, rate, window, reset, half_open, calls, name, on))


__all__ = ["bulkhead", "circuit_breaker", "deadline", "hedge"]
