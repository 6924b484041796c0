"""Turns: work that never ends and gives nothing keeps nobody else from theirs (ruling 26)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import anyio
import pytest
import reactivex

import kayrx as kx
from kayrx.testing import run_virtual

LONG = 20_000
"""Items after which a graph that nobody could stop gives up, so that a failing test ends."""


class Kept(Exception):
    """Nobody else had a turn."""


def endless(x: Any = 0) -> Iterator[int]:
    for number in count():
        if number > LONG:
            raise Kept
        yield number


async def endless_later(x: Any = 0) -> AsyncIterator[int]:
    for number in endless():
        yield number


def none(x: Any) -> bool:
    return False


async def at_once(x: Any) -> Any:
    return x


async def later(x: Any) -> Any:
    """The first is the last."""
    for _ in range(5 - x):
        await anyio.sleep(0)
    return x


def parse(x: Any) -> Any:
    return kx.source([1]) >> kx.flat_map(x) >> kx.filter(none)


Shape = Callable[[], Any]
ONE_TASK: dict[str, Shape] = {
    "an iterator": lambda: kx.source(endless) >> kx.filter(none),
    "an async source": lambda: kx.source(endless_later) >> kx.filter(none),
    "an expansion": lambda: parse(endless),
    "an expansion behind a wait": lambda: kx.source([1]) >> kx.map(at_once) >> kx.flat_map(endless) >> kx.filter(none),
    "a guarded expansion": lambda: kx.source([1]) >> kx.flat_map(endless) >> kx.retry(2, on=OSError) >> kx.filter(none),
    "an expand": lambda: kx.source([0]) >> kx.expand(lambda x: [x + 1] if x < LONG else 1 / 0) >> kx.filter(none),
    "a reduce": lambda: kx.source(endless) >> kx.reduce(max),
    "eight deep": lambda: parse(endless) >> kx.flat_map(list) >> kx.flat_map(list) >> kx.flat_map(list)
    >> kx.flat_map(list) >> kx.flat_map(list) >> kx.flat_map(list) >> kx.flat_map(list) >> kx.flat_map(list),
}
TASKS: dict[str, Shape] = {
    "an async expansion": lambda: parse(endless_later),
    "before a crew": lambda: kx.source(endless) >> kx.filter(none) >> kx.map(at_once, concurrency=3),
    "before an unordered crew": lambda: parse(endless) >> kx.map(at_once, concurrency=3, ordered=False),
    "before threads": lambda: parse(endless) >> kx.map(str, on=kx.threads(2)),
    "behind a crew": lambda: kx.source([1]) >> kx.map(at_once, concurrency=3) >> kx.flat_map(endless)
    >> kx.filter(none),
    "behind calls that wait": lambda: kx.source([1, 2, 3]) >> kx.map(later, concurrency=3) >> kx.flat_map(endless)
    >> kx.filter(none),
    "behind an unordered crew": lambda: kx.source([1]) >> kx.map(at_once, concurrency=3, ordered=False)
    >> kx.flat_map(endless) >> kx.filter(none),
    "behind a join": lambda: kx.merge(kx.source([1]), kx.source([1])) >> kx.flat_map(endless) >> kx.filter(none),
    "a unit": lambda: kx.source([1]) >> kx.unit(kx.flat_map(endless) >> kx.filter(none)) >> kx.retry(2, on=OSError)
    >> kx.map(at_once),
    "a body": lambda: kx.source([1]) >> kx.group_by(kx.it, kx.flat_map(endless) >> kx.filter(none), max_groups=2)
    >> kx.map(at_once),
    "a unit alone": lambda: kx.source([1]) >> kx.unit(kx.flat_map(endless) >> kx.filter(none))
    >> kx.retry(2, on=OSError),
    "a body alone": lambda: kx.source([1]) >> kx.group_by(kx.it, kx.flat_map(endless) >> kx.filter(none), max_groups=2),
    "a branch": lambda: kx.source(endless) >> kx.partition(none, kx.map(at_once), kx.filter(none)) >> kx.merge(),
    "switch_map": lambda: kx.source([1]) >> kx.switch_map(endless) >> kx.filter(none),
}


@pytest.mark.parametrize("face", ["await", "stream", "async for"])
@pytest.mark.parametrize("shape", ONE_TASK | TASKS)
def test_a_cancellation_gets_through(shape: str, face: str, loop: str) -> None:
    """Whatever stands where: another task runs meanwhile, and the run can be cancelled."""
    if shape in TASKS and face == "async for":
        face = "await"
    graph = (ONE_TASK | TASKS)[shape]()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            async def cancel() -> None:
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()

            group.start_soon(cancel)
            if face == "await":
                await graph
            elif face == "stream":
                async with graph.stream() as items:
                    async for _ in items:
                        pass
            else:
                async for _ in graph:
                    pass

    run_virtual(main, loop)


@pytest.mark.parametrize("lane", ["an iterator", "an expansion", "an expand"])
def test_a_lane_that_gives_nothing_does_not_keep_the_others(lane: str, backend: str) -> None:
    """Also without a loop: the other lane ends what is wanted, and then the endless one ends too."""
    graph = kx.merge(ONE_TASK[lane](), kx.source([1, 2])) >> kx.take(2)
    assert graph.collect(backend=backend) == [1, 2]


def test_without_a_loop_turns_do_not_depend_on_the_clock() -> None:
    """The order in which lanes are read is the same however slow the machine: only the count decides."""
    def merged(seconds: float) -> list[Any]:
        now = [0.0]

        def clock() -> float:
            now[0] += seconds
            return now[0]

        lanes = (kx.source(range(n, n + 400)) >> kx.filter(lambda x: x % 7 < 3) for n in (0, 1000))
        return kx.merge(*lanes).collect(world=kx.World(now=clock))  # type: ignore[no-any-return]

    assert merged(0) == merged(1)


def test_an_observable_that_never_stops_by_itself_is_let_go_when_it_is_too_much() -> None:
    """A cold endless one fills its queue in one go; the overflow ends the run, and the subscription."""
    graph = kx.source(reactivex.from_iterable(endless())) >> kx.map(at_once)
    with pytest.raises(kx.GateOverflow):
        graph.run()
