"""A task beside the caller's, for faces that cannot be awaited: owned by the loop, held until it ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from kayrx.runtime.backend import current, loop_running
from kayrx.runtime.world import THE_WORLD

_held: set[asyncio.Task[None]] = set()


def spawn(work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Start ``work`` as a task of the running loop; gives a function that cancels it, from any thread.

    ``work`` must not raise: nobody would be there to see it.
    """
    backend = current(THE_WORLD)
    scope = anyio.CancelScope()

    async def scoped() -> None:
        with scope:
            await work()

    if loop_running() == "trio":
        sys.modules["trio"].lowlevel.spawn_system_task(scoped)
    else:
        task = asyncio.get_running_loop().create_task(scoped())
        _held.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(_held.discard)
    return lambda: backend.from_thread(scope.cancel)
