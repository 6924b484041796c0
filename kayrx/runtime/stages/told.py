"""The stage that makes items of all that happens before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kayrx.nodes import about
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, stage


@stage.register(about.Materialize)
async def _(node: about.Materialize, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), exact = lanes, run.ledger.exact
    end: Any = about.OnCompleted()
    while True:
        try:
            if await lane.wait():
                break
        except Exception as error:
            if error is not lane.error:
                raise
            end = about.OnError(error)
            break
        for item in lane.drain(run.program.options.chunk):
            if await emit((item[0], about.OnNext(item[1])) if exact else about.OnNext(item)):
                return
        if run.due():
            await run.rest()
    await emit(run.ledger.fresh(end, step.label))
