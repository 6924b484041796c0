"""Selection: filter, take, skip, distinct and their like pass some items on and stop the others."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

import kayrx as kx
from kayrx.graph.graph import Graph


async def small(x: Any) -> bool:
    return x is None or x < 3


@pytest.mark.parametrize(("graph", "items", "out"), [
    (kx.filter(lambda x: x % 2), range(5), [1, 3]),
    (kx.filter(kx.it), [0, None, "", 1, "a"], [1, "a"]),
    (kx.filter(lambda x: x is None), [None, 1, None], [None, None]),
    (kx.take(2), "abc", ["a", "b"]), (kx.take(9), "abc", ["a", "b", "c"]), (kx.take(0), "abc", []),
    (kx.take(1), [None, None], [None]),
    (kx.skip(2), "abc", ["c"]), (kx.skip(9), "abc", []), (kx.skip(0), "abc", ["a", "b", "c"]),
    (kx.skip(1), [None, None], [None]),
    (kx.take_while(kx.it < 3), [1, 2, 3, 1], [1, 2]),
    (kx.take_while(kx.it < 3, inclusive=True), [1, 2, 3, 1], [1, 2, 3]),
    (kx.take_while(lambda x: x is None), [None, None, 1], [None, None]),
    (kx.take_while(lambda x: False), [1], []), (kx.take_while(lambda x: False, inclusive=True), [1, 2], [1]),
    (kx.skip_while(kx.it < 3), [1, 2, 3, 1], [3, 1]), (kx.skip_while(lambda x: True), [1, 2], []),
    (kx.skip_while(lambda x: x is None), [None, 1, None], [1, None]),
    (kx.distinct(), [1, 1, 2, 1, None, None], [1, 2, None]), (kx.distinct(str.lower), ["a", "A", "b"], ["a", "b"]),
    (kx.distinct(kx.it["k"]), [{"k": 1}, {"k": 2}, {"k": 1}], [{"k": 1}, {"k": 2}]),
    (kx.distinct(max_keys=2), [1, 2, 1, 3, 2, 1, 1, 2], [1, 2, 3, 1, 2]),
    (kx.ignore_elements(), [1, None], []),
    (kx.distinct_until_changed(), [1, 1, 2, 1, None, None], [1, 2, 1, None]),
    (kx.distinct_until_changed(), [None, None, 1], [None, 1]),
    (kx.distinct_until_changed(str.lower), ["a", "A", "b"], ["a", "b"]),
    (kx.distinct_until_changed(comparer=lambda a, b: abs(a - b) < 2), [1, 2, 3, 9], [1, 3, 9]),
    (kx.distinct_until_changed(kx.it["k"]), [{"k": 1}, {"k": 1, "x": 2}], [{"k": 1}]),
])
def test_what_passes(graph: Graph[Any, Any], items: Any, out: list[Any], backend: str) -> None:
    """Each node passes on what its docstring says, on every backend; None is an ordinary item."""
    assert (kx.source(items) >> graph).collect(backend=backend) == out


NODES = {"filter": kx.filter(bool), "take": kx.take(2), "skip": kx.skip(2), "take_while": kx.take_while(bool),
         "distinct_until_changed": kx.distinct_until_changed(), "skip_while": kx.skip_while(kx.it < 2),
         "distinct": kx.distinct()}


@pytest.mark.parametrize("word", list(NODES))
def test_an_empty_source_gives_an_empty_answer(word: str, backend: str) -> None:
    """Nothing in, nothing out, and completion."""
    assert (kx.source([]) >> NODES[word]).collect(backend=backend) == []


@pytest.mark.parametrize("word", list(NODES))
def test_state_is_fresh_for_each_run(word: str) -> None:
    """Counts and memories belong to the run: a second run gives the same answer."""
    graph = kx.source([1, 1, 2, 3, 3]) >> NODES[word]

    assert graph.collect() == graph.collect() != []
    assert graph.run() is None and graph.run() is None


@pytest.mark.parametrize(("graph", "read"), [
    (kx.take(3), 3), (kx.take(1), 1), (kx.map(str) >> kx.take(2), 2), (kx.take(2) >> kx.map(str), 2),
    (kx.take_while(kx.it < 3), 4), (kx.take_while(kx.it < 3, inclusive=True), 4),
    (kx.filter(kx.it % 2 == 0) >> kx.take(2), 3), (kx.take(2) >> kx.filter(kx.it > 5), 2),
    (kx.take(5) >> kx.take(2), 2), (kx.buffer(count=2) >> kx.take(1), 2),
    (kx.flat_map(lambda x: [x] * 5) >> kx.take(7), 2), (kx.skip(2) >> kx.take(1), 3),
    (kx.pairwise() >> kx.take(1), 2), (kx.scan(max) >> kx.take(2), 2),
])
def test_the_source_is_let_go_with_the_last_wanted_item(
        graph: Graph[Any, Any], read: int, backend: str, tracked: Any) -> None:
    """Once the last item has passed, nothing more is read, and the source's ``finally`` has run."""
    source = tracked(count())

    (kx.source(source) >> graph).run(backend=backend)

    assert source.pulled == read and source.closed


def test_take_zero_pulls_nothing(backend: str, tracked: Any) -> None:
    """``take(0)`` completes at once; the source is not opened."""
    source = tracked([1, 2])

    assert (kx.source(source) >> kx.take(0)).collect(backend=backend) == []
    assert (kx.source(source) >> kx.map(str) >> kx.take(0) >> kx.buffer(count=2)).collect(backend=backend) == []
    assert source.pulled == 0 and not source.closed


def test_take_lets_go_of_an_async_source(loop: str) -> None:
    """An async generator is closed after its last wanted item, in the run."""
    events: list[Any] = []

    async def numbers() -> Any:
        try:
            for n in count():
                events.append(n)
                yield n
        finally:
            events.append("closed")

    assert (kx.source(numbers) >> kx.take(2)).collect(backend=loop) == [0, 1]
    assert events == [0, 1, "closed"]


@pytest.mark.parametrize(("graph", "out"), [
    (kx.filter(small), [1, 2, None]), (kx.skip_while(small), [3, None]), (kx.distinct(small), [1, 3]),
    (kx.take_while(small), [1, 2]),
    (kx.take_while(small, inclusive=True), [1, 2, 3]), (kx.distinct_until_changed(small), [1, 3, None]),
])
def test_predicates_may_be_async(graph: Graph[Any, Any], out: list[Any], loop: str) -> None:
    """An ``async def`` stands wherever a function of one item is taken."""
    assert (kx.source([1, 2, 3, None]) >> graph).collect(backend=loop) == out


@pytest.mark.parametrize("write", [
    lambda: kx.take(-1), lambda: kx.take(1.5), lambda: kx.take(True), lambda: kx.skip(-1), lambda: kx.skip("2"),
    lambda: kx.filter(3), lambda: kx.filter(None), lambda: kx.take_while("x"), lambda: kx.distinct_until_changed(3),
    lambda: kx.distinct_until_changed(None, 3), lambda: kx.skip_while(3), lambda: kx.distinct(3),
    lambda: kx.distinct(max_keys=0),
], ids=range(13))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it, not of the run."""
    with pytest.raises(kx.GraphError, match="must be"):
        write()


def test_a_predicate_that_raises_fails_the_run_by_its_name() -> None:
    """The user's exception keeps its type and gains the node, the line and the item."""
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([1, 0]) >> kx.filter(lambda x: 1 / x).named("check")).run()

    assert caught.value.__notes__[0].startswith("kayrx: in node 'check' (filter) at test_select.py:")
    assert caught.value.__notes__[0].endswith("item 1")


def test_skip_while_asks_no_more_once_it_was_told_no() -> None:
    """The predicate is called up to and with the first item that passes."""
    asked: list[int] = []

    assert (kx.source([1, 5, 1]) >> kx.skip_while(lambda x: asked.append(x) or x < 3)).collect() == [5, 1]
    assert asked == [1, 5]


def test_distinct_says_what_it_remembers() -> None:
    """Without ``max_keys`` both `explain` and `check` say "unbounded"; with it the plan has the bound."""
    free, bound = kx.source([1]) >> kx.distinct(), kx.source([1]) >> kx.distinct(max_keys=9)

    (warning,) = free.check()
    assert "remembers every key that has come (unbounded); give max_keys=" in warning and "test_select.py" in warning
    assert bound.check() == []
    assert "distinct: unbounded (all keys)" in free.explain()
    assert "distinct: 9 keys, then the oldest is forgotten" in bound.explain()


def test_a_key_without_a_hash_is_the_items_failure() -> None:
    """The TypeError of Python, with the node in its note."""
    with pytest.raises(TypeError, match="unhashable") as caught:
        (kx.source([[1]]) >> kx.distinct()).run()

    assert "in node 'distinct' (distinct) at test_select.py:" in caught.value.__notes__[0]


def test_a_source_whose_items_go_nowhere_is_let_go_when_nobody_reads(loop: str) -> None:
    """An endless source before `ignore_elements` or a `reduce` ends with the run that no longer wants it."""
    for nothing in (kx.ignore_elements(), kx.reduce(max)):
        graph = kx.merge(kx.source(count()) >> nothing, kx.source([7])) >> kx.take(1)
        assert graph.collect(backend=loop) == [7]
