"""Seeded schedules: the order of ready tasks follows from a seed, and a failure names it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import Schedule, VirtualLoop


async def arrivals() -> list[int]:
    """The order in which three calls that end at one moment come back."""
    async def passed(x: int) -> int:
        await anyio.sleep(1)
        return x

    return await (kx.source([1, 2, 3]) >> kx.map(passed, concurrency=3, ordered=False) >> kx.to_list())


def test_a_seed_decides_the_order(loop: str) -> None:
    """The same seed, the same order; many seeds, many orders."""
    def orders() -> list[tuple[int, ...]]:
        return [tuple(Schedule(seed).run(arrivals, loop)) for seed in range(60)]

    assert orders() == orders()
    assert len(set(orders())) > 3


def test_a_program_that_relies_on_the_order_is_found_and_repeated(loop: str) -> None:
    """It fails under some seed; the note names the seed, and under it the program fails again."""
    async def wrong() -> None:
        assert await arrivals() == [1, 2, 3]

    with pytest.raises(AssertionError) as caught:
        for schedule in Schedule(1).others(60):
            schedule.run(wrong, loop)
    (note,) = caught.value.__notes__
    assert note == f"kayrx.testing: under {schedule!r} on {loop}"
    with pytest.raises(AssertionError):
        Schedule(schedule.seed).run(wrong, loop)


def test_plain_callbacks_keep_their_order() -> None:
    """asyncio promises that; only tasks change places."""
    async def main() -> tuple[list[int], list[int]]:
        called: list[int] = []
        stepped: list[int] = []

        async def step(n: int) -> None:
            stepped.append(n)

        tasks = []
        for n in range(8):
            asyncio.get_running_loop().call_soon(called.append, n)
            tasks.append(asyncio.create_task(step(n)))
        await asyncio.gather(*tasks)
        return called, stepped

    called, stepped = Schedule(5).run(main)
    assert called == list(range(8))
    assert sorted(stepped) == list(range(8)) != stepped


def test_without_a_seed_the_order_is_asyncio_s_own() -> None:
    """Virtual time alone changes nothing in the order."""
    async def main() -> list[int]:
        stepped: list[int] = []

        async def step(n: int) -> None:
            stepped.append(n)

        await asyncio.gather(*(step(n) for n in range(8)))
        return stepped

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == list(range(8))


def test_trio_is_left_as_it_was() -> None:
    """Its random state, and the switch that makes its order repeatable."""
    from trio._core import _run

    runs: Any = _run
    before = runs._r.getstate(), runs._ALLOW_DETERMINISTIC_SCHEDULING
    Schedule(3).run(arrivals, "trio")

    assert (runs._r.getstate(), runs._ALLOW_DETERMINISTIC_SCHEDULING) == before


@pytest.mark.parametrize("make", [
    lambda: kx.source(range(40)) >> [kx.map(abs), kx.map(abs)] >> kx.zip() >> kx.map(sum),
    lambda: kx.concat(kx.source(range(20)), kx.interval(1) >> kx.take(3)),
    lambda: kx.source(range(40)) >> kx.flat_map(bodies) >> kx.buffer(count=3, seconds=2) >> kx.map(sum),
], ids=["fan out and in", "concat", "flat_map"])
def test_graphs_answer_the_same_under_every_schedule(make: Callable[[], Any], loop: str) -> None:
    """Where the order is promised, no seed changes it."""
    async def main() -> Any:
        return await (make() >> kx.reduce(lambda a, b: a + b))

    answers = set()
    for schedule in Schedule(11).others(20):
        async def listed() -> Any:
            return await (make() >> kx.reduce(lambda a, b: a + b, 0) >> kx.to_list())

        answers.add(tuple(schedule.run(listed, loop)))
    assert len(answers) == 1


async def bodies(x: int) -> Any:
    await anyio.sleep(x % 2)
    yield x


def test_cancelling_and_deadlines_work_under_every_schedule(loop: str) -> None:
    """Cancel scopes, task groups and timeouts are not disturbed by the order."""
    async def main() -> list[str]:
        seen: list[str] = []

        async def forever(name: str) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                seen.append(name)

        with anyio.move_on_after(5):
            async with anyio.create_task_group() as group:
                for name in "abc":
                    group.start_soon(forever, name)
        return sorted(seen)

    for schedule in Schedule(2).others(20):
        assert schedule.run(main, loop) == ["a", "b", "c"]
