"""Guards: what happens when the unit before them fails.

Written after a unit they wrap it from the inside out: ``unit >> timeout(2) >> retry(3) >>
fallback(g)`` is "2 s an attempt, 3 attempts, else g".  On a source they act on the whole stream.
They differ from RxPY's words of the same name, which act on whole streams only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from kayrx.errors import GraphError, Misused
from kayrx.graph.graph import Guards, one
from kayrx.graph.node import Node, Opens
from kayrx.nodes.backoffs import AT_ONCE, JITTERS, Backoff, Jitter
from kayrx.nodes.values import is_async, is_generator, must_be_given, span, whole

T = TypeVar("T")
Errors = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
Resume = Literal["before_first", "restart", "skip_prefix", "continue"]
RESUMES = ("before_first", "restart", "skip_prefix", "continue")


class Appends(Protocol):
    """Where dead letters go: ``append`` has made the letter durable when it returns."""

    def append(self, letter: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Guard(Node):
    """A node that wraps the unit before it.

    ``times``   True if it may cut a call short, so it needs something that can be cut
    ``stands``  True if it stands around every call from its beginning, not only where one fails
    ``pauses``  True if it may wait, so on a loop it parks the segment
    ``obeys``   True if it may wait after an error
    ``drops``   True if an item ends in it
    """

    role = "guard"
    times: ClassVar[bool] = False

    @property
    def stands(self) -> bool:
        return self.times

    @property
    def pauses(self) -> bool:
        return False

    @property
    def obeys(self) -> bool:
        return False

    @property
    def drops(self) -> bool:
        return False

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return ()


def check_errors(word: str, on: Any) -> None:
    """Raise GraphError unless ``on`` tells errors apart."""
    kinds = on if isinstance(on, tuple) else (on,)
    for kind in kinds:
        if isinstance(kind, type) and not issubclass(kind, Exception):
            raise GraphError(f"{word}(on={kind.__name__}): guards catch Exception and its subclasses only")
        if not callable(kind):
            raise GraphError(f"{word}(on={on!r}): give exception types or a function of the error")
        if not isinstance(kind, type) and (is_async(kind) or is_generator(kind)):
            raise GraphError(f"{word}(on={on!r}): a coroutine says neither yes nor no; give a synchronous function")


def check_resume(word: str, resume: str, verify: bool) -> None:
    """Raise GraphError unless it says what becomes of output that has been sent."""
    if resume not in RESUMES:
        raise GraphError(f"{word}(resume={resume!r}): one of {', '.join(RESUMES)}")
    if verify and resume != "skip_prefix":
        raise GraphError(f"{word}(verify=True): only resume=\"skip_prefix\" has a head to compare")


def matches(on: Errors, error: Exception) -> bool:
    """True if ``error`` is one that ``on`` (types or a predicate) asks for."""
    if isinstance(error, Misused):
        return False
    if isinstance(on, (type, tuple)):
        return isinstance(error, on)
    answer = on(error)
    must_be_given("on=", answer, "an error is told apart at once, by a synchronous function")
    return bool(answer)


@dataclass(frozen=True, slots=True)
class Timeout(Guard):
    word: ClassVar[str] = "timeout"
    times: ClassVar[bool] = True
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
    backoff: Backoff = AT_ONCE
    jitter: Jitter = "none"
    on: Errors = Exception
    resume: Resume = "before_first"
    deadline: float | None = None
    verify: bool = False

    def __post_init__(self) -> None:
        whole("retry", "attempts", self.attempts, 1)
        check_errors("retry", self.on)
        if not isinstance(self.backoff, Backoff):
            raise GraphError("retry(backoff=): give kx.constant(s), kx.exponential(s) or kx.fibonacci(s)")
        if self.jitter not in JITTERS:
            raise GraphError(f"retry(jitter={self.jitter!r}): one of {', '.join(JITTERS)}")
        if self.deadline is not None:
            span("retry", "deadline", self.deadline, zero=False)
        check_resume("retry", self.resume, self.verify)

    @property
    def stands(self) -> bool:
        return self.deadline is not None  # its time begins with the first attempt

    @property
    def pauses(self) -> bool:
        return self.backoff.first > 0

    @property
    def obeys(self) -> bool:
        return self.attempts > 1


@dataclass(frozen=True, slots=True)
class SkipErrors(Guard):
    word: ClassVar[str] = "skip_errors"
    on: Errors = Exception

    def __post_init__(self) -> None:
        check_errors("skip_errors", self.on)

    @property
    def drops(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class DeadLetter(Guard):
    word: ClassVar[str] = "dead_letter"
    store: Any
    on: Errors = Exception

    def __post_init__(self) -> None:
        if not hasattr(self.store, "append") and not isinstance(self.store, Opens):
            raise GraphError(f"dead_letter(store): a {type(self.store).__name__} takes no letters, for it has no "
                             "append(letter); use kx.sqlite_letters(path), or a list")
        check_errors("dead_letter", self.on)

    @property
    def drops(self) -> bool:
        return True

    @property
    def obeys(self) -> bool:
        return isinstance(self.store, Opens) or is_async(self.store.append)  # a file is written in a thread

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        append = getattr(self.store, "append", None)
        return (append,) if append is not None and is_async(append) else ()  # to be awaited; others are just called

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
    Out:     what the unit gives in time.  Order: kept.  Memory: none.
    Raises:  GraphError, here, if nothing is given, or a number that is not > 0.
             CallTimeout, whose ``which`` is the one of the three that ran out.  CompileError over a
             synchronous function, which nothing can interrupt: run it ``on=kx.threads(n)``.
    Source:  Reactor timeout, gRPC deadlines.

    >>> timeout(2)
    Graph(nodes=(Timeout(seconds=2, first=None, idle=None, total=None),))
    """
    return one(Timeout(seconds, first, idle, total))  # type: ignore[no-any-return]


def retry(attempts: int, *, backoff: Backoff = AT_ONCE, jitter: Jitter = "none",
          on: Errors = Exception, resume: Resume = "before_first", deadline: float | None = None,
          verify: bool = False) -> Guards[T]:
    """Call the unit before it again when it fails: ``attempts`` in all, for each item on its own.

    In:      ``backoff`` gives the wait before the next attempt; ``jitter`` draws it from the run's
             random source: "full" between 0 and the wait, "equal" between half of it and all of it,
             "decorrelated" between the first wait and three times the last one;
             ``on`` says which errors are worth another attempt;
             ``deadline`` seconds after the first attempt began none begins, and no wait goes beyond it.
    Out:     what the first attempt that goes well gives.
    Waits:   at least as long as the error asks for: ``error.retry_after`` seconds, or the header Retry-After of
             ``error.response``.  If that goes beyond the deadline, the error stands at once.  A synchronous
             function without a backoff is run in place, and such a wait blocks as it does.
    Order:   kept; the wait parks the segment, with concurrency only the item's own slot.
    Sent:    what a unit of many outputs had sent when it failed, by ``resume``: "before_first" tries again only
             if that was nothing; "restart" sends a `Retract` and begins anew; "skip_prefix" leaves out as many
             outputs of the next attempt (``verify=True``: and fails if they differ); "continue" calls
             ``f(item, sent)``, with a list, empty at first.
    Memory:  of the last two what was sent of one item, or of the source (with a cursor a source needs no
             ``resume``, and each reconnection begins anew); else none but the item.
    Raises:  GraphError, here, for an argument that is none of these.
             The error of the last attempt as it is, with one note of those before it; RunError where a second
             attempt gives less than was sent, or something else; CompileError for a ``resume`` that the unit
             cannot keep.
    Source:  Reactor retryWhen; jitter as in the AWS Architecture Blog (2015); RFC 9110, section 10.2.3.

    >>> import kayrx as kx
    >>> retry(3, backoff=kx.exponential(0.2)).nodes[0].attempts
    3
    """
    return one(Retry(attempts, backoff, jitter, on, resume, deadline, verify))  # type: ignore[no-any-return]


def skip_errors(on: Errors = Exception) -> Guards[T]:
    """Leave out items on which the unit before it fails; each is an event and counted.

    In:      ``on`` says which errors: a type, a tuple of types or a function of the error.
    Out:     what the unit gives for the others.  Order: kept.  Memory: none.
    Raises:  GraphError, here, for any other ``on``; errors that it does not take go up as they are.
    Source:  Reactor onErrorContinue; Pekko Supervision.Resume.

    >>> import kayrx as kx
    >>> (kx.source(["1", "x", "3"]) >> kx.map(int) >> kx.skip_errors(ValueError)).collect()
    [1, 3]
    """
    return one(SkipErrors(on))  # type: ignore[no-any-return]


def dead_letter(store: Appends | Opens, *, on: Errors = Exception) -> Guards[T]:
    """Put items on which the unit before it fails into ``store`` as `Letter`, and go on.

    In:      ``on`` says which errors, as in `skip_errors`.  Out: what the unit gives for the others.
    Handled: an item counts as handled when ``store.append(letter)`` has returned (or its awaitable is done),
             with `sqlite_letters` once the letter is on disk; ``graph.replay(store)`` sends it in again.
    Keys:    in a store that can be replayed each item has its id (``explain`` says so), and a named graph over
             a replayable source finds the same letter again in a second run.
    Order:   kept.  Memory: that of the store; a list grows with the letters.
    Raises:  GraphError, here, for a store that takes no letters and a wrong ``on``; when run, what
             ``append`` raises is the item's failure: a full disk loses no letter silently.
    Source:  the dead-letter channel of Enterprise Integration Patterns.

    >>> import kayrx as kx
    >>> letters = []
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.dead_letter(letters)).collect()
    [1]
    >>> letters[0].item, type(letters[0].error)
    ('x', <class 'ValueError'>)
    """
    return one(DeadLetter(store, on))  # type: ignore[no-any-return]


__all__ = ["dead_letter", "retry", "skip_errors", "timeout"]
