"""Reading what comes out: ``stream()``, ``async for``, and how a run lets the loop go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.runtime.world import World

Virtual = Callable[[Any], Any]


async def passed(x: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return x


# -- stream and async for (ruling 13) ------------------------------------------------------------


def test_stream_gives_what_comes_out_and_ends(virtual: Virtual) -> None:
    """The items in order, then the end."""
    async def main() -> list[int]:
        async with (kx.source(range(40)) >> kx.map(passed)).stream() as items:
            return [x async for x in items]

    assert virtual(main) == list(range(40))


def test_leaving_a_stream_cancels_and_waits(virtual: Virtual, watched: Any) -> None:
    """After the block the source is closed, calls under way have ended, and so has the reader's generator."""
    source = watched()
    ended: list[int] = []

    async def call(x: int) -> int:
        try:
            await anyio.sleep(1)
        finally:
            ended.append(x)
        return x

    async def main() -> None:
        async with (kx.source(source.source) >> kx.map(call, concurrency=3)).stream() as items:
            async for _ in items:
                break
        assert source.open == 0 and sorted(ended) == list(range(len(ended))) and len(ended) == source.read
        assert items.ag_frame is None  # type: ignore[attr-defined]

    virtual(main)


def test_a_stream_runs_sixteen_items_ahead_at_most(virtual: Virtual, watched: Any) -> None:
    """A reader that stands still holds the source: 16 items wait, and one is in the writer's hand."""
    source = watched()

    async def main() -> None:
        async with kx.source(source.source).stream() as items:
            assert await anext(items) == 0
            await anyio.sleep(3600)
            assert source.read <= 18

    virtual(main)


def test_stream_raises_the_error_after_the_items_before_it(virtual: Virtual) -> None:
    """What came out before a failure is read first; then the very error."""
    async def main() -> None:
        seen = []
        with pytest.raises(ZeroDivisionError):
            async with (kx.source([2, 1, 0, 3]) >> kx.map(passed) >> kx.map(lambda x: 6 // x)).stream() as items:
                async for x in items:
                    seen.append(x)
        assert seen == [3, 6]

    virtual(main)


@pytest.mark.parametrize("node", [kx.map(kx.it), kx.map(passed), kx.flat_map(lambda x: [x]), kx.scan(max)])
def test_async_for_needs_no_second_task(node: Any, virtual: Virtual, watched: Any) -> None:
    """A plan of one segment is iterated in the reader's own task; leaving and closing closes the source."""
    source = watched()

    async def main() -> list[int]:
        out = []
        items = aiter(kx.source(source.source) >> node)
        async for x in items:
            out.append(x)
            if len(out) == 3:
                break
        assert source.read == 3
        await items.aclose()  # type: ignore[attr-defined]
        assert source.open == 0
        return out

    assert virtual(main) == [0, 1, 2]


@pytest.mark.parametrize("graph", [
    kx.source([1]) >> kx.map(passed, concurrency=2), kx.source([1]) >> kx.map(passed) >> kx.map(passed),
    kx.source([1]) >> kx.debounce(1), kx.merge(kx.source([1]), kx.source([2]))])
def test_async_for_over_a_plan_of_several_tasks_says_to_use_stream(graph: Any, virtual: Virtual) -> None:
    """The first step is a RunError with the remedy; nothing has run."""
    async def main() -> None:
        with pytest.raises(kx.RunError, match=r"async with graph\.stream\(\)"):
            async for _ in graph:
                pass

    virtual(main)


@pytest.mark.parametrize("one_task", [True, False])
def test_a_hot_pump_lets_the_loop_go_on(one_task: bool, virtual: Virtual) -> None:
    """Between 256 items at most another task has its turn (ruling 26)."""
    count = 0

    def tick(x: int) -> None:
        nonlocal count
        count += 1

    async def main() -> list[int]:
        looks: list[int] = []

        async def look() -> None:
            while count < 10_000:
                looks.append(count)
                await anyio.lowlevel.checkpoint()

        graph = kx.source(range(10_000)) >> kx.tap(tick) >> kx.map(at_once) >> kx.map(kx.it)
        graph = graph if one_task else graph >> kx.map(at_once, concurrency=4)
        async with anyio.create_task_group() as group:
            group.start_soon(look)
            await graph
        return looks

    looks = virtual(main)
    assert len(looks) >= 10_000 // 256 - 1
    assert max(b - a for a, b in pairwise(looks)) <= 2 * 256


@pytest.mark.parametrize("head", ["iterator", "async", "gate", "crew"])
def test_a_slow_pump_rests_after_five_milliseconds(head: str, virtual: Virtual) -> None:
    """The run's clock is looked at every 32 items at least: items of 1 ms let others run 8 times as often."""
    clock, count, tasks = [0.0], 0, 2 if head == "crew" else 1

    def tick(x: int) -> None:
        nonlocal count
        count += 1
        clock[0] += 0.001

    async def numbers() -> AsyncIterator[int]:
        for x in range(1024):
            yield x

    async def main() -> list[int]:
        looks: list[int] = []

        async def look() -> None:
            while count < 1024:
                looks.append(count)
                await anyio.lowlevel.checkpoint()

        graph = kx.source(numbers if head == "async" else range(1024)) >> kx.map(at_once, concurrency=tasks)
        graph = (graph >> kx.backpressure(1024) if head == "gate" else graph) >> kx.tap(tick)
        async with anyio.create_task_group() as group:
            group.start_soon(look)
            async with graph.start(world=World(now=lambda: clock[0])):
                pass
        return looks

    looks = virtual(main)
    assert max(b - a for a, b in pairwise([*looks, 1024])) <= 2 * 32 * tasks  # trio runs who is ready in any order


async def at_once(x: Any) -> Any:
    return x
