"""An object whose calls block, kept in a thread of its own: opened, used and closed there, one call at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from kayrx.nodes.place import threads
from kayrx.runtime.places.threads import Workers


class InThread:
    """``async with`` opens what ``factory`` makes; ``do(fn)`` is ``fn(object)``, in the thread.

    A call that is cancelled goes on until it returns, and leaving the block waits for it: a letter is
    written whole or not at all.
    """

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory
        self.workers = Workers(threads(1), lambda call: call())

    async def __aenter__(self) -> InThread:
        await self.workers.__aenter__()
        try:
            self.made = await self.workers.one(self.factory)
        except BaseException:
            await self.workers.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await self.workers.one(self.made.close)
        finally:
            await self.workers.__aexit__()

    async def do(self, fn: Callable[[Any], Any]) -> Any:
        """The value of ``fn(object)``."""
        return await self.workers.one(lambda: fn(self.made))

    async def append(self, item: Any) -> Any:
        return await self.do(lambda made: made.append(item))


async def do(store: Any, fn: Callable[[Any], Any]) -> Any:
    """The value of ``fn(store)``, which may be in a thread, and may be async."""
    if isinstance(store, InThread):
        return await store.do(fn)
    value = fn(store)
    return await value if hasattr(value, "__await__") else value
