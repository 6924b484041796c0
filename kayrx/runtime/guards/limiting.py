"""Guards that bound what is asked of others, at work: around one call and around many outputs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.nodes import guards as data, limits
from kayrx.plan.units import DROPPED
from kayrx.runtime.guards.limits import Circuit, Seats, shared
from kayrx.runtime.guards.many import Open, around_all
from kayrx.runtime.guards.one import Call, around

if TYPE_CHECKING:
    from kayrx.runtime.guards.chain import Guarded


# -- deadline ------------------------------------------------------------------------------------


@around.register(limits.Deadline)
@around.register(limits.Budget)
async def _(guard: limits.Deadline | limits.Budget, call: Call, x: Any, guarded: Guarded,
            held: float | None = None) -> Any:
    inside = begun(guard, guarded, held)
    return await inside.within(call(inside))


def begun(guard: limits.Deadline | limits.Budget, guarded: Guarded, at: float | None = None) -> Guarded:
    """The guards inside, with the time they have.  Raises DeadlineExceeded if there is none left."""
    now = guarded.run.backend.now() if at is None else at
    inside = guarded.due(now + guard.seconds) if isinstance(guard, limits.Deadline) else guarded
    if inside.until is not None and inside.until <= now:
        raise guarded.exceeded()
    return inside


@around_all.register(limits.Deadline)
@around_all.register(limits.Budget)
async def _(guard: limits.Deadline | limits.Budget, open_: Open, x: Any, guarded: Guarded,
            *given: Any) -> AsyncIterator[Any]:
    source = guarded.step.node.role == "source"  # there it is each item's, from when it is read
    inside = guarded if source else begun(guard, guarded)
    async with aclosing(inside.each_within(open_(inside, *given))) as items:
        async for item in items:
            yield item


# -- circuit_breaker -----------------------------------------------------------------------------


@around.register(limits.CircuitBreaker)
async def _(guard: limits.CircuitBreaker, call: Call, x: Any, guarded: Guarded, held: int | None = None) -> Any:
    circuit: Circuit = shared(guard, guarded, Circuit)
    begun = circuit.enter(guard, guarded) if held is None else held
    ok: bool | None = None
    try:
        value = await call(guarded)
        ok = True
        return value
    except Exception as error:
        ok = not data.matches(guard.on, error)
        raise
    finally:
        circuit.leave(begun, ok, guard, guarded)


@around_all.register(limits.CircuitBreaker)
async def _(guard: limits.CircuitBreaker, open_: Open, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    circuit: Circuit = shared(guard, guarded, Circuit)
    begun = circuit.enter(guard, guarded)
    ok: bool | None = None
    items = open_(guarded, *given)
    try:
        async for item in items:
            yield item
        ok = True
    except Exception as error:
        ok = not data.matches(guard.on, error)
        raise
    finally:
        circuit.leave(begun, ok, guard, guarded)
        await items.aclose()  # type: ignore[attr-defined]


# -- bulkhead ------------------------------------------------------------------------------------


@around.register(limits.Bulkhead)
async def _(guard: limits.Bulkhead, call: Call, x: Any, guarded: Guarded, held: bool = False) -> Any:
    seats: Seats = shared(guard, guarded, Seats)
    if not held:
        await seats.enter(guard, guarded)
    try:
        return await call(guarded)
    finally:
        seats.leave(guard, guarded)


@around_all.register(limits.Bulkhead)
async def _(guard: limits.Bulkhead, open_: Open, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    seats: Seats = shared(guard, guarded, Seats)
    await seats.enter(guard, guarded)
    items = open_(guarded, *given)
    try:
        async for item in items:
            yield item
    finally:
        seats.leave(guard, guarded)
        await items.aclose()  # type: ignore[attr-defined]


# -- hedge ---------------------------------------------------------------------------------------


class Hedged:
    """Up to two calls at once; each runs in a task of its own from first to last."""

    def __init__(self, guarded: Guarded, call: Call) -> None:
        self.guarded, self.call = guarded, call
        self.value: Any = DROPPED
        self.won = False
        self.ended = anyio.Event()
        self.running = 0
        self.errors: list[BaseException] = []

    async def one(self) -> None:
        self.running += 1
        try:
            value = await self.call(self.guarded)
        except BaseException as error:
            if self.guarded.run.ours(error):
                raise
            self.errors.append(error)
        else:
            if not self.won:
                self.won, self.value = True, value
        finally:
            self.running -= 1
            if self.won or not self.running:
                self.ended.set()

    async def result(self, after: float) -> Any:
        async with anyio.create_task_group() as group:
            group.start_soon(self.one)
            with anyio.move_on_after(after):
                await self.ended.wait()
            if not self.ended.is_set():
                self.guarded.tell("hedged", after=after)
                group.start_soon(self.one)
                await self.ended.wait()
            group.cancel_scope.cancel()
        if self.won:
            return self.value
        raise self.errors[0]


@around.register(limits.Hedge)
async def _(guard: limits.Hedge, call: Call, x: Any, guarded: Guarded) -> Any:
    return await Hedged(guarded, call).result(guard.after)


@around_all.register(limits.Hedge)
async def _(guard: limits.Hedge, open_: Open, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    async def call(guarded: Guarded) -> list[Any]:
        return [item async for item in open_(guarded, *given)]

    for item in await Hedged(guarded, call).result(guard.after):
        yield item



