"""W8, the memory of W6 and the clients of W10: items that are pushed."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import reactivex.subject
from reactivex import operators as ops

import kayrx as kx
from tests.bench import functions as by
from tests.bench.goals import Goal, faster, times
from tests.bench.measure import Contender, Race

given = by.kept()
keep = given.append


def nodes() -> Any:
    return kx.map(by.pushed_lift) >> kx.filter(by.pushed_even) >> kx.map(by.pushed_triple)


def operators() -> list[Any]:
    return [ops.map(by.pushed_lift), ops.filter(by.pushed_even), ops.map(by.pushed_triple)]


# -- W8 ------------------------------------------------------------------------------------------


@cache
def heard_natively(clients: int = 1) -> Any:
    """A subject of ours with as many subscribers of the three operators."""
    hub = kx.Subject()
    graph = kx.source(hub) >> nodes()
    for _ in range(clients):
        graph.subscribe(keep)
    return hub


@cache
def heard_by_reactivex() -> Any:
    hub: Any = reactivex.subject.Subject()
    hub.pipe(*operators()).subscribe(keep)
    return hub


@cache
def heard_by_an_operator() -> Any:
    """Our operators, fused to one, behind a Subject of reactivex."""
    hub: Any = reactivex.subject.Subject()
    hub.pipe(nodes().operator()).subscribe(keep)
    return hub


def push(count: int, heard: Callable[[], Any]) -> int:
    hub = heard()
    given.clear()
    for x in range(count):
        hub.on_next(x)
    return sum(given)


def push_race() -> Race:
    return Race("W8", by.pushed_loop, [
        Contender("hand loop", by.pushed_loop),
        Contender("kayrx Subject", partial(push, heard=heard_natively)),
        Contender("kayrx behind a Subject", partial(push, heard=heard_by_an_operator)),
        Contender("reactivex Subject", partial(push, heard=heard_by_reactivex), 0.5),
    ], [times("kayrx Subject", "hand loop", 1.15), faster("kayrx Subject", "reactivex Subject", 6.5)],
        size=400_000, quick=150_000)


# -- W6: memory ----------------------------------------------------------------------------------

held: list[Any] = []


def dispose() -> None:
    for subscription in held:
        subscription.dispose()
    held.clear()


def hold(count: int, subscribe: Callable[[], Any]) -> int:
    """Subscribe so many times, and keep what that gives."""
    dispose()
    for _ in range(count):
        held.append(subscribe())
    return len(held)


def memory_held(work: Callable[[], Any]) -> float:
    """Bytes that are still held when ``work`` is done."""
    dispose()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        dispose()


def memory_race() -> Race:
    """One live subscription of three operators; what all subscriptions share is made before."""
    ours, theirs = kx.Subject(), reactivex.subject.Subject[int]()
    native, prebuilt = kx.source(ours) >> nodes(), theirs.pipe(*operators())
    hosted = native.to_observable()
    return Race("W6 memory", lambda count: count, [
        Contender("reactivex", partial(hold, subscribe=lambda: prebuilt.subscribe(keep))),
        Contender("kayrx native", partial(hold, subscribe=lambda: native.subscribe(keep))),
        Contender("kayrx hosted", partial(hold, subscribe=lambda: hosted.subscribe(keep))),
    ], [Goal("kayrx native", "", 1200, "amount")], size=500, quick=200, base="reactivex", unit="bytes",
        meter=memory_held)


# -- W10: clients --------------------------------------------------------------------------------


def heard_by(clients: int, count: int) -> int:
    """The right answer: the sum of the last that were heard, each item by every client."""
    lifted = map(by.pushed_lift, range(count))
    heard = [by.pushed_triple(y) for y in lifted if by.pushed_even(y) for _ in range(clients)]
    return sum(heard[-by.KEPT:])


def client_race() -> Race:
    """What an item costs each of many subscribers."""
    def clients(count: int) -> Contender:
        heard = partial(heard_natively, count)
        return Contender(f"kayrx, {count} clients", lambda pushes: push(max(1, pushes // count), heard),
                         1.0, lambda pushes: heard_by(count, max(1, pushes // count)))

    first, *others = map(clients, (1, 10, 100, 1000))
    return Race("W10 clients", by.pushed_loop, [first, *others],
                [times(other.name, first.name, 1.10) for other in others],
                size=400_000, quick=200_000, base=first.name, unit="ns/item/client")


def races() -> list[Race]:
    return [push_race(), memory_race(), client_race()]
