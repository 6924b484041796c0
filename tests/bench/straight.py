"""W1, W2, W3 and W9: pipelines in which nothing waits."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache, reduce
from typing import Any

import kayrx as kx
from tests.bench import functions as by, peers
from tests.bench.goals import faster, times
from tests.bench.measure import Contender, Race

SLOW = 0.02


# -- W1 ------------------------------------------------------------------------------------------


@cache
def filtered(items: int) -> Any:
    return kx.source(range(items)) >> kx.map(by.add_one) >> kx.filter(by.is_even) >> kx.map(by.triple) \
        >> kx.reduce(operator.add, 0)


@cache
def filtered_it(items: int) -> Any:
    return kx.source(range(items)) >> kx.map(kx.it + 1) >> kx.filter(kx.it % 2 == 0) >> kx.map(kx.it * 3) \
        >> kx.reduce(operator.add, 0)


@cache
def filtered_lambdas(items: int) -> Any:
    return kx.source(range(items)) >> kx.map(lambda x: x + 1) >> kx.filter(lambda x: x % 2 == 0) \
        >> kx.map(lambda x: x * 3) >> kx.reduce(operator.add, 0)


def generators(items: int) -> int:
    lifted = (by.add_one(x) for x in range(items))
    even = (y for y in lifted if by.is_even(y))
    return sum(by.triple(y) for y in even)


# -- W2 ------------------------------------------------------------------------------------------


@cache
def windows(items: int) -> Any:
    return kx.source(range(items)) >> kx.map(by.lift) >> kx.scan(operator.add) >> kx.buffer(count=100) \
        >> kx.map(len) >> kx.count()


@cache
def windows_it(items: int) -> Any:
    return kx.source(range(items)) >> kx.map(kx.it + 1) >> kx.scan(operator.add) >> kx.buffer(count=100) \
        >> kx.map(len) >> kx.count()


@cache
def windows_lambdas(items: int) -> Any:
    return kx.source(range(items)) >> kx.map(lambda x: x + 1) >> kx.scan(lambda total, x: total + x) \
        >> kx.buffer(count=100) >> kx.map(len) >> kx.count()


# -- W3 ------------------------------------------------------------------------------------------


@cache
def staged(items: int, stages: int = 10) -> Any:
    maps = (kx.map(by.STAGES[i % 10]) for i in range(stages))
    return reduce(operator.rshift, maps, kx.source(range(items))) >> kx.reduce(operator.add, 0)


@cache
def staged_it(items: int) -> Any:
    it = kx.it
    steps = [it + 1, it ^ 1, it + 2, it ^ 3, it + 4, it ^ 5, it + 6, it ^ 7, it + 8, it ^ 9]
    return reduce(operator.rshift, map(kx.map, steps), kx.source(range(items))) >> kx.reduce(operator.add, 0)


def staged_generators(items: int) -> int:
    def through(fn: Callable[[int], int], source: Any) -> Any:
        return (fn(x) for x in source)

    return sum(reduce(lambda source, fn: through(fn, source), by.STAGES, range(items)))


def by_stages(stages: int) -> Callable[[int], int]:
    """A run of ``count / stages`` items: what it costs for each item and stage."""
    return lambda count: staged(max(1, count // stages), stages).collect()[0]  # type: ignore[no-any-return]


def by_hand(stages: int) -> Callable[[int], int]:
    return lambda count: by.long_loop(stages)(max(1, count // stages))


# -- W9 ------------------------------------------------------------------------------------------


@cache
def from_observable(items: int) -> Any:
    return kx.source(peers.observable(items)) >> kx.map(by.add_one) >> kx.filter(by.is_even) \
        >> kx.map(by.triple) >> kx.reduce(operator.add, 0) >> kx.to_list()


def races() -> list[Race]:
    """The races in the order of PERFORMANCE.md.  reactivex does all items, for what one costs it grows with them."""
    return [filter_race(), window_race(), stage_race(), length_race(), observable_race()]


def filter_race() -> Race:
    """W1."""
    return Race("W1", by.filter_loop, [
        Contender("hand loop", by.filter_loop),
        Contender("kayrx", lambda n: filtered(n).collect()[0]),
        Contender("hand loop, inlined", by.filter_loop_inlined),
        Contender("kayrx it", lambda n: filtered_it(n).collect()[0]),
        Contender("kayrx lambdas inlined", lambda n: filtered_lambdas(n).collect(inline=True)[0]),
        Contender("reactivex", peers.filtered),
        Contender("generators", generators),
        *peers.with_bytewax("bytewax", peers.filtered_bytewax, 0.1),
        Contender("aiostream", peers.filtered_aiostream, SLOW),
    ], [
        times("kayrx", "hand loop", 1.05), faster("kayrx", "reactivex", 5, later=3.5),
        times("kayrx it", "hand loop", 0.60), faster("kayrx it", "reactivex", 9, later=5.5),
        times("kayrx lambdas inlined", "hand loop", 0.60),
        faster("kayrx lambdas inlined", "reactivex", 9, later=5.5),
    ], size=1_000_000, quick=400_000)


def window_race() -> Race:
    """W2."""
    return Race("W2", by.window_loop, [
        Contender("hand loop", by.window_loop),
        Contender("kayrx", lambda n: windows(n).collect()[0]),
        Contender("hand loop, inlined", by.window_loop_inlined),
        Contender("kayrx it", lambda n: windows_it(n).collect()[0]),
        Contender("kayrx lambdas inlined", lambda n: windows_lambdas(n).collect(inline=True)[0]),
        Contender("reactivex", peers.windows),
        *peers.with_bytewax("bytewax", peers.windows_bytewax, 0.05),
        Contender("aiostream", peers.windows_aiostream, SLOW),
    ], [
        times("kayrx", "hand loop", 1.05), faster("kayrx", "reactivex", 20, later=15),
        faster("kayrx it", "reactivex", 30, later=22),
        faster("kayrx lambdas inlined", "reactivex", 30, later=22),
    ], size=1_000_000, quick=400_000)


def stage_race() -> Race:
    """W3."""
    return Race("W3", by.stages_loop, [
        Contender("hand loop", by.stages_loop),
        Contender("kayrx", lambda n: staged(n).collect()[0]),
        Contender("hand loop, inlined", by.stages_loop_inlined),
        Contender("kayrx it", lambda n: staged_it(n).collect()[0]),
        Contender("reactivex", peers.staged),
        Contender("generators", staged_generators),
        *peers.with_bytewax("bytewax", peers.staged_bytewax, 0.1),
        Contender("aiostream", peers.staged_aiostream, SLOW),
    ], [times("kayrx", "hand loop", 1.0), faster("kayrx", "reactivex", 4.4, later=3.3)],
        size=300_000, quick=120_000)


def length_race() -> Race:
    """W3: no cliff however long the series is."""
    lengths = (10, 16, 20, 24, 300)
    return Race("W3 length", by.stages_loop, [
        *(Contender(f"kayrx, {k} stages", by_stages(k), 1.0, by_hand(k)) for k in lengths),
        *(Contender(f"hand loop, {k} stages", by_hand(k), 1.0, by_hand(k)) for k in (10, 300)),
    ], [times(f"kayrx, {k} stages", "kayrx, 10 stages", 1.10) for k in lengths[1:]],
        size=3_000_000, quick=1_200_000, base="kayrx, 10 stages", unit="ns/item/stage")


def observable_race() -> Race:
    """W9: an existing Observable is the source."""
    return Race("W9", by.filter_loop, [
        Contender("hand loop", by.filter_loop),
        Contender("kayrx", lambda n: from_observable(n).run()[0]),
        Contender("reactivex", peers.filtered),
    ], [faster("kayrx", "reactivex", 2.2)], size=200_000, quick=80_000)
