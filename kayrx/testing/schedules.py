"""Seeded schedules: the order in which ready tasks run is drawn from a seed.

A program that is right only in the order in which the loop happens to run its tasks fails under some
seed, and fails again under the same seed.  On asyncio the steps of tasks change places among each
other; plain callbacks keep their order, which asyncio promises.  On trio the order is random anyway,
and the seed makes it the same each time.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class DrawnLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that draws the order of the tasks that are ready; ``seed=None`` leaves it as it is."""

    def __init__(self, *selector: Any, seed: int | None = None) -> None:
        super().__init__(*selector)
        if seed is not None:
            self._ready = Drawn(random.Random(seed))


class Drawn(deque[Any]):
    """A loop's queue of ready handles: taking one out first lets it change places with another task's."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self._draw = draw

    def popleft(self) -> Any:
        if len(self) > 1 and is_step(self[0]):
            steps = [at for at, handle in enumerate(self) if is_step(handle)]
            other = steps[self._draw.randrange(len(steps))]
            self[0], self[other] = self[other], self[0]
        return super().popleft()


def is_step(handle: Any) -> bool:
    """True for the next step of a task, as opposed to a plain callback."""
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)


@contextmanager
def trio_order(seed: int) -> Iterator[None]:
    """Draw trio's task order from ``seed``: the switch that trio's own plugin for hypothesis turns.

    trio has no public way to seed its scheduler, so this one names the two variables.
    """
    from trio._core import _run

    switch: Any = _run
    before, state = switch._ALLOW_DETERMINISTIC_SCHEDULING, switch._r.getstate()
    switch._ALLOW_DETERMINISTIC_SCHEDULING = True
    switch._r.seed(seed)
    try:
        yield
    finally:
        switch._ALLOW_DETERMINISTIC_SCHEDULING = before
        switch._r.setstate(state)


class Schedule:
    """Runs async functions on virtual time, their tasks in an order drawn from ``seed``.

    What a run raises gains a note with the seed, so that a failure can be repeated.

    >>> import kayrx as kx
    >>> async def total() -> int:
    ...     return await (kx.source([1, 2]) >> kx.map(abs, concurrency=1) >> kx.to_list())
    >>> Schedule(7).run(total)
    [1, 2]
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __repr__(self) -> str:
        return f"Schedule({self.seed})"

    def run(self, main: Callable[[], Coroutine[Any, Any, T]], backend: str = "asyncio") -> T:
        """``main()`` on "asyncio" or "trio"."""
        from kayrx.testing.clock import run_virtual

        try:
            return run_virtual(main, backend, seed=self.seed)
        except Exception as error:
            error.add_note(f"kayrx.testing: under {self!r} on {backend}")
            raise

    def others(self, times: int) -> Iterator[Schedule]:
        """This schedule and ``times - 1`` more, whose seeds follow from it."""
        draw = random.Random(self.seed)
        yield self
        for _ in range(times - 1):
            yield Schedule(draw.getrandbits(32))


__all__ = ["DrawnLoop", "Schedule", "trio_order"]
