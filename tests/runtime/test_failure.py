"""Failure: whatever callback raises, the run raises that very object once, with one note, and leaves nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import pytest
import reactivex
from reactivex import operators as ops

import kayrx as kx
from kayrx.testing import left_behind, run_virtual


class Bad(Exception):
    """What the callback under test raises."""


class Nth:
    """Raises ``error`` at its k-th call."""

    def __init__(self, k: int, error: BaseException) -> None:
        self.k, self.error, self.calls = k, error, 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.k:
            raise self.error


class Witness:
    """Sources and generators that tell whether their ``finally`` has run."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    def items(self, n: int = 40) -> Iterator[int]:
        self.opened += 1
        try:
            yield from range(n)
        finally:
            self.closed += 1

    async def later(self, n: int = 40) -> AsyncIterator[int]:
        for x in self.items(n):
            await anyio.lowlevel.checkpoint()
            yield x


def sync(bad: Nth) -> Callable[..., Any]:
    def f(*args: Any) -> Any:
        bad()
        return args[-1]
    return f


def later(bad: Nth) -> Callable[..., Any]:
    async def f(*args: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        bad()
        return args[-1]
    return f


def many(bad: Nth, witness: Witness) -> Callable[[Any], Iterator[Any]]:
    def f(x: Any) -> Iterator[Any]:
        bad()
        yield from witness.items(2)
    return f


def many_later(bad: Nth, witness: Witness) -> Callable[[Any], AsyncIterator[Any]]:
    async def f(x: Any) -> AsyncIterator[Any]:
        bad()
        for y in witness.items(2):
            await anyio.lowlevel.checkpoint()
            yield y
    return f


def failing_source(bad: Nth, witness: Witness) -> Iterator[int]:
    for x in witness.items():
        bad()
        yield x


async def failing_source_later(bad: Nth, witness: Witness) -> AsyncIterator[int]:
    for x in witness.items():
        await anyio.lowlevel.checkpoint()
        bad()
        yield x


Place = Callable[[Nth, Witness], Any]


def read(w: Witness) -> Any:
    return kx.source(w.items)


def good(bad: Nth) -> Nth:
    return Nth(0, bad.error)


PLACES: dict[str, Place] = {
    "source": lambda bad, w: kx.source(lambda: failing_source(bad, w)) >> kx.map(str),
    "map": lambda bad, w: read(w) >> kx.map(sync(bad)),
    "predicate": lambda bad, w: read(w) >> kx.filter(sync(bad)),
    "accumulator": lambda bad, w: read(w) >> kx.scan(sync(bad), 0),
    "reducer": lambda bad, w: read(w) >> kx.reduce(sync(bad), 0),
    "key": lambda bad, w: read(w) >> kx.distinct_until_changed(sync(bad)),
    "tap": lambda bad, w: read(w) >> kx.tap(sync(bad)),
    "step of a state": lambda bad, w: read(w) >> kx.stateful_map(lambda s, x: (s, sync(bad)(x)), seed=0),
    "key of a state": lambda bad, w: read(w) >> kx.stateful_map(lambda s, x: (s, x), key=sync(bad)),
    "evicted": lambda bad, w: read(w) >> kx.stateful_map(lambda s, x: (x, x), kx.it, 0, max_keys=1, on_evict=sync(bad)),
    "guarded state": lambda bad, w: read(w) >> kx.stateful_map(lambda s, x: (s, sync(bad)(x)), seed=0) >> kx.retry(
        3, on=KeyError),
    "expansion": lambda bad, w: read(w) >> kx.expand(lambda x: [x, x] if sync(bad)(x) is None else ()),
    "below an expansion": lambda bad, w: read(w) >> kx.expand(lambda x: [x], max_depth=2) >> kx.map(sync(bad)),
    "below a chunk": lambda bad, w: read(w) >> kx.map(str) >> kx.chunk(by="grapheme") >> kx.map(sync(bad)),
    "told again": lambda bad, w: read(w) >> kx.map(sync(bad)) >> kx.materialize() >> kx.dematerialize(),
    "below a materialize": lambda bad, w: read(w) >> kx.materialize() >> kx.map(sync(bad)),
    "skip_while": lambda bad, w: read(w) >> kx.skip_while(lambda x: sync(bad)(x) < 99).named("small"),
    "distinct": lambda bad, w: read(w) >> kx.distinct(sync(bad)),
    "first": lambda bad, w: read(w) >> kx.first(lambda x: sync(bad)(x) > 99, 0).named("large"),
    "last": lambda bad, w: read(w) >> kx.last(sync(bad), 0),
    "take_while": lambda bad, w: read(w) >> kx.map(kx.it + 1) >> kx.take_while(sync(bad)),
    "body": lambda bad, w: read(w) >> kx.flat_map(many(bad, w)),
    "unit": lambda bad, w: read(w) >> kx.unit(kx.map(kx.it) >> kx.map(sync(bad))) >> kx.skip_errors(KeyError),
    "sink": lambda bad, w: read(w) >> kx.each(sync(bad)),
    "below a body": lambda bad, w: read(w) >> kx.flat_map(many(good(bad), w)) >> kx.each(sync(bad)),
    "guarded": lambda bad, w: read(w) >> kx.map(sync(bad)) >> kx.retry(3, on=KeyError) >> kx.skip_errors(KeyError),
    "alternative": lambda bad, w: read(w) >> kx.map(lambda x: 1 // 0) >> kx.fallback(sync(bad)),
    "handler": lambda bad, w: read(w) >> kx.map(lambda x: 1 // 0) >> kx.catch(lambda error, x: sync(bad)(x)),
    "alternative graph": lambda bad, w: read(w) >> kx.map(lambda x: 1 // 0) >> kx.fallback(kx.map(sync(bad))),
    "partition": lambda bad, w: read(w) >> kx.partition(sync(bad), kx.to_list(), kx.to_list()),
    "branch": lambda bad, w: read(w) >> kx.branch({0: kx.to_list()}, key=lambda x: sync(bad)(x) * 0),
    "first branch": lambda bad, w: read(w) >> kx.broadcast(kx.map(sync(bad)) >> kx.to_list(), kx.to_list()),
    "second branch": lambda bad, w: read(w) >> [kx.map(kx.it), kx.map(sync(bad))] >> kx.zip() >> kx.to_list(),
    "below a join": lambda bad, w: kx.merge(read(w), read(w)) >> kx.map(sync(bad)),
}
WAITING: dict[str, Place] = {
    "source": lambda bad, w: kx.source(partial(failing_source_later, bad, w)) >> kx.map(str),
    "map": lambda bad, w: read(w) >> kx.map(later(bad)),
    "second map": lambda bad, w: kx.source(w.later) >> kx.map(later(good(bad))) >> kx.map(later(bad)) >> kx.map(str),
    "crew": lambda bad, w: read(w) >> kx.map(later(bad), concurrency=3),
    "unordered crew": lambda bad, w: kx.source(w.later) >> kx.map(later(bad), concurrency=3, ordered=False),
    "below a crew": lambda bad, w: read(w) >> kx.map(later(good(bad)), concurrency=3) >> kx.each(sync(bad)),
    "predicate": lambda bad, w: read(w) >> kx.filter(later(bad)),
    "accumulator": lambda bad, w: read(w) >> kx.scan(later(bad), 0),
    "last": lambda bad, w: read(w) >> kx.last(later(bad), 0),
    "distinct": lambda bad, w: read(w) >> kx.distinct(later(bad)),
    "key of a state": lambda bad, w: read(w) >> kx.stateful_map(lambda s, x: (s, x), key=later(bad)),
    "guarded key of a state": lambda bad, w: read(w) >> kx.stateful_map(lambda s, x: (s, x), key=later(bad))
    >> kx.timeout(9) >> kx.retry(3, on=KeyError),
    "expansion": lambda bad, w: read(w) >> kx.expand(many_later(bad, w), max_depth=1),
    "below an expansion": lambda bad, w: read(w) >> kx.expand(many_later(good(bad), w), max_depth=1)
    >> kx.each(sync(bad)),
    "told again": lambda bad, w: read(w) >> kx.map(later(bad)) >> kx.map(later(good(bad))) >> kx.materialize()
    >> kx.dematerialize(),
    "sink": lambda bad, w: kx.source(w.later) >> kx.each(later(bad)),
    "body": lambda bad, w: read(w) >> kx.flat_map(many_later(bad, w), concurrency=3),
    "body in order": lambda bad, w: read(w) >> kx.concat_map(many_later(bad, w)),
    "below a body": lambda bad, w: read(w) >> kx.concat_map(many_later(good(bad), w)) >> kx.map(sync(bad)),
    "below bodies": lambda bad, w: read(w) >> kx.flat_map(many_later(good(bad), w)) >> kx.map(sync(bad)),
    "guarded": lambda bad, w: read(w) >> kx.map(later(bad)) >> kx.timeout(100) >> kx.retry(3, on=KeyError),
    "limited": lambda bad, w: read(w) >> kx.map(later(bad), concurrency=2) >> kx.bulkhead(2) >> kx.hedge(1)
    >> kx.deadline(100) >> kx.circuit_breaker(9),
    "branch": lambda bad, w: read(w) >> kx.broadcast(kx.map(later(bad), concurrency=2) >> kx.to_list(),
                                                     kx.each(later(good(bad)))),
    "below time": lambda bad, w: read(w) >> kx.delay(1) >> kx.map(sync(bad)),
    "threads": lambda bad, w: read(w) >> kx.map(sync(bad), on=kx.threads(2)),
    "source in a thread": lambda bad, w: kx.source(lambda: failing_source(bad, w), on=kx.threads(1)) >> kx.map(str),
}
NUMBERLESS = ("source", "source in a thread")  # they fail before there is an item


def ways() -> list[Any]:
    return [pytest.param(name, fn, loop, id=f"{name}-{loop}")
            for places, loops in ((PLACES, ("sync", "asyncio", "trio")), (WAITING, ("asyncio", "trio")))
            for name, fn in places.items() for loop in loops]


async def beside(graph: Any, other: Any) -> tuple[list[BaseException], Any]:
    """Run ``graph`` and, in the same loop, a sibling: the errors of the first, the result of the second."""
    errors, results = [], []

    async def one() -> None:
        try:
            await graph
        except Bad as error:
            errors.append(error)

    async def two() -> None:
        results.append(await other)

    with left_behind() as left:
        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(two)
    assert not left
    return errors, results[0]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("name", "make", "loop"), ways())
def test_what_a_callback_raises_is_what_the_run_raises(name: str, make: Place, loop: str, k: int, noted: Any) -> None:
    """At the k-th call of any callback: the same object, one note that names the node, its line and the item,
    every generator closed, nothing alive, and a run beside it unharmed (law 7, law 8).
    """
    bad, witness = Nth(k, Bad("bad")), Witness()
    graph = make(bad, witness)

    if loop == "sync":
        with left_behind() as left, pytest.raises(Bad) as caught:
            graph.run(backend="sync")
        error: BaseException = caught.value
        assert not left
    else:
        (error,), other = run_virtual(
            lambda: beside(graph, kx.source(range(100)) >> kx.map(later(Nth(0, Bad()))) >> kx.to_list()), loop)
        assert other == list(range(100))

    assert error is bad.error and bad.calls >= k
    assert witness.opened == witness.closed > 0
    (note,) = noted(error)
    assert "at test_failure.py:" in note and note.startswith("kayrx: in node '")
    assert "item" in note or name in NUMBERLESS


@pytest.mark.parametrize("head", [
    lambda: kx.merge(kx.source([0, 1, 2]), kx.source([0, 1, 2])), lambda: kx.source(range(6)) >> kx.delay(1),
    lambda: kx.source(range(6)) >> kx.rx(ops.delay(1)), lambda: kx.source(range(6)) >> kx.buffer(2, 60)],
    ids=["merge", "delay", "rx", "buffer"])
def test_behind_a_stage_the_number_is_that_of_what_the_stage_has_given(head: Any, virtual: Any, noted: Any) -> None:
    """Counted from 0, as behind a source."""
    calls = 0

    async def third(x: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyError(x)
        return x

    with pytest.raises(KeyError) as caught:
        virtual(head() >> kx.map(third) >> kx.to_list())
    assert "item 2" in noted(caught.value)[0]


# -- the odd ones --------------------------------------------------------------------------------

STEPS: dict[str, Callable[[Any], Any]] = {
    "map": kx.map, "tap": kx.tap, "filter": kx.filter, "flat_map": kx.flat_map, "each": kx.each,
    "guarded": lambda f: kx.map(f) >> kx.retry(2, on=KeyError), "unit": lambda f: kx.unit(kx.map(f)) >> kx.retry(1),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_stop_iteration_never_ends_a_stream_silently(step: str, backend: str) -> None:
    """StopIteration out of a callback fails the run: as itself, or as Python's RuntimeError about it (ruling 22)."""
    def stop(x: int) -> Any:
        if x == 3:
            raise StopIteration
        return [x]

    with pytest.raises((StopIteration, RuntimeError)) as caught:
        (kx.source(range(10)) >> STEPS[step](stop)).run(backend=backend)
    assert isinstance(caught.value, StopIteration) or isinstance(caught.value.__cause__, StopIteration)
    assert f"in node 'stop' ({'map' if step in ('guarded', 'unit') else step})" in caught.value.__notes__[-1] \
        or step == "unit"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("step", [s for s in STEPS if s != "flat_map"])
def test_an_exit_from_a_callback_comes_out_as_it_is(step: str, error: type[BaseException], backend: str) -> None:
    """KeyboardInterrupt and SystemExit are not swallowed; the source is closed before they come out."""
    bad, witness = Nth(3, error()), Witness()

    with pytest.raises(error) as caught:
        (kx.source(witness.items) >> STEPS[step](sync(bad))).run(backend=backend)
    assert caught.value is bad.error and witness.opened == witness.closed == 1


def test_a_generator_exit_of_the_users_own_passes_no_group(backend: str) -> None:
    """In a network it is the failure of its segment as any other, and comes out as it is (ruling 22)."""
    bad, witness = Nth(2, GeneratorExit()), Witness()
    joined = kx.merge(kx.source(witness.items) >> kx.map(sync(bad)), kx.source([1]))

    with pytest.raises(GeneratorExit) as caught:
        joined.run(backend=backend)
    assert caught.value is bad.error and "(map)" in caught.value.__notes__[0] and witness.opened == witness.closed


@pytest.mark.parametrize("node", [kx.map, lambda f: kx.map(f, concurrency=3), lambda f: kx.map(f) >> kx.delay(1)])
def test_a_cancelled_error_of_the_users_own_is_the_items_failure(node: Any) -> None:
    """Raised with no cancel of ours, it is an error like others, and no hang (ruling 22)."""
    import asyncio

    bad = asyncio.CancelledError("mine")

    async def call(x: int) -> int:
        await asyncio.sleep(0)
        raise bad

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError) as caught:
            await (kx.source(range(9)) >> node(call))
        assert caught.value is bad

    asyncio.run(main())


def test_the_first_failure_is_raised_and_later_ones_are_events(virtual: Any) -> None:
    """What fails while the run is being cancelled is told by ``events``, and does not take the first one's place."""
    async def call(x: int) -> int:
        try:
            await anyio.sleep(1 + x)
        except BaseException:
            raise KeyError("while cancelled") from None
        raise Bad("first")

    async def main() -> list[type]:
        with pytest.raises(Bad, match="first"):
            async with (kx.source(range(3)) >> kx.map(call, concurrency=3)).start() as run:
                pass
        return [type(e["error"]) for e in run.events() if "error" in e]

    assert virtual(main) == [Bad, KeyError, KeyError]


def test_a_users_own_group_comes_out_unopened(virtual: Any) -> None:
    """An ExceptionGroup that a callback raises passes as it is, and is not nested in another (ruling 22)."""
    async def call(x: int) -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
        return x

    async def fail() -> None:
        raise Bad("inside")

    for graph in (kx.source([1]) >> kx.map(call), kx.source([1]) >> kx.map(call, concurrency=2) >> kx.map(call)):
        with pytest.raises(ExceptionGroup) as caught:
            virtual(graph)
        assert [type(e) for e in caught.value.exceptions] == [Bad]


def test_an_exception_that_refuses_notes_keeps_its_meaning(backend: str) -> None:
    """The note may fail; the exception may not change for it."""
    class Proud(Exception):
        def add_note(self, note: str) -> None:
            raise TypeError

    with pytest.raises(Proud):
        (kx.source([1]) >> kx.tap(sync(Nth(1, Proud())))).run(backend=backend)


# -- the errors of a run ---------------------------------------------------------------------------


async def slow_at_two(x: int) -> int:
    await anyio.sleep(9 if x == 2 else 0)
    return x


async def pieces_at_two(x: int) -> AsyncIterator[int]:
    for piece in range(2):
        await anyio.sleep(9 if x == 2 else 0)
        yield piece


async def second_late(x: int) -> AsyncIterator[int]:
    yield x
    await anyio.sleep(9 if x == 2 else 0)


def fails_at_two(x: int) -> int:
    if x == 2:
        raise OSError("no")
    return x


class FullDisk:
    def append(self, letter: Any) -> None:
        raise OSError("disk full")


THREE = kx.source([1, 2, 3])
SLOW = kx.map(slow_at_two).named("n")
FAILS = kx.map(fails_at_two).named("n")
EARLIER = "kayrx: earlier attempts: "
TAXONOMY: dict[str, tuple[Any, type[Exception], str, list[str], str]] = {
    "a gate is full": (kx.source(range(5)) >> kx.map(kx.it + 0).named("n") >> kx.backpressure(1, overflow="error")
                       >> kx.map(slow_at_two).named("m"), kx.GateOverflow, "gate into 'm' is full", [], "map, item 1"),
    "a hot gate is full": (kx.source(reactivex.from_iterable(range(5))).named("n") >> kx.backpressure(
        1, overflow="error") >> kx.map(slow_at_two), kx.GateOverflow, "gate 'n'.* is full", [], "source"),
    "a burst": (THREE >> kx.map(slow_at_two) >> kx.rx(ops.flat_map(lambda x: reactivex.from_iterable("abc")),
                                                      max_burst=2).named("n"),
                kx.GateOverflow, "'n' .* released 3 items at once", [], "rx"),
    "timeout of all": (THREE >> SLOW >> kx.timeout(1), kx.CallTimeout, r"'n' .* longer than 1 s \(total\)", [],
                       "map, item 1"),
    "timeout of the first": (THREE >> kx.concat_map(pieces_at_two).named("n") >> kx.timeout(first=1) >> kx.retry(2),
                             kx.CallTimeout, r"'n' .* longer than 1 s \(first\)", [f"{EARLIER}1: CallTimeout: 'n' .*"],
                             "flat_map, item 1, attempt 2"),
    "timeout between two": (THREE >> kx.concat_map(second_late).named("n") >> kx.timeout(idle=1), kx.CallTimeout,
                            r"'n' .* longer than 1 s \(idle\)", [], "flat_map, item 1"),
    "deadline": (THREE >> SLOW >> kx.timeout(0.4) >> kx.retry(9) >> kx.deadline(1), kx.DeadlineExceeded,
                 "'n' .* has spent its deadline", [], "map, item 1"),
    "deadline of the source": (kx.source([1, 2]) >> kx.deadline(1) >> SLOW >> kx.retry(2), kx.DeadlineExceeded,
                               "'n' .* has spent its deadline", [], "map, item 1"),
    "open circuit": (THREE >> FAILS >> kx.circuit_breaker(1) >> kx.retry(3), kx.CircuitOpen, "'n' .*the circuit is",
                     [f"{EARLIER}1: OSError: no; 2: CircuitOpen: 'n' .*"], "map, item 1, attempt 3"),
    "bulkhead": (kx.source([1, 2, 2]) >> kx.map(slow_at_two, concurrency=3).named("n") >> kx.bulkhead(1),
                 kx.BulkheadFull, "'n' .* 1 calls are under way and 0 wait", [], r"map, item \d"),
    "retry": (THREE >> FAILS >> kx.retry(3), OSError, "no", [f"{EARLIER}1-2: OSError: no"], "map, item 1, attempt 3"),
    "retry of a unit": (THREE >> kx.unit(FAILS >> kx.map(str), name="u") >> kx.retry(2), OSError, "no",
                        [f"{EARLIER}1: OSError: no"], "map, item 1, attempt 2"),
    "letters": (THREE >> FAILS >> kx.retry(2) >> kx.dead_letter(FullDisk()), OSError, "disk full",
                ["kayrx: the store could not keep a letter, which is of OSError: no"], "map, item 1"),
    "settled": (kx.source([1, kx.Retract(5)]) >> kx.settled(2).named("n"), kx.RunError, "5 items are taken back", [],
                "settled, item 1"),
}


@pytest.mark.parametrize("name", TAXONOMY)
def test_each_error_of_a_run_tells_node_line_item_and_attempt(name: str, loop: str) -> None:
    """By its type and text, and by the last note; what went before is in the notes above it."""
    graph, kind, text, before, last = TAXONOMY[name]

    async def main() -> None:
        await (graph >> kx.each(slow_at_two))

    with pytest.raises(kind, match=text) as raised:
        run_virtual(main, loop)
    *others, note = raised.value.__notes__
    word, _, rest = last.partition(", ")
    where = rf"kayrx: in node '(u\.)?n' \({word}\) at test_failure\.py:\d+(, segment \d)?"
    assert re.fullmatch(f"{where}{rest and ', '}{rest}", note)
    assert len(others) == len(before) and all(map(re.fullmatch, before, others))
    if kind is kx.CallTimeout:
        assert f"({raised.value.which})" in str(raised.value)


def test_a_checkpoint_that_does_not_fit_tells_node_and_line() -> None:
    """A mismatch is known before any item is read."""
    store = kx.memory_checkpoints()
    (THREE >> kx.scan(lambda a, x: a + x).named("n") >> kx.checkpoint(store) >> kx.to_list()).run()
    with pytest.raises(kx.RunError, match=r"'checkpoint' .* at test_failure\.py:\d+.*state of 'n' \(scan\)"):
        (THREE >> kx.checkpoint(store) >> kx.to_list()).run(resume=True)


@pytest.mark.parametrize("options", [{}, {"fuse": False}, {"backend": "asyncio"}])
@pytest.mark.parametrize(("fan", "error"), [
    (kx.partition(lambda x: 1 // (x - 2), kx.to_list(), kx.to_list()), ZeroDivisionError),
    (kx.branch({1: kx.to_list()}, key=lambda x: x // (2 - x)), ZeroDivisionError),
    (kx.branch({1: kx.to_list()}), KeyError),
])
def test_a_fan_out_that_cannot_choose_is_named(fan: Any, error: type[Exception], options: Any) -> None:
    """The note names the fan-out whose function raised, and not the source that gave the item."""
    for graph in (kx.source([1, 2]), kx.source([1, 2]) >> kx.map(lambda x: x)):
        with pytest.raises(error) as raised:
            (graph >> fan).run(**options)
        assert raised.value.__notes__[0].startswith(f"kayrx: in node {fan.nodes[0].where}")
        assert raised.value.__notes__[0].endswith("item 1")
