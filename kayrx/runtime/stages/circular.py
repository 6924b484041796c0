"""The stage of a loop: what has come back goes before what is new."""

from __future__ import annotations

from collections.abc import Sequence

from kayrx.nodes import loops
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.circles import Feedback
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, pop, stage


@stage.register
async def _(node: loops.Loop, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    new, back = lanes
    circle = next(c for c in run.circles if c.step is step)
    while back.error is None:
        if back.items:
            lane = back
        elif new.items and not circle.full:
            lane = new
        elif circle.last and circle.resting():  # an estimate of nothing inside is not enough: bodies multiply
            break
        else:
            await circle.wait((back,) if circle.full or new.closed or new.error is not None else (back, new))
            continue
        circle.inside += 1
        # What goes round once more leaves its slot to itself, for it may be back before `emit` returns.
        if await emit(pop(back) if lane is back else lane.items[0]):
            break
        if lane is new:
            pop(new)
        if not circle.body:
            circle.inside = 0
        if run.due():
            await run.rest()
    assert isinstance(back, Feedback)
    back.ended = True
    if new.error is not None and back.error is None:
        raise new.error
