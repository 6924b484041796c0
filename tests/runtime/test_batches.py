"""Batches: what a placement that wants many items to a call is given, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


@dataclass
class Engine:
    """A placement somewhere else: takes a second a call, and notes when it was given what."""

    workers: int = 1
    in_flight: int = 8
    batch: int = 4
    linger: float = 0.0
    answer: Callable[[Sequence[Any]], Sequence[Any]] = list
    calls: list[tuple[float, list[Any]]] = field(default_factory=list)
    open: bool = False

    @asynccontextmanager
    async def start(self, fn: Callable[[Any], Any]) -> AsyncIterator[Any]:
        began, self.open = anyio.current_time(), True

        async def call(batch: Sequence[Any]) -> Sequence[Any]:
            self.calls.append((anyio.current_time() - began, list(batch)))
            await anyio.sleep(1)
            return self.answer([fn(x) for x in batch])

        yield call
        self.open = False


def test_batches_fill_while_the_workers_are_busy(virtual: Virtual) -> None:
    """The first goes with what is there; afterwards each takes what has gathered, ``batch`` at most."""
    engine = Engine()

    out = virtual(kx.source(range(10)) >> kx.map(lambda x: x * 10, on=engine) >> kx.to_list())

    assert out == [x * 10 for x in range(10)] and not engine.open
    assert [x for _, batch in engine.calls for x in batch] == list(range(10))
    assert all(len(batch) <= 4 for _, batch in engine.calls) and max(len(batch) for _, batch in engine.calls) == 4


def test_a_batch_takes_all_who_are_ready(virtual: Virtual) -> None:
    """Tasks that are woken at one moment go into one batch, in whatever order the loop runs them."""
    engine = Engine(in_flight=4)

    virtual(kx.source(range(20)) >> kx.map(lambda x: x, on=engine))

    assert {len(batch) for _, batch in engine.calls[1:-1]} == {4}


def test_a_batch_that_has_waited_for_a_worker_does_not_linger(virtual: Virtual) -> None:
    """``linger`` counts from its first item, not from when a worker is free."""
    engine = Engine(linger=0.5)

    async def slowly() -> Any:
        yield 1
        await anyio.sleep(0.6)
        yield 2
        await anyio.sleep(5)

    virtual(kx.source(slowly) >> kx.map(lambda x: x, on=engine))
    assert engine.calls == [(0.5, [1]), (1.5, [2])]


def test_a_batch_that_is_not_full_waits_for_more(virtual: Virtual) -> None:
    """``linger`` seconds from its first item; a full one goes at once, and the last does not wait for ever."""
    engine = Engine(linger=0.5, workers=2)

    async def slowly() -> Any:
        for seconds, x in ((0, 1), (0.1, 2), (0.3, 3), (0.3, 4), (0, 5), (0, 6), (0, 7), (5, 8)):
            await anyio.sleep(seconds)
            yield x

    assert virtual(kx.source(slowly) >> kx.map(lambda x: x, on=engine) >> kx.to_list()) == list(range(1, 9))
    assert [(round(at, 3), batch) for at, batch in engine.calls] == [
        (0.5, [1, 2, 3]), (0.7, [4, 5, 6, 7]), (6.2, [8])]


def test_workers_bound_the_batches_at_once(virtual: Virtual) -> None:
    """Two workers, two batches under way; no third before one has come back."""
    engine = Engine(workers=2, in_flight=100, linger=0.25)

    virtual(kx.source(range(16)) >> kx.map(lambda x: x, on=engine))

    assert [round(at, 3) for at, _ in engine.calls] == [0, 0, 1, 1]


def test_a_failed_item_fails_alone(virtual: Virtual, noted: Any) -> None:
    """`Failed` in the results is the failure of the item at its place; guards stand around each item."""
    bad = ValueError("bad")
    engine = Engine(answer=lambda results: [kx.Failed(bad) if x == 3 else x for x in results])
    graph = kx.source(range(6)) >> kx.map(lambda x: x, on=engine).named("there")

    assert virtual(graph >> kx.fallback(lambda x: -x) >> kx.to_list()) == [0, 1, 2, -3, 4, 5]
    with pytest.raises(ValueError) as caught:
        virtual(graph)
    assert caught.value is bad and noted(bad)[0].endswith("item 3") and "'there' (map)" in noted(bad)[0]


def test_a_call_that_fails_fails_every_item_of_its_batch(virtual: Virtual) -> None:
    """And one that gives too few results is a RunError that says so."""
    def down(results: Sequence[Any]) -> Any:
        raise ConnectionError("down")

    for answer, kind in ((down, ConnectionError), (lambda results: results[:-1], kx.RunError)):
        letters: list[kx.Letter] = []
        graph = kx.source(range(6)) >> kx.map(lambda x: x, on=Engine(answer=answer)) >> kx.dead_letter(letters)
        virtual(graph)
        assert sorted(letter.item for letter in letters) == list(range(6))
        assert {type(letter.error) for letter in letters} == {kind}


def test_a_cancel_ends_the_calls_under_way(virtual: Virtual) -> None:
    """The placement is closed, and nothing waits for its answers."""
    engine = Engine()

    async def main() -> None:
        async with (kx.source(range(20)) >> kx.map(lambda x: x, on=engine)).start() as run:
            await anyio.sleep(1.5)
            await run.cancel()
        assert run.state == "cancelled"

    virtual(main)
    assert len(engine.calls) == 2
