"""Hosting Rx: an RxPY operator inside a segment, an Observable or publisher as a source.

The operator's timers live in a heap of the segment's own; they are run by the segment's task between
two items, so Rx never sees a second thread (law 4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.subject import Subject

from kayrx.errors import GateOverflow, RunError
from kayrx.nodes.transform import Rx
from kayrx.plan.cut import HOT
from kayrx.plan.plan import Step
from kayrx.runtime.gates.feed import Queue
from kayrx.runtime.rx.timers import LoopScheduler, SegmentScheduler
from kayrx.runtime.streams.subscriber import QueueSubscriber

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


class Hosted:
    """One Rx operator at work: items are given, what it sends is taken."""

    def __init__(self, step: Step, run: Context) -> None:
        node = step.node
        assert isinstance(node, Rx)
        self.step, self.run, self.burst = step, run, node.max_burst
        self.out: deque[Any] = deque()
        self.ended = False
        self.error: Exception | None = None
        self.scheduler = SegmentScheduler(run.backend.now)
        self.subject: Subject[Any] = Subject()
        self.subscription = self.subject.pipe(node.over).subscribe(
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
            run.shuts[id(node)] = subscriber.shut
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
            subscription.dispose()  # or one that never waits would go on for good

    def shut() -> None:
        subscription.dispose()
        queue.close()

    timers = LoopScheduler(run.backend)
    on_ours = {"scheduler": timers} if isinstance(node.what, Observable) else {}
    subscription = SingleAssignmentDisposable()
    subscription.disposable = node.what.subscribe(offer, failed, queue.close, **on_ours)
    run.shuts[id(node)] = shut
    try:
        async with aclosing(queue.read(run, node.where)) as read:
            async for item in read:
                yield item
    finally:
        subscription.dispose()
        timers.close()
