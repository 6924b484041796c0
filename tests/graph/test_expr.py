"""`it`: expressions over the item, written as Python and kept as data (ruling 17)."""

from __future__ import annotations

import operator
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.graph.expr import expression, frozen
from kayrx.graph.graph import Graph

it = kx.it


@pytest.mark.parametrize(("built", "text"), [
    (it, "it"), (it + 1, "it + 1"), (1 + it, "1 + it"), (it["price"] * 2, "it['price'] * 2"),
    ((it + 1) * 2, "(it + 1) * 2"), (it + 1 * 2, "it + 2"), (-(it + 1), "-(it + 1)"), (-it + 1, "-it + 1"),
    (it - (it - 1), "it - (it - 1)"), (it - 1 - it, "it - 1 - it"), ((it ** 2) ** 3, "(it ** 2) ** 3"),
    ((it > 1) & (it < 5), "(it > 1) & (it < 5)"), (~(it > 1), "~(it > 1)"),
    ((it == 1) == (it == 2), "(it == 1) == (it == 2)"),
    (it.name.upper(), "it.name.upper()"), (it.split(",", maxsplit=1)[0], "it.split(',', maxsplit=1)[0]"),
    (it[it["key"]], "it[it['key']]"), ((it + 1).real, "(it + 1).real"), (it % 2 == 0, "it % 2 == 0"),
    (it + -1, "it + -1"), (it ** -1, "it ** (-1)"), (it << 2 | 1, "it << 2 | 1"),
])
def test_an_expression_prints_as_it_would_be_written(built: Any, text: str) -> None:
    """The text has the parentheses that Python needs and no others."""
    assert repr(built) == text


LEAVES = st.one_of(st.just(it), st.integers(-5, 5).map(lambda n: it + n), st.integers(1, 3).map(lambda n: n * it))
OPERATORS = [operator.add, operator.sub, operator.mul, operator.lt, operator.ge, operator.eq, operator.and_,
             operator.or_, operator.xor]
EXPRESSIONS = st.recursive(LEAVES, lambda inner: st.one_of(
    st.tuples(st.sampled_from(OPERATORS), inner, inner).map(lambda t: t[0](t[1], t[2])),
    st.tuples(st.sampled_from([operator.neg, operator.pos, operator.invert]), inner).map(lambda t: t[0](t[1]))),
    max_leaves=8)


@given(EXPRESSIONS, st.integers(-9, 9))
def test_text_call_and_compiled_code_agree(built: Any, item: int) -> None:
    """The printed text writes the same expression, and a graph gives what the call gives."""
    called = built(item) if built is not it else item

    assert expression(eval(repr(built), {"it": it})) == expression(built)
    assert kx.map(built)(item) == [called]


@pytest.mark.parametrize(("built", "outcomes"), [
    (~(it > 1), [True, False, False]), (~(it > 1) & (it < 5), [True, False, False]), (~~(it > 1), [False, True, True]),
    (~it, [-2, -3, -10]), (~(it > 1) == (it <= 1), [True, True, True]),
])
def test_a_tilde_is_not_for_a_truth_and_bits_for_a_number(built: Any, outcomes: list[Any]) -> None:
    """`~` is what the error of `not it` says to write, so it has to be `not`: Python's own ~True is -2, a yes."""
    items = [1, 2, 9]

    assert [expression(built)(item) for item in items] == outcomes
    assert (items >> kx.map(built)).collect() == outcomes
    assert (items >> kx.filter(built)).collect() == [n for n, yes in zip(items, outcomes, strict=True) if yes]


def test_attributes_keys_and_calls_reach_into_the_item() -> None:
    """Attribute, key and method calls work on the item, with items as arguments too."""
    items = [SimpleNamespace(name="ada", tags=["x", "y"], at=1)]

    assert (kx.source(items) >> kx.map(it.name.upper())).collect() == ["ADA"]
    assert (kx.source(items) >> kx.map(it.tags[it.at])).collect() == ["y"]
    assert (kx.source(["a-b"]) >> kx.map(it.replace("-", it[0]))).collect() == ["aab"]


def test_a_node_stores_the_frozen_expression() -> None:
    """Nodes hold data: equal expressions make equal, hashable nodes that pickle."""
    graph = kx.map(it["price"] * 2) >> kx.filter(it > 10)

    assert graph == kx.map(it["price"] * 2) >> kx.filter(it > 10)
    assert graph != kx.map(it["price"] * 3) >> kx.filter(it > 10)
    assert pickle.loads(pickle.dumps(graph)) == graph
    assert len({graph, kx.map(it["price"] * 2) >> kx.filter(it > 10)}) == 1
    assert graph.nodes[0].label == "it['price'] * 2"


@pytest.mark.parametrize("write", [
    lambda: it > 1 and it < 5, lambda: not it, lambda: 1 < it < 5, lambda: 3 in it, lambda: list(it),
    lambda: bool(it.name), lambda: [x for x in it.tags],
], ids=["and", "not", "chained", "in", "list", "bool", "for"])
def test_what_python_decides_at_once_fails_when_written(write: Any) -> None:
    """``and``, ``not``, ``in``, chained comparison and loops raise with the remedy."""
    with pytest.raises(kx.GraphError, match=r"use & \| ~ for and, or, not"):
        write()


@pytest.mark.parametrize("write", [
    lambda: it >> kx.map(str), lambda: (it + 1) >> str, lambda: kx.source([1]) >> it >> it,
], ids=["graph", "function", "after"])
def test_an_expression_is_no_graph(write: Any) -> None:
    """``it >> x`` is a GraphError; to the right of a graph it is a map."""
    if isinstance(result := _outcome(write), Graph):
        assert [n.word for n in result.nodes] == ["source", "map", "map"]
    else:
        assert isinstance(result, kx.GraphError) and "is not a graph; write kx.map(" in str(result)


def _outcome(write: Any) -> Any:
    try:
        return write()
    except kx.GraphError as error:
        return error


def test_builders_are_not_hashable_and_dunder_names_stay_python() -> None:
    """A builder is no dictionary key (== builds), and copies and pickles as itself."""
    with pytest.raises(TypeError):
        hash(it)
    with pytest.raises(AttributeError):
        _ = it.__no_such_thing__
    assert repr(pickle.loads(pickle.dumps(it.name + 1))) == "it.name + 1"


def test_constants_and_builders_become_expressions() -> None:
    """`expression` and `frozen` are the two ways in: constants are wrapped, functions are left alone."""
    assert expression(3).op == "value" and expression(it).op == "item"
    assert frozen(len) is len and frozen(it + 1) == expression(it + 1)


@pytest.mark.parametrize("constant", [float("nan"), float("inf"), -0.0, "quote'\"\n", [1, 2], 10**60, None, (1, -2)])
def test_any_constant_may_stand_in_an_expression(constant: Any) -> None:
    """Constants that have no exact literal are parameters of the generated code."""
    (out,) = (kx.source([1]) >> kx.map((it == it) & True) >> kx.map(lambda _: constant)).collect()
    (same,) = kx.map(expression(constant))(1)

    assert repr(out) == repr(same) == repr(constant)


def test_an_expression_that_fails_is_noted_with_its_text() -> None:
    """The note names the expression as the node, with the user's line."""
    with pytest.raises(KeyError) as caught:
        (kx.source([{}]) >> kx.map(it["price"] + 1)).run()

    (note,) = caught.value.__notes__
    assert note.startswith("kayrx: in node \"it['price'] + 1\" (map) at test_expr.py:") and note.endswith("item 0")
