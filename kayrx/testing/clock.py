"""Virtual time on asyncio and trio: sleeps take no time, and deadlines fall in their order.

When every task waits, the clock jumps to the next deadline.  ``loop.time``, ``anyio.sleep``,
``asyncio.sleep``, timeouts, backoffs, the timers of kayrx and of the Rx operators inside a graph are
all on that one clock, which begins at 0.0.

A thread takes real time, so while one is at work (``on=kx.threads(n)``, ``anyio.to_thread``, an
asyncio executor) the clock stands; one that is still at work after ``patience`` real seconds is taken
to be stuck, and time goes on without it.  Threads that you start yourself, and sockets, hold
nothing: keep them out of tests on virtual time.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from kayrx.errors import MissingDependency
from kayrx.runtime.backend import loop_running
from kayrx.runtime.places.threads import calls_under_way
from kayrx.runtime.world import World
from kayrx.testing.order import DrawnLoop, trio_order

T = TypeVar("T")
PATIENCE = 1.0


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timeout, moves the clock there; waits only for real input or threads."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.now, self.patience = 0.0, patience
        self.at_work: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            if self.at_work():
                ready = super().select(self.patience)
            if not ready:
                self.now += timeout
        return ready


class VirtualLoop(DrawnLoop):
    """An asyncio loop on virtual time; begins at 0.0."""

    def __init__(self, *, seed: int | None = None, patience: float = PATIENCE) -> None:
        self._jumping = _JumpingSelector(patience)
        self._jumping.at_work = self._at_work
        self._borrowed: Callable[[], int] = lambda: 0
        self._calls = 0
        super().__init__(self._jumping, seed=seed)

    def time(self) -> float:
        now = self._jumping.now
        self._clock_resolution = max(1e-12, 4 * math.ulp(now))  # a timer that is due must be seen to be due
        return now

    def hold_for(self, limiter: anyio.CapacityLimiter) -> None:
        """Stand while threads of this limiter are at work."""
        self._borrowed = lambda: limiter.borrowed_tokens

    def _at_work(self) -> bool:
        return bool(self._calls or self._borrowed() or calls_under_way(self))

    def run_in_executor(self, *args: Any) -> Any:  # type: ignore[override]
        future = super().run_in_executor(*args)
        self._calls += 1
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: object) -> None:
        self._calls -= 1

    async def shutdown_default_executor(self, *args: Any) -> None:
        self._calls += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._calls -= 1


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]], backend: str = "asyncio", *,
                seed: int | None = None, patience: float = PATIENCE) -> T:
    """Run ``main()`` on virtual time, on "asyncio" or "trio", and give its result.

    Where:   also beside a loop that runs here, as in a notebook: then in a thread, which is waited for.
    Order:   two runs run their tasks in the same order.  ``seed`` draws another one, see `Schedule`.
    Time:    begins at 0.0 and jumps when every task waits; stands while a worker thread is at work,
             for at most ``patience`` real seconds.
    Raises:  what ``main`` raises.

    >>> async def an_hour() -> float:
    ...     start = anyio.current_time()
    ...     await anyio.sleep(3600)
    ...     return anyio.current_time() - start
    >>> run_virtual(an_hour), run_virtual(an_hour, "trio")
    (3600.0, 3600.0)
    """
    if loop_running() is not None:
        with ThreadPoolExecutor(1) as apart:
            return apart.submit(lambda: run_virtual(main, backend, seed=seed, patience=patience)).result()
    if backend == "trio":
        return _on_trio(main, 0 if seed is None else seed, patience)

    async def begun() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.hold_for(anyio.to_thread.current_default_thread_limiter())
        return await main()

    loop_factory = partial(VirtualLoop, seed=seed, patience=patience)
    return anyio.run(begun, backend="asyncio", backend_options={"loop_factory": loop_factory})


def _on_trio(main: Callable[[], Coroutine[Any, Any, T]], seed: int, patience: float) -> T:
    try:
        import trio
        from trio.testing import MockClock
    except ImportError:
        raise MissingDependency("pip install kayrx[testing]") from None

    clock = MockClock(autojump_threshold=0)
    token: Any = None
    limiter: Any = None

    class Holding(trio.abc.Instrument):
        """Lets the clock jump at once, or after ``patience`` while a thread is at work."""

        def after_task_step(self, task: object) -> None:
            busy = limiter is not None and (limiter.borrowed_tokens or calls_under_way(token))
            threshold = patience if busy else 0.0
            if clock.autojump_threshold != threshold:
                clock.autojump_threshold = threshold

    async def begun() -> T:
        nonlocal token, limiter
        limiter, token = trio.to_thread.current_default_thread_limiter(), trio.lowlevel.current_trio_token()
        return await main()

    with trio_order(seed):
        return anyio.run(begun, backend="trio", backend_options={"clock": clock, "instruments": [Holding()]})


class VirtualClock:
    """A clock for runs without a loop: only sleeping moves it on; inside a loop it is the loop's own."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time if loop_running() is None else anyio.current_time()

    def block(self, seconds: float) -> None:
        self.time += seconds


def virtual_world(seed: int = 0) -> World:
    """A world in which nothing is real: time is virtual, jitter is drawn from ``seed``, ids count from 1.

    Give it to a run: ``graph.run(world=virtual_world())`` sleeps without sleeping.

    >>> import kayrx as kx
    >>> def fail(x: int) -> int:
    ...     raise OSError
    >>> graph = kx.source([1]) >> kx.map(fail) >> kx.retry(3, backoff=kx.constant(3600)) >> kx.skip_errors()
    >>> world = virtual_world()
    >>> graph.collect(world=world), world.now()
    ([], 7200.0)
    """
    clock, ids, secrets = VirtualClock(), itertools.count(1), itertools.count(1)
    return World(now=clock.now, wall=clock.now, block=clock.block, random=random.Random(seed),
                 run_id=lambda: f"run {next(ids)}", secret=lambda: f"{next(secrets):08x}-for-tests")


__all__ = ["VirtualClock", "VirtualLoop", "run_virtual", "virtual_world"]
