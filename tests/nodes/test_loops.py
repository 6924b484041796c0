"""Loops: a body is applied again and again until `until` says that an item is done."""

from __future__ import annotations

from itertools import count
from typing import Any

import anyio
import pytest
import reactivex

import kayrx as kx
from kayrx.testing import run_virtual

ODD = kx.it % 2 == 1
DOUBLE = kx.map(kx.it * 2)


def virtually(graph: Any, loop: str) -> Any:
    async def main() -> Any:
        with anyio.fail_after(1000):
            return await graph
    return run_virtual(main, loop)


async def more(x: int) -> int:
    await anyio.sleep(1)
    return x + 1


async def is_five(x: int) -> bool:
    await anyio.sleep(0)
    return x % 5 == 0


def test_an_input_is_done_before_the_next_is_read(backend: str, tracked: Any) -> None:
    """Where nothing waits; a reader that has had enough lets the source go."""
    source = tracked(count(1))

    graph = kx.source(source) >> kx.loop(DOUBLE, until=kx.it > 9) >> kx.take(3)

    assert graph.collect(backend=backend) == [16, 16, 12]
    assert source.pulled <= 3 + 16 + 16 and source.closed  # what a gate may hold before and behind


def test_size_says_how_many_are_inside(loop: str) -> None:
    """Where the body waits so many turn at once and leave as they are done, and none is read beyond that."""
    inside, most = 0, 0

    async def work(x: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await anyio.sleep(1)
        inside -= 1
        return x - 1

    graph = kx.source(range(3, 43)) >> kx.loop(kx.map(work, concurrency=99), until=kx.it < 1, size=5) >> kx.to_list()

    assert virtually(graph, loop) == [0] * 40 and most == 5


def test_one_at_a_time_keeps_the_order(loop: str) -> None:
    """``size=1`` is a loop a `while` would write."""
    graph = kx.source([3, 9, 11]) >> kx.loop(kx.map(is_five) >> kx.map(lambda _: 5), until=is_five, size=1)
    assert graph.collect(backend=loop) == [5, 5, 5]


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("body", [DOUBLE, DOUBLE >> kx.retry(2), DOUBLE >> kx.tap(is_five)], ids=range(3))
def test_a_body_that_gives_one_for_one_never_overflows(body: Any, size: int, loop: str) -> None:
    """However small the gate is, and whether the body waits or not: an item has the slot that it came from."""
    graph = kx.source(range(1, 9)) >> kx.loop(body, until=kx.it > 9, size=size)

    for backend in (None, loop):
        assert sorted(graph.collect(backend=backend)) == [10, 12, 12, 14, 16, 16, 16, 16]


def test_state_in_the_body_spans_turns_and_items(backend: str) -> None:
    """The body is one graph for all, as if it were written in line."""
    graph = kx.source([1, 1, 1]) >> kx.loop(kx.scan(lambda s, x: s + x, 0), until=kx.it > 9)

    assert graph.collect(backend=backend) == [16, 17, 18]


def test_what_the_body_drops_has_ended(loop: str) -> None:
    """The loop ends although fewer come out than went in, in whatever segment they were dropped."""
    body = kx.map(more) >> kx.filter(ODD) >> kx.map(more)

    graph = kx.source(range(20)) >> kx.loop(body, until=kx.it > 9, size=2) >> kx.to_list()

    assert sorted(virtually(graph, loop)) == [10] * 5 + [12, 14, 16, 18, 20]


def test_a_body_that_multiplies_is_waited_for(loop: str) -> None:
    """More come out of one call than went in, while others are under way: the loop ends after all of them."""
    async def halves(x: int) -> Any:
        for half in (x // 2, x - x // 2):
            await anyio.sleep(1)
            yield half

    graph = kx.source([5, 9]) >> kx.loop(kx.flat_map(halves), until=kx.it < 2) >> kx.to_list()

    assert virtually(graph, loop) == [1] * 14


def test_a_join_in_the_body_may_wait_for_a_partner(backend: str) -> None:
    """What has none yet lets the next input in; at the end it is left over, as in any zip."""
    body = kx.broadcast(kx.filter(ODD), kx.map(kx.it + 0)) >> kx.zip() >> kx.map(sum)

    graph = kx.source(range(1, 9)) >> kx.loop(body, until=kx.it > 9)

    assert sorted(graph.collect(backend=backend)) == [10, 10, 14]


def test_what_a_source_in_the_body_holds_back_is_waited_for(loop: str) -> None:
    """`pause_when` keeps items for a flag that is still to come, long after the input has ended."""
    flags = kx.concat(kx.source([True]), kx.timer(50) >> kx.map(lambda _: False))

    graph = kx.source([1, 5]) >> kx.loop(kx.pause_when(flags) >> DOUBLE, until=kx.it > 9) >> kx.to_list()

    assert sorted(virtually(graph, loop)) == [10, 16]


@pytest.mark.parametrize(("body", "out"), [
    (kx.sample(1), [12]), (kx.keep_alive(5, 9), [10, 12, 16]), (kx.delay(3), [10, 12, 16]),
], ids=["sample", "keep_alive", "delay"])
def test_a_timer_that_holds_nothing_keeps_no_loop_open(body: Any, out: list[int], loop: str) -> None:
    """The loop ends between two ticks, but not before what is held has been given."""
    graph = kx.source([1, 5, 3]) >> kx.loop(body >> DOUBLE, until=kx.it > 9) >> kx.to_list()

    assert sorted(virtually(graph, loop)) == out


def test_a_body_that_ends_ends_the_loop(backend: str) -> None:
    """`take` in the body completes what is below; what is inside then is cancelled."""
    graph = kx.source([5, 7]) >> kx.loop(kx.map(kx.it + 5) >> kx.take(3), until=kx.it > 9)

    assert graph.collect(backend=backend) == [10, 12]


def test_more_than_the_feedback_holds_is_an_overflow(backend: str) -> None:
    """GateOverflow names the loop and the size that would help (ruling 4)."""
    graph = kx.source([1]) >> kx.loop(kx.flat_map(lambda x: [x] * 20), until=kx.it > 9).named("grow")

    with pytest.raises(kx.GateOverflow, match=r"'grow' \(loop\) at test_loops.py:\d+: .* holds \(16\); .*size=64"):
        graph.run(backend=backend)


def test_what_the_body_gives_at_its_end_has_to_be_done(backend: str) -> None:
    """A list that is due at the end cannot go round any more, and is not lost silently."""
    pairs = kx.loop(kx.buffer(2) >> kx.map(sum), until=kx.it == 3)

    assert (kx.source([1, 2]) >> pairs).collect(backend=backend) == [3]
    with pytest.raises(kx.RunError, match="let `until` say yes to it"):
        (kx.source([1]) >> pairs).run(backend=backend)


@pytest.mark.parametrize("where", ["body", "until"])
def test_a_failure_inside_keeps_its_type_and_says_where(where: str, backend: str) -> None:
    """The exception of the body or of `until`, once, with the note of its node."""
    def check(x: int) -> bool:
        return 1 // (x - 8) > 0 if where == "until" else x > 20

    body = kx.map(lambda x: x * 2 if where == "until" or x < 8 else x // 0)
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([1]) >> kx.loop(body, until=check)).run(backend=backend)
    notes = [n for n in caught.value.__notes__ if n.startswith("kayrx:")]
    assert len(notes) == 1 and ("map" in notes[0] or "loop" in notes[0])


def test_a_failure_inside_can_be_told(backend: str) -> None:
    """`materialize` below the loop makes an item of it, after what was done before."""
    graph = kx.source([6, 5, 0, 1]) >> kx.loop(kx.map(lambda x: 30 // x * x), until=kx.it > 9) >> kx.materialize()

    seen = graph.collect(backend=backend)

    assert seen[:2] == [kx.OnNext(30), kx.OnNext(30)] and isinstance(seen[2], kx.OnError) and len(seen) == 3


def test_a_branch_that_was_written_to_be_cut_off_may_hold_a_loop(backend: str) -> None:
    """A failure that goes round inside it reaches no sibling."""
    kept: list[int] = []
    graph = kx.source([1, 2]) >> kx.broadcast(
        kx.loop(kx.map(lambda x: x // 0), until=ODD) >> kx.each(print), kx.each(kept.append), on_error="detach")

    graph.run(backend=backend)

    assert kept == [1, 2]


def test_a_cycle_without_a_gate_is_drawn() -> None:
    """``size=0`` is a CompileError that shows the cycle."""
    with pytest.raises(kx.CompileError, match=r"cycle without a gate") as caught:
        (kx.source([1]) >> kx.loop(DOUBLE >> kx.filter(ODD), until=ODD, size=0)).compile()
    assert "loop -> [loop: it * 2 map -> it % 2 == 1 filter] -again-> (back to loop)" in str(caught.value)


def test_the_plan_says_where_what_is_not_done_waits() -> None:
    """The gate of the feedback, its size, and that it fails when full."""
    text = (kx.source([1]) >> kx.loop(DOUBLE, until=ODD, size=7)).explain()

    assert "gate 3 (7 items, error) into loop, port back" in text and "fails the run with GateOverflow" in text


def test_as_an_operator_it_keeps_its_order() -> None:
    """An Observable pushes: what comes while the body is busy waits behind what has come back."""
    subject: reactivex.Subject[int] = reactivex.Subject()
    seen: list[Any] = []
    double = kx.loop(DOUBLE, until=kx.it > 9).operator()
    subject.pipe(double).subscribe(lambda x: (seen.append(x), subject.on_next(5) if len(seen) == 1 else None),
                                   seen.append, lambda: seen.append("end"))

    subject.on_next(3)
    subject.on_completed()

    assert seen == [12, 10, "end"]


@pytest.mark.parametrize(("write", "why"), [
    (lambda: kx.loop(abs, until=ODD), "takes a graph, got builtin_function_or_method"),
    (lambda: kx.loop(kx.source([1]), until=ODD), "brings its own items"),
    (lambda: kx.loop(kx.to_list(), until=ODD), "nothing comes out of"),
    (lambda: kx.loop(kx.broadcast(DOUBLE, DOUBLE), until=ODD), "has several outputs"),
    (lambda: kx.loop(kx.retry(2), until=ODD), "needs something before it"),
    (lambda: kx.loop(DOUBLE, until=3), "until must be"),
    (lambda: kx.loop(DOUBLE, until=ODD, size=-1), "size must be"),
], ids=range(7))
def test_wrong_arguments_fail_where_they_are_written(write: Any, why: str) -> None:
    """A body that cannot go round, or a wrong argument, is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match=why):
        write()
