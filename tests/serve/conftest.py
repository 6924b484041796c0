"""What the tests of delivery share: a hub on virtual time, token sources that are watched, and plain ASGI calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio
import pytest

from kayrx.testing import run_virtual


@pytest.fixture
def virtual(loop: str) -> Callable[[Any], Any]:
    """``virtual(async_function)``: its result, on virtual time on this loop."""
    return lambda main: run_virtual(main, loop)


class Tokens:
    """An async source, one item every ``seconds``, that knows how much was read of it and whether it is open."""

    def __init__(self, items: Iterable[Any] = range(10**9), seconds: float = 1.0) -> None:
        self.items, self.seconds = items, seconds
        self.given = self.opened = self.closed = 0
        self.left = anyio.Event()

    async def __call__(self) -> AsyncIterator[Any]:
        self.opened += 1
        try:
            for item in self.items:
                await anyio.sleep(self.seconds)
                self.given += 1
                yield item
        finally:
            self.closed += 1
            self.left.set()


@pytest.fixture
def tokens() -> type[Tokens]:
    return Tokens
