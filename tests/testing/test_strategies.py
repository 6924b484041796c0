"""Random graphs: what the strategies promise of them.  The graphs themselves are run in tests/test_random.py."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings

import kayrx as kx
from kayrx.testing.strategies import RandomGraph, fan, graphs, numbers


@given(graphs(10, 12))
def test_random_graphs_have_the_asked_for_size_and_do_not_wait(drawn: RandomGraph) -> None:
    """Ten nodes and more; printed, a graph is the code that writes it."""
    assert len(drawn.graph.nodes) >= 10 and not drawn.waits
    assert not (kx.source([1]) >> drawn.graph).compile().loop
    assert repr(drawn).count(" >> ") >= 9 and "RandomGraph" not in repr(drawn)


@given(graphs(3, 4, waits=True))
def test_random_graphs_that_wait_wait(drawn: RandomGraph) -> None:
    """At least one node of each."""
    assert drawn.waits and (kx.source([1]) >> drawn.graph).compile().loop


def test_a_broken_node_is_found_by_random_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """If ``take(n)`` gave one too many, some random graph would tell."""
    from kayrx.nodes import select

    take = select.take
    monkeypatch.setattr(select, "take", lambda n: take(n + 1))

    @settings(max_examples=2000, phases=[Phase.generate])
    @given(graphs(3, 5), numbers())
    def same(drawn: RandomGraph, items: list[int]) -> None:
        assert (kx.source(items) >> drawn.graph).collect() == drawn.oracle(items)

    with pytest.raises(AssertionError) as caught:
        same()
    assert "take(" in "".join(caught.value.__notes__)


def test_a_fan_adds_what_its_branches_give() -> None:
    """The oracle of a fan is that of its branches, item by item."""
    double = RandomGraph("map(it * 2)", kx.map(kx.it * 2), lambda xs: [x * 2 for x in xs])
    both = fan(double, double >> double)

    assert (kx.source([1, 2]) >> both.graph).collect() == both.oracle([1, 2]) == [6, 12]
    assert repr(both) == "broadcast(map(it * 2), map(it * 2) >> map(it * 2)) >> zip() >> map(sum)"
