"""Guards around many outputs: a source, a flat_map, or a unit that gives several items for one.

What becomes of output that was sent before a failure is told by ``resume=`` (`kayrx.runtime.guards.sent`); a source is
opened anew, from its cursor if it has one.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial, singledispatch
from typing import TYPE_CHECKING, Any

from kayrx.nodes import guards as data
from kayrx.nodes.instead import Catch, Fallback, Value
from kayrx.nodes.units import Unit
from kayrx.plan.probe import countable
from kayrx.plan.units import DROPPED
from kayrx.runtime.guards.attempts import Attempts
from kayrx.runtime.guards.interrupt import Interrupted
from kayrx.runtime.guards.one import following, late, timed
from kayrx.runtime.guards.sent import Differs, Sent

if TYPE_CHECKING:
    from kayrx.runtime.guards.chain import Guarded

Open = Callable[..., AsyncIterator[Any]]


async def outputs(many: Callable[..., Any], x: Any, guarded: Guarded | None = None, *given: Any) -> AsyncIterator[Any]:
    """What ``many(x)`` gives, awaited, iterated and closed; ``given`` are further arguments."""
    items = many(x, *given)
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


@singledispatch
def around_all(guard: data.Guard, open_: Open, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    """The outputs of ``open_()`` inside one guard."""
    raise NotImplementedError(type(guard).__name__)


@around_all.register(data.Timeout)
async def _(guard: data.Timeout, open_: Open, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    source = guarded.step.node.role == "source"
    total = guard.total if source else guard.total or guard.seconds
    first = guard.first or (guard.seconds if source else None)
    idle = guard.idle or (guard.seconds if source else None)
    began = guarded.run.backend.now()
    items, sent = open_(guarded, *given), False
    try:
        while True:
            limit, which = idle if sent else first, "idle" if sent else "first"
            left = None if total is None else total - (guarded.run.backend.now() - began)
            if left is not None and (limit is None or left < limit):
                limit, seconds, which = left, total, "total"
            else:
                seconds = limit
            try:
                item = await (items.__anext__() if limit is None else timed(guarded, items.__anext__(), limit))
            except Interrupted:
                raise late(guarded, seconds or 0.0, which) from None
            except StopAsyncIteration:
                return
            yield item
            sent = True
    finally:
        await items.aclose()  # type: ignore[attr-defined]


@around_all.register(data.Retry)
async def _(guard: data.Retry, open_: Open, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    node, attempt, attempts = guarded.step.node, 1, Attempts(guard, guarded)
    sent = Sent(guard.resume, guard.verify, guarded.step.label)
    while True:
        items, before = open_(guarded, *sent.prefix(given)), sent.count
        try:
            async for item in items:
                if (item := sent.passes(item)) is not DROPPED:
                    yield item
            sent.ended()
            return
        except Exception as error:
            if isinstance(error, Differs) or (guard.resume == "before_first" and sent.count and node.role != "source"):
                raise
            if sent.count > before and getattr(node, "cursor", None) is not None:
                attempt, attempts = 1, Attempts(guard, guarded)  # it has got on
            if (wait := attempts.wait_after(error, attempt)) is None:
                raise
        finally:
            await items.aclose()  # type: ignore[attr-defined]
        if (mark := sent.again(attempt)) is not None:
            yield mark
        if wait > 0:
            await guarded.run.backend.sleep(wait)
        attempt += 1


def opened(alternative: Any, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    """What an alternative gives for the input of a unit of many outputs."""
    if isinstance(alternative, Value):
        return outputs(lambda _: (alternative.value,), x)
    if isinstance(alternative, Unit):
        return outputs(guarded.run.unit(guarded.beside(alternative)), x)
    return outputs(alternative, x, guarded, *given)


@around_all.register(Fallback)
async def _(guard: Fallback, open_: Open, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    sent, last = Sent(guard.resume, guard.verify, guarded.step.label), None
    ways = [partial(open_, guarded, *given)]
    ways += [partial(opened, other, x, guarded) for other in guard.alternatives]
    for number, way in enumerate(ways):
        resumed = number > 0 and guard.resume == "continue" and not isinstance(guard.alternatives[number - 1], (
            Value, Unit))
        items = way(*(sent.prefix(given) if resumed else ()))
        if number:
            items = guarded.each_within(items)
        try:
            async for item in items:
                if (item := sent.passes(item)) is not DROPPED:
                    yield item
            sent.ended()
            return
        except Exception as error:
            last = error if last is None else following(error, last)
            if isinstance(error, Differs) or number == len(guard.alternatives) or (
                    number == 0 and not data.matches(guard.on, error)) or (
                    sent.count and guard.resume == "before_first"):
                raise
            guarded.tell("fallback", error)
        finally:
            await items.aclose()  # type: ignore[attr-defined]
        if (mark := sent.again(number + 1)) is not None:
            yield mark


@around_all.register(Catch)
async def _(guard: Catch, open_: Open, x: Any, guarded: Guarded, *given: Any) -> AsyncIterator[Any]:
    items = open_(guarded, *given)
    try:
        async for item in items:
            yield item
        return
    except Exception as error:
        if not data.matches(guard.on, error):
            raise
        guarded.tell("fallback", error)
        caught = error
    finally:
        await items.aclose()  # type: ignore[attr-defined]
    try:
        async with aclosing(guarded.each_within(outputs(partial(guard.handler, caught), x))) as others:
            async for item in others:
                yield item
    except Exception as error:
        raise following(error, caught)


@around_all.register(data.SkipErrors)
@around_all.register(data.DeadLetter)
async def _(guard: data.SkipErrors | data.DeadLetter, open_: Open, x: Any, guarded: Guarded,
            *given: Any) -> AsyncIterator[Any]:
    items = open_(guarded, *given)
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
