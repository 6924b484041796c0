"""A bounded queue that any thread may fill: in front of hot sources, and behind `queue_source`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from kayrx.errors import RunError
from kayrx.nodes.flow import Overflow
from kayrx.runtime.backend import current, loop_running
from kayrx.runtime.gates.gate import overflowed
from kayrx.runtime.world import THE_WORLD

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


class Queue:
    """``size`` items at most, read by one run at a time.

    Writers hold the lock only to append; a reader on a loop is woken through the loop, one in a
    thread by the condition.
    """

    def __init__(self, size: int, overflow: Overflow, name: str = "queue_source") -> None:
        self.size, self.overflow, self.name = size, overflow, name
        self.items: deque[Any] = deque()
        self.lock = threading.Condition()
        self.closed = False
        self.error: BaseException | None = None
        self.dropped = 0
        self.reading = False
        self._wake: Callable[[], None] = lambda: None
        self._room: list[Callable[[], None]] = []
        self._loop_thread: int | None = None

    # -- writing ---------------------------------------------------------------------------------

    def put(self, item: Any) -> None:
        with self.lock:
            while self._full() and self.overflow == "block":
                if threading.get_ident() == self._loop_thread:
                    raise RunError(f"{self.name} is full and this thread runs the loop that empties it; "
                                   "use `await source.send(item)`")
                self.lock.wait()
            self._add(item)

    async def send(self, item: Any) -> None:
        backend = current(THE_WORLD)
        while True:
            with self.lock:
                if not (self._full() and self.overflow == "block"):
                    self._add(item)
                    return
                park = backend.park()
                self._room.append(partial(backend.from_thread, partial(backend.wake, park)))
            await park

    def _full(self) -> bool:
        return len(self.items) >= self.size and not self.closed

    def _add(self, item: Any) -> None:
        if self.closed:
            raise RunError(f"{self.name} has been closed; it takes no more items")
        if len(self.items) >= self.size:
            self.dropped += overflowed(self.items, item, self.overflow, self.name, self.size)
        else:
            self.items.append(item)
        self.lock.notify_all()
        self._wake()

    def close(self) -> None:
        with self.lock:
            self.closed = True
            self.lock.notify_all()
            self._wake()
            self._freed()

    def fail(self, error: BaseException) -> None:
        with self.lock:
            self.error = self.error or error
        self.close()

    # -- reading ---------------------------------------------------------------------------------

    def _freed(self) -> None:
        self.lock.notify_all()
        waiting, self._room = self._room, []
        for wake in waiting:
            wake()

    def _begin(self, where: str) -> None:
        with self.lock:
            if self.reading:
                raise RunError(f"{where} serves one run at a time, and another run is reading it")
            self.reading = True

    def _end(self) -> None:
        with self.lock:
            self.reading = False
            self._wake = lambda: None
            self._loop_thread = None

    def read_blocking(self, where: str) -> Iterator[Any]:
        self._begin(where)
        try:
            while True:
                with self.lock:
                    while not self.items and not self.closed:
                        self.lock.wait()
                    if not self.items:
                        break
                    item = self.items[0]
                try:
                    yield item
                finally:  # also when the reader leaves with it: it has been given
                    with self.lock:
                        self.items.popleft()
                        self._freed()
            if self.error is not None:
                raise self.error
        finally:
            self._end()

    async def read(self, run: Context, where: str) -> AsyncGenerator[Any, None]:
        self._begin(where)
        backend = run.backend
        self._loop_thread = threading.get_ident() if loop_running() else None
        try:
            while True:
                park = None
                with self.lock:
                    if self.items:
                        item = self.items[0] if self.overflow == "block" else self.items.popleft()
                    elif self.closed:
                        break
                    else:
                        park = backend.park()
                        self._wake = partial(backend.from_thread, partial(backend.wake, park))
                if park is not None:
                    await park
                    continue
                try:
                    yield item
                finally:
                    with self.lock:
                        if self.overflow == "block":
                            self.items.popleft()
                        self._freed()
            if self.error is not None:
                raise self.error
        finally:
            self._end()
