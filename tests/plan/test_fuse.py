"""fuse: runs of steps become one function each, however many they are."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops

import kayrx as kx
from kayrx.graph.graph import Graph


def chain(node: Graph[Any, Any], times: int) -> Graph[Any, Any]:
    graph = node
    for _ in range(times - 1):
        graph = graph >> node
    return graph


def runs(graph: Graph[Any, Any], **options: Any) -> list[int]:
    return [len(run) for segment in graph.compile(**options).segments for run in segment.runs]


def test_plain_steps_fuse_into_one_run() -> None:
    """Any number of plain steps are one function; with ``fuse=False`` each is its own."""
    graph = kx.source([1]) >> chain(kx.map(kx.it + 1), 30)

    assert runs(graph) == [30] and runs(graph, fuse=False) == [1] * 30


def test_a_run_holds_eight_expansions() -> None:
    """Python nests twenty blocks at most, and every flat_map opens one."""
    assert runs(kx.source([1]) >> chain(kx.flat_map(lambda x: [x]), 20)) == [8, 8, 4]


DEEP: dict[str, Graph[Any, Any]] = {
    "300 maps": chain(kx.map(kx.it + 1), 300), "300 filters": chain(kx.filter(kx.it), 300),
    "25 flat_maps": chain(kx.flat_map(lambda x: [x, x] if x == 1 else [x + 1]), 25) >> kx.take(3),
    "60 mixed": chain(kx.map(kx.it + 1) >> kx.flat_map(lambda x: [x]) >> kx.scan(max), 20),
    "100 buffers": chain(kx.buffer(count=2) >> kx.map(kx.it[-1]), 50),
}
EXPECTED = {"300 maps": [301, 302, 303], "300 filters": [1, 2, 3], "25 flat_maps": [1, 1, 2], "60 mixed": [21, 22, 23],
            "100 buffers": [3]}


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", list(DEEP))
def test_long_and_deep_graphs_run(name: str, fuse: bool, backend: str) -> None:
    """300 stages and more than 20 nested expansions give the right answer on every backend."""
    if name == "25 flat_maps":
        first = [x for x in DEEP[name](1)]
        assert len(first) == 3
        assert ([1] >> DEEP[name]).collect(backend=backend, fuse=fuse) == first
        return
    assert ([1, 2, 3] >> DEEP[name]).collect(backend=backend, fuse=fuse) == EXPECTED[name]


SAME: tuple[Callable[[], Any], ...] = (
    lambda: kx.map(kx.it), lambda: kx.filter(lambda x: True), lambda: kx.flat_map(lambda x: [x]), lambda: kx.tap(str),
    lambda: kx.scan(lambda s, x: x), lambda: kx.stateful_map(lambda s, x: (s, x), seed=0), lambda: kx.take(99),
    lambda: kx.skip(0), lambda: kx.distinct_until_changed(), lambda: kx.buffer(count=2) >> kx.flat_map(list),
    lambda: kx.map(kx.it) >> kx.retry(2), lambda: kx.unit(kx.map(kx.it) >> kx.flat_map(lambda x: [x])) >> kx.retry(2),
    lambda: kx.backpressure(4), lambda: kx.broadcast(kx.map(kx.it), kx.map(kx.it)) >> kx.zip() >> kx.map(kx.it[0]),
    lambda: kx.group_by(lambda x: 0, kx.map(kx.it), max_groups=1), lambda: kx.expand(lambda x: ()),
    lambda: kx.loop(kx.map(kx.it), until=lambda x: True), lambda: kx.materialize() >> kx.dematerialize(),
    lambda: kx.partition(lambda x: True, kx.map(kx.it), kx.map(kx.it)) >> kx.merge(),
    lambda: kx.rx(ops.map(str)) >> int,
    lambda: kx.window_by(event_time=kx.it, tumbling=5) >> kx.flat_map(lambda window: window.value),
)


def test_300_stages_of_every_kind_run(backend: str) -> None:
    """Mixed as they come: the items arrive, in order, on every backend."""
    draw, graph = random.Random(2), kx.source(range(20)) >> kx.map(kx.it)
    for _ in range(300):
        graph = graph >> draw.choice(SAME)()
    assert graph.collect(backend=backend) == list(range(20))


@pytest.mark.parametrize("name", list(DEEP))
def test_long_and_deep_graphs_have_all_faces(name: str) -> None:
    """``graph(item)``, ``operator()`` and ``to_observable()`` take them too."""
    expected = ([1] >> DEEP[name]).collect()
    seen: list[Any] = []
    reactivex.of(1).pipe(DEEP[name].operator()).subscribe(seen.append)
    pulled: list[Any] = []
    ([1] >> DEEP[name]).to_observable().subscribe(pulled.append)

    assert DEEP[name](1) == expected == seen == pulled


def test_code_is_compiled_once_a_shape() -> None:
    """Graphs that differ only in functions and constants share one compiled text."""
    from kayrx.plan.shapes import compiled

    (kx.source([1]) >> kx.map(lambda x: x + 1) >> kx.filter(bool)).run()
    before = compiled.cache_info().misses
    (kx.source([2, 3]) >> kx.map(lambda x: x * 7) >> kx.filter(callable)).run()

    assert compiled.cache_info().misses == before


def test_two_links_of_one_shape_are_told_apart() -> None:
    """Blame finds the right node though several segments share one text."""
    graph = kx.source([0]) >> [kx.map(str), kx.map(lambda x: 1 / x).named("bad"), kx.map(repr)] >> kx.merge()

    with pytest.raises(ZeroDivisionError) as caught:
        graph.run()
    assert "in node 'bad' (map)" in caught.value.__notes__[0]
