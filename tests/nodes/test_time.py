"""Time: debounce, throttle_first, sample, delay, interval, timer, on virtual time, with exact moments."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import run_virtual

Moments = list[tuple[float, Any]]


async def played(script: Moments, end: float, graph: Graph[Any, Any]) -> Moments:
    """What ``graph`` gives, and when, if a source gives ``script`` and completes at ``end``."""
    start = anyio.current_time()

    async def source() -> Any:
        for at, item in script:
            await anyio.sleep(start + at - anyio.current_time())
            yield item
        await anyio.sleep(start + end - anyio.current_time())

    out: Moments = []

    def note(item: Any) -> None:
        out.append((round(anyio.current_time() - start, 6), item))

    await (kx.source(source) >> graph >> kx.each(note))
    out.append((round(anyio.current_time() - start, 6), "|"))
    return out


def play(loop: str, script: Moments, end: float, graph: Graph[Any, Any]) -> Moments:
    async def main() -> Moments:
        return await played(script, end, graph)

    return run_virtual(main, loop)


ABC: Moments = [(1, "a"), (3, "b"), (4, "c"), (9, "d")]


@pytest.mark.parametrize(("graph", "out"), [
    (kx.debounce(2.5), [(6.5, "c"), (10.0, "d"), (10.0, "|")]),
    (kx.debounce(0.5), [(1.5, "a"), (3.5, "b"), (4.5, "c"), (9.5, "d"), (10.0, "|")]),
    (kx.debounce(20), [(10.0, "d"), (10.0, "|")]),
    (kx.throttle_first(2), [(1.0, "a"), (3.0, "b"), (9.0, "d"), (10.0, "|")]),
    (kx.throttle_first(2.5), [(1.0, "a"), (4.0, "c"), (9.0, "d"), (10.0, "|")]),
    (kx.throttle_first(50), [(1.0, "a"), (10.0, "|")]),
    (kx.sample(2.5), [(2.5, "a"), (5.0, "c"), (10.0, "d"), (10.0, "|")]),
    (kx.sample(3.5), [(3.5, "b"), (7.0, "c"), (10.0, "d"), (10.0, "|")]),
    (kx.sample(50), [(10.0, "d"), (10.0, "|")]),
    (kx.delay(2), [(3.0, "a"), (5.0, "b"), (6.0, "c"), (11.0, "d"), (12.0, "|")]),
    (kx.delay(0), [(1.0, "a"), (3.0, "b"), (4.0, "c"), (9.0, "d"), (10.0, "|")]),
    (kx.delay(2) >> kx.debounce(0.5), [(3.5, "a"), (5.5, "b"), (6.5, "c"), (11.5, "d"), (12.0, "|")]),
], ids=lambda v: "" if isinstance(v, list) else " >> ".join(f"{n.word}({n.seconds})" for n in v.nodes))
def test_moments(graph: Graph[Any, Any], out: Moments, loop: str) -> None:
    """Items come out at exact moments of the run's clock, on asyncio and trio alike."""
    assert play(loop, ABC, 10, graph) == out


@pytest.mark.parametrize("graph", [kx.debounce(1), kx.throttle_first(1), kx.sample(1), kx.delay(1)], ids=range(4))
def test_none_is_an_ordinary_item(graph: Graph[Any, Any], loop: str) -> None:
    """A None is held, delayed and given like any other item."""
    assert [x for _, x in play(loop, [(1, None)], 5, graph)] == [None, "|"]


@pytest.mark.parametrize("graph", [kx.debounce(1), kx.throttle_first(1), kx.sample(1), kx.delay(1)], ids=range(4))
def test_an_empty_source_just_ends(graph: Graph[Any, Any], loop: str) -> None:
    """No items in: none out, and completion."""
    assert [x for _, x in play(loop, [], 3, graph)] == ["|"]


@pytest.mark.parametrize("graph", [kx.debounce(1), kx.throttle_first(1), kx.sample(1), kx.delay(1)], ids=range(4))
def test_an_error_comes_at_once(graph: Graph[Any, Any], loop: str) -> None:
    """An error is not held back by what is held or delayed."""
    async def failing() -> Any:
        yield 1
        await anyio.sleep(0.25)
        raise LookupError

    async def main() -> float:
        start = anyio.current_time()
        with pytest.raises(LookupError):
            await (kx.source(failing) >> graph)
        return anyio.current_time() - start

    assert run_virtual(main, loop) == pytest.approx(0.25, abs=1e-9)


def test_interval_does_not_drift(loop: str) -> None:
    """Ticks come at whole multiples of the period, however long each takes to handle."""
    async def slow(tick: int) -> tuple[int, float]:
        at = anyio.current_time()
        await anyio.sleep(0.3)
        return tick, at

    async def main() -> list[Any]:
        start = anyio.current_time()
        ticks = await (kx.interval(1) >> kx.take(4) >> kx.map(slow) >> kx.to_list())
        return [(tick, round(at - start, 6)) for tick, at in ticks]

    assert run_virtual(main, loop) == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]


def test_interval_loses_no_tick_to_a_slow_reader(loop: str) -> None:
    """A tick that finds its reader busy waits; all come, in order."""
    async def main() -> list[int]:
        async def slow(tick: int) -> int:
            await anyio.sleep(2.5 if tick == 1 else 0)
            return tick

        return await (kx.interval(1) >> kx.take(5) >> kx.map(slow) >> kx.to_list())  # type: ignore[no-any-return]

    assert run_virtual(main, loop) == [0, 1, 2, 3, 4]


def test_timer_gives_one_zero(loop: str) -> None:
    """0 after ``seconds``, then the end."""
    async def main() -> tuple[list[int], float]:
        start = anyio.current_time()
        return await (kx.timer(2) >> kx.to_list()), round(anyio.current_time() - start, 6)

    assert run_virtual(main, loop) == ([0], 2.0)


def test_delay_holds_no_more_than_its_size(loop: str) -> None:
    """With ``size`` items under way the source is read no further."""
    read: list[int] = []

    def numbers() -> Any:
        for n in range(100):
            read.append(n)
            yield n

    async def main() -> None:
        async with (kx.source(numbers) >> kx.delay(10, size=4)).start() as run:
            await anyio.sleep(5)
            held = len(read)
            await run.cancel()
            assert held <= 4 + 16 + 16 + 1, held  # in the delay, in the gate, in the slice at hand

    run_virtual(main, loop)


@pytest.mark.parametrize("write", [
    lambda: kx.debounce(-1), lambda: kx.debounce("1"), lambda: kx.throttle_first(0), lambda: kx.sample(0),
    lambda: kx.sample(float("nan")), lambda: kx.delay(-1), lambda: kx.delay(1, size=0), lambda: kx.interval(0),
    lambda: kx.timer(-1), lambda: kx.delay(True),
], ids=range(10))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong number of seconds is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match="must be"):
        write()


def test_a_second_run_begins_with_a_fresh_clock(loop: str) -> None:
    """Nothing of the first run is held over into the second."""
    graph = kx.throttle_first(3)

    assert play(loop, ABC, 10, graph) == play(loop, ABC, 10, graph) == [
        (1.0, "a"), (4.0, "c"), (9.0, "d"), (10.0, "|")]
