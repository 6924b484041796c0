"""Rx timers outside a graph, on the clock of the running loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from reactivex import abc

from kayrx.runtime.rx.timers import SegmentScheduler


class LoopScheduler(SegmentScheduler):
    """A reactivex scheduler whose actions run in one task of the running loop."""

    def __init__(self) -> None:
        super().__init__(anyio.current_time)
        self._changed = anyio.Event()

    def _at(self, due: float, action: Any, state: Any) -> abc.DisposableBase:
        entry = super()._at(due, action, state)
        self._changed.set()
        return entry

    async def work(self) -> None:
        while True:
            self._changed = anyio.Event()
            self.run_due()
            due = self.next_due
            with anyio.move_on_after(float("inf") if due is None else max(0.0, due - anyio.current_time())):
                await self._changed.wait()


@asynccontextmanager
async def rx_scheduler() -> AsyncIterator[LoopScheduler]:
    """A reactivex scheduler on the running loop's clock: give it to ``subscribe`` or to ``reactivex.interval``.

    Rx operators inside a graph need none, for they are on the run's clock already.  On virtual time this one is
    virtual too, on asyncio and trio.  What an action raises comes out of the ``async with``; leaving it
    drops what has not come due.

    >>> import reactivex
    >>> from kayrx.testing import run_virtual
    >>> async def main() -> list[float]:
    ...     ticks: list[float] = []
    ...     async with rx_scheduler() as timers:
    ...         reactivex.interval(60, scheduler=timers).subscribe(lambda _: ticks.append(anyio.current_time()))
    ...         await anyio.sleep(200)
    ...     return ticks
    >>> run_virtual(main), run_virtual(main, "trio")
    ([60.0, 120.0, 180.0], [60.0, 120.0, 180.0])
    """
    scheduler = LoopScheduler()
    failed: list[Exception] = []

    async def work() -> None:
        try:
            await scheduler.work()
        except Exception as error:
            failed.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        yield scheduler
        group.cancel_scope.cancel()
    if failed:
        raise failed[0]


__all__ = ["LoopScheduler", "rx_scheduler"]
