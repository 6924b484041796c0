"""W10: the cost of an item must not depend on how many items, stages or clients there are."""

from __future__ import annotations

import inspect
import operator
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from typing import Any

import kayrx as kx
from tests.bench import functions as by, straight, waiting
from tests.bench.goals import Goal, times
from tests.bench.measure import Contender, Race

LIMIT = 1.10


def low(x: int) -> int:
    """Keeps numbers small, so that no growth of theirs is taken for one of the pipeline."""
    return x & 1023


def low_loop(count: int) -> int:
    total = 0
    for x in range(count):
        y = low(x)
        if not by.is_even(y):
            continue
        total = total ^ by.triple(y)
    return total


@cache
def low_graph(items: int) -> Any:
    return kx.source(range(items)) >> kx.map(low) >> kx.filter(by.is_even) >> kx.map(by.triple) \
        >> kx.reduce(operator.xor, 0)


@cache
def waiting_graph(items: int) -> Any:
    return kx.source(range(items)) >> kx.map(waiting.at_once, concurrency=16) >> kx.map(low) \
        >> kx.reduce(operator.xor, 0) >> kx.to_list()


def waiting_loop(items: int) -> int:
    total = 0
    for x in range(items):
        total = total ^ low(x + 1)
    return total


async def waiting_run(items: int) -> int:
    return (await waiting_graph(items))[0]  # type: ignore[no-any-return]


def repeated(run: Callable[[int], Any], length: int) -> Callable[[int], Any]:
    """Runs of ``length`` items until there have been ``count``; the answer of the last."""
    def runs(count: int) -> Any:
        answer = None
        for _ in range(max(1, count // length)):
            answer = run(length)
        return answer

    return runs


def repeated_async(run: Callable[[int], Awaitable[Any]], length: int) -> Callable[[int], Any]:
    async def runs(count: int) -> Any:
        answer = None
        for _ in range(max(1, count // length)):
            answer = await run(length)
        return answer

    return runs


def flat(name: str, base: str, lengths: tuple[int, ...], contender: Callable[[int], Contender],
         answer: Callable[[int], Any], more_goals: Sequence[Goal] = (), **more: Any) -> Race:
    """A race of the same pipeline at several lengths, in which nothing may cost more than the first."""
    contenders = [contender(length) for length in lengths]
    goals = [times(other.name, base, LIMIT) for other in contenders[1:]] + list(more_goals)
    return Race(name, answer, contenders, goals, base=base, **more)


def label(length: int) -> str:
    return f"kayrx, {length:,} items"


# -- memory --------------------------------------------------------------------------------------


def peak_memory(work: Callable[[], Any]) -> float:
    """Bytes held at the most while ``work`` runs."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def once(run: Callable[[int], Any], length: int) -> Callable[[int], Any]:
    """A run of ``length`` items, whatever the size of the race."""
    return lambda _: run(length)


def once_async(run: Callable[[int], Awaitable[Any]], length: int) -> Callable[[int], Any]:
    async def one(_: int) -> Any:
        return await run(length)

    return one


@cache
def summed_graph(items: int) -> Any:
    return kx.source(range(items)) >> kx.broadcast(kx.reduce(operator.add, 0) >> kx.to_list(), size=16)


async def handed_over(items: int) -> int:
    """Through a gate into a sum, which holds nothing."""
    return (await summed_graph(items))[0]  # type: ignore[no-any-return]


def memory_race(name: str, run: Callable[[int], Any], answer: Callable[[int], Any]) -> Race:
    """What a run holds at the most, at two lengths."""
    lengths = (50_000, 200_000)  # a crew of sixteen is complete after a few thousand items
    wrap = once_async if inspect.iscoroutinefunction(run) else once
    return flat(f"W10 memory, {name}", label(lengths[0]), lengths,
                lambda length: Contender(label(length), wrap(run, length), 1.0, once(answer, length)),
                answer, size=1, quick=1, unit="bytes", meter=peak_memory)


def races() -> list[Race]:
    """Items in a straight run, items on a loop, items through a gate, stages, and memory."""
    def straight_run(length: int) -> Contender:
        return Contender(label(length), repeated(lambda n: low_graph(n).collect()[0], length),
                         1.0, repeated(low_loop, length))

    def loop_run(length: int) -> Contender:
        return Contender(label(length), repeated_async(waiting_run, length),
                         1.0, repeated(waiting_loop, length))

    def gate_run(length: int) -> Contender:
        return Contender(label(length), repeated_async(partial(waiting.gate, size=16), length),
                         1.0, repeated(waiting.last, length))

    def stages(count: int) -> Contender:
        return Contender(f"kayrx, {count} stages", straight.by_stages(count), 1.0, straight.by_hand(count))

    return [
        flat("W10 items", label(10_000), (10_000, 100_000, 1_000_000), straight_run, low_loop,
             size=1_000_000, quick=1_000_000),
        flat("W10 ten million", label(10_000), (10_000, 10_000_000), straight_run, low_loop,
             size=10_000_000, quick=0),
        flat("W10 16 at once", label(10_000), (10_000, 100_000), loop_run, waiting_loop,
             size=100_000, quick=100_000),
        flat("W10 16 at once, a million", label(10_000), (10_000, 1_000_000), loop_run, waiting_loop,
             size=1_000_000, quick=0),
        flat("W10 gate", label(10_000), (10_000, 100_000), gate_run, low_loop,
             size=100_000, quick=100_000),
        flat("W10 gate, a million", label(10_000), (10_000, 1_000_000), gate_run, low_loop,
             size=1_000_000, quick=0),
        flat("W10 stages", "kayrx, 1 stages", (1, 10, 100), stages, by.stages_loop,
             more_goals=[times("kayrx, 100 stages", "kayrx, 10 stages", LIMIT)],
             size=2_000_000, quick=1_000_000, unit="ns/item/stage"),
        memory_race("straight", lambda n: low_graph(n).collect()[0], low_loop),
        memory_race("16 at once", waiting_run, waiting_loop),
        memory_race("gate", handed_over, lambda n: sum(range(n))),
    ]
