"""Law 5: the answer does not depend on face, backend, chunk size, fusion or inlining.

Every graph here stands beside its oracle, a function over plain lists.  `answers` runs a graph on all
its faces and gives what each says; a test asks that all say what the oracle says.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import partial, reduce
from itertools import accumulate, chain, groupby, pairwise, takewhile
from typing import Any

import anyio
import pytest
import reactivex
from hypothesis import given, strategies as st
from reactivex import operators as ops

import kayrx as kx
from kayrx.graph.graph import Graph
from tests.nodes.oracles import spans

Oracle = Callable[[list[int]], list[int]]


async def bump(x: int) -> int:
    await anyio.sleep(0)
    return x + 1


async def even(x: int) -> bool:
    return x % 2 == 0


async def both(x: int) -> Any:
    yield x
    await anyio.sleep(0)
    yield -x


async def at_once(x: int) -> Any:
    yield x
    yield -x


async def listed(x: int) -> list[int]:
    return [x, -x]


async def add(total: int, x: int) -> int:
    return total + x


def picky(x: int) -> int:
    if x % 3 == 0:
        raise ValueError(x)
    return x


def until(test: Callable[[int], bool], xs: list[int]) -> list[int]:
    """Items until and with the first that fails the test."""
    head = list(takewhile(test, xs))
    return xs[:len(head) + 1]


def windows(xs: list[int], n: int, step: int) -> Iterator[list[int]]:
    """What `sliding` gives: a shorter last list only if it holds items that none held."""
    at, seen = 0, 0
    while at + n <= len(xs):
        yield xs[at:at + n]
        at, seen = at + step, at + n
    if seen < len(xs) and xs[at:]:
        yield xs[at:]


SYNC: dict[str, tuple[Graph[Any, Any], Oracle]] = {
    "map it": (kx.map(kx.it + 1), lambda xs: [x + 1 for x in xs]),
    "map lambda": (kx.map(lambda x: x * 2), lambda xs: [x * 2 for x in xs]),
    "map abs": (kx.map(abs), lambda xs: [abs(x) for x in xs]),
    "filter it": (kx.filter(kx.it % 2 == 0), lambda xs: [x for x in xs if x % 2 == 0]),
    "filter lambda": (kx.filter(lambda x: x > -5), lambda xs: [x for x in xs if x > -5]),
    "take 3": (kx.take(3), lambda xs: xs[:3]), "take 40": (kx.take(40), lambda xs: xs[:40]),
    "take 0": (kx.take(0), lambda xs: []),
    "skip 2": (kx.skip(2), lambda xs: xs[2:]),
    "take_while": (kx.take_while(kx.it < 30), lambda xs: list(takewhile(lambda x: x < 30, xs))),
    "take_while inclusive": (kx.take_while(lambda x: x < 9, inclusive=True), lambda xs: until(lambda x: x < 9, xs)),
    "distinct": (kx.distinct_until_changed(), lambda xs: [x for x, _ in groupby(xs)]),
    "distinct key": (kx.distinct_until_changed(kx.it // 2), lambda xs: [next(g) for _, g in groupby(
        xs, lambda x: x // 2)]),
    "scan": (kx.scan(operator.add, 5), lambda xs: list(accumulate(xs, initial=5))[1:]),
    "scan seedless": (kx.scan(max), lambda xs: list(accumulate(xs, max))),
    "scan lambda": (kx.scan(lambda s, x: s * 2 + x & 255, 0), lambda xs: list(accumulate(
        xs, lambda s, x: s * 2 + x & 255, initial=0))[1:]),
    "reduce": (kx.reduce(operator.add, 1), lambda xs: [reduce(operator.add, xs, 1)]),
    "count": (kx.count(), lambda xs: [len(xs)]), "sum": (kx.sum(), lambda xs: [sum(xs)]),
    "flat_map": (kx.flat_map(lambda x: [x] * (x % 4)), lambda xs: [x for x in xs for _ in range(x % 4)]),
    "concat_map": (kx.concat_map(lambda x: iter((x, -x))), lambda xs: [y for x in xs for y in (x, -x)]),
    "tap": (kx.tap(lambda x: None), lambda xs: xs),
    "pairwise": (kx.pairwise() >> kx.map(sum), lambda xs: [a + b for a, b in pairwise(xs)]),
    "buffer": (kx.buffer(count=3) >> kx.map(sum), lambda xs: [sum(xs[i:i + 3]) for i in range(0, len(xs), 3)]),
    "sliding": (kx.sliding(3, 2) >> kx.map(sum), lambda xs: [sum(w) for w in windows(xs, 3, 2)]),
    "sliding gap": (kx.sliding(2, 3) >> kx.map(sum), lambda xs: [sum(w) for w in windows(xs, 2, 3)]),
    "window_by": (kx.window_by(kx.it % 2, event_time=kx.it, tumbling=10, lateness=5) >> kx.map(lambda w: sum(w.value)),
                  lambda xs: [sum(values) for *_, values in spans([(x % 2, x, x) for x in xs], 10, 10, 5)[0]]),
    "window_by fold": (kx.window_by(event_time=kx.it, sliding=(9, 4), fold=(1, operator.add)) >> kx.map(kx.it.value),
                       lambda xs: [1 + sum(v) for *_, v in spans([(None, x, x) for x in xs], 9, 4, 0)[0]]),
    "backpressure": (kx.backpressure(3), lambda xs: xs),
    "rx skip": (kx.rx(ops.skip(1)), lambda xs: xs[1:]),
    "rx last": (kx.rx(ops.take_last(2)), lambda xs: xs[-2:]),
    "retry": (kx.map(abs) >> kx.retry(2), lambda xs: [abs(x) for x in xs]),
    "skip_errors": (kx.map(picky) >> kx.skip_errors(), lambda xs: [x for x in xs if x % 3]),
    "fallback": (kx.map(picky) >> kx.fallback(lambda x: -x), lambda xs: [x if x % 3 else -x for x in xs]),
    "guarded filter": (kx.filter(picky) >> kx.skip_errors(), lambda xs: [x for x in xs if x % 3]),
    "guarded scan": (kx.scan(lambda s, x: s + picky(x), 0) >> kx.skip_errors(),
                     lambda xs: list(accumulate([x for x in xs if x % 3], initial=0))[1:]),
    "unit": (kx.unit(kx.map(picky) >> kx.map(kx.it * 10)) >> kx.skip_errors(),
             lambda xs: [x * 10 for x in xs if x % 3]),
    "unit flat_map": (kx.unit(kx.flat_map(lambda x: [x, x]) >> kx.map(picky)) >> kx.skip_errors(),
                      lambda xs: [x for x in xs if x % 3 for _ in range(2)]),
    "fan": (kx.broadcast(kx.map(kx.it * 10), kx.map(abs)) >> kx.zip() >> kx.map(sum),
            lambda xs: [x * 10 + abs(x) for x in xs]),
    "with_latest_from": (kx.with_latest_from(kx.source([7])) >> kx.map(sum), lambda xs: [x + 7 for x in xs]),
    "take_until": (kx.take_until(kx.source([1])), lambda xs: []),
    "take_until never": (kx.take_until(kx.source([])), lambda xs: xs),
    "skip_until": (kx.skip_until(kx.source([1])), lambda xs: xs),
    "buffer until": (kx.buffer(until=kx.source([1])) >> kx.map(sum), lambda xs: [sum(xs)] if xs else []),
    "race": (kx.broadcast(kx.map(kx.it + 1), kx.map(lambda x: x + 1)) >> kx.race(), lambda xs: [x + 1 for x in xs]),
    "merge_prioritized": (kx.broadcast(kx.map(kx.it * 2), kx.map(abs)) >> kx.merge_prioritized(priorities=(2, 1))
                          >> kx.sum(), lambda xs: [sum(x * 2 + abs(x) for x in xs)]),
}
ASYNC: dict[str, tuple[Graph[Any, Any], Oracle]] = {
    "map async": (kx.map(bump), lambda xs: [x + 1 for x in xs]),
    "map async 4": (kx.map(bump, concurrency=4), lambda xs: [x + 1 for x in xs]),
    "filter async": (kx.filter(even), lambda xs: [x for x in xs if x % 2 == 0]),
    "concat_map async": (kx.concat_map(both), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "scan async": (kx.scan(add, 0), lambda xs: list(accumulate(xs, initial=0))[1:]),
    "timeout": (kx.map(bump) >> kx.timeout(30) >> kx.retry(2), lambda xs: [x + 1 for x in xs]),
    "take_while async": (kx.take_while(even), lambda xs: list(takewhile(lambda x: x % 2 == 0, xs))),
    "switch_map": (kx.switch_map(lambda x: [x, -x]), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "switch_map async": (kx.switch_map(at_once), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "exhaust_map": (kx.exhaust_map(lambda x: (x, -x)), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "exhaust_map async": (kx.exhaust_map(listed), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "pause_when": (kx.pause_when(kx.source([True, False])), lambda xs: xs),
    "lane": (kx.map(bump) >> kx.backpressure(2) >> kx.map(abs), lambda xs: [abs(x + 1) for x in xs]),
}
OPTIONS: list[dict[str, Any]] = [{}, {"chunk": 1}, {"chunk": 7}, {"fuse": False}, {"inline": True},
                                 {"chunk": 1, "fuse": False, "inline": True}]


def sync_answers(graph: Graph[Any, Any], items: list[int]) -> dict[str, list[int]]:
    """What the faces without a loop say."""
    out: dict[str, list[int]] = {}
    full = kx.source(items) >> graph
    for options in OPTIONS:
        out[f"collect {options}"] = full.collect(**options)
        seen = out[f"to_observable {options}"] = []
        full.to_observable(**options).subscribe(seen.append)
        seen = out[f"operator {options}"] = []
        reactivex.from_iterable(items).pipe(graph.operator(**options)).subscribe(seen.append)
    out["observable >> graph"] = (reactivex.from_iterable(items) >> graph).collect()
    out["generator"] = kx.source(lambda: (x for x in items)).__rshift__(graph).collect()
    held = out["each"] = []
    (full >> kx.each(held.append)).run()
    return out


async def async_answers(graph: Graph[Any, Any], items: list[int]) -> dict[str, list[int]]:
    """What the faces on the running loop say."""
    out: dict[str, list[int]] = {}
    full = kx.source(items) >> graph

    async def ended(observable: reactivex.Observable[int]) -> list[int]:
        seen: list[int] = []
        failed: list[Exception] = []
        over = anyio.Event()
        observable.subscribe(seen.append, lambda error: (failed.append(error), over.set()), over.set)
        await over.wait()
        if failed:
            raise failed[0]
        return seen

    out["await"] = await (full >> kx.to_list())
    out["await async source"] = await (kx.source(partial(streamed, items)) >> graph >> kx.to_list())
    for options in OPTIONS:
        async with full.stream(**options) as given:
            out[f"stream {options}"] = [x async for x in given]
        async with (full >> kx.to_list()).start(**options) as run:
            out[f"start {options}"] = await run.wait()
    try:
        out["async for"] = [x async for x in full]
    except kx.RunError as error:
        assert "graph.stream()" in str(error)
    out["to_observable"] = await ended(full.to_observable())
    try:
        out["operator"] = await ended(reactivex.from_iterable(items).pipe(graph.operator()))
    except kx.CompileError as error:  # a plan that waits, and begins with a gate that blocks (ruling 19)
        assert "cannot be made to wait" in str(error)
    return out


async def streamed(items: list[int]) -> Any:
    for item in items:
        yield item


def check(graph: Graph[Any, Any], items: list[int], expected: list[int], *, waits: bool) -> None:
    answers = {} if waits else sync_answers(graph, items)
    for backend in ("asyncio", "trio"):
        async def main() -> dict[str, list[int]]:
            with anyio.fail_after(20):
                return await async_answers(graph, items)

        answers |= {f"{backend}: {face}": answer for face, answer in anyio.run(main, backend=backend).items()}
        for options in OPTIONS:
            answers[f"{backend}: run {options}"] = (kx.source(items) >> graph).collect(backend=backend, **options)
    assert {face: answer for face, answer in answers.items() if answer != expected} == {}, f"expected {expected}"


ITEMS = [[], [7], [1, 2, 2, 3, 0, 9, 10, 11, 11, 30, 4], [*range(-20, 40)]]


@pytest.mark.parametrize("items", ITEMS, ids=["none", "one", "some", "many"])
@pytest.mark.parametrize("name", [*SYNC, *ASYNC])
def test_one_node_says_the_same_on_every_face(name: str, items: list[int]) -> None:
    """Every node: the oracle's answer on all faces, backends, chunks, fused and not, inlined and not."""
    graph, oracle = (SYNC | ASYNC)[name]

    check(graph, items, oracle(items), waits=name in ASYNC)


@pytest.mark.parametrize("place", [kx.threads(2), kx.processes(2, batch=3)], ids=["threads", "processes"])
def test_a_function_says_the_same_wherever_it_runs(place: kx.Placement) -> None:
    """On worker threads and in worker processes; not among the random graphs, for a process takes its time to start."""
    check(kx.map(abs, on=place) >> kx.filter(kx.it > 2), ITEMS[2], [3, 9, 10, 11, 11, 30, 4], waits=True)


@pytest.mark.parametrize("name", [n for n in SYNC if "rx" not in n])
def test_a_call_is_a_run_over_one_item(name: str) -> None:
    """``graph(x)`` equals ``(source([x]) >> graph).collect()``, with fresh state each time (ruling 23)."""
    graph, oracle = SYNC[name]

    assert [graph(x) for x in (3, 3, -1)] == [oracle([x]) for x in (3, 3, -1)]


def joined(names: list[str]) -> tuple[Graph[Any, Any], Oracle]:
    graphs, oracles = zip(*((SYNC | ASYNC)[name] for name in names), strict=True)
    return reduce(operator.rshift, graphs), lambda xs: reduce(lambda held, oracle: oracle(held), oracles, xs)


LONG = st.lists(st.sampled_from(list(SYNC)), min_size=10, max_size=14)


@given(LONG, st.lists(st.integers(-20, 60), max_size=30))
def test_random_graphs_say_what_plain_python_says(names: list[str], items: list[int]) -> None:
    """Ten and more nodes in any order: the oracle's answer, in place, unfused and on both backends."""
    graph, oracle = joined(names)
    full, expected = kx.source(items) >> graph, oracle(items)

    assert full.collect() == expected
    assert full.collect(fuse=False) == full.collect(inline=True, chunk=1) == expected
    assert full.collect(backend="asyncio", chunk=7) == full.collect(backend="trio", fuse=False) == expected
    seen: list[int] = []
    reactivex.from_iterable(items).pipe(graph.operator()).subscribe(seen.append)
    assert seen == expected
    assert not items or graph(items[0]) == oracle(items[:1])


@given(st.lists(st.sampled_from([*SYNC, *ASYNC]), min_size=6, max_size=10),
       st.lists(st.integers(-20, 60), max_size=25))
def test_random_graphs_that_wait_say_what_plain_python_says(names: list[str], items: list[int]) -> None:
    """Nodes that wait among nodes that do not: the oracle's answer on every face."""
    graph, oracle = joined([*names, "map async"])

    check(graph, items, oracle(items), waits=True)
