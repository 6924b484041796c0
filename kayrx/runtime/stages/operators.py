"""The stage of any Rx operator."""

from __future__ import annotations

from collections.abc import Sequence

from kayrx.nodes import transform
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.rx.hosted import Hosted
from kayrx.runtime.stages.base import Emit, any_of, pop, stage


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
