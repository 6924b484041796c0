"""Seeded faults: which call raises or comes late follows from the seed, the name and the number of the call."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import Fault, Faults, run_virtual


def one(x: int) -> int:
    return x


async def later(x: int) -> int:
    return x


def many(x: int) -> Any:
    yield from (x, x, x)


async def many_later(x: int) -> Any:
    for _ in range(3):
        yield x


def calls_that_raise(faults: Faults, times: int = 60) -> list[int]:
    fn = faults.function(one)
    for n in range(times):
        try:
            assert fn(n) == n
        except Fault:
            continue
    return [injected.call for injected in faults.log]


def test_a_seed_decides_which_calls_raise() -> None:
    """Equal seeds, equal faults; about as many as asked for; none and all at the edges."""
    assert calls_that_raise(Faults(1, raising=0.3)) == calls_that_raise(Faults(1, raising=0.3))
    assert calls_that_raise(Faults(1, raising=0.3)) != calls_that_raise(Faults(2, raising=0.3))
    assert 5 < len(calls_that_raise(Faults(1, raising=0.3))) < 35
    assert calls_that_raise(Faults(raising=0)) == []
    assert calls_that_raise(Faults(raising=1)) == list(range(1, 61))


def test_other_functions_change_nothing() -> None:
    """A call's fault depends on its own name and number, not on what else is called between."""
    faults = Faults(1, raising=0.3)
    other = faults.function(one, "other")
    for n in range(20):
        try:
            other(n)
        except Fault:
            continue
    faults.log.clear()

    assert calls_that_raise(faults) == calls_that_raise(Faults(1, raising=0.3))


@pytest.mark.parametrize("node", [
    lambda f: kx.map(f(one)), lambda f: kx.map(f(later)), lambda f: kx.flat_map(f(many)),
    lambda f: kx.concat_map(f(many_later)), lambda f: kx.filter(f(one)), lambda f: kx.map(f(partial(one)))],
    ids=["map", "async map", "flat_map", "async concat_map", "filter", "partial"])
def test_a_wrapped_function_is_of_the_same_kind(node: Any, loop: str) -> None:
    """A graph takes it as it would take the function, and its guards see the fault."""
    def run(faults: Faults) -> Any:
        async def main() -> Any:
            return await (kx.source([1, 2, 3, 4]) >> node(faults.function) >> kx.skip_errors() >> kx.to_list())

        return run_virtual(main, loop), [str(injected) for injected in faults.log]

    whole, _ = run(Faults(raising=0))
    part, log = run(Faults(calls={"one": [2], "later": [2], "many": [2], "many_later": [2]}))
    assert len(log) == 1 and log[0].startswith("call 2 of ")
    assert len(part) < len(whole) and set(part) <= set(whole)


def test_a_generator_fails_in_the_middle_too() -> None:
    """After none, one or two of its items, or at its end; it always fails when it is told to."""
    given: set[int] = set()
    for seed in range(30):
        faults = Faults(seed, calls={"many": [1]})
        out: list[int] = []
        with pytest.raises(Fault):
            for item in faults.function(many)(7):
                out.append(item)
        given.add(len(out))
    assert given == {0, 1, 2}
    with pytest.raises(Fault):
        list(Faults(calls={"few": [1]}).function(lambda: (x for x in ()), "few")())


def test_an_async_call_comes_late(loop: str) -> None:
    """By up to ``seconds`` of the run's clock, which virtual time does not wait for."""
    faults = Faults(4, raising=0, late=0.5, seconds=60)

    async def main() -> float:
        await (kx.source(range(20)) >> kx.map(faults.function(later)) >> kx.to_list())
        return anyio.current_time()

    took = run_virtual(main, loop)
    assert took == pytest.approx(sum(injected.seconds for injected in faults.log)) and 0 < len(faults.log) < 20
    assert all(injected.seconds <= 60 and "s late" in str(injected) for injected in faults.log)


@pytest.mark.parametrize("items", [[1, 2, 3], lambda: iter([1, 2, 3]), partial(many, 1), partial(many_later, 1)],
                         ids=["list", "callable", "generator function", "async generator function"])
def test_a_source_fails_at_an_item_and_counts_on(items: Any, loop: str) -> None:
    """A reconnection opens it anew; the failing reading does not come again."""
    faults = Faults(calls={"source": [2]})
    made = faults.source(items)

    async def main() -> Any:
        return await (kx.source(made) >> kx.retry(2) >> kx.to_list())

    out = run_virtual(main, loop)
    assert len(out) == 4 and [injected.call for injected in faults.log] == [2]


def test_a_late_source_waits(loop: str) -> None:
    """It is an async one then."""
    faults = Faults(raising=0, late=1, seconds=5)

    async def main() -> Any:
        return await (kx.source(faults.source([1, 2, 3])) >> kx.to_list()), anyio.current_time()

    out, took = run_virtual(main, loop)
    assert out == [1, 2, 3] and took == pytest.approx(sum(injected.seconds for injected in faults.log)) and took > 0


def test_a_faulty_sink_delivers_nothing_and_is_tried_again(loop: str) -> None:
    """Each item arrives once: what raised has not been given."""
    kept: list[int] = []
    faults = Faults(3, raising=0.4)

    async def main() -> None:
        await (kx.source(range(20)) >> kx.sink(faults.sink(kept)) >> kx.retry(20))

    run_virtual(main, loop)
    assert kept == list(range(20)) and faults.log

    async def put(x: int) -> None:
        kept.append(x)

    kept.clear()
    run_virtual(lambda: awaited(kx.source(range(5)) >> kx.sink(faults.sink(put)) >> kx.retry(20)), loop)
    assert kept == list(range(5))
    with pytest.raises(kx.GraphError, match="takes no items"):
        faults.sink(3)


async def awaited(graph: Any) -> Any:
    return await graph


def test_a_graph_without_guards_is_broken_by_a_fault() -> None:
    """The run fails with the fault, noted with its node and item; ``error`` makes another exception."""
    faults = Faults(calls={"one": [3]}, error=ConnectionError)

    with pytest.raises(ConnectionError, match="call 3 of 'one'") as caught:
        (kx.source(range(9)) >> kx.map(faults.function(one))).run()
    assert "item 2" in caught.value.__notes__[0]


def test_a_share_is_a_share() -> None:
    """From 0 to 1."""
    with pytest.raises(kx.GraphError, match="from 0 to 1"):
        Faults(raising=3)
