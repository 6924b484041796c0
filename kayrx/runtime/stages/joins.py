"""Stages that join several lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kayrx.nodes import combine
from kayrx.nodes.values import EMPTY
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, any_of, pop, stage


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
