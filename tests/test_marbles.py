"""A picture of every name: what comes in, what goes out, and how long the source is held, to the frame.

A frame is a second of virtual time; syntax in `kayrx.testing.diagram`.  A new name gets a row here, or
tests/test_names.py is red.  What a name does beside its picture is in tests/nodes.
"""

from __future__ import annotations

import atexit
import itertools
import operator
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from reactivex import operators as ops

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import MarbleError, marbles

FOLDER, NUMBERS = Path(tempfile.mkdtemp()), itertools.count()
atexit.register(shutil.rmtree, FOLDER)
LICENSE = Path(__file__).parent.parent / "LICENSE"


class Picture(NamedTuple):
    """``graph`` between ``sources`` and ``output``; ``held`` is one string a source."""

    graph: Any
    sources: tuple[str, ...]
    output: str
    held: tuple[str | list[str], ...]
    values: dict[str, Any]


def picture(graph: Any, *strings: Any, **values: Any) -> Picture:
    """The strings as they stand below each other: the sources, the output, then when each source was held."""
    count = len(strings) // 2
    return Picture(graph, strings[:count], strings[count], strings[count + 1:], values)


# -- functions that the pictures use -------------------------------------------------------------


async def slow_letters(after: str | None) -> AsyncIterator[str]:
    for letter in "abc":
        await anyio.sleep(1 if letter == "a" else 2)
        yield letter
    await anyio.sleep(1)


async def in_a_second(x: str) -> str:
    await anyio.sleep(1)
    return x


async def in_three_seconds(x: str) -> str:
    await anyio.sleep(3)
    return x


async def thrice(x: str) -> AsyncIterator[str]:
    for _ in range(3):
        yield x
        await anyio.sleep(2)


async def fickle(x: str) -> str:
    await anyio.sleep(5 if x == "b" else 1)
    return x


def twice(x: str) -> str:
    return x + x


def numbered(held: int, x: str) -> tuple[int, str]:
    return held + 1, x + str(held)


TRIES: dict[str, int] = {}


def tries(x: str) -> int:
    """How often it has been asked, which begins anew after the second time."""
    TRIES[x] = TRIES.get(x, 0) % 2 + 1
    return TRIES[x]


async def first_late(x: str) -> str:
    await anyio.sleep(9 if x == "a" and tries("late") == 1 else 1)
    return x


async def drafted(x: str) -> AsyncIterator[str]:
    draft = tries("draft") == 1
    yield "a" if draft else "A"
    await anyio.sleep(1)
    if draft:
        raise MarbleError(x)
    yield "B"


def refuse_b(x: str) -> str:
    if x == "b":
        raise MarbleError(x)
    return x


def by_hand(a: Graph[Any, str], end: Any, put: Callable[[str], object], close: Callable[[], object]) -> Graph[Any, Any]:
    """What ``a`` gives is put into ``end``, which stands beside it."""
    def tell(told: kx.OnNext[str] | kx.OnCompleted) -> None:
        put(told.value) if isinstance(told, kx.OnNext) else close()

    return kx.merge(a >> kx.materialize() >> kx.tap(tell) >> kx.ignore_elements(), end)


def queued(a: Graph[Any, str]) -> Graph[Any, str]:
    queue = kx.queue_source(4)
    return by_hand(a, queue, queue.put, queue.close)


def pushed(a: Graph[Any, str]) -> Graph[Any, str]:
    subject: kx.Subject[str] = kx.Subject()
    return by_hand(a, kx.source(subject), lambda x: subject.on_next(x), subject.on_completed)


def written_late(a: Graph[Any, str]) -> Graph[Any, str]:
    """What ``a`` gives is written to a file that is looked at every two seconds."""
    path = FOLDER / f"{next(NUMBERS)}.log"
    path.touch()

    def write(x: str) -> None:
        with path.open("a") as file:
            file.write(x + "\n")

    return kx.merge(a >> kx.tap(write) >> kx.ignore_elements(), kx.tail(path, every=2) >> kx.take(2))


def sinking(make: Callable[[list[str]], Any]) -> Callable[[Graph[Any, str]], Graph[Any, str]]:
    """The stream as the sink beside it has got it, when all is over."""
    def graph(a: Graph[Any, str]) -> Graph[Any, str]:
        got: list[str] = []
        return kx.concat(a >> kx.also_to(make(got)) >> kx.ignore_elements(), kx.timer(1) >> kx.flat_map(lambda _: got))

    return graph


def all_of(a: Graph[Any, str]) -> Graph[Any, str]:
    """A sink that keeps a list shows it only as the result of a run."""
    async def result(_: int) -> list[str]:
        return await (a >> kx.to_list())

    return kx.timer(0) >> kx.flat_map(result)


def shared(a: Graph[Any, str]) -> Graph[Any, str]:
    one = a >> kx.share()
    return kx.merge(one >> kx.map(str.upper), one >> kx.delay(1))


# -- the pictures --------------------------------------------------------------------------------


MARBLES: dict[str, Picture] = {
    # ends
    "source": picture(
        kx.source("ab"),
        "(ab|)"),
    "interval": picture(
        kx.interval(2) >> kx.take(3),
        "--0-1-(2|)", **{"0": 0, "1": 1, "2": 2}),
    "timer": picture(
        kx.timer(3),
        "---(0|)", **{"0": 0}),
    "lines": picture(
        kx.lines(LICENSE) >> kx.take(1),
        "(a|)", a="MIT License"),
    "tail": picture(
        written_late,
        "-a--b--|",
        "--a-b--|",
        "^------!"),
    "queue_source": picture(
        queued,
        "-a--b-|",
        "-a--b-|",
        "^-----!"),
    "Subject": picture(
        pushed,
        "-a--b-|",
        "-a--b-|",
        "^-----!"),
    "sink": picture(
        sinking(lambda got: kx.sink(got)),
        "-a--b-|",
        "-------(ab|)",
        "^-----!"),
    "each": picture(
        sinking(lambda got: kx.each(got.append)),
        "-a--b-|",
        "-------(ab|)",
        "^-----!"),
    "to_list": picture(
        all_of,
        "-a--b-|",
        "------(ab|)",
        "^-----!"),

    # transform
    "map": picture(
        kx.map(in_a_second),
        "-a--b---|",
        "--a--b--|",
        "^-------!"),
    "flat_map": picture(
        kx.flat_map(thrice),
        "-a--b------|",
        "-a-abab-b--|",
        "^----------!"),
    "concat_map": picture(
        kx.concat_map(thrice),
        "-a--b-----------|",
        "-a-a-a-b-b-b----|",
        "^---------------!"),
    "switch_map": picture(
        kx.switch_map(thrice),
        "-a--b-----------|",
        "-a-ab-b-b-------|",
        "^---------------!"),
    "exhaust_map": picture(
        kx.exhaust_map(thrice),
        "-a--b-----------|",
        "-a-a-a----------|",
        "^---------------!"),
    "scan": picture(
        kx.scan(operator.add),
        "-a--b--c--|",
        "-a--x--y--|",
        "^---------!", x="ab", y="abc", a="a", b="b", c="c"),
    "reduce": picture(
        kx.reduce(operator.add),
        "-a--b--c--|",
        "----------(y|)",
        "^---------!", y="abc", a="a", b="b", c="c"),
    "count": picture(
        kx.count(),
        "-a--b--c--|",
        "----------(3|)",
        "^---------!", **{"3": 3}),
    "sum": picture(
        kx.sum(),
        "-1--2--4--|",
        "----------(7|)",
        "^---------!", **{"1": 1, "2": 2, "4": 4, "7": 7}),
    "expand": picture(
        kx.expand(lambda x: [x // 2] if x > 1 else []),
        "-4-------1-|",
        "-(421)---1-|",
        "^----------!", **{"1": 1, "2": 2, "4": 4}),
    "loop": picture(
        kx.loop(kx.map(kx.it * 2), until=kx.it > 9),
        "-1-----5--|",
        "-w-----t--|",
        "^---------!", **{"1": 1, "5": 5, "w": 16, "t": 10}),
    "tap": picture(
        kx.tap(refuse_b),
        "-a--b--c--|",
        "-a--#",
        "^---!"),
    "pairwise": picture(
        kx.pairwise(),
        "-a--b--c--|",
        "----x--y--|",
        "^---------!", x=("a", "b"), y=("b", "c")),
    "stateful_map": picture(
        kx.stateful_map(numbered, key=kx.it, seed=0),
        "-a--b--a--|",
        "-x--y--z--|",
        "^---------!", x="a0", y="b0", z="a1"),
    "it": picture(
        kx.filter(kx.it != "b") >> kx.map(kx.it.upper()),
        "-a--b--c--|",
        "-A-----C--|",
        "^---------!"),
    "rx": picture(
        kx.rx(ops.delay(2)),
        "-a--b----|",
        "---a--b----|",
        "^--------!"),

    # about items
    "with_index": picture(
        kx.with_index(),
        "-a--b--|",
        "-x--y--|",
        "^------!", x=(0, "a"), y=(1, "b")),
    "timestamp": picture(
        kx.timestamp(),
        "-a--b--|",
        "-x--y--|",
        "^------!", x=kx.Timestamp("a", 1.0), y=kx.Timestamp("b", 4.0)),
    "materialize": picture(
        kx.map(refuse_b) >> kx.materialize() >> kx.map(lambda x: "x" if isinstance(x, kx.OnError) else x.value),
        "-a--b--|",
        "-a--(x|)",
        "^---!"),
    "dematerialize": picture(
        kx.dematerialize(),
        "-x--y--z--|",
        "-a--b--|",
        "^------!", x=kx.OnNext("a"), y=kx.OnNext("b"), z=kx.OnCompleted()),

    # select
    "filter": picture(
        kx.filter(lambda x: x != "b"),
        "-a--b--c--|",
        "-a-----c--|",
        "^---------!"),
    "take": picture(
        kx.take(2),
        "-a--b--c--|",
        "-a--(b|)",
        "^---!"),
    "skip": picture(
        kx.skip(2),
        "-a--b--c--|",
        "-------c--|",
        "^---------!"),
    "take_while": picture(
        kx.take_while(lambda x: x != "b"),
        "-a--b--c--|",
        "-a--|",
        "^---!"),
    "skip_while": picture(
        kx.skip_while(lambda x: x != "b"),
        "-a--b--c--|",
        "----b--c--|",
        "^---------!"),
    "take_last": picture(
        kx.take_last(2),
        "-a--b--c--|",
        "----------(bc|)",
        "^---------!"),
    "first": picture(
        kx.first(lambda x: x != "a"),
        "-a--b--c--|",
        "----(b|)",
        "^---!"),
    "last": picture(
        kx.last(lambda x: x != "c"),
        "-a--b--c--|",
        "----------(b|)",
        "^---------!"),
    "element_at": picture(
        kx.element_at(1),
        "-a--b--c--|",
        "----(b|)",
        "^---!"),
    "distinct": picture(
        kx.distinct(),
        "-a-b-a-a-c--|",
        "-a-b-----c--|",
        "^-----------!"),
    "distinct_until_changed": picture(
        kx.distinct_until_changed(),
        "-a-b-a-a-c--|",
        "-a-b-a---c--|",
        "^-----------!"),
    "default_if_empty": picture(
        kx.default_if_empty("z"),
        "----|",
        "----(z|)",
        "^---!"),
    "ignore_elements": picture(
        kx.ignore_elements(),
        "-a--b--|",
        "-------|",
        "^------!"),
    "take_until": picture(
        lambda a, b: a >> kx.take_until(b),
        "-a--b--c--|",
        "------x----|",
        "-a--b-|",
        "^-----!",
        "^-----!"),
    "skip_until": picture(
        lambda a, b: a >> kx.skip_until(b),
        "-a--b--c--|",
        "------x----|",
        "-------c--|",
        "^---------!",
        "^-----!"),

    # windows
    "buffer": picture(
        kx.buffer(count=3, seconds=4),
        "-abc-d-------e|",
        "---x-----y----(z|)",
        "^-------------!", x=["a", "b", "c"], y=["d"], z=["e"]),
    "sliding": picture(
        kx.sliding(2),
        "-a--b--c--|",
        "----x--y--|",
        "^---------!", x=["a", "b"], y=["b", "c"]),
    "chunk": picture(
        kx.chunk(2, by="grapheme"),
        "-a-b-c-d-e-|",
        "-----x---y-(e|)",
        "^----------!", x="ab", y="cd"),
    "window_by": picture(
        kx.timestamp() >> kx.window_by(event_time=kx.it.time, tumbling=5) >> kx.map(kx.it.count),
        "-a-b--c----|",
        "------2----(1|)",
        "^----------!", **{"1": 1, "2": 2}),
    "Window": picture(
        kx.window_by(event_time=kx.it, tumbling=5, fold=(0, operator.add)),
        "-1-3--7----|",
        "------x----(y|)",
        "^----------!", x=kx.Window(None, 0, 5, 4, 2), y=kx.Window(None, 5, 10, 7, 1), **{"1": 1, "3": 3, "7": 7}),

    "group_by": picture(
        kx.group_by(lambda x: x in "abc", kx.buffer(2)),
        "-a-x-b-y-c-|",
        "-----m-n---(o|)",
        "^----------!", m=["a", "b"], n=["x", "y"], o=["c"]),
    "window": picture(
        kx.window(2, kx.reduce(operator.add)),
        "-a-b-c-d-e-|",
        "---x---y---(e|)",
        "^----------!", x="ab", y="cd"),

    # combine
    "join": picture(
        lambda a, b: a >> kx.join(b, within=2),
        "-a----b----|",
        "--x-------y|",
        "--m--------|",
        "^----------!",
        "^----------!", m=("a", "x")),
    "merge": picture(
        kx.merge(),
        "-a---c--|",
        "---b---d---|",
        "-a-b-c-d---|",
        "^-------!",
        "^----------!"),
    "merge_prioritized": picture(
        kx.merge_prioritized(priorities=(2, 1)) >> kx.map(in_a_second),
        "a-----|",
        "-b----|",
        "-ab---|",
        "^-----!",
        "^-----!"),
    "concat": picture(
        kx.concat(),
        "-a--b--|",
        "-c--d--|",
        "-a--b---c--d--|",
        "^------!",
        "-------^------!"),
    "race": picture(
        kx.race(),
        "---a--a--|",
        "-b--b--b--|",
        "-b--b--b--|",
        "^!",
        "^---------!"),
    "zip": picture(
        kx.zip(),
        "-a-b-c---|",
        "--d----e---|",
        "--x----y---|",
        "^--------!",
        "^----------!", x=("a", "d"), y=("b", "e")),
    "zip_latest": picture(
        kx.zip_latest(),
        "-a-b-c---|",
        "--d----e---|",
        "--x----y-|",
        "^--------!",
        "^--------!", x=("a", "d"), y=("c", "e")),
    "combine_latest": picture(
        kx.combine_latest(),
        "-a---b---|",
        "---c---d---|",
        "---x-y-z---|",
        "^--------!",
        "^----------!", x=("a", "c"), y=("b", "c"), z=("b", "d")),
    "with_latest_from": picture(
        lambda a, b: a >> kx.with_latest_from(b),
        "-a---b---c-|",
        "---x---y-----|",
        "-----m---n-|",
        "^----------!",
        "^----------!", m=("b", "x"), n=("c", "y")),
    "broadcast": picture(
        kx.broadcast(kx.map(str.upper), kx.delay(1)) >> kx.merge(),
        "-a--b--|",
        "-Aa-Bb--|",
        "^------!"),
    "balance": picture(
        kx.balance(kx.map(in_three_seconds), kx.map(in_three_seconds)) >> kx.merge(),
        "-ab-------|",
        "----ab----|",
        "^---------!"),
    "partition": picture(
        kx.partition(lambda x: x == "b", kx.map(str.upper), kx.delay(1)) >> kx.merge(),
        "-a--b--|",
        "--a-B---|",
        "^------!"),
    "branch": picture(
        kx.branch({"a": kx.delay(1), "b": kx.map(str.upper)}) >> kx.merge(),
        "-a--b--|",
        "--a-B---|",
        "^------!"),
    "also_to": picture(
        kx.also_to(kx.each(in_three_seconds), size=1),
        "-abc-----|",
        "-a--b--c--|",
        "^---------!"),
    "divert_to": picture(
        kx.divert_to(kx.to_list(), lambda x: x == "b"),
        "-a--b--c--|",
        "-a-----c--|",
        "^---------!"),
    "wire_tap": picture(
        kx.wire_tap(kx.map(refuse_b) >> kx.to_list()),
        "-a--b--c--|",
        "-a--b--c--|",
        "^---------!"),
    "share": picture(
        shared,
        "-a--b--|",
        "-Aa-Bb--|",
        "^------!"),
    "unit": picture(
        kx.unit(kx.map(refuse_b) >> kx.map(str.upper)) >> kx.skip_errors(),
        "-a--b--c--|",
        "-A-----C--|",
        "^---------!"),

    # time
    "debounce": picture(
        kx.debounce(2),
        "-a-bc----d-|",
        "------c----(d|)",
        "^----------!"),
    "throttle_first": picture(
        kx.throttle_first(3),
        "-ab-c---d-|",
        "-a--c---d-|",
        "^---------!"),
    "sample": picture(
        kx.sample(3),
        "-ab---c---|",
        "---b-----c|",
        "^---------!"),
    "delay": picture(
        kx.delay(2),
        "-a--b----|",
        "---a--b----|",
        "^--------!"),
    "keep_alive": picture(
        kx.keep_alive(3, "z"),
        "-a-------b-|",
        "-a--z--z-b-|",
        "^----------!"),

    # flow
    "backpressure": picture(
        kx.backpressure(1, overflow="drop_newest") >> kx.map(in_three_seconds),
        "-abc--d--------|",
        "----a--b--d----|",
        "^--------------!"),
    "conflate": picture(
        kx.backpressure(1, overflow=kx.conflate(operator.add)) >> kx.map(in_three_seconds),
        "-abc-----------|",
        "----a--x-------|",
        "^--------------!", x="bc", a="a", b="b", c="c"),
    "coalesce": picture(
        kx.coalesce(2, operator.add) >> kx.map(in_three_seconds),
        "-abcd----------|",
        "----a--x--d----|",
        "^--------------!", x="bc", a="a", b="b", c="c", d="d"),
    "prefetch": picture(
        kx.prefetch(2) >> kx.map(in_three_seconds),
        "abc-------|",
        "---a--b--c|",
        "^---------!"),
    "rate_limit": picture(
        kx.rate_limit(1, per=3),
        "-abc--------|",
        "-a--b--c----|",
        "^-----------!"),
    "pause_when": picture(
        lambda a, b: a >> kx.pause_when(b),
        "-a-b-c------|",
        "--t----f----|",
        "-a-----(bc)-|",
        "^-----------!",
        "^-----------!", t=True, f=False, a="a", b="b", c="c"),

    # place
    "threads": picture(
        kx.map(str.upper, on=kx.threads(1)),
        "-a--b--|",
        "-A--B--|",
        "^------!"),
    "processes": picture(
        kx.map(str.upper, on=kx.processes(1)),
        "-a--b--|",
        "-A--B--|",
        "^------!"),

    # guards
    "timeout": picture(
        kx.map(fickle) >> kx.timeout(2) >> kx.skip_errors(),
        "-a--b----c--|",
        "--a-------c-|",
        "^-----------!"),
    "retry": picture(
        kx.retry(2, backoff=kx.constant(2)) >> kx.map(str),
        "-a-#",
        "-a----a-#",
        ["^--!", "-----^--!"]),
    "fallback": picture(
        kx.map(refuse_b) >> kx.fallback(str.upper),
        "-a--b--c--|",
        "-a--B--c--|",
        "^---------!"),
    "catch": picture(
        kx.map(refuse_b) >> kx.catch(lambda error, x: x.upper()),
        "-a--b--c--|",
        "-a--B--c--|",
        "^---------!"),
    "on_error_return": picture(
        kx.map(refuse_b) >> kx.on_error_return("x"),
        "-a--b--c--|",
        "-a--x--c--|",
        "^---------!"),
    "circuit_breaker": picture(
        kx.map(refuse_b) >> kx.circuit_breaker(1, reset=4) >> kx.fallback("x"),
        "-ab-c--d-|",
        "-ax-x--d-|",
        "^--------!"),
    "bulkhead": picture(
        kx.map(in_three_seconds, concurrency=9, ordered=False) >> kx.bulkhead(1, queued=1) >> kx.fallback("x"),
        "-abc---|",
        "---xa--(b|)",
        "^------!"),
    "hedge": picture(
        kx.map(first_late) >> kx.hedge(after=2) >> kx.timeout(4),
        "-a-----b-----|",
        "----a---b----|",
        "^------------!"),
    "deadline": picture(
        kx.map(refuse_b) >> kx.retry(9, backoff=kx.constant(1)) >> kx.deadline(2.5) >> kx.fallback("x"),
        "-a--b----c--|",
        "-a----x--c--|",
        "^-----------!"),
    "settled": picture(
        kx.concat_map(drafted) >> kx.retry(2, resume="restart") >> kx.settled(),
        "-a------|",
        "--------(AB|)",
        "^-------!"),
    "skip_errors": picture(
        kx.map(refuse_b) >> kx.skip_errors(),
        "-a--b--c--|",
        "-a-----c--|",
        "^---------!"),
    "checkpoint": picture(
        kx.source(slow_letters, cursor=kx.it) >> kx.checkpoint(kx.memory_checkpoints(), every=2),
        "-a-b-c|"),
    "dead_letter": picture(
        kx.map(refuse_b) >> kx.dead_letter([]),
        "-a--b--c--|",
        "-a-----c--|",
        "^---------!"),
}


@pytest.mark.parametrize("name", MARBLES)
def test_a_name_does_what_its_picture_shows(name: str, loop: str) -> None:
    """Its items at their frames, its end, and its sources held for just as long, on asyncio and on trio."""
    graph, sources, output, held, values = MARBLES[name]

    trace = marbles(graph, *sources, values=values, backend=loop)

    assert trace == output
    if sources:
        assert trace.subscribed == (held[0] if len(held) == 1 else list(held))
