"""``resource(factory)``: opened once a run, closed with it, however the run ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import kayrx as kx


class Book:
    """A sink and letter store that must be open to be written to."""

    made: list[Book]

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.open = True
        Book.made.append(self)

    def append(self, line: Any) -> None:
        assert self.open
        self.lines.append(line)

    def close(self) -> None:
        self.open = False


class AsyncBook(Book):
    async def __aenter__(self) -> AsyncBook:
        await anyio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


@pytest.fixture(autouse=True)
def fresh() -> None:
    Book.made = []


async def same(x: Any) -> Any:
    return x


def test_a_sink_is_opened_once_a_run_and_closed_with_it(backend: str) -> None:
    """Two runs open two, each closed when its run has ended."""
    graph = kx.source([1, 2]) >> kx.map(str) >> kx.sink(kx.resource(Book))
    assert Book.made == []
    graph.run(backend=backend)
    graph.run(backend=backend)
    assert [(b.lines, b.open) for b in Book.made] == [(["1", "2"], False)] * 2


def test_it_is_closed_when_the_run_fails(backend: str) -> None:
    """A failure closes what was opened (law 8)."""
    with pytest.raises(ZeroDivisionError):
        (kx.source([1, 0]) >> kx.map(lambda x: 1 / x) >> kx.sink(kx.resource(Book))).run(backend=backend)
    assert [b.open for b in Book.made] == [False]


def test_a_letter_store_may_be_a_resource(backend: str) -> None:
    """All letters of a run go to the one store that was opened for it."""
    graph = kx.source(["1", "x", "y"]) >> kx.map(int) >> kx.dead_letter(kx.resource(Book)) >> kx.to_list()
    assert graph.run(backend=backend) == [1]
    (book,) = Book.made
    assert [letter.item for letter in book.lines] == ["x", "y"] and not book.open


def test_an_async_way_of_opening_needs_a_loop(loop: str) -> None:
    """``__aenter__`` is awaited on a loop, and refused with the remedy without one."""
    graph = kx.source([1]) >> kx.map(same) >> kx.sink(kx.resource(AsyncBook))
    graph.run(backend=loop)
    assert [(b.lines, b.open) for b in Book.made] == [([1], False)]
    with pytest.raises(kx.RunError, match="await graph"):
        (kx.source([1]) >> kx.sink(kx.resource(AsyncBook))).run()
