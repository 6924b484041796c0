"""Parity: an operator with an RxPY namesake does what RxPY does, held to RxPY itself on its TestScheduler.

Each graph, as ``graph.operator()``, and its RxPY twin are subscribed to equal generated observables, hot
and cold, and disposed of at a generated time.  Values, virtual times, errors, completion, and when each
upstream was subscribed to and let go must be equal.  Deliberate differences are the rows of
`kayrx.nodes.differences`, each shown to be true by tests/nodes/test_differences.py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
import pytest
import reactivex
from hypothesis import given, strategies as st
from reactivex import Observable, notification, operators as ops
from reactivex.scheduler import ImmediateScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import run_virtual

Rx = Callable[[Observable[Any]], Observable[Any]]


@dataclass(frozen=True)
class Script:
    """One generated observable and the time at which its subscriber leaves."""

    hot: bool
    items: tuple[tuple[int, int], ...]
    end: tuple[str, int] | None
    disposed: int

    def observable(self, scheduler: TestScheduler) -> Any:
        messages = [ReactiveTest.on_next(at, item) for at, item in self.items]
        if self.end is not None:
            kind, at = self.end
            messages.append(ReactiveTest.on_completed(at) if kind == "end" else
                            ReactiveTest.on_error(at, LookupError("upstream")))
        make = scheduler.create_hot_observable if self.hot else scheduler.create_cold_observable
        return make(messages)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    hot = draw(st.booleans())
    times = sorted(draw(st.lists(st.integers(1, 60).map(lambda n: n * 10), max_size=12, unique=True)))
    items = tuple((at, draw(st.integers(0, 6))) for at in times)
    kind = draw(st.sampled_from(["end", "error", None]))
    after = (times[-1] if times else 0) + draw(st.sampled_from([5, 35, 200]))
    return Script(hot, items, (kind, after) if kind else None, draw(st.sampled_from([333, 1000, 3000])))


def told(messages: list[Any]) -> list[tuple[float, str, Any]]:
    """Messages as time, kind, and value or error."""
    out = []
    for message in messages:
        value = message.value
        what = value.value if value.kind == "N" else (type(value.exception), str(value.exception)) \
            if value.kind == "E" else None
        out.append((message.time, value.kind, what))
    return out


def observed(script: Script, build: Callable[[Observable[Any]], Observable[Any]]) -> tuple[Any, Any]:
    scheduler = TestScheduler()
    source = script.observable(scheduler)
    result = scheduler.start(lambda: build(source), disposed=script.disposed)
    return told(result.messages), [(s.subscribe, s.unsubscribe) for s in source.subscriptions]


def picky(x: int) -> int:
    if x == 5:
        raise ValueError("five")
    return x


def inner(xs: Any) -> Observable[Any]:
    return reactivex.from_iterable(xs, scheduler=ImmediateScheduler.singleton())


def as_text(notification: Any) -> Any:
    """A notification of ours or theirs as a value that compares."""
    kind = type(notification).__name__
    error = getattr(notification, "error", None) or getattr(notification, "exception", None)
    return kind, getattr(notification, "value", None) if kind == "OnNext" else repr(error)


def as_ours(x: int) -> Any:
    return kx.OnError(LookupError("told")) if x == 5 else kx.OnCompleted() if x == 6 else kx.OnNext(x)


def as_theirs(x: int) -> Any:
    return notification.OnError(LookupError("told")) if x == 5 else \
        notification.OnCompleted() if x == 6 else notification.OnNext(x)


PAIRS: dict[str, tuple[Graph[Any, Any], Rx]] = {
    "map": (kx.map(lambda x: x * 10), ops.map(lambda x: x * 10)),
    "map that raises": (kx.map(picky), ops.map(picky)),
    "filter": (kx.filter(lambda x: x % 2), ops.filter(lambda x: bool(x % 2))),
    "filter that raises": (kx.filter(picky), ops.filter(lambda x: bool(picky(x)))),
    "flat_map": (kx.flat_map(lambda x: [x] * x), ops.flat_map(lambda x: inner([x] * x))),
    "concat_map": (kx.concat_map(lambda x: [x, -x]), ops.concat_map(lambda x: inner([x, -x]))),
    "scan": (kx.scan(operator.add, 1), ops.scan(operator.add, 1)),
    "scan seedless": (kx.scan(operator.add), ops.scan(operator.add)),
    "scan that raises": (kx.scan(lambda s, x: s + picky(x), 0), ops.scan(lambda s, x: s + picky(x), 0)),
    "reduce": (kx.reduce(operator.add, 1), ops.reduce(operator.add, 1)),
    "reduce that raises": (kx.reduce(lambda s, x: picky(x), 0), ops.reduce(lambda s, x: picky(x), 0)),
    "take": (kx.take(3), ops.take(3)), "take 0": (kx.take(0), ops.take(0)),
    "skip": (kx.skip(2), ops.skip(2)),
    "take_while": (kx.take_while(lambda x: x < 5), ops.take_while(lambda x: x < 5)),
    "take_while inclusive": (kx.take_while(lambda x: x < 5, inclusive=True),
                             ops.take_while(lambda x: x < 5, inclusive=True)),
    "take_while that raises": (kx.take_while(lambda x: picky(x) < 9), ops.take_while(lambda x: picky(x) < 9)),
    "distinct_until_changed": (kx.distinct_until_changed(), ops.distinct_until_changed()),
    "distinct_until_changed key": (kx.distinct_until_changed(lambda x: picky(x) // 2),
                                   ops.distinct_until_changed(lambda x: picky(x) // 2)),
    "distinct_until_changed comparer": (kx.distinct_until_changed(None, lambda a, b: a + 1 >= b),
                                        ops.distinct_until_changed(None, lambda a, b: a + 1 >= b)),
    "skip_while": (kx.skip_while(lambda x: x < 3), ops.skip_while(lambda x: x < 3)),
    "skip_while that raises": (kx.skip_while(lambda x: picky(x) < 3), ops.skip_while(lambda x: picky(x) < 3)),
    "distinct": (kx.distinct(), ops.distinct()),
    "distinct key": (kx.distinct(lambda x: picky(x) // 2), ops.distinct(lambda x: picky(x) // 2)),
    "ignore_elements": (kx.ignore_elements(), ops.ignore_elements()),
    "take_last": (kx.take_last(2), ops.take_last(2)), "take_last 0": (kx.take_last(0), ops.take_last(0)),
    "first": (kx.first(default=None), ops.first_or_default(None, None)),
    "first of": (kx.first(lambda x: picky(x) > 4, 9), ops.first_or_default(lambda x: picky(x) > 4, 9)),
    "last": (kx.last(default=None), ops.last_or_default(None)),
    "last of": (kx.last(lambda x: picky(x) < 3, 9), ops.last_or_default(9, lambda x: picky(x) < 3)),
    "element_at": (kx.element_at(2, None), ops.element_at_or_default(2, None)),
    "default_if_empty": (kx.default_if_empty(9), ops.default_if_empty(9)),
    "materialize": (kx.map(picky) >> kx.materialize() >> kx.map(as_text), lambda source: source.pipe(
        ops.map(picky), ops.materialize(), ops.map(as_text))),
    "dematerialize": (kx.map(as_ours) >> kx.dematerialize(), lambda source: source.pipe(
        ops.map(as_theirs), ops.dematerialize())),
    "timestamp": (kx.timestamp() >> kx.map(tuple), lambda source: source.pipe(
        ops.timestamp(), ops.map(lambda t: (t.value, t.timestamp.timestamp())))),
    "with_index": (kx.with_index() >> kx.map(lambda t: t[1] * 10 + t[0]), ops.map_indexed(lambda x, i: x * 10 + i)),
    "buffer": (kx.buffer(count=3), ops.buffer_with_count(3)),
    "group_by": (kx.group_by(kx.it % 3, kx.scan(operator.add)), reactivex.compose(
        ops.group_by(lambda x: x % 3), ops.flat_map(ops.scan(operator.add)))),
    "group_by that ends": (kx.group_by(kx.it % 3, kx.count()), reactivex.compose(
        ops.group_by(lambda x: x % 3), ops.flat_map(ops.count()))),
    "group_by that has enough": (kx.group_by(kx.it % 3, kx.take(2) >> kx.map(picky)), reactivex.compose(
        ops.group_by(lambda x: x % 3), ops.flat_map(lambda g: g.pipe(ops.take(2), ops.map(picky))))),
    "window": (kx.window(3, kx.scan(operator.add)), reactivex.compose(
        ops.window_with_count(3), ops.flat_map(ops.scan(operator.add)))),
    "sliding": (kx.sliding(2, 3), ops.buffer_with_count(2, 3)), "chunk": (kx.chunk(3), ops.buffer_with_count(3)),
    "pairwise": (kx.pairwise(), ops.pairwise()),
    "tap": (kx.tap(picky), ops.do_action(picky)),
    "count": (kx.count(), ops.count()), "sum": (kx.sum(), ops.sum()),
    "share": (kx.share(), ops.share()),
    "share replay": (kx.share(replay=2), lambda source: source.pipe(ops.replay(2), ops.ref_count())),
    "debounce": (kx.debounce(25), ops.debounce(25)),
    "throttle_first": (kx.throttle_first(25), ops.throttle_first(25)),
    "sample": (kx.sample(35), ops.sample(35)),
    "delay": (kx.delay(25), ops.delay(25)),
    "buffer seconds": (kx.buffer(seconds=45), ops.buffer_with_time(45)),
    "buffer either": (kx.buffer(2, 45), ops.buffer_with_time_or_count(45, 2)),
}


ALONE = ("buffer", "sliding", "chunk", "buffer seconds", "buffer either", "pairwise", "materialize", "dematerialize",
         "timestamp", "with_index")  # what they give is no number


@pytest.mark.parametrize("name", list(PAIRS))
@given(script=scripts())
def test_an_operator_is_its_namesake(name: str, script: Script) -> None:
    """Values, times, errors, completion, and the times of subscription and disposal upstream."""
    graph, twin = PAIRS[name]

    assert observed(script, graph.operator()) == observed(script, twin)


@given(st.lists(st.sampled_from(list(PAIRS)).filter(lambda n: n not in ALONE), min_size=2,
                max_size=6), scripts())
def test_a_chain_is_the_chain_of_its_namesakes(names: list[str], script: Script) -> None:
    """Fused runs behave as the operators they stand for, one after another."""
    graph, twins = PAIRS[names[0]][0], [PAIRS[name][1] for name in names]
    for name in names[1:]:
        graph = graph >> PAIRS[name][0]

    assert observed(script, graph.operator()) == observed(script, lambda source: source.pipe(*twins))


STEPS = st.lists(st.lists(st.integers(1, 4), max_size=2), min_size=7, max_size=7)


@given(st.lists(st.integers(0, 6), max_size=1), STEPS)
def test_expand_gives_what_its_namesake_gives_for_one_input(items: list[int], steps: list[list[int]]) -> None:
    """The same items in the same order; RxPY's own scheduling of the inner sources has times of its own."""
    def children(x: int) -> list[int]:
        return [x + step for step in steps[x]] if x < 7 else []

    seen: list[int] = []
    reactivex.from_iterable(items).pipe(ops.expand(lambda x: inner(children(x)))).subscribe(seen.append)

    assert (kx.source(items) >> kx.expand(children)).collect() == seen


def skip_until(a: Observable[Any], b: Observable[Any]) -> Observable[Any]:
    """RxPY's, but completing with ``a`` also where ``b`` never gave."""
    def told_of_the_end(shared: Observable[Any]) -> Observable[Any]:
        end = shared.pipe(ops.ignore_elements(), ops.concat(reactivex.of(0)))
        return shared.pipe(ops.skip_until(b), ops.take_until(end))

    return a.pipe(ops.publish(told_of_the_end))


def buffer_until(a: Observable[Any], b: Observable[Any]) -> Observable[Any]:
    """RxPY's, but without empty lists, and not ending with ``b``."""
    return a.pipe(ops.buffer(reactivex.concat(b, reactivex.never())), ops.filter(bool))


APART = ("with_latest_from", "take_until", "skip_until", "buffer until")
JOINS: dict[str, tuple[Any, Any]] = {
    "merge": (kx.merge, reactivex.merge), "concat": (kx.concat, reactivex.concat), "zip": (kx.zip, reactivex.zip),
    "combine_latest": (kx.combine_latest, reactivex.combine_latest),
    "zip_latest": (kx.zip_latest, reactivex.zip_latest), "race": (kx.race, reactivex.amb),
    "merge_prioritized": (lambda *xs: kx.merge_prioritized(*xs, priorities=(2, 1)), reactivex.merge),
    "with_latest_from": (lambda a, b: a >> kx.with_latest_from(b), reactivex.with_latest_from),
    "take_until": (lambda a, b: a >> kx.take_until(b), lambda a, b: a.pipe(ops.take_until(b))),
    "skip_until": (lambda a, b: a >> kx.skip_until(b), skip_until),
    "buffer until": (lambda a, b: a >> kx.buffer(until=b), buffer_until),
}


@pytest.mark.parametrize("name", list(JOINS))
@given(one=scripts(), two=scripts())
def test_a_join_of_sources_is_its_namesake(name: str, one: Script, two: Script) -> None:
    """Two observables, one or both of which may fail; where one steers the other they never give at once."""
    ours, theirs = JOINS[name]
    if name in APART:
        two = replace(two, items=tuple((at + 3, x) for at, x in two.items),
                      end=two.end and (two.end[0], two.end[1] + 3))

    def joined(join: Callable[..., Observable[Any]]) -> Any:
        scheduler = TestScheduler()
        sources = [one.observable(scheduler), two.observable(scheduler)]
        result = scheduler.start(lambda: join(*sources), disposed=one.disposed)
        read = [[(s.subscribe, s.unsubscribe) for s in x.subscriptions] for x in sources]
        return told(result.messages), read if name != "skip_until" else ()

    assert joined(lambda *xs: ours(*map(kx.source, xs)).to_observable()) == joined(theirs)


async def acted(script: Script, start: float) -> Any:
    """A cold script as an async generator on the loop's clock."""
    end = script.end or ("never", 10**6)
    for at, item in (*script.items, (end[1], None)):
        await anyio.sleep(start + at - anyio.current_time())
        if at == end[1]:
            break
        yield item
    if end[0] == "error":
        raise LookupError("upstream")


async def engine(graph: Callable[..., Graph[Any, Any]], scripts: list[Script]) -> list[tuple[float, str, Any]]:
    """What kayrx's own engine gives on virtual time, told as a TestScheduler would."""
    start = anyio.current_time()
    out: list[tuple[float, str, Any]] = []

    def note(kind: str, what: Any = None) -> None:
        out.append((round(anyio.current_time() - start, 6) + 200, kind, what))

    with anyio.move_on_after(scripts[0].disposed - 200):
        try:
            await (graph(*[kx.source(partial(acted, script, start)) for script in scripts])
                   >> kx.each(partial(note, "N")))
            note("C")
        except (LookupError, ValueError) as error:
            note("E", (type(error), str(error)))
    return out


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("name", [n for n in JOINS if n not in ("concat", "combine_latest")])
@given(one=scripts(), two=scripts())
def test_the_engine_joins_as_the_operator_does(name: str, loop: str, one: Script, two: Script) -> None:
    """The same joins of cold sources that never act at once, run by kayrx's own engine: same values, same moments."""
    ours, theirs = JOINS[name]
    one, two = (replace(s, hot=False, items=tuple((at + shift, x) for at, x in s.items),
                        end=s.end and (s.end[0], s.end[1] + shift)) for s, shift in ((one, 0), (two, 3)))
    scheduler = TestScheduler()
    sources = [s.observable(scheduler) for s in (one, two)]
    expected = told(scheduler.start(lambda: theirs(*sources), disposed=one.disposed).messages)

    assert run_virtual(lambda: engine(ours, [one, two]), loop) == expected


def shared(a: Any, b: Any) -> Any:
    """One subscriber from the beginning, and one that comes when ``b`` has ended."""
    one = a >> kx.share(replay=2)
    return kx.merge(one >> kx.map(lambda x: ("early", x)), kx.concat(
        b >> kx.ignore_elements(), one >> kx.map(lambda x: ("late", x))))


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@given(one=scripts(), two=scripts())
def test_a_late_subscriber_gets_what_rx_replays(loop: str, one: Script, two: Script) -> None:
    """Same values at the same moments as ``replay(2)`` and ``ref_count()``, the end and errors included."""
    one, two = (replace(s, hot=False, items=tuple((at + shift, x) for at, x in s.items),
                        end=s.end and (s.end[0], s.end[1] + shift)) for s, shift in ((one, 0), (two, 3)))

    def theirs(scheduler: TestScheduler) -> Observable[Any]:
        upstream = one.observable(scheduler).pipe(ops.replay(2), ops.ref_count())
        return reactivex.merge(upstream.pipe(ops.map(lambda x: ("early", x))), reactivex.concat(
            two.observable(scheduler).pipe(ops.ignore_elements()), upstream.pipe(ops.map(lambda x: ("late", x)))))

    scheduler = TestScheduler()
    expected = told(scheduler.start(lambda: theirs(scheduler), disposed=one.disposed).messages)
    given = run_virtual(lambda: engine(shared, [one, two]), loop)

    def at_once(messages: list[Any]) -> list[Any]:  # which of two subscribers goes first at one moment is not promised
        return sorted(messages, key=lambda m: (m[0], m[1] == "C", str(m[2]) if m[1] == "N" else ""))

    assert at_once(given) == at_once(expected)


async def acted_for(x: int) -> Any:
    start = anyio.current_time()
    for at in (1, 12, 37):
        await anyio.sleep(start + at - anyio.current_time())
        if at == 12:
            picky(x)
        yield x * 100 + at
    await anyio.sleep(1)


def played(scheduler: TestScheduler, x: int) -> Observable[Any]:
    """The same as an Observable."""
    if x == 5:
        return scheduler.create_cold_observable(ReactiveTest.on_next(1, 501), ReactiveTest.on_error(12, LookupError()))
    return scheduler.create_cold_observable(
        *[ReactiveTest.on_next(at, x * 100 + at) for at in (1, 12, 37)], ReactiveTest.on_completed(38))


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("name", ["switch_map", "exhaust_map"])
@given(script=scripts())
def test_results_supersede_each_other_as_in_rx(name: str, loop: str, script: Script) -> None:
    """Same values and moments as ``switch_map``, and as ``map`` and ``exclusive``; also where an inner fails."""
    script = replace(script, hot=False, items=tuple((at + 3, x) for at, x in script.items),
                     end=script.end and (script.end[0], script.end[1] + 3))
    scheduler = TestScheduler()
    inner_of = partial(played, scheduler)
    twin = ops.switch_map(inner_of) if name == "switch_map" else lambda s: s.pipe(ops.map(inner_of), ops.exclusive())
    source = script.observable(scheduler)
    expected = told(scheduler.start(lambda: source.pipe(twin), disposed=script.disposed).messages)

    given = run_virtual(lambda: engine(lambda s: s >> getattr(kx, name)(acted_for), [script]), loop)
    assert [m[:2] if m[1] == "E" else m for m in given] == [m[:2] if m[1] == "E" else m for m in expected]


SOURCES: dict[str, tuple[Any, Any]] = {
    "interval": (kx.interval, reactivex.interval), "timer": (kx.timer, reactivex.timer),
    "source": (lambda n: kx.source(range(n)), lambda n: reactivex.range(n)),
}


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("name", list(SOURCES))
@given(seconds=st.integers(1, 60), disposed=st.sampled_from([201, 243, 333]), most=st.integers(1, 20))
def test_a_source_is_its_namesake(name: str, loop: str, seconds: int, disposed: int, most: int) -> None:
    """The same items at the same times, until it is left or enough have come."""
    ours, theirs = SOURCES[name]
    expected = TestScheduler().start(lambda: theirs(seconds).pipe(ops.take(most)), disposed=disposed)
    left = Script(False, (), None, disposed)  # says only when to leave

    given = run_virtual(lambda: engine(lambda _: ours(seconds) >> kx.take(most), [left]), loop)
    assert given == told(expected.messages)


def both_ways(xs: Observable[Any]) -> Observable[Any]:
    return xs.pipe(ops.publish(lambda x: reactivex.merge(x.pipe(ops.map(picky)), x.pipe(ops.delay(7)))))


def parted(xs: Observable[Any]) -> Observable[Any]:
    def both(x: Observable[Any]) -> Observable[Any]:
        odd, even = x.pipe(ops.partition(lambda n: bool(picky(n) % 2)))
        return reactivex.merge(odd.pipe(ops.map(lambda n: n * 10)), even.pipe(ops.delay(7)))

    return xs.pipe(ops.publish(both))


FANS: dict[str, tuple[Graph[Any, Any], Rx]] = {
    "broadcast": (kx.broadcast(kx.map(picky), kx.delay(7)) >> kx.merge(), both_ways),
    "partition": (kx.partition(lambda x: picky(x) % 2, kx.map(kx.it * 10), kx.delay(7)) >> kx.merge(), parted),
}


@pytest.mark.parametrize("name", list(FANS))
@given(script=scripts())
def test_a_fan_out_is_its_namesake(name: str, script: Script) -> None:
    """Over ``publish``, RxPY's way to feed several branches from one subscription."""
    graph, twin = FANS[name]

    assert observed(script, graph.operator()) == observed(script, twin)


ACTS = st.lists(st.sampled_from(["next", "subscribe", "leave", "error", "end"]), max_size=12)


@given(ACTS)
def test_a_subject_is_its_namesake(acts: list[str]) -> None:
    """Who hears what, whoever comes and goes, before the end and after it."""
    def played(subject: Any) -> list[Any]:
        heard: list[Any] = []
        held: list[Any] = []
        for number, act in enumerate(acts):
            if act == "subscribe":
                who = len(held)
                held.append(subject.subscribe(lambda x, who=who: heard.append((who, x)),
                                              lambda e, who=who: heard.append((who, type(e))),
                                              lambda who=who: heard.append((who, "end"))))
            elif act == "leave" and held:
                held[number % len(held)].dispose()
            elif act == "next":
                subject.on_next(number)
            elif act == "error":
                subject.on_error(LookupError())
            elif act == "end":
                subject.on_completed()
        return heard

    assert played(kx.Subject()) == played(Subject())


@given(st.lists(st.integers(0, 6), max_size=9))
def test_to_list_and_each_are_their_namesakes(items: list[int]) -> None:
    """One list at the end; one call for each item, in order."""
    theirs: list[Any] = []
    called: list[int] = []
    expected: list[int] = []
    reactivex.from_iterable(items).pipe(ops.to_list()).subscribe(theirs.append)
    reactivex.from_iterable(items).pipe(ops.do_action(expected.append)).run() if items else None

    assert (kx.source(items) >> kx.to_list()).run() == theirs[0]
    assert (kx.source(items) >> kx.each(called.append)).run() is None and called == expected
    assert (kx.source(items) >> kx.sink([])).run() == expected


OF_THEIR_OWN = {
    "expand": test_expand_gives_what_its_namesake_gives_for_one_input,
    "switch_map": test_results_supersede_each_other_as_in_rx, "exhaust_map": test_results_supersede_each_other_as_in_rx,
    "Subject": test_a_subject_is_its_namesake,
    "to_list": test_to_list_and_each_are_their_namesakes, "each": test_to_list_and_each_are_their_namesakes,
    "sink": test_to_list_and_each_are_their_namesakes,
}
"""What is compared by a test of its own, and not by a row above."""


def test_reduce_without_items_asks_for_a_seed() -> None:
    """The listed difference: RunError instead of SequenceContainsNoElementsError, at the same time."""
    script = Script(True, (), ("end", 250), 1000)
    (at, kind, error), = observed(script, kx.reduce(operator.add).operator())[0]
    (rx_at, rx_kind, rx_error), = observed(script, ops.reduce(operator.add))[0]

    assert (at, kind) == (rx_at, rx_kind) == (250, "E")
    assert error[0] is kx.RunError and "give a seed" in error[1] and rx_error[0] is not kx.RunError


def test_sliding_gives_no_tail_that_only_repeats() -> None:
    """The listed difference to ``buffer_with_count(n, step)``."""
    seen: list[Any] = []
    reactivex.of(1, 2, 3).pipe(ops.buffer_with_count(2, 1)).subscribe(seen.append)

    assert (kx.source([1, 2, 3]) >> kx.sliding(2)).collect() == seen[:2] == [[1, 2], [2, 3]] and seen[2] == [3]


def test_an_observer_that_raises_is_not_blamed_on_the_graph() -> None:
    """What the subscriber raises goes up to the source, as in Rx; the graph sends it no error."""
    def observer(x: int) -> None:
        raise LookupError("observer")

    errors: list[Exception] = []
    for operate in (kx.map(abs).operator(), ops.map(abs)):
        subject: Subject[int] = Subject()
        subject.pipe(operate).subscribe(observer, errors.append)
        with pytest.raises(LookupError) as caught:
            subject.on_next(1)
        assert not getattr(caught.value, "__notes__", ())
    assert errors == []
