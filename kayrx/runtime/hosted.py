"""Hosting Rx: an RxPY operator inside a segment, an Observable or publisher as a source.

The operator's timers live in a heap of the segment's own; they are run by the segment's task between
two items, so Rx never sees a second thread (law 4).
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from reactivex import abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from reactivex.subject import Subject

from kayrx.errors import GateOverflow, RunError
from kayrx.nodes.transform import Rx
from kayrx.plan.cut import HOT
from kayrx.plan.plan import Step
from kayrx.runtime.feed import Queue
from kayrx.runtime.subscriber import QueueSubscriber

if TYPE_CHECKING:
    from kayrx.runtime.context import Context

EPOCH = datetime.fromtimestamp(0, UTC)


class SegmentScheduler(PeriodicScheduler):
    """A reactivex scheduler on the run's clock; its actions wait in a heap until the segment runs them."""

    def __init__(self, run: Context) -> None:
        super().__init__()
        self._now = run.backend.now
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


class Hosted:
    """One Rx operator at work: items are given, what it sends is taken."""

    def __init__(self, step: Step, run: Context) -> None:
        node = step.node
        assert isinstance(node, Rx)
        self.step, self.run, self.burst = step, run, node.max_burst
        self.out: deque[Any] = deque()
        self.ended = False
        self.error: Exception | None = None
        self.scheduler = SegmentScheduler(run)
        self.subject: Subject[Any] = Subject()
        self.subscription = self.subject.pipe(node.operator).subscribe(
            self.out.append, self._failed, self._completed, scheduler=self.scheduler)

    def _failed(self, error: Exception) -> None:
        self.error, self.ended = error, True

    def _completed(self) -> None:
        self.ended = True

    def give(self, item: Any) -> None:
        self.subject.on_next(item)
        self._bounded()

    def complete(self) -> None:
        self.subject.on_completed()

    def run_due(self) -> None:
        self.scheduler.run_due()
        self._bounded()

    @property
    def next_due(self) -> float | None:
        return self.scheduler.next_due

    @property
    def is_due(self) -> bool:
        due = self.scheduler.next_due
        return due is not None and due <= self.run.backend.now()

    def _bounded(self) -> None:
        if self.burst is not None and len(self.out) > self.burst:
            raise GateOverflow(f"{self.step.where} released {len(self.out)} items at once, max_burst={self.burst}")

    def taken(self) -> Iterator[Any]:
        """What the operator has sent; afterwards its error, if it failed."""
        while self.out:
            yield self.out.popleft()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def dispose(self) -> None:
        self.subscription.dispose()

    # -- in a synchronous run --------------------------------------------------------------------

    def push(self, item: Any) -> Iterator[Any]:
        if self.is_due:
            self.run_due()
        self.give(item)
        return self.taken()

    def finish(self) -> Iterator[Any]:
        """Complete, then wait out the timers that are left, by the run's own sleep."""
        self.complete()
        yield from self.taken()
        while not self.ended and self.next_due is not None:
            self.run.world.block(max(0.0, self.next_due - self.run.backend.now()))
            self.run_due()
            yield from self.taken()
        self.dispose()


async def pushed(node: Any, run: Context) -> AsyncGenerator[Any, None]:
    """An Observable or publisher, through the bounded queue that the plan puts in front of it."""
    plan = run.program.plan
    segment = next(s for s in plan.segments if s.head is not None and s.head.node is node)
    if node.kind == "publisher":
        async with QueueSubscriber(node.what, 16) as subscriber, aclosing(subscriber.read(run)) as read:
            run.shuts[node] = subscriber.shut
            async for item in read:
                yield item
        return
    gate = plan.gates[segment.lanes[0]] if segment.lanes else None
    queue = Queue(gate.size if gate else HOT, gate.overflow if gate else "error", node.where)  # type: ignore[arg-type]

    def failed(error: Exception) -> None:
        queue.fail(error)

    def offer(item: Any) -> None:
        try:
            queue.put(item)
        except RunError as error:  # too much, or nobody reads any more; the Observable must not notice
            queue.fail(error)

    def shut() -> None:
        subscription.dispose()
        queue.close()

    subscription = node.what.subscribe(offer, failed, queue.close)
    run.shuts[node] = shut
    try:
        async with aclosing(queue.read(run, node.where)) as read:
            async for item in read:
                yield item
    finally:
        subscription.dispose()
