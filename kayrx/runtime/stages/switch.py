"""Stages with one open result at a time."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import anyio

from kayrx.nodes import switch
from kayrx.nodes.values import EMPTY
from kayrx.plan.plan import Step
from kayrx.plan.probe import readable
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.guards.many import outputs
from kayrx.runtime.stages.base import Emit, pop, stage
from kayrx.runtime.stages.inner import Inner


@stage.register(switch.SwitchMap)
@stage.register(switch.ExhaustMap)
async def _(node: switch.Inner, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,) = lanes
    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        inner = Inner(run, step, group)
        try:
            await followed(node, run, step, lane, emit, inner)
        except BaseException as error:  # a user's error must not pass through the group (ruling 22)
            if run.ours(error):
                raise
            failure = error
        if inner.alive:
            group.cancel_scope.cancel()
    if failure is not None or inner.error is not None:
        raise failure or inner.error or AssertionError


async def followed(node: switch.Inner, run: Context, step: Step, lane: Gate, emit: Emit, inner: Inner) -> None:
    """Send on what the inner gives, and let each item of the lane supersede it, or give way to it."""
    number = -1
    segment = next(s for s in run.program.plan.segments if s.head is step)
    run.positions[segment.index] = lambda: number
    while True:
        await inner.settled()
        if inner.given is not EMPTY:
            if await emit(inner.given):
                return
            inner.go_on()
        elif lane.items:
            if inner.alive and isinstance(node, switch.ExhaustMap):
                run.ledger.lost(pop(lane), "filtered", step.label)
                continue
            await inner.leave()
            number, item = lane.taken, pop(lane)
            if await begun(node, run, step, item, emit, inner):
                return
        elif inner.alive or not lane.closed:
            await inner.or_lane(lane)
        else:
            return
        if run.due():
            await run.rest()


async def begun(node: switch.Inner, run: Context, step: Step, item: Any, emit: Emit, inner: Inner) -> bool:
    """Open the result for an item.  One that never waits is sent on here and now; true if nothing more is wanted."""
    items = node.fn(run.ledger.value(item))
    readable(items, step.where, "write kx.rx() around the RxPY operator")
    if inspect.isawaitable(items) or hasattr(items, "__aiter__"):
        inner.begin(item, outputs(lambda _: items, None))
        return False
    child = -1
    try:
        for value in items:
            child += 1
            if await emit((run.child(item[0], child), value) if run.ledger.exact else value):
                return True
            if run.due():
                await run.rest()
    finally:
        if hasattr(items, "close"):
            items.close()
    run.ledger.lost(item, "split", step.label)
    return False
