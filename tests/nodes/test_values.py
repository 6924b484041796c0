"""What a factory, ``>>`` or a face is given wrongly is refused when it is written, in the user's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import pytest
from reactivex import operators as ops

import kayrx as kx

ONES = kx.source([1, 2])
OPEN = kx.map(str)


def numbers(item: int) -> Iterator[int]:
    yield item


class Whole:
    """What numpy's integers are: no int, but one can be made of it."""

    def __index__(self) -> int:
        return 3


def anyhow(fn: Any) -> Any:
    """``fn`` as an argument of any type."""
    return fn


@pytest.mark.parametrize(("written", "reason"), [
    (lambda: kx.take(anyhow(Whole())), "take(count): count must be a whole number >= 0, got .*; write int(...)"),
    (lambda: kx.map(abs, ordered=anyhow("no")), "map(ordered): ordered must be True or False, got 'no'"),
    (lambda: kx.map(abs, is_async=anyhow(1)), "map(is_async): is_async must be True or False, got 1"),
    (lambda: kx.take_while(bool, inclusive=anyhow(None)), "take_while(inclusive): inclusive must be True or False"),
    (lambda: kx.unit(OPEN, name=anyhow(3)), "unit(name): a name is a str, got 3"),
    (lambda: ONES.named(anyhow(3)), "named(name): a name is a str, got 3"),
    (lambda: kx.branch(anyhow([OPEN])), "branch(routes): a dict of graphs by their keys, got list"),
    (lambda: kx.lines(anyhow(3)), "lines(path): path must be the path of a file, got int"),
    (lambda: kx.tail(anyhow(None)), "tail(path): path must be the path of a file, got NoneType"),
    (lambda: ONES >> anyhow(kx.take), "cannot join >> kx.take: it makes a graph when it is called"),
    (lambda: ONES >> ops.map(str), "an operator of reactivex: write >> kx.rx(operator)"),
    (lambda: OPEN(*[]), "graph(item) takes one item through an open graph, got 0"),
    (lambda: ONES.subscribe(anyhow(1)), "subscribe(on_next): on_next must be a function, got int"),
    (lambda: (ONES >> kx.to_list()).collect(), "cannot collect: 'to_list' (to_list) at test_values.py"),
    (lambda: (ONES >> [OPEN, OPEN]).collect(), "cannot collect: 'broadcast' (broadcast) at test_values.py"),
    (lambda: kx.merge().run(), "cannot run an open graph: 'merge' (merge) at .*; give it graphs, as in kx.merge(a, b)"),
    (lambda: ONES.run(backend="uvloop"), "backend='uvloop': the backends are asyncio, trio"),
    (lambda: ONES.run(chunk=0), "chunk must be a whole number >= 1, got 0"),
    (lambda: ONES.run(world=1), "world must be a kx.World, got int"),
    (lambda: ONES.run(inline="no"), "inline must be True or False, got 'no'"),
    (lambda: ONES.explain(backend="trio"), "unknown option 'backend'; there are chunk, events, fuse, inline"),
    (lambda: ONES.check(x=1), "unknown option 'x'"),
])
def test_a_wrong_use_is_refused_with_its_remedy(written: Callable[[], Any], reason: str) -> None:
    """Refused by the line that writes it, as a GraphError that names the word, what it was given and what to give."""
    with pytest.raises(kx.GraphError, match=re.escape(reason).replace(r"\.\*", ".*")):
        written()


@pytest.mark.parametrize("factory", [
    kx.filter, kx.take_while, kx.skip_while, kx.tap, kx.each, kx.sink, kx.scan, kx.reduce, kx.distinct,
    lambda fn: kx.partition(fn, OPEN, OPEN), lambda fn: kx.branch({1: OPEN}, key=fn)])
def test_a_generator_function_is_refused_where_nobody_reads_it(factory: Callable[[Any], Any]) -> None:
    """Called, it runs nothing and gives a generator, which is true: an effect is left out, a test always yes."""
    for fn in (numbers, partial(numbers), Effect()):
        with pytest.raises(kx.GraphError, match="generator function, whose body would never run"):
            factory(fn)


class Effect:
    def __call__(self, item: int) -> Iterator[int]:
        yield item


def test_an_async_wrapper_of_a_plain_function_is_async() -> None:
    """``@wraps(f) async def`` is what is called, whatever it wraps; a plain wrapper is what it wraps (ruling 24)."""
    def threaded(fn: Callable[[int], int]) -> Callable[[int], Any]:
        @wraps(fn)
        async def call(item: int) -> int:
            return fn(item)
        return call

    def logged(fn: Callable[[int], Any]) -> Callable[[int], Any]:
        @wraps(fn)
        def call(item: int) -> Any:
            return fn(item)
        return call

    double = threaded(lambda item: item * 2)

    for fn in (double, partial(double), logged(double), threaded(logged(lambda item: item * 2))):
        assert (ONES >> kx.map(fn)).collect() == [2, 4]
        assert (ONES >> kx.filter(fn)).collect() == [1, 2]


@pytest.mark.parametrize(("node", "reason"), [
    (kx.rx(lambda upstream: None), r"'rx' \(rx\) at .*: the operator gave a NoneType and no Observable"),
    (kx.rx(anyhow(ops.map)), r"'map' \(rx\) at .*: the operator gave a function and no Observable"),
    (kx.map(lambda item: OPEN), r"'map' \(map\) at .* returned a Graph, which stands for many items; use kx.flat_map"),
    (kx.map(lambda item: ONES.to_observable()), r"'map' \(map\) at .* returned a Observable.*operators.flat_map"),
])
def test_a_function_that_gives_a_wrong_thing_is_named(node: Any, reason: str) -> None:
    """What can be known only when the function has been called names its node, and says what to write."""
    for graph in (ONES >> node, ONES.to_observable() >> node):
        with pytest.raises(kx.RunError, match=reason):
            graph.collect()
