"""`laws.check` holds a graph to the laws, and is shown failing on graphs that break each of them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import reactivex
from reactivex import operators as ops

import kayrx as kx
from kayrx.runtime import engine
from kayrx.runtime.backend import loop_running
from kayrx.runtime.ledger import Ledger
from kayrx.testing import laws

ITEMS = [3, 1, 2, 2, 5]


def picky(x: int) -> int:
    if x == 2:
        raise ValueError(x)
    return x


async def double(x: int) -> int:
    await anyio.sleep(1)
    return 2 * x


def test_what_keeps_the_laws_passes() -> None:
    """Graphs, functions and async functions; answers and errors; orders that are promised and that are not."""
    laws.check(kx.map(kx.it + 1) >> kx.filter(kx.it > 2) >> kx.take(3), ITEMS, expect=[4, 3, 3])
    laws.check(lambda x: x * 2, ITEMS, expect=[6, 2, 4, 4, 10])
    laws.check(double, ITEMS, expect=[6, 2, 4, 4, 10])
    laws.check(picky, ITEMS, expect=ValueError(2))
    laws.check(picky, ITEMS)
    laws.check(kx.map(picky) >> kx.retry(3, backoff=kx.constant(60)) >> kx.skip_errors(), ITEMS, expect=[3, 1, 5])
    laws.check(kx.map(double, concurrency=3, ordered=False), ITEMS, expect=[2, 4, 4, 6, 10], ordered=False)
    laws.check(kx.broadcast(kx.map(double), kx.map(abs)) >> kx.merge(), ITEMS, ordered=False)
    laws.check(kx.buffer(seconds=3) >> kx.delay(5), ITEMS, expect=[ITEMS])
    laws.check(kx.map(abs, on=kx.threads(2)), ITEMS, expect=ITEMS)
    laws.check(kx.take(0), [])


def broken(graph: Any, *says: str, items: list[int] = ITEMS, **wanted: Any) -> None:
    with pytest.raises(laws.LawBroken) as caught:
        laws.check(graph, items, **wanted)
    for text in says:
        assert text in str(caught.value)


def test_another_answer_is_told_with_its_setting() -> None:
    """The message has the law, the graph, the setting and both answers."""
    broken(kx.take(2), "law       the same answer", "graph     take", "setting   collect(chunk=256, fuse=True, events=",
           "expected  [3]", "got       [3, 1]", expect=[3])
    broken(kx.map(picky), "expected  [3]", "got       ValueError(2)", expect=[3])
    broken(kx.map(abs), "expected  ValueError(2)", expect=ValueError(2))
    broken(kx.map(picky), "expected  ValueError(3)", expect=ValueError(3))
    broken(double, "asyncio, await", expect=[1])


def test_a_graph_with_a_memory_of_its_own_is_found() -> None:
    """A function that counts its calls answers otherwise in the second run."""
    calls: list[int] = []

    def count(x: int) -> int:
        calls.append(x)
        return len(calls)

    broken(kx.map(count), "law       the same answer")


@pytest.mark.parametrize("differs", ["trio", "asyncio"])
def test_an_answer_that_depends_on_the_backend_is_found(differs: str) -> None:
    """One backend among the three."""
    broken(lambda x: loop_running() == differs, "law       the same answer", f"setting   {differs}, await")


def test_an_order_that_is_not_kept_is_found() -> None:
    """``ordered=False`` asks for the same items, no more and no fewer."""
    rest: Callable[[Any], Any] = kx.map(double)

    laws.check(rest, ITEMS, expect=sorted(2 * x for x in ITEMS), ordered=False)
    broken(rest, "law       the same answer", expect=sorted(2 * x for x in ITEMS))
    broken(rest, "law       the same answer", expect=[2, 4, 4, 6], ordered=False)
    broken(rest, "law       the same answer", expect=[2, 4, 4, 6, 11], ordered=False)


def test_an_observable_that_goes_on_after_its_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items, then at most one end."""
    class Wrong:
        def subscribe(self, on_next: Any, on_error: Any, on_completed: Any) -> None:
            for x in ITEMS:
                on_next(x)
            on_completed()
            on_next(7)
            on_completed()

    monkeypatch.setattr("kayrx.runtime.rx.observable.pulled", lambda made, world: Wrong())

    broken(kx.map(abs), "law       the grammar of Rx", "to_observable(",
           "got       on_next(7) after on_completed, on_completed after on_completed")


def test_a_swallowed_error_is_found() -> None:
    """What the source raises comes out; ``errors=False`` is for graphs that are there to swallow it."""
    swallow = kx.rx(ops.catch(reactivex.empty()))

    broken(swallow, "law       errors are forwarded", "setting   operator() over an observable that fails at 0",
           "expected  Planted(0), the very object")
    laws.check(swallow, ITEMS, errors=False)


def test_a_source_that_stays_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every generator is closed when its run is over."""
    kept: list[Any] = []
    monkeypatch.setattr(engine, "close", kept.append)

    broken(kx.take(2), "law       the source is released", "got       1 open")


async def leaves_a_task(x: int) -> int:
    if loop_running() == "trio":
        sys.modules["trio"].lowlevel.spawn_system_task(anyio.sleep_forever, name="left")
    else:
        kept.append(asyncio.create_task(asyncio.sleep(3600), name="left"))
    return x


kept: list[Any] = []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_task_that_lives_on_is_found(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On both backends, by its name."""
    monkeypatch.setattr(laws, "BACKENDS", (backend,))

    broken(leaves_a_task, "law       nothing is left alive", f"setting   {backend}, ", "tasks=['left'")


def test_a_thread_that_lives_on_is_found() -> None:
    """By its name."""
    go = threading.Event()

    def leave_a_thread(x: int) -> int:
        threading.Thread(target=go.wait, name="left").start()
        return x

    try:
        broken(leave_a_thread, "law       nothing is left alive", "threads=['left'")
    finally:
        go.set()


def test_an_item_that_ends_twice_or_never_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id."""
    fate = Ledger.fate

    def twice(self: Ledger, ident: Any, what: str, node: str | None) -> None:
        fate(self, ident, what, node)
        self.log.append({"event": "dropped", "id": ident, "node": node})

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "fate", twice)
        broken(kx.map(abs), "law       every item ends once", "0, 0) ended 2 times")
    monkeypatch.setattr(Ledger, "fate", lambda *_: None)
    broken(kx.map(abs), "law       every item ends once", "0, 0) has no end")


def test_a_graph_that_hangs_is_found() -> None:
    """On virtual time a hang is found at once."""
    async def hang(x: int) -> None:
        await anyio.sleep_forever()

    broken(hang, "law       the run ends", "setting   asyncio, await", "virtual seconds")


@pytest.mark.parametrize(("graph", "says"), [
    (kx.source([1]) >> abs, "brings its own items"), (kx.map(abs) >> kx.to_list(), "leave the sink off"),
    (kx.retry(2) >> kx.map(abs), "needs something before it"), (kx.merge(), "needs something before it"),
])
def test_what_cannot_be_checked_is_refused(graph: Any, says: str) -> None:
    """The graph must be open at both ends and complete."""
    with pytest.raises(kx.GraphError, match=says):
        laws.check(graph, ITEMS)


async def test_check_is_not_for_async_code() -> None:
    """It runs loops of its own."""
    with pytest.raises(kx.GraphError, match="from a plain function"):
        laws.check(kx.take(1), ITEMS)
