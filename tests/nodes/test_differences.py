"""Differences: each row of the table is true of RxPY and of kayrx."""

from __future__ import annotations

import inspect
import operator
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import anyio
import pytest
import reactivex
from reactivex import Observable, operators as ops
from reactivex.internal.exceptions import ArgumentOutOfRangeException, SequenceContainsNoElementsError
from reactivex.scheduler import ImmediateScheduler
from reactivex.testing import ReactiveTest, TestScheduler

import kayrx as kx
from kayrx.nodes.differences import DIFFERENCES
from kayrx.testing import run_virtual

Shown = Callable[[], None]
SHOWN: dict[str, Shown] = {}


def shows(name: str) -> Callable[[Shown], Shown]:
    def keep(fn: Shown) -> Shown:
        SHOWN[name] = fn
        return fn
    return keep


def theirs(observable: Observable[Any]) -> list[Any]:
    """What RxPY gives, an error as the last."""
    seen: list[Any] = []
    observable.subscribe(seen.append, seen.append)
    return seen


def on_times(graph: Any, times: list[float], end: float) -> list[tuple[float, Any]]:
    """What ``graph`` gives and when, over 1, 2, 3 ... at these times on virtual time."""
    async def main() -> list[tuple[float, Any]]:
        start, out = anyio.current_time(), []

        async def script() -> Any:
            for n, at in enumerate(times, 1):
                await anyio.sleep(start + at - anyio.current_time())
                yield n
            await anyio.sleep(start + end - anyio.current_time())

        await (kx.source(script) >> graph >> kx.each(lambda x: out.append((anyio.current_time() - start, x))))
        return out

    return run_virtual(main, "asyncio")


def on_ticks(operate: Any, times: list[int], end: int) -> list[tuple[float, Any]]:
    """The same of an RxPY operator, over a hot observable of a TestScheduler."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(*[ReactiveTest.on_next(200 + at, n) for n, at in enumerate(times, 1)],
                                             ReactiveTest.on_completed(200 + end))
    messages = scheduler.start(lambda: source.pipe(operate)).messages
    return [(m.time - 200, m.value.value) for m in messages if m.value.kind == "N"]


async def tenfold(x: int) -> int:
    await anyio.sleep(0)
    return x * 10


@shows("map of an async function")
def _() -> None:
    (given,) = theirs(reactivex.of(1).pipe(ops.map(tenfold)))
    assert inspect.iscoroutine(given)
    given.close()
    assert (kx.source([1]) >> kx.map(tenfold)).collect() == [10]


@shows("flat_map, expand of Observables")
def _() -> None:
    assert theirs(reactivex.of(1).pipe(ops.flat_map(lambda x: reactivex.of(x, x)))) == [1, 1]
    for node in (kx.flat_map, kx.expand):
        with pytest.raises(TypeError, match=r"kx\.rx\(reactivex\.operators"):
            (kx.source([1]) >> node(lambda x: reactivex.of(x, x))).collect()


@shows("flat_map of many at once")
def _() -> None:
    begun: list[int] = []

    def never(x: int) -> Observable[Any]:
        begun.append(x)
        return reactivex.never()

    reactivex.from_iterable(range(40)).pipe(ops.flat_map(never)).subscribe()
    assert len(begun) == 40
    running, most = 0, 0

    async def some(x: int) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(1)
        running -= 1
        yield x

    assert len(run_virtual(lambda: awaited(kx.source(range(40)) >> kx.flat_map(some) >> kx.to_list()))) == 40
    assert most == 16


async def awaited(graph: Any) -> Any:
    return await graph


@shows("expand of several inputs")
def _() -> None:
    def child(x: int) -> list[int]:
        return [x * 10] if x < 10 else []

    now = ImmediateScheduler.singleton()
    expanded = ops.expand(lambda x: reactivex.from_iterable(child(x), scheduler=now))
    assert theirs(reactivex.from_iterable([1, 2], scheduler=now).pipe(expanded)) == [1, 2, 10, 20]
    assert (kx.source([1, 2]) >> kx.expand(child)).collect() == [1, 10, 2, 20]
    with pytest.raises(kx.GateOverflow):
        (kx.source([1]) >> kx.expand(lambda x: [x] * 2, limit=9)).run()


@shows("scan, reduce with a mutable seed")
def _() -> None:
    for word in ("scan", "reduce"):
        seed: list[int] = []
        summed = reactivex.of(1).pipe(getattr(ops, word)(lambda held, x: held.append(x) or held, seed))
        theirs(summed), theirs(summed)
        assert seed == [1, 1]
        seed = []
        graph = kx.source([1]) >> getattr(kx, word)(lambda held, x: held.append(x) or held, seed)
        assert graph.collect() == graph.collect() == [[1]] and seed == []


@shows("reduce without items")
def _() -> None:
    (error,) = theirs(reactivex.empty().pipe(ops.reduce(operator.add)))
    assert isinstance(error, SequenceContainsNoElementsError)
    with pytest.raises(kx.RunError, match="give a seed"):
        (kx.source([]) >> kx.reduce(operator.add)).run()


@shows("first, last, element_at without such an item")
def _() -> None:
    for operate, node, error in ((ops.first(), kx.first(), SequenceContainsNoElementsError),
                                 (ops.last(), kx.last(), SequenceContainsNoElementsError),
                                 (ops.element_at(2), kx.element_at(2), ArgumentOutOfRangeException)):
        assert [type(e) for e in theirs(reactivex.empty().pipe(operate))] == [error]
        with pytest.raises(kx.RunError, match="give a default"):
            (kx.source([]) >> node).run()


@shows("distinct of what has no hash")
def _() -> None:
    assert theirs(reactivex.of([1], [1]).pipe(ops.distinct())) == [[1]]
    with pytest.raises(TypeError, match="unhashable"):
        (kx.source([[1], [1]]) >> kx.distinct()).run()


@shows("sliding")
def _() -> None:
    assert theirs(reactivex.of(1, 2, 3).pipe(ops.buffer_with_count(2, 1))) == [[1, 2], [2, 3], [3]]
    assert (kx.source([1, 2, 3]) >> kx.sliding(2)).collect() == [[1, 2], [2, 3]]


@shows("buffer(seconds=)")
def _() -> None:
    assert on_ticks(ops.buffer_with_time(10), [15], 32) == [(10, []), (20, [1]), (30, []), (32, [])]
    assert on_times(kx.buffer(seconds=10), [15], 32) == [(25, [1])]


@shows("sample of an item at its instant")
def _() -> None:
    assert on_ticks(ops.sample(10), [10], 25) == [(10, 1)]
    assert on_times(kx.sample(10), [10], 25) == [(20, 1)]


@shows("delay")
def _() -> None:
    assert kx.delay(9).nodes[0].size == 1024  # type: ignore[attr-defined]
    read: list[int] = []
    reactivex.from_iterable(range(60), scheduler=ImmediateScheduler.singleton()).pipe(
        ops.do_action(read.append), ops.delay(9, TestScheduler())).subscribe()
    assert len(read) == 60
    read.clear()

    async def main() -> int:
        async with (kx.source(range(60)) >> kx.tap(read.append) >> kx.delay(9, size=2)).start() as run:
            await anyio.sleep(5)
            await run.cancel()
        return len(read)

    assert run_virtual(main) <= 2 + 16 + 1


@shows("timers")
def _() -> None:
    over, threads = threading.Event(), []
    reactivex.timer(0.001).subscribe(lambda _: (threads.append(threading.get_ident()), over.set()))
    assert over.wait(10) and threads != [threading.get_ident()]
    mine: list[int] = []

    async def main() -> None:
        await (kx.timer(0.001) >> kx.debounce(0.001) >> kx.each(lambda _: mine.append(threading.get_ident())))

    anyio.run(main)
    assert mine == [threading.get_ident()]


@shows("timestamp")
def _() -> None:
    assert isinstance(theirs(reactivex.of(1).pipe(ops.timestamp()))[0].timestamp, datetime)
    assert isinstance((kx.source([1]) >> kx.timestamp()).collect()[0].time, float)


@shows("materialize")
def _() -> None:
    one, two = (theirs(reactivex.of(1).pipe(ops.materialize()))[0] for _ in range(2))
    assert isinstance(one, reactivex.Notification) and one == two and type(one).__hash__ is None
    assert {(kx.source([1]) >> kx.materialize()).collect()[0] for _ in range(2)} == {kx.OnNext(1)}


@shows("group_by")
def _() -> None:
    def each_once() -> Any:
        return [*range(1001), 0]

    counted = reactivex.compose(ops.group_by(lambda x: x), ops.flat_map(ops.count()))
    assert theirs(reactivex.from_iterable(each_once()).pipe(counted)) == [2] + [1] * 1000
    assert (kx.source(each_once()) >> kx.group_by(kx.it, kx.count())).collect() == [1] * 1002


@shows("window")
def _() -> None:
    counted = reactivex.compose(ops.window_with_count(2), ops.flat_map(ops.count()))
    assert theirs(reactivex.of(1, 2).pipe(counted)) == [2, 0]
    assert (kx.source([1, 2]) >> kx.window(2, kx.count())).collect() == [2]


@shows("merge, combine_latest of cold sources")
def _() -> None:
    now = ImmediateScheduler.singleton()
    long, short = range(600), range(1000, 1003)
    cold = [reactivex.from_iterable(xs, scheduler=now) for xs in (long, short)]
    assert theirs(reactivex.merge(*cold)) == [*long, *short]
    assert theirs(reactivex.combine_latest(*cold)) == [(599, x) for x in short]
    ours = kx.source(long), kx.source(short)
    merged, paired = kx.merge(*ours).collect(), kx.combine_latest(*ours).collect()
    assert sorted(merged) == [*long, *short] and merged != [*long, *short]
    assert paired != [(599, x) for x in short] and paired[-1][0] == 599


@shows("zip of a fast and a slow source")
def _() -> None:
    read: list[int] = []
    reactivex.zip(reactivex.from_iterable(range(500)).pipe(ops.do_action(read.append)), reactivex.never()).subscribe()
    assert len(read) == 500
    read.clear()
    fast = kx.source(range(500)) >> kx.tap(read.append)

    async def slow() -> Any:
        await anyio.sleep(1)
        yield len(read)

    ((_, seen),) = run_virtual(lambda: awaited(kx.zip(fast, kx.source(slow)) >> kx.to_list()))
    assert seen <= 17


@shows("join")
def _() -> None:
    scheduler = TestScheduler()
    one, other = (scheduler.create_hot_observable(*messages) for messages in (
        [ReactiveTest.on_next(210, 1), ReactiveTest.on_completed(215)], [ReactiveTest.on_completed(240)]))
    window = reactivex.timer(20)
    messages = scheduler.start(lambda: one.pipe(ops.join(other, lambda _: window, lambda _: window))).messages
    assert [(m.time, m.value.kind) for m in messages] == [(230, "C")]

    async def main() -> float:
        start = anyio.current_time()

        async def gives(*waits: float) -> Any:
            for number, seconds in enumerate(waits):
                await anyio.sleep(seconds)
                if number < len(waits) - 1:
                    yield number

        a, b = kx.source(gives(10, 5)), kx.source(gives(40))
        assert await (a >> kx.join(b, within=20) >> kx.to_list()) == []
        return anyio.current_time() - start

    assert run_virtual(main) == 40
    assert (kx.source([5]) >> kx.join(kx.source([4, 9]), within=2, event_time=kx.it)).collect() == [(5, 4)]


@shows("retry, timeout, catch")
def _() -> None:
    def inverse(x: int) -> float:
        return 1 / x

    begun = theirs(reactivex.of(1, 0, 2).pipe(ops.map(inverse), ops.retry(2)))
    assert begun[:2] == [1, 1] and isinstance(begun[2], ZeroDivisionError)
    caught = theirs(reactivex.of(1, 0, 2).pipe(ops.map(inverse), ops.catch(reactivex.of(-1))))
    assert caught == [1, -1]
    guarded = kx.map(inverse) >> kx.retry(2) >> kx.catch(lambda error, x: -1)
    assert (kx.source([1, 0, 2]) >> guarded).collect() == [1, -1, 0.5]


@shows("an Observable before a node that waits")
def _() -> None:
    many = reactivex.from_iterable(range(2000))
    assert len(theirs(many.pipe(ops.flat_map(lambda x: reactivex.of(x))))) == 2000
    with pytest.raises(kx.GateOverflow, match="1024"):
        (kx.source(many) >> kx.map(tenfold)).run()


@shows("an exception of a user's function")
def _() -> None:
    (error,) = theirs(reactivex.of(0).pipe(ops.map(lambda x: 1 / x)))
    assert not getattr(error, "__notes__", [])
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([0]) >> kx.map(lambda x: 1 / x)).run()
    assert len(caught.value.__notes__) == 1


@pytest.mark.parametrize("name", [d.name for d in DIFFERENCES])
def test_a_difference_is_one(name: str) -> None:
    """What the row says of RxPY and of kayrx is what each does."""
    SHOWN[name]()


def test_every_difference_is_shown() -> None:
    """No row without its proof, no proof without its row, and no cell empty."""
    assert [d.name for d in DIFFERENCES] == list(SHOWN)
    assert all(all(d) for d in DIFFERENCES)
