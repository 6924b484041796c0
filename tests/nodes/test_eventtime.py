"""Windows by event time: held to a plain-Python oracle over events in any order."""

from __future__ import annotations

import operator
from collections import Counter
from datetime import datetime
from typing import Any

import anyio
import pytest
from hypothesis import example, given, strategies as st

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import run_virtual
from tests.nodes import oracles

EVENTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(-30, 60)), max_size=40).map(
    lambda pairs: [(key, time, n) for n, (key, time) in enumerate(pairs)])


def by_key(**how: Any) -> Graph[Any, Any]:
    return kx.window_by(kx.it[0], event_time=kx.it[1], **how)


def over(windows: list[Any]) -> list[tuple[Any, ...]]:
    """Windows as the oracle tells them, with the numbers of the events in them."""
    return [(w.key, w.start, w.end, [event[2] for event in w.value]) for w in windows]


@pytest.mark.parametrize(("size", "step"), [(10, 10), (7, 7), (10, 5), (10, 3), (6, 6), (1, 1)])
@given(EVENTS, st.integers(0, 40))
def test_windows_are_those_of_the_oracle(size: int, step: int, events: list[Any], lateness: int) -> None:
    """Each window once, with the items that came in time, in the order in which they close; the late ones apart."""
    how: Any = {"tumbling": size} if size == step else {"sliding": (size, step)}
    windows, late, _ = oracles.spans(events, size, step, lateness)

    came: list[Any] = []
    given = (kx.source(events) >> by_key(lateness=lateness, late=kx.sink(came), **how)).collect()
    assert over(given) == windows and [event[2] for event in came] == late
    assert all(w.final and w.count == len(w.value) for w in given)
    assert over((kx.source(events) >> by_key(lateness=lateness, **how)).collect()) == windows


@given(EVENTS, st.sampled_from([0, 5, 10, 13]))
@example([("a", 1, 0), ("a", 10, 1), ("a", 20, 2), ("a", 31, 3)], 0)
@example([("a", 1, 0), ("a", 15, 1), ("a", 16, 2)], 5)
def test_a_window_is_given_at_the_event_that_closes_it(events: list[Any], lateness: int) -> None:
    """Not one later: the watermark has only to reach its end and the lateness."""
    _, _, closings = oracles.spans(events, 10, 5, lateness)
    given: list[Any] = []
    came: list[int] = []
    subject: kx.Subject[Any] = kx.Subject()
    (subject >> by_key(sliding=(10, 5), lateness=lateness)).subscribe(given.append)
    for n, event in enumerate(events, 1):
        subject.on_next(event)
        came += [n] * (len(given) - len(came))
    subject.on_completed()
    came += [len(events) + 1] * (len(given) - len(came))

    assert came == [min(n, len(events) + 1) if n <= len(events) else len(events) + 1 for n in closings]


@given(EVENTS, st.integers(1, 12))
def test_sessions_are_the_events_cut_at_the_gaps(events: list[Any], gap: int) -> None:
    """Where nothing is late, the order of arrival makes no difference to which events are together."""
    given = (kx.source(events) >> by_key(session=gap, lateness=1000)).collect()

    assert sorted((key, start, end, sorted(values)) for key, start, end, values in over(given)) == sorted(
        (key, start, end, sorted(values)) for key, start, end, values in oracles.sessions(events, gap))


@given(EVENTS, st.integers(1, 12), st.integers(0, 30))
def test_every_event_is_in_one_session_or_late(events: list[Any], gap: int, lateness: int) -> None:
    """None is lost and none is twice, and a fold says the same as its list."""
    late: list[Any] = []
    given = (kx.source(events) >> by_key(session=gap, lateness=lateness, late=kx.sink(late))).collect()
    add = (0, lambda s, event: s + event[2], operator.add)
    folded = (kx.source(events) >> by_key(session=gap, lateness=lateness, fold=add)).collect()

    assert sorted([n for w in over(given) for n in w[3]] + [e[2] for e in late]) == list(range(len(events)))
    assert [(w.key, w.start, w.end, w.count, sum(e[2] for e in w.value)) for w in given] == [
        (w.key, w.start, w.end, w.count, w.value) for w in folded]
    for w in given:
        assert w.start == min(e[1] for e in w.value) and w.end == max(e[1] for e in w.value) + gap


def test_a_session_that_has_closed_is_not_opened_again() -> None:
    """An item that would have been in it, and is not late by itself, begins another."""
    given = (kx.source([("a", 0, 0), ("a", 3, 1), ("a", 1, 2)]) >> by_key(session=2, lateness=1)).collect()

    assert over(given) == [("a", 0, 2, [0]), ("a", 1, 3, [2]), ("a", 3, 5, [1])]


def test_an_item_of_a_session_that_is_over_is_late_unless_another_takes_it_in() -> None:
    """What is late is the session that the item would make, not the item."""
    def late(*times: float) -> list[float]:
        events = [("a", t, None) for t in times]
        came: list[Any] = []
        (kx.source(events) >> by_key(session=8, late=kx.sink(came))).run()
        return [e[1] for e in came]

    assert late(0, 50, 3) == [3] and late(0, 50, 45) == [] and late(0, 5, 9, 12, 3) == [] and late(0, 50, 43) == []
    assert late(0, 50, 42) == [42]


@pytest.mark.parametrize("how", [{"tumbling": 10}, {"sliding": (10, 5)}, {"session": 8}], ids=str)
@given(EVENTS, st.integers(0, 30), st.sampled_from(["item", "watermark"]))
def test_partial_results_lead_to_the_final_ones(how: Any, events: list[Any], lateness: int, partial: Any) -> None:
    """The final results are those without partial ones, and follow theirs; a partial one holds what was in so far."""
    plain = (kx.source(events) >> by_key(lateness=lateness, **how)).collect()
    given = (kx.source(events) >> by_key(lateness=lateness, partial=partial, **how)).collect()

    assert [w for w in given if w.final] == plain
    last: dict[Any, int] = {}
    for w in given:
        assert w.count == len(w.value)
        if "session" not in how:
            assert last.get((w.key, w.start), 0) <= w.count and not (w.final and (w.key, w.start) in last
                                                                    and last[w.key, w.start] > w.count)
            last[w.key, w.start] = w.count
    if partial == "item" and "sliding" not in how:
        came = sum(w.count for w in plain)
        assert sum(not w.final for w in given) == came


def test_the_watermark_brings_a_partial_result_and_late_ones_after_it() -> None:
    """On time when the watermark reaches the end, again for each item within the lateness, then the final one."""
    events = [("a", 1, 0), ("a", 12, 1), ("a", 5, 2), ("a", 16, 3), ("a", 2, 4)]

    given = (kx.source(events) >> by_key(tumbling=10, lateness=5, partial="watermark")).collect()
    assert [(w.start, w.count, w.final) for w in given] == [
        (0, 1, False), (0, 2, False), (0, 2, True), (10, 2, True)]


def test_a_session_that_goes_on_is_told_of_again() -> None:
    """A partial result at its end, and another at its later end; an item between two sessions makes them one."""
    events = [("a", 0, 0), ("a", 20, 1), ("a", 4, 2), ("a", 31, 3), ("a", 11, 4)]

    given = (kx.source(events) >> by_key(session=8, lateness=30, partial="watermark")).collect()
    assert [(w.start, w.end, w.count, w.final) for w in given] == [
        (0, 8, 1, False), (0, 12, 2, False), (20, 28, 1, False), (0, 19, 3, False), (0, 19, 3, True),
        (20, 28, 1, True), (31, 39, 1, True)]
    events = [("a", 0, 0), ("a", 4, 1), ("a", 9, 2), ("a", 10, 3), ("b", 30, 4)]
    given = (kx.source(events) >> by_key(session=8, lateness=30, partial="watermark")).collect()
    assert (given[0].start, given[0].end, given[0].count, given[0].final) == (0, 18, 4, False)
    events = [("a", 0, 0), ("a", 10, 1), ("a", 5, 2), ("a", 6, 3), ("b", 30, 4)]
    given = (kx.source(events) >> by_key(session=8, lateness=30, partial="watermark")).collect()
    assert [(w.start, w.end, w.count, w.final) for w in given] == [
        (0, 8, 1, False), (0, 18, 4, False), (0, 18, 4, True), (30, 38, 1, True)]
    events = [("a", 0, 0), ("a", 12, 1), ("a", 6, 2)]
    (one,) = (kx.source(events) >> by_key(session=8, lateness=30)).collect()
    assert (one.start, one.end, one.count) == (0, 20, 3) and [e[2] for e in one.value] == [0, 1, 2]


@given(st.lists(st.integers(0, 1000), min_size=1).map(lambda xs: [x / 10 for x in xs]),
       st.sampled_from([0.1, 0.3, 0.7, 2.5]))
def test_fractions_of_seconds_fall_into_their_window(times: list[float], size: float) -> None:
    """However a product is rounded: start <= time < end, and no two windows of a key overlap."""
    given = (kx.source(times) >> kx.window_by(event_time=kx.it, tumbling=size, lateness=1000)).collect()

    assert Counter(t for w in given for t in w.value) == Counter(times)
    halves = (kx.source(times) >> kx.window_by(event_time=kx.it, sliding=(size, size / 2), lateness=1000)).collect()
    assert Counter(t for w in halves for t in w.value) == Counter(times * 2)
    assert all(w.start <= t < w.end for w in given + halves for t in w.value)
    assert all(a.end <= b.start for a in given for b in given if a.start < b.start)


def test_the_watermark_is_one_for_all_keys() -> None:
    """A key that is ahead closes the windows of the others."""
    events = [("a", 1, 0), ("b", 2, 1), ("b", 25, 2), ("a", 3, 3)]
    late: list[Any] = []
    given = (kx.source(events) >> by_key(tumbling=10, late=kx.sink(late))).collect()

    assert over(given) == [("a", 0, 10, [0]), ("b", 0, 10, [1]), ("b", 20, 30, [2])]
    assert late == [("a", 3, 3)]


async def later(event: Any) -> float:
    await anyio.sleep(0)
    return float(event[1])


async def first(event: Any) -> Any:
    return event[0]


async def appended(values: list[Any], event: Any) -> list[Any]:
    await anyio.sleep(0)
    return [*values, event]


@given(EVENTS)
def test_every_function_may_be_async(events: list[Any]) -> None:
    """key, event_time and the fold, on both loops."""
    graph = kx.window_by(first, event_time=later, sliding=(10, 5), lateness=7, fold=([], appended))

    for loop in ("asyncio", "trio"):
        assert over((kx.source(events) >> graph).collect(backend=loop)) == oracles.spans(events, 10, 5, 7)[0]


def test_late_items_are_told_of_and_dropped(loop: str) -> None:
    """Without a graph for them there is an event each, and a fate where ids are kept."""
    async def main() -> Any:
        graph = kx.source([("a", 1), ("a", 50), ("b", 2)]) >> by_key(tumbling=10) >> kx.to_list()
        async with graph.start() as plain:
            pass
        async with graph.start(events=True) as exact:
            pass
        return plain.events(), exact.events()

    plain, exact = run_virtual(main, loop)
    assert plain == [{"event": "late", "node": "window_by", "key": "b", "time": 2}]
    assert [e["id"] for e in exact if e["event"] == "dropped"] == [("source", 0, 2)]


def test_a_window_lists_its_items_as_parents(loop: str) -> None:
    """Partial and final results alike, those of merged sessions too (ruling 2)."""
    async def main() -> Any:
        events = [("a", 0), ("a", 12), ("a", 6)]
        async with (kx.source(events) >> by_key(session=8, lateness=9, partial="item") >> kx.to_list()).start(
                events=True) as run:
            pass
        return [[parent[2] for parent in e["parents"]] for e in run.events()
                if e["event"] == "entered" and e["id"][0] == "window_by"]

    assert run_virtual(main, loop) == [[0], [1], [0, 1, 2], [0, 1, 2]]


def test_a_seed_is_copied_for_each_window() -> None:
    """A list as seed is not shared."""
    def add(held: list[Any], event: Any) -> list[Any]:
        held.append(event[2])
        return held

    events = [("a", 1, 0), ("b", 2, 1), ("a", 12, 2)]
    given = (kx.source(events) >> by_key(tumbling=10, fold=([], add))).collect()
    assert [w.value for w in given] == [[0], [1], [2]]


def test_the_earlier_of_two_windows_is_told_of_first() -> None:
    """An item is in several; what it gives is in the order of their starts."""
    given = (kx.source([("a", 7, 0)]) >> by_key(sliding=(10, 5), partial="item")).collect()

    assert [(w.start, w.final) for w in given] == [(0, False), (5, False), (0, True), (5, True)]


def test_a_partial_list_is_not_changed_afterwards() -> None:
    """Each result has a list of its own."""
    one, two, final = (kx.source([("a", 1), ("a", 2)]) >> by_key(tumbling=10, partial="item")).collect()

    assert (len(one.value), len(two.value), len(final.value)) == (1, 2, 2)


def test_take_stops_in_the_middle_of_the_windows_that_close() -> None:
    """What is not wanted is not made."""
    seen: list[Any] = []
    events = [("a", 1, 0), ("b", 1, 1), ("c", 1, 2), ("a", 99, 3), ("a", 999, 4)]
    graph = kx.source(events) >> kx.tap(seen.append) >> by_key(tumbling=10) >> kx.take(2)

    assert [w.key for w in graph.collect()] == ["a", "b"] and len(seen) == 4


@pytest.mark.parametrize("how", [{"tumbling": 10}, {"sliding": (10, 5)}, {"session": 1}], ids=str)
def test_more_windows_than_allowed_fail_the_run(how: Any, backend: str) -> None:
    """A RunError that names the node, the bound and the remedies; closed windows do not count."""
    graph = by_key(max_windows=4, **how)

    assert len((kx.source([("a", t * 100, 0) for t in range(50)]) >> graph).collect(backend=backend)) >= 50
    with pytest.raises(kx.RunError, match=r"'window_by' .* has 4 windows open \(max_windows=4\): make"):
        (kx.source([(key, 0, 0) for key in range(5)]) >> graph).collect(backend=backend)


@pytest.mark.parametrize("time", [float("nan"), float("inf"), None, "1", datetime(2026, 1, 1)], ids=str)
def test_what_is_no_time_is_a_type_error(time: Any, noted: Any) -> None:
    """At the item, which is named."""
    with pytest.raises(TypeError, match=r"event_time gave .* must give seconds") as caught:
        (kx.source([("a", 0, 0), ("a", time, 1)]) >> by_key(tumbling=10)).collect()
    assert noted(caught.value)[0].endswith("item 1")


@pytest.fixture
def noted() -> Any:
    return lambda error: [n for n in error.__notes__ if n.startswith("kayrx:")]


@pytest.mark.parametrize("write", [
    lambda: by_key(), lambda: by_key(tumbling=1, session=1), lambda: by_key(tumbling=0), lambda: by_key(session=-1),
    lambda: by_key(sliding=5), lambda: by_key(sliding=(5,)), lambda: by_key(sliding=(5, 0)),
    lambda: by_key(sliding=(5, 6)), lambda: by_key(tumbling=1, lateness=-1),
    lambda: by_key(tumbling=1, partial="often"), lambda: by_key(tumbling=1, max_windows=0),
    lambda: by_key(tumbling=1, fold=max), lambda: by_key(tumbling=1, fold=(0, 1)),
    lambda: by_key(session=1, fold=(0, max)), lambda: by_key(tumbling=1, fold=(0, max, max)),
    lambda: by_key(session=1, fold=(0, max, later)), lambda: by_key(tumbling=1, late=kx.map(str)),
    lambda: kx.window_by(5, event_time=kx.it, tumbling=1), lambda: kx.window_by(event_time=5, tumbling=1),  # type: ignore
], ids=range(19))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match=r"^window_by\("):
        write()


def test_the_plan_tells_what_is_held() -> None:
    """`explain` prints the bound, `check` warns of windows that hold their items."""
    graph = kx.source([1]) >> kx.window_by(event_time=kx.it, tumbling=1, max_windows=7)
    folded = kx.source([1]) >> kx.window_by(event_time=kx.it, tumbling=1, fold=(0, operator.add))

    assert "window_by: 7 windows, all items of each" in graph.explain()
    assert "(unbounded); add fold=" in graph.check()[0] and folded.check() == []
    with pytest.raises(kx.CompileError, match="which is not item by item"):
        (graph >> kx.retry(2)).compile()


def test_many_of_them_have_a_form_together() -> None:
    """Each opens a block; a function holds no more than Python allows."""
    graph = kx.source(range(100))
    for _ in range(25):
        graph = graph >> kx.window_by(event_time=lambda x: x, tumbling=1, fold=(0, operator.add)) >> kx.map(kx.it.value)

    assert graph.collect() == list(range(100))
