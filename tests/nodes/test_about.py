"""What is known of an item: with_index, timestamp, materialize, dematerialize."""

from __future__ import annotations

import pickle
from functools import partial
from itertools import count
from typing import Any

import anyio
import pytest
import reactivex
from reactivex import operators as ops
from reactivex.testing import TestScheduler

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import left_behind, run_virtual


def inverse(x: int) -> float:
    return 6 / x


async def inverse_later(x: int) -> float:
    await anyio.sleep(1)
    return 6 / x


async def same(x: Any) -> Any:
    await anyio.sleep(2)
    return x


def words(notifications: list[Any]) -> list[Any]:
    """Notifications as values that compare."""
    return [n.value if isinstance(n, kx.OnNext) else type(getattr(n, "error", n)).__name__ for n in notifications]


def test_with_index_counts_from_where_it_is_told(backend: str) -> None:
    """``(index, item)``; fresh for each run."""
    graph = kx.source(["a", None]) >> kx.with_index(5)

    assert graph.collect(backend=backend) == graph.collect(backend=backend) == [(5, "a"), (6, None)]
    with pytest.raises(kx.GraphError, match="start must be a whole number"):
        kx.with_index(1.5)  # type: ignore[arg-type]


def test_timestamps_are_of_the_runs_clock(loop: str) -> None:
    """On virtual time they are exact: the clock is the loop's, never another (law 9)."""
    async def main() -> list[Any]:
        stamped = kx.source([1, 2]) >> kx.map(same) >> kx.timestamp() >> kx.to_list()
        return await stamped  # type: ignore[no-any-return]

    first, second = run_virtual(main, loop)
    assert (first.value, second.value, second.time - first.time) == (1, 2, 2.0)


def test_timestamps_are_of_the_injected_clock() -> None:
    """``World(now=)`` wins, in every face that takes one; without a run of its own the world's is taken."""
    world = kx.World(now=lambda: 9.0)
    graph = kx.source([1]) >> kx.timestamp()

    assert graph.collect(world=world) == [kx.Timestamp(1, 9.0)]
    seen: list[Any] = []
    graph.to_observable(world=world).subscribe(seen.append)
    assert seen == [kx.Timestamp(1, 9.0)]
    assert kx.timestamp()(1)[0].time <= kx.timestamp()(1)[0].time


def test_timestamps_of_an_operator_are_of_the_subscribers_scheduler() -> None:
    """The scheduler given to ``subscribe`` wins over ours (ruling 19)."""
    scheduler = TestScheduler()
    seen: list[Any] = []
    reactivex.timer(30).pipe(kx.timestamp().operator()).subscribe(seen.append, scheduler=scheduler)
    scheduler.start()

    assert seen == [kx.Timestamp(0, 30.0)]


def test_notifications_are_values() -> None:
    """Equal by what they hold, hashable, picklable and matched by their parts."""
    assert kx.OnNext(1) == kx.OnNext(1) != kx.OnNext(2)
    assert len({kx.OnNext(1), kx.OnNext(1), kx.OnCompleted(), kx.OnCompleted()}) == 2
    assert pickle.loads(pickle.dumps([kx.OnNext(1), kx.OnCompleted()])) == [kx.OnNext(1), kx.OnCompleted()]
    match kx.OnNext(5):
        case kx.OnNext(value):
            assert value == 5


@pytest.mark.parametrize(("graph", "out"), [
    (kx.source([6, 3]) >> kx.materialize(), [6, 3, "OnCompleted"]),
    (kx.source([]) >> kx.materialize(), ["OnCompleted"]),
    (kx.source([6, 0, 3]) >> kx.map(inverse) >> kx.materialize(), [1, "ZeroDivisionError"]),
    (kx.source(lambda: map(inverse, [6, 0])) >> kx.materialize(), [1, "ZeroDivisionError"]),
    (kx.source([6, 3, 0]) >> kx.map(inverse) >> kx.buffer(count=2) >> kx.materialize(), [[1, 2], "ZeroDivisionError"]),
    (kx.source([6, 0]) >> kx.map(inverse) >> kx.materialize() >> kx.take(1), [1]),
    (kx.source([6]) >> kx.materialize() >> kx.map(kx.it) >> kx.materialize() >> kx.map(
        lambda n: kx.OnNext(type(getattr(n, "value", n)).__name__)), ["OnNext", "OnCompleted", "OnCompleted"]),
    (kx.source([6, 0]) >> [kx.map(inverse), kx.map(str)] >> kx.zip() >> kx.materialize(),
     [(1, "6"), "ZeroDivisionError"]),
    (kx.source([6, 0]) >> [kx.map(inverse) >> kx.materialize() >> kx.map(lambda n: kx.OnNext(words([n])[0])),
                           kx.map(kx.OnNext)] >> kx.concat(), [1, "ZeroDivisionError", 6, 0]),
    (kx.concat(kx.source([0]) >> kx.map(inverse), kx.source([1])) >> kx.materialize(), ["ZeroDivisionError"]),
    (kx.source([kx.OnNext(1), kx.OnCompleted(), kx.OnNext(2)]) >> kx.dematerialize() >> kx.map(kx.OnNext), [1]),
    (kx.source([3, 0]) >> kx.map(inverse) >> kx.materialize() >> kx.filter(lambda n: isinstance(n, kx.OnNext))
     >> kx.dematerialize() >> kx.map(kx.OnNext), [2]),
], ids=range(12))
def test_what_comes_out(graph: Graph[Any, Any], out: list[Any], backend: str) -> None:
    """Everything that happens before the node is an item; what was on its way arrives first."""
    assert words(graph.collect(backend=backend)) == out


@pytest.mark.parametrize("before", [
    kx.map(inverse_later), kx.map(inverse_later) >> kx.map(same), kx.map(inverse_later, concurrency=2) >> kx.map(same),
    kx.map(inverse_later) >> kx.map(same, concurrency=3), kx.map(inverse_later) >> kx.delay(0) >> kx.map(same),
    kx.map(inverse_later) >> kx.backpressure(2) >> kx.map(same), kx.unit(kx.map(inverse_later)) >> kx.timeout(9),
    kx.map(inverse_later) >> kx.rx(ops.map(lambda x: x)) >> kx.map(same),
    kx.map(inverse_later) >> kx.sample(0.5) >> kx.map(same),
    kx.map(inverse_later) >> kx.throttle_first(0.5) >> kx.map(same),
    kx.map(inverse_later) >> kx.buffer(count=1, seconds=9) >> kx.map(kx.it[0]),
], ids=range(11))
def test_a_failure_goes_down_through_every_kind_of_segment(before: Graph[Any, Any], loop: str) -> None:
    """Over gates, crews and stages; its note is of the node that failed, and nothing is left behind."""
    graph = kx.source([6, 3, 0, 1]) >> before >> kx.materialize() >> kx.to_list()

    async def main() -> Any:
        with left_behind() as left:
            out = await graph
        assert not left
        return out

    *items, end = run_virtual(main, loop)
    assert words(items)[:1] == [1] and set(words(items)) <= {1, 2}
    (note,) = end.error.__notes__
    assert "'inverse_later' (map) at test_about.py:" in note


@pytest.mark.parametrize("node", [kx.debounce(9), kx.delay(9), kx.buffer(count=9, seconds=99)], ids=str)
def test_an_error_does_not_wait_for_what_time_holds(node: Graph[Any, Any], loop: str) -> None:
    """As in Rx, what `debounce`, `delay` or a list still holds is given up for the error."""
    graph = kx.source([6, 0]) >> kx.map(inverse_later) >> node >> kx.materialize() >> kx.to_list()

    assert words(run_virtual(lambda: awaited(graph), loop)) == ["ZeroDivisionError"]


async def awaited(graph: Any) -> Any:
    return await graph


def test_the_other_inputs_of_a_join_are_let_go(loop: str, tracked: Any) -> None:
    """When one input of a merge fails, the node ends, and an endless other input is closed."""
    source = tracked(count())
    endless, failing = kx.source(source) >> kx.ignore_elements(), kx.source([0]) >> kx.map(inverse_later)
    graph = kx.merge(endless, failing) >> kx.materialize()

    assert words(graph.collect(backend=loop)) == ["ZeroDivisionError"]
    assert source.closed


def test_what_fails_after_the_node_fails_the_run(backend: str) -> None:
    """The node tells of what is before it, and of nothing else."""
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([6, 0]) >> kx.materialize() >> kx.map(lambda n: inverse(n.value)).named("late")).run(backend=backend)
    assert "'late' (map)" in caught.value.__notes__[0]


def test_a_branch_around_the_node_fails_the_run(backend: str) -> None:
    """A failure that reaches the end by another way is the run's, and is noted once."""
    graph = kx.source(lambda: map(inverse, [6, 0])) >> [kx.materialize(), kx.map(str)] >> kx.merge()

    with pytest.raises(ZeroDivisionError) as caught:
        graph.collect(backend=backend)
    assert len(caught.value.__notes__) == 1


def test_an_error_told_of_again_is_the_very_error(backend: str) -> None:
    """``materialize() >> dematerialize()`` changes nothing: the object, its type and its one note."""
    error = LookupError("mine")

    def fail(x: int) -> int:
        raise error

    with pytest.raises(LookupError) as caught:
        (kx.source([1]) >> kx.map(fail) >> kx.materialize() >> kx.dematerialize()).collect(backend=backend)
    (note,) = caught.value.__notes__
    assert caught.value is error and "'fail' (map)" in note


def test_dematerialize_takes_notifications_only(backend: str) -> None:
    """Anything else is a TypeError that says what it takes."""
    with pytest.raises(TypeError, match=r"takes what materialize gives \(kx\.OnNext, .*got int"):
        (kx.source([1]) >> kx.dematerialize()).collect(backend=backend)


def test_completion_among_notifications_releases_the_source(backend: str, tracked: Any) -> None:
    """OnCompleted ends the stream in its push."""
    source = tracked([kx.OnNext(1), kx.OnCompleted(), kx.OnNext(2), kx.OnNext(3)])

    assert (kx.source(source) >> kx.dematerialize()).collect(backend=backend) == [1]
    assert source.pulled == 2 and source.closed


def test_an_exit_is_no_notification(backend: str) -> None:
    """KeyboardInterrupt and its like end the run; only an Exception is an item."""
    def leave(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        (kx.source([1]) >> kx.map(leave) >> kx.materialize()).run(backend=backend)


def test_a_hot_source_that_fails_is_told_of(loop: str) -> None:
    """on_error of an Observable is an item, in the engine and as an Rx operator."""
    failing = reactivex.concat(reactivex.of(1), reactivex.throw(LookupError("hot")))

    assert words((kx.source(failing) >> kx.materialize()).collect(backend=loop)) == [1, "LookupError"]
    seen: list[Any] = []
    failing.pipe(kx.materialize().operator()).subscribe(seen.append)
    (kx.source(failing) >> kx.materialize()).to_observable().subscribe(seen.append)
    assert words(seen) == [1, "LookupError"] * 2


def test_the_plan_says_why_it_is_cut() -> None:
    """The node heads a segment of its own, also where nothing waits."""
    text = (kx.source([1]) >> kx.map(inverse) >> kx.materialize()).explain()

    assert "segment 2 reads gate 1 (16 items, block) into materialize" in text and "no event loop" in text


def test_materialize_cannot_be_guarded() -> None:
    """A guard acts on an item; this node on the whole stream."""
    with pytest.raises(kx.CompileError, match="which is not item by item"):
        (kx.source([1]) >> kx.materialize() >> kx.retry(2)).run()


def test_a_stopped_run_completes_the_notifications(loop: str) -> None:
    """`stop` completes the source, so the node tells of completion."""
    async def main() -> Any:
        async with (kx.source(partial(count)) >> kx.map(same) >> kx.materialize() >> kx.to_list()).start() as run:
            await anyio.sleep(5)
            await run.stop()
            return await run.wait()

    assert words(run_virtual(main, loop))[-1] == "OnCompleted"
