"""Steering a run at any moment: a stop, a pause or a cancel before any turn of the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import kayrx as kx


def steered(what: str, turn: int, loop: Any, watch: Any, graph: Any) -> tuple[int, str, Any]:
    """Start ``graph`` on asyncio and call ``what`` of its run before a turn of the loop: turns, state, result."""
    async def main() -> tuple[int, str, Any]:
        run, acting = (graph >> kx.to_list()).start(), []

        async def act() -> None:
            if what == "pause":
                run.pause()
                await asyncio.sleep(500)
                run.resume()
            else:
                await getattr(run, what)()

        def begin() -> None:
            if run.state != "created":
                acting.append(asyncio.ensure_future(act()))

        loop.hook = begin
        async with run:
            pass
        assert not watch.anything, f"{what} at turn {turn}"
        for task in acting:
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return loop.turn, run.state, run.result

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


def every(what: str, shape: Any, alive: Any, ticking: Any) -> tuple[list[Any], list[tuple[str, Any]]]:
    """The result of a run let alone, and (state, result) for each turn at which it can be steered."""
    def at(turn: int) -> tuple[int, str, Any]:
        watch = alive()
        return steered(what, turn, ticking(turn), watch, shape(watch))

    turns, _, full = at(-1)
    return full, [at(turn)[1:] for turn in range(1, turns)]


def test_a_stop_at_any_turn_ends_well(shape: Any, alive: Any, ticking: Any) -> None:
    """Whenever it comes, a stop completes the run and leaves nothing; no item comes out that would not have."""
    full, ends = every("stop", shape, alive, ticking)

    assert {state for state, _ in ends} == {"done"}
    assert all(len(result) <= len(full) for _, result in ends)


def test_a_pause_at_any_turn_loses_nothing(shape: Any, alive: Any, ticking: Any, request: Any) -> None:
    """Whenever it comes and however long it is, the same items come out after it."""
    full, ends = every("pause", shape, alive, ticking)

    timed = "time" in request.node.callspec.id  # debounce rightly sees the gap
    assert all(timed or sorted(map(str, result)) == sorted(map(str, full)) for _, result in ends)


def test_a_cancel_of_the_run_at_any_turn_leaves_nothing(shape: Any, alive: Any, ticking: Any) -> None:
    """Whenever it comes, nothing is alive after it, and the state says whether it came in time."""
    full, ends = every("cancel", shape, alive, ticking)

    assert {state for state, _ in ends} == {"cancelled", "done"}
    assert all(result is None if state == "cancelled" else len(result) == len(full) for state, result in ends)
