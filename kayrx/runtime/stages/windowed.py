"""Stages that gather items by time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kayrx.nodes import windows
from kayrx.plan.keeping import Barrier
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, any_of, pop, stage


@stage.register(windows.Buffer)
async def _(node: windows.Buffer, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), deadline = lanes, None
    held: list[Any] = [] if run.saver is None else run.saver.brought(step, [])
    if held:
        deadline = run.backend.now() + (node.seconds or 0)
    while True:
        await any_of(run, lanes, deadline)
        if lane.items:
            if type(item := pop(lane)) is Barrier and run.saver is not None:
                run.saver.keep(item, step, held)
                lane.taken -= 1  # it is no item
                await emit(item)
                continue
            if not held:
                deadline = run.backend.now() + (node.seconds or 0)
            held.append(item)
        elif lane.closed:
            break
        if held and (len(held) == node.count or (deadline is not None and run.backend.now() >= deadline)):
            full, held, deadline = held, [], None
            if await emit(run.ledger.joined(full, step.label, list)):
                return
    if held:
        await emit(run.ledger.joined(held, step.label, list))
