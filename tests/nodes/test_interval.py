"""The interval join: pairs of what happened close together, held to a plain-Python oracle."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st

import kayrx as kx

EVENTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60)), max_size=25)


def numbered(events: list[Any]) -> list[Any]:
    return [(key, time, n) for n, (key, time) in enumerate(events)]


def pairs(left: list[Any], right: list[Any], before: float, after: float) -> list[Any]:
    """Every pair is tried."""
    return sorted((a, b) for a in left for b in right if a[0] == b[0] and a[1] - before <= b[1] <= a[1] + after)


@given(EVENTS, EVENTS, st.integers(0, 20), st.integers(0, 20))
def test_streams_in_order_are_joined_whole(left: list[Any], right: list[Any], before: int, after: int) -> None:
    """All pairs of the oracle and no other, with and without a loop, however the lanes take turns."""
    one, two = (sorted(numbered(events), key=lambda e: e[1]) for events in (left, right))
    wanted = pairs(one, two, before, after)

    for size in (1, 16):
        graph = kx.source(one) >> kx.join(kx.source(two), within=(before, after), key=kx.it[0], event_time=kx.it[1],
                                          size=size)
        assert sorted(graph.collect()) == wanted
        assert sorted(graph.collect(backend="asyncio")) == sorted(graph.collect(backend="trio", chunk=1)) == wanted


@given(EVENTS, EVENTS, st.integers(0, 20))
def test_lateness_is_how_much_a_stream_may_be_out_of_order(left: list[Any], right: list[Any], within: int) -> None:
    """With as much as there is, all pairs come, and each once; with less, none that is wrong."""
    one, two = numbered(left), numbered(right)
    wanted = pairs(one, two, within, within)

    def joined(lateness: float) -> list[Any]:
        return sorted((kx.source(one) >> kx.join(kx.source(two), within=within, key=kx.it[0], event_time=kx.it[1],
                                                 lateness=lateness)).collect())

    assert joined(60) == wanted
    some = joined(0)
    assert len(set(some)) == len(some) and set(some) <= set(wanted)


def test_by_arrival_the_time_is_that_of_the_clock(timeline: Any) -> None:
    """A pair comes with the later of its two; what is too old is paired no more."""
    def join(a: Any, b: Any) -> Any:
        return a >> kx.join(b, within=2) >> kx.map("".join)

    assert timeline(join, "-1--2---3-----|", "--a--b----c-|") == [
        (2, "1a"), (4, "2a"), (5, "2b"), (10, "3c"), (14, "|")]


def test_before_and_after_are_seen_from_the_stream(timeline: Any) -> None:
    """``within=(0, 3)``: the other's item at the same time or up to three seconds later."""
    def join(a: Any, b: Any) -> Any:
        return a >> kx.join(b, within=(0, 3)) >> kx.map("".join)

    assert timeline(join, "--1--2----|", "-a-b-c-d--|") == [(3, "1b"), (5, "1c"), (5, "2c"), (7, "2d"), (10, "|")]


def test_it_ends_when_nothing_can_be_paired_any_more(timeline: Any) -> None:
    """A stream that has ended is waited for no longer than its last item counts."""
    def join(a: Any, b: Any) -> Any:
        return a >> kx.join(b, within=3, event_time=float, lateness=1) >> kx.map("".join)

    assert timeline(join, "123|", "--5-8-9----1-") == [(2, "25"), (2, "35"), (4, "|")]
    assert timeline.closed == [3, 4]
    assert timeline(join, "|", "-1-2-3") == [(0, "|")] and timeline.closed == [0, 0]
    assert timeline(join, "-1-2-3", "|") == [(0, "|")] and timeline.closed == [0, 0]


@pytest.mark.parametrize("fast", ["stream", "other"])
def test_a_stream_that_is_ahead_waits_for_the_other(fast: str, loop: str) -> None:
    """No more than ``max_items`` of it are held, and its source is read no further: nothing is lost."""
    read: list[int] = []

    async def main() -> Any:
        async def slowly() -> Any:
            for x in range(0, 300, 50):
                await anyio.sleep(1)
                seen.append(len(read))
                yield x

        seen: list[int] = []
        quick, slow = kx.source(range(300)) >> kx.tap(read.append), kx.source(slowly)
        one, two = (quick, slow) if fast == "stream" else (slow, quick)
        out = await (one >> kx.join(two, within=0, event_time=kx.it, max_items=10, size=4) >> kx.to_list())
        return out, seen

    from kayrx.testing import run_virtual
    out, seen = run_virtual(main, loop)
    assert out == [(x, x) for x in range(0, 300, 50)]
    assert seen[0] <= 10 + 4 and all(x <= n + 50 + 14 for x, n in zip(seen[1:], range(0, 300, 50), strict=False))


def test_a_full_stream_goes_on_when_what_it_holds_is_too_old(timeline: Any) -> None:
    """By arrival no item of the other is needed for that, only time."""
    def join(a: Any, b: Any) -> Any:
        return a >> kx.join(b, within=2, max_items=2, size=1) >> kx.map("".join)

    assert timeline(join, "(1234)-|", "---a---|") == [(3, "3a"), (3, "4a"), (7, "|")]
    assert timeline(join, "(1234)-|", "-----a-|") == [(7, "|")]
    assert timeline(join, "(1234)-|", "--a----|") == [(2, "3a"), (2, "4a"), (7, "|")]


def test_the_stream_that_is_behind_is_read_first(backend: str) -> None:
    """So pairs come by the time of their later item, where both streams have items."""
    other = kx.source(range(0, 200, 2))
    out = (kx.source(range(0, 200, 2)) >> kx.join(other, within=4, event_time=kx.it, size=64)).collect(backend=backend)

    assert [max(pair) for pair in out] == sorted(max(pair) for pair in out) and len(out) == 100 * 5 - 6


def test_two_full_streams_fail_the_run(backend: str) -> None:
    """Neither could be read: a RunError with the remedies."""
    graph = kx.source(range(50)) >> kx.join(kx.source(range(50)), within=99, event_time=kx.it, max_items=5)

    with pytest.raises(kx.RunError, match=r"'join' \(join\) at .* holds 5 items of each stream"):
        graph.collect(backend=backend)


async def later(x: Any) -> Any:
    await anyio.sleep(0)
    return x[1]


def test_functions_may_be_async_and_one_for_each_stream(loop: str) -> None:
    """key and event_time, of the stream and of the other."""
    graph = kx.source([("a", 1), ("b", 2)]) >> kx.join(
        kx.source([(2, "b"), (9, "a")]), within=3, key=(kx.it[0], kx.it[1]), event_time=(later, kx.it[0]))

    assert graph.collect(backend=loop) == [(("b", 2), (2, "b"))]


def test_what_is_no_time_is_a_type_error(loop: str) -> None:
    """As in windows."""
    with pytest.raises(TypeError, match="event_time gave None"):
        (kx.source([None]) >> kx.join(kx.source([1]), within=1, event_time=kx.it)).collect(backend=loop)


OTHER = kx.source([1])


@pytest.mark.parametrize("write", [
    lambda: kx.join(OTHER, within=-1), lambda: kx.join(OTHER, within=(1, -1)), lambda: kx.join(OTHER, within=(1, 2, 3)),
    lambda: kx.join(OTHER, within=1, lateness=1), lambda: kx.join(OTHER, within=1, max_items=0),
    lambda: kx.join(OTHER, within=1, key=5), lambda: kx.join(OTHER, within=1, key=(len,)),
    lambda: kx.join(OTHER, within=1, event_time=(len, 1)), lambda: kx.join(kx.map(str), within=1),
    lambda: kx.join(OTHER, within=1, size=0),
], ids=range(10))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match=r"^join\("):
        write()


def test_the_plan_tells_what_is_held() -> None:
    """`explain` prints the bound."""
    assert "join: 7 items of each stream" in (OTHER >> kx.join(OTHER, within=1, max_items=7)).explain()
