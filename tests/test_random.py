"""Random graphs of ten and more nodes, each with an oracle in plain Python; KAYRX_NIGHTLY=1 tries 10,000 of them."""

from __future__ import annotations

from typing import Any

import reactivex
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.testing import Schedule, laws
from kayrx.testing.strategies import RandomGraph, graphs, numbers


@given(graphs(), numbers())
def test_a_random_graph_says_what_plain_python_says(drawn: RandomGraph, items: list[int]) -> None:
    """In place, unfused, as an Rx operator, as a call, and on both backends."""
    graph, expected = kx.source(items) >> drawn.graph, drawn.oracle(items)

    assert graph.collect() == expected
    assert graph.collect(fuse=False) == graph.collect(inline=True, chunk=1, events=True) == expected
    assert graph.collect(backend="asyncio", chunk=7) == graph.collect(backend="trio", fuse=False) == expected
    seen: list[int] = []
    reactivex.from_iterable(items).pipe(drawn.graph.operator()).subscribe(seen.append)
    assert seen == expected
    assert not items or drawn.graph(items[0]) == drawn.oracle(items[:1])


@given(graphs(4, 8, waits=True), numbers())
def test_a_random_graph_that_waits_keeps_the_laws(drawn: RandomGraph, items: list[int]) -> None:
    """All of them, on every face: a case is some 120 runs, so its graphs are smaller."""
    laws.check(drawn.graph, items, expect=drawn.oracle(items))


@given(graphs(10, 14, waits=True), numbers(), st.integers(0, 2**32), st.sampled_from(["asyncio", "trio"]))
def test_the_order_of_tasks_changes_no_answer(drawn: RandomGraph, items: list[int], seed: int, backend: str) -> None:
    """Whatever task of the run goes first."""
    async def main() -> Any:
        return await (kx.source(items) >> drawn.graph >> kx.to_list())

    assert Schedule(seed).run(main, backend) == drawn.oracle(items)
