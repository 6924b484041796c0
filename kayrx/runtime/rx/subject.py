"""`Subject`: a push source without a queue; ``on_next`` is the fused step of its subscriber itself.

As in Rx it is driven by one producer at a time and holds nothing.  For several threads, or where a
node waits and the producer is to be held back, use `queue_source`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from reactivex import Observable
    from reactivex.abc import ObserverBase

T = TypeVar("T")
Entry = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], Callable[..., Any]]


def _nobody(*_: object) -> None:
    """What a subscriber does with a signal that it gave no callback for: nothing."""


def fused(entry: Entry) -> bool:
    """True for a step that can send what it is given elsewhere."""
    return entry[0] is not entry[3]


class Subscription:
    """What ``subscribe`` gives: ``dispose()`` ends it; idempotent."""

    __slots__ = ("_end",)

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def dispose(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()


class Heard(Subscription):
    """One subscriber of a `Subject`: of a million live ones nothing is held but this."""

    __slots__ = ("_entry", "_subject")

    def __init__(self, subject: Subject[Any], entry: Entry) -> None:
        self._subject: Subject[Any] | None = subject
        self._entry: Entry | None = entry

    def dispose(self) -> None:
        subject, entry, self._subject, self._entry = self._subject, self._entry, None, None
        if subject is not None and entry is not None:
            subject._leave(entry)


class Subject(Generic[T]):
    """An observer and a source in one: ``subject.on_next(x)`` pushes ``x`` through every subscriber.

    In:      items by ``on_next``, then at most one ``on_error`` or ``on_completed``.
    Order:   subscribers in the order they came; one producer at a time (Rx grammar).
    Memory:  none; an item that nobody hears is gone.
    Raises:  a subscriber that raises is cut off and its error told to its own ``on_error``; with
             one subscriber the call is direct, and what it raises reaches the producer.
    Source:  RxPY Subject.

    >>> import kayrx as kx
    >>> numbers = kx.Subject()
    >>> subscription = (numbers >> kx.map(kx.it * 10)).subscribe(print)
    >>> numbers.on_next(1); numbers.on_next(2); subscription.dispose(); numbers.on_next(3)
    10
    20
    """

    __slots__ = ("_ended", "_error", "_heard_by", "_subscribers", "on_next", "to_all")

    on_next: Callable[[T], object]
    to_all: Callable[[T], object]

    def __init__(self) -> None:
        self._subscribers: list[Entry] = []
        self._heard_by: tuple[Entry, ...] = ()  # the same, as they were at the last item that went to all
        self._ended = False
        self._error: Exception | None = None
        self.on_next = self.to_all = self._to_all

    def subscribe(self, on_next: Callable[[T], object] | ObserverBase[T] = _nobody,
                  on_error: Callable[..., object] = _nobody, on_completed: Callable[[], object] = _nobody, *,
                  scheduler: object = None) -> Subscription:
        """Hear what is pushed from now on; after the end, only the end.  As in RxPY the first may be an observer."""
        given: Any = on_next
        if hasattr(given, "on_next"):
            return self.subscribe(given.on_next, given.on_error, given.on_completed)
        return self._join((given, on_error, on_completed, given))

    def heard(self, push: Callable[..., object], on_error: Callable[..., object],
              finish: Callable[..., object], beside: Callable[..., object]) -> Subscription:
        """`subscribe` for a fused step, as `kayrx.plan.pushes.push` makes it."""
        return self._join((push, on_error, finish, beside))

    def _join(self, entry: Entry) -> Subscription:
        if self._ended:
            entry[2]() if self._error is None else entry[1](self._error)
            return Subscription(_nobody)
        self._subscribers.append(entry)
        self._aim(entry)
        return Heard(self, entry)

    def _leave(self, entry: Entry) -> None:
        """A subscriber has been disposed of, or cut off."""
        if entry in self._subscribers:
            self._subscribers.remove(entry)
            self._aim(entry)

    def _aim(self, moved: Entry) -> None:
        """Point ``on_next`` at what it has to do: with one subscriber, at the fused step itself.

        Somebody may have kept an earlier ``on_next``: a step that is not alone sends what it is given back here.
        """
        ways, self._heard_by = self._subscribers, ()
        alone = ways[0] if len(ways) == 1 and fused(ways[0]) else None
        self.on_next = self.to_all if alone is None else alone[0]
        for entry in (*ways[:2], moved):
            if fused(entry):
                entry[2](entry is not alone)

    def _to_all(self, item: T) -> None:
        ways = self._heard_by or tuple(self._subscribers)
        if len(ways) == 1:  # the call is direct, and so is what it raises
            ways[0][3](item)
            return
        self._heard_by = ways
        for entry in ways:
            try:
                entry[3](item)
            except Exception as error:  # its siblings never notice
                self._leave(entry)
                entry[1](error)

    def on_error(self, error: Exception) -> None:
        """End with an error."""
        self._error = self._error if self._ended else error
        self._finish(lambda entry: entry[1](error))

    def on_completed(self) -> None:
        """End normally."""
        self._finish(lambda entry: entry[2]())

    def _finish(self, tell: Callable[[Any], object]) -> None:
        if self._ended:
            return
        self._ended = True
        ways, self._subscribers, self._heard_by = self._subscribers, [], ()
        self.on_next = self.to_all
        for entry in ways:
            tell(entry)

    def pipe(self, *operators: Callable[[Any], Any]) -> Observable[Any]:
        """The subject through RxPY operators, as a reactivex Observable."""
        from importlib import import_module  # reactivex is heavy, and only this face needs it

        rx = import_module("reactivex")
        return rx.create(lambda observer, scheduler: self.subscribe(  # type: ignore[no-any-return]
            observer.on_next, observer.on_error, observer.on_completed)).pipe(*operators)


__all__ = ["Subject"]
