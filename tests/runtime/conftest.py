"""What the runtime's tests share: a graph or an async function on virtual time, and sources that are watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import run_virtual


async def awaited(graph: Any) -> Any:
    return await graph


@pytest.fixture
def virtual(loop: str) -> Callable[[Any], Any]:
    """``virtual(graph)`` or ``virtual(async_function)``: the result, on virtual time on this loop."""
    def run(what: Any) -> Any:
        return run_virtual(lambda: awaited(what) if isinstance(what, kx.Graph) else what(), loop)
    return run


class Watched:
    """A source that counts what is read of it, and knows whether its ``finally`` has run.

    ``source`` reads at once, ``slowly(seconds)`` gives an item every so many seconds.
    """

    def __init__(self, items: Iterable[Any] = range(10**9)) -> None:
        self.items = items
        self.read = self.opened = self.closed = 0

    @property
    def open(self) -> int:
        return self.opened - self.closed

    def source(self) -> Iterator[Any]:
        self.opened += 1
        try:
            for item in self.items:
                self.read += 1
                yield item
        finally:
            self.closed += 1

    def slowly(self, seconds: float) -> Callable[[], AsyncIterator[Any]]:
        async def items() -> AsyncIterator[Any]:
            self.opened += 1
            try:
                for item in self.items:
                    await anyio.sleep(seconds)
                    self.read += 1
                    yield item
            finally:
                self.closed += 1
        return items


@pytest.fixture
def watched() -> type[Watched]:
    return Watched


def notes(error: BaseException) -> list[str]:
    return [note for note in getattr(error, "__notes__", ()) if note.startswith("kayrx:")]


@pytest.fixture
def noted() -> Callable[[BaseException], list[str]]:
    """The kayrx notes of an exception."""
    return notes
