"""W6 and W7: what it costs to import kayrx, to hold a subscription, and to start a small graph."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import reactivex as rx
from aiostream import pipe, stream
from reactivex import operators as ops

import kayrx as kx
from tests.bench import functions as by
from tests.bench.goals import Goal, faster, times
from tests.bench.measure import Contender, Race

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


def operators() -> list[Any]:
    return [ops.map(by.request_lift), ops.filter(by.request_wanted), ops.map(by.request_double),
            ops.scan(by.request_total, 0), ops.map(by.request_lower)]


def nodes() -> Any:
    return kx.map(by.request_lift) >> kx.filter(by.request_wanted) >> kx.map(by.request_double) \
        >> kx.scan(by.request_total, 0) >> kx.map(by.request_lower)


def subscribed(observable: rx.Observable[int]) -> int:
    given: list[int] = []
    observable.subscribe(given.append)
    return given[0]


@cache
def prebuilt() -> rx.Observable[int]:
    return rx.of(20).pipe(*operators())


@cache
def native_graph() -> Any:
    return kx.source([20]) >> nodes() >> kx.to_list()


@cache
def open_graph() -> Any:
    return nodes()


@cache
def hosted_observable() -> rx.Observable[int]:
    return (kx.source([20]) >> nodes()).to_observable()  # type: ignore[no-any-return]


def prebuilt_reactivex(count: int) -> int:
    return sum(subscribed(prebuilt()) for _ in range(count))


def built_reactivex(count: int) -> int:
    return sum(subscribed(rx.of(20).pipe(*operators())) for _ in range(count))


async def built_aiostream(count: int) -> int:
    answers = 0
    for _ in range(count):
        answers += await (stream.just(20) | pipe.map(by.request_lift) | pipe.filter(by.request_wanted)
                          | pipe.map(by.request_double) | pipe.accumulate(by.request_total)
                          | pipe.map(by.request_lower))
    return answers


def native(count: int) -> int:
    graph = native_graph()
    answers = 0
    for _ in range(count):
        answers += graph.run()[0]
    return answers


def hosted(count: int) -> int:
    return sum(subscribed(hosted_observable()) for _ in range(count))


def called(count: int) -> int:
    graph = open_graph()
    answers = 0
    for _ in range(count):
        answers += graph(20)[0]
    return answers


def start_race() -> Race:
    return Race("W7", by.requests, [
        Contender("hand calls", by.requests),
        Contender("hand calls, no list", by.bare_requests),
        Contender("kayrx graph(x)", called),
        Contender("kayrx run()", native),
        Contender("reactivex prebuilt", prebuilt_reactivex, 0.05),
        Contender("kayrx hosted", hosted, 0.05),
        Contender("reactivex built", built_reactivex, 0.05),
        Contender("aiostream", built_aiostream, 0.02),
    ], [times("kayrx graph(x)", "hand calls", 1.3), faster("kayrx run()", "reactivex prebuilt", 60),
        faster("kayrx hosted", "reactivex prebuilt", 2.8)],
        size=100_000, quick=60_000, base="hand calls", unit="ns/start")


def races() -> list[Race]:
    return [import_race(), start_race()]
