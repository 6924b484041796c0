"""Guards around one call with one outcome: a row a guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from kayrx.errors import CallTimeout, Misused
from kayrx.nodes import guards as data
from kayrx.nodes.instead import Catch, Fallback
from kayrx.plan.units import DROPPED, called
from kayrx.runtime.guards.attempts import Attempts
from kayrx.runtime.guards.interrupt import Interrupt, Interrupted, watched

if TYPE_CHECKING:
    from kayrx.runtime.guards.chain import Guarded

Call = Callable[["Guarded"], Awaitable[Any]]


def timed(guarded: Guarded, awaitable: Awaitable[Any], seconds: float) -> Awaitable[Any]:
    """``awaitable``, for at most ``seconds``; raises Interrupted."""
    if guarded.on_trio:
        return Interrupt().over(awaitable, guarded.run.backend, seconds)
    return watched(Interrupt(), awaitable, seconds, guarded.deadlines)


def late(guarded: Guarded, seconds: float, which: str) -> CallTimeout:
    return CallTimeout(f"{guarded.step.where} took longer than {seconds:g} s ({which})", which)


def limit_of(guard: data.Timeout) -> tuple[float, str]:
    """The seconds of a call with one output, and which of the three they are."""
    return min((s, w) for s, w in ((guard.seconds, "total"), (guard.total, "total"), (guard.first, "first"),
                                   (guard.idle, "idle")) if s is not None)


def now(awaitable: Awaitable[Any]) -> Any:
    """The value of an awaitable of ours that never suspends."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return done.value
    raise AssertionError("a guard waited in a synchronous run")


def following(error: Exception, before: Exception) -> Exception:
    """``error`` was raised in the place of ``before``, and says so as one that is raised in an ``except`` does."""
    known: BaseException | None = before
    while known is not None:
        if known is error:
            return error
        known = known.__context__
    error.__context__ = error.__context__ or before
    return error


@singledispatch
async def around(guard: data.Guard, call: Call, x: Any, guarded: Guarded, held: Any = None) -> Any:
    """``call`` inside one guard; ``x`` is the input of the unit.

    ``held`` is what the guard holds already, where it has been entered in a first attempt (`first`): it goes on from
    that.  Guards that do not stand hold nothing.
    """
    raise NotImplementedError(type(guard).__name__)


@around.register(data.Timeout)
async def _(guard: data.Timeout, call: Call, x: Any, guarded: Guarded, held: float | None = None) -> Any:
    seconds, which = limit_of(guard)
    if guarded.ready is not None:
        await guarded.ready()  # a worker that was killed or is stuck is no part of the next attempt's time
    try:
        return await timed(guarded, call(guarded), seconds if held is None else held)
    except Interrupted:
        raise late(guarded, seconds, which) from None


@around.register(data.Retry)
async def _(guard: data.Retry, call: Call, x: Any, guarded: Guarded, held: float | None = None) -> Any:
    attempt, attempts = 1, Attempts(guard, guarded, held)
    while True:
        try:
            return await call(guarded)
        except Exception as error:
            if (wait := attempts.wait_after(error, attempt)) is None:
                raise
        if wait > 0:
            await guarded.run.backend.sleep(wait)
        attempt += 1


@around.register(Fallback)
async def _(guard: Fallback, call: Call, x: Any, guarded: Guarded) -> Any:
    try:
        return await call(guarded)
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        last = error
    for alternative in guard.alternatives:
        try:
            value = await guarded.within(guarded.other(alternative, x))
        except Misused:
            raise
        except Exception as error:
            last = following(error, last)
            continue
        guarded.tell("fallback", last)
        return value
    raise last


@around.register(Catch)
async def _(guard: Catch, call: Call, x: Any, guarded: Guarded) -> Any:
    try:
        return await call(guarded)
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        caught = error
    try:
        value = await guarded.within(called(f"{guarded.step.where}: catch", guard.handler, caught, x))
    except Exception as error:
        raise following(error, caught)
    guarded.tell("fallback", caught)
    return value


@around.register(data.SkipErrors)
async def _(guard: data.SkipErrors, call: Call, x: Any, guarded: Guarded) -> Any:
    try:
        return await call(guarded)
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        guarded.dropped("skipped", error, x)
        return DROPPED


@around.register(data.DeadLetter)
async def _(guard: data.DeadLetter, call: Call, x: Any, guarded: Guarded) -> Any:
    try:
        return await call(guarded)
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        await guarded.letter(guard, x, error)
        guarded.dropped("dead_letter", error, x)
        return DROPPED
