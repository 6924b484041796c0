"""The faces that run a graph: run, await, collect, stream, async for; with a loop, beside one, without one."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import left_behind

Virtual = Callable[[Any], Any]


async def second(x: Any) -> Any:
    await anyio.sleep(1)
    return x


async def short(x: Any) -> Any:
    await anyio.sleep(0.001)
    return x


async def passed(x: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return x


# -- run: with and without a running loop (ruling 12) --------------------------------------------


def test_run_of_a_plan_that_never_waits_needs_no_loop() -> None:
    """It runs in the caller's own thread, where no loop is."""
    threads: list[threading.Thread] = []

    (kx.source([1]) >> kx.tap(lambda _: threads.append(threading.current_thread()))).run()

    assert threads == [threading.current_thread()]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_run_of_a_plan_that_waits_makes_a_loop(backend: str) -> None:
    """Without a loop ``run`` brings one, of either kind."""
    assert (kx.source([1, 2]) >> kx.map(passed) >> kx.to_list()).run(backend=backend) == [1, 2]


@pytest.mark.anyio
@pytest.mark.parametrize("inner", ["asyncio", "trio"])
async def test_run_beside_a_loop_takes_a_thread_and_joins_it(inner: str, anyio_backend: str) -> None:
    """The caller blocks, contextvars are copied in, and no thread is left."""
    name = contextvars.ContextVar("name", default="nobody")
    name.set("caller")
    threads: list[threading.Thread] = []

    async def who(x: int) -> str:
        threads.append(threading.current_thread())
        await anyio.lowlevel.checkpoint()
        return name.get()

    with left_behind() as left:
        out = (kx.source([1]) >> kx.map(who) >> kx.to_list()).run(backend=inner)

    assert out == ["caller"] and threads[0] is not threading.current_thread() and not left


@pytest.mark.anyio
async def test_run_beside_a_loop_stays_in_place_where_no_node_waits(anyio_backend: str) -> None:
    """A loop-free plan needs no thread, also inside a loop."""
    threads: list[threading.Thread] = []

    (kx.source([1]) >> kx.tap(lambda _: threads.append(threading.current_thread()))).run()

    assert threads == [threading.current_thread()]


@pytest.mark.anyio
async def test_run_beside_a_loop_raises_the_very_error(anyio_backend: str) -> None:
    """The exception of a run in a thread is the object that was raised."""
    bad = ValueError("bad")

    async def fail(x: int) -> int:
        raise bad

    with pytest.raises(ValueError) as caught:
        (kx.source([1]) >> kx.map(fail)).run()
    assert caught.value is bad


def test_an_object_of_the_running_loop_is_refused_with_the_remedy() -> None:
    """What belongs to the caller's loop cannot be awaited in the other one: the error says ``await graph``."""
    async def main() -> None:
        gate = asyncio.Event()

        async def wait(x: int) -> int:
            await gate.wait()
            return x

        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(gate.wait())
        await asyncio.sleep(0)
        with pytest.raises(kx.RunError, match="await graph"):
            (kx.source([1]) >> kx.map(wait)).run()
        waiting.cancel()

    asyncio.run(main())


CTRL_C = """
import asyncio, os, signal, sys, threading
import anyio, kayrx as kx
log = print
async def forever(x):
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        await anyio.sleep(60)
    finally:
        log("call ended")
def source():
    try:
        yield 1
        yield 2
    finally:
        log("source closed")
graph = kx.source(source) >> kx.map(forever)
def plain(): graph.run(backend={backend!r})
async def inside(): graph.run(backend={backend!r})
async def awaiting(): await graph
try:
    {how}
except KeyboardInterrupt:
    log("KeyboardInterrupt")
log([t.name for t in threading.enumerate() if t.name.startswith("kayrx")])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("how", ["plain()", "anyio.run(inside, backend='asyncio')", "anyio.run(inside, backend='trio')",
                                 "anyio.run(awaiting, backend={backend!r})"])
def test_ctrl_c_cancels_the_run_and_comes_out(how: str, backend: str) -> None:
    """One Ctrl-C ends the call under way and closes the source, in every way to wait for a run."""
    code = CTRL_C.format(backend=backend, how=how.format(backend=backend))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    assert done.stdout.splitlines() == ["call ended", "source closed", "KeyboardInterrupt", "[]"], done.stderr
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- results (ruling 30) -------------------------------------------------------------------------


def test_the_result_is_that_of_the_sinks_in_written_order(backend: str) -> None:
    """No sink gives None, one its result, several a tuple."""
    numbers = kx.source([1, 2])

    assert (numbers >> kx.map(str)).run(backend=backend) is None
    assert (numbers >> kx.to_list()).run(backend=backend) == [1, 2]
    fan = kx.broadcast(kx.map(str) >> kx.to_list(), kx.each(lambda x: None), kx.to_list())
    assert (numbers >> fan).run(backend=backend) == (["1", "2"], None, [1, 2])


def test_await_is_a_fresh_run(virtual: Virtual) -> None:
    """The same graph can be awaited again and again, and twice at once in two tasks."""
    async def main() -> list[Any]:
        graph = kx.source([1, 2]) >> kx.map(second) >> kx.to_list()
        out = [await graph]

        async def once() -> None:
            out.append(await graph)

        async with anyio.create_task_group() as group:
            group.start_soon(once)
            group.start_soon(once)
        return out

    assert virtual(main) == [[1, 2]] * 3


def test_gather_of_one_graph_twice_is_one_run() -> None:
    """``asyncio.gather`` merges equal awaitables, so it cannot be used to run a graph twice: use a task group."""
    runs: list[int] = []

    def tapped(x: int) -> None:
        runs.append(x)

    async def main() -> list[Any]:
        graph = kx.source((1,)) >> kx.tap(tapped) >> kx.map(passed) >> kx.to_list()
        return await asyncio.gather(graph, graph)

    assert asyncio.run(main()) == [[1], [1]] and runs == [1]


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
    assert max(b - a for a, b in zip(looks, looks[1:], strict=False)) <= 2 * 256


async def at_once(x: Any) -> Any:
    return x
