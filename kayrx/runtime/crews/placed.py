"""The calls of a crew at a place: on threads, in processes, or on somebody else's engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from kayrx.nodes.place import Placement
from kayrx.plan.units import DROPPED
from kayrx.runtime.crews.batches import item_by_item
from kayrx.runtime.guards.sent import past_marks

if TYPE_CHECKING:
    from kayrx.runtime.crews.crew import Crew


@asynccontextmanager
async def placed(crew: Crew, place: Placement) -> AsyncIterator[None]:
    """While open, ``crew.fn`` is called at ``place``, inside the guards of the step."""
    run, step = crew.run, crew.step
    crew.most = place.in_flight
    workers = place.start(step.node.fn)  # type: ignore[attr-defined]
    run.workers.append(workers)
    async with workers as call, item_by_item(place, call, run.backend) as one:
        seat = getattr(workers, "seat", None) if place.batch == 1 else None
        guarded = run.guard(step) if step.guards else None

        async def at_place(item: Any) -> Any:
            if seat is None:
                return await guarded.call(one, (item,)) if guarded else await one(item)
            with seat() as seated:
                ident = run.item
                await seated.ready()  # outside the guards: waiting for a worker is no part of the call's time
                run.item = ident
                return await guarded.seated(seated.ready).call(seated.one, (item,)) if guarded \
                    else await seated.one(item)

        crew.fn = past_marks(step, at_place)
        if run.ledger.exact:
            crew.fn = with_ids(crew, crew.fn)
        yield


def with_ids(crew: Crew, fn: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """``fn`` over (id, item) pairs, as they are in a run that tells the fate of every item."""
    async def call(pair: Any) -> Any:
        crew.run.item, item = pair
        value = await fn(item)
        if value is DROPPED:
            crew.run.fate(pair[0], "filtered", crew.step.label)
            return DROPPED
        return pair[0], value
    return call
