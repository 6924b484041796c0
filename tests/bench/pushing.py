"""W8, the memory of W6 and the clients of W10: items that are pushed."""

from __future__ import annotations

import gc
import operator
import tracemalloc
from collections.abc import Callable
from typing import Any

import kayrx as kx
from reactivex import operators as ops
from reactivex.subject import Subject

from tests.bench import functions as by
from tests.bench.goals import faster, times
from tests.bench.measure import Contender, Race

HELD = 200  # subscriptions alive at once, to measure one of them


# -- W8 ------------------------------------------------------------------------------------------


def pushed_reactivex(count: int) -> int:
    hub: Subject[int] = Subject()
    given: list[int] = []
    hub.pipe(ops.map(by.pushed_lift), ops.filter(by.pushed_even), ops.map(by.pushed_triple),
             ops.reduce(operator.add, 0)).subscribe(given.append)
    for x in range(count):
        hub.on_next(x)
    hub.on_completed()
    return given[0]


def nodes() -> Any:
    return kx.map(by.pushed_lift) >> kx.filter(by.pushed_even) >> kx.map(by.pushed_triple)


def pushed_hosted(count: int) -> int:
    """Our operators behind a reactivex Subject."""
    hub: Subject[int] = Subject()
    given: list[int] = []
    hub.pipe((nodes() >> kx.reduce(operator.add, 0)).operator()).subscribe(given.append)
    for x in range(count):
        hub.on_next(x)
    hub.on_completed()
    return given[0]


def push_race() -> Race:
    return Race("W8", by.pushed_loop, [
        Contender("hand loop", by.pushed_loop),
        Contender("kayrx behind a Subject", pushed_hosted),
        Contender("reactivex Subject", pushed_reactivex, 0.5),
    ], [], size=300_000, quick=100_000)


# -- W6: memory ----------------------------------------------------------------------------------


def subscriptions(subscribe: Callable[[], Any]) -> Callable[[int], Any]:
    """Hold `HELD` subscriptions while the memory is looked at."""
    def hold(count: int) -> None:
        held.extend(subscribe() for _ in range(count))

    return hold


held: list[Any] = []


def memory_held(work: Callable[[], Any]) -> float:
    """Bytes that are still held when ``work`` has been done, the list of subscriptions left aside."""
    held.clear()
    held.extend([None] * HELD)
    held.clear()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        held.clear()


def nothing(x: int) -> None:
    """A client that does nothing with an item."""


hub: Subject[int] = Subject()


def subscribe_reactivex() -> Any:
    return hub.pipe(ops.map(by.pushed_lift), ops.filter(by.pushed_even), ops.map(by.pushed_triple)).subscribe(nothing)


def races() -> list[Race]:
    return [push_race()]
