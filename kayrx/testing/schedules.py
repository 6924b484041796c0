"""Seeded schedules: the order in which ready tasks run is drawn from a seed.

A program that is right only in the order in which the loop happens to run its tasks fails under some
seed, and fails again under the same seed.  On asyncio the steps of tasks change places among each
other; plain callbacks keep their order, which asyncio promises.  On trio the order is random anyway,
and the seed makes it the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from kayrx.testing.clock import run_virtual

T = TypeVar("T")


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


__all__ = ["Schedule"]
