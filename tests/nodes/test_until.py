"""Until: take_until, skip_until, pause_when and buffer(until=): one graph steers another."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import reactivex

import kayrx as kx


def take(a: Any, b: Any) -> Any:
    return a >> kx.take_until(b)


def skip(a: Any, b: Any) -> Any:
    return a >> kx.skip_until(b)


def pause(a: Any, b: Any) -> Any:
    return a >> kx.pause_when(b >> kx.map(kx.it == "T"))


def buffer(a: Any, b: Any) -> Any:
    return a >> kx.buffer(until=b) >> kx.map("".join)


# -- take_until ----------------------------------------------------------------------------------


def test_take_until_ends_with_the_first_item_of_the_other(timeline: Any) -> None:
    """Both sources are let go at that moment."""
    assert timeline(take, "-1-2-3-4-|", "----x----y") == [(1, "1"), (3, "2"), (4, "|")]
    assert timeline.closed == [4, 4]


def test_an_other_that_ends_without_an_item_decides_nothing(timeline: Any) -> None:
    """take_until goes on to the end of the stream; skip_until then passes nothing."""
    assert timeline(take, "-1-2-|", "--|") == [(1, "1"), (3, "2"), (5, "|")]
    assert timeline(skip, "-1-2-|", "--|") == [(5, "|")]


def test_at_one_instant_the_other_goes_first(timeline: Any, backend: str) -> None:
    """So the answer does not depend on chunks or backends."""
    assert timeline(take, "-1-2-|", "---x") == [(1, "1"), (3, "|")]
    assert timeline(skip, "-1-2-|", "---x") == [(3, "2"), (5, "|")]
    assert (kx.source(range(99)) >> kx.take_until(kx.source([0]))).collect(backend=backend) == []
    assert (kx.source(range(99)) >> kx.skip_until(kx.source([0]))).collect(backend=backend) == list(range(99))


def test_take_until_stops_a_stream_that_has_no_end(timeline: Any, tracked: Any, backend: str) -> None:
    """An endless source is closed."""
    endless = tracked(count())

    assert (kx.source(endless) >> kx.take_until(kx.source([1]))).collect(backend=backend) == [] and endless.closed
    assert timeline(lambda b: kx.interval(2) >> kx.take_until(b), "-----x") == [(2, 0), (4, 1), (5, "|")]


# -- skip_until ----------------------------------------------------------------------------------


def test_skip_until_passes_what_comes_after_the_other_has_given(timeline: Any) -> None:
    """The other is let go when it has decided, long before the stream ends."""
    assert timeline(skip, "-1-2-3-4-|", "----x----y") == [(5, "3"), (7, "4"), (9, "|")]
    assert timeline.closed == [9, 4]


# -- pause_when ----------------------------------------------------------------------------------


def test_pause_when_holds_and_loses_nothing(timeline: Any) -> None:
    """While the newest flag is true nothing passes; then all of it, in order."""
    assert timeline(pause, "-1-2-3-4-----5-|", "--T------F--T-F-") == [
        (1, "1"), (9, "2"), (9, "3"), (9, "4"), (14, "5"), (15, "|")]


def test_a_pause_holds_the_source(timeline: Any) -> None:
    """With its lane full the source is read no further: the bound wins."""
    read: list[int] = []
    held: list[int] = []

    def flag(mark: str) -> bool:
        held.append(len(read))
        return mark == "T"

    def graph(flags: Any) -> Any:
        return kx.interval(1) >> kx.tap(read.append) >> kx.take(20) >> kx.pause_when(flags >> kx.map(flag), size=2)

    out = timeline(graph, "T---------F|")
    assert held == [0, 2] and len(out) == 21


def test_a_pause_that_nobody_can_end_is_over(timeline: Any) -> None:
    """With the end of the flags the stream goes on; with the end of an empty stream the flags are let go."""
    assert timeline(pause, "-1-2-|", "T---|") == [(4, "1"), (4, "2"), (5, "|")]
    assert timeline(pause, "-1-|", "--T") == [(1, "1"), (3, "|")] and timeline.closed == [3, 3]
    assert timeline(pause, "--|", "T") == [(2, "|")] and timeline.closed == [2, 2]


# -- buffer(until=) ------------------------------------------------------------------------------


def test_buffer_until_gives_a_list_at_each_item_of_the_other(timeline: Any) -> None:
    """No list is empty; the last comes at completion."""
    assert timeline(buffer, "-1-2-3-----4-|", "----x-x-x------") == [
        (4, "12"), (6, "3"), (13, "4"), (13, "|")]


def test_after_the_end_of_the_other_the_rest_is_one_list(timeline: Any) -> None:
    """Nothing is lost for want of a boundary (RxPY: the end of the other is the end)."""
    assert timeline(buffer, "-1-2-3-4-|", "--x|") == [(2, "1"), (9, "234"), (9, "|")]


def test_count_seconds_and_until_whichever_is_first(timeline: Any) -> None:
    """All three bounds hold at once."""
    def both(a: Any, b: Any) -> Any:
        return a >> kx.buffer(count=2, seconds=3, until=b) >> kx.map("".join)

    assert timeline(both, "-12-3---45---6-|", "---------x-----") == [
        (2, "12"), (7, "3"), (9, "4"), (12, "5"), (15, "6"), (15, "|")]


def test_check_says_that_until_alone_is_no_bound() -> None:
    """`check` names the remedy; with a count it has nothing to say."""
    (warning,) = (kx.source([1]) >> kx.buffer(until=kx.timer(1))).check()

    assert "(unbounded); add count=" in warning and "test_until.py" in warning
    assert (kx.source([1]) >> kx.buffer(count=2, until=kx.timer(1))).check() == []
    assert "buffer: 2 items" in (kx.source([1]) >> kx.buffer(count=2, until=kx.timer(1))).explain()


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("join", [take, skip, pause, buffer])
def test_an_error_of_either_fails_the_run_and_closes_both(join: Any, timeline: Any) -> None:
    """The very error comes out, at its moment."""
    assert timeline(join, "--#", "------x")[-1] == (2, "# --#") and timeline.closed == [2, 2]
    assert timeline(join, "------1", "--#")[-1] == (2, "# --#") and timeline.closed == [2, 2]


@pytest.mark.parametrize(("join", "out"), [(take, []), (skip, [1, 2]),
                                           (lambda a, b: a >> kx.buffer(until=b), [[1, 2]])], ids=range(3))
def test_lists_need_no_loop(join: Any, out: Any, backend: str) -> None:
    """Over synchronous graphs they run in place, and say what they say on a loop."""
    assert join(kx.source([1, 2]), kx.source([0])).collect(backend=backend) == out


@pytest.mark.parametrize(("node", "out"), [
    (kx.take_until(kx.source([0])), []), (kx.skip_until(kx.source([0])), [1, 2]),
    (kx.buffer(until=kx.source([0])), [[1, 2]]),
], ids=range(3))
def test_as_rx_operators_they_say_the_same(node: Any, out: Any) -> None:
    """In an Rx chain they are RxPY's own, and agree (law 5)."""
    seen: list[Any] = []
    reactivex.of(1, 2).pipe(node.operator()).subscribe(seen.append)

    assert seen == out


@pytest.mark.parametrize("write", [
    lambda: kx.take_until(kx.map(str)), lambda: kx.skip_until(3), lambda: kx.pause_when(kx.take(1)),
    lambda: kx.take_until(kx.source([1]), size=0), lambda: kx.buffer(until=kx.map(str)),
    lambda: kx.buffer(count=0, until=kx.source([1])), lambda: kx.buffer(seconds=0, until=kx.source([1])),
], ids=range(7))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError):
        write()
