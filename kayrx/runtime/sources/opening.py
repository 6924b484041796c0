"""Opening sources: each kind of source node as an iterator, or on a loop as an async iterator.

A row gives a fresh iterator for one run.  Reading never runs ahead of demand; closing is done by
whoever opened it, in the same task.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from functools import singledispatch
from itertools import compress, count, islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.errors import RunError
from kayrx.graph.node import Node
from kayrx.nodes import ends, feed, files
from kayrx.nodes.place import threads
from kayrx.nodes.replay import remaining
from kayrx.plan.probe import cursor_of, not_iterable
from kayrx.plan.shapes import HINTED
from kayrx.runtime.guards.interrupt import Interrupt, Interrupted
from kayrx.runtime.sources.tailing import Follower

if TYPE_CHECKING:
    from kayrx.runtime.context import Context

READ_AHEAD = 16


def counted(items: Iterator[Any]) -> tuple[Iterator[Any], Callable[[], int]]:
    """The iterator, and a function that tells the ordinal of the item it gave last.

    A list or range iterator knows how much it has left; any other is counted in C, beside its items.

    >>> items, position = counted(iter("abc"))
    >>> next(items), next(items), position()
    ('a', 'b', 1)
    """
    if isinstance(items, HINTED):
        total = length_hint(items)
        return items, lambda: total - length_hint(items) - 1
    ticks = count(1)
    return compress(items, ticks), lambda: next(ticks) - 2


@singledispatch
def iterate(node: Node, run: Context) -> Iterator[Any]:
    """A synchronous source as an iterator."""
    raise RunError(f"{node.where} needs an event loop")


@singledispatch
def aiterate(node: Node, run: Context) -> AsyncIterator[Any]:
    """A source that waits as an async iterator."""
    raise RunError(f"{node.where} has no row in kayrx/runtime/sources/opening.py")


@iterate.register(ends.Source)
def _(node: ends.Source, run: Context) -> Iterator[Any]:
    if isinstance(node.what, Iterator):
        once(node)
    if node.kind == "replayable":
        return replayed(node, run)
    what = node.what if node.kind == "iterable" else opened(node, run)
    if not hasattr(what, "__iter__") and not hasattr(what, "__getitem__"):
        raise not_iterable(node.where, what)
    return iter(what) if node.cursor is None else remembered(node, run, iter(what))


def replayed(node: ends.Source, run: Context) -> Iterator[Any]:
    """A replayable source, from where this run has got to; beside each item its place is kept."""
    cursor, done = run.cursors.get(id(node), (None, 0))
    while True:
        items, following = node.what.read(cursor, READ_AHEAD)
        over = remaining(node.where, items, following, done)
        for place in range(done, len(items)):
            yield items[place]
            run.cursors[id(node)] = cursor, place + 1
        if following is None:
            return
        cursor, done = following, over
        run.cursors[id(node)] = cursor, done


def once(node: ends.Source) -> None:
    """Refuse to read a one-shot iterator twice (ruling 21)."""
    if node.used:
        raise RunError(f"{node.where}: a {type(node.what).__name__} can be read once, and a run has read it; "
                       "give a list, or a callable that opens it anew")
    node.used.append(True)


def anew(way: Callable[[Node, Context], Any], node: Node, run: Context) -> Callable[..., Any]:
    """``way(node, run)`` as guards call it, with the list of what was sent if the source is to go on from there."""
    def open_(_: None, *sent: Any) -> Any:
        if sent:
            run.sent[id(node)] = sent[0]
        return way(node, run)
    return open_


def opened(node: ends.Source, run: Context) -> Any:
    if id(node) in run.sent:
        return node.what(run.sent[id(node)])
    return node.what(run.cursors.get(id(node))) if node.cursor is not None else node.what()


def readable(node: ends.Source, run: Context) -> Any:
    """What a source reads on a loop."""
    if node.kind == "replayable":
        return replayed(node, run)
    return node.what if node.kind in ("async", "iterable") else opened(node, run)


def remembered(node: ends.Source, run: Context, items: Iterator[Any]) -> Iterator[Any]:
    """The items; the cursor of each is kept once it has been accepted."""
    for item in items:
        yield item
        remember(node, run, item)


def remember(node: ends.Source, run: Context, item: Any) -> None:
    if node.cursor is not None:
        run.cursors[id(node)] = cursor_of(node, item)


@iterate.register(ends.Lines)
def _(node: ends.Lines, run: Context) -> Iterator[str]:
    with open(node.path, encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\r\n")


@iterate.register(feed.Fed)
def _(node: feed.Fed, run: Context) -> Iterator[Any]:
    return node.queue.read_blocking(node.where)  # type: ignore[no-any-return]


@aiterate.register(ends.Source)
async def _(node: ends.Source, run: Context) -> AsyncIterator[Any]:
    if node.kind in ("observable", "publisher"):
        async with aclosing(run.pushed(node)) as pushed:
            async for item in pushed:
                yield item
        return
    if isinstance(node.what, (Iterator, AsyncIterator)):
        once(node)
    if node.on is not None:
        def begun() -> Iterator[Any]:
            return iter(readable(node, run))

        async with aclosing(in_thread(begun, node.on, 1)) as read:
            async for item in read:
                yield item
                remember(node, run, item)
        return
    what = readable(node, run)
    if inspect.isawaitable(what):
        what = await what
    if hasattr(what, "__aiter__"):
        items = what.__aiter__()
        try:
            async for item in items:
                yield item
                remember(node, run, item)
        finally:
            if hasattr(items, "aclose"):
                await items.aclose()
    else:
        for item in what:
            yield item
            remember(node, run, item)


async def in_thread(open_: Callable[[], Iterator[Any]], place: Any, most: int) -> AsyncGenerator[Any, None]:
    """Read an iterator in a worker thread, ``most`` items at a time."""
    items: Iterator[Any] | None = None
    turn = threading.Lock()  # a read that was given up goes on until it returns; only then it is closed

    def read(wanted: int) -> list[Any]:
        nonlocal items
        with turn:
            if wanted:
                items = open_() if items is None else items
                return list(islice(items, wanted))
            close = getattr(items, "close", None)
            if close is not None:
                close()
            return []

    async with place.start(read) as call:
        try:
            while chunk := (await call((most,)))[0]:
                for item in chunk:
                    yield item
        finally:
            with anyio.CancelScope(shield=True):
                await call((0,))


@aiterate.register(ends.Lines)
def _(node: ends.Lines, run: Context) -> AsyncIterator[str]:
    return in_thread(lambda: iterate(node, run), threads(1), node.chunk)


@aiterate.register(files.Tail)
async def _(node: files.Tail, run: Context) -> AsyncIterator[str]:
    follower = Follower(node)
    try:
        async with threads(1).start(lambda _: follower.look()) as call:
            while True:
                lines = (await call((None,)))[0]
                for line in lines or ():
                    yield line
                if lines is None:
                    await run.backend.sleep(node.every)
    finally:
        follower.close()


@aiterate.register(feed.Fed)
async def _(node: feed.Fed, run: Context) -> AsyncIterator[Any]:
    async with aclosing(node.queue.read(run, node.where)) as read:
        async for item in read:
            yield item


@aiterate.register(ends.Interval)
async def _(node: ends.Interval, run: Context) -> AsyncIterator[int]:
    start = run.backend.now()
    for number in count():
        await run.backend.sleep(max(0.0, start + (number + 1) * node.seconds - run.backend.now()))
        yield number


@aiterate.register(ends.Timer)
async def _(node: ends.Timer, run: Context) -> AsyncIterator[int]:
    await run.backend.sleep(node.seconds)
    yield 0


async def nothing() -> AsyncIterator[Any]:
    """What a source gives that nobody wants opened."""
    return
    yield


class Stoppable:
    """An async source that `Run.stop` can complete while it waits for its next item.

    A hot source ends when what it has pushed is read: it cannot be asked for it again.
    """

    __slots__ = ("given", "interrupt", "items", "node", "run")

    def __init__(self, items: AsyncIterator[Any], run: Context, node: Any) -> None:
        self.items, self.run, self.node = items, run, node
        self.interrupt = Interrupt()
        self.given = -1

    def __aiter__(self) -> Stoppable:
        return self

    async def __anext__(self) -> Any:
        if self.interrupt.fired:
            return self.end()
        try:
            item = await self.interrupt.over(self.items.__anext__(), self.run.backend)
        except Interrupted:
            return self.end()
        if self.run.paused:
            await self.run.hold(lambda _: None)
        self.given += 1
        return item

    def end(self) -> Any:
        """It is stopped: the barriers that it owes, then the end."""
        for barrier in self.run.saver.finals(self.node) if self.run.saver is not None else ():
            return barrier
        raise StopAsyncIteration

    def stop(self) -> None:
        """Give no more than what a hot source has pushed already; end the wait of any other."""
        self.run.shuts.get(id(self.node), self.interrupt.fire)()

    async def aclose(self) -> None:
        close = getattr(self.items, "aclose", None)
        if close is not None:
            await close()
