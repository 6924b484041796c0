"""Combination: fan-out (broadcast, partition, branch, share) and fan-in (merge, concat, zip, combine_latest)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.testing import run_virtual

LISTS = st.lists(st.integers(), max_size=40)


@given(LISTS, LISTS, st.sampled_from([1, 3, 16]))
def test_joins_of_two_sources(a: list[int], b: list[int], size: int) -> None:
    """merge keeps each order and every item, concat is one after the other, zip pairs to the shorter."""
    one, two = kx.source([(0, x) for x in a]), kx.source([(1, x) for x in b])

    merged = kx.merge(one, two, size=size).collect()
    assert [x for port, x in merged if port == 0] == a and [x for port, x in merged if port == 1] == b
    assert kx.concat(one, two, size=size).collect() == [(0, x) for x in a] + [(1, x) for x in b]
    assert kx.zip(kx.source(a), kx.source(b), size=size).collect() == list(zip(a, b, strict=False))


@given(LISTS, st.sampled_from([1, 3, 16]))
def test_branches_of_one_source(items: list[int], size: int) -> None:
    """Every item goes down every branch of a broadcast, and down one of a partition."""
    double, odd = kx.map(kx.it * 2), kx.filter(kx.it % 2 == 1)
    both = kx.source(items) >> kx.broadcast(double, kx.map(kx.it), size=size)

    assert sorted((both >> kx.merge()).collect()) == sorted([x * 2 for x in items] + items)
    assert (both >> kx.zip()).collect() == [(x * 2, x) for x in items]
    assert (kx.source(items) >> kx.partition(kx.it % 2 == 1, kx.to_list(), odd >> kx.to_list())).run() == (
        [x for x in items if x % 2 == 1], [])


@pytest.mark.parametrize("join", [kx.merge, kx.concat, kx.zip, kx.combine_latest])
def test_empty_and_none(join: Any, backend: str) -> None:
    """No items give none; None is an ordinary item."""
    assert join(kx.source([]), kx.source([])).collect(backend=backend) == []
    given = join(kx.source([None]), kx.source([None])).collect(backend=backend)
    assert given == ([None, None] if join in (kx.merge, kx.concat) else [(None, None)])


def test_zip_reads_no_further_than_it_must(backend: str, tracked: Any) -> None:
    """The longer branch is read a lane ahead at most, and closed when the shorter ends."""
    long, short = tracked(range(1000)), tracked([1, 2])

    assert kx.zip(kx.source(long), kx.source(short), size=4).collect(backend=backend) == [(0, 1), (1, 2)]
    assert long.pulled <= 2 + 4 + 1 and long.closed and short.closed


def test_concat_opens_the_second_when_its_turn_comes(tracked: Any, loop: str) -> None:
    """A later graph of its own source is opened when the one before has ended."""
    second = tracked([99])
    seen: list[tuple[int, int]] = []

    (kx.concat(kx.source(range(40)), kx.source(second)) >> kx.each(lambda x: seen.append((x, second.pulled)))).run()

    assert [x for x, _ in seen] == [*range(40), 99]
    assert [read for x, read in seen if x < 20] == [0] * 20


def timeline(loop: str, join: Any, *scripts: list[tuple[float, Any]]) -> list[tuple[float, Any]]:
    """What ``join`` gives, and when, over sources that follow their scripts."""
    async def main() -> list[tuple[float, Any]]:
        start = anyio.current_time()

        def playing(script: list[tuple[float, Any]]) -> Any:
            async def play() -> Any:
                for at, item in script:
                    await anyio.sleep(max(0.0, start + at - anyio.current_time()))
                    yield item
            return kx.source(play)

        out: list[tuple[float, Any]] = []
        await (join(*map(playing, scripts))
               >> kx.each(lambda x: out.append((round(anyio.current_time() - start, 6), x))))
        return out

    return run_virtual(main, loop)


def test_joins_by_time(loop: str) -> None:
    """On virtual time the joins are exact: by time, then as the docstrings say."""
    a, b = [(1.0, "a"), (3.0, "b")], [(2.0, 1), (2.5, 2), (9.0, 3)]

    assert timeline(loop, kx.merge, a, b) == [(1.0, "a"), (2.0, 1), (2.5, 2), (3.0, "b"), (9.0, 3)]
    assert timeline(loop, kx.zip, a, b) == [(2.0, ("a", 1)), (3.0, ("b", 2))]
    assert timeline(loop, kx.combine_latest, a, b) == [
        (2.0, ("a", 1)), (2.5, ("a", 2)), (3.0, ("b", 2)), (9.0, ("b", 3))]
    assert [x for _, x in timeline(loop, kx.concat, a, b)] == ["a", "b", 1, 2, 3]


def test_combine_latest_ends_with_a_branch_that_ended_empty(loop: str) -> None:
    """If a branch can never give, nothing can come any more."""
    assert timeline(loop, kx.combine_latest, [(1.0, "a"), (50.0, "b")], []) == []


def test_branch_routes_by_key(backend: str) -> None:
    """Each item goes to the branch its key names; an unknown key is a KeyError that lists the routes."""
    routes = {"a": kx.to_list(), "b": kx.map(str.upper) >> kx.to_list()}

    assert (kx.source("abba") >> kx.branch(routes)).run(backend=backend) == (["a", "a"], ["B", "B"])
    assert (kx.source(["apple"]) >> kx.branch(routes, key=kx.it[0])).run(backend=backend) == (["apple"], [])
    with pytest.raises(KeyError, match=r"no branch for 'z'; the routes are \['a', 'b'\]"):
        (kx.source("az") >> kx.branch(routes)).run(backend=backend)


def test_choosers_may_be_async(loop: str) -> None:
    """The predicate of partition and the key of branch may be ``async def``."""
    async def even(x: int) -> bool:
        return x % 2 == 0

    assert (kx.source(range(4)) >> kx.partition(even, kx.to_list(), kx.to_list())).run(backend=loop) == ([0, 2], [1, 3])
    assert (kx.source(range(3)) >> kx.branch({True: kx.to_list(), False: kx.to_list()}, key=even)).run(
        backend=loop) == ([0, 2], [1])


def test_a_branch_that_has_enough_does_not_stop_the_others(backend: str, tracked: Any) -> None:
    """The source is let go only when the last branch has left."""
    source = tracked(range(100))

    out = (kx.source(source) >> kx.broadcast(kx.take(2) >> kx.to_list(), kx.take(5) >> kx.to_list(), size=1)).run(
        backend=backend)

    assert out == ([0, 1], [0, 1, 2, 3, 4])
    assert 5 <= source.pulled <= 7 and source.closed


def test_a_branch_that_raises_fails_the_run(backend: str, tracked: Any) -> None:
    """A branch written in the graph belongs to the run: siblings are cancelled, the source is let go (ruling 1)."""
    source = tracked(range(1000))

    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source(source) >> [kx.map(lambda x: 1 / (x - 3)).named("bad"), kx.map(str)] >> kx.merge()).run(
            backend=backend)

    assert source.closed and source.pulled < 200
    assert any("'bad' (map)" in note and "item 3" in note for note in caught.value.__notes__)


def test_detach_cuts_the_failing_branch_off(backend: str) -> None:
    """With ``on_error="detach"`` the others go on."""
    bad = kx.map(lambda x: 1 / x) >> kx.to_list()

    out = (kx.source([0, 1, 2]) >> kx.broadcast(bad, kx.to_list(), on_error="detach")).run(backend=backend)

    assert out[1] == [0, 1, 2] and out[0] is None


def test_detach_cuts_off_what_is_inside_a_branch_and_nothing_below(backend: str) -> None:
    """A branch may fan out itself; what joins the branches belongs to the run."""
    inner = kx.broadcast(kx.map(lambda x: 1 // x) >> kx.to_list(), kx.to_list())

    out = (kx.source([0, 1]) >> kx.broadcast(inner, kx.to_list(), on_error="detach")).run(backend=backend)

    assert out == (None, [0, 1], [0, 1])
    with pytest.raises(ZeroDivisionError):
        (kx.source([0]) >> kx.broadcast(kx.map(abs), kx.map(abs), on_error="detach") >> kx.merge()
         >> kx.map(lambda x: 1 / x)).run(backend=backend)


def test_lanes_of_different_speed_cannot_deadlock_silently(backend: str) -> None:
    """zip over a branch that gives less than the other ends in GateDeadlock, naming ports and a remedy (ruling 4)."""
    graph = kx.source(range(100)) >> [kx.filter(kx.it > 50), kx.map(kx.it)] >> kx.zip()

    with pytest.raises(kx.GateDeadlock, match="port"):
        graph.run(backend=backend)


def test_share_opens_its_source_once(backend: str, tracked: Any) -> None:
    """Two uses of a shared graph in one run are one upstream; two runs open it twice."""
    opened: list[int] = []

    def numbers() -> Any:
        opened.append(1)
        yield from range(50)

    shared = kx.source(numbers) >> kx.share()
    graph = kx.merge(shared >> kx.map(kx.it * 100), shared)

    assert sorted(graph.collect(backend=backend)) == sorted([*range(50), *(x * 100 for x in range(50))])
    assert len(opened) == 1
    graph.run(backend=backend)
    assert len(opened) == 2


def test_a_graph_used_twice_without_share_is_opened_twice_and_said_so() -> None:
    """`check` says that a source is opened for each use (ruling 20)."""
    numbers = kx.source([1, 2])

    assert sorted(kx.merge(numbers, numbers).collect()) == [1, 1, 2, 2]
    assert any("opened for each use" in w and "kx.share()" in w for w in kx.merge(numbers, numbers).check())


@pytest.mark.parametrize("write", [
    lambda: kx.merge(size=0), lambda: kx.broadcast(kx.take(1), size=0), lambda: kx.broadcast(kx.take(1), on_error="x"),
    lambda: kx.partition(3, kx.take(1), kx.take(1)), lambda: kx.branch({}), lambda: kx.branch({1: kx.take(1)}, key=3),
    lambda: kx.branch({1: str}), lambda: kx.zip(3), lambda: kx.combine_latest(kx.take(1)),
    lambda: kx.partition(bool, kx.take(1), kx.take(1), size=0), lambda: kx.branch({1: kx.take(1)}, size=-1),
    lambda: kx.share(size=0),
], ids=range(12))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError):
        write()
