"""The receiving end of Reactive Streams: a bounded inbox that asks upstream for what it has room for.

`source(publisher)` reads one on a loop, by `QueueSubscriber.read`; a synchronous processor looks into
one, and is told by ``wake`` that there is something to see.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from kayrx.errors import GateOverflow, RunError

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


def nobody() -> None:
    """What is called when nobody waits."""


class QueueSubscriber:
    """Asks for ``size`` items, and again for ``batch`` (default: half) when that many are finished.

    Memory:  ``size`` items at most, the one that is being worked on included.
    Threads: signals may come from any thread, and one thread reads.  Calls of the subscription are
             serial (2.7), none is made from a terminal signal (2.3) or after one (2.4).
    None:    raises TypeError, which is also what is read (2.13), unless the publisher says that it
             gives None (``none="allow"``).
    """

    def __init__(self, publisher: Any, size: int, *, none: str | None = None,
                 batch: int | None = None) -> None:
        if size < 1:
            raise RunError("a subscriber needs room for at least one item")
        self.publisher, self.size = publisher, size
        self.batch = batch or max(1, size // 2)
        self.takes_none = (none or getattr(publisher, "none", "reject")) == "allow"
        self.items: deque[Any] = deque()
        self.lock = threading.RLock()  # a finalizer may call in while it is held
        self.subscription: Any = None
        self.credit = 0  # how many items upstream may still send
        self.gone = 0    # how many are finished and not yet asked for again
        self.ended = self.left = False
        self.error: BaseException | None = None
        self.wake: Callable[[], None] = nobody    # called after each signal
        self.broken: Callable[[], None] = nobody  # called after an error, for whoever need not read to it
        self._calling: int | None = None  # the thread that calls the subscription at this moment

    def open(self) -> None:
        """Subscribe upstream, unless upstream subscribes us."""
        if self.publisher is not None:
            self.publisher.subscribe(self)

    async def __aenter__(self) -> QueueSubscriber:
        self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    # -- the four signals (Reactive Streams §2) --------------------------------------------------

    def on_subscribe(self, subscription: Any) -> None:
        if subscription is None:
            self._refuse("on_subscribe")
        with self.lock:
            taken = self.subscription is None and not self.ended
            if taken:
                self.subscription, self.gone = subscription, self.size
        if taken:
            self._call()
        else:  # rule 2.5: a second subscription is cancelled; so is one that comes after we have left
            subscription.cancel()

    def on_next(self, item: Any) -> None:
        if item is None and not self.takes_none:
            self._refuse("on_next")
        with self.lock:
            if self.ended:  # rule 2.8: tolerated after our own cancel
                return
            asked = self.credit > 0
            if asked:
                self.credit -= 1
                self.items.append(item)
        if asked:
            self.wake()
        else:
            self._fail(self.overrun())

    def on_error(self, error: BaseException) -> None:
        if error is None:
            self._refuse("on_error")
        self._end(error)

    def on_complete(self) -> None:
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        with self.lock:
            if self.ended:
                return
            self.error, self.ended, self.subscription = error, True, None
        self.wake()
        self.broken()

    def overrun(self) -> Exception:
        return RunError("the publisher sent more items than were requested: rule 1.1")

    def _refuse(self, signal: str) -> NoReturn:
        error = TypeError(f"{signal}(None): rule 2.13")
        self._fail(error)
        raise error

    def _fail(self, error: BaseException) -> None:
        """Upstream has broken a rule: cancel it, and let the reader know."""
        with self.lock:
            if self.ended:
                return
            self.error, self.ended = error, True
        self._call()
        self.wake()
        self.broken()

    # -- upstream --------------------------------------------------------------------------------

    def free(self) -> None:
        """The first item is finished: its slot is free, and is asked for again in its batch."""
        with self.lock:
            if self.items:  # there is none if `leave` came meanwhile
                self.items.popleft()
                self.gone += 1
            due = self.gone >= self.batch
        if due:
            self._call()

    def leave(self) -> None:
        """Nothing more is wanted: drop what waits, and cancel upstream unless it has ended.  Idempotent."""
        with self.lock:
            self.left = self.ended = True
            self.wake = self.broken = nobody
            self.items = deque()
        self._call()

    def shut(self) -> None:
        """Take nothing more; what has come can still be read."""
        with self.lock:
            self.ended = True
        self._call()
        self.wake()

    def _call(self) -> None:
        """Ask upstream for what is due, or cancel it.

        While one thread is calling, what else becomes due is left to it; only a cancellation in the
        midst of its own call, from an `on_next` inside ``request``, cannot wait.
        """
        me = threading.get_ident()
        with self.lock:
            outer = self._calling
            if outer is not None and not (outer == me and self.ended):
                return
            self._calling = me
        try:
            while (call := self._due(outer)) is not None:
                call()
        except BaseException:
            self._calling = outer
            raise

    def _due(self, outer: int | None) -> Callable[[], None] | None:
        with self.lock:
            subscription = self.subscription
            if subscription is not None and self.ended:
                self.subscription = None
                return subscription.cancel  # type: ignore[no-any-return]
            if subscription is not None and self.gone >= self.batch:
                ask, self.gone = self.gone, 0
                self.credit += ask
                return partial(subscription.request, ask)
            self._calling = outer
            return None

    # -- reading on a loop -----------------------------------------------------------------------

    async def read(self, run: Context) -> AsyncGenerator[Any, None]:
        """The items in order, then the publisher's error; an item's slot is free once it is finished."""
        backend, waiting = run.backend, None

        def wake() -> None:
            nonlocal waiting
            with self.lock:
                park, waiting = waiting, None
            if park is not None:
                backend.from_thread(partial(backend.wake, park))

        with self.lock:
            if not self.left:
                self.wake = wake
        while True:
            park = None
            with self.lock:
                if self.items:
                    item = self.items[0]
                elif self.ended:
                    break
                else:
                    park = waiting = backend.park()
            if park is None:
                yield item
                self.free()
            else:
                await park
        if self.error is not None:
            raise self.error


class Disposal:
    """The subscription of a source that cannot be asked, only left."""

    def __init__(self, disposable: Any) -> None:
        self.disposable = disposable

    def request(self, n: int) -> None:
        """Nothing to do: it sends when it likes."""

    def cancel(self) -> None:
        self.disposable.dispose()


class Enough(Exception):
    """Stops an Observable that has not yet given the disposable which would."""


class Hot(QueueSubscriber):
    """The inbox of an Observable in front of a synchronous plan; what finds it full is an error."""

    def __init__(self, observable: Any, size: int) -> None:
        super().__init__(None, size, none="allow", batch=1)
        self.observable, self.credit = observable, size
        self.opening = False

    def open(self) -> None:
        self.opening = True
        try:
            disposable = self.observable.subscribe(self.on_next, self.on_error, self.on_complete)
        except Enough:
            return
        finally:
            self.opening = False
        subscription = Disposal(disposable)
        with self.lock:
            ended = self.ended
            if not ended:
                self.subscription = subscription
        if ended:
            subscription.cancel()

    def on_next(self, item: Any) -> None:
        super().on_next(item)
        if self.ended and self.opening:  # it sends inside ``subscribe``, and may never return
            raise Enough

    def overrun(self) -> Exception:
        return GateOverflow(f"the Observable sent more than {self.size} items that nobody has requested: "
                            "request more, or drop some before the graph (ops.sample, ops.throttle_first)")
