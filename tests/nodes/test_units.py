"""Units: share is one upstream with a lane for each of its uses; those that come late get what it replays."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import count
from typing import Any

import anyio
import pytest
import reactivex

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import marbles, run_virtual

Mixed = Graph[Any, Any]


def late(a: Mixed, b: Mixed, replay: int = 1) -> Mixed:
    """One subscriber from the beginning, in lower case, and one in upper case that comes when ``b`` has ended."""
    shared = a >> kx.share(replay=replay)
    return kx.merge(shared >> kx.map(str.lower), kx.concat(b >> kx.ignore_elements(), shared >> kx.map(str.upper)))


# -- a policy for each lane ------------------------------------------------------------------------


async def stand(x: int) -> None:
    await anyio.sleep(float("inf"))


@pytest.mark.parametrize(("policy", "read"), [
    (None, 16), (kx.backpressure(3), 3), (kx.backpressure(9, low=0.5), 9),
    (kx.backpressure(9, bytes=4, size_of=abs), 2), (kx.coalesce(4, max), 8),
])
@pytest.mark.parametrize("replay", [None, 2])
def test_a_subscriber_that_waits_paces_the_others(replay: Any, policy: Any, read: int, loop: str,
                                                  tracked: Any) -> None:
    """What stands first behind the share is the size and policy of its lane: no gate besides."""
    source, seen = tracked(count(1)), []
    shared = kx.source(source) >> kx.share(replay=replay)

    async def main() -> None:
        slow = (shared if policy is None else shared >> policy) >> kx.tap(stand)
        async with kx.merge(slow, shared >> kx.tap(seen.append)).start() as run:
            await anyio.sleep(60)
            await run.cancel()

    run_virtual(main, loop)
    assert len(seen) == read and source.closed and source.pulled <= read + (policy is not None and read != 9)


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "latest", kx.conflate(max)], ids=str)
def test_a_subscriber_whose_policy_drops_paces_nobody(policy: Any, loop: str) -> None:
    """It stands still for ever, and the other gets all; what it lost is counted in its lane."""
    seen: list[int] = []
    shared = kx.source(range(500)) >> kx.share()

    async def main() -> Any:
        slow = shared >> kx.backpressure(8, overflow=policy) >> kx.tap(stand) >> kx.ignore_elements()
        async with kx.merge(slow, shared >> kx.tap(seen.append)).start() as run:
            await anyio.sleep(60)
            metrics = run.metrics()
            await run.cancel()
        return metrics.gates[0]

    gate = run_virtual(main, loop)
    assert seen == [*range(500)] and gate.size == 8 and gate.depth <= 8
    assert isinstance(policy, kx.nodes.flow.Conflate) or gate.dropped > 400


def test_a_lane_that_fails_when_full_fails_the_run(loop: str) -> None:
    """``overflow="error"`` is a policy as well; the message names the lane."""
    shared = kx.source(range(500)) >> kx.share()
    slow = shared >> kx.backpressure(8, overflow="error") >> kx.tap(stand).named("slow")

    with pytest.raises(kx.GateOverflow, match=r"into 'slow' port 1 is full \(8 items\)"):
        run_virtual(lambda: awaited(kx.merge(slow, shared)), loop)


async def awaited(graph: Any) -> Any:
    return await graph


def test_a_second_gate_is_a_gate_and_prefetch_reads_ahead() -> None:
    """Only the first node speaks for the lane; reading ahead is no policy."""
    shared = kx.source([1]) >> kx.share()
    plan = kx.merge(shared >> kx.backpressure(3, overflow="latest") >> kx.backpressure(5, overflow="latest"),
                    shared >> kx.prefetch(4), shared >> kx.map(abs) >> kx.backpressure(6, overflow="latest")).compile()

    lanes = [(g.size, g.overflow) for g in plan.gates if g.origin == 0]
    assert lanes == [(3, "latest"), (16, "block"), (16, "block")]
    assert sorted(g.size for g in plan.gates if g.origin != 0 and g.reason.endswith("asked for")) == [4, 5, 6]


# -- failures ------------------------------------------------------------------------------------


def test_a_subscriber_that_raises_fails_the_run(backend: str, tracked: Any) -> None:
    """A branch written in the graph belongs to the run (ruling 1)."""
    source = tracked(range(50))
    shared = kx.source(source) >> kx.share()

    with pytest.raises(ZeroDivisionError) as caught:
        kx.merge(shared >> kx.map(lambda x: 1 / (x - 3)).named("inverse"), shared).run(backend=backend)
    assert "'inverse' (map)" in caught.value.__notes__[0] and source.closed


def test_a_branch_that_detaches_bears_its_failure(backend: str) -> None:
    """A subscriber behind ``wire_tap`` is cut off alone; the other gets everything."""
    shared = kx.source(range(50)) >> kx.share()
    graph = kx.merge(shared >> kx.wire_tap(kx.each(lambda x: 1 / x)) >> kx.ignore_elements(), shared)

    assert graph.collect(backend=backend) == [*range(50)]


# -- late subscribers ------------------------------------------------------------------------------


@pytest.mark.parametrize(("replay", "second", "output"), [
    (1, "------|", "--a-b-B---(cC)-|"),
    (2, "------|", "--a-b-(AB)(cC)-|"),
    (9, "|", "--(aA)(bB)(cC)-|"),
    (2, "--------------------|", "--a-b-----c---------(BC|)"),
], ids=range(4))
def test_who_comes_late_gets_the_last_items_then_those_that_come(replay: int, second: str, output: str,
                                                                 loop: str) -> None:
    """The last ``replay`` items at the moment of its turn; also after the end, then the end."""
    first = "--a---b---c----|" if second == "|" else "--a-b-----c----|"

    trace = marbles(lambda a, b: late(a, b, replay), first, second, backend=loop)

    assert trace == output


def test_without_replay_all_subscribers_are_waited_for(timeline: Any) -> None:
    """The upstream is opened when the last of them has come, so nobody misses an item."""
    def two(a: Mixed, b: Mixed) -> Mixed:
        shared = a >> kx.share()
        return kx.merge(shared, kx.concat(b >> kx.ignore_elements(), shared >> kx.map(str.upper)))

    out = timeline(two, "---------a-b|", "------|")

    assert sorted(out, key=str) == [(11, "B"), (11, "b"), (12, "|"), (9, "A"), (9, "a")]
    assert sorted(timeline(two, "-a-b|", "---------|"))[:4] == [(9, "A"), (9, "B"), (9, "a"), (9, "b")]


def test_without_replay_one_that_cannot_be_waited_for_holds_the_others(backend: str) -> None:
    """Behind another use in one concat it has its lane from the beginning; the bound wins (ruling 4)."""
    shared = kx.source(range(100)) >> kx.share()

    with pytest.raises(kx.GateDeadlock, match="into 'concat' port 2"):
        kx.concat(shared, shared).run(backend=backend)
    assert kx.concat(shared >> kx.take(9), shared).collect(backend=backend) == [*range(9), *range(100)]


def test_nothing_is_read_while_nobody_is_attached(loop: str, tracked: Any) -> None:
    """Between the first, who has left, and the second, whose turn comes an hour later."""
    source = tracked(count())
    shared = kx.source(source) >> kx.share(replay=2)
    hour = kx.timer(3600) >> kx.ignore_elements()
    at: list[int] = []

    async def main() -> Any:
        graph = kx.concat(shared >> kx.take(3), hour, shared >> kx.take(4))
        async with (graph >> kx.to_list()).start() as run:
            for _ in range(2):
                await anyio.sleep(600)
                at.append(source.pulled)
        return run.result

    out = run_virtual(main, loop)
    assert at[0] == at[1] <= 20 and source.closed
    assert out[:3] == [0, 1, 2] and out[3:] == [*range(out[3], out[3] + 4)] and out[3] == at[0] - 3


@pytest.mark.parametrize("replay", [1, 7, 40])
def test_what_is_replayed_may_stand_beyond_the_size_of_a_lane(replay: int, backend: str) -> None:
    """A lane of one item takes them all at once."""
    shared = kx.source(range(50)) >> kx.share(size=1, replay=replay)

    assert kx.concat(shared, shared).collect(backend=backend) == [*range(50), *range(50 - replay, 50)]


@pytest.mark.parametrize(("policy", "got"), [
    (kx.backpressure(3, overflow="drop_oldest"), [47, 48, 49]),
    (kx.backpressure(3, overflow="drop_newest"), [40, 41, 42]),
    (kx.backpressure(3, overflow="latest"), [49]), (kx.backpressure(1, overflow=kx.conflate(min)), [40]),
    (kx.backpressure(99, bytes=50, size_of=abs), [*range(40, 50)]), (kx.coalesce(2, max), [*range(40, 50)]),
])
def test_the_policy_of_a_late_lane_holds_for_what_is_replayed(policy: Any, got: list[int], backend: str) -> None:
    """A lane that drops drops of ten items those that it has no room for; one that waits loses none."""
    shared = kx.source(range(50)) >> kx.share(replay=10)

    assert kx.concat(shared, shared >> policy).collect(backend=backend)[50:] == got


def test_what_is_replayed_fills_the_lane_it_comes_into(loop: str, tracked: Any) -> None:
    """A late subscriber that waits holds the upstream as long as its lane is full of what was replayed."""
    source = tracked(range(40, 99))
    shared = kx.source(source) >> kx.share(replay=10, size=1)

    async def main() -> None:
        full = kx.backpressure(99, bytes=100, size_of=lambda x: 10)
        async with kx.concat(shared >> kx.take(20), shared >> full >> kx.tap(stand), size=1).start() as run:
            await anyio.sleep(60)
            await run.cancel()

    run_virtual(main, loop)
    assert source.pulled == 21


@pytest.mark.parametrize("replay", [1, 3, 9])
def test_items_that_are_joined_keep_their_order(replay: int, backend: str) -> None:
    """A live item is joined into the newest of those that were replayed."""
    shared = kx.source("abcdefghijkl") >> kx.share(replay=replay, size=1)

    out = kx.concat(shared >> kx.take(5), shared >> kx.coalesce(9, operator.add) >> kx.map(str), size=1).collect(
        backend=backend)

    assert "".join(out[:5]) == "abcde" and "abcdefghijkl".endswith("".join(out[5:])) and out[-1].endswith("l")


def test_lanes_that_all_drop_may_still_wait_for_a_subscriber(loop: str) -> None:
    """Behind a node that keeps time, with two late lanes that lose the oldest."""
    shared = kx.source(range(9)) >> kx.rate_limit(1) >> kx.share(replay=2)
    newest = shared >> kx.backpressure(4, overflow="drop_oldest") >> kx.map(str)

    graph = kx.concat(newest >> kx.take(3), kx.timer(60), newest) >> kx.to_list()
    assert run_virtual(lambda: awaited(graph), loop) == ["0", "1", "2", 0, *"12345678"]


def test_a_source_is_not_kept_shut_by_one_of_two_shares(backend: str) -> None:
    """The first lane wants it at once, and the second, whose share comes later, gets what it keeps."""
    graph = kx.source(range(9)) >> [kx.share(replay=1), kx.map(kx.it * 10) >> kx.share(replay=1)] >> kx.concat()

    assert graph.collect(backend=backend) == [*range(9), *range(0, 90, 10)]


def test_the_upstream_is_opened_by_the_first_that_comes(timeline: Any) -> None:
    """Behind two concats that come to it at different times, it begins with the earlier."""
    def make(a: Mixed, b: Mixed, c: Mixed) -> Mixed:
        shared = a >> kx.share(replay=1)
        return kx.merge(kx.concat(b >> kx.ignore_elements(), shared), kx.concat(c >> kx.ignore_elements(), shared))

    assert timeline(make, "-----a-b|", "---------|", "--|") == [
        (5, "a"), (7, "b"), (9, "b"), (9, "|")]
    assert timeline.closed[0] == 8


def test_a_share_behind_a_share(backend: str) -> None:
    """A late subscriber may be an upstream itself."""
    one = kx.source(range(9)) >> kx.share(replay=3)
    two = one >> kx.map(kx.it * 10) >> kx.share(replay=2)

    assert kx.concat(one, two, two).collect(backend=backend) == [*range(9), 60, 70, 80, 70, 80]


def test_a_late_subscriber_that_is_not_waited_for_leaves(backend: str, tracked: Any) -> None:
    """Nobody comes to it: the source is closed as soon as the others have left."""
    source = tracked(count())
    shared = kx.source(source) >> kx.share(replay=2)

    assert (kx.concat(shared, shared) >> kx.take(5)).collect(backend=backend) == [*range(5)] and source.closed


# -- one upstream ----------------------------------------------------------------------------------


def test_one_share_behind_two_graphs_is_refused() -> None:
    """The identity is made when ``share()`` is written: it cannot stand for two upstreams."""
    share: Mixed = kx.share()

    with pytest.raises(kx.CompileError, match=r"stands behind different graphs.*write kx\.share\(\) for each"):
        kx.merge(kx.source([1]) >> share, kx.source([2]) >> share).compile()
    with pytest.raises(kx.CompileError, match="stands behind different graphs"):
        (kx.source([1]) >> kx.broadcast(share, share) >> kx.merge()).compile()
    with pytest.raises(kx.CompileError, match="stands twice"):
        (kx.source([1]) >> share >> kx.map(abs) >> share).compile()
    same = kx.source([1]) >> share
    assert sorted(kx.merge(same.named("a name"), same).collect()) == [1, 1]


def test_as_an_observable_it_is_one_upstream(loop: str) -> None:
    """Also where the uses would be operators of their own."""
    opened: list[int] = []

    def numbers() -> Any:
        opened.append(1)
        yield from range(3)

    shared = kx.source(numbers) >> kx.share()

    async def main() -> list[int]:
        seen: list[int] = []
        over = anyio.Event()
        kx.merge(shared >> kx.debounce(1), shared).to_observable().subscribe(seen.append, on_completed=over.set)
        await over.wait()
        return seen

    assert sorted(run_virtual(main, loop)) == [0, 1, 2, 2] and opened == [1]
    seen: list[int] = []
    reactivex.of(1, 2).pipe((kx.share() >> kx.map(abs)).operator()).subscribe(seen.append)
    assert seen == [1, 2]


def test_it_says_what_it_holds() -> None:
    """The lanes and what is replayed stand in the plan."""
    shared = kx.source([1]) >> kx.share(replay=3)
    text = kx.merge(shared, shared >> kx.backpressure(2, overflow="latest") >> kx.map(str)).explain()

    assert "share: the last 3 items" in text and "(2 items, latest) into str, port 2" in text


@pytest.mark.parametrize("write", [
    lambda: kx.share(size=0), lambda: kx.share(replay=0), lambda: kx.share(replay=1.5)], ids=range(3))
def test_wrong_arguments_fail_where_they_are_written(write: Callable[[], Any]) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match="must be"):
        write()
