"""The first result of every function: an awaitable from one that looks synchronous is told at once (ruling 24)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import kayrx as kx
from kayrx.testing import run_virtual


async def yes(*args: Any) -> bool:
    return True


def looks(*args: Any) -> Any:
    """A function that looks synchronous: its awaitable would be dropped, or be an answer that is always yes."""
    return yes(*args)


class Store:
    """A letter store, and a sink, whose append looks synchronous."""

    def append(self, item: Any) -> Any:
        return yes()


def failing(x: int) -> int:
    raise LookupError(x)


Some = Callable[[], Any]
NODES: dict[str, Some] = {
    "map": lambda: kx.map(looks),
    "flat_map": lambda: kx.flat_map(looks),
    "expand": lambda: kx.expand(looks),
    "scan": lambda: kx.scan(looks, 0),
    "scan without a seed": lambda: kx.scan(looks),
    "reduce": lambda: kx.reduce(looks, 0),
    "tap": lambda: kx.tap(looks),
    "stateful_map": lambda: kx.stateful_map(looks, seed=0),
    "its key": lambda: kx.stateful_map(lambda s, x: (s, x), key=looks),
    "its eviction": lambda: kx.stateful_map(lambda s, x: (x, x), kx.it, 0, max_keys=1, on_evict=looks),
    "filter": lambda: kx.filter(looks),
    "distinct": lambda: kx.distinct(looks),
    "distinct_until_changed": lambda: kx.distinct_until_changed(looks),
    "its comparer": lambda: kx.distinct_until_changed(comparer=looks),
    "take_while": lambda: kx.take_while(looks),
    "skip_while": lambda: kx.skip_while(looks),
    "first": lambda: kx.first(looks),
    "last": lambda: kx.last(looks),
    "group_by": lambda: kx.group_by(looks, kx.map(kx.it), max_groups=4),
    "window_by": lambda: kx.window_by(looks, tumbling=1, event_time=kx.it),
    "its time": lambda: kx.window_by(kx.it, tumbling=1, event_time=looks),
    "each": lambda: kx.each(looks),
    "sink": lambda: kx.sink(looks),
    "append": lambda: kx.sink(Store()),
    "partition": lambda: kx.partition(looks, kx.to_list(), kx.to_list()),
    "branch": lambda: kx.branch({True: kx.to_list()}, key=looks),
    "divert_to": lambda: kx.divert_to(kx.to_list(), looks),
    "loop": lambda: kx.loop(kx.map(kx.it), until=looks),
    "join": lambda: kx.join(kx.source([1]), within=1, key=looks, event_time=kx.it),
    "unit": lambda: kx.unit(kx.filter(looks) >> kx.map(kx.it)) >> kx.skip_errors(),
    "on=": lambda: kx.map(failing) >> kx.retry(2, on=looks),
    "fallback": lambda: kx.map(failing) >> kx.fallback(looks, 3),
    "catch": lambda: kx.map(failing) >> kx.catch(looks),
}
WAITING: dict[str, Some] = {
    "rate_limit": lambda: kx.rate_limit(9, per=1, key=looks),
    "its cost": lambda: kx.rate_limit(9, per=1, cost=looks),
    "conflate": lambda: kx.backpressure(1, overflow=kx.conflate(looks)) >> kx.map(yes),
    "coalesce": lambda: kx.coalesce(4, looks) >> kx.map(yes),
    "keep_alive": lambda: kx.delay(2) >> kx.keep_alive(1, looks),
    "beside an async key": lambda: kx.stateful_map(looks, key=yes, seed=0) >> kx.retry(2),
}
GUARDS: dict[str, Some] = {
    "retry": lambda: kx.retry(3), "fallback": lambda: kx.fallback(9), "catch": lambda: kx.catch(lambda error, x: 9),
    "skip_errors": lambda: kx.skip_errors(), "dead_letter": lambda: kx.dead_letter([]),
    "bulkhead": lambda: kx.bulkhead(1), "circuit_breaker": lambda: kx.circuit_breaker() >> kx.fallback(9),
}
GUARDED = ("map", "flat_map", "scan", "tap", "stateful_map", "its key", "filter", "each", "append")


@pytest.mark.parametrize("name", NODES)
def test_an_awaitable_that_nobody_would_wait_for_fails_the_run(name: str, backend: str) -> None:
    """Whatever function gives it: it is never dropped, never an item, never a yes; with no loop and on one."""
    with pytest.raises(TypeError, match=r"returned .*(looks synchronous|must be written as one|synchronous function)"):
        (kx.source([1, 2, 3, 4]) >> NODES[name]()).run(backend=backend)


@pytest.mark.parametrize("name", WAITING)
def test_nodes_that_need_a_loop_look_too(name: str) -> None:
    """Their functions are called by hand-written stages and gates."""
    async def main() -> None:
        await (kx.source([1, 2, 3, 4]) >> WAITING[name]())

    with pytest.raises(TypeError, match=r"returned an awaitable and looks synchronous|returned a coroutine"):
        run_virtual(main)


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("name", GUARDED)
def test_no_guard_hides_it(name: str, guard: str, backend: str) -> None:
    """It is a mistake in the program, not the failure of an item: nothing is retried, replaced or written away."""
    if name == "flat_map" and guard == "bulkhead":
        guard = "retry"
    with pytest.raises(TypeError, match=r"'.*' \(.*\) at test_probe.py.* returned a"):
        (kx.source([1, 2]) >> NODES[name]() >> GUARDS[guard]()).run(backend=backend)


def test_a_letter_store_and_a_cursor_are_looked_at_too() -> None:
    """`append` without a loop, and ``cursor=``, whose coroutine would be handed to connect."""
    with pytest.raises(TypeError, match=r"append of its store: a function returned an awaitable"):
        (kx.source([1]) >> kx.map(failing) >> kx.dead_letter(Store())).run()
    with pytest.raises(TypeError, match=r"cursor=: a function returned an awaitable"):
        kx.source(lambda at: iter([1, 2]), cursor=looks).collect()


async def numbers() -> Any:
    yield 1
    yield 2


@pytest.mark.parametrize("what", [lambda: numbers(), looks], ids=["async generator", "coroutine"])
def test_a_source_whose_callable_looks_synchronous_says_how_to_write_it(what: Some, backend: str) -> None:
    """The plan is made before anything is opened, so an async source is known by its function; the remedy works."""
    with pytest.raises(kx.RunError, match=r"\(source\) at .*: the callable gave a .*open it in an `async def`"):
        kx.source(what).collect(backend=backend)

    async def opened() -> Any:
        return numbers()

    for remedy in (opened, numbers, partial(numbers)):
        assert kx.source(remedy).collect() == [1, 2]


def test_a_queue_of_asyncio_is_a_sink_that_waits() -> None:
    """Its put is async, which run() sees before it begins; of a resource that is known too late, and told."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    assert (kx.source([1, 2]) >> kx.sink(queue)).run() is queue and queue.qsize() == 2
    with pytest.raises(kx.RunError, match=r"put is async"):
        (kx.source([1, 2]) >> kx.sink(kx.resource(asyncio.Queue))).run()


def test_later_calls_cost_nothing() -> None:
    """The probe has taken itself away after the first result."""
    graph = kx.source([1, 2]) >> kx.filter(bool) >> kx.scan(max, 0) >> kx.tap(lambda x: None) >> kx.to_list()
    graph.run()
    from kayrx.runtime.program import program

    code = program(graph).codes()[0]
    names = {**code.function.__globals__, **dict(zip(
        code.function.__code__.co_freevars, (c.cell_contents for c in code.function.__closure__ or ()), strict=True))}
    assert not [name for name, value in names.items() if type(value).__name__ == "Probe"]
