"""Checkpoints: a run that is cut anywhere and resumed comes to what an uninterrupted run comes to.

A store that keeps every text it was given shows the run at all its cuts; each is resumed from.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.nodes import groups, windows
from kayrx.plan.keeping import KEPT, STATELESS
from kayrx.plan.plan import Saving
from kayrx.plan.shapes import pump
from kayrx.testing import run_virtual
from tests.test_laws import SYNC

add = operator.add


class Recorded:
    """A store in memory that remembers all it was ever given."""

    def __init__(self, codec: Any = None) -> None:
        self.now = kx.memory_checkpoints(**({} if codec is None else {"codec": codec}))
        self.codec = self.now.codec
        self.all: list[str] = []

    def save(self, name: str, state: str) -> None:
        self.all.append(state)
        self.now.save(name, state)

    def load(self, name: str) -> str | None:
        return self.now.load(name)

    def clear(self, name: str) -> None:
        self.now.clear(name)

    def close(self) -> None: ...


def resumed_everywhere(make: Callable[[Recorded], Any], run: Callable[..., Any], codec: Any = None) -> tuple[Any, int]:
    """The result of a run, to which each of its checkpoints leads again; and how many there were."""
    store = Recorded(codec)
    graph = make(store)
    whole = run(graph)
    cuts = store.all
    for text in cuts:
        store.now.save("checkpoint", text)
        assert run(graph, resume=True) == whole
    return whole, len(cuts)


# -- every node that holds something -------------------------------------------------------------

KEYED = kx.stateful_map(lambda n, x: (n + x, n), kx.it % 3, 0, max_keys=2)
BODIES: dict[str, Graph[Any, Any]] = {
    "scan": kx.scan(add, 0), "scan from the first": kx.scan(add), "reduce": kx.reduce(add, 0),
    "guarded scan": kx.scan(add, 0) >> kx.retry(2), "stateful_map": kx.stateful_map(lambda n, x: (n + 1, n * x), seed=0),
    "stateful_map keys": KEYED, "guarded keys": KEYED >> kx.skip_errors(),
    "distinct": kx.distinct(), "distinct few": kx.distinct(kx.it % 5, max_keys=2),
    "distinct_until_changed": kx.distinct_until_changed(kx.it // 2), "pairwise": kx.pairwise(),
    "take": kx.take(7), "skip": kx.skip(3), "take_while": kx.take_while(kx.it < 8), "skip_while": kx.skip_while(kx.it < 4),
    "take_last": kx.take_last(3), "first": kx.first(kx.it > 5, -1), "last": kx.last(kx.it < 5, -1),
    "element_at": kx.element_at(6, default=-1), "default_if_empty": kx.filter(kx.it > 99) >> kx.default_if_empty(0),
    "buffer": kx.buffer(count=4), "sliding": kx.sliding(3, 2), "sliding apart": kx.sliding(2, 5),
    "with_index": kx.with_index(3), "expansion": kx.flat_map(lambda x: [x, -x]) >> kx.scan(add, 0) >> kx.buffer(count=3),
    "group_by": kx.group_by(kx.it % 3, kx.scan(add, 0) >> kx.scan(add, 0) >> kx.buffer(2), max_groups=2),
    "window": kx.window(4, kx.scan(add, 0) >> kx.pairwise()),
    "chunk": kx.map(lambda x: "ab. Cd" * (x % 3)) >> kx.chunk(by="sentence"),
    "bytes": kx.map(lambda x: b"x" * x) >> kx.chunk(4),
    "tumbling": kx.window_by(event_time=kx.it, tumbling=3, lateness=2) >> kx.map(tuple),
    "sliding windows": kx.window_by(event_time=kx.it, sliding=(9, 4), fold=(1, add), partial="watermark") >> kx.map(tuple),
    "session": kx.window_by(event_time=kx.it, session=2, key=kx.it % 2, lateness=3) >> kx.map(tuple),
}


@pytest.mark.parametrize("name", BODIES)
@given(items=st.lists(st.integers(0, 12), max_size=14), every=st.integers(1, 3), behind=st.booleans(),
       options=st.sampled_from([{}, {"fuse": False}, {"events": True}, {"backend": "asyncio", "chunk": 1}]))
def test_a_node_goes_on_with_what_it_held(name: str, items: list[int], every: int, behind: bool,
                                          options: dict[str, Any]) -> None:
    """At every cut of every run, the checkpoint before the node or behind it."""
    body = BODIES[name]

    def make(store: Recorded) -> Any:
        mark = kx.checkpoint(store, every=every)
        return kx.source(items) >> (body >> mark if behind else mark >> body) >> kx.to_list()

    whole, cuts = resumed_everywhere(make, lambda graph, **more: graph.run(**options, **more))

    assert whole == (kx.source(items) >> body >> kx.to_list()).run()
    if not behind and not re.match("take$|take_while|first|element_at", name):
        assert cuts == len(items) // every + 1


def test_every_variable_of_a_node_is_saved_or_is_no_state() -> None:
    """A form that gets a new variable without a row in `keeping` is found here: else its state would be lost."""
    tools = {"guard", "each", "take", "now", "hosted", "ids", "passed", "clock", "due"}  # made anew in each run
    seen = set()
    for graph, _ in SYNC.values():
        plan = (kx.source([1]) >> graph).compile()
        steps = [step for segment in plan.segments for step in segment.steps]
        if not plan.linear or not all(isinstance(s.node, (*KEPT, *STATELESS)) for s in steps):
            continue
        text = pump(steps, Saving()).text
        for number, step in enumerate(steps):
            names = {hint for hint in re.findall(rf"^        (\w+)_{number} = ", text, re.M) if not hint.startswith("x")}
            assert names - tools <= {*KEPT.get(type(step.node), "").split()}, (step.node.word, names)
            seen |= {type(step.node)} if names - tools else set()
    assert {*KEPT} - seen <= {windows.Buffer, groups.InWindows} | {k for k in KEPT if k.role == "sink"} | {
        k for k in KEPT if k.word in ("dematerialize",)}


# -- plans of several tasks ----------------------------------------------------------------------


async def slow(x: Any) -> Any:
    await anyio.sleep(x % 3 / 10)
    return x


async def twice(x: int) -> AsyncIterator[int]:
    yield x
    await anyio.sleep(0.01)
    yield x * 2


async def ticking(after: int | None) -> AsyncIterator[int]:
    for x in range(0 if after is None else after + 1, 17):
        await anyio.sleep(0.05)
        yield x


def opened(after: int | None) -> Iterator[int]:
    yield from range(0 if after is None else after + 1, 17)


SOURCES: dict[str, Callable[[], Any]] = {
    "list": lambda: kx.source(range(17)), "generator": lambda: kx.source(opened, cursor=kx.it),
    "ticks": lambda: kx.source(ticking, cursor=kx.it),
    "thread": lambda: kx.source([*range(17)], on=kx.threads(1)),
    "guarded": lambda: kx.source(ticking, cursor=kx.it) >> kx.timeout(idle=60) >> kx.retry(2),
}
TOTAL = kx.reduce(add, 0) >> kx.to_list()
NETS: dict[str, Callable[[Any, Any], Any]] = {
    "two calls": lambda s, c: s >> kx.map(slow) >> kx.scan(add, 0) >> c >> kx.map(slow) >> kx.buffer(count=3) >> kx.to_list(),
    "crew": lambda s, c: s >> kx.scan(add, 0) >> kx.map(slow, concurrency=4) >> kx.scan(add, 0) >> c >> kx.to_list(),
    "unordered": lambda s, c: s >> c >> kx.map(slow, concurrency=4, ordered=False) >> TOTAL,
    "crews": lambda s, c: s >> kx.map(slow, concurrency=3) >> c >> kx.map(slow, concurrency=2) >> kx.scan(add) >> kx.to_list(),
    "bodies": lambda s, c: s >> c >> kx.flat_map(twice, concurrency=3) >> TOTAL,
    "bodies in order": lambda s, c: s >> kx.concat_map(twice) >> c >> kx.scan(add, 0) >> kx.map(slow) >> kx.to_list(),
    "fan": lambda s, c: s >> c >> kx.broadcast(
        kx.filter(kx.it % 2 == 0) >> kx.scan(add, 0), kx.take(5) >> kx.scan(add, 0), kx.map(slow)) >> kx.merge() >> TOTAL,
    "partition": lambda s, c: s >> kx.partition(
        kx.it % 3 == 0, kx.scan(add, 0) >> c, kx.buffer(count=4) >> kx.map(sum)) >> kx.merge() >> TOTAL,
    "balance": lambda s, c: s >> c >> kx.balance(kx.map(slow), kx.map(slow)) >> kx.merge() >> TOTAL,
    "sides": lambda s, c: s >> kx.also_to(kx.scan(add, 0) >> kx.to_list()) >> kx.map(slow) >> c >> kx.scan(add) >> kx.to_list(),
    "two sinks": lambda s, c: s >> c >> kx.broadcast(kx.scan(add, 0) >> kx.to_list(), kx.take(4) >> kx.to_list()),
    "gates of one": lambda s, c: s >> kx.map(slow) >> kx.backpressure(1) >> kx.scan(add) >> kx.map(slow) >> c >> TOTAL,
    "measured": lambda s, c: s >> c >> kx.backpressure(3, bytes=9, size_of=lambda x: 2, low=0.5) >> kx.map(slow) >> TOTAL,
    "shared": lambda s, c: (lambda shared: kx.merge(shared >> kx.scan(add), shared >> kx.map(slow)))(
        s >> c >> kx.share()) >> TOTAL,
}


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("net", NETS)
def test_a_network_is_caught_at_one_moment(net: str, source: str, events: bool, loop: str) -> None:
    """Whatever is under way between tasks: an item has had its effect everywhere, or nowhere."""
    if loop == "trio" and (events or source in ("generator", "guarded")):
        loop = "asyncio"  # the same again

    def run(graph: Any, **more: Any) -> Any:
        async def main() -> Any:
            async with graph.start(events=events, **more) as started:
                pass
            return started.result
        return run_virtual(main, loop)

    result, cuts = resumed_everywhere(lambda store: NETS[net](SOURCES[source](), kx.checkpoint(store, every=2)), run)

    plain = run(NETS[net](SOURCES[source](), kx.map(kx.it)))
    assert result == plain if net != "balance" else sum(result) == sum(plain)
    assert cuts >= 1
