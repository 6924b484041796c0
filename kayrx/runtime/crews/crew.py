"""Crews: several calls of one async function at once, over one shared source.

Worker k + 1 is hired when worker k takes its first item, and runs only once worker k suspends; a
worker goes on with further items while its calls do not suspend.  Each call runs from its first
step to its last in one task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from typing import Any

import anyio

from kayrx.nodes.transform import FlatMap, Map
from kayrx.plan.plan import Segment, Step
from kayrx.plan.shapes import END, WAIT
from kayrx.plan.units import DROPPED
from kayrx.runtime.blame import number_in_hand
from kayrx.runtime.context import Context
from kayrx.runtime.crews.placed import placed, with_ids
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.guards.many import outputs
from kayrx.runtime.guards.sent import past_marks

Body = Callable[[], Awaitable[bool | None]]
Emit = Callable[[Any], Any]
Slices = Callable[["Crew", Iterator[Any], Callable[[Any], Awaitable[Any]], dict[int, Any]], Awaitable[None]]


class Crew:
    """The workers of one segment: ``most`` calls under way, from their start until their result has left."""

    def __init__(self, run: Context, segment: Segment, step: Step, source: Iterator[Any] | None, lane: Gate | None,
                 emit: Emit, slices: Slices | None, fail: Callable[..., None], *, waits: bool) -> None:
        self.run, self.segment, self.step = run, segment, step
        self.fail, self.failed = fail, False
        self.slices = slices if source is not None else None
        self.source, self.lane, self.emit, self.waits = source, lane, emit, waits
        self.started = self.turn = 0   # items taken; the number of the item that may leave next
        self.done: dict[int, Any] = {}
        self.only = self.sending = False  # one worker alone has an item, number ``started - 1``; ``turn`` is not kept
        self.alone = False    # the same, and nothing else has to be looked at
        self.over = self.signal = self.halted = False  # nothing more is wanted; the run pauses or stops; one of them
        self.group: Any = None
        self.idle: list[Any] = []
        self.asking, self.hired, self.alive = False, 0, 0
        self.way: tuple[Any, ...] = ()  # what a worker runs
        node = step.node
        assert isinstance(node, (Map, FlatMap))
        self.most = node.concurrency
        self.ordered = isinstance(node, Map) and node.ordered
        self.fn: Callable[[Any], Awaitable[Any]] = node.fn
        if step.guards and isinstance(node, Map):
            self.fn = run.guard(step).over(node.fn)
        self.fn = past_marks(step, self.fn)
        if run.ledger.exact:
            if source is not None:
                entry = segment.head.label if segment.head else step.label
                self.source = (item if item is WAIT else (run.enter(entry), item) for item in source)
            if isinstance(node, Map) and node.on is None:
                self.fn = with_ids(self, self.fn)

    @property
    def rests(self) -> bool:
        """True if every worker waits for an item."""
        assert self.lane is not None
        return self.alive == len(self.idle) + (self.lane.reader in self.run.parks)

    def control(self, value: bool) -> None:
        self.signal = value
        self.halted = value or self.over
        self.alone = self.only and not self.halted

    async def work(self) -> None:
        """Run until the source has ended and every result has left, or nothing more is wanted."""
        node = self.step.node
        assert isinstance(node, (Map, FlatMap))
        body = self.expand if isinstance(node, FlatMap) else self.in_order if self.ordered else self.as_done
        place = getattr(node, "on", None)
        async with nullcontext() if place is None else placed(self, place):
            self.way = (self.worker, body) if self.slices is None or body != self.in_order \
                else (self.slices, self, self.source, self.fn, self.done)
            async with anyio.create_task_group() as self.group:
                self.hire()
            self.group = None

    def hire(self) -> None:
        if self.hired < self.most and not self.over:
            self.hired += 1
            self.run.tasks += self.alive > 0  # the first worker stands for the segment's own task
            self.alive += 1
            self.group.start_soon(*self.way)

    async def worker(self, body: Body) -> None:
        try:
            await body()
        except BaseException as error:
            self.broken(error)
        finally:
            self.gone()

    def broken(self, error: BaseException) -> None:
        """A worker has met an error: it fails the run, unless it is the run's own cancellation."""
        if self.run.ours(error):
            raise
        self.failed, self.turn, self.only, self.alone = True, -1, False, False  # no other result leaves any more
        self.fail(error, self.segment, self.step, number_in_hand(error, __file__))
        self.finish_early()

    def gone(self) -> None:
        """A worker has ended."""
        self.alive -= 1
        self.run.tasks -= self.alive > 0
        if not self.over:  # the others wait for nothing but their cancellation
            self.run.look_for_deadlock()

    def finish_early(self) -> None:
        """Nothing more is wanted: calls under way are cancelled."""
        self.over = self.halted = True
        self.alone = False
        self.wake_idle()
        self.group.cancel_scope.cancel()

    # -- taking items ----------------------------------------------------------------------------

    async def next(self) -> Any:
        """The next item of the source or lane, or END.  One worker asks the gate, the others wait for it."""
        while not self.over:
            if self.signal and await self.run.hold(self.control):
                return END
            if self.source is not None:
                if (item := next(self.source, END)) is not WAIT:
                    return item
                if self.run.due():
                    await self.run.rest()
                continue
            assert self.lane is not None
            if self.lane.items:
                item = self.lane.items.popleft()
                self.lane.taken += 1
                if self.lane.writer is not None:
                    self.lane.release()
                self.wake_idle()
                return item
            if self.lane.closed:
                self.wake_idle()
                return END
            await self.ask()
        return END

    async def ask(self) -> None:
        assert self.lane is not None
        if self.asking:
            await self.idle_until_woken()
            return
        self.asking = True
        try:
            await self.lane.wait()
        finally:
            self.asking = False

    async def idle_until_woken(self) -> None:
        park = self.run.backend.park()
        self.idle.append(park)
        await self.run.parked(park)

    def wake_idle(self) -> None:
        idle, self.idle = self.idle, []
        for park in idle:
            self.run.wake(park)

    # -- the three ways of working ---------------------------------------------------------------

    async def in_order(self) -> bool:
        """Results leave in the order of their items; a finished one that waits keeps its place.

        True after an item if `slices` goes on from there.
        """
        run, fn = self.run, self.fn
        first = True
        while (item := await self.next()) is not END:
            self.joined()
            number = self.started
            self.started = number + 1
            if first:
                first = False
                self.hire()
            await self.leave(number, await fn(item))
            if run.due():
                await run.rest()
            if self.slices is not None:
                return True
        return False

    def begin(self) -> None:
        """A worker without an item is about to take some: it is the only one if every result has left."""
        self.joined()
        self.only = self.turn == self.started and not self.sending
        self.alone = self.only and not self.halted

    def end(self) -> None:
        """The only one has no item any more."""
        self.turn, self.only, self.alone = self.started if self.only else self.turn, False, False

    def joined(self) -> None:
        """A worker without an item joins the only one, which has one."""
        if self.only:
            self.only, self.alone, self.turn = False, False, self.started - 1

    async def leave(self, number: int, value: Any) -> None:
        """Send a result when its turn has come, and those that waited behind it."""
        if self.over:
            return
        if self.only:
            self.only, self.turn = False, number
        self.done[number] = value
        if number != self.turn or self.sending:
            while self.turn <= number and not self.over:
                await self.idle_until_woken()
            self.joined()
            return
        await self.drain()

    async def drain(self) -> None:
        """Send the results whose turn has come."""
        self.sending = True
        while (number := self.turn) in self.done:
            value = self.done.pop(number)
            if value is not DROPPED:
                over = await self.emit(value) if self.waits else self.emit(value)
                if over:
                    return self.finish_early()
            self.turn += 1
        self.sending = False
        self.wake_idle()

    async def pause(self, number: int) -> bool:
        """Let others run in the middle of a result's way; those behind wait for `drain`.  False: no rest is due now."""
        self.only, self.alone, self.turn, self.sending = False, False, number + 1, True
        await self.run.rest()
        self.sending = False
        return False

    async def as_done(self) -> None:
        """Results leave as they come."""
        first = True
        while (item := await self.next()) is not END:
            number = self.started
            self.started = number + 1
            if first:
                first = False
                self.hire()
            value = await self.fn(item)
            if value is not DROPPED and await self.send(value):
                return self.finish_early()
            if self.run.due():
                await self.run.rest()

    async def expand(self) -> None:
        """Each worker sends on all outputs of its item, interleaved with those of the others."""
        first = True
        guarded = self.run.guard(self.step) if self.step.guards else None
        while (item := await self.next()) is not END:
            number = self.started
            self.started = number + 1
            if first:
                first = False
                self.hire()
            run, value = self.run, self.run.ledger.value(item)
            run.ledger.lost(item, "split", self.step.label)
            run.item = item[0] if run.ledger.exact else None
            many, child = guarded.each(self.fn, value) if guarded else outputs(self.fn, value), -1
            try:
                async for value in many:
                    child += 1
                    if run.ledger.exact:
                        value = run.child(item[0], child), value
                    if await self.send(value):
                        return self.finish_early()
                    if self.run.due():
                        await self.run.rest()
            finally:
                await many.aclose()  # type: ignore[attr-defined]

    async def send(self, value: Any) -> bool:
        """Send one item on; one worker at a time where sending may wait."""
        if self.over:
            return True
        if not self.waits:
            return bool(self.emit(value))
        while self.sending:
            await self.idle_until_woken()
        self.sending = True
        try:
            return bool(await self.emit(value))
        finally:
            self.sending = False
            self.wake_idle()
