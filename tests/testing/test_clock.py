"""Virtual time: everything that waits is on one clock, on asyncio and trio, and runs the same each time."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
import reactivex
from reactivex import operators as ops

import kayrx as kx
from kayrx.testing import run_virtual, rx_scheduler, virtual_world

HOUR = 3600


async def later(x: Any) -> Any:
    await anyio.sleep(HOUR)
    return x


async def fail(x: Any) -> Any:
    raise OSError(x)


async def items() -> Any:
    yield 1
    await anyio.sleep(HOUR)


async def timed_out() -> None:
    with pytest.raises(TimeoutError):
        with anyio.fail_after(HOUR):
            await anyio.sleep_forever()


async def asyncio_timed_out() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(HOUR):
            await asyncio.sleep(2 * HOUR)


async def rx_timer() -> None:
    async with rx_scheduler() as timers:
        over = anyio.Event()
        reactivex.timer(HOUR, scheduler=timers).subscribe(on_completed=over.set)
        await over.wait()


async def hot_interval() -> None:
    async with rx_scheduler() as timers:
        await (kx.source(reactivex.interval(HOUR / 3, scheduler=timers)) >> kx.take(3))


GRAPHS: dict[str, Any] = {
    "interval": kx.interval(HOUR / 4) >> kx.take(4), "timer": kx.timer(HOUR),
    "debounce": kx.source(items) >> kx.debounce(HOUR / 2),
    "delay": kx.source([1]) >> kx.delay(HOUR),
    "sample": kx.interval(7) >> kx.sample(HOUR) >> kx.take(1),
    "buffer": kx.interval(7) >> kx.buffer(seconds=HOUR - 7) >> kx.take(1),
    "an async function": kx.source([1]) >> kx.map(later),
    "timeout": kx.source([1]) >> kx.map(later) >> kx.timeout(HOUR / 2) >> kx.retry(2) >> kx.skip_errors(),
    "backoff": kx.source([1]) >> kx.map(fail) >> kx.retry(3, backoff=kx.constant(HOUR / 2)) >> kx.skip_errors(),
    "a hosted Rx operator": kx.source([1]) >> kx.rx(ops.delay(HOUR)),
    "two hosted Rx operators": kx.source([1]) >> kx.rx(ops.delay(HOUR / 2)) >> kx.rx(ops.delay(HOUR / 2)),
}
WAITS: dict[str, Callable[[], Any]] = {
    "anyio.sleep": lambda: anyio.sleep(HOUR), "anyio.fail_after": timed_out, "an Rx timer": rx_timer,
    "a hot Rx interval": hot_interval,
}
ON_ASYNCIO: dict[str, Callable[[], Any]] = {
    "asyncio.sleep": lambda: asyncio.sleep(HOUR), "asyncio.timeout": asyncio_timed_out,
    "asyncio.wait_for": lambda: asyncio.wait_for(asyncio.sleep(HOUR), 2 * HOUR),
}


def took(wait: Callable[[], Any], backend: str) -> float:
    async def main() -> float:
        await wait()
        return anyio.current_time()

    return run_virtual(main, backend)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_node_that_waits_an_hour_is_on_the_clock(name: str, loop: str) -> None:
    """Every timer of kayrx takes its hour of virtual time, to the microsecond, and no other."""
    async def main() -> None:
        await GRAPHS[name]

    assert took(main, loop) == pytest.approx(HOUR, abs=1e-6)


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_beside_the_graph_is_on_the_clock(name: str, loop: str) -> None:
    """anyio's sleeps and deadlines, and Rx timers."""
    assert took(WAITS[name], loop) == pytest.approx(HOUR, abs=1e-6)


@pytest.mark.parametrize("name", ON_ASYNCIO)
def test_asyncio_s_own_waits_are_on_the_clock(name: str) -> None:
    """asyncio's sleeps and deadlines."""
    assert took(ON_ASYNCIO[name], "asyncio") == pytest.approx(HOUR, abs=1e-6)


def test_an_hour_takes_milliseconds(loop: str) -> None:
    """3,600 ticks of an interval: generous bounds, for a loaded machine."""
    async def main() -> int:
        return len(await (kx.interval(1) >> kx.take(HOUR) >> kx.to_list()))

    begun = time.perf_counter()
    assert run_virtual(main, loop) == HOUR
    assert time.perf_counter() - begun < 20


def test_a_century_still_ticks(loop: str) -> None:
    """Far from zero, where a float is coarse, a timer that is due is still seen to be due."""
    async def main() -> float:
        await anyio.sleep(100 * 365 * 24 * HOUR)
        for _ in range(10):
            await anyio.sleep(0.1)
        return anyio.current_time()

    assert run_virtual(main, loop) == pytest.approx(100 * 365 * 24 * HOUR + 1)


def test_two_runs_tell_the_same_story(loop: str) -> None:
    """Events, ids, letters and moments are equal in two runs, jitter and concurrency included."""
    def story() -> Any:
        log: list[Any] = []

        async def call(x: int) -> int:
            log.append((x, anyio.current_time()))
            await anyio.sleep(x % 3 + x / 100)
            if x % 4 == 1:
                raise OSError(x)
            return x

        async def main() -> Any:
            graph = (kx.source(range(20)) >> kx.map(call, concurrency=4)
                     >> kx.retry(3, backoff=kx.exponential(1), jitter="full") >> kx.dead_letter(log)
                     >> kx.broadcast(kx.delay(1), kx.buffer(count=3)) >> kx.merge() >> kx.to_list())
            async with graph.start(world=virtual_world(3), events=True) as run:
                pass
            return run.result, [{**e, "error": str(e.get("error"))} for e in run.events()]

        return run_virtual(main, loop), [getattr(x, "id", x) for x in log]

    assert story() == story()


# -- threads -------------------------------------------------------------------------------------


def work(x: Any) -> Any:
    """Takes real time, in which a virtual clock would jump far."""
    time.sleep(0.03)
    return x


async def on_kayrx_threads() -> None:
    await (kx.source([1, 2]) >> kx.map(work, on=kx.threads(2)))


async def source_on_a_thread() -> None:
    await (kx.source(lambda: map(work, [1, 2]), on=kx.threads(1)) >> kx.to_list())


async def on_an_anyio_thread() -> None:
    await anyio.to_thread.run_sync(work, 1)


THREADS = [on_kayrx_threads, source_on_a_thread, on_an_anyio_thread]


async def on_an_executor() -> None:
    await asyncio.to_thread(work, 1)


@pytest.mark.parametrize("wait", THREADS)
def test_the_clock_stands_while_a_thread_is_at_work(wait: Callable[[], Any], loop: str) -> None:
    """A timer beside it falls due only afterwards."""
    stands(wait, loop)


def test_the_clock_stands_while_an_executor_is_at_work() -> None:
    """asyncio's own threads too."""
    stands(on_an_executor, "asyncio")


def stands(wait: Callable[[], Any], backend: str) -> None:
    done: list[float] = []

    async def main() -> None:
        async def beside() -> None:
            await wait()
            done.append(anyio.current_time())

        async with anyio.create_task_group() as group:
            group.start_soon(beside)
            await anyio.sleep(HOUR)
            assert done == [0.0]

    run_virtual(main, backend)


def test_a_thread_that_is_stuck_is_not_waited_for(loop: str) -> None:
    """After ``patience`` real seconds time goes on, so that a timeout over a blocked call can be tested."""
    go = threading.Event()

    def stuck(x: int) -> int:
        go.wait(10)
        return x

    async def main() -> float:
        graph = kx.source([1]) >> kx.map(stuck, on=kx.threads(1)) >> kx.timeout(HOUR) >> kx.skip_errors()
        async with graph.start() as run:
            await anyio.sleep(HOUR + 1)
            assert [e["event"] for e in run.events()] == ["skipped"]
            go.set()
        return anyio.current_time()

    assert run_virtual(main, loop, patience=0.02) >= HOUR


async def test_virtual_time_can_run_beside_a_running_loop(anyio_backend: str, loop: str) -> None:
    """As in a notebook: in a thread of its own, which is gone when the call returns; errors come out as they are."""
    async def fails() -> None:
        await anyio.sleep(HOUR)
        raise LookupError("in vain")

    threads = threading.active_count()
    assert run_virtual(partial(waited, 3), loop) == 3
    with pytest.raises(LookupError, match="in vain"):
        run_virtual(fails, loop)
    assert threading.active_count() == threads


async def waited(seconds: float) -> float:
    await anyio.sleep(seconds)
    return anyio.current_time()


def test_a_run_without_a_loop_has_a_virtual_world() -> None:
    """Backoffs take no real time; two worlds of one seed draw the same; ids count."""
    def trace(seed: int) -> Any:
        letters: list[Any] = []
        world = virtual_world(seed)
        graph = (kx.source([1, 2]) >> kx.map(lambda x: x / 0) >> kx.retry(3, backoff=kx.constant(HOUR), jitter="full")
                 >> kx.dead_letter(letters))
        graph.run(world=world)
        return world.now(), [(x.id, x.time) for x in letters]

    assert trace(1) == trace(1) != trace(2)
    assert trace(1)[1][0][0].startswith("run 1")


def test_without_trio_its_absence_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """MissingDependency names the command."""
    monkeypatch.setitem(sys.modules, "trio.testing", None)

    with pytest.raises(kx.MissingDependency, match=r"pip install kayrx\[testing\]"):
        run_virtual(timed_out, "trio")
