"""What the runtime's tests share: a graph or an async function on virtual time, and sources that are watched."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

import anyio
import pytest
from reactivex import operators as ops

import kayrx as kx
from kayrx.testing import VirtualLoop, run_virtual


async def awaited(graph: Any) -> Any:
    return await graph


@pytest.fixture
def virtual(loop: str) -> Callable[[Any], Any]:
    """``virtual(graph)`` or ``virtual(async_function)``: the result, on virtual time on this loop."""
    def run(what: Any) -> Any:
        return run_virtual(lambda: awaited(what) if isinstance(what, kx.Graph) else what(), loop)
    return run


class Watched:
    """A source that counts what is read of it, and knows whether its ``finally`` has run.

    ``source`` reads at once, ``slowly(seconds)`` gives an item every so many seconds.
    """

    def __init__(self, items: Iterable[Any] = range(10**9)) -> None:
        self.items = items
        self.read = self.opened = self.closed = 0

    @property
    def open(self) -> int:
        return self.opened - self.closed

    def source(self) -> Iterator[Any]:
        self.opened += 1
        try:
            for item in self.items:
                self.read += 1
                yield item
        finally:
            self.closed += 1

    def slowly(self, seconds: float) -> Callable[[], AsyncIterator[Any]]:
        async def items() -> AsyncIterator[Any]:
            self.opened += 1
            try:
                for item in self.items:
                    await anyio.sleep(seconds)
                    self.read += 1
                    yield item
            finally:
                self.closed += 1
        return items


@pytest.fixture
def watched() -> type[Watched]:
    return Watched


def notes(error: BaseException) -> list[str]:
    return [note for note in getattr(error, "__notes__", ()) if note.startswith("kayrx:")]


@pytest.fixture
def noted() -> Callable[[BaseException], list[str]]:
    """The kayrx notes of an exception."""
    return notes


# -- shapes of graphs that know what of them is alive ---------------------------------------------


class Alive:
    """Counts what has been entered and not left: generators and calls."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}

    def enter(self, what: str, by: int = 1) -> None:
        self.now[what] = self.now.get(what, 0) + by

    def items(self, n: int = 6) -> Iterator[int]:
        self.enter("items")
        try:
            yield from range(n)
        finally:
            self.enter("items", -1)

    async def later(self, n: int = 6) -> AsyncIterator[int]:
        self.enter("later")
        try:
            for x in range(n):
                await anyio.sleep(1)
                yield x
        finally:
            self.enter("later", -1)

    async def call(self, x: Any) -> Any:
        self.enter("call")
        try:
            await anyio.sleep(1)
            await anyio.lowlevel.checkpoint()
            return x
        finally:
            self.enter("call", -1)

    async def many(self, x: Any) -> AsyncIterator[Any]:
        self.enter("many")
        try:
            yield x
            await anyio.sleep(0.5)
            yield x
        finally:
            self.enter("many", -1)

    def flaky(self) -> Callable[[Any], Awaitable[Any]]:
        calls = 0

        async def call(x: Any) -> Any:
            nonlocal calls
            calls += 1
            await self.call(x)
            if calls % 2:
                raise OSError
            return x
        return call

    @property
    def anything(self) -> dict[str, int]:
        return {what: count for what, count in self.now.items() if count}


SHAPES: dict[str, Callable[[Alive], Any]] = {
    "one segment": lambda a: kx.source(a.items) >> kx.map(a.call),
    "async source": lambda a: kx.source(a.later) >> kx.map(a.call),
    "several segments": lambda a: kx.source(a.later) >> kx.map(a.call) >> kx.map(a.call) >> kx.buffer(count=2),
    "crew": lambda a: kx.source(a.items) >> kx.map(a.call, concurrency=3),
    "crew over a gate": lambda a: kx.source(a.later) >> kx.map(a.call, concurrency=3, ordered=False) >> kx.map(a.call),
    "bodies": lambda a: kx.source(a.items) >> kx.flat_map(a.many, concurrency=3) >> kx.map(a.call),
    "bodies in order": lambda a: kx.source(a.items) >> kx.concat_map(a.many) >> kx.map(kx.it + 1),
    "guards": lambda a: kx.source(a.items) >> kx.map(a.flaky()) >> kx.timeout(50) >> kx.retry(
        3, backoff=kx.constant(1)) >> kx.skip_errors(),
    "limits": lambda a: kx.source(a.items) >> kx.deadline(50) >> kx.map(a.flaky(), concurrency=3) >> kx.bulkhead(
        2, queued=1) >> kx.circuit_breaker(9) >> kx.hedge(1.5) >> kx.retry(3) >> kx.fallback(kx.map(a.call)),
    "hedged": lambda a: kx.source(a.items) >> kx.map(a.call) >> kx.hedge(0.5) >> kx.deadline(9),
    "resumed": lambda a: kx.source(a.items) >> kx.concat_map(a.many) >> kx.timeout(first=0.2, idle=0.2) >> kx.retry(
        2, resume="restart") >> kx.catch(lambda error, x: a.many(x)) >> kx.settled(3) >> kx.map(a.call),
    "guarded source": lambda a: kx.source(a.later) >> kx.timeout(50) >> kx.retry(2) >> kx.map(a.call),
    "guarded bodies": lambda a: kx.source(a.items) >> kx.flat_map(a.many) >> kx.timeout(50) >> kx.retry(2),
    "fan out and in": lambda a: kx.source(a.items) >> [kx.map(a.call), kx.map(a.call, concurrency=2)] >> kx.zip(),
    "join": lambda a: kx.merge(kx.source(a.later), kx.source(a.items) >> kx.map(a.call)) >> kx.map(a.call),
    "switch": lambda a: kx.source(a.later) >> kx.switch_map(a.many) >> kx.map(a.call) >> kx.exhaust_map(a.many),
    "paced": lambda a: kx.source(a.later) >> kx.rate_limit(9, key=kx.it % 2) >> kx.prefetch(2) >> kx.map(
        a.call) >> kx.backpressure(4, bytes=9, size_of=lambda x: 2, low=0.5) >> kx.map(a.call),
    "sides": lambda a: kx.source(a.later) >> kx.also_to(kx.map(a.call) >> kx.to_list()) >> kx.wire_tap(
        kx.map(a.call) >> kx.to_list()) >> kx.divert_to(kx.each(a.call), kx.it == 3) >> kx.map(a.call),
    "balanced": lambda a: kx.source(a.items) >> kx.balance(kx.map(a.call), kx.map(a.call)) >> kx.merge(),
    "race": lambda a: kx.race(kx.source(a.later), kx.timer(9) >> kx.map(a.call)) >> kx.map(a.call),
    "steered": lambda a: kx.source(a.later) >> kx.with_latest_from(kx.source(a.items)) >> kx.pause_when(
        kx.source([True, False])) >> kx.skip_until(kx.source([1])) >> kx.take_until(kx.source([])) >> kx.map(a.call),
    "concat": lambda a: kx.concat(kx.source(a.items), kx.source(a.later)) >> kx.map(a.call),
    "time": lambda a: kx.source(a.later) >> kx.debounce(0.5) >> kx.delay(2) >> kx.map(a.call),
    "unit": lambda a: kx.source(a.items) >> kx.unit(kx.concat_map(a.many) >> kx.map(a.call)) >> kx.retry(2),
    "mapped twice": lambda a: kx.source(a.items) >> kx.map(a.call) >> kx.map(a.call),
    "unordered crew": lambda a: kx.source(a.items) >> kx.map(a.call, concurrency=4, ordered=False),
    "two crews": lambda a: kx.source(a.items) >> kx.map(a.call, concurrency=2) >> kx.map(a.call, concurrency=3),
    "crew of one over a gate": lambda a: kx.source(a.later) >> kx.backpressure(1) >> kx.map(a.call, concurrency=2),
    "gates of one": lambda a: kx.source(a.items) >> kx.map(a.call) >> kx.backpressure(1) >> kx.map(a.call),
    "async filter": lambda a: kx.source(a.items) >> kx.filter(a.call) >> kx.map(a.call),
    "async tap": lambda a: kx.source(a.later) >> kx.tap(a.call) >> kx.skip(1),
    "scan behind a call": lambda a: kx.source(a.items) >> kx.map(a.call) >> kx.scan(operator.add, 0),
    "reduce behind a call": lambda a: kx.source(a.items) >> kx.map(a.call) >> kx.reduce(operator.add, 0),
    "sliding": lambda a: kx.source(a.later) >> kx.sliding(2, 1) >> kx.map(a.call),
    "pairwise": lambda a: kx.source(a.later) >> kx.pairwise() >> kx.map(a.call),
    "distinct": lambda a: kx.source(a.later) >> kx.distinct_until_changed() >> kx.map(a.call),
    "bodies in bodies": lambda a: kx.source(a.items) >> kx.flat_map(a.many) >> kx.flat_map(a.many, concurrency=2),
    "bodies and a crew": lambda a: kx.source(a.items) >> kx.concat_map(a.many) >> kx.map(a.call, concurrency=3),
    "lists by time": lambda a: kx.source(a.later) >> kx.buffer(count=4, seconds=2.5) >> kx.map(a.call),
    "throttled": lambda a: kx.source(a.later) >> kx.throttle_first(1) >> kx.map(a.call),
    "delayed": lambda a: kx.source(a.later) >> kx.delay(3, size=2) >> kx.map(a.call),
    "an rx node": lambda a: kx.source(a.later) >> kx.rx(ops.pairwise()) >> kx.map(a.call),
    "an rx node with a timer": lambda a: kx.source(a.items) >> kx.rx(ops.delay(2)) >> kx.map(a.call),
    "fallback": lambda a: kx.source(a.items) >> kx.map(a.flaky()) >> kx.fallback(a.call),
    "guarded crew": lambda a: kx.source(a.items) >> kx.map(a.flaky(), concurrency=3) >> kx.timeout(5) >> kx.retry(4),
    "letters": lambda a: kx.source(a.items) >> kx.map(a.flaky()) >> kx.dead_letter([]) >> kx.map(a.call),
    "guards behind a gate": lambda a: kx.source(a.later) >> kx.map(a.call) >> kx.map(a.flaky()) >> kx.retry(
        2, backoff=kx.exponential(0.1), jitter="full") >> kx.skip_errors(),
    "unit of calls": lambda a: kx.source(a.later) >> kx.unit(kx.map(a.call) >> kx.map(a.call)) >> kx.timeout(50),
    "three ways": lambda a: kx.source(a.items) >> [
        kx.map(a.call), kx.filter(a.call), kx.concat_map(a.many)] >> kx.merge(),
    "partition": lambda a: kx.source(a.later) >> kx.partition(kx.it % 2, kx.map(a.call), kx.map(str)) >> kx.merge(),
    "branch": lambda a: kx.source(a.items) >> kx.map(kx.it % 2) >> kx.branch(
        {0: kx.map(a.call), 1: kx.flat_map(a.many)}) >> kx.merge(),
    "fan in a fan": lambda a: kx.source(a.items) >> [
        kx.map(a.call), kx.broadcast(kx.map(a.call), kx.map(kx.it)) >> kx.merge()] >> kx.merge(),
    "zip of sources": lambda a: kx.zip(kx.source(a.later), kx.source(a.items)) >> kx.map(a.call),
    "newest of sources in time": lambda a: kx.combine_latest(kx.source(a.later), kx.source(a.items) >> kx.map(a.call)),
    "join of joins": lambda a: kx.merge(kx.zip(kx.source(a.items), kx.source(a.later)), kx.source(a.later)),
    "replayed": lambda a: kx.concat(
        s := kx.source(a.later) >> kx.share(replay=2), kx.timer(2) >> kx.map(a.call), s >> kx.map(a.call), s),
    "shared by policies": lambda a: kx.merge(s := kx.source(a.later) >> kx.share(), s >> kx.backpressure(1, low=0)
                                             >> kx.map(a.call), s >> kx.coalesce(3, max) >> kx.map(a.call)),
    "shared": lambda a: shared(kx.source(a.later) >> kx.map(a.call) >> kx.share()),
    "groups that wait": lambda a: kx.source(a.items) >> kx.group_by(kx.it % 2, kx.map(a.call) >> kx.buffer(count=2)),
    "groups of bodies": lambda a: kx.source(a.later) >> kx.group_by(kx.it % 2, kx.concat_map(a.many)) >> kx.take(7),
    "a loop": lambda a: kx.source(a.later) >> kx.loop(kx.map(a.call, concurrency=2) >> kx.map(kx.it + 1),
                                                      until=kx.it > 3) >> kx.map(a.call),
    "cut short": lambda a: kx.source(a.later) >> kx.map(a.call) >> kx.map(a.call) >> kx.take(3),
    "cut short in a crew": lambda a: kx.source(a.items) >> kx.map(a.call, concurrency=4) >> kx.take_while(kx.it < 4),
    "cut short by a join": lambda a: kx.zip(kx.source(a.later) >> kx.take(2), kx.source(a.items) >> kx.map(a.call)),
}


def shared(upstream: Any) -> Any:
    return kx.merge(upstream >> kx.map(kx.it), upstream >> kx.map(kx.it * 10))


Shape = Callable[[Alive], Any]


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    """A graph that ends after some seconds of virtual time, made over an `Alive`."""
    return SHAPES[request.param]


@pytest.fixture
def alive() -> type[Alive]:
    return Alive


class TickingLoop(VirtualLoop):
    """Calls ``hook`` before its ``at``-th turn."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.turn, self.at = 0, at
        self.hook: Callable[[], Any] = lambda: None

    def _run_once(self) -> None:
        self.turn += 1
        if self.turn == self.at:
            self.hook()
        super()._run_once()  # type: ignore[misc]


@pytest.fixture
def ticking() -> type[TickingLoop]:
    return TickingLoop
