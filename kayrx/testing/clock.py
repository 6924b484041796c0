"""Virtual time on asyncio and trio: sleeps take no time, and deadlines fall in their order.

When every task waits, the clock jumps to the next deadline.  ``loop.time``, ``anyio.sleep``,
``asyncio.sleep``, timeouts and the timers of kayrx are all on that one clock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timeout, moves the clock there; waits only for real input or threads."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time; begins at 0.0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jumping.now


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]], backend: str = "asyncio") -> T:
    """Run ``main()`` on virtual time, on "asyncio" or "trio", and give its result.

    >>> async def an_hour() -> float:
    ...     start = anyio.current_time()
    ...     await anyio.sleep(3600)
    ...     return anyio.current_time() - start
    >>> run_virtual(an_hour)
    3600.0
    """
    if backend == "trio":
        from trio.testing import MockClock

        return anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return anyio.run(main, backend="asyncio", backend_options={"loop_factory": VirtualLoop})
