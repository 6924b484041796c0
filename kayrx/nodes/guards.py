"""Guards: what happens when the unit before them fails.

Written after a unit they wrap it from the inside out: ``unit >> timeout(2) >> retry(3) >>
fallback(g)`` is "2 s an attempt, 3 attempts, else g".  On a source they act on the whole stream.
They differ from RxPY's words of the same name, which act on whole streams only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Guards, one
from kayrx.graph.node import Node, Opens
from kayrx.nodes.values import needs_function, span, whole

T = TypeVar("T")
Errors = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
Jitter = Literal["none", "full", "equal"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait before attempt n + 1: ``first * factor ** (n - 1)`` seconds, at most ``cap``."""

    first: float
    factor: float = 1.0
    cap: float = float("inf")

    def __post_init__(self) -> None:
        span("backoff", "first", self.first)

    def wait(self, attempt: int) -> float:
        return min(self.cap, self.first * self.factor ** (attempt - 1))


def constant(seconds: float) -> Backoff:
    """The same wait before every attempt.

    >>> constant(0.5).wait(7)
    0.5
    """
    return Backoff(seconds)


def exponential(first: float, *, factor: float = 2.0, cap: float = 60.0) -> Backoff:
    """Waits of ``first``, ``first * factor`` ... seconds, at most ``cap``.

    >>> [exponential(0.2, cap=1).wait(n) for n in (1, 2, 3, 4)]
    [0.2, 0.4, 0.8, 1]
    """
    return Backoff(first, factor, cap)


class Appends(Protocol):
    """Where dead letters go: ``append`` has made the letter durable when it returns."""

    def append(self, letter: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Guard(Node):
    """A node that wraps the unit before it."""

    role = "guard"

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return ()


def _errors(word: str, on: Any) -> None:
    kinds = on if isinstance(on, tuple) else (on,)
    for kind in kinds:
        if isinstance(kind, type) and not issubclass(kind, Exception):
            raise GraphError(f"{word}(on={kind.__name__}): guards catch Exception and its subclasses only")
        if not callable(kind):
            raise GraphError(f"{word}(on={on!r}): give exception types or a function of the error")


def matches(on: Errors, error: Exception) -> bool:
    """True if ``error`` is one that ``on`` (types or a predicate) asks for."""
    if isinstance(on, (type, tuple)):
        return isinstance(error, on)
    return bool(on(error))


@dataclass(frozen=True, slots=True)
class Timeout(Guard):
    word: ClassVar[str] = "timeout"
    seconds: float | None = None
    first: float | None = None
    idle: float | None = None
    total: float | None = None

    def __post_init__(self) -> None:
        given = [n for n in ("seconds", "first", "idle", "total") if getattr(self, n) is not None]
        if not given:
            raise GraphError("timeout(): give seconds, first=, idle= or total=")
        for name in given:
            span("timeout", name, getattr(self, name), zero=False)


@dataclass(frozen=True, slots=True)
class Retry(Guard):
    word: ClassVar[str] = "retry"
    attempts: int
    backoff: Backoff = Backoff(0.0)
    jitter: Jitter = "none"
    on: Errors = Exception
    resume: Literal["before_first"] = "before_first"

    def __post_init__(self) -> None:
        whole("retry", "attempts", self.attempts, 1)
        _errors("retry", self.on)
        if not isinstance(self.backoff, Backoff):
            raise GraphError("retry(backoff=): give kx.constant(s) or kx.exponential(s)")
        if self.jitter not in ("none", "full", "equal"):
            raise GraphError(f"retry(jitter={self.jitter!r}): none, full or equal")


@dataclass(frozen=True, slots=True)
class Fallback(Guard):
    word: ClassVar[str] = "fallback"
    alternatives: tuple[Callable[[Any], Any], ...]
    on: Errors = Exception

    def __post_init__(self) -> None:
        if not self.alternatives:
            raise GraphError("fallback(): give at least one function of the item")
        for fn in self.alternatives:
            needs_function("fallback", "alternative", fn)
        _errors("fallback", self.on)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return self.alternatives


@dataclass(frozen=True, slots=True)
class SkipErrors(Guard):
    word: ClassVar[str] = "skip_errors"
    on: Errors = Exception

    def __post_init__(self) -> None:
        _errors("skip_errors", self.on)


@dataclass(frozen=True, slots=True)
class DeadLetter(Guard):
    word: ClassVar[str] = "dead_letter"
    store: Any
    on: Errors = Exception

    def __post_init__(self) -> None:
        if not hasattr(self.store, "append") and not isinstance(self.store, Opens):
            raise GraphError("dead_letter(store): the store needs append(letter); a list will do")
        _errors("dead_letter", self.on)

    @property
    def local(self) -> bool:
        return not isinstance(self.store, Opens)

    @property
    def keyed(self) -> bool:
        """True if letters can be replayed from the store, so that each needs an id of its item alone."""
        return isinstance(self.store, Opens) or hasattr(self.store, "mark_done")


def timeout(seconds: float | None = None, *, first: float | None = None, idle: float | None = None,
            total: float | None = None) -> Guards[T]:
    """Fail a call of the unit before it that takes longer, with CallTimeout.

    In:      seconds.  After a unit ``timeout(s)`` is ``total=s`` for one attempt; ``first`` bounds the
             wait for its first output, ``idle`` the wait between two.  After a source it is
             ``first=s, idle=s``.
    Raises:  CompileError over a synchronous function, which nothing can interrupt: run it
             ``on=kx.threads(n)``.
    Source:  Reactor timeout, gRPC deadlines.

    >>> timeout(2)
    Graph(nodes=(Timeout(seconds=2, first=None, idle=None, total=None),))
    """
    return one(Timeout(seconds, first, idle, total))  # type: ignore[no-any-return]


def retry(attempts: int, *, backoff: Backoff = Backoff(0.0), jitter: Jitter = "none",
          on: Errors = Exception, resume: Literal["before_first"] = "before_first") -> Guards[T]:
    """Call the unit before it again when it fails: ``attempts`` in all, for each item on its own.

    In:      ``backoff`` gives the wait before the next attempt; ``jitter`` draws it from the run's
             random source: "full" between 0 and the wait, "equal" between half of it and all of it;
             ``on`` says which errors are worth another attempt.
    Order:   kept; the wait parks the segment, with concurrency only the item's own slot.
    Sent:    a unit that has already sent output is not tried again (``resume="before_first"``).
    Source:  Reactor retryWhen; jitter as in the AWS Architecture Blog (2015).

    >>> retry(3, backoff=exponential(0.2)).nodes[0].attempts
    3
    """
    return one(Retry(attempts, backoff, jitter, on, resume))  # type: ignore[no-any-return]


def fallback(*alternatives: Callable[[Any], T] | Callable[[Any], Awaitable[T]],
             on: Errors = Exception) -> Guards[T]:
    """Give ``alternative(item)`` where the unit before it fails; the next one if that fails too.

    ``item`` is the input of the unit.  After a source it is called with None and gives an iterable.

    >>> import kayrx as kx
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.fallback(lambda text: -1)).collect()
    [1, -1]
    """
    return one(Fallback(tuple(frozen(fn) for fn in alternatives), on))  # type: ignore[no-any-return]


def skip_errors(on: Errors = Exception) -> Guards[T]:
    """Leave out items on which the unit before it fails; each is an event and counted.

    >>> import kayrx as kx
    >>> (kx.source(["1", "x", "3"]) >> kx.map(int) >> kx.skip_errors(ValueError)).collect()
    [1, 3]
    """
    return one(SkipErrors(on))  # type: ignore[no-any-return]


def dead_letter(store: Appends | Opens, *, on: Errors = Exception) -> Guards[T]:
    """Put items on which the unit before it fails into ``store`` as `Letter`, and go on.

    Handled: an item counts as handled when ``store.append(letter)`` has returned (or its awaitable is done),
             with `sqlite_letters` once the letter is on disk; ``graph.replay(store)`` sends it in again.
    Keys:    in a store that can be replayed each item has its id (``explain`` says so), and a named graph over
             a replayable source finds the same letter again in a second run.
    Memory:  that of the store; a list grows with the letters.
    Raises:  what ``append`` raises is the item's failure: a full disk loses no letter silently.
    Source:  the dead-letter channel of Enterprise Integration Patterns.

    >>> import kayrx as kx
    >>> letters = []
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.dead_letter(letters)).collect()
    [1]
    >>> letters[0].item, type(letters[0].error)
    ('x', <class 'ValueError'>)
    """
    return one(DeadLetter(store, on))  # type: ignore[no-any-return]


__all__ = ["Backoff", "constant", "dead_letter", "exponential", "fallback", "retry", "skip_errors", "timeout"]
