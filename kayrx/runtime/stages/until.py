"""Stages of one lane that another lane steers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kayrx.nodes import until
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, any_of, living, pass_on, pop, stage


@stage.register(until.TakeUntil)
async def _(node: until.TakeUntil, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    main, other = lanes
    await run.rest()
    while living((main,)):
        await any_of(run, living(lanes))
        if other.items:
            run.ledger.lost(pop(other), "filtered", step.label)
            return
        if main.items:
            if await emit(main.items[0]):
                return
            pop(main)
        if run.due():
            await run.rest()


@stage.register(until.SkipUntil)
async def _(node: until.SkipUntil, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    main, other = lanes
    await run.rest()
    while living((main,)):
        await any_of(run, living(lanes))
        if other.items:
            run.ledger.lost(pop(other), "filtered", step.label)
            other.cancel()
            await pass_on(run, main, emit)
            return
        if main.items:
            run.ledger.lost(pop(main), "filtered", step.label)
        if run.due():
            await run.rest()


@stage.register(until.PauseWhen)
async def _(node: until.PauseWhen, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    main, flags = lanes
    paused = False
    await run.rest()
    while living((main,)):
        paused = paused and bool(living((flags,)))  # nobody is left who could let it go on
        await any_of(run, [flags] if paused and main.items else living(lanes))
        while flags.items:
            paused = bool(run.ledger.value(flags.items[0]))
            run.ledger.lost(pop(flags), "filtered", step.label)
        if main.items and not paused:
            if await emit(main.items[0]):
                return
            pop(main)
        if run.due():
            await run.rest()


@stage.register(until.BufferUntil)
async def _(node: until.BufferUntil, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    main, bounds = lanes
    held: list[Any] = []
    deadline: float | None = None
    await run.rest()
    while living((main,)):
        await any_of(run, living(lanes), deadline)
        full = False
        if bounds.items:
            run.ledger.lost(pop(bounds), "filtered", step.label)
            full = True
        elif main.items:
            if not held and node.seconds is not None:
                deadline = run.backend.now() + node.seconds
            held.append(pop(main))
        full = full or len(held) == node.count or (deadline is not None and run.backend.now() >= deadline)
        if held and full:
            given, held, deadline = held, [], None
            if await emit(run.ledger.joined(given, step.label, list)):
                return
        if run.due():
            await run.rest()
    if held:
        await emit(run.ledger.joined(held, step.label, list))
