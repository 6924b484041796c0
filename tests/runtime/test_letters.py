"""Letters: items that fail for good, kept with what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


def fail(x: Any) -> Any:
    raise OSError(x)


class AsyncStore(list[Any]):
    """A store whose ``append`` takes a second to make a letter durable."""

    async def append(self, letter: Any) -> None:  # type: ignore[override]
        await anyio.sleep(1)
        super().append(letter)


@pytest.mark.parametrize("store", [list, AsyncStore])
def test_a_letter_holds_the_item_the_error_and_the_attempts(store: Any, virtual: Virtual) -> None:
    """Items that fail for good go into the store, in order, and the stream goes on."""
    letters = store()
    graph = (kx.source(range(4)) >> kx.map(lambda x: fail(x) if x % 2 else x).named("odd")
             >> kx.retry(3) >> kx.dead_letter(letters) >> kx.to_list())

    assert virtual(graph) == [0, 2]
    assert [(x.item, x.node, x.attempts) for x in letters] == [(1, "odd", 3), (3, "odd", 3)]
    assert [type(x.error) for x in letters] == [OSError, OSError]
    assert all("in fail" in x.traceback and x.traceback.startswith("Traceback") for x in letters)
    assert len({x.id for x in letters}) == 2


def test_letters_of_concurrent_calls_count_their_own_attempts(virtual: Virtual) -> None:
    """One item's retries are not another's."""
    letters: list[Any] = []

    async def call(x: int) -> int:
        await anyio.sleep(1 + x)
        raise OSError if x else ValueError

    virtual(kx.source(range(2)) >> kx.map(call, concurrency=2) >> kx.retry(5, on=OSError) >> kx.dead_letter(letters))

    assert sorted((x.item, x.attempts) for x in letters) == [(0, 1), (1, 5)]


def test_a_store_that_fails_fails_the_run(backend: str) -> None:
    """A letter that cannot be kept is not lost silently."""
    class Full(list[Any]):
        def append(self, letter: Any) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        (kx.source([0]) >> kx.map(lambda x: 1 // x) >> kx.dead_letter(Full())).run(backend=backend)
