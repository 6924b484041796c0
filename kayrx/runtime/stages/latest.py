"""Stages of the joins that look at what their lanes gave last, or first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kayrx.nodes import latest
from kayrx.nodes.values import EMPTY
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, any_of, living, pass_on, pop, stage, take_newest


@stage.register(latest.WithLatestFrom)
async def _(node: latest.WithLatestFrom, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    main, *others = lanes
    newest: list[Any] = [EMPTY] * len(others)
    await run.rest()
    while living((main,)):
        await any_of(run, living(lanes))
        for i, gate in enumerate(others):
            newest[i] = take_newest(run, step, gate, newest[i])
        if not main.items:
            continue
        item = main.items[0]
        if any(held is EMPTY for held in newest):
            run.ledger.lost(item, "filtered", step.label)
        elif await emit(run.ledger.joined([item, *newest], step.label)):
            return
        pop(main)
        if run.due():
            await run.rest()


@stage.register(latest.ZipLatest)
async def _(node: latest.ZipLatest, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    held: list[Any] = [EMPTY] * len(lanes)

    def over() -> bool:
        return any(item is EMPTY and gate.closed and not gate.items for item, gate in zip(held, lanes, strict=True))

    await run.rest()
    while not over():
        await any_of(run, living(lanes))
        for i, gate in enumerate(lanes):
            if not gate.items:
                continue
            if held[i] is not EMPTY:
                run.ledger.lost(held[i], "filtered", step.label)
            held[i] = pop(gate)
            if not any(item is EMPTY for item in held):
                full, held[:] = held[:], [EMPTY] * len(lanes)
                if await emit(run.ledger.joined(full, step.label)):
                    return
        if run.due():
            await run.rest()


@stage.register(latest.Race)
async def _(node: latest.Race, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    await run.rest()
    await any_of(run, lanes)
    winner = next(gate for gate in lanes if gate.items or gate.closed)
    for gate in lanes:
        if gate is not winner:
            for item in gate.items:
                run.ledger.lost(item, "filtered", step.label)
            gate.cancel()
    await pass_on(run, winner, emit)


@stage.register(latest.MergePrioritized)
async def _(node: latest.MergePrioritized, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    credit = [0] * len(lanes)  # smooth weighted round robin: who waits gains, who is taken pays for all
    await run.rest()
    while alive := living(lanes):
        await any_of(run, alive)
        ready = [i for i, gate in enumerate(lanes) if gate.items]
        if not ready:
            continue
        for i in ready:
            credit[i] += node.priorities[i]
        chosen = max(ready, key=credit.__getitem__)
        credit[chosen] -= sum(node.priorities[i] for i in ready)
        if await emit(lanes[chosen].items[0]):
            return
        pop(lanes[chosen])
        if run.due():
            await run.rest()
