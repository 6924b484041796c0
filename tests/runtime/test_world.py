"""The world comes in by the door: time, sleep, randomness and ids are injected (law 9)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from reactivex import operators as ops

import kayrx as kx

Virtual = Callable[[Any], Any]


class Clock:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.time, self.slept = 1000.0, []  # type: ignore[var-annotated]

    def now(self) -> float:
        return self.time

    def block(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def world(self, seed: int = 0) -> kx.World:
        ids = iter(range(100))
        return kx.World(now=self.now, wall=self.now, block=self.block, random=random.Random(seed),
                        run_id=lambda: f"run {next(ids)}")


def flaky(x: int) -> int:
    raise OSError(x)


def test_a_synchronous_run_sleeps_by_the_injected_sleep() -> None:
    """Backoffs take no real time, and no time that the injected clock does not see."""
    clock = Clock()
    graph = kx.source(range(3)) >> kx.map(flaky) >> kx.retry(3, backoff=kx.constant(3600)) >> kx.skip_errors()

    assert graph.collect(world=clock.world()) == []
    assert clock.slept == [3600] * 6


def test_letters_carry_the_injected_ids_and_times() -> None:
    """A letter's id begins with the run's id, its time is the injected wall clock."""
    clock, letters = Clock(), []
    graph = kx.source(range(2)) >> kx.map(flaky) >> kx.retry(2, backoff=kx.constant(10)) >> kx.dead_letter(letters)

    graph.run(world=clock.world())

    assert [x.time for x in letters] == [1010, 1020]
    assert [x.id.partition("/")[0] for x in letters] == ["run 0", "run 0"]


def test_two_runs_never_share_an_id() -> None:
    """Without an injected source of ids, each run has one of its own."""
    letters: list[Any] = []
    graph = kx.source([1]) >> kx.map(flaky) >> kx.dead_letter(letters)

    for _ in range(3):
        graph.run()

    assert len({x.id for x in letters}) == 3


@pytest.mark.parametrize("jitter", ["full", "equal"])
def test_two_seeded_runs_are_equal(jitter: Any) -> None:
    """The same seed gives the same waits, letters and times; another seed others."""
    def trace(seed: int) -> Any:
        clock, letters = Clock(), []
        graph = (kx.source(range(9)) >> kx.map(flaky) >> kx.retry(3, backoff=kx.exponential(1), jitter=jitter)
                 >> kx.dead_letter(letters))
        graph.run(world=clock.world(seed))
        return clock.slept, [(x.id, x.item, x.time) for x in letters]

    assert trace(1) == trace(1) != trace(2)


def test_two_seeded_runs_on_a_loop_are_equal(virtual: Virtual) -> None:
    """On virtual time a run with concurrency and jitter repeats itself, moment by moment."""
    def trace(seed: int) -> Any:
        log: list[Any] = []

        async def call(x: int) -> int:
            log.append((x, anyio.current_time() - start))
            await anyio.sleep(x % 3 + x / 100)
            if x % 4 == 1:
                raise OSError
            return x

        start = 0.0

        async def main() -> Any:
            nonlocal start
            start = anyio.current_time()
            graph = (kx.source(range(20)) >> kx.map(call, concurrency=4)
                     >> kx.retry(3, backoff=kx.exponential(1), jitter="full") >> kx.skip_errors() >> kx.to_list())
            world = kx.World(random=random.Random(seed))
            async with graph.start(world=world) as run:
                pass
            return run.result

        return virtual(main), log

    out, log = trace(1)
    again, once_more = trace(1)
    assert out == again and sorted(log) == sorted(once_more)
    assert log != trace(2)[1]


def test_a_run_on_a_loop_sleeps_by_the_injected_sleep(virtual: Virtual) -> None:
    """``World.sleep`` takes the place of the loop's sleep for intervals and backoffs."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    async def main() -> Any:
        guards = kx.retry(3, backoff=kx.constant(7)) >> kx.skip_errors()
        graph = kx.source([1]) >> kx.map(flaky) >> guards >> kx.to_list()
        async with graph.start(world=kx.World(sleep=sleep)) as run:
            pass
        return run.result

    assert virtual(main) == [] and slept == [7, 7]


def test_rx_timers_of_a_synchronous_run_see_the_injected_clock() -> None:
    """An Rx operator's idea of now is the run's."""
    clock = Clock()
    graph = kx.source(range(3)) >> kx.rx(ops.timestamp()) >> kx.map(lambda t: t.timestamp.timestamp())

    assert len({t for t in graph.collect(world=clock.world())}) == 1
