"""Replayable sources: ``read(cursor, n)``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kayrx as kx
from kayrx.nodes.ends import Lines, Source
from kayrx.nodes.replay import Replayable


class Store:
    """Forty numbers behind ``read``; fails once after sixteen."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, int]] = []
        self.failures = 1

    def read(self, cursor: Any, n: int) -> tuple[list[int], Any]:
        self.asked.append((cursor, n))
        start = cursor or 0
        if start >= 16 and self.failures:
            self.failures -= 1
            raise OSError("gone")
        return list(range(start, min(start + n, 40))), start + n if start + n < 40 else None


def read_all(source: Replayable[Any], n: int) -> list[Any]:
    cursor, out = None, []
    while True:
        items, cursor = source.read(cursor, n)
        out += items
        if cursor is None:
            return out


def test_a_store_is_read_sixteen_at_a_time_and_no_further_than_asked() -> None:
    """Reading ahead is bounded, and `explain` says by how much."""
    store = Store()
    assert (kx.source(store) >> kx.take(3)).collect() == [0, 1, 2]
    assert store.asked == [(None, 16)]
    assert "source: 16 items read ahead" in kx.source(store).explain()


def test_a_retry_goes_on_where_the_source_was(backend: str) -> None:
    """No item is lost and none comes twice, and `check` has nothing to warn of."""
    graph = kx.source(Store()) >> kx.retry(2)
    assert graph.collect(backend=backend) == list(range(40))
    assert graph.check() == []


def test_lists_and_files_can_be_read_again_from_a_cursor_and_iterators_cannot(tmp_path: Path) -> None:
    """The capability is asked for by ``replayable``; hot and one-shot sources say None."""
    path = tmp_path / "lines.txt"
    path.write_bytes("a\r\nÄ\n\nlast".encode())
    lines = Lines(str(path)).replayable
    for n in (1, 2, 3, 9):
        assert read_all(lines, n) == ["a", "Ä", "", "last"] == kx.lines(path).collect()
        items = Source([1, 2, 3]).replayable
        assert items is not None and read_all(items, n) == [1, 2, 3]
    assert Source(iter([1])).replayable is None
    assert Source(kx.Subject()).replayable is None


def test_a_failing_store_fails_the_run_without_a_guard() -> None:
    """The store's own exception, with the source's name in its note."""
    with pytest.raises(OSError, match="gone") as caught:
        kx.source(Store()).collect()
    assert "in node 'source'" in caught.value.__notes__[0]


@pytest.mark.parametrize("how", [{}, {"on": kx.threads(1)}], ids=["on the loop", "in a thread"])
def test_a_store_is_read_on_a_loop_and_in_a_thread_as_well(how: dict[str, Any], loop: str) -> None:
    """Where a guard of it may wait, too: it is read on from where it was."""
    async def same(x: int) -> int:
        return x

    graph = kx.source(Store(), **how) >> kx.retry(2, backoff=kx.constant(0.001)) >> kx.map(same)
    assert graph.collect(backend=loop) == [*range(40)]
