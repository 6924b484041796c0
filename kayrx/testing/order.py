"""The order in which a loop runs the tasks that are ready, drawn from a seed."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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


__all__ = ["DrawnLoop", "trio_order"]
