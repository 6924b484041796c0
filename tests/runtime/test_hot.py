"""Rx inside and above a graph: ``rx()``, Observables and Subjects as sources."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import reactivex
from reactivex import operators as ops
from reactivex.subject import Subject

import kayrx as kx
from kayrx.testing import left_behind
from kayrx.testing.probes import Handmade, settled, until

Virtual = Callable[[Any], Any]


async def passed(x: Any) -> Any:
    return x


async def second(x: Any) -> Any:
    await anyio.sleep(1)
    return x


# -- rx() (rulings 6, 19) ------------------------------------------------------------------------


@pytest.mark.parametrize(("operator", "out"), [
    (ops.pairwise(), [(0, 1), (1, 2), (2, 3), (3, 4)]),
    (ops.take_last(2), [3, 4]),
    (ops.concat_map(lambda x: reactivex.of(x, -x)), [0, 0, 1, -1, 2, -2, 3, -3, 4, -4]),
    (ops.start_with(9), [9, 0, 1, 2, 3, 4]),
    (ops.take(2), [0, 1]),
    (ops.default_if_empty(7), [0, 1, 2, 3, 4]),
])
@pytest.mark.parametrize("waits", [False, True])
def test_any_rx_operator_is_a_node(operator: Any, out: list[Any], waits: bool, backend: str) -> None:
    """It gives what it gives in Rx: without a loop, on one, and beside nodes that wait."""
    graph = kx.source(range(5)) >> (kx.map(passed) if waits else kx.map(kx.it)) >> kx.rx(operator)

    if waits and backend == "sync":
        with pytest.raises(kx.RunError, match="waits"):
            graph.collect(backend=backend)
    else:
        assert graph.collect(backend=backend) == out


def test_the_timers_of_rx_run_on_the_runs_clock(virtual: Virtual) -> None:
    """A delay of an hour takes no time on virtual time, and no thread."""
    async def main() -> tuple[list[int], float, int]:
        start, threads = anyio.current_time(), threading.active_count()
        out = await (kx.source(range(3)) >> kx.rx(ops.delay(3600)) >> kx.to_list())
        return out, anyio.current_time() - start, threading.active_count() - threads

    assert virtual(main) == ([0, 1, 2], 3600, 0)


def test_the_timers_of_rx_wait_on_the_worlds_sleep_in_a_synchronous_run() -> None:
    """Without a loop the injected sleep is all that waits."""
    clock, slept = [0.0], []

    def block(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    world = kx.World(now=lambda: clock[0], block=block)

    assert (kx.source(range(3)) >> kx.rx(ops.delay(3600))).collect(world=world) == [0, 1, 2]
    assert sum(slept) == 3600


def test_a_burst_beyond_its_declared_bound_overflows(backend: str) -> None:
    """``max_burst=n`` is a GateOverflow beyond n, naming the node; without n the burst is let through."""
    many = ops.flat_map(lambda x: reactivex.of(*range(50)))

    with pytest.raises(kx.GateOverflow, match="max_burst=10"):
        (kx.source([1]) >> kx.rx(many, max_burst=10)).collect(backend=backend)
    assert len((kx.source([1]) >> kx.rx(many)).collect(backend=backend)) == 50


def test_no_input_is_read_until_a_burst_has_left(virtual: Virtual, watched: Any) -> None:
    """A slow reader of a burst holds the source of the operator."""
    source = watched()
    many = ops.flat_map(lambda x: reactivex.of(*range(100)))

    async def main() -> None:
        async with (kx.source(source.source) >> kx.rx(many) >> kx.map(second)).start() as run:
            await anyio.sleep(50)
            assert source.read <= 18
            await run.cancel()

    virtual(main)


@pytest.mark.parametrize("where", ["operator", "below"])
def test_an_error_in_rx_fails_the_run_as_itself(where: str, backend: str, noted: Any) -> None:
    """An operator's on_error is the run's failure: the very object, with the node's note."""
    bad = ValueError("bad")
    operator = ops.flat_map(lambda x: reactivex.throw(bad)) if where == "operator" else ops.pairwise()

    def fail(x: Any) -> None:
        raise bad

    with pytest.raises(ValueError) as caught:
        (kx.source(range(3)) >> kx.rx(operator).named("op") >> kx.tap(fail).named("below")).run(backend=backend)
    assert caught.value is bad
    (note,) = noted(caught.value)
    assert ("'op'" if where == "operator" else "'below'") in note


# -- Observables as sources ----------------------------------------------------------------------


def test_a_cold_observable_is_a_source(backend: str) -> None:
    """Its items go through the fused step; with a loop through a gate."""
    assert (reactivex.of(1, 2, 3) >> kx.map(kx.it * 10)).collect() == [10, 20, 30]
    if backend != "sync":
        assert (reactivex.of(1, 2, 3) >> kx.map(passed)).collect(backend=backend) == [1, 2, 3]


def test_take_disposes_an_endless_observable() -> None:
    """The source is let go with the last wanted item, also inside its own subscription."""
    endless = reactivex.from_iterable(itertools.count())

    assert (kx.source(endless) >> kx.take(3)).collect() == [0, 1, 2]


@pytest.mark.parametrize("waits", [False, True])
def test_an_error_of_an_observable_is_the_runs(waits: bool) -> None:
    """on_error is raised as it is, after the items before it."""
    bad, seen = ValueError("bad"), []
    failing = reactivex.concat(reactivex.of(1, 2), reactivex.throw(bad))

    with pytest.raises(ValueError) as caught:
        (kx.source(failing) >> (kx.map(passed) if waits else kx.map(kx.it)) >> kx.sink(seen)).run()
    assert caught.value is bad and seen == [1, 2]


def pushing(subject: Subject[Any], subscribed: threading.Event, items: Any, escaped: list[Any]) -> threading.Thread:
    """A thread that pushes ``items`` once somebody listens, and notes what is raised at it."""
    def push() -> None:
        subscribed.wait(10)
        for item in items:
            try:
                subject.on_next(item)
            except BaseException as error:
                escaped.append(error)
        subject.on_completed()

    thread = threading.Thread(target=push)
    thread.start()
    return thread


def listening(subject: Subject[Any], subscribed: threading.Event) -> reactivex.Observable[Any]:
    """``subject``, with ``subscribed`` set once it is listened to."""
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        subscription = subject.subscribe(observer)
        subscribed.set()
        return subscription
    return reactivex.create(subscribe)


@pytest.mark.parametrize("node", [kx.map(kx.it), kx.map(passed)])
def test_a_subject_may_push_from_another_thread(node: Any) -> None:
    """Items of a hot source in another thread arrive in order, and the run ends with it."""
    subject, subscribed, escaped = Subject(), threading.Event(), []
    thread = pushing(subject, subscribed, range(100), escaped)

    assert (kx.source(listening(subject, subscribed)) >> node).collect() == list(range(100))

    thread.join()
    assert not escaped and not subject.observers


@pytest.mark.parametrize("node", [kx.map(lambda x: 6 // x), kx.map(passed) >> kx.map(lambda x: 6 // x)])
def test_a_failing_run_does_not_reach_its_hot_source(node: Any) -> None:
    """The producer and the subject's other observers never notice; the run raises."""
    subject, subscribed, escaped, other = Subject(), threading.Event(), [], []
    observable = listening(subject, subscribed)
    subject.subscribe(other.append)
    thread = pushing(subject, subscribed, [3, 0, 2], escaped)

    with pytest.raises(ZeroDivisionError):
        (kx.source(observable) >> node >> kx.to_list()).run()

    thread.join()
    assert not escaped and other == [3, 0, 2]


async def hot(node: Any, pushed: int) -> tuple[Any, list[Any]]:
    """Push 0, 1, 2 ... at one go into a graph whose sink takes a second an item."""
    subject: Subject[int] = Subject()
    escaped: list[Any] = []
    async with (kx.source(subject) >> node >> kx.map(second) >> kx.to_list()).start() as run:
        await anyio.sleep(0.5)
        for x in range(pushed):
            try:
                subject.on_next(x)
            except BaseException as error:
                escaped.append(error)
        subject.on_completed()
    return run.result, escaped


def test_a_hot_source_that_overflows_fails_with_the_remedies(virtual: Virtual) -> None:
    """1024 items may wait; one more is a GateOverflow in the run, and nothing at the producer (ruling 19)."""
    assert virtual(lambda: hot(kx.map(kx.it), 1000)) == (list(range(1000)), [])
    with pytest.raises(kx.GateOverflow, match=r"full \(1024 items\).*kx\.backpressure"):
        virtual(lambda: hot(kx.map(kx.it), 3000))


@pytest.mark.parametrize(("overflow", "out"), [
    ("drop_oldest", [8, 9]), ("drop_newest", [0, 1]), ("latest", [8, 9]), (kx.conflate(max), [0, 9])])
def test_a_hot_source_drops_what_its_policy_says(overflow: Any, out: list[int], virtual: Virtual) -> None:
    """``backpressure`` right after a hot source sets the bound and the policy of its gate."""
    got, escaped = virtual(lambda: hot(kx.backpressure(2, overflow=overflow), 10))

    assert got == out and not escaped


def test_a_hot_source_cannot_block() -> None:
    """``block`` on an Observable is a CompileError that asks for a thread."""
    graph = kx.source(Subject()) >> kx.backpressure(4) >> kx.map(passed)

    with pytest.raises(kx.CompileError, match=r"on=kx\.threads\(1\)"):
        graph.compile()


def test_cancel_disposes_the_subscription(virtual: Virtual) -> None:
    """After the run nobody listens to the subject any more."""
    subject: Subject[int] = Subject()

    async def main() -> None:
        async with (kx.source(subject) >> kx.map(second)).start() as run:
            await anyio.sleep(1)
            assert len(subject.observers) == 1
            await run.cancel()

    virtual(main)
    assert not subject.observers


# -- pause and stop ------------------------------------------------------------------------------


async def subscribed(subject: Subject[Any]) -> Subject[Any]:
    while not subject.observers:
        await anyio.lowlevel.checkpoint()
    return subject


@pytest.mark.parametrize("node", [kx.map(kx.it * 10), kx.map(kx.it * 10) >> kx.map(passed)], ids=["plain", "waits"])
def test_a_pause_holds_what_a_subject_pushes_and_resume_sends_it_in_order(node: Any, virtual: Virtual) -> None:
    """Nothing is lost and nothing comes out meanwhile, the end included; also when a thread pushes."""
    async def main() -> tuple[list[int], list[int], Any]:
        subject: Subject[int] = Subject()
        out: list[int] = []
        async with (kx.source(subject) >> node >> kx.sink(out)).start() as run:
            (await subscribed(subject)).on_next(1)
            while not out:
                await anyio.lowlevel.checkpoint()
            run.pause()
            subject.on_next(2)
            await anyio.to_thread.run_sync(subject.on_next, 3)
            subject.on_completed()
            await anyio.sleep(3600)
            before = list(out)
            run.resume()
        return before, out, run.state

    assert virtual(main) == ([10], [10, 20, 30], "done")


@pytest.mark.parametrize("paused", [True, False])
def test_a_stop_gives_what_a_subject_has_pushed_and_takes_no_more(paused: bool, virtual: Virtual) -> None:
    """It cannot be asked for it again; what it pushes after the stop is not ours."""
    async def main() -> list[int]:
        subject: Subject[int] = Subject()
        async with (kx.source(subject) >> kx.map(second) >> kx.to_list()).start() as run:
            await subscribed(subject)
            if paused:
                run.pause()
            subject.on_next(1)
            subject.on_next(2)
            subject.on_next(3)
            await run.stop()
            assert not subject.observers
            subject.on_next(4)
        return run.result  # type: ignore[no-any-return]

    assert virtual(main) == [1, 2, 3]


def test_a_stop_gives_what_a_publisher_has_sent(virtual: Virtual) -> None:
    """What it sent on our demand comes out; it is cancelled and sends no more."""
    upstream = Handmade()

    async def main() -> list[int]:
        async with (kx.source(upstream) >> kx.map(second) >> kx.to_list()).start() as run:
            await until(lambda: upstream.requests)
            upstream.send(1, 2, 3)
            await run.stop()
        return run.result  # type: ignore[no-any-return]

    assert virtual(main) == [1, 2, 3] and upstream.cancelled == 1


# -- timers of Rx outside a segment (law 4) ------------------------------------------------------


def test_an_observable_of_timers_is_on_the_clock_of_the_run(virtual: Virtual, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of reactivex's own interval takes no time and no thread."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail(f"a thread was started: {self}"))

    async def main() -> tuple[list[int], float]:
        start = anyio.current_time()
        out = await (kx.source(reactivex.interval(600)) >> kx.map(passed) >> kx.take(6) >> kx.to_list())
        return out, anyio.current_time() - start

    assert virtual(main) == ([0, 1, 2, 3, 4, 5], 3600)


@pytest.mark.parametrize("graph", [
    kx.delay(600), kx.map(abs) >> kx.rx(ops.delay(600)),
    kx.broadcast(kx.delay(600), kx.filter(kx.it > 5)) >> kx.merge(),
], ids=["delay", "rx", "in a branch"])
def test_an_operator_keeps_time_on_the_running_loop(graph: Any, virtual: Virtual,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the subscriber chose no scheduler, reactivex would start a thread a timer."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail(f"a thread was started: {self}"))

    async def main() -> tuple[list[int], float]:
        start, over, out = anyio.current_time(), anyio.Event(), list[int]()
        reactivex.of(1, 2).pipe(graph.operator()).subscribe(out.append, lambda error: pytest.fail(str(error)), over.set)
        await over.wait()
        return out, anyio.current_time() - start

    assert virtual(main) == ([1, 2], 600)


def test_a_timer_that_is_disposed_of_leaves_nothing(virtual: Virtual) -> None:
    """The task of the timers ends with the last of them."""
    async def main() -> list[int]:
        out: list[int] = []
        with left_behind() as left:
            reactivex.of(1).pipe(kx.delay(600).operator()).subscribe(out.append).dispose()
            await settled()
        assert not left
        return out

    assert virtual(main) == []


def test_an_observable_with_a_backoff_does_not_hold_the_loop(virtual: Virtual) -> None:
    """Subscribed to on a loop it waits as a task; others go on meanwhile."""
    calls: list[int] = []

    def flaky(x: int) -> int:
        calls.append(x)
        if len(calls) < 3:
            raise OSError
        return x

    async def main() -> tuple[list[int], list[float]]:
        out, over, ticks = list[int](), anyio.Event(), list[float]()
        graph = kx.source([7]) >> kx.map(flaky) >> kx.retry(3, backoff=kx.constant(10))
        graph.to_observable().subscribe(out.append, lambda error: pytest.fail(str(error)), over.set)
        while not over.is_set():
            ticks.append(anyio.current_time())
            await anyio.sleep(5)
        return out, ticks

    out, ticks = virtual(main)
    assert out == [7] and len(ticks) >= 4


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_policy_asked_for_is_the_only_gate_in_front_of_work(concurrency: int, virtual: Virtual) -> None:
    """drop_newest with one slot drops the third of three at once: no second gate swallows what it should drop."""
    async def main() -> list[int]:
        subject: Subject[int] = Subject()
        graph = kx.source(subject) >> kx.backpressure(1, overflow="drop_newest") \
            >> kx.map(second, concurrency=concurrency) >> kx.to_list()
        async with graph.start() as run:
            await subscribed(subject)
            for number in range(40):
                subject.on_next(number)
                await settled(20)
            subject.on_completed()
        return run.result  # type: ignore[no-any-return]

    assert len(virtual(main)) <= 2 * concurrency + 1
