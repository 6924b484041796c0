"""A node: frozen data with a label, the functions it calls, and the line that wrote it."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

import pytest

import kayrx as kx
from kayrx.graph.graph import one
from kayrx.graph.node import Node, Resource, Site, function_name, resource


def shout(text: str) -> str:
    return text.upper()


@pytest.mark.parametrize(("node", "label"), [
    (kx.map(shout), "shout"), (kx.map(lambda x: x), "map"), (kx.map(functools.partial(shout)), "shout"),
    (kx.map(operator.itemgetter(1)), "map"), (kx.map(str.upper), "upper"), (kx.map(int), "int"),
    (kx.take(2), "take"), (kx.take(2).named("few"), "few"), (kx.source([1]), "source"), (kx.each(print), "print"),
])
def test_a_label_is_the_name_else_the_function_else_the_word(node: kx.Graph[object, object], label: str) -> None:
    """The label is what a reader would call the node."""
    assert node.nodes[0].label == label


def test_where_is_for_error_messages() -> None:
    """``where`` has label, word and line."""
    node = kx.map(shout).nodes[0]

    assert node.written is not None
    assert node.where == f"'shout' (map) at test_node.py:{node.written.line}"


def test_a_site_prints_the_file_name_alone() -> None:
    """Paths are long; the name and line are enough."""
    assert str(Site("/home/me/app.py", 12)) == "app.py:12"


def test_functions_are_the_users_and_in_field_order() -> None:
    """``functions`` lists what the node calls, no names and no lines."""
    assert kx.map(shout).nodes[0].functions == (shout,)
    assert kx.distinct_until_changed(len, operator.eq).nodes[0].functions == (len, operator.eq)
    assert kx.take(1).nodes[0].functions == ()
    assert kx.broadcast(kx.map(shout)).nodes[0].functions == ()


def test_function_names_leave_lambdas_out() -> None:
    """A lambda has no name worth showing."""
    assert function_name(lambda x: x) is None and function_name(functools.partial(shout)) == "shout"


def test_a_resource_is_a_value() -> None:
    """What must be opened is given as a factory: equal, hashable, not called."""
    def factory() -> dict[str, int]:
        raise AssertionError("opened")

    assert resource(factory) == Resource(factory) and hash(resource(factory)) == hash(Resource(factory))


@dataclass(frozen=True, slots=True)
class Planted(Node):
    word = "planted"


def test_a_node_of_ones_own_is_a_value_too() -> None:
    """Anybody may write a node: it composes, prints and compares; only compiling needs a meaning."""
    graph = kx.source([1]) >> one(Planted()) >> kx.to_list()

    assert graph == kx.source([1]) >> one(Planted()) >> kx.to_list()
    assert graph.nodes[1].label == "planted"
    with pytest.raises(kx.CompileError, match=r"'planted' \(planted\) at test_node\.py:\d+ has no form: add a row"):
        graph.run()
