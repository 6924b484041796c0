"""The receiving end of Reactive Streams: a bounded inbox that asks upstream for what it has room for.

`source(publisher)` reads one on a loop, with `QueueSubscriber.read`; a synchronous processor looks into
one, and is told by ``wake`` that there is something to see.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NoReturn

from kayrx.errors import GateOverflow, RunError

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


def nothing() -> None:
    """Nobody waits."""


class QueueSubscriber:
    """Asks for ``size`` items, and again for ``batch`` (default: half) when so many are finished.

    Memory:  ``size`` items at most, the one that is being worked on included.
    Threads: signals may come from any thread; one other may read.  Calls of the subscription never
             overlap between threads (2.7), and none is made after a terminal (2.3, 2.4).
    None:    refused by TypeError, here and in what is read (2.13), unless the publisher says that it
             gives None (``none="allow"``).
    """

    def __init__(self, publisher: Any, size: int, *, none: str | None = None, batch: int | None = None) -> None:
        if size < 1:
            raise RunError("a subscriber needs room for at least one item")
        self.publisher, self.size = publisher, size
        self.batch = batch or max(1, size // 2)
        self.takes_none = (none or getattr(publisher, "none", "reject")) == "allow"
        self.items: deque[Any] = deque()
        self.lock = threading.Lock()
        self.subscription: Any = None
        self.credit = 0  # how many items upstream may still send
        self.gone = 0    # finished, and not yet asked for again
        self.ended = self.left = False
        self.error: BaseException | None = None
        self.wake: Callable[[], None] = nothing
        self._calling: int | None = None  # the thread that is calling the subscription

    async def __aenter__(self) -> QueueSubscriber:
        self.publisher.subscribe(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    # -- the four signals (Reactive Streams §2) --------------------------------------------------

    def on_subscribe(self, subscription: Any) -> None:
        if subscription is None:
            self._refuse("on_subscribe")
        with self.lock:
            taken = self.subscription is None and not (self.left or self.ended)
            if taken:
                self.subscription, self.gone = subscription, self.size
        if taken:
            self._call()
        else:  # rule 2.5: a second subscription is cancelled, and one that nobody waits for any more
            subscription.cancel()

    def on_next(self, item: Any) -> None:
        if item is None and not self.takes_none:
            self._refuse("on_next")
        overrun = False
        with self.lock:
            if self.left or self.ended:  # rule 2.8: tolerated after our own cancel
                return
            if self.credit:
                self.credit -= 1
                self.items.append(item)
            else:
                overrun = True
        if overrun:
            self._fail(self.overrun())
        self.wake()

    def on_error(self, error: BaseException) -> None:
        if error is None:
            self._refuse("on_error")
        with self.lock:
            if not self.ended:
                self.error, self.ended = error, True
        self.wake()

    def on_complete(self) -> None:
        with self.lock:
            self.ended = True
        self.wake()

    def overrun(self) -> Exception:
        return RunError("the publisher sent more items than were requested: rule 1.1")

    def _refuse(self, signal: str) -> NoReturn:
        error = TypeError(f"{signal}(None): rule 2.13")
        self._fail(error)
        self.wake()
        raise error

    def _fail(self, error: BaseException) -> None:
        """Upstream broke a rule: let it go, and let the reader know."""
        with self.lock:
            first = not (self.ended or self.left)
            if first:
                self.error = error
        if first:
            self._call(cancel=True)

    # -- upstream --------------------------------------------------------------------------------

    def free(self) -> None:
        """The first item is finished: its slot is free, and is asked for again in its batch."""
        with self.lock:
            if self.items:  # none if this end has been left meanwhile
                self.items.popleft()
                self.gone += 1
            due = self.gone >= self.batch
        if due:
            self._call()

    def leave(self) -> None:
        """Nothing more is wanted: upstream is cancelled if it has not ended.  Idempotent."""
        with self.lock:
            if self.left:
                return
            self.left, self.wake = True, nothing
            self.items.clear()
        self._call(cancel=True)

    def _call(self, *, cancel: bool = False) -> None:
        """Ask upstream for what is due, or cancel it; what comes up in the meantime, the calling thread does."""
        me = threading.get_ident()
        with self.lock:
            if self.ended or self.subscription is None:
                return
            self._over = self._over or cancel
            if self._calling is not None and not (self._over and self._calling == me):
                return
            self._calling = me
        try:
            while True:
                with self.lock:
                    ask = 0 if self.gone < self.batch else self.gone
                    stop, subscription = self._over, self.subscription
                    if self.ended or subscription is None or not (stop or ask):
                        self._calling = None
                        return
                    if stop:
                        self.ended, self.subscription = True, None
                    else:
                        self.credit, self.gone = self.credit + ask, 0
                if stop:
                    subscription.cancel()
                else:
                    subscription.request(ask)
        except BaseException:
            self._calling = None
            raise

    _over = False

    # -- reading on a loop -----------------------------------------------------------------------

    async def read(self, run: Context, where: str) -> AsyncIterator[Any]:
        """The items in order, then the publisher's error; an item's slot is free once it is finished."""
        backend = run.backend
        parks: list[Any] = []

        def wake() -> None:
            with self.lock:
                waiting = parks[:]
                parks.clear()
            for park in waiting:
                backend.from_thread(lambda: backend.wake(park))

        self.wake = wake
        try:
            while True:
                park = None
                with self.lock:
                    if not self.items:
                        if self.ended or self.error is not None:
                            break
                        park = backend.park()
                        parks.append(park)
                if park is not None:
                    await park
                    continue
                yield self.items[0]
                self.free()
            if self.error is not None:
                raise self.error
        finally:
            self.wake = nothing


class Hot(QueueSubscriber):
    """An Observable in front of a synchronous plan: it cannot be asked, so too much of it is an error."""

    def __init__(self, observable: Any, size: int) -> None:
        super().__init__(self, size, none="allow", batch=1)
        self.observable, self.credit = observable, size

    def subscribe(self, _: object) -> None:
        disposable = self.observable.subscribe(self.on_next, self.on_error, self.on_complete)
        ...
