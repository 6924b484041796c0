"""Guards of an item: what happens when the unit before them fails, from the inside out."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


class Flaky:
    """Fails the first ``times`` calls for each item, async after ``seconds``; knows when it was called."""

    def __init__(self, times: int = 10**9, error: type[Exception] = OSError) -> None:
        self.times, self.error = times, error
        self.calls: list[Any] = []

    def __call__(self, x: Any) -> Any:
        self.calls.append(x)
        if self.calls.count(x) <= self.times:
            raise self.error(f"{x}")
        return x


def awaiting(fn: Callable[[Any], Any], seconds: float = 0) -> Callable[[Any], Any]:
    async def call(x: Any) -> Any:
        await anyio.sleep(seconds)
        return fn(x)
    return call


async def timed(graph: Any) -> tuple[Any, float]:
    start = anyio.current_time()
    return await graph, anyio.current_time() - start


class Busy(Exception):
    retry_after = 0.001


def busy(x: Any) -> Any:
    raise Busy(x)


# -- the order of guards (rulings 9, 10) ---------------------------------------------------------


@pytest.mark.parametrize(("guards", "calls", "out"), [
    (kx.retry(3) >> kx.fallback(lambda x: -x), 3, [-1]),
    (kx.fallback(lambda x: -x) >> kx.retry(3), 1, [-1]),
    (kx.retry(2) >> kx.retry(3), 6, OSError),
    (kx.skip_errors() >> kx.retry(3), 1, []),
    (kx.retry(3) >> kx.skip_errors() >> kx.fallback(lambda x: -x), 3, []),
    (kx.retry(3, on=ValueError) >> kx.skip_errors(OSError), 1, []),
    (kx.retry(3, on=lambda e: "2" in str(e)) >> kx.fallback(lambda x: -x), 1, [-1]),
    (kx.skip_errors(ValueError), 1, OSError),
    (kx.fallback(lambda x: 1 // 0) >> kx.skip_errors(ZeroDivisionError), 1, []),
    (kx.fallback(lambda x: 1 // 0, lambda x: -x), 1, [-1]),
    (kx.fallback(lambda x: 1 // 0), 1, ZeroDivisionError),
    (kx.fallback(lambda x: -x, on=ValueError), 1, OSError),
])
@pytest.mark.parametrize("waits", [False, True])
def test_guards_wrap_from_the_inside_out(guards: Any, calls: int, out: Any, waits: bool, backend: str) -> None:
    """Each guard sees what the ones written before it let through."""
    flaky = Flaky()
    graph = kx.source([1]) >> kx.map(awaiting(flaky) if waits else flaky) >> guards
    backend = "asyncio" if waits and backend == "sync" else backend

    if isinstance(out, list):
        assert graph.collect(backend=backend) == out
    else:
        with pytest.raises(out):
            graph.collect(backend=backend)
    assert len(flaky.calls) == calls


def test_timeout_inside_or_outside_of_retry(virtual: Virtual) -> None:
    """``timeout(2) >> retry(3)`` bounds an attempt; ``retry(3) >> timeout(5)`` all of them."""
    tries: list[float] = []

    async def stuck(x: int) -> int:
        tries.append(anyio.current_time())
        await anyio.sleep(100)
        return x

    source = kx.source([1]) >> kx.map(stuck)
    assert virtual(lambda: timed(source >> kx.timeout(2) >> kx.retry(3) >> kx.skip_errors() >> kx.to_list())) == ([], 6)
    assert len(tries) == 3
    both = source >> kx.timeout(2) >> kx.retry(10) >> kx.timeout(5) >> kx.fallback(lambda x: "late") >> kx.to_list()
    assert virtual(lambda: timed(both)) == (["late"], 5)
    assert len(tries) == 6


@pytest.mark.parametrize("apart", [False, True])
def test_guards_written_apart_bind_the_same(apart: bool) -> None:
    """``>>`` is associative: guards of a graph of their own guard what stands before it (ruling 9)."""
    flaky = Flaky(1)
    guards = kx.retry(2) >> kx.skip_errors()
    graph = kx.source([1]) >> kx.map(flaky) >> (guards if apart else kx.retry(2)) >> (kx.skip_errors())

    assert graph.collect() == [1] and flaky.calls == [1, 1]


def test_guards_bind_to_the_one_node_before_them() -> None:
    """A failure of an earlier node is none of theirs; only ``unit`` groups."""
    one = kx.source([0]) >> kx.map(lambda x: 1 // x) >> kx.map(str) >> kx.skip_errors()
    both = kx.source([0]) >> kx.unit(kx.map(lambda x: 1 // x) >> kx.map(str)) >> kx.skip_errors()

    with pytest.raises(ZeroDivisionError):
        one.collect()
    assert both.collect() == []


@pytest.mark.parametrize("node", [kx.buffer(count=2), kx.take(1), kx.rx(lambda o: o), kx.pairwise(),
                                  kx.reduce(max), kx.zip(kx.source([1]), kx.source([2]))])
def test_a_guard_over_what_is_not_item_by_item_is_refused(node: Any) -> None:
    """It is a CompileError that says what to guard instead (ruling 10)."""
    graph = node if node.nodes[0].role == "fan_in" else kx.source([1]) >> node

    with pytest.raises(kx.CompileError, match="guard the source"):
        (graph >> kx.retry(2)).compile()


def test_guards_that_begin_a_graph_guard_nothing() -> None:
    """Alone they are a CompileError; joined they guard what comes before."""
    with pytest.raises(kx.CompileError, match="guards nothing"):
        kx.retry(2).compile()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_guards_catch_exceptions_only(error: type[BaseException]) -> None:
    """KeyboardInterrupt, SystemExit and their like pass every guard (ruling 22)."""
    def fail(x: int) -> int:
        raise error

    graph = kx.source([1]) >> kx.map(fail) >> kx.retry(3) >> kx.fallback(lambda x: 0) >> kx.skip_errors()
    with pytest.raises(error):
        graph.run(backend="sync")


# -- retry, backoff, jitter ----------------------------------------------------------------------


@pytest.mark.parametrize(("backoff", "waits"), [
    (kx.constant(2), [2, 2, 2]), (kx.exponential(1), [1, 2, 4]), (kx.exponential(1, cap=3), [1, 2, 3]),
    (kx.exponential(2, factor=3), [2, 6, 18])])
def test_backoff_waits_exactly(backoff: Any, waits: list[float], virtual: Virtual) -> None:
    """Between attempts the wait is what the backoff says, on the run's clock and in a synchronous run."""
    flaky, slept = Flaky(3), []
    graph = kx.source([1]) >> kx.map(flaky) >> kx.retry(4, backoff=backoff) >> kx.to_list()

    assert virtual(lambda: timed(graph)) == ([1], sum(waits))

    flaky.calls.clear()
    assert graph.run(world=kx.World(block=slept.append)) == [1]
    assert slept == waits


@pytest.mark.parametrize(("jitter", "least", "most"), [("full", 0, 8), ("equal", 4, 8)])
def test_jitter_is_drawn_from_the_runs_random_source(jitter: Any, least: float, most: float) -> None:
    """Equal seeds wait equally; "full" waits between 0 and the backoff, "equal" at least half of it."""
    def waits(seed: int) -> list[float]:
        slept: list[float] = []
        graph = kx.source(range(50)) >> kx.map(Flaky(1)) >> kx.retry(2, backoff=kx.constant(8), jitter=jitter)
        graph.run(world=kx.World(block=slept.append, random=random.Random(seed)))
        return slept

    assert waits(1) == waits(1) != waits(2)
    assert len(waits(1)) == 50 and all(least <= w <= most for w in waits(1)) and len(set(waits(1))) == 50


def test_with_concurrency_a_backoff_parks_only_its_own_slot(virtual: Virtual) -> None:
    """The other calls go on while one item waits for its next attempt (ruling 25)."""
    flaky, finished = Flaky(1), []

    def call(x: int) -> int:
        if x == 0:
            flaky(x)
        finished.append((x, anyio.current_time() - start))
        return x

    start = 0.0

    async def main() -> tuple[Any, float]:
        nonlocal start
        start = anyio.current_time()
        graph = kx.source(range(4)) >> kx.map(awaiting(call, 1), concurrency=2, ordered=False)
        return await timed(graph >> kx.retry(2, backoff=kx.constant(50)) >> kx.to_list())

    assert virtual(main) == ([1, 2, 3, 0], 52)
    assert finished == [(1, 1), (2, 2), (3, 3), (0, 52)]


def test_without_concurrency_a_backoff_keeps_the_order(virtual: Virtual) -> None:
    """One slot: the segment waits, and the items behind keep their place."""
    flaky = Flaky(1)

    assert virtual(lambda: timed(kx.source(range(3)) >> kx.map(flaky) >> kx.retry(2, backoff=kx.constant(5))
                                 >> kx.to_list())) == ([0, 1, 2], 15)
    assert flaky.calls == [0, 0, 1, 1, 2, 2]


# -- timeout -------------------------------------------------------------------------------------


def test_nothing_is_armed_for_a_call_that_never_suspends(virtual: Virtual, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that does not wait pays no timer (ruling 25)."""
    import asyncio

    armed: list[float] = []
    later = asyncio.BaseEventLoop.call_later
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later",
                        lambda self, delay, *args, **kw: (armed.append(delay), later(self, delay, *args, **kw))[1])

    async def at_once(x: int) -> int:
        return x

    assert virtual(kx.source(range(100)) >> kx.map(at_once) >> kx.timeout(17) >> kx.to_list()) == list(range(100))
    assert 17 not in armed


def test_a_timeout_says_what_took_too_long(virtual: Virtual, noted: Any) -> None:
    """CallTimeout names the node, the seconds and the kind; it is a TimeoutError."""
    graph = kx.source([1]) >> kx.map(awaiting(lambda x: x, 10)).named("slow") >> kx.timeout(2)

    with pytest.raises(kx.CallTimeout, match=r"'slow' \(map\).*longer than 2 s \(total\)") as caught:
        virtual(graph)
    assert isinstance(caught.value, TimeoutError) and caught.value.which == "total"


def test_a_timeout_over_a_synchronous_function_is_refused_with_the_remedy() -> None:
    """Nothing can interrupt it: CompileError (ruling 11)."""
    with pytest.raises(kx.CompileError, match=r"on=kx\.threads\(1\)"):
        (kx.source([1]) >> kx.map(str) >> kx.timeout(1)).compile()


def test_a_call_that_answers_its_timeout_with_an_error_fails_with_that_error(virtual: Virtual) -> None:
    """The user's own exception out of a call that was timed out is the failure of that attempt."""
    async def stubborn(x: int) -> int:
        try:
            await anyio.sleep(100)
        except BaseException:
            raise KeyError(x) from None
        return x

    async def main() -> Any:
        guarded = kx.map(stubborn) >> kx.timeout(1) >> kx.skip_errors(KeyError)
        out = await (kx.source(range(3)) >> guarded >> kx.to_list())
        with anyio.fail_after(5):  # this very task can still be cancelled, and only once
            await anyio.sleep(1)
        return out

    assert virtual(main) == []


def test_the_outer_time_limit_wins_over_an_inner_one_at_the_same_moment(virtual: Virtual) -> None:
    """Cancelling the run while a guard's timeout fires ends the run, not the guard's unit."""
    async def main() -> Any:
        with anyio.move_on_after(2) as scope:
            await (kx.source([1]) >> kx.map(awaiting(str, 100)) >> kx.timeout(2) >> kx.retry(5) >> kx.to_list())
        return scope.cancelled_caught

    assert virtual(main)


SLOW = kx.source([1, 2]) >> kx.map(awaiting(abs))
WHERE: dict[str, Callable[[Any], Any]] = {
    "join": lambda g: kx.merge(SLOW, kx.source([3])) >> kx.map(busy) >> g,
    "time": lambda g: SLOW >> kx.delay(0.001) >> kx.scan(lambda s, x: busy(x), 0) >> g,
    "many": lambda g: SLOW >> kx.delay(0.001) >> kx.flat_map(busy) >> g,
    "source": lambda g: kx.merge(SLOW, kx.source(lambda: busy(0)) >> g),
    "before a pool": lambda g: kx.source([1, 2]) >> kx.map(busy) >> g >> kx.map(awaiting(abs), concurrency=2),
    "after a pool": lambda g: kx.source([1, 2]) >> kx.map(awaiting(abs), concurrency=2) >> kx.map(busy) >> g,
    "unit": lambda g: SLOW >> kx.unit(kx.map(busy) >> g >> kx.map(abs)) >> kx.skip_errors(),
    "fallback": lambda g: SLOW >> kx.map(busy) >> kx.fallback(kx.map(busy) >> g),
    "group": lambda g: SLOW >> kx.group_by(kx.it, kx.map(busy) >> g),
    "loop": lambda g: SLOW >> kx.loop(kx.map(busy) >> g, until=kx.it),
}


@pytest.mark.parametrize("guard", ["a letter on disk", "asked for time"])
@pytest.mark.parametrize("where", WHERE)
def test_a_guard_may_wait_after_an_error_of_a_synchronous_step(where: str, guard: str, loop: str, tmp_path: Path
                                                               ) -> None:
    """Wherever the step stands on a loop: a letter is written in a thread, and an error may say when to try again."""
    store = kx.json_letters(tmp_path / "letters.jsonl")
    asked: Any = kx.dead_letter(store) if "disk" in guard else kx.retry(2) >> kx.skip_errors()

    assert WHERE[where](asked).collect(backend=loop) in ([], [1, 2])

    assert len(list(store.items())) in ((1, 2, 3) if "disk" in guard else (0,))
