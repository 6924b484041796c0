"""The time limits of all suspended calls of a segment, on one timer of the loop (ruling 25)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Protocol

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
    Limits of one length end in the order in which they began, and need no heap: who has such writes them into
    ``calls`` (a task and when its time is over) and takes them out again; one that is not there any more has been
    told to ``late``.
    A timer that comes late, because somebody held the loop, first gives the loop the passes it missed: an
    answer that has arrived meanwhile is no timeout.
    """

    __slots__ = ("_closers", "_dead", "_kept", "_loop", "_timer", "at", "calls", "heap", "late")

    def __init__(self, closers: list[Callable[[], Awaitable[None]]] | None = None) -> None:
        self._closers, self._kept = closers, False
        self.heap: list[Limit] = []
        self.calls: dict[asyncio.Task[Any], float] = {}
        self.late: Callable[[asyncio.Task[Any], float], None]
        self._dead = 0
        self._timer: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.at = inf  # what the timer is armed for

    def add(self, after: float, over: Fires) -> Limit:
        """Have ``over.fire()`` called in ``after`` seconds, unless the limit is dropped before."""
        return self.until((self._loop or asyncio.get_running_loop()).time() + after, over)

    def until(self, when: float, over: Fires) -> Limit:
        """Have ``over.fire()`` called at ``when`` on the clock of the loop."""
        limit = Limit(when, over)
        heappush(self.heap, limit)
        if when < self.at:
            self.arm(when)
        return limit

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
            if not self._kept and not self.calls:
                self._disarm()
        elif self._dead > 64 and 2 * self._dead > len(self.heap):
            self.heap = [entry for entry in self.heap if entry.over is not None]
            heapify(self.heap)
            self._dead = 0

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.at = inf

    def arm(self, when: float) -> None:
        """Have the timer come at ``when``, which is before what it is armed for."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._closers is not None and not self._kept:
            self._kept = True
            self._closers.append(self.close)
        self._disarm()
        self.at = when
        self._timer = self._loop.call_at(when, self._due)

    def _due(self) -> None:
        assert self._loop is not None
        if self._loop.time() - self.at > LATE:
            self._again(GRACE)
        else:
            self._expire()

    def _again(self, passes: int) -> None:
        assert self._loop is not None
        if passes:
            self._timer = self._loop.call_soon(self._again, passes - 1)
        else:
            self._expire()

    def _expire(self) -> None:
        assert self._loop is not None
        self._timer, self.at = None, -inf  # nobody arms it meanwhile
        now = self._loop.time() + 1e-9
        while self.calls and (first := next(iter(self.calls.items())))[1] <= now:
            del self.calls[first[0]]
            self.late(*first)
        while self.heap and (self.heap[0].over is None or self.heap[0].when <= now):
            limit = heappop(self.heap)
            if limit.over is None:
                self._dead -= 1
                continue
            over, limit.over = limit.over, None
            over.fire()
        self.at = inf
        if (rest := min(self.heap[0].when if self.heap else inf, next(iter(self.calls.values()), inf))) < inf:
            self.arm(rest)
