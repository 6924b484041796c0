"""Stages: the heads of segments that join several lanes or keep time, written by hand.

Each reads its lanes in one task, where items and deadlines arrive one after another, and calls
``emit(x)``; that is true once nothing more is wanted below.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import singledispatch
from typing import Any

import anyio

from kayrx.errors import CompileError
from kayrx.graph.node import Node
from kayrx.nodes.values import EMPTY
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate

Emit = Callable[[Any], Awaitable[bool]]


@singledispatch
async def stage(node: Node, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    """Read ``lanes`` to their end and emit what the node gives."""
    raise CompileError(f"{node.where} has no stage: add a row to kayrx/runtime/stages")


async def any_of(run: Context, lanes: Sequence[Gate], deadline: float | None = None, *, idle: bool = False) -> None:
    """Wait until one of the lanes has an item or has ended, or until ``deadline`` on the run's clock.

    ``idle`` says that nothing is held until the deadline, so that a loop around the node may end before.
    Raises what a lane's writer has failed with, once its items are taken.
    """
    ready = False
    for gate in lanes:
        if gate.items or gate.closed:
            ready = True
        elif gate.error is not None:
            raise gate.error
    if ready:
        return
    park = run.backend.park()
    for gate in lanes:
        gate.reader = park
    try:
        if deadline is None:
            await run.parked(park)
        else:
            with anyio.move_on_after(max(0.0, deadline - run.backend.now())):
                if idle and run.circles:
                    run.idle.add(park)
                    run.look_for_rest()
                await park
    finally:
        run.idle.discard(park)
        for gate in lanes:
            if gate.reader is park:
                gate.reader = None


def living(lanes: Sequence[Gate]) -> list[Gate]:
    """The lanes that have something or may still give: only these are worth waiting for."""
    return [gate for gate in lanes if gate.items or not gate.closed]


async def pass_on(run: Context, lane: Gate, emit: Emit) -> None:
    """Emit what a lane gives, to its end."""
    while not await lane.wait():
        for item in lane.drain(run.program.options.chunk):
            if await emit(item):
                return
        if run.due():
            await run.rest()


def take_newest(run: Context, step: Step, lane: Gate, held: Any) -> Any:
    """The newest item of a lane, else ``held``; those it supersedes have been filtered, if nothing used them."""
    while lane.items:
        if held is not EMPTY:
            run.ledger.lost(held, "filtered", step.label)
        held = pop(lane)
    return held


def pop(gate: Gate) -> Any:
    """Take an item out of a lane; its slot is free from now on, for the stage holds no other of it."""
    item = gate.items.popleft()
    gate.taken += 1
    if gate.writer is not None:
        gate.release()
    return item
