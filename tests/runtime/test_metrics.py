"""``run.metrics()``: counts taken from what exists anyway, so they cost nothing."""

from __future__ import annotations

from typing import Any

import anyio

import kayrx as kx
from kayrx.testing import run_virtual


async def pause(x: Any) -> Any:
    await anyio.sleep(1)
    return x


def test_segments_and_gates_count_the_items_they_have_taken(loop: str) -> None:
    """After the end every segment has taken each item once, and every gate is empty."""
    async def main() -> Any:
        async with (kx.source(range(5)) >> kx.map(pause) >> kx.map(pause) >> kx.to_list()).start() as run:
            await anyio.sleep(2.5)
            during = run.metrics()
        return during, run.metrics()

    during, after = run_virtual(main, loop)
    assert during.state == "running" and during.seconds == 2.5
    assert after.state == "done" and after.seconds == 6
    assert [s.taken for s in after.segments] == [5, 5]
    assert [(g.name, g.passed, g.depth, g.dropped, g.size) for g in after.gates] == [("into 'pause-2'", 5, 0, 0, 16)]


def test_a_join_counts_what_came_by_all_its_lanes(loop: str) -> None:
    """A stage has taken the sum of its lanes."""
    async def main() -> Any:
        async with (kx.merge(kx.source([1, 2]), kx.source([3])) >> kx.map(pause) >> kx.to_list()).start() as run:
            pass
        return run.metrics()

    (merged,) = [s for s in run_virtual(main, loop).segments if s.name.startswith("merge")]
    assert merged.taken == 3
