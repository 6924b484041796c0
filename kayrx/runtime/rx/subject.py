"""`Subject`: a push source without a queue; ``on_next`` is the fused step of its subscriber itself.

As in Rx it is driven by one producer at a time and holds nothing.  For several threads, or where a
node waits and the producer is to be held back, use `queue_source`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kayrx.plan.shapes import gone

if TYPE_CHECKING:
    from reactivex import Observable
    from reactivex.abc import ObserverBase

T = TypeVar("T")


def _nobody(*_: object) -> None:
    """What a subscriber does with a signal that it gave no callback for: nothing."""


def raising(error: Exception) -> None:
    """The ``on_error`` of a subscriber that gave none: whoever pushed hears of it."""
    raise error


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
    """One subscriber of a `Subject`: of a million live ones nothing is held but this.

    A step that can send what it is given elsewhere has a ``beside``; any other is pushed the one way.
    """

    __slots__ = ("beside", "finish", "on_error", "push", "subject")

    def __init__(self, push: Callable[..., Any], on_error: Callable[..., Any], finish: Callable[..., Any],
                 beside: Callable[..., Any]) -> None:
        self._end = None
        self.subject: Subject[Any] | None = None
        self.push, self.on_error, self.finish, self.beside = push, on_error, finish, beside

    @property
    def fused(self) -> bool:
        return self.push is not self.beside

    def dispose(self) -> None:
        if self.subject is not None:
            self.subject._leave(self)
        else:
            self.blank()
            super().dispose()

    def blank(self) -> None:
        """Hear no more, also of what is on its way."""
        self.subject = None
        if self.fused:
            self.finish(gone)
        self.push = self.on_error = self.finish = self.beside = _nobody


class Subject(Generic[T]):
    """An observer and a source in one: ``subject.on_next(x)`` pushes ``x`` through every subscriber.

    In:      items by ``on_next``, then at most one ``on_error`` or ``on_completed``.
    Order:   subscribers in the order they came; one producer at a time (Rx grammar).
    Memory:  none; an item that nobody hears is gone.
    Raises:  a subscriber that raises is cut off and its error told to its own ``on_error``; with
             one subscriber the call is direct, and what it raises reaches the producer, as does,
             after the others have heard the item, an error that no ``on_error`` takes.
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
        self._subscribers: list[Heard] = []
        self._heard_by: tuple[Heard, ...] = ()  # the same, as they were at the last item that went to all
        self._ended = False
        self._error: Exception | None = None
        self.on_next = self.to_all = self._to_all

    def subscribe(self, on_next: Callable[[T], object] | ObserverBase[T] | None = None,
                  on_error: Callable[..., object] | None = None, on_completed: Callable[[], object] | None = None, *,
                  scheduler: object = None) -> Subscription:
        """Hear what is pushed from now on; after the end, only the end.  As in RxPY the first may be an observer."""
        given: Any = on_next or _nobody
        if hasattr(given, "on_next"):
            return self.subscribe(given.on_next, given.on_error, given.on_completed)
        heard = Heard(given, on_error or raising, on_completed or _nobody, given)
        self.join(heard)
        return heard

    def join(self, entry: Heard) -> None:
        """`subscribe` for one that is made already."""
        entry.subject = self
        if self._ended:
            self._tell(entry)
        else:
            self._subscribers.append(entry)
            self._aim(entry)

    def _leave(self, entry: Heard) -> None:
        """A subscriber has been disposed of, or cut off."""
        entry.blank()
        if not self._ended:
            self._subscribers.remove(entry)
            self._aim()

    def _aim(self, *moved: Heard) -> None:
        """Point ``on_next`` at what it has to do: with one subscriber, at the fused step itself.

        Somebody may have kept an earlier ``on_next``: a step that is not alone sends what it is given back here.
        """
        ways, self._heard_by = self._subscribers, ()
        alone = ways[0] if len(ways) == 1 and ways[0].fused else None
        self.on_next = self.to_all if alone is None else alone.push
        for entry in (*ways[:2], *moved):
            if entry.fused:
                entry.finish(entry is not alone)

    def _to_all(self, item: T) -> None:
        ways = self._heard_by
        if not ways:
            ways = tuple(self._subscribers)
            if len(ways) == 1:  # the call is direct, and so is what it raises
                ways[0].beside(item)
                return
            self._heard_by = ways
        unheard: Exception | None = None
        for entry in ways:
            try:
                hear = entry.beside  # a name of its own: calling what a slot holds is slower
                hear(item)
            except Exception as error:  # its siblings never notice
                told = raising if entry.subject is None else entry.on_error
                self._leave(entry)
                try:
                    told(error)
                except Exception as raised:
                    unheard = unheard or raised
        if unheard is not None:
            raise unheard

    def on_error(self, error: Exception) -> None:
        """End with an error."""
        self._finish(error)

    def on_completed(self) -> None:
        """End normally."""
        self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended, self._error = True, error
        ways, self._subscribers, self._heard_by = self._subscribers, [], ()
        self.on_next = self.to_all
        unheard: Exception | None = None
        for entry in ways:
            try:
                self._tell(entry)
            except Exception as raised:  # its siblings never notice
                unheard = unheard or raised
        if unheard is not None:
            raise unheard

    def _tell(self, entry: Heard) -> None:
        """Of the end."""
        told = entry.on_error
        try:
            if self._error is None:
                entry.finish()
        finally:
            entry.blank()
        if self._error is not None:
            told(self._error)

    def pipe(self, *operators: Callable[[Any], Any]) -> Observable[Any]:
        """The subject through RxPY operators, as a reactivex Observable."""
        from importlib import import_module  # reactivex is heavy, and only this face needs it

        rx = import_module("reactivex")
        return rx.create(lambda observer, scheduler: self.subscribe(  # type: ignore[no-any-return]
            observer.on_next, observer.on_error, observer.on_completed)).pipe(*operators)


__all__ = ["Subject"]
