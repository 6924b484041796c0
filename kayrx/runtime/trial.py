"""A trial run: which functions of a graph block the loop, measured by the world's clock.

The graph is written anew with every function of the user's inside a watch; an async function is watched from one
wait to the next.  What runs in threads or processes is left alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields, replace
from functools import partial, wraps
from inspect import isawaitable
from typing import Any

from kayrx.errors import GraphError
from kayrx.graph.expr import Expr
from kayrx.graph.graph import Graph, graph_of
from kayrx.graph.join import is_fed, join
from kayrx.graph.node import Node
from kayrx.nodes.checkpoint import Checkpoint
from kayrx.nodes.ends import SinkTo, Source
from kayrx.nodes.flow import Coalesced, Conflate
from kayrx.nodes.transform import Map
from kayrx.nodes.values import is_async, is_async_generator
from kayrx.runtime.faces import run
from kayrx.runtime.world import THE_WORLD, World

LONG = 0.005
"""Seconds: a loop that stands for longer is late for everything else."""


@dataclass(slots=True)
class Watch:
    """How often a node was called, how often that took long, and how long at worst."""

    now: Callable[[], float]
    calls: int = 0
    slow: int = 0
    worst: float = 0.0

    def took(self, seconds: float, calls: int = 1) -> None:
        self.calls += calls
        self.slow += seconds > LONG
        self.worst = max(self.worst, seconds)

    def called(self, fn: Callable[..., Any], *args: Any, calls: int = 1) -> Any:
        began = self.now()
        try:
            return fn(*args)
        finally:
            self.took(self.now() - began, calls)

    def told(self) -> str:
        times = "once" if self.slow == 1 else f"{self.slow} times"
        return (f"blocked the event loop for more than {LONG * 1000:g} ms {times} in {self.calls} calls of the trial "
                f"({self.worst * 1000:.0f} ms at worst)")


def measured(graph: Graph[Any, Any], items: Sequence[Any], world: World | None = None,
             **options: Any) -> dict[int, str]:
    """Run ``graph`` over ``items``; what there is to say, by the id of the node.

    Raises: what the run raises; GraphError for a graph that cannot be given items.
    """
    chosen = world or THE_WORLD
    trial = Trial(chosen.clock)
    run(graph_of(trial.series(given(graph.nodes, items))), world=chosen, **options)
    return {node: watch.told() for node, watch in trial.watches.items() if watch.slow}


def given(nodes: tuple[Node, ...], items: Sequence[Any]) -> tuple[Node, ...]:
    """The series over ``items``, which stand for what its sources give."""
    first = nodes[0]
    if not is_fed(nodes):
        if first.role == "fan_in" and not first.beside:
            raise GraphError(f"check(trial=items): {first.where} joins branches that are not written here; "
                             "try the whole graph")
        return join((Source(items),), nodes)
    if first.role == "source":
        return (Source(items, name=first.label, written=first.written), *nodes[1:])
    inputs = tuple(graph_of(given(g.nodes, items)) for g in first.branches)
    return (replace(first, inputs=inputs), *nodes[1:])  # type: ignore[call-arg]


class Trial:
    """Writes a graph anew, with a watch for each node."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.watches: dict[int, Watch] = {}

    def series(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        return tuple(self.node(node) for node in nodes if not isinstance(node, Checkpoint))

    def node(self, node: Node) -> Node:
        if isinstance(node, Map | Source) and node.on is not None:
            return node
        watch = self.watches.setdefault(id(node), Watch(self.now))
        if isinstance(node, SinkTo) and node.method is not None:
            return replace(node, target=watched(getattr(node.target, node.method), watch))
        held = {f.name: getattr(node, f.name) for f in fields(node) if f.init}
        anew = {name: self.value(value, node, watch) for name, value in held.items()}
        return replace(node, **{name: value for name, value in anew.items() if value is not held[name]})

    def value(self, value: Any, node: Node, watch: Watch) -> Any:
        if isinstance(value, Graph):
            return graph_of(self.series(value.nodes))
        if isinstance(value, (Conflate, Coalesced)):
            return replace(value, fn=self.value(value.fn, node, watch))
        if type(value) is tuple and value:
            anew = tuple(self.value(part, node, watch) for part in value)
            return anew if any(a is not b for a, b in zip(anew, value, strict=True)) else value
        if isinstance(value, Expr) or not any(value is fn for fn in node.functions):
            return value
        return watched(value, watch)


def watched(fn: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
    """``fn``, of its own kind, under a watch."""
    if isinstance(fn, partial):
        return partial(watched(fn.func, watch), *fn.args, **fn.keywords)
    if is_async_generator(fn):
        @wraps(fn)
        async def items(*args: Any) -> AsyncIterator[Any]:
            async with aclosing(fn(*args)) as given_items:
                while True:
                    try:
                        item = await Steps(given_items.__anext__(), watch)
                    except StopAsyncIteration:
                        return
                    yield item
        return items
    if is_async(fn):
        @wraps(fn)
        async def steps(*args: Any) -> Any:
            return await Steps(fn(*args), watch)
        return steps

    @wraps(fn)
    def call(*args: Any) -> Any:
        given_back = watch.called(fn, *args)
        if isinstance(given_back, Generator):
            return nexts(given_back, watch)
        return Steps(given_back, watch) if isawaitable(given_back) else given_back
    return call


def nexts(items: Generator[Any, Any, Any], watch: Watch) -> Iterator[Any]:
    """The items of a generator, each ``next`` under the watch of the call that has made it."""
    try:
        while True:
            try:
                item = watch.called(next, items, calls=0)
            except StopIteration:
                return
            yield item
    finally:
        items.close()


class Steps:
    """An awaitable under a watch: from one wait to the next is a step, all in the task of who awaits it."""

    __slots__ = ("awaitable", "watch")

    def __init__(self, awaitable: Awaitable[Any], watch: Watch) -> None:
        self.awaitable, self.watch = awaitable, watch

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self.awaitable.__await__()
        act, value = steps.send, None
        self.watch.calls += 1
        while True:
            try:
                waits_for = self.watch.called(act, value, calls=0)
            except StopIteration as end:
                return end.value
            try:
                value = yield waits_for
                act = steps.send
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:
                act, value = steps.throw, error


__all__ = ["measured"]
