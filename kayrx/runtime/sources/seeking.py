"""Sources in a run with a checkpoint: each knows its place, and gives the barriers between its items."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from kayrx.graph.node import Node
from kayrx.nodes.ends import Lines
from kayrx.nodes.place import threads
from kayrx.nodes.replay import remaining
from kayrx.nodes.values import EMPTY
from kayrx.plan.probe import cursor_of
from kayrx.runtime.sources.opening import READ_AHEAD, aiterate, in_thread, iterate

if TYPE_CHECKING:
    from kayrx.runtime.context import Context

IN_MEMORY = 256
Pair = tuple[Any, Any]


class Mark:
    """Where a source is: behind ``at`` items from ``cursor``, before which it gave ``origin``.

    ``hand`` is true while the next item is on its way.  Of a source with ``cursor=`` the cursor is of the last item,
    and ``at`` counts them all.
    """

    __slots__ = ("at", "cursor", "hand", "node", "origin", "replayable")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.replayable: Any = getattr(node, "replayable", None)
        self.cursor: Any = None
        self.at = self.origin = 0
        self.hand = False

    @property
    def place(self) -> Any:
        return (self.cursor, self.at) if self.replayable is not None else self.cursor

    @property
    def given(self) -> int:
        """How many items have gone their whole way."""
        return self.origin + self.at

    def begin(self, place: Any, given: int) -> None:
        self.cursor, self.at = place if self.replayable is not None else (place, given)
        self.origin = given - self.at

    def reached(self, item: Any, place: Any) -> None:
        """An item has gone its whole way, as far as its task takes it."""
        self.hand = False
        if place is EMPTY:
            self.cursor, self.at = cursor_of(self.node, item), self.at + 1  # type: ignore[arg-type]
        else:
            given = self.given + 1
            self.cursor, self.at = place
            self.origin = given - self.at


def most_of(node: Node) -> int:
    """How many items are read at a time."""
    if isinstance(node, Lines):
        return node.chunk
    return READ_AHEAD if getattr(node, "kind", "") == "replayable" else IN_MEMORY


def seek_now(node: Node, run: Context) -> Iterator[Any]:
    """A synchronous source from where it is to go on; an item has gone its whole way when the next is asked for."""
    return replayed(node, run) if getattr(node, "replayable", None) is not None else connected(node, run)


def replayed(node: Node, run: Context) -> Iterator[Any]:
    """A replayable source.  Beside each item only its number is set: the rest is worked out for a barrier."""
    saver = run.saver
    assert saver is not None
    mark, most = saver.marks[id(node)], most_of(node)
    mark.cursor = started(mark)
    while True:
        items, following = mark.replayable.read(mark.cursor, most)
        over = remaining(node.where, items, following, mark.at)
        mark.hand = not over
        for index in range(mark.at, len(items)):
            mark.at = index
            yield items[index]
            if saver.asked or run.stopping:
                mark.at, mark.hand = index + 1, False
                if run.stopping:
                    break
                if saver.wants(node):
                    yield saver.barrier(node)
                mark.hand = True
        else:
            mark.at = max(mark.at, len(items))
        mark.hand = False
        if following is None or run.stopping:
            break
        mark.cursor, mark.at, mark.origin = following, over, mark.origin + len(items)
    yield from saver.finals(node)


def connected(node: Node, run: Context) -> Iterator[Any]:
    """A source with ``cursor=``, whose place is told by the item."""
    saver = run.saver
    assert saver is not None
    mark = saver.marks[id(node)]
    with closing(iterate(node, run)) as items:  # type: ignore[type-var]
        for item in items:
            mark.hand = True
            yield item
            mark.reached(item, EMPTY)
            run.cursors[id(node)] = mark.cursor
            if run.stopping:
                break
            if saver.wants(node):
                yield saver.barrier(node)
    yield from saver.finals(node)


async def seek(node: Node, run: Context) -> AsyncIterator[Any]:
    """`seek_now` for a source that waits."""
    saver = run.saver
    assert saver is not None
    mark = saver.marks[id(node)]
    async with aclosing(pairs_of(mark, run)) as pairs:  # type: ignore[type-var]
        async for item, place in pairs:
            mark.hand, saver.ahead[id(node)] = True, (item, place)
            yield item
            saver.reached(node)
            if saver.wants(node):
                yield saver.barrier(node)
    for barrier in saver.finals(node):
        yield barrier


async def pairs_of(mark: Mark, run: Context) -> AsyncIterator[Pair]:
    """The items with their places; what blocks is read in a thread."""
    node, place = mark.node, getattr(mark.node, "on", None)
    if mark.replayable is None:
        async with aclosing(aiterate(node, run)) as items:  # type: ignore[type-var]
            async for item in items:
                yield item, EMPTY
    elif isinstance(node, Lines) or place is not None:
        most = node.chunk if isinstance(node, Lines) else 1
        async with aclosing(in_thread(lambda: placed(mark), place or threads(1), most)) as read:
            async for pair in read:
                yield pair
    else:
        for pair in placed(mark):
            yield pair


def placed(mark: Mark) -> Iterator[Pair]:
    """The items of a replayable source, each with the place behind it."""
    cursor, done = started(mark), mark.at
    while True:
        items, following = mark.replayable.read(cursor, most_of(mark.node))
        over = remaining(mark.node.where, items, following, done)
        last = len(items) - 1
        for place in range(done, len(items)):
            yield items[place], (following, 0) if place == last and following is not None else (cursor, place + 1)
        if following is None:
            return
        cursor, done = following, over


def started(mark: Mark) -> Any:
    """Where reading begins; a source may tell its very beginning apart from that of another of its name."""
    return mark.replayable.start() if mark.cursor is None and hasattr(mark.replayable, "start") else mark.cursor
