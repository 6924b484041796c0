"""Growth: expand gives each item and, breadth first, all that comes of it."""

from __future__ import annotations

from itertools import count
from typing import Any

import anyio
import pytest
import reactivex

import kayrx as kx
from kayrx.graph.graph import Graph


def pair(x: int) -> list[int]:
    return [x * 2, x * 2 + 1] if x < 4 else []


async def pair_async(x: int) -> list[int]:
    await anyio.sleep(0)
    return pair(x)


async def pair_streamed(x: int) -> Any:
    for y in pair(x):
        yield y
        await anyio.sleep(0)


@pytest.mark.parametrize(("graph", "items", "out"), [
    (kx.expand(pair), [1], [1, 2, 3, 4, 5, 6, 7]), (kx.expand(pair), [3, 4], [3, 6, 7, 4]), (kx.expand(pair), [], []),
    (kx.expand(lambda x: [None] if x else ()), [1], [1, None]),
    (kx.expand(pair, max_depth=0), [1, 2], [1, 2]), (kx.expand(pair, max_depth=1), [1, 2], [1, 2, 3, 2, 4, 5]),
    (kx.expand(lambda x: [x + 1] * x, max_depth=2), [0, 1, 2], [0, 1, 2, 3, 3, 2, 3, 3, 4, 4, 4, 4, 4, 4]),
    (kx.expand(lambda x: iter([x + 1])) >> kx.take(3), [7], [7, 8, 9]),
    (kx.expand(kx.it["in"]) >> kx.map(kx.it["n"]), [{"n": 1, "in": [{"n": 2, "in": []}]}], [1, 2]),
])
def test_what_comes_out(graph: Graph[Any, Any], items: Any, out: list[Any], backend: str) -> None:
    """An input, its children, their children: level by level, one input after the other."""
    assert (kx.source(items) >> graph).collect(backend=backend) == out


@pytest.mark.parametrize("fn", [pair_async, pair_streamed])
def test_functions_may_be_async(fn: Any, loop: str) -> None:
    """An async function or an async generator gives the same, in the same order."""
    assert (kx.source([1, 3]) >> kx.expand(fn)).collect(backend=loop) == [1, 2, 3, 4, 5, 6, 7, 3, 6, 7]
    assert (kx.source([1]) >> kx.expand(fn, max_depth=1)).collect(backend=loop) == [1, 2, 3]


def test_a_function_is_called_after_its_item_has_gone_on(backend: str, tracked: Any) -> None:
    """So a reader that has had enough is not waited for, and the source is let go."""
    called: list[int] = []
    source = tracked(count(1))

    def child(x: int) -> list[int]:
        called.append(x)
        return [x + 10]

    (kx.source(source) >> kx.expand(child) >> kx.take(3)).run(backend=backend)

    assert called == [1, 11] and source.pulled == 1 and source.closed


def test_more_than_the_limit_is_an_overflow(backend: str) -> None:
    """GateOverflow names the node and the remedies; an endless result is not read to its end."""
    graph = kx.source([1]) >> kx.expand(lambda x: count(), limit=5).named("all")

    with pytest.raises(kx.GateOverflow, match=r"'all' \(expand\) at .*: more than 5 items wait .* max_depth="):
        graph.run(backend=backend)
    assert (kx.source([3]) >> kx.expand(lambda x: [x - 1] * 3 if x == 3 else [], limit=3)).collect() == [3, 2, 2, 2]


def test_an_endless_async_result_is_closed(loop: str) -> None:
    """The generator that was read beyond the limit has run its ``finally``."""
    closed: list[int] = []

    async def endless(x: int) -> Any:
        try:
            for n in count():
                yield n
        finally:
            closed.append(x)

    with pytest.raises(kx.GateOverflow):
        (kx.source([7]) >> kx.expand(endless, limit=5)).run(backend=loop)
    assert closed == [7]


def test_it_says_what_it_holds() -> None:
    """The bound stands in the plan, and nothing warns."""
    graph = kx.source([1]) >> kx.expand(pair)

    assert "pair: 1024 items that wait to be expanded" in graph.explain() and graph.check() == []


def test_twelve_in_a_row_compile() -> None:
    """Each opens a loop; a function holds eight of them."""
    graph = kx.source([1])
    for _ in range(12):
        graph = graph >> kx.expand(lambda x: [x + 1], max_depth=1)

    assert len(graph.collect()) == len(graph.collect(backend="asyncio")) == 2 ** 12


def test_what_no_loop_can_read_says_what_to_write() -> None:
    """An Observable is a TypeError that names the operator to take."""
    with pytest.raises(TypeError, match=r"write kx\.rx\(reactivex\.operators\.expand\(f\)\)"):
        (kx.source([1]) >> kx.expand(lambda x: reactivex.of(x))).run()


@pytest.mark.parametrize("write", [
    lambda: kx.expand(3), lambda: kx.expand(pair, max_depth=-1), lambda: kx.expand(pair, limit=0),
], ids=range(3))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match="must be"):
        write()
