"""A crew in a run with a checkpoint: a barrier goes on when every call before it has left."""

from __future__ import annotations

from typing import Any

from kayrx.plan.keeping import Barrier
from kayrx.plan.shapes import END, WAIT
from kayrx.runtime.crews.crew import Crew


class SavingCrew(Crew):
    """Its workers take no item past a barrier; the one that holds it waits until all others are free."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.free = 0
        self.barred = False
        if self.run.ledger.exact and args[3] is not None:
            head, enter = self.segment.head, self.run.enter
            entry = head.label if head is not None else self.step.label
            self.source = (x if type(x) is Barrier or x is WAIT else (enter(entry), x) for x in args[3])

    async def next(self) -> Any:
        self.free += 1
        if self.barred:
            self.wake_idle()  # the last call may have been waited for
        item = END
        while not self.over:
            if self.barred:
                await self.idle_until_woken()
            elif self.signal and not self.run.stopping:  # a source that is stopped ends by itself
                await self.run.hold(self.control)
            elif self.source is not None:
                item = next(self.source, END)
                if item is WAIT:
                    await self.run.rest()
                    continue
                if type(item) is not Barrier:
                    break
                await self.let_pass(item)
            elif (lane := self.lane) is not None and lane.items:
                item = lane.items.popleft()
                if lane.writer is not None:
                    lane.release()
                self.wake_idle()
                if type(item) is not Barrier:
                    lane.taken += 1
                    break
                await self.let_pass(item)
            elif lane is not None and lane.closed:
                item = END
                self.wake_idle()
                break
            else:
                await self.ask()
        self.free -= 1
        return END if self.over else item

    async def let_pass(self, barrier: Barrier) -> None:
        self.barred = True
        while self.free < self.alive and not self.over:
            await self.idle_until_woken()
        if not self.over:
            await self.emit(barrier)
        self.barred = False
        self.wake_idle()
