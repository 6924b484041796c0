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


def test_a_guarded_expansion_is_left_in_the_middle_without_a_loop(backend: str) -> None:
    """The bodies of a guarded unit are closed when a reader below leaves, also where no loop runs."""
    twice = kx.unit(kx.flat_map(lambda x: [x, x])) >> kx.skip_errors()
    graph = kx.source([1] * 40) >> twice >> kx.broadcast(kx.map(abs), kx.map(abs)) >> kx.zip() >> kx.take(1)

    assert graph.collect(backend=backend) == [(1, 1)]
def test_a_guarded_unit_left_early_needs_no_loop(backend: str) -> None:
    """A unit inside a synchronous plan of several segments is closed when nothing more is wanted."""
    unit = kx.unit(kx.map(abs) >> kx.map(kx.it * 10)) >> kx.skip_errors()
    graph = kx.source([1, 2, 3]) >> unit >> kx.take(1) >> [kx.map(str), kx.map(abs)] >> kx.zip()

    assert graph.collect(backend=backend) == [("10", 10)]
