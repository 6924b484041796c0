"""Sources in a run with a checkpoint: each knows its place, and gives the barriers between its items."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from kayrx.graph.node import Node
from kayrx.nodes.ends import Lines
from kayrx.nodes.place import threads
from kayrx.nodes.values import EMPTY
from kayrx.runtime.sources import READ_AHEAD, aiterate, in_thread, iterate

if TYPE_CHECKING:
    from kayrx.runtime.context import Context

Pair = tuple[Any, Any]


def placed(node: Node, run: Context) -> Iterator[Pair]:
    """The items of a replayable source, each with the place behind it: a cursor, and how far on from there."""
    reader: Any = getattr(node, "replayable", None)
    most = node.chunk if isinstance(node, Lines) else READ_AHEAD
    cursor, done = run.cursors.get(id(node)) or (None, 0)
    while True:
        items, following = reader.read(cursor, most)
        last = len(items) - 1
        for place in range(done, len(items)):
            whole = place == last and following is not None
            yield items[place], (following, 0) if whole else (cursor, place + 1)
        if following is None:
            return
        cursor, done = following, 0


def seek_now(node: Node, run: Context) -> Iterator[Any]:
    """A synchronous source from where it is to go on; an item has gone its whole way when the next is asked for."""
    saver = run.saver
    assert saver is not None
    replayable = getattr(node, "replayable", None) is not None
    with closing(placed(node, run) if replayable else unplaced(node, run)) as pairs:  # type: ignore[type-var]
        for item, place in pairs:
            saver.given[id(node)] += 1
            yield item
            run.cursors[id(node)] = node.cursor(item) if place is EMPTY else place  # type: ignore[attr-defined]
            if saver.wants(node):
                yield saver.barrier(node)
    yield from saver.finals(node)


def unplaced(node: Node, run: Context) -> Iterator[Pair]:
    """A source with ``cursor=``, whose place is told by the item."""
    for item in iterate(node, run):
        yield item, EMPTY


async def seek(node: Node, run: Context) -> AsyncIterator[Any]:
    """`seek_now` for a source that waits."""
    saver = run.saver
    assert saver is not None
    async with aclosing(pairs_of(node, run)) as pairs:  # type: ignore[type-var]
        async for item, place in pairs:
            saver.given[id(node)] += 1
            yield item
            run.cursors[id(node)] = node.cursor(item) if place is EMPTY else place  # type: ignore[attr-defined]
            if saver.wants(node):
                yield saver.barrier(node)
    for barrier in saver.finals(node):
        yield barrier


async def pairs_of(node: Node, run: Context) -> AsyncIterator[Pair]:
    """The items with their places; what blocks is read in a thread."""
    place = getattr(node, "on", None)
    if getattr(node, "replayable", None) is None:
        async with aclosing(aiterate(node, run)) as items:  # type: ignore[type-var]
            async for item in items:
                yield item, EMPTY
    elif isinstance(node, Lines) or place is not None:
        most = node.chunk if isinstance(node, Lines) else 1
        async with aclosing(in_thread(lambda: placed(node, run), place or threads(1), most)) as read:
            async for pair in read:
                yield pair
    else:
        for pair in placed(node, run):
            yield pair


