"""The same work in other libraries, over the same functions."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from datetime import timedelta
from functools import cache, reduce
from typing import Any

import reactivex as rx
from aiostream import pipe, stream
from reactivex import operators as ops

from tests.bench import functions as by
from tests.bench.measure import Contender


def last(observable: rx.Observable[Any]) -> Any:
    """The last item of an Observable that completes while it is subscribed to; raises its error."""
    given: list[Any] = []

    def failed(error: Exception) -> None:
        raise error

    observable.subscribe(given.append, failed)
    return given[-1]


@cache
def observable(items: int) -> rx.Observable[int]:
    return rx.from_iterable(range(items))


# -- reactivex -----------------------------------------------------------------------------------


def filtered(items: int) -> Any:
    return last(observable(items).pipe(ops.map(by.add_one), ops.filter(by.is_even), ops.map(by.triple),
                                       ops.reduce(operator.add, 0)))


def windows(items: int) -> Any:
    return last(observable(items).pipe(ops.map(by.lift), ops.scan(operator.add), ops.buffer_with_count(100),
                                       ops.map(len), ops.count()))


def staged(items: int) -> Any:
    return last(observable(items).pipe(*map(ops.map, by.STAGES), ops.reduce(operator.add, 0)))


async def merged(items: int, fn: Callable[[int], Any], concurrency: int) -> int:
    """Async calls through ``merge(max_concurrent=)``: unordered, as reactivex has no ordered form."""
    over = asyncio.get_running_loop().create_future()

    def called(x: int) -> rx.Observable[int]:
        return rx.defer(lambda _: rx.from_future(asyncio.ensure_future(fn(x))))

    rx.from_iterable(range(items)).pipe(
        ops.map(called), ops.merge(max_concurrent=concurrency), ops.reduce(operator.add, 0),
    ).subscribe(over.set_result, over.set_exception)
    return await over  # type: ignore[no-any-return]


# -- aiostream -----------------------------------------------------------------------------------


async def filtered_aiostream(items: int) -> Any:
    return await (stream.iterate(range(items)) | pipe.map(by.add_one) | pipe.filter(by.is_even)
                  | pipe.map(by.triple) | pipe.reduce(operator.add, 0))


async def windows_aiostream(items: int) -> Any:
    return await (stream.iterate(range(items)) | pipe.map(by.lift) | pipe.accumulate(operator.add)
                  | pipe.chunks(100) | pipe.map(len) | pipe.reduce(lambda count, _: count + 1, 0))


async def staged_aiostream(items: int) -> Any:
    mapped = reduce(lambda source, fn: source | pipe.map(fn), by.STAGES, stream.iterate(range(items)))
    return await (mapped | pipe.reduce(operator.add, 0))


async def mapped_aiostream(items: int, fn: Callable[[int], Any], concurrency: int) -> Any:
    return await (stream.iterate(range(items)) | pipe.amap(fn, ordered=True, task_limit=concurrency)
                  | pipe.reduce(operator.add, 0))


# -- bytewax -------------------------------------------------------------------------------------


def with_bytewax(name: str, run: Callable[[int], Any], share: float) -> list[Contender]:
    """The contender, or none with a printed line if bytewax fails on a small run."""
    try:
        run(1000)
    except Exception as error:  # an experiment with a foreign runtime: whatever it raises, it is out
        print(f"bytewax is left out: {type(error).__name__}: {error}")
        return []
    return [Contender(name, run, share)]


def bytewax_flow(items: int, build: Callable[[Any, Any], Any]) -> list[Any]:
    """Run a dataflow by its testing entry points, in batches of 1000."""
    import bytewax.operators as steps
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    given: list[Any] = []
    flow = Dataflow("bench")
    taken = steps.input("in", flow, TestingSource(range(items), 1000))
    steps.output("out", build(steps, taken), TestingSink(given))
    run_main(flow)
    return given


def filtered_bytewax(items: int) -> int:
    return sum(bytewax_flow(items, lambda steps, taken: steps.map(
        "triple", steps.filter("even", steps.map("add", taken, by.add_one), by.is_even), by.triple)))


def windows_bytewax(items: int) -> int:
    def total(state: int | None, x: int) -> tuple[int, int]:
        state = x if state is None else state + x
        return state, state

    def build(steps: Any, taken: Any) -> Any:
        keyed = steps.key_on("key", steps.map("lift", taken, by.lift), lambda x: "all")
        lists = steps.collect("lists", steps.stateful_map("total", keyed, total), timedelta(days=1), 100)
        return steps.map_value("length", lists, len)

    return len(bytewax_flow(items, build))


def staged_bytewax(items: int) -> int:
    def build(steps: Any, taken: Any) -> Any:
        for number, stage in enumerate(by.STAGES):
            taken = steps.map(f"stage_{number}", taken, stage)
        return taken

    return sum(bytewax_flow(items, build))
