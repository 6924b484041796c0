"""State for each key: stateful_map."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.graph.graph import Graph


def nth(n: int, x: Any) -> tuple[int, Any]:
    return n + 1, (x, n)


async def nth_async(n: int, x: Any) -> tuple[int, Any]:
    await anyio.sleep(0)
    return n + 1, (x, n)


async def first_letter(x: str) -> str:
    return x[0]


def gather(held: list[Any], x: Any) -> tuple[list[Any], list[Any]]:
    held.append(x)
    return held, list(held)


def until_full(held: tuple[Any, ...] | None, x: Any) -> tuple[Any, Any]:
    held = (*(held or ()), x)
    return (None, held) if len(held) == 2 else (held, len(held))


@pytest.mark.parametrize(("graph", "items", "out"), [
    (kx.stateful_map(nth, seed=1), "ab", [("a", 1), ("b", 2)]),
    (kx.stateful_map(nth, kx.it, 0), "aba", [("a", 0), ("b", 0), ("a", 1)]),
    (kx.stateful_map(nth, lambda x: x is None, 0), [None, 1, None], [(None, 0), (1, 0), (None, 1)]),
    (kx.stateful_map(lambda s, x: (x, s)), [1, None, 2], [None, 1, None]),
    (kx.stateful_map(lambda s, x: (x, s), seed=7), [1, None, 2], [7, 1, 7]),
    (kx.stateful_map(until_full, kx.it % 2), [1, 2, 3, 5], [1, 1, (1, 3), 1]),
    (kx.stateful_map(gather, kx.it % 2, []), [1, 2, 3], [[1], [2], [1, 3]]),
    (kx.stateful_map(nth, kx.it, 0, max_keys=1), "aab", [("a", 0), ("a", 1), ("b", 0)]),
    (kx.stateful_map(nth, kx.it, 0, max_keys=2), "abacb", [("a", 0), ("b", 0), ("a", 1), ("c", 0), ("b", 0)]),
])
def test_what_comes_out(graph: Graph[Any, Any], items: Any, out: list[Any], backend: str) -> None:
    """One state a key; None is forgotten; the key that has been away longest is evicted."""
    assert (kx.source(items) >> graph).collect(backend=backend) == out
    assert (kx.source(items) >> graph >> kx.retry(2)).collect(backend=backend) == out


@pytest.mark.parametrize(("graph", "out"), [
    (kx.stateful_map(nth_async, seed=0), [("ab", 0), ("b", 1), ("ac", 2)]),
    (kx.stateful_map(nth_async, kx.it[0], 0), [("ab", 0), ("b", 0), ("ac", 1)]),
    (kx.stateful_map(nth, first_letter, 0), [("ab", 0), ("b", 0), ("ac", 1)]),
    (kx.stateful_map(nth_async, first_letter, 0), [("ab", 0), ("b", 0), ("ac", 1)]),
], ids=range(4))
def test_functions_may_be_async(graph: Graph[Any, Any], out: list[Any], loop: str) -> None:
    """An ``async def`` stands for each of the functions, guarded or not."""
    assert (kx.source(["ab", "b", "ac"]) >> graph).collect(backend=loop) == out
    assert (kx.source(["ab", "b", "ac"]) >> graph >> kx.timeout(9) >> kx.retry(2)).collect(backend=loop) == out


def test_evicted_states_are_told(backend: str) -> None:
    """``on_evict`` gets the key and the state; what is still held at the end is not evicted."""
    told: list[Any] = []
    graph = kx.source("abacbb") >> kx.stateful_map(nth, kx.it, 0, max_keys=2, on_evict=lambda k, s: told.append((k, s)))

    graph.run(backend=backend)

    assert told == [("b", 1), ("a", 2)]


def test_on_evict_may_be_async(loop: str) -> None:
    """It is awaited before the output of the item that took the place goes on."""
    told: list[Any] = []

    async def save(key: str, state: int) -> None:
        await anyio.sleep(0)
        told.append((key, state))

    (kx.source("ab") >> kx.stateful_map(nth, kx.it, 0, max_keys=1, on_evict=save) >> kx.each(told.append)).run(
        backend=loop)

    assert told == [("a", 0), ("a", 1), ("b", 0)]


@pytest.mark.parametrize("key", [None, kx.it > 0])
def test_state_changes_only_when_the_function_returns(key: Any, backend: str) -> None:
    """A function that fails under a guard leaves the state as it was, and is tried again with it (ruling 10)."""
    tried: list[Any] = []

    def total(state: int, x: int) -> tuple[int, int]:
        tried.append((state, x))
        if x == 5:
            raise ValueError(x)
        return state + x, state

    graph = kx.source([1, 5, 2]) >> kx.stateful_map(total, key, 0) >> kx.retry(2) >> kx.skip_errors()

    assert graph.collect(backend=backend) == [0, 1]
    assert tried == [(0, 1), (1, 5), (1, 5), (1, 2)]


def test_a_key_that_fails_is_inside_the_guards() -> None:
    """The guards stand around the whole node."""
    graph = kx.stateful_map(nth, lambda x: 1 // x, 0) >> kx.skip_errors()

    assert (kx.source([1, 0, 2]) >> graph).collect() == [(1, 0), (2, 0)]


def test_a_mutable_seed_is_copied_for_each_key_and_run() -> None:
    """The written seed is never touched."""
    seed: list[int] = []
    graph = kx.source([1, 2, 3]) >> kx.stateful_map(gather, kx.it % 2, seed)

    assert graph.collect() == graph.collect() == [[1], [2], [1, 3]] and seed == []
    guarded = graph >> kx.retry(2)
    assert guarded.collect() == guarded.collect() == [[1], [2], [1, 3]] and seed == []


async def gather_async(held: list[Any], x: Any) -> tuple[list[Any], list[Any]]:
    return gather(held, x)


def test_a_mutable_seed_is_copied_for_async_functions_too(loop: str) -> None:
    """Guarded or not."""
    seed: list[int] = []
    graph = kx.source([1, 2, 3]) >> kx.stateful_map(gather_async, kx.it % 2, seed)

    for written in (graph, graph, graph >> kx.retry(2), graph >> kx.retry(2)):
        assert written.collect(backend=loop) == [[1], [2], [1, 3]] and seed == []


@pytest.mark.parametrize("fn", [lambda s, x: x, lambda s, x: (1, 2, 3), lambda s, x: nth_async(0, x)],
                         ids=["no pair", "three", "awaitable"])
def test_a_result_that_is_no_pair_says_what_it_must_be(fn: Any, backend: str) -> None:
    """The TypeError names the node and the remedy, on the first item."""
    with pytest.raises(TypeError, match=r"'stateful_map' .* it must give \(state, output\)"):
        (kx.source([1]) >> kx.stateful_map(fn)).run(backend=backend)


def test_it_says_what_it_holds() -> None:
    """Without ``max_keys`` both `explain` and `check` say "unbounded"; with it, or without keys, nothing warns."""
    free, bound = kx.stateful_map(nth, kx.it, 0).named("n"), kx.stateful_map(nth, kx.it, 0, max_keys=9).named("n")

    (warning,) = (kx.source([1]) >> free).check()
    assert "keeps a state for every key that has come (unbounded); give max_keys=" in warning
    assert (kx.source([1]) >> bound).check() == (kx.source([1]) >> kx.stateful_map(nth, seed=0)).check() == []
    assert "n: unbounded (a state a key)" in free.explain()
    assert "n: 9 states, then the longest unused is evicted" in bound.explain()


@pytest.mark.parametrize(("write", "says"), [
    (lambda: kx.stateful_map(3), "must be a function"), (lambda: kx.stateful_map(nth, 3), "must be a function"),
    (lambda: kx.stateful_map(nth, kx.it, 0, max_keys=0), ">= 1"),
    (lambda: kx.stateful_map(nth, seed=0, max_keys=2), "goes with key="),
    (lambda: kx.stateful_map(nth, kx.it, 0, on_evict=print), "without max_keys="),
    (lambda: kx.stateful_map(lambda s, x: (yield)), "a generator function gives many items"),
], ids=range(6))
def test_wrong_arguments_fail_where_they_are_written(write: Any, says: str) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match=says):
        write()


def test_a_unit_of_several_nodes_cannot_keep_state_under_guards() -> None:
    """The CompileError says to guard the node itself."""
    with pytest.raises(kx.CompileError, match="write the guard directly after the stateful_map"):
        (kx.source([1]) >> kx.unit(kx.map(str) >> kx.stateful_map(nth, seed=0)) >> kx.retry(2)).run()
