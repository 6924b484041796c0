"""Hypothesis strategies: random graphs, each with an oracle in plain Python that says what must come out.

Needs hypothesis: ``pip install kayrx[testing]``.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import accumulate, groupby, pairwise, takewhile
from typing import Any

import anyio

from kayrx.errors import MissingDependency
from kayrx.graph.expr import it
from kayrx.graph.graph import Graph
from kayrx.nodes import (
    backoffs,
    combine,
    derived,
    flow,
    guards,
    instead,
    limits,
    place,
    select,
    time,
    transform,
    units,
    windows,
)

try:
    from hypothesis import strategies as st
except ImportError:
    raise MissingDependency("pip install kayrx[testing]") from None

Items = list[int]
Oracle = Callable[[Items], Items]
LARGE = 10_007  # values stay below, so that no chain of products grows


@dataclass(frozen=True, slots=True)
class RandomGraph:
    """A graph over whole numbers, and ``oracle``: a function over plain lists that gives the same.

    ``waits`` is True if a node of it waits; printed, it is the code that writes the graph.
    """

    code: str
    graph: Graph[Any, Any]
    oracle: Oracle
    waits: bool = False

    def __repr__(self) -> str:
        return self.code

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.code)  # hypothesis prints a dataclass field by field otherwise

    def __rshift__(self, other: RandomGraph) -> RandomGraph:
        first, second = self.oracle, other.oracle
        return RandomGraph(f"{self.code} >> {other.code}", self.graph >> other.graph,
                           lambda xs: second(first(xs)), self.waits or other.waits)


# -- what the functions in the graphs do -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picky:
    """Refuses multiples of ``n``."""

    n: int

    def __call__(self, x: int) -> int:
        if x % self.n == 0:
            raise ValueError(x)
        return x

    def takes(self, x: int) -> bool:
        return x % self.n != 0


@dataclass(frozen=True, slots=True)
class Later:
    """``fn`` as an async function that waits for a while that depends on the item."""

    fn: Callable[..., Any]

    async def __call__(self, *args: int) -> Any:
        await anyio.sleep(sum(args) % 3 * 0.5)
        return self.fn(*args)


async def both(x: int) -> AsyncIterator[int]:
    """The item and its negative, one after another."""
    yield x
    await anyio.sleep(0)
    yield -x


def lists(xs: Items, n: int, step: int) -> Iterator[Items]:
    """What `sliding` gives: a shorter last list only if it holds items that none held."""
    at = seen = 0
    while at + n <= len(xs):
        yield xs[at:at + n]
        at, seen = at + step, at + n
    if seen < len(xs) and xs[at:]:
        yield xs[at:]


def sums(many: Iterable[Sequence[int]]) -> Items:
    return [sum(xs) for xs in many]


def times(k: int) -> Callable[[int], int]:
    return lambda x: x * k % LARGE


# -- one node at a time ----------------------------------------------------------------------------


def even_steps(k: int, m: int) -> list[RandomGraph]:
    """Nodes that give one item for each."""
    return [
        RandomGraph(f"map(it + {k})", transform.map(it + k), lambda xs: [x + k for x in xs]),
        RandomGraph(f"map(lambda x: x * {k} % {LARGE})", transform.map(times(k)), lambda xs: [*map(times(k), xs)]),
        RandomGraph("map(abs)", transform.map(abs), lambda xs: [*map(abs, xs)]),
        RandomGraph(f"scan(add, {k})", transform.scan(operator.add, k), lambda xs: [*accumulate(xs, initial=k)][1:]),
        RandomGraph("scan(max)", transform.scan(max), lambda xs: [*accumulate(xs, max)]),
        RandomGraph("tap(id)", transform.tap(id), lambda xs: xs),
        RandomGraph(f"backpressure({m})", flow.backpressure(m), lambda xs: xs),
        RandomGraph("unit(map(abs) >> map(it + 1))", units.unit(transform.map(abs) >> transform.map(it + 1)),
                    lambda xs: [abs(x) + 1 for x in xs]),
        RandomGraph(f"map(Picky({m})) >> fallback(neg)",
                    transform.map(Picky(m)) >> instead.fallback(operator.neg),
                    lambda xs: [x if Picky(m).takes(x) else -x for x in xs]),
        RandomGraph(f"map(Picky({m})) >> circuit_breaker({LARGE}) >> deadline({LARGE}) >> catch(...)",
                    transform.map(Picky(m)) >> limits.circuit_breaker(LARGE) >> limits.deadline(LARGE)
                    >> instead.catch(lambda error, x: -x), lambda xs: [x if Picky(m).takes(x) else -x for x in xs]),
        RandomGraph(f"map(Picky({m})) >> bulkhead(1) >> fallback(map(Picky({m})), map(abs))",
                    transform.map(Picky(m)) >> limits.bulkhead(1)
                    >> instead.fallback(transform.map(Picky(m)), transform.map(abs)),
                    lambda xs: [x if Picky(m).takes(x) else abs(x) for x in xs]),
    ]


def uneven_steps(k: int, m: int) -> list[RandomGraph]:
    """Nodes that drop items or put several together."""
    return [
        RandomGraph(f"filter(it % {m} == 0)", select.filter(it % m == 0), lambda xs: [x for x in xs if x % m == 0]),
        RandomGraph(f"filter(lambda x: x > {-k})", select.filter(lambda x: x > -k),
                    lambda xs: [x for x in xs if x > -k]),
        RandomGraph(f"take({k})", select.take(k), lambda xs: xs[:k]),
        RandomGraph(f"skip({m})", select.skip(m), lambda xs: xs[m:]),
        RandomGraph(f"take_while(it < {k * 8})", select.take_while(it < k * 8),
                    lambda xs: [*takewhile(lambda x: x < k * 8, xs)]),
        RandomGraph("distinct_until_changed()", select.distinct_until_changed(),
                    lambda xs: [x for x, _ in groupby(xs)]),
        RandomGraph(f"distinct_until_changed(it // {m})", select.distinct_until_changed(it // m),
                    lambda xs: [next(g) for _, g in groupby(xs, lambda x: x // m)]),
        RandomGraph("pairwise() >> map(sum)", transform.pairwise() >> transform.map(sum),
                    lambda xs: sums(pairwise(xs))),
        RandomGraph(f"buffer({m}) >> map(sum)", windows.buffer(m) >> transform.map(sum),
                    lambda xs: sums(lists(xs, m, m))),
        RandomGraph(f"sliding({m}, {k % 3 + 1}) >> map(sum)", windows.sliding(m, k % 3 + 1) >> transform.map(sum),
                    lambda xs: sums(lists(xs, m, k % 3 + 1))),
        RandomGraph(f"map(Picky({m})) >> retry(2) >> skip_errors()",
                    transform.map(Picky(m)) >> guards.retry(2) >> guards.skip_errors(),
                    lambda xs: [*filter(Picky(m).takes, xs)]),
        RandomGraph(f"scan(lambda s, x: s + Picky({m})(x), 0) >> skip_errors()",
                    transform.scan(lambda s, x: s + Picky(m)(x), 0) >> guards.skip_errors(),
                    lambda xs: [*accumulate(filter(Picky(m).takes, xs), initial=0)][1:]),
        RandomGraph(f"unit(flat_map(lambda x: [x, x]) >> map(Picky({m}))) >> skip_errors()",
                    units.unit(transform.flat_map(lambda x: [x, x]) >> transform.map(Picky(m))) >> guards.skip_errors(),
                    lambda xs: [x for x in xs if Picky(m).takes(x) for _ in range(2)]),
    ]


def ends(k: int, m: int) -> list[RandomGraph]:
    """Nodes that put everything into one item."""
    return [RandomGraph("count()", derived.count(), lambda xs: [len(xs)]),
            RandomGraph("sum()", derived.sum(), lambda xs: [sum(xs)]),
            RandomGraph(f"reduce(max, {k})", transform.reduce(max, k), lambda xs: [max([k, *xs])])]


def growing(k: int, m: int) -> list[RandomGraph]:
    """Nodes that give several for one; few of them go into one graph."""
    return [RandomGraph(f"flat_map(lambda x: [x] * (x % {m}))", transform.flat_map(lambda x: [x] * (x % m)),
                        lambda xs: [x for x in xs for _ in range(x % m)]),
            RandomGraph("concat_map(lambda x: iter((x, -x)))", transform.concat_map(lambda x: iter((x, -x))),
                        lambda xs: [y for x in xs for y in (x, -x)])]


def waiting(k: int, m: int) -> list[RandomGraph]:
    """Nodes that wait: async functions, threads and time."""
    later, even = Later(times(k)), Later(lambda x: x % m == 0)
    made: list[tuple[str, Graph[Any, Any], Oracle]] = [
        ("map(Later(times))", transform.map(later), lambda xs: [*map(times(k), xs)]),
        (f"map(Later(times), concurrency={m})", transform.map(later, concurrency=m), lambda xs: [*map(times(k), xs)]),
        ("filter(Later(even))", select.filter(even), lambda xs: [x for x in xs if x % m == 0]),
        (f"map(Later(times), concurrency={m}) >> bulkhead({m}) >> hedge(99)",
         transform.map(later, concurrency=m) >> limits.bulkhead(m) >> limits.hedge(99),
         lambda xs: [*map(times(k), xs)]),
        (f"map(Later(times)) >> timeout(9) >> retry({m})",
         transform.map(later) >> guards.timeout(9) >> guards.retry(m), lambda xs: [*map(times(k), xs)]),
        (f"map(Later(Picky({m}))) >> retry(2, backoff=constant(1)) >> skip_errors()",
         transform.map(Later(Picky(m))) >> guards.retry(2, backoff=backoffs.constant(1)) >> guards.skip_errors(),
         lambda xs: [*filter(Picky(m).takes, xs)]),
        ("scan(Later(add), 0)", transform.scan(Later(operator.add), 0), lambda xs: [*accumulate(xs, initial=0)][1:]),
        ("concat_map(both)", transform.concat_map(both), lambda xs: [y for x in xs for y in (x, -x)]),
        (f"delay({k})", time.delay(k), lambda xs: xs),
        (f"map(abs, on=threads({m}))", transform.map(abs, on=place.threads(m)), lambda xs: [*map(abs, xs)]),
    ]
    return [RandomGraph(code, graph, oracle, True) for code, graph, oracle in made]


# -- graphs ----------------------------------------------------------------------------------------


def fan(a: RandomGraph, b: RandomGraph) -> RandomGraph:
    """The same items through two branches, put together again."""
    first, second = a.oracle, b.oracle
    return RandomGraph(
        f"broadcast({a.code}, {b.code}) >> zip() >> map(sum)",
        combine.broadcast(a.graph, b.graph) >> combine.zip() >> transform.map(sum),
        lambda xs: sums(zip(first(xs), second(xs), strict=True)), a.waits or b.waits)


@st.composite
def _piece(draw: st.DrawFn, makes: Sequence[Callable[[int, int], list[RandomGraph]]]) -> RandomGraph:
    k, m = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    return draw(st.sampled_from(draw(st.sampled_from(makes))(k, m)))


def _joined(pieces: Iterable[RandomGraph]) -> RandomGraph:
    return reduce(operator.rshift, pieces)


@st.composite
def _graphs(draw: st.DrawFn, min_size: int, max_size: int, waits: bool) -> RandomGraph:
    anywhere = [even_steps, even_steps, uneven_steps, *([waiting] if waits else [])]
    pieces = draw(st.lists(_piece(anywhere), min_size=min_size, max_size=max_size))
    for special in (_piece([growing]), _piece([ends]), st.builds(fan, *[
            st.lists(_piece([even_steps]), min_size=1, max_size=3).map(_joined)] * 2)):
        if draw(st.booleans()):
            pieces[draw(st.integers(0, len(pieces) - 1))] = draw(special)
    if waits and not any(piece.waits for piece in pieces):
        pieces[draw(st.integers(0, len(pieces) - 1))] = draw(_piece([waiting]))
    return _joined(pieces)


def graphs(min_size: int = 10, max_size: int = 14, *, waits: bool = False) -> st.SearchStrategy[RandomGraph]:
    """Random open graphs over whole numbers, of ``min_size`` nodes and more, each with its oracle.

    ``waits``  True: async functions, threads and timed nodes among them, at least one of them
    Source:    QuickCheck; hypothesis shrinks a failing graph node by node.

    >>> from hypothesis import given
    >>> import kayrx as kx
    >>> @given(graphs(), numbers())
    ... def same(drawn, items):
    ...     assert (kx.source(items) >> drawn.graph).collect() == drawn.oracle(items)
    >>> same()
    """
    return _graphs(min_size, max_size, waits)


numbers = partial(st.lists, st.integers(-20, 60), max_size=30)
"""Lists of whole numbers: what the graphs of `graphs` take."""

__all__ = ["RandomGraph", "fan", "graphs", "numbers"]
