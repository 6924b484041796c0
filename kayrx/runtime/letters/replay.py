"""Replay: letters go in again at the node that failed, as a new run of everything below it.

One run for each node that has letters, the lowest first, so that what fails further down now is not taken
for what had failed there before.  The same code serves a run without a loop, where nothing in it suspends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.errors import GraphError, RunError
from kayrx.graph.graph import Graph
from kayrx.graph.join import end_of
from kayrx.graph.node import Node, Opens
from kayrx.nodes.ends import Source, each
from kayrx.nodes.guards import DeadLetter
from kayrx.nodes.letters import Letter, Replayed
from kayrx.plan.cut import compile as plan_of
from kayrx.plan.plan import Options
from kayrx.plan.reentry import Entry, Reentries
from kayrx.runtime.engine import Network
from kayrx.runtime.faces import taken_apart
from kayrx.runtime.guards.chain import now
from kayrx.runtime.places.threaded import InThread, do
from kayrx.runtime.private import on_private_loop
from kayrx.runtime.program import Program
from kayrx.runtime.resources import Opened
from kayrx.runtime.world import THE_WORLD, World

if TYPE_CHECKING:
    from kayrx.runtime.context import Context

AT_ONCE = 16  # letters read, and marked done, at a time
Where = Callable[[Letter], object] | None
Chosen = tuple[dict[str, dict[str, None]], int, int]


class Access:
    """An open store, in a thread or not."""

    def __init__(self, store: Any) -> None:
        self.store = store

    async def do(self, fn: Callable[[Any], Any]) -> Any:
        return await do(self.store, fn)

    async def append(self, letter: Letter) -> Any:
        return await self.do(lambda store: store.append(letter))

    async def letters(self) -> AsyncIterator[list[Letter]]:
        """The open letters, some at a time."""
        found: Iterator[Letter] = await self.do(lambda store: iter(store.items()))
        while batch := await self.do(lambda _: list(islice(found, AT_ONCE))):
            yield batch


class Session:
    """One run of a replay: the letters that are sent in, and what becomes of each.

    A letter is marked done when its item has been delivered or ended in another way of its own; if it went
    into other items, when the run has ended well.
    """

    def __init__(self, access: Access, wanted: dict[str, None], nodes: tuple[Node, ...], label: str) -> None:
        self.access, self.wanted, self.nodes = access, wanted, nodes
        self.label, self.source = label, f"letters of {label}"
        self.sent: dict[int, Letter] = {}
        self.given = 0
        self.handled: list[str] = []
        self.later: set[int] = set()
        self.spoiled: set[int] = set()
        self.again: set[int] = set()
        self.done = 0
        self.grouped: Any = None  # the id of the item that came last into a group, where items carry none
        self.degraded: Callable[[Letter, int], None] | None = None

    # -- the source ------------------------------------------------------------------------------

    async def items(self) -> AsyncIterator[Any]:
        """The items of the letters that are wanted; those handled meanwhile are marked between two batches."""
        async for batch in self.access.letters():
            await self.mark()
            for letter in batch:
                if letter.id in self.wanted:
                    del self.wanted[letter.id]
                    self.sent[self.given] = letter
                    self.given += 1
                    if self.degraded is not None:
                        self.degraded(letter, self.given - 1)
                    yield letter.item

    def items_now(self) -> Iterator[Any]:
        """`items` in a run without a loop."""
        items = self.items()
        while True:
            try:
                yield now(items.__anext__())
            except StopAsyncIteration:
                return

    # -- what becomes of them --------------------------------------------------------------------

    def letter(self, ident: Any) -> Letter | None:
        """The letter that an item came from; None for one made of several."""
        return self.sent.get(ident[2]) if ident is not None and ident[0] == self.source else None

    def failed_again(self, ident: Any) -> Access:
        """An item has failed where it had failed before; gives where its letter goes."""
        self.again.add(ident[2])
        return self.access

    def ended(self, ident: Any, what: str) -> None:
        """The fate of an item of the run."""
        if ident[0] != self.source:
            return
        number = ident[2]
        if what in ("dropped", "failed", "cancelled"):
            self.spoiled.add(number)
        elif what in ("split", "absorbed"):
            self.later.add(number)
            self.sent[number] = replace(self.sent[number], item=None)
        elif len(ident) == 3 and number not in self.again:
            self.handled.append(self.sent.pop(number).id)

    async def mark(self) -> None:
        ids, self.handled = self.handled, []
        if ids:
            await self.access.do(lambda store: store.mark_done(*ids))
            self.done += len(ids)

    async def finish(self) -> None:
        """The run has ended well."""
        self.handled += [self.sent[n].id for n in sorted(self.later - self.spoiled - self.again)]
        await self.mark()


class Replay:
    """What ``graph.replay(store)`` has to do."""

    def __init__(self, graph: Graph[Any, Any], store: Any, where: Where, name: str | None, options: Options,
                 world: World) -> None:
        if not isinstance(store, Opens) and not (hasattr(store, "items") and hasattr(store, "mark_done")):
            raise GraphError(f"replay(store): a {type(store).__name__} cannot be replayed from, which takes items() "
                             "and mark_done(*ids); use kx.sqlite_letters(path) or kx.memory_letters(max)")
        self.graph, self.where, self.name, self.world = graph, where, name, world
        self.options = replace(options, events=True)
        self.store = store
        self.reentries = Reentries(graph.nodes)
        if not self.reentries.entries:
            raise GraphError("replay(store): no node of this graph has a dead_letter after it")

    def opening(self) -> Opened:
        """The store, to be opened and closed as a run does it."""
        return Opened(((DeadLetter(self.store), self.store),) if isinstance(self.store, Opens) else ())

    def access(self, opened: Opened) -> Access:
        store = opened.store(self.store)
        inside = store.made if isinstance(store, InThread) else store
        if not hasattr(inside, "items") or not hasattr(inside, "mark_done"):
            raise GraphError(f"replay(store): what {self.store!r} opens has no items() and mark_done(*ids)")
        return Access(store)

    async def chosen(self, access: Access) -> Chosen:
        """The ids of the letters to send in, by node; how many have to stay; how many are of other graphs."""
        found: dict[str, dict[str, None]] = {}
        left = others = 0
        ours = {name for entry in self.reentries.entries.values() for name in entry.graphs}
        async for batch in access.letters():
            for letter in batch:
                entry = self.reentries.entries.get(letter.node)
                if letter.graph != self.name if self.name is not None else letter.graph not in ours:
                    others += 1
                elif self.where is not None and not self.where(letter):
                    continue
                elif entry is None or not letter.replayable:
                    left += 1
                else:
                    found.setdefault(letter.node, {})[letter.id] = None
        return found, left, others

    def below(self, entry: Entry, source: Any, name: str) -> Graph[Any, Any]:
        graph = self.reentries.below(entry, Source(source, name=name, written=None))
        return graph >> each(nothing) if end_of(graph.nodes) == "one" else graph

    def waits(self, labels: dict[str, Any]) -> bool:
        """True if the part of the graph below one of these nodes needs a loop."""
        below = [self.below(self.reentries.entries[label], (), "letters").nodes for label in labels]
        return any(plan_of(nodes, self.options, saves=False).loop for nodes in below)

    async def work(self, access: Access, chosen: Chosen, *, sync: bool) -> Replayed:
        """The runs, one after another; all of them are made before the first begins."""
        found, left, others = chosen
        graphs = []
        for label in reversed(list(self.reentries.entries)):  # those further down first
            if label in found:
                session = Session(access, dict(found[label]), self.graph.nodes, label)
                graphs.append((session, self.below(self.reentries.entries[label],
                                                   session.items_now if sync else session.items, session.source)))
        done = again = 0
        results: list[Any] = []
        for session, graph in graphs:
            wanted = len(session.wanted)
            plan = plan_of(graph.nodes, self.options, on_loop=not sync, saves=False)
            network = Network(Program(plan, graph.nodes), self.world, sync=sync)
            network.run.replay, network.run.ledger.watch = session, session.ended
            if self.reentries.entries[session.label].degraded:
                session.degraded = partial(degraded, network.run)
            if isinstance(self.store, Opens):
                network.run.opened.lend(self.store, access.store)
            try:
                results.append(network.execute_sync() if sync else await network.execute())
                await session.finish()
            finally:
                await marked(session, sync)  # what has been delivered is not to be delivered again
            done, again = done + session.done, again + len(session.again)
            left += wanted - session.done - len(session.again)
        return Replayed(done, again, left, others, tuple(results))


def degraded(run: Context, letter: Letter, number: int) -> None:
    """What goes through the rest of a fallback is a degraded result, as it was when it failed there."""
    run.tell("fallback", node=letter.node, error=letter.error, of=(run.replay.source if run.replay else "", 0, number))


def nothing(item: Any) -> None:
    """Where the items of an open graph go."""


async def marked(session: Session, sync: bool) -> None:
    """Mark what has been handled, also where the run was cancelled."""
    if sync:
        await session.mark()
        return
    with anyio.CancelScope(shield=True):
        await session.mark()


# -- what `Graph.replay` opens -------------------------------------------------------------------


def task(graph: Graph[Any, Any], store: Any, where: Where, name: str | None, options: dict[str, Any]) -> Replay:
    chosen, rest = taken_apart(options, "backend")
    return Replay(graph, store, where, name, chosen, rest.get("world") or THE_WORLD)


def replay(graph: Graph[Any, Any], store: Any, where: Where, name: str | None, **options: Any) -> Replayed:
    """In place where no node below the letters waits, else on a private loop (ruling 12)."""
    work, backend = task(graph, store, where, name, options), options.get("backend")
    if backend in (None, "sync"):
        with (opened := work.opening()).now():
            access = work.access(opened)
            chosen = now(work.chosen(access))
            if not work.waits(chosen[0]):
                return now(work.work(access, chosen, sync=True))  # type: ignore[no-any-return]
        if backend == "sync":
            raise RunError("backend='sync': a node below the letters waits; leave it out, or take 'asyncio' or 'trio'")
    return on_private_loop(lambda: on_loop(work), backend or "asyncio")  # type: ignore[no-any-return]


async def replayed(graph: Graph[Any, Any], store: Any, where: Where, name: str | None, **options: Any) -> Replayed:
    """On the current loop."""
    return await on_loop(task(graph, store, where, name, options))


async def on_loop(work: Replay) -> Replayed:
    async with (opened := work.opening()).on_loop():
        access = work.access(opened)
        return await work.work(access, await work.chosen(access), sync=False)
