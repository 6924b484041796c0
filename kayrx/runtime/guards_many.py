"""Guards around many outputs: a source, a flat_map, or a unit that gives several items for one.

A unit that has sent part of its output is not tried again (``resume="before_first"``); a source is
opened anew, from its cursor if it has one.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from kayrx.errors import CallTimeout
from kayrx.nodes import guards as data
from kayrx.plan.probe import countable
from kayrx.runtime.interrupt import Interrupt, Interrupted

if TYPE_CHECKING:
    from kayrx.runtime.guards import Guarded

Open = Callable[[], AsyncIterator[Any]]


async def outputs(many: Callable[[Any], Any], x: Any) -> AsyncIterator[Any]:
    items = many(x)
    if inspect.isawaitable(items) and not hasattr(items, "subscribe"):
        items = await items
    if hasattr(items, "subscribe"):
        countable(items, "flat_map: the function")
    try:
        if hasattr(items, "__aiter__"):
            async for item in items:
                yield item
        else:
            for item in items:
                yield item
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()
        elif hasattr(items, "close"):
            items.close()


async def timed(guarded: Guarded, awaitable: Awaitable[Any], seconds: float | None, which: str) -> Any:
    """``awaitable``, for at most ``seconds``; raises CallTimeout."""
    if seconds is None:
        return await awaitable
    interrupt = Interrupt()
    try:
        return await interrupt.over(awaitable, guarded.run.backend, seconds, guarded.deadlines)
    except Interrupted:
        raise CallTimeout(f"{guarded.step.where} took longer than {seconds:g} s ({which})", which) from None


@singledispatch
def around_all(guard: data.Guard, open_: Open, x: Any, guarded: Guarded) -> AsyncIterator[Any]:
    """The outputs of ``open_()`` inside one guard."""
    raise NotImplementedError(type(guard).__name__)


@around_all.register(data.Timeout)
async def _(guard: data.Timeout, open_: Open, x: Any, guarded: Guarded) -> AsyncIterator[Any]:
    total = guard.total if guarded.step.node.role == "source" else guard.total or guard.seconds
    source = guarded.step.node.role == "source"
    first = guard.first or (guard.seconds if source else None)
    idle = guard.idle or (guard.seconds if source else None)
    began = guarded.run.backend.now()
    items, sent = open_(), False
    try:
        while True:
            bounds = [(s, w) for s, w in (
                (None if total is None else total - (guarded.run.backend.now() - began), "total"),
                (idle if sent else first, "idle" if sent else "first")) if s is not None]
            seconds, which = min(bounds, default=(None, "total"))
            try:
                item = await timed(guarded, items.__anext__(), seconds, which)
            except StopAsyncIteration:
                return
            yield item
            sent = True
    finally:
        await items.aclose()  # type: ignore[attr-defined]


@around_all.register(data.Retry)
async def _(guard: data.Retry, open_: Open, x: Any, guarded: Guarded) -> AsyncIterator[Any]:
    attempt = 1
    while True:
        items, sent = open_(), False
        try:
            async for item in items:
                sent = True
                yield item
            return
        except Exception as error:
            node = guarded.step.node
            resumable = not sent or node.role == "source"
            attempt = 1 if sent and getattr(node, "cursor", None) is not None else attempt  # it has got on
            if attempt >= guard.attempts or not resumable or not data.matches(guard.on, error):
                raise
            guarded.tell("retried", error, attempt=attempt)
        finally:
            await items.aclose()  # type: ignore[attr-defined]
        await guarded.wait_before(guard, attempt)
        attempt += 1


@around_all.register(data.Fallback)
async def _(guard: data.Fallback, open_: Open, x: Any, guarded: Guarded) -> AsyncIterator[Any]:
    last: Exception | None = None
    for attempt in (lambda _: open_(), *guard.alternatives):
        items, sent = outputs(attempt, x), False
        try:
            async for item in items:
                sent = True
                yield item
            return
        except Exception as error:
            if sent or not data.matches(guard.on, error):
                raise
            last = error
            guarded.tell("fallback", error)
        finally:
            await items.aclose()  # type: ignore[attr-defined]
    if last is not None:
        raise last


@around_all.register(data.SkipErrors)
@around_all.register(data.DeadLetter)
async def _(guard: data.SkipErrors | data.DeadLetter, open_: Open, x: Any,
            guarded: Guarded) -> AsyncIterator[Any]:
    items = open_()
    try:
        async for item in items:
            yield item
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        if isinstance(guard, data.DeadLetter):
            await guarded.letter(guard, x, error)
        guarded.tell("dead_letter" if isinstance(guard, data.DeadLetter) else "skipped", error, item=x)
    finally:
        await items.aclose()  # type: ignore[attr-defined]
