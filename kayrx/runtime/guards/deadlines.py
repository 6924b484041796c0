"""The time limits of all suspended calls of a segment, on one timer of the loop (ruling 25)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from heapq import heapify, heappop, heappush
from typing import Protocol

LATE = 0.05  # seconds after which a timer says that somebody held the loop
GRACE = 2  # passes of the loop in which what came in meanwhile reaches the calls that wait for it


class Fires(Protocol):
    """What is told that its time is over."""

    def fire(self) -> None: ...


class Limit:
    """One deadline; ``over`` is None once nobody waits for it any more."""

    __slots__ = ("over", "when")

    def __init__(self, when: float, over: Fires) -> None:
        self.when = when
        self.over: Fires | None = over

    def __lt__(self, other: Limit) -> bool:
        return self.when < other.when


class Deadlines:
    """A heap of limits and one timer, armed for the earliest.

    A limit that was met costs no call of the loop, and where somebody closes it (``closers``) the timer stays
    for the next limit until then; else the last one takes it away.  A met limit stays in the heap, dead, until
    its time or until half of the heap is dead, so the heap holds at most twice the calls that are suspended.
    A timer that comes late, because somebody held the loop, first gives the loop the passes it missed: an
    answer that has arrived meanwhile is no timeout.
    """

    __slots__ = ("_closers", "_dead", "_kept", "_loop", "_timer", "_when", "heap")

    def __init__(self, closers: list[Callable[[], Awaitable[None]]] | None = None) -> None:
        self._closers, self._kept = closers, False
        self.heap: list[Limit] = []
        self._dead = 0
        self._timer: asyncio.Handle | None = None
        self._when = 0.0

    def add(self, after: float, over: Fires) -> Limit:
        """Have ``over.fire()`` called in ``after`` seconds, unless the limit is dropped before."""
        if self._timer is None:
            self._begin()
        limit = Limit(self._loop.time() + after, over)
        heappush(self.heap, limit)
        if self._timer is None or limit.when < self._when:
            self._arm(limit.when)
        return limit

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._closers is not None and not self._kept:
            self._kept = True
            self._closers.append(self.close)

    async def close(self) -> None:
        """The run has ended: nobody waits any more."""
        self._kept = False
        self._disarm()

    def drop(self, limit: Limit) -> None:
        """The call has ended; the last one takes the timer with it."""
        if limit.over is None:
            return
        limit.over = None
        self._dead += 1
        if self._dead == len(self.heap):
            self.heap.clear()
            self._dead = 0
            if not self._kept:
                self._disarm()
        elif self._dead > 64 and 2 * self._dead > len(self.heap):
            self.heap = [entry for entry in self.heap if entry.over is not None]
            heapify(self.heap)
            self._dead = 0

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, when: float) -> None:
        self._disarm()
        self._when = when
        self._timer = self._loop.call_at(when, self._due)

    def _due(self) -> None:
        if self._loop.time() - self._when > LATE:
            self._again(GRACE)
        else:
            self._expire()

    def _again(self, passes: int) -> None:
        if passes:
            self._timer = self._loop.call_soon(self._again, passes - 1)
        else:
            self._expire()

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time() + 1e-9
        while self.heap and (self.heap[0].over is None or self.heap[0].when <= now):
            limit = heappop(self.heap)
            if limit.over is None:
                self._dead -= 1
                continue
            over, limit.over = limit.over, None
            over.fire()
        if self.heap:
            self._arm(self.heap[0].when)
