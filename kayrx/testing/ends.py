"""Every way in which a run can end, and what must hold afterwards: for `kayrx.testing.laws`.

An end gives None, or the law that it breaks, what was expected and what was found instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import anyio
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler

from kayrx.graph.graph import Graph
from kayrx.nodes.ends import each, source, to_list
from kayrx.testing.answers import Answer, Feed, Observed
from kayrx.testing.clock import virtual_world
from kayrx.testing.left import left_behind

Fault = tuple[str, object, object] | None
End = Callable[[], Awaitable[Fault]]
FORWARDED, RELEASED = "errors are forwarded", "the source is released"
ALIVE, ONCE = "nothing is left alive", "every item ends once"


class Planted(Exception):
    """What the laws make a source or a sink raise."""


def fates(events: Iterable[dict[str, Any]]) -> str:
    """What is wrong with the fates that ``run.events()`` tells; empty if each item has one.

    >>> fates([{"event": "entered", "id": ("s", 0, 0)}])
    "('s', 0, 0) has no end"
    """
    events = [e for e in events if "id" in e]
    entered = Counter(e["id"] for e in events if e["event"] == "entered")
    ended = Counter(e["id"] for e in events if e["event"] != "entered")
    wrong = [f"{ident} entered {count} times" for ident, count in entered.items() if count > 1]
    wrong += [f"{ident} has no end" for ident in entered if not ended[ident]]
    wrong += [f"{ident} ended {count} times" for ident, count in ended.items() if count > 1]
    wrong += [f"{ident} ended and never entered" for ident in ended if not entered[ident]]
    return ", ".join(wrong)


def places(items: Sequence[Any]) -> list[int]:
    """Where a source is made to fail: before the first item, in the middle, at the end."""
    return sorted({0, len(items) // 2, len(items)})


def forwarded(feed: Feed, answer: Answer) -> Fault:
    if feed.raised and answer.error is not feed.error:
        return FORWARDED, f"{feed.error!r}, the very object", answer
    return closed(feed)


def ends_without_a_loop(graph: Graph[Any, Any], items: Sequence[Any], *,
                        errors: bool) -> Iterator[tuple[str, Fault]]:
    """The ends of a run in place, each with its setting."""
    for at in places(items) if errors else ():
        for fuse in (True, False):
            feed = Feed(items, Planted(at), at)
            try:
                given = Answer((source(feed.now) >> graph).collect(fuse=fuse, world=virtual_world()))
            except Exception as error:
                given = Answer(error=error)
            yield f"a source that fails at {at}, fuse={fuse}", forwarded(feed, given)
        feed = Feed(items, Planted(at), at)
        operator = graph.operator(world=virtual_world())
        yield f"operator() over an observable that fails at {at}", forwarded(
            feed, Observed().of(feed.observable().pipe(operator)))

    feed, planted = Feed(items), Planted("sink")
    came: list[Any] = []

    def fail(item: Any) -> None:
        came.append(item)
        raise planted

    try:
        (source(feed.now) >> graph >> each(fail)).run(world=virtual_world())
        given = Answer()
    except Exception as error:
        given = Answer(error=error)
    hidden = came and given.error is not planted
    yield "a sink that fails", (FORWARDED, repr(planted), given) if hidden else closed(feed)

    feed = Feed(items)
    seen: list[Any] = []
    subscription = SingleAssignmentDisposable()

    def leave(item: Any) -> None:
        seen.append(item)
        subscription.dispose()

    def subscribe(*_: object) -> None:
        subscription.disposable = (source(feed.now) >> graph).to_observable(world=virtual_world()).subscribe(
            leave, lambda error: None)

    CurrentThreadScheduler.singleton().schedule(subscribe)  # so that nothing is sent before it can be disposed of
    yield "an observer that leaves at the first item", (RELEASED, "one item", seen) if len(seen) > 1 else closed(feed)


def ends_of(graph: Graph[Any, Any], items: Sequence[Any], *, errors: bool) -> Iterator[tuple[str, End]]:
    """The ends of a run on the running loop, each with its setting."""
    half = len(items) / 2 + 0.25

    async def failed(at: int, feed: Feed, make: Callable[[], Any]) -> Fault:
        run = (source(make) >> graph >> to_list()).start(events=True, world=virtual_world())
        answer = Answer()
        try:
            async with run:
                pass
        except Exception as error:
            answer = Answer(error=error)
        return forwarded(feed, answer) or settled(run.events())

    async def failed_below(options: dict[str, Any]) -> Fault:
        feed, planted = Feed(items), Planted("sink")
        came: list[Any] = []

        def fail(item: Any) -> None:
            came.append(item)
            raise planted

        answer = Answer()
        run = (source(feed.later) >> graph >> each(fail)).start(world=virtual_world(), **options)
        try:
            async with run:
                pass
        except Exception as error:
            answer = Answer(error=error)
        if came and answer.error is not planted:
            return FORWARDED, repr(planted), answer
        return closed(feed) or (settled(run.events()) if options else None)

    async def steered(act: str, options: dict[str, Any]) -> Fault:
        feed = Feed(items)
        async with (source(partial(feed.later, 1)) >> graph >> to_list()).start(
                world=virtual_world(), **options) as run:
            await anyio.sleep(half)
            await getattr(run, act)()
        return closed(feed) or (settled(run.events()) if options.get("events") else None)

    async def cancelled_from_outside() -> Fault:
        feed = Feed(items)
        with anyio.move_on_after(half):
            await (source(partial(feed.later, 1)) >> graph)
        return closed(feed)

    async def completed() -> Fault:
        feed = Feed(items)
        run = (source(feed.now) >> graph >> to_list()).start(events=True, world=virtual_world())
        try:
            async with run:
                pass
        except Exception:
            return closed(feed) or settled(run.events())
        count = sum(e["event"] == "delivered" for e in run.events())
        aside = any(node.aside for node in graph.nodes)  # what a side sink took was delivered as well
        fault = count < len(run.result) if aside else count != len(run.result)
        return closed(feed) or settled(run.events()) or (
            (ONCE, f"{len(run.result)} items delivered", count) if fault else None)

    async def left(options: dict[str, Any]) -> Fault:
        feed = Feed(items)
        async with (source(feed.later) >> graph).stream(world=virtual_world(), **options) as given:
            try:
                async for _ in given:
                    break
            except Exception:
                pass
        return closed(feed)

    async def disposed() -> Fault:
        feed, seen = Feed(items), Observed()
        ended = anyio.Event()
        seen.over = ended.set

        def first(item: Any) -> None:
            seen.on_next(item)
            ended.set()

        subscription = (source(partial(feed.later, 1)) >> graph).to_observable(world=virtual_world()).subscribe(
            first, seen.on_error, seen.on_completed)
        await ended.wait()
        subscription.dispose()
        before = len(seen.answer.items)
        await anyio.sleep(1)
        if len(seen.answer.items) > before:
            return RELEASED, "no item after dispose()", seen.answer
        return closed(feed)

    yield "a source that ends", alone(completed)
    for at in places(items) if errors else ():
        now, later = Feed(items, Planted(at), at), Feed(items, Planted(at), at)
        yield f"a source that fails at {at}", alone(lambda at=at, feed=now: failed(  # type: ignore[misc]
            at, feed, feed.now))
        yield f"an async source that fails at {at}", alone(
            lambda at=at, feed=later: failed(at, feed, feed.later))  # type: ignore[misc]
    for options in ({}, {"events": True}, {"chunk": 1, "fuse": False}):
        told = ", ".join(f"{k}={v}" for k, v in options.items()) or "default options"
        yield f"a sink that fails, {told}", alone(lambda o=options: failed_below(o))  # type: ignore[misc]
        yield f"cancel(), {told}", alone(lambda o=options: steered("cancel", o))  # type: ignore[misc]
        yield f"stop(), {told}", alone(lambda o=options: steered("stop", o))  # type: ignore[misc]
        yield f"a reader that leaves, {told}", alone(lambda o=options: left(o))  # type: ignore[misc]
    yield "a cancel from outside", alone(cancelled_from_outside)
    yield "an observer that leaves", alone(disposed)


def alone(end: End) -> End:
    """``end``, and nothing of it alive when it is over."""
    async def looked_after() -> Fault:
        with left_behind() as left:
            fault = await end()
        return fault or ((ALIVE, "nothing alive", left) if left else None)
    return looked_after


def closed(feed: Feed) -> Fault:
    return (RELEASED, "every source closed", f"{feed.open} open") if feed.open else None


def settled(events: Iterable[dict[str, Any]]) -> Fault:
    wrong = fates(events)
    return (ONCE, "one end for each item", wrong) if wrong else None


__all__ = ["Planted", "ends_of", "ends_without_a_loop", "fates"]
