"""Sides: also_to, divert_to and wire_tap lead aside while the stream goes on; balance spreads it over branches."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import anyio
import pytest
import reactivex
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.plan.draw import picture
from kayrx.testing import run_virtual


async def fails(x: int) -> None:
    raise LookupError(x)


# -- also_to -------------------------------------------------------------------------------------


def test_also_to_gives_every_item_twice(backend: str) -> None:
    """The side gets all, in order; what comes out is the stream, and its result the run's."""
    side: list[int] = []
    graph = kx.source(range(50)) >> kx.also_to(kx.map(kx.it * 10) >> kx.sink(side)) >> kx.filter(kx.it % 2 == 0)

    assert graph.collect(backend=backend) == list(range(0, 50, 2)) and side == list(range(0, 500, 10))
    assert (graph >> kx.count() >> kx.to_list()).run(backend=backend) == [25]
    assert (kx.source([1]) >> kx.also_to(kx.to_list())).run(backend=backend) is None


def test_the_stream_waits_for_its_side(loop: str, tracked: Any) -> None:
    """A side that stands still holds the source, ``size`` items on."""
    source, out = tracked(count()), []

    async def stand(x: int) -> None:
        await anyio.sleep(float("inf"))

    async def main() -> None:
        graph = kx.source(source) >> kx.also_to(kx.each(stand), size=3) >> kx.each(out.append)
        async with graph.start() as run:
            await anyio.sleep(60)
            await run.cancel()

    run_virtual(main, loop)
    assert out == [0, 1, 2] and source.pulled <= 5 and source.closed


def test_a_side_that_raises_fails_the_run(backend: str) -> None:
    """Its error is the run's (ruling 1), with a note that names its node."""
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([1, 0]) >> kx.also_to(kx.each(lambda x: 1 / x).named("log"))).run(backend=backend)

    assert "'log' (each) at test_sides.py" in caught.value.__notes__[0]


@pytest.mark.parametrize("node", [
    lambda side: kx.also_to(kx.sink(side)), lambda side: kx.wire_tap(kx.sink(side)),
    lambda side: kx.divert_to(kx.sink(side), kx.it < 0)], ids=["also_to", "wire_tap", "divert_to"])
def test_when_nobody_wants_more_the_source_is_let_go(node: Any, backend: str, tracked: Any) -> None:
    """The stream leads: when what is below it has had enough, the side finishes what it has."""
    source, side = tracked(count()), []

    out = (kx.source(source) >> node(side) >> kx.take(3)).collect(backend=backend)

    assert out == [0, 1, 2] and source.closed and source.pulled <= 3 + 16 + 1
    assert side == list(range(len(side)))


def test_a_source_that_waits_is_let_go_in_the_middle_of_its_wait(timeline: Any) -> None:
    """However long it would have taken to give the next item."""
    side: list[str] = []

    assert timeline(lambda s: s >> kx.also_to(kx.sink(side)) >> kx.take(2), "-a-b------------c") == [
        (1, "a"), (3, "b"), (3, "|")]
    assert timeline.closed == [3] and side == ["a", "b"]


def test_a_side_that_has_had_enough_changes_nothing(backend: str) -> None:
    """The stream goes on without it."""
    side: list[int] = []

    assert (kx.source(range(50)) >> kx.also_to(kx.take(2) >> kx.sink(side))).collect(backend=backend) == [*range(50)]
    assert side == [0, 1]


def test_the_faces_of_a_stream_with_sides(loop: str) -> None:
    """It has one output: it streams, is observed, and becomes an operator on a loop."""
    side: list[int] = []
    graph = kx.map(abs) >> kx.also_to(kx.sink(side)) >> kx.map(str)

    async def main() -> Any:
        async with (kx.source([1, 2]) >> graph).stream() as items:
            streamed = [x async for x in items]
        seen: list[str] = []
        over = anyio.Event()
        reactivex.of(3, 4).pipe(graph.operator()).subscribe(seen.append, on_completed=over.set)
        await over.wait()
        return streamed, seen

    assert run_virtual(main, loop) == (["1", "2"], ["3", "4"]) and side == [1, 2, 3, 4]
    observed: list[str] = []
    (kx.source([5]) >> graph).to_observable().subscribe(observed.append)
    assert observed == graph(5) == ["5"]


def test_a_side_stands_in_the_picture_and_the_plan() -> None:
    """`draw` shows the way on, `explain` a bound for each way."""
    graph = kx.source([1]) >> kx.also_to(kx.to_list(), size=4) >> kx.map(str) >> kx.to_list()

    drawn = picture(graph)
    labels = {box.key: box.label for box in drawn.boxes}
    assert [(labels[a.start], labels[a.end]) for a in drawn.arrows] == [
        ("source", "also_to"), ("also_to", "to_list"), ("also_to", "str"), ("str", "to_list")]
    assert "(4 items, block) into to_list, port 1" in graph.explain()
    assert "(4 items, block) into str, port main" in graph.explain()


# -- divert_to -----------------------------------------------------------------------------------


@given(st.lists(st.integers()))
def test_divert_to_sends_each_item_one_way(items: list[int]) -> None:
    """The diverted and the others are all there are, each in order."""
    odd: list[int] = []
    even = (kx.source(items) >> kx.divert_to(kx.sink(odd), lambda x: x % 2)).collect()

    assert even == [x for x in items if not x % 2]
    assert odd == [x for x in items if x % 2]


def test_the_test_may_be_async(loop: str) -> None:
    """``when`` may be ``async def``."""
    async def odd(x: int) -> bool:
        return x % 2 == 1

    side: list[int] = []
    assert (kx.source(range(4)) >> kx.divert_to(kx.sink(side), odd)).collect(backend=loop) == [0, 2] and side == [1, 3]


# -- wire_tap ------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [range(50), range(5000)], ids=len)
def test_a_tap_that_keeps_up_sees_everything(items: Any, backend: str) -> None:
    """Nothing is dropped without need."""
    side: list[int] = []

    assert (kx.source(items) >> kx.wire_tap(kx.sink(side))).collect(backend=backend) == list(items) == side


def test_a_tap_never_holds_the_stream_and_its_drops_are_counted(loop: str) -> None:
    """What the tap missed and what it saw add up."""
    seen: list[int] = []

    async def slow(x: int) -> None:
        seen.append(x)
        await anyio.sleep(1)

    async def main() -> tuple[float, int]:
        out: list[float] = []
        graph = kx.source(range(500)) >> kx.wire_tap(kx.each(slow), size=4) >> kx.each(
            lambda x: out.append(anyio.current_time()))
        start = anyio.current_time()
        async with graph.start() as run:
            await run.wait()
            assert out == [start] * 500
            return anyio.current_time() - start, sum(gate.dropped for gate in run.metrics().gates)

    took, dropped = run_virtual(main, loop)
    assert dropped > 0 and dropped + len(seen) == 500 and took == len(seen)


@pytest.mark.parametrize("sink", [kx.each(fails), kx.map(lambda x: 1 // x) >> kx.sink([]),
                                  kx.broadcast(kx.each(fails), kx.to_list())], ids=range(3))
def test_a_tap_that_raises_is_cut_off_and_reported(sink: Any, loop: str) -> None:
    """It is isolated from the run (ruling 1); what is below the tap is not isolated with it."""
    async def main() -> Any:
        async with (kx.source(range(100)) >> kx.wire_tap(sink) >> kx.to_list()).start() as run:
            return await run.wait(), [type(e["error"]) for e in run.events() if e["event"] == "detached"]

    out, told = run_virtual(main, loop)
    assert out == list(range(100)) and told in ([LookupError], [ZeroDivisionError])
    with pytest.raises(ZeroDivisionError):
        (kx.source([0]) >> kx.wire_tap(kx.to_list()) >> kx.map(lambda x: 1 / x)).run(backend=loop)
    with pytest.raises(ZeroDivisionError):
        (kx.source([0]) >> kx.map(lambda x: 1 / x) >> kx.wire_tap(kx.to_list())).run(backend=loop)


def test_check_says_that_a_tap_may_lose() -> None:
    """One line, with the user's line."""
    (warning,) = (kx.source([1]) >> kx.wire_tap(kx.to_list())).check()

    assert "loses items when it is full (drop_newest)" in warning and "test_sides.py" in warning


# -- balance -------------------------------------------------------------------------------------


@given(st.lists(st.integers(), max_size=60), st.integers(1, 4), st.integers(1, 5))
def test_balance_gives_each_item_to_one_branch(items: list[int], branches: int, size: int) -> None:
    """Nothing is lost or doubled, and each branch keeps the order."""
    given_ = (kx.source(list(enumerate(items))) >> kx.balance(*[kx.to_list()] * branches, size=size)).run()
    lists = [given_] if branches == 1 else list(given_)

    assert sorted(x for xs in lists for x in xs) == list(enumerate(items))
    assert all(xs == sorted(xs) for xs in lists)


def test_equal_branches_share_alike(backend: str) -> None:
    """In turn among equals; on virtual time, for how far each gets in 5 ms is the machine's affair."""
    graph = kx.source(range(90)) >> kx.balance(kx.to_list(), kx.to_list(), kx.to_list())

    async def main() -> Any:
        return await graph

    out = graph.run() if backend == "sync" else run_virtual(main, backend)
    assert [len(xs) for xs in out] == [30, 30, 30]


def test_branches_that_are_all_idle_take_turns(loop: str) -> None:
    """Also where each item is done before the next one comes."""
    graph = kx.interval(1) >> kx.take(6) >> kx.balance(kx.to_list(), kx.to_list(), kx.to_list())

    async def main() -> Any:
        return await graph

    assert run_virtual(main, loop) == ([0, 3], [1, 4], [2, 5])


def test_the_branch_with_most_room_is_chosen(loop: str) -> None:
    """Of lanes with several places the emptiest."""
    async def slow(x: int) -> tuple[str, int]:
        await anyio.sleep(10)
        return "slow", x

    async def fast(x: int) -> tuple[str, int]:
        return "fast", x

    async def main() -> Counter[str]:
        out = await (kx.interval(1) >> kx.take(9) >> kx.balance(kx.map(slow), kx.map(fast), size=8) >> kx.merge()
                     >> kx.to_list())
        return Counter(who for who, _ in out)

    assert run_virtual(main, loop) == Counter(fast=8, slow=1)


def test_a_branch_that_stands_still_holds_one_item_and_nobody_else(loop: str) -> None:
    """A slow branch gets what it has room for, a fast one the rest."""
    async def slow(x: int) -> tuple[str, int]:
        await anyio.sleep(10)
        return "slow", x

    async def fast(x: int) -> tuple[str, int]:
        await anyio.sleep(1)
        return "fast", x

    async def main() -> tuple[Counter[str], float]:
        start = anyio.current_time()
        out = await (kx.source(range(22)) >> kx.balance(kx.map(slow), kx.map(fast)) >> kx.merge() >> kx.to_list())
        return Counter(who for who, _ in out), anyio.current_time() - start

    assert run_virtual(main, loop) == (Counter(fast=20, slow=2), 20.0)


def test_a_branch_that_has_had_enough_is_left_out(backend: str, tracked: Any) -> None:
    """The others take what comes; when all have had enough the source is let go."""
    source = tracked(count())
    some, more = (kx.source(source) >> kx.balance(kx.take(2) >> kx.to_list(), kx.take(9) >> kx.to_list())).run(
        backend=backend)

    assert len(some) == 2 and len(more) == 9 and source.closed and source.pulled <= 13


def test_balance_as_an_operator_takes_turns() -> None:
    """In an Rx chain nothing waits, so all have room."""
    seen: list[Any] = []
    graph = kx.balance(kx.map(lambda x: ("a", x)), kx.map(lambda x: ("b", x))) >> kx.merge()
    reactivex.of(1, 2, 3).pipe(graph.operator()).subscribe(seen.append)

    assert seen == [("a", 1), ("b", 2), ("a", 3)]


@pytest.mark.parametrize(("write", "says"), [
    (lambda: kx.also_to(kx.map(str)), "would go nowhere"), (lambda: kx.also_to(print), "a branch is a graph"),
    (lambda: kx.wire_tap(kx.source([1]) >> kx.to_list()), "brings its own items"),
    (lambda: kx.wire_tap(kx.to_list(), size=0), r"wire_tap\(size\)"),
    (lambda: kx.divert_to(kx.to_list(), 3), "function"),
    (lambda: kx.also_to(kx.to_list(), size=0), "size"), (lambda: kx.balance(), "at least one branch"),
    (lambda: kx.balance(kx.take(1), size=0), r"balance\(size\)"),
    (lambda: kx.source([1]) >> kx.also_to(kx.to_list()) >> kx.merge(), "joins branches"),
], ids=range(9))
def test_wrong_arguments_fail_where_they_are_written(write: Any, says: str) -> None:
    """A GraphError of the line that writes it, with the remedy."""
    with pytest.raises(kx.GraphError, match=says):
        write()
