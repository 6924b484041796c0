"""Stages: the heads of segments that join several lanes or keep time, written by hand.

Each reads its lanes in one task, where items and deadlines arrive one after another, and calls
``emit(x)``; that is true once nothing more is wanted below.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import singledispatch
from typing import Any

import anyio

from kayrx.errors import CompileError
from kayrx.graph.node import Node
from kayrx.nodes import combine, time, transform, windows
from kayrx.nodes.values import EMPTY
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gate import Gate
from kayrx.runtime.hosted import Hosted

Emit = Callable[[Any], Awaitable[bool]]


@singledispatch
async def stage(node: Node, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    """Read ``lanes`` to their end and emit what the node gives."""
    raise CompileError(f"{node.where} has no stage: add a row to kayrx/runtime/stages.py")


async def any_of(run: Context, lanes: Sequence[Gate], deadline: float | None = None) -> None:
    """Wait until one of the lanes has an item or has ended, or until ``deadline`` on the run's clock."""
    if any(gate.items or gate.closed for gate in lanes):
        return
    park = run.backend.park()
    for gate in lanes:
        gate.reader = park
    try:
        if deadline is None:
            await run.parked(park)
        else:
            with anyio.move_on_after(max(0.0, deadline - run.backend.now())):
                await park
    finally:
        for gate in lanes:
            if gate.reader is park:
                gate.reader = None


def pop(gate: Gate) -> Any:
    """Take an item out of a lane; its slot is free from now on, for the stage holds no other of it."""
    item = gate.items.popleft()
    gate.taken += 1
    if gate.writer is not None:
        gate.release()
    return item


# -- joins ---------------------------------------------------------------------------------------


@stage.register(combine.Merge)
async def _(node: combine.Merge, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    while alive := [g for g in lanes if g.items or not g.closed]:
        await any_of(run, alive)
        for gate in alive:  # one chunk a lane and turn, so that no lane starves another
            for item in gate.drain(run.program.options.chunk):
                if await emit(item):
                    return
        if run.due():
            await run.rest()


@stage.register(combine.Concat)
async def _(node: combine.Concat, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    for gate in lanes:
        gate.ask()
        while not await gate.wait():
            for item in gate.drain(run.program.options.chunk):
                if await emit(item):
                    return
            if run.due():
                await run.rest()


@stage.register(combine.Zip)
async def _(node: combine.Zip, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    while True:
        while empty := [gate for gate in lanes if not gate.items]:
            if any(gate.closed for gate in empty):
                return
            await any_of(run, empty)
        if await emit(run.ledger.joined([gate.items[0] for gate in lanes], step.label)):
            return
        for gate in lanes:
            pop(gate)
        if run.due():
            await run.rest()


@stage.register(combine.CombineLatest)
async def _(node: combine.CombineLatest, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    newest: list[Any] = [EMPTY] * len(lanes)
    missing = len(lanes)
    while alive := [(i, g) for i, g in enumerate(lanes) if g.items or not g.closed]:
        await any_of(run, [g for _, g in alive])
        for i, gate in alive:
            if gate.closed and not gate.items and newest[i] is EMPTY:
                return  # this lane can never give, so nothing can come any more
            if not gate.items:
                continue
            missing -= newest[i] is EMPTY
            newest[i] = gate.items[0]
            if not missing and await emit(run.ledger.joined(newest, step.label)):
                return
            pop(gate)
        if run.due():
            await run.rest()


# -- time ----------------------------------------------------------------------------------------


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
        await any_of(run, lanes, due)
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


@stage.register(windows.Buffer)
async def _(node: windows.Buffer, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), deadline = lanes, None
    held: list[Any] = []
    while True:
        await any_of(run, lanes, deadline)
        if lane.items:
            if not held:
                deadline = run.backend.now() + (node.seconds or 0)
            held.append(pop(lane))
        elif lane.closed:
            break
        if held and (len(held) == node.count or (deadline is not None and run.backend.now() >= deadline)):
            full, held, deadline = held, [], None
            if await emit(run.ledger.joined(full, step.label, list)):
                return
    if held:
        await emit(run.ledger.joined(held, step.label, list))


# -- any Rx operator -----------------------------------------------------------------------------


@stage.register(transform.Rx)
async def _(node: transform.Rx, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), hosted, completed = lanes, Hosted(step, run), False
    try:
        while not hosted.ended:
            if completed and hosted.next_due is None:
                return  # the operator has been told, and nothing is left that could make it go on
            await any_of(run, () if completed else lanes, hosted.next_due)
            if hosted.is_due:
                hosted.run_due()
            elif lane.items:
                run.ledger.lost(lane.items[0], "absorbed", step.label)
                hosted.give(run.ledger.value(lane.items[0]))
                pop(lane)
            elif lane.closed and not completed:
                completed = True
                hosted.complete()
            for item in hosted.taken():
                if await emit(run.ledger.fresh(item, step.label)):
                    return
        for item in hosted.taken():
            if await emit(run.ledger.fresh(item, step.label)):
                return
    finally:
        hosted.dispose()
