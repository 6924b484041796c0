"""Stages that keep time over one lane."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from kayrx.nodes import groups, time
from kayrx.nodes.values import EMPTY
from kayrx.plan.keeping import Barrier
from kayrx.plan.plan import Step
from kayrx.plan.units import called
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, any_of, pop, stage


@stage.register(time.Debounce)
async def _(node: time.Debounce, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), held, deadline = lanes, EMPTY, None
    while True:
        await any_of(run, lanes, deadline)
        if lane.items:
            if held is not EMPTY:
                run.ledger.lost(held, "filtered", step.label)
            held, deadline = pop(lane), run.backend.now() + node.seconds
        elif lane.closed:
            break
        elif deadline is not None and run.backend.now() >= deadline:
            item, held, deadline = held, EMPTY, None
            if await emit(item):
                return
    if held is not EMPTY:
        await emit(held)


@stage.register(time.ThrottleFirst)
async def _(node: time.ThrottleFirst, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,) = lanes
    last: float | None = None
    while not await lane.wait():
        for item in lane.drain(run.program.options.chunk):
            moment = run.backend.now()
            if last is None or moment - last >= node.seconds:
                last = moment
                if await emit(item):
                    return
            else:
                run.ledger.lost(item, "filtered", step.label)
        if run.due():
            await run.rest()


@stage.register(time.Sample)
async def _(node: time.Sample, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), held, due = lanes, EMPTY, run.backend.now() + node.seconds
    while True:
        await any_of(run, lanes, due, idle=held is EMPTY)
        if run.backend.now() >= due:
            item, held = held, EMPTY
            due += node.seconds
            if item is not EMPTY and await emit(item):
                return
        elif lane.items:
            if held is not EMPTY:
                run.ledger.lost(held, "filtered", step.label)
            held = pop(lane)
        elif lane.closed:
            break
    if held is not EMPTY:
        await emit(held)


@stage.register(time.Delay)
async def _(node: time.Delay, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,) = lanes
    held: deque[tuple[float, Any]] = deque()
    over: float | None = None  # when to complete: as late after the source as each item
    while True:
        if over is None and lane.closed and not lane.items:
            over = run.backend.now() + node.seconds
        if over is not None and not held and run.backend.now() >= over:
            return
        full = len(held) >= node.size and lane.items
        await any_of(run, () if full or over is not None else lanes, held[0][0] if held else over)
        if held and run.backend.now() >= held[0][0]:
            item = held[0][1]
            if await emit(item):
                return
            held.popleft()
        elif lane.items and len(held) < node.size:
            held.append((run.backend.now() + node.seconds, pop(lane)))


@stage.register(groups.Ticks)
async def _(node: groups.Ticks, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), due = lanes, None
    count: int = 0 if run.saver is None else run.saver.brought(step, 0)
    if count:
        due = run.backend.now() + node.seconds  # a window that is resumed has its time anew
    while True:
        await any_of(run, lanes, due)
        if due is not None and run.backend.now() >= due:
            due, count = None, 0
            if await emit(run.ledger.fresh(EMPTY, step.label)):
                return
        elif lane.items and run.saver is not None and type(lane.items[0]) is Barrier:
            run.saver.keep(lane.items[0], step, count)
            await emit(pop(lane))
            lane.taken -= 1  # it is no item
        elif lane.items:
            due = run.backend.now() + node.seconds if due is None else due
            count += 1
            if count == node.count:
                due, count = None, 0
            if await emit(lane.items[0]):
                return
            pop(lane)
        elif lane.closed:
            return
        if run.due():
            await run.rest()


@stage.register(time.KeepAlive)
async def _(node: time.KeepAlive, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), due = lanes, run.backend.now() + node.seconds
    while True:
        await any_of(run, lanes, due, idle=True)
        if lane.items:
            if await emit(lane.items[0]):
                return
            pop(lane)
        elif lane.closed:
            return
        elif run.backend.now() >= due:
            item = await called(step.where, node.item) if callable(node.item) else node.item
            if await emit(run.ledger.fresh(item, step.label)):
                return
        else:
            continue
        due = run.backend.now() + node.seconds
        if run.due():
            await run.rest()
