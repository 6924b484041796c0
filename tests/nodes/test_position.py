"""Selection by position: first, last, element_at, take_last, default_if_empty."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

import kayrx as kx
from kayrx.graph.graph import Graph


async def big(x: Any) -> bool:
    return x is not None and x > 1


@pytest.mark.parametrize(("graph", "items", "out"), [
    (kx.take_last(2), "abc", ["b", "c"]), (kx.take_last(9), "abc", ["a", "b", "c"]), (kx.take_last(0), "abc", []),
    (kx.take_last(1), [None, None], [None]), (kx.take_last(2), [], []),
    (kx.first(), "abc", ["a"]), (kx.first(), [None, 1], [None]), (kx.first(kx.it > 1), [1, 2, 3], [2]),
    (kx.first(kx.it > 5, 0), [1, 2], [0]), (kx.first(default=None), [], [None]), (kx.first(default=0), [1, 2], [1]),
    (kx.last(), "abc", ["c"]), (kx.last(), [1, None], [None]), (kx.last(kx.it < 3), [1, 2, 3], [2]),
    (kx.last(kx.it > 5, 0), [1, 2], [0]), (kx.last(default=None), [], [None]), (kx.last(default=0), [1, 2], [2]),
    (kx.element_at(0), "abc", ["a"]), (kx.element_at(2), "abc", ["c"]), (kx.element_at(0), [None], [None]),
    (kx.element_at(3, "none"), "abc", ["none"]), (kx.element_at(0, None), [], [None]),
    (kx.default_if_empty(5), [], [5]), (kx.default_if_empty(5), [None], [None]), (kx.default_if_empty(), [], [None]),
    (kx.filter(kx.it > 9) >> kx.default_if_empty(0) >> kx.map(str), [1, 2], ["0"]),
    (kx.buffer(count=2) >> kx.last(), [1, 2, 3], [[3]]), (kx.take_last(2) >> kx.first(), [1, 2, 3], [2]),
    (kx.take_last(3) >> kx.buffer(count=2), [1, 2, 3, 4], [[2, 3], [4]]),
])
def test_what_is_picked(graph: Graph[Any, Any], items: Any, out: list[Any], backend: str) -> None:
    """Each node gives what its docstring says, on every backend; None is an ordinary item."""
    assert (kx.source(items) >> graph).collect(backend=backend) == out


@pytest.mark.parametrize(("graph", "out"), [
    (kx.first(big), [2]), (kx.last(big), [3]), (kx.first(big, 0), [2]),
])
def test_predicates_may_be_async(graph: Graph[Any, Any], out: list[Any], loop: str) -> None:
    """An ``async def`` stands wherever a function of one item is taken."""
    assert (kx.source([1, 2, 3, None]) >> graph).collect(backend=loop) == out


@pytest.mark.parametrize(("graph", "items"), [
    (kx.first(), []), (kx.first(kx.it > 5), [1]), (kx.last(), []), (kx.last(kx.it > 5), [1]), (kx.element_at(1), [1]),
], ids=range(5))
def test_nothing_to_pick_and_no_default_is_a_run_error(graph: Graph[Any, Any], items: Any, backend: str) -> None:
    """It names the node and asks for a default."""
    with pytest.raises(kx.RunError, match=r"at test_position\.py:\d+: the source has completed .* give a default"):
        (kx.source(items) >> graph).collect(backend=backend)


def test_a_default_is_given_as_it_is() -> None:
    """A function or a mutable object is no less a default: it is neither called, named after nor copied."""
    default: list[int] = []
    graph = kx.source([]) >> kx.first(default=default)

    assert graph.collect()[0] is default
    assert (kx.source([]) >> kx.first(default=dict)).collect() == [dict]
    assert kx.first(default=dict).nodes[0].label == "first"


@pytest.mark.parametrize(("graph", "read"), [
    (kx.first(), 1), (kx.first(kx.it > 3), 5), (kx.element_at(2), 3), (kx.element_at(0), 1),
    (kx.first() >> kx.last(), 1), (kx.first(kx.it > 3) >> kx.default_if_empty(0), 5),
    (kx.default_if_empty(0) >> kx.take(2), 2),
])
def test_the_source_is_let_go_with_the_item_that_was_wanted(
        graph: Graph[Any, Any], read: int, backend: str, tracked: Any) -> None:
    """Once it has passed nothing more is read, and the source's ``finally`` has run."""
    source = tracked(count())

    (kx.source(source) >> graph).run(backend=backend)

    assert source.pulled == read and source.closed


@pytest.mark.parametrize("graph", [kx.take_last(2), kx.last(default=0), kx.first(default=0), kx.element_at(1, 0),
                                   kx.default_if_empty(0)], ids=range(5))
def test_state_is_fresh_for_each_run(graph: Graph[Any, Any]) -> None:
    """What is remembered belongs to the run: a second run gives the same answer."""
    full, none = kx.source([1, 2, 3]) >> graph, kx.source([]) >> graph

    assert full.collect() == full.collect() and none.collect() == none.collect()
    assert graph(7) == graph(7)


def test_take_last_says_what_it_holds() -> None:
    """The bound stands in the plan."""
    assert "take_last: 3 items" in kx.take_last(3).explain()


@pytest.mark.parametrize("write", [
    lambda: kx.take_last(-1), lambda: kx.take_last(1.5), lambda: kx.first(3), lambda: kx.last("x"),
    lambda: kx.element_at(-1), lambda: kx.element_at("1"),
], ids=range(6))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match="must be"):
        write()
