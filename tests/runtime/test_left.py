"""Nothing is left behind: whatever ends a run, no task, thread, file or generator of it is alive (law 8)."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import left_behind, run_virtual

# -- cancel at every await -----------------------------------------------------------------------


def cancelled_at(turn: int, loop: Any, alive: Any, graph: Any) -> int:
    """Run ``graph`` on asyncio and cancel its task before the given turn of the loop; gives the turns it took."""

    async def main() -> int:
        async def one() -> None:
            await graph

        task = asyncio.create_task(one())
        loop.hook = task.cancel
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None
        assert not alive.anything, f"turn {turn}"
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return int(loop.turn)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


def test_a_cancel_at_any_turn_of_the_loop_leaves_nothing(shape: Any, alive: Any, ticking: Any) -> None:
    """Before each turn from the first to the last a cancel ends every call, generator and task."""
    def cancel(turn: int) -> int:
        watch = alive()
        return cancelled_at(turn, ticking(turn), watch, shape(watch))

    turns = cancel(-1)
    assert turns > 5
    for turn in range(1, turns):
        cancel(turn)


def test_a_cancel_at_any_moment_leaves_nothing_on_trio(shape: Any, alive: Any) -> None:
    """Every quarter of a second of virtual time, until the run is over."""
    async def main() -> None:
        moment, over = 0.0, False
        while not over:
            watch = alive()
            with anyio.move_on_after(moment) as scope:
                await shape(watch)
            over = not scope.cancelled_caught
            assert not watch.anything, f"at {moment}"
            moment += 0.25

    run_virtual(main, "trio")


# -- every kind of end ---------------------------------------------------------------------------


async def awaited(graph: Any) -> None:
    await graph


async def failed_below(graph: Any) -> None:
    def fail(x: Any) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await (graph >> kx.each(fail))


async def failed_beside(graph: Any) -> None:
    async def fail() -> AsyncIterator[int]:
        await anyio.sleep(2.5)
        raise ValueError
        yield 0

    with pytest.raises(ValueError):
        await kx.merge(graph, kx.source(fail))


async def cancelled(graph: Any) -> None:
    async with graph.start() as run:
        await anyio.sleep(2.6)
        await run.cancel()


async def cancelled_at_once(graph: Any) -> None:
    async with graph.start() as run:
        await run.cancel()


async def stopped(graph: Any) -> None:
    async with graph.start() as run:
        await anyio.sleep(2.6)
        await run.stop()


async def stopped_with_a_deadline(graph: Any) -> None:
    async with graph.start() as run:
        await anyio.sleep(2.6)
        await run.stop(0.1)


async def left_by_an_error(graph: Any) -> None:
    with pytest.raises(KeyError):
        async with graph.start():
            await anyio.sleep(2.6)
            raise KeyError


async def stream_read_to_the_end(graph: Any) -> None:
    async with graph.stream() as items:
        async for _ in items:
            pass


async def stream_left(graph: Any) -> None:
    async with graph.stream() as items:
        async for _ in items:
            break


async def stream_never_read(graph: Any) -> None:
    async with graph.stream():
        await anyio.sleep(2.6)


async def taken(graph: Any) -> None:
    await (graph >> kx.take(1))


async def iterated(graph: Any) -> None:
    try:
        async with aclosing(aiter(graph)) as items:
            async for _ in items:
                break
    except kx.RunError:  # it needs a task beside this one
        return


ENDS = [awaited, failed_below, failed_beside, cancelled, cancelled_at_once, stopped, stopped_with_a_deadline,
        left_by_an_error, stream_read_to_the_end, stream_left, stream_never_read, taken, iterated]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_after_any_end(shape: Any, alive: Any, end: Callable[[Any], Awaitable[None]],
                                       loop: str) -> None:
    """No call, generator, task, thread or file outlives the run, in whatever way it ends."""
    watch = alive()

    async def main() -> None:
        with left_behind() as left:
            await end(shape(watch))
            assert not watch.anything
        assert not left

    run_virtual(main, loop)


@pytest.mark.parametrize("end", [awaited, failed_below, cancelled_at_once, stream_left, taken])
def test_threads_and_files_end_with_their_run(end: Callable[[Any], Awaitable[None]], loop: str,
                                              tmp_path: Path) -> None:
    """Worker threads and open files are gone when the run is."""
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(map(str, range(2000))))
    graph = kx.lines(path, chunk=10) >> kx.map(int, on=kx.threads(3)) >> kx.filter(kx.it >= 0)

    async def main() -> None:
        with left_behind() as left:
            await end(graph)
        assert not left

    run_virtual(main, loop)


@pytest.mark.parametrize("end", ENDS)
def test_processes_end_with_their_run(end: Callable[[Any], Awaitable[None]], loop: str) -> None:
    """Worker processes and the pipes to them are gone when the run is, in whatever way it ends."""
    async def main() -> None:
        with left_behind() as left:
            await end(kx.source(range(40)) >> kx.map(abs, on=kx.processes(2)))
        assert not left

    run_virtual(main, loop)


def test_a_run_that_has_ended_holds_no_item() -> None:
    """The items of a run are free once it is over; only its result is kept."""
    class Item:
        pass

    items = [Item() for _ in range(50)]
    known = len([o for o in gc.get_objects() if isinstance(o, Item)])

    (kx.source(lambda: iter([Item() for _ in range(50)])) >> kx.map(lambda x: x, on=kx.threads(2)) >> kx.each(id)).run()
    gc.collect()

    assert len([o for o in gc.get_objects() if isinstance(o, Item)]) == known == len(items)
    assert not [t for t in threading.enumerate() if t.name.startswith("kayrx")]
