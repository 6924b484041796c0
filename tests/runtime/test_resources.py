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


class Closing(Book):
    """Closes with ``close``, which waits, or turns out to."""

    async def wait(self) -> None:
        await anyio.sleep(0)
        self.open = False


class ClosesAsync(Closing):
    async def close(self) -> None:  # type: ignore[override]
        await self.wait()


class ClosesLater(Closing):
    def close(self) -> Any:
        return self.wait()


class Acloses:
    """Has `aclose` alone."""

    def __init__(self) -> None:
        self.book = Closing()
        self.append = self.book.append

    async def aclose(self) -> None:
        await self.book.wait()


async def opened_later() -> Book:
    await anyio.sleep(0)
    return Book()


@pytest.mark.parametrize("factory", [ClosesAsync, ClosesLater, Acloses, opened_later])
def test_an_async_way_of_closing_is_awaited_or_refused(factory: Any, loop: str) -> None:
    """On a loop it is awaited; without one it is refused before the first item, or where it turns out to wait: nothing
    is ever left open in silence.  The same for a factory that waits."""
    graph = kx.source([1]) >> kx.map(same) >> kx.sink(kx.resource(factory))
    graph.run(backend=loop)
    assert [(b.lines, b.open) for b in Book.made] == [([1], False)]
    seen: list[int] = []
    graph = kx.source([1]) >> kx.tap(seen.append) >> kx.sink(kx.resource(factory))
    with pytest.raises(kx.RunError, match=r"\(sink\).*(opens|closes) asynchronously.*await graph"):
        graph.run()
    assert seen == ([1] if factory is ClosesLater else [])
    with pytest.raises(ZeroDivisionError):  # the user's failure comes first
        (kx.source([0]) >> kx.map(lambda x: 1 / x) >> kx.sink(kx.resource(ClosesLater))).run()


def test_a_sink_that_is_opened_has_its_guards(backend: str) -> None:
    """A retry, and a letter, as of any other sink."""
    class Fails(Book):
        def append(self, line: Any) -> None:
            self.lines.append(line)
            if len(self.lines) in (1, 4, 5):
                raise OSError

    letters: list[Any] = []
    sink = kx.sink(kx.resource(Fails)) >> kx.retry(2) >> kx.dead_letter(letters)
    (kx.source("abc") >> sink).run(backend=backend)
    assert Book.made[0].lines == ["a", "a", "b", "c", "c"] and [letter.item for letter in letters] == ["c"]


def test_an_opened_sink_that_takes_items_asynchronously_is_refused(backend: str) -> None:
    """Its items would be lost in coroutines that nobody awaits."""
    class Takes(Book):
        async def append(self, line: Any) -> None:  # type: ignore[override]
            raise AssertionError

    with pytest.raises(kx.RunError, match=r"\(sink\).*append is async.*kx\.each"):
        (kx.source("abc") >> kx.sink(kx.resource(Takes))).run(backend=backend)
