"""Crews: several calls of one async function at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


class Calls:
    """An async function that knows how many of its calls are under way, and how each ended."""

    def __init__(self, seconds: Callable[[Any], float] = lambda x: 1.0, bad: Any = None) -> None:
        self.seconds, self.bad = seconds, bad
        self.now = self.most = 0
        self.finished: list[Any] = []
        self.cancelled: list[Any] = []

    async def __call__(self, x: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.sleep(self.seconds(x))
            if x == self.bad:
                raise ValueError(f"bad {x}")
            self.finished.append(x)
            return x
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(x)
            raise
        finally:
            self.now -= 1


async def passed(x: Any) -> Any:
    return x


# -- one task a call (ruling 3) ------------------------------------------------------------------

SHAPES = [kx.map, lambda f: kx.map(f, concurrency=3), lambda f: kx.map(f, concurrency=3, ordered=False),
          lambda f: kx.map(f) >> kx.timeout(1000), lambda f: kx.map(f, concurrency=3) >> kx.retry(2),
          lambda f: kx.unit(kx.map(f) >> kx.map(passed)) >> kx.retry(2), lambda f: kx.map(f) >> kx.map(passed)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_users_time_limit_ends_the_users_call_only(shape: Any, virtual: Virtual, loop: str) -> None:
    """``asyncio.timeout`` and ``anyio.fail_after`` inside a call end that wait; the run goes on (ruling 3)."""
    async def limited(x: int) -> int:
        try:
            if loop == "asyncio" and x % 2:
                async with asyncio.timeout(1):
                    await anyio.sleep(100)
            with anyio.fail_after(1):
                await anyio.sleep(100)
        except TimeoutError:
            return x
        return -1

    out = virtual(kx.source(range(8)) >> shape(limited) >> kx.to_list())

    assert sorted(out) == list(range(8))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_runs_in_one_task_from_its_first_step_to_its_last(shape: Any, virtual: Virtual, loop: str) -> None:
    """The current task is the same before and after every wait of a call."""
    def current() -> Any:
        return anyio.get_current_task().id

    async def call(x: int) -> bool:
        before = current()
        await anyio.lowlevel.checkpoint()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 1)
        return before == current()

    assert virtual(kx.source(range(8)) >> shape(call) >> kx.to_list()) == [True] * 8


# -- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("before", [(), (kx.map(passed),), (kx.map(passed), kx.backpressure(4))])
def test_concurrency_bounds_the_calls_under_way(before: Any, ordered: bool, virtual: Virtual) -> None:
    """n calls run at once and never more, over a plain source and over a gate."""
    calls = Calls()

    async def main() -> tuple[list[int], float]:
        graph = kx.source(range(20))
        for node in before:
            graph = graph >> node
        start = anyio.current_time()
        out = await (graph >> kx.map(calls, concurrency=4, ordered=ordered) >> kx.to_list())
        return out, anyio.current_time() - start

    out, seconds = virtual(main)

    assert (out if ordered else sorted(out)) == list(range(20)) and calls.most == 4 and seconds == 5


def test_concurrency_counts_finished_items_that_wait_for_their_turn(virtual: Virtual) -> None:
    """An item counts from its start until it has left, so a slow first one holds the source (ruling 5)."""
    read: list[int] = []
    calls = Calls(lambda x: 100 if x == 0 else 1)

    async def main() -> list[int]:
        graph = kx.source(range(10)) >> kx.tap(read.append) >> kx.map(calls, concurrency=4) >> kx.to_list()
        async with graph.start() as run:
            await anyio.sleep(99)
            assert read == [0, 1, 2, 3] and sorted(calls.finished) == [1, 2, 3]
        return run.result  # type: ignore[no-any-return]

    assert virtual(main) == list(range(10))


def test_a_worker_goes_on_while_its_calls_do_not_suspend(virtual: Virtual) -> None:
    """Calls that never wait stay in one task, whatever the concurrency."""
    tasks: set[int] = set()

    async def call(x: int) -> int:
        tasks.add(anyio.get_current_task().id)
        return x

    virtual(kx.source(range(100)) >> kx.map(call, concurrency=8))

    assert len(tasks) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_calls_that_suspend_now_and_then_keep_their_order(seed: int) -> None:
    """A worker that was alone for a while, and rests, leaves no trace of it: whoever goes on meanwhile takes turns."""
    drawn = random.Random(seed)
    naps = [drawn.choice([0] * 30 + [1, 2, 3, 7]) if x % 600 <= 80 else 0 for x in range(3000)]

    async def call(x: int) -> int:
        for _ in range(naps[x]):
            await anyio.sleep(0)
        return x

    with anyio.fail_after(20):
        out = await (kx.source(range(3000)) >> kx.map(call, concurrency=drawn.choice([2, 3, 5])) >> kx.to_list())
    assert out == [*range(3000)]


@pytest.mark.parametrize("seed", range(12))
async def test_results_that_expand_keep_their_order_though_others_run_in_between(seed: int) -> None:
    """In the middle of a long expansion the other workers have their turn; their results wait for its end."""
    drawn = random.Random(seed)
    naps, sizes = zip(*((drawn.choice([0, 0, 1, 5]), drawn.choice([0, 1, 40, 700])) for _ in range(40)), strict=True)
    most = drawn.choice([10, 3000, 10**6])

    async def call(x: int) -> int:
        for _ in range(naps[x]):
            await anyio.sleep(0)
        return x

    graph = kx.source(range(40)) >> kx.map(call, concurrency=drawn.choice([2, 3, 8])) \
        >> kx.flat_map(lambda x: ((x, n) for n in range(sizes[x]))) >> kx.take(most) >> kx.to_list()
    with anyio.fail_after(20):
        async with graph.start(events=drawn.random() < 0.3) as run:
            await anyio.sleep(0)
            run.pause()
            await anyio.sleep(0)
            run.resume()
    assert run.result == [(x, n) for x in range(40) for n in range(sizes[x])][:most]


# -- order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ordered", "out"), [(True, [3, 2, 1, 0]), (False, [0, 1, 2, 3])])
def test_order_is_that_of_the_items_or_of_the_results(ordered: bool, out: list[int], virtual: Virtual) -> None:
    """Ordered, results leave in the order of their items; unordered, as they come."""
    calls = Calls(float)

    assert virtual(kx.source([3, 2, 1, 0]) >> kx.map(calls, concurrency=4, ordered=ordered) >> kx.to_list()) == out


def test_flat_map_of_async_generators_runs_sixteen_at_once_by_default(virtual: Virtual) -> None:
    """Their outputs interleave; each one's own order is kept."""
    inside = most = 0

    async def three(x: int) -> AsyncIterator[tuple[int, int]]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        for n in range(3):
            await anyio.sleep(1)
            yield x, n
        inside -= 1

    out = virtual(kx.source(range(40)) >> kx.flat_map(three) >> kx.to_list())

    assert most == 16 and len(out) == 120
    assert all([n for y, n in out if y == x] == [0, 1, 2] for x in range(40))


def test_concat_map_keeps_order_and_runs_one_at_a_time(virtual: Virtual) -> None:
    """``concat_map`` is one result after the other, also of async generators."""
    async def two(x: int) -> AsyncIterator[int]:
        await anyio.sleep(10 - x)
        yield x
        yield x

    assert virtual(kx.source(range(4)) >> kx.concat_map(two) >> kx.to_list()) == [0, 0, 1, 1, 2, 2, 3, 3]


# -- failure and leaving -------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("before", [(), (kx.map(passed),)])
@pytest.mark.parametrize("after", [(), (kx.map(passed),), (kx.filter(kx.it < 0),)])
def test_one_bad_item_fails_the_run_and_cancels_its_siblings(before: Any, after: Any, ordered: bool, noted: Any,
                                                            virtual: Virtual) -> None:
    """Calls under way are cancelled at once, no further item is read, and the note names the bad item."""
    calls = Calls(lambda x: 1 if x == 2 else 50, bad=2)
    graph = kx.source(range(100))
    for node in (*before, kx.map(calls, concurrency=4, ordered=ordered).named("call"), *after):
        graph = graph >> node

    async def main() -> float:
        start = anyio.current_time()
        with pytest.raises(ValueError, match="bad 2") as caught:
            await graph
        (note,) = noted(caught.value)
        assert "'call' (map)" in note and note.endswith("item 2")
        return anyio.current_time() - start

    assert virtual(main) == 1
    assert sorted(calls.cancelled) == [0, 1, 3] and calls.now == 0 and calls.finished == []


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("below", [False, True])
def test_the_note_names_the_item_that_failed(concurrency: int, wait: bool, below: bool, noted: Any,
                                             virtual: Virtual) -> None:
    """Far into a stream, in the call itself or in a step below it, with calls that wait and calls that do not."""
    def fail(x: int) -> int:
        if x == 50:
            raise ValueError
        return x

    async def call(x: int) -> int:
        if wait:
            await anyio.sleep(1 + x % 3)
        return x if below else fail(x)

    with pytest.raises(ValueError) as caught:
        virtual(kx.source(range(100)) >> kx.map(call, concurrency=concurrency) >> kx.map(fail) >> kx.to_list())
    (note,) = noted(caught.value)
    assert note.endswith("item 50")


def test_no_result_leaves_after_a_failure(virtual: Virtual) -> None:
    """Results that are ready at the same moment as a failure are cancelled with it."""
    log: list[Any] = []

    async def call(x: int) -> int:
        await anyio.sleep(1)
        if x == 3:
            log.append("failed")
            raise ValueError
        return x

    with pytest.raises(ValueError):
        virtual(kx.source(range(8)) >> kx.map(call, concurrency=8, ordered=False) >> kx.each(log.append))

    assert log[-1] == "failed"


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("after", [(), (kx.map(passed),), (kx.debounce(0),)])
def test_take_below_cancels_the_calls_under_way(after: Any, ordered: bool, virtual: Virtual) -> None:
    """Once nothing more is wanted, the calls for it end, and so does the run: also behind another gate."""
    calls = Calls(lambda x: 1 if x == 0 else 1000)
    graph = kx.source(range(10**6)) >> kx.map(calls, concurrency=5, ordered=ordered)
    for node in after:
        graph = graph >> node

    async def main() -> tuple[Any, float]:
        start = anyio.current_time()
        out = await (graph >> kx.take(1) >> kx.to_list())
        return out, anyio.current_time() - start

    assert virtual(main) == ([0], 1)
    assert calls.now == 0 and calls.finished == [0] and sorted(calls.cancelled)[:4] == [1, 2, 3, 4]


def test_a_wait_above_a_gate_ends_once_nothing_below_is_wanted(virtual: Virtual, watched: Any) -> None:
    """A source that will not give for a thousand hours does not hold up the end of the run."""
    source = watched(range(5))

    async def endless() -> AsyncIterator[int]:
        for x in source.source():
            yield x
        await anyio.sleep(3_600_000)

    async def main() -> float:
        start = anyio.current_time()
        assert await (kx.source(endless) >> kx.map(passed) >> kx.map(passed) >> kx.take(3) >> kx.to_list()) == [0, 1, 2]
        return anyio.current_time() - start

    assert virtual(main) == 0


def test_a_detached_branch_with_a_crew_fails_alone(virtual: Virtual) -> None:
    """``broadcast(on_error="detach")`` cuts off the branch whose call failed; the other one goes on."""
    calls = Calls(bad=1)
    fan = kx.broadcast(kx.map(calls, concurrency=2) >> kx.each(lambda x: None), kx.to_list(), on_error="detach")

    assert virtual(kx.source(range(50)) >> fan) == (None, list(range(50)))


def test_pause_starts_no_new_call_and_resume_goes_on(virtual: Virtual) -> None:
    """Calls under way finish in a pause; the others wait for its end."""
    calls = Calls()

    async def main() -> list[int]:
        async with (kx.source(range(8)) >> kx.map(calls, concurrency=2) >> kx.to_list()).start() as run:
            await anyio.sleep(1.5)
            run.pause()
            await anyio.sleep(100)
            assert sorted(calls.finished) == [0, 1, 2, 3]
            run.resume()
        return run.result  # type: ignore[no-any-return]

    assert virtual(main) == list(range(8))
