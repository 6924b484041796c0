"""Worker threads: the first placement.  They live as long as the run, and end with it."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import anyio

from kayrx.nodes.place import Call, Threads
from kayrx.runtime.backend import Backend, current
from kayrx.runtime.places.worker import with_open
from kayrx.runtime.world import THE_WORLD


class AtWork(Protocol):
    """Workers that the runs on ``loop`` (asyncio) or token (trio) may be waiting for."""

    loop: Any

    def under_way(self) -> int: ...


OPEN: set[AtWork] = set()


def loop_of(backend: Backend) -> Any:
    return getattr(backend, "loop", None) or getattr(backend, "token", None)


def calls_under_way(loop: object) -> int:
    """How many calls of threads and processes the runs on this loop (asyncio) or token (trio) wait for.

    A virtual clock must not jump while there are any.
    """
    return sum(workers.under_way() for workers in tuple(OPEN) if workers.loop is loop)


class Workers:
    """``place.workers`` threads that call ``fn``, one item at a time; ``async with`` gives the call.

    A call that was given up (its waiter cancelled) goes on until it returns: its result is discarded
    and its thread stays taken.  Leaving the block waits for it, without blocking the loop; after
    `abandon` it does not, for a thread cannot be stopped (ruling 11, law 8's one exception).
    """

    def __init__(self, place: Threads, fn: Callable[[Any], Any]) -> None:
        self.place, self.fn = place, fn
        self.jobs: queue.SimpleQueue[Callable[[Callable[[Any], Any]], None] | None] = queue.SimpleQueue()
        self.alive = place.workers
        self.abandoned = False
        self.ending: Any = None
        self.busy = 0
        self.waiting: list[Any] = []

    async def __aenter__(self) -> Call:
        self.backend = backend = current(THE_WORLD)
        self.loop = loop_of(backend)
        OPEN.add(self)
        self.threads = [threading.Thread(target=self._work, name=f"kayrx worker {number}", daemon=True)
                        for number in range(1, self.place.workers + 1)]
        for thread in self.threads:
            thread.start()
        return self.call

    async def __aexit__(self, *_: object) -> None:
        for _worker in range(self.place.workers):
            self.jobs.put(None)
        with anyio.CancelScope(shield=True):
            while self.alive and not self.abandoned:
                self.ending = self.backend.park()
                await self.ending
        OPEN.discard(self)
        if not self.abandoned:
            for thread in self.threads:  # each has done its last step, and is about to be gone
                thread.join()

    def under_way(self) -> int:
        return self.busy or (self.alive if self.ending is not None else 0)

    def abandon(self) -> int:
        """Wait for no call any more; gives how many are still under way."""
        self.abandoned = True
        if self.ending is not None:
            self.backend.wake(self.ending)
        return self.alive

    def _work(self) -> None:
        with ExitStack() as stack:
            fn: Callable[[Any], Any]
            try:
                fn = with_open(self.fn, stack)
            except Exception as error:
                fn = partial(failing, error)
            while (job := self.jobs.get()) is not None:
                job(fn)
                del job  # the item and its result must not live until the next one
        self.backend.from_thread(self._gone)

    def _gone(self) -> None:
        self.alive -= 1
        if self.ending is not None:
            self.backend.wake(self.ending)

    def seat(self) -> Workers:
        """One for all: no thread is kept for an item, a call waits until one is free."""
        return self

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None: ...

    async def ready(self) -> None:
        """Wait for a free thread: one that was given up is not free until its call returns."""
        while self.busy >= self.place.in_flight:
            park = self.backend.park()
            self.waiting.append(park)
            await park

    def _returned(self, park: Any) -> None:
        self.busy -= 1
        waiting, self.waiting = self.waiting, []
        for one in (park, *waiting):
            self.backend.wake(one)

    async def call(self, batch: Sequence[Any]) -> Sequence[Any]:
        """The results of a batch, item by item; raises what the function raised."""
        return [await self.one(item) for item in batch]

    async def one(self, item: Any) -> Any:
        """The result of one call; cancelled, it goes on without us."""
        park = self.backend.park()
        outcome: list[Any] = []
        context = contextvars.copy_context()

        def job(fn: Callable[[Any], Any]) -> None:
            try:
                outcome[:] = [context.run(fn, item), None]
            except BaseException as error:
                outcome[:] = [None, error]
            self.backend.from_thread(partial(self._returned, park))

        self.busy += 1
        self.jobs.put(job)
        await park
        value, error = outcome
        if error is not None:
            raise error
        return value


def failing(error: Exception, item: Any) -> Any:
    """What a thread calls whose resource could not be opened."""
    raise error


def threads(place: Threads, fn: Callable[[Any], Any]) -> Workers:
    """The workers of a placement, not yet started."""
    return Workers(place, fn)
