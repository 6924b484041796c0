"""Worker threads: the first placement.  They live as long as the run, and end with it."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kayrx.nodes.place import Call, Threads
from kayrx.runtime.backend import current
from kayrx.runtime.world import World

Job = tuple[contextvars.Context, Any, Callable[[bool, Any], None]]


@asynccontextmanager
async def threads(place: Threads, fn: Callable[[Any], Any]) -> AsyncIterator[Call]:
    """``place.workers`` threads that call ``fn`` on one item at a time; joined when the block ends.

    A call that was given up (its waiter cancelled) goes on until it returns, and its result is
    discarded; the block ends then.
    """
    backend = current(World())
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()

    def work() -> None:
        while (job := jobs.get()) is not None:
            context, item, done = job
            try:
                value: Any = context.run(fn, item)
            except BaseException as error:
                done(False, error)
                del error
            else:
                done(True, value)
            del job, context, item, done

    async def one(item: Any) -> Any:
        park = backend.park()
        outcome: list[Any] = []

        def done(fine: bool, value: Any) -> None:
            outcome[:] = [fine, value]
            backend.from_thread(lambda: backend.wake(park))

        jobs.put((contextvars.copy_context(), item, done))
        await park
        fine, value = outcome
        if not fine:
            raise value
        return value

    async def call(batch: Sequence[Any]) -> Sequence[Any]:
        return [await one(item) for item in batch]

    workers = [threading.Thread(target=work, name=f"kayrx worker {n}", daemon=True)
               for n in range(1, place.workers + 1)]
    for worker in workers:
        worker.start()
    try:
        yield call
    finally:
        for _ in workers:
            jobs.put(None)
        for worker in workers:
            worker.join()
