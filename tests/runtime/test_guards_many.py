"""Guards around many outputs: a flat_map, a unit, a sink, a scan; and a whole source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


async def passed(x: Any) -> Any:
    return x


async def timed(graph: Any) -> tuple[Any, float]:
    start = anyio.current_time()
    return await graph, anyio.current_time() - start


class Sends:
    """A function of many outputs: ``before`` items, then OSError, the first ``times`` calls; else three items."""

    def __init__(self, before: int, times: int = 10**9) -> None:
        self.before, self.times, self.calls, self.closed = before, times, 0, 0

    def sync(self, x: Any) -> Iterator[Any]:
        self.calls += 1
        try:
            for n in range(3):
                if self.calls <= self.times and n == self.before:
                    raise OSError(f"after {n}")
                yield x, n
        finally:
            self.closed += 1

    async def waits(self, x: Any) -> AsyncIterator[Any]:
        for item in self.sync(x):
            await anyio.sleep(1)
            yield item


# -- flat_map ------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("node", [kx.flat_map, kx.concat_map])
def test_a_unit_that_has_sent_nothing_is_tried_again(node: Any, waits: bool, virtual: Virtual) -> None:
    """``before_first``: as long as no output has left, retry is safe."""
    sends = Sends(before=0, times=2)

    graph = kx.source("a") >> node(sends.waits if waits else sends.sync) >> kx.retry(3)
    out = virtual(graph >> kx.to_list())

    assert out == [("a", 0), ("a", 1), ("a", 2)] and sends.calls == sends.closed == 3


@pytest.mark.parametrize("guard", [kx.retry(5), kx.fallback(lambda x: ["other"])])
@pytest.mark.parametrize("node", [kx.flat_map, kx.concat_map])
def test_a_unit_that_has_sent_something_is_not_tried_again(guard: Any, node: Any, virtual: Virtual) -> None:
    """Neither retry nor fallback would know what to do with the head that has left: the error comes out."""
    sends, seen = Sends(before=2), []

    with pytest.raises(OSError, match="after 2"):
        virtual(kx.source("a") >> node(sends.waits) >> guard >> kx.sink(seen))

    assert seen == [("a", 0), ("a", 1)] and sends.calls == sends.closed == 1


@pytest.mark.parametrize("node", [kx.flat_map, kx.concat_map])
def test_a_flat_map_that_fails_may_be_skipped_or_kept_as_a_letter(node: Any, virtual: Virtual) -> None:
    """What has left has left; the letter holds the input."""
    letters: list[Any] = []

    kept = virtual(kx.source("ab") >> node(Sends(2).waits) >> kx.dead_letter(letters) >> kx.to_list())
    skipped = virtual(kx.source("ab") >> node(Sends(2).waits) >> kx.skip_errors() >> kx.to_list())

    assert sorted(kept) == sorted(skipped) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert sorted(x.item for x in letters) == ["a", "b"]


def test_fallback_of_a_flat_map_gives_many_or_one(backend: str) -> None:
    """An alternative stands for the whole unit: an iterable of outputs."""
    graph = kx.source("ab") >> kx.flat_map(Sends(0).sync) >> kx.fallback(lambda x: [x, x])

    assert graph.collect(backend=backend) == ["a", "a", "b", "b"]


@pytest.mark.parametrize(("limit", "which", "seconds"), [
    (kx.timeout(2.5), "total", 2.5), (kx.timeout(first=0.5), "first", 0.5), (kx.timeout(idle=0.5), "idle", 1.5),
    (kx.timeout(total=1.5), "total", 1.5)])
def test_each_kind_of_timeout_on_a_stream_of_outputs(limit: Any, which: str, seconds: float,
                                                     virtual: Virtual) -> None:
    """``first`` bounds the first output, ``idle`` the next ones, ``total`` and plain seconds all of them."""
    async def main() -> float:
        start = anyio.current_time()
        with pytest.raises(kx.CallTimeout) as caught:
            await (kx.source("a") >> kx.concat_map(Sends(9).waits) >> limit)
        assert caught.value.which == which
        return anyio.current_time() - start

    assert virtual(main) == seconds


# -- units, sinks, scans -------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True])
def test_a_unit_is_tried_as_a_whole(waits: bool, backend: str) -> None:
    """All nodes inside are run again for the item, and its letter holds what went into the unit."""
    log, letters = [], []

    def first(x: int) -> int:
        log.append(x)
        return x + 1

    def then(x: int) -> int:
        return 6 // (x - 1)

    middle = kx.map(passed) if waits else kx.map(kx.it)
    both = kx.unit(kx.map(first) >> middle >> kx.map(then), name="both") >> kx.retry(3) >> kx.dead_letter(letters)
    out = (kx.source([2, 0, 3]) >> both).collect(backend="asyncio" if waits and backend == "sync" else backend)

    assert out == [3, 2] and log == [2, 0, 0, 0, 3]
    assert [(x.item, x.node, x.attempts) for x in letters] == [(0, "both", 3)]


def test_guards_inside_a_unit_stand_inside_those_around_it(backend: str) -> None:
    """An inner retry(2) in an outer retry(3) is six calls."""
    calls: list[int] = []

    def fail(x: int) -> int:
        calls.append(x)
        raise OSError

    unit = kx.unit(kx.map(fail) >> kx.retry(2)) >> kx.retry(3) >> kx.skip_errors()

    assert (kx.source([1]) >> unit).collect(backend=backend) == [] and len(calls) == 6


def test_a_guarded_sink_keeps_going(backend: str) -> None:
    """A sink that fails for an item is tried again, and may dead-letter it."""
    calls, letters = [], []

    def store(x: int) -> None:
        calls.append(x)
        if x == 1 or calls.count(x) == 1:
            raise OSError

    (kx.source(range(3)) >> kx.each(store) >> kx.retry(2) >> kx.dead_letter(letters)).run(backend=backend)

    assert calls == [0, 0, 1, 1, 2, 2] and [x.item for x in letters] == [1]


@pytest.mark.parametrize("waits", [False, True])
def test_a_scan_commits_its_state_on_success_only(waits: bool, backend: str) -> None:
    """An item that fails leaves the state as it was, and the next one goes on from there (ruling 10)."""
    def add(total: int, x: int) -> int:
        if x == 3:
            raise OSError
        return total + x

    async def add_later(total: int, x: int) -> int:
        await anyio.lowlevel.checkpoint()
        return add(total, x)

    graph = kx.source([1, 2, 3, 4]) >> kx.scan(add_later if waits else add, 0) >> kx.retry(2) >> kx.skip_errors()

    assert graph.collect(backend="asyncio" if waits and backend == "sync" else backend) == [1, 3, 7]


@pytest.mark.parametrize("waits", [False, True])
def test_a_filter_and_a_tap_can_be_guarded(waits: bool, backend: str) -> None:
    """A predicate or effect that fails is a failure of its item."""
    def check(x: int) -> bool:
        return bool(6 // x) and x < 3

    async def check_later(x: int) -> bool:
        return check(x)

    fn = check_later if waits else check
    graph = kx.source([1, 0, 2, 3]) >> kx.filter(fn) >> kx.skip_errors() >> kx.tap(fn) >> kx.skip_errors()

    assert graph.collect(backend="asyncio" if waits and backend == "sync" else backend) == [1, 2]


# -- sources -------------------------------------------------------------------------------------


class Connection:
    """A source that breaks once before each item of ``breaks``; opened at a cursor, it goes on after it."""

    def __init__(self, *breaks: int, seconds: float = 0) -> None:
        self.breaks, self.seconds, self.cursors = list(breaks), seconds, []  # type: ignore[var-annotated]

    def sync(self, cursor: int | None = None) -> Iterator[int]:
        self.cursors.append(cursor)
        for x in range(0 if cursor is None else cursor + 1, 6):
            if x in self.breaks:
                self.breaks.remove(x)
                raise OSError(f"at {x}")
            yield x

    async def waits(self, cursor: int | None = None) -> AsyncIterator[int]:
        for x in self.sync(cursor):
            await anyio.sleep(self.seconds)
            yield x


@pytest.mark.parametrize("kind", ["sync", "waits"])
@pytest.mark.parametrize("below", [kx.map(kx.it), kx.map(passed), kx.map(passed, concurrency=3)])
def test_retry_on_a_source_reconnects_at_the_last_cursor(kind: str, below: Any, virtual: Virtual) -> None:
    """``connect`` gets the cursor of the last item that was accepted, None at first (ruling 28)."""
    source = Connection(0, 3, 5)

    graph = kx.source(getattr(source, kind), cursor=lambda x: x) >> kx.retry(3, backoff=kx.constant(10)) >> below

    assert virtual(lambda: timed(graph >> kx.to_list())) == (list(range(6)), 30)
    assert source.cursors == [None, None, 2, 4]


def test_retry_on_a_source_needs_no_loop() -> None:
    """In a synchronous run the backoff is the injected sleep."""
    source, slept = Connection(3), []
    graph = kx.source(source.sync, cursor=lambda x: x) >> kx.retry(3, backoff=kx.constant(10))

    assert graph.collect(world=kx.World(block=slept.append)) == list(range(6)) and slept == [10]


def test_without_a_cursor_a_source_is_called_anew(backend: str) -> None:
    """What it gave before comes again; the attempts are n in all (ruling 10)."""
    source = Connection(2, 1)

    assert (kx.source(lambda: source.sync()) >> kx.retry(3)).collect(backend=backend) == [0, 0, 1, *range(6)]

    source, seen = Connection(*[1] * 9), []
    with pytest.raises(OSError):
        (kx.source(lambda: source.sync()) >> kx.retry(3) >> kx.sink(seen)).run(backend=backend)
    assert seen == [0, 0, 0]


def test_a_one_shot_iterator_is_not_tried_again(backend: str) -> None:
    """A second read of a generator object is a RunError, never an empty stream (ruling 21)."""
    graph = kx.source(Connection(2).sync()) >> kx.retry(3)

    with pytest.raises(kx.RunError, match="read once"):
        graph.collect(backend=backend)


@pytest.mark.parametrize(("limit", "which", "items"), [
    (kx.timeout(0.5), "first", 0), (kx.timeout(first=0.5), "first", 0), (kx.timeout(total=3.5), "total", 3)])
def test_a_timeout_on_a_source(limit: Any, which: str, items: int, virtual: Virtual) -> None:
    """On a source plain seconds are ``first`` and ``idle``; ``total`` bounds the whole stream."""
    seen: list[int] = []

    with pytest.raises(kx.CallTimeout) as caught:
        virtual(kx.source(Connection(seconds=1).waits) >> limit >> kx.sink(seen))
    assert caught.value.which == which and len(seen) == items


def test_a_source_may_fall_back_or_end_on_error(backend: str) -> None:
    """``fallback`` on a source gives another one, where nothing was sent; ``skip_errors`` ends it there."""
    broken = kx.source(lambda: Connection(0).sync())

    assert (broken >> kx.fallback(lambda _: [7, 8])).collect(backend=backend) == [7, 8]
    assert (kx.source(lambda: Connection(3).sync()) >> kx.skip_errors()).collect(backend=backend) == [0, 1, 2]
