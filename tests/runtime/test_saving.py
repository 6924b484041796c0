"""Checkpoints: a run that is cut anywhere and resumed comes to what an uninterrupted run comes to.

A store that keeps every text it was given shows the run at all its cuts; each is resumed from.
"""

from __future__ import annotations

import json
import operator
import pickle
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings, strategies as st

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.nodes import combine, groups, latest, windows
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
    cuts = [*store.all]
    for text in cuts:
        store.now.save("checkpoint", text)
        assert run(graph, resume=True) == whole
    return whole, len(cuts)


# -- every node that holds something -------------------------------------------------------------

def plainly(window: kx.Window[Any]) -> list[Any]:
    return [window.key, window.start, window.value, window.count, window.final]


KEYED = kx.stateful_map(lambda n, x: (n + x, n), kx.it % 3, 0, max_keys=2)
BODIES: dict[str, Graph[Any, Any]] = {
    "scan": kx.scan(add, 0), "scan from the first": kx.scan(add), "reduce": kx.reduce(add, 0),
    "guarded scan": kx.scan(add, 0) >> kx.retry(2), "stateful_map keys": KEYED,
    "stateful_map": kx.stateful_map(lambda n, x: (n + 1, n * x), seed=0), "guarded keys": KEYED >> kx.skip_errors(),
    "distinct": kx.distinct(), "distinct few": kx.distinct(kx.it % 5, max_keys=2),
    "distinct_until_changed": kx.distinct_until_changed(kx.it // 2), "pairwise": kx.pairwise(),
    "take": kx.take(7), "skip": kx.skip(3), "take_while": kx.take_while(kx.it < 8),
    "skip_while": kx.skip_while(kx.it < 4),
    "take_last": kx.take_last(3), "first": kx.first(kx.it > 5, -1), "last": kx.last(kx.it < 5, -1),
    "element_at": kx.element_at(6, default=-1), "default_if_empty": kx.filter(kx.it > 99) >> kx.default_if_empty(0),
    "buffer": kx.buffer(count=4), "sliding": kx.sliding(3, 2), "sliding apart": kx.sliding(2, 5),
    "with_index": kx.with_index(3), "settled": kx.settled(3),
    "expansion": kx.flat_map(lambda x: [x, -x]) >> kx.scan(add, 0) >> kx.buffer(count=3),
    "group_by": kx.group_by(kx.it % 3, kx.scan(add, 0) >> kx.scan(add, 0) >> kx.buffer(2), max_groups=2),
    "window": kx.window(4, kx.scan(add, 0) >> kx.pairwise()),
    "chunk": kx.map(lambda x: "ab. Cd" * (x % 3)) >> kx.chunk(by="sentence"),
    "bytes": kx.map(lambda x: b"x" * x) >> kx.chunk(4),
    "tumbling": kx.window_by(event_time=kx.it, tumbling=3, lateness=2) >> kx.map(plainly),
    "sliding windows": kx.window_by(event_time=kx.it, sliding=(9, 4), fold=(1, add), partial="watermark")
    >> kx.map(plainly),
    "session": kx.window_by(event_time=kx.it, session=2, key=kx.it % 2, lateness=3) >> kx.map(plainly),
}


@pytest.mark.parametrize("name", BODIES)
@settings(max_examples=settings().max_examples // 3 + 10)  # a case is a run for each of its cuts
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
        text = pump(steps, Saving()).text.partition("def run_(")[2].partition("def held()")[0]
        for number, step in enumerate(steps):
            names = {hint for hint in re.findall(rf"^        (\w+)_{number} = ", text, re.M)}
            assert names - tools <= {*KEPT.get(type(step.node), "").split()}, (step.node.word, names)
            seen |= {type(step.node)} if names - tools else set()
    joins = {groups.Ticks, combine.Zip, combine.CombineLatest, latest.WithLatestFrom, latest.ZipLatest}
    assert {*KEPT} - seen <= {windows.Buffer, groups.InWindows} | joins | {k for k in KEPT if k.role == "sink"} | {
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
        await anyio.sleep(0.25)
        yield x


def opened(after: int | None) -> Iterator[int]:
    yield from range(0 if after is None else after + 1, 17)


async def dropping(after: int | None) -> AsyncIterator[int]:
    """Breaks off after each item that is three more than a multiple of five."""
    for x in range(0 if after is None else after + 1, 17):
        await anyio.sleep(0.25)
        yield x
        if x % 5 == 3:
            raise OSError


class EveryOther:
    """A store whose every other read fails."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, cursor: int | None, n: int) -> tuple[list[int], int | None]:
        self.reads += 1
        if self.reads % 2:
            raise OSError
        start = cursor or 0
        return [*range(start, min(start + 3, 17))], start + 3 if start + 3 < 17 else None


SOURCES: dict[str, Callable[[], Any]] = {
    "dropping": lambda: kx.source(dropping, cursor=kx.it) >> kx.timeout(idle=60) >> kx.retry(3),
    "failing": lambda: kx.source(EveryOther()) >> kx.retry(9),
    "list": lambda: kx.source(range(17)), "generator": lambda: kx.source(opened, cursor=kx.it),
    "ticks": lambda: kx.source(ticking, cursor=kx.it),
    "thread": lambda: kx.source([*range(17)], on=kx.threads(1)),
}
TOTAL = kx.reduce(add, 0) >> kx.to_list()
NETS: dict[str, Callable[[Any, Any], Any]] = {
    "two calls": lambda s, c: s >> kx.map(slow) >> kx.scan(add, 0) >> c >> kx.map(slow) >> kx.buffer(3) >> kx.to_list(),
    "crew": lambda s, c: s >> kx.scan(add, 0) >> kx.map(slow, concurrency=4) >> kx.scan(add, 0) >> c >> kx.to_list(),
    "unordered": lambda s, c: s >> c >> kx.map(slow, concurrency=4, ordered=False) >> TOTAL,
    "crews": lambda s, c: s >> kx.map(slow, concurrency=3) >> c >> kx.map(slow, concurrency=2) >> kx.scan(add)
    >> kx.to_list(),
    "in threads": lambda s, c: s >> kx.map(abs, on=kx.threads(2)) >> kx.retry(2) >> c >> kx.scan(add) >> kx.to_list(),
    "bodies": lambda s, c: s >> c >> kx.flat_map(twice, concurrency=3) >> TOTAL,
    "bodies in order": lambda s, c: s >> kx.concat_map(twice) >> c >> kx.scan(add, 0) >> kx.map(slow) >> kx.to_list(),
    "fan": lambda s, c: s >> c >> kx.broadcast(
        kx.filter(kx.it % 2 == 0) >> kx.scan(add), kx.take(5) >> kx.scan(add), kx.map(slow)) >> kx.merge() >> TOTAL,
    "partition": lambda s, c: s >> kx.partition(
        kx.it % 3 == 0, kx.scan(add, 0) >> c, kx.buffer(count=4) >> kx.map(sum)) >> kx.merge() >> TOTAL,
    "balance": lambda s, c: s >> c >> kx.balance(kx.map(slow), kx.map(slow)) >> kx.merge() >> TOTAL,
    "sides": lambda s, c: s >> kx.also_to(kx.scan(add, 0) >> kx.to_list()) >> kx.map(slow) >> c >> kx.scan(add)
    >> kx.to_list(),
    "two sinks": lambda s, c: s >> c >> kx.broadcast(kx.scan(add, 0) >> kx.to_list(), kx.take(4) >> kx.to_list()),
    "gates of one": lambda s, c: s >> kx.map(slow) >> kx.backpressure(1) >> kx.scan(add) >> kx.map(slow) >> c >> TOTAL,
    "measured": lambda s, c: s >> c >> kx.backpressure(3, bytes=9, size_of=abs, low=0.5) >> kx.map(slow) >> TOTAL,
    "paced": lambda s, c: s >> kx.rate_limit(9, burst=3) >> c >> kx.scan(add) >> kx.rate_limit(
        30, key=kx.it % 2, size=4) >> TOTAL,
    "timed lists": lambda s, c: s >> c >> kx.buffer(4, seconds=60) >> kx.map(sum) >> kx.map(slow) >> kx.to_list(),
    "timed windows": lambda s, c: s >> c >> kx.window(4, kx.scan(add), seconds=60) >> kx.map(slow) >> kx.to_list(),
    "zip": lambda s, c: s >> kx.broadcast(kx.map(slow) >> kx.scan(add), kx.buffer(2) >> c, kx.sliding(2, 3)) >> kx.zip()
    >> kx.map(str) >> kx.to_list(),
    "zip of few": lambda s, c: s >> c >> kx.broadcast(
        kx.backpressure(1) >> kx.map(slow), kx.filter(kx.it % 4 != 3), size=5) >> kx.zip(size=1) >> kx.map(str)
    >> kx.to_list(),
    "latest": lambda s, c: s >> c >> kx.broadcast(
        kx.scan(add), kx.buffer(3) >> kx.map(sum)) >> kx.combine_latest() >> kx.take_last(1) >> kx.map(str)
    >> kx.to_list(),
    "shared": lambda s, c: (lambda shared: kx.merge(shared >> kx.scan(add), shared >> kx.map(slow)))(
        s >> c >> kx.share()) >> TOTAL,
}


@pytest.mark.parametrize(("loop", "events"), [("asyncio", False), ("asyncio", True), ("trio", False)])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("net", NETS)
def test_a_network_is_caught_at_one_moment(net: str, source: str, events: bool, loop: str) -> None:
    """Whatever is under way between tasks: an item has had its effect everywhere, or nowhere."""
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


@pytest.mark.parametrize(("source", "seconds"), [("list", 0.3), ("ticks", 1.1), ("thread", 0.3), ("failing", 0.6)])
@pytest.mark.parametrize("net", NETS)
def test_a_run_that_is_stopped_is_saved_where_it_was(net: str, source: str, seconds: float, loop: str) -> None:
    """Nothing that was read is read again, and what was flushed early is given again, whole."""
    store = Recorded()
    graph = NETS[net](SOURCES[source]() >> kx.tap(kx.it), kx.checkpoint(store, every=9))

    async def main() -> Any:
        async with graph.start() as run:
            await anyio.sleep(seconds)
            await run.stop()
        read = run.metrics().segments[0].taken
        async with graph.start(resume=True) as run:
            pass
        return read, numbers_of(store), run.result

    read, places, result = run_virtual(main, loop)

    plain = run_virtual(lambda: awaited(NETS[net](SOURCES[source](), kx.map(kx.it))), loop)
    assert result == plain if net != "balance" else sum(result) == sum(plain)
    assert read in places or read == 17


async def awaited(graph: Any) -> Any:
    return await graph


def test_two_sources_are_caught_together() -> None:
    """One ends long before the other, and what it gave at its end is not given again."""
    def make(store: Recorded) -> Any:
        short = kx.source([1, 2, 3]).named("short") >> kx.buffer(count=2) >> kx.map(sum)
        long = kx.source(range(99)).named("long") >> kx.scan(add, 0)
        return kx.merge(short, long) >> kx.checkpoint(store, every=1) >> TOTAL

    result, cuts = resumed_everywhere(make, lambda graph, **more: graph.run(**more))

    assert result == [6 + sum(x * (x + 1) // 2 for x in range(99))] and cuts > 3
    resumed_everywhere(make, lambda graph, **more: graph.run(backend="trio", **more))


JOINS: dict[str, Callable[[Any, Any], Any]] = {
    "combine_latest": kx.combine_latest, "zip_latest": kx.zip_latest, "zip": kx.zip,
    "with_latest_from": lambda s, other: s >> kx.with_latest_from(other),
}


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("events", [False, True])
def test_a_join_goes_on_with_what_it_held(join: str, events: bool, loop: str) -> None:
    """One side gives at times at which the other is silent, and ends before it: at every cut, the same pairs come."""
    def make(mark: Any) -> Any:
        shared = kx.source(ticking, cursor=kx.it) >> kx.share()
        slower = shared >> kx.filter(kx.it % 3 == 1) >> kx.take(4) >> kx.map(kx.it * 100)
        return JOINS[join](shared >> kx.filter(kx.it % 3 != 1), slower) >> mark >> kx.map(list) >> kx.to_list()

    def run(graph: Any, **more: Any) -> Any:
        async def main() -> Any:
            async with graph.start(events=events, **more) as started:
                pass
            return started.result
        return run_virtual(main, loop)

    whole, cuts = resumed_everywhere(lambda store: make(kx.checkpoint(store, every=1)), run)
    assert cuts >= 3 and whole == run(make(kx.map(kx.it)))


def test_a_zip_whose_sides_are_too_far_apart_fails_as_without_a_checkpoint(loop: str) -> None:
    """It holds no more for a barrier than the gates do."""
    graph = kx.source(range(99)) >> kx.checkpoint(kx.memory_checkpoints(), every=2) >> kx.broadcast(
        kx.flat_map(lambda x: [x] * 50), kx.filter(kx.it % 20 == 19)) >> kx.zip() >> kx.to_list()
    with pytest.raises(kx.GateDeadlock, match="into 'zip' port"):
        run_virtual(lambda: awaited(graph), loop)


def test_a_reader_has_read_what_counts_as_sent(loop: str) -> None:
    """The items in the gate before the reader of ``stream()`` are not forgotten: at least once."""
    store = Recorded()
    graph = kx.source(range(40)) >> kx.checkpoint(store, every=5)

    async def some(count: int, resume: bool) -> list[int]:
        out: list[int] = []
        async with graph.stream(resume=resume) as items:
            async for item in items:
                out.append(item)
                if len(out) == count:
                    break
        return out

    async def main() -> list[list[int]]:
        return [await some(22, False), await some(99, True)]

    first, second = run_virtual(main, loop)

    assert first == [*range(22)]
    assert second[0] <= 22 and second == [*range(second[0], 40)] and second[0] > 0


# -- when ----------------------------------------------------------------------------------------


def numbers_of(store: Recorded) -> list[int]:
    """How many items had been read at each checkpoint."""
    return [given for text in store.all for _, given in json.loads(text[9:])["sources"].values()]


def test_a_checkpoint_is_made_every_so_many_items_and_at_the_end() -> None:
    """Counted where it stands, not at the source."""
    store = Recorded()
    (kx.source(range(10)) >> kx.filter(kx.it % 2) >> kx.checkpoint(store, every=2)).collect()

    assert numbers_of(store) == [4, 8, 10]


def test_seconds_are_of_the_runs_clock(loop: str) -> None:
    """With the item that comes when they have passed."""
    store = Recorded()

    async def main() -> None:
        await (kx.source(ticking, cursor=kx.it) >> kx.checkpoint(store, every=99, seconds=1))

    run_virtual(main, loop)

    assert numbers_of(store) == [4, 8, 12, 16, 17]


def test_without_resume_a_run_begins_anew_and_forgets() -> None:
    """So that a later resume cannot go on with the run before."""
    store, fails = Recorded(), [99]

    def f(x: int) -> int:
        if x == fails[0]:
            raise OSError
        return x

    graph = kx.source(range(9)) >> kx.map(f) >> kx.checkpoint(store, every=2) >> kx.to_list()
    assert graph.run(resume=True) == graph.run() == [*range(9)]  # there is nothing yet: from the beginning
    fails[0] = 1
    with pytest.raises(OSError):
        graph.run()
    assert store.load("checkpoint") is None
    with pytest.raises(kx.GraphError, match=r"resume=True: the graph saves nothing to go on from; write kx"):
        kx.source([1]).collect(resume=True)


def test_a_graph_goes_on_with_what_was_appended_to_its_file(tmp_path: Path) -> None:
    """A run that has ended is a checkpoint like any other; a file is read on from its end."""
    path, store = tmp_path / "log.txt", kx.sqlite_checkpoints(tmp_path / "state.db")
    graph = kx.lines(path) >> kx.checkpoint(store).named("log") >> kx.scan(lambda n, _: n + 1, 0) >> kx.last()
    path.write_text("a\nb\nc\n")
    assert graph.collect() == [3]
    with path.open("a") as file:
        file.write("d\ne\n")
    assert graph.collect(resume=True, backend="trio") == [5]


@pytest.mark.parametrize("count", [5, 40, 700])
@pytest.mark.parametrize("backend", ["sync", "asyncio"])
def test_a_source_that_is_shorter_or_another_is_an_error(count: int, backend: str, tmp_path: Path) -> None:
    """It gave nothing, in silence: a list, a file, and an object with ``read`` that have less than was read; and a file
    that begins with other bytes.  One of the same length is no error, nor a store that gives fewer at a time."""
    path = tmp_path / "in"
    given = [f"line {n}" for n in range(count)]

    class Store:
        most = 99

        def read(self, cursor: int | None, n: int) -> tuple[list[str], int | None]:
            start = cursor or 0
            following = start + min(n, self.most)
            return given[start:following], following if following < len(given) else None

    stored = Store()
    path.write_text("\n".join(given) + "\n")
    for source in (kx.source(given), kx.lines(path), kx.source(stored)):
        store = Recorded()
        graph = source.named("src") >> kx.checkpoint(store, every=max(3, count // 2)) >> kx.to_list()
        graph.run(backend=backend)
        whole = [*given]
        for text in [*store.all]:
            store.now.save("checkpoint", text)
            stored.most = 7
            assert graph.run(resume=True, backend=backend) == whole
            stored.most = 99
        store.now.save("checkpoint", store.all[-1])
        for less in (count - 1, count // 3, 0):
            given[:] = whole[:less]
            path.write_text("\n".join(given) + "\n" * bool(less))
            with pytest.raises(kx.RunError, match=r"^'src' .* at test_saving\.py:\d+:? .*(shorter|another)"):
                graph.run(resume=True, backend=backend)
        given[:] = whole
        path.write_text("\n".join(["LINE 0", *given[1:]]) + "\n")
        if "lines" in repr(source):
            with pytest.raises(kx.RunError, match="is another file than the one that was read"):
                graph.run(resume=True, backend=backend)
        path.write_text("\n".join(given) + "\n")


def test_a_file_is_flushed_before_what_was_sent_counts(tmp_path: Path) -> None:
    """What stands in a buffer of the process would be lost with it, and not be sent again."""
    path, seen = tmp_path / "out", []

    class Store(Recorded):
        def save(self, name: str, state: str) -> None:
            seen.append(path.read_text())

    for opened in (False, True):
        seen.clear()
        target: Any = path.open("w") if opened else kx.resource(lambda: path.open("w"))
        (kx.source("abcd") >> kx.checkpoint(Store(), every=2) >> kx.sink(target)).run()
        assert seen == ["ab", "abcd", "abcd"]
        if opened:
            target.close()


def test_letters_keep_their_ids_over_a_resume() -> None:
    """An item has the number that it had, so its letter is the same letter."""
    letters, store = kx.memory_letters(), Recorded()

    def f(x: int) -> int:
        if x % 4 == 3:
            raise ValueError(x)
        return x

    graph = (kx.source(range(12)) >> kx.map(f) >> kx.dead_letter(letters) >> kx.checkpoint(store, every=3)).named("g")
    graph.collect()
    keys = [letter.id for letter in letters.items()]
    for text in [*store.all]:
        store.now.save("g.checkpoint", text)
        graph.collect(resume=True)
    assert [letter.id for letter in letters.items()] == keys == [f"g/g.f/g.source/0/{n}" for n in (3, 7, 11)]
    letters.mark_done(keys[0])
    assert graph.replay(letters, where=lambda letter: False).done == 0  # a replay saves and resumes nothing


# -- what is refused -----------------------------------------------------------------------------

MEMORY = kx.memory_checkpoints()
MARK = kx.checkpoint(MEMORY)


async def later(x: int) -> int:
    return x


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an iterator": (lambda: kx.source(iter([1])) >> MARK, "'source' .* cannot go back to where it was; give a list"),
    "a clock": (lambda: kx.interval(1) >> MARK, "'interval' .* cannot go back"),
    "two checkpoints": (lambda: kx.source([1]) >> MARK >> MARK, "saves the whole graph already; leave one of them out"),
    "inside a group": (lambda: kx.source([1]) >> kx.window(2, MARK), "stands inside a group"),
    "a timer": (lambda: kx.source([1]) >> MARK >> kx.delay(1), "what 'delay' .* holds cannot be saved .* graph of its"),
    "a concat": (lambda: kx.source([1]) >> MARK >> [kx.map(abs), kx.map(abs)] >> kx.concat(),
                 "'concat' .* one lane after the other.*give one source that reads them in turn"),
    "a race": (lambda: kx.source([1]) >> MARK >> [kx.map(abs), kx.map(abs)] >> kx.race(), "what 'race' .* cannot"),
    "an Rx operator": (lambda: kx.source([1]) >> MARK >> kx.rx(abs, max_burst=1), "what 'abs' .* hosts an Rx operator"),
    "a gate that drops": (lambda: kx.source([1]) >> MARK >> kx.backpressure(2, overflow="latest") >> kx.map(later),
                          "may drop or join items .latest.*use overflow='block'"),
    "two that wait": (lambda: kx.merge(kx.source(ticking, cursor=kx.it), kx.source([1])) >> MARK,
                      "'ticking' .* may keep the others waiting"),
    "a source twice": (lambda: (lambda s: kx.merge(s, s) >> MARK)(kx.source([1])), "stands in the graph twice"),
    "a body that waits": (lambda: kx.source([1]) >> MARK >> kx.group_by(kx.it, kx.map(later)), "body of 'group_by'"),
    "batches": (lambda: kx.source([1]) >> MARK >> kx.map(abs, on=kx.processes(2, batch=3)), "say batch=1"),
    "a replay": (lambda: kx.source([1]) >> MARK >> kx.share(replay=2) >> kx.map(abs), "leave replay= out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_saved_is_refused_when_compiled(name: str) -> None:
    """With the node, and what to write instead."""
    make, message = REFUSED[name]

    with pytest.raises(kx.CompileError, match=rf"'checkpoint' \(checkpoint\) at test_saving\.py:\d+.*{message}"):
        make().compile()


FACES: dict[str, Callable[[Any], Any]] = {
    "observable": lambda g: g.to_observable(), "subscribe": lambda g: g.subscribe(print),
    "publisher": lambda g: g.publisher(), "iterate": lambda g: g.__aiter__(),
    "operator": lambda _: MARK.operator(), "processor": lambda _: MARK.processor(), "call": lambda _: MARK(1),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("body", [kx.map(abs), kx.map(later), kx.broadcast(kx.map(abs), kx.map(abs)) >> kx.merge()],
                         ids=["linear", "waits", "fan"])
def test_other_faces_do_not_pretend_to_save(face: str, body: Any) -> None:
    """What could not be resumed says so at once; a trial saves nothing, and a store in memory stays in its process."""
    store = kx.memory_checkpoints()
    graph = kx.source([1]) >> kx.checkpoint(store) >> body
    with pytest.raises(kx.CompileError, match=r"'checkpoint'.*: a graph is saved by run\(\), .* and this is: "):
        FACES[face](graph)
    assert graph.check(trial=[1, 2]) == [] and store.load("checkpoint") is None
    with pytest.raises(kx.GraphError, match=r"'checkpoint' .* holds a live object"):
        pickle.dumps(graph)
    assert pickle.loads(pickle.dumps(kx.checkpoint(kx.sqlite_checkpoints("x.db")))) == kx.checkpoint(
        kx.sqlite_checkpoints("x.db"))


def saved(body: Graph[Any, Any], **options: Any) -> kx.CheckpointStore:
    store = kx.memory_checkpoints()
    (kx.source([1, 2]) >> kx.checkpoint(store) >> body).collect(**options)
    return store


@pytest.mark.parametrize(("before", "after", "message"), [
    (kx.scan(add, 0).named("total"), kx.scan(add, 0).named("sum"), "the state of 'total' .scan., and no such node"),
    (kx.skip(1), kx.skip(1) >> kx.distinct(), "holds no state of 'distinct' .distinct.: the node is new"),
    (kx.skip(1).named("a"), kx.take(1).named("a"), "holds the state of 'a' as of a skip, and it is a take now"),
    (kx.window(2, kx.skip(1)), kx.window(2, kx.take(1)), "'window > skip' .* name the node so with .named.'skip'"),
    (kx.sliding(3, 1), kx.sliding(2, 1), r"as of a sliding\(count=3, step=1\), and it is a sliding\(count=2, step=1\)"),
    (kx.window(9, kx.skip(1)), kx.window(2, kx.skip(1)), r"as of a window\(count=9\), and it is a window\(count=2\)"),
    (kx.window_by(event_time=abs, tumbling=9), kx.window_by(event_time=abs, session=2), r"of a window_by.tumbling=9.,"),
], ids=["gone", "new", "another", "in a body", "cut otherwise", "never to be full", "other windows"])
def test_a_checkpoint_that_does_not_fit_names_the_node(before: Any, after: Any, message: str) -> None:
    """And nodes that hold nothing may come and go."""
    store = saved(before)
    with pytest.raises(kx.RunError, match=message):
        (kx.source([1, 2]) >> kx.checkpoint(store) >> after).collect(resume=True)
    (kx.source([1, 2]) >> kx.map(abs) >> kx.checkpoint(store) >> before >> kx.map(str)).collect(resume=True)


def test_a_checkpoint_belongs_to_its_source_and_its_ids(loop: str) -> None:
    """A source of another name, or a run with ids after one without, is refused; on a loop as well."""
    store = saved(kx.skip(1))
    with pytest.raises(kx.RunError, match="differ in the source 'other'"):
        (kx.source([1]).named("other") >> kx.checkpoint(store) >> kx.skip(1)).collect(resume=True)
    with pytest.raises(kx.RunError, match="comes from a run without ids of items; resume with events=False"):
        (kx.source([1]) >> kx.checkpoint(store) >> kx.skip(1)).collect(resume=True, events=True, backend=loop)


def test_a_damaged_checkpoint_is_not_believed() -> None:
    """Whatever bit it was."""
    store = saved(kx.skip(1))
    text = store.load("checkpoint")
    store.save("checkpoint", text.replace('"number":1', '"number":2'))
    with pytest.raises(kx.RunError, match="is damaged, or was written by another version"):
        (kx.source([1]) >> kx.checkpoint(store) >> kx.skip(1)).collect(resume=True)


# -- stores --------------------------------------------------------------------------------------


def test_a_state_that_cannot_be_written_names_the_node() -> None:
    """JSON for plain values; pickle, for those who ask, for the rest."""
    def make(store: Any) -> Any:
        return kx.source(range(5)) >> kx.checkpoint(store, every=2) >> kx.scan(lambda s, x: s + x, 1j) >> kx.to_list()

    with pytest.raises(kx.RunError, match=r"cannot write the state of 'scan' with the codec 'json' \(a complex has no"):
        make(kx.memory_checkpoints()).run()
    resumed_everywhere(make, lambda graph, **more: graph.run(**more), kx.pickle_codec)


class Failing(Recorded):
    async def load(self, name: str) -> str | None:  # type: ignore[override]
        return super().load(name)

    async def save(self, name: str, state: str) -> None:  # type: ignore[override]
        if self.all:
            raise OSError("disk full")
        super().save(name, state)


def test_a_store_that_fails_fails_the_run(backend: str) -> None:
    """And what was saved before is what is resumed from; a store may be async."""
    store = Failing()
    graph = kx.source(range(6)) >> kx.checkpoint(store, every=2) >> kx.scan(add, 0) >> kx.to_list()
    with pytest.raises(OSError, match="disk full"):
        graph.run(backend=backend)
    store.all.clear()
    assert len(numbers_of(store)) == 0
    with pytest.raises(OSError, match="disk full"):
        graph.run(resume=True, backend=backend)
    assert numbers_of(store) == [4]


def test_a_store_is_checked_when_the_node_is_written() -> None:
    """What keeps no checkpoints, and numbers that are none."""
    for wrong, message in ((lambda: kx.checkpoint([]), "a list keeps no checkpoints; use kx.sqlite_checkpoints"),
                           (lambda: kx.checkpoint(MEMORY, every=0), "every"),
                           (lambda: kx.checkpoint(MEMORY, seconds=0), "seconds"),
                           (lambda: kx.sqlite_checkpoints(":memory:"), "need a file to survive in"),
                           (lambda: kx.sqlite_checkpoints("x", codec=json), "a codec has encode")):
        with pytest.raises(kx.GraphError, match=message):
            wrong()


def test_explain_says_what_is_saved_and_its_price() -> None:
    """When, of which nodes, and who waits for it."""
    graph = kx.source([1]) >> kx.checkpoint(MEMORY, every=9, seconds=5) >> kx.scan(add) >> kx.map(
        later, concurrency=3) >> kx.backpressure(2) >> kx.map(later)

    assert graph.explain().partition("costs:\n")[2].splitlines() == [
        "  checkpoint: every 9 items, or 5 s, and at the end of a source, the state of add is written whole with the "
        "place of the sources, and synced",
        "  checkpoint: later finishes the calls under way first",
        "  checkpoint: a barrier takes a place in each gate, and a join waits for it on all lanes"]
