"""Calls of a placement, item by item; where it wants ``batch`` at a time, they are gathered."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from kayrx.errors import RunError
from kayrx.nodes.place import Call, Failed, Placement
from kayrx.runtime.backend import Backend

PASSES = 3
"""Turns of the loop in which every task that has just got its result takes its next item: it may rest once on
the way, and trio runs the tasks of one turn in any order."""


class Entry:
    """One item on its way: its result, and who waits for it."""

    __slots__ = ("item", "park", "result", "since")

    def __init__(self, item: Any, park: Any, since: float) -> None:
        self.item, self.park, self.since = item, park, since
        self.result: Any = None


class Batches:
    """``await batches.one(item)`` gives its result; ``workers`` batches at most are out at once.

    A batch goes when it is full, or ``linger`` seconds after its first item; with ``linger=0`` once every
    task that is ready has had its turn.
    """

    def __init__(self, place: Placement, call: Call, backend: Backend) -> None:
        self.place, self.call, self.backend = place, call, backend
        self.entries: deque[Entry] = deque()
        self.gathering: Any = None  # the park of the runner whose turn it is
        self.turn = False
        self.idle: list[Any] = []

    async def one(self, item: Any) -> Any:
        """The result of one item; raises what its call raised."""
        entry = Entry(item, self.backend.park(), self.backend.now())
        self.entries.append(entry)
        if self.gathering is not None:
            self.backend.wake(self.gathering)
        await entry.park
        return given(entry.result)

    async def runner(self) -> None:
        """Gather a batch when it is this runner's turn, call, hand the results out, and again."""
        while True:
            while self.turn:
                park = self.backend.park()
                self.idle.append(park)
                await park
            self.turn = True
            try:
                batch = await self._gathered()
            finally:
                self.turn = False
                idle, self.idle = self.idle, []
                for park in idle:
                    self.backend.wake(park)
            for entry, result in zip(batch, await self._called(batch), strict=True):
                entry.result = result
                self.backend.wake(entry.park)

    async def _called(self, batch: Sequence[Entry]) -> Sequence[Any]:
        try:
            results = await self.call([entry.item for entry in batch])
            if len(results) != len(batch):
                raise RunError(f"{self.place!r} gave {len(results)} results for a batch of {len(batch)}")
        except Exception as error:
            return [Failed(error)] * len(batch)
        return results

    async def _gathered(self) -> list[Entry]:
        while not self.entries:
            await self._another()
        if self.place.linger:
            with anyio.move_on_after(self.entries[0].since + self.place.linger - self.backend.now()):
                while len(self.entries) < self.place.batch:
                    await self._another()
        else:
            for _ in range(PASSES):
                await self.backend.checkpoint()
        return [self.entries.popleft() for _ in range(min(len(self.entries), self.place.batch))]

    async def _another(self) -> None:
        self.gathering = park = self.backend.park()
        try:
            await park
        finally:
            self.gathering = None


def given(result: Any) -> Any:
    """A result; raises what a `Failed` holds."""
    if isinstance(result, Failed):
        raise result.error
    return result


@asynccontextmanager
async def item_by_item(place: Placement, call: Call,
                       backend: Backend) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
    """``call`` as an async function of one item; in a batch of its own it can be cancelled by itself."""
    if place.batch == 1:
        async def alone(item: Any) -> Any:
            (result,) = await call((item,))
            return given(result)

        yield alone
        return
    batches = Batches(place, call, backend)
    async with anyio.create_task_group() as group:
        for _ in range(place.workers):
            group.start_soon(batches.runner)
        yield batches.one
        group.cancel_scope.cancel()
