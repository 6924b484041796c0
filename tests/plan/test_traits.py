"""What a node is to the compiler: `run()` alone, told no backend, knows which graphs need an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import kayrx as kx


async def same(*args: Any) -> Any:
    return args[-1]


async def listed(x: Any) -> list[Any]:
    return [x]


async def pair(state: Any, x: Any) -> tuple[Any, Any]:
    return state, x


async def each_of(*args: Any) -> AsyncIterator[Any]:
    yield args[-1] if args else 1


class Store:
    def __init__(self) -> None:
        self.kept: list[Any] = []

    async def append(self, letter: Any) -> None:
        self.kept.append(letter)


def failing(x: Any) -> Any:
    raise LookupError(x)


ONE: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "map": (lambda: kx.map(same), [1]),
    "map on=": (lambda: kx.map(str, on=kx.threads(1)), ["1"]),
    "map is_async=": (lambda: kx.map(lambda x: same(x), is_async=True), [1]),
    "flat_map": (lambda: kx.flat_map(listed), [1]),
    "flat_map of a generator": (lambda: kx.flat_map(each_of), [1]),
    "expand of a generator": (lambda: kx.expand(each_of, max_depth=1), [1, 1]),
    "switch_map": (lambda: kx.switch_map(lambda x: [x]), [1]),
    "exhaust_map": (lambda: kx.exhaust_map(each_of), [1]),
    "filter": (lambda: kx.filter(same), [1]),
    "scan": (lambda: kx.scan(same, 0), [1]),
    "stateful_map": (lambda: kx.stateful_map(pair, seed=0), [1]),
    "its key": (lambda: kx.stateful_map(lambda s, x: (s, x), key=same), [1]),
    "distinct": (lambda: kx.distinct(same), [1]),
    "buffer": (lambda: kx.buffer(seconds=1, count=9), [[1]]),
    "delay": (lambda: kx.delay(0.001), [1]),
    "debounce": (lambda: kx.debounce(0.001), [1]),
    "rate_limit": (lambda: kx.rate_limit(9, per=1), [1]),
    "pause_when": (lambda: kx.pause_when(kx.source([])), [1]),
    "join by time": (lambda: kx.join(kx.source([2]), within=1), [(1, 2)]),
    "join by an async key": (lambda: kx.join(kx.source([1]), within=1, key=same, event_time=kx.it), [(1, 1)]),
    "timeout": (lambda: kx.map(same) >> kx.timeout(9), [1]),
    "fallback": (lambda: kx.map(failing) >> kx.fallback(same), [1]),
    "catch": (lambda: kx.map(failing) >> kx.catch(same), [1]),
    "letters": (lambda: kx.map(failing) >> kx.dead_letter(Store()), []),
    "unit": (lambda: kx.unit(kx.map(same) >> kx.map(kx.it)) >> kx.retry(2), [1]),
    "body": (lambda: kx.group_by(kx.it, kx.map(same), max_groups=2), [1]),
    "fallback graph": (lambda: kx.map(failing) >> kx.fallback(kx.map(same)), [1]),
    "partition": (lambda: kx.partition(same, kx.map(kx.it), kx.map(kx.it)) >> kx.merge(), [1]),
    "loop": (lambda: kx.loop(kx.map(kx.it), until=same), [1]),
}
SOURCES: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "async generator": (lambda: kx.source(each_of), [1]),
    "async function": (lambda: kx.source(listed_twice), [1, 2]),
    "async iterable": (lambda: kx.source(each_of()), [1]),
    "thread": (lambda: kx.source([1], on=kx.threads(1)), [1]),
    "timer": (lambda: kx.timer(0.001), [0]),
    "interval": (lambda: kx.interval(0.001) >> kx.take(2), [0, 1]),
    "publisher": (lambda: kx.source(kx.source([1]).publisher()), [1]),
}


async def listed_twice() -> list[int]:
    return [1, 2]


@pytest.mark.parametrize("name", ONE | SOURCES)
def test_a_graph_that_waits_gets_its_loop_by_itself(name: str) -> None:
    """The plan says so, `run()` makes one, and without one it is refused before anything is opened."""
    write, out = (ONE | SOURCES)[name]
    graph = kx.source([1]) >> write() if name in ONE else write()

    assert "on an event loop" in graph.explain().splitlines()[0]
    assert graph.collect() == out
    with pytest.raises(kx.RunError, match="a node of this graph waits"):
        graph.collect(backend="sync")


def test_the_same_nodes_without_a_wait_get_none() -> None:
    """No loop is begun for what never waits; nor is a guard that only looks at errors a reason for one."""
    guarded = kx.map(kx.it) >> kx.retry(2, backoff=kx.constant(1)) >> kx.fallback(7)
    lanes = kx.source([1]) >> kx.broadcast(guarded, kx.filter(kx.it)) >> kx.merge()
    for graph in (lanes, kx.source([1]) >> kx.flat_map(lambda x: [x]) >> kx.buffer(count=2), kx.lines("x.txt")):
        assert "no event loop" in graph.explain().splitlines()[0]
