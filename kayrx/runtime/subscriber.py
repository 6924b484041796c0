"""Reading a Reactive Streams publisher: a subscriber with a bounded queue, asking for what it has room for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from kayrx.errors import RunError

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


class QueueSubscriber:
    """Asks for ``size`` items and again for half of them when half have gone; holds ``size`` at most."""

    def __init__(self, publisher: Any, size: int) -> None:
        if size < 1:
            raise RunError("a subscriber needs room for at least one item")
        self.publisher, self.size = publisher, size
        self.items: deque[Any] = deque()
        self.lock = threading.Lock()
        self.subscription: Any = None
        self.ended = False
        self.error: BaseException | None = None
        self.left = False
        self.wake: Any = lambda: None

    async def __aenter__(self) -> QueueSubscriber:
        self.publisher.subscribe(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left = True
        self.items.clear()
        if self.subscription is not None and not self.ended:
            self.subscription.cancel()

    # -- the four signals (Reactive Streams §2) --------------------------------------------------

    def on_subscribe(self, subscription: Any) -> None:
        if subscription is None:
            raise TypeError("on_subscribe(None): rule 2.13")
        if self.subscription is not None or self.left:  # rule 2.5: a second subscription is cancelled
            subscription.cancel()
            return
        self.subscription = subscription
        subscription.request(self.size)  # rule 2.1

    def on_next(self, item: Any) -> None:
        if item is None:
            raise TypeError("on_next(None): rule 2.13")
        with self.lock:
            if self.left or self.ended:  # rule 2.8: tolerated after our own cancel
                return
            if len(self.items) >= self.size:
                self.error = RunError("the publisher sent more items than were requested: rule 1.1")
                self.ended = True
                overrun = True
            else:
                self.items.append(item)
                overrun = False
        if overrun:
            self.subscription.cancel()
        self.wake()

    def on_error(self, error: BaseException) -> None:
        if error is None:
            raise TypeError("on_error(None): rule 2.13")
        with self.lock:
            if not self.ended:
                self.error, self.ended = error, True
        self.wake()

    def on_complete(self) -> None:
        with self.lock:
            self.ended = True
        self.wake()

    # -- reading ---------------------------------------------------------------------------------

    async def read(self, run: Context, where: str) -> AsyncIterator[Any]:
        backend, half, gone = run.backend, max(1, self.size // 2), 0
        while True:
            park = None
            with self.lock:
                if not self.items and not self.ended:
                    park = backend.park()
                    self.wake = lambda p=park: backend.from_thread(lambda: backend.wake(p))  # type: ignore[misc]
                elif not self.items:
                    break
            if park is not None:
                await park
                continue
            yield self.items[0]
            self.items.popleft()  # the slot is free, and asked for again, once the item is finished
            gone += 1
            if gone >= half and not self.ended:
                self.subscription.request(gone)
                gone = 0
        if self.error is not None:
            raise self.error
