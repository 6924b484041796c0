"""Reactive Streams 1.0.4, §2: what ``kx.source(publisher)`` promises to a publisher that we did not write."""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Iterable
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.runtime.streams.subscriber import QueueSubscriber
from kayrx.testing import left_behind
from kayrx.testing.probes import Handmade, settled, until


def obedient(items: Iterable[Any], end: bool = True) -> Handmade:
    """Sends what is requested, inside request, and completes with the last item if ``end``."""
    publisher, source = Handmade(), iter(items)

    def on_request(n: int) -> None:
        for item in itertools.islice(source, n):
            if publisher.cancelled:
                return
            publisher.send(item)
        if end and operator.length_hint(source, 1) == 0:
            publisher.on_request = lambda n: None
            publisher.complete()

    publisher.on_request = on_request
    return publisher


async def test_rule_2_01_it_asks_for_sixteen_and_again_as_they_are_finished(anyio_backend: str) -> None:
    """40 items: 16, and then 8 whenever 8 have gone through the graph."""
    publisher = obedient(range(40))
    assert await (kx.source(publisher) >> kx.to_list()) == list(range(40))
    assert publisher.requests[:2] == [16, 8] and set(publisher.requests[1:]) == {8}
    assert publisher.wrong == []


async def test_rule_2_03_and_2_04_nothing_is_called_after_a_terminal(anyio_backend: str) -> None:
    """The last items are finished after on_complete: neither request nor cancel."""
    publisher = Handmade()
    publisher.on_request = lambda n: (publisher.send(*range(16)), publisher.complete())
    assert await (kx.source(publisher) >> kx.to_list()) == list(range(16))
    assert publisher.calls == ["request(16)"]


async def test_rule_2_05_a_second_subscription_is_cancelled(anyio_backend: str) -> None:
    """A publisher that calls on_subscribe twice: the first counts."""
    first, second = Handmade(), Handmade()

    def subscribe(subscriber: Any) -> None:
        Handmade.subscribe(first, subscriber)
        second.subscribe(subscriber)
        first.send(7)
        first.complete()

    first.subscribe = subscribe  # type: ignore[method-assign]
    assert await (kx.source(first) >> kx.to_list()) == [7]
    assert first.calls == ["request(16)"] and second.calls == ["cancel"]


@pytest.mark.parametrize("tail", [kx.take(3), kx.take_while(kx.it < 3), kx.map(lambda x: x) >> kx.take(3)],
                         ids=["take", "take_while", "map, take"])
async def test_rule_2_06_it_cancels_when_it_has_enough(anyio_backend: str, tail: Any) -> None:
    """Once, and before the run has ended."""
    publisher = obedient(itertools.count())
    assert await (kx.source(publisher) >> tail >> kx.to_list()) == [0, 1, 2]
    assert publisher.calls.count("cancel") == 1 and publisher.calls[-1] == "cancel"


async def test_rule_2_06_it_cancels_when_the_run_fails(anyio_backend: str) -> None:
    """A function of the graph raises: the run ends with that, and upstream is cancelled."""
    publisher = obedient(itertools.count())
    with pytest.raises(ZeroDivisionError):
        await (kx.source(publisher) >> kx.map(lambda x: 1 // (5 - x)) >> kx.to_list())
    assert publisher.cancelled == 1


@pytest.mark.parametrize("how", ["cancel", "stop", "scope", "stream"])
async def test_rule_2_06_it_cancels_when_the_run_is_ended(anyio_backend: str, how: str) -> None:
    """By cancel, stop, a cancelled scope or a reader that leaves: nothing is left of it."""
    publisher, out = Handmade(), []
    graph = kx.source(publisher) >> kx.map(lambda x: x)
    with left_behind() as left:
        if how == "stream":
            async with graph.stream() as items:
                publisher.on_request = lambda n: None
                await until(lambda: publisher.subscriber)
                publisher.send(1)
                async for item in items:
                    out.append(item)
                    break
        elif how == "scope":
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(run, graph >> kx.each(out.append))
                    await until(lambda: publisher.subscriber)
                    publisher.send(1)
                    await until(lambda: out)
                    scope.cancel()
        else:
            async with (graph >> kx.each(out.append)).start() as running:
                await until(lambda: publisher.subscriber)
                publisher.send(1)
                await until(lambda: out)
                await getattr(running, how)()
        await settled()
    assert out == [1] and publisher.calls == ["request(16)", "cancel"]
    assert not left, left


async def run(graph: Any) -> None:
    await graph


async def test_rule_2_07_calls_are_serial_while_items_come_from_a_thread(anyio_backend: str) -> None:
    """Requests come from the loop's thread, items from another; at the end one cancel."""
    publisher, over = Handmade(), threading.Event()
    publisher.on_request = lambda n: None

    def send() -> None:
        number = 0
        while not over.is_set():
            if publisher.subscriber is not None and publisher.wanted:
                publisher.send(number)
                number += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert await (kx.source(publisher) >> kx.take(500) >> kx.to_list()) == list(range(500))
    finally:
        over.set()
        thread.join(10)
    assert publisher.wrong == [] and publisher.calls.count("cancel") == 1


async def test_rule_2_08_items_after_its_cancel_are_tolerated(anyio_backend: str) -> None:
    """They were on their way: no exception, and they go nowhere."""
    publisher = obedient(range(100), end=False)
    assert await (kx.source(publisher) >> kx.take(2) >> kx.to_list()) == [0, 1]
    publisher.send(5, 6)
    publisher.complete()
    publisher.fail(OSError())
    assert publisher.calls.count("cancel") == 1


@pytest.mark.parametrize("signal", ["complete", "fail"])
async def test_rules_2_09_and_2_10_a_terminal_without_an_item(anyio_backend: str, signal: str) -> None:
    """Straight after on_subscribe: the run ends, or fails with the very exception."""
    publisher, raised = Handmade(), OSError("upstream")
    publisher.on_request = lambda n: publisher.complete() if signal == "complete" else publisher.fail(raised)
    graph = kx.source(publisher) >> kx.to_list()
    if signal == "complete":
        assert await graph == []
    else:
        with pytest.raises(OSError, match="upstream") as caught:
            await graph
        assert caught.value is raised
        assert any("kayrx: in node 'source' (source) at test_subscriber.py" in n for n in raised.__notes__)
    assert publisher.calls == ["request(16)"]


async def test_rule_1_04_items_before_an_error_are_read(anyio_backend: str) -> None:
    """The error stands behind them."""
    seen: list[int] = []
    publisher = Handmade()
    publisher.on_request = lambda n: (publisher.send(1, 2), publisher.fail(OSError()))
    with pytest.raises(OSError):
        await (kx.source(publisher) >> kx.each(seen.append))
    assert seen == [1, 2]


@pytest.mark.parametrize("signal", ["on_subscribe", "on_next", "on_error"])
async def test_rule_2_13_none_raises_to_the_caller_and_fails_the_run(anyio_backend: str, signal: str) -> None:
    """A TypeError that names the rule, on both sides; the run does not wait for what will not come."""
    publisher = Handmade()
    caught: list[BaseException] = []

    def misbehave() -> None:
        with pytest.raises(TypeError, match=r"2\.13") as info:
            getattr(publisher.subscriber, signal)(None)
        caught.append(info.value)

    publisher.on_request = lambda n: misbehave()
    with pytest.raises(TypeError, match=r"2\.13"):
        await (kx.source(publisher) >> kx.to_list())
    assert len(caught) == 1 and publisher.cancelled == 1


async def test_a_publisher_that_sends_too_many_is_cancelled_and_named(anyio_backend: str) -> None:
    """Rule 1.1 is upstream's to keep; we hold what we asked for, and fail."""
    publisher = Handmade()
    publisher.on_request = lambda n: publisher.send(*range(n + 3)) if n == 16 else None
    with pytest.raises(kx.RunError, match=r"1\.1"):
        await (kx.source(publisher) >> kx.to_list())
    assert publisher.cancelled == 1


async def test_rule_b_1_a_slow_sink_holds_upstream(anyio_backend: str) -> None:
    """The sink stands still: what upstream has sent is bounded by the queue and the gates, and stays there."""
    publisher, go_on = obedient(itertools.count()), anyio.Event()

    async def slow(item: int) -> int:
        await go_on.wait()
        return item

    async with (kx.source(publisher) >> kx.map(slow) >> kx.take(100) >> kx.to_list()).start() as running:
        await settled(500)
        assert 16 <= publisher.sent <= 48
        go_on.set()
    assert running.result == list(range(100))


async def test_a_publisher_whose_subscribe_raises_fails_the_run(anyio_backend: str) -> None:
    """Against rule 1.9, but the exception is not lost."""
    publisher = Handmade()
    publisher.subscribe = lambda s: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await (kx.source(publisher) >> kx.to_list())


async def test_a_publisher_whose_request_raises_fails_the_run(anyio_backend: str) -> None:
    """Against rule 3.16: the run ends with the exception, and upstream is cancelled."""
    publisher = obedient(range(100), end=False)

    def request(n: int) -> None:
        if n != 16:
            raise OSError("no more")
        publisher.send(*range(n))

    publisher.on_request = request
    with pytest.raises(OSError, match="no more"):
        await (kx.source(publisher) >> kx.to_list())


async def test_each_run_subscribes_anew_and_so_does_a_retry(anyio_backend: str) -> None:
    """``source(publisher) >> retry(3)`` is a new subscription for each attempt."""
    attempts: list[int] = []
    publisher = Handmade()

    def on_request(n: int) -> None:
        attempts.append(n)
        if len(attempts) < 3:
            publisher.fail(OSError())
        else:
            publisher.send(7)
            publisher.complete()

    publisher.on_request = on_request
    assert await (kx.source(publisher) >> kx.retry(3) >> kx.to_list()) == [7]
    assert attempts == [16, 16, 16]


def test_run_reads_a_publisher_on_a_private_loop() -> None:
    """``run`` and ``collect`` need no loop of the caller's."""
    assert (kx.source(obedient(range(50))) >> kx.map(kx.it * 2)).collect() == [2 * n for n in range(50)]


def test_the_inbox_needs_room() -> None:
    """A bound of nothing is an error, not a stream that never moves."""
    with pytest.raises(kx.RunError, match="room"):
        QueueSubscriber(Handmade(), 0)
