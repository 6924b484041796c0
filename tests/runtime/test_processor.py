"""Reactive Streams 1.0.4, §2 and §4: each node as a processor, between a publisher and a subscriber by hand."""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import anyio
import pytest
from reactivex import operators as ops

import kayrx as kx
from kayrx.nodes.values import is_async
from kayrx.runtime.streams.publisher import Processor
from kayrx.testing import left_behind
from kayrx.testing.probes import UNLIMITED, Bad, Handmade, Probe, settled, until

Node = kx.Graph[Any, Any]


async def tenfold(item: int) -> int:
    await anyio.lowlevel.checkpoint()
    return item * 10


async def twice_later(item: int) -> AsyncIterator[int]:
    for _ in range(2):
        await anyio.lowlevel.checkpoint()
        yield item


def picky(item: int) -> int:
    if item % 3 == 0:
        raise ValueError(item)
    return item


async def picky_later(item: int) -> int:
    await anyio.lowlevel.checkpoint()
    return picky(item)


def twice(item: int) -> Iterator[int]:
    yield item
    yield item


DIRECT: dict[str, Node] = {
    "map": kx.map(lambda x: x * 10),
    "filter": kx.filter(kx.it % 3 == 0),
    "flat_map": kx.flat_map(twice),
    "concat_map": kx.concat_map(lambda x: range(x % 5)),
    "nested": kx.flat_map(twice) >> kx.filter(kx.it % 2 == 0) >> kx.flat_map(twice),
    "scan": kx.scan(operator.add, 0),
    "reduce": kx.reduce(operator.add, 0),
    "tap": kx.tap(lambda x: None),
    "pairwise": kx.pairwise(),
    "rx": kx.rx(ops.take_last(3)),
    "take": kx.take(7),
    "take(0)": kx.take(0),
    "take_while": kx.take_while(kx.it < 9),
    "skip": kx.skip(4),
    "distinct_until_changed": kx.map(kx.it // 3) >> kx.distinct_until_changed(),
    "buffer": kx.buffer(4),
    "sliding": kx.sliding(3),
    "buffer, flat_map": kx.buffer(4) >> kx.flat_map(lambda xs: xs),
    "backpressure": kx.map(lambda x: x) >> kx.backpressure(4) >> kx.map(lambda x: x),
    "retry": kx.map(picky) >> kx.retry(2) >> kx.fallback(lambda x: -x),
    "skip_errors": kx.map(picky) >> kx.skip_errors(),
    "unit": kx.unit(kx.map(picky) >> kx.flat_map(twice)) >> kx.retry(2) >> kx.skip_errors(),
}
TASKED: dict[str, Node] = {
    "async map": kx.map(tenfold),
    "crew": kx.map(tenfold, concurrency=4),
    "threads": kx.map(lambda x: x * 10, on=kx.threads(2)),
    "async flat_map": kx.concat_map(twice_later),
    "async filter": kx.filter(kx.it % 2 == 0) >> kx.map(tenfold) >> kx.filter(kx.it % 4 == 0),
    "timed buffer": kx.buffer(4, seconds=60),
    "zip": kx.broadcast(kx.map(kx.it * 10), kx.map(str)) >> kx.zip(),
    "merge": kx.partition(kx.it % 2 == 0, kx.map(kx.it * 10), kx.filter(lambda x: False)) >> kx.merge(),
    "async guards": kx.map(picky_later) >> kx.timeout(10) >> kx.retry(2) >> kx.fallback(lambda x: -x),
    "take after waiting": kx.map(tenfold) >> kx.take(7),
    "reduce after waiting": kx.map(tenfold) >> kx.reduce(operator.add, 0),
}
NODES = DIRECT | TASKED
ITEMS = list(range(1, 41))


@pytest.fixture
async def host(anyio_backend: str) -> AsyncIterator[Any]:
    """A task group for the runs; a test is over only when each of them is."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            yield group


@pytest.fixture(params=NODES)
def node(request: pytest.FixtureRequest) -> Node:
    return NODES[request.param]


def obedient(items: Iterable[Any]) -> Handmade:
    """An upstream that sends what is requested, inside request, and then completes."""
    upstream, source = Handmade(), iter(items)

    def on_request(n: int) -> None:
        for item in itertools.islice(source, n):
            if upstream.cancelled:
                return
            upstream.send(item)
        if operator.length_hint(source, 1) == 0 and not upstream.cancelled:
            upstream.on_request = lambda n: None
            upstream.complete()

    upstream.on_request = on_request
    return upstream


def between(upstream: Any, graph: Node, first: int = 0, **options: Any) -> tuple[Processor[Any, Any], Probe]:
    processor, probe = graph.processor(**options), Probe(first)
    upstream.subscribe(processor)
    processor.subscribe(probe)
    return processor, probe


# -- every node ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3, UNLIMITED])
async def test_rule_4_01_every_node_obeys_both_sides(node: Node, host: Any, step: int) -> None:
    """The answer of ``collect``, never faster than requested, never more than 16 requested and unfinished."""
    expected = (kx.source(ITEMS) >> node).collect()
    upstream = obedient(ITEMS)
    _, probe = between(upstream, node, host=host)
    while not probe.ended:
        before = len(probe.items)
        probe.request(step)
        await until(lambda before=before: probe.ended or len(probe.items) >= min(before + step, len(expected)))
        await settled(1)
    assert (probe.items, probe.ended) == (expected, "on_complete")
    assert probe.wrong == upstream.wrong == []
    assert upstream.requests[0] == 16 and all(n <= 16 for n in upstream.requests)


async def test_rule_1_05_every_node_completes_on_an_empty_upstream_without_demand(node: Node, host: Any) -> None:
    """Nothing comes in and nothing is asked for: on_complete (2.9), or for reduce its one item first."""
    _, probe = between(obedient([]), node, host=host)
    if not (kx.source([]) >> node).collect():
        await until(lambda: probe.ended)
        assert probe.signals == ["on_subscribe", "on_complete"]
    else:
        await settled()
        assert probe.signals == ["on_subscribe"]
        probe.request(1)
        await until(lambda: probe.ended)
        assert probe.items == [0]


async def test_rule_4_02_every_node_passes_an_error_on(node: Node, host: Any) -> None:
    """Without demand, and as the same object; nothing is asked of upstream after it."""
    raised = OSError("upstream")
    upstream = Handmade()
    _, probe = between(upstream, node, host=host)
    if probe.ended:  # take(0) has nothing to wait for
        return
    upstream.send(1)
    upstream.fail(raised)
    await until(lambda: probe.ended)
    assert (probe.items, probe.ended, probe.wrong) == ([], "on_error", [])
    assert probe.error is raised
    assert upstream.calls == ["request(16)"]


async def test_rule_3_12_every_node_lets_go_of_upstream(node: Node, host: Any) -> None:
    """Cancelled downstream: upstream is cancelled before cancel returns, and nothing of the run is left."""
    with left_behind() as left:
        upstream = Handmade()
        _, probe = between(upstream, node, host=host, first=1)
        if not probe.ended:
            upstream.send(*range(1, 8))
            await settled()
            probe.cancel()
        assert upstream.cancelled == 1
        await until(lambda: not [t for t in threading.enumerate() if t.name.startswith("kayrx")])
        await settled()
    assert probe.wrong == [] and not left, left


async def test_every_node_fails_as_it_does_alone(host: Any) -> None:
    """A function that raises: on_error with its exception, and upstream is cancelled."""
    for graph in (kx.map(picky), kx.map(picky_later), kx.flat_map(lambda x: [picky(x)]),
                  kx.filter(picky), kx.unit(kx.map(picky) >> kx.tap(print)) >> kx.retry(2)):
        upstream = obedient(itertools.count(1))
        _, probe = between(upstream, graph, host=host, first=10)
        await until(lambda probe=probe: probe.ended)
        assert isinstance(probe.error, ValueError) and probe.error.args == (3,) and probe.wrong == []
        assert any("kayrx: in node" in note for note in probe.error.__notes__)
        await until(lambda upstream=upstream: upstream.cancelled == 1)


# -- demand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "asked"), [(16, [16, 8, 8]), (1, [1] * 18), (3, [3] + [1] * 17), (5, [5] + [2] * 8)])
def test_rule_2_01_it_asks_for_its_bound_and_again_as_items_are_finished(size: int, asked: list[int]) -> None:
    """``size`` at first, then a half whenever a half is through."""
    upstream = obedient(range(100))
    _, probe = between(upstream, kx.map(lambda x: x), size=size)
    assert upstream.requests == [size] and upstream.sent == size
    probe.request(17)
    assert len(probe.items) == 17 and upstream.requests == asked


def test_rule_2_01_a_filter_that_drops_asks_for_more() -> None:
    """One item of a thousand passes: a demand of 1 is met, and no item beyond it is looked at."""
    seen: list[int] = []
    upstream = obedient(range(1, 10_000))
    graph = kx.tap(seen.append) >> kx.filter(kx.it % 1000 == 0)
    _, probe = between(upstream, graph, first=1)
    assert probe.items == [1000] and seen[-1] == 1000 and upstream.wrong == []
    assert 1000 <= upstream.sent <= 1016


def test_rule_1_01_an_expansion_rests_where_demand_ends() -> None:
    """Three requested of a million out of one item: three are made."""
    made: list[int] = []

    def many(item: int) -> Iterator[int]:
        for number in range(10**6):
            made.append(number)
            yield number

    upstream = obedient(range(100))
    _, probe = between(upstream, kx.flat_map(many), first=3)
    assert probe.items == made == [0, 1, 2] and upstream.requests == [16]
    probe.request(2)
    assert probe.items == made == [0, 1, 2, 3, 4]


async def test_rule_b_1_what_waits_inside_is_bounded(node: Node, host: Any) -> None:
    """Without demand an endless upstream is asked for 16, and by a node that may run ahead for its gates'."""
    if node is NODES["reduce after waiting"]:
        return  # its work is to take all there is
    upstream = obedient(itertools.count(1))
    _, probe = between(upstream, node, host=host)
    await settled(1000)
    assert upstream.sent <= 16 * 8
    if node in DIRECT.values():
        assert upstream.sent == 16 and not probe.items
    probe.cancel()


# -- the upstream side ---------------------------------------------------------------------------


@pytest.fixture(params=["map", "async map"])
def some(request: pytest.FixtureRequest) -> Node:
    return NODES[request.param]


async def test_rule_2_04_after_a_terminal_nothing_is_asked_of_upstream(some: Node, host: Any) -> None:
    """Eight items are finished after on_complete: no request, and no cancel when downstream leaves (2.3)."""
    upstream = Handmade()
    _, probe = between(upstream, some, host=host)
    upstream.send(*range(16))
    upstream.complete()
    probe.request(12)
    await until(lambda: len(probe.items) == 12)
    probe.cancel()
    await settled()
    assert upstream.calls == ["request(16)"]


async def test_rule_2_05_a_second_subscription_is_cancelled(some: Node, host: Any) -> None:
    """The first upstream goes on as if nothing had been."""
    first, second = Handmade(), Handmade()
    processor, probe = between(first, some, host=host, first=5)
    second.subscribe(processor)
    assert second.calls == ["cancel"] and first.calls == ["request(16)"]
    first.send(1)
    await until(lambda: probe.items == [10])
    probe.cancel()


@pytest.mark.parametrize("graph", [kx.take(2), kx.map(tenfold) >> kx.take(2)], ids=["take", "async take"])
async def test_rule_2_06_upstream_is_cancelled_when_no_more_is_wanted(graph: Node, host: Any) -> None:
    """take(2) has its two: upstream is told."""
    upstream = obedient(itertools.count())
    _, probe = between(upstream, graph, host=host, first=2)
    await until(lambda: probe.ended and upstream.cancelled)
    assert len(probe.items) == 2 and upstream.calls.count("cancel") == 1


async def test_rule_2_07_calls_of_upstream_never_overlap(some: Node, host: Any) -> None:
    """Three threads request below, a fourth cancels; upstream, in a fifth, sees one call at a time."""
    upstream = Handmade()
    work: list[int] = []
    signal = threading.Semaphore(0)
    upstream.on_request = lambda n: (work.append(n), signal.release())
    over = threading.Event()

    def send() -> None:
        number = 0
        while not over.is_set():
            if signal.acquire(timeout=0.01):
                for _ in range(work.pop(0)):
                    upstream.send(number)
                    number += 1

    sender = threading.Thread(target=send)
    sender.start()
    _, probe = between(upstream, some, host=host)
    threads = [threading.Thread(target=lambda: [probe.request(1) for _ in range(100)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    await until(lambda: len(probe.items) == 300)
    leaver = threading.Thread(target=probe.cancel)
    leaver.start()
    await until(lambda: not any(t.is_alive() for t in (*threads, leaver)))
    over.set()
    await until(lambda: not sender.is_alive())
    assert probe.items == [10 * n for n in range(300)]
    assert probe.wrong == upstream.wrong == [] and upstream.cancelled == 1


async def test_rule_2_08_items_after_our_cancel_are_tolerated(some: Node, host: Any) -> None:
    """Upstream had them on the way: no error, no signal."""
    upstream = Handmade()
    _, probe = between(upstream, some, host=host, first=9)
    probe.cancel()
    upstream.send(1, 2)
    upstream.complete()
    await settled()
    assert probe.signals == ["on_subscribe"] and upstream.calls == ["request(16)", "cancel"]


@pytest.mark.parametrize("end", ["complete", "fail"])
@pytest.mark.parametrize("before", [True, False], ids=["before subscribe", "after subscribe"])
async def test_rules_2_09_and_2_10_a_terminal_needs_no_demand(some: Node, host: Any, end: str, before: bool) -> None:
    """It may even come before anybody has subscribed downstream."""
    upstream, probe = Handmade(), Probe()
    processor = some.processor(host=host)
    upstream.subscribe(processor)
    if not before:
        processor.subscribe(probe)
    upstream.complete() if end == "complete" else upstream.fail(OSError())
    if before:
        processor.subscribe(probe)
    await until(lambda: probe.ended)
    assert len(probe.signals) == 2 and probe.wrong == []


async def test_rule_2_12_on_subscribe_goes_down_once(some: Node, host: Any) -> None:
    """One subscriber is served; a second gets on_subscribe and an error that says why (1.11)."""
    upstream = Handmade()
    processor, probe = between(upstream, some, host=host, first=1)
    second = Probe(1)
    processor.subscribe(second)
    upstream.send(1)
    await until(lambda: probe.items)
    assert probe.signals == ["on_subscribe", "on_next"]
    assert second.signals == ["on_subscribe", "on_error"] and "1.11" in str(second.error)
    assert upstream.cancelled == 0
    probe.cancel()


@pytest.mark.parametrize("signal", ["on_subscribe", "on_next", "on_error"])
async def test_rule_2_13_none_raises_and_goes_down_as_an_error(some: Node, host: Any, signal: str) -> None:
    """The caller gets a TypeError that names the rule, and so does the subscriber: nobody is left waiting."""
    upstream = Handmade()
    processor, probe = between(upstream, some, host=host, first=1)
    with pytest.raises(TypeError, match=r"2\.13"):
        getattr(processor, signal)(None)
    await until(lambda: probe.ended)
    assert isinstance(probe.error, TypeError) and upstream.cancelled == 1


async def test_rule_2_13_a_downstream_that_raises_cancels_upstream(some: Node, host: Any) -> None:
    """Reported by the processor; upstream is cancelled and sees no exception."""
    upstream, probe = Handmade(), Probe(5, raises=("on_next",))
    processor = some.processor(host=host)
    upstream.subscribe(processor)
    processor.subscribe(probe)
    upstream.send(1, 2)
    await until(lambda: upstream.cancelled)
    await settled()
    assert [type(e) for e in processor.reports] == [Bad] and probe.signals == ["on_subscribe", "on_next"]


async def test_an_upstream_that_breaks_rule_1_1_is_cancelled_and_named(some: Node, host: Any) -> None:
    """Seventeen items for a demand of sixteen: a RunError, not a queue that grows."""
    upstream = Handmade()
    _, probe = between(upstream, some, host=host)
    upstream.send(*range(20))
    await until(lambda: probe.ended)
    assert isinstance(probe.error, kx.RunError) and "1.1" in str(probe.error) and upstream.cancelled == 1


def test_an_upstream_whose_request_raises_is_an_error_downstream() -> None:
    """Against rule 3.16, but nobody is left waiting."""
    upstream = Handmade()
    _, probe = between(upstream, kx.map(lambda x: x), first=20)
    upstream.on_request = lambda n: 1 / 0
    upstream.send(*range(8))
    assert isinstance(probe.error, ZeroDivisionError) and len(probe.items) == 8


# -- §4 ------------------------------------------------------------------------------------------


async def test_rule_4_01_a_row_of_processors(host: Any) -> None:
    """Three in a row, with and without tasks: the answer and the demand go through all."""
    row = [kx.map(kx.it + 1).processor(host=host), kx.map(tenfold).processor(host=host),
           kx.flat_map(twice).processor(host=host)]
    probe = Probe(1, each=1)
    kx.source(range(50)).publisher().subscribe(row[0])
    row[0].subscribe(row[1])
    row[1].subscribe(row[2])
    row[2].subscribe(probe)
    await until(lambda: probe.ended)
    assert probe.items == [10 * (n + 1) for n in range(50) for _ in (1, 2)] and probe.wrong == []


async def test_rule_4_01_a_row_may_be_put_together_in_any_order(host: Any) -> None:
    """Downstream first, or upstream first."""
    for order in itertools.permutations(range(3)):
        first, second = kx.map(kx.it + 1).processor(), kx.map(tenfold).processor(host=host)
        probe = Probe(UNLIMITED)
        steps = [lambda f=first: kx.source([1, 2]).publisher().subscribe(f),
                 lambda f=first, s=second: f.subscribe(s), lambda s=second, p=probe: s.subscribe(p)]
        for number in order:
            steps[number]()
        await until(lambda probe=probe: probe.ended)
        assert probe.items == [20, 30]


def test_rule_4_02_requested_items_come_before_an_error_and_others_are_dropped() -> None:
    """Five inside, two requested: two, then at once the error."""
    upstream = Handmade()
    _, probe = between(upstream, kx.map(lambda x: x), first=2)
    upstream.send(1, 2, 3, 4, 5)
    upstream.fail(OSError())
    assert probe.items == [1, 2] and isinstance(probe.error, OSError)


async def test_rule_4_02_an_error_does_not_wait_for_demand_in_a_run_with_tasks(host: Any) -> None:
    """An error comes with or without demand (2.10): what has been made and was not requested is dropped for it."""
    upstream = Handmade()
    _, probe = between(upstream, kx.map(tenfold), first=2, host=host)
    upstream.send(1, 2, 3, 4, 5)
    await until(lambda: probe.items == [10, 20])
    await settled()
    upstream.fail(OSError())
    await until(lambda: probe.ended)
    assert probe.items == [10, 20] and isinstance(probe.error, OSError)


async def test_cancel_before_upstream_comes(some: Node, host: Any) -> None:
    """Downstream has left already: the upstream that comes is cancelled at once, and asked for nothing."""
    processor, probe, upstream = some.processor(host=host), Probe(1), Handmade()
    processor.subscribe(probe)
    probe.cancel()
    upstream.subscribe(processor)
    await settled()
    assert upstream.calls == ["cancel"]


def test_a_processor_that_needs_tasks_and_has_none_says_so_and_lets_upstream_go() -> None:
    """Without a loop: on_error to the subscriber, cancel to the publisher."""
    upstream = Handmade()
    _, probe = between(upstream, kx.map(tenfold))
    assert isinstance(probe.error, kx.RunError) and upstream.calls == ["request(16)", "cancel"]


@pytest.mark.parametrize(("graph", "options", "why"), [
    (kx.source([1]), {}, "brings items"), (kx.to_list(), {}, "is a sink"),
    (kx.map(str), {"size": 0}, "size"), (kx.broadcast(kx.map(str), kx.map(str)), {}, "no single output")],
    ids=["source", "sink", "size", "two outputs"])
def test_a_graph_that_cannot_be_a_processor_is_a_graph_error(graph: Any, options: Any, why: str) -> None:
    """Open at both ends, one output, a bound of at least one."""
    with pytest.raises(kx.GraphError, match=why):
        graph.processor(**options)


async def test_a_processor_is_a_source_too(some: Node, host: Any) -> None:
    """kx.source(processor): ours on all sides."""
    processor = some.processor(host=host)
    kx.source(range(30)).publisher().subscribe(processor)
    assert await (kx.source(processor) >> kx.to_list()) == [10 * n for n in range(30)]


def test_the_cases_are_what_they_say() -> None:
    """The nodes of DIRECT run without tasks, those of TASKED with."""
    for name, graph in NODES.items():
        linear = graph.compile().linear
        assert linear == (name in DIRECT), name
    assert is_async(tenfold)
