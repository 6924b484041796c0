"""`rx_scheduler`: Rx timers outside a graph, on the running loop's clock."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import reactivex

import kayrx as kx
from kayrx.testing import run_virtual, rx_scheduler

HOUR = 3600


def test_an_rx_timer_that_raises_ends_its_block(loop: str) -> None:
    """What an action of the scheduler raises comes out of ``async with``, the very object."""
    async def main() -> None:
        async with rx_scheduler() as timers:
            reactivex.timer(1, scheduler=timers).subscribe(lambda _: 1 / 0)
            await anyio.sleep(HOUR)

    with pytest.raises(ZeroDivisionError):
        run_virtual(main, loop)


def test_operators_of_a_graph_take_the_scheduler_of_their_subscription(loop: str) -> None:
    """`graph.operator()` with timed nodes, subscribed with the loop's scheduler, is on the clock too."""
    async def main() -> list[Any]:
        seen: list[Any] = []
        async with rx_scheduler() as timers:
            reactivex.of(1, 2).pipe(kx.delay(HOUR).operator()).subscribe(
                lambda x: seen.append((x, anyio.current_time())), scheduler=timers)
            await anyio.sleep(2 * HOUR)
        return seen

    assert run_virtual(main, loop) == [(1, HOUR), (2, HOUR)]
