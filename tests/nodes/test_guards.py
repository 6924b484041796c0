"""Guards: timeout, retry, fallback, skip_errors, dead_letter wrap the unit before them, from the inside out."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import run_virtual


class Flaky:
    """Fails ``times`` times for each item, then gives it back."""

    def __init__(self, times: int, error: type[Exception] = ValueError) -> None:
        self.times, self.error, self.calls = times, error, dict[Any, int]()

    def __call__(self, x: Any) -> Any:
        self.calls[x] = self.calls.get(x, 0) + 1
        if self.calls[x] <= self.times:
            raise self.error(x)
        return x


def run(graph: Graph[Any, Any], items: Any = (1, 2), **options: Any) -> Any:
    return (kx.source(list(items)) >> graph).collect(**options)


def test_retry_is_n_attempts_in_all(backend: str) -> None:
    """``retry(3)`` calls up to three times an item; the third failure is the item's."""
    twice, thrice = Flaky(2), Flaky(3)

    assert run(kx.map(twice) >> kx.retry(3), backend=backend) == [1, 2] and twice.calls == {1: 3, 2: 3}
    with pytest.raises(ValueError) as caught:
        run(kx.map(thrice) >> kx.retry(3), backend=backend)
    assert thrice.calls == {1: 3}
    earlier, note = caught.value.__notes__
    assert "(map) at test_guards.py" in note and note.endswith("item 0, attempt 3")
    assert earlier == "kayrx: earlier attempts: 1-2: ValueError: 1"


def test_guards_wrap_from_the_inside_out(backend: str) -> None:
    """``retry`` then ``fallback``: the fallback is called once, after the last attempt, with the item."""
    fail, asked = Flaky(99), list[int]()

    def instead(x: int) -> int:
        asked.append(x)
        return -x

    assert run(kx.map(fail) >> kx.retry(2) >> kx.fallback(instead), backend=backend) == [-1, -2]
    assert asked == [1, 2] and fail.calls == {1: 2, 2: 2}


def test_fallbacks_are_tried_in_order_and_the_last_failure_counts(backend: str) -> None:
    """The next alternative comes if one fails; if all fail, the last error is the item's."""
    assert run(kx.map(Flaky(9)) >> kx.fallback(Flaky(9, OSError), lambda x: x * 2), backend=backend) == [2, 4]
    with pytest.raises(OSError):
        run(kx.map(Flaky(9)) >> kx.fallback(Flaky(9, OSError)), backend=backend)


@pytest.mark.parametrize("guard", [
    kx.skip_errors(ValueError), kx.skip_errors((ValueError, OSError)), kx.skip_errors(lambda e: e.args == (1,)),
    kx.fallback(str, on=ValueError), kx.retry(9, on=ValueError), kx.dead_letter([], on=ValueError),
], ids=range(6))
def test_on_says_which_errors(guard: Graph[Any, Any], backend: str) -> None:
    """A guard leaves errors alone that ``on`` (types, or a function of the error) does not ask for."""
    def fail(x: int) -> int:
        raise KeyError("other")

    with pytest.raises(KeyError):
        run(kx.map(fail) >> guard, backend=backend)


UNITS: dict[str, Graph[Any, Any]] = {
    "map": kx.map(lambda x: 6 // x), "filter": kx.filter(lambda x: 6 // x),
    "flat_map": kx.flat_map(lambda x: [6 // x]), "tap": kx.tap(lambda x: 6 // x),
    "scan": kx.scan(lambda s, x: s + 6 // x, 0),
    "unit": kx.unit(kx.map(lambda x: 6 // x) >> kx.map(lambda x: x)),
    "unit of a flat_map": kx.unit(kx.flat_map(lambda x: [x, 6 // x]) >> kx.filter(kx.it < 7)),
}
AFTER = {"map": [6, 3], "filter": [1, 2], "flat_map": [6, 3], "tap": [1, 2], "scan": [6, 9], "unit": [6, 3],
         "unit of a flat_map": [1, 6, 2, 3]}


@pytest.mark.parametrize("word", list(UNITS))
def test_every_item_wise_unit_can_be_guarded(word: str, backend: str) -> None:
    """Guards may follow map, filter, flat_map, tap, scan, a sink, and units of these."""
    letters: list[kx.Letter] = []

    assert run(UNITS[word] >> kx.skip_errors(), (1, 0, 2), backend=backend) == AFTER[word]
    assert run(UNITS[word] >> kx.dead_letter(letters), (1, 0, 2), backend=backend) == AFTER[word]
    assert [(letter.item, type(letter.error)) for letter in letters] == [(0, ZeroDivisionError)]


@pytest.mark.parametrize("make", [kx.each, kx.sink])
def test_sinks_can_be_guarded(make: Any, backend: str) -> None:
    """A sink that fails on an item goes on with the next."""
    seen: list[int] = []

    def put(x: int) -> None:
        seen.append(6 // x)

    (kx.source([1, 0, 2]) >> make(put) >> kx.skip_errors()).run(backend=backend)
    assert seen == [6, 3]


def test_a_letter_holds_what_a_reader_needs(backend: str) -> None:
    """Item, node, error as raised, the place, the number of attempts, and an id that is not given twice."""
    letters: list[kx.Letter] = []
    world = kx.World(wall=lambda: 12.5, run_id=lambda: "run-1")

    run(kx.map(Flaky(9)).named("parse") >> kx.retry(2) >> kx.dead_letter(letters), backend=backend, world=world)

    one, two = letters
    assert (one.item, one.node, type(one.error), one.attempts, one.time) == (1, "parse", ValueError, 2, 12.5)
    assert one.id != two.id and one.id.startswith("run-1/parse")
    assert "test_guards.py" in one.traceback


def test_a_store_may_be_async(loop: str) -> None:
    """``append`` may return an awaitable; the item is handled once it is done, also where nothing else waits."""
    kept: list[Any] = []

    class Store:
        async def append(self, letter: kx.Letter) -> None:
            await anyio.sleep(0)
            kept.append(letter.item)

    async def fail(x: int) -> int:
        raise ValueError

    assert run(kx.map(fail) >> kx.dead_letter(Store()), backend=loop) == [] and kept == [1, 2]
    assert (kx.source([1, 0]) >> kx.map(lambda x: 1 / x) >> kx.dead_letter(Store())).collect() == [1]
    assert kept == [1, 2, 0]


def test_guards_take_exceptions_only(backend: str) -> None:
    """KeyboardInterrupt and its like pass every guard (ruling 22)."""
    def stop(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(kx.map(stop) >> kx.retry(3) >> kx.skip_errors(), backend="sync" if backend != "sync" else backend)


def test_backoff_waits_by_the_injected_clock() -> None:
    """A synchronous run waits on the world's ``block``; jitter is drawn from the world's random source."""
    slept: list[float] = []
    world = kx.World(block=slept.append)

    run(kx.map(Flaky(3)) >> kx.retry(4, backoff=kx.exponential(1, cap=3)), [1], world=world)
    assert slept == [1, 2, 3]
    for jitter, least in (("full", 0.0), ("equal", 0.5)):
        drawn = list[list[float]]()
        for _ in range(2):
            slept.clear()
            seeded = kx.World(block=slept.append, random=random.Random(7))
            run(kx.map(Flaky(3)) >> kx.retry(4, backoff=kx.constant(1), jitter=jitter), [1],  # type: ignore[arg-type]
                world=seeded)
            drawn.append(list(slept))
        assert drawn[0] == drawn[1] and all(least <= wait <= 1 for wait in drawn[0])


def test_backoff_parks_the_segment_and_keeps_order(loop: str) -> None:
    """On a loop the wait is on its clock, and the next item comes after."""
    async def main() -> tuple[list[int], float]:
        start = anyio.current_time()
        flaky = Flaky(1)
        graph = kx.source([1, 2]) >> kx.map(flaky) >> kx.retry(2, backoff=kx.constant(5)) >> kx.to_list()
        return await graph, round(anyio.current_time() - start, 6)

    assert run_virtual(main, loop) == ([1, 2], 10.0)


async def nap(x: float) -> float:
    await anyio.sleep(x)
    return x


def test_timeout_bounds_one_attempt(loop: str) -> None:
    """A call that takes longer fails with CallTimeout, and the guards after it see that."""
    async def main() -> Any:
        start = anyio.current_time()
        graph = kx.source([1, 9, 2]) >> kx.map(nap) >> kx.timeout(3) >> kx.fallback(lambda x: -x) >> kx.to_list()
        return await graph, round(anyio.current_time() - start, 6)

    assert run_virtual(main, loop) == ([1, -9, 2], 6.0)


def test_a_timeout_unguarded_fails_the_run_by_name(loop: str) -> None:
    """CallTimeout is a TimeoutError that says which bound ran out, where."""
    async def main() -> None:
        with pytest.raises(kx.CallTimeout) as caught:
            await (kx.source([9]) >> kx.map(nap) >> kx.timeout(3))
        assert caught.value.which == "total" and isinstance(caught.value, TimeoutError)
        assert "nap" in str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))

    run_virtual(main, loop)


def test_source_guards_act_on_the_whole_stream(backend: str) -> None:
    """``source(connect) >> retry`` is reconnection; ``fallback`` is another stream; ``skip_errors`` ends it."""
    opened: list[int] = []

    def connect() -> Any:
        opened.append(1)
        yield len(opened)
        if len(opened) < 3:
            raise ConnectionError

    def refused() -> Any:
        raise ConnectionError

    def broken() -> Any:
        yield 1
        raise ConnectionError

    assert (kx.source(connect) >> kx.retry(3)).collect(backend=backend) == [1, 2, 3]
    assert (kx.source(refused) >> kx.fallback(lambda _: [7, 8])).collect(backend=backend) == [7, 8]
    with pytest.raises(ConnectionError):  # something was sent: another stream would not go on from there
        (kx.source(broken) >> kx.fallback(lambda _: [7, 8])).collect(backend=backend)
    assert (kx.source(broken) >> kx.skip_errors()).collect(backend=backend) == [1]


def test_a_unit_that_has_sent_is_not_tried_again(backend: str) -> None:
    """``before_first``: a retry would send the head twice, so the failure stands."""
    def some(x: int) -> Any:
        yield x
        raise ValueError

    seen: list[int] = []
    with pytest.raises(ValueError):
        (kx.source([1]) >> kx.flat_map(some) >> kx.retry(3) >> kx.each(seen.append)).run(backend=backend)
    assert seen == [1]


async def asks_later(error: Exception) -> bool:
    """Its coroutine would be true of every error."""
    return False


@pytest.mark.parametrize("write", [
    lambda: kx.retry(0), lambda: kx.retry(2, backoff=1.0), lambda: kx.retry(2, jitter="some"),
    lambda: kx.retry(2, on=KeyboardInterrupt), lambda: kx.retry(2, on=3), lambda: kx.fallback(),
    lambda: kx.fallback(kx.source([1])),
    lambda: kx.timeout(), lambda: kx.timeout(0), lambda: kx.timeout(idle=-1), lambda: kx.dead_letter(3),
    lambda: kx.skip_errors(on="x"), lambda: kx.constant(-1), lambda: kx.exponential("1"),
    lambda: kx.skip_errors(on=asks_later), lambda: kx.retry(2, on=(ValueError, asks_later)),
], ids=range(16))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError):
        write()
