"""Joins in a run with a checkpoint: a lane whose barrier has come is not read on until those of all others have.

Then what the join holds is its state between the items before the barriers and those behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

from kayrx.graph.node import Node
from kayrx.nodes import combine, latest
from kayrx.plan.keeping import Barrier
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, any_of, pop, stage


@singledispatch
async def stage_with_barriers(node: Node, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    """`stage`, which meets barriers as they come where there is but one lane."""
    await stage(node, run, step, lanes, emit)


class Bars:
    """The barriers that have come; ``held`` gives what is to be saved when all have, None for nothing."""

    def __init__(self, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit,
                 held: Callable[[], Any] | None) -> None:
        self.run, self.step, self.lanes, self.emit, self.held = run, step, lanes, emit, held
        self.come: dict[Gate, Barrier] = {}

    def ready(self, gate: Gate) -> bool:
        """True if a lane has an item that may be taken; a barrier is taken note of."""
        if gate in self.come or not gate.items:
            return False
        if type(gate.items[0]) is not Barrier:
            return True
        self.come[gate] = pop(gate)
        gate.taken -= 1  # it is no item
        return False

    def over(self, gate: Gate) -> bool:
        """True if a lane gives nothing any more."""
        return gate.closed and not gate.items and gate not in self.come

    async def wait(self, *, absorbs: bool = True) -> bool:
        """Wait for an item in a lane that may be read; or save, and let the barriers go on.  False once all have ended.

        Asked only while no lane is ready that could be taken of.
        """
        alive = [gate for gate in self.lanes if not self.over(gate)]
        if not alive:
            return False
        free = [gate for gate in alive if gate not in self.come]
        if free:
            await any_of(self.run, free if absorbs else [gate for gate in free if not gate.items])
            return True
        barrier = self.come[alive[0]]
        self.come.clear()
        if self.held is not None and self.run.saver is not None:
            self.run.saver.keep(barrier, self.step, self.held())
        await self.emit(barrier)
        return True


def brought(run: Context, step: Step, count: int) -> list[list[Any]]:
    """What is held of each lane: what was saved, else nothing."""
    held: list[list[Any]] = [[] for _ in range(count)]
    return held if run.saver is None else run.saver.brought(step, held)


@stage_with_barriers.register(combine.Merge)
async def _(node: combine.Merge, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    bars = Bars(run, step, lanes, emit, None)
    while await bars.wait():
        for gate in lanes:
            for _ in range(run.program.options.chunk):
                if not bars.ready(gate):
                    break
                if await emit(gate.items[0]):
                    return
                pop(gate)
        if run.due():
            await run.rest()


@stage_with_barriers.register(combine.Zip)
async def _(node: combine.Zip, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    """What stands before a barrier and has no partner yet is held here, at most as much as all gates of the run hold,
    for the barrier may not have had room in the lane."""
    held, most = brought(run, step, len(lanes)), sum(gate.size for gate in run.gates)
    bars = Bars(run, step, lanes, emit, lambda: held)
    while True:
        ready = [bool(bars.ready(gate)) for gate in lanes]
        if all(ready[i] or held[i] for i in range(len(lanes))):
            if await emit(run.ledger.joined([kept[0] if kept else gate.items[0] for kept, gate in zip(
                    held, lanes, strict=True)], step.label)):
                return
            for kept, gate in zip(held, lanes, strict=True):
                if kept:
                    del kept[0]
                else:
                    pop(gate)
        elif any(bars.over(gate) and not kept for kept, gate in zip(held, lanes, strict=True)):
            return
        else:
            moved = False
            for i, gate in enumerate(lanes):
                if bars.come and ready[i] and len(held[i]) < most:
                    held[i].append(pop(gate))
                    moved = True
            if not moved:
                await bars.wait(absorbs=False)
        if run.due():
            await run.rest()


@stage_with_barriers.register(combine.CombineLatest)
async def _(node: combine.CombineLatest, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    newest = brought(run, step, len(lanes))
    bars = Bars(run, step, lanes, emit, lambda: newest)
    while await bars.wait():
        for i, gate in enumerate(lanes):
            if bars.over(gate) and not newest[i]:
                return
            if not bars.ready(gate):
                continue
            newest[i] = [gate.items[0]]
            if all(newest) and await emit(run.ledger.joined([kept for kept, in newest], step.label)):
                return
            pop(gate)
        if run.due():
            await run.rest()


@stage_with_barriers.register(latest.WithLatestFrom)
async def _(node: latest.WithLatestFrom, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    main, *others = lanes
    newest = brought(run, step, len(others))
    bars = Bars(run, step, lanes, emit, lambda: newest)
    await run.rest()
    while not bars.over(main):
        await bars.wait()
        for i, gate in enumerate(others):
            while bars.ready(gate):
                for superseded in newest[i]:
                    run.ledger.lost(superseded, "filtered", step.label)
                newest[i] = [pop(gate)]
        if not bars.ready(main):
            continue
        item = main.items[0]
        if not all(newest):
            run.ledger.lost(item, "filtered", step.label)
        elif await emit(run.ledger.joined([item, *(kept for kept, in newest)], step.label)):
            return
        pop(main)
        if run.due():
            await run.rest()


@stage_with_barriers.register(latest.ZipLatest)
async def _(node: latest.ZipLatest, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    held = brought(run, step, len(lanes))
    bars = Bars(run, step, lanes, emit, lambda: held)
    await run.rest()
    while not any(bars.over(gate) and not kept for kept, gate in zip(held, lanes, strict=True)):
        await bars.wait()
        for i, gate in enumerate(lanes):
            if not bars.ready(gate):
                continue
            for superseded in held[i]:
                run.ledger.lost(superseded, "filtered", step.label)
            held[i] = [pop(gate)]
            if all(held):
                full = [kept for kept, in held]
                for kept in held:
                    kept.clear()
                if await emit(run.ledger.joined(full, step.label)):
                    return
        if run.due():
            await run.rest()


__all__ = ["stage_with_barriers"]
