"""Deadlines: the time limits of a segment's suspended calls are on one timer (ruling 25)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.runtime.guards.deadlines import Deadlines
from kayrx.testing import run_virtual


class Fired:
    """Keeps when it was told."""

    def __init__(self, log: list[tuple[str, float]], name: str) -> None:
        self.log, self.name = log, name

    def fire(self) -> None:
        self.log.append((self.name, round(asyncio.get_running_loop().time(), 6)))


def armed(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.TimerHandle]:
    """The timers that any Deadlines has armed."""
    handles: list[asyncio.TimerHandle] = []
    call_at = asyncio.BaseEventLoop.call_at

    def kept(self: Any, when: float, callback: Callable[..., Any], *args: Any, **kw: Any) -> asyncio.TimerHandle:
        handle = call_at(self, when, callback, *args, **kw)
        if isinstance(getattr(callback, "__self__", None), Deadlines):
            handles.append(handle)
        return handle

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_at", kept)
    return handles


@pytest.mark.parametrize("inside", [False, True])
def test_sixteen_suspended_calls_have_one_timer(inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls wait inside `timeout`, also in a unit that is begun for each item, the loop holds one timer
    for all, and none after the run."""
    handles, most = armed(monkeypatch), 0

    async def slow(x: int) -> int:
        nonlocal most
        await anyio.sleep(1 + x % 3)
        most = max(most, sum(not h.cancelled() and h.when() > h._loop.time() for h in handles))  # type: ignore[attr-defined]
        return x

    steps = kx.unit(kx.map(slow) >> kx.timeout(17)) >> kx.retry(2) if inside else \
        kx.map(slow, concurrency=16) >> kx.timeout(17)
    graph = kx.source(range(200)) >> steps >> kx.to_list()

    async def main() -> Any:
        return await graph

    assert run_virtual(main) == list(range(200))
    assert most == 1 and len(handles) < (30 if inside else 10)
    assert all(h.cancelled() for h in handles[-1:])


def test_limits_fire_in_their_order_and_only_while_somebody_waits() -> None:
    """The earliest first, whenever it was added; a dropped one never."""
    log: list[tuple[str, float]] = []

    async def main() -> None:
        deadlines = Deadlines()
        deadlines.add(3, Fired(log, "late"))
        dropped = deadlines.add(1, Fired(log, "dropped"))
        deadlines.add(2, Fired(log, "early"))
        deadlines.drop(dropped)
        deadlines.drop(dropped)
        await anyio.sleep(10)
        assert not deadlines.heap

    run_virtual(main)
    assert log == [("early", 2.0), ("late", 3.0)]


def test_calls_that_end_in_time_leave_no_heap() -> None:
    """The heap holds at most twice the calls that wait, however many there were."""
    async def main() -> None:
        deadlines, log = Deadlines(), []
        waiting = deadlines.add(60, Fired(log, "waits"))
        for _ in range(10_000):
            deadlines.drop(deadlines.add(60, Fired(log, "met")))
            assert len(deadlines.heap) < 150
        deadlines.drop(waiting)
        assert not deadlines.heap and not log

    run_virtual(main)


def test_a_held_loop_times_out_nobody_whose_answer_has_come() -> None:
    """A callback holds the loop for 2 s; the answer that came meanwhile, two tasks away, is no timeout."""
    async def main() -> list[str]:
        loop: Any = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        async def far() -> str:
            return await answer

        async def ask(_: int) -> str:
            return await asyncio.create_task(far())

        def hold() -> None:
            loop._jumping.now += 2
            answer.set_result("in time")

        loop.call_later(0.5, hold)
        return await (kx.source([1]) >> kx.map(ask) >> kx.timeout(1) >> kx.to_list())

    assert run_virtual(main) == ["in time"]
