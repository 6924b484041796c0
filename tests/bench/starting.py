"""W6 and W7: what it costs to import kayrx, to hold a subscription, and to start a small graph."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial, reduce
from typing import Any

import reactivex as rx
from aiostream import pipe, stream
from reactivex import operators as ops

import kayrx as kx
from tests.bench import functions as by
from tests.bench.goals import Goal, faster, times
from tests.bench.measure import Contender, Race

FIVE = by.STAGES[:5]
FIRST_RUN = "import kayrx as kx; (kx.source([1]) >> kx.map(kx.it + 1)).collect()"


# -- W6: import ----------------------------------------------------------------------------------


def child_time(work: Callable[[], Any]) -> float:
    """Milliseconds of CPU time of the child processes that ``work`` waits for."""
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (end.ru_utime - begin.ru_utime + end.ru_stime - begin.ru_stime)


def interpreters(count: int, code: str) -> None:
    """Start as many interpreters, one after another, that run ``code``."""
    for _ in range(count):
        subprocess.run([sys.executable, "-c", code], check=True)


def import_race() -> Race:
    codes = {"bare Python": "pass", "import kayrx": "import kayrx", "first kayrx run": FIRST_RUN,
             "import reactivex": "import reactivex, reactivex.operators"}
    return Race("W6 import", lambda items: None,
                [Contender(name, partial(interpreters, code=code)) for name, code in codes.items()],
                [Goal("import kayrx", "bare Python", 15, "above")],
                size=5, quick=3, base="bare Python", unit="ms", meter=child_time)


# -- W7 ------------------------------------------------------------------------------------------


def subscribed(observable: rx.Observable[int]) -> int:
    given: list[int] = []
    observable.subscribe(given.append)
    return given[0]


@cache
def prebuilt() -> rx.Observable[int]:
    return rx.of(0).pipe(*map(ops.map, FIVE))


def prebuilt_reactivex(count: int) -> int:
    return sum(subscribed(prebuilt()) for _ in range(count))


def built_reactivex(count: int) -> int:
    return sum(subscribed(rx.of(0).pipe(*map(ops.map, FIVE))) for _ in range(count))


async def built_aiostream(count: int) -> int:
    total = 0
    for _ in range(count):
        total += await reduce(lambda source, fn: source | pipe.map(fn), FIVE, stream.just(0))
    return total


@cache
def native_graph() -> Any:
    return reduce(lambda graph, fn: graph >> kx.map(fn), FIVE, kx.source([0])) >> kx.to_list()


@cache
def open_graph() -> Any:
    first, *others = map(kx.map, FIVE)
    return reduce(lambda graph, step: graph >> step, others, first)


@cache
def hosted_observable() -> rx.Observable[int]:
    return (kx.source([0]) >> open_graph()).to_observable()  # type: ignore[no-any-return]


def native(count: int) -> int:
    run = native_graph().run
    total = 0
    for _ in range(count):
        total += run()[0]
    return total


def hosted(count: int) -> int:
    return sum(subscribed(hosted_observable()) for _ in range(count))


def called(count: int) -> int:
    graph = open_graph()
    total = 0
    for x in range(count):
        (y,) = graph(x)
        total += y
    return total


def same_item(count: int) -> int:
    """By hand what the starts of a graph on the item 0 give."""
    total = 0
    for _ in range(count):
        total += by.stage_4(by.stage_3(by.stage_2(by.stage_1(by.stage_0(0)))))
    return total


def start_races() -> list[Race]:
    return [
        Race("W7 call", by.five_calls, [
            Contender("hand calls", by.five_calls),
            Contender("kayrx graph(x)", called),
        ], [times("kayrx graph(x)", "hand calls", 1.3)], size=200_000, quick=100_000,
            base="hand calls", unit="ns/start"),
        Race("W7 start", same_item, [
            Contender("hand calls", same_item),
            Contender("kayrx run()", native),
            Contender("reactivex prebuilt", prebuilt_reactivex, 0.1),
            Contender("reactivex built", built_reactivex, 0.1),
            Contender("kayrx hosted", hosted, 0.1),
            Contender("aiostream", built_aiostream, 0.05),
        ], [faster("kayrx run()", "reactivex prebuilt", 60), faster("kayrx hosted", "reactivex prebuilt", 2.8)],
            size=40_000, quick=20_000, base="hand calls", unit="ns/start"),
    ]


def races() -> list[Race]:
    return [import_race(), *start_races()]
