"""Transformation: map, flat_map, concat_map, scan, reduce, tap, pairwise, rx give something else for each item."""

from __future__ import annotations

import functools
import operator
from typing import Any

import anyio
import pytest
import reactivex
from reactivex import operators as ops

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import run_virtual


async def tenfold(x: int) -> int:
    await anyio.sleep(0)
    return x * 10


async def twice(x: Any) -> Any:
    yield x
    await anyio.sleep(0)
    yield x


async def both(x: Any) -> list[Any]:
    return [x, x]


async def plus(total: int, x: int) -> int:
    return total + x


class Adder:
    def __call__(self, x: int) -> int:
        return x + 1


class AsyncAdder:
    async def __call__(self, x: int) -> int:
        return x + 1


@pytest.mark.parametrize(("graph", "items", "out"), [
    (kx.map(lambda x: x * 10), [1, 2], [10, 20]), (kx.map(lambda x: None), [1, 2], [None, None]),
    (kx.map(Adder()), [1], [2]), (kx.map(functools.partial(operator.add, 5)), [1], [6]),
    (kx.map(str), [None], ["None"]),
    (kx.flat_map(lambda x: [x] * x), [1, 2, 0, 1], [1, 2, 2, 1]), (kx.flat_map(range), [3, 0, 1], [0, 1, 2, 0]),
    (kx.flat_map(lambda x: "ab"), [1], ["a", "b"]), (kx.flat_map(lambda x: iter([None])), [1], [None]),
    (kx.concat_map(lambda x: (x, -x)), [1, 2], [1, -1, 2, -2]),
    (kx.flat_map(kx.it["xs"]), [{"xs": [1, 2]}], [1, 2]),
    (kx.scan(lambda total, x: total + x, 0), [1, 2, 3], [1, 3, 6]), (kx.scan(operator.add), [1, 2, 3], [1, 3, 6]),
    (kx.scan(lambda s, x: x, None), [1, None], [1, None]), (kx.scan(max), [None], [None]),
    (kx.reduce(operator.add, 10), [1, 2], [13]), (kx.reduce(operator.add), [1, 2], [3]),
    (kx.reduce(operator.add, 10), [], [10]), (kx.reduce(lambda s, x: None), [1, 2], [None]), (kx.reduce(max), [7], [7]),
    (kx.tap(lambda x: None), [1, None], [1, None]),
    (kx.pairwise(), [1, 2, 3], [(1, 2), (2, 3)]), (kx.pairwise(), [1], []),
    (kx.pairwise(), [None, None], [(None, None)]),
    (kx.rx(ops.take_last(2)), [1, 2, 3], [2, 3]), (kx.rx(ops.map(lambda x: None)), [1], [None]),
    (kx.rx(ops.start_with(0)), [1, 2], [0, 1, 2]),
])
def test_what_comes_out(graph: Graph[Any, Any], items: Any, out: list[Any], backend: str) -> None:
    """Each node gives what its docstring says, on every backend; None is an ordinary item."""
    assert (kx.source(items) >> graph).collect(backend=backend) == out


@pytest.mark.parametrize("graph", [
    kx.map(str), kx.flat_map(list), kx.concat_map(list), kx.scan(max), kx.scan(max, 0), kx.tap(str), kx.pairwise(),
    kx.rx(ops.take_last(1)), kx.map(tenfold), kx.flat_map(twice), kx.map(tenfold, concurrency=4),
], ids=range(11))
def test_an_empty_source_gives_an_empty_answer(graph: Graph[Any, Any], loop: str) -> None:
    """Nothing in, nothing out, and completion."""
    assert (kx.source([]) >> graph).collect(backend=loop) == []


@pytest.mark.parametrize(("graph", "out"), [
    (kx.map(tenfold), [10, 20, 30]), (kx.map(tenfold, concurrency=2), [10, 20, 30]), (kx.map(AsyncAdder()), [2, 3, 4]),
    (kx.map(functools.partial(tenfold)), [10, 20, 30]), (kx.map(lambda x: tenfold(x), is_async=True), [10, 20, 30]),
    (kx.flat_map(twice, concurrency=1), [1, 1, 2, 2, 3, 3]), (kx.concat_map(twice), [1, 1, 2, 2, 3, 3]),
    (kx.concat_map(both), [1, 1, 2, 2, 3, 3]), (kx.scan(plus, 0), [1, 3, 6]), (kx.scan(plus), [1, 3, 6]),
    (kx.reduce(plus, 0), [6]), (kx.reduce(plus), [6]), (kx.tap(tenfold), [1, 2, 3]),
], ids=range(13))
def test_functions_may_be_async(graph: Graph[Any, Any], out: list[Any], loop: str) -> None:
    """An ``async def``, an async callable object or an async generator stands wherever a function is taken."""
    assert (kx.source([1, 2, 3]) >> graph).collect(backend=loop) == out


@pytest.mark.parametrize("fn", [twice, both])
def test_async_flat_map_gives_all_items_of_all_results(fn: Any, loop: str) -> None:
    """With several results at once their items may interleave; each result keeps its own order."""
    assert sorted((kx.source([1, 2, 3]) >> kx.flat_map(fn)).collect(backend=loop)) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(("ordered", "out"), [(True, [3, 1, 2]), (False, [1, 2, 3])])
def test_concurrent_results_keep_their_order_unless_told(ordered: bool, out: list[int], loop: str) -> None:
    """``ordered=False`` gives results as they come: all three take the time of the longest."""
    async def nap(x: int) -> int:
        await anyio.sleep(x)
        return x

    async def main() -> tuple[list[int], float]:
        graph = kx.source([3, 1, 2]) >> kx.map(nap, concurrency=3, ordered=ordered)
        return await (graph >> kx.to_list()), anyio.current_time()

    start, (given, end) = 0.0, run_virtual(main, loop)
    assert given == out
    assert loop == "trio" or end - start == 3.0


def test_concurrency_bounds_the_calls_under_way(loop: str) -> None:
    """At most ``concurrency`` calls run, from their start until their result has left."""
    running, most = 0, 0

    async def call(x: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(1 + x % 3)
        running -= 1
        return x

    async def main() -> list[int]:
        return await (kx.source(range(20)) >> kx.map(call, concurrency=4) >> kx.to_list())  # type: ignore[no-any-return]

    assert run_virtual(main, loop) == list(range(20)) and most == 4


def test_a_mutable_seed_is_copied_for_each_run() -> None:
    """A list as seed is not shared between runs, and the written one is never touched."""
    seed: list[int] = []

    def add(held: list[int], x: int) -> list[int]:
        held.append(x)
        return held

    summed, running = kx.source([1, 2]) >> kx.reduce(add, seed), kx.source([1, 2]) >> kx.scan(add, seed)

    assert summed.collect() == summed.collect() == [[1, 2]]
    assert running.collect() == running.collect() == [[1, 2], [1, 2]] and seed == []
    assert kx.reduce(add, seed)(7) == [[7]] == kx.reduce(add, seed)(7) and seed == []


def test_reduce_without_items_and_without_a_seed_has_no_result(backend: str) -> None:
    """The RunError names the node and asks for a seed."""
    with pytest.raises(kx.RunError, match=r"'add' \(reduce\) at test_transform\.py:\d+: no items and no seed"):
        (kx.source([]) >> kx.reduce(operator.add)).collect(backend=backend)


def test_state_changes_only_when_the_function_returns() -> None:
    """A scan whose function fails under a guard keeps the state it had."""
    def total(state: int, x: int) -> int:
        if x < 0:
            raise ValueError(x)
        return state + x

    assert (kx.source([1, -5, 2]) >> kx.scan(total, 0) >> kx.skip_errors()).collect() == [1, 3]


def test_a_failing_iterator_gives_what_came_before(backend: str) -> None:
    """Items of a flat_map that came before its failure have passed; the failure keeps its type."""
    def some(x: int) -> Any:
        yield x
        raise LookupError(x)

    seen: list[int] = []
    with pytest.raises(LookupError) as caught:
        (kx.source([7, 8]) >> kx.flat_map(some) >> kx.tap(seen.append)).run(backend=backend)
    assert seen == [7] and "'some' (flat_map)" in caught.value.__notes__[0]


def test_stop_iteration_of_a_function_is_a_failure(backend: str) -> None:
    """A StopIteration from user code is never taken for the end of the stream (ruling 22)."""
    def stop(x: int) -> int:
        raise StopIteration

    with pytest.raises((StopIteration, RuntimeError)):
        (kx.source([1, 2]) >> kx.map(stop)).collect(backend=backend)


def test_a_function_that_turns_out_to_be_async_is_told_how_to_say_so(backend: str) -> None:
    """A plain function returning an awaitable fails on its first item with the remedy (ruling 24)."""
    with pytest.raises(TypeError, match=r"say kx\.map\(f, is_async=True\)"):
        (kx.source([1]) >> kx.map(lambda x: tenfold(x))).collect(backend=backend)


@pytest.mark.parametrize(("fn", "says"), [
    (lambda x: twice(x), "write it as an async function or an async generator"),
    (lambda x: reactivex.of(x), r"write kx\.rx\(reactivex\.operators\.flat_map\(f\)\)"),
], ids=["async", "observable"])
def test_flat_map_of_what_no_loop_can_read_says_what_to_write(fn: Any, says: str, backend: str) -> None:
    """An async iterable from a plain function, or an Observable, is a TypeError that names the node."""
    for guarded in (kx.flat_map(fn), kx.flat_map(fn) >> kx.retry(1)):
        if guarded.nodes[-1].word == "retry" and "async" in says:
            continue
        with pytest.raises(TypeError, match=says):
            (kx.source([1]) >> guarded).run(backend=backend)


@pytest.mark.parametrize(("write", "says"), [
    (lambda: kx.map(3), "must be a function"), (lambda: kx.map(twice), "use flat_map"),
    (lambda: kx.map(str, concurrency=2), "the function is synchronous"),
    (lambda: kx.map(tenfold, concurrency=0), ">= 1"),
    (lambda: kx.flat_map(None), "must be a function"), (lambda: kx.flat_map(twice, concurrency=0), ">= 1"),
    (lambda: kx.scan(1), "must be a function"), (lambda: kx.reduce("x", 0), "must be a function"),
    (lambda: kx.tap([]), "must be a function"), (lambda: kx.rx(3), "must be a function"),
    (lambda: kx.rx(ops.map(str), max_burst=0), ">= 1"),
], ids=range(11))
def test_wrong_arguments_fail_where_they_are_written(write: Any, says: str) -> None:
    """A wrong argument is a GraphError of the line that writes it, not of the run."""
    with pytest.raises(kx.GraphError, match=says):
        write()


def test_rx_bursts_are_bounded_where_asked(backend: str) -> None:
    """More than ``max_burst`` items released by one are a GateOverflow that names the node."""
    burst = kx.rx(ops.flat_map(lambda x: [x] * 5), max_burst=4).named("burst")

    with pytest.raises(kx.GateOverflow, match=r"'burst' \(rx\).*released 5 items at once, max_burst=4"):
        (kx.source([1]) >> burst).collect(backend=backend)


@pytest.mark.parametrize("graph", [
    kx.rx(ops.take(2)), kx.rx(ops.take(2)) >> kx.map(str), kx.map(str) >> kx.rx(ops.first()),
], ids=range(3))
def test_an_rx_operator_that_has_enough_lets_go_of_the_source(graph: Graph[Any, Any], tracked: Any) -> None:
    """When the operator completes, no more is read and the source is closed."""
    source = tracked(range(100))

    (kx.source(source) >> graph).run()

    assert source.pulled <= 2 and source.closed


def test_errors_of_an_rx_operator_are_the_runs(backend: str) -> None:
    """What the operator sends as error is raised as it is, with the node in its note."""
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([0]) >> kx.rx(ops.map(lambda x: 1 / x)).named("inverse")).run(backend=backend)

    assert "'inverse' (rx)" in caught.value.__notes__[0]
