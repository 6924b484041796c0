"""Stages: joins of several lanes, their bounds and ends; shared upstreams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


async def passed(x: Any) -> Any:
    return x


def later(seconds: float, *items: Any, error: Exception | None = None) -> kx.Graph[Any, Any]:
    """``items`` with ``seconds`` before each and before the end."""
    async def give() -> AsyncIterator[Any]:
        for item in items:
            await anyio.sleep(seconds)
            yield item
        await anyio.sleep(seconds)
        if error is not None:
            raise error
    return kx.source(give)


# -- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("join", [kx.zip, kx.concat])
@pytest.mark.parametrize("size", [1, 16])
def test_a_join_holds_one_lane_of_a_fast_partner(join: Any, size: int, virtual: Virtual, watched: Any) -> None:
    """However slow one branch is, the other is read ``size`` items ahead and no further."""
    fast, most = watched(range(200)), 0

    async def slow() -> AsyncIterator[int]:
        nonlocal most
        for x in range(20):
            await anyio.sleep(60)
            most = max(most, fast.read - x)
            yield x

    lanes = (kx.source(slow), kx.source(fast.source))
    virtual(join(*lanes, size=size) >> kx.map(passed) >> kx.to_list())

    assert most <= size if join is kx.zip else most <= 0


def test_a_fan_out_reads_no_further_than_its_slowest_branch(virtual: Virtual, watched: Any) -> None:
    """A branch that stands still holds the source and, after 16 items, its siblings."""
    source, fast = watched(), []

    async def stand(x: int) -> None:
        await anyio.sleep(float("inf"))

    async def main() -> None:
        graph = kx.source(source.source) >> kx.broadcast(kx.each(stand), kx.sink(fast))
        async with graph.start() as run:
            await anyio.sleep(3600)
            assert source.read == 16 and fast == list(range(16))
            await run.cancel()

    virtual(main)


# -- deadlock (ruling 4) -------------------------------------------------------------------------

DRIFT = kx.source(range(100)) >> [kx.filter(kx.it >= 50), kx.map(kx.it)] >> kx.zip()


def test_branches_that_drift_apart_fail_with_a_deadlock(backend: str) -> None:
    """Where every task waits on the run's own gates, GateDeadlock names the full ports and a size that helps."""
    with pytest.raises(kx.GateDeadlock, match=r"into 'zip' port 2 \(size 16\).*size=32"):
        (DRIFT >> kx.to_list()).run(backend=backend)


def test_the_size_that_helps_helps(backend: str) -> None:
    """The bound wins over progress, and a larger bound lets the same branches join."""
    wide = kx.source(range(100)) >> kx.broadcast(kx.filter(kx.it >= 50), kx.map(kx.it), size=64) >> kx.zip(size=64)

    assert (wide >> kx.to_list()).run(backend=backend) == [(50 + n, n) for n in range(50)]


def test_a_deadlock_is_found_behind_nodes_that_wait(virtual: Virtual) -> None:
    """User calls that have ended do not hide it; nor does it come while one is pending."""
    async def call(x: int) -> int:
        await anyio.sleep(1)
        return x

    apart = kx.source(range(100)) >> [kx.map(call) >> kx.filter(kx.it >= 50), kx.map(call, concurrency=3)] >> kx.zip()

    with pytest.raises(kx.GateDeadlock):
        virtual(apart >> kx.to_list())


def test_a_deadlock_inside_a_loop_says_so(virtual: Virtual) -> None:
    """The remedy names the loop in whose body the join stands; a larger size of the join helps."""
    async def call(x: int) -> int:
        return x

    def looped(size: int) -> Any:
        branches = kx.broadcast(kx.filter(kx.it >= 40), kx.map(call), size=size)
        return kx.source(range(80)) >> kx.loop(branches >> kx.zip(size=size), until=lambda x: True, size=64)

    with pytest.raises(kx.GateDeadlock, match=r"a join in the body of 'loop' \(loop\) at .*e\.g\. size=32"):
        virtual(looped(16))
    virtual(looped(64))


def test_waiting_for_a_timer_is_no_deadlock(virtual: Virtual) -> None:
    """A timer or a source that may still give is something to wait for."""
    joined = kx.zip(kx.source(range(100)), later(1000, *range(3)))

    assert virtual(joined >> kx.to_list()) == [(0, 0), (1, 1), (2, 2)]


# -- order, ends and errors ----------------------------------------------------------------------


def test_merge_keeps_the_order_of_each_lane(backend: str) -> None:
    """Each branch's own order is kept, and nothing is lost or doubled (ruling 8)."""
    out = (kx.merge(kx.source(range(0, 100)), kx.source(range(100, 200)), kx.source(range(200, 300)))).collect(
        backend=backend)

    assert sorted(out) == list(range(300))
    for start in (0, 100, 200):
        assert [x for x in out if start <= x < start + 100] == list(range(start, start + 100))


@pytest.mark.parametrize(("join", "out", "seconds"), [
    # a gives at 1, 2, 3 and ends at 4; b gives at 1.5 and 3 and ends at 4.5
    (kx.merge, ["a", "B", "b", "c", "C"], 4.5),
    (kx.zip, [("a", "B"), ("b", "C")], 4.5),
    (kx.concat, ["a", "b", "c", "B", "C"], 8.5),
    (kx.combine_latest, [("a", "B"), ("b", "B"), ("c", "B"), ("c", "C")], 4.5),
])
def test_a_join_gives_and_ends_when_it_says(join: Any, out: Any, seconds: float, virtual: Virtual) -> None:
    """What each join gives of two branches, and when it ends."""
    async def main() -> tuple[Any, float]:
        start = anyio.current_time()
        got = await (join(later(1, "a", "b", "c"), later(1.5, "B", "C")) >> kx.to_list())
        return got, anyio.current_time() - start

    got, took = virtual(main)
    assert took == seconds
    assert got == out or (join is not kx.zip and sorted(map(str, got[-3:])) == sorted(map(str, out[-3:])))


@pytest.mark.parametrize(("join", "seconds"), [(kx.zip, 1), (kx.combine_latest, 1), (kx.merge, 50), (kx.concat, 51)])
def test_an_empty_branch_ends_a_join_that_can_give_nothing_more(join: Any, seconds: float, virtual: Virtual) -> None:
    """``zip`` and ``combine_latest`` end with it, at once; ``merge`` and ``concat`` go on with the others."""
    async def main() -> float:
        start = anyio.current_time()
        await (join(later(25, 1), later(1)) >> kx.to_list())
        return anyio.current_time() - start

    assert virtual(main) == seconds


@pytest.mark.parametrize("join", [kx.merge, kx.zip, kx.combine_latest, kx.concat])
@pytest.mark.parametrize("lane", [0, 1])
def test_a_failing_branch_fails_the_join_and_cancels_its_siblings(join: Any, lane: int, virtual: Virtual,
                                                                  watched: Any) -> None:
    """The very error comes out, and the source of the other branch is closed."""
    bad, other = ValueError("bad"), watched(range(3) if join is kx.concat and lane == 1 else range(10**6))
    lanes = [kx.source(other.slowly(1)), kx.source(other.slowly(1))]
    lanes[lane] = later(2, 0, error=bad)

    with pytest.raises(ValueError) as caught:
        virtual(join(*lanes) >> kx.to_list())

    assert caught.value is bad and other.open == 0
    assert other.opened == (0 if join is kx.concat and lane == 0 else 1)


@pytest.mark.parametrize("join", [kx.merge, kx.zip, kx.combine_latest, kx.concat])
def test_what_is_above_a_join_ends_when_nothing_below_is_wanted(join: Any, virtual: Virtual, watched: Any) -> None:
    """``take`` below lets go of every branch, also of one that would not give for a long time."""
    fast, slow = watched(), watched()
    graph = join(kx.source(fast.slowly(1)), kx.merge(kx.source([0]), kx.source(slow.slowly(3600))))

    async def main() -> float:
        start = anyio.current_time()
        assert len(await (graph >> kx.take(1) >> kx.to_list())) == 1
        return anyio.current_time() - start

    assert virtual(main) <= 1 and fast.open == slow.open == 0


def test_an_aggregate_below_a_failing_branch_gives_nothing(virtual: Virtual) -> None:
    """A failure is not an end: no half count or half list reaches the sink before it."""
    seen: list[Any] = []
    graph = kx.merge(later(1, 1, 2, 3, error=ValueError()), kx.source([4])) >> kx.map(passed)

    for aggregate in (kx.count(), kx.buffer(count=100), kx.reduce(max, 0)):
        with pytest.raises(ValueError):
            virtual(graph >> aggregate >> kx.map(passed) >> kx.sink(seen))

    assert seen == []


@pytest.mark.parametrize("nested", [False, True])
def test_concat_opens_a_source_when_its_turn_comes(nested: bool, backend: str, watched: Any) -> None:
    """The second source is opened after the last item of the first, not before; and not at all if nobody comes."""
    first, second, third = watched(range(40)), watched(range(100)), watched()
    opened_at: list[int] = []

    def then() -> Any:
        opened_at.append(first.read)
        return second.source()

    a, b = kx.source(first.source), kx.source(then)
    graph = kx.concat(a, kx.concat(b, kx.source(third.source)) if nested else kx.merge(b, kx.source([])))
    out = (graph >> kx.take(41) >> kx.to_list()).run(backend=backend)

    assert out == [*range(40), 0] and opened_at == [40] and third.opened == 0


# -- share (ruling 20) ---------------------------------------------------------------------------


def test_share_opens_one_upstream_for_all_its_uses(backend: str, watched: Any) -> None:
    """All uses within a run are one upstream, and each sees every item; another run opens its own."""
    source = watched(range(50))
    shared = kx.source(source.source) >> kx.share()
    graph = kx.merge(shared >> kx.map(kx.it * 2), shared >> kx.map(kx.it * 3), shared)

    for run in (1, 2):
        out = graph.collect(backend=backend)
        assert sorted(out) == sorted([*range(0, 100, 2), *range(0, 150, 3), *range(50)])
        assert source.opened == source.closed == run


def test_share_is_closed_when_its_last_subscriber_leaves(backend: str, watched: Any) -> None:
    """One that leaves does not end the others; the last one closes the source."""
    source = watched(count())
    shared = kx.source(source.source) >> kx.share()
    graph = kx.merge(shared >> kx.take(1), shared >> kx.take(40))

    assert sorted(graph.collect(backend=backend)) == [0, *range(40)]
    assert source.closed == 1 and source.read <= 40 + 17


def test_without_share_a_graph_used_twice_opens_its_source_twice(backend: str, watched: Any) -> None:
    """Two uses are two sources, and ``check`` says so."""
    source = watched(range(3))
    graph = kx.source(source.source)

    assert sorted(kx.merge(graph, graph).collect(backend=backend)) == [0, 0, 1, 1, 2, 2]
    assert source.opened == 2
