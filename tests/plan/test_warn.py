"""check: seven kinds of warnings, each with the node's line and a remedy, each there and not there."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.subject import ReplaySubject, Subject

import kayrx as kx
from kayrx.graph.graph import Graph

Case = tuple[Graph[Any, Any], str]


async def ask(x: Any) -> Any:
    return x


async def answers(x: Any) -> AsyncIterator[Any]:
    yield x


async def fetch(x: Any) -> Any:
    time.sleep(0)
    return x


def parse(x: Any) -> Any:
    return x


def pieces(x: Any) -> Iterator[Any]:
    yield x


def slow(x: Any) -> Any:
    time.sleep(0)
    return x


def polled() -> Iterator[int]:
    yield time.sleep(0) or 1  # type: ignore[func-returns-value]


ONE = kx.source([1])
LOOP = kx.map(ask)  # what makes a plan run on a loop
TEMPTED = kx.source(polled)

UNBOUNDED: list[Case] = [
    (ONE >> kx.rx(ops.take(1)), "may release any number of items at once (unbounded); say max_burst=n"),
    (ONE >> kx.buffer(seconds=2), "holds as many items as come in 2 s (unbounded); add count="),
    (ONE >> kx.buffer(until=kx.source([1])), "holds as many items as come before one of until= (unbounded); add"),
    (ONE >> kx.window_by(event_time=parse, tumbling=1), "holds all items of the windows that are open (unbounded); "
                                                        "add fold=(seed, fn)"),
]
BLOCKING: list[Case] = [
    (ONE >> LOOP >> kx.map(slow), "calls time.sleep, which blocks the event loop; "
                                  "say map(f, on=kx.threads(1))"),
    (ONE >> LOOP >> kx.filter(slow), "calls time.sleep, which blocks the event loop; make it an async function, or do "
                                     "it before in a map(f, on=kx.threads(1))"),
    (ONE >> kx.map(fetch), "in an async function write: await anyio.to_thread.run_sync(f, x)"),
    (TEMPTED >> LOOP, "calls time.sleep, which blocks the event loop; say source(x, on=kx.threads(1))"),
    (kx.source(iter(queue.Queue[int]().get, 0)) >> LOOP, "calls queue.Queue.get"),
    (kx.source(sys.__stdin__ or ()) >> LOOP, "calls readline of a file"),
    (ONE >> LOOP >> kx.sink(queue.Queue[int](1)), "calls queue.Queue.put"),
    (ONE >> kx.map(ask) >> kx.fallback(slow), "calls time.sleep"),
    (ONE >> LOOP >> kx.unit(kx.map(slow) >> parse) >> kx.skip_errors(), "'slow' (map) at test_warn.py:"),
    (ONE >> LOOP >> kx.partition(slow, kx.map(str), kx.map(str)) >> kx.merge(), "(partition) at test_warn.py:"),
]
LATE: list[Case] = [
    (kx.concat(ONE >> LOOP, kx.source(Subject[int]())),
     "is hot and is not subscribed to before its turn in a concat comes; what it gives by then is lost"),
    (kx.concat(ONE >> LOOP, kx.source(reactivex.never())),
     "may be hot (an Observable does not say) and is not subscribed to before its turn"),
]
LOSING: list[Case] = [
    (ONE >> kx.backpressure(2, overflow=policy), f"loses items when it is full ({policy}), and nothing below is told; "
     "say overflow='block' to wait, or kx.conflate(f) to join them")
    for policy in ("drop_oldest", "drop_newest", "latest")
] + [
    (kx.queue_source(2, "drop_oldest") >> LOOP, "loses items when it is full (drop_oldest), and who puts them is"),
    (ONE >> kx.wire_tap(kx.to_list()), "'wire_tap' (backpressure)"),
]
AGAIN: list[Case] = [
    (ONE >> kx.flat_map(answers) >> kx.retry(2), "gives its output as it comes, "
     "so it is not tried again once it has given some"),
    (ONE >> kx.flat_map(pieces) >> kx.retry(2), "let it give a whole list, say another resume=, or add dead_letter()"),
    (ONE >> kx.unit(kx.flat_map(str) >> parse) >> kx.retry(2), "gives its output as it comes"),
    (kx.source(lambda: [1]) >> kx.retry(2), "is opened from its beginning by each retry, so items repeat; give"),
    (kx.source([1]) >> kx.deadline(2) >> kx.map(str), r"is looked at by no unit"),
    (kx.source(iter([1])) >> kx.timeout(2), "which is synchronous, so it never runs out; say source(x, on="),
    (kx.source(reactivex.of(1)) >> kx.retry(2), "a cold Observable repeats its items, of a hot one those in between"),
]
KEYS: list[Case] = [
    (ONE >> kx.stateful_map(lambda n, x: (n, x), key=abs), "keeps a state for every key that has come (unbounded); "
                                                           "give max_keys="),
    (ONE >> kx.distinct(), "remembers every key that has come (unbounded); give max_keys="),
]
OTHERS: list[Case] = [
    (kx.source(reactivex.never()) >> LOOP, "is hot and cannot wait: more than its gate holds fails the run"),
]
LETTERS: list[Case] = [
    (ONE >> kx.map(parse) >> kx.dead_letter(kx.memory_letters(9)), "writes letters of a graph without a name, which a "
     "replay finds only while its file and nodes are called the same; add .named('...') to the graph"),
    (ONE >> kx.group_by(kx.it, kx.map(parse) >> kx.dead_letter(kx.memory_letters(9)) >> kx.pairwise()),
     "stands inside group_by(), whose groups are over when a letter is sent in again: each goes through the rest of "
     "the body as a group of its own; do what may fail before group_by()"),
    ((ONE >> kx.broadcast(kx.map(parse) >> kx.dead_letter(kx.memory_letters(9)), kx.map(str)) >> kx.zip()).named("g"),
     "cannot replay into 'parse' (map) at test_warn.py:115: 'g.zip' (zip) at test_warn.py:115 joins it with items of"),
]
CASES = [*UNBOUNDED, *BLOCKING, *LATE, *LOSING, *AGAIN, *KEYS, *OTHERS, *LETTERS]


@pytest.mark.parametrize(("graph", "says"), CASES, ids=range(len(CASES)))
def test_a_warning_names_the_line_and_the_remedy(graph: Graph[Any, Any], says: str) -> None:
    """One line: the node, where it was written, what happens, and what to do."""
    warnings = [line for line in graph.check() if "cannot wait" not in line or "cannot wait" in says]

    assert len(warnings) == 1 and says in warnings[0] and " at test_warn.py:" in warnings[0]


@pytest.mark.parametrize("graph", [
    ONE >> parse >> kx.to_list(), ONE >> LOOP,
    ONE >> kx.rx(ops.take(1), max_burst=1), ONE >> kx.buffer(count=2, seconds=1),
    ONE >> kx.buffer(9, until=kx.source([1])),
    ONE >> kx.window_by(event_time=parse, tumbling=1, fold=(0, lambda n, x: n + 1)),
    ONE >> kx.map(slow), TEMPTED >> parse,                                         # nothing waits: no loop to block
    ONE >> kx.map(slow, on=kx.threads(1)), kx.source(polled, on=kx.threads(1)) >> LOOP,
    ONE >> LOOP >> kx.sink(queue.Queue[int]()), ONE >> LOOP >> kx.map(kx.it + 1),
    kx.concat(kx.source([1]), kx.source([2])) >> LOOP, kx.concat(ONE >> LOOP, kx.queue_source(2)),
    ONE >> kx.backpressure(2), ONE >> kx.backpressure(2, overflow="error"),
    ONE >> kx.backpressure(2, overflow=kx.conflate(max)) >> LOOP, kx.queue_source(2) >> LOOP,
    ONE >> kx.flat_map(str.split) >> kx.retry(2), ONE >> kx.map(ask) >> kx.retry(2), ONE >> kx.flat_map(answers),
    ONE >> kx.unit(
        kx.map(parse) >> kx.flat_map(str)) >> kx.retry(2),
    kx.source(lambda cursor: [1], cursor=parse) >> kx.retry(2),
    ONE >> kx.stateful_map(lambda n, x: (n, x), key=abs, max_keys=9), ONE >> kx.stateful_map(lambda n, x: (n, x)),
    ONE >> kx.distinct(max_keys=9), ONE >> kx.map(parse) >> kx.dead_letter([]),
    (ONE >> kx.map(parse) >> kx.dead_letter(kx.memory_letters(9))).named("g"),
])
def test_nothing_to_warn_of(graph: Graph[Any, Any]) -> None:
    """A sound graph has no warnings."""
    assert graph.check() == []


@pytest.mark.parametrize("second", [
    lambda: ReplaySubject[int](), lambda: Subject[int]()], ids=["replay", "merge"])
def test_a_hot_source_that_is_heard_in_time_is_not_late(second: Callable[[], Any]) -> None:
    """A ReplaySubject gives all to a late subscriber, and a merge has none."""
    hot = second()
    join = kx.concat if isinstance(hot, ReplaySubject) else kx.merge

    assert not [line for line in join(ONE >> LOOP, kx.source(hot)).check() if "lost" in line]


def test_a_source_that_is_opened_twice() -> None:
    """Using a graph twice opens its source twice, unless it is shared (ruling 20)."""
    twice = kx.source([1])

    (warning,) = kx.merge(twice >> kx.map(str), twice).check()
    assert "is used more than once and is opened for each use; add >> kx.share() to open it once" in warning
    shared = twice >> kx.share()
    assert kx.merge(shared >> kx.map(str), shared).check() == []


def test_a_node_is_warned_of_once() -> None:
    """However often the graph it stands in is used, and inside a unit, its branches and its guards."""
    once = kx.unit(kx.map(parse) >> kx.flat_map(pieces), name="all")
    graph = ONE >> kx.broadcast(once >> kx.retry(2), once >> kx.retry(2)) >> kx.merge()

    assert len(graph.check()) == 1 and graph.check()[0].startswith("'all' (unit)")


def test_labels_are_those_of_the_plan() -> None:
    """Two nodes of one name are told apart as `explain` tells them apart."""
    graph = ONE >> kx.buffer(seconds=1) >> kx.buffer(seconds=2)

    assert [line.split(" ")[0] for line in graph.check()] == ["'buffer'", "'buffer-2'"]
