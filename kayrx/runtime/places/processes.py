"""Worker processes: the second placement.  One that is stuck can be killed; one that dies costs one item.

Not `concurrent.futures`, whose pool is broken by the death of one worker and which cannot kill one, nor
`anyio.to_process`, whose workers belong to the loop and not to the run; `kayrx.runtime.places.worker` is the
inside.  A worker has one batch at a time, so what it was doing when it died is known.
"""

from __future__ import annotations

import pickle
import reprlib
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

from kayrx.errors import RunError, WorkerDied
from kayrx.graph.node import function_name
from kayrx.nodes.place import Call, Failed, Processes
from kayrx.runtime.backend import current
from kayrx.runtime.crews.batches import given
from kayrx.runtime.places import worker as inside
from kayrx.runtime.places.remote import Answer, Carried, Worker, ending, main_module
from kayrx.runtime.places.threads import OPEN, loop_of
from kayrx.runtime.world import THE_WORLD


class Waiter:
    """A task that waits in line for a worker: it is handed one, or None where one may be started."""

    __slots__ = ("park", "worker")

    def __init__(self, park: Any) -> None:
        self.park = park
        self.worker: Worker | None = None


class Seat:
    """A worker kept for one item, from before its guards begin until the call."""

    __slots__ = ("pool", "worker")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.worker: Worker | None = None

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker is not None:
            self.pool.give(self.worker)

    async def ready(self) -> None:
        """Wait for a free worker; the time this takes is no part of a call's."""
        if self.worker is None:
            self.worker = await self.pool.take()

    async def one(self, item: Any) -> Any:
        """The result of one call; cancelled, it is killed with its worker."""
        await self.ready()
        worker, self.worker = self.worker, None
        assert worker is not None
        (result,) = await self.pool.serve(worker, (item,))
        return given(result)


class Pool:
    """Up to ``place.workers`` processes that call ``fn``; ``async with`` gives the call.

    A worker is started when an item needs it, and again after one has died.
    """

    def __init__(self, place: Processes, fn: Any) -> None:
        self.place, self.fn = place, fn
        self.name = function_name(fn) or type(fn).__name__
        self.workers: set[Worker] = set()
        self.idle: deque[Worker] = deque()   # empty while somebody waits in line
        self.line: deque[Waiter] = deque()
        self.carried = Carried()

    async def __aenter__(self) -> Call:
        self.backend = current(THE_WORLD)
        self.loop = loop_of(self.backend)
        OPEN.add(self)
        return self.call

    async def __aexit__(self, *_: object) -> None:
        for worker in self.idle:
            worker.process.stdin.close()  # type: ignore[union-attr]  # all at once, then wait for each
        try:
            while self.idle:
                await self._bury(self.idle.popleft(), kill=False)
        finally:
            OPEN.discard(self)

    def under_way(self) -> int:
        return len(self.workers) - len(self.idle)

    def seat(self) -> Seat:
        return Seat(self)

    # -- workers ---------------------------------------------------------------------------------

    async def take(self) -> Worker:
        """A free worker: one that is idle, a new one, or the next that becomes free, in turn."""
        while True:
            if self.idle:
                return self.idle.popleft()
            if len(self.workers) < self.place.workers:
                return await self._started()
            waiter = Waiter(self.backend.park())
            self.line.append(waiter)
            try:
                await waiter.park
            except BaseException:
                if waiter in self.line:
                    self.line.remove(waiter)
                elif waiter.worker is not None:
                    self.give(waiter.worker)
                else:
                    self._hand(None)
                raise
            if waiter.worker is not None:
                return waiter.worker

    def give(self, worker: Worker) -> None:
        """The worker is free again."""
        if not self._hand(worker):
            self.idle.append(worker)

    def _hand(self, worker: Worker | None) -> bool:
        if not self.line:
            return False
        waiter = self.line.popleft()
        waiter.worker = worker
        self.backend.wake(waiter.park)
        return True

    async def _started(self) -> Worker:
        if inside.importing_main:
            raise RunError("this script starts worker processes while a worker imports it; write what runs the graph "
                           'under if __name__ == "__main__":')
        worker = Worker()
        self.workers.add(worker)
        try:
            answers = await worker.ask(pickle.dumps((pickle.dumps(self.fn), main_module(), sys.argv)), 1)
        except BaseException:
            await self._bury(worker)
            raise
        if not answers:
            code = await self._bury(worker)
            raise WorkerDied(f"a worker process of {self.name} {ending(code)} as it started")
        ((kind, data),) = answers
        if kind == inside.BROKEN:
            await self._bury(worker)
            error = self._error(data, worker)
            raise RunError(f"a worker process of {self.name} could not start: {error!r}; the function and what it "
                           "opens must be importable there") from error
        return worker

    async def _bury(self, worker: Worker, *, kill: bool = True) -> int:
        try:
            return await worker.gone(kill=kill)
        finally:
            self.workers.discard(worker)
            self._hand(None)

    # -- calls -----------------------------------------------------------------------------------

    async def call(self, batch: Sequence[Any]) -> Sequence[Any]:
        """The results of a batch; `Failed` for an item whose call raised or whose worker died."""
        return await self.serve(await self.take(), batch)

    async def serve(self, worker: Worker, batch: Sequence[Any]) -> Sequence[Any]:
        results: list[Any] = [None] * len(batch)
        left: list[tuple[int, bytes]] = []
        for place, item in enumerate(batch):
            try:
                left.append((place, pickle.dumps(item, pickle.HIGHEST_PROTOCOL)))
            except Exception as error:
                results[place] = Failed(RunError(f"{reprlib.repr(item)} cannot be sent to another process: {error}"))
        while left:
            try:
                answers = await worker.ask(self._request(worker, [data for _, data in left]), len(left))
            except BaseException:
                await self._bury(worker)  # only so is a call stopped in the middle
                raise
            for (place, _), answer in zip(left, answers or (), strict=False):
                results[place] = self._result(answer, worker)
            left = left[len(answers or ()):]
            if not left:
                break
            code = await self._bury(worker)
            if answers is not None:  # it died of what it had in hand
                (place, _), *left = left
                results[place] = Failed(WorkerDied(
                    f"worker process {worker.process.pid} of {self.name} {ending(code)} while it worked on "
                    f"{reprlib.repr(batch[place])}"))
                if not left:
                    return results
            worker = await self.take()
        self.give(worker)
        return results

    def _request(self, worker: Worker, items: list[bytes]) -> bytes:
        """The items, and the context if it is another than the worker knows."""
        context = self.carried.now()
        known, worker.context = worker.context, context
        return pickle.dumps((None if context == known else context, items))

    def _result(self, answer: Answer, worker: Worker) -> Any:
        kind, data = answer
        if kind == inside.ERROR:
            return Failed(self._error(data, worker))
        try:
            return pickle.loads(data)
        except Exception as error:
            return Failed(RunError(f"the result of {self.name} cannot be read in this process: {error!r}"))

    def _error(self, data: bytes, worker: Worker) -> BaseException:
        """What was raised in a worker, with its traceback there as a note."""
        error, text = pickle.loads(data)
        if isinstance(error, inside.Rebuilt):
            error = error.error()
        try:
            error.add_note(f"in worker process {worker.process.pid}:\n{text.rstrip()}")
        except Exception:  # an exception may forbid notes; its own meaning matters more
            pass
        return error  # type: ignore[no-any-return]
