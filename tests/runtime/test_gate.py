"""Gates: the bounded hand-off between two segments, and what happens when one is full."""

from __future__ import annotations

import operator
import re
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import run_virtual

Virtual = Callable[[Any], Any]


async def at_once(x: Any) -> Any:
    return x


def apart(seconds: float, how_many: int) -> kx.Graph[Any, int]:
    """0, 1, 2 ... with ``seconds`` before each."""
    async def items() -> AsyncIterator[int]:
        for number in range(how_many):
            await anyio.sleep(seconds)
            yield number
    return kx.source(items)


# -- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 16])
def test_a_gate_holds_no_more_than_its_size_with_the_readers_hand(size: int, virtual: Virtual) -> None:
    """What waits in a gate and the item its reader is working on are ``size`` together, never more (ruling 5)."""
    given = finished = most = 0

    async def give(x: int) -> int:
        nonlocal given
        given += 1
        return x

    async def finish(x: int) -> None:
        nonlocal finished, most
        most = max(most, given - finished)
        await anyio.sleep(1)
        finished += 1

    virtual(kx.source(range(5 * size)) >> kx.map(give) >> kx.backpressure(size) >> kx.each(finish))

    assert most == size and finished == 5 * size


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("size", [1, 4])
def test_a_gate_and_the_calls_behind_it_are_two_bounds_that_add_up(size: int, ordered: bool, virtual: Virtual) -> None:
    """An item leaves its slot to the call that begins with it, where ``concurrency`` counts it: held is exactly the
    sum of what `explain` prints (ruling 5)."""
    given = finished = most = 0

    async def give(x: int) -> int:
        nonlocal given, most
        given += 1
        most = max(most, given - finished)
        return x

    async def call(x: int) -> int:
        await anyio.sleep(1)
        return x

    async def finish(x: int) -> None:
        nonlocal finished
        await anyio.sleep(100)
        finished += 1

    graph = kx.source(range(60)) >> kx.map(give) >> kx.backpressure(size) >> kx.map(
        call, concurrency=3, ordered=ordered) >> kx.backpressure(2) >> kx.each(finish)
    virtual(graph)

    told = [int(n) for n in re.findall(r"(\d+) (?:items?|calls?)[ ,]", graph.explain().partition("bounds:")[2])]
    assert told == [size, 2, 3] and most == sum(told) and finished == 60


def test_an_item_frees_its_slot_when_its_reader_has_finished_it(virtual: Virtual) -> None:
    """An item that has been taken still fills its slot: the writer goes on at the end of the reader's call."""
    log: list[tuple[str, int, float]] = []

    async def give(x: int) -> int:
        log.append(("given", x, anyio.current_time()))
        return x

    async def finish(x: int) -> None:
        await anyio.sleep(10)

    async def main() -> None:
        start = anyio.current_time()
        await (kx.source(range(4)) >> kx.map(give) >> kx.backpressure(1) >> kx.each(finish))
        log[:] = [(what, x, when - start) for what, x, when in log]

    virtual(main)

    assert log == [("given", 0, 0.0), ("given", 1, 10.0), ("given", 2, 20.0), ("given", 3, 30.0)]


def test_the_default_gate_holds_sixteen() -> None:
    """A cut that nobody asked for is a gate of 16."""
    plan = (kx.source([1]) >> kx.map(at_once) >> kx.map(at_once) >> kx.to_list()).compile()

    assert [(g.size, g.overflow) for g in plan.gates] == [(16, "block")]


def test_a_million_items_never_hold_more_than_the_declared_bounds(loop: str) -> None:
    """From a fast source through a slow sink nothing but the declared gates can fill (law 3, B.1)."""
    read = finished = most = 0

    def fast() -> Any:
        nonlocal read
        while read < 1_000_000:
            read += 1
            yield read

    async def slow(x: int) -> None:
        nonlocal finished, most
        most = max(most, read - finished)
        if not x % 10_000:
            await anyio.sleep(60)
        finished += 1

    async def main() -> None:
        graph = kx.source(fast) >> kx.map(at_once) >> kx.map(at_once) >> kx.each(slow)
        async with graph.start() as run:
            pass
        assert all(g.depth <= g.size == 16 for g in run.metrics().gates)

    run_virtual(main, loop)

    assert finished == 1_000_000
    assert most == 2 * 16


def test_a_bound_counts_what_one_item_expands_into(virtual: Virtual) -> None:
    """A flat_map is suspended in the middle of its output: 10,000 outputs wait in a gate of 16."""
    made = finished = most = 0

    def expand(_: int) -> Any:
        nonlocal made
        while made < 10_000:
            made += 1
            yield made

    async def slow(x: int) -> None:
        nonlocal finished, most
        most = max(most, made - finished)
        if not x % 500:
            await anyio.sleep(1)
        finished += 1

    virtual(kx.source([1]) >> kx.map(at_once) >> kx.flat_map(expand) >> kx.map(at_once) >> kx.each(slow))

    assert finished == 10_000 and most <= 2 * 16 + 2


def test_a_chunk_is_never_larger_than_the_gate(virtual: Virtual) -> None:
    """However large a chunk may be, a reader of a gate of 2 has 2 items at most before the writer goes on."""
    order: list[str] = []

    async def give(x: int) -> int:
        order.append(f"+{x}")
        return x

    async def finish(x: int) -> None:
        order.append(f"-{x}")

    virtual(kx.source(range(100)) >> kx.map(give) >> kx.backpressure(2) >> kx.each(finish))

    held = most = 0
    for step in order:
        held += 1 if step[0] == "+" else -1
        most = max(most, held)
    assert most <= 3 and len(order) == 200


def test_a_pause_of_any_length_loses_nothing(virtual: Virtual) -> None:
    """A source held for a thousand hours goes on where it was."""
    async def main() -> list[int]:
        async with (kx.interval(1) >> kx.take(50) >> kx.map(at_once) >> kx.to_list()).start() as run:
            await anyio.sleep(10.5)
            run.pause()
            await anyio.sleep(3_600_000)
            assert run.state == "paused"
            run.resume()
        return run.result  # type: ignore[no-any-return]

    assert virtual(main) == list(range(50))


# -- policies ------------------------------------------------------------------------------------


async def through(overflow: Any, size: int = 2) -> tuple[list[Any], int]:
    """Ten items a second apart through a gate whose reader takes 3.6 s for each."""
    out: list[Any] = []

    async def slow(x: Any) -> None:
        await anyio.sleep(3.6)
        out.append(x)

    async with (apart(1, 10) >> kx.backpressure(size, overflow=overflow) >> kx.each(slow)).start() as run:
        pass
    (gate,) = run.metrics().gates
    return out, gate.dropped


@pytest.mark.parametrize(("overflow", "out", "dropped"), [
    ("block", list(range(10)), 0),
    # the reader is free at 1, 4.6, 8.2 and 11.8
    ("drop_oldest", [0, 2, 6, 8, 9], 5),
    ("drop_newest", [0, 1, 2, 4, 8], 5),
    ("latest", [0, 3, 6, 9], 6),
    (kx.conflate(operator.add), [0, 1, 5, 22, 17], 0),
])
def test_each_policy_loses_exactly_what_it_names(overflow: Any, out: list[int], dropped: int,
                                                 virtual: Virtual) -> None:
    """On virtual time the kept and the dropped items of every policy are exact, and add up."""
    got = virtual(lambda: through(overflow))

    assert got == (out, dropped)


def test_error_fails_the_run_and_names_the_gate_and_the_remedies(virtual: Virtual) -> None:
    """``overflow="error"`` is a GateOverflow at the first item that finds no room."""
    with pytest.raises(kx.GateOverflow, match=r"full \(2 items\).*drop_oldest"):
        virtual(lambda: through("error"))


def test_conflate_joins_and_loses_nothing(virtual: Virtual) -> None:
    """What finds the gate full is joined into the newest that waits, so the sum is kept."""
    out, _ = virtual(lambda: through(kx.conflate(operator.add)))

    assert sum(out) == sum(range(10))


def test_a_dropping_gate_reads_its_source_without_waiting_for_its_reader(virtual: Virtual) -> None:
    """A gate that may drop is always a real one: its source is read at its own pace (ruling 7)."""
    read_at: list[float] = []

    async def main() -> None:
        start = anyio.current_time()

        def tick(x: int) -> int:
            read_at.append(anyio.current_time() - start)
            return x

        async def slow(x: int) -> None:
            await anyio.sleep(100)

        await (apart(1, 5) >> kx.map(tick) >> kx.backpressure(1, overflow="latest") >> kx.each(slow))

    virtual(main)

    assert read_at == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_gate_that_can_be_pulled_has_no_queue() -> None:
    """``block`` between nodes that never wait is pulled in one task: the source is read item by item (ruling 7)."""
    seen: list[str] = []
    graph = (kx.source(iter(range(3))) >> kx.tap(lambda x: seen.append(f"a{x}")) >> kx.backpressure(16)
             >> kx.tap(lambda x: seen.append(f"b{x}")))

    graph.run()

    assert seen == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_reader_that_leaves_lets_go_of_an_endless_source(backend: str) -> None:
    """``take`` behind a gate ends the run although its source never would."""
    graph = kx.source(lambda: count()) >> [kx.map(kx.it), kx.map(kx.it)] >> kx.merge() >> kx.take(3) >> kx.to_list()

    assert len(graph.run(backend=backend)) == 3
