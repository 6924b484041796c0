"""Rx timers: reactivex schedulers on a run's clock, and on the clock of the running loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SingleAssignmentDisposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from kayrx.runtime.backend import Backend, current, loop_running
from kayrx.runtime.hosting import spawn
from kayrx.runtime.world import World

EPOCH = datetime.fromtimestamp(0, UTC)


class SegmentScheduler(PeriodicScheduler):
    """A reactivex scheduler on the run's clock; its actions wait in a heap until the segment runs them."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._heap: list[tuple[float, int, Any]] = []
        self._order = itertools.count()

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._now())

    def schedule(self, action: Any, state: Any = None) -> abc.DisposableBase:
        return self._at(self._now(), action, state)

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> abc.DisposableBase:
        return self._at(self._now() + max(0.0, self.to_seconds(duetime)), action, state)

    def schedule_absolute(self, duetime: Any, action: Any, state: Any = None) -> abc.DisposableBase:
        return self._at(self.to_seconds(duetime), action, state)

    def _at(self, due: float, action: Any, state: Any) -> abc.DisposableBase:
        done = SingleAssignmentDisposable()
        entry = (due, next(self._order), (action, state, done))
        heapq.heappush(self._heap, entry)

        def forget() -> None:
            if entry in self._heap:
                self._heap.remove(entry)
                heapq.heapify(self._heap)

        done.disposable = Disposable(forget)
        return done

    @property
    def next_due(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        while self._heap and self._heap[0][0] <= self._now():
            _, _, (action, state, done) = heapq.heappop(self._heap)
            if not done.is_disposed:
                self.invoke_action(action, state)


class LoopScheduler(SegmentScheduler):
    """The same in a task of the running loop, for what stands outside a segment: an Observable as a source, an
    operator in a chain of somebody else's.

    The task lives while something is scheduled.  Actions may be scheduled from any thread and run on the loop;
    what one raises goes to the loop's exception handler, as in RxPY's own schedulers.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend.now)
        self.backend = backend
        self._park: Any = None
        self._end: Callable[[], None] | None = None

    def _at(self, due: float, action: Any, state: Any) -> abc.DisposableBase:
        done = SingleAssignmentDisposable()
        entry = (due, next(self._order), (action, state, done))

        def add() -> None:
            if done.is_disposed:
                return
            heapq.heappush(self._heap, entry)
            if self._end is None:
                self._end = spawn(self._work)
            elif self._park is not None:
                self.backend.wake(self._park)

        def wake() -> None:
            if self._park is not None:
                self.backend.wake(self._park)

        done.disposable = Disposable(lambda: self.backend.from_thread(wake))
        self.backend.from_thread(add)
        return done

    async def _work(self) -> None:
        try:
            while True:
                self._run_due()
                while self._heap and self._heap[0][2][2].is_disposed:
                    heapq.heappop(self._heap)
                due = self.next_due
                if due is None:
                    return
                self._park = self.backend.park()
                with anyio.move_on_after(max(0.0, due - self._now())):
                    await self._park
                self._park = None
        finally:
            self._park = self._end = None

    def _run_due(self) -> None:
        try:
            self.run_due()
        except Exception as error:
            if self.backend.name == "asyncio":
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "an Rx action has failed", "exception": error})
            else:
                sys.excepthook(type(error), error, error.__traceback__)

    def close(self) -> None:
        """Forget what has not come due."""
        self._heap.clear()
        if self._end is not None:
            self._end()


def timed(observable: Observable[Any], world: World) -> Observable[Any]:
    """With its timers on the running loop, where there is one and the subscriber chose none (law 4)."""
    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        if scheduler is not None or loop_running() is None:
            return observable.subscribe(observer, scheduler=scheduler)
        timers = LoopScheduler(current(world))
        return CompositeDisposable(observable.subscribe(observer, scheduler=timers), Disposable(timers.close))

    return Observable(subscribe)
