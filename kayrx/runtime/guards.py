"""Guards at work: the chain around a unit, from the inside out, entered only when it is needed.

On the happy path the generated step calls the function in a ``try``; its failure comes here as the
outcome of the first attempt, and the chain goes on from there.  Only ``timeout`` stands around the
call from its beginning.  The same code serves a synchronous run, where nothing in it suspends.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from copy import copy
from functools import partial, singledispatch
from typing import TYPE_CHECKING, Any

from kayrx.nodes import guards as data
from kayrx.plan.plan import Step
from kayrx.plan.units import DROPPED
from kayrx.runtime.deadlines import Deadlines
from kayrx.runtime.guards_many import Open, around_all, outputs, timed
from kayrx.runtime.letters import addressed

if TYPE_CHECKING:
    from kayrx.runtime.context import Context

Call = Callable[[], Awaitable[Any]]


class Guarded:
    """The guards of one step in one run."""

    def __init__(self, step: Step, run: Context) -> None:
        self.step, self.run = step, run
        self.deadlines = Deadlines()
        self.ready: Callable[[], Awaitable[None]] | None = None  # waits for a free worker, where there are some
        self.ident: Any = None  # the id of the item in hand, where ids are carried
        self.inside = run.program.inside.get(id(step))
        self.keyed = run.ledger.exact and self.inside is None and any(
            isinstance(g, data.DeadLetter) and g.keyed for g in step.guards)

    def seated(self, ready: Callable[[], Awaitable[None]]) -> Guarded:
        """The same guards around one call of a worker, which is waited for outside their time."""
        one = copy(self)
        one.ready = ready
        return one

    def holding(self, ident: Any) -> Guarded:
        """The same guards with an item in hand, for other items may be in others' hands meanwhile."""
        if not self.keyed:
            return self
        one = copy(self)
        one.ident = ident
        return one

    # -- one call, one outcome -------------------------------------------------------------------

    async def call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """The guarded call from its beginning."""
        return await self._chain(fn, args, None)

    async def recover(self, fn: Callable[..., Any], args: tuple[Any, ...], error: Exception) -> Any:
        """Go on after the first attempt has raised ``error``."""
        return await self._chain(fn, args, error)

    def recover_now(self, fn: Callable[..., Any], args: tuple[Any, ...], error: Exception) -> Any:
        """`recover` in a synchronous run."""
        return now(self._chain(fn, args, error))

    async def _chain(self, fn: Callable[..., Any], args: tuple[Any, ...], error: Exception | None) -> Any:
        ident, failed = self.run.item, False

        async def attempt() -> Any:
            nonlocal error, failed
            if error is not None:
                first, error, failed = error, None, True
                raise first
            try:
                value = fn(*args)
                return await value if inspect.isawaitable(value) else value
            except Exception:
                failed = True
                raise

        call: Call = attempt
        one = self.holding(ident)
        for guard in self.step.guards:
            call = partial(around, guard, call, args[-1], one)
        value = await call()
        if value is DROPPED and failed:
            letter = any(isinstance(g, data.DeadLetter) for g in self.step.guards)
            self.run.fate(ident, "dead_letter" if letter else "skipped", self.step.label)
        return value

    # -- many outputs ----------------------------------------------------------------------------

    async def each(self, many: Callable[[Any], Any], x: Any) -> AsyncIterator[Any]:
        """The outputs of a unit that gives many, inside its guards."""
        open_: Open = partial(outputs, many, x)
        one = self.holding(self.run.item)
        for guard in self.step.guards:
            open_ = partial(around_all, guard, open_, x, one)
        items = open_()
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()  # type: ignore[attr-defined]

    def each_now(self, many: Callable[[Any], Any], x: Any) -> Iterator[Any]:
        """`each` in a synchronous run."""
        items = self.each(many, x)
        try:
            while True:
                try:
                    yield now(items.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            now(items.aclose())  # type: ignore[attr-defined]

    # -- what guards have in common --------------------------------------------------------------

    def tell(self, what: str, error: Exception, **facts: Any) -> None:
        self.run.tell(what, node=self.step.label, error=error, **facts)

    async def wait_before(self, retry: data.Retry, attempt: int) -> None:
        wait = retry.backoff.wait(attempt)
        if retry.jitter == "full":
            wait *= self.run.world.random.random()
        elif retry.jitter == "equal":
            wait *= (1 + self.run.world.random.random()) / 2
        if wait > 0:
            await self.run.backend.sleep(wait)

    async def letter(self, guard: data.DeadLetter, x: Any, error: Exception) -> None:
        """Keep a letter; the item is handled once this has returned."""
        store, letter = addressed(self, guard, x, error)
        kept = store.append(letter)
        if inspect.isawaitable(kept):
            kept = await kept
        if kept is True:
            self.tell("unread", error, item=x)


def now(awaitable: Awaitable[Any]) -> Any:
    """The value of an awaitable of ours that never suspends."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return done.value
    raise AssertionError("a guard waited in a synchronous run")


# -- one call ------------------------------------------------------------------------------------


@singledispatch
async def around(guard: data.Guard, call: Call, x: Any, guarded: Guarded) -> Any:
    """``call`` inside one guard; ``x`` is the input of the unit."""
    raise NotImplementedError(type(guard).__name__)


@around.register(data.Timeout)
async def _(guard: data.Timeout, call: Call, x: Any, guarded: Guarded) -> Any:
    bounds = [(s, w) for s, w in ((guard.seconds, "total"), (guard.total, "total"), (guard.first, "first"),
                                  (guard.idle, "idle")) if s is not None]
    seconds, which = min(bounds)
    if guarded.ready is not None:
        await guarded.ready()  # a worker that was killed or is stuck is no part of the next attempt's time
    return await timed(guarded, call(), seconds, which)


@around.register(data.Retry)
async def _(guard: data.Retry, call: Call, x: Any, guarded: Guarded) -> Any:
    attempt = 1
    while True:
        try:
            return await call()
        except Exception as error:
            if attempt >= guard.attempts or not data.matches(guard.on, error):
                raise
            guarded.tell("retried", error, attempt=attempt)
        await guarded.wait_before(guard, attempt)
        attempt += 1


@around.register(data.Fallback)
async def _(guard: data.Fallback, call: Call, x: Any, guarded: Guarded) -> Any:
    try:
        return await call()
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        last = error
    for alternative in guard.alternatives:
        try:
            value = alternative(x)
            value = await value if inspect.isawaitable(value) else value
        except Exception as error:
            last = error
            continue
        guarded.tell("fallback", last)
        return value
    raise last


@around.register(data.SkipErrors)
async def _(guard: data.SkipErrors, call: Call, x: Any, guarded: Guarded) -> Any:
    try:
        return await call()
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        guarded.tell("skipped", error, item=x)
        return DROPPED


@around.register(data.DeadLetter)
async def _(guard: data.DeadLetter, call: Call, x: Any, guarded: Guarded) -> Any:
    try:
        return await call()
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        await guarded.letter(guard, x, error)
        guarded.tell("dead_letter", error, item=x)
        return DROPPED
