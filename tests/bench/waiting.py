"""W4 and W5: pipelines that wait, on asyncio, and the hand-off between two tasks."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

import anyio

import kayrx as kx
from tests.bench import functions as by, peers
from tests.bench.goals import faster, times
from tests.bench.measure import Contender, Race

Fn = Callable[[int], Awaitable[int]]
SIZES = (1, 16, 128, 1024)


async def at_once(x: int) -> int:
    """An async function that does not suspend."""
    return x + 1


async def suspending(x: int) -> int:
    """An async function that suspends once."""
    await asyncio.sleep(0)
    return x + 1


# -- W4 ------------------------------------------------------------------------------------------


async def awaited_loop(count: int, fn: Fn) -> int:
    """W4 by hand: one call after another."""
    total = 0
    for x in range(count):
        total = total + await fn(x)
    return total


@cache
def mapped_graph(items: int, fn: Fn, concurrency: int) -> Any:
    return kx.source(range(items)) >> kx.map(fn, concurrency=concurrency) >> kx.reduce(operator.add, 0) \
        >> kx.to_list()


async def mapped(items: int, fn: Fn, concurrency: int) -> int:
    return (await mapped_graph(items, fn, concurrency))[0]  # type: ignore[no-any-return]


async def gathered(items: int, fn: Fn) -> int:
    """Batches of sixteen by asyncio.gather."""
    total = 0
    for start in range(0, items, 16):
        for value in await asyncio.gather(*(fn(x) for x in range(start, min(start + 16, items)))):
            total = total + value
    return total


async def async_generator(items: int, fn: Fn) -> int:
    async def values() -> Any:
        for x in range(items):
            yield await fn(x)

    total = 0
    async for value in values():
        total = total + value
    return total


async def queue_task(items: int, fn: Fn) -> int:
    """A task that maps into an asyncio.Queue of sixteen."""
    queue: asyncio.Queue[int | None] = asyncio.Queue(16)

    async def produce() -> None:
        for x in range(items):
            await queue.put(await fn(x))
        await queue.put(None)

    task = asyncio.create_task(produce())
    total = 0
    while (value := await queue.get()) is not None:
        total = total + value
    await task
    return total


def calls(name: str, run: Callable[..., Any], share: float = 1.0, **fixed: Any) -> Contender:
    """A contender of W4, its function and concurrency filled in."""
    return Contender(name, partial(run, **fixed), share)


def call_races() -> list[Race]:
    """``merge(16)`` of reactivex does all items, as its cost grows with them (W10): a share would flatter it."""
    plain = partial(awaited_loop, fn=at_once)
    sequential = partial(awaited_loop, fn=suspending)
    return [
        Race("W4a", plain, [
            calls("await loop", awaited_loop, fn=at_once),
            calls("kayrx", mapped, fn=at_once, concurrency=1),
            calls("async generator", async_generator, fn=at_once),
            calls("asyncio.Queue task", queue_task, 0.2, fn=at_once),
            calls("aiostream", peers.mapped_aiostream, 0.02, fn=at_once, concurrency=1),
            calls("reactivex merge(1)", peers.merged, 0.01, fn=at_once, concurrency=1),
        ], [times("kayrx", "await loop", 1.2)], size=300_000, quick=150_000, base="await loop"),
        Race("W4b", plain, [
            calls("await loop", awaited_loop, fn=at_once),
            calls("kayrx, 16 ordered", mapped, fn=at_once, concurrency=16),
            calls("gather by 16", gathered, 0.2, fn=at_once),
            calls("aiostream, 16", peers.mapped_aiostream, 0.02, fn=at_once, concurrency=16),
            calls("reactivex merge(16)", peers.merged, fn=at_once, concurrency=16),
        ], [times("kayrx, 16 ordered", "await loop", 2.0), faster("kayrx, 16 ordered", "gather by 16", 17),
            faster("kayrx, 16 ordered", "reactivex merge(16)", 250)],
            size=200_000, quick=100_000, base="await loop"),
        Race("W4c", sequential, [
            calls("sequential loop", awaited_loop, fn=suspending),
            calls("kayrx, 16 ordered", mapped, fn=suspending, concurrency=16),
            calls("gather by 16", gathered, 0.5, fn=suspending),
            calls("aiostream, 16", peers.mapped_aiostream, 0.1, fn=suspending, concurrency=16),
            calls("reactivex merge(16)", peers.merged, fn=suspending, concurrency=16),
        ], [times("kayrx, 16 ordered", "sequential loop", 0.65),
            faster("kayrx, 16 ordered", "reactivex merge(16)", 35)],
            size=200_000, quick=100_000, base="sequential loop"),
    ]


async def mapped_and_watched(items: int) -> int:
    """The same run with a handle, whose metrics are read a hundred times a second."""
    async with mapped_graph(items, at_once, 1).start() as run:
        while not run.done:
            run.metrics()
            await asyncio.sleep(0.01)
    return run.result[0]  # type: ignore[no-any-return]


def metrics_race() -> Race:
    """W11: counts are kept anyway, so what may cost is the handle and reading them."""
    return Race("W11", partial(awaited_loop, fn=at_once), [
        calls("metrics off", mapped, fn=at_once, concurrency=1),
        Contender("metrics on", mapped_and_watched),
        calls("await loop", awaited_loop, fn=at_once),
    ], [times("metrics on", "metrics off", 1.05)], size=300_000, quick=100_000, base="metrics off", often=3)


# -- W5 ------------------------------------------------------------------------------------------

received = by.kept()
push = received.append  # as cheap as a reader can be, so that what is measured is the hand-off


async def push_async(x: int) -> None:
    """The same, for a sink that waits."""
    push(x)


def last(items: int) -> int:
    """The right answer: the sum of the last that were read."""
    return sum(range(items)[-by.KEPT:])


async def sum_of(work: Awaitable[Any]) -> int:
    received.clear()
    await work
    return sum(received)


@cache
def gate_graph(items: int, size: int) -> Any:
    """Two tasks and a gate between them: a fan-out of one branch always has a gate."""
    return kx.source(range(items)) >> kx.broadcast(kx.each(push), size=size)


@cache
def pulled_graph(items: int, size: int) -> Any:
    """A synchronous source that the waiting sink pulls in its own task."""
    return kx.source(range(items)) >> kx.backpressure(size) >> kx.sink(push_async)


async def gate(items: int, size: int) -> int:
    return await sum_of(gate_graph(items, size))


async def pulled(items: int, size: int) -> int:
    return await sum_of(pulled_graph(items, size))


async def queue(items: int, size: int) -> int:
    """A producer and a consumer task with an asyncio.Queue between them."""
    between: asyncio.Queue[int | None] = asyncio.Queue(size)

    async def produce() -> None:
        for x in range(items):
            await between.put(x)
        await between.put(None)

    async def consume() -> None:
        while (x := await between.get()) is not None:
            push(x)

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(consume())

    return await sum_of(both())


async def memory_stream(items: int, size: int) -> int:
    """The same with an anyio memory object stream."""
    sender, receiver = anyio.create_memory_object_stream[int](size)

    async def produce() -> None:
        async with sender:
            for x in range(items):
                await sender.send(x)

    async def consume() -> None:
        async with receiver:
            async for x in receiver:
                push(x)

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(produce)
            group.start_soon(consume)

    return await sum_of(both())


def gate_races() -> list[Race]:
    goals = dict(zip(SIZES, (1.2, 2.4, 5.5, 7.7), strict=True))
    return [Race(f"W5 {size}", last, [
        Contender("asyncio.Queue", partial(queue, size=size)),
        Contender("kayrx gate to push", partial(gate, size=size)),
        Contender("kayrx pulled", partial(pulled, size=size)),
        Contender("anyio memory stream", partial(memory_stream, size=size), 0.1),
    ], [faster("kayrx gate to push", "asyncio.Queue", goals[size]),
        *([faster("kayrx pulled", "asyncio.Queue", 40)] if size == 1 else [])],
        size=30_000 if size == 1 else 100_000, quick=30_000 if size == 1 else 50_000, base="asyncio.Queue",
        often=1 if size == 1 else 3)
        for size in SIZES]


def races() -> list[Race]:
    return [*call_races(), *gate_races(), metrics_race()]
