"""Groups: a copy of a graph for each key, or for each window of items."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import reactivex
from hypothesis import given, strategies as st
from reactivex import operators as ops

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import left_behind, marbles, run_virtual

NUMBERS = st.lists(st.integers(0, 20), max_size=40)
BODIES: dict[str, Graph[Any, Any]] = {
    "map": kx.map(kx.it * 10), "scan": kx.scan(lambda a, b: a + b), "buffer": kx.buffer(3), "take": kx.take(2),
    "filter, sliding": kx.filter(kx.it > 3) >> kx.sliding(3), "count": kx.count(), "take 0": kx.take(0),
    "flat_map": kx.flat_map(lambda x: [x] * (x % 3)) >> kx.take(4) >> kx.scan(max),
    "guarded": kx.map(lambda x: 10 // (x - 4)) >> kx.retry(2) >> kx.skip_errors(),
    "unit": kx.unit(kx.map(lambda x: 10 // (x - 4)) >> kx.map(abs)) >> kx.fallback(str),
    "nested": kx.group_by(kx.it % 2, kx.buffer(2)), "windows": kx.window(2, kx.sum()) >> kx.pairwise(),
    "by time": kx.window_by(event_time=kx.it, tumbling=5, lateness=3) >> kx.map(kx.it.value),
    "many expansions": kx.flat_map(lambda x: [x]) >> kx.flat_map(lambda x: [x]) >> kx.flat_map(lambda x: [x])
    >> kx.flat_map(lambda x: [x]) >> kx.flat_map(lambda x: [x]) >> kx.flat_map(lambda x: [x])
    >> kx.flat_map(lambda x: [x]) >> kx.flat_map(lambda x: [x]) >> kx.flat_map(lambda x: [x]) >> kx.count(),
}


@pytest.mark.parametrize("name", BODIES)
@given(NUMBERS)
def test_each_group_is_a_run_of_the_body_over_its_items(name: str, items: list[int]) -> None:
    """Whatever the body holds or expands, a group gives what the body alone would, and keeps its order."""
    body = BODIES[name]
    wanted: list[Any] = []

    for key in {x % 3 for x in items}:
        own = kx.source([x for x in items if x % 3 == key])
        alone, grouped = (own >> body).collect(), own >> kx.group_by(kx.it % 3, body)
        assert grouped.collect() == grouped.collect(fuse=False) == alone
        wanted += alone
    graph = kx.source(items) >> kx.group_by(kx.it % 3, body)
    out = graph.collect()
    assert sorted(map(repr, out)) == sorted(map(repr, wanted))
    assert graph.collect(backend="asyncio", chunk=1) == graph.collect(backend="trio", fuse=False) == out


@pytest.mark.parametrize("name", BODIES)
@given(NUMBERS, st.integers(1, 6))
def test_each_window_is_a_run_of_the_body_over_its_items(name: str, items: list[int], count: int) -> None:
    """One after another; the last may be shorter, and no window is empty."""
    body, graph = BODIES[name], kx.source(items) >> kx.window(count, BODIES[name])

    assert graph.collect() == [y for i in range(0, len(items), count)
                               for y in (kx.source(items[i:i + count]) >> body).collect()]
    assert graph.collect(backend="asyncio", chunk=1) == graph.collect(backend="trio") == graph.collect()


@given(NUMBERS, st.integers(1, 4))
def test_the_group_that_was_longest_unused_makes_room(items: list[int], most: int) -> None:
    """What it still gives comes before the item that took its place; a later item of its key begins anew."""
    held: dict[int, list[int]] = {}
    wanted: list[list[int]] = []
    begun: dict[int, int] = {}
    for n, x in enumerate(items):
        group = held.pop(x % 7, None)
        if group is None:
            begun[x % 7] = n
            if len(held) == most:
                wanted.append(held.pop(next(iter(held))))
        held[x % 7] = [*(group or ()), x]
    wanted += [held[key] for key in sorted(held, key=lambda key: begun[key])]

    assert (kx.source(items) >> kx.group_by(kx.it % 7, kx.buffer(99), max_groups=most)).collect() == wanted


def test_nothing_is_made_ahead_of_demand(backend: str) -> None:
    """A body that expands rests in the middle of an item, and is closed when nobody wants more."""
    made: list[int] = []
    closed: list[int] = []

    def endless(x: int) -> Iterator[int]:
        try:
            while True:
                made.append(x)
                yield x
        finally:
            closed.append(x)

    graph = kx.source(range(3)) >> kx.group_by(kx.it, kx.flat_map(endless)) >> kx.take(5)
    assert graph.collect(backend=backend) == [0] * 5 and len(made) == 5 and closed == [0]


async def third(x: int) -> int:
    await anyio.sleep(0)
    return x % 3


def test_the_key_may_be_async(loop: str) -> None:
    """The body is a plain function all the same."""
    assert (kx.source(range(7)) >> kx.group_by(third, kx.buffer(2))).collect(backend=loop) == [
        [0, 3], [1, 4], [2, 5], [6]]


def test_on_an_observable_the_groups_are_pushed() -> None:
    """As an operator, and over a push source: each output within the push that causes it."""
    seen: list[Any] = []
    subject: kx.Subject[int] = kx.Subject()
    (subject >> kx.group_by(kx.it % 2, kx.buffer(2))).subscribe(seen.append)
    for x in range(5):
        subject.on_next(x)
        seen.append(x)
    subject.on_completed()
    assert seen == [0, 1, [0, 2], 2, [1, 3], 3, 4, [4]]
    seen.clear()
    reactivex.from_iterable(range(5)).pipe(kx.window(2, kx.sum()).operator(), ops.map(str)).subscribe(seen.append)
    assert seen == ["1", "5", "4"]
    assert kx.group_by(kx.it, kx.sum())(3) == [3]


def test_what_a_body_raises_names_the_node_inside(backend: str) -> None:
    """And the item, counted from the source."""
    body = kx.map(kx.it + 0) >> kx.map(lambda x: 1 // x).named("inv")
    graph = kx.source([3, 2, 1, 0]) >> kx.group_by(kx.it % 2, body)

    with pytest.raises(ZeroDivisionError) as caught:
        graph.collect(backend=backend)
    (note,) = caught.value.__notes__
    assert "'inv' (map) at test_groups.py" in note and note.endswith("item 3")


def test_what_a_group_gives_lists_the_items_since_it_last_gave(loop: str) -> None:
    """Each item is a parent once (ruling 2)."""
    async def main() -> Any:
        graph = kx.source(range(5)) >> kx.group_by(kx.it % 2, kx.buffer(2)) >> kx.to_list()
        async with graph.start(events=True) as run:
            pass
        return [[parent[2] for parent in e["parents"]] for e in run.events()
                if e["event"] == "entered" and e["id"][0] == "group_by"]

    assert run_virtual(main, loop) == [[0, 2], [1, 3], [4]]


def test_many_of_them_have_a_form_together() -> None:
    """Each opens a block; a function holds no more than Python allows."""
    graph = kx.source(range(9))
    for _ in range(25):
        graph = graph >> kx.group_by(kx.it % 3, kx.map(lambda x: x))

    assert graph.collect() == list(range(9))


def test_a_resource_in_a_body_is_opened_once_a_run() -> None:
    """Groups share what the run has opened."""
    opened: list[list[Any]] = []

    def store() -> list[Any]:
        opened.append([])
        return opened[-1]

    (kx.source(["1", "x", "y"]) >> kx.group_by(kx.it, kx.map(int) >> kx.dead_letter(kx.resource(store)))).run()
    assert [[letter.item for letter in letters] for letters in opened] == [["x", "y"]]


async def later(x: Any) -> Any:
    return x


@pytest.mark.parametrize(("body", "says"), [
    (kx.map(later, concurrency=2), "needs a task"), (kx.map(abs, on=kx.threads(1)), "needs a task"),
    (kx.debounce(1), "needs a task"), (kx.buffer(seconds=1), "needs a task"), (kx.rx(ops.skip(1)), "needs a task"),
    (kx.broadcast(kx.map(abs), kx.map(abs)) >> kx.merge(), "needs a lane"), (kx.backpressure(1), "needs a lane"),
    (kx.loop(kx.map(abs), until=kx.it), "needs a lane"), (kx.unit(kx.materialize()), "needs a lane"),
    (kx.share(), "needs a lane"), (kx.group_by(kx.it, kx.debounce(1)), "needs a task"),
])
def test_a_body_that_cannot_run_in_place_is_refused(body: Graph[Any, Any], says: str) -> None:
    """A CompileError that names the node inside, and the remedy."""
    for node in (kx.group_by(kx.it, body), kx.window(2, body)):
        with pytest.raises(kx.CompileError, match=rf"in its body {says}.*write that node after (group_by|window)\(\)"):
            (kx.source([1]) >> node).compile()


@pytest.mark.parametrize("write", [
    lambda: kx.group_by(5, kx.map(abs)), lambda: kx.group_by(kx.it, abs), lambda: kx.group_by(kx.it, kx.source([1])),
    lambda: kx.group_by(kx.it, kx.to_list()), lambda: kx.group_by(kx.it, kx.map(abs), max_groups=0),
    lambda: kx.group_by(kx.it, kx.broadcast(kx.map(abs))),
    lambda: kx.window(0, kx.map(abs)), lambda: kx.window(None, kx.map(abs)), lambda: kx.window(2, abs),
    lambda: kx.window(2, kx.map(abs) >> kx.to_list()), lambda: kx.window(2, kx.map(abs), seconds=0),
], ids=range(11))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A GraphError of the line that writes it, with what to write."""
    with pytest.raises(kx.GraphError, match=r"^(group_by|window)\(.*(must be|wrap|leave it off|write it after|give)"):
        write()


def test_the_graph_is_a_value_and_the_plan_tells_of_it() -> None:
    """It compares, and explains its bound."""
    graph = kx.source([1]) >> kx.group_by(kx.it, kx.take(2), max_groups=7)

    assert graph == kx.source([1]) >> kx.group_by(kx.it, kx.take(2), max_groups=7)
    assert "group_by: 7 groups, then the longest unused is completed" in graph.explain()
    assert graph.draw() == "source -> group_by -> [group_by: take]"
    timed = kx.window(2, kx.take(1) >> kx.map(abs), seconds=1)
    assert (kx.source([1]) >> timed >> kx.map(str)).draw() == "source -> window -> [window: take -> abs map] -> str map"
    with pytest.raises(kx.CompileError, match="which is not item by item"):
        (graph >> kx.retry(2)).compile()


def test_a_window_ends_with_its_time_or_its_count(loop: str) -> None:
    """``seconds`` run from its first item, so none is empty; a full one ends at once, and the clock with it."""
    trace = marbles(kx.window(3, kx.reduce(operator.add), seconds=4), "-a-b-----c-de-f--|",
                            values={"x": "ab", "y": "cde"}, backend=loop)

    assert trace == "-----x------y----(f|)"


# -- bodies that wait ----------------------------------------------------------------------------


async def twice(x: Any) -> Any:
    await anyio.sleep(1)
    yield x
    await anyio.sleep(1)
    yield x


async def slowly(x: Any) -> Any:
    await anyio.sleep(1)
    return x


WAITING = {
    "map": (kx.map(slowly) >> kx.scan(operator.add), [0, 1, 2, 4, 6, 9]),
    "flat_map": (kx.concat_map(twice) >> kx.with_index() >> kx.map(kx.it[0]), [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5]),
    "flush": (kx.map(slowly) >> kx.buffer(2), [[0, 2], [1, 3], [4], [5]]),
    "take": (kx.map(slowly) >> kx.take(2), [0, 1, 2, 3]),
    "nested": (kx.group_by(kx.it > 2, kx.map(slowly) >> kx.count()), [2, 1, 1, 2]),
    "window": (kx.window(2, kx.map(slowly) >> kx.sum()), [2, 4, 4, 5]),
}


@pytest.mark.parametrize("name", WAITING)
def test_a_body_may_wait(name: str, loop: str) -> None:
    """Each group has a state of its own, the groups take turns, and what they hold comes at the end."""
    body, out = WAITING[name]

    async def main() -> Any:
        return await (kx.source(range(6)) >> kx.group_by(kx.it % 2, body) >> kx.to_list())

    assert run_virtual(main, loop) == out


def test_a_waiting_body_backs_off_for_its_item_alone(loop: str) -> None:
    """Guards inside a body wait on the run's clock."""
    failed: list[int] = []

    def flaky(x: int) -> int:
        if x not in failed:
            failed.append(x)
            raise OSError
        return x

    async def main() -> tuple[list[int], float]:
        start = anyio.current_time()
        body = kx.map(flaky) >> kx.retry(2, backoff=kx.constant(5))
        return await (kx.source([1, 2]) >> kx.group_by(kx.it, body) >> kx.to_list()), anyio.current_time() - start

    assert run_virtual(main, loop) == ([1, 2], 10)


@pytest.mark.parametrize("end", ["fails", "left", "cancelled"])
def test_a_run_that_ends_early_closes_the_bodies(end: str, loop: str) -> None:
    """No group's generator is left to the loop to close."""
    opened: list[int] = []
    closed: list[int] = []

    async def watched(x: int) -> Any:
        opened.append(x)
        try:
            yield x
            if end == "fails" and x == 3:
                raise KeyError(x)
            await anyio.sleep(1)
            yield x
        finally:
            closed.append(x)

    async def main() -> None:
        graph = kx.source(range(9)) >> kx.group_by(kx.it % 3, kx.concat_map(watched) >> kx.map(kx.it))
        with left_behind() as left:
            if end == "left":
                async with graph.stream() as items:
                    async for item in items:
                        if item == 4:
                            break
            elif end == "cancelled":
                with anyio.move_on_after(3.5):
                    await graph
            else:
                with pytest.raises(KeyError):
                    await graph
        assert not left

    run_virtual(main, loop)
    assert opened and sorted(opened) == sorted(closed)
