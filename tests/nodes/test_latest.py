"""Latest: with_latest_from, zip_latest, race, merge_prioritized."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest
import reactivex
from hypothesis import given, strategies as st

import kayrx as kx


def text(graph: kx.Graph[Any, Any]) -> kx.Graph[Any, Any]:
    return graph >> kx.map("".join)


# -- with_latest_from ----------------------------------------------------------------------------


def test_with_latest_from_gives_each_item_the_newest_of_the_other(timeline: Any) -> None:
    """Before the other has given, nothing; afterwards one tuple an item of the stream."""
    def join(a: Any, b: Any) -> Any:
        return text(a >> kx.with_latest_from(b))

    assert timeline(join, "--1-----2--3-----|", "----a--b------c---|") == [(8, "2b"), (11, "3b"), (17, "|")]
    assert timeline.closed == [17, 17]
    assert timeline(join, "--1--2-|", "-a|") == [(2, "1a"), (5, "2a"), (7, "|")]
    assert timeline(join, "--1--2-|", "|") == [(7, "|")]


def test_with_latest_from_several(timeline: Any) -> None:
    """All of them have to have given."""
    assert timeline(lambda a, b, c: text(a >> kx.with_latest_from(b, c)), "-1-2-3|", "x", "--y") == [
        (3, "2xy"), (5, "3xy"), (6, "|")]


def test_at_one_instant_the_others_go_first(timeline: Any, backend: str) -> None:
    """So a join over lists is the same on every backend (ruling 8)."""
    assert timeline(lambda a, b: text(a >> kx.with_latest_from(b)), "--1|", "--a|") == [(2, "1a"), (3, "|")]
    assert (kx.source([1, 2]) >> kx.with_latest_from(kx.source("a"))).collect(backend=backend) == [(1, "a"), (2, "a")]
    assert (kx.source([None]) >> kx.with_latest_from(kx.source([None]))).collect(backend=backend) == [(None, None)]


def test_an_endless_other_starves_nobody(backend: str) -> None:
    """The lanes take turns: a stream beside a source that never stops giving comes to its end."""
    out = (kx.source(range(100)) >> kx.with_latest_from(kx.source(count()))).collect(backend=backend)

    assert [x for x, _ in out] == list(range(100)) and sorted(y for _, y in out) == [y for _, y in out]


def test_with_latest_from_joins_in_the_middle_of_a_branch(backend: str) -> None:
    """It stands where a step may stand: in an open graph, and in the branch of a fan-out."""
    tagged = kx.map(str) >> kx.with_latest_from(kx.source("x"))

    assert (kx.source([1]) >> [tagged, kx.map(kx.it * 10)] >> kx.zip()).collect(backend=backend) == [(("1", "x"), 10)]
    assert tagged(5) == [("5", "x")]


# -- zip_latest ----------------------------------------------------------------------------------


def test_zip_latest_pairs_fresh_items_and_lets_nobody_wait(timeline: Any) -> None:
    """The faster branch replaces what it has waiting; an ended branch may give its last once."""
    def join(*graphs: Any) -> Any:
        return text(kx.zip_latest(*graphs))

    assert timeline(join, "-1-2-------3--|", "-----a-b-------|") == [(5, "2a"), (11, "3b"), (14, "|")]
    assert timeline(join, "-1|", "---a--b|") == [(3, "1a"), (3, "|")]
    assert timeline(join, "|", "---a--b|") == [(0, "|")]
    assert timeline(join, "-1-2", "--#") == [(2, "# --#")]


def test_zip_latest_holds_one_item_a_branch_however_slow_the_partner(timeline: Any) -> None:
    """Ten items of one branch come to nothing but the newest."""
    assert timeline(lambda a, b: text(kx.zip_latest(a, b, size=1)), "-0123456789|", "-----------a---b-|") == [
        (11, "9a"), (11, "|")]


# -- race ----------------------------------------------------------------------------------------


def test_race_is_won_by_the_first_that_gives(timeline: Any) -> None:
    """The losers are cancelled at once and their sources closed."""
    assert timeline(kx.race, "---1-2|", "-a---b-c-|", "--") == [(1, "a"), (5, "b"), (7, "c"), (9, "|")]
    assert timeline.closed == [1, 9, 1]


def test_an_end_or_an_error_may_win_a_race(timeline: Any) -> None:
    """As in Rx, what a branch says first decides, whatever it says."""
    assert timeline(kx.race, "--|", "---a-|") == [(2, "|")]
    assert timeline(kx.race, "--#", "---a-|") == [(2, "# --#")]
    assert timeline(kx.race, "--a----|", "----#") == [(2, "a"), (7, "|")]


def test_a_dead_heat_goes_to_the_earlier_port(timeline: Any, backend: str) -> None:
    """By time, then port (ruling 8)."""
    assert timeline(kx.race, "--a-|", "--b-|") == [(2, "a"), (4, "|")]
    assert kx.race(kx.source("ab"), kx.source("xy")).collect(backend=backend) == ["a", "b"]


def test_a_race_of_branches_reads_its_source_once(backend: str, tracked: Any) -> None:
    """Written over branches, it takes one branch and lets the other go."""
    source = tracked(range(5))

    out = (kx.source(source) >> [kx.filter(kx.it > 2), kx.map(kx.it)] >> kx.race()).collect(backend=backend)

    assert out in ([3, 4], [0, 1, 2, 3, 4]) and source.closed


def test_a_lost_race_closes_its_sources(backend: str, tracked: Any) -> None:
    """A synchronous loser, however long, is closed."""
    loser = tracked(count())

    assert kx.race(kx.source([1]), kx.source(loser)).collect(backend=backend) == [1]
    assert loser.closed and loser.pulled <= 17


# -- merge_prioritized ---------------------------------------------------------------------------


@pytest.mark.parametrize("priorities", [3, (), (1,), (1, 0), "ab"])
def test_each_branch_needs_a_priority(priorities: Any) -> None:
    """Or nobody could say whose turn it is; told where it is written."""
    with pytest.raises(kx.GraphError, match="merge_prioritized"):
        kx.merge_prioritized(kx.source([1]), kx.source([2]), priorities=priorities)


@pytest.mark.parametrize("priorities", [(3, 1), (1, 1), (5, 2), (1, 2, 4)])
def test_rivals_are_taken_in_the_proportion_of_their_priorities(priorities: tuple[int, ...], backend: str) -> None:
    """Of lanes that always have items, every round takes as many of each as its priority says."""
    sources = [kx.source([port] * 1000) for port in range(len(priorities))]
    out = (kx.merge_prioritized(*sources, priorities=priorities, size=64) >> kx.take(60)).collect(backend=backend)
    whole = len(out) // sum(priorities) * sum(priorities)

    assert Counter(out[:whole]) == {p: n * whole // sum(priorities) for p, n in enumerate(priorities)}


@given(st.lists(st.integers()), st.lists(st.integers()))
def test_merge_prioritized_is_a_merge(a: list[int], b: list[int]) -> None:
    """Nothing is lost, and each branch keeps its order."""
    one, two = kx.source([(0, x) for x in a]), kx.source([(1, x) for x in b])
    out = kx.merge_prioritized(one, two, priorities=[2, 1]).collect()

    assert [x for p, x in out if p == 0] == a and [x for p, x in out if p == 1] == b


def test_without_a_rival_an_item_passes_at_once(timeline: Any) -> None:
    """Priorities order what waits; they make nobody wait."""
    assert timeline(lambda a, b: kx.merge_prioritized(a, b, priorities=(9, 1)), "-1---2-|", "--a-b--|") == [
        (1, "1"), (2, "a"), (4, "b"), (5, "2"), (7, "|")]


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("join", [kx.zip_latest, kx.race, lambda *g: kx.merge_prioritized(*g, priorities=(1, 1)),
                                  lambda a, b: a >> kx.with_latest_from(b)], ids=range(4))
def test_an_error_of_any_branch_fails_the_run_and_closes_the_others(join: Any, timeline: Any) -> None:
    """The very error comes out; every source is let go at that moment."""
    assert timeline(join, "--#", "-----a")[-1] == (2, "# --#") and timeline.closed == [2, 2]
    assert timeline(join, "-----a", "--#")[-1] == (2, "# --#") and timeline.closed == [2, 2]


@pytest.mark.parametrize(("graph", "ports"), [
    (kx.source([1]) >> kx.with_latest_from(kx.source([1]), size=3), ["port 1", "port 2"]),
    (kx.race(kx.source([1]), kx.source([1]), size=3), ["port 1", "port 2"]),
])
def test_explain_prints_a_bound_for_each_lane(graph: Any, ports: list[str]) -> None:
    """One lane a port, none without a bound."""
    lanes = [line for line in graph.explain().splitlines() if "(3 items, block) into" in line and "port" in line]

    assert [line.rpartition(", ")[2] for line in lanes] == ports


def test_as_operator_it_is_its_namesake() -> None:
    """In an Rx chain the join is RxPY's own."""
    seen: list[Any] = []
    reactivex.of(1, 2).pipe((kx.map(str) >> kx.with_latest_from(kx.source("a"))).operator()).subscribe(seen.append)

    assert seen == [("1", "a"), ("2", "a")]


@pytest.mark.parametrize(("write", "says"), [
    (lambda: kx.with_latest_from(), "give a graph"), (lambda: kx.with_latest_from([1]), r"write kx.source\(x\)"),
    (lambda: kx.with_latest_from(kx.map(str)), "must bring its own items"),
    (lambda: kx.source([1]) >> [kx.map(str), kx.map(str)] >> kx.with_latest_from(kx.source([1])), "need a fan-in next"),
    (lambda: kx.source([1]) >> kx.race(kx.source([1])), "brings its own items"),
    (lambda: kx.merge_prioritized(kx.source([1]), priorities=()), "a whole number for each branch"),
    (lambda: kx.merge_prioritized(kx.source([1]), priorities=(0,)), "whole number >= 1"),
    (lambda: kx.merge_prioritized(kx.source([1]), priorities=(1, 2)), "1 branches need 1 priorities, got 2"),
    (lambda: kx.source([1]) >> [kx.map(str), kx.map(str)] >> kx.merge_prioritized(priorities=[1]), "2 branches need 2"),
], ids=range(9))
def test_wrong_joins_fail_where_they_are_written(write: Any, says: str) -> None:
    """A GraphError of the line that writes it, with the remedy."""
    with pytest.raises(kx.GraphError, match=says):
        write()
