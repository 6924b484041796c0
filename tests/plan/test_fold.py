"""Folding: fewer names, the same answers, and a failure is still told by its line."""

from __future__ import annotations

import operator

import pytest

import kayrx as kx
from kayrx.plan.fold import folded, near, once


def test_a_state_that_is_set_on_one_way_only_stays_a_state() -> None:
    """A value must have been computed wherever it is read; what an `if` sets may not have been."""
    states = {"state_1": "0", "state_2": "0"}
    lines = ["if x:", "    state_1 = state_1 + 1", "state_2 = state_2 + x", "return [state_1, state_2]"]

    assert once(lines, states) == ["if x:", "    state_1 = state_1 + 1", "x1002 = 0 + x", "return [state_1, x1002]"]
    assert states == {"state_1": "0"}


def test_a_graph_that_is_called_may_skip_and_take() -> None:
    """Their counts are set on one way only."""
    graph = kx.skip(1) >> kx.take_while(kx.it > 3) >> kx.scan(operator.add, 0) >> kx.skip(1)

    assert (graph(5), (kx.take(2) >> kx.scan(operator.add, 1) >> kx.skip(0))(5)) == ([], [6])


def test_a_fold_without_a_seed_computes_its_item_where_it_is_used() -> None:
    """On each of its two ways, in lines of its own."""
    for first, then in (("(x0, fresh_1 := False)[0]", "fresh_1"), ("x0", "state_1 is EMPTY")):
        lines, owners = folded(("x0 = x + 1", f"state_1 = {first} if {then} else state_1 + x0"), (0, 1))

        assert " ".join(lines) == f"state_1 = {first} if {then} else state_1 + x0".replace("x0", "( x + 1 )")
        assert owners == (1, 0, 1, 0, 1)


@pytest.mark.parametrize(("items", "node"), [([1, "a"], "scan"), ([1, 2, None], "map")])
def test_the_failing_node_is_still_named(items: list[object], node: str) -> None:
    """The sum that fails is the scan's, the item that cannot be made is the map's."""
    graph = kx.source(items) >> kx.map(lambda x: x + 0 if x is None else x).named("map") \
        >> kx.scan(operator.add).named("scan")

    with pytest.raises(TypeError) as caught:
        graph.run()
    assert caught.value.__notes__[-1].startswith(f"kayrx: in node '{node}'")


def test_what_is_not_looked_up_is_no_parameter() -> None:
    """So most functions have none."""
    assert near(["x0 = f(x)"]) == "" and near(["if state is EMPTY: y = len(z)"]) == ", len=len, EMPTY=EMPTY"


def test_functions_side_by_side_are_folded_each_for_itself() -> None:
    """The same steps are written into both; a name of the one is none of the other."""
    one = ("def one(x):", "    x0 = f(x)", "    emit(x0)")
    both = (*one, "def two(x):", *one[1:])

    assert folded(both, (-1, 0, 1, -1, 0, 1)) == (
        ("def one(x):", "    emit((", "f(x)))", "def two(x):", "    emit((", "f(x)))"), (-1, 1, 0, -1, 1, 0))


def test_a_function_inside_another_is_a_part_of_it() -> None:
    """What it uses of the outer one is still computed."""
    lines = ("def one(x):", "    x0 = f(x)", "    emit(x0)", "    def later(): return x0")

    assert folded(lines, (0, 0, 0, 0)) == (lines, (0, 0, 0, 0))
