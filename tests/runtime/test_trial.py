"""A trial run: what holds the loop for more than 5 ms by the world's clock is named, and nothing else changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.graph.graph import Graph


class Clock:
    """Time passes only by `work`."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def work(self, x: Any, *_: Any) -> Any:
        self.time += 0.02
        return x

    def light(self, x: Any) -> Any:
        self.time += 0.004
        return x

    async def busy(self, x: Any) -> Any:
        await anyio.sleep(0)
        self.work(x)
        await anyio.sleep(0)
        return x

    async def patient(self, x: Any) -> Any:
        for _ in range(9):
            await anyio.sleep(0)
            self.light(x)
        return x

    async def stream(self, x: Any) -> AsyncIterator[Any]:
        yield x
        await anyio.sleep(0)
        yield self.work(x)

    def each(self, x: Any) -> Iterator[Any]:
        yield x
        yield self.work(x)

    def check(self, graph: Graph[Any, Any], items: Any = (1, 2, 3)) -> list[str]:
        return graph.check(trial=items, world=kx.World(now=self.now))


async def ask(x: Any) -> Any:
    await anyio.sleep(0)
    return x


async def late(x: Any) -> Any:
    await anyio.sleep(0.01)
    return x


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_slow_function_is_named_with_its_line_and_the_remedy(clock: Clock) -> None:
    """How often, of how many calls, how long at worst; a call of 4 ms is not too long."""
    graph = kx.map(ask) >> kx.map(clock.work) >> kx.map(clock.light)

    (warning,) = clock.check(graph)
    assert warning == (f"'work' (map) at {graph.nodes[1].written} blocked the event loop for more than 5 ms 3 "
                       "times in 3 calls of the trial (20 ms at worst); say map(f, on=kx.threads(1))")


@pytest.mark.parametrize("node", [
    lambda c: kx.filter(c.work), lambda c: kx.tap(c.work), lambda c: kx.scan(c.work), lambda c: kx.each(c.work),
    lambda c: kx.flat_map(c.each), lambda c: kx.flat_map(c.stream), lambda c: kx.switch_map(c.stream),
    lambda c: kx.map(c.busy), lambda c: kx.map(c.busy, concurrency=2), lambda c: kx.map(partial(c.work)),
    lambda c: kx.map(lambda x: c.busy(x), is_async=True),
    lambda c: kx.stateful_map(lambda s, x: (s, c.work(x)), seed=0),
    lambda c: kx.expand(lambda x: [c.work(x - 1)] if x > 1 else ()),
    lambda c: kx.partition(c.work, kx.map(str), kx.map(str)) >> kx.merge(),
    lambda c: kx.broadcast(kx.map(c.work), kx.map(str)) >> kx.zip(),
    lambda c: kx.unit(kx.map(c.work) >> kx.map(str)) >> kx.retry(2),
    lambda c: kx.map(kx.it / 0) >> kx.fallback(c.work), lambda c: kx.also_to(kx.each(c.work)),
    lambda c: kx.coalesce(9, c.work) >> kx.map(late),
    lambda c: kx.window_by(event_time=c.work, tumbling=1, fold=(0, max)),
], ids=range(20))
def test_every_kind_of_function_is_watched(clock: Clock, node: Any) -> None:
    """Sync and async functions, generators, predicates, folds, sinks, alternatives; in branches and units too."""
    warnings = clock.check(kx.map(ask) >> node(clock), [3, 2, 1])

    assert len(warnings) == 1 and "blocked the event loop" in warnings[0]


@pytest.mark.parametrize("graph", [
    lambda c: kx.map(c.patient), lambda c: kx.map(ask) >> kx.map(c.work, on=kx.threads(1)),
    lambda c: kx.map(c.work), lambda c: kx.map(ask) >> kx.map(kx.it + 1),
], ids=["in steps", "in a thread", "without a loop", "an expression"])
def test_what_blocks_no_loop_is_not_named(clock: Clock, graph: Any) -> None:
    """Waits do not count, threads do not, and a plan that needs no loop is not run at all."""
    assert clock.check(graph(clock)) == []


def test_the_items_stand_for_the_sources(clock: Clock) -> None:
    """Of a whole graph the items take the place of each source; the rest runs as it is written."""
    def never() -> Any:
        raise AssertionError("the source is not opened")

    seen: list[Any] = []
    whole = kx.source(never) >> kx.retry(2) >> kx.map(ask) >> kx.map(clock.work) >> kx.sink(seen)
    assert any("'work' (map)" in line for line in clock.check(whole, [1, 2])) and seen == [1, 2]
    shared = kx.source(never) >> kx.share()
    both = kx.merge(shared >> kx.map(ask), shared >> kx.map(clock.work)) >> kx.sink(seen)
    assert "'work' (map)" in clock.check(both, [5])[0] and seen == [1, 2, 5, 5]
    with pytest.raises(kx.GraphError, match="try the whole graph"):
        clock.check(kx.merge() >> kx.map(ask))


def test_what_the_trial_raises_is_raised(clock: Clock) -> None:
    """With its note, as in any run."""
    with pytest.raises(ZeroDivisionError) as caught:
        clock.check(kx.map(ask) >> kx.map(lambda x: 1 // x), [0])

    assert "test_trial.py" in caught.value.__notes__[0]


def test_a_measured_call_is_named_once() -> None:
    """What is known by name and measured as well is told as measured; without a trial, by name."""
    import time

    graph = kx.map(ask) >> kx.map(lambda x: time.sleep(0.006))
    assert "calls time.sleep" in graph.check()[0]
    (warning,) = graph.check(trial=[1])
    assert "blocked the event loop for more than 5 ms once in 1 calls" in warning


async def test_a_trial_runs_beside_a_running_loop(clock: Clock) -> None:
    """On a loop of its own, as ``run()`` does."""
    assert len(clock.check(kx.map(ask) >> kx.map(clock.work))) == 1


def test_a_cancelled_step_is_left_as_it_would_be(clock: Clock) -> None:
    """An error thrown into a watched function reaches it, and what it does then is watched."""
    async def hangs(x: Any) -> Any:
        try:
            await anyio.sleep_forever()
        finally:
            clock.work(x)

    (warning,) = clock.check(kx.map(hangs) >> kx.timeout(0.001) >> kx.fallback(lambda x: x), [1])
    assert warning.startswith("'hangs' (map)")
