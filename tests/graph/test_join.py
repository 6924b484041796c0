"""``>>``: what may stand beside what, and what it makes of plain values (ruling 18)."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex

import kayrx as kx

NODE = r"'\w+' \(\w+\) at test_join\.py:\d+"


def pairs() -> dict[str, tuple[Any, Any]]:
    one, two = kx.source([1]), kx.source([2])
    return {
        "a source after something": (kx.map(str), kx.source([1])),
        "a source after a source": (one, two),
        "something after a sink": (kx.source([1]) >> kx.to_list(), kx.map(str)),
        "a sink after a sink": (kx.each(print), kx.to_list()),
        "a step after branches": (one >> [kx.map(str), kx.take(1)], kx.map(str)),
        "a sink after branches": (one >> [kx.map(str), kx.take(1)], kx.to_list()),
        "a fan-in after one output": (kx.source([1]), kx.merge()),
        "a fan-in of sources after something": (kx.map(str), kx.merge(one, two)),
        "something after branches that all end": (one >> [kx.to_list(), kx.to_list()], kx.merge()),
    }


@pytest.mark.parametrize("name", list(pairs()))
def test_a_wrong_join_names_both_nodes_and_their_lines(name: str) -> None:
    """A join that can mean nothing is a GraphError of the line that writes it."""
    left, right = pairs()[name]

    with pytest.raises(kx.GraphError, match=f"cannot join {NODE} >> {NODE}: "):
        left >> right


@pytest.mark.parametrize(("wrong", "says"), [
    ("source after", r"to join two sources write \[a, b\] >> merge"),
    ("sink before", r"nothing comes out of to_list; put it last, or use tap"),
    ("ports open", r"branches need a fan-in next: merge"),
    ("no branches", r"write a >> \[b, c\] >> merge"),
])
def test_a_wrong_join_says_what_to_write_instead(wrong: str, says: str) -> None:
    """Every refusal ends in the remedy."""
    join = {"source after": lambda: kx.map(str) >> kx.source([1]),
            "sink before": lambda: kx.to_list() >> kx.map(str),
            "ports open": lambda: kx.source([1]) >> [kx.take(1), kx.take(1)] >> kx.map(str),
            "no branches": lambda: kx.source([1]) >> kx.merge()}[wrong]

    with pytest.raises(kx.GraphError, match=says):
        join()


def test_a_function_to_the_right_is_a_map() -> None:
    """``>> f`` is ``>> map(f)``, for functions, types, bound methods and async functions."""
    async def wait(x: int) -> int:
        return x

    assert kx.source(["1"]) >> int == kx.source(["1"]) >> kx.map(int)
    assert kx.take(1) >> "abc".find == kx.take(1) >> kx.map("abc".find)
    assert kx.take(1) >> wait == kx.take(1) >> kx.map(wait)


def test_a_graph_to_the_right_is_composed_and_never_called() -> None:
    """A Graph is callable on an item, and yet ``>>`` joins it (ruling 23)."""
    assert (kx.source([1]) >> kx.take(1)).nodes[1].word == "take"


def test_a_list_to_the_right_fans_out() -> None:
    """``a >> [b, c]`` is ``a >> broadcast(b, c)``; a tuple says the same."""
    b, c = kx.map(str), kx.take(1)

    assert kx.source([1]) >> [b, c] == kx.source([1]) >> kx.broadcast(b, c)
    assert kx.source([1]) >> (b, c) == kx.source([1]) >> kx.broadcast(b, c)


@pytest.mark.parametrize("value", [[str, int], [], [kx.take(1), str], 5, None, "text"],
                         ids=["functions", "empty", "mixed", "int", "None", "str"])
def test_what_cannot_stand_to_the_right_is_refused(value: Any) -> None:
    """Anything but a graph, a function or a list of graphs is a GraphError."""
    with pytest.raises(kx.GraphError):
        kx.source([1]) >> value


@pytest.mark.parametrize("items", [[1, 2], (1, 2), {1, 2}, range(1, 3), iter([1, 2]), (x for x in (1, 2))],
                         ids=["list", "tuple", "set", "range", "iterator", "generator"])
def test_an_iterable_to_the_left_is_one_source(items: Any) -> None:
    """``items >> graph`` is ``source(items) >> graph``."""
    assert (items >> kx.map(str)).collect() == ["1", "2"]


def test_an_observable_to_the_left_is_one_source() -> None:
    """reactivex.Observable has no ``>>`` of its own, so ours is used."""
    assert (reactivex.of(1, 2) >> kx.map(str)).collect() == ["1", "2"]


def test_an_async_iterable_to_the_left_is_one_source(backend: str) -> None:
    """An async generator can stand to the left too; it needs a loop."""
    async def numbers() -> Any:
        yield 1
        yield 2

    loop = "asyncio" if backend == "sync" else backend
    assert (numbers() >> kx.map(str)).collect(backend=loop) == ["1", "2"]


@pytest.mark.parametrize("value", [[], "text", b"bytes", {"a": 1}, len, 5, None],
                         ids=["[]", "str", "bytes", "dict", "callable", "int", "None"])
def test_what_could_mean_several_things_asks_for_source(value: Any) -> None:
    """``[]``, str, bytes, dict and callables to the left ask for ``kx.source(x)``."""
    with pytest.raises(kx.GraphError, match=r"write kx\.source\(x\)"):
        value >> kx.map(str)


def test_a_list_of_graphs_and_items_is_neither() -> None:
    """A mixed list to the left is a GraphError that names both readings."""
    with pytest.raises(kx.GraphError, match=r"neither branches nor a source"):
        [kx.source([1]), 2] >> kx.merge()


def test_branches_with_sources_flow_into_the_fan_in() -> None:
    """``[b, c] >> merge()`` over graphs with sources is ``merge(b, c)``."""
    b, c = kx.source([1]), kx.source([2])

    assert [b, c] >> kx.concat() == kx.concat(b, c)
    assert ([b, c] >> kx.concat()).collect() == [1, 2]


def test_open_branches_wait_for_one_source() -> None:
    """``[b, c] >> zip()`` over open graphs is an open graph: a broadcast and a fan-in."""
    open_ = [kx.map(str), kx.map(float)] >> kx.zip()

    assert open_ == kx.broadcast(kx.map(str), kx.map(float)) >> kx.zip()
    assert ([1, 2] >> open_).collect() == [("1", 1.0), ("2", 2.0)]


@pytest.mark.parametrize("branches", [
    [kx.source([1]), kx.map(str)], [kx.source([1]) >> kx.to_list(), kx.source([2])],
], ids=["half fed", "closed"])
def test_branches_must_agree(branches: Any) -> None:
    """Some branches with a source and some without, or one that ends in a sink, are refused."""
    with pytest.raises(kx.GraphError):
        branches >> kx.merge()


def test_branches_to_the_left_need_a_fan_in() -> None:
    """``[b, c] >> map(f)`` says which fan-ins there are."""
    with pytest.raises(kx.GraphError, match="branches need a fan-in next"):
        [kx.source([1]), kx.source([2])] >> kx.map(str)


def test_a_fan_in_takes_only_fed_open_graphs() -> None:
    """``merge(a, b)`` refuses values, open graphs and sinks, saying what to write."""
    with pytest.raises(kx.GraphError, match=r"write kx\.source\(x\)"):
        kx.merge([1, 2])  # type: ignore[arg-type]
    with pytest.raises(kx.GraphError, match="must bring its own items"):
        kx.merge(kx.map(str), kx.source([1]))
    with pytest.raises(kx.GraphError, match="have an output"):
        kx.merge(kx.source([1]) >> kx.to_list())


def test_a_fan_out_takes_only_open_graphs() -> None:
    """``broadcast`` refuses functions, graphs with sources, and nothing at all."""
    with pytest.raises(kx.GraphError, match=r"wrap a function: kx\.map\(f\)"):
        kx.broadcast(str)  # type: ignore[arg-type]
    with pytest.raises(kx.GraphError, match="brings its own items"):
        kx.broadcast(kx.source([1]))
    with pytest.raises(kx.GraphError, match="at least one branch"):
        kx.broadcast()


def test_numpy_arrays_leave_the_operator_to_the_graph() -> None:
    """``array >> graph`` must not be taken element by element."""
    assert kx.map(str).__array_ufunc__ is None
