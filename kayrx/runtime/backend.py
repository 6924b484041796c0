"""Parking a task and waking it, on asyncio, on trio, and on the synchronous scheduler.

A park is made for one wait and woken once.  anyio's Event would do the same at three times the
cost, and the hand-off between two segments is nothing but parks.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Protocol

import anyio

from kayrx.runtime.world import World, monotonic


class Backend(Protocol):
    """What the runtime needs of an event loop."""

    name: str
    now: Callable[[], float]
    shared: Callable[[], float]
    """A clock that every run of this process reads alike, unless time is virtual."""
    time: Callable[[], float]
    """The clock of the loop's own timers."""
    once: Callable[[], Awaitable[None]] | None
    """One pass of the loop, where that is cheaper than a park."""

    def park(self) -> Any: ...
    def wake(self, park: Any) -> None: ...
    def checkpoint(self) -> Awaitable[None]: ...
    async def sleep(self, seconds: float) -> None: ...
    def from_thread(self, fn: Callable[[], None]) -> None: ...


@coroutine
def _pass() -> Generator[None, None, None]:
    """Let every task that is ready run once."""
    yield


class AsyncioBackend:
    name = "asyncio"
    checkpoint: Callable[[], Awaitable[None]] = staticmethod(_pass)
    once: Callable[[], Awaitable[None]] | None = staticmethod(_pass)

    def __init__(self, world: World) -> None:
        self.loop = asyncio.get_running_loop()
        plain = type(self.loop).time is asyncio.BaseEventLoop.time
        self.time = monotonic if plain else self.loop.time  # the same clock, one call less
        self.now = self.shared = world.now or self.time
        self.park = self.loop.create_future
        self._sleep = world.sleep or anyio.sleep

    @staticmethod
    def wake(park: asyncio.Future[None]) -> None:
        if not park.done():
            park.set_result(None)

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    def from_thread(self, fn: Callable[[], None]) -> None:
        try:
            self.loop.call_soon_threadsafe(fn)
        except RuntimeError:  # the loop has closed: nobody is left to wake
            pass


class TrioPark:
    """One wait of a trio task; a wake before the wait is kept."""

    __slots__ = ("task", "woken")

    def __init__(self) -> None:
        self.task: Any = None
        self.woken = False

    def __await__(self) -> Generator[Any, Any, None]:
        trio = sys.modules["trio"]
        if self.woken:
            return
        self.task = trio.lowlevel.current_task()

        def abort(_: object) -> Any:
            self.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        yield from trio.lowlevel.wait_task_rescheduled(abort).__await__()


class TrioBackend:
    name = "trio"
    once: Callable[[], Awaitable[None]] | None = None

    def __init__(self, world: World) -> None:
        self.trio = sys.modules["trio"]
        self.token = self.trio.lowlevel.current_trio_token()
        self.time = self.trio.current_time
        self.now = world.now or self.time
        plain = type(self.trio.lowlevel.current_clock()).__name__ == "SystemClock"  # that begins anywhere in each run
        self.shared = world.clock if plain else self.now
        self.park = TrioPark
        self._sleep = world.sleep or anyio.sleep

    def wake(self, park: TrioPark) -> None:
        if park.woken:
            return
        park.woken = True
        if park.task is not None:
            task, park.task = park.task, None
            self.trio.lowlevel.reschedule(task)

    async def checkpoint(self) -> None:
        await self.trio.lowlevel.checkpoint()

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    def from_thread(self, fn: Callable[[], None]) -> None:
        try:
            self.token.run_sync_soon(fn)
        except self.trio.RunFinishedError:
            pass


class SyncPark:
    __slots__ = ("task", "woken")

    def __init__(self) -> None:
        self.task: Coroutine[Any, Any, None] | None = None
        self.woken = False

    def __await__(self) -> Generator[SyncPark, None, None]:
        if not self.woken:
            yield self


class SyncTurn(SyncPark):
    """A wait for nothing: the other tasks that can go on do so first."""

    __slots__ = ()

    def __await__(self) -> Generator[SyncPark, None, None]:
        yield self


TURN = SyncTurn()


class SyncBackend:
    """Runs our own segments without a loop: a plan in which no node waits for the outside.

    Only coroutines of this package are stepped here; a user's coroutine never is (ruling 3).
    """

    name = "sync"
    once: Callable[[], Awaitable[None]] | None = None

    def __init__(self, world: World) -> None:
        self.now = self.shared = self.time = world.clock
        self.park = SyncPark
        self.block = world.block
        self.ready: deque[Coroutine[Any, Any, None]] = deque()

    def wake(self, park: SyncPark) -> None:
        if park.woken:
            return
        park.woken = True
        if park.task is not None:
            self.ready.append(park.task)

    def checkpoint(self) -> Awaitable[None]:
        return TURN

    async def sleep(self, seconds: float) -> None:
        self.block(seconds)

    def from_thread(self, fn: Callable[[], None]) -> None:
        fn()

    def drive(self, tasks: list[Coroutine[Any, Any, None]], failed: Callable[[], bool]) -> None:
        """Step the tasks until none can go on, or one has ``failed``; then the others are closed."""
        self.ready.extend(tasks)
        try:
            while self.ready and not failed():
                task = self.ready.popleft()
                try:
                    park = task.send(None)
                except StopIteration:
                    continue
                park.task = task
                if park is TURN:
                    self.ready.append(task)
        finally:
            for task in tasks:
                task.close()


def loop_running() -> str | None:
    """"asyncio" or "trio" if the calling code runs inside that loop, else None."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return "trio"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return "asyncio"


def current(world: World) -> Backend:
    """The backend of the loop that runs now."""
    return TrioBackend(world) if loop_running() == "trio" else AsyncioBackend(world)
