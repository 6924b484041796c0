"""Reactive Streams 1.0.4, §1 and §3: what a graph promises as a publisher, rule by rule, in every shape."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any

import anyio
import pytest
import reactivex

import kayrx as kx
from kayrx.runtime.backend import loop_running
from kayrx.runtime.streams import publisher as publishing
from kayrx.runtime.streams.publisher import Publisher, publisher
from kayrx.testing import left_behind
from kayrx.testing.probes import UNLIMITED, Bad, Handmade, Probe, settled, until

Publish = Callable[..., Publisher[Any]]


def same(item: Any) -> Any:
    return item


async def same_later(item: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return item


async def later(items: Any) -> AsyncIterator[Any]:
    for item in items() if callable(items) else items:
        await anyio.lowlevel.checkpoint()
        yield item


class Watched:
    """A source that knows what was read of it, and whether all that opened it have closed it."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = items
        self.taken = self.open = 0

    def __call__(self) -> Iterator[Any]:
        self.open += 1
        try:
            for item in self.items:
                self.taken += 1
                yield item
        finally:
            self.open -= 1

    @property
    def closed(self) -> bool:
        return self.open == 0


def flaky() -> Callable[[Any], Any]:
    """The identity, which fails at its first attempt on each item, in each task."""
    failed: set[tuple[int, int]] = set()

    def attempt(item: Any) -> Any:
        key = (anyio.get_current_task().id if loop_running() else 0, id(item))
        if key in failed:
            failed.discard(key)
            return item
        failed.add(key)
        raise OSError("first attempt")

    return attempt


def flaky_later() -> Callable[[Any], Any]:
    attempt = flaky()

    async def attempt_later(item: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return attempt(item)

    return attempt_later


def through(graph: kx.Graph[Any, Any], items: Any, **options: Any) -> Publisher[Any]:
    processor = graph.processor(**options)
    kx.source(items).publisher(none=options.get("none", "reject")).subscribe(processor)
    return processor


def guarded(items: Any) -> kx.Graph[Any, Any]:
    unit = kx.unit(kx.map(same) >> kx.tap(same), name="both")
    return (kx.source(items) >> kx.map(flaky()) >> kx.retry(2) >> kx.fallback(same) >> unit >> kx.skip_errors()
            >> kx.buffer(1) >> kx.flat_map(list))


def one_of_two(items: Any) -> kx.Graph[Any, Any]:
    return kx.source(items) >> [kx.map(same), kx.filter(lambda x: True)] >> kx.zip() >> kx.map(lambda p: p[0])


DIRECT: dict[str, Publish] = {
    "source": lambda xs, **o: kx.source(xs).publisher(**o),
    "nodes": lambda xs, **o: (kx.source(xs) >> kx.map(same) >> kx.filter(lambda x: True)).publisher(**o),
    "unfused": lambda xs, **o: (kx.source(xs) >> kx.map(same) >> kx.tap(same)).publisher(fuse=False, **o),
    "expansion": lambda xs, **o: (kx.source(xs) >> kx.flat_map(lambda x: (y for y in [x]))).publisher(**o),
    "guards": lambda xs, **o: guarded(xs).publisher(**o),
    "processor": lambda xs, **o: through(kx.map(same), xs, **o),
}
TASKED: dict[str, Publish] = {
    "async map": lambda xs, **o: (kx.source(xs) >> kx.map(same_later)).publisher(**o),
    "crew": lambda xs, **o: (kx.source(xs) >> kx.map(same_later, concurrency=4)).publisher(**o),
    "async source": lambda xs, **o: kx.source(partial(later, xs)).publisher(**o),
    "network": lambda xs, **o: one_of_two(xs).publisher(**o),
    "async guards": lambda xs, **o: (kx.source(xs) >> kx.map(flaky_later()) >> kx.timeout(5)
                                     >> kx.retry(2)).publisher(**o),
    "backoff": lambda xs, **o: (kx.source(xs) >> kx.map(flaky())
                                >> kx.retry(2, backoff=kx.constant(1e-6))).publisher(**o),
    "async processor": lambda xs, **o: through(kx.map(same_later), xs, **o),
    "two-sided": lambda xs, **o: kx.source(kx.source(xs).publisher(none=o.get("none", "reject"))).publisher(**o),
}
HOT: dict[str, Publish] = {
    "observable": lambda xs, **o: (kx.source(reactivex.from_iterable(xs() if callable(xs) else xs))
                                   >> kx.map(same)).publisher(**o),
}
COLD = DIRECT | TASKED


@pytest.fixture
async def host(anyio_backend: str) -> AsyncIterator[Any]:
    """A task group for the runs; a test is over only when each of them is."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            yield group


@pytest.fixture(params=COLD | HOT)
def publish(request: pytest.FixtureRequest, host: Any) -> Publish:
    """Makes a publisher that gives the items it was given, one shape of graph after another."""
    return partial((COLD | HOT)[request.param], host=host)


@pytest.fixture(params=COLD)
def cold(request: pytest.FixtureRequest, host: Any) -> Publish:
    """Those that read their source as they are asked to."""
    return partial(COLD[request.param], host=host)


@pytest.fixture(params=DIRECT)
def direct(request: pytest.FixtureRequest) -> Publish:
    """Those that signal inside ``request``."""
    return DIRECT[request.param]


def subscribed(publisher: Publisher[Any], first: int = 0, **options: Any) -> Probe:
    probe = Probe(first, **options)
    publisher.subscribe(probe)
    return probe


def is_of(items: list[Any], wanted: list[Any], request: pytest.FixtureRequest) -> bool:
    """All that came before a failure; of several segments the later ones may have been cancelled with less."""
    name = request.node.callspec.params.get("publish")
    return items == (wanted[:len(items)] if name in ("crew", "network", "async processor") else wanted)


def in_threads(*work: Callable[[], object]) -> list[threading.Thread]:
    """Start all at once, each in a thread."""
    ready = threading.Barrier(len(work))

    def begin(act: Callable[[], object]) -> None:
        ready.wait()
        act()

    threads = [threading.Thread(target=begin, args=(act,)) for act in work]
    for thread in threads:
        thread.start()
    return threads


async def joined(threads: list[threading.Thread]) -> None:
    await until(lambda: not any(thread.is_alive() for thread in threads))


# -- 1.1 to 1.3: demand --------------------------------------------------------------------------


async def test_rule_1_01_never_more_than_requested(publish: Publish) -> None:
    """However long we wait, there are as many items as were asked for, in their order."""
    probe = subscribed(publish(range(1, 41)))
    for asked in (0, 1, 2, 5, 20):
        if asked:
            probe.request(asked)
        await until(lambda: len(probe.items) >= probe.asked)
        await settled()
        assert probe.items == list(range(1, probe.asked + 1))
    probe.cancel()
    assert probe.wrong == []


async def test_rule_1_01_what_one_item_expands_into_is_counted_too(host: Any) -> None:
    """A flat_map of a million items an item rests in the middle, with nothing put by."""
    given = []

    def expand(item: int) -> Iterable[int]:
        for number in range(10**6):
            given.append(number)
            yield number

    probe = subscribed((kx.source([1, 2]) >> kx.flat_map(expand)).publisher(), 3)
    assert probe.items == given == [0, 1, 2]
    probe.cancel()


async def test_rule_1_02_fewer_than_requested_if_there_are_no_more(publish: Publish) -> None:
    """A demand of 10 for 3 items: the three, and the end."""
    probe = subscribed(publish([1, 2, 3]), 10)
    await until(lambda: probe.ended)
    assert (probe.items, probe.ended, probe.wrong) == ([1, 2, 3], "on_complete", [])


async def test_rule_1_03_signals_are_serial_while_three_threads_request(publish: Publish) -> None:
    """600 requests from three threads: 600 items in order, and no two signals at once."""
    probe = subscribed(publish(range(1000)))
    interval = switching(1e-6)
    try:
        await joined(in_threads(*[lambda: [probe.request(1) for _ in range(200)]] * 3))
    finally:
        switching(interval)
    await until(lambda: len(probe.items) >= 600)
    await settled()
    probe.cancel()
    assert probe.items == list(range(600))
    assert probe.wrong == []


def switching(interval: float) -> float:
    """How often threads take turns, in seconds; gives what it was."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    return before


def test_rule_1_03_a_request_during_a_signal_is_served_by_the_thread_that_signals(direct: Publish) -> None:
    """While one thread is inside on_next, requests of two others return at once and signal nothing."""
    probe = Probe()
    inside, leave = threading.Event(), threading.Event()
    threads_of: list[int] = []

    def hold(item: Any) -> None:
        threads_of.append(threading.get_ident())
        if item == 0:
            inside.set()
            assert leave.wait(10)

    probe.then = hold
    direct(range(10)).subscribe(probe)
    first = threading.Thread(target=probe.request, args=(1,))
    first.start()
    assert inside.wait(10)
    others = in_threads(lambda: probe.request(2), lambda: probe.request(3))
    for thread in others:
        thread.join(10)
        assert not thread.is_alive()
    assert probe.items == [0]
    leave.set()
    first.join(10)
    assert probe.items == [0, 1, 2, 3, 4, 5]
    assert len(set(threads_of)) == 1
    assert probe.wrong == []


# -- 1.4 to 1.8: ends ----------------------------------------------------------------------------


def broken() -> Iterable[int]:
    yield 1
    yield 2
    raise ValueError("the source broke")


async def test_rule_1_04_a_failure_of_the_source_comes_by_on_error(publish: Publish,
                                                                   request: pytest.FixtureRequest) -> None:
    """The items before it, then the exception itself."""
    probe = subscribed(publish(broken), 10)
    await until(lambda: probe.ended)
    assert (probe.ended, probe.wrong) == ("on_error", []) and is_of(probe.items, [1, 2], request)
    assert isinstance(probe.error, ValueError) and str(probe.error) == "the source broke"


@pytest.mark.parametrize("waits", [False, True])
async def test_rule_1_04_a_failure_of_user_code_keeps_its_object_and_gains_a_note(host: Any, waits: bool) -> None:
    """on_error gets the very object that the function raised, and the note says where."""
    raised = ZeroDivisionError("mine")

    def invert(item: int) -> int:
        if item == 3:
            raise raised
        return item

    async def invert_later(item: int) -> int:
        return invert(item)

    graph = kx.source([1, 2, 3, 4]) >> kx.map(invert_later if waits else invert).named("invert")
    probe = subscribed(graph.publisher(host=host), 10)
    await until(lambda: probe.ended)
    assert (probe.items, probe.error, probe.wrong) == ([1, 2], raised, [])
    (note,) = raised.__notes__
    assert note.startswith("kayrx: in node 'invert' (map) at test_publisher.py:") and "item 2" in note


async def test_rule_1_04_items_that_were_made_before_a_failure_come_before_it(host: Any) -> None:
    """A run that reads ahead gives what it has, as it is asked for, and only then the error."""
    probe = subscribed((kx.source(partial(later, broken)) >> kx.map(same)).publisher(host=host))
    await settled()
    assert probe.signals == ["on_subscribe"]
    probe.request(1)
    await until(lambda: probe.items == [1])
    await settled()
    assert not probe.ended
    probe.request(1)
    await until(lambda: probe.ended)
    assert probe.items == [1, 2] and isinstance(probe.error, ValueError)


async def test_rule_1_05_an_empty_stream_completes_without_demand(publish: Publish) -> None:
    """Nobody has requested anything, and on_complete comes."""
    probe = subscribed(publish([]))
    await until(lambda: probe.ended)
    assert probe.signals == ["on_subscribe", "on_complete"]


async def test_rule_1_05_the_end_of_a_list_comes_with_its_last_item(publish: Publish,
                                                                   request: pytest.FixtureRequest) -> None:
    """No request beyond the last item is needed, except where an expansion would have to be run for it."""
    probe = subscribed(publish([1, 2, 3]), 3)
    await until(lambda: len(probe.items) == 3)
    await settled()
    expands = "expansion" in request.node.name or "-guards" in request.node.name or "[guards" in request.node.name
    assert probe.ended == ("" if expands else "on_complete")
    probe.request(1)
    await until(lambda: probe.ended)
    assert (probe.items, probe.ended, probe.wrong) == ([1, 2, 3], "on_complete", [])


@pytest.mark.parametrize("node", [kx.take(2), kx.take_while(kx.it < 3), kx.take(0)], ids=lambda g: g.nodes[0].word)
def test_rule_1_05_a_node_that_has_enough_ends_the_stream(node: Any) -> None:
    """take(2) completes with its second item and closes the source, which is not read any further."""
    source = Watched(itertools.count(1))
    probe = subscribed((kx.source(source) >> node).publisher(), 2)
    if node.nodes[0].word == "take_while":
        probe.request(1)
    assert probe.ended == "on_complete"
    assert source.taken == len(probe.items) + (node.nodes[0].word == "take_while")
    assert source.closed or not source.taken


def test_rule_1_05_what_is_flushed_at_the_end_waits_for_demand() -> None:
    """The source has ended, and a node has one item more: it is held until it is asked for."""
    graph = kx.source([1, 2, 3]) >> kx.scan(lambda a, b: a + b, 0) >> kx.buffer(2)
    probe = subscribed(graph.publisher(), 1)
    assert probe.items == [[1, 3]] and not probe.ended
    probe.request(1)
    assert probe.items == [[1, 3], [6]] and probe.ended
    summed = subscribed((kx.source([]) >> kx.reduce(lambda a, b: a + b, 7)).publisher())
    assert summed.signals == ["on_subscribe"]
    summed.request(1)
    assert summed.items == [7] and summed.ended == "on_complete" and summed.wrong == []


async def test_rule_1_06_a_terminal_signal_ends_the_subscription(cold: Publish) -> None:
    """When on_complete comes the source has been closed; request and cancel do nothing any more (2.4)."""
    source = Watched([1, 2])
    closed: list[bool] = []
    probe = Probe(10)
    ending = probe.on_complete
    probe.on_complete = lambda: (closed.append(source.closed), ending())  # type: ignore[method-assign]
    cold(source).subscribe(probe)
    await until(lambda: probe.ended)
    assert closed == [True]
    probe.request(5)
    probe.cancel()
    await settled()
    assert probe.signals[-1] == "on_complete" and probe.wrong == []


@pytest.mark.parametrize("items", [[], [1], broken], ids=["empty", "one", "failing"])
async def test_rule_1_07_nothing_comes_after_a_terminal(publish: Publish, items: Any) -> None:
    """Neither a second terminal nor an item, whatever is asked for afterwards."""
    probe = subscribed(publish(items), 10)
    await until(lambda: probe.ended)
    for n in (1, 0, -1, UNLIMITED):
        probe.subscription.request(n)
    await settled()
    assert probe.signals.count("on_complete") + probe.signals.count("on_error") == 1
    assert probe.wrong == []


async def test_rule_1_08_after_cancel_there_is_no_signal_on_the_same_tick(publish: Publish) -> None:
    """Cancelled from the loop, or inside on_next: the item at hand was the last."""
    publisher = publish(range(100))
    probe = Probe(UNLIMITED)
    probe.then = lambda item: probe.cancel() if item == 4 else None
    publisher.subscribe(probe)
    await until(lambda: len(probe.items) == 5)
    await settled()
    assert probe.items == [0, 1, 2, 3, 4] and not probe.ended and probe.wrong == []


async def test_rule_1_08_cancel_while_items_wait_for_demand(publish: Publish) -> None:
    """What has been made and not been asked for is dropped without a word."""
    probe = subscribed(publish(range(100)), 2)
    await until(lambda: len(probe.items) == 2)
    probe.cancel()
    probe.request(10)
    await settled()
    assert probe.items == [0, 1] and not probe.ended and probe.wrong == []


# -- 1.9 to 1.11: subscribing --------------------------------------------------------------------


async def test_rule_1_09_on_subscribe_comes_first_and_alone(publish: Publish) -> None:
    """Items asked for inside on_subscribe come after it has returned."""
    probe = subscribed(publish([1, 2]), 10)
    await until(lambda: probe.ended)
    assert probe.signals == ["on_subscribe", "on_next", "on_next", "on_complete"] and probe.wrong == []


@pytest.mark.parametrize("wrong", [None, 7, object()], ids=["None", "7", "object"])
async def test_rule_1_09_what_is_no_subscriber_is_a_type_error(publish: Publish, wrong: Any) -> None:
    """subscribe(None) raises, naming the rule; nothing is opened."""
    publisher = publish([])
    with pytest.raises(TypeError, match=r"1\.9"):
        publisher.subscribe(wrong)
    subscribed(publisher).cancel()


async def test_rule_1_09_a_start_that_fails_comes_by_on_error(cold: Publish) -> None:
    """The callable that opens the source raises: on_subscribe, on_error, and subscribe returns."""
    raised = OSError("cannot be opened")

    def connect() -> Iterable[int]:
        raise raised

    probe = subscribed(cold(connect))
    await until(lambda: probe.ended)
    assert probe.signals == ["on_subscribe", "on_error"] and probe.error is raised


def test_rule_1_09_a_file_that_is_not_there_and_an_iterator_that_was_read() -> None:
    """on_error with FileNotFoundError at the first request, RunError for the second reader of an iterator."""
    missing = subscribed(kx.lines("/nowhere/at/all").publisher(), 1)
    assert missing.signals == ["on_subscribe", "on_error"] and isinstance(missing.error, FileNotFoundError)
    once = kx.source(iter([1, 2])).publisher()
    assert subscribed(once, 5).items == [1, 2]
    again = subscribed(once, 5)
    assert again.signals == ["on_subscribe", "on_error"] and isinstance(again.error, kx.RunError)


def test_rule_1_09_a_run_that_waits_needs_a_loop_and_says_so() -> None:
    """Without a loop: on_subscribe, then on_error with a remedy; subscribe itself returns."""
    for name in ("async map", "network", "async source"):
        probe = subscribed(TASKED[name]([1]), 1)
        assert probe.signals == ["on_subscribe", "on_error"]
        assert isinstance(probe.error, kx.RunError) and "inside asyncio or trio" in str(probe.error)


async def test_rule_1_09_without_a_host_asyncio_will_do_and_trio_says_what_is_missing(anyio_backend: str) -> None:
    """On asyncio the loop owns the task; on trio on_error names host=."""
    probe = subscribed(TASKED["async map"]([1, 2]), 5)
    await until(lambda: probe.ended)
    if anyio_backend == "asyncio":
        assert probe.items == [1, 2]
    else:
        assert isinstance(probe.error, kx.RunError) and "host=" in str(probe.error)


async def test_rule_1_09_the_host_may_be_given_with_the_subscriber(host: Any) -> None:
    """subscribe(subscriber, host=group) is as good as publisher(host=group)."""
    probe = Probe(5)
    TASKED["async map"]([1, 2]).subscribe(probe, host=host)
    await until(lambda: probe.ended)
    assert probe.items == [1, 2]


async def test_rule_1_09_a_host_that_has_ended_comes_by_on_error() -> None:
    """Nothing can be started in a closed task group, and the subscriber learns it."""
    async with anyio.create_task_group() as group:
        pass
    probe = subscribed(TASKED["async map"]([1], host=group), 1)
    assert probe.signals == ["on_subscribe", "on_error"]


async def test_rule_1_10_any_number_of_subscribers_each_at_its_own_pace(cold: Publish,
                                                                        request: pytest.FixtureRequest) -> None:
    """Three subscribers with three demands get three answers; a processor serves one, and says so."""
    publisher = cold(range(10))
    probes = [subscribed(publisher, n) for n in (10, 3, 7)]
    if isinstance(publisher, Publisher) and "processor" in request.node.name:
        assert [p.signals for p in probes[1:]] == [["on_subscribe", "on_error"]] * 2
        assert "1.11" in str(probes[1].error)
        probes = probes[:1]
    for probe in probes:
        await until(lambda probe=probe: len(probe.items) == probe.asked)
        assert probe.items == list(range(probe.asked)) and probe.wrong == []
        probe.cancel()


def test_rule_1_11_each_subscription_is_a_run_of_its_own() -> None:
    """Unicast, and documented: the source is opened anew for each subscriber."""
    opened = []
    publisher = kx.source(lambda: opened.append(1) or [1, 2]).publisher()
    first, second = subscribed(publisher, 1), subscribed(publisher, 2)
    assert (first.items, second.items, len(opened)) == ([1], [1, 2], 2)
    assert "fresh run" in (publishing.__doc__ or "")


# -- §2, as far as a publisher has to bear it ----------------------------------------------------


async def test_rule_2_03_calls_from_a_terminal_handler_do_no_harm(publish: Publish) -> None:
    """A subscriber that should not, requests and cancels inside on_complete: nothing happens."""
    probe = Probe(10)
    ending = probe.on_complete

    def ended() -> None:
        ending()
        probe.request(1)
        probe.cancel()

    probe.on_complete = ended  # type: ignore[method-assign]
    publish([1]).subscribe(probe)
    await until(lambda: probe.ended)
    await settled()
    assert probe.signals == ["on_subscribe", "on_next", "on_complete"]


@pytest.mark.parametrize("signal", ["on_subscribe", "on_next", "on_complete", "on_error"])
async def test_rule_2_13_a_subscriber_that_raises_is_cancelled_and_reported(publish: Publish,
                                                                            signal: str) -> None:
    """Its exception is in ``reports`` and told to ``on_report``; neither producer nor loop sees it."""
    told: list[BaseException] = []
    source = Watched([1, 2, 3])
    publisher = publish(broken if signal == "on_error" else source, on_report=told.append)
    probe = subscribed(publisher, 10, raises=(signal,))
    await until(lambda: publisher.reports)
    await settled()
    assert [type(e) for e in publisher.reports] == [Bad] and told == publisher.reports
    assert probe.signals[-1] == signal and probe.signals.count(signal) == 1 and probe.wrong == []
    assert source.closed or not source.taken


@pytest.mark.parametrize("shape", [name for name in COLD if "processor" not in name])  # those serve one subscriber
async def test_rule_2_13_siblings_never_notice(shape: str, host: Any) -> None:
    """One of three subscribers raises at its second item; the others get all of theirs."""
    publisher = COLD[shape](range(5), host=host)
    bad = Probe(10)
    bad.then = lambda item: item == 1 and 1 / 0  # type: ignore[return-value]
    good = [Probe(10), Probe(10)]
    publisher.subscribe(good[0])
    publisher.subscribe(bad)
    publisher.subscribe(good[1])
    await until(lambda: all(probe.ended for probe in good) and publisher.reports)  # each is a run of its own
    assert [probe.items for probe in good] == [[0, 1, 2, 3, 4]] * 2
    assert bad.items == [0, 1] and not bad.ended
    assert [type(e) for e in publisher.reports] == [ZeroDivisionError]


def test_rule_2_13_reports_are_bounded_and_a_raising_on_report_is_one_of_them() -> None:
    """150 raising subscribers leave 100 reports."""
    publisher = kx.source([1]).publisher(on_report=lambda error: 1 / 0)
    for _ in range(150):
        subscribed(publisher, 1, raises=("on_next",))
    assert 100 <= len(publisher.reports) <= 101
    assert {type(e) for e in publisher.reports} == {Bad, ZeroDivisionError}


@pytest.mark.parametrize("where", ["subscriber", "function"])
def test_rule_2_13_a_keyboard_interrupt_is_not_swallowed(where: str) -> None:
    """What is no Exception ends the run, closes the source, and goes on up."""
    source = Watched([1, 2])

    def stop(item: Any) -> Any:
        raise KeyboardInterrupt

    graph = kx.source(source) >> kx.map(stop if where == "function" else same)
    probe = Probe()
    graph.publisher().subscribe(probe)
    probe.then = stop if where == "subscriber" else same
    with pytest.raises(KeyboardInterrupt):
        probe.request(1)
    assert source.closed
    probe.request(1)
    assert probe.items == ([1] if where == "subscriber" else [])


async def test_rule_2_13_none_is_refused_by_name(publish: Publish, request: pytest.FixtureRequest) -> None:
    """The first None ends the run with a TypeError that names the rule and the node (ruling 27)."""
    probe = subscribed(publish([1, None, 2]), 10)
    await until(lambda: probe.ended)
    assert isinstance(probe.error, TypeError) and "2.13" in str(probe.error)
    assert is_of(probe.items, [1], request) and probe.wrong == []


async def test_rule_2_13_none_may_be_allowed_by_name(publish: Publish) -> None:
    """publisher(none="allow") gives None like any item, also through a processor and source(publisher)."""
    probe = subscribed(publish([1, None, 2], none="allow"), 10)
    await until(lambda: probe.ended)
    assert (probe.items, probe.ended) == ([1, None, 2], "on_complete")


def test_rule_2_13_the_refusal_of_none_names_the_node() -> None:
    """The message says which node gave None and what to write instead."""
    probe = subscribed((kx.source([1]) >> kx.map(lambda x: None).named("lost") >> kx.retry(2)).publisher(), 1)
    assert "'lost' (map) at test_publisher.py" in str(probe.error) and "none='allow'" in str(probe.error)


# -- §3: the subscription ------------------------------------------------------------------------


async def test_rule_3_02_request_from_inside_on_next_and_on_subscribe(publish: Publish) -> None:
    """One at a time, each asked for in the signal before."""
    probe = subscribed(publish(range(50)), 1, each=1)
    await until(lambda: probe.ended)
    assert probe.items == list(range(50)) and probe.wrong == []


async def test_rule_3_03_recursion_is_bounded(publish: Publish, request: pytest.FixtureRequest) -> None:
    """20,000 items, each requested inside the one before: on_next is never two deep.  Fewer, and still more than
    Python may recurse, where every item fails first: those took longer than `until` waits on a busy machine."""
    slow = any(word in request.node.name for word in ("guards", "backoff"))
    count = 1000 if "observable" in request.node.name else 2000 if slow else 20_000
    probe = subscribed(publish(range(count)), 1, each=1)
    await until(lambda: probe.ended)
    assert len(probe.items) == count and probe.deepest <= 2 and probe.wrong == []


async def test_rule_3_05_cancel_from_another_thread(publish: Publish) -> None:
    """An endless source with unlimited demand, stopped by a thread; then nothing more comes."""
    if publish.func is HOT["observable"]:  # type: ignore[attr-defined]
        source: Any = [1]
    else:
        source = Watched(itertools.count())
    probe = Probe()
    enough = threading.Event()
    probe.then = lambda item: enough.set() if item == 50 else None
    publish(source).subscribe(probe)
    stopper = threading.Thread(target=lambda: (enough.wait(10), probe.cancel()))
    if source == [1]:
        enough.set()
    stopper.start()
    probe.request(UNLIMITED if source != [1] else 1)
    await joined([stopper])
    await settled()
    count = len(probe.items)
    await settled()
    assert len(probe.items) == count and probe.wrong == []
    assert source == [1] or (source.closed and not probe.ended)


def test_rule_3_05_cancel_reaches_a_graph_that_gives_nothing() -> None:
    """A filter that drops all of an endless source is inside ``request`` for good; cancel gets through."""
    source = Watched(itertools.count())
    probe = subscribed((kx.source(source) >> kx.filter(lambda x: False)).publisher())
    at_work = threading.Thread(target=probe.request, args=(1,))
    at_work.start()
    while source.taken < 1000:
        pass
    probe.cancel()
    at_work.join(10)
    assert not at_work.is_alive() and source.closed and probe.signals == ["on_subscribe"]


async def test_rule_3_06_and_3_07_after_cancel_both_are_no_ops(publish: Publish) -> None:
    """Cancel twice, request after it, also wrongly: no signal, no exception."""
    probe = subscribed(publish(range(10)), 1)
    await until(lambda: probe.items)
    probe.cancel()
    probe.cancel()
    for n in (1, 0, UNLIMITED):
        probe.subscription.request(n)
    await settled()
    assert probe.signals == ["on_subscribe", "on_next"]


async def test_rule_3_08_demand_adds_up(publish: Publish) -> None:
    """2 and 3 and 1, all before the first item: six."""
    probe = Probe()
    probe.on_subscribe = lambda s: (Probe.on_subscribe(probe, s), [probe.request(n) for n in (2, 3, 1)])[0]  # type: ignore
    publish(range(10)).subscribe(probe)
    await until(lambda: len(probe.items) == 6)
    await settled()
    assert len(probe.items) == 6 and probe.wrong == []
    probe.cancel()


@pytest.mark.parametrize("n", [0, -1, -(2**63), 1.5, "1"])
async def test_rule_3_09_a_request_below_one_ends_with_on_error(publish: Publish, n: Any) -> None:
    """ValueError, naming the rule; the run is cancelled and the source closed."""
    source = Watched(range(10))
    probe = subscribed(publish(source), 2)
    await until(lambda: len(probe.items) == 2)
    probe.subscription.request(n)
    await until(lambda: probe.ended)
    assert probe.signals == ["on_subscribe", "on_next", "on_next", "on_error"] and probe.wrong == []
    assert isinstance(probe.error, ValueError) and "3.9" in str(probe.error)
    assert source.closed


async def test_rule_3_09_also_inside_on_subscribe_and_on_next(publish: Publish) -> None:
    """Before anything has begun, or in the middle of a signal: the error is the next signal."""
    early = Probe()
    early.on_subscribe = lambda s: (Probe.on_subscribe(early, s), s.request(0))[0]  # type: ignore
    publish([1, 2, 3]).subscribe(early)
    await until(lambda: early.ended)
    assert early.signals == ["on_subscribe", "on_error"] and isinstance(early.error, ValueError)
    inside = Probe(10)
    inside.then = lambda item: inside.subscription.request(0)
    publish([1, 2, 3]).subscribe(inside)
    await until(lambda: inside.ended)
    assert inside.signals == ["on_subscribe", "on_next", "on_error"] and inside.wrong == []


@pytest.mark.parametrize("how", ["cancel", "terminal", "raise", "request(0)"])
async def test_rule_3_12_when_it_is_over_nothing_is_alive(cold: Publish, how: str) -> None:
    """No task, no thread, no open file, and the source's generator has run its ``finally``."""
    source = Watched(range(3) if how == "terminal" else itertools.count())
    with left_behind() as left:
        probe = Probe(3, raises=("on_next",) if how == "raise" else ())
        cold(source).subscribe(probe)
        await until(lambda: probe.items)
        if how == "cancel":
            probe.cancel()
        elif how == "request(0)":
            probe.subscription.request(0)
        elif how == "terminal":
            probe.request(1)
            await until(lambda: probe.ended)
        await until(lambda: source.closed)
        await settled()
    assert not left, left


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio has no such tasks
async def test_rule_3_12_a_loop_of_its_own_keeps_nothing_either() -> None:
    """Without a host on asyncio: the task that the loop owns ends with the subscription."""
    source = Watched(itertools.count())
    with left_behind() as left:
        probe = subscribed(TASKED["async map"](source), 3)
        await until(lambda: len(probe.items) == 3)
        gc.collect()  # the loop holds its tasks weakly; ours must be held
        probe.request(2)
        await until(lambda: len(probe.items) == 5)
        probe.cancel()
        await until(lambda: source.closed)
        await settled()
    assert not left, left


def test_rule_3_12_lines_closes_its_file(tmp_path: Any) -> None:
    """Cancelled in the middle of a file: no descriptor is left."""
    path = tmp_path / "log.txt"
    path.write_text("a\nb\nc\n")
    with left_behind() as left:
        probe = subscribed(kx.lines(path).publisher(), 1)
        probe.cancel()
    assert probe.items == ["a"] and not left.files


async def test_rule_3_12_a_host_that_is_cancelled_ends_with_on_error() -> None:
    """The task group of the run is cancelled from outside: the subscriber is not left waiting."""
    probe = Probe(2)
    async with anyio.create_task_group() as group:
        TASKED["async map"](itertools.count(), host=group).subscribe(probe)
        await until(lambda: len(probe.items) == 2)
        group.cancel_scope.cancel()
    assert probe.ended == "on_error" and isinstance(probe.error, kx.RunError) and "host" in str(probe.error)


async def test_rule_3_13_cancel_drops_the_reference_to_the_subscriber(publish: Publish) -> None:
    """Publisher and subscription are kept, and the subscriber can go."""
    publisher, given = publish(range(10)), [Probe(2)]
    publisher.subscribe(given[0])
    await until(lambda: len(given[0].items) == 2)
    subscription, gone = given[0].subscription, weakref.ref(given[0])
    subscription.cancel()
    await settled()
    given.pop().subscription = None
    gc.collect()
    assert gone() is None
    subscription.cancel()


async def test_rule_3_15_and_3_16_neither_call_raises(publish: Publish) -> None:
    """Not even where closing the source raises: that is reported."""
    def stubborn() -> Iterable[int]:
        try:
            yield from range(10)
        finally:
            raise RuntimeError("will not close")

    publisher = publish(stubborn if publish.func is DIRECT["source"] else range(10))  # type: ignore[attr-defined]
    probe = subscribed(publisher, 1)
    await until(lambda: probe.items)
    probe.cancel()
    probe.request(1)
    await settled()
    assert probe.signals == ["on_subscribe", "on_next"]
    if publish.func is DIRECT["source"]:  # type: ignore[attr-defined]
        assert [str(e) for e in publisher.reports] == ["will not close"]


async def test_rule_3_17_demand_without_limit(publish: Publish) -> None:
    """2**63 - 1, twice, is no overflow: everything comes."""
    probe = Probe()
    publish(range(300)).subscribe(probe)
    probe.request(UNLIMITED)
    probe.subscription.request(UNLIMITED)
    await until(lambda: probe.ended)
    assert probe.items == list(range(300)) and probe.wrong == []


# -- ours ----------------------------------------------------------------------------------------


async def test_rule_b_1_a_slow_subscriber_never_makes_a_graph_read_beyond_its_bounds(
        cold: Publish, request: pytest.FixtureRequest) -> None:
    """Five requested of an endless source: at most five read without tasks, five and the gates' 16 each with."""
    source = Watched(itertools.count())
    probe = subscribed(cold(source), 5)
    await until(lambda: len(probe.items) == 5)
    await settled(1000)
    name = request.node.callspec.params["cold"]
    ahead = 0 if name in DIRECT and name != "processor" else 16 * 4
    assert source.taken <= 5 + ahead
    probe.cancel()
    await until(lambda: source.closed)


def test_rule_b_1_nothing_is_read_and_nothing_is_called_ahead_of_demand() -> None:
    """Without tasks the source is read, and user functions run, exactly as far as demand goes."""
    source, called = Watched(range(10)), []
    probe = subscribed((kx.source(source) >> kx.map(lambda x: called.append(x) or x)).publisher())
    for n in range(4):
        assert (source.taken, called) == (n, list(range(n)))
        probe.request(1)
    probe.cancel()


def test_rule_b_1_an_observable_may_be_1024_items_ahead_and_no_more() -> None:
    """It cannot be asked: what nobody has requested waits in a bounded queue, and then it is an error."""
    probe = subscribed(kx.source(reactivex.from_iterable(itertools.count())).publisher(), 1000)
    assert probe.items == list(range(1000)) and not probe.ended
    probe.request(100)
    assert len(probe.items) == 1024 and isinstance(probe.error, kx.GateOverflow)


def test_an_observable_is_served_as_it_sends_and_disposed_of_by_cancel() -> None:
    """Items are signalled inside its on_next while there is demand, and later inside request."""
    subject: Any = reactivex.Subject()
    probe = subscribed((kx.source(subject) >> kx.map(lambda x: x * 10)).publisher(), 2)
    for n in (1, 2, 3):
        subject.on_next(n)
    assert probe.items == [10, 20]
    probe.request(1)
    assert probe.items == [10, 20, 30]
    assert len(subject.observers) == 1
    probe.cancel()
    assert len(subject.observers) == 0 and probe.wrong == []


def test_resources_are_open_while_the_run_is() -> None:
    """What a node needs opened is opened with the run and closed with it, in any way it ends."""
    log: list[str] = []

    class Store:
        def __enter__(self) -> Store:
            log.append("open")
            return self

        def __exit__(self, *_: object) -> None:
            log.append("close")

        def append(self, letter: Any) -> None:
            log.append("letter")

    def fail(item: int) -> int:
        raise ValueError

    graph = kx.source([1, 2]) >> kx.map(fail) >> kx.dead_letter(kx.resource(Store))
    probe = subscribed(graph.publisher(), 1)
    assert probe.ended == "on_complete" and log == ["open", "letter", "letter", "close"]


@pytest.mark.parametrize(("graph", "why"), [
    (kx.map(same), "open graph"), (kx.source([1]) >> kx.each(print), "no single output"),
    (kx.source([1]) >> [kx.map(same), kx.map(same)], "no single output")], ids=["open", "sink", "two outputs"])
def test_a_graph_that_cannot_be_published_is_a_graph_error(graph: Any, why: str) -> None:
    """A publisher has a source and one open output; said when it is made."""
    with pytest.raises(kx.GraphError, match=why):
        publisher(graph)


def test_unknown_options_are_a_graph_error() -> None:
    """none= has two values, and there are no options but those of compiling."""
    with pytest.raises(kx.GraphError, match="reject or allow"):
        kx.source([1]).publisher(none="maybe")
    with pytest.raises(kx.GraphError, match="speed"):
        kx.source([1]).publisher(speed=2)


async def test_both_sides_are_ours(publish: Publish) -> None:
    """kayrx's publisher is kayrx's source: the same items, and nothing left of either run."""
    with left_behind() as left:
        upstream = publish(range(100))
        assert await (kx.source(upstream) >> kx.map(same_later) >> kx.to_list()) == list(range(100))
        await settled()
    assert not left, left


async def test_both_sides_are_ours_and_the_reader_leaves(cold: Publish) -> None:
    """take(5) of an endless publisher: upstream is cancelled, and its source closed (2.6)."""
    source = Watched(itertools.count())
    with left_behind() as left:
        assert await (kx.source(cold(source)) >> kx.take(5) >> kx.to_list()) == [0, 1, 2, 3, 4]
        await until(lambda: source.closed)
        await settled()
    assert not left, left


def test_handmade_and_probe_know_a_broken_publisher_when_they_see_one() -> None:
    """The tests' own instruments see too many items, signals after the end, and a missing on_subscribe."""
    probe = Probe()
    probe.on_next(1)
    assert [w[:3] for w in probe.wrong] == ["1.9", "1.1"]
    ours = Probe(1)
    upstream = Handmade()
    upstream.subscribe(ours)
    upstream.send(1, 2)
    upstream.complete()
    upstream.complete()
    assert [w[:3] for w in ours.wrong] == ["1.1", "1.7"]
